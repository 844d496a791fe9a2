#include "engine/core/arena.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace decant {
namespace {

// Memory comes in huge pages where the system has them: fewer page faults, fewer TLB misses.
constexpr size_t kHugePage = size_t{2} << 20U;

size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// What the machine has, or half of the addresses where these are limited (ulimit -v): threads,
// files and libraries need some, too.
size_t most_bytes() {
  struct sysinfo machine = {};
  sysinfo(&machine);
  const size_t memory = (machine.totalram + machine.totalswap) * machine.mem_unit;
  rlimit addresses = {};
  const bool limited = getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY;
  return limited ? std::min<size_t>(memory, addresses.rlim_cur / 2) : memory;
}

// The number that follows `name` in a file of the system's, or the largest there is.
size_t number_in(const char* file, std::string_view name) {
  std::ifstream facts(file);
  for (std::string word; facts >> word;)
    if (size_t number = 0; word == name && facts >> number) return number;
  return std::numeric_limits<size_t>::max();
}

// What this process may have: it has some, and the system can still give some. More is granted all
// the same, but using it ends the process.
size_t affordable_bytes() {
  constexpr size_t kUnknown = std::numeric_limits<size_t>::max();
  const size_t available = number_in("/proc/meminfo", "MemAvailable:");
  const size_t resident = number_in("/proc/self/status", "VmRSS:");
  if (available == kUnknown || resident == kUnknown) return kUnknown;
  return (available - available / 32 + resident) * 1024;  // the system's tables grow, too
}

}  // namespace

Arena::Arena() {
  const size_t most = most_bytes() / kHugePage * kHugePage;
  reserved_ = most + kHugePage;
  // Addresses only: memory is asked for by grow(), and may be refused there.
  void* const there = mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (there == MAP_FAILED) return;  // then nothing can be taken
  reservation_ = there;
  const auto start = reinterpret_cast<uintptr_t>(there);
  base_ = static_cast<std::byte*>(there) + (round_up(start, kHugePage) - start);
  most_ = most;
  madvise(base_, most_, MADV_HUGEPAGE);
}

Arena::~Arena() {
  if (reservation_ != nullptr) munmap(reservation_, reserved_);
}

void* Arena::take(size_t bytes) {
  // A free range before each block and one behind the last: give_back() never needs room for more.
  if (free_.capacity() < blocks_ + 2) free_.reserve(2 * (blocks_ + 2));
  const auto fits = [bytes](const Range& range) { return range.end - range.begin >= bytes; };
  auto range = std::ranges::find_if(free_, fits);
  if (range == free_.end()) {
    if (!grow(bytes)) return nullptr;
    range = free_.end() - 1;
  }
  ++blocks_;
  std::byte* const block = base_ + range->begin;
  range->begin += bytes;
  if (range->begin == range->end) free_.erase(range);
  return block;
}

void Arena::give_back(void* block, size_t bytes) noexcept {
  --blocks_;
  const auto begin = static_cast<size_t>(static_cast<std::byte*>(block) - base_);
  const size_t end = begin + bytes;
  const auto after = std::ranges::lower_bound(free_, begin, {}, &Range::begin);
  const bool joins_after = after != free_.end() && after->begin == end;
  const bool joins_before = after != free_.begin() && (after - 1)->end == begin;
  if (joins_before && joins_after) {
    (after - 1)->end = after->end;
    free_.erase(after);
  } else if (joins_before) {
    (after - 1)->end = end;
  } else if (joins_after) {
    after->begin = begin;
  } else {
    free_.insert(after, {begin, end});
  }
}

// Makes the range behind the last block at least so large.
bool Arena::grow(size_t bytes) {
  const size_t there = free_at_the_end() ? free_.back().end - free_.back().begin : 0;
  const size_t more = round_up(bytes - there, kHugePage);
  if (more > most_ - end_) return false;
  constexpr size_t kWorthAsking = size_t{32} << 20U;
  if (more >= kWorthAsking && end_ + more > affordable_bytes()) return false;
  if (mprotect(base_ + end_, more, PROT_READ | PROT_WRITE) != 0) return false;
  ++requests_;
  if (free_at_the_end())
    free_.back().end += more;
  else
    free_.push_back({end_, end_ + more});
  end_ += more;
  return true;
}

}  // namespace decant
