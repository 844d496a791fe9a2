#pragma once

// Stands in for the CUDA toolkit's header of this name in builds for the emulated device: the part
// of the runtime that the project uses, by its own names. Never on nvcc's include path.

#include <cstddef>

#include "engine/cuda/emulated/kernel_language.h"
#include "engine/cuda/emulated/runtime.h"
