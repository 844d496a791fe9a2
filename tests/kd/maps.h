#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "engine/core/tensor.h"
#include "kd/spec.h"
#include "nn/module.h"
#include "nn/network.h"

namespace decant::kd {

/// The deterministic maps of the test vectors: s(i; a, b, c) = round(c sin(a i + b), 6), i the flat
/// index in the papers' order [N, C, H, W]; returned as ours, [N, H, W, C].
inline Tensor wave(Shape nchw, double a, double b, double c) {
  const int64_t channels = nchw[1];
  const int64_t height = nchw[2];
  const int64_t width = nchw[3];
  Tensor t({nchw[0], height, width, channels}, DType::f64);
  auto* out = t.mutable_data<double>();
  for (int64_t i = 0; i < nchw.size(); ++i) {
    const int64_t x = i % width;
    const int64_t y = i / width % height;
    const int64_t k = i / (width * height) % channels;
    const int64_t n = i / (width * height * channels);
    out[((n * height + y) * width + x) * channels + k] =
        std::round(c * std::sin(a * static_cast<double>(i) + b) * 1e6) / 1e6;
  }
  return t;
}

/// A loss and its gradient on the student's map.
struct Expected {
  double loss = 0;
  std::vector<double> gradient;
};

/// The definition of the losses, taken literally: gather each distribution's
/// values, normalise, add up P log(P / Q), divide by the number of distributions.
///   teacher, student [N, h, w, C]; mask [N, h, w], one flag per position
inline Expected plain_kld(const Tensor& teacher, const Tensor& student, KldAxis axis,
                          double temperature, const std::vector<bool>& mask = {}) {
  const Shape& s = teacher.shape();
  const auto a = teacher.values<double>();
  const auto b = student.values<double>();
  std::map<std::tuple<int64_t, int64_t, int64_t>, std::vector<size_t>> distributions;
  for (int64_t i = 0; i < s.size(); ++i) {
    const int64_t channel = i % s[3];
    const int64_t position = i / s[3];
    const int64_t image = position / (s[1] * s[2]);
    if (!mask.empty() && !mask[static_cast<size_t>(position)]) continue;
    const bool over_positions = axis == KldAxis::spatial || axis == KldAxis::flat;
    const auto key =
        std::tuple(image, over_positions ? -1 : position, axis == KldAxis::spatial ? channel : -1);
    distributions[key].push_back(static_cast<size_t>(i));
  }
  Expected e{.gradient = std::vector<double>(a.size(), 0)};
  const auto count = static_cast<double>(distributions.size());
  for (const auto& [key, members] : distributions) {
    double sum_p = 0;
    double sum_q = 0;
    for (const size_t i : members) {
      sum_p += std::exp(a[i] / temperature);
      sum_q += std::exp(b[i] / temperature);
    }
    for (const size_t i : members) {
      const double p = std::exp(a[i] / temperature) / sum_p;
      const double q = std::exp(b[i] / temperature) / sum_q;
      e.loss += temperature * temperature * p * std::log(p / q) / count;
      e.gradient[i] = temperature * (q - p) / count;
    }
  }
  return e;
}

/// p log(p / q) + (1 - p) log((1 - p) / (1 - q)) of each logit.
inline Expected plain_bernoulli(const Tensor& teacher, const Tensor& student, double temperature,
                                const std::vector<bool>& mask = {}) {
  const auto a = teacher.values<double>();
  const auto b = student.values<double>();
  Expected e{.gradient = std::vector<double>(a.size(), 0)};
  double count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += mask.empty() || mask[i] ? 1 : 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!mask.empty() && !mask[i]) continue;
    const double p = 1 / (1 + std::exp(-a[i] / temperature));
    const double q = 1 / (1 + std::exp(-b[i] / temperature));
    e.loss += temperature * temperature *
              (p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q))) / count;
    e.gradient[i] = temperature * (q - p) / count;
  }
  return e;
}

inline Expected plain_mse(const Tensor& teacher, const Tensor& student,
                          const std::vector<bool>& mask = {}) {
  const auto a = teacher.values<double>();
  const auto b = student.values<double>();
  const auto channels = static_cast<size_t>(teacher.shape()[3]);
  const auto counts = [&](size_t i) { return mask.empty() || mask[i / channels]; };
  Expected e{.gradient = std::vector<double>(a.size(), 0)};
  double count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += counts(i) ? 1 : 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!counts(i)) continue;
    e.loss += (b[i] - a[i]) * (b[i] - a[i]) / count;
    e.gradient[i] = 2 * (b[i] - a[i]) / count;
  }
  return e;
}

/// [N, h, w, C] -> [N, h, w, 1], the mean over channels.
inline Tensor plain_channel_mean(const Tensor& map) {
  const Shape& s = map.shape();
  Tensor mean({s[0], s[1], s[2], 1}, DType::f64);
  auto* out = mean.mutable_data<double>();
  const auto* in = map.data<double>();
  for (int64_t p = 0; p < mean.size(); ++p) {
    out[p] = 0;
    for (int64_t c = 0; c < s[3]; ++c) out[p] += in[p * s[3] + c] / static_cast<double>(s[3]);
  }
  return mean;
}

inline double largest_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

/// Gives every parameter of a module, in visiting order, the next of the given values.
class SetParameters : public nn::Visitor {
 public:
  explicit SetParameters(std::vector<Tensor> values) : values_(std::move(values)) {}

 protected:
  void on_parameter(const std::string&, nn::Parameter& parameter) override {
    parameter.variable = Variable::leaf(values_.at(next_++));
  }

 private:
  std::vector<Tensor> values_;
  size_t next_ = 0;
};

inline Tensor identity_kernel(int64_t channels) {
  Tensor w = Tensor::zeros({channels, 1, 1, channels}, DType::f64);
  auto* values = w.mutable_data<double>();
  for (int64_t c = 0; c < channels; ++c) values[c * channels + c] = 1;
  return w;
}

/// A run of one term, nothing supervised.
inline DistillSpec one_term(TermSpec term, TeacherView view = TeacherView::same) {
  return {.terms = {std::move(term)},
          .distill_weight = 1,
          .supervised_weight = 0,
          .teacher_view = view};
}

inline nn::Output logits_output(Variable logits) {
  return {.logits = std::move(logits), .hidden = {}};
}
inline nn::Output hidden_output(Variable hidden, double stride = 32, double offset = 0) {
  return {
      .logits = {}, .hidden = std::move(hidden), .hidden_stride = stride, .hidden_offset = offset};
}

}  // namespace decant::kd
