#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/study/charts.h"

namespace decant::apps {

/// From values to places on a page, linear or logarithmic, with round marks.
class Scale {
 public:
  /// [low, high] is widened to the marks around it; `high` = `low` gets room.
  /// Throws Error where a logarithmic scale would hold a value that is not positive.
  static Scale linear(double low, double high, double from, double to, int most_ticks = 5);
  /// The same, not widened.
  static Scale tight(double low, double high, double from, double to, int most_ticks = 5);
  /// The same with marks at whole numbers only.
  static Scale whole(double low, double high, double from, double to, int most_ticks = 5);
  static Scale logarithmic(double low, double high, double from, double to, int most_ticks = 5);

  double operator()(double value) const;
  const std::vector<double>& ticks() const { return ticks_; }
  bool is_log() const { return log_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  bool log_ = false;
  double low_ = 0, high_ = 1;  // of values; their logarithms on a logarithmic scale
  double from_ = 0, to_ = 1;   // of places
  std::vector<double> ticks_;
};

/// A mark's value: "0.05", "20", "1.5 M"; "9.5e-05" where all of its scale are tiny.
std::string tick_text(double value, bool tiny = false);

/// One <svg>, mark by mark. Classes are those of chart_style(); texts are escaped here.
class Svg {
 public:
  Svg(const ChartText& text, double width, double height);

  void line(double x1, double y1, double x2, double y2, std::string_view style);
  void rect(double x, double y, double width, double height, std::string_view style,
            std::string_view tip = "");
  void circle(double x, double y, double radius, std::string_view style, std::string_view tip = "");
  /// `d` as SVG's path data.
  void path(std::string_view d, std::string_view style, std::string_view tip = "");
  /// `style` may hold start, middle or end beside its classes' others.
  void text(double x, double y, std::string_view words, std::string_view style,
            std::string_view tip = "");
  /// The attributes of the next mark beside its class, as they stand: " fill-opacity=..".
  void with(std::string attributes) { more_ = std::move(attributes); }

  /// Horizontal lines and words of a scale upward, from x = left to right.
  void grid_upward(const Scale& y, double left, double right);
  /// Vertical ones of a scale to the right, between y = top and bottom, the words below.
  void grid_rightward(const Scale& x, double top, double bottom);

  std::string done() &&;

 private:
  void close(std::string_view element, std::string_view tip);

  std::string out_;
  std::string more_;
};

/// A coordinate, to a tenth.
std::string place(double value);

}  // namespace decant::apps
