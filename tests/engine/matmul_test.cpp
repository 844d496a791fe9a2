#include "engine/ops/matmul.h"

#include <doctest/doctest.h>

#include "engine/core/error.h"

using namespace decant;

TEST_CASE("matmul multiplies as by hand, with either side transposed") {
  const Tensor a = Tensor::of<double>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor at = Tensor::of<double>({3, 2}, {1, 4, 2, 5, 3, 6});
  const Tensor b = Tensor::of<double>({3, 2}, {7, 8, 9, 10, 11, 12});
  const Tensor bt = Tensor::of<double>({2, 3}, {7, 9, 11, 8, 10, 12});
  for (const DType dtype : {DType::f32, DType::f64}) {
    const auto value = [dtype](const Tensor& t) { return Variable(t.to(dtype)); };
    const Variable results[] = {
        matmul(value(a), value(b)),
        matmul(value(at), value(b), {.transpose_a = true}),
        matmul(value(a), value(bt), {.transpose_b = true}),
        matmul(value(at), value(bt), {.transpose_a = true, .transpose_b = true}),
    };
    for (const Variable& y : results) {
      const Tensor values = y.value().to(DType::f64);
      CHECK(values.shape() == Shape({2, 2}));
      CHECK(values.data<double>()[0] == 58);
      CHECK(values.data<double>()[1] == 64);
      CHECK(values.data<double>()[2] == 139);
      CHECK(values.data<double>()[3] == 154);
    }
  }
}

TEST_CASE("linear works on the last axis, and its gradients are those of a product") {
  const Variable x = Variable::leaf(Tensor::of<float>({1, 2, 2}, {1, 2, 3, 4}));
  const Variable w = Variable::leaf(Tensor::of<float>({1, 2}, {10, 100}));
  const Variable b = Variable::leaf(Tensor::of<float>({1}, {0.5F}));
  const Variable y = linear(x, w, b);
  CHECK(y.shape() == Shape({1, 2, 1}));
  CHECK(y.value().data<float>()[0] == 210.5F);
  CHECK(y.value().data<float>()[1] == 430.5F);
  backward(y, Tensor::of<float>({1, 2, 1}, {1, 2}));
  const auto dx = x.grad().values<float>();
  CHECK(dx[0] == 10);
  CHECK(dx[1] == 100);
  CHECK(dx[2] == 20);
  CHECK(dx[3] == 200);
  CHECK(w.grad().values<float>()[0] == 7);
  CHECK(w.grad().values<float>()[1] == 10);
  CHECK(b.grad().item() == 3);
}

TEST_CASE("linear names all types where one is another") {
  const Variable x(Tensor::zeros({2, 3}));
  const Variable w(Tensor::zeros({4, 3}));
  CHECK_THROWS_WITH_AS(linear(x, w, Variable(Tensor::zeros({4}, DType::f64))),
                       doctest::Contains("got x float32, w float32 and b float64"), Error);
  CHECK_THROWS_WITH_AS(linear(x, Variable(Tensor::zeros({4, 3}, DType::f64))),
                       doctest::Contains("got x float32 and w float64"), Error);
}
