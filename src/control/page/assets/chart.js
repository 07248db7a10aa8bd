// Executions per minute by how they ended, as a drawing of stacked bars and as a table of the same numbers.

import { el, svg, table, row } from "./dom.js";
import { badge, count, number, SETTLED } from "./words.js";

const WIDE = 1180;
const NARROW = 340;
const HEIGHT = 170;
const LEFT = 40;
const BOTTOM = 18;
const TOP = 8;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clock = (minute) => CLOCK.format(new Date(minute.begin));

/** The next round number at or above: 1, 2, 4, 6, 8, 10, 20, … */
function ceiling(value) {
  if (value <= 2) return Math.max(1, value);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((factor) => factor * power).find((round) => round >= value);
}

const total = (minute) => SETTLED.reduce((sum, name) => sum + (minute.settled[name] ?? 0), 0);

function bars(minutes, top, width) {
  const step = (width - LEFT) / minutes.length;
  const height = HEIGHT - BOTTOM - TOP;
  const drawn = [];
  minutes.forEach((minute, at) => {
    let y = HEIGHT - BOTTOM;
    const parts = [];
    for (const name of SETTLED) {
      const value = minute.settled[name] ?? 0;
      if (value === 0) continue;
      const tall = Math.max(1, (value / top) * height);
      y -= tall;
      parts.push(svg("rect", { class: `bar-${name}`, x: LEFT + at * step + step * 0.12, y, width: step * 0.76, height: tall }));
    }
    if (parts.length === 0) return;
    const said = SETTLED.filter((name) => minute.settled[name]).map((name) => `${number(minute.settled[name])} ${name}`);
    drawn.push(svg("g", {}, svg("title", {}, `${clock(minute)}: ${said.join(", ")}`), parts));
  });
  return drawn;
}

function axes(minutes, top, width) {
  const step = (width - LEFT) / minutes.length;
  const height = HEIGHT - BOTTOM - TOP;
  const marks = top > 1 ? [0, top / 2, top] : [0, top];
  const lines = marks
    .filter((mark) => Number.isInteger(mark))
    .flatMap((mark) => {
      const y = HEIGHT - BOTTOM - (mark / top) * height;
      return [
        svg("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }),
        svg("text", { class: "axis", x: LEFT - 6, y: y + 3.5, "text-anchor": "end" }, number(mark)),
      ];
    });
  const labels = minutes
    .map((minute, at) => ({ minute, at }))
    .filter(({ minute }) => new Date(minute.begin).getMinutes() % (width === NARROW ? 20 : 10) === 0)
    // What would stand half outside is left out.
    .filter(({ at }) => LEFT + (at + 0.5) * step < width - 18)
    .map(({ minute, at }) => svg("text", { class: "axis", x: LEFT + (at + 0.5) * step, y: HEIGHT - 4, "text-anchor": "middle" }, clock(minute)));
  return [...lines, ...labels];
}

/** The chart, for a narrow window or a wide one. `activity` is what the interface says of the last minutes. */
export function chart(activity, isNarrow) {
  const width = isNarrow ? NARROW : WIDE;
  const { minutes } = activity;
  const sums = Object.fromEntries(SETTLED.map((name) => [name, minutes.reduce((sum, minute) => sum + (minute.settled[name] ?? 0), 0)]));
  const all = minutes.reduce((sum, minute) => sum + total(minute), 0);
  const top = ceiling(Math.max(...minutes.map(total)));
  const said = SETTLED.filter((name) => sums[name] > 0).map((name) => `${number(sums[name])} ${name}`);
  const label = `${count(all, "execution")} ended in the last ${minutes.length} minutes${said.length > 0 ? `: ${said.join(", ")}` : ""}`;
  const drawing = svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label },
    axes(minutes, top, width),
    bars(minutes, top, width),
    all === 0 && svg("text", { class: "axis", x: (width + LEFT) / 2, y: HEIGHT / 2 - 8, "text-anchor": "middle" }, "nothing ended in the last hour"),
  );
  const columns = ["Minute", "# Succeeded", "# Failed", "# Skipped", "# Cancelled"];
  const busy = minutes.filter((minute) => total(minute) > 0);
  const rows = busy.toReversed().map((minute) => row(columns, [clock(minute), ...SETTLED.map((name) => number(minute.settled[name]))]));
  return el(
    "figure",
    { class: "activity" },
    drawing,
    el(
      "figcaption",
      {},
      el("ul", { class: "legend" }, SETTLED.map((name) => el("li", {}, badge(name, `${number(sums[name])} ${name}`)))),
      !activity.complete && el("p", { class: "faint" }, "Only the newest 100,000 are counted."),
    ),
    busy.length > 0 && el("details", {}, el("summary", {}, "The same as a table"), table("Executions per minute", columns, rows)),
  );
}

/** Counts an execution that just ended into the activity; whether its minute is among those shown. */
export function counted(activity, execution) {
  const minute = Math.floor(new Date(execution.state.at).getTime() / 60_000);
  const found = activity.minutes.find(({ begin }) => Math.floor(new Date(begin).getTime() / 60_000) === minute);
  if (!found) return false;
  found.settled[execution.state.name] = (found.settled[execution.state.name] ?? 0) + 1;
  return true;
}
