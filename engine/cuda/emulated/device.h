#pragma once

#include <cstddef>
#include <mutex>
#include <string>

// The memory of the emulated device: a range of addresses of its own, so that a host pointer given
// for a device one is known, and the reverse.

namespace decant::emulated {

/// One thing happens on the device at a time, whichever host thread asks for it. Recursive, since
/// work that runs may ask for more.
std::recursive_mutex& device_mutex();

/// Page-aligned, followed and preceded by pages that nobody may touch; nullptr where no more is
/// left of the device's memory.
void* allocate(size_t bytes);
/// Throws Error unless `start` came from allocate().
void release(void* start);

size_t free_bytes();
size_t total_bytes();
/// How large the device's memory is; 16 GB to begin with.
void set_total_bytes(size_t bytes);

/// The most shared memory that a block may have, 227 KB to begin with, as on an H100; other cards
/// have less. Throws Error for more.
size_t shared_limit();
void set_shared_limit(size_t bytes);

/// Sets the limit while it lives.
class AtSharedLimit {
 public:
  explicit AtSharedLimit(size_t bytes) : previous_(shared_limit()) { set_shared_limit(bytes); }
  ~AtSharedLimit() { set_shared_limit(previous_); }
  AtSharedLimit(const AtSharedLimit&) = delete;
  AtSharedLimit& operator=(const AtSharedLimit&) = delete;

 private:
  size_t previous_;
};

/// Whether the address lies in the range that device memory is taken from.
bool is_device(const void* address);
/// Throws Error naming `what` unless the bytes lie in one piece of device memory.
void expect_device(const void* start, size_t bytes, const char* what);
/// Throws Error naming `what` if the bytes touch the device's range.
void expect_host(const void* start, size_t bytes, const char* what);

/// Fills a part of device memory with NaN that no kernel may touch. Under AddressSanitizer touching
/// it is a report; otherwise a write is an Error at the end of the kernel, and a read shows as NaN.
void forbid(void* start, size_t bytes);
void permit(void* start, size_t bytes);
/// Throws Error naming `kernel` if forbidden memory was written to since it was forbidden.
void check_forbidden(const std::string& kernel);

/// What AddressSanitizer lets through; nothing in builds without it.
void make_accessible(const void* start, size_t bytes);
void make_inaccessible(const void* start, size_t bytes);

}  // namespace decant::emulated
