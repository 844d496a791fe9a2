#pragma once

#include <cstddef>
#include <functional>
#include <source_location>
#include <string>

#include "engine/cuda/emulated/vector_types.h"

// How a grid runs on the CPU: block by block, the threads of a block as fibers. A thread runs until
// it must wait for others (a barrier, a shuffle); the last to arrive lets them go on.

namespace decant::emulated {

struct Launch {
  std::string kernel;  ///< the op that launched it
  dim3 grid;
  dim3 block;
  size_t shared_bytes;           ///< dynamic ones
  size_t declared_shared_limit;  ///< how many bytes of declared arrays may lie beside them
  std::function<void()> body;    ///< kernel(arguments...), the arguments copied
};

/// Runs all blocks. Throws Error naming kernel, block and thread where one misbehaves.
void run_grid(const Launch& launch);

// ---- what a running thread asks for -------------------------------------------------------------

using Place = std::source_location;

/// Waits for all threads of the block. That some left, or wait elsewhere, is an Error.
void wait_for_block(const Place& place);

/// Throws Error where the block has more threads than `most`.
void expect_threads(unsigned most);

/// What the lanes of a warp do together: gets what each lane handed to meet(), nullptr for lanes
/// that the mask does not name.
using Collective = void (*)(void* const* lanes);
/// Waits for the lanes of `mask`; the last to come runs `together` for all.
void meet(const char* what, unsigned mask, void* mine, Collective together, const Place& place);

/// This block's object of a declaration: `site` tells declarations apart.
void* shared_object(const void* site, size_t bytes);
void* dynamic_shared();

/// Copies 16 bytes to shared memory, of which `valid` come from `from` and the rest are zero, once
/// the thread waits for the group that it commits them to. Until then they are poisoned.
void copy_async(void* to, const void* from, unsigned valid);
void commit_copies();
/// Completes all groups but the `pending` last.
void wait_copies(unsigned pending);

/// Throws Error with `message`, to which kernel, block and thread are added.
[[noreturn]] void fault(const std::string& message);

}  // namespace decant::emulated

// The built-in variables of the thread that runs: variables, so that a debugger shows them.
inline uint3 threadIdx;
inline uint3 blockIdx;
inline dim3 blockDim;
inline dim3 gridDim;
inline constexpr int warpSize = 32;
