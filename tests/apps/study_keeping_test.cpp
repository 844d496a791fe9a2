// What becomes of a study whose files are not as it left them: runs that are gone, settings that
// changed, a folder that moved.

#include <doctest/doctest.h>

#include <filesystem>

#include "apps/study/results.h"
#include "apps/study/study.h"
#include "tests/apps/small_matrix.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

// The small study with one split: a teacher, a student alone, a distilled one.
Json three_jobs() {
  Json matrix = small_matrix();
  matrix["splits"] = "random:1:0.6:0.2";
  return matrix;
}

}  // namespace

TEST_CASE("matrix: a run that is gone is named, and done again where its results go too") {
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  const Result whole = decant::apps::decant(run_words(write_matrix(folder, three_jobs()), out));
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK_FALSE(contains(whole.out, "notice"));
  const auto before = contents(out + "/runs/split0/L_KLD");
  fs::remove_all(out + "/runs/split0/L_KLD");
  const std::string line =
      str("notice: the networks of 1 job are gone (split0/L_KLD): their figures stand, but nobody "
          "can verify, time or draw them; where ",
          out,
          "/runs/split0/L_KLD.json and what is left of its folder are removed, matrix run does "
          "that job again\n");
  const Words run = {"matrix", "run", out, "--threads", "1"};
  const Result again = decant::apps::decant(run);
  CHECK(again.code == 0);
  CHECK(contains(again.out, line));
  CHECK(contains(again.out, "3 jobs, 3 done"));
  CHECK_FALSE(fs::exists(out + "/runs/split0/L_KLD"));
  const Result plan = decant::apps::decant({"matrix", "plan", out, "--steps", "0"});
  CHECK(plan.err == line);
  CHECK(contains(plan.out, "done, its network is gone\n"));
  const Result table = decant::apps::decant({"matrix", "table", out, "--format", "csv"});
  CHECK(table.code == 0);
  CHECK(table.err == line);
  CHECK(table.out.starts_with("cell,"));

  fs::remove(out + "/runs/split0/L_KLD.json");
  fs::rename(out + "/runs/split0/teacher_strong", folder / "away");
  const std::string message = refused(run);
  CHECK(contains(message, str("split0/L_KLD: expected the network of its teacher in ", out,
                              "/runs/split0/teacher_strong, got none")));
  CHECK(contains(refused(run + Words{"--job", "split0/L_KLD"}), "the network of its teacher"));
  fs::rename(folder / "away", out + "/runs/split0/teacher_strong");
  REQUIRE(decant::apps::decant(run).code == 0);
  CHECK(contents(out + "/runs/split0/L_KLD") == before);
}
