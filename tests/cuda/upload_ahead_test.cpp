#include "engine/cuda/upload_ahead.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "engine/cuda/card.h"
#ifdef DECANT_EMULATED
#include "engine/cuda/emulated/schedule.h"
#endif

using namespace decant;
using namespace decant::cuda;

namespace {

// The device does everything as late as it may, where it lets us say so.
#ifdef DECANT_EMULATED
struct Late : emulated::AtSchedule {
  Late() : AtSchedule(another()) {}
};
#else
struct Late {};
#endif

bool is_full_of(const Tensor& t, float value) {
  const Tensor host = t.to(Device::cpu);
  return std::ranges::all_of(host.values<float>(), [=](float v) { return v == value; });
}

}  // namespace

TEST_CASE("batches that are uploaded ahead arrive whole and in turn, in the same tensors") {
  [[maybe_unused]] const Late late;
  UploadAhead next;
  Tensor images({3, 5}, DType::f32, Device::cuda);
  Tensor masks({7}, DType::f32, Device::cuda);
  std::vector<Tensor> seen;
  Tensor host_images({3, 5});
  Tensor host_masks({7});
  for (int i = 0; i < 4; ++i) {
    host_images.fill(i);
    host_masks.fill(-i);
    next.begin({host_images, host_masks});  // both are overwritten in the next turn
    if (i > 0) seen.push_back(images.clone());
    next.take({images, masks});
  }
  for (int i = 0; i < 3; ++i)
    CHECK(is_full_of(seen[static_cast<size_t>(i)], static_cast<float>(i)));
  CHECK(is_full_of(images, 3));
  CHECK(is_full_of(masks, -3));
}

TEST_CASE("a batch of another shape goes through the same uploads") {
  UploadAhead next;
  for (const int64_t size : {4, 1000, 2}) {
    Tensor place({size}, DType::f32, Device::cuda);
    next.begin({Tensor::full({size}, 5)});
    next.take({place});
    CHECK(is_full_of(place, 5));
  }
  next.begin({Tensor::full({2}, 5)});
  CHECK_THROWS_WITH_AS(next.take({}), "upload: expected places for 1 tensors, got 0", Error);
  CHECK_THROWS_AS(next.take({Tensor({3}, DType::f32, Device::cuda)}), Error);
}

TEST_CASE("the card says what it is") {
  const Card here = card();
  CHECK(!here.name.empty());
  CHECK(here.multiprocessors > 0);
  CHECK(here.memory_bytes > 0);
}
