// The sections of a report that are tables.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "apps/console.h"
#include "apps/study/figures.h"
#include "apps/study/html.h"
#include "apps/study/report_sections.h"
#include "apps/study/statistics.h"

namespace decant::apps {
namespace {

// Cells of a row are texts; the first names it. `words`: how many columns hold words, not figures.
std::string table(const std::string& caption, const std::vector<std::string>& columns,
                  const std::vector<std::vector<std::string>>& rows, size_t words = 1) {
  std::string html =
      str("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"", escaped(caption),
          "\"><table>\n<caption>", escaped(caption), "</caption>\n<thead><tr>");
  const auto kind = [&](size_t column) { return column < words ? "" : " class=\"figure\""; };
  for (size_t c = 0; c < columns.size(); ++c)
    html += str("<th scope=\"col\"", kind(c), ">", escaped(columns[c]), "</th>");
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    html += "<tr>";
    for (size_t c = 0; c < row.size(); ++c)
      html += c == 0 ? str("<th scope=\"row\">", escaped(row[c]), "</th>")
                     : str("<td", kind(c), ">", escaped(c < words ? row[c] : typographic(row[c])),
                           "</td>");
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string spread(double mean, double std) {
  const std::string text = figure(mean, 4);
  return std::isfinite(std) ? str(text, " +- ", figure(std, 4)) : text;
}

std::vector<std::string> comparison_row(const std::string& cell, const Comparison& to) {
  return {cell,
          points_text(to.points),
          points_text(to.ci95),
          p_text(to.wilcoxon_p, to.wilcoxon_exact.value_or(true)),
          p_text(to.wilcoxon_p_holm),
          p_text(to.ttest_p),
          p_text(to.ttest_p_holm),
          signed_text(to.effect_size, 2)};
}

// The rows that have a difference to tell of; "" without any.
std::string comparison_table(const Results& results, const std::string& caption,
                             Comparison TableRow::* to) {
  std::vector<std::vector<std::string>> rows;
  for (const TableRow& row : results.table)
    if (std::isfinite((row.*to).points)) rows.push_back(comparison_row(row.cell, row.*to));
  if (rows.empty()) return "";
  return table(caption,
               {"network", "points", "95 % interval", "Wilcoxon p", "Wilcoxon, after Holm",
                "t-test p", "t-test, after Holm", "effect size d"},
               rows);
}

std::string networks_table(const StudyView& view) {
  const bool seeds = has_seeds(view.results);
  std::vector<std::string> columns = {
      "name",   "network",    "role",  "Dice over images", "Dice over splits", "images",
      "splits", "parameters", "MMACs", "ms per image",     "MB on disk"};
  if (seeds) columns.insert(columns.end(), {"± over seeds", "seeds"});
  std::vector<std::vector<std::string>> rows;
  for (const TableRow& row : view.results.table) {
    const Cell& cell = view.results.cell(row.cell);
    rows.push_back(
        {row.cell, cell.network, cell.role, spread(row.dice_images_mean, row.dice_images_std),
         spread(row.dice_splits_mean, row.dice_splits_std), str(row.n_images), str(row.n_splits),
         grouped(cell.parameters),
         rounded(static_cast<double>(cell.macs) / 1e6, cell.macs < 100'000'000 ? 1 : 0),
         figure(cell.latency_ms, 2), rounded(static_cast<double>(cell.bytes_on_disk) / 1e6, 2)});
    if (seeds)
      rows.back().insert(rows.back().end(), {figure(row.dice_seeds_std.value_or(kNoFigure), 4),
                                             str(row.n_seeds.value_or(1))});
  }
  return table("Dice and cost of every network", columns, rows, 3);
}

std::string runs_table(const Results& results) {
  std::vector<std::vector<std::string>> rows;
  for (const RunResult& run : results.runs) {
    std::vector<double> dice;
    for (const ImageResult& image : run.images)
      if (image.lesion && std::isfinite(image.dice)) dice.push_back(image.dice);
    const MeanStd found = mean_std(dice);
    rows.push_back({run.cell, run.split, str(run.seed), run.part,
                    run.label.value_or(run.chose_checkpoint ? "chose it" : "new to it"),
                    str(dice.size()), spread(found.mean, found.std), str(run.epochs),
                    str(run.best_epoch)});
  }
  return table("Every run",
               {"name", "split", "seed", "part", "its images", "with a lesion", "Dice", "epochs",
                "best epoch"},
               rows, 5);
}

// Every value of a config by its full key.
void flatten(const Json& json, const std::string& key, std::map<std::string, std::string>& into) {
  if (json.is_structured() && !json.empty()) {
    for (const auto& [name, value] : json.items())
      flatten(value, key.empty() ? name : str(key, ".", name), into);
    return;
  }
  if (!json.is_null()) into[key] = json.is_string() ? json.get<std::string>() : json.dump();
}

using Settings = std::map<std::string, std::string>;

std::string setting(const Settings& of, const std::string& key) {
  const auto found = of.find(key);
  return found == of.end() || found->second.empty() ? "–" : found->second;
}

// Columns of settings: of more runs than fit the first of every network, of more networks than fit
// the first ones.
constexpr size_t kMostColumns = 24;

struct Compared {
  std::vector<Settings> runs;  // all that have settings
  std::vector<std::string> columns = {"setting"};
  std::vector<size_t> shown;  // in `runs`, those of the columns behind the first
  std::string note;
};

Compared compared_settings(const Report& report) {
  const auto with_config = std::ranges::count_if(
      report.files, [](const RunFiles& files) { return !files.config.is_null(); });
  const bool each = std::cmp_less_equal(with_config, kMostColumns);
  Compared compared;
  std::set<std::string> networks;
  for (size_t i = 0; i < report.files.size(); ++i) {
    if (report.files[i].config.is_null()) continue;
    Settings& settings = compared.runs.emplace_back();
    flatten(report.files[i].config, "", settings);
    for (const char* key : {"seed", "data.split", "distill.teacher"})  // a run's, not its network's
      if (!each) settings.erase(key);
    const RunResult& run = report.results.runs[i];
    const bool first = networks.insert(run.cell).second;
    if ((!each && !first) || compared.shown.size() == kMostColumns) continue;
    compared.columns.push_back(each ? run.folder : run.cell);
    compared.shown.push_back(compared.runs.size() - 1);
  }
  if (!each)
    compared.note = str("<p class=\"note\">Settings are of the first run of each network",
                        networks.size() > kMostColumns
                            ? str(", of the first ", kMostColumns, " of ", networks.size(),
                                  " networks; whether a setting differs is told of all, and the "
                                  "others have theirs in config.json")
                            : "",
                        ".</p>\n");
  return compared;
}

// What all share in one table, what tells them apart in another.
std::string settings_tables(const Report& report) {
  const Compared compared = compared_settings(report);
  if (compared.runs.empty()) return "";
  std::set<std::string> keys;
  for (const Settings& run : compared.runs)
    for (const auto& [key, value] : run) keys.insert(key);
  std::vector<std::vector<std::string>> shared;
  std::vector<std::vector<std::string>> apart;
  for (const std::string& key : keys) {
    const std::string first = setting(compared.runs[0], key);
    const auto is_first = [&](const Settings& run) { return setting(run, key) == first; };
    if (std::ranges::all_of(compared.runs, is_first)) {
      shared.push_back({key, first});
      continue;
    }
    std::vector<std::string>& row = apart.emplace_back(1, key);
    for (const size_t run : compared.shown) row.push_back(setting(compared.runs[run], key));
  }
  std::string html;
  if (!apart.empty())
    html = table("Settings that tell the runs apart", compared.columns, apart,
                 compared.columns.size());
  const char* whose = compared.runs.size() == 1 ? "the run" : "all runs";
  return str(html, "<details><summary>Settings of ", whose, "</summary>\n",
             table("Settings", {"setting", "value"}, shared, 2), "</details>\n", compared.note);
}

// A member of a run's provenance: words as they are, digests as such; "–" where it is not there.
std::string noted(const Json& provenance, const char* key) {
  const auto found = provenance.is_object() ? provenance.find(key) : provenance.end();
  if (found == provenance.end()) return "–";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_number_unsigned() || *found == 0) return "–";
  return hexadecimal(found->get<uint64_t>());
}

std::string took(const Json& provenance) {
  const auto seconds = provenance.is_object() ? provenance.find("seconds") : provenance.end();
  return seconds != provenance.end() && seconds->is_number() ? duration_text(seconds->get<double>())
                                                             : "–";
}

std::string runs_provenance(const Report& report) {
  std::vector<std::vector<std::string>> rows;
  bool any = false;
  for (size_t i = 0; i < report.results.runs.size(); ++i) {
    const RunResult& run = report.results.runs[i];
    const Json& from = report.files[i].provenance;
    any = any || from.is_object();
    rows.push_back({run.folder, run.cell, run.split, str(run.seed),
                    str(run.best_epoch, " of ", run.epochs), noted(from, "arithmetic"),
                    noted(from, "host"), took(from), noted(from, "program"),
                    noted(from, "checkpoint_digest"), noted(from, "teacher_digest"),
                    noted(from, "init_digest")});
  }
  if (!any) return "";
  const std::vector<std::string> columns = {
      "run",  "network",   "split",   "seed",       "best epoch",           "device",
      "host", "last took", "program", "checkpoint", "teacher's checkpoint", "began with"};
  return "<details><summary>Where every run comes from</summary>\n" +
         table("Digests, program and device of every run", columns, rows, columns.size()) +
         "</details>\n";
}

}  // namespace

std::string tables_section(const Report& report, const StudyView& view) {
  if (report.results.table.empty()) return "";
  return networks_table(view) +
         comparison_table(report.results, "Against the student alone, paired over images",
                          &TableRow::to_student) +
         comparison_table(report.results, "Against the teacher, paired over images",
                          &TableRow::to_teacher) +
         "<p class=\"note\">± is the standard deviation over images with a lesion, and over splits "
         "their means'; over seeds that of a split's mean from seed to seed. p-values are "
         "two-sided: "
         "Wilcoxon's signed-rank test (Pratt) and the paired t-test, ≈ marks the normal "
         "approximation to the first; Holm corrects for the distilled "
         "rows of a table. The effect size is Cohen's d of the "
         "differences. MMACs are millions of multiply-adds for one image. " +
         escaped(references_text(report.results)) + "</p>\n" + runs_table(report.results);
}

std::string provenance_section(const Report& report) {
  const Results& results = report.results;
  std::vector<std::vector<std::string>> facts = {{"program", "decant " + results.program},
                                                 {"data", results.data.path},
                                                 {"layout", results.data.layout},
                                                 {"images", str(results.data.images)},
                                                 {"jobs", jobs_text(results)},
                                                 {"checksum", results.data.checksum}};
  std::erase_if(facts, [](const auto& fact) { return fact[1].empty(); });
  return table("Where the figures come from", {"what", "value"}, facts, 2) +
         runs_provenance(report) + settings_tables(report);
}

}  // namespace decant::apps
