#include "engine/check/device_check.h"

#include "engine/check/reference_check.h"
#include "engine/core/on_device.h"
#ifdef DECANT_EMULATED
#include "engine/cuda/emulated/schedule.h"
#endif

namespace decant {
namespace {

Outcome run_on_cuda(const OpRow& row, const Given& given) {
  Tensors inputs;
  for (const Tensor& x : given.inputs) inputs.push_back(x.to(Device::cuda));
  Outcome outcome = run(row, inputs, differentiable_inputs(row), given.weights);
  check(outcome.y.device() == Device::cuda, row.op, ": the value does not lie on cuda");
  outcome.y = outcome.y.to(Device::cpu);
  for (Tensor& dx : outcome.gradients)
    if (dx.defined()) dx = dx.to(Device::cpu);
  return outcome;
}

#ifdef DECANT_EMULATED
// While it lives, the device takes its liberties: blocks and threads in another order, and
// everything as late as it may be.
struct OtherSchedule : emulated::AtSchedule {
  OtherSchedule() : AtSchedule(another()) {}
};
#else
struct OtherSchedule {};
#endif

// Fresh memory is full of NaN, so that an element which is read or left unwritten shows; and the
// second run takes another order where the device lets us choose it.
CheckResult check_on_cuda(const OpRow& row, const Given& given) {
  const AtPrecision mode(given.mode);
  const Poison poison;
  const Outcome first = run_on_cuda(row, given);
  {
    [[maybe_unused]] const OtherSchedule guard;
    if (const std::string d = difference(first, run_on_cuda(row, given)); !d.empty())
      return failed(str("run twice, ", d, " differs"));
  }
  return compare_with_reference(row, given, first);
}

InputSet stored_inputs(const OpRow& row) {
  const OpInfo* op = op_of(row);
  return op == nullptr ? kNoInput : op->stored;
}

}  // namespace

bool can_be_stored(const OpRow& row) {
  return stored_inputs(row) != kNoInput;
}

bool multiplies(const OpRow& row) {
  const OpInfo* op = op_of(row);
  return op != nullptr && op->multiplied != kNoInput;
}

CheckResult check_cuda(const OpRow& row, Precision mode) {
  return check_on_cuda(
      row, {.device = Device::cuda, .inputs = inputs_as(row, DType::f32), .mode = mode});
}

CheckResult check_cuda_bf16(const OpRow& row) {
  Given given = {
      .device = Device::cuda, .inputs = inputs_as(row, DType::f32), .weights = DType::bf16};
  for (size_t i = 0; i < given.inputs.size(); ++i)
    if ((stored_inputs(row) >> i & 1U) != 0)
      given.inputs[i] = to_real(given.inputs[i], DType::bf16);
  return check_on_cuda(row, given);
}

}  // namespace decant
