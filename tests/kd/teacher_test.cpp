#include "kd/teacher.h"

#include <doctest/doctest.h>

#include "engine/check/op_row.h"
#include "tests/kd/maps.h"

using namespace decant;
using namespace decant::kd;

namespace {

// Everything a network keeps, values of parameters and buffers alike.
class Snapshot : public nn::Visitor {
 public:
  std::vector<Tensor> tensors;

 protected:
  void on_parameter(const std::string&, nn::Parameter& parameter) override {
    tensors.push_back(parameter.variable.value().clone());
  }
  void on_buffer(const std::string&, nn::Buffer& buffer) override {
    tensors.push_back(buffer.tensor.clone());
  }
};

std::vector<Tensor> snapshot(nn::Network& network) {
  Snapshot visitor;
  network.visit(visitor);
  return std::move(visitor.tensors);
}

}  // namespace

TEST_CASE("a frozen teacher answers with constants and never changes") {
  const std::shared_ptr<nn::Network> network = nn::make_network(
      {.decoder = "thin_unet", .encoder = "", .width = 4, .depth = 3}, 1, DType::f64);
  const Variable images(randn({2, 16, 16, 3}, 5));
  const auto before = snapshot(*network);
  std::vector<double> first;
  for (const TeacherBatchNorm mode : {TeacherBatchNorm::eval, TeacherBatchNorm::batch}) {
    FrozenTeacher teacher(network, mode);
    const nn::Output output = teacher.forward(images);
    CHECK(!output.logits.requires_grad());
    CHECK(!output.hidden.requires_grad());
    CHECK(output.logits.shape() == Shape{2, 16, 16, 1});
    CHECK(grad_enabled());
    const auto values = output.logits.value().values<double>();
    if (first.empty())
      first.assign(values.begin(), values.end());
    else
      CHECK_MESSAGE(largest_difference(first, values) > 1e-6,
                    "batch statistics should differ from running ones");
  }
  const auto after = snapshot(*network);
  REQUIRE(after.size() == before.size());
  for (size_t i = 0; i < after.size(); ++i)
    CHECK(largest_difference(before[i].to(DType::f64).values<double>(),
                             after[i].to(DType::f64).values<double>()) == 0);
  CHECK_THROWS_WITH_AS(FrozenTeacher(nullptr), "FrozenTeacher: expected a network, got none",
                       Error);
}
