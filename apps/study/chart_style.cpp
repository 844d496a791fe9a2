#include "apps/study/charts.h"

namespace decant::apps {

// Okabe & Ito's palette, each colour darkened for a light ground (3:1 at least) and lightened for a
// dark one.
std::string chart_style() {
  return R"css(
:root {
  --ground: #ffffff; --raised: #f5f6f8; --edge: #d9dce2; --grid: #e3e6eb;
  --ink: #1b1f26; --soft: #5a6372; --link: #0b5cad;
  --c0: #0072b2; --c1: #c2410c; --c2: #00805e; --c3: #a94f86; --c4: #a66f00; --c5: #2585b8; --c6: #5f6773;
  --heat: #083b7c; --half-ink: var(--ink); --deep-ink: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171c; --raised: #1c2027; --edge: #343b46; --grid: #2b313b;
    --ink: #e8eaee; --soft: #a3adbb; --link: #7cc0ff;
    --c0: #56b4e9; --c1: #ff8b4d; --c2: #2fc79a; --c3: #e79bc8; --c4: #f0b73f; --c5: #9ad3f5; --c6: #a9b2bf;
    --heat: #8ecbff; --half-ink: #0c1420; --deep-ink: #0c1420;
  }
}
.c0 { --mine: var(--c0) } .c1 { --mine: var(--c1) } .c2 { --mine: var(--c2) } .c3 { --mine: var(--c3) }
.c4 { --mine: var(--c4) } .c5 { --mine: var(--c5) } .c6 { --mine: var(--c6) }
.chart { margin: 0; max-width: 36rem }
.chart figcaption { font-weight: 600; margin-bottom: .35rem }
.chart svg { display: block; width: 100%; height: auto; overflow: visible }
.chart text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.chart text.tick, .chart text.label, .chart text.detail { font-size: 11px; fill: var(--soft) }
.chart text.value, .chart text.tick, .chart text.figure { font-variant-numeric: tabular-nums }
.chart text.figure { font-size: 14px; font-weight: 600 }
.heat text.detail { fill: var(--ink) }
.chart text.half, .heat text.detail.half { fill: var(--half-ink) }
.chart text.deep, .heat text.detail.deep { fill: var(--deep-ink) }
.start { text-anchor: start } .middle { text-anchor: middle } .end { text-anchor: end }
.grid { stroke: var(--grid) }
.zero { stroke: var(--soft); stroke-dasharray: 3 3 }
.curve { fill: none; stroke: var(--mine); stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round }
.dashed { stroke-dasharray: 6 4 }
.chosen { fill: var(--ground); stroke: var(--mine); stroke-width: 2 }
.dot { fill: var(--mine); fill-opacity: .5 }
.mean { stroke: var(--ink); stroke-width: 2 }
.interval { stroke: var(--ink); stroke-width: 5; stroke-opacity: .55; stroke-linecap: round }
.mark { fill: var(--mine); stroke: var(--ground) }
.field { fill: var(--heat) }
.no-field { fill: none; stroke: var(--edge); stroke-dasharray: 3 3 }
.legend { display: block; font-weight: 400; font-size: .85rem; color: var(--soft) }
@media (max-width: 30rem) {
  .chart text { font-size: 13.5px }
  .chart text.tick, .chart text.label, .chart text.detail { font-size: 13px }
}
.key { white-space: nowrap; margin-right: .8rem }
.chart .key svg { display: inline-block; width: 20px; height: 8px; margin-right: .35rem }
)css";
}

}  // namespace decant::apps
