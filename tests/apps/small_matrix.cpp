#include "tests/apps/small_matrix.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace decant::apps {

Json small_matrix() {
  return {{"name", "small"},
          {"data", phantoms()},
          {"splits", "random:2:0.6:0.2"},
          {"train", {{"epochs", 2}, {"batch", 4}, {"previews", 0}, {"data", {{"size", 32}}}}},
          {"teacher", {{"model", "thin_unet:width=8,depth=4"}}},
          {"student", {{"model", "thin_unet:width=4,depth=4"}}},
          {"presets", {"L_KLD"}}};
}

Json three_jobs() {
  Json matrix = small_matrix();
  matrix["splits"] = "random:1:0.6:0.2";
  return matrix;
}

std::string write_matrix(const TemporaryFolder& folder, const Json& matrix) {
  write_bytes(folder.path() / "study.json", matrix.dump());
  return folder / "study.json";
}

Words run_words(const std::string& file, const std::string& out) {
  return {"matrix", "run", file, "--out", out, "--threads", "1"};
}

std::string refused(const Words& words) {
  const Result result = decant(words);
  CAPTURE(result.err);
  CHECK(result.code == 2);
  CHECK(std::ranges::count(result.err, '\n') == 1);
  return result.err;
}

std::string refused(const TemporaryFolder& folder, const Json& matrix) {
  return refused(
      {"matrix", "plan", write_matrix(folder, matrix), "--steps", "0", "--out", folder / "out"});
}

void wait_until(const std::function<bool()>& it_is_so) {
  for (int i = 0; i < 30'000 && !it_is_so(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  REQUIRE(it_is_so());
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace decant::apps
