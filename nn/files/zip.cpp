#include "nn/files/zip.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>

#include "nn/files/byte_reader.h"
#include "nn/files/byte_writer.h"

namespace decant::nn {
namespace {

constexpr uint32_t kLocalHeader = 0x04034B50;
constexpr uint32_t kDirectoryEntry = 0x02014B50;
constexpr uint32_t kEnd = 0x06054B50;
constexpr uint32_t kEnd64 = 0x06064B50;
constexpr uint32_t kEnd64Locator = 0x07064B50;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64LocatorBytes = 20;
constexpr uint16_t kSizes64 = 1;  // the extra field that holds what 32 bits do not
constexpr uint16_t kElsewhere16 = 0xFFFF;
constexpr uint32_t kElsewhere = 0xFFFFFFFF;
constexpr uint16_t kEncrypted = 1;
constexpr uint16_t kStored = 0;

struct Directory {
  uint64_t entries;
  uint64_t offset;
};

/// The end record is the last thing in the file but for a comment that it gives the length of.
uint64_t find_end(std::span<const std::byte> bytes, std::string_view what) {
  check(bytes.size() >= kEndBytes, what, ": expected a zip archive, got ", bytes.size(), " bytes");
  const size_t last = bytes.size() - kEndBytes;
  const size_t first = last - std::min<size_t>(last, kElsewhere16);
  for (size_t at = last + 1; at-- > first;) {
    ByteReader in(bytes, what);
    in.seek(at);
    if (in.number<uint32_t>() != kEnd) continue;
    in.seek(at + kEndBytes - 2);
    if (in.number<uint16_t>() == in.left()) return at;
  }
  throw Error(str(what, ": expected a zip archive's directory at the end, got none (the file is ",
                  "cut short, or no archive)"));
}

Directory find_directory(std::span<const std::byte> bytes, std::string_view what) {
  const uint64_t end = find_end(bytes, what);
  ByteReader in(bytes, what);
  in.seek(end + 10);
  const auto entries = in.number<uint16_t>();
  in.number<uint32_t>();  // the directory's size
  const auto offset = in.number<uint32_t>();
  if (entries != kElsewhere16 && offset != kElsewhere) return {entries, offset};

  check(end >= kEnd64LocatorBytes, what, ": expected a zip64 record, got none");
  in.seek(end - kEnd64LocatorBytes);
  check(in.number<uint32_t>() == kEnd64Locator, what, ": expected a zip64 record, got none");
  in.number<uint32_t>();  // disk
  in.seek(in.number<uint64_t>());
  check(in.number<uint32_t>() == kEnd64, what, ": expected a zip64 record, got none");
  in.take(28);  // its size, versions, disks, entries on this disk
  const auto entries64 = in.number<uint64_t>();
  in.number<uint64_t>();  // the directory's size
  return {entries64, in.number<uint64_t>()};
}

/// What a directory's entry says of one file.
struct Place {
  uint64_t packed;
  uint64_t size;
  uint64_t header;  // of the local header
};

/// Takes from the extra fields what does not fit into 32 bits.
void widen(Place& place, std::span<const std::byte> extra, std::string_view what) {
  ByteReader in(extra, what);
  while (in.left() >= 4) {
    const auto kind = in.number<uint16_t>();
    ByteReader field(in.take(in.number<uint16_t>()), what);
    if (kind != kSizes64) continue;
    for (uint64_t* value : {&place.size, &place.packed, &place.header})
      if (*value == kElsewhere) *value = field.number<uint64_t>();
    return;
  }
}

/// The checksum of zip, PNG and Ethernet: CRC-32, polynomial 0xEDB88320. Eight bytes at a time, row
/// k of the table carrying a byte past k others: a file's weights take a tenth of the time that
/// reading them does.
uint32_t checksum(std::span<const std::byte> data) {
  constexpr size_t kSlice = 8;
  static constexpr auto kTable = [] {
    std::array<std::array<uint32_t, 256>, kSlice> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xEDB88320 ^ c >> 1 : c >> 1;
      table[0][i] = c;
    }
    for (size_t k = 1; k < kSlice; ++k)
      for (size_t i = 0; i < 256; ++i)
        table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xFF];
    return table;
  }();
  uint32_t c = 0xFFFFFFFF;
  for (; data.size() >= kSlice; data = data.subspan(kSlice)) {
    uint64_t word = 0;
    std::memcpy(&word, data.data(), kSlice);
    word ^= c;
    c = 0;
    for (size_t k = 0; k < kSlice; ++k) c ^= kTable[kSlice - 1 - k][word >> 8 * k & 0xFF];
  }
  for (const std::byte b : data) c = kTable[0][(c ^ std::to_integer<uint32_t>(b)) & 0xFF] ^ c >> 8;
  return ~c;
}

std::string hexadecimal(uint32_t number) {
  std::array<char, 8> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return {digits.data(), end};
}

std::span<const std::byte> data_of(const Place& place, std::span<const std::byte> bytes,
                                   std::string_view what) {
  ByteReader in(bytes, what);
  in.seek(place.header);
  check(in.number<uint32_t>() == kLocalHeader, what, ": expected a file's header at byte ",
        place.header, ", got something else");
  in.take(22);
  const auto name = in.number<uint16_t>();
  const auto extra = in.number<uint16_t>();
  in.take(name);
  in.take(extra);
  return in.take(place.packed);
}

// `left`: bytes of the archive that no entry before has claimed.
ZipEntry read_entry(ByteReader& in, std::span<const std::byte> bytes, uint64_t& left,
                    std::string_view what) {
  check(in.number<uint32_t>() == kDirectoryEntry, what,
        ": expected an entry of the zip directory before byte ", in.position());
  in.take(4);  // versions
  const auto flags = in.number<uint16_t>();
  const auto method = in.number<uint16_t>();
  in.take(4);  // time, date
  const auto sum = in.number<uint32_t>();
  Place place{};
  place.packed = in.number<uint32_t>();
  place.size = in.number<uint32_t>();
  const auto name_bytes = in.number<uint16_t>();
  const auto extra_bytes = in.number<uint16_t>();
  const auto comment_bytes = in.number<uint16_t>();
  in.take(8);  // disk, attributes
  place.header = in.number<uint32_t>();
  const std::string_view name = in.text(name_bytes);
  widen(place, in.take(extra_bytes), what);
  in.take(comment_bytes);
  check((flags & kEncrypted) == 0, what, ": \"", shown(name), "\" is encrypted, expected it plain");
  check(method != kStored || place.packed == place.size, what, ": expected \"", shown(name),
        "\" of ", place.size, " bytes as it is stored, got ", place.packed);
  const ZipEntry entry{std::string(name), data_of(place, bytes, what), method};
  // Else a small file could ask for the checksum of the same bytes a million times.
  check(entry.data.size() <= left, what, ": \"", shown(name),
        "\" and the entries before it are larger than the file: they overlap");
  left -= entry.data.size();
  if (method != kStored || sum == 0) return entry;
  const uint32_t found = checksum(entry.data);
  if (found != sum)
    throw Error(str(what, ": \"", shown(name), "\" is damaged: expected the checksum ",
                    hexadecimal(sum), ", got ", hexadecimal(found)));
  return entry;
}

/// What a local header and the directory's entry have in common.
void put_description(ByteWriter& out, const ZipEntry& entry, uint32_t sum) {
  constexpr uint16_t kVersion = 20;
  constexpr uint16_t kUtf8Name = 0x0800;
  constexpr uint16_t kFirstOf1980 = 1 << 5 | 1;  // the earliest date there is
  const auto size = static_cast<uint32_t>(entry.data.size());
  out.number(kVersion);
  out.number(kUtf8Name);
  out.number(kStored);
  out.number(uint16_t{0});
  out.number(kFirstOf1980);
  out.number(sum);
  out.number(size);
  out.number(size);
  out.number(static_cast<uint16_t>(entry.name.size()));
  out.number(uint16_t{0});  // extra fields
}

}  // namespace

std::vector<ZipEntry> read_zip(std::span<const std::byte> bytes, std::string_view what) {
  const Directory directory = find_directory(bytes, what);
  ByteReader in(bytes, what);
  in.seek(directory.offset);
  std::vector<ZipEntry> entries;
  std::set<std::string> names;
  uint64_t left = bytes.size();
  for (uint64_t i = 0; i < directory.entries; ++i) {
    entries.push_back(read_entry(in, bytes, left, what));
    const std::string& name = entries.back().name;
    check(names.insert(name).second, what, ": \"", shown(name), "\" stands in the archive twice");
  }
  return entries;
}

std::vector<std::byte> zip_bytes(const std::vector<ZipEntry>& entries) {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  uint64_t total = kEndBytes;
  for (const ZipEntry& entry : entries) total += entry.data.size() + 2 * entry.name.size() + 76;
  check(total < kMost && entries.size() < kElsewhere16,
        "zip: expected less than 4 GiB and 65535 entries, got ", total, " bytes in ",
        entries.size());
  ByteWriter out;
  ByteWriter directory;
  for (const ZipEntry& entry : entries) {
    const auto at = static_cast<uint32_t>(out.size());
    const uint32_t sum = checksum(entry.data);
    out.number(kLocalHeader);
    put_description(out, entry, sum);
    out.text(entry.name);
    out.put(entry.data);

    directory.number(kDirectoryEntry);
    directory.number(uint16_t{20});  // made by
    put_description(directory, entry, sum);
    directory.number(uint16_t{0});  // comment
    directory.number(uint32_t{0});  // disk, attributes inside
    directory.number(uint32_t{0});  // attributes outside
    directory.number(at);
    directory.text(entry.name);
  }
  const auto count = static_cast<uint16_t>(entries.size());
  const auto begin = static_cast<uint32_t>(out.size());
  out.put(directory.bytes());
  out.number(kEnd);
  out.number(uint32_t{0});  // disks
  out.number(count);
  out.number(count);
  out.number(static_cast<uint32_t>(directory.size()));
  out.number(begin);
  out.number(uint16_t{0});  // comment
  return out.take();
}

}  // namespace decant::nn
