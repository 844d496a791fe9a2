#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/network.h"

namespace decant::nn {

/// One layer of a network, read from a trace of one forward pass in evaluation.
struct LayerSummary {
  std::string name;    ///< "encoder.layer1.0.conv1"
  std::string op;      ///< "conv2d"; of its last op where it runs several
  Shape output_shape;  ///< of the last op
  int64_t parameters = 0;
  int64_t macs = 0;              ///< multiply-adds of convolutions and matrix products, each once
  int64_t activation_bytes = 0;  ///< results of all its ops
};

struct Summary {
  /// In the order they ran; last, where there are such, "(not run)" with parameters that no op
  /// read.
  std::vector<LayerSummary> layers;
  int64_t parameters = 0;  ///< of the whole network, used or not
  int64_t macs = 0;
  int64_t activation_bytes = 0;
  Shape input_shape;

  /// A table for people, with a line of totals.
  std::string text() const;
};

/// Of one image [1, height, width, in_channels].
Summary summarize(Network& network, int64_t height, int64_t width);

}  // namespace decant::nn
