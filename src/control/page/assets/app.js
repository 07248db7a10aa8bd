// The frame: who is signed in, which view the address names, and whether hem is heard.

import { isOperator, Feed, onSignedOut, resume, session, signIn, signOut } from "./api.js";
import { asked } from "./dialogs.js";
import { el, fill } from "./dom.js";
import { event, events } from "./events.js";
import { execution } from "./execution.js";
import { executions } from "./executions.js";
import { hook, hooks } from "./hooks.js";
import { banner, say, sayFailure } from "./notice.js";
import { now } from "./now.js";
import { age, moment } from "./words.js";

const VIEWS = { now, executions, execution, events, event, hooks, hook };
const TABS = [
  ["now", "Now", ["now"]],
  ["executions", "Executions", ["executions", "execution"]],
  ["events", "Events", ["events", "event"]],
  ["hooks", "Hooks", ["hooks", "hook"]],
];

const bar = document.getElementById("bar");
const main = document.getElementById("main");
const hearers = new Set();
let feed;
let lostAt;
let showing = new AbortController();
let shown;

/** What the address names; no name where it is no percent-encoding. */
function route() {
  const [place, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parameters = new URLSearchParams(query ?? "");
  try {
    const [name, ...rest] = place.split("/").map((part) => decodeURIComponent(part));
    return { name: name || "now", rest, parameters };
  } catch {
    return { name: undefined, rest: [], parameters };
  }
}

function tabs(name) {
  return el(
    "nav",
    { "aria-label": "Views" },
    el("ul", {}, TABS.map(([view, title, all]) => el("li", {}, el("a", { href: `#/${view}`, "aria-current": all.includes(name) ? "page" : undefined }, title)))),
  );
}

function frame(name) {
  bar.hidden = session.current === undefined;
  if (session.current === undefined) return;
  const { name: who, role } = session.current;
  fill(
    bar,
    el("a", { class: "brand", href: "#/now", "aria-label": "hem, to the view of now" }, "hem"),
    tabs(name),
    el(
      "div",
      { class: "who" },
      el("span", { id: "link", class: lostAt ? "link lost" : "link" }, lostAt ? "not connected" : "live"),
      el("span", { class: "role" }, who && who !== role ? `${who} (${role})` : role),
      el("button", { type: "button", class: "plain", onclick: keys }, "Keys"),
      el("button", { type: "button", class: "plain", onclick: leave }, "Sign out"),
    ),
  );
}

async function leave() {
  try {
    await signOut();
  } catch (error) {
    sayFailure(error);
  }
}

/** Shows the view that the address names. What the one before had under way is called off. */
async function show() {
  showing.abort();
  showing = new AbortController();
  hearers.clear();
  const { signal } = showing;
  const { name, rest, parameters } = route();
  frame(name);
  if (session.current === undefined) {
    shown = undefined;
    fill(main, gate());
    document.title = "Sign in · hem";
    main.querySelector("input").focus();
    return;
  }
  const view = Object.hasOwn(VIEWS, name) && VIEWS[name];
  if (!view) {
    shown = undefined;
    main.removeAttribute("aria-busy");
    fill(main, el("h1", {}, "There is no such view"), el("p", {}, el("a", { href: "#/now" }, "See what is happening now")));
    return;
  }
  const place = [name, ...rest].join("/");
  const isNew = place !== shown;
  shown = place;
  const context = {
    rest,
    parameters,
    signal,
    operator: isOperator(),
    title: (text) => {
      document.title = `${text} · hem`;
    },
    hear: (hearer) => hearers.add(hearer),
  };
  if (isNew) fill(main, el("p", { class: "faint", role: "status" }, "Asking hem …"));
  main.setAttribute("aria-busy", "true");
  // What is told while the view still asks is told again when it listens: between the two nothing may fall.
  const early = [];
  const collect = (line) => early.push(line);
  hearers.add(collect);
  try {
    const parts = await view(context);
    if (signal.aborted) return;
    hearers.delete(collect);
    const focused = isNew ? undefined : document.activeElement?.name;
    fill(main, parts);
    age(main);
    if (isNew) {
      scrollTo(0, 0);
      const heading = main.querySelector("h1");
      heading?.setAttribute("tabindex", "-1");
      heading?.focus({ preventScroll: true });
    } else if (focused) {
      main.querySelector(`form [name="${CSS.escape(focused)}"]`)?.focus();
    }
    for (const line of early) heard(line, true);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError" || error.status === 401) return;
    fill(
      main,
      el("h1", { tabindex: "-1" }, error.status === 404 ? "There is no such thing" : "That did not work"),
      el("p", {}, error.message),
      error.hint && el("p", { class: "faint" }, error.hint),
      el("p", {}, el("button", { type: "button", onclick: () => void show() }, "Try again")),
    );
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

function gate() {
  const wrong = el("p", { class: "wrong", role: "alert" });
  const input = el("input", { type: "password", name: "token", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-hint" });
  return el(
    "form",
    {
      class: "gate",
      onsubmit: async (event) => {
        event.preventDefault();
        wrong.textContent = "";
        try {
          await signIn(input.value.trim());
        } catch (error) {
          wrong.textContent = error.status === 401 ? "hem does not know this token." : error.message;
          input.select();
          return;
        }
        input.value = "";
        void begin();
      },
    },
    el("h1", {}, "hem"),
    el("label", { class: "field" }, el("span", {}, "Token"), input),
    el("p", { id: "token-hint", class: "faint" }, "One of the tokens of ", el("code", {}, "control:"), " in hem.yaml. It is sent once and not kept; a session takes its place."),
    wrong,
    el("button", { type: "submit", class: "primary" }, "Sign in"),
  );
}

/** `early` is a line that the view may have had from hem already, with what it asked for. */
function heard(line, early = false) {
  for (const hearer of [...hearers]) hearer(line, early);
}

/** Begins to listen, and then shows what the address names, so that nothing falls between; at once where nothing is heard. */
async function begin() {
  feed?.stop();
  let isUnseen = false;
  let opened;
  const listening = new Promise((resolve) => {
    opened = resolve;
    setTimeout(resolve, 2000);
  });
  feed = new Feed({
    told: heard,
    missed: () => heard({ type: "missed" }),
    changed: (state, resumed) => {
      opened();
      if (state === "unseen") {
        isUnseen = true;
        return;
      }
      if (state === "lost") {
        lostAt ??= new Date();
        banner(`The connection to hem was lost at ${moment(lostAt)}. What stands here is as of then; it is tried again.`);
      } else if (lostAt || isUnseen) {
        if (lostAt) {
          lostAt = undefined;
          banner();
          say("Connected again.");
        }
        isUnseen = false;
        // The feed goes on where it ended, but sums and running output are no part of it.
        heard({ type: resumed ? "back" : "missed" });
      }
      const link = document.getElementById("link");
      if (link) {
        link.className = lostAt ? "link lost" : "link";
        link.textContent = lostAt ? "not connected" : "live";
      }
    },
  }).start();
  await listening;
  await show();
}

/** Whoever dictates, or hits keys by chance, can do without keys of a single character. */
const singleKeys = () => localStorage.getItem("hem-keys") !== "off";

function keys() {
  const line = (key, does) => [el("dt", {}, key.split(" ").map((one) => el("kbd", {}, one))), el("dd", {}, does)];
  void asked({
    title: "Keys",
    body: [el(
      "dl",
      { class: "keys" },
      line("Tab", "to the next link, field or button"),
      line("↓ ↑ j k", "in a table: to the next or the former row"),
      line("Home End", "in a table: to the first or the last row"),
      line("Enter", "in a table: opens the row"),
      line("/", "to the filters"),
      line("1 2 3 4", "to Now, Executions, Events, Hooks"),
      line("?", "shows these keys"),
      line("Esc", "closes a question"),
    ), el(
      "label",
      { class: "choice" },
      el("input", { type: "checkbox", checked: singleKeys(), onchange: (event) => localStorage.setItem("hem-keys", event.target.checked ? "on" : "off") }),
      el("span", {}, "/, ? and the digits are keys (kept in this browser)"),
    )],
  });
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || session.current === undefined || !singleKeys()) return;
  if (event.target.closest("input, select, textarea, dialog")) return;
  if (event.key === "/") {
    const filter = main.querySelector(".filters input, .filters select");
    if (!filter) return;
    event.preventDefault();
    filter.focus();
  } else if (event.key === "?") {
    keys();
  } else if (/^[1-4]$/.test(event.key)) {
    location.hash = `#/${TABS[Number(event.key) - 1][0]}`;
  }
}

async function start() {
  onSignedOut((byOrder) => {
    feed?.stop();
    lostAt = undefined;
    banner();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    void show();
    say(byOrder ? "Signed out." : "The session has ended.");
  });
  // The link's own address would name no view.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  addEventListener("hashchange", () => void show());
  addEventListener("keydown", pressed);
  setInterval(() => {
    if (!document.hidden) age();
  }, 1000);
  try {
    await resume();
  } catch (error) {
    banner(`${error.message}; it is tried again.`);
    setTimeout(() => location.reload(), 5000);
    return;
  }
  if (session.current) void begin();
  else void show();
}

void start();
