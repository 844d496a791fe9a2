#include "data/picture_store.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/parallel.h"

namespace decant::data {

PictureStore::PictureStore(const Dataset& dataset, const std::vector<std::string>& ids,
                           int channels)
    : channels_(channels) {
  for (const std::string& id : ids) {
    const Sample& sample = dataset.find(id);
    const ImageSize size = read_image_size(sample.image);
    const int64_t pixels = int64_t{size.width} * size.height;
    const auto take = [this](int64_t count) {
      bytes_ += count;
      return bytes_ - count;
    };
    const int64_t image_at = take(pixels * channels_);
    const int64_t mask_at = sample.masks.empty() ? -1 : take(pixels);
    places_.emplace(id, Place{size.width, size.height, image_at, mask_at});
    samples_.push_back(sample);
  }
}

const PictureStore::Place& PictureStore::find(const std::string& id) const {
  const auto it = places_.find(id);
  check(it != places_.end(), "PictureStore: expected one of its ", places_.size(), " images, got '",
        id, "'");
  return it->second;
}

void PictureStore::load(Device device) {
  constexpr size_t kTogether = 64;  // decoded images that the host holds at a time
  pixels_ = Tensor({bytes_}, DType::u8, device);
  const auto put = [this](int64_t at, const Image& image) {
    const Shape shape = {static_cast<int64_t>(image.pixels.size())};
    if (shape.size() > 0)
      pixels_.view(at, shape).copy_from(Tensor::of<uint8_t>(shape, image.pixels));
  };
  for (size_t begin = 0; begin < samples_.size(); begin += kTogether) {
    std::vector<LoadedSample> decoded(std::min(kTogether, samples_.size() - begin));
    parallel_for(static_cast<int64_t>(decoded.size()), [&](int64_t i) {
      const auto k = static_cast<size_t>(i);
      decoded[k] = load_sample(samples_[begin + k], channels_);
    });
    for (size_t i = 0; i < decoded.size(); ++i) {
      const Sample& sample = samples_[begin + i];
      const Place& place = find(sample.id);
      const Image& image = decoded[i].image;
      check(image.width == place.width && image.height == place.height, sample.image.string(),
            ": expected the ", place.width, " x ", place.height, " pixels of its header, got ",
            image.width, " x ", image.height);
      put(place.image_at, image);
      put(place.mask_at, decoded[i].mask);
    }
  }
}

}  // namespace decant::data
