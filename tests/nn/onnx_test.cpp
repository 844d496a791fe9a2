// ONNX models by their structure, read back from their bytes with a reader of this test's own. That
// they compute what the networks compute, ONNX Runtime shows: tests/parity/exchange.py.

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/ops/batch_norm.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/conv_transpose2d.h"
#include "engine/ops/pool.h"
#include "engine/ops/resize.h"
#include "nn/files/byte_reader.h"
#include "nn/network.h"
#include "nn/onnx/export.h"
#include "nn/onnx/lowering.h"
#include "nn/onnx/weights.h"

namespace decant::nn {
namespace {

/// A message's fields by number: numbers as they are, everything else as bytes.
struct Fields {
  explicit Fields(std::span<const std::byte> bytes) {
    ByteReader in(bytes, "message");
    while (in.left() > 0) {
      const uint64_t tag = varint(in);
      const auto field = static_cast<int>(tag >> 3);
      if ((tag & 7) == 0) {
        numbers[field].push_back(static_cast<int64_t>(varint(in)));
      } else if ((tag & 7) == 5) {
        in.number<float>();
      } else {
        REQUIRE((tag & 7) == 2);
        parts[field].push_back(in.take(varint(in)));
      }
    }
  }

  static uint64_t varint(ByteReader& in) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = in.number<uint8_t>();
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  }

  static std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string text(int field) { return parts[field].empty() ? "" : text_of(parts[field][0]); }
  Fields part(int field) { return Fields(parts[field].at(0)); }

  std::map<int, std::vector<int64_t>> numbers;
  std::map<int, std::vector<std::span<const std::byte>>> parts;
};

/// "image [batch, 3, height, width]"
std::string port_text(Fields port) {
  std::string text = port.text(1) + " [";
  Fields shape = port.part(2).part(1).part(2);
  for (const auto& bytes : shape.parts[1]) {
    Fields extent(bytes);
    if (text.back() != '[') text += ", ";
    text += extent.numbers[1].empty() ? extent.text(2) : std::to_string(extent.numbers[1][0]);
  }
  return text + ']';
}

struct Model {
  explicit Model(const std::vector<std::byte>& bytes) {
    Fields model(bytes);
    CHECK(model.numbers[1] == std::vector<int64_t>{7});  // ir_version
    CHECK(model.part(8).numbers[2] == std::vector<int64_t>{13});
    for (const auto& pair : model.parts[14]) metadata[Fields(pair).text(1)] = Fields(pair).text(2);
    Fields graph = model.part(7);
    input = port_text(graph.part(11));
    output = port_text(graph.part(12));

    std::set<std::string> known = {"", graph.part(11).text(1)};
    for (const auto& part : graph.parts[5]) {
      Fields constant(part);
      int64_t size = 1;
      for (const int64_t extent : constant.numbers[1]) size *= extent;
      const int64_t width = constant.numbers[2][0] == 7 ? 8 : 4;
      CHECK(static_cast<int64_t>(constant.parts[9].at(0).size()) == size * width);
      CHECK(known.insert(constant.text(8)).second);
      constants.insert(constant.text(8));
    }
    std::set<std::string> read;
    for (const auto& part : graph.parts[1]) {
      Fields node(part);
      ++ops[node.text(4)];
      for (const auto& name : node.parts[1]) {
        CHECK(known.contains(Fields::text_of(name)));  // in the order they run
        read.insert(Fields::text_of(name));
      }
      CHECK(known.insert(node.text(2)).second);
      last = node.text(2);
    }
    CHECK(std::ranges::includes(read, constants));  // nothing lies there unused
    CHECK(known.contains(graph.part(12).text(1)));
  }

  std::string input, output, last;
  std::map<std::string, std::string> metadata;
  std::map<std::string, int> ops;
  std::set<std::string> constants;
};

TEST_CASE("onnx: every value is made before it is read, and batch norms are folded") {
  for (const char* name : {"unet/resnet18", "linknet/resnet18", "linknet/mobilenet_v2",
                           "linknet/mobilenet_v3_small_075:classes=3", "thin_unet:width=4",
                           "unetplusplus/mobilenet_v2:attention=scse", "fpn/resnet18",
                           "unet/resnet18:norm=instancenorm", "linknet/efficientnet-b1",
                           "unet/vgg11_bn", "linknet/mobilenet_v3_large_minimal_100"}) {
    CAPTURE(name);
    const auto network = make_network(parse_network(name));
    const Model model(export_onnx(*network, {.metadata = {{"threshold", "0.5"}}}).bytes());
    CHECK(model.input == "image [batch, 3, height, width]");
    CHECK(model.output == str("logits [batch, ", network->spec().classes, ", height, width]"));
    CHECK(model.last == "logits");
    CHECK(model.metadata.at("threshold") == "0.5");
    CHECK(model.ops.count("BatchNormalization") == 0);
    CHECK(model.ops.at("Pad") == 1);
    const std::set<std::string> known = {"Add",           "Clip",
                                         "Concat",        "Conv",
                                         "ConvTranspose", "GlobalAveragePool",
                                         "HardSigmoid",   "InstanceNormalization",
                                         "MaxPool",       "Mod",
                                         "Mul",           "Neg",
                                         "Pad",           "Relu",
                                         "Reshape",       "Resize",
                                         "Shape",         "Sigmoid",
                                         "Slice"};
    for (const auto& [op, count] : model.ops) CHECK_MESSAGE(known.contains(op), op);
  }
}

TEST_CASE("onnx: networks whose steps depend on the size ask for one") {
  for (const char* name : {"manet/resnet18", "pspnet/resnet18", "deeplabv3/resnet18:separable=true",
                           "deeplabv3plus/mobilenet_v2"}) {
    CAPTURE(name);
    const auto network = make_network(parse_network(name));
    const Model model(export_onnx(*network, {.size = 96}).bytes());
    CHECK(model.input == "image [batch, 3, 96, 96]");
    CHECK(model.ops.count("BatchNormalization") == 0);
    CHECK_THROWS_WITH_AS(export_onnx(*network, {}), doctest::Contains("give it one (--size)"),
                         Error);
  }
}

TEST_CASE("onnx: a model may take one size, grey levels, and give probabilities") {
  const auto network = make_network(parse_network("thin_unet:width=4,depth=2,classes=2"));
  const Model fixed(export_onnx(*network, {.size = 40, .probability = true}).bytes());
  CHECK(fixed.input == "image [batch, 3, 40, 40]");
  CHECK(fixed.output == "probability [batch, 2, 40, 40]");
  CHECK(fixed.ops.at("Softmax") == 1);
  CHECK(fixed.ops.count("Shape") == 0);

  const std::vector<double> half = {0.5, 0.5, 0.5};
  const Model whole(
      export_onnx(*network, {.size = 41, .resize = true, .mean = half, .std = half}).bytes());
  CHECK(whole.input == "image [batch, 3, height, width]");
  CHECK(whole.ops.at("Sub") == 1);
  CHECK(whole.ops.at("Pad") == 1);  // 41 is no multiple of the stride
  CHECK(whole.ops.at("Resize") == fixed.ops.at("Resize") + 2);

  const auto refused = [&](const OnnxOptions& options, const char* reason) {
    CHECK_THROWS_WITH_AS(export_onnx(*network, options), doctest::Contains(reason), Error);
  };
  refused({.resize = true}, "a size to resize images to");
  refused({.mean = {0.5}, .std = {0.5}}, "each of 3 channels, got 1");
  refused({.mean = half, .std = {0, 1, 1}}, "std above 0");
}

// In float32 7 / 3 is 2.33333325: three of them are 6.99999976, a row too few.
TEST_CASE("onnx: a map is enlarged by factors where these are exact, by its sides where not") {
  const auto resizing = [](int64_t side) {
    const NoGrad no_grad;
    const Variable x(Tensor::zeros({1, 3, 3, 1}));
    std::vector<Trace::Step> steps;
    {
      const Trace trace;
      resize(x, side, side, {.mode = Interpolation::bilinear});
      steps = trace.steps();
    }
    Conv2d nobody({.in = 1, .out = 1});
    allocate(nobody);
    OnnxGraph graph;
    OnnxLowering(nobody, steps, x.id(), "x", graph).run();
    return graph.nodes().back();
  };
  CHECK(resizing(6).op == "Resize");
  CHECK(resizing(6).inputs.size() == 3);
  CHECK(resizing(7).op == "Resize");
  CHECK(resizing(7).inputs.size() == 4);
}

Tensor random(const Shape& shape, uint64_t seed) {
  Tensor t(shape, DType::f64);
  const Rng rng(RngKey::of(seed, "onnx"));
  for (int64_t i = 0; i < shape.size(); ++i)
    t.mutable_data<double>()[i] = rng.uniform(static_cast<uint64_t>(i), 0.5, 1.5);
  return t;
}

double worst(const Variable& a, const Variable& b) {
  double most = 0;
  for (int64_t i = 0; i < a.value().size(); ++i)
    most = std::max(most, std::abs(a.value().data<double>()[i] - b.value().data<double>()[i]));
  return most;
}

TEST_CASE("onnx: a folded convolution is the convolution and its batch norm") {
  const NoGrad no_grad;
  Tensor mean = random({4}, 1);
  Tensor var = random({4}, 2);
  const NormMoments norm{random({4}, 3), random({4}, 4), mean, var, 1e-3};
  const auto normed = [&](const Variable& y) {
    return batch_norm(y, Variable(norm.scale), Variable(norm.shift), mean, var, {.eps = norm.eps});
  };
  const Variable x(random({1, 5, 5, 6}, 5));
  for (const Tensor& bias : {Tensor(), random({4}, 6)}) {
    const Variable b = bias.defined() ? Variable(bias) : Variable();
    const Tensor w = random({4, 3, 3, 3}, 7);
    const ConvWeights f = folded({w, bias}, norm);
    const Conv2dOptions options{.groups = 2};
    CHECK(worst(conv2d(x, Variable(f.weight), Variable(f.bias), options),
                normed(conv2d(x, Variable(w), b, options))) < 1e-12);

    const Tensor t = random({6, 4, 4, 4}, 8);
    const ConvWeights g = folded({t, bias, true}, norm);
    const ConvTranspose2dOptions up{.stride = 2, .padding = 1};
    CHECK(worst(conv_transpose2d(x, Variable(g.weight), Variable(g.bias), up),
                normed(conv_transpose2d(x, Variable(t), b, up))) < 1e-12);
  }
}

TEST_CASE("onnx: the matrix of window means is adaptive average pooling") {
  for (const auto& [inputs, outputs] :
       {std::pair<int64_t, int64_t>{7, 3}, {6, 2}, {2, 6}, {5, 5}}) {
    Tensor column = Tensor({1, inputs, 1, 1});
    for (int64_t i = 0; i < inputs; ++i)
      column.mutable_data<float>()[i] = static_cast<float>(i * i);
    const Tensor pooled = adaptive_avg_pool2d(Variable(column), outputs, 1).value();
    const Tensor matrix = window_means(inputs, outputs);
    for (int64_t i = 0; i < outputs; ++i) {
      float sum = 0;
      for (int64_t j = 0; j < inputs; ++j)
        sum += matrix.data<float>()[i * inputs + j] * static_cast<float>(j * j);
      CHECK(sum == doctest::Approx(pooled.data<float>()[i]));
    }
  }
}

}  // namespace
}  // namespace decant::nn
