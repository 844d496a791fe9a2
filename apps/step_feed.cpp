#include "apps/step_feed.h"

#include "engine/cuda/upload_ahead.h"

namespace decant::apps {
namespace {

std::vector<Tensor> tensors_of(const data::Batch& batch) {
  std::vector<Tensor> tensors = {batch.images, batch.masks};
  if (batch.teacher_images.defined()) tensors.push_back(batch.teacher_images);
  return tensors;
}

// The same tensors on cuda, uninitialised.
void make_places(const data::Batch& like, data::Batch& places) {
  const auto place = [](const Tensor& t) {
    return t.defined() ? Tensor(t.shape(), t.dtype(), Device::cuda) : Tensor();
  };
  places.images = place(like.images);
  places.masks = place(like.masks);
  places.teacher_images = place(like.teacher_images);
}

}  // namespace

StepFeed::StepFeed(Device device) : device_(device) {
  if constexpr (kWithCuda)
    if (device_ == Device::cuda) upload_ = std::make_shared<cuda::UploadAhead>();
}

void StepFeed::put(data::Batch batch) {
  next_ = std::move(batch);
  if constexpr (kWithCuda)
    if (device_ == Device::cuda) upload_->begin(tensors_of(next_));
}

const data::Batch& StepFeed::take() {
  taken_ = std::move(next_);
  if constexpr (kWithCuda)
    if (device_ == Device::cuda) {
      if (!places_.images.defined()) make_places(taken_, places_);
      const bool fits = taken_.images.shape() == places_.images.shape();
      data::Batch own;
      if (!fits) make_places(taken_, own);
      const data::Batch& to = fits ? places_ : own;
      upload_->take(tensors_of(to));
      taken_.images = to.images;
      taken_.masks = to.masks;
      taken_.teacher_images = to.teacher_images;
    }
  return taken_;
}

}  // namespace decant::apps
