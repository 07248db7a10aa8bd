//! Several front-ends, each with an `oned` and a hem of its own: the one beside the leader works, the others stand by, and
//! nothing stale runs when the lead changes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use daemon::{House, until};
use hem::control::api::StatusView;
use hem::control::client::Client;
use oned_stand_in::Oned;
use serde_json::json;
use service::{Said, Service, hem, in_state, unsettled};

/// One machine of the zone.
struct FrontEnd {
    house: House,
    oned: Oned,
    hem: Option<Service>,
    /// What its daemon is started by.
    prefix: Vec<String>,
}

impl FrontEnd {
    /// A machine whose `oned` is in this state, with the hooks that all of them have. Scripts of all write into `shared`.
    fn new(name: &str, raft: &str, shared: &Path) -> Self {
        let house = House::new();
        let auth = house.path("one_auth");
        let oned = Oned::start(&["--raft", raft, "--auth-file", auth.to_str().expect("a path")]);
        let folder = |path: &Path| path.display().to_string();
        let config = format!(
            "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\nonehem_scripts_dir: {}\ncontrol: {{ socket: {} }}\n\
             permissions: lax\nconcurrency: 1\nshutdown_grace: 1s\n\
             sources:\n  opennebula: {{ type: opennebula, endpoint: \"{}\", replies: \"{}\" }}\n\
             oned: {{ endpoint: \"{}\", auth: {}, hooks: none, leader_only: true }}\n",
            folder(&house.config.state_dir),
            folder(&house.config.hooks_dir),
            folder(&house.config.scripts_dir),
            folder(&house.config.scripts_dir),
            folder(&house.config.control.socket),
            oned.events(),
            oned.replies(),
            oned.xmlrpc(),
            folder(&auth),
        );
        std::fs::write(house.path("hem.yaml"), config).expect("a file");
        let shared = folder(shared);
        // Each run is told on all machines' list; one that meets the file `gate` waits until it is gone.
        let run = format!(
            "#!/bin/sh\necho \"{name} $1 $HEM_ATTEMPT\" >> {shared}/ran\nwhile [ -e {shared}/gate ]; do sleep 0.02; done\n\
             [ ! -e {shared}/fails ]\n"
        );
        house.script("run.sh", &run);
        Self {
            house,
            oned,
            hem: None,
            prefix: Vec::new(),
        }
    }

    /// Its daemon also takes the hooks that `oned` keeps: one on each VM that runs.
    fn has_a_pool(&mut self) {
        let file = self.house.path("hem.yaml");
        let config = std::fs::read_to_string(&file).expect("a file");
        std::fs::write(&file, config.replace("hooks: none", "hooks: pool")).expect("a file");
        self.oned.create_hook(
            "NAME = pooled\nTYPE = state\nRESOURCE = VM\nON = RUNNING\nCOMMAND = run.sh\nARGUMENTS = pool\n",
        );
    }

    /// Its daemon's clock is to be put forward by [`passes`](Self::passes).
    fn has_a_clock(&mut self) {
        let library = self.house.path("later.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ha/later.c");
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .expect("a C compiler, `cc`: install gcc");
        assert!(built.success(), "later.c does not compile");
        self.prefix = vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("LATER={}", self.house.path("later").display()),
        ];
    }

    /// This time passes for its daemon, now or while there is none.
    fn sets_its_clock(&self, time: Duration) {
        let (file, unfinished) = (self.house.path("later"), self.house.path("later.new"));
        std::fs::write(&unfinished, time.as_secs().to_string()).expect("a file");
        std::fs::rename(&unfinished, &file).expect("a file");
    }

    /// This time passes for its daemon, which notices.
    async fn passes(&mut self, time: Duration) {
        self.sets_its_clock(time);
        let daemon = self.hem.as_ref().expect("a daemon");
        daemon.until_logged("the clock was set").await;
    }

    fn hook(&self, name: &str, yaml: &str) {
        self.house.hook(name, &format!("name: {name}\n{yaml}"));
    }

    async fn start(&mut self) {
        self.hem = Some(Service::start_by(&self.house, &self.prefix, &[]));
        self.oned.wait_for_subscriber();
        self.until("it answers", |status| status.sources["opennebula"].connected)
            .await;
    }

    fn kill(&mut self) {
        self.hem.take().expect("a daemon").kill();
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&StatusView) -> bool) -> StatusView {
        self.hem.as_mut().expect("a daemon").until(what, holds).await
    }

    async fn until_role(&mut self, name: &str) -> StatusView {
        self.until(name, |status| role(status) == name).await
    }

    /// The zone elects.
    async fn becomes(&mut self, state: &str) {
        self.oned.tell(json!({ "do": "raft", "state": state }));
        let (name, why) = match state {
            "LEADER" => ("leader", None),
            "SOLO" => ("solo", None),
            other => ("standby", Some(format!("oned is {other}"))),
        };
        self.until(state, |status| {
            role(status) == name && status.role.as_ref().and_then(|role| role.why.clone()) == why
        })
        .await;
    }

    /// A VM runs, and this `oned` tells its hook manager so.
    fn vm_runs(&mut self, id: u64) {
        self.oned.vm(id, "ACTIVE", "RUNNING");
    }

    /// A call passed through this `oned`.
    fn call(&mut self, id: &str) {
        self.oned
            .tell(json!({ "do": "api", "call": "one.vm.resize", "in": [id], "out": id }));
    }

    /// Waits until all has been received that was published so far: it comes before what is published now.
    async fn until_received(&mut self) {
        const AFTER: u64 = 40;
        let received = |status: &StatusView| status.events.get("opennebula").map_or(0, |sums| sums.received);
        let before = received(&self.until("it answers", |_| true).await);
        for _ in 0..AFTER {
            self.oned
                .tell(json!({ "do": "publish", "key": "EVENT API one.zone.rename 1", "content": "PHg+" }));
        }
        self.until("all is received", |status| received(status) >= before + AFTER)
            .await;
    }

    async fn ask(&self, arguments: &[&str]) -> Said {
        hem(&self.house, arguments).await
    }
}

fn role(status: &StatusView) -> &str {
    status.role.as_ref().map_or("", |role| &role.name)
}

/// What scripts of all machines told, sorted: which machine, which VM, which attempt.
fn ran(shared: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(shared.join("ran")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

const ON_RUNNING: &str = "trigger: { state: { resource: VM, on: RUNNING } }\ncommand: run.sh\narguments: [\"${{ meta.subject }}\"]\n";
const ON_RESIZE: &str = "trigger: { api: { call: one.vm.resize } }\ncommand: run.sh\narguments: [\"resized-${{ meta.subject }}\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_front_ends_the_leader_alone_runs_and_replies() {
    let shared = folder();
    let mut zone: Vec<FrontEnd> = [("a", "FOLLOWER"), ("b", "LEADER"), ("c", "FOLLOWER")]
        .map(|(name, raft)| FrontEnd::new(name, raft, shared.path()))
        .into();
    for one in &mut zone {
        one.hook("state", &format!("id: 3\n{ON_RUNNING}"));
        one.hook("api", ON_RESIZE);
        one.start().await;
    }
    zone[1].until_role("leader").await;
    zone[0]
        .until("it follows", |status| says(status, "oned is FOLLOWER"))
        .await;
    zone[2]
        .until("it follows", |status| says(status, "oned is FOLLOWER"))
        .await;

    // A follower publishes the calls that it passes on; that it publishes a change of state is more than it does.
    for one in &mut zone {
        one.vm_runs(12);
        one.call("12");
    }
    zone[1]
        .until("both ran", |status| in_state(status, "succeeded") == 2)
        .await;
    for one in &mut zone {
        one.until_received().await;
    }
    assert_eq!(ran(shared.path()), ["b resized-vm/12 1", "b vm/12 1"]);
    assert_eq!(zone[1].oned.results(1).len(), 1);

    for at in [0, 2] {
        let status = zone[at].until("it answers", |_| true).await;
        let sums = status.events["opennebula"];
        assert!(sums.adds_up, "{sums:?}");
        assert_eq!((sums.accepted, sums.refused, sums.gaps), (0, sums.received, 0));
        assert!(status.sources["opennebula"].refused["standby"] >= 3, "{status:?}");
        assert_eq!(status.executions.values().sum::<u64>(), 0);
        assert_eq!(zone[at].oned.results(0).len(), 0);
        assert_eq!(
            status.concerns,
            Vec::<String>::new(),
            "to follow is as it should be"
        );
        assert_eq!(zone[at].ask(&["status", "--check"]).await.code, 0);
        let said = zone[at].ask(&["status"]).await.stdout;
        assert!(
            said.contains("standby since ") && said.contains(": oned is FOLLOWER\n"),
            "{said}"
        );
        let metrics = zone[at].ask(&["metrics"]).await.stdout;
        assert!(metrics.contains("hem_standby 1\n"), "{metrics}");

        let event = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/opennebula/events/vm-running.xml"
        );
        let emitted = zone[at].ask(&["emit", event]).await;
        assert_eq!(emitted.code, 1, "{}", emitted.stdout);
        assert!(
            emitted.stderr.contains("on standby (oned is FOLLOWER)"),
            "{}",
            emitted.stderr
        );
    }
    let said = zone[1].ask(&["status"]).await.stdout;
    assert!(said.contains("\nleader since "), "{said}");
    let audit = zone[1].ask(&["audit"]).await.stdout;
    assert!(audit.contains("lead") && audit.contains("as leader"), "{audit}");
    assert!(zone[1].ask(&["metrics"]).await.stdout.contains("hem_standby 0\n"));
}

fn says(status: &StatusView, why: &str) -> bool {
    let role = status.role.as_ref();
    role.and_then(|role| role.why.as_deref()) == Some(why)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leads_again_runs_nothing_of_what_it_left_before_another_one_led() {
    let shared = folder();
    let (gate, fails) = (shared.path().join("gate"), shared.path().join("fails"));
    let mut zone: Vec<FrontEnd> = [("a", "LEADER"), ("b", "FOLLOWER")]
        .map(|(name, raft)| FrontEnd::new(name, raft, shared.path()))
        .into();
    for one in &mut zone {
        let more = "start_within: 15m\norder: hook\nretry: { attempts: 5, backoff: 1ms..2ms }\non_interrupt: rerun\n";
        one.hook("state", &format!("{ON_RUNNING}{more}"));
        one.hook(
            "api",
            &format!("{ON_RESIZE}start_within: 15m\non_interrupt: rerun\n"),
        );
        one.has_a_clock();
        one.start().await;
    }
    let [a, b] = zone.as_mut_slice() else {
        panic!("two front-ends")
    };
    a.until_role("leader").await;

    // One script runs, others wait behind it, and then the machine dies.
    std::fs::write(&gate, "").expect("a gate");
    a.vm_runs(1);
    until("the first script runs", || !ran(shared.path()).is_empty()).await;
    a.vm_runs(2);
    a.call("3");
    a.until("two wait", |status| in_state(status, "queued") >= 2)
        .await;
    a.kill();
    std::fs::remove_file(&gate).expect("a gate");
    assert_eq!(ran(shared.path()), ["a vm/1 1"]);

    // The other one leads for longer than the hooks let anything wait.
    b.becomes("LEADER").await;
    b.vm_runs(4);
    b.until("it runs there", |status| in_state(status, "succeeded") == 1)
        .await;
    a.sets_its_clock(Duration::from_secs(20 * 60));
    a.oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
    a.start().await;
    a.until("it follows", |status| says(status, "oned is FOLLOWER"))
        .await;
    b.becomes("FOLLOWER").await;
    a.becomes("LEADER").await;
    let status = a.until("nothing waits", |status| unsettled(status) == 0).await;
    assert_eq!(
        in_state(&status, "skipped"),
        2,
        "what had not been started: {status:?}"
    );
    assert_eq!(
        in_state(&status, "cancelled"),
        1,
        "what was cut short: {status:?}"
    );
    assert_eq!(ran(shared.path()), ["a vm/1 1", "b vm/4 1"]);
    let client = Client::connect(&a.house.config.control.socket)
        .await
        .expect("a daemon");
    let story = client.story("1", false).await.expect("a story");
    let state = serde_json::to_value(&story.executions[0].execution.state).expect("JSON");
    assert_eq!(
        (&state["name"], &state["reason"]),
        (&json!("cancelled"), &json!("expired"))
    );

    // What comes from now on runs here again; a retry that was to come when the lead was lost does not.
    std::fs::write(&fails, "").expect("a file");
    a.hook(
        "state",
        &format!("{ON_RUNNING}start_within: 15m\nretry: {{ attempts: 2, backoff: 30s }}\n"),
    );
    let reloaded = a.ask(&["reload"]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.stderr);
    a.vm_runs(5);
    a.until("it waits for its retry", |status| {
        in_state(status, "retrying") == 1
    })
    .await;
    assert_eq!(ran(shared.path()), ["a vm/1 1", "a vm/5 1", "b vm/4 1"]);
    a.becomes("FOLLOWER").await;
    let retry = a.ask(&["retry", "--yes", "1.state"]).await;
    assert_eq!(retry.code, 1, "{}", retry.stdout);
    let said = format!("{}{}", retry.stdout, retry.stderr);
    assert!(said.contains("on standby (oned is FOLLOWER)"), "{said}");
    let cancelled = a.ask(&["cancel", "last"]).await;
    assert_eq!(cancelled.code, 0, "what waits may be ended: {}", cancelled.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_flaps_loses_nothing_that_the_leader_accepted() {
    let shared = folder();
    let gate = shared.path().join("gate");
    let mut one = FrontEnd::new("a", "LEADER", shared.path());
    one.hook("state", &format!("id: 3\n{ON_RUNNING}"));
    one.start().await;
    one.until_role("leader").await;
    std::fs::write(&gate, "").expect("a gate");
    for id in 1..=5 {
        one.vm_runs(id);
    }
    one.until("all are accepted", |status| in_state(status, "queued") == 4)
        .await;
    one.becomes("FOLLOWER").await;
    // The script that runs comes to its end, and neither is it told nor the next one started.
    std::fs::remove_file(&gate).expect("a gate");
    one.until("it has ended", |status| in_state(status, "succeeded") == 1)
        .await;
    one.vm_runs(6);
    one.until_received().await;
    assert_eq!(one.oned.results(0).len(), 0);
    assert_eq!(ran(shared.path()), ["a vm/1 1"]);
    for state in ["LEADER", "CANDIDATE", "FOLLOWER", "SOLO"] {
        one.becomes(state).await;
    }
    let status = one
        .until("all have run", |status| in_state(status, "succeeded") == 5)
        .await;
    assert_eq!(unsettled(&status), 0, "{status:?}");
    let once: Vec<String> = (1..=5).map(|id| format!("a vm/{id} 1")).collect();
    assert_eq!(
        ran(shared.path()),
        once,
        "each once, and not what came while another one led"
    );
    assert_eq!(one.oned.results(5).len(), 5, "what waited to be told is told");
    assert_eq!(status.events["opennebula"].gaps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oned_that_cannot_be_asked_does_not_lead() {
    let shared = folder();
    let mut one = FrontEnd::new("a", "SOLO", shared.path());
    one.hook("state", ON_RUNNING);
    one.start().await;
    one.until_role("solo").await;
    one.vm_runs(1);
    one.until("it runs", |status| in_state(status, "succeeded") == 1)
        .await;

    one.oned
        .tell(json!({ "do": "break", "method": "one.zone.raftstatus", "how": "auth" }));
    let status = one.until_role("standby").await;
    let concern = status
        .concerns
        .iter()
        .find(|concern| concern.starts_with("on standby since "));
    assert!(
        concern.is_some_and(|concern| concern.contains("couldn't be authenticated")),
        "{:?}",
        status.concerns
    );
    assert_eq!(
        one.ask(&["status", "--check"]).await.code,
        1,
        "nobody asked for that"
    );
    one.vm_runs(2);
    one.until_received().await;
    one.oned.tell(json!({ "do": "mend" }));
    one.until_role("solo").await;

    one.oned.tell(json!({ "do": "down" }));
    one.until("it is gone", |status| role(status) == "standby").await;
    one.oned.tell(json!({ "do": "up" }));
    one.oned.wait_for_subscriber();
    one.until("it works again", |status| {
        role(status) == "solo" && status.sources["opennebula"].connected
    })
    .await;
    one.vm_runs(3);
    let status = one
        .until("it runs", |status| in_state(status, "succeeded") == 2)
        .await;
    assert_eq!(ran(shared.path()), ["a vm/1 1", "a vm/3 1"]);
    assert!(status.events["opennebula"].adds_up, "{status:?}");
}

const ON_GAP: &str = "trigger: { gap: { source: opennebula } }\ncommand: run.sh\narguments: [gap]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_of_the_pool_runs_beside_the_leader_alone() {
    let shared = folder();
    let mut zone: Vec<FrontEnd> = ["a", "b", "c"]
        .map(|name| FrontEnd::new(name, "SOLO", shared.path()))
        .into();
    for one in &mut zone {
        one.has_a_pool();
        one.oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
        one.start().await;
        one.until("it follows, and has the hook", |status| {
            says(status, "oned is FOLLOWER") && status.hooks == 1
        })
        .await;
    }
    zone[1].becomes("LEADER").await;
    for one in &mut zone {
        one.vm_runs(1);
    }
    zone[1]
        .until("it runs", |status| in_state(status, "succeeded") == 1)
        .await;
    for one in &mut zone {
        one.until_received().await;
    }
    assert_eq!(ran(shared.path()), ["b pool 1"]);

    zone[1].becomes("FOLLOWER").await;
    zone[0].becomes("LEADER").await;
    for one in &mut zone {
        one.vm_runs(2);
    }
    zone[0]
        .until("it runs", |status| in_state(status, "succeeded") == 1)
        .await;
    for one in &mut zone {
        one.until_received().await;
    }
    assert_eq!(ran(shared.path()), ["a pool 1", "b pool 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_of_a_pools_hook_waited_while_another_one_led_runs_only_where_that_was_short() {
    for (minutes, ran_late) in [(10, 2), (20, 0)] {
        let shared = folder();
        let gate = shared.path().join("gate");
        let mut zone: Vec<FrontEnd> = ["a", "b"]
            .map(|name| FrontEnd::new(name, "SOLO", shared.path()))
            .into();
        let [a, b] = zone.as_mut_slice() else {
            panic!("two front-ends")
        };
        a.has_a_clock();
        for one in [&mut *a, &mut *b] {
            one.has_a_pool();
        }
        b.oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
        for one in [&mut *a, &mut *b] {
            one.start().await;
            one.until("it has the hook", |status| status.hooks == 1).await;
        }
        a.becomes("LEADER").await;
        b.until("it follows", |status| says(status, "oned is FOLLOWER"))
            .await;

        // One runs, two wait behind it, and the lead is lost.
        std::fs::write(&gate, "").expect("a gate");
        a.vm_runs(1);
        until("the first script runs", || !ran(shared.path()).is_empty()).await;
        a.vm_runs(2);
        a.vm_runs(3);
        a.until("two wait", |status| in_state(status, "queued") == 2)
            .await;
        a.becomes("FOLLOWER").await;
        std::fs::remove_file(&gate).expect("a gate");
        b.becomes("LEADER").await;
        b.vm_runs(4);
        b.until("it runs there", |status| in_state(status, "succeeded") == 1)
            .await;
        a.passes(Duration::from_secs(minutes * 60)).await;
        assert_eq!(ran(shared.path()), ["a pool 1", "b pool 1"]);

        // It leads again: what comes now runs, and of what waited only what is not stale.
        b.becomes("FOLLOWER").await;
        a.becomes("LEADER").await;
        a.vm_runs(5);
        let status = a
            .until("nothing waits", |status| {
                unsettled(status) == 0 && in_state(status, "succeeded") == 2 + ran_late
            })
            .await;
        assert_eq!(
            in_state(&status, "skipped"),
            2 - ran_late,
            "after {minutes} minutes"
        );
        let here = ran(shared.path())
            .iter()
            .filter(|line| *line == "a pool 1")
            .count();
        assert_eq!(here as u64, 2 + ran_late);
        // Only what ran is told.
        let told = usize::try_from(2 + ran_late).expect("a number");
        a.oned.results(told);
        a.until_received().await;
        assert_eq!(a.oned.results(told).len(), told);
    }
}

/// The concern about events that may be missing.
fn missing(status: &StatusView) -> String {
    let concern = status
        .concerns
        .iter()
        .find(|concern| concern.contains("may be missing"));
    concern.unwrap_or_else(|| panic!("no gap: {status:?}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_while_nobody_says_who_leads_is_a_gap() {
    let shared = folder();
    let mut one = FrontEnd::new("a", "LEADER", shared.path());
    one.hook("state", ON_RUNNING);
    one.hook("gap", ON_GAP);
    let asks = |how: Option<&str>| match how {
        Some(how) => json!({ "do": "break", "method": "one.zone.raftstatus", "how": how }),
        None => json!({ "do": "mend" }),
    };
    let gaps = |status: &StatusView| status.events["opennebula"].gaps;
    one.start().await;
    one.until_role("leader").await;
    one.vm_runs(1);
    one.until("it runs", |status| in_state(status, "succeeded") == 1)
        .await;

    // The daemon is started again and hears the hook manager before it is known who leads.
    one.kill();
    one.vm_runs(2);
    one.oned.tell(asks(Some("auth")));
    one.start().await;
    let status = one.until_role("standby").await;
    assert_eq!(gaps(&status), 0);
    one.oned.tell(asks(None));
    let status = one
        .until("the gap is told", |status| in_state(status, "succeeded") == 2)
        .await;
    assert_eq!(gaps(&status), 1, "{status:?}");
    let first = missing(&status);
    assert!(
        first.ends_with(": hem was not connected before it started"),
        "{first}"
    );

    // `oned` is started again, and leads as before.
    one.oned.tell(asks(Some("auth")));
    one.oned.tell(json!({ "do": "restart" }));
    one.oned.wait_for_subscriber();
    one.until("it hears it", |status| {
        role(status) == "standby" && status.sources["opennebula"].connected
    })
    .await;
    one.oned.tell(asks(None));
    let status = one
        .until("the gap is told", |status| in_state(status, "succeeded") == 3)
        .await;
    assert_eq!(gaps(&status), 2, "{status:?}");
    assert_ne!(missing(&status), first);

    // It cannot be asked, and publishes.
    one.oned.tell(asks(Some("auth")));
    one.until_role("standby").await;
    one.vm_runs(3);
    one.until_received().await;
    one.oned.tell(asks(None));
    let status = one
        .until("the gap is told", |status| in_state(status, "succeeded") == 4)
        .await;
    assert_eq!(gaps(&status), 3, "{status:?}");
    let said = missing(&status);
    assert!(said.contains(": hem was on standby: "), "{said}");

    // Where another one led, it saw what passed, also where nobody could be asked before.
    one.oned.tell(asks(Some("auth")));
    one.until_role("standby").await;
    one.vm_runs(4);
    one.oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
    one.oned.tell(asks(None));
    one.becomes("FOLLOWER").await;
    one.vm_runs(5);
    one.until_received().await;
    one.becomes("LEADER").await;
    one.vm_runs(6);
    let status = one
        .until("it runs", |status| in_state(status, "succeeded") == 5)
        .await;
    assert_eq!(gaps(&status), 3, "{status:?}");
    assert!(status.events["opennebula"].adds_up, "{status:?}");
    let told = ["a gap 1", "a gap 1", "a gap 1", "a vm/1 1", "a vm/6 1"];
    assert_eq!(ran(shared.path()), told);
}
