#include "data/segmentation_scores.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

// SMP 0.5.1: x = linspace(-3, 3, 32).reshape(2, 1, 4, 4), y = arange(32) % 3 == 0, at 0.5.
CountTable golden() {
  Tensor scores({2, 4, 4, 1}, DType::f64);
  Tensor truth({2, 4, 4, 1}, DType::f64);
  for (int i = 0; i < 32; ++i) {
    scores.mutable_data<double>()[i] = 1 / (1 + std::exp(3 - 6.0 / 31 * i));
    truth.mutable_data<double>()[i] = i % 3 == 0 ? 1 : 0;
  }
  return count_scores(scores, truth, 0.5);
}

double mean(const char* name, const CountTable& counts, const char* reduction) {
  return mean_score(name, counts, {.reduction = reduction});
}

}  // namespace

TEST_CASE("counts and scores are SMP's") {
  const CountTable counts = golden();
  const PixelCounts& first = counts[0][0];
  const PixelCounts& second = counts[1][0];
  CHECK((first.tp == 0 && first.fp == 0 && first.fn == 6 && first.tn == 10));
  CHECK((second.tp == 5 && second.fp == 11 && second.fn == 0 && second.tn == 0));
  CHECK(mean("iou_score", counts, "micro") == doctest::Approx(0.2272727).epsilon(1e-6));
  CHECK(mean("iou_score", counts, "micro_imagewise") == doctest::Approx(0.15625));
  CHECK(mean("f1_score", counts, "micro") == doctest::Approx(0.3703704).epsilon(1e-6));
  CHECK(mean("f1_score", counts, "micro_imagewise") == doctest::Approx(0.2380952).epsilon(1e-6));
  CHECK(fbeta_score({.tp = 2, .fp = 1, .fn = 3, .tn = 0}, 2) == doctest::Approx(10.0 / 23));
  const PixelCounts c{.tp = 3, .fp = 1, .fn = 2, .tn = 4};
  CHECK(score("accuracy", c) == 0.7);
  CHECK(score("recall", c) == 0.6);
  CHECK(score("balanced_accuracy", c) == doctest::Approx(0.7));
  CHECK(score("negative_likelihood_ratio", c) == doctest::Approx(0.5));
  CHECK(contains(message_of([&] { score("iou", c); }), "iou_score"));
}

// Two images, three classes; the third is nowhere in the first image.
TEST_CASE("reductions: by images, by classes, weighted, and what 0 / 0 stands for") {
  const Tensor answers = Tensor::of<int64_t>({2, 1, 4}, {0, 0, 1, 1, 0, 1, 2, 2});
  const Tensor truth = Tensor::of<int64_t>({2, 1, 4}, {0, 1, 1, 1, 0, 255, 2, 1});
  const CountTable counts = count_labels(answers, truth, 3, 255);
  // IoU of image 0: 1/2, 2/3, 0/0; of image 1: 1, 0, 1/2; of both together: 2/3, 2/4, 1/2.
  CHECK(mean("iou_score", counts, "macro") == doctest::Approx((2.0 / 3 + 0.5 + 0.5) / 3));
  CHECK(mean("iou_score", counts, "micro") == doctest::Approx(5.0 / 9));
  const double first = (0.5 + 2.0 / 3 + 1) / 3;
  CHECK(mean("iou_score", counts, "macro_imagewise") == doctest::Approx((first + 0.5) / 2));
  CHECK(mean_score("iou_score", counts, {.reduction = "weighted", .class_weights = {1, 3, 0}}) ==
        doctest::Approx((2.0 / 3 + 3 * 0.5) / 4));
  CHECK(mean_score("iou_score", counts, {.reduction = "macro_imagewise", .zero_division = 0}) ==
        doctest::Approx(((0.5 + 2.0 / 3) / 3 + 0.5) / 2));
  CHECK(mean_overlap("iou_score", counts, "monai") ==
        doctest::Approx(((0.5 + 2.0 / 3) / 2 + 0.5) / 2));
  CHECK(mean_overlap("iou_score", counts, "nnunet") == doctest::Approx((2.0 / 3 / 2 + 0.5) / 2));
  CHECK(mean_overlap("iou_score", counts, "nnunet", false) ==
        doctest::Approx((0.75 + 2.0 / 3 / 2 + 0.5) / 3));  // regions: none is the background
  CHECK(contains(message_of([&] { count_labels(answers, truth, 3); }), "got 255"));
  CHECK(contains(message_of([&] { count_labels(answers, truth, 3, 2); }), "ignore_index"));
  CHECK(contains(message_of([&] { mean("iou_score", counts, "marco"); }), "macro"));
}

TEST_CASE("conventions of an empty truth: SMP 1 or 0, MONAI leaves it out, nnU-Net if both are") {
  const CountTable counts = {{{.tp = 4, .fp = 0, .fn = 0, .tn = 0}},
                             {{.tp = 0, .fp = 0, .fn = 0, .tn = 4}},
                             {{.tp = 0, .fp = 2, .fn = 0, .tn = 2}}};
  CHECK(mean_overlap("f1_score", counts, "smp") == doctest::Approx(2.0 / 3));
  CHECK(mean_overlap("f1_score", counts, "monai") == 1);
  CHECK(mean_overlap("f1_score", counts, "nnunet") == 0.5);
  CHECK(std::isnan(mean_overlap("f1_score", {counts[1]}, "nnunet")));
  CHECK(contains(message_of([&] { mean_overlap("f1_score", counts, "mmseg"); }), "smp, monai"));
}
