//! The page in a real browser, served by the real daemon, which a stand-in for a hook manager publishes to. How it looks and is reached
//! stands in `page/appearance.rs`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

#[path = "page/appearance.rs"]
mod appearance;
mod browser;
mod daemon;
mod recorded;
mod service;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use browser::{Browser, Page};
use daemon::{House, publisher};
use hem::event::saved;
use hem::sources::opennebula::publisher::Publisher;
use serde_json::json;
use service::{Service, configure, in_state};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

const OPERATOR: &str = "operator-token-8f2c77d1b04e4c5d";
const VIEWER: &str = "viewer-token-5b1e9a3c60d24f7e";

/// What a script writes and an event is named, to become markup wherever text is not treated as text.
const MARKUP: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";

/// Tells of a VM that runs. Fails while there is a file `broken`.
const REGISTER: &str = "name: register\ndescription: Tells the inventory that a machine runs\n\
                        trigger: { state: { resource: VM, on: RUNNING } }\ncommand: register.sh\n\
                        arguments: [\"--\", \"${{ event.VM.NAME }}\"]\nloop_guard: off\n";

/// Does not match the small VM of the saved event.
const RESERVE: &str = "name: reserve\ntrigger: { state: { resource: VM, on: RUNNING } }\n\
                       when: int(event.VM.TEMPLATE.MEMORY) >= 4096\ncommand: register.sh\n";

/// Writes a line, waits for a file `go`, writes another one, and waits for a file `end`.
const BACKUP: &str = "name: backup\ntrigger: { state: { resource: VM, state: POWEROFF, lcm_state: LCM_INIT } }\n\
                      command: backup.sh\nloop_guard: off\norder: none\n";

/// A daemon with a page, and who publishes to it.
struct Site {
    house: House,
    service: Service,
    publisher: Publisher,
    address: SocketAddr,
    browser: Arc<Browser>,
}

impl Site {
    async fn open() -> Self {
        let mut house = House::new();
        let publisher = publisher().await;
        house.listen_to(&publisher);
        let folder = house.folder.path().display().to_string();
        house
            .script(
                "register.sh",
                &format!("#!/bin/sh\necho '{MARKUP}'\necho \"it is $2\"\n[ ! -e {folder}/broken ] || {{ echo refused >&2; exit 1; }}\n"),
            )
            .script(
                "backup.sh",
                &format!(
                    "#!/bin/sh\necho 'first block {MARKUP}'\nuntil [ -e {folder}/go ]; do sleep 0.05; done\n\
                     echo 'second block'\nuntil [ -e {folder}/end ]; do sleep 0.05; done\n"
                ),
            )
            .hook("register", REGISTER)
            .hook("reserve", RESERVE)
            .hook("backup", BACKUP);
        for (name, token) in [("viewer", VIEWER), ("operator", OPERATOR)] {
            let file = house.path(&format!("{name}.tokens"));
            std::fs::write(&file, token).expect("a file");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        }
        let file = configure(&house, "");
        let text = std::fs::read_to_string(&file).expect("a configuration");
        let socket = house.config.control.socket.display();
        // The name is known at any port: a test puts itself between.
        let control = format!(
            "control:\n  socket: {socket}\n  listen: 127.0.0.1:0\n  hosts: [127.0.0.1]\n  tokens:\n    \
             - {{ file: viewer.tokens, role: viewer }}\n    - {{ file: operator.tokens, role: operator }}"
        );
        let opened = text.replace(&format!("control: {{ socket: {socket} }}"), &control);
        assert_ne!(opened, text, "the section is replaced");
        std::fs::write(&file, opened).expect("a configuration");
        let mut service = Service::start(&house);
        let status = service
            .until("it is open and connected", |status| {
                status.url.is_some() && status.sources.values().all(|source| source.connected)
            })
            .await;
        let url = status.url.expect("an address");
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        Self {
            address: address.parse().expect("an address"),
            house,
            service,
            publisher,
            browser: Browser::start(),
        }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Publishes a saved event, with a VM's name of our own, if it has one.
    async fn publish(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples/opennebula/events")
            .join(name);
        let event = saved::read(&file, None).expect("an event");
        let document = String::from_utf8(event.payload.bytes().to_vec()).expect("text");
        let named = document.replacen("vmr232b4", &format!("<![CDATA[{MARKUP}]]>"), 1);
        self.publisher
            .publish(&event.key, STANDARD.encode(named).as_bytes())
            .await;
    }

    async fn until_in_state(&mut self, state: &str, executions: u64) {
        self.service
            .until(&format!("{executions} executions {state}"), |status| {
                in_state(status, state) >= executions
            })
            .await;
    }

    /// A page of this daemon, signed in.
    async fn page(&self, token: &str) -> Page {
        let page = self.browser.page().await;
        page.go(&self.origin()).await;
        sign_in(&page, token).await;
        page
    }

    /// Nothing happened that must not, nobody else was asked for anything, and no address held the token.
    fn assert_in_order(&self, page: &Page) {
        assert_eq!(page.faults(), Vec::<String>::new());
        for request in page.requests() {
            assert!(request.starts_with(&self.origin()), "{request}");
            assert!(
                !request.contains(OPERATOR) && !request.contains(VIEWER),
                "{request}"
            );
        }
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.house.path(name), "").expect("a file");
    }
}

async fn sign_in(page: &Page, token: &str) {
    page.fill("token", token).await;
    page.press("Enter").await;
    page.until_in("h1", "Now").await;
    page.until_in("#link", "live").await;
}

async fn visit(page: &Page, view: &str, heading: &str) {
    page.value(&format!("location.hash = {}", json!(format!("#/{view}"))))
        .await;
    page.until_in("h1", heading).await;
    page.until("it is there", "!document.querySelector('main[aria-busy]')")
        .await;
}

/// Sets a field that is a choice, as somebody who chooses does.
async fn choose(page: &Page, name: &str, value: &str) {
    let selector = json!(format!("[name={name}]"));
    page.value(&format!(
        "(() => {{ const one = document.querySelector({selector}); one.value = {}; \
         one.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()",
        json!(value)
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_appears_by_itself_is_told_whole_and_can_be_run_again() {
    let mut site = Site::open().await;
    site.touch("broken");
    let page = site.browser.page().await;
    page.go(&site.origin()).await;
    page.fill("token", "a-token-of-nobody").await;
    page.press("Enter").await;
    page.until_shows("hem does not know this token").await;
    sign_in(&page, OPERATOR).await;
    let kept = page
        .value("[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join()")
        .await;
    assert_eq!(kept, json!(",{},{}"), "no script can reach session or token");

    visit(&page, "executions", "Executions").await;
    page.until_shows("No execution is like that").await;
    site.publish("vm-running.xml").await;
    page.until_in(".list tbody tr", "1.register").await;
    page.until_in(".list tbody tr", "failed").await;

    // The filter stands in the address, and what does not fit stays away also when it comes later.
    choose(&page, "status", "failed").await;
    page.until(
        "the address has it",
        "location.hash === '#/executions?status=failed'",
    )
    .await;
    page.reload().await;
    page.until(
        "the filter is set",
        "document.querySelector('[name=status]')?.value === 'failed'",
    )
    .await;
    page.until_in(".list tbody tr", "1.register").await;
    page.until_in("#link", "live").await;
    std::fs::remove_file(site.house.path("broken")).expect("it was there");
    site.publish("vm-running.xml").await;
    site.until_in_state("succeeded", 1).await;
    site.touch("broken");
    site.publish("vm-running.xml").await;
    page.until_in(".list tbody tr", "3.register").await;
    assert_eq!(page.count(".list tbody tr").await, 2);
    page.click(".filters .clear", "Clear").await;
    page.until_in(".list tbody tr", "2.register").await;

    // The story; nothing of what the script and the event said has become markup.
    page.click("a.main", "1.register").await;
    page.until_in(".attempt summary", "exit status 1").await;
    page.until_in("pre[aria-label='Standard output']", MARKUP).await;
    page.until_in("pre[aria-label='Standard error']", "refused").await;
    page.until_in(".argv", MARKUP).await;
    page.until_in(".environment", "HEM_EVENT_ID").await;
    page.until_in("main", "state VM ACTIVE/RUNNING").await;
    assert_eq!(page.count("main script, main img").await, 0);

    std::fs::remove_file(site.house.path("broken")).expect("it was there");
    page.click(".head button", "Retry").await;
    page.click("dialog button[type=submit]", "Retry").await;
    page.until_in(".verdict", "succeeded").await;
    page.until_in(".attempt summary", "retry by").await;
    assert_eq!(page.count(".attempt").await, 2);
    let story = page
        .value("fetch('/v1/executions/1.register').then((answer) => answer.json())")
        .await;
    assert_eq!(
        story["executions"][0]["attempts"][1]["cause"]["name"], "operator",
        "{story}"
    );

    // The event, and what each hook made of it.
    visit(&page, "event/1", "Event 1").await;
    page.until_in(".explained", "register matches").await;
    page.until_in(".explained .decisive", "4096").await;
    page.until_in("pre[aria-label=Payload]", MARKUP).await;
    page.until_in(".caused", "1.register").await;
    assert_eq!(page.count("main script, main img").await, 0);
    visit(&page, "events?kind=state", "Events").await;
    page.until_in(".list tbody tr", "VM ACTIVE/RUNNING").await;

    // So does what is happening now.
    visit(&page, "now", "Now").await;
    page.until_in(".tiles", "3 matched").await;
    page.until_in(".legend", "2 succeeded").await;
    page.until_in(".legend", "1 failed").await;
    page.until(
        "the bars are there",
        "document.querySelectorAll('.bar-succeeded, .bar-failed').length >= 2",
    )
    .await;
    site.assert_in_order(&page);
}

/// What a table says, row by row: the text of each cell.
async fn rows(page: &Page, table: &str) -> serde_json::Value {
    let table = json!(format!("table[aria-label='{table}'] tbody tr"));
    page.value(&format!(
        "[...document.querySelectorAll({table})].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn now_tells_who_is_connected_and_what_runs_and_hooks_how_they_ended_lately() {
    let mut site = Site::open().await;
    site.touch("broken");
    site.publish("vm-running.xml").await;
    site.until_in_state("failed", 1).await;
    std::fs::remove_file(site.house.path("broken")).expect("it was there");
    site.publish("vm-running.xml").await;
    site.until_in_state("succeeded", 1).await;
    let page = site.page(VIEWER).await;
    page.until_shows("Nothing waits and nothing runs").await;
    site.publish("vm-poweroff.xml").await;
    site.until_in_state("running", 1).await;
    let queue = "What waits or runs, by hook";
    page.until_in(&format!("table[aria-label='{queue}']"), "backup")
        .await;
    page.until(
        "the columns are in order",
        &format!(
            "[...document.querySelectorAll(\"table[aria-label='{queue}'] td\")].slice(0, 3).map((cell) => cell.dataset.name).join() === \
             'Hook,Running,Queued'"
        ),
    )
    .await;
    let waiting = rows(&page, queue).await;
    assert_eq!(waiting.as_array().map(Vec::len), Some(1), "{waiting}");
    assert_eq!(waiting[0][0], "backup", "{waiting}");
    assert_eq!(waiting[0][1], "1", "one runs: {waiting}");
    assert_eq!(waiting[0][2], "0", "none waits: {waiting}");

    // Each of the last outcomes is a mark that leads to its execution.
    visit(&page, "hooks", "Hooks").await;
    let marks = |hook: &str| {
        format!(
            "[...document.querySelectorAll('.list tbody tr')].find((row) => row.querySelector('a.main').textContent === '{hook}')\
             .querySelector('td[data-name=\"Last outcomes\"]')"
        )
    };
    let register = page
        .value(&format!(
            "[...{}.querySelectorAll('li')].map((one) => [one.className, one.textContent, one.querySelector('a').hash])",
            marks("register")
        ))
        .await;
    assert_eq!(
        register,
        json!([
            ["succeeded", "✓", "#/execution/2.register"],
            ["failed", "✕", "#/execution/1.register"]
        ])
    );
    let label = page
        .value(&format!(
            "{}.querySelector('ol').getAttribute('aria-label')",
            marks("register")
        ))
        .await;
    assert_eq!(label, "Newest first: succeeded, failed");
    page.until("it runs", &format!("{}.textContent === '▶'", marks("backup")))
        .await;
    page.until(
        "it never ran",
        &format!("{}.textContent === 'none lately'", marks("reserve")),
    )
    .await;
    site.touch("go");
    site.touch("end");
    page.until(
        "it has ended",
        &format!("{}.textContent === '✓'", marks("backup")),
    )
    .await;

    visit(&page, "now", "Now").await;
    let connection = |words: &str, class: &str| {
        format!(
            "(() => {{ const one = document.querySelector(\"table[aria-label='Sources'] td[data-name='Connection'] .link\"); \
             return one?.textContent === '{words}' && one.className === '{class}'; }})()"
        )
    };
    page.until("it is connected", &connection("connected", "link"))
        .await;
    let sources = rows(&page, "Sources").await;
    assert_eq!(sources.as_array().map(Vec::len), Some(1), "{sources}");
    let name = sources[0][0].as_str().expect("a name");
    assert!(
        name.starts_with("opennebula") && name.contains("tcp://127.0.0.1:"),
        "{name}"
    );
    assert_eq!(sources[0][2], "3", "received: {sources}");
    // Another publisher elsewhere takes its place: the one that was listened to is gone.
    site.publisher = publisher().await;
    page.until("it is not connected", &connection("not connected", "link lost"))
        .await;
    site.assert_in_order(&page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_policy_forbids_is_noticed_by_these_tests() {
    let site = Site::open().await;
    let page = site.page(VIEWER).await;
    site.assert_in_order(&page);
    page.value("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))")
        .await;
    page.until("the script did not run", "window.ran === undefined")
        .await;
    page.value("document.body.setAttribute('style', 'color: red')")
        .await;
    let refused = page
        .value("fetch('http://127.0.0.1:1/').then(() => 'taken', () => 'refused')")
        .await;
    assert_eq!(refused, "refused");
    let faults = page.faults().join("\n");
    for directive in ["script-src", "style-src", "connect-src"] {
        assert!(faults.contains(directive), "{faults}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_output_of_a_running_script_appears_and_the_script_can_be_ended() {
    let mut site = Site::open().await;
    let page = site.page(OPERATOR).await;
    site.publish("vm-poweroff.xml").await;
    visit(&page, "executions", "Executions").await;
    page.until_in(".list tbody tr", "running").await;
    page.click("a.main", "1.backup").await;
    page.until_in("[role=log]", &format!("first block {MARKUP}"))
        .await;
    page.until_in(".verdict", "running").await;
    assert!(!page.text(".attempt").await.contains("second block"));
    site.touch("go");
    page.until_in("[role=log]", "second block").await;
    assert_eq!(page.count("main script, main img").await, 0);
    site.touch("end");
    page.until_in(".verdict", "succeeded").await;
    page.until_in("pre[aria-label='Standard output']", "second block")
        .await;
    assert_eq!(page.count("[role=log]").await, 0);

    std::fs::remove_file(site.house.path("end")).expect("it was there");
    site.publish("vm-poweroff.xml").await;
    site.until_in_state("running", 1).await;
    visit(&page, "execution/2.backup", "2.backup").await;
    page.until_in("[role=log]", "second block").await;
    page.click(".head button", "Cancel").await;
    page.click("dialog button[type=submit]", "End it").await;
    page.until_in(".verdict", "cancelled").await;
    page.until_in(".attempt summary", "stopped on request").await;
    site.assert_in_order(&page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_muted_and_unmuted_disabled_and_enabled() {
    let mut site = Site::open().await;
    let page = site.page(OPERATOR).await;
    visit(&page, "hooks", "Hooks").await;
    page.until_in(".list tbody tr", "register.yaml").await;
    page.click("button[aria-label='Mute register']", "Mute").await;
    page.fill("time", "soon").await;
    page.press("Enter").await;
    page.until_shows("is no length of time").await;
    page.fill("time", "2h").await;
    page.fill("reason", MARKUP).await;
    page.press("Enter").await;
    page.until(
        "it is muted",
        "document.querySelector(\"button[aria-label='Unmute register']\")",
    )
    .await;
    page.until_in(".card tbody tr", MARKUP).await;
    site.publish("vm-running.xml").await;
    visit(&page, "executions", "Executions").await;
    page.until_in(".list tbody tr", "held").await;
    page.until_in(".list tbody tr", "hook register is muted").await;
    visit(&page, "now", "Now").await;
    page.until_in(".tiles", "1 held by mutes").await;

    visit(&page, "hook/register", "register").await;
    page.click("button[aria-label='Unmute register']", "Unmute").await;
    page.click("dialog button[type=submit]", "Unmute").await;
    page.until_in("#said", "1 released").await;
    page.until_in(".list tbody tr", "succeeded").await;
    page.click("button[aria-label='Disable register']", "Disable")
        .await;
    page.until_in(".facts", "disabled by").await;
    site.publish("vm-running.xml").await;
    let status = site
        .service
        .until("the second event is accepted", |status| status.last_seq == 2)
        .await;
    assert_eq!(status.executions.values().sum::<u64>(), 1, "{status:?}");
    visit(&page, "event/2", "Event 2").await;
    page.until_in(".explained", "would match, but is disabled").await;
    visit(&page, "hooks", "Hooks").await;
    page.click("button[aria-label='As in its file register']", "As in its file")
        .await;
    page.until(
        "it is enabled",
        "document.querySelector(\"button[aria-label='Disable register']\")",
    )
    .await;
    assert_eq!(
        page.count("button[aria-label='As in its file register']").await,
        0
    );
    page.click("button", "Mute everything").await;
    page.click("dialog button[type=submit]", "Mute").await;
    page.until_in(".card tbody tr", "everything").await;
    page.click(".card button", "Unmute").await;
    page.click("dialog button[type=submit]", "Unmute").await;
    page.until_in(".card", "Nothing is muted").await;
    site.assert_in_order(&page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_has_nothing_to_press_and_is_refused() {
    let mut site = Site::open().await;
    site.publish("vm-running.xml").await;
    site.until_in_state("succeeded", 1).await;
    let page = site.page(VIEWER).await;
    page.until_in(".role", "viewer").await;
    for (view, heading) in [
        ("now", "Now"),
        ("executions", "Executions"),
        ("execution/1.register", "1.register"),
        ("events", "Events"),
        ("event/1", "Event 1"),
        ("hooks", "Hooks"),
        ("hook/register", "register"),
    ] {
        visit(&page, view, heading).await;
        assert_eq!(page.count("main button:not(.unseen)").await, 0, "{view}");
    }
    site.assert_in_order(&page);
    let order = |csrf: &str| {
        format!(
            "fetch('/v1/session').then((answer) => answer.json()).then((session) => fetch('/v1/executions/retry', \
             {{ method: 'POST', headers: {{ 'content-type': 'application/json', 'x-hem-csrf': {csrf} }}, \
             body: JSON.stringify({{ executions: ['1.register'] }}) }})).then((answer) => answer.status)"
        )
    };
    assert_eq!(page.value(&order("session.csrf")).await, 403, "a viewer");
    let operator = site.page(OPERATOR).await;
    assert_eq!(operator.value(&order("'guessed'")).await, 403, "another site");
    assert_eq!(operator.value(&order("session.csrf")).await, 200, "its own page");
}

/// Stands between browser and daemon, and cuts the line while it is told to.
async fn line_to(target: SocketAddr, tasks: &TaskTracker) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (up, is_up) = watch::channel(true);
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut is_up = is_up.clone();
            if !*is_up.borrow() {
                continue;
            }
            connections.spawn(async move {
                let Ok(mut far) = TcpStream::connect(target).await else {
                    return;
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = is_up.wait_for(|up| !up) => {}
                }
            });
        }
    });
    (address, up)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_said_and_resumes_and_the_end_of_a_session_leads_to_the_sign_in() {
    let mut site = Site::open().await;
    let (address, up) = line_to(site.address, &TaskTracker::new()).await;
    site.address = address;
    let page = site.page(OPERATOR).await;
    visit(&page, "executions", "Executions").await;
    site.publish("vm-running.xml").await;
    page.until_in(".list tbody tr", "1.register").await;
    up.send(false).expect("the line");
    page.until_in("#banner", "The connection to hem was lost").await;
    page.until_in("#link", "not connected").await;
    site.publish("vm-running.xml").await;
    site.until_in_state("succeeded", 2).await;
    assert_eq!(page.count(".list tbody tr").await, 1);
    up.send(true).expect("the line");
    page.until_in(".list tbody tr", "2.register").await;
    page.until_in("#link", "live").await;
    page.until(
        "nothing is lost any more",
        "document.getElementById('banner').hidden",
    )
    .await;

    let ended = page
        .value(
            "fetch('/v1/session').then((answer) => answer.json()).then(({ csrf }) => fetch('/v1/session', \
             { method: 'DELETE', headers: { 'x-hem-csrf': csrf } })).then((answer) => answer.status)",
        )
        .await;
    assert_eq!(ended, 204);
    visit_any(&page, "now").await;
    page.until("the sign-in is there", "document.querySelector('[name=token]')")
        .await;
    page.until_shows("The session has ended").await;
    sign_in(&page, OPERATOR).await;
    site.assert_in_order(&page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tabs_leave_each_other_their_connections_and_miss_nothing() {
    let mut site = Site::open().await;
    let first = site.page(OPERATOR).await;
    visit(&first, "executions", "Executions").await;
    site.publish("vm-running.xml").await;
    first.until_in(".list tbody tr", "1.register").await;
    // More than a browser has connections to one host.
    let mut tabs = Vec::new();
    for _ in 0..8 {
        let tab = first.tab().await;
        tab.go(&format!("{}/#/execution/1.register", site.origin())).await;
        tab.until_in(".verdict", "succeeded").await;
        tabs.push(tab);
    }
    first.until("nobody looks at the first", "document.hidden").await;
    site.publish("vm-running.xml").await;
    site.until_in_state("succeeded", 2).await;
    first.to_front().await;
    first.until_in(".list tbody tr", "2.register").await;
    assert_eq!(
        first.value("document.getElementById('banner').hidden").await,
        json!(true)
    );
    let last = tabs.last().expect("a tab");
    last.to_front().await;
    last.click(".head button", "Retry").await;
    last.click("dialog button[type=submit]", "Retry").await;
    last.until(
        "it has run twice",
        "document.querySelectorAll('.attempt').length === 2",
    )
    .await;
    for page in tabs.iter().chain([&first]) {
        site.assert_in_order(page);
    }
}

/// Goes to a view that may not be shown.
async fn visit_any(page: &Page, view: &str) {
    page.value(&format!("location.hash = {}", json!(format!("#/{view}"))))
        .await;
}

/// How many executions a table keeps of six hundred that it was told of, and which of them is the oldest.
const BOUNDED: &str = r#"import('/assets/executions.js').then(({ liveTable }) => {
  const list = liveTable([], new URLSearchParams(), 'Executions');
  for (let event = 1; event <= 600; event += 1) {
    const execution = `${event}.h`;
    const state = { name: 'succeeded', at: '2026-11-22T10:00:00Z' };
    list.shown.set(execution, { execution, event, hook: 'h', state, why: '', source: 'one', accepted: '2026-11-22T10:00:00Z', attempts: 1 });
  }
  const oldest = list.draw();
  return [list.shown.size, oldest.event];
})"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_pages_are_reached_and_left_again() {
    let mut site = Site::open().await;
    for _ in 0..60 {
        site.publish("vm-running.xml").await;
    }
    site.until_in_state("succeeded", 60).await;
    let page = site.page(VIEWER).await;
    for (view, heading, newest, oldest) in [
        ("executions", "Executions", "60.register", "1.register"),
        ("events", "Events", "60", "1"),
    ] {
        visit(&page, view, heading).await;
        let first = format!("document.querySelector('.list a.main')?.textContent === '{newest}'");
        page.until("the newest is first", &first).await;
        assert_eq!(page.count(".list tbody tr").await, 50);
        page.click(".pages a", "Older").await;
        page.until(
            "the oldest is last",
            &format!("[...document.querySelectorAll('.list a.main')].at(-1)?.textContent === '{oldest}'"),
        )
        .await;
        assert_eq!(page.count(".list tbody tr").await, 10);
        page.value("history.back()").await;
        page.until("the newest is first again", &first).await;
        page.click(".pages a", "Older").await;
        page.click(".pages a", "Newest").await;
        page.until("the newest is first at last", &first).await;
    }
    assert_eq!(page.value(BOUNDED).await, json!([500, 101]));

    // An address that no view has, and one that is no address.
    for nowhere in ["nowhere", "constructor", "event/%"] {
        visit(&page, nowhere, "There is no such view").await;
        visit(&page, "events", "Events").await;
    }
    site.assert_in_order(&page);
}
