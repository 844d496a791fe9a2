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
#include <new>
#include <span>

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

namespace decant {

size_t size_class(size_t bytes) {
  bytes = std::max(bytes, size_t{256});
  const size_t quarter = std::bit_floor(bytes) / 4;
  return (bytes + quarter - 1) / quarter * quarter;
}

namespace cpu_memory {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20U;
constexpr size_t kRedZone = DECANT_RED_ZONES ? 64 : 0;
constexpr unsigned char kRedZoneByte = 0xFD;
constexpr unsigned char kPoisonByte = 0xFF;  // four or eight of them are a NaN

// A block that waits for its next use holds the link to the one below it.
struct FreeBlock {
  FreeBlock* next;
};

struct Pool {
  std::mutex mutex;
  std::map<size_t, FreeBlock*> free;  // by size class
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

void* take_cached(Pool& p, size_t bytes) {
  const auto found = p.free.find(bytes);
  if (found == p.free.end() || found->second == nullptr) return nullptr;
  FreeBlock* const block = found->second;
  found->second = block->next;
  p.statistics.cached_bytes -= bytes;
  return block;
}

// Gives cached blocks back to the system, largest first, until at most `keep` bytes are cached.
void shrink_cache(Pool& p, size_t keep) {
  if (p.statistics.cached_bytes <= keep) return;
  for (auto entry = p.free.rbegin(); entry != p.free.rend(); ++entry) {
    while (p.statistics.cached_bytes > keep) {
      void* const block = take_cached(p, entry->first);
      if (block == nullptr) break;
      std::free(block);
    }
  }
}

// A step that repeats fills its size classes at different times, so more is needed than its peak:
// 1.4 times for Unet-resnet18. Beyond twice it is leftovers: of images of many sizes, say.
size_t worth_caching(const Pool& p) {
  return 2 * p.statistics.most_in_use_bytes - p.statistics.in_use_bytes;
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
    block = take_cached(p, rounded);
    const bool fresh = block == nullptr;
    if (fresh) {
      const bool fits = p.limit == 0 || s.in_use_bytes + s.cached_bytes + rounded <= p.limit;
      if (fits) block = system_allocate(rounded);
      if (block == nullptr) {  // one more try without the cache
        shrink_cache(p, 0);
        if (p.limit != 0 && s.in_use_bytes + rounded > p.limit) out_of_memory(p, bytes);
        block = system_allocate(rounded);
      }
      if (block == nullptr) out_of_memory(p, bytes);
      p.free.try_emplace(rounded, nullptr);  // so that release() need not allocate
      ++s.system_requests;
    }
    s.in_use_bytes += rounded;
    s.peak_in_use_bytes = std::max(s.peak_in_use_bytes, s.in_use_bytes);
    s.most_in_use_bytes = std::max(s.most_in_use_bytes, s.in_use_bytes);
    if (fresh) shrink_cache(p, worth_caching(p));
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
    FreeBlock*& top = p.free.find(rounded)->second;
    top = new (start) FreeBlock{top};
    p.statistics.cached_bytes += rounded;
    shrink_cache(p, worth_caching(p));
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
  shrink_cache(pool(), 0);
}

void set_poison(bool on) {
  pool().poison = on;
}

void set_limit(size_t bytes) {
  const std::scoped_lock lock(pool().mutex);
  pool().limit = bytes;
}

}  // namespace cpu_memory
}  // namespace decant
