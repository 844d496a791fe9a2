#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/checkpoint_notes.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/metrics.h"
#include "data/split.h"
#include "nn/network.h"

namespace decant::apps {

/// A forward pass in evaluation that keeps nothing for backward: images [N, H, W, C] -> logits.
/// Both on the CPU, wherever the network is.
using Forward = std::function<Variable(const Variable& images)>;
Forward forward_of(nn::Network& network);

/// Probability of a lesion: sigmoid of one logit; of several, 1 less the first class's softmax.
Variable lesion_probability(const Variable& logits);

/// The probability of image `n` of a batch [N, H, W, 1], bilinearly at `size`: [h, w].
Tensor probability_at(const Variable& probability, int64_t n, data::ImageSize size);

/// 1 where the probability is at least 0.5.
data::Image mask_of(const Tensor& probability);

/// Samples decoded once, as a network sees them and at their own size, kept in memory up to a
/// limit; beyond it they are decoded again in every pass.
class EvaluationSet {
 public:
  struct Item {
    Tensor image;       ///< [1, size, size, C], normalised
    Tensor mask;        ///< [1, size, size, 1], 0 or 1; undefined without a mask
    data::Image own;    ///< the image at its own size; empty unless pictures are kept
    data::Image truth;  ///< its mask; width 0 without one
    data::ImageSize size;
    uint64_t digest = 0;  ///< of id, pixels and mask
  };

  /// As a trained network sees them; nothing is kept in memory.
  EvaluationSet(const data::Dataset& dataset, const std::vector<std::string>& ids,
                const TrainedNetwork& trained);
  /// `pipeline`: the network's own for evaluation, see CheckpointNotes.
  EvaluationSet(const data::Dataset& dataset, const std::vector<std::string>& ids,
                data::Pipeline pipeline, int channels, int64_t cache_limit_bytes);

  int64_t count() const { return static_cast<int64_t>(samples_.size()); }
  const std::string& id(int64_t i) const { return samples_[static_cast<size_t>(i)].id; }
  Item load(int64_t i) const;  ///< with its own picture; not cached
  /// Items [begin, end), decoded on all threads where they are not in memory.
  std::vector<const Item*> items(int64_t begin, int64_t end);
  /// Of all items: equal where ids, images, masks and order are. Decodes what was not seen yet.
  uint64_t digest();

 private:
  std::vector<data::Sample> samples_;
  data::Pipeline pipeline_;
  int channels_;
  int64_t cache_left_bytes_;
  std::vector<Item> cached_;
  std::vector<Item> passing_;
  std::vector<uint64_t> digests_;  ///< 0: not seen yet
};

/// Of the files of a split's training and validation images, with their masks and ids: equal where
/// a run would read the same, wherever the files lie. Nothing is decoded.
uint64_t data_digest(const data::Dataset& dataset, const data::Split& split);

/// What one pass over a set found.
struct Validation {
  double loss = 0;         ///< mean over images of each one's own supervised loss, at the network's
                           ///< size: no function of batches or of the order of images
  double dice = 0;         ///< mean over images, each at its own size; both empty counts as 1
  double lesion_dice = 0;  ///< the same over images whose truth is not empty; NaN without any
  uint64_t digest = 0;     ///< the set's
};

/// "0.6501 (lesions 0.6751)"
std::string dice_text(const Validation& found);

/// The pass that a training run makes after each epoch. Every image needs a mask.
/// `loss`: logits and labels of one image -> scalar.
Validation validate(EvaluationSet& set, int64_t batch, const Forward& forward,
                    const std::function<Variable(const Variable&, const Tensor&)>& loss);

/// All metrics of every image at its own size. Images without a mask are an Error.
data::MetricsReport evaluate(EvaluationSet& set, int64_t batch, const Forward& forward,
                             data::EmptyPolicy policy);

/// Milliseconds that one image takes, on the CPU: the median of single answers, after a few to warm
/// up.
double latency_ms(const TrainedNetwork& trained);

/// Dice of two masks of one size from their counts, both empty 1: what validate() needs of
/// data::measure, without its distances.
double mask_dice(const data::Image& prediction, const data::Image& truth);

}  // namespace decant::apps
