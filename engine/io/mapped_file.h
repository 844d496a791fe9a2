#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace decant {

/// A file's bytes for reading, mapped into memory: the system reads pages as they are looked at and
/// may drop them again, so that a file larger than the free memory can be gone through.
/// Throws Error naming the path where it is missing, cannot be read or is no regular file.
/// A file that another program cuts short while it is mapped ends this one, as with every mapping;
/// write_file_atomically puts a new file in the place of the old one and never does.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace decant
