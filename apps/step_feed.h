#pragma once

#include <memory>

#include "data/loader.h"
#include "engine/core/device.h"

namespace decant::cuda {
class UploadAhead;
}

namespace decant::apps {

/// Brings batches to the device that computes, the next one while the present step runs:
///   feed.put(batch 0);
///   for (...) { step(feed.take()); feed.put(batch i + 1); }
/// On the CPU a batch is handed through. On cuda batches of one shape lie in the same tensors, so
/// that a recorded step finds them; of a batch that is only planned (data/loader.h) the table goes
/// up, and kernels make its pixels in those tensors.
class StepFeed {
 public:
  /// pictures: of the loader whose batches are plans.
  explicit StepFeed(Device device, std::shared_ptr<const data::PictureStore> pictures = nullptr);

  void put(data::Batch batch);
  /// What was put last, on the device, until the next take().
  const data::Batch& take();

 private:
  Device device_;
  std::shared_ptr<const data::PictureStore> pictures_;
  data::Batch next_;
  data::Batch taken_;
  data::Batch places_;  ///< on cuda: the tensors of the shape that came first
  std::shared_ptr<cuda::UploadAhead> upload_;
};

}  // namespace decant::apps
