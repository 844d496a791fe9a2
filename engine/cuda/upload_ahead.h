#pragma once

#include <memory>
#include <vector>

#include "engine/core/tensor.h"

namespace decant::cuda {

/// Carries the inputs of the next step to the device while the present one runs: through pinned
/// memory, on the copy stream.
///   UploadAhead next;
///   next.begin(batch(0));
///   for (...) { next.take(inputs); step(inputs); next.begin(batch(i + 1)); }
class UploadAhead {
 public:
  UploadAhead();
  ~UploadAhead();
  UploadAhead(const UploadAhead&) = delete;
  UploadAhead& operator=(const UploadAhead&) = delete;

  /// Queues copies of the host's tensors, which may be overwritten once it returns. What was begun
  /// before must have been taken. Waits until its upload is done, which stands behind the kernels
  /// before the take() before: the host runs two steps ahead of the device, and no further.
  void begin(const std::vector<Tensor>& host);
  /// Waits for nothing. Queues, behind the kernels so far, the copies into `inputs`: tensors on
  /// cuda of the shapes and types that begin() was given. Throws Error where they are others.
  void take(std::vector<Tensor> inputs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace decant::cuda
