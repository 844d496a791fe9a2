#pragma once

#include <memory>

#include "nn/decoders/decoder.h"
#include "nn/layers/batch_norm.h"
#include "nn/layers/conv_norm_act.h"

namespace decant::nn {

/// A 3x3 convolution in two steps, every channel by itself ("0") and all channels of one pixel
/// ("1"), without a norm between them.
/// Source: Chollet 2017, "Xception".
class SplitConv : public Module {
 public:
  SplitConv(int64_t in, int64_t out, int dilation = 1);

  Variable forward(const Variable& x) const;
  void visit(Visitor& v) override;

 private:
  Conv2d depthwise_;
  Conv2d pointwise_;
};

/// relu(bn(conv(x))) with a 3x3 convolution, split or whole. Parts "0" and "1".
class AtrousConv : public Module {
 public:
  AtrousConv(int64_t in, int64_t out, int dilation, bool separable);

  Variable forward(const Variable& x, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  std::unique_ptr<SplitConv> split_;  // one of the two
  std::unique_ptr<Conv2d> whole_;
  BatchNorm2d norm_;
};

/// Atrous spatial pyramid pooling: a 1x1 convolution, three 3x3 ones of different dilations, and
/// one of the image's mean, side by side; then a 1x1 of all of them, and dropout.
///   x [N, H, W, in] -> [N, H, W, channels[0]]
/// Parts "convs.0" to "convs.4" and "project", named as SMP's, with PyTorch's default initial
/// values.
/// The mean of an image is one value per channel, which batch norm cannot normalise by itself:
/// throws Error where a batch of one image is to train.
/// Source: Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation".
class Aspp : public Module {
 public:
  Aspp(int64_t in, const NetworkSpec& spec);

  Variable forward(const Variable& x, const Pass& pass);
  void visit(Visitor& v) override;

 private:
  std::string decoder_;
  double dropout_;
  ConvNormAct first_;
  std::vector<std::unique_ptr<AtrousConv>> convs_;
  Conv2d mean_;
  BatchNorm2d mean_norm_;
  ConvNormAct project_;
};

/// 256 channels, dilations 12, 24, 36, dropout 0.5.
DecoderOptions aspp_options(bool separable, int64_t output_stride);

}  // namespace decant::nn
