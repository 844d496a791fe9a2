#include "apps/step_feed.h"

#include "engine/cuda/upload_ahead.h"

namespace decant::apps {
namespace {

// What goes up.
std::vector<Tensor> tensors_of(const data::Batch& batch) {
  if (batch.table.defined()) return {batch.table};
  std::vector<Tensor> tensors = {batch.images, batch.masks};
  if (batch.teacher_images.defined()) tensors.push_back(batch.teacher_images);
  return tensors;
}

// The same tensors on cuda, uninitialised, and those that a plan is for.
data::Batch places_for(const data::Batch& like) {
  data::Batch places;
  places.frames = like.frames;
  const Shape& s = like.frames;
  places.images = Tensor(s, DType::f32, Device::cuda);
  places.masks = Tensor({s[0], s[1], s[2], 1}, DType::f32, Device::cuda);
  if (!like.teacher_to_student.empty()) places.teacher_images = Tensor(s, DType::f32, Device::cuda);
  if (like.table.defined())
    places.table = Tensor(like.table.shape(), like.table.dtype(), Device::cuda);
  return places;
}

}  // namespace

StepFeed::StepFeed(Device device, std::shared_ptr<const data::PictureStore> pictures)
    : device_(device), pictures_(std::move(pictures)) {
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
      if (!places_.images.defined()) places_ = places_for(taken_);
      const bool fits = taken_.frames == places_.frames;
      data::Batch own;
      if (!fits) own = places_for(taken_);
      data::Batch& to = fits ? places_ : own;
      upload_->take(tensors_of(to));
      if (to.table.defined()) data::make_pixels(*pictures_, to);
      taken_.images = to.images;
      taken_.masks = to.masks;
      taken_.teacher_images = to.teacher_images;
    }
  return taken_;
}

}  // namespace decant::apps
