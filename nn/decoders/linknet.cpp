// SMP's Linknet decoder: per level a 1x1 to a quarter of the channels, a transposed convolution
// that doubles the size, and a 1x1 to the skip's channels, onto which the skip is added; the last
// level goes to 32 channels and has no skip. Source: Chaurasia & Culurciello 2017, "LinkNet".

#include "engine/ops/arithmetic.h"
#include "nn/decoders/decoder_conv.h"
#include "nn/decoders/level_decoder.h"

namespace decant::nn {
namespace {

constexpr int64_t kLastChannels = 32;

/// ConvTranspose2d ("0"), norm ("1"), ReLU.
class Upsample : public Module {
 public:
  Upsample(int64_t channels, std::string_view norm)
      : conv_(channels, channels), norm_(channels, norm) {}

  Variable forward(const Variable& x, const Pass& pass) {
    const Trace::Scope scope(name());
    return norm_.forward(conv_.forward(x), pass);
  }

  void visit(Visitor& v) override {
    v("0", conv_);
    v("1", norm_);
  }

 private:
  ConvTranspose2d conv_;
  DecoderNorm norm_;
};

class LinknetBlock : public Module {
 public:
  LinknetBlock(int64_t in, int64_t out, std::string_view norm)
      : reduce_(in, in / 4, 1, norm), upsample_(in / 4, norm), expand_(in / 4, out, 1, norm) {}

  Variable forward(const Variable& x, const Variable& skip, const Pass& pass) {
    const Trace::Scope scope(name());
    const Variable y = expand_.forward(upsample_.forward(reduce_.forward(x, pass), pass), pass);
    return skip.defined() ? add(y, skip) : y;
  }

  void visit(Visitor& v) override {
    v("block.0", reduce_);
    v("block.1", upsample_);
    v("block.2", expand_);
  }

 private:
  DecoderConv reduce_;
  Upsample upsample_;
  DecoderConv expand_;
};

class Linknet : public LevelDecoder<LinknetBlock> {
 public:
  Linknet(const std::vector<int64_t>& channels, const NetworkSpec& spec)
      : LevelDecoder({.in_channels = kLastChannels, .kernel = 1}) {
    for (size_t level = channels.size() - 1; level > 0; --level) {
      check(channels[level] >= 4, "linknet: expected at least 4 channels at every level of the ",
            "encoder, of which blocks take a quarter, got ", channels[level]);
      blocks_.push_back(std::make_unique<LinknetBlock>(
          channels[level], level > 1 ? channels[level - 1] : kLastChannels, *spec.options.norm));
    }
  }
};

const bool kRegistered = register_decoder(
    "linknet", {.make = make_as<Linknet>,
                .usual_options = [](int64_t) { return DecoderOptions{.norm = "batchnorm"}; }});

}  // namespace
}  // namespace decant::nn
