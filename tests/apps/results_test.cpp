// results.json: what was written is what is read, and what is wrong is named.
#include "apps/study/results.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;

namespace {

Results example() {
  Results r;
  r.program = "0.1.0";
  r.name = "example";
  r.data = {.path = "data", .layout = "busi", .images = 2, .checksum = "00ff"};
  r.splits = {"split0"};
  r.cells = {{.name = "teacher", .role = "teacher", .network = "unet/resnet18", .parameters = 5},
             {.name = "L_KLD", .role = "distilled", .network = "thin_unet", .teacher = "teacher"}};
  r.runs = {{.cell = "L_KLD",
             .split = "split0",
             .seed = 7,
             .folder = "runs/L_KLD",
             .part = "test",
             .images = {{.name = "a", .lesion = true, .dice = 0.1}, {.name = "b", .dice = 1}}}};
  r.table = {{.cell = "L_KLD", .dice_images_mean = 1.0 / 3, .n_images = 2, .n_splits = 1}};
  r.table[0].to_student = {.points = -1.5, .ci95 = {-2, 0.25}};
  return r;
}

std::string message_of(const Json& json) {
  try {
    results_from_json(json, "results.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("results: written and read again they are the same") {
  const Json json = to_json(example());
  CHECK(to_json(results_from_json(json, "results.json")) == json);
  CHECK(json["schema"] == "decant-results-1");
  CHECK(json["cells"][0]["teacher"].is_null());
  CHECK(json["runs"][0]["images"][0]["iou"].is_null());
  CHECK(json["table"][0]["to_student_points"] == -1.5);
  CHECK(json["table"][0]["ci95"] == Json({-2.0, 0.25}));
  Json before = json;  // a file of before it was noted who is compared with whom
  before["cells"][1].erase("student");
  before["runs"][0].erase("program");
  before["table"][0].erase("n_seeds");
  CHECK(to_json(results_from_json(before, "results.json")) == json);
  const Results read = results_from_json(json, "results.json");
  CHECK(std::isnan(read.cells[0].latency_ms));
  CHECK(read.cell("L_KLD").teacher == "teacher");
  CHECK_THROWS_WITH_AS(read.cell("L_KLT"),
                       "cell: expected one that is listed, got \"L_KLT\", did you mean \"L_KLD\"?",
                       Error);
}

TEST_CASE("results: what is wrong is named by file and key") {
  const Json good = to_json(example());
  Json bad = good;
  bad["runs"][0]["images"][1]["dice"] = "much";
  CHECK(message_of(bad) ==
        "results.json: runs[0].images[1].dice: expected a number or null, got \"much\"");
  bad = good;
  bad["cells"][0].erase("macs");
  CHECK(message_of(bad) == "results.json: cells[0]: expected the key \"macs\", got none");
  bad = good;
  bad["cells"][0]["latncy_ms"] = 1;
  CHECK(message_of(bad) ==
        "results.json: cells[0]: expected a known key, got \"latncy_ms\", did you "
        "mean \"latency_ms\"?");
  bad = good;
  bad["runs"][0]["cell"] = "teecher";
  CHECK(message_of(bad) ==
        "results.json: runs[0].cell: expected one that is listed, got "
        "\"teecher\", did you mean \"teacher\"?");
  bad = good;
  bad["runs"][0]["epochs"] = -1;
  CHECK(message_of(bad).starts_with("results.json: runs[0].epochs: expected a whole number"));
  bad = good;
  bad["runs"][0]["images"][0]["dice"] = nullptr;  // of a lesion
  CHECK(message_of(bad) ==
        "results.json: runs[0].images[0].dice: expected a number for an image with a lesion, got "
        "null");
  bad = good;
  bad["runs"][0]["images"][1]["dice"] = 17;
  CHECK(message_of(bad) ==
        "results.json: runs[0].images[1].dice: expected a number of 0 to 1, got 17");
  bad = good;
  bad["runs"][0]["images"][1]["dice"] = nullptr;  // of none
  CHECK(message_of(bad).empty());
  bad = good;
  bad["schema"] = "decant-results-2";
  CHECK(message_of(bad).starts_with("results.json: schema: expected \"decant-results-1\""));
  bad = good;
  bad.erase("splits");
  CHECK(message_of(bad) == "results.json: expected the key \"splits\", got none");
  CHECK(message_of(Json::array()).starts_with("results.json: expected the results"));
}
