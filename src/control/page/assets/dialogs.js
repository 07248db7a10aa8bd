// Questions that are put before something is ordered.

import { el } from "./dom.js";
import { length } from "./words.js";
import { order, path } from "./api.js";
import { say, sayFailure } from "./notice.js";

/**
 * Puts a question with fields; gives what was filled in, or nothing where it was called off. `check` says what is wrong with
 * the values, if anything is.
 */
export function asked({ title, body, action, danger, check }) {
  return new Promise((resolve) => {
    const wrong = el("p", { class: "wrong", role: "alert" });
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { id: "dialog-title" }, title),
      body,
      wrong,
      el(
        "div",
        { class: "actions" },
        el("button", { type: "button", onclick: () => dialog.close() }, action ? "Leave it" : "Close"),
        action && el("button", { type: "submit", class: danger ? "danger" : "primary" }, action),
      ),
    );
    const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, form);
    let answer;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = Object.fromEntries(new FormData(form));
      const fault = check?.(given);
      if (fault) {
        wrong.textContent = fault;
        return;
      }
      answer = given;
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A field with its name over it. */
export function field(name, input, hint) {
  return el("label", { class: "field" }, el("span", {}, name), input, hint && el("small", {}, hint));
}

/** Does what was ordered, and says what became of it. */
export async function carried(doing, done) {
  try {
    const reply = await doing();
    say(done(reply));
    return true;
  } catch (error) {
    sayFailure(error);
    return false;
  }
}

const TIMES = ["15m", "1h", "4h", "1d"];

/** Asks for how long and why, and mutes. */
export async function mute(scope, words) {
  const given = await asked({
    title: `Mute ${words}`,
    body: [
      el("p", {}, "Events are kept and their executions wait. What runs goes on."),
      field("For how long", el("input", { name: "time", list: "mute-times", autocomplete: "off", placeholder: "until it is taken back" }), "30m, 2h, 1d; empty: until somebody takes it back. Then what waited runs."),
      el("datalist", { id: "mute-times" }, TIMES.map((time) => el("option", { value: time }))),
      field("Why", el("input", { name: "reason", autocomplete: "off", maxlength: 500 })),
    ],
    action: "Mute",
    check: ({ time }) => (time.trim() && !length(time) ? `“${time}” is no length of time; 30m and 2h are` : undefined),
  });
  if (!given) return false;
  const body = { scope };
  if (given.time.trim()) body.for_ms = length(given.time);
  if (given.reason.trim()) body.reason = given.reason.trim();
  return carried(
    () => order(path("mutes"), body),
    ({ held, running }) => `Muted ${words}: ${held} held, ${running} running on.`,
  );
}

/** Asks what becomes of what waited, and takes a mute back. */
export async function unmute(scope, words, held) {
  const choice = (value, text, first) =>
    el("label", { class: "choice" }, el("input", { type: "radio", name: "then", value, checked: first }), el("span", {}, text));
  const given = await asked({
    title: `Take back the mute of ${words}`,
    body: el(
      "fieldset",
      {},
      el("legend", {}, held === undefined ? "What it held" : `What it held (${held})`),
      choice("run", "runs", true),
      choice("latest", "of each hook and subject the newest one runs, the others are skipped"),
      choice("drop", "is skipped"),
    ),
    action: "Unmute",
  });
  if (!given) return false;
  return carried(
    () => order(path("mutes", "end"), { scope, then: given.then }),
    (reply) => `Unmuted ${words}: ${reply.released} released, ${reply.skipped} skipped${reply.still_held ? `, ${reply.still_held} still held by another mute` : ""}.`,
  );
}
