// Transforms that are made of others.
#include <algorithm>
#include <numeric>

#include "data/augment/transform.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

class Composition : public Transform {
 public:
  explicit Composition(Arguments& arguments) : steps_(arguments.steps("transforms")) {}

  bool needs_grey_levels() const override {
    return std::ranges::any_of(steps_,
                               [](const Step& s) { return s.transform->needs_grey_levels(); });
  }
  bool is_affine() const override {
    return std::ranges::all_of(steps_, [](const Step& s) { return s.transform->is_affine(); });
  }

 protected:
  /// Some number of the steps that are left, by their p as weights; `uniform` in [0, 1).
  size_t weighted(const std::vector<double>& weights, double uniform) const {
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    double at = uniform * sum;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (at < weights[i]) return i;
      at -= weights[i];
    }
    // Only by rounding: the last that can be chosen at all.
    size_t last = weights.size() - 1;
    while (last > 0 && weights[last] <= 0) --last;
    return last;
  }

  std::vector<double> chances(const char* name) const {
    std::vector<double> weights;
    for (const Step& step : steps_) weights.push_back(step.p);
    check(std::ranges::any_of(weights, [](double p) { return p > 0; }), name,
          ": expected a transform with p above 0, got none");
    return weights;
  }

  std::vector<Step> steps_;
};

/// One of the transforms, chosen by their p as weights, and then applied without fail.
/// Source: Albumentations 1.3.1 and 2.0.8, OneOf.
class OneOf : public Composition {
 public:
  explicit OneOf(Arguments& arguments) : Composition(arguments), weights_(chances("OneOf")) {}

  void apply(Frame& frame, const RngKey& key) const override {
    const size_t i = weighted(weights_, Rng(key).uniform(1));
    steps_[i].transform->apply(frame, key.part("0"));
  }

 private:
  std::vector<double> weights_;
};

/// n of the transforms, one after the other; `replace`: one may come again.
///   v1: chosen by their p as weights, in the order drawn, applied without fail (replace: true)
///   v2: each as likely as the others, in the list's order, applied by its own p (replace: false)
/// Source: Albumentations 1.3.1 and 2.0.8, SomeOf.
class SomeOf : public Composition {
 public:
  explicit SomeOf(Arguments& arguments)
      : Composition(arguments),
        v2_(arguments.is_v2()),
        count_(arguments.integer("n", v2_ ? std::optional(1) : std::nullopt)),
        replace_(arguments.flag("replace", !v2_)),
        weights_(v2_ ? std::vector<double>(steps_.size(), 1.0) : chances("SomeOf")) {
    const auto possible =
        static_cast<int>(std::ranges::count_if(weights_, [](double weight) { return weight > 0; }));
    check(replace_ || v2_ || count_ <= possible, "SomeOf: expected n of at most the ", possible,
          " transforms with p above 0, got ", count_);
    if (!replace_) count_ = std::min(count_, possible);
  }

  void apply(Frame& frame, const RngKey& key) const override {
    const std::vector<size_t> chosen = choose(Rng(key));
    for (size_t k = 0; k < chosen.size(); ++k) {
      const Step& step = steps_[chosen[k]];
      const RngKey own = key.part(std::to_string(k));
      if (v2_)
        step.apply(frame, own);
      else
        step.transform->apply(frame, own);
    }
  }

 private:
  std::vector<size_t> choose(const Rng& rng) const {
    std::vector<double> left = weights_;
    std::vector<size_t> chosen;
    for (int k = 0; k < count_; ++k) {
      chosen.push_back(weighted(left, rng.uniform(1 + static_cast<uint64_t>(k))));
      if (!replace_) left[chosen.back()] = 0;
    }
    if (v2_) std::ranges::sort(chosen);
    return chosen;
  }

  bool v2_;
  int count_;
  bool replace_;
  std::vector<double> weights_;
};

/// All transforms in their order, each by its own p. In version 1 its own p only counts as a weight
/// in OneOf and SomeOf: 1.3.1 applies a Sequential always.
/// Source: Albumentations 1.3.1 and 2.0.8, Sequential.
class Sequential : public Composition {
 public:
  explicit Sequential(Arguments& arguments)
      : Composition(arguments), is_certain_(!arguments.is_v2()) {}

  bool is_certain() const override { return is_certain_; }

  void apply(Frame& frame, const RngKey& key) const override {
    for (size_t i = 0; i < steps_.size(); ++i) steps_[i].apply(frame, key.part(std::to_string(i)));
  }

 private:
  bool is_certain_;
};

const RegisterTransform<OneOf> kOneOf("OneOf", 0.5);
const RegisterTransform<SomeOf> kSomeOf("SomeOf", 1);
const RegisterTransform<Sequential> kSequential("Sequential", 0.5);

}  // namespace
}  // namespace decant::data
