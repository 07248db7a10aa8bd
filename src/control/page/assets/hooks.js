// Hooks: where each was declared, how it does, and what can be done about it.

import { ask, order, page, path } from "./api.js";
import { carried, mute, unmute } from "./dialogs.js";
import { el, facts, fill, row, section, table } from "./dom.js";
import { rowKeys } from "./filters.js";
import { liveTable } from "./executions.js";
import { mutes } from "./now.js";
import { sayFailure } from "./notice.js";
import { actor, badge, count, mark, mutedBy, when } from "./words.js";

/** Executions looked at for the last outcomes of all hooks. */
const LOOK = 1000;
const OUTCOMES = 10;
const RECENT = 20;
const COLUMNS = ["Hook", "State", "Last outcomes", "Trigger", "Declared in", "Action"];

const place = (hook) => (hook.origin.is === "oned" ? `oned, hook ${hook.origin.id}` : `${hook.definition.file}:${hook.definition.line}`);

/** Mutes of the hook itself; those of one subject or of everything are taken back where they are listed. */
const own = (hook) => (hook.muted ?? []).find((one) => one.scope.is === "hook" && one.scope.hook === hook.name);

function state(hook, stale) {
  const said = [];
  if (hook.shadowed_by) said.push(badge("skipped", "shadowed"), el("div", { class: "faint" }, `by ${hook.shadowed_by}`));
  else if (hook.enabled) said.push(badge("succeeded", "enabled"));
  else said.push(badge("cancelled", "disabled"));
  if (hook.override_) said.push(el("div", { class: "faint" }, `${hook.override_.enabled ? "enabled" : "disabled"} by ${actor(hook.override_.actor)} at `, when(hook.override_.at)));
  for (const one of hook.muted ?? []) said.push(el("div", {}, badge("queued", one.scope.is === "lane" ? `muted for ${one.scope.subject}` : "muted"), el("span", { class: "faint" }, ` by ${mutedBy(one.by)}`, one.until && [" until ", when(one.until)])));
  const broken = stale.find((one) => one.file === hook.definition.file);
  if (broken) said.push(el("div", { class: "bad" }, "its file is broken; the last good version is in force"));
  for (const warning of hook.warnings ?? []) said.push(el("div", { class: "warn" }, warning));
  return said;
}

function outcomes(list) {
  if (list.length === 0) return el("span", { class: "faint" }, "none lately");
  const names = list.map((execution) => execution.state.name);
  return el(
    "ol",
    { class: "outcomes", "aria-label": `Newest first: ${names.join(", ")}` },
    list.map((execution) =>
      el(
        "li",
        { class: execution.state.name },
        el("a", { href: `#/execution/${encodeURIComponent(execution.execution)}`, title: `${execution.execution} ${execution.state.name}`, "aria-label": `${execution.execution} ${execution.state.name}`, tabindex: "-1" }, mark(execution.state.name)),
      ),
    ),
  );
}

/** The buttons of a hook. */
function buttons(hook, done) {
  const covered = { is: "hook", hook: hook.name };
  const words = `hook ${hook.name}`;
  const then = async (doing) => {
    if (await doing) done();
  };
  const set = (what, said) => () => then(carried(() => order(path("hooks", hook.name, what)), () => `Hook ${hook.name} ${said}.`));
  const button = (name, onclick) => el("button", { type: "button", onclick, "aria-label": `${name} ${hook.name}` }, name);
  return el(
    "div",
    { class: "buttons" },
    own(hook) ? button("Unmute", () => then(unmute(covered, words))) : button("Mute", () => then(mute(covered, words))),
    hook.enabled ? button("Disable", set("disable", "is disabled")) : button("Enable", set("enable", "is enabled")),
    hook.override_ && button("As in its file", set("reset", "is as its file says")),
  );
}

function grouped(executions) {
  const found = new Map();
  for (const execution of executions) {
    if (!found.has(execution.hook)) found.set(execution.hook, new Map());
    found.get(execution.hook).set(execution.execution, execution);
  }
  return found;
}

const newest = (known) => [...(known?.values() ?? [])].sort((one, other) => other.event - one.event).slice(0, OUTCOMES);

/** Calls `again` soon after the feed says that hooks or mutes may be others now. */
function follow(hear, signal, again, more) {
  let soon;
  const shortly = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      void again();
    }, 200);
  };
  hear((line) => {
    if (["missed", "back", "muted", "unmuted"].includes(line.type)) shortly();
    more?.(line);
  });
  // Orders of others and changed files are not in the feed.
  const poll = setInterval(() => {
    if (!document.hidden) void again();
  }, 10_000);
  signal.addEventListener("abort", () => {
    clearTimeout(soon);
    clearInterval(poll);
  });
}

/** The view of hooks. */
export async function hooks({ signal, hear, title, operator }) {
  title("Hooks");
  const asking = () => Promise.all([ask(path("hooks"), {}, signal), ask(path("status"), {}, signal)]);
  const [[first, started], lately] = await Promise.all([asking(), page(path("executions"), { limit: LOOK }, signal)]);
  let [list, status] = [first, started];
  const last = grouped(lately.items);
  const columns = operator ? COLUMNS : COLUMNS.slice(0, -1);
  const body = el("tbody", { role: "rowgroup" });
  const whole = table("Hooks", columns, [], { class: "list" });
  whole.querySelector("tbody").replaceWith(body);
  rowKeys(body);
  const muted = el("div", {});
  const sum = el("p", { class: "faint" });
  const places = new Map();
  let written;
  const draw = () => {
    const text = JSON.stringify([list, status.mutes, status.stale]);
    if (text === written) return;
    written = text;
    const focus = document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.getAttribute("href");
    fill(sum, `${count(list.filter((hook) => hook.enabled && !hook.shadowed_by).length, "hook")} in force, ${count(list.length, "hook")} in all.`);
    places.clear();
    fill(
      body,
      list.map((hook) => {
        const strip = el("div", {}, outcomes(newest(last.get(hook.name))));
        places.set(hook.name, strip);
        return row(
          columns,
          [
            [el("a", { class: "main", href: `#/hook/${encodeURIComponent(hook.name)}` }, hook.name), hook.description && el("div", { class: "faint" }, hook.description)],
            state(hook, status.stale),
            strip,
            hook.triggers.map((trigger) => el("div", {}, trigger)),
            { class: "path", of: el("code", {}, place(hook)) },
            operator && !hook.shadowed_by && buttons(hook, () => void again()),
          ].slice(0, columns.length),
        );
      }),
    );
    fill(muted, mutes(status.mutes, operator, () => void again()));
    if (focus) [...body.querySelectorAll("a, button")].find((one) => [one.getAttribute("aria-label"), one.getAttribute("href")].includes(focus))?.focus();
  };
  const again = async () => {
    try {
      [list, status] = await asking();
      draw();
    } catch (error) {
      if (error.status !== 0) sayFailure(error);
    }
  };
  follow(hear, signal, again, (line) => {
    if (line.type !== "execution") return;
    if (!last.has(line.hook)) last.set(line.hook, new Map());
    last.get(line.hook).set(line.execution, line);
    const strip = places.get(line.hook);
    if (strip) fill(strip, outcomes(newest(last.get(line.hook))));
  });
  draw();
  return [
    el(
      "div",
      { class: "head" },
      el("h1", {}, "Hooks"),
      operator &&
        el(
          "button",
          {
            type: "button",
            onclick: async () => {
              if (await mute({ is: "all" }, "everything")) void again();
            },
          },
          "Mute everything",
        ),
    ),
    sum,
    list.length === 0 ? el("p", { class: "empty" }, "There is no hook.") : whole,
    section("Mutes", { class: "card" }, muted),
  ];
}

/** The view of one hook. */
export async function hook({ rest, signal, hear, title, operator }) {
  const [name] = rest;
  title(`Hook ${name}`);
  const asking = () => Promise.all([ask(path("hooks"), {}, signal), ask(path("status"), {}, signal)]);
  const [[first, started], recent] = await Promise.all([asking(), page(path("executions"), { hook: name, limit: RECENT }, signal)]);
  let [list, status] = [first, started];
  const find = () => list.find((one) => one.name === name);
  const head = el("div", { class: "head" });
  const about = el("div", {});
  const muted = el("div", {});
  const runs = liveTable(recent.items, new URLSearchParams(), `Executions of ${name}`);
  let written;
  const draw = () => {
    const one = find();
    const mine = status.mutes.filter(({ mute: { scope: covered } }) => covered.is === "all" || covered.hook === name);
    const text = JSON.stringify([one, mine, status.stale]);
    if (text === written) return;
    written = text;
    const focused = document.activeElement?.textContent;
    const within = head.contains(document.activeElement);
    fill(head, el("h1", {}, name), operator && one && !one.shadowed_by && buttons(one, () => void again()));
    if (within) [...head.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
    if (!one) {
      fill(about, el("p", {}, "There is no such hook any more."));
      return;
    }
    fill(
      about,
      one.description && el("p", {}, one.description),
      facts(
        ["State", state(one, status.stale)],
        ["Trigger", one.triggers.map((trigger) => el("div", {}, trigger))],
        ["Condition", one.when && el("code", {}, one.when)],
        ["Command", el("code", {}, one.command)],
        ["Program", el("code", {}, one.program), one.shell && ", read by a shell", one.remote && ", on the event's host"],
        ["Declared in", el("code", {}, place(one))],
        ["Profile", one.profile],
        ["Version", el("span", { class: "hash" }, one.definition.version)],
        ["Locked", one.origin.locked],
        ["Notes", one.origin.notes?.map((note) => el("div", {}, note))],
      ),
      el("details", {}, el("summary", {}, "The definition"), el("pre", { tabindex: "0" }, one.definition.text)),
    );
    fill(muted, mutes(mine, operator, () => void again()));
  };
  const again = async () => {
    try {
      [list, status] = await asking();
      draw();
    } catch (error) {
      if (error.status !== 0) sayFailure(error);
    }
  };
  follow(hear, signal, again, (line) => {
    if (line.type !== "execution" || line.hook !== name) return;
    runs.shown.set(line.execution, line);
    runs.draw();
    none.hidden = true;
    runs.element.hidden = false;
  });
  const none = el("p", { class: "empty", hidden: recent.items.length > 0 }, "No execution of it is kept.");
  runs.element.hidden = recent.items.length === 0;
  draw();
  return [
    head,
    section("The hook", { class: "card" }, about),
    section("Mutes", { class: "card" }, muted),
    section("Last executions", {}, runs.element, none, recent.next && el("p", {}, el("a", { href: `#/executions?hook=${encodeURIComponent(name)}` }, "All of them"))),
  ];
}
