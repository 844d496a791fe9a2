// What a device makes of planned batches against what the CPU's loader makes: on the CPU's
// reference kernels in every build, on cuda where there is one.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/loader.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;
using nlohmann::json;

namespace {

std::vector<Device> devices() {
  if constexpr (kWithCuda) return {Device::cpu, Device::cuda};
  return {Device::cpu};
}

/// n images of several sizes, larger and smaller than what is trained on; the last has no mask.
void fill(const TempFolder& folder, int n) {
  for (int i = 0; i < n; ++i) {
    const std::string name = str("s", i, ".png");
    const int w = 30 + 11 * i;
    const int h = 71 - 5 * i;
    write_png(folder.at("images/" + name), random_image(w, h, static_cast<uint64_t>(i), 3));
    if (i + 1 < n) write_png(folder.at("masks/" + name), disc(w, h, w / 2.0, h / 3.0, 5 + 2 * i));
  }
}

std::shared_ptr<const PictureStore> store_of(const Dataset& dataset, int channels, Device device) {
  auto store = std::make_shared<PictureStore>(dataset, dataset.ids(), channels);
  store->load(device);
  return store;
}

/// A planned batch with its pixels, on the CPU.
Batch made(Batch plan, const PictureStore& store, bool pair, Device device) {
  const Shape s = plan.frames;
  plan.table = plan.table.to(device);
  plan.images = Tensor(s, DType::f32, device);
  plan.masks = Tensor({s[0], s[1], s[2], 1}, DType::f32, device);
  if (pair) plan.teacher_images = Tensor(s, DType::f32, device);
  make_pixels(store, plan);
  for (Tensor* t : {&plan.images, &plan.masks, &plan.teacher_images})
    if (t->defined()) *t = t->to(Device::cpu);
  return plan;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double largest = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double{a.data<float>()[i]} - double{b.data<float>()[i]});
    if (!(d <= largest)) largest = d;  // NaN stays
  }
  return largest;
}

// Both ways round at most 16 times on the way to a value (two mixes of mixes, weights, noise), each
// time by half a last place of 255 grey levels; Normalize shrinks that by what one level is.
double allowed(double level) {
  return 2 * 16 * 255 * 0x1p-24 * level;
}
constexpr double kImageNetLevel = 1 / (0.224 * 255);

void check_same(const Batch& device, const Batch& cpu, double level) {
  CHECK(device.frames == cpu.frames);
  CHECK(device.ids == cpu.ids);
  CHECK(device.has_mask == cpu.has_mask);
  CHECK(device.teacher_to_student == cpu.teacher_to_student);
  CHECK(largest_difference(device.images, cpu.images) <= allowed(level));
  CHECK(largest_difference(device.masks, cpu.masks) == 0);
  REQUIRE(device.teacher_images.defined() == cpu.teacher_images.defined());
  if (cpu.teacher_images.defined())
    CHECK(largest_difference(device.teacher_images, cpu.teacher_images) <= allowed(level));
}

void check_pipeline(const Dataset& dataset, const Pipeline& pipeline, LoaderOptions options,
                    double level, int64_t epochs) {
  options.batch = 3;
  options.seed = 5;
  options.threads = 0;
  options.shuffle = true;
  options.need_masks = false;
  Loader cpu(dataset, dataset.ids(), pipeline, options);
  std::vector<Batch> expected;
  for (int64_t k = 0; k < epochs * cpu.batches(); ++k)
    expected.push_back(cpu.batch(k / cpu.batches(), k % cpu.batches()));
  for (const Device device : devices()) {
    CAPTURE(device);
    options.pictures = store_of(dataset, options.in_channels, device);
    for (const int threads : {0, 2}) {
      options.threads = threads;
      Loader planned(dataset, dataset.ids(), pipeline, options);
      for (int64_t k = 0; k < epochs * cpu.batches(); ++k)
        check_same(made(planned.batch(k / cpu.batches(), k % cpu.batches()), *options.pictures,
                        options.pair, device),
                   expected[static_cast<size_t>(k)], level);
    }
  }
}

json steps(std::initializer_list<json> list) {
  return json::array_t(list);
}

const json kResize = {{"name", "Resize"}, {"height", 40}, {"width", 36}};
const json kCrop = {{"name", "RandomCrop"}, {"height", 24}, {"width", 29}};
const json kFlip = {{"name", "HorizontalFlip"}};
const json kMove = {{"name", "ShiftScaleRotate"}, {"p", 1}};
const json kNormalize = {{"name", "Normalize"}};

}  // namespace

TEST_CASE("every preset, planned and made on the device, is the CPU's batch") {
  const TempFolder folder;
  fill(folder, 7);
  const Dataset d = open_dataset(folder.path());
  for (const std::string& name : Pipeline::preset_names())
    for (const int size : {16, 33, 64})
      for (const bool pair : {false, true})
        for (const int channels : {1, 3}) {
          CAPTURE(name);
          CAPTURE(size);
          CAPTURE(pair);
          CAPTURE(channels);
          check_pipeline(d, Pipeline::preset(name, size), {.in_channels = channels, .pair = pair},
                         kImageNetLevel, 2);
        }
}

TEST_CASE("arguments that no preset gives are the CPU's on the device, too") {
  const TempFolder folder;
  fill(folder, 6);
  const Dataset d = open_dataset(folder.path());
  json nearest = kResize;
  nearest["interpolation"] = 0;
  const json grey_noise = {{"name", "GaussNoise"},
                           {"p", 1},
                           {"mean", 9},
                           {"var_limit", {900, 901}},
                           {"per_channel", false}};
  const json colours = {
      {"name", "PixelDropout"}, {"p", 1}, {"dropout_prob", 0.3}, {"drop_value", nullptr}};
  json per_channel = colours;
  per_channel["per_channel"] = true;
  const json turned = {{"name", "ShiftScaleRotate"},
                       {"p", 1},
                       {"rotate_limit", 180},
                       {"scale_limit", {-0.8, 2}},
                       {"shift_limit", 3}};
  for (const json& list :
       {steps({nearest, kCrop}), steps({kResize, kMove}), steps({kResize, kFlip, turned}),
        steps({kResize, grey_noise, colours}), steps({kResize, kFlip, per_channel})}) {
    CAPTURE(list.dump());
    check_pipeline(d, Pipeline::from_json(list), {}, 1, 2);
  }
}

TEST_CASE("a pipeline that a device does not do says what of it, and a loader refuses to plan it") {
  const auto refused = [](const json& list) { return Pipeline::from_json(list).only_on_cpu(); };
  for (const std::string& name : Pipeline::preset_names())
    CHECK(Pipeline::preset(name, 32).only_on_cpu().empty());
  CHECK(contains(refused(steps({{{"name", "PadIfNeeded"}}, kNormalize})), "PadIfNeeded"));
  json black = kMove;
  black["border_mode"] = 0;
  json steep = kMove;
  steep["interpolation"] = 0;
  for (const json& move : {black, steep})
    CHECK(refused(steps({kResize, move})) == "ShiftScaleRotate with these arguments");
  const json dropout = {{"name", "PixelDropout"}, {"mask_drop_value", 0}};
  CHECK(refused(steps({dropout})) == "PixelDropout with these arguments");
  json sometimes = kNormalize;
  sometimes["p"] = 0.5;
  CHECK(refused(steps({sometimes})) == "Normalize with these arguments");
  CHECK(refused(steps({kFlip, kCrop})) == "RandomCrop after HorizontalFlip");
  CHECK(refused(steps({kCrop, kResize})) == "Resize after RandomCrop");
  CHECK(refused(steps({kMove, kMove})) == "ShiftScaleRotate after ShiftScaleRotate");
  CHECK(refused(steps({kNormalize, kFlip})) == "HorizontalFlip after Normalize");

  const TempFolder folder;
  fill(folder, 3);
  const Dataset d = open_dataset(folder.path());
  LoaderOptions options{.need_masks = false, .pictures = store_of(d, 3, Device::cpu)};
  const auto message = [&](const Pipeline& pipeline) {
    return message_of([&] { Loader(d, d.ids(), pipeline, options); });
  };
  CHECK(contains(message(Pipeline::from_json(steps({kFlip, kCrop}))),
                 "a device does, got RandomCrop after HorizontalFlip"));
  options.in_channels = 1;
  CHECK(contains(message(Pipeline::preset("weak", 16)), "pictures of 1 channels, got 3"));
  options.in_channels = 3;
  Loader uneven(d, d.ids(), Pipeline{}, options);
  CHECK(contains(message_of([&] { uneven.batch(0, 0); }), "one size"));
}

TEST_CASE("a store of pictures says what they take, and names the file that cannot be read") {
  const TempFolder folder;
  fill(folder, 4);
  const Dataset d = open_dataset(folder.path());
  int64_t pixels = 0;
  int64_t with_mask = 0;
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t size = (30 + 11 * i) * (71 - 5 * i);
    pixels += size;
    with_mask += i < 3 ? size : 0;
  }
  CHECK(PictureStore(d, d.ids(), 3).bytes() == 3 * pixels + with_mask);
  CHECK(PictureStore(d, d.ids(), 1).bytes() == pixels + with_mask);
  CHECK(contains(message_of([&] { PictureStore(d, {"s0"}, 1).find("s1"); }), "'s1'"));
  truncate_file(folder.at("images/s2.png"), 0.5);
  CHECK(contains(message_of([&] { store_of(d, 1, Device::cpu); }), "s2.png"));
}
