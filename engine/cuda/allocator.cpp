// The storage of tensors on cuda (see core/cuda_memory.h).
//
// Everything runs on one stream, so a block that is given back may be handed out at once: whoever
// gets it queues its work behind that of the last owner.
#include <algorithm>
#include <bit>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "engine/core/cuda_memory.h"
#include "engine/core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/memory_pool.h"
#include "engine/cuda/stream.h"

#ifdef DECANT_CHECK_MEMORY
#define DECANT_RED_ZONES 1
#else
#define DECANT_RED_ZONES 0
#endif

namespace decant::cuda {
namespace {

constexpr size_t kRedZone = DECANT_RED_ZONES ? 256 : 0;  // keeps the data aligned
constexpr unsigned char kPoisonByte = 0xFF;              // two, four or eight of them are a NaN

// What a request is rounded up to: 4, 5, 6 or 7 quarters of a power of two, 256 at least. So at
// most a quarter is wasted.
size_t size_class(size_t bytes) {
  bytes = std::max(bytes, size_t{256});
  const size_t quarter = std::bit_floor(bytes) / 4;
  return (bytes + quarter - 1) / quarter * quarter;
}

struct Block {
  size_t rounded = 0;
  MemoryPool* owner = nullptr;
  size_t guarded_bytes = 0;  // of data between red zones
  bool guarded = false;
};

struct State {
  std::mutex mutex;
  MemoryPool eager;
  std::unordered_map<void*, Block> blocks;  // every block from the driver, by its start
  MemoryStatistics statistics;
  size_t most_in_use_bytes = 0;  // at once, ever
  size_t limit = 0;
  bool damaged = false;
  bool poison = DECANT_RED_ZONES != 0;
};

// Never destroyed: tensors in static storage may be released after it otherwise.
State& state() {
  static State* const instance = new State;
  return *instance;
}

thread_local MemoryPool* active_pool = nullptr;

// What counts the free blocks of a pool: those of graphs are no cache, nobody else may have them.
size_t& free_bytes_of(State& s, const MemoryPool& pool) {
  return &pool == &s.eager ? s.statistics.cached_bytes : s.statistics.graph_bytes;
}

void* take_free(State& s, MemoryPool& pool, size_t rounded) {
  const auto found = pool.free.find(rounded);
  if (found == pool.free.end() || found->second.empty()) return nullptr;
  void* const block = found->second.back();
  found->second.pop_back();
  free_bytes_of(s, pool) -= rounded;
  return block;
}

void give_to_driver(State& s, void* block) {
  s.blocks.erase(block);
  cudaFree(block);  // waits for the device, so nothing queued still uses it
}

// Gives eager code's free blocks back, largest first, until at most `keep` bytes are cached.
void shrink_cache(State& s, size_t keep) {
  for (auto entry = s.eager.free.rbegin(); entry != s.eager.free.rend(); ++entry)
    while (s.statistics.cached_bytes > keep) {
      void* const block = take_free(s, s.eager, entry->first);
      if (block == nullptr) break;
      give_to_driver(s, block);
    }
}

void* ask_driver(State& s, size_t rounded) {
  const MemoryStatistics& m = s.statistics;
  if (s.limit != 0 && m.in_use_bytes + m.cached_bytes + m.graph_bytes + rounded > s.limit)
    return nullptr;
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, rounded);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  ensure(status, "allocate");
  ++s.statistics.system_requests;
  return block;
}

void* new_block(State& s, MemoryPool& pool, size_t requested, size_t rounded) {
  void* block = ask_driver(s, rounded);
  if (block == nullptr && !capturing()) {  // one more try without the cache
    shrink_cache(s, 0);
    block = ask_driver(s, rounded);
  }
  if (block == nullptr) {
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    throw Error(str("allocate: out of device memory, requested ", requested, " bytes, in use ",
                    s.statistics.in_use_bytes, ", kept by step graphs ", s.statistics.graph_bytes,
                    ", cached ", s.statistics.cached_bytes, ", total ",
                    s.limit == 0 ? total_bytes : std::min(s.limit, total_bytes)));
  }
  s.blocks[block] = {.rounded = rounded, .owner = &pool};
  // Room for all blocks of this size, so that release() need not allocate.
  std::vector<void*>& free = pool.free[rounded];
  const auto same_size = std::ranges::count_if(
      s.blocks, [rounded](const auto& entry) { return entry.second.rounded == rounded; });
  free.reserve(static_cast<size_t>(same_size));
  s.eager.free[rounded].reserve(static_cast<size_t>(same_size));
  return block;
}

// ---- red zones: before the data and after it, in builds that check memory
// ------------------------

unsigned char* data_of(void* block) {
  return static_cast<unsigned char*>(block) + kRedZone;
}

void lay_red_zones(void* block, Block& record, size_t bytes) {
  const auto end = data_of(block) + bytes;
  const size_t rest = record.rounded - kRedZone - bytes;
#ifdef DECANT_EMULATED  // in the stream: what is queued may still use the block as it was
  emulated::enqueue(compute_stream(), [=] {
    emulated::forbid(block, kRedZone);
    emulated::forbid(end, rest);
  });
#else
  ensure(cudaMemsetAsync(block, kPoisonByte, kRedZone, compute_stream()), "allocate");
  ensure(cudaMemsetAsync(end, kPoisonByte, std::min(rest, kRedZone), compute_stream()), "allocate");
#endif
  record.guarded = true;
  record.guarded_bytes = bytes;
}

// Whether the red zones are as they were laid. The emulated device looks after every kernel itself.
bool lift_red_zones(void* block, Block& record) {
  if (!std::exchange(record.guarded, false)) return true;
  const size_t rest = record.rounded - kRedZone - record.guarded_bytes;
  unsigned char* const end = data_of(block) + record.guarded_bytes;
#ifdef DECANT_EMULATED
  const auto lift = [=] {
    emulated::permit(block, kRedZone);
    emulated::permit(end, rest);
  };
  capturing() ? lift() : emulated::enqueue(compute_stream(), lift);
  return true;
#else
  if (capturing()) return true;
  const size_t after = std::min(rest, kRedZone);
  std::vector<unsigned char> zones(kRedZone + after);
  cudaMemcpyAsync(zones.data(), block, kRedZone, cudaMemcpyDeviceToHost, compute_stream());
  cudaMemcpyAsync(zones.data() + kRedZone, end, after, cudaMemcpyDeviceToHost, compute_stream());
  cudaStreamSynchronize(compute_stream());
  return std::ranges::all_of(zones, [](auto b) { return b == kPoisonByte; });
#endif
}

}  // namespace

MemoryPool::~MemoryPool() {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  for (auto& [rounded, blocks] : free)
    for (void* block : blocks) {
      s.statistics.graph_bytes -= rounded;
      give_to_driver(s, block);
    }
  for (auto& [start, block] : s.blocks)
    if (block.owner == this) block.owner = &s.eager;
}

PoolScope::PoolScope(MemoryPool& pool) : previous_(std::exchange(active_pool, &pool)) {}
PoolScope::~PoolScope() {
  active_pool = previous_;
}

}  // namespace decant::cuda

namespace decant::cuda_memory {

using namespace decant::cuda;

void* allocate(size_t bytes) {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  if (std::exchange(s.damaged, false))
    throw Error("allocate: device memory beside an earlier tensor was overwritten");
  MemoryPool& pool = active_pool == nullptr ? s.eager : *active_pool;
  const size_t rounded = size_class(bytes + 2 * kRedZone);
  void* block = take_free(s, pool, rounded);
  if (block == nullptr) block = new_block(s, pool, bytes, rounded);
  s.statistics.in_use_bytes += rounded;
  s.statistics.peak_in_use_bytes =
      std::max(s.statistics.peak_in_use_bytes, s.statistics.in_use_bytes);
  s.most_in_use_bytes = std::max(s.most_in_use_bytes, s.statistics.in_use_bytes);
  // A graph hands one block to several tensors in turn, whose red zones would lie in each other's
  // data when it is replayed.
  if (kRedZone > 0 && active_pool == nullptr) lay_red_zones(block, s.blocks[block], bytes);
  if (s.poison && bytes > 0)
    ensure(cudaMemsetAsync(data_of(block), kPoisonByte, bytes, compute_stream()), "allocate");
  return data_of(block);
}

void release(void* data, size_t /*bytes*/) noexcept {
  if (data == nullptr) return;
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  void* const start = static_cast<unsigned char*>(data) - kRedZone;
  Block& block = s.blocks.find(start)->second;
  if (!lift_red_zones(start, block)) s.damaged = true;
  // A graph that is recorded and read it must find it as it is when it is replayed. A block of
  // another graph goes back to that one: nothing but its replays touches it there.
  if (active_pool != nullptr && block.owner == &s.eager) {
    block.owner = active_pool;
    active_pool->free[block.rounded];
  }
  block.owner->free[block.rounded].push_back(start);
  s.statistics.in_use_bytes -= block.rounded;
  free_bytes_of(s, *block.owner) += block.rounded;
  // A step that repeats fills its size classes at different times, so more is needed than its peak:
  // 1.4 times for Unet-resnet18. Beyond twice it is leftovers: of images of many sizes, say.
  const size_t keep = 2 * s.most_in_use_bytes - s.statistics.in_use_bytes;
  if (active_pool == nullptr && s.statistics.cached_bytes > keep) shrink_cache(s, keep);
}

MemoryStatistics statistics() {
  const std::scoped_lock lock(state().mutex);
  return state().statistics;
}

void reset_peak() {
  const std::scoped_lock lock(state().mutex);
  state().statistics.peak_in_use_bytes = state().statistics.in_use_bytes;
}

void release_cache() {
  const std::scoped_lock lock(state().mutex);
  shrink_cache(state(), 0);
}

void set_poison(bool on) {
  const std::scoped_lock lock(state().mutex);
  state().poison = on;
}

void set_limit(size_t bytes) {
  const std::scoped_lock lock(state().mutex);
  state().limit = bytes;
}

}  // namespace decant::cuda_memory
