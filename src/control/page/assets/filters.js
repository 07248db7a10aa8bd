// A row of filters that are kept in the address.

import { el } from "./dom.js";
import { field } from "./dialogs.js";
import { instant } from "./words.js";

const AGES = ["15m", "1h", "6h", "1d", "7d", "today"];

/** The address of a view with these parameters; those that are empty are left out. */
export function address(view, parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "" && value !== false);
  const text = new URLSearchParams(set).toString();
  return `#/${view}${text && `?${text}`}`;
}

function control(asked, value) {
  const { name, kind, options, placeholder } = asked;
  switch (kind) {
    case "choice": {
      const known = options.includes(value) || !value ? options : [value, ...options];
      return el("select", { name }, el("option", { value: "" }, "any"), known.map((option) => el("option", { value: option, selected: option === value }, option)));
    }
    case "check":
      return el("input", { type: "checkbox", name, value: "true", checked: value === "true" });
    default: {
      const list = options && `choices-${name}`;
      return [
        el("input", { name, value: value ?? "", list, placeholder, autocomplete: "off", spellcheck: "false" }),
        list && el("datalist", { id: list }, options.map((option) => el("option", { value: option }))),
      ];
    }
  }
}

/**
 * The filters of a view. `fields` say what can be asked; `parameters` are those of the address, which changes with what is
 * filled in.
 */
export function filters(view, fields, parameters) {
  const go = () => {
    const given = new FormData(form);
    const set = {};
    for (const { name, kind } of fields) {
      const value = String(given.get(name) ?? "").trim();
      const input = form.elements.namedItem(name);
      if (kind === "time") {
        input.setCustomValidity(value && !instant(value) ? "A time is written 15m, 2h, today, 02:00 or 2026-11-22 02:00." : "");
        if (!input.reportValidity()) return;
      }
      set[name] = value;
    }
    location.hash = address(view, set);
  };
  const form = el(
    "form",
    {
      class: "filters",
      role: "search",
      "aria-label": "Filters",
      onsubmit: (event) => {
        event.preventDefault();
        go();
      },
      onchange: go,
    },
    fields.map((asked) => field(asked.label, control(asked, parameters.get(asked.name) ?? ""))),
    fields.some(({ name }) => parameters.get(name)) && el("a", { class: "clear", href: `#/${view}` }, "Clear"),
    // Enter in a field carries out the search also where the browser asks for a button.
    el("button", { type: "submit", class: "unseen" }, "Search"),
  );
  return form;
}

export const since = { name: "since", label: "Since", kind: "time", options: AGES, placeholder: "any time" };
export const until = { name: "until", label: "Until", kind: "time", options: AGES, placeholder: "now" };

/** The parameters of the address as the interface asks for them: times made absolute. */
export function wanted(fields, parameters) {
  const set = {};
  for (const { name, kind } of fields) {
    const value = parameters.get(name);
    if (!value) continue;
    set[name] = kind === "time" ? instant(value)?.toISOString() : value;
  }
  return set;
}

/** Lets the arrows, j and k, Home and End go from row to row of a table, by the link in each. */
export function rowKeys(body) {
  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    const links = [...body.querySelectorAll("a.main")];
    const here = links.indexOf(event.target.closest("tr")?.querySelector("a.main"));
    if (here < 0) return;
    event.preventDefault();
    links[Math.min(links.length - 1, Math.max(0, here + step))].focus();
  });
}
