#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace decant::nn {

struct ZipEntry {
  std::string name;
  std::span<const std::byte> data;
};

/// The entries of a zip archive whose data lie in it as they are ("stored"), in the order of its
/// directory; `data` refers to `bytes`. Sizes are those of the directory: writers that stream
/// (PyTorch) leave them out beside the data. Zip64 is read. Checksums are not compared: PyTorch can
/// be told to write none.
/// Throws Error beginning with `what` where the bytes are no archive, an entry is compressed or
/// encrypted, stands there twice, or leads beyond the end. Source: PKWARE's APPNOTE 6.3.
std::vector<ZipEntry> read_zip(std::span<const std::byte> bytes, std::string_view what);

/// An archive of stored entries, each with its checksum. Equal entries give equal bytes: all are of
/// one date. Throws Error from 4 GiB or 65535 entries on, which would need zip64.
std::vector<std::byte> zip_bytes(const std::vector<ZipEntry>& entries);

}  // namespace decant::nn
