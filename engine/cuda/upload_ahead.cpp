#include "engine/cuda/upload_ahead.h"

#include <algorithm>
#include <cstring>

#include "engine/core/parallel.h"
#include "engine/cuda/check.h"
#include "engine/cuda/stream.h"

namespace decant::cuda {
namespace {

constexpr int64_t kPart = int64_t{1} << 20;  // bytes that one thread copies at a time

}  // namespace

struct UploadAhead::State {
  std::byte* pinned = nullptr;
  size_t capacity = 0;
  std::vector<Tensor> arrived;  // where the copy stream writes
  Event uploaded;               // on the copy stream: `pinned` is free again
  Event taken;                  // on the compute stream: `arrived` is free again

  ~State() { release(); }

  void release() noexcept {
    if (pinned == nullptr) return;
    uploaded.synchronize_quietly();
    cudaFreeHost(pinned);
    pinned = nullptr;
    capacity = 0;
  }

  void make_room(size_t bytes) {
    if (bytes <= capacity) return;
    release();
    void* start = nullptr;
    ensure(cudaHostAlloc(&start, bytes, cudaHostAllocDefault), "upload");
    pinned = static_cast<std::byte*>(start);
    capacity = bytes;
  }
};

UploadAhead::UploadAhead() : state_(std::make_unique<State>()) {}
UploadAhead::~UploadAhead() = default;

void UploadAhead::begin(const std::vector<Tensor>& host) {
  State& s = *state_;
  size_t bytes = 0;
  for (const Tensor& t : host) bytes += static_cast<size_t>(t.size()) * size_of(t.dtype());
  s.make_room(bytes);
  const bool fits = std::ranges::equal(host, s.arrived, [](const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && a.dtype() == b.dtype();
  });
  if (!fits) {
    s.arrived.clear();
    for (const Tensor& t : host) s.arrived.emplace_back(t.shape(), t.dtype(), Device::cuda);
    s.taken.record(compute_stream());  // the memory may be in use by what was queued before
  }
  s.uploaded.synchronize();
  s.taken.wait(copy_stream());
  std::byte* start = s.pinned;
  for (size_t i = 0; i < host.size(); ++i) {
    const size_t size = static_cast<size_t>(host[i].size()) * size_of(host[i].dtype());
    const auto* from = with_type(host[i].dtype(), [&]<class T>() {
      return reinterpret_cast<const std::byte*>(host[i].data<T>());
    });
    auto* to = with_type(host[i].dtype(),
                         [&]<class T>() -> void* { return s.arrived[i].mutable_device_data<T>(); });
    parallel_ranges(static_cast<int64_t>(size), kPart, [=](int64_t begin, int64_t end) {
      std::memcpy(start + begin, from + begin, static_cast<size_t>(end - begin));
    });
    ensure(cudaMemcpyAsync(to, start, size, cudaMemcpyHostToDevice, copy_stream()), "upload");
    start += size;
  }
  s.uploaded.record(copy_stream());
}

void UploadAhead::take(std::vector<Tensor> inputs) {
  State& s = *state_;
  check(inputs.size() == s.arrived.size(), "upload: expected places for ", s.arrived.size(),
        " tensors, got ", inputs.size());
  s.uploaded.wait(compute_stream());
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i].copy_from(s.arrived[i]);
  s.taken.record(compute_stream());
}

}  // namespace decant::cuda
