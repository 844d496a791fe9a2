#include "apps/study/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "apps/study/html.h"
#include "engine/core/error.h"

namespace decant::apps {
namespace {

double power_of_ten(double exponent) {
  return std::pow(10.0, exponent);
}

// The smallest of 1, 2, 5 x 10^k that is not below `least`.
double round_step(double least) {
  const double power = power_of_ten(std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

}  // namespace

std::vector<double> linear_ticks(double low, double high, int most) {
  const double step = round_step((high - low) / std::max(1, most - 1));
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  // Counted: where low and high are neighbours as numbers, adding one to `first` may not change it.
  for (int i = 0; i <= 2 * most && (first + i) * step <= high + 1e-9 * step; ++i)
    ticks.push_back((first + i) * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high, int most) {
  const auto marks = [&](std::initializer_list<double> factors, int every) {
    std::vector<double> ticks;
    const int first = static_cast<int>(std::floor(std::log10(low)));
    const int last = static_cast<int>(std::ceil(std::log10(high)));
    for (int k = first; k <= last; ++k)
      for (const double factor : factors)
        if (const double tick = factor * power_of_ten(k);
            k % every == 0 && tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9))
          ticks.push_back(tick);
    return ticks;
  };
  const auto fits = [&](const std::vector<double>& ticks) {
    return std::cmp_less_equal(ticks.size(), most);
  };
  std::vector<double> ticks = marks({1, 2, 5}, 1);
  for (int every = 1; !fits(ticks); ++every) ticks = marks({1}, every);
  return ticks;
}

Scale Scale::tight(double low, double high, double from, double to, int most_ticks) {
  if (!(high > low)) {
    const double room = low == 0 ? 1 : 0.1 * std::abs(low);
    low -= room;
    high += room;
  }
  Scale scale;
  scale.low_ = low;
  scale.high_ = high;
  scale.from_ = from;
  scale.to_ = to;
  scale.ticks_ = linear_ticks(low, high, most_ticks);
  return scale;
}

Scale Scale::whole(double low, double high, double from, double to, int most_ticks) {
  Scale scale = tight(low, high, from, to, most_ticks);
  std::erase_if(scale.ticks_, [](double tick) { return std::abs(tick - std::round(tick)) > 1e-9; });
  return scale;
}

Scale Scale::linear(double low, double high, double from, double to, int most_ticks) {
  const Scale exact = tight(low, high, from, to, most_ticks);
  const double step = round_step((exact.high_ - exact.low_) / std::max(1, most_ticks - 2));
  return tight(std::floor(exact.low_ / step + 1e-9) * step,
               std::ceil(exact.high_ / step - 1e-9) * step, from, to, most_ticks);
}

Scale Scale::logarithmic(double low, double high, double from, double to, int most_ticks) {
  check(low > 0 && high >= low, "scale: expected positive values for a logarithmic one, got ", low,
        " to ", high);
  Scale scale;
  scale.log_ = true;
  scale.low_ = std::log10(low) - 0.1;
  scale.high_ = std::log10(high) + 0.1;
  scale.from_ = from;
  scale.to_ = to;
  scale.ticks_ = log_ticks(power_of_ten(scale.low_), power_of_ten(scale.high_), most_ticks);
  return scale;
}

double Scale::operator()(double value) const {
  const double at = ((log_ ? std::log10(value) : value) - low_) / (high_ - low_);
  return from_ + at * (to_ - from_);
}

std::string tick_text(double value, bool tiny) {
  if (std::abs(value) < 1e-12) return "0";  // what is left of a sum of steps
  if (std::abs(value) >= 1000) return short_number(value);
  char text[32];
  if (!tiny && std::abs(value) >= 1e-4) {
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
  }
  std::snprintf(text, sizeof text, "%.2e", value);
  const std::string digits = text;
  const size_t power = digits.find('e');
  const size_t last = digits.find_last_not_of("0.", power - 1);  // "1.50e-05" is 1.5e-05
  return digits.substr(0, last + 1) + digits.substr(power);
}

bool is_tiny(const Scale& scale) {
  return !scale.is_log() && std::max(std::abs(scale.low()), std::abs(scale.high())) < 2e-3;
}

std::string place(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string digits = text;
  if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
  return digits == "-0" ? "0" : digits;
}

Svg::Svg(const ChartText& text, double width, double height) {
  const std::string id = escaped(text.id);
  out_ = str("<svg viewBox=\"0 0 ", place(width), " ", place(height),
             "\" role=\"img\" aria-labelledby=\"", id, "-title ", id, "-desc\">\n<title id=\"", id,
             "-title\">", escaped(text.title), "</title>\n<desc id=\"", id, "-desc\">",
             escaped(text.description), "</desc>\n");
}

void Svg::close(std::string_view element, std::string_view tip) {
  out_ += more_;
  more_.clear();
  if (tip.empty())
    out_ += "/>\n";
  else
    out_ += str("><title>", escaped(tip), "</title></", element, ">\n");
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view style) {
  out_ += str("<line x1=\"", place(x1), "\" y1=\"", place(y1), "\" x2=\"", place(x2), "\" y2=\"",
              place(y2), "\" class=\"", style, "\"");
  close("line", "");
}

void Svg::rect(double x, double y, double width, double height, std::string_view style,
               std::string_view tip) {
  out_ += str("<rect x=\"", place(x), "\" y=\"", place(y), "\" width=\"", place(width),
              "\" height=\"", place(height), "\" class=\"", style, "\"");
  close("rect", tip);
}

void Svg::circle(double x, double y, double radius, std::string_view style, std::string_view tip) {
  out_ += str("<circle cx=\"", place(x), "\" cy=\"", place(y), "\" r=\"", place(radius),
              "\" class=\"", style, "\"");
  close("circle", tip);
}

void Svg::path(std::string_view d, std::string_view style, std::string_view tip) {
  out_ += str("<path d=\"", d, "\" class=\"", style, "\"");
  close("path", tip);
}

void Svg::text(double x, double y, std::string_view words, std::string_view style,
               std::string_view tip) {
  out_ +=
      str("<text x=\"", place(x), "\" y=\"", place(y), "\" class=\"", style, "\"", more_, ">",
          tip.empty() ? "" : str("<title>", escaped(tip), "</title>"), escaped(words), "</text>\n");
  more_.clear();
}

void Svg::grid_upward(const Scale& y, double left, double right) {
  for (const double tick : y.ticks()) {
    line(left, y(tick), right, y(tick), "grid");
    text(left - 6, y(tick) + 4, tick_text(tick, is_tiny(y)), "tick end");
  }
}

void Svg::grid_rightward(const Scale& x, double top, double bottom) {
  for (const double tick : x.ticks()) {
    line(x(tick), top, x(tick), bottom, "grid");
    text(x(tick), bottom + 15, tick_text(tick, is_tiny(x)), "tick middle");
  }
}

std::string Svg::done() && {
  return std::move(out_) + "</svg>\n";
}

}  // namespace decant::apps
