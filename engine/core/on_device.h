#pragma once

#include <string_view>

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

namespace decant {

inline constexpr char kNoKernelYet[] = "has no CUDA kernel yet";

/// For what reads a tensor on the host until its CUDA kernel is written.
inline void expect_on_host(std::string_view what, const Tensor& t) {
  check(!t.defined() || t.device() == Device::cpu, what, ": ", kNoKernelYet);
}

}  // namespace decant

// As ON_DEVICE, while f's CUDA kernel is not written. What is left to write is what ON_HOST and
// expect_on_host name; both go with the last of them.
#define ON_HOST(t, f, ...) (expect_on_host(#f, t), cpu::f(__VA_ARGS__))
