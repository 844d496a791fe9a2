#include "engine/core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "engine/core/error.h"

#ifdef DECANT_CHECK_MEMORY
#define DECANT_RED_ZONES 1
#else
#define DECANT_RED_ZONES 0
#endif

// A cache would hide use after free from AddressSanitizer.
#ifdef __SANITIZE_ADDRESS__
#define DECANT_CACHE_BLOCKS 0
#else
#define DECANT_CACHE_BLOCKS 1
#endif

namespace decant::cpu_memory {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20U;
constexpr size_t kRedZone = DECANT_RED_ZONES ? 64 : 0;
constexpr unsigned char kRedZoneByte = 0xFD;
constexpr unsigned char kPoisonByte = 0xFF;  // four or eight of them are a NaN

// 4, 5, 6 or 7 quarters of a power of two.
size_t size_class(size_t bytes) {
  bytes = std::max(bytes, size_t{256});
  const size_t quarter = std::bit_floor(bytes) / 4;
  return (bytes + quarter - 1) / quarter * quarter;
}

struct Pool {
  std::mutex mutex;
  std::map<size_t, std::vector<void*>> free;
  MemoryStatistics statistics;
  size_t limit = 0;
  std::atomic<bool> damaged = false;
  std::atomic<bool> poison = DECANT_RED_ZONES != 0;
};

// Never destroyed: tensors in static storage may be released after it otherwise.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

// Large blocks lie on huge pages where the system has them: fewer page faults, fewer TLB misses.
void* system_allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (block != nullptr && alignment == kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

void release_cache_locked(Pool& p) {
  for (auto& [bytes, blocks] : p.free) {
    for (void* block : blocks) std::free(block);
    p.statistics.cached_bytes -= bytes * blocks.size();
  }
  p.free.clear();
}

[[noreturn]] void out_of_memory(const Pool& p, size_t requested) {
  const auto limit = p.limit == 0 ? std::string("none") : str(p.limit, " bytes");
  throw Error(str("allocate: out of memory, requested ", requested, " bytes, in use ",
                  p.statistics.in_use_bytes, ", cached ", p.statistics.cached_bytes, ", limit ",
                  limit));
}

// The red zones of a block: before the data, and after it.
std::array<std::span<unsigned char>, 2> red_zones(unsigned char* block, size_t bytes) {
  return {std::span(block, kRedZone), std::span(block + kRedZone + bytes, kRedZone)};
}

}  // namespace

void* allocate(size_t bytes) {
  Pool& p = pool();
  const size_t rounded = size_class(bytes + 2 * kRedZone);
  void* block = nullptr;
  {
    const std::scoped_lock lock(p.mutex);
    if (p.damaged.exchange(false))
      throw Error("allocate: memory beside an earlier tensor was overwritten");
    MemoryStatistics& s = p.statistics;
    if (auto found = p.free.find(rounded); found != p.free.end() && !found->second.empty()) {
      block = found->second.back();
      found->second.pop_back();
      s.cached_bytes -= rounded;
    } else {
      const bool fits = p.limit == 0 || s.in_use_bytes + s.cached_bytes + rounded <= p.limit;
      if (fits) block = system_allocate(rounded);
      if (block == nullptr) {  // one more try without the cache
        release_cache_locked(p);
        if (p.limit != 0 && s.in_use_bytes + rounded > p.limit) out_of_memory(p, bytes);
        block = system_allocate(rounded);
      }
      if (block == nullptr) out_of_memory(p, bytes);
      ++s.system_requests;
    }
    s.in_use_bytes += rounded;
    s.peak_in_use_bytes = std::max(s.peak_in_use_bytes, s.in_use_bytes);
  }
  auto* start = static_cast<unsigned char*>(block);
  for (const auto zone : red_zones(start, bytes)) std::ranges::fill(zone, kRedZoneByte);
  if (p.poison) std::memset(start + kRedZone, kPoisonByte, bytes);
  return start + kRedZone;
}

void release(void* data, size_t bytes) noexcept {
  if (data == nullptr) return;
  Pool& p = pool();
  auto* start = static_cast<unsigned char*>(data) - kRedZone;
  for (const auto zone : red_zones(start, bytes))
    if (std::ranges::any_of(zone, [](auto b) { return b != kRedZoneByte; })) p.damaged = true;
  if (kRedZone > 0) std::memset(data, kPoisonByte, bytes);
  const size_t rounded = size_class(bytes + 2 * kRedZone);
  const std::scoped_lock lock(p.mutex);
  p.statistics.in_use_bytes -= rounded;
  if constexpr (DECANT_CACHE_BLOCKS) {
    p.free[rounded].push_back(start);
    p.statistics.cached_bytes += rounded;
  } else {
    std::free(start);
  }
}

MemoryStatistics statistics() {
  const std::scoped_lock lock(pool().mutex);
  return pool().statistics;
}

void reset_peak() {
  const std::scoped_lock lock(pool().mutex);
  pool().statistics.peak_in_use_bytes = pool().statistics.in_use_bytes;
}

void release_cache() {
  const std::scoped_lock lock(pool().mutex);
  release_cache_locked(pool());
}

void set_poison(bool on) {
  pool().poison = on;
}

void set_limit(size_t bytes) {
  const std::scoped_lock lock(pool().mutex);
  pool().limit = bytes;
}

}  // namespace decant::cpu_memory
