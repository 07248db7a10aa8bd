// What arrived: the list of events, and one event with what each hook made of it.

import { ask, page, path } from "./api.js";
import { el, facts, fill, keyed, put, row, section, table } from "./dom.js";
import { address, filters, rowKeys, since, until, wanted } from "./filters.js";
import { laidOut } from "./layout.js";
import { aloud, sayFailure } from "./notice.js";
import { bytes, count, happened, KINDS, stateBadge, text, when } from "./words.js";

const PAGE = 50;
const MOST = 500;
const COLUMNS = ["Event", "Kind", "What happened", "Subject", "Source", "Received", "Caused"];

const caused = (event) =>
  event.hooks.length === 0
    ? el("span", { class: "faint" }, "nothing")
    : event.hooks.map((hook, at) => [at > 0 && ", ", el("a", { href: `#/execution/${event.seq}.${encodeURIComponent(hook)}` }, hook)]);

function cells(event) {
  return [
    el("a", { class: "main", href: `#/event/${event.seq}` }, String(event.seq)),
    event.facts.kind.replaceAll("_", " "),
    { class: "clip", of: happened(event) },
    event.subject ?? "–",
    event.source,
    when(event.received),
    caused(event),
  ];
}

function selects(asked, event) {
  return (
    (!asked.kind || event.facts.kind === asked.kind) &&
    (!asked.subject || event.subject === asked.subject) &&
    (!asked.source || event.source === asked.source) &&
    (!asked.key || event.key.includes(asked.key)) &&
    (!asked.unmatched || event.hooks.length === 0) &&
    (!asked.since || event.received >= asked.since) &&
    (!asked.until || event.received <= asked.until)
  );
}

/** The view of events. */
export async function events({ parameters, signal, hear, title }) {
  title("Events");
  const status = await ask(path("status"), {}, signal);
  const fields = [
    { name: "kind", label: "Kind", kind: "choice", options: KINDS },
    { name: "source", label: "Source", kind: "choice", options: [...new Set([...Object.keys(status.sources), ...Object.keys(status.events)])].sort() },
    { name: "subject", label: "Subject", placeholder: "vm/12" },
    { name: "key", label: "Key contains", placeholder: "RUNNING" },
    since,
    until,
    { name: "unmatched", label: "Caused nothing", kind: "check" },
  ];
  const asked = wanted(fields, parameters);
  const cursor = parameters.get("cursor");
  const { items, next } = await page(path("events"), { ...asked, cursor, limit: PAGE }, signal);
  const shown = new Map(items.map((event) => [event.seq, event]));
  const body = el("tbody", { role: "rowgroup" });
  let begun = false;
  const make = (event) => {
    const made = row(COLUMNS, cells(event), { class: begun && "fresh" });
    made.addEventListener("click", (click) => {
      if (!click.target.closest("a, button") && getSelection().isCollapsed) location.hash = `#/event/${event.seq}`;
    });
    return made;
  };
  const whole = table("Events, newest first", COLUMNS, [], { class: "list" });
  whole.querySelector("tbody").replaceWith(body);
  rowKeys(body);
  const nothing = el("p", { class: "empty" }, "No event is like that.");
  const sum = el("p", { class: "faint" });
  const draw = () => {
    const sorted = [...shown.values()].sort((one, other) => other.seq - one.seq);
    for (const { seq } of sorted.splice(MOST)) shown.delete(seq);
    keyed(body, sorted, (event) => event.seq, make);
    nothing.hidden = shown.size > 0;
    whole.hidden = shown.size === 0;
    fill(sum, cursor ? "An older page: it does not change by itself." : `${count(shown.size, "event")} here, newest first; new ones come by themselves.`);
  };
  draw();
  begun = true;
  if (!cursor) {
    let soon;
    const all = async () => {
      try {
        const fresh = await page(path("events"), { ...wanted(fields, parameters), limit: PAGE }, signal);
        for (const event of fresh.items) shown.set(event.seq, event);
        draw();
      } catch (error) {
        if (error.status !== 0) sayFailure(error);
      }
    };
    hear((line) => {
      if (line.type === "missed" || line.type === "back") void all();
      if (line.type !== "event" || !selects(asked, line)) return;
      shown.set(line.seq, line);
      aloud(1, (many) => count(many, "new event"));
      soon ??= setTimeout(() => {
        soon = undefined;
        draw();
      }, 100);
    });
    signal.addEventListener("abort", () => clearTimeout(soon));
  }
  const set = Object.fromEntries(parameters);
  return [
    el("h1", {}, "Events"),
    filters("events", fields, parameters),
    sum,
    whole,
    nothing,
    el(
      "nav",
      { class: "pages", "aria-label": "Pages" },
      cursor && el("a", { href: address("events", { ...set, cursor: "" }) }, "Newest"),
      next && el("a", { href: address("events", { ...set, cursor: next }) }, "Older"),
    ),
  ];
}

function steps(explained) {
  return el(
    "ul",
    { class: "steps" },
    explained.steps.map((step) =>
      el(
        "li",
        { class: step.holds ? "holds" : step.decisive ? "fails decisive" : "fails" },
        el("span", { class: "mark" }, step.holds ? "yes" : "no"),
        el("span", { class: "asked" }, step.asked),
        el("span", { class: "faint" }, ` found: ${step.found}`),
        step.lookups.length > 0 && el("ul", {}, step.lookups.map(([asked, found]) => el("li", {}, el("code", {}, asked), ` is ${found}`))),
      ),
    ),
  );
}

function explanation(explained, seq) {
  const { hook, matches, enabled } = explained;
  const failing = explained.steps.find((step) => step.decisive);
  const verdict = matches
    ? enabled
      ? "matches"
      : "would match, but is disabled"
    : `does not match${failing ? `: ${failing.asked} (found: ${failing.found})` : ""}`;
  const was = explained.caused && !matches ? " · it matched when the event was accepted" : !explained.caused && matches && enabled ? " · it did not when the event was accepted" : "";
  return el(
    "details",
    { class: "explained", open: matches },
    el(
      "summary",
      {},
      el("span", { class: `badge ${matches && enabled ? "succeeded" : "skipped"}` }, el("span", { class: "mark", "aria-hidden": "true" }, matches && enabled ? "✓" : "–"), hook),
      " ",
      verdict,
      el("span", { class: "faint" }, was),
    ),
    steps(explained),
    el(
      "p",
      {},
      explained.caused && [el("a", { href: `#/execution/${seq}.${encodeURIComponent(hook)}` }, "What it caused"), " · "],
      el("a", { href: `#/hook/${encodeURIComponent(hook)}` }, "The hook"),
    ),
  );
}

const spelt = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

function told(event) {
  const { kind, ...more } = event.facts;
  const plain = Object.entries(more).flatMap(([name, value]) =>
    value && typeof value === "object" ? Object.entries(value).map(([inner, of]) => [`${name} ${inner}`, of]) : [[name, value]],
  );
  return facts(
    ["What happened", happened(event)],
    ["Kind", kind.replaceAll("_", " ")],
    ["Event id", el("code", {}, event.id)],
    ["Key", el("code", {}, event.key)],
    ["Subject", event.subject && el("a", { href: address("events", { subject: event.subject }) }, event.subject)],
    ["Source", event.source],
    ["Received", when(event.received)],
    ["Ambiguous", event.ambiguous && "it can be read in more than one way"],
    ["Made here", event.synthesised && "it was not sent by the source"],
    ...plain.filter(([, value]) => value !== null && value !== "").map(([name, value]) => [spelt(name), typeof value === "boolean" ? (value ? "yes" : "no") : String(value)]),
  );
}

/** The view of one event. */
export async function event({ rest, signal, hear, title }) {
  const [seq] = rest;
  title(`Event ${seq}`);
  const story = await ask(path("executions", seq), {}, signal);
  const one = story.event;
  if (!one) throw new Error(`Event ${seq} is no longer kept`);
  const list = el("ul", { class: "caused" });
  const draw = () => {
    fill(
      list,
      story.executions.map(({ execution }) => el("li", {}, stateBadge(execution), " ", el("a", { href: `#/execution/${encodeURIComponent(execution.execution)}` }, execution.execution), " ", el("span", { class: "faint" }, execution.why))),
    );
    if (story.executions.length === 0) put(list, el("li", { class: "faint" }, "nothing"));
  };
  draw();
  hear((line) => {
    const found = line.type === "execution" && story.executions.find((known) => known.execution.execution === line.execution);
    if (!found) return;
    found.execution = line;
    draw();
  });
  let why;
  try {
    const explained = await ask(path("events", seq, "explanation"), {}, signal);
    const matching = explained.filter((hook) => hook.matches);
    const others = explained.filter((hook) => !hook.matches);
    why = [
      el("p", { class: "faint" }, `${matching.length} of ${count(explained.length, "hook")} match it as they are declared now.`),
      matching.map((hook) => explanation(hook, one.seq)),
      others.map((hook) => explanation(hook, one.seq)),
    ];
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) throw error;
    why = el("p", { class: "faint" }, [error.message, error.hint].filter(Boolean).join("; "));
  }
  const document = text(one.payload);
  const laid = laidOut(document);
  return [
    el("h1", {}, `Event ${one.seq}`),
    el("div", { class: "pair" }, section("The event", { class: "card" }, told(one)), section("What it caused", { class: "card" }, list)),
    section("Why each hook matches or not", {}, why),
    section(
      "Payload",
      {},
      document === ""
        ? el("p", { class: "faint" }, one.payload_len > 0 ? "Only the envelope was kept." : "It has none.")
        : [
            el("p", { class: "faint" }, bytes(one.payload_len), one.payload?.base64 !== undefined && ", no text: in base64", laid !== document && ", laid out for reading"),
            el("pre", { tabindex: "0", role: "region", "aria-label": "Payload" }, laid),
            laid !== document && el("details", {}, el("summary", {}, "As it was received"), el("pre", { tabindex: "0", class: "wrap" }, document)),
          ],
    ),
  ];
}
