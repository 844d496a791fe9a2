#include "engine/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "engine/core/error.h"

namespace decant {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* action, int error) {
  throw Error(str(path.string(), ": cannot ", action, " it: ", std::strerror(error)));
}

void write_all(int file, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "write", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void write_and_sync(int file, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  write_all(file, bytes, path);
  if (::fsync(file) != 0) fail(path, "flush", errno);
}

// A rename would put a file in the place of a pipe or a device.
void write_as_it_is(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) fail(path, "write", errno);
  try {
    write_all(file, bytes, path);
  } catch (...) {
    ::close(file);
    throw;
  }
  ::close(file);
}

// Without this the rename itself may be lost with the power. Some file systems cannot flush a
// folder; the file is whole there all the same.
void sync_folder(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return;
  ::fsync(handle);
  ::close(handle);
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  namespace fs = std::filesystem;
  std::error_code unknown;
  const fs::file_status status = fs::status(path, unknown);  // of what a link means
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) {
    write_as_it_is(path, bytes);
    return;
  }
  if (fs::is_symlink(path, unknown) && fs::exists(status)) {
    write_file_atomically(fs::canonical(path, unknown), bytes);
    return;
  }
  fs::path temporary = path;
  temporary += ".tmp";
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) fail(path, "create", errno);
  try {
    write_and_sync(file, bytes, path);
  } catch (...) {
    ::close(file);
    ::unlink(temporary.c_str());
    throw;
  }
  ::close(file);
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail(path, "replace", error);
  }
  sync_folder(path);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace decant
