#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "engine/autograd/trace.h"
#include "engine/cpu/prepared_conv.h"
#include "engine/ops/batch_norm.h"

namespace decant {

/// A convolution and what its results pass through: y = act(x * w + b + residual).
struct ConvOperation {
  bool transposed;       ///< conv2d's input gradient: from the shape's y to its x
  cpu::ConvShape shape;  ///< of one image
  Tensor w;              ///< as the ops conv2d and conv_transpose2d have it
  Tensor b;              ///< [channels of y]
  Activation activation = Activation::none;
  uint64_t input = 0;
  uint64_t residual = 0;  ///< 0: none
  uint64_t output = 0;

  int64_t channels() const { return transposed ? shape.c_in : shape.c_out; }
  bool depthwise() const;
  bool pointwise() const;  ///< 1x1, of all channels, pixel by pixel
};

/// A depthwise convolution and a pointwise one of its results. With a skip, the depthwise one reads
/// upsample_concat(its input, skip).
struct SeparableOperation {
  ConvOperation depthwise, pointwise;
  uint64_t skip = 0;
  cpu::Upsampled upsampled = {};
};

/// Two pointwise convolutions after each other, with more between them than caches hold.
struct PointwisePairOperation {
  ConvOperation first, second;
};

/// Any other step, as it was traced.
struct OtherOperation {
  Trace::Step step;
};

using Operation =
    std::variant<ConvOperation, SeparableOperation, PointwisePairOperation, OtherOperation>;

/// The values that an operation reads, those that are absent left out.
std::vector<uint64_t> inputs_of(const Operation& operation);
uint64_t output_of(const Operation& operation);

/// A traced forward pass of one image, in order. Values in `kept` are wanted outside.
struct Graph {
  std::vector<Operation> operations;
  std::vector<uint64_t> kept;
};

bool is_convolution(const Trace::Step& step);
Graph graph_of(const Trace& trace, std::vector<uint64_t> kept);

/// Batch norm of a convolution's results becomes part of its filters and its bias; a residual and
/// an activation after it are applied while the results are in the cache. Only where nobody else
/// reads the value in between. Rounds otherwise than the steps did.
void fuse(const Trace& trace, Graph& graph);

/// A depthwise convolution and the pointwise one after it, which alone reads its results, become
/// one operation, with the upsample_concat before them that nobody else reads.
void join_separable(Graph& graph);

/// Pointwise convolutions of which the second alone reads the first's results, where these are
/// large.
void join_pointwise(Graph& graph);

}  // namespace decant
