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
  int method = 0;  ///< 0: `data` lies there as it is ("stored"); 8: deflated; ..
};

/// The entries of a zip archive in the order of its directory; `data` refers to `bytes`, and is
/// what lies there: packed, where it is. Sizes are those of the directory: writers that stream
/// (PyTorch) leave them out beside the data. Zip64 is read. The checksum of stored data is compared
/// unless it is 0, as PyTorch writes it when told to compute none.
/// Throws Error beginning with `what` where the bytes are no archive, an entry is encrypted, stands
/// there twice, leads beyond the end or has another checksum. Source: PKWARE's APPNOTE 6.3.
std::vector<ZipEntry> read_zip(std::span<const std::byte> bytes, std::string_view what);

/// An archive of stored entries, each with its checksum. Equal entries give equal bytes: all are of
/// one date. Throws Error from 4 GiB or 65535 entries on, which would need zip64.
std::vector<std::byte> zip_bytes(const std::vector<ZipEntry>& entries);

}  // namespace decant::nn
