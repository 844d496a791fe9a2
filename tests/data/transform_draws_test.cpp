// What transforms draw, against the ranges that their arguments name.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "data/augment.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;
using nlohmann::json;

namespace {

constexpr int kDraws = 600;

/// A figure of what a transform makes of a frame, for many keys.
std::vector<double> drawn(const json& transform, const Frame& frame,
                          const std::function<double(const Frame&)>& figure) {
  const Pipeline pipeline = Pipeline::from_json(json::array({transform}));
  std::vector<double> figures;
  for (uint64_t i = 0; i < kDraws; ++i) {
    Frame out = frame;
    pipeline.apply(out, RngKey::of(5, "draws", 0, i));
    figures.push_back(figure(out));
  }
  return figures;
}

/// All within the range, its mean in the middle (5 standard deviations), its ends nearly reached:
/// the chance that none of n falls into the outer 2 % is 0.98^n, 5e-6.
void check_uniform(const std::vector<double>& values, double low, double high) {
  const double width = high - low;
  const auto [least, most] = std::ranges::minmax(values);
  double sum = 0;
  for (const double v : values) sum += v;
  CHECK(least >= low - 1e-4 * width);
  CHECK(most <= high + 1e-4 * width);
  CHECK(least < low + 0.02 * width);
  CHECK(most > high - 0.02 * width);
  const double deviation = width / std::sqrt(12.0 * kDraws);
  CHECK(std::fabs(sum / kDraws - (low + high) / 2) < 5 * deviation);
}

/// Each figure as often as its share says, to 5 standard deviations, and no other.
void check_shares(const std::vector<double>& values, const std::map<double, double>& shares) {
  std::map<double, int> counts;
  for (const double v : values) ++counts[std::round(v)];
  for (const auto& [value, count] : counts) {
    CAPTURE(value);
    REQUIRE(shares.contains(value));
    const double share = shares.at(value);
    CHECK(std::fabs(count - kDraws * share) <= 5 * std::sqrt(kDraws * share * (1 - share)));
  }
  CHECK(counts.size() == shares.size());
}

/// Two grey levels, a quarter and a half of white.
Frame two_levels() {
  Image image(2, 1, 1);
  image.pixels = {64, 128};
  return Frame(image);
}

Frame flat(int width, int height, uint8_t level) {
  Image image(width, height, 1);
  std::ranges::fill(image.pixels, level);
  return Frame(image, ones(image));
}

double degrees(double radians) {
  return radians * 180 / std::acos(-1);
}

json always(const char* name, json arguments, int version = 1) {
  arguments["name"] = name;
  arguments["p"] = 1;
  arguments["version"] = version;
  return arguments;
}

}  // namespace

TEST_CASE("Affine draws angle, shift and a scale for either axis, each within its range") {
  const json turn = {{"rotate", {-30, 50}},
                     {"scale", {{"x", {0.7, 0.9}}, {"y", {1.1, 1.6}}}},
                     {"translate_percent", {{"x", {-0.1, 0.3}}, {"y", {0, 0}}}}};
  const Frame frame(Image(20, 10, 1));
  for (const int version : {1, 2}) {
    CAPTURE(version);
    const auto figure = [&](const std::function<double(const Affine&)>& of) {
      return drawn(always("Affine", turn, version), frame,
                   [&](const Frame& out) { return of(out.geometry); });
    };
    check_uniform(figure([](const Affine& a) { return degrees(std::atan2(-a.m[3], a.m[0])); }), -30,
                  50);
    check_uniform(figure([](const Affine& a) { return std::hypot(a.m[0], a.m[3]); }), 0.7, 0.9);
    check_uniform(figure([](const Affine& a) { return std::hypot(a.m[1], a.m[4]); }), 1.1, 1.6);
    const std::vector<double> shift = figure([](const Affine& a) { return a(9.5, 4.5)[0] - 9.5; });
    if (version == 1) {
      check_uniform(shift, -2, 6);
    } else {  // whole pixels, towards zero
      const double one = 1.0 / 8;
      check_shares(shift,
                   {{-1, one}, {0, 2 * one}, {1, one}, {2, one}, {3, one}, {4, one}, {5, one}});
    }
  }
  const json shear = {{"shear", {{"x", {-10, 20}}, {"y", {0, 0}}}}};
  check_uniform(drawn(always("Affine", shear), frame,
                      [](const Frame& out) { return degrees(std::atan(out.geometry.m[1])); }),
                -10, 20);
  const json balanced = {{"scale", {0.5, 3}}, {"balanced_scale", true}, {"keep_ratio", true}};
  check_shares(drawn(always("Affine", balanced, 2), frame,
                     [](const Frame& out) { return out.geometry.m[0] < 1 ? 0.0 : 1.0; }),
               {{0, 0.5}, {1, 0.5}});
}

TEST_CASE("brightness, contrast and gamma are drawn within their limits") {
  const Frame frame = two_levels();
  const json limits = {{"contrast_limit", {-0.3, 0.1}}, {"brightness_limit", {-0.05, 0.2}}};
  const json both = always("RandomBrightnessContrast", limits);
  const auto slope = [](const Frame& f) { return (f.image[1] - f.image[0]) / 64.0; };
  check_uniform(drawn(both, frame, slope), 0.7, 1.1);
  check_uniform(
      drawn(both, frame, [&](const Frame& f) { return (f.image[1] - slope(f) * 128) / 255; }),
      -0.05, 0.2);
  check_uniform(drawn(always("RandomGamma", {{"gamma_limit", {50, 130}}}), frame,
                      [](const Frame& f) {
                        return 100 * std::log(f.image[0] / 255.0) / std::log(64 / 255.0);
                      }),
                50, 130);
}

TEST_CASE("blurs draw odd sizes: of 3 .. 7 version 1's Gaussian has 5 and 7 twice as often as 3") {
  Frame point(Image(15, 15, 1));
  point.image[7 * 15 + 7] = 255;
  const auto width = [](const Frame& f) {
    double count = 0;
    for (size_t x = 0; x < 15; ++x) count += f.image[7 * 15 + x] > 1e-3 ? 1 : 0;
    return count;
  };
  const json sizes = {{"blur_limit", {3, 7}}, {"sigma_limit", {2, 2}}};
  check_shares(drawn(always("GaussianBlur", sizes), point, width), {{3, 0.2}, {5, 0.4}, {7, 0.4}});
  check_shares(drawn(always("GaussianBlur", sizes, 2), point, width),
               {{3, 0.2}, {5, 0.4}, {7, 0.4}});
  // Of a square of 5 x 5 a median of 3 leaves all but the corners, 5 and 7 less.
  Frame square(Image(15, 15, 1));
  for (size_t y = 5; y < 10; ++y)
    for (size_t x = 5; x < 10; ++x) square.image[y * 15 + x] = 1;
  const auto area = [](const Frame& f) {
    double sum = 0;
    for (const float v : f.image) sum += v;
    return sum;
  };
  check_shares(drawn(always("MedianBlur", {{"blur_limit", {3, 7}}}), square, area),
               {{21, 1.0 / 3}, {13, 1.0 / 3}, {9, 1.0 / 3}});
}

TEST_CASE("CoarseDropout: sizes and places are uniform, edges included; shares round down") {
  const Frame frame = flat(20, 10, 200);
  const auto count = [](const Frame& f, bool column) {
    double most = 0;
    for (size_t i = 0; i < (column ? 20U : 10U); ++i) {
      double here = 0;
      for (size_t k = 0; k < (column ? 10U : 20U); ++k)
        here += f.image[column ? k * 20 + i : i * 20 + k] == 0 ? 1 : 0;
      most = std::max(most, here);
    }
    return most;
  };
  const auto left = [](const Frame& f) {
    double first = 20;
    for (size_t i = 0; i < f.image.size(); ++i)
      if (f.image[i] == 0) first = std::min(first, static_cast<double>(i % 20));
    return first;
  };
  const json one = {{"max_holes", 1},  {"min_height", 2}, {"max_height", 4},
                    {"min_width", 18}, {"max_width", 18}, {"mask_fill_value", 0}};
  check_shares(
      drawn(always("CoarseDropout", one), frame, [&](const Frame& f) { return count(f, true); }),
      {{2, 1.0 / 3}, {3, 1.0 / 3}, {4, 1.0 / 3}});
  check_shares(drawn(always("CoarseDropout", one), frame, left),
               {{0, 1.0 / 3}, {1, 1.0 / 3}, {2, 1.0 / 3}});
  Frame out = frame;
  Pipeline::from_json(json::array({always("CoarseDropout", one)})).apply(out, RngKey{});
  for (size_t i = 0; i < out.image.size(); ++i) CHECK((out.image[i] == 0) == (out.mask[i] == 0));
  const json share = {{"num_holes_range", {1, 1}},
                      {"hole_height_range", {0.2, 0.4}},
                      {"hole_width_range", {0.5, 0.5}}};
  check_shares(drawn(always("CoarseDropout", share, 2), frame,
                     [&](const Frame& f) { return count(f, true); }),
               {{2, 0.5}, {3, 0.5}});
}

TEST_CASE("GridDistortion stretches steps by 1 + U(limit); ElasticTransform moves by its noise") {
  Frame ramp(Image(40, 8, 1));
  for (size_t i = 0; i < ramp.image.size(); ++i) ramp.image[i] = static_cast<float>(i % 40);
  const json grid = {{"num_steps", 4}, {"distort_limit", {-0.3, 0.2}}, {"border_mode", 1}};
  // Ten pixels to a step, from its first to its last.
  check_uniform(
      drawn(always("GridDistortion", grid), ramp, [](const Frame& f) { return f.image[9] / 10.0; }),
      0.7, 1.2);
  const json elastic = {{"alpha", 3}, {"sigma", 0.1}, {"alpha_affine", 0}, {"border_mode", 1}};
  check_uniform(drawn(always("ElasticTransform", elastic), ramp,
                      [](const Frame& f) { return f.image[4 * 40 + 20] - 20.0; }),
                -3, 3);
}

TEST_CASE("noise of version 2 is a share of the range, in version 1 squared grey levels") {
  const Frame frame = flat(100, 100, 128);
  const auto deviation = [&](const Frame& f) {
    double squares = 0;
    for (const float v : f.image) squares += (v - 128.0) * (v - 128.0);
    return std::sqrt(squares / static_cast<double>(f.image.size()));
  };
  const auto of = [&](const json& arguments, int version) {
    Frame out = frame;
    Pipeline::from_json(json::array({always("GaussNoise", arguments, version)}))
        .apply(out, RngKey::of(1, "noise"));
    return deviation(out);
  };
  // A deviation of n values is off by 1 / sqrt(2 n), 0.7 %.
  CHECK(of({{"var_limit", {25, 25}}}, 1) == doctest::Approx(5).epsilon(0.035));
  CHECK(of({{"std_range", {0.1, 0.1}}}, 2) == doctest::Approx(25.5).epsilon(0.035));
  // Version 2 drops other pixels of the mask than of the image.
  const json drop = {{"dropout_prob", 0.5}, {"drop_value", 0}, {"mask_drop_value", 0}};
  for (const int version : {1, 2}) {
    Frame out = frame;
    Pipeline::from_json(json::array({always("PixelDropout", drop, version)}))
        .apply(out, RngKey::of(1, "drop"));
    int same = 0;
    for (size_t i = 0; i < out.mask.size(); ++i) same += (out.image[i] == 0) == (out.mask[i] == 0);
    const bool all = same == 10000;
    CHECK(all == (version == 1));
    if (version == 2) CHECK(std::abs(same - 5000) < 5 * 50);
  }
}

TEST_CASE("OneOf and version 1's SomeOf choose by p, version 2's SomeOf evenly") {
  // Adds 1, 10 or 100 to a grey level of 0: what was applied, and how often, can be read off.
  const auto add = [](double level, double p) {
    return json{{"name", "RandomBrightnessContrast"},
                {"brightness_limit", {level / 255, level / 255}},
                {"contrast_limit", {0, 0}},
                {"p", p}};
  };
  const json three = json::array({add(1, 0.2), add(10, 0.2), add(100, 0.6)});
  const Frame frame = flat(1, 1, 0);
  const auto level = [](const Frame& f) { return static_cast<double>(f.image[0]); };
  for (const int version : {1, 2})
    check_shares(drawn(always("OneOf", {{"transforms", three}}, version), frame, level),
                 {{1, 0.2}, {10, 0.2}, {100, 0.6}});
  const json pair = {{"transforms", three}, {"n", 2}, {"replace", false}};
  // By weights 1, 1, 3, one after the other without replacement.
  check_shares(
      drawn(always("SomeOf", pair), frame, level),
      {{11, 2 * 0.2 * 0.25}, {101, 0.2 * 0.75 + 0.6 * 0.5}, {110, 0.2 * 0.75 + 0.6 * 0.5}});
  json certain = pair;
  for (json& child : certain["transforms"]) child["p"] = 1;
  check_shares(drawn(always("SomeOf", certain, 2), frame, level),
               {{11, 1.0 / 3}, {101, 1.0 / 3}, {110, 1.0 / 3}});
  const json again = {{"transforms", json::array({add(1, 1)})}, {"n", 3}};
  check_shares(drawn(always("SomeOf", again), frame, level), {{3, 1}});
  // A Sequential of version 1 knows no chance of its own.
  json list = {{"transforms", json::array({add(1, 1)})}};
  for (const int version : {1, 2}) {
    json sequence = always("Sequential", list, version);
    sequence["p"] = 0.25;
    check_shares(drawn(sequence, frame, level),
                 version == 1 ? std::map<double, double>{{1, 1}}
                              : std::map<double, double>{{0, 0.75}, {1, 0.25}});
  }
}

TEST_CASE("VerticalFlip and Affine take a point of the image to where their geometry says") {
  const Frame frame(bump(60, 50, 33, 18, 4), ones(disc(60, 50, 33, 18, 8)));
  const json affine = {{"rotate", {25, 25}},
                       {"scale", {{"x", {1.1, 1.1}}, {"y", {0.9, 0.9}}}},
                       {"shear", {{"x", {7, 7}}, {"y", {-4, -4}}}}};
  for (const json& transform : {always("VerticalFlip", json::object()), always("Affine", affine),
                                always("Affine", affine, 2)}) {
    CAPTURE(transform.dump());
    Frame out = frame;
    Pipeline::from_json(json::array({transform})).apply(out, RngKey{});
    const auto [x, y] = out.geometry(33, 18);
    const Point seen = centre(out);
    CHECK(std::fabs(seen.x - x) < 0.05);
    CHECK(std::fabs(seen.y - y) < 0.05);
    CHECK(
        out.mask[static_cast<size_t>(std::lround(y)) * 60 + static_cast<size_t>(std::lround(x))] ==
        1);
  }
}
