#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>

#include "engine/ops/optimizer.h"

using namespace decant;

namespace {

// w = 1, loss = (i + 1) w^2 / 2 for i = 0, 1, 2: the values PyTorch 1.13 gives, in float32.
void check_run(const std::function<void(Tensor, Tensor, int)>& step,
               const std::array<double, 3>& expected) {
  Tensor w = Tensor::full({1}, 1, DType::f64);
  for (int i = 0; i < 3; ++i) {
    const Tensor gradient = Tensor::full({1}, (i + 1) * w.item(), DType::f64);
    step(w, gradient, i);
    CHECK(std::abs(w.item() - expected[static_cast<size_t>(i)]) < 1e-6);
  }
}

}  // namespace

TEST_CASE("SGD with Nesterov momentum and decay takes PyTorch's steps") {
  Tensor momentum({1}, DType::f64);
  const SgdOptions options = {
      .learning_rate = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.01};
  check_run([&](Tensor w, const Tensor& g, int i) { sgd_step(w, g, momentum, options, i == 0); },
            {0.80809999, 0.41767660, -0.02638841});
}

TEST_CASE("Adam and AdamW take PyTorch's steps") {
  for (const bool decoupled : {false, true}) {
    Tensor m = Tensor::zeros({1}, DType::f64);
    Tensor v = Tensor::zeros({1}, DType::f64);
    AdamOptions options = {.learning_rate = 0.1, .weight_decay = 0.01, .decoupled = decoupled};
    check_run(
        [&](Tensor w, const Tensor& g, int i) {
          options.step = i + 1;
          adam_step(w, g, m, v, options);
        },
        decoupled ? std::array{0.89900005, 0.80050504, 0.70211405}
                  : std::array{0.89999998, 0.80236745, 0.70474797});
  }
}

// Gradients of 1e-8: eps stands beside sqrt(v), corrected for its start, and not inside of it. With
// the same g each time both averages are g and g^2, and each step is rate g / (g + eps).
TEST_CASE("Adam adds eps to the corrected deviation") {
  const double g = 1e-8;
  Tensor w = Tensor::full({1}, 1, DType::f64);
  Tensor m = Tensor::zeros({1}, DType::f64);
  Tensor v = Tensor::zeros({1}, DType::f64);
  for (const double eps : {1e-8, 3e-8}) {
    w.fill(1);
    m.fill(0);
    v.fill(0);
    for (int step = 1; step <= 3; ++step) {
      adam_step(w, Tensor::full({1}, g, DType::f64), m, v,
                {.learning_rate = 0.1, .eps = eps, .step = step});
      CHECK(std::abs(w.item() - (1 - step * 0.1 * g / (g + eps))) < 1e-12);
    }
  }
}

TEST_CASE("buffer ops do what their formulas say, on views as well") {
  Tensor flat = Tensor::of<double>({4}, {3, 4, 1, 2});
  CHECK(squared_norm(flat.view(0, {2})) == 25);
  scale_in_place(flat.view(2, {2}), 10);
  CHECK(flat.values<double>()[1] == 4);
  CHECK(flat.values<double>()[3] == 20);
  ema_update(flat.view(0, {1}), Tensor::of<double>({1}, {7}), 0.75);
  CHECK(flat.values<double>()[0] == 4);
  fill(flat.view(3, {1}), -1);
  copy(flat.view(1, {1}), flat.view(3, {1}));
  CHECK(flat.values<double>()[1] == -1);
  CHECK(flat.values<double>()[2] == 10);
}

TEST_CASE("optimizer ops refuse buffers that do not fit each other") {
  Tensor w = Tensor::zeros({3});
  CHECK_THROWS_WITH_AS(sgd_step(w, Tensor::zeros({2}), {}, {}, true),
                       "sgd_step: expected gradients of float32 [3], got float32 [2]", Error);
  CHECK_THROWS_WITH_AS(adam_step(w, w, w, Tensor::zeros({3}, DType::f64), {}),
                       "adam_step: expected v of float32 [3], got float64 [3]", Error);
}
