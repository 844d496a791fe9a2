#pragma once

#include <cstddef>
#include <memory>

namespace decant::emulated {

/// A stack of its own on which a function runs, is left in the middle and gone on with later.
/// One thread of the host at a time uses fibers (see Device).
class Fiber {
 public:
  /// `run` is called when the fiber is first entered, and must not return: it leaves.
  explicit Fiber(void (*run)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Goes on in this fiber; returns when it leaves. Called from outside of any fiber.
  void enter();
  /// Goes back to whoever entered the fiber that runs.
  static void leave();

 private:
  struct Context;
  static void begin();

  std::unique_ptr<Context> context_;
};

}  // namespace decant::emulated
