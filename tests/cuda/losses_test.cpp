// What losses do on cuda, where no step waits to look at masks, labels or targets.
#include "engine/ops/losses.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/cuda/step_graph.h"

using namespace decant;

namespace {

Tensor on_cuda(const Tensor& t) {
  return t.dtype() == DType::f64 ? t.to(DType::f32).to(Device::cuda) : t.to(Device::cuda);
}

struct Result {
  double loss;
  std::vector<float> gradient;
};

Result result_of(const Tensor& x, const std::function<Variable(const Variable&)>& loss) {
  const Variable leaf = Variable::leaf(on_cuda(x));
  const Variable y = loss(leaf);
  backward(y);
  const Tensor gradient = leaf.grad().to(Device::cpu);
  return {y.value().item(), {gradient.values<float>().begin(), gradient.values<float>().end()}};
}

// All losses of x [4, 3] under one mask.
std::vector<Result> masked(const Tensor& mask) {
  const Tensor x = randn({4, 3}, 1);
  const Variable other(on_cuda(randn({4, 3}, 2)));
  const Tensor targets = on_cuda(uniform({4, 3}, 0, 1));
  const Tensor labels = Tensor::of<uint8_t>({4}, {0, 2, 1, 1}).to(Device::cuda);
  const Tensor m = on_cuda(mask);
  return {result_of(x, [&](const Variable& v) { return bce_with_logits(v, targets, m); }),
          result_of(x, [&](const Variable& v) { return mse(v, other, m); }),
          result_of(x, [&](const Variable& v) { return kl_div_bernoulli(other, v, {}, m); }),
          result_of(x, [&](const Variable& v) { return kl_div_rows(other, v, {}, m); }),
          result_of(
              x, [&](const Variable& v) { return cross_entropy(v, labels, {}, m.view(0, {4})); })};
}

}  // namespace

TEST_CASE("on cuda a mean of nothing is 0, and so is its gradient") {
  for (const Result& r : masked(Tensor::zeros({4, 1}))) {
    CHECK(r.loss == 0);
    for (const float g : r.gradient) CHECK(g == 0);
  }
  const Tensor ignored = Tensor::full({4}, -100, DType::i32).to(Device::cuda);
  const Result r =
      result_of(randn({4, 3}), [&](const Variable& v) { return cross_entropy(v, ignored); });
  CHECK(r.loss == 0);
  for (const float g : r.gradient) CHECK(g == 0);
}

TEST_CASE("on cuda what an error would name makes the loss NaN, and the gradient where it counts") {
  for (const Result& r : masked(Tensor::of<float>({4, 1}, {1, 0.5F, 0, 1}))) {
    CHECK(std::isnan(r.loss));
    CHECK(std::isnan(r.gradient[0]));
  }
  const Tensor x = randn({2, 2});
  const auto refused = [&](const std::function<Variable(const Variable&)>& loss) {
    const Result r = result_of(x, loss);
    return std::isnan(r.loss) && std::isnan(r.gradient[0]);
  };
  for (const float target : {-0.1F, 255.0F, NAN})
    CHECK(refused([&](const Variable& v) {
      return bce_with_logits(v, on_cuda(Tensor::of<float>({2, 2}, {0, 1, target, 0})));
    }));
  for (const int64_t label : {-1, 2})
    CHECK(refused([&](const Variable& v) {
      return cross_entropy(v, on_cuda(Tensor::of<int64_t>({2}, {0, label})));
    }));
}

TEST_CASE("a logit that is NaN shows in the loss and in its row's gradient, as on the CPU") {
  for (const int64_t classes : {3, 20, 1100})  // a thread, a warp, a block for a row
    for (const int64_t at : {int64_t{1}, classes - 1}) {
      CAPTURE(classes);
      CAPTURE(at);
      Tensor x = randn({2, classes}).to(DType::f32);
      x.mutable_data<float>()[at] = NAN;
      const Tensor labels = Tensor::of<int64_t>({2}, {1, 1});
      const Result r =
          result_of(x, [&](const Variable& v) { return cross_entropy(v, on_cuda(labels)); });
      const Variable leaf = Variable::leaf(x);
      const Variable expected = cross_entropy(leaf, labels);
      backward(expected);
      CHECK(std::isnan(expected.value().item()));
      CHECK(std::isnan(r.loss));
      for (int64_t i = 0; i < x.size(); ++i)
        CHECK(std::isnan(r.gradient[static_cast<size_t>(i)]) ==
              std::isnan(leaf.grad().data<float>()[i]));
    }
}

TEST_CASE("a target that does not count is not looked at on cuda") {
  const Tensor targets = on_cuda(Tensor::of<float>({2, 2}, {0, 1, NAN, 255}));
  const Tensor mask = on_cuda(Tensor::of<uint8_t>({2, 1}, {1, 0}));
  const Result r = result_of(Tensor::zeros({2, 2}),
                             [&](const Variable& v) { return bce_with_logits(v, targets, mask); });
  CHECK(r.loss == doctest::Approx(std::log(2)));
  CHECK(r.gradient == std::vector<float>{0.25F, -0.25F, 0, 0});
}

TEST_CASE("a recorded step counts the mask and the labels that each replay finds") {
  const Tensor x = on_cuda(randn({6, 3}, 1));
  const Tensor y = on_cuda(randn({6, 3}, 2));
  Tensor mask({6, 1}, DType::u8, Device::cuda);
  const Tensor y01 = on_cuda(uniform({6, 3}, 0, 1));
  Tensor labels({6}, DType::i64, Device::cuda);
  Tensor dy({}, DType::f32, Device::cuda);
  std::vector<Tensor> left;
  const auto step = [&] {
    left.clear();
    const auto keep = [&](const std::function<Variable(const Variable&)>& loss) {
      const Variable leaf = Variable::leaf(x);
      const Variable value = loss(leaf);
      backward(value, dy);
      left.push_back(value.value());
      left.push_back(leaf.grad());
    };
    keep([&](const Variable& v) { return mse(v, Variable(y), mask); });
    keep([&](const Variable& v) { return kl_div_rows(Variable(y), v, {}, mask); });
    keep([&](const Variable& v) { return kl_div_bernoulli(Variable(y), v, {}, mask); });
    keep([&](const Variable& v) { return bce_with_logits(v, y01, mask); });
    keep([&](const Variable& v) { return cross_entropy(v, labels, {}, mask.reshape({6})); });
  };
  const auto values = [&] {
    std::vector<double> all;
    for (const Tensor& t : left) {
      const Tensor here = t.to(Device::cpu);
      all.insert(all.end(), here.values<float>().begin(), here.values<float>().end());
    }
    return all;
  };
  cuda::StepGraph graph;
  for (int64_t i = 0; i < 4; ++i) {
    Tensor counts({6, 1}, DType::u8);
    Tensor classes({6}, DType::i64);
    for (int64_t k = 0; k < 6; ++k) {
      counts.mutable_data<uint8_t>()[k] = k <= i || k == 5 ? 1 : 0;
      classes.mutable_data<int64_t>()[k] = (k + i) % 4 == 3 ? -100 : (k + i) % 4;
    }
    mask.copy_from(counts.to(Device::cuda));
    labels.copy_from(classes.to(Device::cuda));
    dy.copy_from(Tensor::full({}, 1 + static_cast<double>(i), DType::f32, Device::cuda));
    graph.run(step);
    const std::vector<double> replayed = values();
    const std::vector<Tensor> of_graph = left;
    step();
    CHECK(values() == replayed);
    for (const double v : replayed) CHECK(std::isfinite(v));
    left = of_graph;
  }
  CHECK(graph.recorded());
}
