#include "nn/onnx/graph.h"

#include <limits>

#include "nn/files/protobuf.h"

namespace decant::nn {
namespace {

// Numbers of fields and types in onnx.proto.
constexpr int kIrVersion = 7;
constexpr int kOpset = 13;
constexpr int kFloat = 1;
constexpr int kInt64 = 7;

Message message_of(const std::string& name, const OnnxValue& value) {
  enum Type { kReal = 1, kInteger = 2, kText = 3, kIntegers = 7 };
  Message m;
  m.text(1, name);
  if (const auto* real = std::get_if<double>(&value)) {
    m.real(2, static_cast<float>(*real));
    m.integer(20, kReal);
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    m.integer(3, *integer);
    m.integer(20, kInteger);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    m.text(4, *text);
    m.integer(20, kText);
  } else {
    for (const int64_t i : std::get<std::vector<int64_t>>(value)) m.integer(8, i);
    m.integer(20, kIntegers);
  }
  return m;
}

Message message_of(const OnnxNode& node) {
  Message m;
  for (const std::string& input : node.inputs) m.text(1, input);
  m.text(2, node.output);
  m.text(3, node.output);  // its own name
  m.text(4, node.op);
  for (const auto& [name, value] : node.attributes) m.message(5, message_of(name, value));
  return m;
}

Message message_of(const std::string& name, const Tensor& value) {
  Message m;
  for (const int64_t extent : value.shape().extents()) m.integer(1, extent);
  m.integer(2, value.dtype() == DType::i64 ? kInt64 : kFloat);
  m.text(8, name);
  with_type(value.dtype(),
            [&]<class T>() { m.bytes(9, std::as_bytes(value.values<T>())); });  // raw_data
  return m;
}

Message message_of(const OnnxGraph::Port& port) {
  Message shape;
  for (const auto& extent : port.extents) {
    Message dimension;
    if (const auto* number = std::get_if<int64_t>(&extent))
      dimension.integer(1, *number);
    else
      dimension.text(2, std::get<std::string>(extent));
    shape.message(1, dimension);
  }
  Message tensor;
  tensor.integer(1, kFloat);
  tensor.message(2, shape);
  Message type;
  type.message(1, tensor);
  Message m;
  m.text(1, port.name);
  m.message(2, type);
  return m;
}

}  // namespace

std::string OnnxGraph::unique(std::string name) {
  const int count = ++names_[name];
  return count == 1 ? name : unique(str(name, '_', count));
}

std::string OnnxGraph::add(std::string_view place, std::string op, std::vector<std::string> inputs,
                           OnnxAttributes attributes) {
  std::string result = unique(str(place, place.empty() ? "" : "/", op));
  nodes_.push_back({std::move(op), std::move(inputs), result, std::move(attributes)});
  return result;
}

std::string OnnxGraph::constant(std::string_view name, const Tensor& value) {
  check(value.dtype() == DType::f32 || value.dtype() == DType::i64,
        "onnx: expected a constant of float32 or int64, got ", value.dtype());
  std::string own = unique(std::string(name));
  constants_.emplace_back(own, value);
  return own;
}

std::string OnnxGraph::constant(std::string_view name, const std::vector<int64_t>& values) {
  return constant(name, Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, values));
}

std::string OnnxGraph::constant(std::string_view name, float value) {
  return constant(name, Tensor::of<float>({}, {value}));
}

void OnnxGraph::rename(const std::string& from, const std::string& to) {
  for (OnnxNode& node : nodes_) {
    if (node.output == from) node.output = to;
    for (std::string& read : node.inputs)
      if (read == from) read = to;
  }
}

std::vector<std::byte> OnnxGraph::bytes() const {
  Message graph;
  for (const OnnxNode& node : nodes_) graph.message(1, message_of(node));
  graph.text(2, "network");
  for (const auto& [name, value] : constants_) graph.message(5, message_of(name, value));
  graph.message(11, message_of(input));
  graph.message(12, message_of(output));

  Message opset;
  opset.text(1, "");
  opset.integer(2, kOpset);
  Message model;
  model.integer(1, kIrVersion);
  model.text(2, "decant");
  model.message(7, graph);
  model.message(8, opset);
  for (const auto& [key, value] : metadata) {
    Message pair;
    pair.text(1, key);
    pair.text(2, value);
    model.message(14, pair);
  }
  std::vector<std::byte> result = model.take();
  check(result.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()),
        "onnx: expected a model of less than 2 GiB, got ", result.size(), " bytes");
  return result;
}

}  // namespace decant::nn
