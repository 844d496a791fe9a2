#pragma once

#include <memory>

#include "kd/spec.h"
#include "nn/inference.h"
#include "nn/network.h"

namespace decant::kd {

/// A trained network that only answers: no gradient, nothing saved for backward, its weights and
/// running statistics never written. What it returns are constants.
class FrozenTeacher {
 public:
  /// batch_norm: eval, the running statistics, or batch, those of the images at hand (reported to
  /// distil better by users of overhaul-distillation, issue 37).
  /// Throws Error without a network.
  explicit FrozenTeacher(std::shared_ptr<nn::Network> network,
                         TeacherBatchNorm batch_norm = TeacherBatchNorm::eval);

  /// images [N, H, W, C] -> the network's output, of constants.
  nn::Output forward(const Variable& images);

  nn::Network& network() { return *network_; }

 private:
  std::shared_ptr<nn::Network> network_;
  nn::Inference inference_;
  TeacherBatchNorm batch_norm_;
};

}  // namespace decant::kd
