#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <mutex>

#include "engine/core/cuda_memory.h"
#include "engine/cuda/check.h"
#include "engine/cuda/launch_count.h"
#include "engine/cuda/stream.h"

namespace decant::cuda_memory {
namespace {

using cuda::compute_stream;
using cuda::ensure;

// Where bytes wait for their copy to the device: from pinned memory a copy is queued like a kernel,
// while from any other the driver may wait for the stream. A slot is used again once its copy is
// done, and made when it is needed; all together hold more than a batch.
class Staging {
 public:
  static Staging& instance() {
    static Staging* const staging = new Staging;  // never destroyed, as the stream
    return *staging;
  }

  void upload(std::byte* device, const std::byte* host, size_t bytes) {
    const std::scoped_lock lock(mutex_);
    while (bytes > 0) {
      Slot& slot = free_slot();
      const size_t part = std::min(bytes, kSlotBytes);
      std::memcpy(slot.start, host, part);
      ensure(cudaMemcpyAsync(device, slot.start, part, cudaMemcpyHostToDevice, compute_stream()),
             "upload");
      slot.copied.record(compute_stream());
      slot.turn = ++turns_;
      device += part;
      host += part;
      bytes -= part;
    }
  }

 private:
  static constexpr size_t kSlotBytes = size_t{4} << 20U;

  struct Slot {
    void* start = nullptr;
    cuda::Event copied;
    uint64_t turn = 0;
  };

  // One whose copy is done; else a new one; else that of the oldest copy.
  Slot& free_slot() {
    for (Slot& slot : slots_) {
      if (slot.start != nullptr && !slot.copied.reached()) continue;
      if (slot.start == nullptr)
        ensure(cudaHostAlloc(&slot.start, kSlotBytes, cudaHostAllocDefault), "upload");
      return slot;
    }
    Slot& oldest = *std::ranges::min_element(slots_, {}, &Slot::turn);
    oldest.copied.synchronize();
    return oldest;
  }

  std::mutex mutex_;
  std::array<Slot, 16> slots_;
  uint64_t turns_ = 0;
};

}  // namespace

void upload(void* device, const void* host, size_t bytes) {
  check(!cuda::capturing(),
        "upload: expected no copy from the host while a step graph is captured");
  Staging::instance().upload(static_cast<std::byte*>(device), static_cast<const std::byte*>(host),
                             bytes);
}

void download(void* host, const void* device, size_t bytes) {
  check(!cuda::capturing(),
        "download: expected no read of the device while a step graph is captured");
  ensure(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, compute_stream()),
         "download");
  cuda::synchronize("download");
}

void copy(void* to, const void* from, size_t bytes) {
  ensure(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, compute_stream()), "copy");
  cuda::count_launch("copy");
}

}  // namespace decant::cuda_memory
