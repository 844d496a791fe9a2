#include "kd/spec.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/core/error.h"

using namespace decant;
using namespace decant::kd;
using nlohmann::json;

namespace {

void refuses(const char* text, const char* part) {
  CAPTURE(text);
  std::string message = "nothing was thrown";
  try {
    spec_from_json(json::parse(text));
  } catch (const Error& e) {
    message = e.what();
  }
  CAPTURE(message);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("the twelve presets are the paper's experiments") {
  const std::vector<std::string> names = {"L_MSE",    "L_MSE_WAug",    "L_KLD",    "L_KLD_WAug",
                                          "H_MSE",    "H_MSE_WAug",    "H_KLD",    "H_KLD_WAug",
                                          "HReg_MSE", "HReg_MSE_WAug", "HReg_KLD", "HReg_KLD_WAug"};
  CHECK(preset_names() == names);
  for (const std::string& name : names) {
    CAPTURE(name);
    const DistillSpec spec = preset(name);
    CHECK_NOTHROW(spec.validate());
    REQUIRE(spec.terms.size() == 1);
    CHECK(spec.distill_weight == 0.5);
    CHECK(spec.supervised_weight == 0.5);
    CHECK(spec.terms[0].temperature == 1);
    const bool weak = name.ends_with("_WAug");
    CHECK(spec.teacher_view == (weak ? TeacherView::weak_warped : TeacherView::same));
    CHECK(spec.expects_teacher_augment == (weak ? "weak" : ""));
    CHECK((spec.terms[0].loss == LossKind::kld) == (name.find("KLD") != std::string::npos));
  }
  CHECK(preset("L_KLD").terms[0].pathway == Pathway::logits);
  CHECK(preset("L_KLD").terms[0].kld_axis() == KldAxis::classes);
  CHECK(preset("H_MSE").terms[0].pathway == Pathway::hidden);
  CHECK(preset("H_KLD").terms[0].kld_axis() == KldAxis::spatial);
  CHECK(preset("HReg_KLD").terms[0].pathway == Pathway::regressor);
  CHECK(preset("HReg_KLD").terms[0].regressor.kernels == std::vector<int>{3, 1});
  CHECK_THROWS_WITH_AS(preset("L_KDL"), "preset: unknown \"L_KDL\", did you mean \"L_KLD\"?",
                       Error);
  CHECK_THROWS_WITH_AS(preset("l_kld"), doctest::Contains("did you mean \"L_KLD\"?"), Error);
  CHECK_THROWS_WITH_AS(preset("hreg_mse_waug"), doctest::Contains("\"HReg_MSE_WAug\"?"), Error);
}

TEST_CASE("every preset survives the way through JSON") {
  for (const std::string& name : preset_names()) {
    CAPTURE(name);
    // An axis left to the pathway comes back spelt out, so texts are compared, not structs.
    const json once = to_json(preset(name));
    CHECK(to_json(spec_from_json(once)) == once);
    CHECK(spec_from_json(json{{"preset", name}}) == preset(name));
  }
}

TEST_CASE("JSON sets every choice") {
  const DistillSpec spec = spec_from_json(json::parse(R"({
      "terms": [{"pathway": "regressor", "loss": "kld", "axis": "flat", "temperature": 4,
                 "weight": 2.5, "regressor": {"kernels": [5, 3, 1], "relu": "none"}},
                {"pathway": "logits", "loss": "mse"}],
      "distill_weight": 0.7, "supervised_weight": 0.3, "teacher_view": "weak_unaligned",
      "hidden_match": "pixels", "teacher_batch_norm": "batch", "expects_teacher_augment": "weak"})"));
  const DistillSpec expected = {
      .terms = {{.pathway = Pathway::regressor,
                 .loss = LossKind::kld,
                 .temperature = 4,
                 .weight = 2.5,
                 .axis = KldAxis::flat,
                 .regressor = {.kernels = {5, 3, 1}, .relu = ReluPlacement::none}},
                {.pathway = Pathway::logits, .loss = LossKind::mse}},
      .distill_weight = 0.7,
      .supervised_weight = 0.3,
      .teacher_view = TeacherView::weak_unaligned,
      .hidden_match = HiddenMatch::pixels,
      .teacher_batch_norm = TeacherBatchNorm::batch,
      .expects_teacher_augment = "weak"};
  CHECK(spec == expected);
}

TEST_CASE("a preset in JSON can be changed by further keys") {
  const DistillSpec spec =
      spec_from_json(json{{"preset", "L_KLD_WAug"}, {"teacher_view", "weak_unaligned"}});
  CHECK(spec.terms == preset("L_KLD_WAug").terms);
  CHECK(spec.teacher_view == TeacherView::weak_unaligned);
}

TEST_CASE("temperature, axis, regressor and weight change a preset's one term") {
  const auto read = [](const char* text) { return spec_from_json(json::parse(text)); };
  DistillSpec expected = preset("HReg_KLD_WAug");
  expected.terms[0].temperature = 4;
  expected.terms[0].axis = KldAxis::channel;
  expected.terms[0].regressor.kernels = {3, 3};
  const DistillSpec refined = read(R"({"preset": "HReg_KLD_WAug", "temperature": 4,
                                       "axis": "channel", "regressor": {"kernels": [3, 3]}})");
  CHECK(refined == expected);
  // A run's config.json holds what this comes to beside the preset's name; more may refine that.
  json resolved = to_json(refined);
  resolved["preset"] = "HReg_KLD_WAug";
  CHECK(to_json(spec_from_json(resolved)) == to_json(refined));
  resolved["regressor"] = {{"relu", "none"}};
  expected.terms[0].regressor.relu = ReluPlacement::none;
  CHECK(spec_from_json(resolved) == expected);
  CHECK(read(R"({"preset": "L_MSE", "weight": 3})").terms[0].weight == 3);

  refuses(R"({"preset": "L_MSE", "temperature": 4})", "no \"temperature\" with loss mse");
  refuses(R"({"preset": "L_KLD", "regressor": {"relu": "none"}})", "no \"regressor\" with pathway");
  refuses(R"({"preset": "H_KLD", "axis": "channel"})", "averaged over its channels");
  refuses(R"({"preset": "L_KLD", "temperatur": 4})", "did you mean \"temperature\"?");
  refuses(R"({"temperature": 4, "terms": [{"pathway": "logits", "loss": "kld"},
                                          {"pathway": "hidden", "loss": "kld"}]})",
          "expected \"temperature\" inside the term that it means, for there are 2");
}

TEST_CASE("misspelt or senseless specs are refused, with the nearest known word") {
  refuses(R"({"preset": "HReg_KDL"})", "did you mean \"HReg_KLD\"?");
  refuses(R"({"preset": "L_KLD", "teacher_veiw": "same"})", "did you mean \"teacher_view\"?");
  refuses(R"({"terms": [{"pathway": "logit"}]})", "did you mean \"logits\"?");
  refuses(R"({"terms": [{"temprature": 2}]})", "did you mean \"temperature\"?");
  refuses(R"({"terms": [{"pathway": "regressor", "regressor": {"kernel": [3]}}]})",
          "did you mean \"kernels\"?");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "kld", "temperature": "hot"}]})",
          "expected a number");
  refuses(R"({"terms": {"pathway": "logits"}})", "expected a list");
  refuses(R"([1])", "expected an object");
  refuses(R"({"terms": []})", "at least one term");
  refuses(R"({})", "at least one term");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "kld", "temperature": 0}]})",
          "temperature above 0");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "kld", "weight": -1}]})",
          "weight of at least 0");
  refuses(R"({"preset": "L_KLD", "distill_weight": -0.5})", "distill_weight of at least 0");
  refuses(R"({"preset": "L_KLD", "distill_weight": 0})", "weight above 0");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "kld", "weight": 0}]})", "weight above 0");
  refuses(R"({"terms": [{"pathway": "hidden", "loss": "kld", "axis": "channel"}]})",
          "averaged over its channels");
  refuses(R"({"terms": [{"pathway": "hidden", "loss": "kld", "axis": "class"}]})", "no axis class");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "kld", "axis": "channel"}]})",
          "no axis channel");
  refuses(R"({"terms": [{"pathway": "regressor", "loss": "mse", "regressor": {"kernels": [2]}}]})",
          "odd kernel sizes");
  refuses(R"({"terms": [{"pathway": "regressor", "regressor": {"kernels": [1.5]}}]})",
          "list of sizes");
}

TEST_CASE("a term says what it compares and how, and nothing that has no effect") {
  refuses(R"({"terms": [{"loss": "kld"}]})", "expected a word as \"pathway\", got nothing");
  refuses(R"({"terms": [{"pathway": "hidden"}]})", "expected a word as \"loss\", got nothing");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "mse", "temperature": 4}]})",
          "no \"temperature\" with loss mse");
  refuses(R"({"terms": [{"pathway": "logits", "loss": "mse", "axis": "class"}]})",
          "no \"axis\" with loss mse");
  refuses(R"({"terms": [{"pathway": "hidden", "loss": "kld", "regressor": {"kernels": [3]}}]})",
          "no \"regressor\" with pathway hidden");
  refuses(R"({"preset": "L_KLD", "terms": [{"pathway": "hidden", "loss": "mse"}]})",
          "expected the terms of preset L_KLD or no \"preset\", got both");
  json resolved = to_json(preset("L_KLD"));
  resolved["preset"] = "L_KLD";  // as a run's config.json says it
  CHECK(to_json(spec_from_json(resolved)) == to_json(preset("L_KLD")));
}

TEST_CASE("the run header names axis, temperature and weights") {
  DistillSpec spec = preset("HReg_KLD_WAug");
  spec.terms[0].temperature = 4;
  CHECK(spec.describe() ==
        "regressor.kld over spatial, T 4, kernels 3 1, relu last, weight 0.5 * 1\n"
        "supervised, weight 0.5\n"
        "teacher view weak_warped, hidden maps matched by cells, batch norm eval, trained with "
        "weak");
  CHECK(preset("L_MSE").describe() ==
        "logits.mse, weight 0.5 * 1\n"
        "supervised, weight 0.5\n"
        "teacher view same, batch norm eval");
}
