#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/allocator.h"
#include "engine/core/dtype.h"

/// What tensors need of a CUDA device, without a CUDA header: engine/cuda defines it, in builds
/// that have a device. All work is queued on the one compute stream, in the order of the calls.
namespace decant::cuda_memory {

/// At least 256-byte aligned. Blocks are kept for reuse, by size classes: a step that repeats takes
/// nothing from the driver. With DECANT_CHECK_MEMORY fresh blocks are filled with NaN, and red
/// zones around them are looked at when they come back. Throws Error with requested, in use, cached
/// and total bytes where the device has no more.
void* allocate(size_t bytes);
void release(void* data, size_t bytes) noexcept;

MemoryStatistics statistics();
void reset_peak();
void release_cache();
void set_poison(bool on);
/// The most that may be taken from the driver; 0 means no limit but the card's.
void set_limit(size_t bytes);

void upload(void* device, const void* host, size_t bytes);
/// Waits for everything that was queued. Throws Error while a step graph is captured: what is read
/// then would be the past.
void download(void* host, const void* device, size_t bytes);
void copy(void* to, const void* from, size_t bytes);
void fill(void* data, int64_t count, DType dtype, double value);
/// sum += term, elementwise, of float32 or bfloat16.
void add(void* sum, const void* term, int64_t count, DType dtype);

/// bfloat16 to = float32 from, rounded to the nearest even.
void round(void* to, const void* from, int64_t count);

/// Another number than before wherever memory may have changed although nobody has written to a
/// tensor since: after each replay of a step graph, and at both ends of its recording, in which
/// nothing runs.
uint64_t epoch();

}  // namespace decant::cuda_memory
