#pragma once

#include <cstddef>
#include <cstring>
#include <string>

// The shared memory of the block that runs: its objects in one arena, with red zones between them,
// poisoned anew for each block.

namespace decant::emulated {

/// Four of them are a NaN: what was never written shows in the result.
inline constexpr unsigned char kPoison = 0xFF;

/// How much of it any card has.
inline constexpr size_t kMostShared = 227 << 10;

/// A new block's: of dynamic bytes, and at most so many of declared arrays.
void begin_shared_memory(size_t dynamic_bytes, size_t declared_limit);
/// What was written to a red zone, "" if nothing.
std::string damaged_shared_memory();
/// Whether the bytes lie in one object of this block's shared memory.
bool is_shared(const void* start, size_t bytes);

}  // namespace decant::emulated
