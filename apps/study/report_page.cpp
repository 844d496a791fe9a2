#include "apps/study/report_page.h"

#include <utility>

#include "apps/study/charts.h"
#include "apps/study/html.h"
#include "apps/study/report_sections.h"
#include "engine/core/error.h"

namespace decant::apps {
namespace {

constexpr const char* kPageStyle = R"css(
* { box-sizing: border-box }
html { color-scheme: light dark; -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 2rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .35rem; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .8rem; padding-top: .8rem; border-top: 1px solid var(--edge) }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; overflow-wrap: anywhere }
a { color: var(--link) }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin-top: .8rem; font-size: .95rem }
.lede, .note, footer { color: var(--soft) }
.lede { margin: 0; overflow-wrap: anywhere }
.note { font-size: .9rem; max-width: 46rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); gap: .8rem; margin: 1.2rem 0 }
.cards div { background: var(--raised); border: 1px solid var(--edge); border-radius: .5rem; padding: .8rem 1rem }
.cards dt { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere }
.cards dd { margin: 0; font-size: .85rem; color: var(--soft) }
.cards b { display: block; color: var(--ink); font-size: 1.7rem; line-height: 1.3; font-variant-numeric: tabular-nums }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.6rem 2rem }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(46%, 13rem), 1fr)); gap: .6rem }
.panels figure { margin: 0 }
.panels img { display: block; width: 100%; height: auto; border-radius: .35rem }
.panels figcaption { font-size: .85rem; color: var(--soft); margin-top: .2rem }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: .2em; margin-right: .3em; border: 1px solid var(--edge) }
details { margin: .6rem 0 } summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere } details > .charts, details > .scroll { margin-top: .8rem }
.scroll { overflow-x: auto; margin: 1.2rem 0; border: 1px solid var(--edge); border-radius: .5rem }
table { border-collapse: collapse; font-size: .88rem; width: 100% }
caption { text-align: left; font-weight: 600; padding: .6rem .55rem; position: sticky; left: 0 }
th, td { padding: .4rem .55rem; text-align: left; border-top: 1px solid var(--edge); white-space: nowrap }
td { font-variant-numeric: tabular-nums }
th.figure, td.figure { text-align: right }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--ground) }
thead th { color: var(--soft); font-weight: 600 }
footer { margin-top: 3rem; padding-bottom: 2rem; font-size: .9rem }
@media print { .scroll { overflow: visible } }
)css";

std::string colour_text(const Colour& colour) {
  return str("rgb(", int{colour[0]}, ' ', int{colour[1]}, ' ', int{colour[2]}, ')');
}

// The gallery's pictures are drawn in these.
std::string swatch_style() {
  std::string css;
  for (const auto& [name, colour] : {std::pair{"truth", kTruthColour},
                                     {"teacher", kTeacherColour},
                                     {"student", kStudentColour},
                                     {"missed", kMissedColour},
                                     {"invented", kInventedColour},
                                     {"right", Colour{200, 200, 200}}})
    css += str(".swatch.", name, " { background: ", colour_text(colour), " }\n");
  return css;
}

std::string lede(const Results& results) {
  const auto count = [](size_t n, const char* what) {
    return str(n, ' ', what, n == 1 ? "" : "s");
  };
  return str(count(results.cells.size(), "network"), ", ", count(results.runs.size(), "run"), ", ",
             count(results.splits.size(), "split"), " of ", results.data.images, " images",
             results.data.path.empty() ? "" : " in ", escaped(results.data.path),
             ". For research, not for diagnosis.");
}

}  // namespace

std::string report_page(const Report& report) {
  const StudyView view(report.results);
  struct Section {
    const char* id;
    const char* title;
    std::string html;
  };
  const Section sections[] = {
      {"summary", "Summary", summary_section(report, view)},
      {"matrix-of-cells", "Matrix", matrix_section(view)},
      {"images", "Dice per image", images_section(view)},
      {"cost", "Accuracy against cost", cost_section(view)},
      {"gallery", "Gallery", gallery_section(report)},
      {"curves", "Learning curves", curves_section(report, view)},
      {"tables", "Tables", tables_section(report, view)},
      {"provenance", "Configuration and provenance", provenance_section(report)},
  };
  std::string links;
  std::string body;
  for (const Section& section : sections) {
    if (section.html.empty()) continue;
    links += str("<a href=\"#", section.id, "\">", section.title, "</a>\n");
    body += str("<section id=\"", section.id, "\">\n<h2>", section.title, "</h2>\n", section.html,
                "</section>\n");
  }
  const std::string title = escaped(report.results.name);
  return str(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>",
      title, " · Decant</title>\n<style>", chart_style(), kPageStyle, swatch_style(),
      "</style>\n</head>\n<body>\n<header>\n<h1>", title, "</h1>\n<p class=\"lede\">",
      lede(report.results), "</p>\n<nav aria-label=\"Sections\">\n", links,
      "</nav>\n</header>\n<main>\n", body, "</main>\n<footer>Decant ",
      escaped(report.results.program),
      ". For research, not for diagnosis.</footer>\n</body>\n</html>\n");
}

}  // namespace decant::apps
