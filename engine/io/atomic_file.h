#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace decant {

/// Writes a file that is either whole or not there: under the temporary name `path` + ".tmp" in the
/// same folder, flushed to the disk, then renamed over `path`. Where it fails (folder missing or
/// read-only, disk full), an older file of that name is untouched and no temporary file is left;
/// one that a killed process left is overwritten by the next write of that name. Where `path` is a
/// symbolic link, that happens to the file it means; what is no regular file (a pipe, a terminal,
/// /dev/stdout) is written to as it is.
/// Throws Error naming the path and the system's reason.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace decant
