#include "apps/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/console.h"
#include "apps/run_folder.h"
#include "engine/core/parallel.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "engine/ops/softmax.h"
#include "nn/inference.h"

namespace decant::apps {
namespace {

uint64_t digest_of(std::string_view id, const data::LoadedSample& sample) {
  const auto text = [](const std::vector<uint8_t>& bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  return fnv1a64(str(fnv1a64(id), ' ', sample.image.width, ' ', sample.image.height, ' ',
                     fnv1a64(text(sample.image.pixels)), ' ', fnv1a64(text(sample.mask.pixels))));
}

EvaluationSet::Item make_item(const data::Sample& sample, int channels,
                              const data::Pipeline& pipeline) {
  data::LoadedSample loaded = data::load_sample(sample, channels);
  EvaluationSet::Item item;
  item.digest = digest_of(sample.id, loaded);
  item.size = {loaded.image.width, loaded.image.height};
  data::Frame frame(loaded.image, loaded.mask);
  pipeline.apply(frame, {});
  item.image = frame.image_tensor();
  if (!frame.mask.empty()) {
    item.mask = Tensor({1, frame.height, frame.width, 1});
    std::ranges::copy(frame.mask, item.mask.mutable_data<float>());
  }
  item.own = std::move(loaded.image);
  item.truth = std::move(loaded.mask);
  return item;
}

int64_t bytes_of(const EvaluationSet::Item& item) {
  return item.image.size() * 4 + (item.mask.defined() ? item.mask.size() * 4 : 0) +
         static_cast<int64_t>(item.truth.pixels.size());
}

// The images [1, H, W, C] as one batch.
Tensor stack(const std::vector<const EvaluationSet::Item*>& items) {
  Shape shape = items.front()->image.shape();
  shape[0] = static_cast<int64_t>(items.size());
  Tensor batch(shape);
  auto* to = batch.mutable_data<float>();
  for (const EvaluationSet::Item* item : items) {
    const auto values = item->image.values<float>();
    to = std::ranges::copy(values, to).out;
  }
  return batch;
}

// Calls done(item number, item, logits of its own, prediction at its own size) for each image, on
// all threads.
void predict_all(
    EvaluationSet& set, int64_t batch, const Forward& forward,
    const std::function<void(int64_t, const EvaluationSet::Item&, const Variable& logits,
                             const data::Image& prediction)>& done) {
  const NoGrad no_grad;
  for (int64_t begin = 0; begin < set.count(); begin += batch) {
    const auto items = set.items(begin, std::min(set.count(), begin + batch));
    for (size_t i = 0; i < items.size(); ++i)
      check(items[i]->truth.width > 0, "evaluate: expected a mask for every image, got none for \"",
            set.id(begin + static_cast<int64_t>(i)), "\"");
    const Variable logits = forward(Variable(stack(items)));
    const Variable probability = lesion_probability(logits);
    parallel_for(static_cast<int64_t>(items.size()), [&](int64_t i) {
      const NoGrad inner;  // the flag belongs to the thread
      const EvaluationSet::Item& item = *items[static_cast<size_t>(i)];
      done(begin + i, item, slice(logits, 0, i, i + 1),
           mask_of(probability_at(probability, i, item.size)));
    });
  }
}

}  // namespace

Forward forward_of(nn::Network& network) {
  return [&network, inference = std::make_shared<nn::Inference>(network)](const Variable& images) {
    const Variable here(images.value().to(network.device()));
    return Variable(inference->forward(here).logits.value().to(Device::cpu));
  };
}

Variable lesion_probability(const Variable& logits) {
  if (logits.shape()[-1] == 1) return sigmoid(logits);
  const Variable background = slice(softmax(logits, -1), 3, 0, 1);
  Tensor lesion = background.value().clone();
  for (float& p : lesion.mutable_values<float>()) p = 1 - p;
  return Variable(lesion);
}

Tensor probability_at(const Variable& probability, int64_t n, data::ImageSize size) {
  const Shape& s = probability.shape();
  const Variable one(probability.value().view(n * s[1] * s[2], {1, s[1], s[2], 1}));
  return resize(one, size.height, size.width, {.mode = Interpolation::bilinear})
      .value()
      .reshape({size.height, size.width});
}

data::Image mask_of(const Tensor& probability) {
  data::Image mask(static_cast<int>(probability.shape()[1]),
                   static_cast<int>(probability.shape()[0]), 1);
  const auto values = probability.values<float>();
  std::ranges::transform(values, mask.pixels.begin(),
                         [](float p) { return static_cast<uint8_t>(p >= 0.5F); });
  return mask;
}

EvaluationSet::EvaluationSet(const data::Dataset& dataset, const std::vector<std::string>& ids,
                             const TrainedNetwork& trained)
    : EvaluationSet(dataset, ids, trained.notes.evaluation(),
                    static_cast<int>(trained.network->spec().in_channels), 0) {}

EvaluationSet::EvaluationSet(const data::Dataset& dataset, const std::vector<std::string>& ids,
                             data::Pipeline pipeline, int channels, int64_t cache_limit_bytes)
    : pipeline_(std::move(pipeline)), channels_(channels), cache_left_bytes_(cache_limit_bytes) {
  check(!ids.empty(), "evaluate: expected images, got none");
  for (const std::string& id : ids) samples_.push_back(dataset.find(id));
  cached_.resize(samples_.size());
  digests_.resize(samples_.size());
}

EvaluationSet::Item EvaluationSet::load(int64_t i) const {
  return make_item(samples_[static_cast<size_t>(i)], channels_, pipeline_);
}

std::vector<const EvaluationSet::Item*> EvaluationSet::items(int64_t begin, int64_t end) {
  passing_.clear();
  passing_.resize(static_cast<size_t>(end - begin));
  parallel_for(end - begin, [&](int64_t i) {
    if (cached_[static_cast<size_t>(begin + i)].image.defined()) return;
    passing_[static_cast<size_t>(i)] = load(begin + i);
    passing_[static_cast<size_t>(i)].own = {};
  });
  std::vector<const Item*> found;
  for (int64_t i = 0; i < end - begin; ++i) {
    Item& cached = cached_[static_cast<size_t>(begin + i)];
    Item& passing = passing_[static_cast<size_t>(i)];
    const Item* item = cached.image.defined() ? &cached : &passing;
    digests_[static_cast<size_t>(begin + i)] = item->digest;
    if (item == &passing && bytes_of(passing) <= cache_left_bytes_) {
      cache_left_bytes_ -= bytes_of(passing);
      cached = std::move(passing);
      item = &cached;
    }
    found.push_back(item);
  }
  return found;
}

uint64_t EvaluationSet::digest() {
  std::string all;
  for (int64_t i = 0; i < count(); ++i) {
    if (digests_[static_cast<size_t>(i)] == 0) items(i, i + 1);
    all += str(digests_[static_cast<size_t>(i)], ' ');
  }
  return fnv1a64(all);
}

uint64_t data_digest(const data::Dataset& dataset, const data::Split& split) {
  std::string all;
  for (const std::vector<std::string>* part : {&split.train, &split.val}) {
    for (const std::string& id : *part) {
      const data::Sample& sample = dataset.find(id);
      all += str(fnv1a64(id), ' ', fnv1a64(read_bytes(sample.image)));
      for (const auto& mask : sample.masks) all += str(' ', fnv1a64(read_bytes(mask)));
      all += '\n';
    }
    all += '\n';
  }
  return fnv1a64(all);
}

double mask_dice(const data::Image& prediction, const data::Image& truth) {
  check(prediction.width == truth.width && prediction.height == truth.height,
        "mask_dice: sizes differ, ", prediction.width, " x ", prediction.height, " and ",
        truth.width, " x ", truth.height);
  int64_t both = 0;
  int64_t sum = 0;
  for (size_t i = 0; i < truth.pixels.size(); ++i) {
    const bool p = prediction.pixels[i] != 0;
    const bool t = truth.pixels[i] != 0;
    both += p && t ? 1 : 0;
    sum += (p ? 1 : 0) + (t ? 1 : 0);
  }
  return sum == 0 ? 1 : 2 * static_cast<double>(both) / static_cast<double>(sum);
}

double latency_ms(const TrainedNetwork& trained) {
  constexpr int kWarmup = 5;
  constexpr int kTimed = 21;
  const int64_t size = trained.notes.size;
  const Forward forward = forward_of(*trained.network);
  const Variable image(Tensor::zeros({1, size, size, trained.network->spec().in_channels}));
  std::vector<double> times;
  for (int i = 0; i < kWarmup + kTimed; ++i) {
    const auto start = std::chrono::steady_clock::now();
    forward(image);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    if (i >= kWarmup) times.push_back(time.count());
  }
  std::ranges::nth_element(times, times.begin() + kTimed / 2);
  return times[kTimed / 2];
}

std::string dice_text(const Validation& found) {
  return str(rounded(found.dice, 4), std::isnan(found.lesion_dice)
                                         ? std::string(" (no lesions)")
                                         : str(" (lesions ", rounded(found.lesion_dice, 4), ")"));
}

Validation validate(EvaluationSet& set, int64_t batch, const Forward& forward,
                    const std::function<Variable(const Variable&, const Tensor&)>& loss) {
  const auto count = static_cast<size_t>(set.count());
  std::vector<double> losses(count);
  std::vector<double> dice(count);
  std::vector<uint8_t> has_lesion(count);
  Validation result;
  predict_all(set, batch, forward,
              [&](int64_t i, const EvaluationSet::Item& item, const Variable& logits,
                  const data::Image& prediction) {
                const auto at = static_cast<size_t>(i);
                losses[at] = loss(logits, item.mask).value().item();
                dice[at] = mask_dice(prediction, item.truth);
                has_lesion[at] =
                    std::ranges::any_of(item.truth.pixels, [](uint8_t v) { return v != 0; });
              });
  int64_t lesions = 0;
  for (size_t i = 0; i < count; ++i) {
    result.loss += losses[i];
    result.dice += dice[i];
    if (has_lesion[i] != 0) {
      result.lesion_dice += dice[i];
      ++lesions;
    }
  }
  result.loss /= static_cast<double>(count);
  result.dice /= static_cast<double>(count);
  result.lesion_dice /= static_cast<double>(lesions);  // 0 / 0 where no image has one
  result.digest = set.digest();
  return result;
}

data::MetricsReport evaluate(EvaluationSet& set, int64_t batch, const Forward& forward,
                             data::EmptyPolicy policy) {
  std::vector<data::ImageMetrics> images(static_cast<size_t>(set.count()));
  predict_all(set, batch, forward,
              [&](int64_t i, const EvaluationSet::Item& item, const Variable&,
                  const data::Image& prediction) {
                data::ImageMetrics& metrics = images[static_cast<size_t>(i)];
                metrics = data::measure(prediction, item.truth, policy);
                metrics.id = set.id(i);
              });
  return data::summarize(std::move(images), policy);
}

}  // namespace decant::apps
