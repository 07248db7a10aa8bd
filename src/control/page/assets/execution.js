// The whole story of one execution.

import { ask, order, path } from "./api.js";
import { asked, carried } from "./dialogs.js";
import { el, facts, fill, keyed, put, section } from "./dom.js";
import { laidOut } from "./layout.js";
import { sayFailure } from "./notice.js";
import { about, between, bytes, cause, count, decoded, happened, outcome, SETTLED, since, stateBadge, text, when } from "./words.js";

const LOOK = 1000;

const TODAY = {
  same: "the definition in force is the same",
  changed: "the definition in force is another one by now",
  removed: "there is no such hook any more",
};

const link = (href, ...of) => el("a", { href }, of);

/** One stream of a script, as kept. */
function stream(name, output) {
  if (output.total === 0) return el("p", { class: "faint" }, `${name}: nothing`);
  const [head, tail] = [text(output.head), text(output.tail)];
  return el(
    "div",
    { class: "stream" },
    el("h4", {}, `${name} `, el("span", { class: "faint" }, bytes(output.total), output.head.base64 !== undefined && ", no text: in base64")),
    el("pre", { tabindex: "0", role: "region", "aria-label": name }, head, output.cut > 0 && el("span", { class: "cut" }, `\n… ${bytes(output.cut)} cut here …\n`), tail),
  );
}

/** An argument; of a document in base64, the document. */
function argument(value) {
  const document = decoded(value);
  if (document === undefined) return el("li", {}, el("code", {}, value === "" ? "(empty)" : value));
  return el(
    "li",
    {},
    el("details", {}, el("summary", {}, `a document in base64, ${bytes(value.length)}`), el("h5", {}, "Decoded"), el("pre", { tabindex: "0" }, laidOut(document)), el("h5", {}, "As it was given"), el("pre", { tabindex: "0", class: "wrap" }, value)),
  );
}

function process(started) {
  if (!started) return undefined;
  return [
    el("h4", {}, "Command line"),
    el("ol", { class: "argv", start: "0" }, started.argv.map(argument)),
    el(
      "details",
      {},
      el("summary", {}, `Environment (${count(started.environment.length, "variable")})`),
      el(
        "dl",
        { class: "environment" },
        started.environment.map(([name, value]) => [el("dt", {}, name), el("dd", {}, decoded(value) === undefined ? el("code", {}, value) : el("pre", {}, laidOut(decoded(value))))]),
      ),
    ),
    el(
      "details",
      {},
      el("summary", {}, "Process and files"),
      facts(
        ["Process", `${started.pid}, user id ${started.uid}`],
        ["Folder", started.directory && el("code", {}, started.directory)],
        ["Hook file", el("code", {}, started.hook_file), " ", el("span", { class: "hash" }, started.hook_file_sha256)],
        ...started.files.map((file) => ["File", el("code", {}, file.path), ` ${bytes(file.size)} `, el("span", { class: "hash" }, file.sha256)]),
      ),
    ),
  ];
}

function attemptOf(attempt, isNewest, isRunning) {
  const { ended, process: started } = attempt;
  const good = ended?.outcome.name === "exited" && ended.outcome.code === 0;
  const mark = ended ? (good ? "✓" : "✕") : "▶";
  const tone = ended ? (good ? "succeeded" : "failed") : "running";
  return el(
    "details",
    { class: "attempt", open: isNewest },
    el(
      "summary",
      {},
      el("span", { class: `badge ${tone}` }, el("span", { class: "mark", "aria-hidden": "true" }, mark), `Attempt ${attempt.number}`),
      " ",
      ended ? outcome(ended.outcome) : started ? ["has run for ", since(started.at)] : "is started",
      el("span", { class: "faint" }, ` · caused by ${cause(attempt.cause)}`),
    ),
    facts(
      ["Released", when(attempt.released)],
      ["Started", started && [when(started.at), el("span", { class: "faint" }, ` after ${between(attempt.released, started.at)}`)]],
      ["Ended", ended && [when(ended.at), started && el("span", { class: "faint" }, ` after ${between(started.at, ended.at)}`)]],
      ["Outcome", ended && outcome(ended.outcome)],
    ),
    ended && (ended.outputs_pruned ? el("p", { class: "faint" }, "What it wrote was kept and has been pruned since.") : [stream("Standard output", ended.stdout), stream("Standard error", ended.stderr)]),
    isRunning && el("div", { class: "so-far" }),
    process(started),
  );
}

/** What a running script has written so far. */
function soFar() {
  const pre = (name) => el("pre", { tabindex: "0", role: "log", "aria-label": `${name} so far` });
  const places = { stdout: pre("Standard output"), stderr: pre("Standard error") };
  const names = { stdout: "Standard output so far", stderr: "Standard error so far" };
  const parts = Object.fromEntries(Object.keys(places).map((name) => [name, el("div", { class: "stream", hidden: true }, el("h4", {}, names[name]), places[name])]));
  const nothing = el("p", { class: "faint" }, "It has written nothing so far.");
  const element = el("div", {}, nothing, parts.stdout, parts.stderr);
  const told = (output) => {
    for (const name of Object.keys(places)) {
      const written = output[name];
      if (!written || written.total === 0) continue;
      nothing.hidden = true;
      parts[name].hidden = false;
      const place = places[name];
      const said = [text(written.head), written.cut > 0 ? `\n… ${bytes(written.cut)} cut here …\n` : "", text(written.tail)];
      const whole = said.join("");
      if (place.dataset.total === String(written.total)) continue;
      // Whoever reads at the end stays there; whoever scrolled back stays where they are.
      const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 20;
      place.dataset.total = written.total;
      fill(place, whole);
      if (atEnd) place.scrollTop = place.scrollHeight;
    }
  };
  return { element, told };
}

async function retry(reference, done) {
  let plan;
  try {
    plan = await order(path("executions", "retry"), { executions: [reference], dry_run: true });
  } catch (error) {
    sayFailure(error);
    return;
  }
  const [result] = plan.results;
  const same = result.recorded && result.today && result.recorded.version === result.today.version;
  const given = await asked({
    title: `Retry ${reference}`,
    body: [
      el("p", {}, same ? "The hook's definition is the one that ran before." : result.today ? "The hook's definition has changed since." : "The hook was removed: only the recorded definition can run."),
      !same && result.recorded && el("details", {}, el("summary", {}, "The recorded definition"), el("pre", { tabindex: "0" }, result.recorded.text)),
      !same && result.today && el("details", {}, el("summary", {}, "The definition of today"), el("pre", { tabindex: "0" }, result.today.text)),
      !same && el("label", { class: "choice" }, el("input", { type: "checkbox", name: "as_recorded", checked: !result.today }), el("span", {}, "Run the recorded definition")),
      el("p", { class: "faint" }, `It becomes attempt ${result.attempt}, with the event as it was recorded.`),
    ],
    action: "Retry",
  });
  if (!given) return;
  await carried(
    async () => {
      const reply = await order(path("executions", "retry"), { executions: [reference], as_recorded: given.as_recorded !== undefined });
      const [{ refused }] = reply.results;
      if (refused) throw new Error(`${reference} is not retried: ${refused}`);
      return reply.results[0];
    },
    ({ attempt }) => `Attempt ${attempt} of ${reference} is ordered.`,
  );
  done();
}

async function cancel(execution, done) {
  const runs = execution.state.name === "running";
  const given = await asked({
    title: `Cancel ${execution.execution}`,
    body: el("p", {}, runs ? "Its script is ended: TERM first, KILL if it does not obey." : "It will not run."),
    action: runs ? "End it" : "Cancel it",
    danger: true,
  });
  if (!given) return;
  await carried(
    () => order(path("executions", execution.execution, "cancel")),
    () => `${execution.execution} is cancelled.`,
  );
  done();
}

function buttons(told, operator, done) {
  if (!operator) return undefined;
  const { execution } = told;
  return SETTLED.includes(execution.state.name)
    ? el("button", { type: "button", class: "primary", onclick: () => void retry(execution.execution, done) }, "Retry")
    : el("button", { type: "button", class: "danger", onclick: () => void cancel(execution, done) }, "Cancel");
}

function definition(told) {
  const { definition: recorded, execution, today } = told;
  const name = link(`#/hook/${encodeURIComponent(execution.hook)}`, execution.hook);
  return [
    facts(
      ["Hook", name],
      ["Version", el("span", { class: "hash" }, execution.version), TODAY[today] && el("span", { class: "faint" }, ` ${TODAY[today]}`)],
      ["File", recorded && el("code", {}, `${recorded.file}:${recorded.line}`)],
      ["Why", execution.why],
      ["Repeats", execution.retry_of && link(`#/execution/${execution.retry_of}`, execution.retry_of)],
    ),
    recorded && el("details", {}, el("summary", {}, "The definition that matched"), el("pre", { tabindex: "0" }, recorded.text)),
  ];
}

function cameFrom(event, execution) {
  if (!event) return el("p", { class: "faint" }, `Event ${execution.event} is no longer kept.`);
  return [
    facts(
      ["Event", link(`#/event/${event.seq}`, `${event.seq}`), ` ${happened(event)}`],
      ["Key", el("code", {}, event.key)],
      ["Subject", event.subject],
      ["Source", event.source],
      ["Received", when(event.received)],
    ),
    event.payload && el("details", {}, el("summary", {}, `Payload, ${bytes(event.payload_len)}`), el("pre", { tabindex: "0" }, laidOut(text(event.payload)))),
  ];
}

/** The view of one execution. */
export async function execution({ rest, signal, hear, title, operator }) {
  const [reference] = rest;
  title(reference);
  const asking = () => ask(path("executions", reference), {}, signal);
  let story = await asking();
  const head = el("div", { class: "head" });
  const verdict = el("p", { class: "verdict", role: "status" });
  const [from, why] = [el("div", {}), el("div", {})];
  const list = el("div", { class: "attempts" });
  const written = new WeakMap();
  let live;
  let timer;

  const draw = () => {
    const told = story.executions[0];
    const { execution: one, attempts } = told;
    fill(head, el("h1", {}, one.execution), buttons(told, operator, () => void again()));
    fill(verdict, stateBadge(one), " ", about(one));
    fill(from, cameFrom(story.event, one));
    fill(why, definition(told));
    const runs = one.state.name === "running";
    const newest = attempts.at(-1)?.number;
    const make = (attempt) => {
      const made = attemptOf(attempt, attempt.number === newest, runs && attempt.number === newest && !attempt.ended);
      written.set(made, JSON.stringify(attempt));
      return made;
    };
    keyed(list, attempts.toReversed(), (attempt) => attempt.number, make, (element, attempt) => {
      if (written.get(element) === JSON.stringify(attempt)) return;
      const fresh = make(attempt);
      fresh.open = element.open;
      fill(element, [...fresh.childNodes]);
      written.set(element, JSON.stringify(attempt));
    });
    const place = list.querySelector(".so-far");
    if (place && !place.hasChildNodes()) {
      live = soFar();
      put(place, live.element);
    } else if (!place) {
      live = undefined;
    }
    if (attempts.length === 0 && !list.hasChildNodes()) put(list, el("p", { class: "faint" }, "It has not been started."));
  };
  const look = async () => {
    clearTimeout(timer);
    if (signal.aborted || !live) return;
    const at = live;
    try {
      at.told(await ask(path("executions", reference, "output"), {}, signal));
    } catch (error) {
      // It may have ended meanwhile, which the feed tells.
      if (error.name === "AbortError") return;
    }
    timer = setTimeout(look, document.hidden ? 5 * LOOK : LOOK);
  };
  const again = async () => {
    try {
      story = await asking();
    } catch (error) {
      if (error.status !== 0) sayFailure(error);
      return;
    }
    const focused = document.activeElement?.textContent;
    const within = head.contains(document.activeElement);
    draw();
    if (within && focused) head.querySelector("button")?.focus();
    void look();
  };
  let soon;
  hear((line) => {
    const mine = line.type === "execution" && line.execution === story.executions[0]?.execution.execution;
    if (!mine && line.type !== "missed" && line.type !== "back") return;
    clearTimeout(soon);
    soon = setTimeout(() => void again(), 100);
  });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    clearTimeout(soon);
  });
  // An event's number alone names all it caused.
  if (story.executions.length !== 1) {
    location.replace(`#/event/${story.event?.seq ?? reference}`);
    return [];
  }
  draw();
  void look();
  return [head, verdict, section("Attempts", {}, list), el("div", { class: "pair" }, section("What happened", { class: "card" }, from), section("Why it ran", { class: "card" }, why))];
}
