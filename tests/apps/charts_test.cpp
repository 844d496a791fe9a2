// Charts: round marks, marks where their values are, texts that cannot break out.
#include "apps/study/charts.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "apps/study/html.h"
#include "apps/study/svg.h"
#include "engine/core/error.h"
#include "tests/apps/page_reader.h"

using namespace decant;
using namespace decant::apps;

namespace {

std::vector<Element> read(const std::string& chart) {
  return elements_of("<!DOCTYPE html>\n" + chart);
}

double number(const Element& element, const char* name) {
  return std::stod(element.attributes.at(name));
}

}  // namespace

TEST_CASE("texts are escaped, bytes are base64, numbers are short") {
  CHECK(escaped("<a href=\"x\">'&'</a>\x01") ==
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\xef\xbf\xbd");
  // RFC 4648, 10.
  CHECK(base64("").empty());
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
  CHECK(grouped(1234567) == "1\u202f234\u202f567");
  CHECK(grouped(-123) == "-123");
  CHECK(short_number(14'328'000) == "14.3 M");
  CHECK(short_number(999.4) == "999");
  CHECK(short_number(113) == "113");
}

TEST_CASE("ticks are round and few") {
  CHECK(linear_ticks(0, 1, 6) == std::vector<double>{0, 0.2, 2 * 0.2, 3 * 0.2, 4 * 0.2, 1});
  CHECK(linear_ticks(-3, 7, 5) == std::vector<double>{0, 5});
  CHECK(log_ticks(1, 50, 6) == std::vector<double>{1, 2, 5, 10, 20, 50});
  for (const double high : {1.0, 17.0, 3.3e8}) {
    CHECK(linear_ticks(0.1, high, 5).size() <= 5);
    CHECK(log_ticks(0.1, high, 5).size() <= 5);
    CHECK(log_ticks(0.1, high, 5).size() >= 2);
  }
  CHECK(tick_text(0.30000000000000004) == "0.3");
  CHECK(tick_text(1500000) == "1.5 M");
  CHECK(tick_text(2e-5) == "2e-05");
  CHECK(tick_text(9.5e-5) == "9.5e-05");
  CHECK(tick_text(1.05e-4, /*tiny=*/true) == "1.05e-04");
  CHECK(tick_text(-1e-17) == "0");
}

TEST_CASE("a scale without breadth, or without positive values") {
  const Scale flat = Scale::linear(3, 3, 0, 100);
  CHECK(flat(3) == doctest::Approx(50));
  CHECK(Scale::linear(0, 0, 0, 100).ticks().size() > 1);
  CHECK_THROWS_WITH_AS(Scale::logarithmic(0, 1, 0, 100), doctest::Contains("positive"), Error);
}

TEST_CASE("every chart tells its title and what it shows, and its texts cannot break out") {
  const std::string evil = "\"><script>alert('1')</script>&";
  const ChartText text{.id = "x", .title = evil, .description = evil};
  const std::string charts[] = {
      line_chart({text, evil, {{evil, 0, {1, 2}, {3, 4}, 2}, {evil, 9, {1}, {NAN}, {}}}}),
      strip_plot({text, evil, {}, {{evil, 1, {{0.5, evil}}, 0.5, {}, evil}}}),
      heat_map({text, evil, {evil}, {evil}, {{HeatField{0.5, evil, evil}}}}),
      scatter({text, evil, evil, {{evil, 10, 0.5, Mark::square, 0, true, evil}}}),
  };
  for (const std::string& chart : charts) {
    CHECK(chart.find("<script") == std::string::npos);
    const auto elements = read(chart);
    for (const Element& svg : select(elements, "svg")) {
      if (svg.attributes.contains("aria-hidden")) continue;
      CHECK(svg.attributes.at("role") == "img");
      CHECK(svg.attributes.at("aria-labelledby") == "x-title x-desc");
      CHECK(svg.attributes.contains("viewBox"));
    }
    const auto title = select(elements, "title").front();
    CHECK(title.attributes.at("id") == "x-title");
    CHECK(title.text == evil);
    CHECK(select(elements, "desc").front().text == evil);
  }
}

TEST_CASE("dots lie where their values are, and say them") {
  const auto elements =
      read(strip_plot({{.id = "x", .title = "t", .description = "d"},
                       "Dice",
                       std::array{0.0, 1.0},
                       {{"a",
                         0,
                         {{0, "first"}, {0.25, "second"}, {1, "third"}, {NAN, "none"}},
                         0.5,
                         std::array{0.25, 1.0},
                         "0.5"}}}));
  const auto dots = select(elements, "circle", "dot");
  REQUIRE(dots.size() == 3);
  const double low = number(dots[0], "cx");
  const double high = number(dots[2], "cx");
  CHECK(high > low);
  CHECK(number(dots[1], "cx") == doctest::Approx(low + 0.25 * (high - low)).epsilon(0.002));
  CHECK(dots[1].text == "second: 0.250");
  const auto interval = select(elements, "line", "interval");
  REQUIRE(interval.size() == 1);
  CHECK(number(interval[0], "x1") == number(dots[1], "cx"));
  CHECK(number(interval[0], "x2") == high);
  const auto mean = select(elements, "line", "mean");
  REQUIRE(mean.size() == 1);
  CHECK(number(mean[0], "x1") == doctest::Approx((low + high) / 2).epsilon(0.002));
}

TEST_CASE("names too long for their place keep what tells them apart, and say themselves whole") {
  const auto elements = read(strip_plot({{.id = "x", .title = "t", .description = "d"},
                                         "Dice",
                                         std::array{0.0, 1.0},
                                         {{"L_KLD.temperature=1", 0, {}, 0.5, {}, ""},
                                          {"L_KLD.temperature=4", 0, {}, 0.5, {}, ""},
                                          {"L_KLD", 0, {}, 0.5, {}, ""}}}));
  std::vector<std::string> names;
  for (const Element& text : select(elements, "text", "name")) names.push_back(text.text);
  REQUIRE(names.size() == 3);
  CHECK(names[0].ends_with("temperature=1L_KLD…perature=1"));
  CHECK(names[1].ends_with("temperature=4L_KLD…perature=4"));
  CHECK(names[2].ends_with("L_KLD"));
}

TEST_CASE("a curve is broken where a value is missing, and logarithmic over three decades") {
  const auto curves = [](std::vector<double> y) {
    return read(line_chart({{.id = "x", .title = "t", .description = "d"},
                            "epoch",
                            {{"a", 0, {1, 2, 3, 4}, std::move(y), 3}},
                            false}));
  };
  const auto broken = curves({1, NAN, 2, 3});
  const std::string d = select(broken, "path", "curve").front().attributes.at("d");
  CHECK(std::ranges::count(d, 'M') == 2);
  CHECK(std::ranges::count(d, 'L') == 1);
  CHECK(select(broken, "circle", "chosen").size() == 1);
  const auto wide = curves({1, 10, 100, 1000});
  double last = 0;
  for (const char* tick : {"1", "10", "100"})
    for (const Element& text : select(wide, "text", "tick"))
      if (text.text == tick && text.attributes.at("class") == "tick end") {
        if (last > 0) CHECK(last - number(text, "y") == doctest::Approx(58).epsilon(0.2));
        last = number(text, "y");
      }
  CHECK(last > 0);
}

TEST_CASE("a heat map is deepest where the value is highest, and leaves holes") {
  const auto elements = read(heat_map({{.id = "x", .title = "t", .description = "d"},
                                       "teacher:",
                                       {"strong", "weak"},
                                       {"logits", "hidden"},
                                       {{HeatField{0.5, "0.500", ""}, HeatField{0.6, "0.600", ""}},
                                        {HeatField{0.7, "0.700", ""}, std::nullopt}}}));
  const auto fields = select(elements, "rect", "field");
  REQUIRE(fields.size() == 3 + 5);  // and the legend's
  CHECK(number(fields[0], "fill-opacity") < number(fields[1], "fill-opacity"));
  CHECK(number(fields[1], "fill-opacity") < number(fields[2], "fill-opacity"));
  CHECK(number(fields[2], "fill-opacity") == doctest::Approx(1));
  CHECK(select(elements, "rect", "no-field").size() == 1);
  const auto columns = select(elements, "text", "middle");
  CHECK(columns[0].text == "strongstrong");  // its own <title> and itself
  CHECK(select(elements, "text", "label")[0].text == "teacher:");
  const std::vector<std::string> six(6, "strong_flip_and_more");
  const std::vector<std::optional<HeatField>> row(6, HeatField{0.5, "0.500", ""});
  const auto narrow =
      read(heat_map({{.id = "x", .title = "t", .description = "d"}, "", six, {"logits"}, {row}}));
  CHECK(select(narrow, "text", "middle")[0].text == "strong_flip_and_morest…more");
  // What prints alike has one colour and one number.
  CHECK(select(narrow, "rect", "field").size() == 6 + 1);
  CHECK(select(narrow, "text", "tick").size() == 1);
  const auto alike =
      read(heat_map({{.id = "x", .title = "t", .description = "d"},
                     "",
                     {"a", "b"},
                     {"logits"},
                     {{HeatField{0.50001, "0.500", ""}, HeatField{0.50002, "", ""}}}}));
  const auto three = select(alike, "rect", "field");
  REQUIRE(three.size() == 2 + 1);
  for (const Element& field : three) CHECK(number(field, "fill-opacity") == 0.5);
  CHECK(select(alike, "text", "tick")[0].text == "0.500");
}

TEST_CASE("of many dots those at even ranks are kept, of a long line points at even steps") {
  std::vector<Dot> dots;
  for (int i = 0; i < 101; ++i) dots.push_back({(i * 37) % 101 / 100.0, std::to_string(i)});
  const std::vector<Dot> fewer = thinned(dots, 11);
  std::vector<double> values;
  for (size_t i = 0; i < fewer.size(); ++i) {
    values.push_back(fewer[i].value);
    if (i > 0) CHECK(std::stoi(fewer[i - 1].name) < std::stoi(fewer[i].name));  // their order
  }
  std::ranges::sort(values);
  CHECK(values == std::vector<double>{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1});
  CHECK(thinned(dots, 101).size() == 101);
  dots[5].value = NAN;  // which is not drawn, and takes nobody's place
  dots[6].value = INFINITY;
  const std::vector<Dot> finite = thinned(dots, 50);
  CHECK(finite.size() == 50);
  CHECK(std::ranges::all_of(finite, [](const Dot& dot) { return std::isfinite(dot.value); }));
  CHECK(std::ranges::max(finite, {}, &Dot::value).value == 1);
  CHECK(thinned(dots, 101).size() == 99);
  const std::vector<Dot> equal(9, Dot{0.5, "x"});
  CHECK(thinned(equal, 4).size() == 4);

  Line line{"a", 3, {}, {}, 42};
  for (int i = 0; i <= 100; ++i) {
    line.x.push_back(i);
    line.y.push_back(-i);
  }
  const Line shorter = thinned(line, 5);
  CHECK(shorter.x == std::vector<double>{0, 25, 42, 50, 75, 100});
  CHECK(shorter.y == std::vector<double>{0, -25, -42, -50, -75, -100});
  CHECK(shorter.marked == 42);
  CHECK(thinned(line, 101).x == line.x);
}

TEST_CASE("of two marks at one place the labelled one lies above") {
  const ScatterPoint named{"best", 10, 0.5, Mark::circle, 1, true, "here"};
  const ScatterPoint other{"other", 10, 0.5, Mark::square, 0, false, "there"};
  const ScatterPoint apart{"apart", 20, 0.7, Mark::square, 0, false, "elsewhere"};
  const auto marks = select(
      read(scatter(
          {{.id = "x", .title = "t", .description = "d"}, "cost", "Dice", {named, other, apart}})),
      "path", "mark");
  REQUIRE(marks.size() == 3);
  CHECK(marks[0].text == "other: there");
  CHECK(marks[1].text == "apart: elsewhere");
  CHECK(marks[2].text == "best: here");
}

TEST_CASE("labels of a scatter stay above its axis, and epochs are whole numbers") {
  std::vector<ScatterPoint> low;
  for (int i = 0; i < 5; ++i)
    low.push_back({str("p", i), 10.0 + i, 0.5, Mark::circle, 0, true, "here"});
  low.push_back({"high", 10, 0.9, Mark::circle, 0, true, "there"});
  const auto names =
      select(read(scatter({{.id = "x", .title = "t", .description = "d"}, "cost", "Dice", low})),
             "text", "name");
  REQUIRE(names.size() == 6);
  double before = -100;
  for (const Element& name : names) {
    CHECK(number(name, "y") < 250);  // the axis
    CHECK(number(name, "y") >= before + 15 - 0.1);
    before = number(name, "y");
  }

  const auto ticks = [](std::vector<double> epochs) {
    const std::vector<double> values(epochs.size(), 0.5);
    std::string words;
    for (const Element& tick :
         select(read(line_chart({{.id = "x", .title = "t", .description = "d"},
                                 "epoch",
                                 {{"a", 0, std::move(epochs), values, {}}}})),
                "text", "middle"))
      words += tick.text + " ";
    return words;
  };
  CHECK(ticks({1, 2}) == "1 2 epoch ");
  CHECK(ticks({1}) == "1 epoch ");
  CHECK(ticks({1, 2, 3}) == "1 2 3 epoch ");
}

TEST_CASE("half a point of Dice does not fill the colours of a heat map") {
  const auto fields =
      select(read(heat_map({.text = {.id = "x", .title = "t", .description = "d"},
                            .columns = {"a", "b"},
                            .rows = {"logits"},
                            .fields = {{HeatField{0.5, "", ""}, HeatField{0.505, "", ""}}},
                            .least_span = 0.05})),
             "rect", "field");
  REQUIRE(fields.size() == 2 + 5);
  const double apart = number(fields[1], "fill-opacity") - number(fields[0], "fill-opacity");
  CHECK(apart == doctest::Approx(0.92 * 0.1));
}

TEST_CASE("the colours of a heat map stay within the bounds of its values") {
  const auto ticks = [](double low, double high) {
    const auto found =
        select(read(heat_map({.text = {.id = "x", .title = "t", .description = "d"},
                              .columns = {"a", "b"},
                              .rows = {"logits"},
                              .fields = {{HeatField{low, "", ""}, HeatField{high, "", ""}}},
                              .least_span = 0.05,
                              .bounds = std::array{0.0, 1.0}})),
               "text", "tick");
    REQUIRE(found.size() == 2);
    return str(found[0].text, " ", found[1].text);
  };
  CHECK(ticks(0.985, 0.99) == "0.950 1.000");
  CHECK(ticks(0.002, 0.01) == "0.000 0.050");
  CHECK(ticks(0.5, 0.51) == "0.480 0.530");
}
