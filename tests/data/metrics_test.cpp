#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/metrics.h"
#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

/// A mask drawn with '#'.
Image drawn(const std::vector<std::string>& rows) {
  Image mask(static_cast<int>(rows[0].size()), static_cast<int>(rows.size()), 1);
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      mask.at(x, y) = rows[static_cast<size_t>(y)][static_cast<size_t>(x)] == '#';
  return mask;
}

}  // namespace

TEST_CASE("overlap figures of a hand-made pair") {
  const Image truth = drawn({"##..", "##..", "....", "...."});
  const Image prediction = drawn({".##.", ".##.", ".##.", "...."});
  const ImageMetrics m = measure(prediction, truth);
  // tp 2, fp 4, fn 2, tn 8
  CHECK(m.tp == 2);
  CHECK(m.fp == 4);
  CHECK(m.fn == 2);
  CHECK(m.tn == 8);
  CHECK(m.dice == doctest::Approx(4.0 / 10).epsilon(1e-15));
  CHECK(m.iou == doctest::Approx(2.0 / 8).epsilon(1e-15));
  CHECK(m.sensitivity == doctest::Approx(0.5).epsilon(1e-15));
  CHECK(m.specificity == doctest::Approx(8.0 / 12).epsilon(1e-15));
  CHECK(m.precision == doctest::Approx(2.0 / 6).epsilon(1e-15));
  CHECK(m.iou == doctest::Approx(m.dice / (2 - m.dice)).epsilon(1e-15));
}

TEST_CASE("the two definitions of HD95 on sets where they differ") {
  // Distances from the one pixel: {0}; back: {0, 10}. Directed percentiles 0 and 9.5; pooled
  // {0, 0, 10}: rank 0.95 * 2 = 1.9, so 9.
  const Image one = drawn({"#..........", "..........."});
  const Image two = drawn({"#.........#", "..........."});
  for (const auto& m : {measure(one, two), measure(two, one)}) {
    CHECK(m.hd95_max == doctest::Approx(9.5).epsilon(1e-12));
    CHECK(m.hd95_pooled == doctest::Approx(9).epsilon(1e-12));
  }
}

TEST_CASE("surfaces are what a 4-neighbour erosion removes, also at the image's edge") {
  // A full 5 x 5 mask against its middle pixel: surface 16 border pixels, all others eroded to the
  // inner 3 x 3. Distances from the border: 2 (4 times), sqrt 5 (8), sqrt 8 (4); back: 2.
  const Image full = drawn({"#####", "#####", "#####", "#####", "#####"});
  const Image middle = drawn({".....", ".....", "..#..", ".....", "....."});
  const ImageMetrics m = measure(full, middle);
  // Directed: 16 values, rank 14.25, both neighbours sqrt 8. Pooled: 17 values, rank 15.2: sqrt 8.
  CHECK(m.hd95_max == doctest::Approx(std::sqrt(8)).epsilon(1e-12));
  CHECK(m.hd95_pooled == doctest::Approx(std::sqrt(8)).epsilon(1e-12));
  CHECK(measure(full, full).hd95_max == 0);
}

TEST_CASE("the distance transform equals the search over all pairs") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Rng rng(RngKey::of(seed, "edt"));
    const int w = 1 + static_cast<int>(rng.below(0, 23));
    const int h = 1 + static_cast<int>(rng.below(1, 23));
    Image mask(w, h, 1);
    for (size_t i = 0; i < mask.pixels.size(); ++i)
      mask.pixels[i] = rng.uniform(2 + i) < 0.01 + 0.02 * static_cast<double>(seed);
    const std::vector<double> d = squared_distances(mask);
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        double best = std::numeric_limits<double>::infinity();
        for (int v = 0; v < h; ++v)
          for (int u = 0; u < w; ++u)
            if (mask.at(u, v)) best = std::min<double>(best, (u - x) * (u - x) + (v - y) * (v - y));
        REQUIRE(d[static_cast<size_t>(y * w + x)] == best);
      }
    }
  }
}

TEST_CASE("every empty case under every policy") {
  const Image none = drawn({"...", "...", "...", "..."});
  const Image some = drawn({"...", ".#.", "...", "..."});
  struct Row {
    EmptyPolicy policy;
    double dice, hd;  // NaN is written as -1
  };
  const auto is = [](double v, double wanted) {
    return wanted < 0 ? std::isnan(v) : v == doctest::Approx(wanted).epsilon(1e-12);
  };
  for (const Row& row :
       {Row{EmptyPolicy::one, 1, 0}, Row{EmptyPolicy::nan, -1, -1}, Row{EmptyPolicy::zero, 0, 5}}) {
    const ImageMetrics m = measure(none, none, row.policy);
    CHECK(is(m.dice, row.dice));
    CHECK(is(m.iou, row.dice));
    CHECK(is(m.hd95_max, row.hd));
    CHECK(is(m.hd95_pooled, row.hd));
    CHECK(std::isnan(m.sensitivity));
    CHECK(std::isnan(m.precision));
    CHECK(m.specificity == 1);
  }
  for (const Row& row :
       {Row{EmptyPolicy::one, 0, 5}, Row{EmptyPolicy::nan, 0, -1}, Row{EmptyPolicy::zero, 0, 5}}) {
    const ImageMetrics missed = measure(none, some, row.policy);
    CHECK(missed.dice == 0);
    CHECK(is(missed.hd95_max, row.hd));
    CHECK(missed.sensitivity == 0);
    CHECK(std::isnan(missed.precision));
    const ImageMetrics invented = measure(some, none, row.policy);
    CHECK(invented.iou == 0);
    CHECK(is(invented.hd95_pooled, row.hd));
    CHECK(invented.precision == 0);
    CHECK(std::isnan(invented.sensitivity));
  }
}

TEST_CASE("means leave out what is not a number, and count it") {
  const Image none = drawn({"...", "...", "...", "..."});
  const Image some = drawn({"...", ".#.", "...", "..."});
  const Image more = drawn({"...", ".##", ".#.", "..."});
  const MetricsReport r = summarize({measure(none, none), measure(some, none), measure(none, some),
                                     measure(more, some), measure(some, some)});
  CHECK(r.both_empty == 1);
  CHECK(r.truth_empty_only == 1);
  CHECK(r.prediction_empty_only == 1);
  // dice: 1, 0, 0, 2/4, 1
  CHECK(r.all.dice.mean == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(r.all.dice.std == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(r.lesions.dice.mean == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(r.lesions.dice.count == 3);
  // precision: -, 0, -, 1/3, 1
  CHECK(r.all.precision.count == 3);
  CHECK(r.all.precision.left_out == 2);
  CHECK(r.all.precision.mean == doctest::Approx(4.0 / 9).epsilon(1e-12));
  const nlohmann::json json = to_json(r);
  CHECK(json["images"].size() == 5);
  CHECK(json["images"][0]["precision"].is_null());
  CHECK(json["lesions"]["dice"]["count"] == 3);
}

TEST_CASE("masks of two sizes are an Error with both") {
  const std::string message = message_of([] { measure(Image(4, 3, 1), Image(3, 4, 1)); });
  CHECK(contains(message, "4 x 3"));
  CHECK(contains(message, "3 x 4"));
  CHECK(empty_policy_from("nan") == EmptyPolicy::nan);
  CHECK_THROWS_AS(empty_policy_from("two"), Error);
}
