#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "data/loader.h"
#include "engine/core/error.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

/// n images of several sizes with masks, as images/ and masks/.
void fill(const TempFolder& folder, int n) {
  for (int i = 0; i < n; ++i) {
    const std::string name = str("s", i, ".png");
    const int w = 40 + i;
    write_png(folder.at("images/" + name), random_image(w, 44, static_cast<uint64_t>(i), 3));
    write_png(folder.at("masks/" + name), disc(w, 44, 20, 20, 5 + i % 7));
  }
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  return a.shape() == b.shape() && std::ranges::equal(a.values<float>(), b.values<float>());
}

bool same(const Batch& a, const Batch& b) {
  return same(a.images, b.images) && same(a.masks, b.masks) && a.ids == b.ids &&
         a.has_mask == b.has_mask && same(a.teacher_images, b.teacher_images) &&
         a.teacher_to_student == b.teacher_to_student;
}

}  // namespace

TEST_CASE("batches are the same bits for any threads, any order of asking and any cache") {
  const TempFolder folder;
  fill(folder, 11);
  const Dataset d = open_dataset(folder.path());
  const Pipeline pipeline = Pipeline::preset("strong_flip", 32);
  LoaderOptions options{.batch = 4, .seed = 5, .threads = 0, .shuffle = true, .pair = true};
  Loader plain(d, d.ids(), pipeline, options);
  REQUIRE(plain.batches() == 3);
  std::vector<Batch> expected;
  for (int64_t epoch = 0; epoch < 3; ++epoch)
    for (int64_t i = 0; i < 3; ++i) expected.push_back(plain.batch(epoch, i));
  CHECK(expected[0].images.shape() == Shape{4, 32, 32, 3});
  CHECK(expected[0].masks.shape() == Shape{4, 32, 32, 1});
  CHECK(expected[2].images.shape() == Shape{3, 32, 32, 3});
  CHECK(expected[0].teacher_to_student.size() == 4);
  CHECK_FALSE(same(expected[0], expected[3]));

  for (const int threads : {1, 2, 7}) {
    for (const int64_t cache : {int64_t{0}, int64_t{20000}, int64_t{1} << 30}) {
      options.threads = threads;
      options.cache_limit_bytes = cache;
      Loader loader(d, d.ids(), pipeline, options);
      for (int64_t k = 0; k < 9; ++k)
        REQUIRE(same(loader.batch(k / 3, k % 3), expected[static_cast<size_t>(k)]));
      for (const int64_t k : {7, 2, 2, 0, 8, 4})
        REQUIRE(same(loader.batch(k / 3, k % 3), expected[static_cast<size_t>(k)]));
    }
  }
  // The student's view does not depend on whether the teacher's is made.
  options.pair = false;
  Loader single(d, d.ids(), pipeline, options);
  const Batch b = single.batch(1, 1);
  CHECK(same(b.images, expected[4].images));
  CHECK_FALSE(b.teacher_images.defined());
}

TEST_CASE("every epoch holds every image once, in a new order where shuffled") {
  const TempFolder folder;
  fill(folder, 10);
  const Dataset d = open_dataset(folder.path());
  const auto epoch_ids = [&](const LoaderOptions& options, int64_t epoch) {
    Loader loader(d, d.ids(), Pipeline::preset("none", 16), options);
    std::vector<std::string> ids;
    for (int64_t i = 0; i < loader.batches(); ++i)
      for (const std::string& id : loader.batch(epoch, i).ids) ids.push_back(id);
    return ids;
  };
  CHECK(epoch_ids({.batch = 3}, 4) == d.ids());
  const auto first = epoch_ids({.batch = 3, .shuffle = true}, 0);
  const auto second = epoch_ids({.batch = 3, .shuffle = true}, 1);
  CHECK(first != second);
  CHECK(epoch_ids({.batch = 3, .seed = 1, .shuffle = true}, 0) != first);
  CHECK(std::set(first.begin(), first.end()).size() == 10);
  CHECK(std::set(second.begin(), second.end()).size() == 10);
  CHECK(epoch_ids({.batch = 3, .drop_last = true}, 0).size() == 9);
  // Same images, so that a batch of one shows what a batch of three does.
  Loader three(d, d.ids(), Pipeline::preset("strong", 16), {.batch = 3});
  Loader one(d, {"s1"}, Pipeline::preset("strong", 16), {.batch = 1});
  CHECK(same(one.batch(2, 0).images,
             three.batch(2, 0).images.view(16 * 16 * 3, Shape{1, 16, 16, 3})));
}

TEST_CASE("masks are 0 and 1 and lie where the image's lesion is") {
  const TempFolder folder;
  write_png(folder.at("images/a.png"), disc(40, 40, 26, 14, 6));
  write_png(folder.at("masks/a.png"), disc(40, 40, 26, 14, 6));
  const Dataset d = open_dataset(folder.path());
  Loader loader(d, {"a"}, Pipeline::preset("weak", 32), {.batch = 1, .in_channels = 1});
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    const Batch b = loader.batch(epoch, 0);
    REQUIRE(b.images.shape() == Shape{1, 32, 32, 1});
    int different = 0;
    for (size_t i = 0; i < 1024; ++i) {
      const float m = b.masks.values<float>()[i];
      REQUIRE((m == 0 || m == 1));
      different += (b.images.values<float>()[i] > 0) != (m == 1);
    }
    CHECK(different < 12);  // pixels on the rim, out of 92 inside
  }
}

TEST_CASE("an unreadable file is an Error with its name, whichever thread met it") {
  const TempFolder folder;
  fill(folder, 6);
  truncate_file(folder.at("images/s4.png"), 0.5);
  const Dataset d = open_dataset(folder.path());
  for (const int threads : {0, 1, 3}) {
    Loader loader(d, d.ids(), Pipeline::preset("none", 16), {.batch = 2, .threads = threads});
    CHECK(loader.batch(0, 1).ids.size() == 2);
    CHECK(contains(message_of([&] { loader.batch(0, 2); }), "s4.png"));
    CHECK(contains(message_of([&] { loader.batch(0, 2); }), "s4.png"));
    CHECK(loader.batch(0, 0).ids.size() == 2);
  }
}

TEST_CASE("images without a mask are refused, or come with has_mask false") {
  const TempFolder folder;
  fill(folder, 3);
  std::filesystem::remove(folder.at("masks/s1.png"));
  const Dataset d = open_dataset(folder.path());
  const Pipeline pipeline = Pipeline::preset("none", 16);
  CHECK(contains(message_of([&] { Loader(d, d.ids(), pipeline, {}); }), "s1.png"));
  Loader loader(d, d.ids(), pipeline, {.need_masks = false});
  const Batch b = loader.batch(0, 0);
  CHECK(b.has_mask == std::vector<bool>{true, false, true});
  for (size_t i = 256; i < 512; ++i) REQUIRE(b.masks.values<float>()[i] == 0);
}

TEST_CASE("a loader that cannot work says why") {
  const TempFolder folder;
  fill(folder, 3);
  const Dataset d = open_dataset(folder.path());
  const Pipeline none = Pipeline::preset("none", 16);
  CHECK(contains(message_of([&] { Loader(d, {}, none, {}); }), "at least one"));
  CHECK(contains(message_of([&] { Loader(d, {"s7"}, none, {}); }), "s7"));
  CHECK(contains(message_of([&] { Loader(d, d.ids(), none, {.batch = 0}); }), "got 0"));
  CHECK(contains(message_of([&] { Loader(d, d.ids(), none, {.batch = 5, .drop_last = true}); }),
                 "whole batch"));
  Loader loader(d, d.ids(), none, {});
  CHECK_THROWS_AS(loader.batch(0, 1), Error);
  Loader uneven(d, d.ids(), Pipeline{}, {.threads = 2});
  CHECK(contains(message_of([&] { uneven.batch(0, 0); }), "one size"));
}
