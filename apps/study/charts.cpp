#include "apps/study/charts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ranges>
#include <set>
#include <utility>

#include "apps/console.h"
#include "apps/study/html.h"
#include "apps/study/svg.h"
#include "engine/core/error.h"

namespace decant::apps {
namespace {

// Units of the viewBox. Charts are shown at 0.8 to 1.3 of them, from a phone to a desktop.
constexpr double kWidth = 440;
constexpr double kRight = kWidth - 14;

std::string colour_class(int colour) {
  return str("c", colour % kColours);
}

std::string line_class(int colour) {
  return str("curve ", colour_class(colour), colour >= kColours ? " dashed" : "");
}

// Names that differ do so at their ends ("L_KLD.temperature=4"): what does not fit loses its
// middle.
std::string shortened(const std::string& text, size_t most) {
  const size_t width = shown_width(text);
  if (width <= most) return text;
  const size_t front = most / 3;
  const size_t back = most - 1 - front;
  std::string kept;
  size_t shown = 0;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // a character in UTF-8
    if (begins && ++shown == front + 1) kept += "…";
    if (shown <= front || shown > width - back) kept += c;
  }
  return kept;
}

struct Span {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;

  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
  Span or_unit() const { return empty() ? Span{0, 1} : *this; }
};

std::string figure_of(const ChartText& text, std::string_view kind, const std::string& legend,
                      std::string svg) {
  return str("<figure class=\"chart ", kind, "\" id=\"", escaped(text.id), "\">\n<figcaption>",
             escaped(text.title), legend, "</figcaption>\n", svg, "</figure>\n");
}

std::string legend_of(const std::vector<Line>& lines) {
  std::string keys;
  for (const Line& line : lines)
    keys +=
        str("<span class=\"key\"><svg viewBox=\"0 0 20 8\" aria-hidden=\"true\"><path d=\"M0 "
            "4H20\" class=\"",
            line_class(line.colour), "\"/></svg>", escaped(line.name), "</span> ");
  return "<span class=\"legend\">" + keys + "</span>";
}

void draw(Svg& svg, const Line& line, const Scale& x, const Scale& y) {
  std::string d;
  bool pen_down = false;
  for (size_t i = 0; i < line.y.size(); ++i) {
    const bool drawn = std::isfinite(line.y[i]);
    if (drawn) d += str(pen_down ? 'L' : 'M', place(x(line.x[i])), " ", place(y(line.y[i])));
    if (drawn && !pen_down) d += "h0";  // a single point shows by its round cap
    pen_down = drawn;
  }
  if (!d.empty()) svg.path(d, line_class(line.colour), line.name);
  for (size_t i = 0; i < line.y.size(); ++i)
    if (line.marked == line.x[i] && std::isfinite(line.y[i]))
      svg.circle(x(line.x[i]), y(line.y[i]), 3.5, "chosen " + colour_class(line.colour),
                 str(line.name, ": ", tick_text(line.x[i]), ", ", figure(line.y[i], 4)));
}

}  // namespace

std::string line_chart(const LineChart& chart) {
  constexpr double kTop = 10;
  constexpr double kLeft = 56;
  constexpr double kBottom = 196;
  Span xs;
  Span ys;
  for (const Line& line : chart.lines) {
    for (const double x : line.x) xs.add(x);
    for (const double y : line.y) ys.add(y);
  }
  xs = xs.or_unit();
  ys = ys.or_unit();
  const bool wide = ys.low > 0 && ys.high > 100 * ys.low;
  const Scale y = wide ? Scale::logarithmic(ys.low, ys.high, kBottom, kTop)
                       : Scale::linear(ys.low, ys.high, kBottom, kTop);
  const Scale x = Scale::whole(xs.low, xs.high, kLeft, kRight, 7);
  Svg svg(chart.text, kWidth, 236);
  svg.grid_upward(y, kLeft, kRight);
  svg.grid_rightward(x, kBottom, kBottom);
  svg.text((kLeft + kRight) / 2, kBottom + 33, chart.x_label, "label middle");
  for (const Line& line : chart.lines) draw(svg, line, x, y);
  return figure_of(chart.text, "lines", chart.legend ? legend_of(chart.lines) : "",
                   std::move(svg).done());
}

std::string strip_plot(const StripPlot& plot) {
  constexpr double kRow = 34;
  constexpr double kLeft = 112;
  constexpr double kPlotRight = kWidth - 62;
  const double bottom = 6 + kRow * static_cast<double>(plot.strips.size());
  Span span;
  if (plot.range)
    span = {(*plot.range)[0], (*plot.range)[1]};
  else
    for (const Strip& strip : plot.strips)
      for (const Dot& dot : strip.dots) span.add(dot.value);
  span = span.or_unit();
  const Scale x = Scale::linear(span.low, span.high, kLeft, kPlotRight, 6);
  Svg svg(plot.text, kWidth, bottom + 40);
  svg.grid_rightward(x, 4, bottom);
  svg.text((kLeft + kPlotRight) / 2, bottom + 33, plot.x_label, "label middle");
  if (x.low() < 0 && x.high() > 0) svg.line(x(0), 4, x(0), bottom, "zero");
  for (size_t row = 0; row < plot.strips.size(); ++row) {
    const Strip& strip = plot.strips[row];
    const double y = 6 + kRow * (static_cast<double>(row) + 0.5);
    const std::string colour = colour_class(strip.colour);
    svg.text(kLeft - 10, y + 4, shortened(strip.name, 16), "name end", strip.name);
    for (size_t i = 0; i < strip.dots.size(); ++i) {
      // Spread over the row's height by the golden ratio: even, and the same in every drawing.
      const double share = std::fmod(static_cast<double>(i) * 0.6180339887, 1.0) - 0.5;
      const Dot& dot = strip.dots[i];
      if (std::isfinite(dot.value))
        svg.circle(x(dot.value), y + share * 0.62 * kRow, 2.4, "dot " + colour,
                   str(dot.name, ": ", figure(dot.value, 3)));
    }
    if (strip.interval && std::isfinite((*strip.interval)[0]))
      svg.line(x((*strip.interval)[0]), y, x((*strip.interval)[1]), y, "interval");
    if (std::isfinite(strip.mean)) svg.line(x(strip.mean), y - 12, x(strip.mean), y + 12, "mean");
    svg.text(kWidth - 4, y + 4, strip.figure, "value end");
  }
  return figure_of(plot.text, "strips", "", std::move(svg).done());
}

namespace {

// `count` indices of n at even steps, the first and the last among them.
std::set<size_t> even_steps(size_t n, size_t count) {
  std::set<size_t> steps;
  for (size_t i = 0; i < count; ++i) steps.insert(i * (n - 1) / (count - 1));
  return steps;
}

}  // namespace

std::vector<Dot> thinned(std::vector<Dot> dots, size_t most) {
  std::erase_if(dots, [](const Dot& dot) { return !std::isfinite(dot.value); });
  if (dots.size() <= most) return dots;
  std::vector<size_t> ranked(dots.size());
  std::iota(ranked.begin(), ranked.end(), size_t{0});
  std::ranges::stable_sort(ranked, {}, [&](size_t i) { return dots[i].value; });
  std::set<size_t> kept;
  for (const size_t rank : even_steps(dots.size(), most)) kept.insert(ranked[rank]);
  std::vector<Dot> fewer;
  for (const size_t i : kept) fewer.push_back(std::move(dots[i]));
  return fewer;
}

Line thinned(Line line, size_t most) {
  if (line.y.size() <= most) return line;
  std::set<size_t> kept = even_steps(line.y.size(), most);
  for (size_t i = 0; i < line.y.size(); ++i)
    if (line.marked == line.x[i]) kept.insert(i);
  Line fewer{.name = line.name, .colour = line.colour, .x = {}, .y = {}, .marked = line.marked};
  for (const size_t i : kept) {
    fewer.x.push_back(line.x[i]);
    fewer.y.push_back(line.y[i]);
  }
  return fewer;
}

namespace {

// A span that reaches over one of its bounds begins, or ends, there.
Span inside(const std::optional<std::array<double, 2>>& bounds, const Span& span) {
  if (!bounds) return span;
  const auto [low, high] = *bounds;
  const double shift = std::max(0.0, low - span.low) - std::max(0.0, span.high - high);
  return {std::max(low, span.low + shift), std::min(high, span.high + shift)};
}

}  // namespace

std::string heat_map(const HeatMap& map) {
  constexpr double kLeft = 112;
  constexpr double kTop = 26;
  constexpr double kRow = 44;
  const double column_width =
      (kWidth - kLeft) / std::max(1.0, static_cast<double>(map.columns.size()));
  const double bottom = kTop + kRow * static_cast<double>(map.rows.size());
  Span span;
  for (const auto& row : map.fields)
    for (const auto& field : row)
      if (field) span.add(field->value);
  const bool alike = rounded(span.low, 3) == rounded(span.high, 3);
  if (const double missing = map.least_span - (span.high - span.low); !alike && missing > 0)
    span = inside(map.bounds, {span.low - missing / 2, span.high + missing / 2});
  const std::string low = rounded(span.low, 3);
  const std::string high = rounded(span.high, 3);
  constexpr double kSingle = 0.5;  // the depth of values that do not differ to the eye
  const auto depth = [&](double value) {
    return alike ? kSingle : 0.08 + 0.92 * (value - span.low) / (span.high - span.low);
  };
  Svg svg(map.text, kWidth, bottom + 34);
  const auto left_of = [&](size_t column) {
    return kLeft + column_width * static_cast<double>(column);
  };
  const auto letters = static_cast<size_t>(column_width / 7);
  svg.text(kLeft - 10, kTop - 9, map.corner, "label end");
  for (size_t c = 0; c < map.columns.size(); ++c)
    svg.text(left_of(c) + column_width / 2, kTop - 9, shortened(map.columns[c], letters),
             "name middle", map.columns[c]);
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = kTop + kRow * static_cast<double>(r);
    svg.text(kLeft - 10, y + kRow / 2 + 4, shortened(map.rows[r], 16), "name end", map.rows[r]);
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const std::optional<HeatField>& field = map.fields[r][c];
      const double x = left_of(c);
      if (!field || !std::isfinite(field->value)) {
        svg.rect(x + 1, y + 1, column_width - 2, kRow - 2, "no-field");
        continue;
      }
      svg.with(str(" fill-opacity=\"", depth(field->value), "\""));
      svg.rect(x + 1, y + 1, column_width - 2, kRow - 2, "field",
               str(map.rows[r], ", ", map.columns[c], ": ", field->figure, " ", field->detail));
      // Where the field is too deep for the page's own ink, at 4.5:1, in the light and in the dark.
      const double deep = depth(field->value);
      const char* ink = deep > 0.68 ? " deep" : deep > 0.48 ? " half" : "";
      svg.text(x + column_width / 2, y + kRow / 2, field->figure, str("figure middle", ink));
      svg.text(x + column_width / 2, y + kRow / 2 + 14, field->detail, str("detail middle", ink));
    }
  }
  if (!span.empty()) {
    const int steps = alike ? 1 : 5;
    if (steps > 1) svg.text(kLeft - 10, bottom + 25, low, "tick end");
    for (int i = 0; i < steps; ++i) {
      const double at = span.low + (span.high - span.low) * i / std::max(1, steps - 1);
      svg.with(str(" fill-opacity=\"", depth(at), "\""));
      svg.rect(kLeft + 24 * i, bottom + 14, 24, 14, "field");
    }
    svg.text(kLeft + 24 * steps + 10, bottom + 25, high, "tick");
  }
  return figure_of(map.text, "heat", "", std::move(svg).done());
}

namespace {

std::string mark_path(Mark mark, double x, double y) {
  constexpr double r = 5;
  switch (mark) {
    case Mark::circle:
      return str("M", place(x - r), " ", place(y), "a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z");
    case Mark::square:
      return str("M", place(x - r), " ", place(y - r), "h10v10h-10z");
    case Mark::diamond:
      return str("M", place(x), " ", place(y - 6.5), "l6.5 6.5l-6.5 6.5l-6.5 -6.5z");
  }
  return "";
}

}  // namespace

std::string scatter(const Scatter& chart) {
  constexpr double kTop = 12;
  constexpr double kLeft = 56;
  constexpr double kBottom = 250;
  Span xs;
  Span ys;
  for (const ScatterPoint& point : chart.points) {
    xs.add(point.x);
    ys.add(point.y);
  }
  check(!xs.empty() && xs.low > 0, "scatter: expected positive values of ", chart.x_label);
  ys = ys.or_unit();
  const Scale x = Scale::logarithmic(xs.low, xs.high, kLeft + 12, kRight - 12, 6);
  const Scale y = Scale::linear(ys.low, ys.high, kBottom, kTop);
  Svg svg(chart.text, kWidth, 290);
  svg.grid_upward(y, kLeft, kRight);
  svg.grid_rightward(x, kTop, kBottom);
  svg.text((kLeft + kRight) / 2, kBottom + 33, chart.x_label, "label middle");
  svg.text(kLeft, kTop - 2, chart.y_label, "label");
  std::vector<const ScatterPoint*> drawn;
  for (const ScatterPoint& point : chart.points)
    if (std::isfinite(point.y)) drawn.push_back(&point);
  // Those with a label come last, so that no other lies over them.
  const std::ranges::subrange named =
      std::ranges::stable_partition(drawn, [](const auto* point) { return !point->labelled; });
  for (const ScatterPoint* point : drawn)
    svg.path(mark_path(point->mark, x(point->x), y(point->y)),
             "mark " + colour_class(point->colour), str(point->name, ": ", point->detail));
  std::vector<const ScatterPoint*> labelled(named.begin(), named.end());
  // Labels from above to below, none nearer to the one before than its height.
  std::ranges::sort(labelled, [](const auto* a, const auto* b) { return a->y > b->y; });
  constexpr double kLabel = 15;
  std::vector<double> places;
  for (const ScatterPoint* point : labelled) {
    const double own = y(point->y) + 4;
    places.push_back(places.empty() ? own : std::max(places.back() + kLabel, own));
  }
  double below = kBottom - 4 + kLabel;  // none hangs over the axis: those above make room
  for (double& place : std::views::reverse(places)) place = below = std::min(place, below - kLabel);
  for (size_t i = 0; i < labelled.size(); ++i) {
    const double at = x(labelled[i]->x);
    const bool rightward = at < (kLeft + kRight) / 2;
    svg.text(at + (rightward ? 10 : -10), places[i], shortened(labelled[i]->name, 24),
             rightward ? "name" : "name end");
  }
  return figure_of(chart.text, "scatter", "", std::move(svg).done());
}

}  // namespace decant::apps
