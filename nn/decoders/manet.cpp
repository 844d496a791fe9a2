// SMP's MAnet decoder. The encoder's last map passes a position-wise attention block ("center");
// then per level
//   y = two 3x3 convolutions of [enlarged h (gate(h) + gate(skip)), skip],  h = hl_conv(x)
// and a last level as Unet's, without a skip. Source: Fan et al. 2020, "MA-Net". Differs as SMP
// does: see Centre.

#include <algorithm>

#include "engine/ops/arithmetic.h"
#include "engine/ops/matmul.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "engine/ops/softmax.h"
#include "nn/decoders/unet_block.h"

namespace decant::nn {
namespace {

/// y = out_conv(x + a), where a is made of the values v = bottom_conv(x) [P, C] of an image's P
/// pixels by the weights softmax(center_conv(x) top_conv(x)^T) [P, P]. As SMP has it, the softmax
/// runs over all pairs of pixels together, and the product [P, C] is taken for a map [C, H, W]
/// without being transposed.
class Centre : public Module {
 public:
  Centre(int64_t channels, int64_t attention_channels)
      : top_(decoder_conv(channels, attention_channels, 1, true)),
        center_(decoder_conv(channels, attention_channels, 1, true)),
        bottom_(decoder_conv(channels, channels, 3, true)),
        out_(decoder_conv(channels, channels, 3, true)) {}

  Variable forward(const Variable& x) {
    const Trace::Scope scope(name());
    const Variable queries = center_.forward(x);
    const Variable keys = top_.forward(x);
    const Variable values = bottom_.forward(x);
    return out_.forward(add(x, attended(queries, keys, values)));
  }

  void visit(Visitor& v) override {
    v("top_conv", top_);
    v("center_conv", center_);
    v("bottom_conv", bottom_);
    v("out_conv", out_);
  }

 private:
  static Variable attended(const Variable& queries, const Variable& keys, const Variable& values) {
    const Shape& s = values.shape();
    const int64_t pixels = s[1] * s[2];
    if (pixels == 1) return values;  // it weighs 1
    const auto rows = [&](const Variable& map) {
      return reshape(map, {s[0], pixels, map.shape()[3]});
    };
    const Variable products = matmul(rows(queries), rows(keys), {.transpose_b = true});
    const Variable weights =
        reshape(softmax(reshape(products, {s[0], pixels * pixels}), 1), {s[0], pixels, pixels});
    const Variable sums = matmul(weights, rows(values));
    return permute(reshape(sums, {s[0], s[3], s[1], s[2]}), {0, 2, 3, 1});
  }

  Conv2d top_;
  Conv2d center_;
  Conv2d bottom_;
  Conv2d out_;
};

class MAnetBlock : public Module {
 public:
  MAnetBlock(int64_t in, int64_t skip, int64_t out, const DecoderOptions& options)
      : convs_(skip > 0 ? skip : in, skip, out, options) {
    if (skip == 0) return;
    constexpr int64_t kReduction = 16;
    const int64_t reduced = std::max<int64_t>(1, skip / kReduction);
    gated_ = std::make_unique<Gated>(in, skip, reduced, *options.norm);
  }

  Variable forward(const Variable& x, const Variable& skip, const Pass& pass) {
    const Trace::Scope scope(name());
    if (!gated_) return convs_.forward(x, skip, pass);
    // SMP enlarges before it gates, which comes to the same: each value is there four times.
    const Variable h = gated_->same.forward(x, pass);
    const Variable high = gated_->reduce.forward(h, pass);
    const Variable gate = add(gated_->high.forward(high), gated_->low.forward(skip));
    return convs_.forward(mul(high, gate), skip, pass);
  }

  void visit(Visitor& v) override {
    if (gated_) {
      v("hl_conv.0", gated_->same);
      v("hl_conv.1", gated_->reduce);
      v("SE_ll", gated_->low);
      v("SE_hl", gated_->high);
    }
    convs_.visit(v);
  }

 private:
  struct Gated {
    Gated(int64_t in, int64_t skip, int64_t reduced, std::string_view norm)
        : same(in, in, 3, norm),
          reduce(in, skip, 1, norm),
          low(skip, reduced),
          high(skip, reduced) {}

    DecoderConv same, reduce;
    ChannelGate low, high;
  };

  std::unique_ptr<Gated> gated_;  // null in the last level
  UnetBlock convs_;
};

class MAnet : public LevelDecoder<MAnetBlock> {
 public:
  MAnet(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : LevelDecoder({.in_channels = spec.options.channels->back(), .kernel = 3}),
        centre_(channels.back(), *spec.options.attention_channels) {
    for_levels(channels, *spec.options.channels, [&](int64_t in, int64_t skip, int64_t out) {
      blocks_.push_back(std::make_unique<MAnetBlock>(in, skip, out, spec.options));
    });
  }

  void visit(Visitor& v) override {
    v("center", centre_);
    LevelDecoder::visit(v);
  }

 protected:
  Variable centre(const Variable& x, const Pass& /*pass*/) override { return centre_.forward(x); }

 private:
  Centre centre_;
};

DecoderOptions usual(int64_t depth) {
  DecoderOptions options = level_options(depth);
  options.attention_channels = 64;
  return options;
}

const bool kRegistered =
    register_decoder("manet", {.make = make_as<MAnet>, .usual_options = usual});

}  // namespace
}  // namespace decant::nn
