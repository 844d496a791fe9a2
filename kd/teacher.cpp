#include "kd/teacher.h"

#include <utility>

#include "engine/core/error.h"

namespace decant::kd {
namespace {

nn::Network& expected(const std::shared_ptr<nn::Network>& network) {
  check(network != nullptr, "FrozenTeacher: expected a network, got none");
  return *network;
}

}  // namespace

FrozenTeacher::FrozenTeacher(std::shared_ptr<nn::Network> network, TeacherBatchNorm batch_norm)
    : network_(std::move(network)), inference_(expected(network_)), batch_norm_(batch_norm) {}

nn::Output FrozenTeacher::forward(const Variable& images) {
  if (batch_norm_ == TeacherBatchNorm::eval) return inference_.forward(images);
  const NoGrad no_grad;
  return network_->forward(images, {.batch_statistics = true});
}

}  // namespace decant::kd
