#pragma once

#include <cstdint>
#include <optional>

#include "engine/ops/conv2d.h"
#include "engine/ops/conv_transpose2d.h"
#include "nn/module.h"

namespace decant::nn {

// Initial values of a weight, kernel extents counted into its fans.
// Sources: He et al. 2015, "Delving deep into rectifiers"; Glorot & Bengio 2010.
Initializer he_normal(double fan);                          ///< N(0, 2 / fan)
Initializer he_uniform(double fan_in);                      ///< U(+-sqrt(6 / fan_in))
Initializer glorot_uniform(double fan_in, double fan_out);  ///< U(+-sqrt(6 / (fan_in + fan_out)))
Initializer torch_default(double fan_in);  ///< U(+-1 / sqrt(fan_in)), PyTorch's own, biases too

/// Zeros around the input. centred: dilation (kernel - 1) / 2 on each side. same_up: so many that
/// the output has ceil(size / stride) rows, the odd one of them below and to the right;
/// TensorFlow's SAME, where they depend on the input's size, or on that of Conv2dSpec::padded_for.
enum class PaddingRule : uint8_t { centred, same_up };

struct Conv2dSpec {
  int64_t in = 0, out = 0;
  int kernel = 3;
  int stride = 1;
  int dilation = 1;
  int groups = 1;
  bool bias = false;
  PaddingRule padding = PaddingRule::centred;
  int64_t padded_for = 0;  ///< of same_up: the size it pads for whatever comes; 0: the input's own
  std::optional<Initializer> weight_init =
      {};  ///< he_normal(out kernel^2), as torchvision, if none
  Initializer bias_init = Initializer::constant(0);

  int64_t fan_in() const { return in / groups * kernel * kernel; }
  int64_t fan_out() const { return out * kernel * kernel; }
};

/// The convolution of a stage that keeps its maps large (Encoder::dilation): stride 1 and the
/// dilation in its place. The spec itself where the dilation is 1.
Conv2dSpec dilated(Conv2dSpec spec, int dilation);

/// The spec with PyTorch's default initial values.
Conv2dSpec torch_initialized(Conv2dSpec spec);

/// A first convolution, which sees the image: where that has not three channels, its initial values
/// are PyTorch's default whatever the encoder's are, as SMP makes it anew.
Conv2dSpec image_conv(Conv2dSpec spec);

/// A convolution with its weight [out, kernel, kernel, in / groups] and bias [out]. Named as
/// PyTorch's Conv2d: "weight", "bias".
class Conv2d : public Module {
 public:
  explicit Conv2d(const Conv2dSpec& spec);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

  DType dtype() const { return weight_.variable.dtype(); }
  Device device() const { return weight_.variable.value().device(); }
  const Conv2dSpec& spec() const { return spec_; }

 private:
  Conv2dSpec spec_;
  Parameter weight_;
  Parameter bias_;
};

/// The transposed convolution that doubles a map's sides: kernel 4, stride 2, padding 1, with bias.
/// weight [in, 4, 4, out]. PyTorch's default initial values, as SMP leaves them.
class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(int64_t in, int64_t out);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  Parameter weight_;
  Parameter bias_;
};

}  // namespace decant::nn
