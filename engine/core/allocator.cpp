#include "engine/core/allocator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <span>
#include <utility>

#include "engine/core/arena.h"
#include "engine/core/error.h"

#ifdef DECANT_CHECK_MEMORY
#define DECANT_RED_ZONES 1
#else
#define DECANT_RED_ZONES 0
#endif

namespace decant::cpu_memory {
namespace {

constexpr size_t kRedZone = DECANT_RED_ZONES ? Arena::kAlignment : 0;
constexpr unsigned char kRedZoneByte = 0xFD;
constexpr unsigned char kPoisonByte = 0xFF;  // four or eight of them are a NaN

struct Pool {
  std::mutex mutex;
  Arena arena;
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

#ifdef __SANITIZE_ADDRESS__
constexpr bool kWithAddressSanitizer = true;
// Blocks of the system's own: an arena would hide use after free from AddressSanitizer.
void* take(Pool&, size_t bytes) {
  return std::aligned_alloc(Arena::kAlignment, bytes);
}

void give_back(Pool&, void* block, size_t) noexcept {
  std::free(block);
}
#else
constexpr bool kWithAddressSanitizer = false;
void* take(Pool& p, size_t bytes) {
  return p.arena.take(bytes);
}

void give_back(Pool& p, void* block, size_t bytes) noexcept {
  p.arena.give_back(block, bytes);
}
#endif

// What a block takes of memory: whole multiples of the alignment, red zones included.
size_t block_size(size_t bytes) {
  constexpr size_t kUnit = Arena::kAlignment;
  return std::max(kUnit, (bytes + 2 * kRedZone + kUnit - 1) / kUnit * kUnit);
}

size_t cached_bytes(const Pool& p) {
  const size_t taken = p.arena.size();  // none with AddressSanitizer
  return taken - std::min(taken, p.statistics.in_use_bytes);
}

[[noreturn]] void out_of_memory(const Pool& p, size_t requested) {
  const auto limit = p.limit == 0 ? std::string("none") : str(p.limit, " bytes");
  throw Error(str("allocate: out of memory, requested ", requested, " bytes, in use ",
                  p.statistics.in_use_bytes, ", cached ", cached_bytes(p), ", limit ", limit));
}

// Null where the limit or the system forbids it.
unsigned char* take_counted(Pool& p, size_t bytes) {
  MemoryStatistics& s = p.statistics;
  if (p.limit != 0 && s.in_use_bytes + bytes > p.limit) return nullptr;
  auto* const block = static_cast<unsigned char*>(take(p, bytes));
  if (block == nullptr) return nullptr;
  s.in_use_bytes += bytes;
  s.peak_in_use_bytes = std::max(s.peak_in_use_bytes, s.in_use_bytes);
  return block;
}

// The red zones of a block: before the data, and after it.
std::array<std::span<unsigned char>, 2> red_zones(unsigned char* block, size_t bytes) {
  return {std::span(block, kRedZone), std::span(block + kRedZone + bytes, kRedZone)};
}

// What a thread keeps while it works on a loop.
class KeptBlocks {
 public:
  bool on = false;

  unsigned char* take(size_t bytes) {
    const auto end = blocks_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto found = std::ranges::find(blocks_.begin(), end, bytes, &Block::bytes);
    if (found == end) return nullptr;
    unsigned char* const data = found->data;
    *found = blocks_[--count_];
    return data;
  }
  bool keep(unsigned char* data, size_t bytes) {
    constexpr size_t kLargest = size_t{512} << 10U;
    if (!on || bytes > kLargest || count_ == blocks_.size()) return false;
    blocks_[count_++] = {data, bytes};
    return true;
  }
  void give_back_all() noexcept {
    if (count_ == 0) return;
    Pool& p = pool();
    const std::scoped_lock lock(p.mutex);
    give_back_all(p);
  }
  // While the pool is locked.
  void give_back_all(Pool& p) noexcept {
    for (; count_ > 0; --count_) {
      const Block& block = blocks_[count_ - 1];
      p.statistics.in_use_bytes -= block.bytes;
      give_back(p, block.data, block.bytes);
    }
  }

 private:
  struct Block {
    unsigned char* data;
    size_t bytes;
  };
  std::array<Block, 8> blocks_ = {};
  size_t count_ = 0;
};

thread_local KeptBlocks kept;

// Tools that look for damage want to see each block come and go.
constexpr bool kMayKeep = kRedZone == 0 && !kWithAddressSanitizer;

}  // namespace

KeepBlocks::KeepBlocks() : previous_(std::exchange(kept.on, kMayKeep)) {}

KeepBlocks::~KeepBlocks() {
  kept.on = previous_;
  if (!previous_) kept.give_back_all();
}

void* allocate(size_t bytes) {
  Pool& p = pool();
  const size_t rounded = block_size(bytes);
  unsigned char* block = kept.take(rounded);
  if (block == nullptr) {
    const std::scoped_lock lock(p.mutex);
    if (p.damaged.exchange(false))
      throw Error("allocate: memory beside an earlier tensor was overwritten");
    block = take_counted(p, rounded);
    if (block == nullptr) {
      kept.give_back_all(p);
      block = take_counted(p, rounded);
    }
    if (block == nullptr) out_of_memory(p, bytes);
  }
  for (const auto zone : red_zones(block, bytes)) std::ranges::fill(zone, kRedZoneByte);
  if (p.poison) std::memset(block + kRedZone, kPoisonByte, bytes);
  return block + kRedZone;
}

void release(void* data, size_t bytes) noexcept {
  if (data == nullptr) return;
  Pool& p = pool();
  auto* const block = static_cast<unsigned char*>(data) - kRedZone;
  for (const auto zone : red_zones(block, bytes))
    if (std::ranges::any_of(zone, [](auto b) { return b != kRedZoneByte; })) p.damaged = true;
  if (kRedZone > 0) std::memset(data, kPoisonByte, bytes);
  const size_t rounded = block_size(bytes);
  if (kept.keep(block, rounded)) return;
  const std::scoped_lock lock(p.mutex);
  p.statistics.in_use_bytes -= rounded;
  give_back(p, block, rounded);
}

MemoryStatistics statistics() {
  Pool& p = pool();
  const std::scoped_lock lock(p.mutex);
  p.statistics.cached_bytes = cached_bytes(p);
  p.statistics.system_requests = p.arena.requests();
  return p.statistics;
}

void reset_peak() {
  const std::scoped_lock lock(pool().mutex);
  pool().statistics.peak_in_use_bytes = pool().statistics.in_use_bytes;
}

void set_poison(bool on) {
  pool().poison = on;
}

void set_limit(size_t bytes) {
  const std::scoped_lock lock(pool().mutex);
  pool().limit = bytes;
}

}  // namespace decant::cpu_memory
