#include "kd/teacher.h"

#include <utility>

#include "engine/core/error.h"

namespace decant::kd {

FrozenTeacher::FrozenTeacher(std::shared_ptr<nn::Network> network, TeacherBatchNorm batch_norm)
    : network_(std::move(network)), batch_norm_(batch_norm) {
  check(network_ != nullptr, "FrozenTeacher: expected a network, got none");
}

nn::Output FrozenTeacher::forward(const Variable& images) {
  const NoGrad no_grad;
  return network_->forward(images, {.batch_statistics = batch_norm_ == TeacherBatchNorm::batch});
}

}  // namespace decant::kd
