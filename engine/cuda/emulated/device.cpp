#include "engine/cuda/emulated/device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/core/error.h"
#include "engine/cuda/emulated/shared_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace decant::emulated {
namespace {

constexpr size_t kRange = size_t{1} << 40U;  // of addresses: a byte of it is never used twice
constexpr size_t kPage = 4096;

struct Memory {
  std::byte* range = nullptr;
  size_t used = kPage;  // of the range
  size_t total = size_t{16} << 30U;
  size_t in_use = 0;
  size_t shared_limit = kMostShared;
  std::map<const std::byte*, size_t> pieces;     // bytes by start
  std::map<const std::byte*, size_t> forbidden;  // bytes by start
};

// Never destroyed, as the allocator above it.
Memory& memory() {
  static Memory* const instance = [] {
    auto* m = new Memory;
    void* range =
        mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(range != MAP_FAILED, "emulated: no addresses for device memory");
    m->range = static_cast<std::byte*>(range);
    return m;
  }();
  return *instance;
}

size_t pages(size_t bytes) {
  return (std::max<size_t>(bytes, 1) + kPage - 1) / kPage * kPage;
}

}  // namespace

std::recursive_mutex& device_mutex() {
  static auto* const mutex = new std::recursive_mutex;
  return *mutex;
}

void* allocate(size_t bytes) {
  Memory& m = memory();
  const size_t size = pages(bytes);
  if (m.in_use + size > m.total || m.used + size + kPage > kRange) return nullptr;
  std::byte* const start = m.range + m.used;
  if (mprotect(start, size, PROT_READ | PROT_WRITE) != 0) return nullptr;
  m.used += size + kPage;
  m.in_use += size;
  m.pieces[start] = bytes;
  std::memset(start, kPoison, size);
  return start;
}

void release(void* start) {
  Memory& m = memory();
  const auto piece = m.pieces.find(static_cast<std::byte*>(start));
  check(piece != m.pieces.end(),
        "cudaFree: expected device memory that was allocated and not freed");
  const size_t size = pages(piece->second);
  make_accessible(start, size);
  m.in_use -= size;
  m.pieces.erase(piece);
  madvise(start, size, MADV_DONTNEED);
  mprotect(start, size, PROT_NONE);
}

size_t free_bytes() {
  return memory().total - memory().in_use;
}

size_t total_bytes() {
  return memory().total;
}

void set_total_bytes(size_t bytes) {
  memory().total = bytes;
}

size_t shared_limit() {
  return memory().shared_limit;
}

void set_shared_limit(size_t bytes) {
  check(bytes <= kMostShared, "emulated: expected at most ", kMostShared,
        " bytes of shared memory, got ", bytes);
  memory().shared_limit = bytes;
}

bool is_device(const void* address) {
  const auto* p = static_cast<const std::byte*>(address);
  return p >= memory().range && p < memory().range + kRange;
}

void expect_device(const void* start, size_t bytes, const char* what) {
  if (bytes == 0) return;
  check(is_device(start), what, ": expected device memory, got a host pointer");
  const auto& pieces = memory().pieces;
  const auto* p = static_cast<const std::byte*>(start);
  auto piece = pieces.upper_bound(p);
  check(piece != pieces.begin() && p + bytes <= std::prev(piece)->first + std::prev(piece)->second,
        what, ": ", bytes, " bytes reach beyond the device memory that was allocated");
}

void expect_host(const void* start, size_t bytes, const char* what) {
  check(bytes == 0 || !is_device(start), what, ": expected host memory, got a device pointer");
}

void forbid(void* start, size_t bytes) {
  if (bytes == 0) return;
  const std::scoped_lock lock(device_mutex());
  std::memset(start, kPoison, bytes);
  memory().forbidden[static_cast<std::byte*>(start)] = bytes;
  make_inaccessible(start, bytes);
}

void permit(void* start, size_t bytes) {
  if (bytes == 0) return;
  const std::scoped_lock lock(device_mutex());
  memory().forbidden.erase(static_cast<std::byte*>(start));
  make_accessible(start, bytes);
}

void check_forbidden([[maybe_unused]] const std::string& kernel) {
#if !defined(__SANITIZE_ADDRESS__)  // which has stopped the kernel in the act
  constexpr size_t kLooked = 256;   // of each piece: what is written beyond an end begins there
  for (const auto& [start, bytes] : memory().forbidden) {
    const size_t looked = std::min(bytes, kLooked);
    const std::byte* const late = start + bytes - looked;
    const auto written = [](std::byte b) { return b != std::byte{kPoison}; };
    check(
        std::none_of(start, start + looked, written) && std::none_of(late, start + bytes, written),
        "kernel ", kernel, ": wrote beside a tensor");
  }
#endif
}

void make_accessible([[maybe_unused]] const void* start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(start, bytes);
#endif
}

void make_inaccessible([[maybe_unused]] const void* start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(start, bytes);
#endif
}

}  // namespace decant::emulated
