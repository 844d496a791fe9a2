#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "data/augment.h"
#include "engine/core/error.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;
using nlohmann::json;

namespace {

RngKey key_of(uint64_t i) {
  return RngKey::of(11, "test", 0, i);
}

Frame transformed(const json& list, Frame frame, const RngKey& key = key_of(0)) {
  Pipeline::from_json(list).apply(frame, key);
  return frame;
}

/// Value = 1 + x + 20 y, so that every pixel tells where it came from.
Image numbered(int width, int height) {
  Image image(width, height, 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) image.at(x, y) = static_cast<uint8_t>(1 + x + 20 * y);
  return image;
}

Point mask_centre(const Frame& f) {
  double sum = 0, x_sum = 0, y_sum = 0;
  for (int y = 0; y < f.height; ++y) {
    for (int x = 0; x < f.width; ++x) {
      const double v = f.mask[static_cast<size_t>(y * f.width + x)];
      sum += v;
      x_sum += v * x;
      y_sum += v * y;
    }
  }
  return {x_sum / sum, y_sum / sum};
}

}  // namespace

TEST_CASE("every transform reports the geometry by which image and mask moved") {
  const double px = 41;
  const double py = 33;
  const std::vector<json> lists = {
      json::array({{{"name", "Resize"}, {"height", 97}, {"width", 150}}}),
      json::array({{{"name", "Resize"}, {"height", 48}, {"width", 64}}}),
      json::array({{{"name", "RandomCrop"}, {"height", 60}, {"width", 70}}}),
      json::array(
          {{{"name", "PadIfNeeded"}, {"min_height", 91}, {"min_width", 120}, {"border_mode", 0}}}),
      json::array({{{"name", "HorizontalFlip"}, {"p", 1}}}),
      json::array({{{"name", "ShiftScaleRotate"}, {"p", 1}, {"border_mode", 0}}}),
      json::array(
          {{{"name", "Resize"}, {"height", 97}, {"width", 150}},
           {{"name", "PadIfNeeded"}, {"min_height", 160}, {"min_width", 160}, {"border_mode", 0}},
           {{"name", "RandomCrop"}, {"height", 152}, {"width", 150}},
           {{"name", "HorizontalFlip"}, {"p", 1}},
           {{"name", "ShiftScaleRotate"}, {"p", 1}, {"border_mode", 0}}})};
  for (const json& list : lists) {
    for (uint64_t i = 0; i < 8; ++i) {
      CAPTURE(list.dump());
      CAPTURE(i);
      const Frame out = transformed(
          list, Frame(bump(82, 66, px, py, 4), ones(disc(82, 66, px, py, 9))), key_of(i));
      const auto [x, y] = out.geometry(px, py);
      const Point image = centre(out);
      CHECK(std::fabs(image.x - x) < 0.06);
      CHECK(std::fabs(image.y - y) < 0.06);
      // The mask is resized by floor(i n_in / n_out): up to half a pixel of the source off.
      const double slack =
          0.15 + 0.5 * std::max(1.0, std::sqrt(std::fabs(out.geometry.determinant())));
      const Point mask = mask_centre(out);
      CHECK(std::fabs(mask.x - x) < slack);
      CHECK(std::fabs(mask.y - y) < slack);
    }
  }
}

TEST_CASE("Resize: linear by pixel centres without antialiasing, nearest by the floor") {
  // PyTorch's interpolate with align_corners = False: 0 .25 .75 1.
  Image small(2, 2, 1);
  small.pixels = {0, 100, 200, 255};
  const Frame linear =
      transformed(json::array({{{"name", "Resize"}, {"height", 2}, {"width", 4}}}), Frame(small));
  const std::vector<float> row = {0, 25, 75, 100};
  for (size_t x = 0; x < 4; ++x) CHECK(linear.image[x] == doctest::Approx(row[x]).epsilon(1e-6));
  // Downwards by 3 the middle one of three is taken, the others do not count.
  Image spikes(6, 1, 1);
  spikes.pixels = {255, 10, 255, 255, 20, 255};
  CHECK(transformed(json::array({{{"name", "Resize"}, {"height", 1}, {"width", 2}}}), Frame(spikes))
            .image == std::vector<float>{10, 20});
  // Nearest 5 -> 2 picks 0 and 2 (the middle of pixels would pick 1 and 3); 2 -> 3 picks 0, 0, 1.
  Image five(5, 1, 1);
  five.pixels = {1, 0, 1, 0, 0};
  CHECK(transformed(json::array({{{"name", "Resize"}, {"height", 1}, {"width", 2}}}),
                    Frame(five, five))
            .mask == std::vector<uint8_t>{1, 1});
  Image two(2, 1, 1);
  two.pixels = {0, 1};
  CHECK(
      transformed(json::array({{{"name", "Resize"}, {"height", 1}, {"width", 3}}}), Frame(two, two))
          .mask == std::vector<uint8_t>{0, 0, 1});
}

TEST_CASE("RandomCrop cuts an exact window, from every place alike, and refuses small images") {
  const json list = json::array({{{"name", "RandomCrop"}, {"height", 4}, {"width", 5}}});
  std::vector<int> hits(9);
  for (uint64_t i = 0; i < 900; ++i) {
    const Frame out = transformed(list, Frame(numbered(7, 6), ones(numbered(7, 6))), key_of(i));
    REQUIRE(out.image.size() == 20);
    const int first = static_cast<int>(out.image[0]) - 1;
    const int x0 = first % 20;
    const int y0 = first / 20;
    for (int y = 0; y < 4; ++y)
      for (int x = 0; x < 5; ++x)
        REQUIRE(out.image[static_cast<size_t>(y * 5 + x)] == 1 + x0 + x + 20 * (y0 + y));
    REQUIRE(out.geometry == Affine::translation(-x0, -y0));
    ++hits[static_cast<size_t>(y0 * 3 + x0)];
  }
  // 100 each; 5 standard deviations of a binomial count are 47.
  for (const int count : hits) CHECK(std::abs(count - 100) < 47);
  const std::string message = message_of([&] { transformed(list, Frame(numbered(4, 6))); });
  CHECK(contains(message, "5 x 4"));
  CHECK(contains(message, "4 x 6"));
}

TEST_CASE("PadIfNeeded: the smaller half before, borders as OpenCV names them") {
  Image row(3, 1, 1);
  row.pixels = {1, 2, 3};
  const auto pad = [&](json extra) {
    extra["name"] = "PadIfNeeded";
    extra["min_height"] = 1;
    if (!extra.contains("min_width")) extra["min_width"] = 6;
    return transformed(json::array({extra}), Frame(row, ones(row))).image;
  };
  using Row = std::vector<float>;
  CHECK(pad({}) == Row{2, 1, 2, 3, 2, 1});  // reflect_101 is the default
  CHECK(pad({{"border_mode", 0}, {"value", 9}}) == Row{9, 1, 2, 3, 9, 9});
  CHECK(pad({{"border_mode", 1}}) == Row{1, 1, 2, 3, 3, 3});
  CHECK(pad({{"border_mode", 2}}) == Row{1, 1, 2, 3, 3, 2});
  CHECK(pad({{"border_mode", 3}}) == Row{3, 1, 2, 3, 1, 2});
  CHECK(pad({{"position", "top_left"}}) == Row{1, 2, 3, 2, 1, 2});
  CHECK(pad({{"position", "bottom_right"}, {"border_mode", 1}}) == Row{1, 1, 1, 1, 2, 3});
  CHECK(pad({{"min_width", nullptr}, {"pad_width_divisor", 4}, {"border_mode", 1}}) ==
        Row{1, 2, 3, 3});
  CHECK(contains(message_of([&] { pad({{"pad_width_divisor", 4}}); }), "exactly one"));
}

TEST_CASE("ShiftScaleRotate by a quarter turn, a shift and a scale known in closed form") {
  const auto fixed = [](double angle, double scale, double dx, double dy) {
    return json::array({{{"name", "ShiftScaleRotate"},
                         {"p", 1},
                         {"rotate_limit", {angle, angle}},
                         {"scale_limit", {scale, scale}},
                         {"shift_limit_x", {dx, dx}},
                         {"shift_limit_y", {dy, dy}},
                         {"border_mode", 0},
                         {"value", 200}}});
  };
  const Image image = numbered(8, 8);
  const Frame turned = transformed(fixed(90, 0, 0, 0), Frame(image, ones(image)));
  const Frame shifted = transformed(fixed(0, 0, 0.25, -0.125), Frame(image, ones(image)));
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) {
      const auto i = static_cast<size_t>(y * 8 + x);
      // Counter-clockwise: the right column becomes the top row.
      CHECK(turned.image[i] == doctest::Approx(image.at(7 - y, x)).epsilon(1e-5));
      const bool inside = x >= 2 && y < 7;  // right by 2, up by 1
      CHECK(shifted.image[i] ==
            doctest::Approx(inside ? image.at(x - 2, y + 1) : 200).epsilon(1e-5));
      CHECK(shifted.mask[i] == inside);
    }
  }
  // Twice as large about the centre 3.5: pixel 3 shows 3.5 - 0.25.
  const Frame scaled = transformed(fixed(0, 1, 0, 0), Frame(image));
  CHECK(scaled.image[3 * 8 + 3] == doctest::Approx(1 + 3.25 + 20 * 3.25).epsilon(1e-5));
  CHECK(scaled.image[0] == doctest::Approx(1 + 1.75 + 20 * 1.75).epsilon(1e-5));
}

TEST_CASE("ShiftScaleRotate draws within its limits, 1 + U for the scale") {
  const json list = json::array({{{"name", "ShiftScaleRotate"}, {"p", 1}}});
  double least = 1e9, most = 0, steepest = 0, farthest = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    const Affine a = transformed(list, Frame(Image(16, 12, 1)), key_of(i)).geometry;
    const double scale = std::sqrt(a.determinant());
    least = std::min(least, scale);
    most = std::max(most, scale);
    steepest = std::max(steepest, std::fabs(std::atan2(a.m[1], a.m[0])));
    const auto [x, y] = a(7.5, 5.5);
    farthest = std::max({farthest, std::fabs(x - 7.5) / 16, std::fabs(y - 5.5) / 12});
  }
  CHECK(least > 0.9);
  CHECK(least < 0.91);
  CHECK(most < 1.1);
  CHECK(most > 1.09);
  CHECK(steepest < std::acos(-1) / 4);
  CHECK(steepest > 0.95 * std::acos(-1) / 4);
  CHECK(farthest <= 0.0625 + 1e-12);
  CHECK(farthest > 0.06);
}

TEST_CASE("GaussNoise has the variance asked for, in grey levels, per channel or for all alike") {
  Image flat(100, 100, 3);
  for (uint8_t& v : flat.pixels) v = 128;
  for (const bool per_channel : {true, false}) {
    const Frame out = transformed(json::array({{{"name", "GaussNoise"},
                                                {"p", 1},
                                                {"var_limit", {25, 25}},
                                                {"mean", 3},
                                                {"per_channel", per_channel}}}),
                                  Frame(flat));
    double sum = 0, squares = 0;
    int equal = 0;
    const size_t n = 10000;
    for (size_t i = 0; i < n; ++i) {
      const double v = out.image[3 * i] - 131.0;
      sum += v;
      squares += v * v;
      equal += out.image[3 * i] == out.image[3 * i + 1];
    }
    CHECK(std::fabs(sum / n) < 5 * 5 / std::sqrt(n));
    CHECK(std::fabs(squares / n / 25 - 1) < 5 * std::sqrt(2.0 / n));
    CHECK(equal == (per_channel ? 0 : static_cast<int>(n)));
  }
  const Frame bright =
      transformed(json::array({{{"name", "GaussNoise"}, {"p", 1}, {"mean", 300}}}), Frame(flat));
  for (const float v : bright.image) REQUIRE(v == 255);
}

TEST_CASE("PixelDropout drops its share of pixels in all channels and spares the mask") {
  Image flat(100, 100, 3);
  for (uint8_t& v : flat.pixels) v = 128;
  Image mask(100, 100, 1);
  for (uint8_t& v : mask.pixels) v = 1;
  json step = {{"name", "PixelDropout"}, {"p", 1}, {"dropout_prob", 0.1}, {"drop_value", 7}};
  Frame out = transformed(json::array({step}), Frame(flat, mask));
  int dropped = 0;
  for (size_t i = 0; i < 10000; ++i) {
    REQUIRE((out.image[3 * i] == 7) == (out.image[3 * i + 2] == 7));
    dropped += out.image[3 * i] == 7;
  }
  CHECK(std::abs(dropped - 1000) < 5 * 30);  // 5 standard deviations
  CHECK(out.mask == mask.pixels);
  step["mask_drop_value"] = 0;
  out = transformed(json::array({step}), Frame(flat, mask));
  for (size_t i = 0; i < 10000; ++i) REQUIRE((out.image[3 * i] == 7) == (out.mask[i] == 0));
  step["per_channel"] = true;
  CHECK(contains(message_of([&] { transformed(json::array({step}), Frame(flat)); }),
                 "mask_drop_value"));
}

TEST_CASE("Normalize by ImageNet's figures; one channel takes their average") {
  Image pixel(1, 1, 3);
  pixel.pixels = {255, 0, 128};
  const Frame out = transformed(json::array({{{"name", "Normalize"}}}), Frame(pixel));
  CHECK(out.image[0] == doctest::Approx((1 - 0.485) / 0.229).epsilon(1e-6));
  CHECK(out.image[1] == doctest::Approx(-0.456 / 0.224).epsilon(1e-6));
  CHECK(out.image[2] == doctest::Approx((128 / 255.0 - 0.406) / 0.225).epsilon(1e-6));
  Image grey(1, 1, 1);
  grey.pixels = {255};
  CHECK(transformed(json::array({{{"name", "Normalize"}}}), Frame(grey)).image[0] ==
        doctest::Approx((1 - 0.449) / 0.226).epsilon(1e-6));
}

TEST_CASE("p is the share of images a transform is applied to, independent between transforms") {
  const json list = json::array(
      {{{"name", "HorizontalFlip"}, {"p", 0.25}}, {{"name", "GaussNoise"}, {"p", 0.25}}});
  int flips = 0, noises = 0, both = 0;
  const Image image = numbered(4, 4);
  for (uint64_t i = 0; i < 2000; ++i) {
    const Frame out = transformed(list, Frame(image), key_of(i));
    const bool flip = !(out.geometry == Affine{});
    const bool noise = out.image[5] != std::floor(out.image[5]);
    flips += flip;
    noises += noise;
    both += flip && noise;
  }
  CHECK(std::abs(flips - 500) < 5 * 20);
  CHECK(std::abs(noises - 500) < 5 * 20);
  CHECK(std::abs(both - 125) < 5 * 11);
}

TEST_CASE("presets: sizes, order, and what they resize from") {
  const auto steps = [](const char* name, int size) {
    std::string out;
    for (const json& step : Pipeline::preset(name, size).to_json())
      out += step["name"].get<std::string>() + " ";
    return out;
  };
  CHECK(steps("none", 128) == "Resize Normalize ");
  CHECK(steps("weak", 128) == "Resize RandomCrop Normalize ");
  CHECK(steps("strong", 128) ==
        "Resize RandomCrop ShiftScaleRotate GaussNoise PixelDropout Normalize ");
  CHECK(contains(steps("strong_flip", 128), "RandomCrop HorizontalFlip "));
  CHECK(Pipeline::preset("weak", 128).to_json()[0]["height"] == 144);
  CHECK(Pipeline::preset("weak", 224).to_json()[0]["width"] == 252);
  CHECK(Pipeline::preset("none", 128).to_json()[0]["height"] == 128);
  CHECK(contains(message_of([] { Pipeline::preset("stong", 128); }), "'strong'"));
  // What to_json writes is read as the same pipeline.
  const Pipeline strong = Pipeline::preset("strong_flip", 32);
  const Pipeline back = Pipeline::from_json(strong.to_json());
  CHECK(back.to_json() == strong.to_json());
  Frame a(random_image(50, 40, 1, 3), ones(disc(50, 40, 20, 20, 9)));
  Frame b = a;
  strong.apply(a, key_of(3));
  back.apply(b, key_of(3));
  CHECK(a.image == b.image);
  CHECK(a.mask == b.mask);
  CHECK(a.width == 32);
}

TEST_CASE("noise in grey levels is refused behind Normalize, which it would clip") {
  const json normalize = {{"name", "Normalize"}};
  for (const char* noise : {"GaussNoise", "PixelDropout"}) {
    const std::string message =
        message_of([&] { Pipeline::from_json(json::array({normalize, {{"name", noise}}})); });
    CHECK(contains(message, noise));
    CHECK(contains(message, "before Normalize"));
    CHECK_NOTHROW(Pipeline::from_json(json::array({{{"name", noise}}, normalize})));
  }
}

TEST_CASE("a view pair is refused where a framing step follows what only the student's view gets") {
  const Frame source(random_image(48, 48, 1));
  const json crop = {{"name", "RandomCrop"}, {"height", 32}, {"width", 32}};
  const json flip = {{"name", "HorizontalFlip"}};
  const json normalize = {{"name", "Normalize"}};
  const Pipeline late = Pipeline::from_json(json::array({flip, crop, normalize}));
  Frame alone = source;
  CHECK_NOTHROW(late.apply(alone, key_of(0)));  // one view needs no order
  const std::string message = message_of([&] { late.apply_pair(source, key_of(0)); });
  CHECK(contains(message, "RandomCrop after HorizontalFlip"));
  // Also where sizes would agree: the views would show different parts.
  const json same_size = {{"name", "Resize"}, {"height", 48}, {"width", 48}};
  CHECK_THROWS_AS(
      Pipeline::from_json(json::array({flip, same_size, normalize})).apply_pair(source, key_of(0)),
      Error);
  CHECK_NOTHROW(
      Pipeline::from_json(json::array({crop, flip, normalize})).apply_pair(source, key_of(0)));
}

TEST_CASE("a pipeline's evaluation is a Resize and the pipeline's own Normalize") {
  const Pipeline trained = Pipeline::from_json(json::array(
      {{{"name", "RandomCrop"}, {"height", 4}, {"width", 4}},
       {{"name", "GaussNoise"}, {"p", 1}},
       {{"name", "Normalize"}, {"mean", {0.5}}, {"std", {0.25}}, {"max_pixel_value", 100}}}));
  Image flat(8, 8, 1);
  for (uint8_t& v : flat.pixels) v = 90;
  Frame frame(flat);
  trained.evaluation(2).apply(frame, key_of(0));
  CHECK(frame.width == 2);
  CHECK(frame.height == 2);
  for (const float v : frame.image) CHECK(v == doctest::Approx((90 - 50) / 25.0).epsilon(1e-6));
  CHECK(Pipeline::preset("strong_flip", 32).evaluation(32).to_json() ==
        Pipeline::preset("none", 32).to_json());

  const json normalize = {{"name", "Normalize"}};
  const json flip = {{"name", "HorizontalFlip"}};
  for (const json& list : {json::array(), json::array({flip}), json::array({normalize, flip}),
                           json::array({normalize, normalize})})
    CHECK(contains(message_of([&] { Pipeline::from_json(list).evaluation(8); }),
                   "exactly one Normalize"));
}

TEST_CASE("framing and Normalize steps that are left to chance have no evaluation") {
  const json resize = {{"name", "Resize"}, {"height", 8}, {"width", 8}};
  const json normalize = {{"name", "Normalize"}};
  const auto with_p = [](json step, double p) {
    step["p"] = p;
    return step;
  };
  const auto message = [](const json& list) {
    return message_of([&] { Pipeline::from_json(list).evaluation(8); });
  };
  CHECK(message(json::array({resize, normalize})).empty());
  CHECK(message(json::array({resize, {{"name", "HorizontalFlip"}}, normalize})).empty());
  CHECK(contains(message(json::array({with_p(resize, 0.99), normalize})), "Resize with p = 1"));
  CHECK(contains(message(json::array({with_p(resize, 0), normalize})), "Resize with p = 1"));
  CHECK(contains(message(json::array({resize, with_p(normalize, 0.4)})), "Normalize with p = 1"));
}

TEST_CASE("Albumentations' own dictionaries are read, and those of 1.4 refused") {
  const char* text = R"({"__version__": "1.3.1", "transform": {"__class_fullname__": "Compose",
    "p": 1.0, "bbox_params": null, "keypoint_params": null, "additional_targets": {}, "transforms": [
    {"__class_fullname__": "albumentations.augmentations.crops.transforms.RandomCrop",
     "always_apply": false, "p": 1.0, "height": 8, "width": 8},
    {"__class_fullname__": "ShiftScaleRotate", "always_apply": false, "p": 0.5,
     "shift_limit_x": [-0.0625, 0.0625], "shift_limit_y": [-0.0625, 0.0625],
     "scale_limit": [-0.1, 0.1], "rotate_limit": [-45, 45], "interpolation": 1, "border_mode": 4,
     "value": null, "mask_value": null, "rotate_method": "largest_box"},
    {"__class_fullname__": "Normalize", "always_apply": true, "p": 0.1,
     "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "max_pixel_value": 255.0},
    {"__class_fullname__": "ToTensorV2", "always_apply": true, "p": 1.0, "transpose_mask": false}]}})";
  json dictionary = json::parse(text);
  const json list = Pipeline::from_json(dictionary).to_json();
  REQUIRE(list.size() == 3);
  CHECK(list[0]["name"] == "RandomCrop");
  CHECK(list[1]["rotate_limit"] == json::array({-45, 45}));
  CHECK(list[2]["p"] == 1.0);  // always_apply
  dictionary["__version__"] = "1.4.0";
  CHECK(contains(message_of([&] { Pipeline::from_json(dictionary); }), "1.4.0"));
}

TEST_CASE("compositions nest only so deep") {
  const auto nested = [](int levels) {
    json list = json::array({{{"name", "HorizontalFlip"}}});
    for (int i = 0; i < levels; ++i)
      list = json::array({{{"name", "Sequential"}, {"p", 1}, {"transforms", std::move(list)}}});
    return list;
  };
  CHECK_NOTHROW(Pipeline::from_json(nested(30)));
  for (const int levels : {32, 20'000})
    CHECK(contains(message_of([&] { Pipeline::from_json(nested(levels)); }),
                   "nested at most 64 deep"));
}

TEST_CASE("a wrong pipeline is an Error that names the transform, the argument and the nearest") {
  const auto message = [](const char* text) {
    return message_of([&] { Pipeline::from_json(json::parse(text)); });
  };
  CHECK(contains(message(R"([{"name": "HorizontalFlop"}])"), "'HorizontalFlip'"));
  CHECK(contains(message(R"([{"name": "GaussNoise", "var_limits": 3}])"), "'var_limit'"));
  CHECK(contains(message(R"([{"name": "GaussNoise", "var_limit": "3"}])"), "var_limit"));
  CHECK(contains(message(R"([{"name": "RandomCrop", "height": 3}])"), "width"));
  CHECK(contains(message(R"([{"name": "RandomCrop", "height": 3, "width": 2.5}])"), "2.5"));
  CHECK(contains(message(R"([{"name": "HorizontalFlip", "p": 1.5}])"), "1.5"));
  CHECK(contains(message(R"([{"name": "Resize", "height": 8, "width": 8, "interpolation": 2}])"),
                 "interpolation"));
  CHECK(contains(message(R"({"name": "Resize"})"), "list"));
  CHECK(contains(message(R"([3])"), "name"));
}

TEST_CASE(
    "a view pair: the student's is the whole pipeline, the teacher's its framing, and the "
    "map between them is right") {
  const json list = json::array({{{"name", "Resize"}, {"height", 72}, {"width", 72}},
                                 {{"name", "RandomCrop"}, {"height", 64}, {"width", 64}},
                                 {{"name", "HorizontalFlip"}, {"p", 1}},
                                 {{"name", "ShiftScaleRotate"}, {"p", 1}, {"border_mode", 0}},
                                 {{"name", "PixelDropout"}, {"p", 1}, {"drop_value", 0}},
                                 {{"name", "Normalize"}, {"mean", {0}}, {"std", {1}}}});
  const Pipeline pipeline = Pipeline::from_json(list);
  const Frame source(bump(90, 80, 44, 41, 5), ones(disc(90, 80, 44, 41, 9)));
  for (uint64_t i = 0; i < 8; ++i) {
    const ViewPair views = pipeline.apply_pair(source, key_of(i));
    Frame whole = source;
    pipeline.apply(whole, key_of(i));
    CHECK(whole.image == views.student.image);
    CHECK(whole.mask == views.student.mask);

    const Frame framed = transformed(json::array({list[0], list[1], list[5]}), source, key_of(i));
    CHECK(framed.geometry.determinant() == doctest::Approx(0.8 * 0.9).epsilon(1e-12));
    CHECK(views.teacher.geometry == framed.geometry);
    CHECK(views.teacher.image == framed.image);

    const Point seen = centre(views.teacher);
    const auto [x, y] = views.teacher_to_student(seen.x, seen.y);
    const Point there = centre(views.student);
    CHECK(std::fabs(there.x - x) < 0.25);  // the dropped pixels move the centre a little
    CHECK(std::fabs(there.y - y) < 0.25);
  }
}
