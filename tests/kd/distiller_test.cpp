#include "kd/distiller.h"

#include <doctest/doctest.h>

#include "engine/check/op_row.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/losses.h"
#include "engine/ops/reduce.h"
#include "kd/regressor.h"
#include "tests/kd/maps.h"

using namespace decant;
using namespace decant::kd;

namespace {

const TapFacts kStudent = {.classes = 2, .hidden_channels = 3};
const TapFacts kTeacher = {.classes = 2, .hidden_channels = 5};

nn::Output output(const Variable& logits, const Variable& hidden) {
  return {.logits = logits, .hidden = hidden, .hidden_stride = 8, .hidden_offset = 0};
}

DistillSpec three_terms() {
  return {.terms = {{.pathway = Pathway::logits, .loss = LossKind::kld, .weight = 2},
                    {.pathway = Pathway::hidden, .loss = LossKind::mse, .weight = 0.5},
                    {.pathway = Pathway::regressor, .loss = LossKind::mse, .weight = 3},
                    {.pathway = Pathway::logits, .loss = LossKind::kld, .temperature = 4}},
          .distill_weight = 0.7,
          .supervised_weight = 0.3};
}

struct Scene {
  nn::Output student =
      output(Variable::leaf(randn({2, 16, 16, 2}, 1)), Variable::leaf(randn({2, 2, 2, 3}, 2)));
  nn::Output teacher =
      output(Variable::leaf(randn({2, 16, 16, 2}, 3)), Variable::leaf(randn({2, 2, 2, 5}, 4)));
  Distiller distiller{three_terms(), kStudent, kTeacher, 7, DType::f64};
};

class ListParameters : public nn::Visitor {
 public:
  std::vector<std::string> names;
  std::vector<nn::Parameter*> parameters;

 protected:
  void on_parameter(const std::string& path, nn::Parameter& parameter) override {
    names.push_back(path);
    parameters.push_back(&parameter);
  }
};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("the total is the weighted sum of the terms and the supervised loss") {
  Scene scene;
  const Variable supervised(Tensor::full({}, 1.25, DType::f64));
  const Losses losses = scene.distiller.loss(scene.student, scene.teacher, supervised);
  REQUIRE(losses.terms.size() == 4);
  CHECK(losses.terms[0].name == "logits.kld");
  CHECK(losses.terms[1].name == "hidden.mse");
  CHECK(losses.terms[2].name == "regressor.mse");
  CHECK(losses.terms[3].name == "logits.kld.2");
  CHECK(losses.terms[0].weight == doctest::Approx(1.4).epsilon(1e-15));
  CHECK(losses.terms[3].weight == doctest::Approx(0.7).epsilon(1e-15));
  double distill = 0;
  const double weights[] = {2, 0.5, 3, 1};
  for (size_t i = 0; i < 4; ++i) distill += weights[i] * losses.terms[i].value.value().item();
  CHECK(losses.distill.value().item() == doctest::Approx(distill).epsilon(1e-13));
  CHECK(losses.total.value().item() == doctest::Approx(0.7 * distill + 0.3 * 1.25).epsilon(1e-13));
  // Each term alone is what it is in company.
  for (size_t i = 0; i < 2; ++i) {
    const Distiller alone(one_term(three_terms().terms[i]), kStudent, kTeacher, 7, DType::f64);
    CHECK(alone.loss(scene.student, scene.teacher, {}).terms[0].value.value().item() ==
          losses.terms[i].value.value().item());
  }
}

TEST_CASE("the student and the regressor learn, the teacher never does") {
  Scene scene;
  backward(
      scene.distiller.loss(scene.student, scene.teacher, Variable(Tensor::full({}, 0, DType::f64)))
          .total);
  CHECK(scene.student.logits.grad().defined());
  CHECK(scene.student.hidden.grad().defined());
  CHECK(!scene.teacher.logits.grad().defined());
  CHECK(!scene.teacher.hidden.grad().defined());
  ListParameters list;
  scene.distiller.visit(list);
  CHECK(list.names == std::vector<std::string>{"terms.2.0.weight", "terms.2.0.bias",
                                               "terms.2.1.weight", "terms.2.1.bias"});
  CHECK(list.parameters[0]->shape == Shape{3, 3, 3, 3});
  CHECK(list.parameters[2]->shape == Shape{5, 1, 1, 3});
  for (nn::Parameter* p : list.parameters) CHECK(p->variable.grad().defined());
}

TEST_CASE("a term's regressor starts the same whatever other terms there are") {
  DistillSpec more = three_terms();
  more.terms.push_back({.pathway = Pathway::regressor, .loss = LossKind::kld});
  Distiller few(three_terms(), kStudent, kTeacher, 7, DType::f64);
  Distiller many(more, kStudent, kTeacher, 7, DType::f64);
  Distiller other_seed(three_terms(), kStudent, kTeacher, 8, DType::f64);
  ListParameters a, b, c;
  few.visit(a);
  many.visit(b);
  other_seed.visit(c);
  REQUIRE(b.parameters.size() == 2 * a.parameters.size());
  for (size_t i = 0; i < a.parameters.size(); ++i) {
    const auto values = a.parameters[i]->variable.value().values<double>();
    CHECK(largest_difference(values, b.parameters[i]->variable.value().values<double>()) == 0);
    CHECK(largest_difference(values, c.parameters[i]->variable.value().values<double>()) > 0);
  }
}

TEST_CASE("student = teacher has no loss and no gradient") {
  const Tensor logits = randn({2, 4, 4, 2}, 1);
  const Tensor hidden = randn({2, 4, 4, 3}, 2);
  const TapFacts facts = {.classes = 2, .hidden_channels = 3};
  std::vector<TermSpec> terms;
  for (const Pathway pathway : {Pathway::logits, Pathway::hidden})
    for (const LossKind loss : {LossKind::mse, LossKind::kld})
      terms.push_back({.pathway = pathway, .loss = loss, .temperature = 2});
  terms.push_back({.loss = LossKind::kld, .axis = KldAxis::spatial});
  terms.push_back({.loss = LossKind::kld, .axis = KldAxis::flat});
  for (const KldAxis axis : {KldAxis::spatial, KldAxis::channel, KldAxis::flat})
    terms.push_back({.pathway = Pathway::regressor,
                     .axis = axis,
                     .regressor = {.kernels = {1}, .relu = ReluPlacement::none}});
  for (const TermSpec& term : terms)
    for (const TeacherView view : {TeacherView::same, TeacherView::weak_warped}) {
      CAPTURE(term.name());
      Distiller distiller(one_term(term, view), facts, facts, 0, DType::f64);
      SetParameters identity({identity_kernel(3), Tensor::zeros({3}, DType::f64)});
      if (term.pathway == Pathway::regressor) distiller.visit(identity);
      const nn::Output student = output(Variable::leaf(logits), Variable::leaf(hidden));
      const nn::Output teacher = output(Variable(logits), Variable(hidden));
      const std::vector<Affine> still(2);
      const Variable total = distiller.loss(student, teacher, {}, still).total;
      CHECK(std::abs(total.value().item()) < 1e-14);
      backward(total);
      const Variable& map = term.pathway == Pathway::logits ? student.logits : student.hidden;
      for (const double g : map.grad().values<double>()) CHECK(std::abs(g) < 1e-14);
    }
}

TEST_CASE("student logits of another size are resized to the teacher's") {
  // Half of every pixel pair: bilinear enlargement of a constant is that constant.
  const Variable student(Tensor::full({1, 2, 2, 1}, 0.5, DType::f64));
  const Variable teacher(Tensor::full({1, 4, 4, 1}, 2, DType::f64));
  const Distiller distiller(one_term({.loss = LossKind::mse}), {}, {}, 0, DType::f64);
  CHECK(distiller.loss(logits_output(student), logits_output(teacher), {}).total.value().item() ==
        doctest::Approx(2.25).epsilon(1e-14));
}

TEST_CASE("gradient norms are those of the weighted terms, and disturb nothing") {
  Scene scene;
  const Tensor target = Tensor::full({2, 16, 16, 2}, 1, DType::f64);
  const auto supervised = [&](const Variable& logits) { return bce_with_logits(logits, target); };
  const auto norms = scene.distiller.gradient_norms(scene.student, scene.teacher, {}, supervised);
  REQUIRE(norms.size() == 5);
  CHECK(norms[0].name == "logits.kld");
  CHECK(norms[4].name == "supervised");
  for (const GradientNorm& norm : norms) {
    const bool hidden = norm.name.starts_with("hidden.") || norm.name.starts_with("regressor.");
    CHECK(norm.map == (hidden ? "hidden" : "logits"));
  }

  ListParameters list;
  scene.distiller.visit(list);
  CHECK(!scene.student.logits.grad().defined());
  CHECK(!scene.student.hidden.grad().defined());
  for (nn::Parameter* p : list.parameters) CHECK(!p->variable.grad().defined());

  const auto norm_of = [](std::span<const double> g, double share) {
    double sum = 0;
    for (const double v : g) sum += v * v;
    return share * std::sqrt(sum);
  };
  const Tensor& z_student = scene.student.logits.value();
  const Tensor& z_teacher = scene.teacher.logits.value();
  const auto kld = [&](double temperature) {
    return plain_kld(z_teacher, z_student, KldAxis::classes, temperature).gradient;
  };
  CHECK(norms[0].norm == doctest::Approx(norm_of(kld(1), 0.7 * 2)).epsilon(1e-12));
  CHECK(norms[3].norm == doctest::Approx(norm_of(kld(4), 0.7)).epsilon(1e-12));
  const auto hidden = plain_mse(plain_channel_mean(scene.teacher.hidden.value()),
                                plain_channel_mean(scene.student.hidden.value()));
  // Each of three channels gets a third of the averaged map's gradient: norm / sqrt(3).
  CHECK(norms[1].norm ==
        doctest::Approx(norm_of(hidden.gradient, 0.7 * 0.5) / std::sqrt(3.0)).epsilon(1e-12));
  CHECK(norms[2].norm > 0);
  std::vector<double> bce;
  for (const double z : z_student.values<double>())
    bce.push_back((1 / (1 + std::exp(-z)) - 1) / static_cast<double>(z_student.size()));
  CHECK(norms[4].norm == doctest::Approx(norm_of(bce, 0.3)).epsilon(1e-12));
}

TEST_CASE("what cannot be compared is an error that names both shapes") {
  const auto hidden_terms = one_term({.pathway = Pathway::hidden, .loss = LossKind::mse});
  const Distiller hidden(hidden_terms, kStudent, kTeacher, 0, DType::f64);
  const auto hidden_message = [&](Shape student, Shape teacher) {
    return message_of([&] {
      hidden.loss(hidden_output(Variable(randn(student))), hidden_output(Variable(randn(teacher))),
                  {});
    });
  };
  CHECK(hidden_message({1, 7, 7, 3}, {1, 5, 5, 5}) ==
        "kd.hidden.mse: expected map sizes that differ by one whole factor, got student "
        "[1, 7, 7, 3] and teacher [1, 5, 5, 5]");
  CHECK(hidden_message({1, 8, 4, 3}, {1, 4, 4, 5}).find("one whole factor") != std::string::npos);
  CHECK(hidden_message({2, 4, 4, 3}, {1, 4, 4, 5}) ==
        "kd.hidden.mse: expected maps [N, h, w, C] of one batch, got student [2, 4, 4, 3] and "
        "teacher [1, 4, 4, 5]");
  CHECK(message_of([&] {
          hidden.loss(logits_output(Variable(randn({1, 2, 2, 1}))),
                      hidden_output(Variable(randn({1, 2, 2, 5}))), {});
        }) == "kd.hidden.mse: expected a map of both networks, got none of the student");
  CHECK(message_of([&] {
          hidden.loss(hidden_output(Variable(randn({1, 2, 2, 3}))),
                      logits_output(Variable(randn({1, 2, 2, 1}))), {});
        }) == "kd.hidden.mse: expected a map of both networks, got none of the teacher");
  CHECK(message_of([&] { Distiller(preset("L_KLD"), {.classes = 1}, {.classes = 2}, 0); }) ==
        "kd.logits.kld: expected networks of the same classes, got student 1 and teacher 2");
  CHECK(message_of([&] {
          Distiller(preset("H_KLD"), {.classes = 1}, {.classes = 1, .hidden_channels = 4}, 0);
        }) ==
        "kd.hidden.kld: expected a hidden map of both networks, got channels student 0 and "
        "teacher 4");
  CHECK(message_of([&] { Distiller({}, {}, {}, 0); }).find("at least one term") !=
        std::string::npos);

  Distiller warped(preset("L_MSE_WAug"), {}, {}, 0, DType::f64);
  const Variable z(randn({2, 4, 4, 1}));
  const Variable zero(Tensor::full({}, 0, DType::f64));
  CHECK(message_of([&] { warped.loss(logits_output(z), logits_output(z), zero); }) ==
        "Distiller: expected one affine per image to warp the teacher's view, got 0 for a "
        "teacher's output [2, 4, 4, 1]");
  Distiller plain(preset("L_MSE"), {}, {}, 0, DType::f64);
  CHECK(message_of([&] { plain.loss(logits_output(z), logits_output(z), {}); }) ==
        "Distiller: expected a supervised loss for its weight 0.5, got none");
  CHECK(message_of([&] {
          plain.loss(logits_output(z), logits_output(z), z);
        }).find("of one value, got [2, 4, 4, 1]") != std::string::npos);
}
