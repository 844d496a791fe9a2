#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/autograd/profile.h"
#include "engine/autograd/variable.h"
#include "engine/check/op_row.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv2d.h"
#include "engine/ops/conv_transpose2d.h"
#include "engine/ops/matmul.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/reduce.h"
#include "engine/ops/resize.h"

using namespace decant;

namespace {

Tensor ones(const Shape& shape) {
  return Tensor::full(shape, 1, DType::f64);
}

}  // namespace

TEST_CASE("backward frees a million-node chain") {
  Variable x = Variable::leaf(randn({1}));
  const Variable start = x;
  for (int i = 0; i < 1'000'000; ++i) x = sigmoid(x);
  backward(x);
  CHECK(start.grad().defined());
}

TEST_CASE("a graph edge keeps no activation alive") {
  const Variable x = Variable::leaf(randn({1000}));
  Variable y = relu(x);  // relu saves its own result only
  y = record(*registered_ops()[0], y.value().clone(), {y},
             [](const Tensor& dy, const Wanted&) { return std::vector<Tensor>{dy}; });
  // Only y itself holds its tensor: no node does.
  CHECK(y.value().sole_owner());
}

TEST_CASE("a leaf with memory for its gradient gets what any other leaf does, once and again") {
  const Variable image(randn({2, 4, 4, 2}, 2));
  const std::vector<std::function<Variable(const Variable&)>> uses = {
      [&](const Variable& w) { return conv2d(image, w); },
      [&](const Variable& w) { return conv2d(conv2d(image, w), w); },
      [&](const Variable& w) { return conv2d(w, w); },
      [&](const Variable& w) { return mul(conv2d(image, w), sum(w)); },
      [&](const Variable& w) {  // twice an input whose gradient is written where it belongs
        Tensor mean = Tensor::zeros({2}, DType::f64);
        Tensor var = Tensor::zeros({2}, DType::f64);
        return batch_norm(image, w, w, mean, var, {.training = true});
      },
  };
  for (const auto& use : uses) {
    const Tensor value = randn(&use == &uses.back() ? Shape({2}) : Shape({2, 2, 2, 2}), 1);
    Tensor flat = Tensor::full({40}, std::nan(""), DType::f64);
    const Variable plain = Variable::leaf(value);
    Variable placed = Variable::leaf(value, flat.view(8, value.shape()));
    for (int pass = 0; pass < 3; ++pass) {
      if (pass == 2) {
        placed.clear_grad();
        Variable(plain).clear_grad();
      }
      for (const Variable& leaf : {plain, placed}) {
        const Variable y = use(leaf);
        backward(y, ones(y.shape()));
      }
      for (int64_t i = 0; i < value.size(); ++i)
        CHECK(flat.data<double>()[8 + i] == plain.grad().data<double>()[i]);
    }
    CHECK(std::isnan(flat.data<double>()[7]));
    CHECK(std::isnan(flat.data<double>()[8 + value.size()]));
  }
}

TEST_CASE("products keep only what a wanted gradient reads") {
  const auto kept = [](auto op, const Shape& xs, const Shape& ws, bool x_learns, bool w_learns) {
    const Variable x = x_learns ? Variable::leaf(randn(xs)) : Variable(randn(xs));
    const Variable w = w_learns ? Variable::leaf(randn(ws)) : Variable(randn(ws));
    const Variable y = op(x, w);
    const std::pair result(!x.value().sole_owner(), !w.value().sole_owner());
    backward(y, ones(y.shape()));
    return result;
  };
  const auto conv = [](const Variable& x, const Variable& w) { return conv2d(x, w, {}, {}); };
  const auto up = [](const Variable& x, const Variable& w) { return conv_transpose2d(x, w); };
  const auto flat = [](const Variable& x, const Variable& w) { return linear(x, w); };
  const auto product = [](const Variable& x, const Variable& w) { return matmul(x, w); };
  using Kept = std::pair<bool, bool>;  // x, w
  CHECK(kept(conv, {1, 3, 3, 2}, {4, 1, 1, 2}, true, false) == Kept{false, true});
  CHECK(kept(conv, {1, 3, 3, 2}, {4, 1, 1, 2}, false, true) == Kept{true, false});
  CHECK(kept(conv, {1, 3, 3, 2}, {4, 1, 1, 2}, true, true) == Kept{true, true});
  CHECK(kept(up, {1, 3, 3, 2}, {2, 2, 2, 4}, true, false) == Kept{false, true});
  CHECK(kept(up, {1, 3, 3, 2}, {2, 2, 2, 4}, false, true) == Kept{true, false});
  CHECK(kept(flat, {3, 2}, {4, 2}, true, false) == Kept{false, true});
  CHECK(kept(flat, {3, 2}, {4, 2}, false, true) == Kept{true, false});
  CHECK(kept(product, {3, 2}, {2, 4}, true, false) == Kept{false, true});
  CHECK(kept(product, {3, 2}, {2, 4}, false, true) == Kept{true, false});
}

TEST_CASE("a second backward through the same graph is an Error") {
  const Variable x = Variable::leaf(randn({3}));
  const Variable y = sigmoid(x);
  backward(y, ones({3}));
  CHECK_THROWS_WITH_AS(backward(y, ones({3})), doctest::Contains("second pass"), Error);
  const Variable z = relu(y);
  CHECK_THROWS_WITH_AS(backward(z, ones({3})), doctest::Contains("second pass"), Error);
}

TEST_CASE("a gradient of another shape or type than its input is an Error that names the op") {
  const OpInfo op = {.name = "planted", .formula = "", .source = ""};
  for (const Tensor& wrong : {Tensor::zeros({3}, DType::f32), Tensor::zeros({2}, DType::f64)}) {
    const Variable y = record(op, ones({3}), {Variable::leaf(randn({3}))},
                              [wrong](const Tensor&, const Wanted&) { return std::vector{wrong}; });
    CHECK_THROWS_WITH_AS(backward(y, ones({3})), doctest::Contains("planted: backward returned"),
                         Error);
  }
}

TEST_CASE("a value used twice gathers both gradients, and passes add up until cleared") {
  Variable x = Variable::leaf(randn({3}));
  const auto twice = [&] {  // d/dx of 2 relu(x), by hand
    const Variable y = relu(x);
    static const OpInfo sum_of_two = {.name = "sum_of_two", .formula = "", .source = ""};
    Tensor s = y.value().clone();
    return record(sum_of_two, s, {y, y},
                  [](const Tensor& dy, const Wanted&) { return std::vector<Tensor>{dy, dy}; });
  };
  backward(twice(), ones({3}));
  for (size_t i = 0; i < 3; ++i)
    CHECK(x.grad().values<double>()[i] == (x.value().values<double>()[i] > 0 ? 2 : 0));
  backward(twice(), ones({3}));
  for (size_t i = 0; i < 3; ++i)
    CHECK(x.grad().values<double>()[i] == (x.value().values<double>()[i] > 0 ? 4 : 0));
  x.clear_grad();
  CHECK_FALSE(x.grad().defined());
}

// add hands one tensor to both of its inputs: adding to what one of them has gathered must touch
// neither the other's gradient nor the seed.
TEST_CASE("a sum of gradients is written to memory of its own") {
  const Variable x = Variable::leaf(Tensor::full({1}, 2, DType::f64));
  const Variable z = Variable::leaf(Tensor::full({1}, 3, DType::f64));
  const Variable u = mul(x, x);
  const Variable v = mul(z, z);
  const Variable ten_u = scale(u, 10);
  const Variable u_and_v = add(u, v);  // the later op, and so the first to go backward
  const Tensor seed = ones({1});
  backward(add(ten_u, u_and_v), seed);  // y = 10 u + (u + v)
  CHECK(x.grad().item() == 44);
  CHECK(z.grad().item() == 6);
  CHECK(seed.item() == 1);
}

TEST_CASE("a leaf's gradient lands in the view it was given") {
  Tensor flat = Tensor::full({6}, 7, DType::f64);
  const Variable x = Variable::leaf(randn({3}), flat.view(2, {3}));
  backward(sigmoid(x), ones({3}));
  CHECK(flat.values<double>()[1] == 7);
  CHECK(flat.values<double>()[2] == x.grad().values<double>()[0]);
  CHECK(flat.values<double>()[2] < 1);
  CHECK(flat.values<double>()[5] == 7);
}

TEST_CASE("a saved value that was overwritten is an Error, not a wrong gradient") {
  Tensor value = randn({3});
  const Variable x = Variable::leaf(value);
  const Variable y = sigmoid(x);
  value.mutable_data<double>()[0] = 5;
  CHECK_THROWS_WITH_AS(backward(y, ones({3})), doctest::Contains("overwritten"), Error);
}

TEST_CASE(
    "what keeps a value with a recipe keeps the recipe, and makes the value once per reader") {
  const Variable x = Variable::leaf(randn({5}));
  const Variable w = Variable::leaf(randn({5}, 2));
  int made = 0;
  Variable y = sigmoid(x).with_recipe([&made, kept = Saved(x)] {
    ++made;
    return sigmoid(Variable(kept.get())).value();
  });
  const Variable z = mul(y, w);
  CHECK(y.value().sole_owner());  // mul keeps no tensor of it
  y = Variable();
  CHECK(made == 0);
  backward(z, ones({5}));
  CHECK(made == 1);

  const Variable plain_x = Variable::leaf(x.value());
  const Variable plain_w = Variable::leaf(w.value());
  backward(mul(sigmoid(plain_x), plain_w), ones({5}));
  for (size_t i = 0; i < 5; ++i) {
    CHECK(x.grad().values<double>()[i] == plain_x.grad().values<double>()[i]);
    CHECK(w.grad().values<double>()[i] == plain_w.grad().values<double>()[i]);
  }
}

TEST_CASE(
    "a convolution keeps neither a normalised nor an enlarged image, and a recipe notices writes") {
  const Variable x = Variable::leaf(randn({1, 4, 4, 3}));
  const Variable scale = Variable::leaf(ones({3}));
  const Variable shift = Variable::leaf(randn({3}));
  const Variable w = Variable::leaf(randn({2, 1, 1, 3}));
  Tensor running_mean = Tensor::zeros({3}, DType::f64);
  Tensor running_var = ones({3});
  const Variable y = batch_norm(x, scale, shift, running_mean, running_var, {.training = true});
  const Variable large = upsample_concat(y, Variable());
  const Variable z = conv2d(large, w, Variable(), {});
  // `y` and `large` and nobody else.
  CHECK(y.value().sole_owner());
  CHECK(large.value().sole_owner());

  Tensor input = x.value();
  input.fill(1);
  CHECK_THROWS_AS(backward(z, ones(z.shape())), Error);
}

TEST_CASE("under NoGrad results are constants") {
  const Variable x = Variable::leaf(randn({3}));
  {
    const NoGrad guard;
    CHECK_FALSE(sigmoid(x).requires_grad());
  }
  CHECK(sigmoid(x).requires_grad());
  CHECK_FALSE(sigmoid(x.detach()).requires_grad());
  CHECK_THROWS_AS(backward(x.detach(), ones({3})), Error);
}

TEST_CASE("a detached value is the same value to a trace") {
  const Variable x = Variable::leaf(randn({3}));
  const Trace trace;
  const Variable y = sigmoid(x);
  const Variable z = relu(y.detach());
  CHECK(y.detach().id() == y.id());
  CHECK_FALSE(y.detach().requires_grad());
  CHECK_FALSE(z.requires_grad());
  REQUIRE(trace.steps().size() == 2);
  CHECK(trace.steps()[1].inputs[0] == trace.steps()[0].output);
  CHECK(Variable().detach().id() == Variable().id());
}

TEST_CASE("a profile has a row for every op, forward and backward") {
  const Variable x = Variable::leaf(randn({3}));
  const Profile profile;
  CHECK_THROWS_AS(Profile(), Error);
  backward(relu(sigmoid(x)), ones({3}));
  REQUIRE(profile.rows().size() == 4);
  const std::pair<std::string_view, bool> expected[] = {
      {"sigmoid", false}, {"relu", false}, {"relu", true}, {"sigmoid", true}};
  for (size_t i = 0; i < 4; ++i) {
    const Profile::Row& row = profile.rows()[i];
    CHECK(row.op->name == expected[i].first);
    CHECK(row.backward == expected[i].second);
    CHECK(row.inputs == std::vector<Shape>{{3}});
    CHECK(row.bytes == (row.backward ? 3 : 2) * 3 * 8);  // of float64
    CHECK(row.seconds >= 0);
  }
}

TEST_CASE("a profile says by which algorithm a convolution ran, and how much it multiplied") {
  const auto rows_of = [](const Shape& x, const Shape& w, const Conv2dOptions& options) {
    const Variable image = Variable::leaf(randn(x).to(DType::f32));
    const Variable filters = Variable::leaf(randn(w).to(DType::f32));
    const Profile profile;
    const Variable y = conv2d(image, filters, {}, options);
    backward(y, Tensor::full(y.shape(), 1));
    return profile.rows();
  };
  const auto check_rows = [](const std::vector<Profile::Row>& rows, std::string_view forward,
                             std::string_view backward, int64_t multiply_adds) {
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].algorithm == forward);
    CHECK(rows[0].multiply_adds == multiply_adds);
    CHECK(rows[1].algorithm == backward);
    CHECK(rows[1].multiply_adds == 2 * multiply_adds);
  };
  check_rows(rows_of({1, 32, 32, 64}, {64, 3, 3, 64}, {.padding = 1}), "winograd",
             "winograd + winograd", 32 * 32 * 64 * 9 * 64);
  check_rows(rows_of({1, 8, 8, 16}, {16, 3, 3, 16}, {.stride = 2, .padding = 1}), "direct",
             "direct + direct", 4 * 4 * 16 * 9 * 16);
  check_rows(rows_of({1, 8, 8, 16}, {16, 3, 3, 1}, {.padding = 1, .groups = 16}), "depthwise",
             "depthwise, both", 8 * 8 * 16 * 9);
}

TEST_CASE("a trace keeps ops, options, shapes and edges") {
  const Variable x(randn({3}));
  const Trace trace;
  Variable y;
  {
    const Trace::Scope scope("encoder");
    const Trace::Scope inner("layer1");
    y = relu(sigmoid(x));
  }
  REQUIRE(trace.steps().size() == 2);
  CHECK(trace.steps()[0].op->name == "sigmoid");
  CHECK(trace.steps()[0].inputs[0] == x.id());
  CHECK(trace.steps()[1].inputs[0] == trace.steps()[0].output);
  CHECK(trace.steps()[1].output == y.id());
  CHECK(trace.steps()[1].scope == "encoder.layer1");
}
