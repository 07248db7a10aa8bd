// Executions as a live table.

import { ask, page, path } from "./api.js";
import { el, keyed, put, row, table } from "./dom.js";
import { address, filters, rowKeys, since, until, wanted } from "./filters.js";
import { aloud, sayFailure } from "./notice.js";
import { about, count, SETTLED, stateBadge, STATES, when } from "./words.js";

const PAGE = 50;
/** So many rows at most: a table that only grows makes the browser slow. */
const MOST = 500;
const COLUMNS = ["State", "Execution", "Hook", "Subject", "Why", "Source", "Accepted", "# Attempts", "Detail"];

/** The cells of an execution's row. */
function cells(execution, parameters) {
  const narrowed = (name, value) => el("a", { class: "narrow", href: address("executions", { ...Object.fromEntries(parameters), cursor: "", [name]: value }), title: `Only ${name} ${value}` }, value);
  return [
    stateBadge(execution),
    el("a", { class: "main", href: `#/execution/${encodeURIComponent(execution.execution)}` }, execution.execution),
    narrowed("hook", execution.hook),
    execution.subject ? narrowed("subject", execution.subject) : "–",
    { class: "clip", of: execution.why },
    execution.source,
    when(execution.accepted),
    execution.attempts,
    { class: "detail", of: about(execution) },
  ];
}

/** Newer before older, as hem lists them. */
function order(one, other) {
  return other.event - one.event || (one.hook < other.hook ? 1 : -1);
}

function selects(asked, execution) {
  return (
    (!asked.hook || execution.hook === asked.hook) &&
    (!asked.status || execution.state.name === asked.status) &&
    (!asked.subject || execution.subject === asked.subject) &&
    (!asked.source || execution.source === asked.source) &&
    (!asked.since || execution.accepted >= asked.since) &&
    (!asked.until || execution.accepted <= asked.until)
  );
}

/** The mute that holds a queued execution: what the feed tells does not say it. */
function holding(mutes, execution) {
  if (execution.state.name !== "queued") return undefined;
  const found = mutes.find(({ mute: { scope } }) => {
    switch (scope.is) {
      case "all":
        return true;
      case "source":
        return scope.source === execution.source;
      case "hook":
        return scope.hook === execution.hook;
      default:
        return scope.hook === execution.hook && scope.subject === execution.subject;
    }
  });
  return found?.mute;
}

/** A table of executions that goes on with what the feed tells; `changed` says how many rows are new. */
export function liveTable(items, parameters, label) {
  const shown = new Map(items.map((item) => [item.execution, item]));
  const drawn = new WeakMap();
  const body = el("tbody", { role: "rowgroup" });
  let begun = false;
  const make = (execution) => {
    const made = row(COLUMNS, cells(execution, parameters), { class: begun && "fresh" });
    made.addEventListener("click", (event) => {
      if (!event.target.closest("a, button") && getSelection().isCollapsed) location.hash = `#/execution/${encodeURIComponent(execution.execution)}`;
    });
    drawn.set(made, execution);
    return made;
  };
  const update = (element, execution) => {
    if (drawn.get(element) === execution) return;
    drawn.set(element, execution);
    const fresh = [...row(COLUMNS, cells(execution, parameters)).children];
    fresh.forEach((cell, at) => {
      // What has the focus keeps it: the names of an execution do not change.
      const old = element.children[at];
      if (!old.contains(document.activeElement) || !old.querySelector("a")) old.replaceWith(cell);
    });
  };
  // Gives the oldest one that is kept, where older ones had to go.
  const draw = () => {
    const sorted = [...shown.values()].sort(order);
    const gone = sorted.splice(MOST);
    for (const { execution } of gone) shown.delete(execution);
    keyed(body, sorted, (item) => item.execution, make, update);
    return gone.length > 0 ? sorted.at(-1) : undefined;
  };
  draw();
  begun = true;
  rowKeys(body);
  const whole = table(label, COLUMNS, [], { class: "list" });
  whole.querySelector("tbody").replaceWith(body);
  return { element: whole, body, shown, draw };
}

/** The view of executions. */
export async function executions({ parameters, signal, hear, title }) {
  title("Executions");
  const [hooks, status] = await Promise.all([ask(path("hooks"), {}, signal), ask(path("status"), {}, signal)]);
  const fields = [
    { name: "status", label: "Outcome or state", kind: "choice", options: STATES },
    { name: "hook", label: "Hook", kind: "choice", options: [...new Set(hooks.map((hook) => hook.name))].sort() },
    { name: "subject", label: "Subject", placeholder: "vm/12" },
    { name: "source", label: "Source", kind: "choice", options: [...new Set([...Object.keys(status.sources), ...Object.keys(status.events)])].sort() },
    since,
    until,
  ];
  const asked = wanted(fields, parameters);
  const cursor = parameters.get("cursor");
  const { items, next } = await page(path("executions"), { ...asked, cursor, limit: PAGE }, signal);
  const live = !cursor;
  const list = liveTable(items, parameters, "Executions, newest first");
  const nothing = el("p", { class: "empty" }, "No execution is like that.");
  const sum = el("p", { class: "faint" });
  let mutes = status.mutes;
  // What came before it is on older pages.
  let oldest = next && items.at(-1);

  const draw = () => {
    oldest = list.draw() ?? oldest;
    nothing.hidden = list.shown.size > 0;
    list.element.hidden = list.shown.size === 0;
    sum.replaceChildren();
    put(sum, live ? `${count(list.shown.size, "execution")} here, newest first; new ones come by themselves.` : `An older page: it does not change by itself.`);
  };
  if (live) {
    let soon;
    let changes = 0;
    const shortly = () => {
      soon ??= setTimeout(() => {
        soon = undefined;
        draw();
        aloud(changes, (many) => `${count(many, "change")} of executions`);
        changes = 0;
      }, 100);
    };
    // What is told while a list is under way is newer than what the list says of it.
    const underWay = new Set();
    const all = async () => {
      const told = new Set();
      underWay.add(told);
      try {
        const [fresh, now] = await Promise.all([page(path("executions"), { ...wanted(fields, parameters), limit: PAGE }, signal), ask(path("status"), {}, signal)]);
        mutes = now.mutes;
        const names = new Set(fresh.items.map((item) => item.execution));
        const end = fresh.next && fresh.items.at(-1);
        for (const [name, item] of list.shown) {
          // It is not as the filters ask for any more, or not kept.
          if (!names.has(name) && !told.has(name) && (!end || order(item, end) < 0)) list.shown.delete(name);
        }
        for (const item of fresh.items) if (!told.has(item.execution)) list.shown.set(item.execution, item);
        draw();
      } catch (error) {
        if (error.status !== 0) sayFailure(error);
      } finally {
        underWay.delete(told);
      }
    };
    hear((line) => {
      if (line.type === "missed" || line.type === "back") void all();
      if (line.type === "muted" || line.type === "unmuted") void all();
      if (line.type !== "execution") return;
      for (const told of underWay) told.add(line.execution);
      const execution = { ...line, held_by: line.held_by ?? holding(mutes, line) };
      if (selects(asked, execution)) {
        if (oldest && order(execution, oldest) > 0) return;
        list.shown.set(execution.execution, execution);
      } else if (!list.shown.delete(execution.execution)) {
        return;
      }
      if (SETTLED.includes(execution.state.name) || execution.attempts === 0) changes += 1;
      shortly();
    });
    signal.addEventListener("abort", () => clearTimeout(soon));
  }
  draw();
  const set = Object.fromEntries(parameters);
  return [
    el("h1", {}, "Executions"),
    filters("executions", fields, parameters),
    sum,
    list.element,
    nothing,
    el(
      "nav",
      { class: "pages", "aria-label": "Pages" },
      cursor && el("a", { href: address("executions", { ...set, cursor: "" }) }, "Newest"),
      next && el("a", { href: address("executions", { ...set, cursor: next }) }, "Older"),
    ),
  ];
}
