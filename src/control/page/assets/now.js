// What is happening now: sources, counters, what waits and what holds it, and how the last hour went.

import { ask, path } from "./api.js";
import { chart, counted } from "./chart.js";
import { unmute } from "./dialogs.js";
import { el, fill, row, section, table } from "./dom.js";
import { address } from "./filters.js";
import { sayFailure } from "./notice.js";
import { bytes, count, mutedBy, number, scope, SETTLED, since, when } from "./words.js";

const POLL = 5000;

function tile(name, value, more, href, tone) {
  const inner = [el("span", { class: "name" }, name), el("span", { class: "value" }, value), el("span", { class: "more" }, more)];
  return el("li", { class: tone && `tone-${tone}` }, href ? el("a", { href }, inner) : el("div", {}, inner));
}

function tiles(status) {
  const of = (state) => status.executions[state] ?? 0;
  const sums = Object.values(status.events);
  const sum = (name) => sums.reduce((all, one) => all + one[name], 0);
  const to = (state) => address("executions", { status: state });
  return el(
    "ul",
    { class: "tiles" },
    tile("Running", number(of("running")), `of ${number(status.concurrency)} at once`, to("running"), of("running") > 0 && "busy"),
    tile("Queued", number(of("queued")), status.held > 0 ? `${number(status.held)} held by mutes` : status.oldest_queued ? ["oldest ", since(status.oldest_queued)] : "nothing waits", to("queued")),
    tile("Waiting", number(of("retrying") + of("debouncing")), of("debouncing") > 0 ? `${number(of("debouncing"))} for a newer event` : "for a retry", to("retrying")),
    tile("Succeeded", number(of("succeeded")), "of those kept", to("succeeded"), "good"),
    tile("Failed", number(of("failed")), "of those kept", to("failed"), of("failed") > 0 && "bad"),
    tile("Events", number(sum("accepted")), `${number(sum("matched"))} matched`, "#/events"),
    tile("Lost", number(sum("lost")), count(sum("gaps"), "gap"), address("events", { kind: "gap" }), sum("lost") > 0 && "bad"),
    tile("Hooks", number(status.hooks), status.stale.length > 0 ? count(status.stale.length, "broken file") : "in force", "#/hooks", status.stale.length > 0 && "warn"),
  );
}

function concerns(status) {
  const said = [
    status.not_accepting && `No new work is accepted: ${status.not_accepting}`,
    status.observing && "hem only observes: nothing is started, what would run is recorded.",
    ...status.concerns,
  ].filter(Boolean);
  if (said.length === 0) return el("p", { class: "well" }, el("span", { class: "mark", "aria-hidden": "true" }, "✓"), "All is as it should be.");
  return el("ul", { class: "concerns", "aria-label": "What is not as it should be" }, said.map((one) => el("li", {}, one)));
}

function sources(status) {
  const names = [...new Set([...Object.keys(status.sources), ...Object.keys(status.events)])].sort();
  if (names.length === 0) return el("p", { class: "faint" }, "No source is configured; events come by ", el("code", {}, "hem emit"), " alone.");
  const columns = ["Source", "Connection", "# Received", "# Matched", "# Unmatched", "# Undecodable", "# Duplicate", "# Refused", "# Lost", "# Gaps"];
  const rows = names.map((name) => {
    const source = status.sources[name];
    const sums = status.events[name] ?? {};
    const amounts = ["received", "matched", "unmatched", "undecodable", "duplicate", "refused", "lost", "gaps"];
    const connection = source
      ? [
          el("span", { class: source.connected ? "link" : "link lost" }, source.connected ? "connected" : "not connected"),
          " ",
          since(source.since),
          !source.connected && source.last_error && el("div", { class: "faint" }, source.last_error.message),
        ]
      : el("span", { class: "faint" }, "no connection");
    return row(columns, [
      [el("a", { href: address("events", { source: name }) }, name), source && el("div", { class: "faint" }, `${source.type} ${source.endpoint}`)],
      connection,
      ...amounts.map((amount) => ({ class: ["undecodable", "refused", "lost", "gaps"].includes(amount) && sums[amount] > 0 && "bad", of: number(sums[amount]) })),
    ]);
  });
  return table("Sources", columns, rows);
}

function queue(status) {
  if (status.queue.length === 0) return el("p", { class: "faint" }, "Nothing waits and nothing runs.");
  const columns = ["Hook", "# Running", "# Queued", "# Held", "# Debouncing", "# Retrying", "Oldest"];
  return table(
    "What waits or runs, by hook",
    columns,
    status.queue.map((one) =>
      row(columns, [
        el("a", { href: address("executions", { hook: one.hook }) }, one.hook),
        ...[one.running, one.queued, one.held, one.debouncing, one.retrying].map(number),
        one.oldest ? since(one.oldest) : "",
      ]),
    ),
  );
}

/** The mutes in force, each with what it holds. */
export function mutes(list, operator, done) {
  if (list.length === 0) return el("p", { class: "faint" }, "Nothing is muted.");
  const columns = ["Covers", "# Holds", "Since", "Until", "By", "Why", ...(operator ? ["Action"] : [])];
  return table(
    "Mutes in force",
    columns,
    list.map(({ mute, held }) => {
      const words = scope(mute.scope);
      return row(columns, [
        mute.scope.hook ? el("a", { href: `#/hook/${encodeURIComponent(mute.scope.hook)}` }, words) : words,
        number(held),
        when(mute.since),
        mute.until ? when(mute.until) : "it is taken back",
        mutedBy(mute.by),
        mute.reason,
        operator &&
          el(
            "button",
            {
              type: "button",
              onclick: async () => {
                if (await unmute(mute.scope, words, held)) done();
              },
            },
            "Unmute",
          ),
      ].slice(0, columns.length));
    }),
  );
}

function blocked(status) {
  if (status.blocked.length === 0) return el("p", { class: "faint" }, "No lane is blocked.");
  const columns = ["Subject", "Waits", "Behind", "For"];
  return table(
    "Blocked lanes",
    columns,
    status.blocked.map((one) =>
      row(columns, [
        one.subject ?? "–",
        el("a", { href: `#/execution/${one.waiting}` }, one.waiting),
        el("a", { href: `#/execution/${one.behind}` }, one.behind),
        since(one.since),
      ]),
    ),
  );
}

function gaps(list) {
  if (list.length === 0) return el("p", { class: "faint" }, "No gap is recorded.");
  const columns = ["Recorded", "Source", "From", "To", "# Lost", "Why"];
  return table(
    "The last gaps",
    columns,
    list.map((event) =>
      row(columns, [
        el("a", { href: `#/event/${event.seq}` }, when(event.received)),
        event.source,
        when(event.facts.from),
        when(event.facts.to),
        number(event.facts.lost),
        event.facts.why,
      ]),
    ),
  );
}

function stale(status) {
  return status.stale.length > 0 && section("Broken hook files", {}, el("ul", {}, status.stale.map((one) => el("li", {}, el("code", {}, one.file), " since ", when(one.since), ", the last good version is in force", el("pre", {}, one.fault)))));
}

function about(status) {
  const role = status.role && [`${status.role.name}${status.role.why ? `: ${status.role.why}` : ""}, since `, when(status.role.since)];
  return el(
    "p",
    { class: "faint" },
    `hem ${status.version} · store ${status.store} · up `,
    since(status.started),
    ` · ${count(status.kept.matched_events + status.kept.unmatched_events, "event")} kept, ${bytes(status.kept.bytes)}`,
    role && [" · ", role],
    status.pool && ` · ${count(status.pool.hooks, "hook")} of oned${status.pool.away ? `, which cannot be read: ${status.pool.away}` : ""}`,
  );
}

/** The view of now. */
export async function now({ signal, hear, title, operator }) {
  title("Now");
  const asking = () =>
    Promise.all([
      ask(path("status"), {}, signal),
      ask(path("activity"), {}, signal),
      ask(path("events"), { kind: "gap", limit: 5 }, signal),
    ]);
  let [status, activity, lately] = await asking();
  const places = Object.fromEntries(["tiles", "concerns", "chart", "sources", "queue", "mutes", "blocked", "gaps", "stale", "about"].map((name) => [name, el("div", {})]));

  const narrow = matchMedia("(width <= 760px)");
  narrow.addEventListener("change", () => draw(), { signal });

  // Whoever reads the table of the chart, or goes through a part by keyboard, is not to lose the place to an unchanged part.
  const written = new Map();
  const write = (name, value, make) => {
    const text = JSON.stringify(value);
    if (written.get(name) === text) return;
    const open = places[name].querySelector("details")?.open;
    fill(places[name], make());
    const details = places[name].querySelector("details");
    if (details && open) details.open = true;
    written.set(name, text);
  };
  const draw = () => {
    write("tiles", [status.executions, status.events, status.held, status.concurrency, status.hooks, status.stale, status.oldest_queued], () => tiles(status));
    write("concerns", [status.concerns, status.not_accepting, status.observing], () => concerns(status));
    write("chart", [activity, narrow.matches], () => chart(activity, narrow.matches));
    write("sources", [status.sources, status.events], () => sources(status));
    write("queue", status.queue, () => queue(status));
    write("mutes", status.mutes, () => mutes(status.mutes, operator, () => void again()));
    write("blocked", status.blocked, () => blocked(status));
    write("gaps", lately, () => gaps(lately));
    write("stale", status.stale, () => stale(status));
    write("about", [status.version, status.kept, status.role, status.pool], () => about(status));
  };

  const again = async () => {
    try {
      status = await ask(path("status"), {}, signal);
      draw();
    } catch (error) {
      if (error.status !== 0) sayFailure(error);
    }
  };
  // When each execution ended that the chart has counted.
  const settled = new Map();
  let asked;
  const all = async () => {
    // Of several reasons at once, one asks.
    asked ??= asking();
    try {
      [status, activity, lately] = await asked;
      for (const [execution, at] of settled) {
        if (new Date(at) < new Date(activity.minutes[0].begin)) settled.delete(execution);
      }
      draw();
    } catch (error) {
      if (error.status !== 0) sayFailure(error);
    } finally {
      asked = undefined;
    }
  };
  let soon;
  const shortly = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      void again();
    }, 300);
  };
  hear((line, early) => {
    // What was told meanwhile may be counted already.
    if (early || line.type === "missed" || line.type === "back") {
      void all();
      return;
    }
    shortly();
    if (line.type === "event" && line.facts?.kind === "gap") void all();
    const execution = line.type === "execution" && line;
    if (execution && SETTLED.includes(execution.state.name) && settled.get(execution.execution) !== execution.state.at) {
      settled.set(execution.execution, execution.state.at);
      // A minute that has begun since makes a new bar, which hem knows best.
      if (counted(activity, execution)) draw();
      else void all();
    }
  });
  const poll = setInterval(() => {
    if (document.hidden) return;
    // Each minute the hour goes on by one bar.
    const last = new Date(activity.minutes.at(-1).begin).getTime();
    void (Date.now() - last >= 60_000 ? all() : again());
  }, POLL);
  signal.addEventListener("abort", () => {
    clearInterval(poll);
    clearTimeout(soon);
  });

  draw();
  return [
    el("h1", {}, "Now"),
    places.concerns,
    places.tiles,
    section("Executions per minute", { class: "card" }, places.chart),
    section("Sources", { class: "card" }, places.sources),
    el("div", { class: "pair" }, section("Waiting and running", { class: "card" }, places.queue), section("Mutes", { class: "card" }, places.mutes)),
    el("div", { class: "pair" }, section("Blocked lanes", { class: "card" }, places.blocked), section("Gaps", { class: "card" }, places.gaps)),
    places.stale,
    el("footer", {}, places.about),
  ];
}
