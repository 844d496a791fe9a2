// The tables of a study: their figures by hand, and their forms.

#include "apps/study/tables.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "apps/study/collect.h"
#include "apps/study/results.h"
#include "apps/study/study_view.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("tables: an image that was tested twice is one image; means by hand") {
  Results results;
  results.splits = {"a", "b"};
  for (const char* name : {"teacher", "student", "L_KLD"})
    results.cells.push_back({.name = name, .role = name, .network = "thin_unet"});
  results.cells[2].teacher = "teacher";
  results.cells[0].student = results.cells[2].student = "student";
  const auto add = [&](const char* cell, const char* split, std::map<std::string, double> dice) {
    RunResult run;
    run.cell = cell;
    run.split = split;
    run.part = "test";
    run.chose_checkpoint = false;
    for (const auto& [name, value] : dice)
      run.images.push_back({.name = name, .lesion = name != "normal", .dice = value});
    results.runs.push_back(run);
  };
  add("teacher", "a", {{"x", 0.9}, {"y", 0.8}, {"normal", 0}});
  add("teacher", "b", {{"x", 0.7}, {"z", 0.6}});
  add("student", "a", {{"x", 0.5}, {"y", 0.4}, {"normal", 0}});
  add("student", "b", {{"x", 0.3}, {"z", 0.5}});
  add("L_KLD", "a", {{"x", 0.6}, {"y", 0.4}, {"normal", 1}});
  results.cells.push_back({.name = "larger", .role = "student", .network = "thin_unet"});
  results.cells.push_back({.name = "L_MSE", .role = "distilled", .network = "thin_unet"});
  results.cells.back().student = "larger";  // not the first student of its network
  add("larger", "a", {{"x", 0.8}, {"y", 0.8}});
  add("L_MSE", "a", {{"x", 0.9}, {"y", 0.8}});
  results.table = table_of(results);
  const auto near = [](double a, double b) { return std::fabs(a - b) < 1e-9; };
  const TableRow& teacher = results.table[0];
  CHECK(teacher.n_images == 3);  // x, once, y, z
  CHECK(teacher.n_splits == 2);
  CHECK(near(teacher.dice_images_mean, (0.8 + 0.8 + 0.6) / 3));
  CHECK(near(teacher.dice_splits_mean, (0.85 + 0.65) / 2));
  CHECK(near(teacher.dice_splits_std, 0.2 / std::sqrt(2.0)));
  CHECK(near(teacher.to_student.points, 100 * (0.4 + 0.4 + 0.1) / 3));
  CHECK(std::isnan(teacher.to_teacher.points));
  const TableRow& distilled = results.table[2];  // only in the split a: compared there
  CHECK(near(distilled.to_student.points, 100 * 0.1 / 2));
  CHECK(near(distilled.to_teacher.points, -100 * (0.3 + 0.4) / 2));
  CHECK(near(distilled.to_student.wilcoxon_p, 1));  // one zero, one difference
  CHECK(std::isnan(results.table[1].to_student.points));
  CHECK(near(results.table[4].to_student.points, 100 * 0.1 / 2));
  const StudyView view(results);
  CHECK(view.student_of(results.cell("L_MSE"))->name == "larger");
  CHECK(view.student_of(results.cell("student")) == nullptr);

  CHECK(contains(table_text(results, "text"), "73.33 +- 11.55"));
  CHECK(contains(table_text(results, "markdown"), "| L_KLD | 50.00 +- 14.14 |"));
  CHECK(contains(table_text(results, "latex"), "L\\_KLD & 50.00 $\\pm$ 14.14 &"));
  CHECK(contains(table_text(results, "csv"), "cell,dice_images_mean,"));
  CHECK(contains(table_text(results, "csv"), "wilcoxon_p,wilcoxon_exact,wilcoxon_p_holm"));
  CHECK(Json::parse(table_text(results, "json"))[2]["cell"] == "L_KLD");
  CHECK(Json::parse(table_text(results, "json"))[2]["part"] == "test");
  CHECK(contains(table_text(results, "csv"),
                 ",n_splits,n_seeds,dice_seeds_std,part,chose_checkpoint,"));
  CHECK(contains(table_text(results, "csv"), ",test,false,"));
  // Every format has the same facts, and no two columns one head.
  const Json row = Json::parse(table_text(results, "json"))[2];
  for (const char* key : {"role", "network", "parameters", "macs", "latency_ms", "pathway"})
    CHECK(row.contains(key));
  CHECK(row["network"] == "thin_unet");
  CHECK(contains(table_text(results, "markdown"),
                 "| to teacher | 95 % CI (teacher) | Wilcoxon p (teacher) | "
                 "Wilcoxon, Holm (teacher) |"));
  CHECK(contains(table_text(results, "text"), "\"to teacher\" is against teacher; "));
  CHECK(
      contains(table_text(results, "text"), "\"to student\" is against the same network alone, "));
  results.runs[0].chose_checkpoint = true;
  CHECK(contains(caption_of(results), "CHOSE THE CHECKPOINTS"));
  results.runs[1].part = "val";
  results.table = table_of(results);
  CHECK(results.table[0].part == "test+val");
  CHECK(results.table[0].chose_checkpoint == true);
}

TEST_CASE("tables: what a split's mean differs by from seed to seed has a column of its own") {
  Results results;
  results.splits = {"a", "b"};
  results.cells = {{.name = "student", .role = "student", .network = "thin_unet"}};
  const auto add = [&](const char* split, uint64_t seed, double dice) {
    RunResult run;
    run.cell = "student";
    run.split = split;
    run.seed = seed;
    run.part = "test";
    run.images = {{.name = split, .lesion = true, .dice = dice}};
    results.runs.push_back(run);
  };
  add("a", 0, 0.167);
  add("b", 0, 0.174);
  results.table = table_of(results);
  CHECK(results.table[0].n_seeds == 1);
  CHECK_FALSE(results.table[0].dice_seeds_std);
  CHECK_FALSE(contains(table_text(results, "text"), "seeds"));
  add("a", 1, 0.072);
  add("b", 1, 0.066);
  results.table = table_of(results);
  CHECK(results.table[0].n_seeds == 2);
  // 0.095 and 0.108 apart: variances of 0.095^2 / 2 and 0.108^2 / 2.
  const double pooled = std::sqrt((0.095 * 0.095 + 0.108 * 0.108) / 4);
  CHECK(results.table[0].dice_seeds_std.value() == doctest::Approx(pooled));
  CHECK(contains(table_text(results, "text"), " 7.19 "));
  for (const char* format : {"text", "markdown", "latex"})
    CHECK(contains(table_text(results, format), "over seeds"));
  CHECK(Json::parse(table_text(results, "json"))[0]["n_seeds"] == 2);
  CHECK(results_from_json(to_json(results), "x").table[0].n_seeds == 2);
}

TEST_CASE("tables: names of any letters stay names; what is approximated says so") {
  const std::string name = "a_b & <c> %d|e";
  Results results;
  results.name = name + "\x1b[2J";
  results.program = "1 build a";
  results.timed_on = "node_1 & 50%";
  results.splits = {"s"};
  results.cells = {{.name = name, .role = "student", .network = "thin_unet"}};
  results.runs.resize(1);
  results.runs[0].cell = name;
  results.runs[0].split = "s";
  results.runs[0].program = "2 build b_";
  results.table = {{.cell = name, .dice_images_mean = 0.5, .n_images = 3, .n_splits = 1}};
  results.table[0].to_student = {.points = -0.001, .wilcoxon_p = 0.03, .wilcoxon_exact = false};
  const std::string text = table_text(results, "text");
  CHECK(contains(text, name + "\uFFFD[2J. Dice on"));
  CHECK(contains(text, "~0.0300"));
  CHECK(contains(text, "1 run is by decant 2 build b_."));
  const std::string markdown = table_text(results, "markdown");
  CHECK(contains(markdown, "| a_b \\& \\<c\\> %d\\|e | 50.00 +- - |"));
  const std::string latex = table_text(results, "latex");
  CHECK(contains(latex, "\na\\_b \\& $<$c$>$ \\%d$|$e & 50.00 $\\pm$ - &"));
  CHECK(contains(latex, "& 0.00 & - & \\textasciitilde{}0.0300 &"));
  CHECK(contains(latex, "answers on node\\_1 \\& 50\\%."));
  CHECK(contains(latex, "Cohen's"));
  CHECK(contains(latex, " d\\_z is"));
  // As wide as the page, whatever its columns: every group that opens is closed again.
  CHECK(
      latex.starts_with("% needs the packages booktabs, graphicx and rotating\n"
                        "\\begin{sidewaystable}\n\\caption{"));
  CHECK(contains(latex, "}\n\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}{lrrrr"));
  CHECK(latex.ends_with("\\bottomrule\n\\end{tabular}}\n\\end{sidewaystable}\n"));
  CHECK(std::ranges::count(latex, '{') == std::ranges::count(latex, '}'));
  results.cells[0].name = results.runs[0].cell = results.table[0].cell = "a,\"b\"";
  CHECK(contains(table_text(results, "csv"), "\n\"a,\"\"b\"\"\",0.5,"));
}
