// Makes elements. Text becomes text nodes, here and nowhere else, so nothing an event brought can become markup.

const SVG = "http://www.w3.org/2000/svg";

// Characters that would hide or reorder what stands beside them: controls, and those that change the direction of writing.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** The text with its unseen characters made visible; line ends and tabs stay. */
function visible(text) {
  return String(text)
    .replaceAll("\r\n", "\n")
    .replace(UNSEEN, (found) => {
      const code = found.codePointAt(0);
      return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
    });
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  put(element, children);
  return element;
}

/** Appends nodes and texts; lists are taken apart, nothing is left out of empty ones. */
export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
  return element;
}

/** An element of the page: `el("a", { href: "#/now" }, "Now")`. */
export function el(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An element of a drawing. */
export function svg(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Puts these in the place of all an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  return put(element, children);
}

/**
 * Brings the children of `parent` into the order of `items`, keeping the elements of those that were there before, so that
 * focus and selection stay where they are. `key` names an item, `make` makes its element, `update` says news of it.
 */
export function keyed(parent, items, key, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = name;
    } else {
      known.delete(name);
      update?.(child, item);
    }
    if (child === before) before = before.nextElementSibling;
    else parent.insertBefore(child, before);
  }
  for (const child of known.values()) child.remove();
}

/** A list of names and values; values that are undefined or null are left out with their names. */
export function facts(...pairs) {
  const list = el("dl", { class: "facts" });
  for (const [name, ...value] of pairs.filter(Boolean)) {
    const given = value.flat(Infinity).filter((part) => part !== undefined && part !== null && part !== false && part !== "");
    if (given.length > 0) put(list, el("dt", {}, name), el("dd", {}, given));
  }
  return list;
}

/** A part of a view under a heading. */
export function section(title, attributes, ...children) {
  const id = `part-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return el("section", { "aria-labelledby": id, ...attributes }, el("h2", { id }, title), children);
}

/** What heads a column of numbers begins with `# `, which is not shown. */
const OF_NUMBERS = "# ";
const heading = (column) => column.replace(OF_NUMBERS, "");

/**
 * A table that may be wider than the window: it scrolls by itself and can be scrolled from the keyboard. Where the window
 * is narrow, each row becomes a card whose cells are named by `columns`; the roles keep it a table for those who listen.
 */
export function table(label, columns, rows, attributes) {
  const body = el("tbody", { role: "rowgroup" }, rows);
  const head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map((column) => el("th", { scope: "col", role: "columnheader", class: column.startsWith(OF_NUMBERS) && "number" }, heading(column)))));
  return el("div", { class: "wide" }, el("table", { role: "table", "aria-label": label, ...attributes }, head, body));
}

/** A row of such a table; a cell is what `put` takes, or an object with `class` and `of`. */
export function row(columns, cells, attributes) {
  return el(
    "tr",
    { role: "row", ...attributes },
    cells.map((cell, at) => {
      const plain = cell === null || cell === undefined || cell instanceof Node || Array.isArray(cell) || typeof cell !== "object";
      const { class: kind, of } = plain ? { of: cell } : cell;
      const given = [of].flat(Infinity).filter((part) => part !== undefined && part !== null && part !== false && part !== "");
      return el("td", { role: "cell", class: columns[at].startsWith(OF_NUMBERS) ? `number ${kind ?? ""}` : kind, "data-name": heading(columns[at]) }, given.length > 0 && el("div", {}, given));
    }),
  );
}
