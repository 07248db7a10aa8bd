// The page's way to hem: the session, questions, orders, and the live feed.

/** hem refused, or could not be reached. */
export class Refused extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** What is known of whoever is signed in; none while nobody is. */
export const session = { current: undefined };

const listeners = new Set();

/** `listener` is told when the session is over: whether by order, or because hem no longer knows it. */
export function onSignedOut(listener) {
  listeners.add(listener);
}

function signedOut(byOrder = false) {
  if (session.current === undefined) return;
  session.current = undefined;
  for (const listener of listeners) listener(byOrder);
}

async function failure(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // What answers may not be hem: a proxy in between has pages of its own.
  }
  const message = said.detail ?? said.title ?? `hem answered with status ${response.status}`;
  return new Refused(response.status, message, said.hint);
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", redirect: "error", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "hem cannot be reached");
  }
  if (response.ok) return response;
  if (response.status === 401) signedOut();
  throw await failure(response);
}

/** Only what is set of the parameters, as the end of an address. */
function query(parameters) {
  const set = Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  const text = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

/** The parts of a path, each made safe. */
export const path = (...parts) => `/v1/${parts.map(encodeURIComponent).join("/")}`;

/** Asks; gives the answer's JSON. */
export async function ask(address, parameters, signal) {
  const response = await send(address + query(parameters), { signal, headers: { accept: "application/json" } });
  return response.json();
}

/** One page of a list: what is on it, and the cursor of the next, if there is one. */
export async function page(address, parameters, signal) {
  const response = await send(address + query(parameters), { signal, headers: { accept: "application/json" } });
  return { items: await response.json(), next: response.headers.get("next-cursor") ?? undefined };
}

/** Gives an order. */
export async function order(address, body) {
  const response = await send(address, {
    method: "POST",
    headers: { accept: "application/json", "content-type": "application/json", "x-hem-csrf": session.current?.csrf ?? "" },
    body: JSON.stringify(body ?? {}),
  });
  const text = await response.text();
  return text ? JSON.parse(text) : undefined;
}

/** Takes up the session that the browser still has, if hem still knows it. */
export async function resume() {
  try {
    const response = await fetch("/v1/session", { credentials: "same-origin", cache: "no-store", headers: { accept: "application/json" } });
    if (response.ok) session.current = await response.json();
    else if (response.status !== 401) throw await failure(response);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(0, "hem cannot be reached");
  }
  return session.current;
}

/** Changes a token for a session. The token is kept nowhere. */
export async function signIn(token) {
  const response = await send("/v1/session", {
    method: "POST",
    headers: { accept: "application/json", authorization: `Bearer ${token}` },
  });
  session.current = await response.json();
  return session.current;
}

export async function signOut() {
  try {
    await send("/v1/session", { method: "DELETE", headers: { "x-hem-csrf": session.current?.csrf ?? "" } });
  } finally {
    signedOut(true);
  }
}

export const isOperator = () => session.current?.role === "operator";

const QUIET = 45_000;
const LONGEST_PAUSE = 15_000;

/**
 * The live feed. It is read by `fetch` and not by `EventSource`, because that one does not say why it failed and could not
 * tell the end of a session from a restart. `told` gets each line, `changed` how the connection is: `live`, `lost`, or `unseen`
 * while the page is not looked at; `missed` is called where lines are lost, so that whoever shows something asks for it again.
 *
 * A browser has six connections to a host, over all its tabs. A page that nobody looks at leaves its own to the others.
 */
export class Feed {
  constructor({ told, changed, missed }) {
    this.told = told;
    this.changed = changed;
    this.missed = missed;
    this.last = undefined;
    this.ending = new AbortController();
  }

  start() {
    void this.run();
    return this;
  }

  stop() {
    this.ending.abort();
  }

  async run() {
    let failures = 0;
    for (;;) {
      await this.seen();
      if (this.ending.signal.aborted) return;
      const began = Date.now();
      let isLeft = false;
      try {
        isLeft = await this.follow(() => {
          failures = 0;
        });
      } catch (error) {
        if (this.ending.signal.aborted || error.status === 401) return;
      }
      if (this.ending.signal.aborted) return;
      if (isLeft) continue;
      this.changed("lost");
      failures = Date.now() - began > LONGEST_PAUSE ? 1 : failures + 1;
      await this.pause(Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(failures - 1, 5)));
    }
  }

  pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      const now = () => {
        clearTimeout(timer);
        resolve();
      };
      this.ending.signal.addEventListener("abort", now, { once: true });
      addEventListener("online", now, { once: true });
    });
  }

  /** Waits until the page is looked at. */
  async seen() {
    if (!document.hidden) return;
    this.changed("unseen");
    await new Promise((resolve) => {
      const look = () => {
        if (document.hidden && !this.ending.signal.aborted) return;
        document.removeEventListener("visibilitychange", look);
        this.ending.signal.removeEventListener("abort", look);
        resolve();
      };
      document.addEventListener("visibilitychange", look);
      this.ending.signal.addEventListener("abort", look);
    });
  }

  /** Reads until the end, and says whether that is because the page is not looked at any more. */
  async follow(opened) {
    const round = new AbortController();
    const end = () => round.abort();
    this.ending.signal.addEventListener("abort", end, { once: true });
    let isLeft = false;
    const leave = () => {
      if (!document.hidden) return;
      isLeft = true;
      this.changed("unseen");
      end();
    };
    document.addEventListener("visibilitychange", leave);
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(end, QUIET);
    };
    try {
      heard();
      const headers = { accept: "text/event-stream" };
      if (this.last !== undefined) headers["last-event-id"] = this.last;
      const response = await send("/v1/feed", { headers, signal: round.signal });
      const resumed = this.last !== undefined;
      opened();
      this.changed("live", resumed);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return isLeft;
        heard();
        const blocks = (rest + value).split(/\r?\n\r?\n/);
        rest = blocks.pop();
        for (const block of blocks) this.take(block);
      }
    } catch (error) {
      if (isLeft) return true;
      throw error;
    } finally {
      clearTimeout(silence);
      document.removeEventListener("visibilitychange", leave);
      this.ending.signal.removeEventListener("abort", end);
      round.abort();
    }
  }

  take(block) {
    let id;
    const data = [];
    for (const line of block.split(/\r?\n/)) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (name === "id") id = value;
      else if (name === "data") data.push(value);
    }
    if (data.length > 0) {
      const line = JSON.parse(data.join("\n"));
      if (line.type === "skipped" || line.type === "reset") this.missed();
      else this.told(line);
    }
    // Only what was taken counts as heard.
    if (id !== undefined) this.last = id;
  }
}
