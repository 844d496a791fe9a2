#include "engine/cuda/emulated/fiber.h"

#include <sys/mman.h>

#include <cstdint>

#include "engine/core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// swapcontext would do, and asks the kernel for the signal mask at every switch; this takes 5 ns.
// Saves what a called function must preserve on the old stack, and its top at *save; then the same
// backwards on the new one.
extern "C" void decant_switch_stack(void** save, void* load);
asm(R"(
.text
.globl decant_switch_stack
.type decant_switch_stack, @function
decant_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size decant_switch_stack, .-decant_switch_stack
)");
#else
#include <ucontext.h>
#endif

namespace decant::emulated {
namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // of which the system gives what is touched
constexpr size_t kGuardBytes = size_t{4} << 10;

}  // namespace

struct Fiber::Context {
  std::byte* memory = nullptr;
  void (*run)() = nullptr;
#if defined(__x86_64__)
  void* inside = nullptr;   // top of the stack while the fiber is left
  void* outside = nullptr;  // of whoever entered it
#else
  ucontext_t inside;
  ucontext_t outside;
#endif
  void* fake_stack_inside = nullptr;  // AddressSanitizer's
  void* fake_stack_outside = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_bytes = 0;

  const void* bottom() const { return memory + kGuardBytes; }

  static Context* current;
};

Fiber::Context* Fiber::Context::current = nullptr;

Fiber::Fiber(void (*run)()) : context_(std::make_unique<Context>()) {
  Context& c = *context_;
  c.run = run;
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(memory != MAP_FAILED, "emulated: no memory for the stack of a thread");
  mprotect(memory, kGuardBytes, PROT_NONE);
  c.memory = static_cast<std::byte*>(memory);
#if defined(__x86_64__)
  // As decant_switch_stack leaves a stack: six registers, then where to return to. The stack is
  // aligned as at the beginning of a function, and a return address of 0 ends it for unwinders.
  auto* top = reinterpret_cast<uint64_t*>(c.memory + kGuardBytes + kStackBytes) - 2;
  top[0] = reinterpret_cast<uint64_t>(&Fiber::begin);
  top[1] = 0;
  for (int i = 0; i < 6; ++i) *--top = 0;
  c.inside = top;
#else
  getcontext(&c.inside);
  c.inside.uc_stack.ss_sp = c.memory + kGuardBytes;
  c.inside.uc_stack.ss_size = kStackBytes;
  c.inside.uc_link = nullptr;
  makecontext(&c.inside, &Fiber::begin, 0);
#endif
}

Fiber::~Fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(context_->bottom(), kStackBytes);
#endif
  munmap(context_->memory, kGuardBytes + kStackBytes);
}

void Fiber::begin() {
  [[maybe_unused]] Context& c = *Context::current;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &c.outside_bottom, &c.outside_bytes);
#endif
  c.run();
}

void Fiber::enter() {
  Context& c = *context_;
  Context::current = &c;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&c.fake_stack_outside, c.bottom(), kStackBytes);
#endif
#if defined(__x86_64__)
  decant_switch_stack(&c.outside, c.inside);
#else
  swapcontext(&c.outside, &c.inside);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(c.fake_stack_outside, nullptr, nullptr);
#endif
  Context::current = nullptr;
}

void Fiber::leave() {
  Context& c = *Context::current;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&c.fake_stack_inside, c.outside_bottom, c.outside_bytes);
#endif
#if defined(__x86_64__)
  decant_switch_stack(&c.inside, c.outside);
#else
  swapcontext(&c.inside, &c.outside);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(c.fake_stack_inside, &c.outside_bottom, &c.outside_bytes);
#endif
}

}  // namespace decant::emulated
