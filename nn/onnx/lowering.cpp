#include "nn/onnx/lowering.h"

#include <algorithm>
#include <cmath>

#include "nn/onnx/weights.h"

namespace decant::nn {
namespace {

using Step = Trace::Step;
using Lowering = OnnxLowering;

template <class T>
const T& attribute(const Step& step, std::string_view name) {
  for (const auto& [key, value] : step.attributes)
    if (key == name) return std::get<T>(value);
  throw Error(str("onnx: expected an option ", name, " of ", step.op->name, " in ", step.scope));
}

int64_t integer(const Step& step, std::string_view name) {
  return attribute<int64_t>(step, name);
}

[[noreturn]] void refuse(const Step& step, const std::string& reason) {
  throw Error(str("onnx: ", step.op->name, " in ", step.scope, ": ", reason));
}

constexpr int64_t kThere[] = {0, 2, 3, 1};  // where axes of [N, H, W, C] lie in [N, C, H, W]
constexpr int64_t kHere[] = {0, 3, 1, 2};   // and the other way round

/// Values of four axes are maps; others have their own order there too.
bool is_map(const Shape& shape) {
  return shape.rank() == 4;
}

int64_t axis_there(const Step& step, int64_t axis) {
  return is_map(step.input_shapes.at(0)) ? kThere[axis] : axis;
}

std::vector<int64_t> square(int64_t n) {
  return {n, n};
}

void convolution(Lowering& to, const Step& step) {
  const bool transposed = step.op->name == "conv_transpose2d";
  ConvWeights weights{.weight = to.parameter(step, 1).value,
                      .bias = to.has_input(step, 2) ? to.parameter(step, 2).value : Tensor(),
                      .transposed = transposed};
  const int64_t groups = integer(step, "groups");
  const Step* norm = transposed && groups > 1 ? nullptr : to.norm_after(step);
  if (norm != nullptr) {
    const auto& scale = to.parameter(*norm, 1);
    const std::string place = scale.path.substr(0, scale.path.rfind('.') + 1);
    weights = folded(weights, {.scale = scale.value,
                               .shift = to.parameter(*norm, 2).value,
                               .mean = to.buffer(place + "running_mean"),
                               .var = to.buffer(place + "running_var"),
                               .eps = attribute<double>(*norm, "eps")});
    to.fold(*norm);
  }
  std::vector<std::string> inputs = {
      to.input(step, 0),
      to.graph().constant(to.parameter(step, 1).path, channels_first_float(weights.weight))};
  const std::string& path = to.parameter(step, 1).path;
  if (weights.bias.defined())
    inputs.push_back(to.graph().constant(path.substr(0, path.rfind('.')) + ".bias",
                                         weights.bias.to(DType::f32)));
  const Shape& w = step.input_shapes.at(1);
  const auto& padding = attribute<std::vector<int64_t>>(step, "padding");
  OnnxAttributes options = {
      {"kernel_shape", std::vector<int64_t>{w[1], w[2]}},
      {"strides", square(integer(step, "stride"))},
      {"dilations", square(integer(step, "dilation"))},
      {"group", groups},
      {"pads", std::vector<int64_t>{padding[0], padding[2], padding[1], padding[3]}}};
  if (transposed) options.emplace_back("output_padding", square(integer(step, "output_padding")));
  to.set(step, to.add(step, transposed ? "ConvTranspose" : "Conv", inputs, options));
}

std::string sigmoid_of_three(Lowering& to, const Step& step, const std::string& x) {
  return to.add(step, "HardSigmoid", {x}, {{"alpha", 1.0 / 6}, {"beta", 0.5}});
}

/// A function of one value, by our name for it; "none" is x itself.
std::string pointwise(Lowering& to, const Step& step, std::string_view function,
                      const std::string& x) {
  struct Simple {
    std::string_view own;
    const char* there;
  };
  constexpr Simple kSimple[] = {{"relu", "Relu"}, {"sigmoid", "Sigmoid"},  {"tanh", "Tanh"},
                                {"exp", "Exp"},   {"log", "Log"},          {"sqrt", "Sqrt"},
                                {"abs", "Abs"},   {"softplus", "Softplus"}};
  for (const Simple& simple : kSimple)
    if (simple.own == function) return to.add(step, simple.there, {x});
  if (function == "none") return x;
  if (function == "relu6")
    return to.add(step, "Clip",
                  {x, to.graph().constant(step.scope + "/zero", 0.0F),
                   to.graph().constant(step.scope + "/six", 6.0F)});
  if (function == "hard_sigmoid") return sigmoid_of_three(to, step, x);
  if (function == "hard_swish") return to.add(step, "Mul", {x, sigmoid_of_three(to, step, x)});
  if (function == "silu") return to.add(step, "Mul", {x, to.add(step, "Sigmoid", {x})});
  if (function == "square") return to.add(step, "Mul", {x, x});
  refuse(step, str("expected a function that ONNX has, got ", function));
}

void lower_pointwise(Lowering& to, const Step& step) {
  to.set(step, pointwise(to, step, step.op->name, to.input(step, 0)));
}

void batch_norm(Lowering& to, const Step& step) {
  if (attribute<bool>(step, "training")) refuse(step, "expected a pass of evaluation");
  std::string y = to.input(step, 0);
  if (!to.is_folded(step)) {
    const auto& scale = to.parameter(step, 1);
    const std::string place = scale.path.substr(0, scale.path.rfind('.') + 1);
    std::vector<std::string> inputs = {y};
    for (const auto& [name, value] : {std::pair<std::string, Tensor>{"weight", scale.value},
                                      {"bias", to.parameter(step, 2).value},
                                      {"running_mean", to.buffer(place + "running_mean")},
                                      {"running_var", to.buffer(place + "running_var")}})
      inputs.push_back(to.graph().constant(place + name, on_host(value).to(DType::f32)));
    y = to.add(step, "BatchNormalization", inputs, {{"epsilon", attribute<double>(step, "eps")}});
  }
  if (to.has_input(step, 3)) y = to.add(step, "Add", {y, to.input(step, 3)});
  to.set(step, pointwise(to, step, attribute<std::string>(step, "activation"), y));
}

void arithmetic(Lowering& to, const Step& step) {
  struct Name {
    std::string_view own;
    const char* there;
  };
  constexpr Name kNames[] = {{"add", "Add"}, {"sub", "Sub"}, {"mul", "Mul"}, {"div", "Div"}};
  // Of equal ranks broadcasting is the same in every order of axes.
  if (step.input_shapes.at(0).rank() != 4 || step.input_shapes.at(1).rank() != 4)
    refuse(step, "expected two maps of four axes");
  const auto* name = std::ranges::find(kNames, step.op->name, &Name::own);
  to.set(step, to.add(step, name->there, {to.input(step, 0), to.input(step, 1)}));
}

void scale(Lowering& to, const Step& step) {
  const bool product = step.op->name == "scale";
  const auto number = static_cast<float>(attribute<double>(step, product ? "factor" : "c"));
  to.set(step, to.add(step, product ? "Mul" : "Add",
                      {to.input(step, 0), to.graph().constant(step.scope + "/number", number)}));
}

void pool(Lowering& to, const Step& step) {
  const bool mean = step.op->name == "avg_pool2d";
  const int64_t kernel = integer(step, "kernel");
  const int64_t stride = integer(step, "stride");
  const int64_t padding = integer(step, "padding");
  OnnxAttributes options = {{"kernel_shape", square(kernel)},
                            {"strides", square(stride > 0 ? stride : kernel)},
                            {"pads", std::vector<int64_t>(4, padding)}};
  if (mean) options.emplace_back("count_include_pad", int64_t{1});
  to.set(step, to.add(step, mean ? "AveragePool" : "MaxPool", {to.input(step, 0)}, options));
}

/// Each output averages a window of the input along one axis: a matrix product with [outputs,
/// inputs], which is what ONNX lacks an op for.
void adaptive_pool(Lowering& to, const Step& step) {
  const int64_t h = integer(step, "h");
  const int64_t w = integer(step, "w");
  if (h == 1 && w == 1) {
    to.set(step, to.add(step, "GlobalAveragePool", {to.input(step, 0)}));
    return;
  }
  const Shape& in = step.input_shapes.at(0);
  const std::string rows = to.graph().constant(step.scope + "/rows", window_means(in[1], h));
  const std::string columns =
      to.graph().constant(step.scope + "/columns", transposed_matrix(window_means(in[2], w)));
  const std::string half = to.add(step, "MatMul", {rows, to.input(step, 0)});
  to.set(step, to.add(step, "MatMul", {half, columns}));
}

/// x with its sides as those of `wanted`: by factors, so that other sizes keep their proportion,
/// where a float32 times the sides is exact, and else by the sides. (The product of 3 and 7 / 3 is
/// below 7, and runtimes round it down.)
std::string resized(Lowering& to, const Step& step, const std::string& mode,
                    const std::string& positions, const Shape& wanted) {
  const Shape& in = step.input_shapes.at(0);
  const auto factor = [](int64_t n, int64_t m) {
    return static_cast<float>(static_cast<double>(m) / static_cast<double>(n));
  };
  const auto is_exact = [&](int64_t n, int64_t m) {
    return static_cast<double>(factor(n, m)) * static_cast<double>(n) == static_cast<double>(m);
  };
  OnnxAttributes options = {{"mode", mode}, {"coordinate_transformation_mode", positions}};
  if (mode == "nearest") options.emplace_back("nearest_mode", "floor");
  const auto constant = [&](const char* name, const auto& value) {
    return to.graph().constant(step.scope + name, value);
  };
  const std::string& x = to.input(step, 0);
  if (is_exact(in[1], wanted[1]) && is_exact(in[2], wanted[2])) {
    const Tensor factors =
        Tensor::of<float>({4}, {1, 1, factor(in[1], wanted[1]), factor(in[2], wanted[2])});
    return to.add(step, "Resize", {x, "", constant("/factors", factors)}, options);
  }
  using Numbers = std::vector<int64_t>;
  const std::string outer = to.add(
      step, "Slice",
      {to.add(step, "Shape", {x}), constant("/first", Numbers{0}), constant("/end", Numbers{2})});
  const std::string sides =
      to.add(step, "Concat", {outer, constant("/sides", Numbers{wanted[1], wanted[2]})},
             {{"axis", int64_t{0}}});
  return to.add(step, "Resize", {x, "", "", sides}, options);
}

void resize(Lowering& to, const Step& step) {
  const bool nearest = attribute<std::string>(step, "mode") == "nearest";
  const bool corners = attribute<bool>(step, "align_corners");
  to.set(step, resized(to, step, nearest ? "nearest" : "linear",
                       nearest ? "asymmetric" : (corners ? "align_corners" : "half_pixel"),
                       step.output_shape));
}

void upsample_concat(Lowering& to, const Step& step) {
  const std::string up = resized(to, step, "nearest", "asymmetric", step.output_shape);
  if (!to.has_input(step, 1)) {
    to.set(step, up);
    return;
  }
  to.set(step, to.add(step, "Concat", {up, to.input(step, 1)}, {{"axis", int64_t{1}}}));
}

void concat(Lowering& to, const Step& step) {
  std::vector<std::string> inputs;
  for (size_t i = 0; i < step.inputs.size(); ++i) inputs.push_back(to.input(step, i));
  to.set(step, to.add(step, "Concat", inputs, {{"axis", axis_there(step, integer(step, "axis"))}}));
}

void slice(Lowering& to, const Step& step) {
  const auto number = [&](const char* name, int64_t value) {
    return to.graph().constant(str(step.scope, '/', name), std::vector<int64_t>{value});
  };
  to.set(step, to.add(step, "Slice",
                      {to.input(step, 0), number("begin", integer(step, "begin")),
                       number("end", integer(step, "end")),
                       number("axis", axis_there(step, integer(step, "axis")))}));
}

void pad(Lowering& to, const Step& step) {
  const auto& before = attribute<std::vector<int64_t>>(step, "before");
  const auto& after = attribute<std::vector<int64_t>>(step, "after");
  std::vector<int64_t> amounts(8);
  for (int64_t axis = 0; axis < 4; ++axis) {
    const auto there = static_cast<size_t>(axis_there(step, axis));
    amounts[there] = before[static_cast<size_t>(axis)];
    amounts[4 + there] = after[static_cast<size_t>(axis)];
  }
  const auto value = static_cast<float>(attribute<double>(step, "value"));
  to.set(step, to.add(step, "Pad",
                      {to.input(step, 0), to.graph().constant(step.scope + "/amounts", amounts),
                       to.graph().constant(step.scope + "/value", value)}));
}

void reduce(Lowering& to, const Step& step) {
  if (!attribute<bool>(step, "keep_axes")) refuse(step, "expected the reduced axes to be kept");
  std::vector<int64_t> axes;
  for (const int64_t axis : attribute<std::vector<int64_t>>(step, "axes"))
    axes.push_back(axis_there(step, axis));
  to.set(step, to.add(step, step.op->name == "mean" ? "ReduceMean" : "ReduceMax",
                      {to.input(step, 0)}, {{"axes", axes}, {"keepdims", int64_t{1}}}));
}

void softmax(Lowering& to, const Step& step) {
  to.set(step, to.add(step, "Softmax", {to.input(step, 0)},
                      {{"axis", axis_there(step, integer(step, "axis"))}}));
}

std::string transposed(Lowering& to, const Step& step, const std::string& x,
                       std::vector<int64_t> order) {
  return to.add(step, "Transpose", {x}, {{"perm", std::move(order)}});
}

void reshape(Lowering& to, const Step& step) {
  const Shape& in = step.input_shapes.at(0);
  const Shape& out = step.output_shape;
  std::string x = to.input(step, 0);
  if (is_map(in)) x = transposed(to, step, x, {std::begin(kThere), std::end(kThere)});
  std::vector<int64_t> extents(out.extents().begin(), out.extents().end());
  if (in.rank() > 0 && out.rank() > 1 && in[0] == out[0]) {
    extents[0] = 0;  // as many images as there are
    extents[1] = -1;
  }
  x = to.add(step, "Reshape", {x, to.graph().constant(step.scope + "/extents", extents)});
  to.set(step, is_map(out) ? transposed(to, step, x, {std::begin(kHere), std::end(kHere)}) : x);
}

void permute(Lowering& to, const Step& step) {
  const auto& order = attribute<std::vector<int64_t>>(step, "order");
  std::vector<int64_t> there = order;
  if (is_map(step.output_shape))
    for (size_t i = 0; i < there.size(); ++i)
      there[i] = kThere[order[static_cast<size_t>(kHere[i])]];
  to.set(step, transposed(to, step, to.input(step, 0), there));
}

void matmul(Lowering& to, const Step& step) {
  const int rank = step.output_shape.rank();
  const auto operand = [&](size_t i, const char* option) {
    if (!attribute<bool>(step, option)) return to.input(step, i);
    const std::vector<int64_t> order =
        rank == 3 ? std::vector<int64_t>{0, 2, 1} : std::vector<int64_t>{1, 0};
    return transposed(to, step, to.input(step, i), order);
  };
  const std::string a = operand(0, "transpose_a");
  to.set(step, to.add(step, "MatMul", {a, operand(1, "transpose_b")}));
}

/// Instance normalization of [N, groups, rest] without parameters, then these.
void group_norm(Lowering& to, const Step& step) {
  const int64_t groups = integer(step, "groups");
  const int64_t channels = step.output_shape[3];
  const auto constant = [&](const char* name, const auto& value) {
    return to.graph().constant(str(step.scope, '/', name), value);
  };
  const std::string& x = to.input(step, 0);
  const std::string grouped =
      to.add(step, "Reshape", {x, constant("grouped", std::vector<int64_t>{0, groups, -1})});
  std::string y = to.add(step, "InstanceNormalization",
                         {grouped, constant("one", Tensor::full({groups}, 1)),
                          constant("zero", Tensor::zeros({groups}))},
                         {{"epsilon", attribute<double>(step, "eps")}});
  y = to.add(step, "Reshape", {y, to.add(step, "Shape", {x})});
  const auto with = [&](const char* op, size_t i) {
    if (!to.has_input(step, i)) return;
    const auto& [path, value] = to.parameter(step, i);
    const Tensor shaped = on_host(value).to(DType::f32).reshape({1, channels, 1, 1});
    y = to.add(step, op, {y, to.graph().constant(path, shaped)});
  };
  with("Mul", 1);
  with("Add", 2);
  to.set(step, y);
}

struct Mapping {
  std::string_view op;
  void (*lower)(Lowering&, const Step&);
};

constexpr Mapping kMappings[] = {
    {"conv2d", convolution},
    {"conv_transpose2d", convolution},
    {"batch_norm", batch_norm},
    {"relu", lower_pointwise},
    {"relu6", lower_pointwise},
    {"sigmoid", lower_pointwise},
    {"tanh", lower_pointwise},
    {"silu", lower_pointwise},
    {"hard_sigmoid", lower_pointwise},
    {"hard_swish", lower_pointwise},
    {"exp", lower_pointwise},
    {"log", lower_pointwise},
    {"sqrt", lower_pointwise},
    {"abs", lower_pointwise},
    {"square", lower_pointwise},
    {"softplus", lower_pointwise},
    {"add", arithmetic},
    {"sub", arithmetic},
    {"mul", arithmetic},
    {"div", arithmetic},
    {"scale", scale},
    {"add_scalar", scale},
    {"max_pool2d", pool},
    {"avg_pool2d", pool},
    {"adaptive_avg_pool2d", adaptive_pool},
    {"resize", resize},
    {"upsample_concat", upsample_concat},
    {"concat", concat},
    {"slice", slice},
    {"pad", pad},
    {"mean", reduce},
    {"max", reduce},
    {"softmax", softmax},
    {"reshape", reshape},
    {"permute", permute},
    {"matmul", matmul},
    {"group_norm", group_norm},
};

}  // namespace

OnnxLowering::OnnxLowering(Module& module, std::vector<Step> steps, uint64_t input,
                           std::string name, OnnxGraph& graph)
    : steps_(std::move(steps)), graph_(graph) {
  struct Collecting : Visitor {
    explicit Collecting(OnnxLowering& lowering) : to(lowering) {}
    void on_parameter(const std::string& path, nn::Parameter& parameter) override {
      to.parameters_[parameter.variable.id()] = {path, parameter.variable.value()};
    }
    void on_buffer(const std::string& path, Buffer& buffer) override {
      to.buffers_[path] = buffer.tensor;
    }
    OnnxLowering& to;
  };
  Collecting collect(*this);
  module.visit(collect);
  names_[input] = std::move(name);
  for (const Step& step : steps_)
    for (const uint64_t id : step.inputs) readers_.emplace(id, &step);
}

const std::string& OnnxLowering::name_of(uint64_t id) const {
  const auto found = names_.find(id);
  check(found != names_.end(), "onnx: expected a value that an earlier step made, got a constant");
  return found->second;
}

const OnnxLowering::Parameter& OnnxLowering::parameter(const Step& step, size_t i) const {
  const auto found = parameters_.find(step.inputs.at(i));
  check(found != parameters_.end(), "onnx: expected input ", i, " of ", step.op->name, " in ",
        step.scope, " to be a parameter");
  return found->second;
}

const Trace::Step* OnnxLowering::norm_after(const Step& step) const {
  const auto [first, last] = readers_.equal_range(step.output);
  if (first == last || std::next(first) != last) return nullptr;
  const Step& reader = *first->second;
  const bool evaluates = reader.op->name == "batch_norm" && reader.inputs[0] == step.output &&
                         !attribute<bool>(reader, "training");
  return evaluates ? &reader : nullptr;
}

void OnnxLowering::run() {
  for (const Step& step : steps_) {
    const auto* mapping = std::ranges::find(kMappings, step.op->name, &Mapping::op);
    check(mapping != std::end(kMappings), "onnx: expected ops that have a counterpart there, got ",
          step.op->name, " in ", step.scope);
    mapping->lower(*this, step);
  }
}

}  // namespace decant::nn
