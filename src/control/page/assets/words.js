// Says in words what the interface says in names: times, states, outcomes, causes, and whose doing something was.

import { el } from "./dom.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });
const NUMBER = new Intl.NumberFormat("en");

export const number = (value) => NUMBER.format(value ?? 0);

/** `1 execution`, `2 executions`. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** A point in time in words of this machine: the day is left out today. */
export function moment(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return String(text);
  const clock = TIME.format(time);
  const day = DAY.format(time);
  return day === DAY.format(new Date()) ? clock : `${day} ${clock}`;
}

/** The same as an element that says the whole of it, in UTC, where the pointer rests. */
export function when(text) {
  return text ? el("time", { datetime: text, title: text }, moment(text)) : "";
}

/** A length of time in two parts at most: `340 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
function span(ms) {
  const left = Math.max(0, ms);
  if (left < 1000) return `${Math.round(left)} ms`;
  if (left < 10_000) return `${(left / 1000).toFixed(1)} s`;
  const seconds = Math.round(left / 1000);
  if (seconds < 60) return `${seconds} s`;
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

export const between = (from, to) => span(new Date(to) - new Date(from));

/** How long ago, which ages while the page stands: see `age`. */
export function since(text) {
  return el("span", { class: "age", "data-since": text, title: text }, between(text, Date.now()));
}

/** Lets everything made by `since` age. */
export function age(root = document) {
  for (const element of root.querySelectorAll("[data-since]")) {
    const text = between(element.dataset.since, Date.now());
    if (element.textContent !== text) element.textContent = text;
  }
}

const UNITS = { s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/**
 * The point in time that somebody wrote: `15m`, `2h`, `3d` (so long ago), `today`, `02:00`, `2026-11-22 02:00`, or RFC 3339.
 * None where it is none of these.
 */
export function instant(text, now = new Date()) {
  const asked = text.trim();
  const ago = /^(\d+)\s*(s|m|min|h|d|w)(\s+ago)?$/.exec(asked);
  if (ago) return new Date(now.getTime() - Number(ago[1]) * UNITS[ago[2]]);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  if (asked === "today") return midnight;
  if (asked === "yesterday") return new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  const clock = /^(\d{1,2}):(\d{2})$/.exec(asked);
  if (clock) return new Date(now.getFullYear(), now.getMonth(), now.getDate(), Number(clock[1]), Number(clock[2]));
  if (!/^\d{4}-\d{2}-\d{2}/.test(asked)) return undefined;
  const time = new Date(/^\d{4}-\d{2}-\d{2}$/.test(asked) ? `${asked}T00:00` : asked.replace(" ", "T"));
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** The length of time that somebody wrote: `30m`, `2h`; in milliseconds. */
export function length(text) {
  const found = /^(\d+)\s*(s|m|min|h|d|w)$/.exec(text.trim());
  return found ? Number(found[1]) * UNITS[found[2]] : undefined;
}

export function bytes(value) {
  if (value < 1000) return count(value, "byte");
  const units = ["kB", "MB", "GB", "TB"];
  let size = value / 1000;
  let at = 0;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[at]}`;
}

const MARKS = {
  queued: "○",
  debouncing: "◌",
  running: "▶",
  retrying: "↻",
  succeeded: "✓",
  failed: "✕",
  skipped: "–",
  cancelled: "⊘",
};

export const STATES = Object.keys(MARKS);
export const SETTLED = ["succeeded", "failed", "skipped", "cancelled"];

/** The sign of a state. */
export const mark = (name) => MARKS[name] ?? "·";

/** A state with its sign and colour; it is told apart without the colour. */
export function badge(name, more) {
  return el("span", { class: `badge ${name}` }, el("span", { class: "mark", "aria-hidden": "true" }, mark(name)), more ?? name);
}

/** The state of an execution as a badge. */
export function stateBadge(execution) {
  const name = execution.state.name;
  return badge(name, execution.held_by ? "held" : name);
}

export function actor(who) {
  if (who === undefined || who === null) return "somebody";
  if (who === "daemon") return "the daemon";
  if (who.user) return who.user.name ?? `uid ${who.user.uid}`;
  const [kind] = Object.keys(who);
  const inner = who[kind];
  return typeof inner === "string" ? inner : (inner.name ?? kind);
}

export function scope(covered) {
  switch (covered.is) {
    case "all":
      return "everything";
    case "source":
      return `source ${covered.source}`;
    case "hook":
      return `hook ${covered.hook}`;
    default:
      return `hook ${covered.hook} for ${covered.subject}`;
  }
}

export function mutedBy(by) {
  if (by.operator !== undefined) return actor(by.operator);
  return { throttle: "its throttle", loop_guard: "its loop guard", breaker: "its breaker" }[by] ?? String(by);
}

export function cause(why) {
  switch (why.name) {
    case "event":
      return "the event";
    case "retry":
      return "automatic retry";
    case "retry_message":
      return `RETRY message (event ${why.event})`;
    case "operator":
      return `retry by ${actor(why.actor)}${why.as_recorded ? ", as recorded" : ""}`;
    default:
      return "the daemon came back after the attempt before was cut short";
  }
}

const SKIPPED = {
  expired: "not started in time",
  throttled: "the hook's throttle was used up",
  superseded: "a newer one took its place",
  overlap: "another one of its subject was under way",
  muted: "dropped when a mute was taken back",
  observed: "it would have run: hem only observes",
};

const CANCELLED = {
  hook_removed: "its hook was removed",
  hook_disabled: "its hook was disabled",
  superseded: "a newer one ended it",
  expired: "not started again in time",
};

function cancelled(reason) {
  if (typeof reason === "string") return CANCELLED[reason] ?? reason;
  if (reason.operator !== undefined) return `by ${actor(reason.operator)}`;
  return `${actor(reason.stopped)} stopped its hook`;
}

/** What there is to say of a state besides its name. */
export function about(execution) {
  const { state, held_by: mute } = execution;
  switch (state.name) {
    case "queued":
      return [mute ? `${scope(mute.scope)} is muted; waits for ` : "waits for ", since(state.since)];
    case "debouncing":
      return ["waits for a newer one until ", when(state.due)];
    case "running":
      return [`attempt ${state.attempt} for `, since(state.since)];
    case "retrying":
      return ["again at ", when(state.due)];
    case "skipped":
      return SKIPPED[state.reason] ?? state.reason;
    case "cancelled":
      return cancelled(state.reason);
    default:
      return execution.attempts > 1 ? `after ${execution.attempts} attempts` : "";
  }
}

const SIGNALS = { 1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE", 14: "ALRM", 15: "TERM" };

/** How an attempt ended. */
export function outcome(how) {
  const ending = how.killed ? "KILL was needed after TERM" : "it obeyed TERM";
  switch (how.name) {
    case "exited":
      return `exit status ${how.code}`;
    case "signalled":
      return `ended by signal ${how.signal}${SIGNALS[how.signal] ? ` (${SIGNALS[how.signal]})` : ""}, which hem did not send`;
    case "timed_out":
      return `ran into its time limit of ${span(how.after_ms)}; ${ending}`;
    case "stopped":
      return `stopped on request; ${ending}`;
    case "start_failed":
      return `could not be started: ${how.message}`;
    case "leaked":
      return `exit status ${how.code}, but a process it left behind kept its output open`;
    default:
      return "cut short by the daemon's end; how far it came is not known";
  }
}

/** What an event says happened. */
export function happened({ facts }) {
  switch (facts.kind) {
    case "state":
      return facts.lcm_state && facts.lcm_state !== "LCM_INIT"
        ? `${facts.resource} ${facts.state}/${facts.lcm_state}`
        : `${facts.resource} ${facts.state}`;
    case "api":
      return `${facts.call} ${facts.success ? "succeeded" : "failed"}`;
    case "retry":
      return `retry of hook ${facts.hook_id}`;
    case "undecodable":
      return `undecodable: ${facts.reason}`;
    case "gap":
      return `gap: ${facts.why}`;
    case "execution":
      return `${facts.execution} ${facts.outcome}`;
    case "muted": {
      const what = [facts.hook && `hook ${facts.hook}`, facts.source && `source ${facts.source}`, facts.subject].filter(Boolean);
      return `${what.join(" ") || "everything"} muted by ${facts.by}`;
    }
    case "blocked":
      return `${facts.waiting} waits for ${facts.behind}`;
    case "source_down":
      return `source ${facts.source} is not connected`;
    case "webhook":
      return ["webhook", facts.endpoint, facts.delivery].filter(Boolean).join(" ");
    case "esc":
      return ["esc", facts.event, facts.status].filter(Boolean).join(" ");
    case "masakari": {
      const what = `${facts.notification_type} ${facts.payload.event ?? ""} on ${facts.hostname}`;
      return facts.observed ? `${what}: ${facts.observed.status}` : what;
    }
    default: {
      const said = Object.entries(facts).filter(([name, value]) => name !== "kind" && ["string", "number"].includes(typeof value));
      return [facts.kind.replaceAll("_", " "), ...said.slice(0, 3).map(([, value]) => value)].join(" ");
    }
  }
}

/** The events' kinds that filters know. */
export const KINDS = [
  "state", "api", "retry", "webhook", "esc", "masakari", "undecodable", "gap", "execution", "muted", "blocked", "source_down",
];

/** Bytes that are text most of the time, as text; what is none is said to be base64. */
export function text(given) {
  if (given === undefined || given === null) return "";
  return given.text ?? given.base64 ?? "";
}

/** The text in an argument that is base64 of a document; none where it is none. */
export function decoded(argument) {
  if (argument.length < 16 || argument.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(argument)) return undefined;
  try {
    const raw = Uint8Array.from(atob(argument), (letter) => letter.charCodeAt(0));
    const found = new TextDecoder("utf-8", { fatal: true }).decode(raw);
    return /^\s*[<{[]/.test(found) ? found : undefined;
  } catch {
    return undefined;
  }
}
