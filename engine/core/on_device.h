#pragma once

#include "engine/core/tensor.h"

// ON_DEVICE(t, f, args...) calls cuda::f(args...) or cpu::f(args...), whichever owns t's memory.
// In a CUDA build a kernel that was never written is a link error, not a surprise at run time; in a
// CPU build cuda:: is never named.
#ifdef DECANT_WITH_CUDA
#define ON_DEVICE(t, f, ...) \
  ((t).device() == Device::cuda ? cuda::f(__VA_ARGS__) : cpu::f(__VA_ARGS__))
#else
#define ON_DEVICE(t, f, ...)                                                       \
  (check((t).device() == Device::cpu, #f ": this program was built without CUDA"), \
   cpu::f(__VA_ARGS__))
#endif
