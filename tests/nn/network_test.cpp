#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "nn/network.h"
#include "nn/summary.h"

namespace decant::nn {
namespace {

/// Every key, shape and type, one per line, as PyTorch's state_dict lists them.
std::string listing(Module& module) {
  std::string text;
  for (const auto& [name, tensor] : state_dict(module)) {
    std::string extents;
    for (const int64_t extent : tensor.shape().extents())
      extents += str(extents.empty() ? "" : "x", extent);
    text += str(name, '\t', extents.empty() ? "scalar" : extents, '\t', tensor.dtype(), '\n');
  }
  return text;
}

/// Where values do not matter.
std::unique_ptr<Network> allocated(const char* text) {
  auto network = std::make_unique<Network>(parse_network(text));
  allocate(*network);
  return network;
}

struct Golden {
  const char* network;
  size_t entries;
  int64_t parameters;
  uint64_t listing_hash;  ///< FNV-1a 64 of the listing
  double gmacs = 0;  ///< at 256 x 256, with three decimals; 0: as of smaller ones of its family, or
                     ///< not comparable
};

// Manet's matrix products, which the printed figures leave out: 64 x 64 pairs of pixels, times
// their widths.
constexpr double kAttention = 64 * 64 / 1e9;

// Printed by segmentation_models.pytorch 0.5.1 on PyTorch 1.13, of EfficientNet-B1 on, ResNeXt, VGG
// and MobileNetV3 by 0.6.0 on PyTorch 2.15: state_dict(), parameters, and the multiply-adds of all
// convolutions.
constexpr Golden kGolden[] = {
    {"unet/resnet18", 182, 14'328'209, 0x24b080f7784164b1, 5.398},
    {"unet/resnet34", 278, 24'436'369, 0xbdc94040c222fa69, 7.814},
    {"unet/resnet50", 380, 32'521'105, 0xf7d2a4fecbff723b, 10.633},
    {"unet/mobilenet_v2", 374, 6'628'945, 0xb79a110b012946a7, 3.345},
    {"linknet/resnet18", 217, 11'663'777, 0x18084acc0f1c460a, 2.614},
    {"linknet/resnet34", 313, 21'771'937, 0x2303be51aaa50122, 5.030},
    {"linknet/resnet50", 415, 31'177'777, 0x7a58d3c86ca83d41, 7.270},
    {"linknet/mobilenet_v2", 409, 4'319'859, 0xec3df03de1f1ad14, 0.556},
    {"unetplusplus/resnet18", 254, 15'970'449, 0xa3c5a9b580863928, 15.968},
    {"unetplusplus/resnet34", 350, 26'078'609, 0xb52e637a06387270, 18.384},
    {"unetplusplus/resnet50", 452, 48'985'745, 0x84905311381ff5c0, 57.441},
    {"unetplusplus/mobilenet_v2", 446, 6'824'721, 0x74dbbb1259e6a56d, 4.442},
    {"manet/resnet18", 270, 21'675'473, 0xd1661d6c9368f825, 5.897 + kAttention * (64 + 512)},
    {"manet/resnet34", 366, 31'783'633, 0x1b538a7594da314d, 8.313 + kAttention * (64 + 512)},
    {"manet/resnet50", 468, 147'439'993, 0xfdb0a4e6bc2f4aa8, 18.569 + kAttention * (64 + 2048)},
    {"manet/mobilenet_v2", 462, 48'888'741, 0xc85c37adf4aef7f1, 5.222 + kAttention * (64 + 1280)},
    {"fpn/resnet18", 151, 13'047'233, 0x21b53f442a8639b2, 4.439},
    {"fpn/resnet34", 247, 23'155'393, 0xd5fc9c085c5eefea, 6.855},
    {"fpn/resnet50", 349, 26'116'033, 0xa419570df81575aa, 7.786},
    {"fpn/mobilenet_v2", 343, 4'215'425, 0xac1e0718a2fdcfd3, 2.397},
    {"pspnet/resnet18", 148, 11'329'825, 0xd6d7497a98d3e50d, 1.434},
    {"pspnet/resnet34", 244, 21'437'985, 0xd72697ed799b5c95, 2.340},
    {"pspnet/resnet50", 346, 24'300'993, 0x694f300a0f9edfbb, 2.914},
    {"pspnet/mobilenet_v2", 340, 2'263'353, 0xb809f7dc7e559633, 0},
    {"deeplabv3/resnet18", 164, 15'898'945, 0x66af8b273d6c3a23, 0},
    {"deeplabv3/resnet34", 260, 26'007'105, 0xd150a3eb5f358beb, 0},
    {"deeplabv3/resnet50", 362, 39'633'729, 0x26d637d9adae4329, 0},
    {"deeplabv3/mobilenet_v2", 356, 12'647'937, 0x60d2c3a8dec5d5ae, 0},
    {"deeplabv3plus/resnet18", 181, 12'329'297, 0xdfaf52ab94de0dfc, 4.562},
    {"deeplabv3plus/resnet34", 277, 22'437'457, 0x9a3b9648ba96a464, 7.884},
    {"deeplabv3plus/resnet50", 379, 26'677'585, 0x2b3921362ae3b3f3, 9.141},
    {"deeplabv3plus/mobilenet_v2", 373, 4'378'513, 0xc73278fa7d5fc46e, 1.482},
    {"unet/efficientnet-b0", 420, 6'251'469, 0xc47acea31a2c5a25, 2.958},
    {"linknet/efficientnet-b0", 455, 4'167'169, 0x93d4476c18764288, 0.540},
    {"unetplusplus/efficientnet-b0", 492, 6'569'581, 0x4243b8480335ac62, 5.518},
    {"manet/efficientnet-b0", 508, 9'092'357, 0x9537973cd2f1b424, 2.833 + kAttention * (64 + 320)},
    {"fpn/efficientnet-b0", 389, 5'759'485, 0x67d39c0069132b11, 2.469},
    {"pspnet/efficientnet-b0", 386, 4'055'811, 0x0806454addc25dc6,
     0},  // SMP runs one stage more than it takes
    {"deeplabv3/efficientnet-b0", 402, 7'304'573, 0x8c47684779176870, 0},
    {"deeplabv3plus/efficientnet-b0", 419, 4'907'469, 0x7a3182cf79300e7e, 1.414},
    {"unet/efficientnet-b1", 568, 8'757'105, 0x4cda105c62b55886},
    {"unet/efficientnet-b2", 568, 10'046'291, 0xf6fc51f2d47b0f4d},
    {"unet/efficientnet-b3", 634, 13'159'033, 0xb50bd1244beed846},
    {"unet/efficientnet-b4", 766, 20'225'689, 0x275c6be7df83d3fc},
    {"unet/efficientnet-b5", 914, 31'216'001, 0x8e4887130888e1c2},
    {"unet/efficientnet-b6", 1046, 43'825'193, 0xd7f8c2f41fd8a632},
    {"unet/efficientnet-b7", 1260, 67'095'329, 0x8e9cb0cd56d74337, 9.632},
    {"unet/resnext50_32x4d", 380, 31'992'977, 0x556d9adeee6f915c, 10.817},
    {"unet/vgg11_bn", 130, 18'259'537, 0x36a4239656504a71, 14.467},
    {"unet/vgg13_bn", 144, 18'444'433, 0x08185e80f2bd42d3},
    {"unet/vgg16_bn", 165, 23'756'689, 0x0348fabb0290e56f},
    {"unet/vgg19_bn", 186, 29'068'945, 0xa4960c0f92e6f027},
    {"unet/mobilenet_v3_small_100", 302, 3'585'649, 0xec04a7a4836dc70d},
    {"unet/mobilenet_v3_small_minimal_100", 266, 3'087'529, 0xde70ebdc50909415},
    {"unet/mobilenet_v3_large_075", 370, 4'886'049, 0xfdcf9e512cfbe168},
    {"unet/mobilenet_v3_large_100", 370, 6'685'825, 0x62ddf924da04ae26},
    {"unet/mobilenet_v3_large_minimal_100", 338, 5'127'081, 0x774c5fd5317daeee},
};

TEST_CASE("names, order, shapes and types of the state dict are SMP's") {
  for (const Golden& golden : kGolden) {
    CAPTURE(golden.network);
    const auto network = allocated(golden.network);
    CHECK(state_dict(*network).size() == golden.entries);
    CHECK(parameter_count(*network) == golden.parameters);
    CHECK(fnv1a64(listing(*network)) == golden.listing_hash);
  }
}

TEST_CASE("summary: parameters and multiply-adds are SMP's") {
  for (const Golden& golden : kGolden) {
    if (golden.gmacs == 0) continue;
    CAPTURE(golden.network);
    const auto network = allocated(golden.network);
    const Summary summary = summarize(*network, 256, 256);
    CHECK(summary.parameters == golden.parameters);
    if (golden.gmacs > 0)
      CHECK(std::abs(static_cast<double>(summary.macs) / 1e9 - golden.gmacs) <= 0.0005);
    int64_t parameters = 0;
    for (const LayerSummary& layer : summary.layers) parameters += layer.parameters;
    CHECK(parameters == golden.parameters);
  }
}

TEST_CASE("summary: one layer by hand") {
  const auto network = allocated("unet/resnet18");
  const Summary summary = summarize(*network, 64, 32);
  const LayerSummary& first = summary.layers.front();
  CHECK(first.name == "encoder.conv1");
  CHECK(first.op == "conv2d");
  CHECK(first.output_shape == Shape{1, 32, 16, 64});
  CHECK(first.parameters == 64 * 3 * 7 * 7);
  CHECK(first.macs == 32 * 16 * 64 * 3 * 7 * 7);
  CHECK(first.activation_bytes == 32 * 16 * 64 * 4);
  CHECK(summary.layers.back().name == "segmentation_head.0");
  CHECK(summary.text().find("14,328,209") != std::string::npos);
}

TEST_CASE("encoders have the published numbers of parameters") {
  // torchvision's totals without their classifiers; SMP's and timm's for the mobilenets.
  const std::pair<const char*, int64_t> published[] = {
      {"resnet18", 11'689'512 - 513'000},
      {"resnet34", 21'284'672},
      {"resnet50", 23'508'032},
      {"resnet101", 42'500'160},
      {"resnet152", 60'192'808 - 2'049'000},
      {"resnext101_32x8d", 88'791'336 - 2'049'000},
      {"mobilenet_v2", 2'223'872},
      {"mobilenet_v3_small_075", 573'480},
      {"mobilenet_v3_small_100", 927'008},
      {"mobilenet_v3_small_minimal_100", 428'888},
      {"mobilenet_v3_large_075", 1'789'648},
      {"mobilenet_v3_large_100", 2'971'952},
      {"mobilenet_v3_large_minimal_100", 1'413'208},
      {"efficientnet-b0", 5'288'548 - 1'281'000},
      {"efficientnet-b1", 6'513'184},
      {"efficientnet-b2", 7'700'994},
      {"efficientnet-b3", 10'696'232},
      {"efficientnet-b4", 17'548'616},
      {"efficientnet-b5", 28'340'784},
      {"efficientnet-b6", 40'735'704},
      {"efficientnet-b7", 63'786'960},
      {"resnext50_32x4d", 25'028'904 - 2'049'000},
      {"vgg11_bn", 9'225'984},
      {"vgg13_bn", 9'410'880},
      {"vgg16_bn", 14'723'136},
      {"vgg19_bn", 20'035'392},
  };
  for (const auto& [name, count] : published) {
    CAPTURE(name);
    Network network({.decoder = "unet", .encoder = name});
    CHECK(parameter_count(network.encoder()) == count);
  }
}

TEST_CASE("the paper's student has 815,917 parameters") {
  Network network(parse_network("linknet/mobilenet_v3_small_075"));
  CHECK(parameter_count(network) == 815'917);
  CHECK(network.hidden_channels() == 432);
}

TEST_CASE("one input channel takes one third of the first convolution") {
  // SMP: 6272 parameters fewer for ResNets, 576 for MobileNets.
  Network resnet({.decoder = "unet", .encoder = "resnet18", .in_channels = 1});
  CHECK(parameter_count(resnet) == 14'328'209 - 6'272);
  Network mobilenet({.decoder = "linknet", .encoder = "mobilenet_v2", .in_channels = 1});
  CHECK(parameter_count(mobilenet) == 4'319'859 - 576);
  Network efficient({.decoder = "unet", .encoder = "efficientnet-b0", .in_channels = 1});
  CHECK(parameter_count(efficient) == 6'251'469 - 576);
}

TEST_CASE("an encoder may be taken for its first maps, with all of its parameters") {
  const NoGrad no_grad;
  const Variable x(Tensor::zeros({1, 64, 48, 3}));
  for (const char* encoder : {"resnet18", "mobilenet_v2", "mobilenet_v3_small_075"})
    for (const int64_t depth : {3, 4, 5}) {
      CAPTURE(encoder);
      CAPTURE(depth);
      const auto network = make_network({.decoder = "linknet", .encoder = encoder, .depth = depth});
      Network whole({.decoder = "linknet", .encoder = encoder});
      CHECK(parameter_count(network->encoder()) == parameter_count(whole.encoder()));
      CHECK(network->stride() == int64_t{1} << depth);
      const Output y = network->forward(x);
      CHECK(y.logits.shape() == Shape{1, 64, 48, 1});
      CHECK(y.hidden.shape()[1] * network->stride() == 64);
      CHECK(y.hidden.shape()[3] == network->hidden_channels());
      CHECK(y.hidden_offset ==
            (std::string_view(encoder).starts_with("mobilenet_v3") ? y.hidden_stride - 1 : 0));
    }
  CHECK_THROWS_WITH_AS(Network({.decoder = "unet", .encoder = "resnet18", .depth = 2}),
                       "resnet18: expected a depth of 3 to 5, got 2", Error);
  CHECK_THROWS_WITH_AS(Network({.decoder = "unet", .encoder = "resnet18", .depth = 6}),
                       "resnet18: expected a depth of 3 to 5, got 6", Error);
}

TEST_CASE("the thin U-Net is a hundred times smaller than its teacher, with the same hidden grid") {
  const auto thin = allocated("thin_unet");
  const auto teacher = allocated("unet/resnet18");
  CHECK(100 * parameter_count(*thin) <= parameter_count(*teacher));
  CHECK(thin->stride() == 32);
  const NoGrad no_grad;
  const Variable x(Tensor::zeros({1, 64, 96, 3}));
  const Output small = thin->forward(x);
  const Output large = teacher->forward(x);
  CHECK(small.hidden.shape() == Shape{1, 2, 3, 160});
  CHECK(large.hidden.shape() == Shape{1, 2, 3, 512});
  CHECK(small.hidden_stride == large.hidden_stride);
  CHECK(small.hidden_offset == large.hidden_offset);
  CHECK(small.logits.shape() == large.logits.shape());
}

TEST_CASE("width and depth of the thin U-Net are free") {
  for (const char* text : {"thin_unet:width=4,depth=2", "thin_unet:width=7,depth=3",
                           "thin_unet:width=8,depth=7", "thin_unet:classes=4,in_channels=1"}) {
    CAPTURE(text);
    const auto network = make_network(parse_network(text));
    const NetworkSpec& spec = network->spec();
    CHECK(network->stride() == int64_t{1} << spec.depth);
    const NoGrad no_grad;
    const Output y = network->forward(Variable(Tensor::zeros({1, 40, 50, spec.in_channels})));
    CHECK(y.logits.shape() == Shape{1, 40, 50, spec.classes});
    CHECK(y.hidden.shape()[3] == network->hidden_channels());
  }
  CHECK_THROWS_WITH_AS(Network(parse_network("thin_unet:depth=8")),
                       "thin_unet: expected a depth of 2 to 7, got 8", Error);
}

// Where the cells of a traced value lie in the network's input: cell i on pixel stride i + offset.
struct Grid {
  double stride = 1;
  double offset = 0;
};

int64_t whole(const Trace::Step& step, std::string_view name) {
  for (const auto& [key, value] : step.attributes)
    if (key == name) return std::get<int64_t>(value);
  return 0;
}

// Zeros above: all that offsets of square layers need.
int64_t padding_of(const Trace::Step& step) {
  for (const auto& [key, value] : step.attributes)
    if (key == "padding" && std::holds_alternative<std::vector<int64_t>>(value))
      return std::get<std::vector<int64_t>>(value)[0];
  return whole(step, "padding");
}

TEST_CASE("hidden cells lie where the network says: followed through each encoder's trace") {
  // A layer takes cell i of its result to position s i - p + d (k - 1) / 2 of its input.
  // (Deeper ResNets are the same code as resnet50.)
  for (const char* name :
       {"unet/resnet18", "unet/resnet50", "unet/mobilenet_v2", "unet/mobilenet_v3_small_075",
        "unet/mobilenet_v3_large_075", "unet/efficientnet-b0", "unet/efficientnet-b1",
        "unet/efficientnet-b4", "unet/vgg11_bn", "unet/thin", "deeplabv3/resnet50",
        "deeplabv3plus/mobilenet_v2", "deeplabv3/efficientnet-b0",
        "deeplabv3plus/efficientnet-b1"}) {
    CAPTURE(name);
    const auto network = allocated(name);
    const NoGrad no_grad;
    const Trace trace;
    const Output output = network->forward(Variable(Tensor::zeros({1, 64, 64, 3})));
    std::map<uint64_t, Grid> grids;
    for (const Trace::Step& step : trace.steps()) {
      Grid grid = grids[step.inputs[0]];  // an unknown value is the input: stride 1, offset 0
      const bool convolution = step.op->name == "conv2d";
      if (convolution || step.op->name == "max_pool2d") {
        const int64_t kernel = convolution ? step.input_shapes[1][1] : whole(step, "kernel");
        const int64_t dilation = convolution ? whole(step, "dilation") : 1;
        grid.offset += grid.stride * (static_cast<double>(dilation * (kernel - 1)) / 2 -
                                      static_cast<double>(padding_of(step)));
        grid.stride *= static_cast<double>(whole(step, "stride"));
      }
      grids[step.output] = grid;
    }
    CHECK(grids[output.hidden.id()].stride == output.hidden_stride);
    CHECK(grids[output.hidden.id()].offset == output.hidden_offset);
  }
}

TEST_CASE("EfficientNet drops samples while training alone; its norms have a momentum of 0.01") {
  const auto network = make_network(parse_network("linknet/efficientnet-b0"), 3);
  Tensor images({8, 32, 32, 3});
  const Rng rng(RngKey::of(1, "images"));
  for (int64_t i = 0; i < images.size(); ++i)
    images.mutable_data<float>()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
  const Variable x(images);
  const NoGrad no_grad;
  const auto logits = [&](const Pass& pass) {
    const Tensor y = network->forward(x, pass).logits.value();
    return std::vector<float>(y.values<float>().begin(), y.values<float>().end());
  };
  const auto running_mean = [&] {
    for (const NamedTensor& t : state_dict(*network))
      if (t.name == "encoder._bn0.running_mean") return t.tensor.data<float>()[0];
    return 0.0F;
  };
  const Pass first{.training = true, .key = RngKey::of(1, "dropout")};
  const Pass second{.training = true, .key = RngKey::of(2, "dropout")};
  const std::vector<float> dropped = logits(first);
  const float once = running_mean();
  CHECK(logits(first) == dropped);
  CHECK(running_mean() / once == doctest::Approx(1.99));  // m, then 0.99 m + m
  CHECK(logits(second) != dropped);
  CHECK(logits({.key = first.key}) == logits({.key = second.key}));
  CHECK(logits({.key = first.key, .batch_statistics = true}) ==
        logits({.key = second.key, .batch_statistics = true}));
}

TEST_CASE("any input size is padded to the stride, and the logits cropped back") {
  const auto network = make_network(parse_network("linknet/mobilenet_v3_small_075"), 3);
  const NoGrad no_grad;
  Tensor x({1, 37, 50, 3});
  Tensor padded = Tensor::zeros({1, 64, 64, 3});
  const Rng rng(RngKey::of(0, "image"));
  for (int64_t i = 0; i < 37; ++i) {
    for (int64_t k = 0; k < 50 * 3; ++k) {
      const auto value = static_cast<float>(rng.normal(static_cast<uint64_t>(i * 150 + k)));
      x.mutable_data<float>()[i * 150 + k] = value;
      padded.mutable_data<float>()[i * 192 + k] = value;
    }
  }
  const Tensor y = network->forward(Variable(x)).logits.value();
  const Tensor whole = network->forward(Variable(padded)).logits.value();
  CHECK(y.shape() == Shape{1, 37, 50, 1});
  bool equal = true;
  for (int64_t i = 0; i < 37; ++i)
    for (int64_t k = 0; k < 50; ++k)
      equal &= y.data<float>()[i * 50 + k] == whole.data<float>()[i * 64 + k];
  CHECK(equal);
  CHECK(network->forward(Variable(Tensor::zeros({2, 1, 1, 3}))).logits.shape() ==
        Shape{2, 1, 1, 1});
}

constexpr const char* kArchitectures[] = {
    "unet/resnet18", "unetplusplus/resnet18", "manet/resnet18",     "linknet/resnet18",
    "fpn/resnet18",  "pspnet/resnet18",       "deeplabv3/resnet18", "deeplabv3plus/resnet18"};

TEST_CASE("every architecture takes any size, at every depth and output stride") {
  const NoGrad no_grad;
  const auto logits_of = [](const NetworkSpec& spec, const Shape& x) {
    Network network(spec);
    allocate(network);
    return network.forward(Variable(Tensor::zeros(x))).logits.shape();
  };
  for (const char* name : kArchitectures)
    for (const int64_t depth : {3, 4, 5}) {
      NetworkSpec spec = parse_network(name);
      spec.depth = depth;
      if (depth != 5) spec.options.channels.reset();  // as usual at that depth
      CAPTURE(name);
      CAPTURE(depth);
      CHECK(logits_of(spec, {1, 33, 50, 3}) == Shape{1, 33, 50, 1});
      CHECK(logits_of(spec, {1, 1, 1, 3}) == Shape{1, 1, 1, 1});
      if (!spec.options.output_stride) continue;
      spec.options.output_stride = 24 - *spec.options.output_stride;  // the other one
      CHECK(logits_of(spec, {1, 33, 50, 3}) == Shape{1, 33, 50, 1});
    }
}

TEST_CASE("an output stride keeps the last maps large, with the same parameters") {
  const NoGrad no_grad;
  for (const char* encoder : {"resnet18", "resnet50", "mobilenet_v2", "efficientnet-b0",
                              "mobilenet_v3_small_075", "mobilenet_v3_large_100"})
    for (const int64_t stride : {8, 16}) {
      CAPTURE(encoder);
      CAPTURE(stride);
      NetworkSpec spec{.decoder = "deeplabv3plus", .encoder = encoder};
      spec.options.output_stride = stride;
      const auto network = make_network(spec);
      CHECK(network->stride() == stride);
      const Output y = network->forward(Variable(Tensor::zeros({1, 64, 48, 3})));
      CHECK(y.hidden.shape() == Shape{1, 64 / stride, 48 / stride, network->hidden_channels()});
      CHECK(y.hidden_stride == static_cast<double>(stride));
      // These pad below and to the right before each of their strides of 2: 1 + 2 + 4 ..
      const bool centred = network->spec().encoder != "efficientnet-b0" &&
                           !network->spec().encoder.starts_with("mobilenet_v3");
      CHECK(y.hidden_offset == (centred ? 0 : static_cast<double>(stride - 1)));
    }
  CHECK(parameter_count(*allocated("deeplabv3/mobilenet_v3_small_075")) == 4'701'993);  // as SMP
  CHECK(parameter_count(*allocated("deeplabv3plus/mobilenet_v3_large_100")) == 4'708'353);
  CHECK_THROWS_WITH_AS(Network({.decoder = "deeplabv3", .encoder = "vgg11_bn"}),
                       "deeplabv3: expected an encoder that can keep its maps large, such as "
                       "resnet18 or mobilenet_v2; vgg11_bn cannot",
                       Error);
}

TEST_CASE("one image is enough to train on, but for what normalises one value per channel") {
  for (const char* name : kArchitectures) {
    CAPTURE(name);
    const auto network = allocated(name);
    const NoGrad no_grad;
    const Variable x(Tensor::zeros({1, 64, 64, 3}));
    if (!std::string_view(name).starts_with("deeplab")) {
      CHECK(network->forward(x, {.training = true}).logits.shape() == Shape{1, 64, 64, 1});
      continue;
    }
    CHECK_THROWS_WITH_AS(network->forward(x, {.training = true}),
                         doctest::Contains("expected at least 2 images in a batch to train on, got "
                                           "1: the branch of the image's mean has one value"),
                         Error);
    CHECK(network->forward(x).logits.shape() == Shape{1, 64, 64, 1});
  }
}

TEST_CASE("dropout drops in training only, and as the key says") {
  Tensor image({2, 32, 32, 3});
  const Rng rng(RngKey::of(0, "image"));
  for (int64_t i = 0; i < image.size(); ++i)
    image.mutable_data<float>()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
  const NoGrad no_grad;
  for (const char* name :
       {"fpn/mobilenet_v2", "pspnet/mobilenet_v2", "deeplabv3plus/mobilenet_v2"}) {
    CAPTURE(name);
    NetworkSpec spec = parse_network(name);
    const auto logits = [&](const Pass& pass) {
      const auto network = make_network(spec, 3);  // batch norm keeps book: a fresh one
      return network->forward(Variable(image), pass).logits.value();
    };
    const auto same = [](const Tensor& a, const Tensor& b) {
      return std::ranges::equal(a.values<float>(), b.values<float>());
    };
    const Pass one{.training = true, .key = RngKey::of(0, "dropout", 1)};
    const Pass two{.training = true, .key = RngKey::of(0, "dropout", 2)};
    const Tensor y = logits(one);
    CHECK(same(y, logits(one)));
    CHECK_FALSE(same(y, logits(two)));
    CHECK(same(logits({.key = one.key}), logits({.key = two.key})));
    spec.options.dropout = 0;
    CHECK(same(logits(one), logits(two)));
  }
}

TEST_CASE("initial values are SMP's distributions and depend on seed and path only") {
  const auto network = make_network(parse_network("unet/resnet18"), 1);
  const auto find = [](Module& module, std::string_view name) {
    for (const auto& [key, tensor] : state_dict(module, DType::f64))
      if (key == name) return tensor;
    throw Error(str("no ", name));
  };
  const auto moments = [](const Tensor& t) {
    double square = 0;
    double largest = 0;
    for (const double value : t.values<double>()) {
      square += value * value;
      largest = std::max(largest, std::abs(value));
    }
    return std::pair(std::sqrt(square / static_cast<double>(t.size())), largest);
  };
  // sigma = sqrt(2 / (64 * 49)) of 9408 values, known to about 1 / sqrt(2 * 9408) of itself.
  CHECK(moments(find(*network, "encoder.conv1.weight")).first ==
        doctest::Approx(std::sqrt(2.0 / (64 * 49))).epsilon(0.03));
  const double decoder = moments(find(*network, "decoder.blocks.0.conv1.0.weight")).second;
  CHECK(decoder <= 0.029463);
  CHECK(decoder > 0.0294);
  const double head = moments(find(*network, "segmentation_head.0.weight")).second;
  CHECK(head <= std::sqrt(6.0 / (16 * 9 + 9)));
  CHECK(head > 0.18);
  CHECK(moments(find(*network, "segmentation_head.0.bias")).second == 0);

  // SMP leaves DeepLabs as PyTorch makes them: uniform in +-1 / sqrt(fan in), the head's bias too.
  const auto deeplab = make_network(parse_network("deeplabv3plus/resnet18:classes=64"), 1);
  const auto uniform = [&](const char* name, double fan_in) {
    const double largest = moments(find(*deeplab, name)).second;
    CHECK(largest <= 1 / std::sqrt(fan_in));
    CHECK(largest > 0.9 / std::sqrt(fan_in));
  };
  uniform("decoder.aspp.0.convs.0.0.weight", 512);
  uniform("decoder.aspp.0.convs.1.0.0.weight", 9);
  uniform("decoder.aspp.0.convs.4.1.weight", 512);
  uniform("decoder.block1.0.weight", 64);
  uniform("segmentation_head.0.weight", 256);
  uniform("segmentation_head.0.bias", 256);
  const auto attentive = make_network(parse_network("unet/resnet18:attention=scse"), 1);
  const char* gate = "decoder.blocks.0.attention1.attention.cSE.1.weight";
  CHECK(moments(find(*attentive, gate)).second <= std::sqrt(6.0 / 768));
  CHECK(moments(find(*attentive, gate)).second > 0.9 * std::sqrt(6.0 / 768));

  const auto same = [&](const char* a, uint64_t seed, std::string_view prefix) {
    const auto other = make_network(parse_network(a), seed, DType::f32, prefix);
    const Tensor x = find(*network, "encoder.layer1.0.conv1.weight");
    const Tensor y = find(*other, "encoder.layer1.0.conv1.weight");
    return std::ranges::equal(x.values<double>(), y.values<double>());
  };
  CHECK(same("unet/resnet18", 1, ""));
  CHECK(same("linknet/resnet34", 1, ""));
  CHECK_FALSE(same("unet/resnet18", 2, ""));
  CHECK_FALSE(same("unet/resnet18", 1, "teacher"));
}

TEST_CASE("evaluation changes nothing, training keeps book, batch statistics do not") {
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2"));
  const NoGrad no_grad;
  Tensor image({2, 8, 8, 3});
  const Rng rng(RngKey::of(0, "image"));
  for (int64_t i = 0; i < image.size(); ++i)
    image.mutable_data<float>()[i] = static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
  const Variable x(image);
  const auto bytes = [&] { return safetensors_bytes({state_dict(*network), {}}); };
  const auto before = bytes();
  const Tensor evaluated = network->forward(x).logits.value();
  const Tensor batch = network->forward(x, {.batch_statistics = true}).logits.value();
  CHECK(bytes() == before);
  const Tensor trained = network->forward(x, {.training = true}).logits.value();
  CHECK(bytes() != before);
  CHECK(std::ranges::equal(batch.values<float>(), trained.values<float>()));
  CHECK_FALSE(std::ranges::equal(batch.values<float>(), evaluated.values<float>()));
}

}  // namespace
}  // namespace decant::nn
