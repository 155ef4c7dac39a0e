// How the page looks.
#include "tools/weir/report/page.h"

namespace weir {

// The colours of runs keep their distance under the common colour deficiencies (after Okabe and Ito), a lighter set on
// the dark page. Letters in charts grow on narrow screens, where the pictures shrink.
const char* const kReportStyle = R"(
:root { --page: #fafaf8; --card: #fff; --ink: #1c1d1f; --quiet: #66696f; --line: #e2e2de; --heat: #00558f;
  --r0: #0072b2; --r1: #d55e00; --r2: #00866a; --r3: #b0478c; --r4: #a37400; --r5: #6b4fb3; --r6: #5c6066; --r7: #a3392c; }
@media (prefers-color-scheme: dark) {
  :root { --page: #131416; --card: #1b1d20; --ink: #e8e8e6; --quiet: #9a9da3; --line: #303338; --heat: #7cc7ff;
    --r0: #5cb6ee; --r1: #f2934e; --r2: #35c79d; --r3: #e593cc; --r4: #e3b53a; --r5: #b4a2f5; --r6: #b4b8bf; --r7: #f0a096; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 4px; letter-spacing: -.005em; }
h3 { font-size: 15px; margin: 24px 0 8px; overflow-wrap: anywhere; }
p { margin: 4px 0; max-width: 110ch; overflow-wrap: anywhere; }
.quiet, .lead { color: var(--quiet); }
.lead { margin-bottom: 14px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 10px; margin: 22px 0 14px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 11px 14px; }
.tile b { display: block; font-size: 23px; line-height: 1.25; font-weight: 600; letter-spacing: -.01em; }
.tile span { color: var(--quiet); font-size: 13px; display: block; line-height: 1.35; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 14px; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); gap: 14px 22px;
  align-items: start; margin-top: 14px; }
.beside > * { min-width: 0; }
.many { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 255px), 1fr)); gap: 14px; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 170px), 1fr)); gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 11px 12px 6px;
  break-inside: avoid; min-width: 0; }
.maps figure { padding-bottom: 12px; }
figcaption { font-weight: 600; font-size: 14px; margin: 0 2px 6px; line-height: 1.35; }
figcaption small { font-weight: 400; font-size: 12.5px; color: var(--quiet); }
svg { display: block; width: 100%; height: auto; }
svg.plot { overflow: hidden; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--quiet);
  font-variant-numeric: tabular-nums; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.legend { display: flex; flex-wrap: wrap; gap: 0 16px; margin: 0 2px 6px; font-size: 12.5px; color: var(--quiet); }
.legend span { display: inline-flex; align-items: center; } .ink { --c: var(--quiet); }
svg.sample { display: inline-block; width: auto; height: 10px; margin-right: 6px; flex: none; overflow: visible; }
.switch { display: inline-flex; margin: 12px 0 2px; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.switch[hidden] { display: none; }
.switch button { font: inherit; font-size: 13px; padding: 5px 14px; border: 0; background: var(--card); color: var(--quiet);
  cursor: pointer; }
.switch button + button { border-left: 1px solid var(--line); }
.switch button[aria-pressed=true] { color: var(--ink); font-weight: 600; background: var(--line); }
.switch button:focus-visible { outline: 2px solid var(--r0); outline-offset: -2px; }
.grid { stroke: var(--line); stroke-width: 1; fill: none; }
.c0 { --c: var(--r0); } .c1 { --c: var(--r1); } .c2 { --c: var(--r2); } .c3 { --c: var(--r3); }
.c4 { --c: var(--r4); } .c5 { --c: var(--r5); } .c6 { --c: var(--r6); } .c7 { --c: var(--r7); }
.line { fill: none; stroke: var(--c); stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.line.faint { stroke-width: 1; opacity: .6; } .line.dashed { stroke-dasharray: 2 4; }
.line.second { stroke-dasharray: 7 4; }
.band { fill: var(--c); opacity: .18; } circle, .out { fill: var(--c); }
.cross { stroke: var(--c); stroke-width: 1.6; fill: none; }
.bar rect { fill: var(--c); opacity: .82; } .bar path { stroke: var(--ink); stroke-width: 1.2; fill: none; }
.bar:hover rect { opacity: 1; }
.heat { border: 1px solid var(--line); shape-rendering: crispEdges; }
.heat path { fill: var(--heat); } .h0 { fill-opacity: .02; } .h1 { fill-opacity: .11; } .h2 { fill-opacity: .22; }
.h3 { fill-opacity: .33; } .h4 { fill-opacity: .44; } .h5 { fill-opacity: .55; } .h6 { fill-opacity: .66; }
.h7 { fill-opacity: .77; } .h8 { fill-opacity: .88; }
.ramp { display: inline-block; width: 110px; height: 10px; margin: 0 6px; border: 1px solid var(--line);
  background: linear-gradient(90deg, transparent, var(--heat)); }
.wide { overflow-x: auto; margin: 10px 0; background:
  linear-gradient(90deg, var(--page) 40%, transparent) left / 40px 100% no-repeat local,
  linear-gradient(270deg, var(--page) 40%, transparent) right / 40px 100% no-repeat local,
  linear-gradient(90deg, #8886, transparent) left / 14px 100% no-repeat scroll,
  linear-gradient(270deg, #8886, transparent) right / 14px 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: 14px; min-width: 50%; }
th, td { text-align: right; padding: 5px 9px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--quiet); font-size: 13px; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 2px; }
th.left { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 7em; max-width: 20em; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 8em; max-width: 24em; } td b { font-weight: 600; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9em; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 3px; background: var(--c); margin-right: 7px; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 10px 0; overflow-wrap: anywhere; }
.second .key { background: repeating-linear-gradient(90deg, var(--c) 0 4px, transparent 4px 6px); }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--quiet); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; font: 13px/1.5
  ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: 6px 0 14px; max-height: 30em; overflow-y: auto; }
.note { border-left: 3px solid var(--r1); padding: 4px 12px; margin: 10px 0; overflow-wrap: anywhere; }
#values { position: fixed; pointer-events: none; background: var(--card); border: 1px solid var(--quiet);
  border-radius: 6px; padding: 5px 9px; font-size: 13px; line-height: 1.45; box-shadow: 0 2px 10px #0003; max-width: 60vw; }
#values div { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.cursor { stroke: var(--quiet); stroke-width: 1; }
@media (max-width: 620px) {
  main { padding: 20px 12px 48px; } h1 { font-size: 23px; } figure { padding: 9px 8px 4px; }
  .tiles { grid-template-columns: 1fr 1fr; } .tile b { font-size: 20px; }
  td.name { min-width: 34vw; max-width: 38vw; } td.text { min-width: 15em; } th, td { padding: 5px 6px; }
  .chart:not(.small) text { font-size: 16px; } }
@media print { :root { --page: #fff; } .switch { display: none; } main { max-width: none; padding: 0; } .wide { overflow: visible; }
  pre { max-height: none; } }
)";

}  // namespace weir
