#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/core/tensor.h"

namespace decant::nn {

using OnnxValue = std::variant<int64_t, double, std::string, std::vector<int64_t>>;
using OnnxAttributes = std::vector<std::pair<std::string, OnnxValue>>;

struct OnnxNode {
  std::string op;                   ///< "Conv"
  std::vector<std::string> inputs;  ///< "" for an absent one
  std::string output;
  OnnxAttributes attributes;

  bool operator==(const OnnxNode&) const = default;
};

/// A model in ONNX's terms: nodes in the order they run, and the constants they read. Maps lie as
/// [N, C, H, W].
class OnnxGraph {
 public:
  /// What a graph takes or gives: an extent is a number, or a name that stands for any.
  struct Port {
    std::string name;
    std::vector<std::variant<int64_t, std::string>> extents;
  };

  /// Adds a node; returns its output's name, `place` and the op's, made unique: "decoder/Concat_2".
  std::string add(std::string_view place, std::string op, std::vector<std::string> inputs,
                  OnnxAttributes attributes = {});
  /// Adds a constant of float32 or int64; returns its name.
  std::string constant(std::string_view name, const Tensor& value);
  std::string constant(std::string_view name, const std::vector<int64_t>& values);
  std::string constant(std::string_view name, float value);

  /// Gives a node's output another name, wherever it is read.
  void rename(const std::string& from, const std::string& to);

  Port input;
  Port output;
  std::map<std::string, std::string> metadata;

  const std::vector<OnnxNode>& nodes() const { return nodes_; }
  const std::vector<std::pair<std::string, Tensor>>& constants() const { return constants_; }

  /// The model's bytes: ir_version 7, opset 13.
  /// Throws Error where they are 2 GiB or more, which protocol buffers cannot hold.
  std::vector<std::byte> bytes() const;

 private:
  std::string unique(std::string name);

  std::vector<OnnxNode> nodes_;
  std::vector<std::pair<std::string, Tensor>> constants_;
  std::map<std::string, int> names_;  // and how often each was asked for
};

}  // namespace decant::nn
