// What the page does: values under the mouse, and curves against another clock.
#include "tools/weir/report/page.h"

namespace weir {

// Everything is read back from the pictures: the axes from their attributes, the values from the points of the lines.
const char* const kReportScript = R"(
'use strict';
{
  const box = document.createElement('div');
  box.id = 'values';
  box.hidden = true;
  document.body.append(box);
  const inset = 4;  // Frame::kInset
  let cursor = null;
  const leave = () => { box.hidden = true; if (cursor) cursor.remove(); cursor = null; };
  const numbers = text => text.split(' ').map(Number);
  const shown = value => Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  const duration = seconds => {
    const units = [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]], first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0 || first === 3) return shown(seconds) + ' s';
    return Math.floor(seconds / units[first][1]) + units[first][0] + ' '
      + Math.floor(seconds % units[first][1] / units[first + 1][1]) + units[first + 1][0];
  };
  const value = ([low, high, log], place) => log ? low * Math.pow(high / low, place) : low + (high - low) * place;
  for (const chart of document.querySelectorAll('svg.chart[data-x]')) {
    const plot = chart.querySelector('.plot'), y = numbers(chart.dataset.y);
    const width = plot.width.baseVal.value, height = plot.height.baseVal.value;
    const lines = [...plot.querySelectorAll('polyline')];
    chart.addEventListener('pointerleave', leave);
    chart.addEventListener('pointermove', event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse()).x;
      const nearest = new Map();
      for (const line of lines)
        for (const point of line.points) {
          const best = nearest.get(line.dataset.label);
          if (!best || Math.abs(point.x - at) < Math.abs(best.x - at))
            nearest.set(line.dataset.label, {x: point.x, y: point.y, line});
        }
      if (at < -10 || at > width + 10 || nearest.size === 0) return leave();
      const closest = [...nearest.values()].reduce((a, b) => Math.abs(b.x - at) < Math.abs(a.x - at) ? b : a);
      if (!cursor) cursor = document.createElementNS(plot.namespaceURI, 'line');
      plot.prepend(cursor);
      cursor.setAttribute('class', 'cursor');
      for (const [name, to] of [['x1', closest.x], ['x2', closest.x], ['y1', 0], ['y2', height]])
        cursor.setAttribute(name, to);
      const head = document.createElement('div');
      const across = value(numbers(chart.dataset.x), (closest.x - inset) / (width - 2 * inset));
      head.textContent = chart.dataset.name + ' ' + (chart.dataset.name === 'training time' ? duration(across)
        : Math.round(across).toLocaleString('en'));
      box.replaceChildren(head);
      for (const [label, point] of nearest) {
        const row = document.createElement('div'), key = document.createElement('span');
        key.className = 'key ' + point.line.getAttribute('class').match(/\bc\d\b/)[0];
        const place = (height - inset - point.y) / (height - 2 * inset);
        row.append(key, label + ' ' + (place > 1.1 || place < -0.1 ? 'off the chart' : shown(value(y, place))));
        box.append(row);
      }
      box.hidden = false;
      const right = event.clientX + 16 + box.offsetWidth > innerWidth;
      box.style.left = Math.max(0, right ? event.clientX - 16 - box.offsetWidth : event.clientX + 16) + 'px';
      box.style.top = Math.min(event.clientY + 12, innerHeight - box.offsetHeight - 4) + 'px';
    });
  }

  // The switch: every point is moved from the axis of the page as written to the one chosen.
  for (const bar of document.querySelectorAll('.switch')) {
    const {axes, runs} = JSON.parse(bar.dataset.clocks), usual = bar.dataset.usual, written = new Map();
    const original = (element, name) => {
      const key = element.getAttribute(name);
      if (!written.has(element)) written.set(element, key);
      return written.get(element);
    };
    const between = (from, to, at) => {
      let i = 1;
      while (i < from.length - 1 && from[i] < at) ++i;
      const part = from[i] > from[i - 1] ? (at - from[i - 1]) / (from[i] - from[i - 1]) : 0;
      return to[i - 1] + part * (to[i] - to[i - 1]);
    };
    const show = clock => {
      const before = numbers(axes[usual].ends), after = numbers(axes[clock].ends);
      for (const chart of bar.parentElement.querySelectorAll('svg.chart[data-switched]')) {
        const plot = chart.querySelector('.plot'), width = plot.width.baseVal.value - 2 * inset;
        for (const line of plot.querySelectorAll('g[data-run]')) {
          const run = runs[line.dataset.run];
          const moved = at => {
            const there = between(run[usual], run[clock], value(before, (at - inset) / width));
            return ((there - after[0]) / (after[1] - after[0]) * width + inset).toFixed(1);
          };
          for (const path of line.querySelectorAll('path'))
            path.setAttribute('d', original(path, 'd').replace(/([ML])([-.\d]+)/g, (_, letter, at) => letter + moved(+at)));
          for (const circle of line.querySelectorAll('circle')) circle.setAttribute('cx', moved(+original(circle, 'cx')));
          for (const polyline of line.querySelectorAll('polyline'))
            polyline.setAttribute('points', original(polyline, 'points').replace(/([-.\d]+),/g, (_, at) => moved(+at) + ','));
        }
        const scale = chart.querySelector('.scale'), like = scale.firstElementChild, left = plot.x.baseVal.value;
        scale.replaceChildren(...axes[clock].ticks.map(([at, label]) => {
          const text = like.cloneNode();
          text.setAttribute('x', left + at);
          text.textContent = label;
          return text;
        }));
        chart.querySelector('.axis').textContent = chart.dataset.name = clock;
        chart.dataset.x = axes[clock].ends;
      }
      for (const button of bar.children) button.setAttribute('aria-pressed', button.dataset.clock === clock);
    };
    for (const button of bar.children) button.addEventListener('click', () => show(button.dataset.clock));
    bar.hidden = false;
  }
}
)";

}  // namespace weir
