#include "apps/study/tables.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>

#include "apps/console.h"
#include "apps/study/escape.h"
#include "apps/study/figures.h"
#include "engine/core/error.h"

namespace decant::apps {
namespace {

using Line = std::vector<std::string>;

std::string with_std(double mean, double std) {
  return figure(100 * mean, 2) + " +- " + figure(100 * std, 2);
}

struct Column {
  std::string head;
  std::function<std::string(const TableRow&, const Cell&)> text;
  std::string of = {};  // which comparison it belongs to, where its head does not say
};

// The figures of one comparison; the terminal shows each group of columns on its own.
std::vector<Column> comparison(const std::string& to, Comparison TableRow::* of) {
  const auto column = [&](std::string head, auto text) {
    return Column{std::move(head),
                  [of, text](const TableRow& row, const Cell&) { return text(row.*of); }, to};
  };
  std::vector<Column> columns = {
      column("to " + to, [](const Comparison& c) { return signed_text(c.points, 2); }),
      column("95 % CI", [](const Comparison& c) { return interval_text(c.ci95, 2); }),
      column("Wilcoxon p",
             [](const Comparison& c) {
               return p_text(c.wilcoxon_p, c.wilcoxon_exact.value_or(true));
             }),
      column("Wilcoxon, Holm", [](const Comparison& c) { return p_text(c.wilcoxon_p_holm); }),
      column("t-test p", [](const Comparison& c) { return p_text(c.ttest_p); }),
      column("t-test, Holm", [](const Comparison& c) { return p_text(c.ttest_p_holm); }),
      column("d_z", [](const Comparison& c) { return signed_text(c.effect_size, 2); }),
  };
  columns.front().of.clear();
  return columns;
}

std::vector<Column> dice(bool seeds) {
  std::vector<Column> columns = {
      {"Dice %, images",
       [](const TableRow& r, const Cell&) {
         return with_std(r.dice_images_mean, r.dice_images_std);
       }},
      {"Dice %, splits",
       [](const TableRow& r, const Cell&) {
         return with_std(r.dice_splits_mean, r.dice_splits_std);
       }},
      {"images", [](const TableRow& r, const Cell&) { return std::to_string(r.n_images); }},
      {"splits", [](const TableRow& r, const Cell&) { return std::to_string(r.n_splits); }}};
  if (!seeds) return columns;
  columns.insert(columns.begin() + 2, {"+- over seeds", [](const TableRow& r, const Cell&) {
                                         return figure(100 * r.dice_seeds_std.value_or(kNoFigure),
                                                       2);
                                       }});
  columns.push_back({"seeds", [](const TableRow& r, const Cell&) {
                       return std::to_string(r.n_seeds.value_or(1));
                     }});
  return columns;
}

std::vector<Column> costs() {
  const auto millions = [](int64_t value, int places) {
    return rounded(static_cast<double>(value) / 1e6, places);
  };
  return {
      {"parameters", [](const TableRow&, const Cell& c) { return std::to_string(c.parameters); }},
      {"MMACs", [=](const TableRow&, const Cell& c) { return millions(c.macs, 1); }},
      {"ms per image", [](const TableRow&, const Cell& c) { return figure(c.latency_ms, 2); }},
      {"MB on disk", [=](const TableRow&, const Cell& c) { return millions(c.bytes_on_disk, 2); }}};
}

std::vector<std::vector<Column>> groups(const Results& results) {
  return {dice(has_seeds(results)), comparison("student", &TableRow::to_student),
          comparison("teacher", &TableRow::to_teacher), costs()};
}

// The first of a line is a name, which `escape` writes as the format wants it.
std::vector<Line> lines_of(const Results& results, const std::vector<Column>& columns,
                           std::string (*escape)(std::string_view)) {
  std::vector<Line> lines = {{"cell"}};
  for (const Column& column : columns) lines[0].push_back(column.head);
  for (const TableRow& row : results.table) {
    Line line = {escape(row.cell)};
    for (const Column& column : columns) line.push_back(column.text(row, results.cell(row.cell)));
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<Line> all_lines(const Results& results, std::string (*escape)(std::string_view)) {
  std::vector<Column> columns;
  for (const auto& group : groups(results))
    for (const Column& column : group) {
      columns.push_back(column);
      if (!column.of.empty()) columns.back().head += str(" (", column.of, ")");
    }
  return lines_of(results, columns, escape);
}

std::string joined(const Line& line, const std::string& between) {
  std::string text;
  for (size_t i = 0; i < line.size(); ++i) text += (i == 0 ? "" : between) + line[i];
  return text;
}

// What p-values and intervals are, in words.
constexpr const char* kMethods =
    "Differences in points of Dice; p-values are two-sided, of paired tests over images: "
    "Wilcoxon's signed ranks (zeros by Pratt; ~ marks the normal approximation), Student's t; "
    "Holm's correction over the distilled rows of a column; "
    "interval by bootstrap over images; d_z is Cohen's, mean over standard deviation of the "
    "differences.";

// What stands below a table; machines and programs as `escape` writes them.
std::string notes(const Results& results, std::string (*escape)(std::string_view)) {
  std::string text = escape(kMethods);
  if (const std::string references = references_text(results); !references.empty())
    text += " " + escape(references);
  if (has_seeds(results))
    text += " " + escape(str("+- over seeds is the standard deviation of a split's mean from seed ",
                             "to seed, pooled over splits."));
  if (const std::string timed = timed_text(results); !timed.empty()) text += " " + escape(timed);
  if (const std::string untimed = untimed_text(results); !untimed.empty())
    text += " " + escape(untimed);
  const std::string programs = escape(several_programs(results));
  return programs.empty() ? text : str(text, "\n", programs);
}

std::string text(const Results& results) {
  std::string all = str(plain_line(results.name), ". ", caption_of(results), "\n");
  for (const auto& group : groups(results))
    all += str("\n", columns_text(lines_of(results, group, plain_line), 1));
  return str(all, "\n", notes(results, plain_line), "\n");
}

std::string markdown(const Results& results) {
  const std::vector<Line> lines = all_lines(results, markdown_escaped);
  std::string all = str(caption_of(results), "\n\n");
  for (size_t i = 0; i < lines.size(); ++i) {
    all += str("| ", joined(lines[i], " | "), " |\n");
    if (i == 0) all += str("|", joined(Line(lines[0].size(), "---"), "|"), "|\n");
  }
  return str(all, "\n", notes(results, markdown_escaped), "\n");
}

// Words of our own and figures: "+-" is a sign of theirs.
std::string latex_words(const std::string& words) {
  std::string text;
  size_t begin = 0;
  for (size_t at = 0; (at = words.find("+-", begin)) != std::string::npos; begin = at + 2)
    text += latex_escaped(std::string_view(words).substr(begin, at - begin)) + "$\\pm$";
  return text + latex_escaped(std::string_view(words).substr(begin));
}

std::string latex(const Results& results) {
  const std::vector<Line> lines = all_lines(results, latex_escaped);
  // Its two dozen columns fit no page upright: lying, and no wider than the page is high.
  std::string all = str(
      "% needs the packages booktabs, graphicx and rotating\n\\begin{sidewaystable}\n\\caption{",
      latex_words(caption_of(results)), " ", notes(results, latex_escaped),
      "}\n\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}{l", std::string(lines[0].size() - 1, 'r'),
      "}\n\\toprule\n");
  for (size_t i = 0; i < lines.size(); ++i) {
    Line words = {lines[i][0]};
    for (size_t c = 1; c < lines[i].size(); ++c) words.push_back(latex_words(lines[i][c]));
    all += joined(words, " & ") + " \\\\\n" + (i == 0 ? "\\midrule\n" : "");
  }
  return all + "\\bottomrule\n\\end{tabular}}\n\\end{sidewaystable}\n";
}

std::string csv_word(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? csv_field(value.get<std::string>()) : value.dump();
}

// Rows with what their networks are and cost.
Json rows_of(const Results& results) {
  const Json json = to_json(results);
  Json rows = Json::array();
  for (Json row : json.at("table")) {
    for (const Json& cell : json.at("cells"))
      if (cell.at("name") == row.at("cell"))
        for (const auto& [key, value] : cell.items())
          if (key != "name") row[key] = value;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string csv(const Results& results) {
  std::string all;
  for (const Json& row : rows_of(results)) {
    Line head;
    Line words;
    const auto add = [&](const std::string& name, const Json& value) {
      head.push_back(name);
      words.push_back(csv_word(value));
    };
    for (const auto& [key, value] : row.items()) {
      if (value.is_array()) {
        add(key + "_low", value[0]);
        add(key + "_high", value[1]);
      } else {
        add(key, value);
      }
    }
    if (all.empty()) all = joined(head, ",") + "\n";
    all += joined(words, ",") + "\n";
  }
  return all;
}

}  // namespace

std::string caption_of(const Results& results) {
  int64_t images = 0;
  for (const TableRow& row : results.table) images = std::max(images, row.n_images);
  const bool chose = std::ranges::any_of(results.runs, &RunResult::chose_checkpoint);
  const std::string jobs = jobs_text(results);
  const size_t splits = results.splits.size();
  return str("Dice on ", images, images == 1 ? " image" : " images", " with a lesion, of ", splits,
             splits == 1 ? " split; " : " splits; ", jobs, jobs.empty() ? "" : "; ",
             chose ? "THESE IMAGES CHOSE THE CHECKPOINTS (val): expect less on new ones."
                   : "images that neither trained nor chose a checkpoint (test).",
             " Mean +- standard deviation over images, and over splits of their means.");
}

std::string table_text(const Results& results, const std::string& format) {
  if (format == "text") return text(results);
  if (format == "markdown") return markdown(results);
  if (format == "latex") return latex(results);
  if (format == "csv") return csv(results);
  if (format == "json") return rows_of(results).dump(1) + "\n";
  const std::vector<std::string> known = {"text", "markdown", "latex", "csv", "json"};
  throw Error(str("format: expected text, markdown, latex, csv or json, got \"", format, "\"",
                  suggestion(format, known)));
}

}  // namespace decant::apps
