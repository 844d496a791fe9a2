#include "apps/study/report_sections.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "apps/console.h"
#include "apps/study/charts.h"
#include "apps/study/figures.h"
#include "apps/study/html.h"

namespace decant::apps {
namespace {

constexpr const char* kNone = "–";

// What a page draws at most, so that one of a thousand images and thirty networks opens as well as
// a small one.
constexpr size_t kMostDots = 9'000;      // of a chart, but no fewer than 40 of a row
constexpr size_t kMostPoints = 200'000;  // of all curves, but no fewer than 50 of a curve
constexpr size_t kMostRows = 40;         // of the heat map
constexpr size_t kMostColumns = 6;

int colour_of(const Cell& cell, const StudyView& view) {
  if (cell.role == "teacher") return 4;
  if (cell.role == "student") return 6;
  return &cell == view.best ? 1 : 0;
}

std::string dice_text(double value) {
  return std::isfinite(value) ? rounded(value, 3) : kNone;
}

// To two digits at least: "16", "8.0", "0.45".
std::string two_digits(double value) {
  return rounded(value,
                 value > 0 ? std::max(0, 1 - static_cast<int>(std::floor(std::log10(value)))) : 0);
}

std::string times_text(double ratio) {
  return str(rounded(ratio, ratio < 10 ? 1 : 0), " ×");
}

}  // namespace

std::string points_text(double points) {
  return typographic(signed_text(points, 1));
}

std::string points_text(const std::array<double, 2>& interval) {
  return typographic(interval_text(interval, 1));
}

// --- summary ---

namespace {

struct Card {
  std::string name;
  std::string figure;
  std::string note;
};

std::string cards(const std::vector<Card>& all) {
  std::string html = "<dl class=\"cards\">\n";
  for (const Card& card : all)
    html += str("<div><dt>", escaped(card.name), "</dt><dd><b>", escaped(card.figure), "</b> ",
                escaped(card.note), "</dd></div>\n");
  return html + "</dl>\n";
}

Card against(const std::string& whom, const Comparison& comparison) {
  std::string note = "points of Dice";
  if (std::isfinite(comparison.ci95[0]))
    note += str("; 95 % interval ", points_text(comparison.ci95), ", Wilcoxon's p ",
                typographic(p_text(comparison.wilcoxon_p_holm)), " after Holm");
  return {"Against " + whom, points_text(comparison.points), note};
}

// The student alone that no distilled network is better than, with its Dice, or of several in
// words; "" where one is better. Only of networks whose runs are all done.
std::string unbeaten(const StudyView& view) {
  std::set<std::string> students;
  for (const Cell& cell : view.results.cells) {
    const TableRow* row = view.row(cell.name);
    if (cell.role != "distilled" || row == nullptr || !view.complete(cell) ||
        !std::isfinite(row->to_student.points))
      continue;
    if (row->to_student.points > 0) return "";
    if (const Cell* student = view.student_of(cell)) students.insert(student->name);
  }
  if (students.empty()) return "";
  if (students.size() > 1) return "the same network alone";
  const std::string& student = *students.begin();
  return str("the student alone (", student, ", ", dice_text(view.dice(student)), ")");
}

}  // namespace

std::string summary_section(const Report& report, const StudyView& view) {
  const Cell* best = view.best;
  const TableRow* row = best == nullptr ? nullptr : view.row(best->name);
  std::string html;
  if (row != nullptr) {
    std::vector<Card> all = {
        {(best->role == "distilled" && view.results.cells.size() > 1 ? "Best distilled: " : "") +
             best->name,
         dice_text(row->dice_images_mean),
         str("mean Dice, ± ", dice_text(row->dice_images_std), " over ", row->n_images,
             row->n_images == 1 ? " image" : " images", " with a lesion")}};
    const Cell* teacher = view.teacher_of(*best);
    if (std::isfinite(row->to_student.points))
      all.push_back(against("the student alone", row->to_student));
    if (teacher != nullptr && view.row(teacher->name) != nullptr) {
      all.push_back(against("its teacher", row->to_teacher));
      all.push_back(
          {"Smaller than the teacher",
           times_text(static_cast<double>(teacher->parameters) /
                      static_cast<double>(best->parameters)),
           str(short_number(static_cast<double>(best->parameters)), " parameters instead of ",
               short_number(static_cast<double>(teacher->parameters)))});
      if (best->latency_ms > 0 && teacher->latency_ms > 0) {
        const std::string mine = two_digits(best->latency_ms);
        const std::string other = two_digits(teacher->latency_ms);
        // Of the figures as they are shown: what stands beside them agrees with them.
        const double ratio = std::stod(other) / std::stod(mine);
        const std::string times = times_text(std::max(ratio, 1 / ratio));
        const char* name = times == times_text(1) ? "As fast as the teacher"
                           : ratio > 1            ? "Faster than the teacher"
                                                  : "Slower than the teacher";
        all.push_back({name, times, str(mine, " ms per image instead of ", other)});
      }
    }
    html += cards(all);
    html +=
        "<p class=\"note\">Dice is how far the lesion that a network draws and the true one "
        "overlap: 0 not at all, 1 to the pixel. A point is a hundredth of it.</p>\n";
    if (const std::string alone = unbeaten(view); !alone.empty())
      html +=
          str("<p class=\"note\">No distilled network is better than ", escaped(alone), ".</p>\n");
    const auto distilled = std::ranges::count(view.results.cells, "distilled", &Cell::role);
    if (best->role == "distilled" && distilled > 1)
      html += str("<p class=\"note\">", escaped(best->name), " is the best of ", distilled,
                  " by these very images, which flatters it: the tables below show all.</p>\n");
  }
  if (view.chose_checkpoints())
    html +=
        "<p class=\"note\">Validation images chose the checkpoints, and figures here stand on "
        "them: expect less on new images.</p>\n";
  if (report.results.jobs && std::cmp_less(report.results.runs.size(), *report.results.jobs))
    html += str("<p class=\"note\">This study is not finished: ", jobs_text(report.results),
                ". Networks are compared on the images, splits and seeds that both have; only one "
                "whose runs are all done is called the best.</p>\n");
  if (const std::string untimed = untimed_text(report.results); !untimed.empty())
    html += str("<p class=\"note\">", escaped(untimed), "</p>\n");
  const std::string programs = several_programs(report.results);
  if (!programs.empty()) html += str("<p class=\"note\">", escaped(programs), "</p>\n");
  for (const std::string& remark : report.remarks)
    html += str("<p class=\"note\">", escaped(remark), "</p>\n");
  return html;
}

// --- the matrix ---

std::string matrix_section(const StudyView& view) {
  HeatMap map{.text = {.id = "matrix",
                       .title = "Mean Dice by pathway, loss and teacher",
                       .description = ""},
              .corner = "teacher:",
              .least_span = 0.05,
              .bounds = std::array{0.0, 1.0}};
  const auto fits = [](const std::vector<std::string>& names, const std::string& name,
                       size_t most) {
    return names.size() < most || std::ranges::find(names, name) != names.end();
  };
  const auto index = [](std::vector<std::string>& names, const std::string& name) {
    const auto found = std::ranges::find(names, name);
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
    names.push_back(name);
    return names.size() - 1;
  };
  const auto column_of = [](const Cell& cell) { return cell.teacher_augment.value_or("any"); };
  const auto row_of = [](const Cell& cell) { return *cell.pathway + " " + *cell.loss; };
  const auto has_place = [](const Cell& cell) { return cell.pathway && cell.loss; };
  size_t left_out = 0;
  for (const Cell& cell : view.results.cells) {
    const TableRow* row = view.row(cell.name);
    if (row == nullptr || !has_place(cell)) continue;
    // Cells of one place differ along a further axis of the study, which their names tell.
    const bool alone = std::ranges::count_if(view.results.cells, [&](const Cell& other) {
                         return has_place(other) && row_of(other) == row_of(cell) &&
                                column_of(other) == column_of(cell);
                       }) == 1;
    const std::string name = alone ? row_of(cell) : cell.name;
    if (!fits(map.columns, column_of(cell), kMostColumns) || !fits(map.rows, name, kMostRows)) {
      ++left_out;
      continue;
    }
    const size_t c = index(map.columns, column_of(cell));
    const size_t r = index(map.rows, name);
    map.fields.resize(map.rows.size());
    for (auto& fields : map.fields) fields.resize(map.columns.size());
    map.fields[r][c] = HeatField{row->dice_images_mean, dice_text(row->dice_images_mean),
                                 "± " + dice_text(row->dice_images_std)};
    map.text.description +=
        str(name, ", ", map.columns[c], " teacher: ", dice_text(row->dice_images_mean), ". ");
  }
  if (map.rows.empty()) return "";
  return "<div class=\"charts\">" + heat_map(map) +
         "</div>\n<p class=\"note\">Rows: what of its teacher a student imitates (logits: the "
         "answers; "
         "hidden: the encoder's last map; regressor: the same after convolutions that fit it to "
         "the "
         "teacher's) and by which loss. Columns: how strongly the teacher's training images were "
         "augmented. Stronger colour is higher Dice; ± is the deviation over images." +
         (left_out == 0 ? ""
                        : str(" Networks left out here: ", left_out, "; the tables have them.")) +
         "</p>\n";
}

// --- Dice per image ---

namespace {

Strip dice_strip(const Cell& cell, const StudyView& view) {
  Strip strip{.name = cell.name, .colour = colour_of(cell, view)};
  for (const auto& [image, dice] : view.dice_by_image(cell)) strip.dots.push_back({dice, image});
  strip.mean = view.dice(cell.name);
  strip.figure = dice_text(strip.mean);
  return strip;
}

// Of the images that both were asked about.
Strip difference_strip(const Cell& cell, const Cell& reference, const Comparison& comparison,
                       const StudyView& view) {
  Strip strip{.name = cell.name, .colour = colour_of(cell, view)};
  for (const auto& [image, points] : view.points_by_image(cell, reference))
    strip.dots.push_back({points, image});
  strip.mean = comparison.points;
  strip.interval = comparison.ci95;
  strip.figure = points_text(comparison.points);
  return strip;
}

std::string means_text(const std::vector<Strip>& strips) {
  std::string text;
  for (const Strip& strip : strips) text += str(strip.name, ": mean ", strip.figure, ". ");
  return text;
}

// Dots of a row at most.
size_t most_dots(const StudyView& view) {
  return std::max<size_t>(40, kMostDots / std::max<size_t>(1, view.results.cells.size()));
}

std::string drawn(StripPlot plot, const StudyView& view) {
  plot.text.description = means_text(plot.strips);
  for (Strip& strip : plot.strips) strip.dots = thinned(std::move(strip.dots), most_dots(view));
  return strip_plot(plot);
}

std::string differences(const StudyView& view, bool to_teacher) {
  StripPlot plot{.text = {.id = to_teacher ? "to-teacher" : "to-student",
                          .title = to_teacher ? "Paired difference to the own teacher"
                                              : "Paired difference to the student alone",
                          .description = ""},
                 .x_label = "points of Dice, one dot per image"};
  for (const Cell& cell : view.results.cells) {
    const TableRow* row = view.row(cell.name);
    const Cell* reference = to_teacher ? view.teacher_of(cell) : view.student_of(cell);
    if (row == nullptr || reference == nullptr || reference == &cell) continue;
    if (!to_teacher && cell.role == "teacher") continue;
    Strip strip =
        difference_strip(cell, *reference, to_teacher ? row->to_teacher : row->to_student, view);
    if (!strip.dots.empty()) plot.strips.push_back(std::move(strip));
  }
  if (plot.strips.empty()) return "";
  return drawn(std::move(plot), view);
}

}  // namespace

std::string images_section(const StudyView& view) {
  StripPlot plot{.text = {.id = "dice", .title = "Dice of every image", .description = ""},
                 .x_label = "Dice, one dot per image with a lesion",
                 .range = std::array{0.0, 1.0}};
  for (const Cell& cell : view.results.cells)
    if (view.row(cell.name) != nullptr) plot.strips.push_back(dice_strip(cell, view));
  if (plot.strips.empty()) return "";
  size_t dots = 0;
  for (const Strip& strip : plot.strips) dots = std::max(dots, strip.dots.size());
  std::string note;
  if (const size_t most = most_dots(view); dots > most)
    note = str(" A row has at most ", most, " dots of up to ", dots,
               ", at even ranks, the lowest and the highest among them; means, intervals and "
               "tables are of all images.");
  return "<div class=\"charts\">\n" + drawn(std::move(plot), view) + differences(view, false) +
         differences(view, true) +
         "</div>\n<p class=\"note\">The upright line is the mean, the bar its 95 % bootstrap "
         "interval. Differences pair the same image of the same split." +
         note + "</p>\n";
}

// --- accuracy against cost ---

namespace {

std::string cost_chart(const StudyView& view, const ChartText& text, const std::string& x_label,
                       double (*cost)(const Cell&)) {
  Scatter chart{.text = text, .x_label = x_label, .y_label = "mean Dice", .points = {}};
  for (const Cell& cell : view.results.cells) {
    const double x = cost(cell);
    const double y = view.dice(cell.name);
    if (!(x > 0) || !std::isfinite(y)) continue;
    const bool few = view.results.cells.size() <= 6;
    chart.points.push_back(
        {.name = cell.name,
         .x = x,
         .y = y,
         .mark = cell.role == "teacher"   ? Mark::square
                 : cell.role == "student" ? Mark::diamond
                                          : Mark::circle,
         .colour = colour_of(cell, view),
         .labelled = few || cell.role != "distilled" || &cell == view.best,
         .detail = str("Dice ", dice_text(y), " at ", short_number(x), " ", x_label)});
    chart.text.description += str(cell.name, ": ", chart.points.back().detail, ". ");
  }
  return chart.points.empty() ? "" : scatter(chart);
}

}  // namespace

std::string cost_section(const StudyView& view) {
  const std::string parameters = cost_chart(
      view, {.id = "by-parameters", .title = "Dice against size", .description = ""}, "parameters",
      [](const Cell& cell) { return static_cast<double>(cell.parameters); });
  const std::string latency =
      cost_chart(view, {.id = "by-latency", .title = "Dice against time", .description = ""},
                 "ms per image", [](const Cell& cell) { return cell.latency_ms; });
  if (parameters.empty() && latency.empty()) return "";
  return "<div class=\"charts\">\n" + parameters + latency +
         "</div>\n<p class=\"note\">Squares are teachers, the diamond is the student alone, "
         "circles "
         "are distilled students. Up and to the left is better. " +
         (latency.empty() ? "" : escaped(timed_text(view.results))) + "</p>\n";
}

// --- gallery ---

std::string gallery_section(const Report& report) {
  if (!report.gallery || report.gallery->pictures.empty()) return "";
  const Gallery& gallery = *report.gallery;
  const auto key = [](const char* colour, const char* words) {
    return str("<span class=\"key\"><span class=\"swatch ", colour, "\"></span>", words,
               "</span> ");
  };
  const bool taught = !gallery.teacher.empty();
  std::string html = str("<p>Student: ", escaped(gallery.student),
                         taught ? ". Teacher: " + escaped(gallery.teacher) : "", ".</p>\n<p>",
                         key("truth", "truth"), taught ? key("teacher", "teacher") : "",
                         key("student", "student"), key("right", "right"), key("missed", "missed"),
                         key("invented", "no lesion there"), "</p>\n");
  for (const Gallery::Picture& picture : gallery.pictures) {
    std::string rank = picture.rank;
    rank[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(rank[0])));
    html +=
        str("<h3>", escaped(rank), ": ", escaped(picture.image), "</h3>\n<div class=\"panels\">\n");
    for (const Panel& panel : picture.panels) {
      std::string name = panel.title;
      std::ranges::transform(name.begin() + 1, name.end(), name.begin() + 1,
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      std::string caption = name;
      if (name == "Student") caption += str(", Dice ", dice_text(picture.student_dice));
      if (name == "Teacher") caption += str(", Dice ", dice_text(picture.teacher_dice));
      html +=
          str("<figure><img src=\"", data_uri(panel.image), "\" width=\"", panel.image.width,
              "\" height=\"", panel.image.height, "\" alt=\"", escaped(picture.image), ": ",
              escaped(caption), "\"><figcaption>", escaped(caption), "</figcaption></figure>\n");
    }
    html += "</div>\n";
  }
  return html;
}

// --- learning curves ---

namespace {

Line curve(const std::string& name, int colour, const Curves& curves, const Curves::Column& column,
           int64_t best_epoch) {
  return {.name = name,
          .colour = colour,
          .x = curves.epochs,
          .y = column.values,
          .marked = static_cast<double>(best_epoch)};
}

struct NamedRun {
  std::string name;
  size_t run;
};

// Whether a column of every run is one value: its settings tell that.
bool is_constant(const std::string& name, const Report& report, const std::vector<NamedRun>& runs) {
  return std::ranges::all_of(runs, [&](const NamedRun& of) {
    const Curves::Column* column = report.files[of.run].curves.find(name);
    return column == nullptr || column->values.empty() ||
           std::ranges::count(column->values, column->values.front()) == std::ssize(column->values);
  });
}

// A chart for every column that any of the runs has but a learning rate that is constant, a line of
// at most `most` points for each run.
std::string curve_charts(const Report& report, const std::string& id,
                         const std::vector<NamedRun>& runs, size_t most) {
  std::vector<std::string> columns;
  for (const NamedRun& of : runs)
    for (const Curves::Column& column : report.files[of.run].curves.columns)
      if (std::ranges::find(columns, column.name) == columns.end()) columns.push_back(column.name);
  std::string html;
  for (const std::string& name : columns) {
    if (name == "lr" && is_constant(name, report, runs)) continue;
    LineChart chart{
        .text = {.id = str(id, "-", name), .title = curve_title(name), .description = ""},
        .x_label = "epoch",
        .lines = {},
        .legend = runs.size() > 1};
    int colour = 0;
    for (const NamedRun& of : runs) {
      const Curves& curves = report.files[of.run].curves;
      const Curves::Column* column = curves.find(name);
      const int mine = colour++;
      if (column == nullptr || column->values.empty()) continue;
      chart.lines.push_back(thinned(
          curve(of.name, mine, curves, *column, report.results.runs[of.run].best_epoch), most));
      chart.text.description += str(of.name, ": from ", figure(column->values.front(), 4), " to ",
                                    figure(column->values.back(), 4), ". ");
    }
    if (!chart.lines.empty()) html += line_chart(chart);
  }
  return html.empty() ? "" : "<div class=\"charts\">\n" + html + "</div>\n";
}

std::string run_name(const RunResult& run, const Report& report) {
  return report.results.splits.size() > 1 ? str(run.split, ", seed ", run.seed)
                                          : str("seed ", run.seed);
}

}  // namespace

std::string curves_section(const Report& report, const StudyView& view) {
  const auto& runs = report.results.runs;
  size_t lines = 1;
  size_t epochs = 0;
  for (const RunFiles& files : report.files) {
    lines += files.curves.columns.size();
    epochs = std::max(epochs, files.curves.epochs.size());
  }
  const size_t most = std::max<size_t>(50, kMostPoints / lines);
  std::string note = "<p class=\"note\">A ring marks the epoch whose network was kept.";
  if (epochs > most)
    note += str(" Of up to ", epochs, " epochs at most ", most,
                ", and the one that was kept, are drawn, at even steps.");
  note += "</p>\n";
  std::vector<NamedRun> all;
  for (size_t i = 0; i < runs.size(); ++i) all.push_back({runs[i].cell, i});
  if (runs.size() == view.results.cells.size() && std::cmp_less_equal(runs.size(), kColours)) {
    const std::string charts = curve_charts(report, "curve", all, most);
    return charts.empty() ? "" : charts + note;
  }
  std::string html;
  for (size_t c = 0; c < view.results.cells.size(); ++c) {
    const Cell& cell = view.results.cells[c];
    std::vector<NamedRun> mine;
    for (const size_t i : view.runs_of(cell.name)) mine.push_back({run_name(runs[i], report), i});
    const std::string charts = curve_charts(report, str("curve", c), mine, most);
    if (charts.empty()) continue;
    html += str("<details", &cell == view.best ? " open" : "", "><summary>", escaped(cell.name),
                "</summary>\n", charts, "</details>\n");
  }
  return html.empty() ? "" : html + note;
}

}  // namespace decant::apps
