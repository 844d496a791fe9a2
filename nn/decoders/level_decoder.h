#pragma once

#include "nn/decoders/decoder.h"

namespace decant::nn {

/// A decoder with one block per level, the coarsest first: y = block(y, skip, pass), y beginning as
/// centre(the last feature map), skip being the next finer one, absent for the last block, which
/// reaches the image's size. Derived classes fill blocks_; their names are SMP's, "blocks.0" and so
/// on.
template <class Block>
class LevelDecoder : public Decoder {
 public:
  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    Variable y = centre(features.back(), pass);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const size_t level = blocks_.size() - 1 - i;
      y = blocks_[i]->forward(y, level > 0 ? features[level] : Variable{}, pass);
    }
    return y;
  }

  void visit(Visitor& v) override {
    for (size_t i = 0; i < blocks_.size(); ++i) v(str("blocks.", i), *blocks_[i]);
  }

 protected:
  using Decoder::Decoder;

  virtual Variable centre(const Variable& x, const Pass& /*pass*/) { return x; }

  /// Calls add(in, skip, out) with each block's channels; `channels` are the encoder's, `outputs`
  /// the decoder's.
  template <class Add>
  static void for_levels(const std::vector<int64_t>& channels, const std::vector<int64_t>& outputs,
                         const Add& add) {
    int64_t in = channels.back();
    for (size_t i = 0; i < outputs.size(); ++i) {
      const size_t level = outputs.size() - 1 - i;
      add(in, level > 0 ? channels[level] : 0, outputs[i]);
      in = outputs[i];
    }
  }

  std::vector<std::unique_ptr<Block>> blocks_;
};

}  // namespace decant::nn
