#include "engine/cuda/step_graph.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/autograd/variable.h"
#include "engine/core/cuda_memory.h"
#include "engine/core/tensor.h"
#include "engine/cuda/kernel.cuh"
#include "engine/ops/dropout.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/softmax.h"

using namespace decant;
using namespace decant::cuda;

namespace {

__global__ void descend(float* w, const float* gradient, int n) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) w[i] -= 0.1F * gradient[i];
}

Tensor numbers(float first) {
  Tensor t({4});
  for (int i = 0; i < 4; ++i) t.mutable_data<float>()[i] = first + 0.3F * static_cast<float>(i);
  return t.to(Device::cuda);
}

// A step of a small model on inputs that change: forward, backward, update.
struct Training {
  Tensor input = numbers(0);
  Tensor weights = numbers(1);
  Tensor loss;
  int calls = 0;

  void step() {
    ++calls;
    const Variable w = Variable::leaf(weights);
    const Variable y = softmax(tanh(square(w)), 0);
    loss = y.value();
    backward(y, input);
    launch("descend", descend, grid_over(4), weights.mutable_device_data<float>(),
           w.grad().device_data<float>(), 4);
  }
};

bool same(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device::cpu);
  const Tensor y = b.to(Device::cpu);
  for (int64_t i = 0; i < x.size(); ++i)
    if (x.data<float>()[i] != y.data<float>()[i]) return false;
  return true;
}

}  // namespace

TEST_CASE("a replayed step gives the bits of an eager one, on inputs that change") {
  Training eager;
  Training replayed;
  StepGraph graph;
  for (int i = 0; i < 5; ++i) {
    const Tensor batch = numbers(static_cast<float>(i));
    eager.input.copy_from(batch);
    eager.step();
    replayed.input.copy_from(batch);
    graph.run([&] { replayed.step(); });
    CHECK(same(eager.weights, replayed.weights));
    CHECK(same(eager.loss, replayed.loss));
  }
  CHECK(graph.recorded());
  CHECK(replayed.calls == 2);  // as it is, and to be recorded
}

TEST_CASE("eager code never gets a graph's memory, nor the driver a request from a replay") {
  Training training;
  StepGraph graph;
  for (int i = 0; i < 2; ++i) graph.run([&] { training.step(); });
  const Tensor loss = training.loss.clone();
  std::vector<Tensor> eager;
  for (int i = 0; i < 50; ++i) eager.push_back(Tensor::full({4}, 7, DType::f32, Device::cuda));
  CHECK(same(training.loss, loss));
  const uint64_t requests = cuda_memory::statistics().system_requests;
  for (int i = 0; i < 3; ++i) graph.run([&] { training.step(); });
  CHECK(cuda_memory::statistics().system_requests == requests);
  for (const Tensor& t : eager) CHECK(t.view(0, {}).item() == 7);
}

TEST_CASE(
    "reading the device while a step is recorded is an error, after which the graph is as before") {
  Training training;
  StepGraph graph;
  graph.run([&] { training.step(); });
  CHECK_THROWS_WITH_AS(graph.run([&] {
    training.step();
    training.loss.view(0, {}).item();
  }),
                       "download: expected no read of the device while a step graph is captured",
                       Error);
  CHECK_FALSE(graph.recorded());
  CHECK_THROWS_AS(graph.run([&] { numbers(1); }), Error);  // an upload
  const Tensor before = training.weights.clone();
  graph.run([&] { training.step(); });
  CHECK(graph.recorded());
  CHECK_FALSE(same(training.weights, before));
}

TEST_CASE("a random number cannot be baked into a graph") {
  Training training;
  StepGraph graph;
  graph.run([&] { training.step(); });
  const Tensor x = Tensor::full({64}, 1, DType::f32, Device::cuda);
  CHECK_THROWS_WITH_AS(graph.run([&] {
    training.step();
    dropout(Variable(x), 0.5, RngKey::of(1, "test"));
  }),
                       doctest::Contains("dropout: expected a stream of numbers that a recorded"),
                       Error);
  CHECK_FALSE(graph.recorded());
}

TEST_CASE("a tensor that outlives its graph keeps its memory") {
  Training training;
  Tensor loss;
  {
    StepGraph graph;
    for (int i = 0; i < 3; ++i) graph.run([&] { training.step(); });
    loss = training.loss.clone();
  }
  CHECK(same(training.loss, loss));
  training.loss = Tensor();
}

TEST_CASE(
    "what one graph left is given back while another is recorded, and stays the first one's") {
  Training one;
  Training other;
  StepGraph graph_of_one;
  auto graph_of_other = std::make_unique<StepGraph>();
  Tensor loss;  // of whichever ran last
  const auto step = [&](Training& training) {
    training.step();
    loss = std::move(training.loss);
  };
  for (int i = 0; i < 2; ++i) {
    graph_of_one.run([&] { step(one); });
    graph_of_other->run([&] { step(other); });
  }
  graph_of_other.reset();
  cuda_memory::release_cache();
  const Tensor before = one.weights.clone();
  graph_of_one.run([&] { step(one); });
  CHECK_FALSE(same(one.weights, before));
}

TEST_CASE("a graph's memory is no cache: it is counted apart, and goes with the graph") {
  const MemoryStatistics before = cuda_memory::statistics();
  {
    StepGraph graph;
    const auto step = [] {
      const Tensor temporary = Tensor::full({1 << 16}, 1, DType::f32, Device::cuda);
    };
    for (int i = 0; i < 2; ++i) graph.run(step);
    CHECK(graph.recorded());
    CHECK(cuda_memory::statistics().graph_bytes >= before.graph_bytes + (4 << 16));
    cuda_memory::release_cache();
    CHECK(cuda_memory::statistics().cached_bytes == 0);
    CHECK(cuda_memory::statistics().graph_bytes >= before.graph_bytes + (4 << 16));
  }
  CHECK(cuda_memory::statistics().graph_bytes == before.graph_bytes);
}
