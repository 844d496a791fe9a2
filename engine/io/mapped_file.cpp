#include "engine/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/core/error.h"

namespace decant {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  throw Error(str(path.string(), ": cannot read: ", std::strerror(error)));
}

/// Closes what was opened, also where an Error leaves early; a mapping stays.
struct OpenFile {
  explicit OpenFile(const std::filesystem::path& path)
      : handle(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (handle < 0) fail(path, errno);
  }
  ~OpenFile() { ::close(handle); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int handle;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  // A pipe without a writer would make open() wait.
  std::error_code unknown;
  check(!std::filesystem::exists(path, unknown) || std::filesystem::is_regular_file(path, unknown),
        path.string(), ": cannot read: expected a file, got a folder or a device");
  const OpenFile file(path);
  struct stat about = {};
  if (::fstat(file.handle, &about) != 0) fail(path, errno);
  const auto size = static_cast<size_t>(about.st_size);
  if (size == 0) return;  // nothing to map, and mmap refuses to
  void* place = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.handle, 0);
  if (place == MAP_FAILED) fail(path, errno);
  ::madvise(place, size, MADV_SEQUENTIAL);  // a hint: its failure costs nothing
  bytes_ = {static_cast<const std::byte*>(place), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace decant
