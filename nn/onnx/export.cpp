#include "nn/onnx/export.h"

#include <algorithm>

#include "nn/onnx/lowering.h"

namespace decant::nn {
namespace {

constexpr const char* kImage = "image";

void validate(const Network& network, const OnnxOptions& options) {
  const auto channels = static_cast<size_t>(network.spec().in_channels);
  check(options.size >= 0, "onnx: expected a size of 0 or more, got ", options.size);
  check(!options.resize || options.size > 0, "onnx: expected a size to resize images to, got none");
  check((options.mean.empty() && options.std.empty()) ||
            (options.mean.size() == channels && options.std.size() == channels),
        "onnx: expected mean and std of each of ", channels, " channels, got ", options.mean.size(),
        " and ", options.std.size());
  for (const double s : options.std) check(s > 0, "onnx: expected std above 0, got ", s);
  check(options.max_pixel_value > 0, "onnx: expected max_pixel_value above 0, got ",
        options.max_pixel_value);
}

/// Puts together what surrounds a network: the steps before and after it.
class Exporter {
 public:
  Exporter(Network& network, const OnnxOptions& options)
      : network_(network),
        options_(options),
        any_input_(options.size == 0 || options.resize),
        any_inside_(options.size == 0) {}

  /// `side` of the traced image: the model's own where that is fixed, any multiple of the stride
  /// where it is not.
  OnnxGraph graph(int64_t side) {
    OnnxGraph g;
    g.input = {kImage, extents(network_.spec().in_channels)};
    std::string x = kImage;
    std::string sides;  // of the image, as the model's user gave it
    if (any_input_) {
      const std::string shape = g.add("", "Shape", {x});
      sides = g.add("", "Slice", {shape, numbers(g, "two", {2}), numbers(g, "four", {4})});
    }
    if (options_.resize) x = resized(g, x, numbers(g, "side", {options_.size, options_.size}));
    x = normalized(g, x);
    if (any_inside_) x = padded(g, x, sides);
    x = traced(g, x, side);
    if (any_inside_)
      x = g.add("", "Slice",
                {x, numbers(g, "corner", {0, 0}), sides, numbers(g, "both_sides", {2, 3})});
    if (options_.probability)
      x = network_.spec().classes == 1 ? g.add("", "Sigmoid", {x})
                                       : g.add("", "Softmax", {x}, {{"axis", int64_t{1}}});
    if (options_.resize) x = resized(g, x, sides);
    const std::string result = options_.probability ? "probability" : "logits";
    g.rename(x, result);
    g.output = {result, extents(network_.spec().classes)};
    g.metadata = options_.metadata;
    return g;
  }

 private:
  std::vector<std::variant<int64_t, std::string>> extents(int64_t channels) const {
    if (any_input_) return {"batch", channels, "height", "width"};
    return {"batch", channels, options_.size, options_.size};
  }

  static std::string numbers(OnnxGraph& g, const char* name, const std::vector<int64_t>& values) {
    return g.constant(name, values);
  }

  /// x at the sides that a value says, whatever its batch and channels.
  static std::string resized(OnnxGraph& g, const std::string& x, const std::string& sides) {
    const std::string shape = g.add("", "Shape", {x});
    const std::string outer =
        g.add("", "Slice", {shape, numbers(g, "zero", {0}), numbers(g, "two", {2})});
    const std::string whole = g.add("", "Concat", {outer, sides}, {{"axis", int64_t{0}}});
    return g.add("", "Resize", {x, "", "", whole},
                 {{"mode", "linear"}, {"coordinate_transformation_mode", "half_pixel"}});
  }

  /// (x / max - mean) / std as x a - b.
  std::string normalized(OnnxGraph& g, const std::string& x) const {
    if (options_.mean.empty()) return x;
    const auto channels = static_cast<int64_t>(options_.mean.size());
    Tensor factor(Shape{1, channels, 1, 1});
    Tensor offset(Shape{1, channels, 1, 1});
    auto* a = factor.mutable_data<float>();
    auto* b = offset.mutable_data<float>();
    for (size_t c = 0; c < options_.mean.size(); ++c) {
      a[c] = static_cast<float>(1 / (options_.max_pixel_value * options_.std[c]));
      b[c] = static_cast<float>(options_.mean[c] / options_.std[c]);
    }
    const std::string scaled = g.add("", "Mul", {x, g.constant("normalize/factor", factor)});
    return g.add("", "Sub", {scaled, g.constant("normalize/offset", offset)});
  }

  /// Zeros at the bottom and the right up to multiples of the stride: -side mod stride of them.
  std::string padded(OnnxGraph& g, const std::string& x, const std::string& sides) const {
    const std::string missing =
        g.add("", "Mod", {g.add("", "Neg", {sides}), numbers(g, "stride", {network_.stride()})});
    const std::string amounts =
        g.add("", "Concat", {numbers(g, "no_padding", {0, 0, 0, 0, 0, 0}), missing},
              {{"axis", int64_t{0}}});
    return g.add("", "Pad", {x, amounts});
  }

  std::string traced(OnnxGraph& g, const std::string& x, int64_t side) {
    const Variable image(Tensor::zeros({1, side, side, network_.spec().in_channels},
                                       network_.dtype(), network_.device()));
    auto [logits, steps] = forward(image);
    OnnxLowering lowering(network_, std::move(steps), image.id(), x, g);
    lowering.run();
    return lowering.name_of(logits.id());
  }

  std::pair<Variable, std::vector<Trace::Step>> forward(const Variable& image) {
    const NoGrad no_grad;
    const Trace trace;
    const Variable logits = network_.forward(image).logits;
    return {logits, trace.steps()};
  }

  Network& network_;
  const OnnxOptions& options_;
  bool any_input_;   // the model takes images of any size
  bool any_inside_;  // the network sees them as they are
};

/// Whether two graphs do the same: of weights, which are one network's, the shapes will do.
bool is_same(const OnnxGraph& a, const OnnxGraph& b) {
  constexpr int64_t kFew = 8;  // numbers that say what to do
  const auto same = [](const auto& p, const auto& q) {
    if (p.first != q.first || p.second.shape() != q.second.shape()) return false;
    if (p.second.size() > kFew) return true;
    return with_type(p.second.dtype(), [&]<class T>() {
      return std::ranges::equal(p.second.template values<T>(), q.second.template values<T>());
    });
  };
  return a.nodes() == b.nodes() && std::ranges::equal(a.constants(), b.constants(), same);
}

}  // namespace

OnnxGraph export_onnx(Network& network, const OnnxOptions& options) {
  validate(network, options);
  Exporter exporter(network, options);
  if (options.size > 0) return exporter.graph(options.size);
  const int64_t side = network.stride();
  OnnxGraph graph = exporter.graph(2 * side);
  check(is_same(graph, exporter.graph(3 * side)),
        "onnx: expected a network that treats all sizes "
        "alike, got one whose steps depend on the size; give it one (--size)");
  return graph;
}

}  // namespace decant::nn
