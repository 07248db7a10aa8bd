//! Debian's Chromium without a window, driven by its DevTools protocol over a pair of pipes.
//!
//! Nothing lies between the test and the browser: no port, no driver program, no package of another language.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Nothing takes this long, also where other browsers keep the machine busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Where a key stands in the protocol: its name, its code, its number, and what it writes.
const KEYS: &[(&str, &str, u32, &str)] = &[
    ("Tab", "Tab", 9, ""),
    ("Enter", "Enter", 13, "\r"),
    ("Escape", "Escape", 27, ""),
    (" ", "Space", 32, " "),
    ("End", "End", 35, ""),
    ("Home", "Home", 36, ""),
    ("ArrowUp", "ArrowUp", 38, ""),
    ("ArrowDown", "ArrowDown", 40, ""),
    ("/", "Slash", 191, "/"),
    ("?", "Slash", 191, "?"),
    ("j", "KeyJ", 74, "j"),
    ("k", "KeyK", 75, "k"),
    ("1", "Digit1", 49, "1"),
    ("2", "Digit2", 50, "2"),
    ("3", "Digit3", 51, "3"),
    ("4", "Digit4", 52, "4"),
];

/// What the browser said that nobody asked for, and who waits for which answer.
#[derive(Default)]
struct Heard {
    waiting: HashMap<u64, oneshot::Sender<Result<Value, String>>>,
    events: Vec<Value>,
    orders: u64,
    has_ended: bool,
}

/// A browser with a profile of its own; ended when dropped.
pub(crate) struct Browser {
    child: Child,
    orders: Mutex<ChildStdin>,
    heard: Arc<Mutex<Heard>>,
    profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Arc<Self> {
        let profile = tempfile::Builder::new()
            .prefix("hem-browser-")
            .tempdir()
            .expect("a folder");
        let errors = File::create(profile.path().join("stderr")).expect("a file");
        // The protocol is spoken over the descriptors 3 and 4, where the shell puts its own two ends.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null",
                "chromium",
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-default-apps",
                "--no-first-run",
                "--no-default-browser-check",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
            ])
            .arg(format!(
                "--user-data-dir={}",
                profile.path().join("data").display()
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .expect("a shell");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let ear = Arc::clone(&heard);
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message: Value = serde_json::from_slice(&message).expect("JSON of the browser");
                let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
                match message["id"].as_u64() {
                    Some(id) => {
                        if let Some(waiting) = heard.waiting.remove(&id) {
                            let answer = match &message["error"] {
                                Value::Null => Ok(message["result"].clone()),
                                error => Err(error.to_string()),
                            };
                            let _ = waiting.send(answer);
                        }
                    }
                    None => heard.events.push(message),
                }
            }
            let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
            heard.has_ended = true;
            heard.waiting.clear();
        });
        Arc::new(Self {
            orders: Mutex::new(child.stdin.take().expect("a pipe")),
            child,
            heard,
            profile,
        })
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn why_it_ended(&self) -> String {
        let said = std::fs::read(self.profile.path().join("stderr")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        if said.contains("not found") {
            "there is no `chromium`: `apt-get install chromium` (`make test-deps` does it)".to_owned()
        } else {
            format!("the browser ended: {said}")
        }
    }

    /// Gives an order of the protocol, and waits for its answer.
    async fn order(&self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value, String> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut heard = self.heard();
            assert!(!heard.has_ended, "{}", self.why_it_ended());
            heard.orders += 1;
            let id = heard.orders;
            heard.waiting.insert(id, sender);
            id
        };
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).expect("JSON");
        bytes.push(0);
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = orders.write_all(&bytes).and_then(|()| orders.flush());
            assert!(sent.is_ok(), "{}", self.why_it_ended());
        }
        tokio::time::timeout(LIMIT, answer)
            .await
            .unwrap_or_else(|_| panic!("{method} is not answered"))
            .unwrap_or_else(|_| panic!("{method}: {}", self.why_it_ended()))
    }

    /// A page of its own: with cookies and storage that no other one has.
    pub(crate) async fn page(self: &Arc<Self>) -> Page {
        let context = self.order(None, "Target.createBrowserContext", json!({})).await;
        let context = context.unwrap_or_else(|error| panic!("no context: {error}"));
        let context = &context["browserContextId"];
        self.page_of(
            context,
            json!({ "url": "about:blank", "browserContextId": context, "width": 1280, "height": 900 }),
        )
        .await
    }

    async fn page_of(self: &Arc<Self>, context: &Value, target: Value) -> Page {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let order = |method: &'static str, parameters| async move {
            self.order(None, method, parameters)
                .await
                .unwrap_or_else(|error| panic!("{method}: {error}"))
        };
        let target = order("Target.createTarget", target).await;
        let attached = order(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        )
        .await;
        let page = Page {
            browser: Arc::clone(self),
            context: context.clone(),
            session: text(&attached["sessionId"]),
        };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.order(&format!("{domain}.enable"), json!({})).await;
        }
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser's own processes are in its group.
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// A page of a browser.
pub(crate) struct Page {
    browser: Arc<Browser>,
    context: Value,
    session: String,
}

impl Page {
    async fn order(&self, method: &str, parameters: Value) -> Value {
        self.browser
            .order(Some(&self.session), method, parameters)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// What the page did that nobody asked for, by the event's name.
    fn events(&self, names: &[&str]) -> Vec<Value> {
        let heard = self.browser.heard();
        let mine = heard
            .events
            .iter()
            .filter(|event| event["sessionId"] == json!(self.session));
        mine.filter(|event| event["method"].as_str().is_some_and(|name| names.contains(&name)))
            .cloned()
            .collect()
    }

    /// Everything that must not happen on a page that is in order: exceptions, errors and warnings on the console, what
    /// the content security policy forbade, and dialogs of the browser's own. Refused requests are told by their statuses.
    pub(crate) fn faults(&self) -> Vec<String> {
        let names = [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        ];
        let is_fault = |event: &Value| match event["method"].as_str() {
            Some("Runtime.consoleAPICalled") => {
                matches!(
                    event["params"]["type"].as_str(),
                    Some("error" | "warning" | "assert")
                )
            }
            Some("Log.entryAdded") => {
                let entry = &event["params"]["entry"];
                matches!(entry["level"].as_str(), Some("error" | "warning")) && entry["source"] != "network"
            }
            _ => true,
        };
        self.events(&names)
            .iter()
            .filter(|event| is_fault(event))
            .map(ToString::to_string)
            .collect()
    }

    /// The addresses that the page asked for so far, whoever answered.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.events(&["Network.requestWillBeSent"])
            .iter()
            .map(|event| {
                event["params"]["request"]["url"]
                    .as_str()
                    .expect("an address")
                    .to_owned()
            })
            .collect()
    }

    /// Another tab beside it, with the same cookies.
    pub(crate) async fn tab(&self) -> Self {
        let target = json!({ "url": "about:blank", "browserContextId": self.context });
        self.browser.page_of(&self.context, target).await
    }

    /// Puts it before its other tabs.
    pub(crate) async fn to_front(&self) {
        self.order("Page.bringToFront", json!({})).await;
    }

    /// Goes to an address.
    pub(crate) async fn go(&self, address: &str) {
        let answer = self.order("Page.navigate", json!({ "url": address })).await;
        assert!(answer.get("errorText").is_none(), "{address}: {answer}");
    }

    pub(crate) async fn reload(&self) {
        self.order("Page.reload", json!({})).await;
    }

    /// The value of an expression, which may be a promise.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.try_value(expression)
            .await
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_value(&self, expression: &str) -> Result<Value, String> {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self
            .browser
            .order(Some(&self.session), "Runtime.evaluate", asked)
            .await?;
        match answer.get("exceptionDetails") {
            None => Ok(answer["result"]["value"].clone()),
            Some(details) => Err(details.to_string()),
        }
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        let began = Instant::now();
        loop {
            // A page that is about to be left has nothing to ask.
            let last = self.try_value(&format!("Boolean({expression})")).await;
            if last == Ok(json!(true)) {
                return;
            }
            if began.elapsed() > LIMIT {
                let shown = self
                    .try_value("location.href + '\\n' + document.body.innerText")
                    .await;
                let shown = shown.ok().and_then(|text| text.as_str().map(str::to_owned));
                panic!(
                    "waited in vain: {what}\n{expression} is {last:?}\n{}\nfaults: {:#?}",
                    shown.unwrap_or_default(),
                    self.faults()
                );
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until the content of the page holds this text.
    pub(crate) async fn until_shows(&self, text: &str) {
        let text_of = json!(text);
        self.until(
            &format!("the page shows {text_of}"),
            &format!("document.body.innerText.includes({text_of})"),
        )
        .await;
    }

    /// Waits until an element with this selector holds this text.
    pub(crate) async fn until_in(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(
            &format!("{text} is in {selector}"),
            &format!(
                "[...document.querySelectorAll({selector})].some((one) => one.textContent.includes({text}))"
            ),
        )
        .await;
    }

    /// The text of the first element with this selector.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let selector = json!(selector);
        let text = self
            .value(&format!("document.querySelector({selector})?.textContent"))
            .await;
        text.as_str()
            .unwrap_or_else(|| panic!("there is no {selector}"))
            .to_owned()
    }

    /// How many elements have this selector.
    pub(crate) async fn count(&self, selector: &str) -> u64 {
        let selector = json!(selector);
        let count = self
            .value(&format!("document.querySelectorAll({selector}).length"))
            .await;
        count.as_u64().expect("a number")
    }

    /// Presses the mouse's button on the element with this selector, as soon as there is one that can be seen, and, where
    /// a text is named, one whose text begins with it.
    pub(crate) async fn click(&self, selector: &str, text: &str) {
        let (of, named) = (json!(selector), json!(text));
        let found = format!(
            "[...document.querySelectorAll({of})].find((one) => one.checkVisibility() && one.textContent.trim().startsWith({named}))"
        );
        self.until(&format!("there is {of} with {named}"), &found).await;
        let place = self
            .value(&format!(
                "(() => {{ const one = {found}; one.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
                 const box = one.getClientRects()[0]; return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            self.order(
                "Input.dispatchMouseEvent",
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 }),
            )
            .await;
        }
    }

    /// Presses a key and lets it go.
    pub(crate) async fn press(&self, key: &str) {
        self.press_with(key, 0).await;
    }

    /// The same with the shift key held down.
    pub(crate) async fn press_shifted(&self, key: &str) {
        self.press_with(key, 8).await;
    }

    async fn press_with(&self, key: &str, modifiers: u32) {
        let (name, code, number, text) = KEYS
            .iter()
            .find(|(name, ..)| *name == key)
            .unwrap_or_else(|| panic!("the driver knows no key `{key}`"));
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": name, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.order("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Writes into whatever has the focus.
    pub(crate) async fn write(&self, text: &str) {
        self.order("Input.insertText", json!({ "text": text })).await;
    }

    /// Fills in a field by its name: what stood there is replaced.
    pub(crate) async fn fill(&self, name: &str, text: &str) {
        let selector = json!(format!("[name={name}]"));
        self.until(
            &format!("there is a field {name}"),
            &format!("(() => {{ const one = document.querySelector({selector}); one?.focus(); one?.select(); return one; }})()"),
        )
        .await;
        self.write(text).await;
    }

    /// What has the focus, in a few words: its text, its label, or its name.
    pub(crate) async fn focused(&self) -> String {
        let text = self
            .value(
                "(() => { const one = document.activeElement; return one.getAttribute('aria-label') || one.name || one.textContent.trim().slice(0, 80); })()",
            )
            .await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses Tab until what has the focus is called so.
    pub(crate) async fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..80 {
            self.press("Tab").await;
            let focused = self.focused().await;
            if focused == name {
                return;
            }
            passed.push(focused);
        }
        panic!("Tab does not lead to `{name}` but to {passed:?}");
    }

    /// The size of the window, and whether the system is set to dark colours.
    pub(crate) async fn look(&self, width: u32, height: u32, is_dark: bool) {
        self.order(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        )
        .await;
        let scheme = if is_dark { "dark" } else { "light" };
        self.order(
            "Emulation.setEmulatedMedia",
            json!({ "features": [
                { "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": "reduce" },
            ] }),
        )
        .await;
    }

    /// Keeps a picture of the whole page.
    pub(crate) async fn picture(&self, file: &Path) {
        let taken = self
            .order(
                "Page.captureScreenshot",
                json!({ "format": "png", "captureBeyondViewport": true }),
            )
            .await;
        let png = STANDARD
            .decode(taken["data"].as_str().expect("a picture"))
            .expect("base64");
        std::fs::write(file, png).expect("a file");
    }
}
