// Tells whoever looks, and whoever listens, what became of something.

import { el, fill } from "./dom.js";

const place = (id) => document.getElementById(id);

let fading;

/** Says what became of an order. A failure stays until it is put away. */
export function say(text, failed = false) {
  clearTimeout(fading);
  const away = () => fill(place("said"));
  fill(
    place("said"),
    el("p", { class: failed ? "notice bad" : "notice good" }, el("span", {}, text), el("button", { type: "button", class: "plain", "aria-label": "Put this notice away", onclick: away }, "✕")),
  );
  if (!failed) fading = setTimeout(away, 10_000);
}

/** Says why something failed. */
export function sayFailure(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  say([error.message, error.hint].filter(Boolean).join(". "), true);
}

let pending = 0;
let speaking;

/** Says to those who listen how much is new, at most every five seconds. */
export function aloud(changes, words) {
  pending += changes;
  speaking ??= setTimeout(() => {
    place("aloud").textContent = words(pending);
    pending = 0;
    speaking = undefined;
  }, 5000);
}

/** A strip over everything that stays while it holds. */
export function banner(text) {
  const strip = place("banner");
  strip.hidden = text === undefined;
  strip.textContent = text ?? "";
}
