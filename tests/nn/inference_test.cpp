#include "nn/inference.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/parallel.h"
#include "engine/core/rng.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/losses.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/shape_ops.h"

namespace decant::nn {
namespace {

Tensor images(int64_t n, int64_t h, int64_t w, int64_t channels, uint64_t seed) {
  Tensor x({n, h, w, channels});
  const Rng rng(RngKey::of(seed, "images"));
  float* values = x.mutable_data<float>();
  for (int64_t i = 0; i < x.size(); ++i)
    values[i] = static_cast<float>(rng.uniform(static_cast<uint64_t>(i), -1, 1));
  return x;
}

// With running moments that are neither 0 nor 1, as after some training.
std::unique_ptr<Network> seasoned(const char* text) {
  auto network = make_network(parse_network(text), 5);
  for (uint64_t i = 0; i < 3; ++i) {
    const NoGrad no_grad;
    network->forward(Variable(images(4, 64, 64, network->spec().in_channels, i)),
                     {.training = true});
  }
  return network;
}

double largest(const Tensor& t) {
  double most = 0;
  for (const float v : t.values<float>()) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (int64_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a.data<float>()[i]) - b.data<float>()[i]));
  return most;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.values<float>(), b.values<float>());
}

constexpr const char* kNetworks[] = {"unet/resnet18",
                                     "linknet/resnet18",
                                     "linknet/mobilenet_v3_small_075",
                                     "unet/mobilenet_v2",
                                     "linknet/resnext101_32x8d",
                                     "thin_unet",
                                     "unetplusplus/resnet18:attention=scse",
                                     "manet/mobilenet_v2",
                                     "fpn/resnet18",
                                     "pspnet/resnet18",
                                     "deeplabv3/resnet18",
                                     "deeplabv3plus/mobilenet_v2",
                                     "unet/resnet18:norm=instancenorm,depth=3",
                                     "linknet/resnet18:norm=identity,depth=4",
                                     "unet/efficientnet-b1",
                                     "linknet/mobilenet_v3_large_075",
                                     "linknet/vgg11_bn"};

// Half of what the parity test allows between a network and PyTorch's: two float32 passes of one
// network that round differently, by direct sums and by Winograd's.
constexpr double kExactTolerance = 0.5e-4;
constexpr double kTolerance = 2e-4;

TEST_CASE("a plan answers as the network does, at any size and for any number of images") {
  for (const char* name : kNetworks) {
    CAPTURE(name);
    const auto network = seasoned(name);
    for (const bool exact : {true, false}) {
      cpu::set_exact_convolutions(exact);
      {
        const NoGrad no_grad;
        const Trace trace;
        network->forward(Variable(images(1, 64, 64, network->spec().in_channels, 9)));
        CHECK(InferencePlan::knows_all(trace));
      }
      Inference inference(*network);
      for (const auto& [h, w] : {std::pair<int64_t, int64_t>{64, 64}, {75, 50}}) {
        const Variable x(images(3, h, w, network->spec().in_channels, 9));
        const NoGrad no_grad;
        const Output expected = network->forward(x);
        const Output got = inference.forward(x);
        const double tolerance = exact ? kExactTolerance : kTolerance;
        CHECK(distance(got.logits.value(), expected.logits.value()) <=
              tolerance * largest(expected.logits.value()));
        CHECK(distance(got.hidden.value(), expected.hidden.value()) <=
              tolerance * largest(expected.hidden.value()));
        CHECK(got.hidden_stride == expected.hidden_stride);
        CHECK(got.hidden_offset == expected.hidden_offset);
      }
    }
    cpu::set_exact_convolutions(false);
  }
}

TEST_CASE("a plan's values are the same bits for any batch and any number of threads") {
  for (const char* name : {"unet/resnet18", "thin_unet"}) {
    CAPTURE(name);
    const auto network = seasoned(name);
    Inference inference(*network);
    const Variable x(images(5, 64, 96, 3, 4));  // one more than go through a plan together
    const Tensor together = inference.forward(x).logits.value();
    for (int64_t i = 0; i < 5; ++i) {
      const Tensor alone = inference.forward(slice(x, 0, i, i + 1)).logits.value();
      CHECK(same_bits(alone, slice(Variable(together), 0, i, i + 1).value()));
    }
    const int threads = num_threads();
    for (const int other : {1, 2, 5}) {
      set_num_threads(other);
      CHECK(same_bits(inference.forward(x).logits.value(), together));
    }
    set_num_threads(threads);
  }
}

TEST_CASE("a plan keeps the parameters of when it was made, and knows that they changed") {
  const auto network = seasoned("thin_unet");
  const Variable x(images(1, 64, 64, 3, 4));
  const NoGrad no_grad;
  std::unique_ptr<InferencePlan> plan;
  {
    const Trace trace;
    const Output traced = network->forward(x);
    plan = std::make_unique<InferencePlan>(trace, x.id(), std::vector{traced.logits.id()});
  }
  Inference inference(*network);
  const Tensor before = plan->run(x.value())[0];
  CHECK(same_bits(inference.forward(x).logits.value(), before));
  CHECK(plan->is_current());

  network->forward(Variable(images(4, 64, 64, 3, 30)), {.training = true});
  CHECK_FALSE(plan->is_current());
  CHECK(same_bits(plan->run(x.value())[0], before));
  const Tensor after = inference.forward(x).logits.value();
  CHECK_FALSE(same_bits(after, before));
  CHECK(same_bits(after, Inference(*network).forward(x).logits.value()));
}

TEST_CASE("a plan copies constants that no convolution takes in") {
  const Variable x(images(1, 4, 4, 2, 1));
  const Variable scale = Variable::leaf(Tensor::full({2}, 2));
  const NoGrad no_grad;
  std::unique_ptr<InferencePlan> plan;
  {
    const Trace trace;
    const Variable y = mul(relu(x), scale);
    plan = std::make_unique<InferencePlan>(trace, x.id(), std::vector{y.id()});
  }
  const Tensor before = plan->run(x.value())[0];
  Tensor(scale.value()).fill(3);
  CHECK(same_bits(plan->run(x.value())[0], before));
}

TEST_CASE("a plan refuses what it was not made for") {
  const auto network = seasoned("thin_unet");
  const Variable image(images(1, 64, 64, 3, 4));
  const NoGrad no_grad;
  const Trace trace;
  const Output traced = network->forward(image);
  const InferencePlan plan(trace, image.id(), {traced.logits.id()});
  CHECK_THROWS_WITH_AS(plan.run(images(2, 64, 32, 3, 1)),
                       doctest::Contains("expected images [2, 64, 64, 3]"), Error);
  CHECK_THROWS_WITH_AS(plan.run(Tensor({0, 64, 64, 3})),
                       doctest::Contains("expected images [1, 64, 64, 3]"), Error);
  const Variable loss = mse(traced.logits, traced.logits);
  CHECK_FALSE(InferencePlan::knows_all(trace));
  CHECK_THROWS_WITH_AS(InferencePlan(trace, image.id(), {loss.id()}), doctest::Contains("mse"),
                       Error);
}

}  // namespace
}  // namespace decant::nn
