#include "nn/decoders/attention.h"

#include "engine/ops/arithmetic.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"
#include "nn/decoders/decoder_conv.h"

namespace decant::nn {
namespace {

constexpr int64_t kReduction = 16;

int64_t reduced(int64_t channels) {
  check(channels >= kReduction, "scse: expected maps of at least ", kReduction,
        " channels, of which it takes a sixteenth, got ", channels);
  return channels / kReduction;
}

}  // namespace

ChannelGate::ChannelGate(int64_t channels, int64_t reduced)
    : reduce_(decoder_conv(channels, reduced, 1, true)),
      expand_(decoder_conv(reduced, channels, 1, true)) {}

Variable ChannelGate::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  const Variable mean = adaptive_avg_pool2d(x, 1, 1);
  return sigmoid(expand_.forward(relu(reduce_.forward(mean))));
}

void ChannelGate::visit(Visitor& v) {
  v("1", reduce_);
  v("3", expand_);
}

Scse::Scse(int64_t channels)
    : channels_(channels, reduced(channels)), pixels_(decoder_conv(channels, 1, 1, true)) {}

Variable Scse::forward(const Variable& x) const {
  const Trace::Scope scope(name());
  return mul(x, add(sigmoid(pixels_.forward(x)), channels_.forward(x)));
}

void Scse::visit(Visitor& v) {
  v("attention.cSE", channels_);
  v("attention.sSE.0", pixels_);
}

}  // namespace decant::nn
