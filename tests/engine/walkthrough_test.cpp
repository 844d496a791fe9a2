// One training step of one neuron. engine/WALKTHROUGH.md shows what stands between the markers
// here; ctest `walkthrough` fails where the two differ, and
//   cmake -DUPDATE=ON -P tests/walkthrough_check.cmake
// brings the document's code up to date.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/autograd/variable.h"
#include "engine/core/parallel.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/losses.h"
#include "engine/ops/optimizer.h"
#include "engine/ops/reduce.h"

using namespace decant;

namespace {

doctest::Approx near(double expected) {
  return doctest::Approx(expected).epsilon(1e-5);
}

// stop: op
const OpInfo kSquash = {
    .name = "squash", .formula = "y = 1 / (1 + exp(-x))", .source = "any textbook"};

Variable squash(const Variable& input) {
  const Tensor& x = input.value();
  Tensor y(x.shape(), x.dtype());
  with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    for (int64_t i = 0; i < x.size(); ++i) out[i] = T(1) / (T(1) + std::exp(-in[i]));
  });
  return record(kSquash, y, {input}, [y = Saved(y)](const Tensor& dy, const Wanted&) {
    Tensor dx(dy.shape(), dy.dtype());
    with_real_type(dy.dtype(), [&]<class T>() {
      const T* out = y.get().data<T>();
      const T* d_out = dy.data<T>();
      T* d_in = dx.mutable_data<T>();
      for (int64_t i = 0; i < dy.size(); ++i) d_in[i] = d_out[i] * out[i] * (T(1) - out[i]);
    });
    return std::vector<Tensor>{dx};
  });
}
// end

Variable neuron(const Variable& x, const Variable& w, const Variable& b) {
  return squash(add(sum(mul(x, w)), b));
}

}  // namespace

TEST_CASE("walkthrough: one training step of one neuron") {
  // stop: tensor
  Tensor image = Tensor::of<float>({2}, {1, 2});
  CHECK(image.shape() == Shape{2});
  CHECK(image.data<float>()[1] == 2.0F);
  Tensor same = image.reshape({1, 2});
  CHECK(same.shares_storage(image));
  // end

  // stop: parameters
  Tensor values = Tensor::of<float>({3}, {0.5F, -0.25F, 0.1F});
  Tensor gradients = Tensor::zeros({3});
  Variable w = Variable::leaf(values.view(0, {2}), gradients.view(0, {2}));
  Variable b = Variable::leaf(values.view(2, {}), gradients.view(2, {}));
  const Variable x(image);  // a constant
  CHECK(w.requires_grad());
  CHECK(!x.requires_grad());
  // end

  // stop: forward
  const Variable z = add(sum(mul(x, w)), b);  // 1 * 0.5 + 2 * -0.25 + 0.1
  CHECK(z.value().item() == near(0.1));
  // end

  // stop: squash
  const Variable p = squash(z);
  CHECK(p.value().item() == near(0.524979));
  // end

  // stop: loss
  const Variable target(Tensor::full({}, 1.0));
  const Variable loss = mse(p, target);  // (0.524979 - 1)^2
  CHECK(loss.value().item() == near(0.225645));
  // end

  // stop: trace
  {
    Trace trace;
    neuron(x, w, b);
    std::string names;
    for (const Trace::Step& step : trace.steps()) names += str(step.op->name, ' ');
    CHECK(names == "mul sum add squash ");
    CHECK(trace.steps()[2].inputs[0] == trace.steps()[1].output);  // add reads what sum made
    CHECK(trace.steps()[2].inputs[1] == b.id());
  }
  // end

  // stop: graph
  CHECK(loss.requires_grad());
  {
    const NoGrad inference;
    CHECK(!neuron(x, w, b).requires_grad());
  }
  // end

  // stop: chain
  const Variable p_alone = Variable::leaf(p.value());
  backward(mse(p_alone, target));  // 2 (p - 1)
  CHECK(p_alone.grad().item() == near(-0.950042));
  const Variable z_alone = Variable::leaf(z.value());
  backward(mse(squash(z_alone), target));  // -0.950042 * 0.524979 * (1 - 0.524979)
  CHECK(z_alone.grad().item() == near(-0.236918));
  // end

  // stop: backward
  backward(loss);
  const auto* g = gradients.data<float>();
  CHECK(g[0] == near(-0.236918));  // dz * x[0], x[0] = 1
  CHECK(g[1] == near(-0.473835));  // dz * x[1], x[1] = 2
  CHECK(g[2] == near(-0.236918));  // dz
  CHECK(w.grad().shares_storage(gradients));
  CHECK_THROWS_AS(backward(loss), Error);  // the graph was taken down on the way
  // end

  // stop: optimizer
  sgd_step(values, gradients, {}, {.learning_rate = 1}, /*first_step=*/true);
  CHECK(w.value().data<float>()[0] == near(0.736918));  // 0.5 + 0.236918
  CHECK(w.value().data<float>()[1] == near(0.223835));
  CHECK(b.value().item() == near(0.336918));
  // end

  // stop: again
  w.clear_grad();
  b.clear_grad();
  CHECK(mse(neuron(x, w, b), target).value().item() == near(0.0321269));
  // end

  // stop: judge
  const auto loss_at = [&](double w1) {
    const Variable inputs(Tensor::of<double>({2}, {1, 2}));
    const Variable weights(Tensor::of<double>({2}, {0.5, w1}));
    const Variable bias(Tensor::full({}, 0.1, DType::f64));
    const Variable one(Tensor::full({}, 1, DType::f64));
    return mse(neuron(inputs, weights, bias), one).value().item();
  };
  const double h = 1e-5;
  const double numeric = (loss_at(-0.25 + h) - loss_at(-0.25 - h)) / (2 * h);
  CHECK(std::abs(numeric - -0.47383523694284824) < 1e-9);
  CHECK(std::abs(numeric - static_cast<double>(g[1])) < 1e-6);  // float32 against the judge
  // end
}
