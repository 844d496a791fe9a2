// Values of every pathway and loss on formula-made maps, reproduced with PyTorch 1.13 to 1e-13,
// through the public Distiller in float64.
#include <doctest/doctest.h>

#include "engine/ops/losses.h"
#include "kd/distiller.h"
#include "tests/kd/maps.h"

using namespace decant;
using namespace decant::kd;

namespace {

Variable z_teacher() {
  return Variable(wave({2, 1, 2, 3}, 0.7, 0.3, 3));
}
Variable z_student() {
  return Variable(wave({2, 1, 2, 3}, 1.1, -0.4, 2));
}
Variable h_teacher() {
  return Variable(wave({2, 4, 2, 3}, 0.37, 0.2, 2));
}
Variable h_student() {
  return Variable(wave({2, 2, 2, 3}, 0.53, -0.6, 1.5));
}
// Before the regressor's ReLU: an identity convolution turns it into the vectors' r.
Variable r_student() {
  return Variable(wave({2, 4, 2, 3}, 0.29, 0.5, 1.2));
}

double logits_loss(TermSpec term, const Variable& teacher, const Variable& student) {
  const int64_t classes = teacher.shape()[3];
  const Distiller distiller(one_term(term), {.classes = classes}, {.classes = classes}, 0,
                            DType::f64);
  return distiller.loss(logits_output(student), logits_output(teacher), {}).total.value().item();
}

double hidden_loss(TermSpec term) {
  term.pathway = Pathway::hidden;
  const Distiller distiller(one_term(term), {.hidden_channels = 2}, {.hidden_channels = 4}, 0,
                            DType::f64);
  return distiller.loss(hidden_output(h_student()), hidden_output(h_teacher()), {})
      .total.value()
      .item();
}

double regressor_loss(TermSpec term) {
  term.pathway = Pathway::regressor;
  term.regressor = {.kernels = {1}};
  Distiller distiller(one_term(term), {.hidden_channels = 4}, {.hidden_channels = 4}, 0,
                      DType::f64);
  SetParameters identity({identity_kernel(4), Tensor::zeros({4}, DType::f64)});
  distiller.visit(identity);
  return distiller.loss(hidden_output(r_student()), hidden_output(h_teacher()), {})
      .total.value()
      .item();
}

doctest::Approx exactly(double expected) {
  return doctest::Approx(expected).epsilon(1e-10).scale(0);
}

}  // namespace

TEST_CASE("vectors: logits") {
  CHECK(logits_loss({.loss = LossKind::mse}, z_teacher(), z_student()) ==
        exactly(7.143726114903249));
  CHECK(logits_loss({.loss = LossKind::kld}, z_teacher(), z_student()) ==
        exactly(0.5784193017723287));
  CHECK(logits_loss({.loss = LossKind::kld, .temperature = 2}, z_teacher(), z_student()) ==
        exactly(0.7752984576939135));

  const Variable teacher(wave({2, 2, 2, 3}, 0.7, 0.3, 3));
  const Variable student(wave({2, 2, 2, 3}, 1.1, -0.4, 2));
  CHECK(logits_loss({.loss = LossKind::kld}, teacher, student) == exactly(0.5546991478927582));
  CHECK(logits_loss({.loss = LossKind::kld, .temperature = 2}, teacher, student) ==
        exactly(1.1165189681814751));
}

TEST_CASE("vectors: hidden") {
  CHECK(hidden_loss({.loss = LossKind::mse}) == exactly(0.1714096945242917));
  CHECK(hidden_loss({.loss = LossKind::kld}) == exactly(0.017843541620158294));
  CHECK(hidden_loss({.loss = LossKind::kld, .temperature = 2}) == exactly(0.01756358144549036));
}

TEST_CASE("vectors: regressor") {
  CHECK(regressor_loss({.loss = LossKind::mse}) == exactly(2.4051807912874374));
  CHECK(regressor_loss({.loss = LossKind::kld}) == exactly(0.28589017946879514));
  CHECK(regressor_loss({.loss = LossKind::kld, .temperature = 2}) == exactly(0.3175632386147994));
  CHECK(regressor_loss({.loss = LossKind::kld, .temperature = 2, .axis = KldAxis::channel}) ==
        exactly(0.9327278024754102));
  CHECK(regressor_loss({.loss = LossKind::kld, .temperature = 2, .axis = KldAxis::flat}) ==
        exactly(0.940390206455251));
}

TEST_CASE("vectors: supervised loss, and the total of equation I") {
  const Tensor y = Tensor::of<double>({2, 2, 3, 1}, {1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1});
  const Variable supervised = bce_with_logits(z_student(), y);
  CHECK(supervised.value().item() == exactly(0.9651455701570932));

  const Distiller distiller(preset("L_KLD"), {.classes = 1}, {.classes = 1}, 0, DType::f64);
  const Losses losses =
      distiller.loss(logits_output(z_student()), logits_output(z_teacher()), supervised);
  CHECK(losses.total.value().item() ==
        exactly(0.5 * 0.5784193017723287 + 0.5 * 0.9651455701570932));
  CHECK(losses.supervised.value().item() == exactly(0.9651455701570932));
  REQUIRE(losses.terms.size() == 1);
  CHECK(losses.terms[0].name == "logits.kld");
  CHECK(losses.terms[0].value.value().item() == exactly(0.5784193017723287));
  CHECK(losses.terms[0].weight == 0.5);
}
