#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nn/network.h"
#include "nn/onnx/graph.h"

namespace decant::nn {

/// What stands in a model beside the network.
struct OnnxOptions {
  /// Side of the square images that the model takes; 0: images of any size, which the model pads to
  /// the network's stride and whose logits it crops back, as Network does.
  int64_t size = 0;
  /// With `size`: the model takes images of any size, enlarges or shrinks them to it (bilinear,
  /// half-pixel centres) and its result back to theirs.
  bool resize = false;
  /// Per channel, both or neither: the model takes grey levels of 0 .. max_pixel_value and computes
  /// (x / max_pixel_value - mean) / std itself.
  std::vector<double> mean = {}, std = {};
  double max_pixel_value = 255;
  /// Probabilities instead of logits: sigmoid of one, softmax of several.
  bool probability = false;
  /// For people and programs that read the model.
  std::map<std::string, std::string> metadata = {};
};

/// The network as an ONNX graph of opset 13, read from a trace of one pass in evaluation:
///   image [batch, C, height, width] float32 -> logits (or probability) [batch, classes, height,
///   width]
/// Batch norms lie folded in convolutions. With free sizes the trace is taken at two of them: where
/// a graph depends on the size (pooling to a fixed grid), that is an Error which asks for `size`.
/// Throws Error as OnnxLowering does, and for options that contradict each other.
OnnxGraph export_onnx(Network& network, const OnnxOptions& options = {});

}  // namespace decant::nn
