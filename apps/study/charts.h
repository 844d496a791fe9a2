#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace decant::apps {

/// Charts as inline SVG, each a <figure> with a caption, a legend where lines have names, and
/// <title> and <desc> for who hears it. They are as wide as their place (viewBox), take every
/// colour from the variables of chart_style(), and need no script: what a mark stands for is its
/// own <title>, which browsers show under the pointer. All texts are escaped here.

/// What every chart says of itself. `id` is unique in the page.
struct ChartText {
  std::string id;
  std::string title;
  std::string description;  ///< what there is to see, in words
};

/// A colour of the categorical palette (Okabe & Ito's, told apart by colour-blind people), by
/// number; from kColours on they come again, dashed in lines.
inline constexpr int kColours = 7;

struct Line {
  std::string name;
  int colour = 0;
  std::vector<double> x;
  std::vector<double> y;              ///< a value that is not finite breaks the line
  std::optional<double> marked = {};  ///< the x of a point to mark
};
struct LineChart {
  ChartText text;
  std::string x_label;
  std::vector<Line> lines = {};
  bool legend = true;  ///< the lines' names, above
};
/// x counts: its marks are whole numbers. y is logarithmic where all values are positive and span
/// more than two decades.
std::string line_chart(const LineChart& chart);

struct Dot {
  double value;
  std::string name;  ///< of what it stands for
};
/// A row of dots with their mean, and where it has one an interval around that.
struct Strip {
  std::string name;
  int colour = 0;
  std::vector<Dot> dots = {};
  double mean = 0;
  std::optional<std::array<double, 2>> interval = {};
  std::string figure = {};  ///< the mean in words, at the row's end
};
struct StripPlot {
  ChartText text;
  std::string x_label;
  std::optional<std::array<double, 2>> range = {};  ///< else that of the dots
  std::vector<Strip> strips = {};
};
std::string strip_plot(const StripPlot& plot);

/// At most `most` (2 or more) of the dots whose values are finite, in their order: those at even
/// ranks of their values, the lowest and the highest among them, so that they lie as all of them
/// do.
std::vector<Dot> thinned(std::vector<Dot> dots, size_t most);
/// At most `most` of a line's points, at even steps, the first and the last among them, and beside
/// them the marked one.
Line thinned(Line line, size_t most);

/// A field of a heat map: the figure that colours it, and its words.
struct HeatField {
  double value;
  std::string figure;
  std::string detail;  ///< under the figure, smaller
};
struct HeatMap {
  ChartText text;
  std::string corner = {};  ///< before the columns' names: what they name
  std::vector<std::string> columns = {};
  std::vector<std::string> rows = {};
  std::vector<std::vector<std::optional<HeatField>>> fields = {};  ///< [row][column]
  double least_span = 0;  ///< of the colours: values that differ by less do not use all of them
  std::optional<std::array<double, 2>> bounds = {};  ///< of all values: colours stay inside
};
std::string heat_map(const HeatMap& map);

enum class Mark { circle, square, diamond };
struct ScatterPoint {
  std::string name;
  double x;
  double y;
  Mark mark = Mark::circle;
  int colour = 0;
  bool labelled = false;
  std::string detail;
};
struct Scatter {
  ChartText text;
  std::string x_label;  ///< of a logarithmic axis
  std::string y_label;
  std::vector<ScatterPoint> points = {};
};
std::string scatter(const Scatter& chart);

/// The style that charts need, for light and dark: what stands between <style> and </style>.
std::string chart_style();

/// Values of a scale's marks between low and high: multiples of 1, 2 or 5 times a power of ten, at
/// most `most`; of a logarithmic scale powers of ten, with 2 and 5 times them where there is room.
std::vector<double> linear_ticks(double low, double high, int most);
std::vector<double> log_ticks(double low, double high, int most);

}  // namespace decant::apps
