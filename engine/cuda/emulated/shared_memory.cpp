#include "engine/cuda/emulated/shared_memory.h"

#include <algorithm>
#include <vector>

#include "engine/core/error.h"
#include "engine/cuda/emulated/block.h"
#include "engine/cuda/emulated/device.h"

namespace decant::emulated {
namespace {

constexpr size_t kZone = 128;
constexpr size_t kArena = kMostShared + 256 * kZone;

struct Object {
  const void* site;  // nullptr: the dynamic part
  unsigned char* start;
  size_t bytes;
};

alignas(1024) unsigned char arena[kArena];
std::vector<Object> objects;
size_t used = 0;             // of the arena, zones included
size_t high_water = kArena;  // what the blocks before may have written to
size_t declared_bytes = 0;
size_t declared_most = 0;

unsigned char* place_object(const void* site, size_t bytes) {
  const size_t padded = (bytes + kZone - 1) / kZone * kZone;
  check(used + padded + kZone <= kArena, "emulated: too many shared objects");
  unsigned char* const start = arena + used;
  used += padded + kZone;
  high_water = std::max(high_water, used);
  objects.push_back({site, start, bytes});
  make_accessible(start, bytes);
  return start;
}

}  // namespace

void begin_shared_memory(size_t dynamic_bytes, size_t declared_limit) {
  make_accessible(arena, high_water);
  std::memset(arena, kPoison, high_water);
  make_inaccessible(arena, kArena);
  high_water = 0;
  objects.clear();
  declared_bytes = 0;
  declared_most = declared_limit;
  used = kZone;
  place_object(nullptr, dynamic_bytes);
}

std::string damaged_shared_memory() {
  make_accessible(arena, used);
  const unsigned char* zone = arena;
  const auto damaged = [](const unsigned char* begin, const unsigned char* end) {
    return std::any_of(begin, end, [](unsigned char b) { return b != kPoison; });
  };
  for (const Object& object : objects) {
    if (damaged(zone, object.start)) return "write before a shared array";
    zone = object.start + object.bytes;
  }
  return damaged(zone, arena + used) ? "write behind a shared array" : "";
}

bool is_shared(const void* start, size_t bytes) {
  const auto* p = static_cast<const unsigned char*>(start);
  return std::ranges::any_of(
      objects, [&](const Object& o) { return p >= o.start && p + bytes <= o.start + o.bytes; });
}

void* shared_object(const void* site, size_t bytes) {
  const auto found = std::ranges::find(objects, site, &Object::site);
  if (found != objects.end()) return found->start;
  declared_bytes += bytes;
  check(declared_bytes <= declared_most, "shared memory: expected at most ", declared_most,
        " declared bytes beside ", objects.front().bytes, " dynamic ones, got ", declared_bytes);
  return place_object(site, bytes);
}

void* dynamic_shared() {
  return objects.front().start;
}

}  // namespace decant::emulated
