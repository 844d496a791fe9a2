#pragma once

#include <functional>
#include <span>

#include "engine/autograd/trace.h"
#include "engine/core/tensor.h"

namespace decant {

/// A traced step as a function of its inputs, those that were absent left out: the op itself, with
/// the options that it was traced with.
/// Throws Error where can_replay says no.
std::function<Tensor(std::span<const Tensor>)> replay(const Trace::Step& step);
bool can_replay(const Trace::Step& step);

}  // namespace decant
