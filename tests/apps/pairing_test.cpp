// Which figures of a study are compared with which: what is not done yet favours nobody.
#include <doctest/doctest.h>

#include <cmath>

#include "apps/study/collect.h"
#include "apps/study/report_page.h"
#include "apps/study/results.h"
#include "apps/study/study_view.h"
#include "apps/study/tables.h"

using namespace decant;
using namespace decant::apps;

namespace {

// One run on one image "x" with a lesion.
void add_run(Results& results, const std::string& cell, const std::string& split, uint64_t seed,
             double dice) {
  RunResult& run = results.runs.emplace_back();
  run.cell = cell;
  run.split = split;
  run.seed = seed;
  run.part = "test";
  run.chose_checkpoint = false;
  run.images = {{.name = "x", .lesion = true, .dice = dice}};
}

// Two splits and two seeds; the seed 0 is worth 0.2 to everybody who learns.
Results begun_study() {
  Results results;
  results.name = "begun";
  results.splits = {"a", "b"};
  results.jobs = 2 + 4 + 4;
  results.cells = {{.name = "teacher", .role = "teacher", .network = "unet", .jobs = 2},
                   {.name = "student", .role = "student", .network = "thin_unet", .jobs = 4},
                   {.name = "L_KLD", .role = "distilled", .network = "thin_unet", .jobs = 4}};
  results.cells[2].teacher = "teacher";
  results.cells[0].student = results.cells[2].student = "student";
  add_run(results, "teacher", "a", 0, 0.9);
  add_run(results, "student", "a", 0, 0.7);
  add_run(results, "student", "a", 1, 0.5);
  add_run(results, "L_KLD", "a", 1, 0.6);  // seed 0 is not done
  results.table = table_of(results);
  return results;
}

bool near(double a, double b) {
  return std::fabs(a - b) < 1e-9;
}

}  // namespace

TEST_CASE("study: what is not done is compared on the seeds that both have") {
  Results results = begun_study();
  const TableRow& distilled = results.table[2];
  CHECK(near(distilled.to_student.points, 10));   // 0.6 - 0.5, not less the mean of both seeds
  CHECK(near(distilled.to_teacher.points, -30));  // its split's teacher, of whatever seed
  CHECK(near(results.table[0].to_student.points, 100 * (0.2 + 0.4) / 2));
  CHECK(near(results.table[1].to_teacher.points, -100 * (0.2 + 0.4) / 2));
  CHECK(near(results.table[1].dice_images_mean, 0.6));
  const StudyView view(results);
  CHECK(near(view.points_by_image(results.cells[2], results.cells[1]).at("x"), 10));

  add_run(results, "L_KLD", "b", 0, 0.1);  // a split that the student has not met
  results.table = table_of(results);
  CHECK(near(results.table[2].to_student.points, 10));
}

TEST_CASE("study: runs of no study are compared whatever their seeds") {
  Results results = begun_study();
  results.jobs.reset();
  for (Cell& cell : results.cells) cell.jobs.reset();
  std::erase_if(results.runs,
                [](const RunResult& run) { return run.cell == "student" && run.seed; });
  results.table = table_of(results);
  CHECK(near(results.table[2].to_student.points, -10));  // 0.6 of seed 1 less 0.7 of seed 0
}

TEST_CASE("study: an unfinished one says so, and nothing unfinished is its best") {
  Results results = begun_study();
  CHECK(StudyView(results).best == nullptr);
  CHECK(caption_of(results).find("; 4 of 10 jobs done; ") != std::string::npos);
  Report report{.results = results, .files = {}, .gallery = {}, .remarks = {}};
  report.files.resize(results.runs.size());
  CHECK(report_page(report).find("This study is not finished: 4 of 10 jobs done.") !=
        std::string::npos);
  const Json json = to_json(results);
  CHECK(json["jobs"] == 10);
  CHECK(to_json(results_from_json(json, "results.json")) == json);
  results.cells[2].jobs = 1;
  CHECK(StudyView(results).best->name == "L_KLD");
}

TEST_CASE("study: Holm corrects for the distilled rows of a column, and for no other") {
  Results results = begun_study();
  results.cells.push_back(results.cells[2]);
  results.cells.back().name = "L_MSE";
  results.runs.clear();
  const std::vector<double> gains = {0.01, 0.02, 0.03, 0.04, 0.05, -0.001};
  for (const Cell& cell : results.cells) {
    add_run(results, cell.name, "a", 0, 0);
    results.runs.back().images.clear();
    for (size_t i = 0; i < gains.size(); ++i)
      results.runs.back().images.push_back({.name = std::string(1, static_cast<char>('p' + i)),
                                            .lesion = true,
                                            .dice = 0.5 + (cell.role == "distilled" ? gains[i]
                                                           : cell.role == "teacher" ? 0.3
                                                                                    : 0)});
  }
  results.table = table_of(results);
  for (const size_t distilled : {size_t{2}, size_t{3}}) {
    const Comparison& c = results.table[distilled].to_student;
    CHECK(near(c.wilcoxon_p, 4.0 / 64));  // of 64 signs two leave a sum of at most 1, on both sides
    CHECK(near(c.wilcoxon_p_holm, 2 * c.wilcoxon_p));  // of two, not of the teacher's as well
    CHECK(near(c.ttest_p_holm, 2 * c.ttest_p));
  }
  CHECK(std::isfinite(results.table[0].to_student.wilcoxon_p));
  CHECK(std::isnan(results.table[0].to_student.wilcoxon_p_holm));
  CHECK(std::isnan(results.table[1].to_teacher.wilcoxon_p_holm));
}
