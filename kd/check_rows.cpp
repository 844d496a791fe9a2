// The op table's rows of whole distillation terms: pathway x loss x axis x view. Each builds a
// Distiller and asks for its one term, so that matching, pooling, warping, masking and the loss
// stand in one gradient; a regressor's parameters are inputs of their row.

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/check/op_row.h"
#include "engine/core/error.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/reduce.h"
#include "kd/distiller.h"

namespace decant::kd {
namespace {

// Gives every parameter of a module, in visiting order, the next of the given variables.
class Adopt : public nn::Visitor {
 public:
  explicit Adopt(std::span<const Variable> variables) : variables_(variables) {}

 protected:
  void on_parameter(const std::string& path, nn::Parameter& parameter) override {
    check(next_ < variables_.size() && variables_[next_].shape() == parameter.shape,
          "Adopt: ", path, " of ", parameter.shape, " was given another shape or nothing");
    parameter.variable = variables_[next_++];
  }

 private:
  std::span<const Variable> variables_;
  size_t next_ = 0;
};

// Where hidden maps lie in the rows below.
struct Grid {
  double stride = 8;
  double offset = 3.5;
};

// Image 0 is turned and shifted, so that some of its corners are masked; image 1 leaves the frame
// altogether, so that all of it is.
std::vector<Affine> moves_about(double x, double y) {
  return {Affine::translation(0.3 * x, -0.1 * y) * Affine::rotation(25, x, y),
          Affine::translation(10 * x + 100, 0)};
}

struct TermCase {
  std::string variant;
  TermSpec term;
  Shape student;
  Shape teacher;
  Grid student_grid = {};
  Grid teacher_grid = {};
  bool warped = false;
};

// x: the student's map, the teacher's, then the regressor's parameters.
Variable call_term(const TermCase& c, const std::vector<Variable>& x) {
  const DistillSpec spec = {
      .terms = {c.term},
      .distill_weight = 1,
      .supervised_weight = 0,
      .teacher_view = c.warped ? TeacherView::weak_warped : TeacherView::same};
  const bool logits = c.term.pathway == Pathway::logits;
  const TapFacts student = {.classes = c.student[3], .hidden_channels = c.student[3]};
  const TapFacts teacher = {.classes = logits ? c.teacher[3] : c.student[3],
                            .hidden_channels = c.teacher[3]};
  Distiller distiller(spec, student, teacher, 0, x[0].dtype());
  Adopt adopt{std::span(x).subspan(2)};
  distiller.visit(adopt);

  const auto output = [&](const Variable& map, const Grid& grid) {
    return logits ? nn::Output{.logits = map, .hidden = {}}
                  : nn::Output{.logits = {},
                               .hidden = map,
                               .hidden_stride = grid.stride,
                               .hidden_offset = grid.offset};
  };
  const double stride = logits ? 1 : c.teacher_grid.stride;
  const auto moves = moves_about(stride * static_cast<double>(c.teacher[2]) / 2,
                                 stride * static_cast<double>(c.teacher[1]) / 2);
  const Losses losses =
      distiller.loss(output(x[0], c.student_grid), output(x[1], c.teacher_grid), {}, moves);
  return losses.terms[0].value;
}

OpRow row_of(TermCase c) {
  OpRow row;
  row.op = "kd." + c.term.name();
  row.variant = c.variant + (c.warped ? ", warped" : "");
  row.inputs = {randn(c.student, 11), randn(c.teacher, 12)};
  if (c.term.pathway == Pathway::regressor) {
    const int64_t mid = c.student[3];
    const auto& kernels = c.term.regressor.kernels;
    for (size_t i = 0; i < kernels.size(); ++i) {
      const int64_t out = i + 1 == kernels.size() ? c.teacher[3] : mid;
      row.inputs.push_back(uniform({out, kernels[i], kernels[i], mid}, -0.5, 0.5, 20 + i));
      row.inputs.push_back(uniform({out}, -0.5, 0.5, 30 + i));
    }
  }
  row.constants = {1};
  row.products = static_cast<double>(std::max(c.student.size(), c.teacher.size()));
  // What a softmax over positions sends back sums to zero over them, so a bias of the regressor
  // gets only what the ReLU's gates leave of that sum. Measured: up to 3.0 times the plain bound.
  const bool cancels = c.term.loss == LossKind::kld && c.term.kld_axis() != KldAxis::channel;
  if (c.term.pathway == Pathway::regressor && cancels) row.kappa = 4;
  row.call = [c = std::move(c)](const std::vector<Variable>& x) { return call_term(c, x); };
  return row;
}

std::vector<TermCase> logits_cases() {
  const auto kld = [](double temperature, std::optional<KldAxis> axis = {}) {
    return TermSpec{.loss = LossKind::kld, .temperature = temperature, .axis = axis};
  };
  const TermSpec mse = {.loss = LossKind::mse};
  const Shape one{2, 5, 6, 1};
  const Shape three{2, 5, 6, 3};
  return {{"one logit", mse, one, one},
          {"three classes", mse, three, three},
          {"student half the size", mse, {2, 3, 3, 2}, {2, 6, 6, 2}},
          {"one logit: Bernoulli", kld(1), one, one},
          {"one logit, T 2", kld(2), one, one},
          {"class", kld(1), three, three},
          {"class, T 4", kld(4), three, three},
          {"class, student half the size", kld(1), {2, 3, 3, 2}, {2, 6, 6, 2}},
          {"spatial, one logit", kld(1, KldAxis::spatial), one, one},
          {"flat", kld(2, KldAxis::flat), three, three}};
}

std::vector<TermCase> hidden_cases() {
  std::vector<TermCase> cases;
  for (const LossKind loss : {LossKind::mse, LossKind::kld}) {
    const TermSpec term = {.pathway = Pathway::hidden, .loss = loss};
    const Grid fine = {.stride = 4, .offset = 1.5};
    cases.push_back({"3 and 4 channels", term, {2, 4, 5, 3}, {2, 4, 5, 4}});
    cases.push_back({"student finer", term, {2, 6, 8, 2}, {2, 3, 4, 3}, fine});
    cases.push_back({"teacher finer", term, {2, 3, 4, 2}, {2, 6, 8, 3}, {}, fine});
  }
  TermSpec hot = {.pathway = Pathway::hidden, .loss = LossKind::kld, .temperature = 4};
  cases.push_back({"T 4", hot, {2, 4, 5, 3}, {2, 4, 5, 4}});
  return cases;
}

std::vector<TermCase> regressor_cases() {
  const Shape student{2, 3, 4, 2};
  const Shape teacher{2, 3, 4, 3};
  const auto term = [](LossKind loss, std::optional<KldAxis> axis = {}) {
    return TermSpec{.pathway = Pathway::regressor, .loss = loss, .axis = axis};
  };
  TermSpec both = term(LossKind::mse);
  both.regressor = {.kernels = {1, 3}, .relu = ReluPlacement::both};
  TermSpec none = term(LossKind::kld);
  none.regressor = {.kernels = {3}, .relu = ReluPlacement::none};
  none.temperature = 2;
  const Grid fine = {.stride = 4, .offset = 1.5};
  return {{"3 then 1", term(LossKind::mse), student, teacher},
          {"student finer", term(LossKind::mse), {2, 6, 8, 2}, teacher, fine},
          {"1 then 3, relu after both", both, student, teacher},
          {"spatial", term(LossKind::kld), student, teacher},
          {"channel", term(LossKind::kld, KldAxis::channel), student, teacher},
          {"flat", term(LossKind::kld, KldAxis::flat), student, teacher},
          {"one layer, no relu, T 2", none, student, teacher}};
}

std::vector<OpRow> rows() {
  std::vector<OpRow> all;
  for (const auto& cases : {logits_cases(), hidden_cases(), regressor_cases()})
    for (TermCase c : cases)
      for (const bool warped : {false, true}) {
        // Refused, see rejects().
        if (warped && c.term.pathway == Pathway::logits && c.student != c.teacher) continue;
        c.warped = warped;
        all.push_back(row_of(c));
      }

  // Several terms and a supervised loss, weighed: x = logits and hidden map of the student, then of
  // the teacher, then the regressor's parameters.
  OpRow total;
  total.op = "kd.total";
  total.variant = "logits, hidden, regressor and supervised";
  total.inputs = {randn({2, 4, 4, 2}, 1),
                  randn({2, 2, 3, 2}, 2),
                  randn({2, 4, 4, 2}, 3),
                  randn({2, 2, 3, 3}, 4),
                  uniform({2, 3, 3, 2}, -0.5, 0.5, 5),
                  uniform({2}, -0.5, 0.5, 6),
                  uniform({3, 1, 1, 2}, -0.5, 0.5, 7),
                  uniform({3}, -0.5, 0.5, 8)};
  total.constants = {2, 3};
  total.products = 64;
  total.call = [](const std::vector<Variable>& x) {
    const DistillSpec spec = {
        .terms = {{.pathway = Pathway::logits, .loss = LossKind::kld, .weight = 2},
                  {.pathway = Pathway::hidden, .loss = LossKind::mse},
                  {.pathway = Pathway::regressor, .loss = LossKind::mse, .weight = 0.3}},
        .distill_weight = 0.7,
        .supervised_weight = 0.3};
    Distiller distiller(spec, {.classes = 2, .hidden_channels = 2},
                        {.classes = 2, .hidden_channels = 3}, 0, x[0].dtype());
    Adopt adopt{std::span(x).subspan(4)};
    distiller.visit(adopt);
    // Like a network's outputs the maps are nodes, which add up what several terms send back before
    // it goes on to a leaf.
    const nn::Output student = {.logits = scale(x[0], 1), .hidden = scale(x[1], 1)};
    return distiller.loss(student, {.logits = x[2], .hidden = x[3]}, mean(student.logits)).total;
  };
  all.push_back(std::move(total));
  return all;
}

std::vector<RejectRow> rejects() {
  const auto refuse = [](TermCase c) {
    return [c = std::move(c)] {
      const OpRow row = row_of(c);
      std::vector<Variable> x;
      for (const Tensor& input : row.inputs) x.emplace_back(input);
      row.call(x);
    };
  };
  const TermSpec logits = {.pathway = Pathway::logits, .loss = LossKind::kld};
  const TermSpec hidden = {.pathway = Pathway::hidden, .loss = LossKind::mse};
  const TermSpec spatial = {.pathway = Pathway::hidden, .loss = LossKind::kld};
  const TermSpec channel = {
      .pathway = Pathway::regressor, .loss = LossKind::kld, .axis = KldAxis::channel};
  TermCase half_size = {"", logits, {2, 3, 3, 2}, {2, 6, 6, 2}};
  half_size.warped = true;
  return {{"kd.hidden.mse", "sizes without a whole factor",
           refuse({"", hidden, {1, 7, 7, 3}, {1, 5, 5, 4}}),
           "got student [1, 7, 7, 3] and teacher [1, 5, 5, 4]"},
          {"kd.hidden.kld", "a map of one position",
           refuse({"", spatial, {2, 1, 1, 3}, {2, 1, 1, 4}}), "at least two values"},
          {"kd.regressor.kld", "a teacher of one channel over its channels",
           refuse({"", channel, {1, 3, 3, 2}, {1, 3, 3, 1}}), "at least two values"},
          {"kd.logits.kld", "other classes", refuse({"", logits, {1, 4, 4, 2}, {1, 4, 4, 3}}),
           "got student 2 and teacher 3"},
          {"kd.logits.kld", "student half the size, warped", refuse(half_size),
           "got student [2, 3, 3, 2] and teacher [2, 6, 6, 2]"}};
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant::kd
