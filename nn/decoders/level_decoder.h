#pragma once

#include "nn/decoders/decoder.h"

namespace decant::nn {

/// A decoder with one block per level, the coarsest first: y = block(y, skip, pass), y beginning as
/// the last feature map, skip being the next finer one, absent for the last block, which reaches
/// the image's size. Derived classes fill blocks_; their names are SMP's, "blocks.0" and so on.
template <class Block>
class LevelDecoder : public Decoder {
 public:
  Variable forward(const std::vector<Variable>& features, const Pass& pass) override {
    const Trace::Scope scope(name());
    Variable y = features.back();
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

  std::vector<std::unique_ptr<Block>> blocks_;
};

}  // namespace decant::nn
