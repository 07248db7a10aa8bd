//! Torture: a real daemon under a real publisher and real orders, ended by SIGKILL again and again, and then held to
//! what it accepted.
//!
//! A campaign is one state folder that lives through some rounds. In each round the daemon is started, numbered events
//! come from a libzmq publisher and over the control socket, and the daemon is killed: at a random moment, or at a
//! named point. A last round is left in peace until nothing is unsettled; then [`reconcile`] compares what was
//! acknowledged, what the scripts say they did, and what the store says.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "the test runs one campaign, the example many; a harness that cannot go on says where"
)]

#[path = "../peers/mod.rs"]
mod peers;
mod reconcile;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hem::control::api::{EmitOrder, EventSums, StatusView};
use hem::control::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use peers::{Peer, Port};

/// No daemon takes this long to do anything, on any machine.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a daemon may go without coming to the point at which it is to be killed.
const POINT_LIMIT: Duration = Duration::from_secs(6);

/// The machines the events are about: the subjects of the lanes.
const MACHINES: u64 = 8;

/// Threads that hand events over by the control socket.
const EMITTERS: usize = 2;

/// What is run as `hem`: the program, and the arguments that come before its own.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The file.
    pub(crate) path: PathBuf,
    /// What makes it be `hem`.
    pub(crate) arguments: Vec<OsString>,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_remove("HEM_CONFIG");
        command
    }
}

/// What happened, in numbers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    /// Lives that were ended by SIGKILL.
    pub(crate) rounds: u64,
    /// Where they were ended.
    pub(crate) kills: BTreeMap<String, u64>,
    /// Lives that did not come to their point and were killed after a while.
    pub(crate) point_not_reached: u64,
    /// Events handed over by `hem emit` that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Events handed over by `hem emit` without an answer.
    pub(crate) unanswered: u64,
    /// Of those, the ones that were accepted all the same.
    pub(crate) unanswered_and_accepted: u64,
    /// Events published.
    pub(crate) published: u64,
    /// Of those, the accepted ones.
    pub(crate) published_and_accepted: u64,
    /// Gap records: times in which events may have passed unseen.
    pub(crate) gaps: u64,
    /// Ends of executions that were told as events of hem's own.
    pub(crate) told: u64,
    /// Executions recorded.
    pub(crate) executions: u64,
    /// Attempts recorded.
    pub(crate) attempts: u64,
    /// Attempts recorded as interrupted.
    pub(crate) interrupted: u64,
    /// Starts that the scripts themselves wrote down.
    pub(crate) ran: u64,
    /// Executions whose script was started more than once.
    pub(crate) ran_again: u64,
    /// Interrupted executions of hooks that are not run again, whose script had not come to its first line.
    pub(crate) never_ran: u64,
    /// What should not be.
    pub(crate) faults: Vec<String>,
}

impl Figures {
    /// Adds those of another campaign.
    pub(crate) fn add(&mut self, other: Self) {
        for (point, count) in other.kills {
            *self.kills.entry(point).or_default() += count;
        }
        self.rounds += other.rounds;
        self.point_not_reached += other.point_not_reached;
        self.acknowledged += other.acknowledged;
        self.unanswered += other.unanswered;
        self.unanswered_and_accepted += other.unanswered_and_accepted;
        self.published += other.published;
        self.published_and_accepted += other.published_and_accepted;
        self.gaps += other.gaps;
        self.told += other.told;
        self.executions += other.executions;
        self.attempts += other.attempts;
        self.interrupted += other.interrupted;
        self.ran += other.ran;
        self.ran_again += other.ran_again;
        self.never_ran += other.never_ran;
        self.faults.extend(other.faults);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = |what: &str, count: u64| writeln!(f, "{count:>9}  {what}");
        line("lives ended by SIGKILL", self.rounds)?;
        for (point, count) in &self.kills {
            line(&format!("  {point}"), *count)?;
        }
        line(
            "  after a while, the point was not reached",
            self.point_not_reached,
        )?;
        line("events emitted and acknowledged", self.acknowledged)?;
        line("events emitted, no answer came", self.unanswered)?;
        line("  accepted all the same", self.unanswered_and_accepted)?;
        line("events published", self.published)?;
        line(
            "  accepted while the daemon was there",
            self.published_and_accepted,
        )?;
        line("gaps said", self.gaps)?;
        line("ends told as events of hem's own", self.told)?;
        line("executions recorded", self.executions)?;
        line("attempts recorded", self.attempts)?;
        line("  interrupted", self.interrupted)?;
        line("starts the scripts wrote down", self.ran)?;
        line("executions whose script ran more than once", self.ran_again)?;
        line("interrupted before the script's first line", self.never_ran)?;
        line("faults", self.faults.len() as u64)
    }
}

/// How a life is ended.
#[derive(Debug, Clone)]
enum End {
    /// By SIGKILL this long after its start.
    After(Duration),
    /// At a named point, the n-th time it is reached.
    At(&'static str, u32),
}

/// An event handed over by the control socket.
#[derive(Debug)]
struct Emitted {
    number: String,
    /// The event's number in the store, if the daemon answered.
    acknowledged: Option<u64>,
}

/// What one life was given.
#[derive(Debug, Default)]
struct Given {
    /// The numbers published, in order.
    published: Vec<String>,
    emitted: Vec<Emitted>,
}

/// One state folder and all that happened to it.
struct Campaign {
    folder: tempfile::TempDir,
    program: Program,
    rng: fastrand::Rng,
    /// Which named point has the first turn.
    first_point: usize,
    publisher: Peer,
    lives: Vec<Given>,
    figures: Figures,
}

/// Runs one campaign of `rounds` kills and reconciles it. Faults stand in the figures, and in them the folder that is kept.
pub(crate) fn campaign(program: &Program, rounds: u32, seed: u64) -> Figures {
    let port = Port::reserve();
    let folder = tempfile::Builder::new()
        .prefix("hem-torture-")
        .tempdir()
        .expect("a folder");
    furnish(folder.path(), &port.endpoint());
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut campaign = Campaign {
        first_point: rng.usize(..hem::kill_point::NAMES.len()),
        publisher: Peer::publisher(&port.endpoint(), &[]),
        folder,
        program: program.clone(),
        rng,
        lives: Vec::new(),
        figures: Figures::default(),
    };
    for round in 0..rounds {
        let end = campaign.choose_end(round);
        campaign.live(&end);
    }
    campaign.last_life();
    reconcile::reconcile(&mut campaign);
    let Campaign {
        folder, mut figures, ..
    } = campaign;
    if !figures.faults.is_empty() {
        let kept = folder.keep();
        figures
            .faults
            .push(format!("seed {seed}: see {}", kept.display()));
    }
    figures
}

/// Writes the configuration, the hooks and their script.
fn furnish(folder: &Path, endpoint: &str) {
    let at = |name: &str| folder.join(name);
    for name in ["hooks.d", "scripts"] {
        std::fs::create_dir(at(name)).expect("a folder");
    }
    let config = format!(
        "state_dir: state\nhooks_dir: hooks.d\nscripts_dir: scripts\ncontrol: {{ socket: run/hem.sock }}\n\
         concurrency: 6\npermissions: lax\nlimits: {{ reserve: 1MiB }}\n\
         sources: {{ opennebula: {{ type: opennebula, endpoint: \"{endpoint}\" }} }}\n"
    );
    std::fs::write(at("hem.yaml"), config).expect("a file");
    // The first attempt of every seventh event fails where the hook retries. One write a line: appended whole or not at all.
    let script = "#!/bin/sh\n\
         echo \"start $HEM_EXECUTION_ID $HEM_ATTEMPT $1 $HEM_SUBJECT\" >>\"$RAN\"\n\
         sleep \"$2\"\n\
         case \"$3.$HEM_ATTEMPT.$1\" in retried.1.*7) code=1 ;; *) code=0 ;; esac\n\
         echo \"output of $1\"\n\
         echo \"end $HEM_EXECUTION_ID $HEM_ATTEMPT $1 $HEM_SUBJECT\" >>\"$RAN\"\n\
         exit $code\n";
    let path = at("scripts/work.sh");
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let ran = at("ran").display().to_string();
    for (name, pause, more) in [
        (
            "rerun",
            "0.03",
            "retry: { attempts: 3, backoff: 50ms..100ms }\nmax_parallel: 3\n",
        ),
        ("once", "0.02", "on_interrupt: fail\nmax_parallel: 3\n"),
        ("free", "0", "order: none\nmax_parallel: 2\n"),
    ] {
        let kind = if name == "rerun" { "retried" } else { "plain" };
        let hook = format!(
            "name: {name}\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: work.sh\n\
             arguments: [\"${{{{ event.VM.USER_TEMPLATE.NUMBER }}}}\", \"{pause}\", \"{kind}\"]\n\
             env: {{ RAN: \"{ran}\" }}\nloop_guard: off\n{more}"
        );
        std::fs::write(at(&format!("hooks.d/{name}.yaml")), hook).expect("a hook file");
    }
    let told = "name: told\ntrigger: { execution: { hook: once, outcome: any } }\nshell: true\ncommand: exit 0\nloop_guard: off\n";
    std::fs::write(at("hooks.d/told.yaml"), told).expect("a hook file");
}

/// The key and the document of a numbered event.
fn event(number: &str, machine: u64) -> (String, String) {
    (
        format!("EVENT STATE VM/ACTIVE/RUNNING/{machine} "),
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{machine}</RESOURCE_ID><REMOTE_HOST>host</REMOTE_HOST>\
             <VM><ID>{machine}</ID><NAME>vm-{machine}</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE>\
             <PREV_STATE>3</PREV_STATE><PREV_LCM_STATE>2</PREV_LCM_STATE>\
             <USER_TEMPLATE><NUMBER>{number}</NUMBER></USER_TEMPLATE></VM></HOOK_MESSAGE>"
        ),
    )
}

impl Campaign {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every second life ends at a named point, each in its turn.
    fn choose_end(&mut self, round: u32) -> End {
        let rng = &mut self.rng;
        if round.is_multiple_of(2) {
            // Half of these end while the daemon starts and recovers.
            let millis = if rng.bool() {
                rng.u64(0..400)
            } else {
                rng.u64(400..2_000)
            };
            return End::After(Duration::from_millis(millis));
        }
        let names = hem::kill_point::NAMES;
        let name = names[(self.first_point + round as usize / 2) % names.len()];
        let times = match name {
            // After the leftovers, and after what was left is taken up.
            "recovery" => rng.u32(1..=2),
            "mid-batch" => rng.u32(1..=40),
            _ => rng.u32(1..=15),
        };
        End::At(name, times)
    }

    fn start(&self, kill_point: Option<String>) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("daemon.log"))
            .expect("a log");
        let mut command = self.program.command();
        command
            .arg("--config")
            .arg(self.path("hem.yaml"))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        match kill_point {
            Some(point) => command.env("HEM_KILL_POINT", point),
            None => command.env_remove("HEM_KILL_POINT"),
        };
        command.spawn().expect("the daemon starts")
    }

    /// One life: started, fed, killed.
    fn live(&mut self, end: &End) {
        let mut daemon = self.start(match end {
            End::After(_) => None,
            End::At(name, times) => Some(format!("{name}:{times}")),
        });
        let (life, socket, seed) = (self.lives.len(), self.path("run/hem.sock"), self.rng.u64(..));
        let (given, (status, reached)) = feed(&mut self.publisher, &socket, life, seed, || match end {
            End::After(delay) => {
                thread::sleep(*delay);
                (killed(&mut daemon), true)
            }
            End::At(..) => match wait(&mut daemon, POINT_LIMIT) {
                Some(status) => (status, true),
                None => (killed(&mut daemon), false),
            },
        });
        self.lives.push(given);
        self.figures.rounds += 1;
        let name = match end {
            End::After(_) => "at a random moment",
            End::At(name, _) => name,
        };
        if reached {
            *self.figures.kills.entry(name.to_owned()).or_default() += 1;
        } else {
            self.figures.point_not_reached += 1;
        }
        if status.signal() != Some(Signal::SIGKILL as i32) {
            self.figures.faults.push(format!(
                "life {life}: the daemon ended by itself ({status}); see daemon.log"
            ));
        }
    }

    /// The life that nobody disturbs: everything left is done, and what is published then is accepted to the last event.
    fn last_life(&mut self) {
        let mut daemon = self.start(None);
        let (life, socket) = (self.lives.len(), self.path("run/hem.sock"));
        let mut given = Given::default();
        let before = wait_for_status(&socket, &mut daemon, |_| true);
        let accepted = |status: &StatusView| status.events.get("opennebula").map_or(0, |sums| sums.accepted);
        // A publisher does not know who listens: what was sent before the subscription arrived went nowhere.
        let began = Instant::now();
        loop {
            publish(&mut self.publisher, life, &mut given);
            let now = wait_for_status(&socket, &mut daemon, |_| true);
            if accepted(&now) > accepted(&before) {
                break;
            }
            assert!(began.elapsed() < LIMIT, "the daemon does not hear the publisher");
            thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..50 {
            publish(&mut self.publisher, life, &mut given);
        }
        // All of them were sent on one connection and in order: with the last one, every one has arrived.
        let last = given.published.last().cloned().unwrap_or_default();
        let done = wait_for_status(&socket, &mut daemon, |status| {
            let unsettled = ["queued", "running", "retrying"]
                .iter()
                .filter_map(|state| status.executions.get(*state))
                .sum::<u64>();
            // Every numbered event runs `once`, and the end of that is told.
            let (told, numbered): (Vec<_>, Vec<_>) =
                status.events.iter().partition(|(source, _)| *source == "hem");
            let sum = |events: Vec<(&String, &EventSums)>| {
                events.iter().map(|(_, sums)| sums.accepted).sum::<u64>()
            };
            unsettled == 0 && accepted(status) >= accepted(&before) + 51 && sum(told) == sum(numbered)
        });
        // That events may have passed unseen is true.
        for concern in &done.concerns {
            if !concern.contains("may be missing") {
                self.figures.faults.push(format!("at the end: {concern}"));
            }
        }
        let pid = i32::try_from(daemon.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the daemon lives");
        match wait(&mut daemon, LIMIT) {
            Some(status) if status.success() => {}
            other => self
                .figures
                .faults
                .push(format!("the last daemon did not stop well: {other:?}")),
        }
        self.lives.push(given);
        self.figures.faults.extend(
            last.is_empty()
                .then(|| "nothing was published in the last life".to_owned()),
        );
    }
}

fn killed(daemon: &mut Child) -> ExitStatus {
    // It may have ended by itself: its status says so.
    let _ = daemon.kill();
    daemon.wait().expect("its end")
}

/// Waits for the end of a process, but not longer than `limit`.
fn wait(process: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait().expect("a child") {
            return Some(status);
        }
        if began.elapsed() > limit {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until the daemon answers with a status that holds.
fn wait_for_status(socket: &Path, daemon: &mut Child, holds: impl Fn(&StatusView) -> bool) -> StatusView {
    let runtime = runtime();
    let began = Instant::now();
    loop {
        let answer = runtime.block_on(async {
            let client = Client::connect(socket).await.ok()?;
            client.status().await.ok()
        });
        match answer {
            Some(status) if holds(&status) => return status,
            last => assert!(
                began.elapsed() < LIMIT,
                "waited in vain; the last status: {last:?}"
            ),
        }
        assert!(
            daemon.try_wait().expect("a child").is_none(),
            "the daemon ended, see daemon.log beside {}",
            socket.display()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn publish(publisher: &mut Peer, life: usize, given: &mut Given) {
    let count = given.published.len() as u64;
    let number = format!("p{life}-{count}");
    let (key, document) = event(&number, count % MACHINES);
    publisher.send(&[key.as_bytes(), STANDARD.encode(document).as_bytes()]);
    given.published.push(number);
}

/// Feeds the daemon until `work` is done; comes back with what it was given and what `work` gave.
fn feed<T>(
    publisher: &mut Peer,
    socket: &Path,
    life: usize,
    seed: u64,
    work: impl FnOnce() -> T,
) -> (Given, T) {
    let over = AtomicBool::new(false);
    let over = &over;
    thread::scope(|scope| {
        let publishes = scope.spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut given = Given::default();
            while !over.load(Ordering::SeqCst) {
                // In bursts, so that events are decided together and committed together.
                for _ in 0..rng.u32(1..=4) {
                    publish(publisher, life, &mut given);
                }
                thread::sleep(Duration::from_millis(rng.u64(20..250)));
            }
            given.published
        });
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|emitter| {
                scope.spawn(move || emit(socket, life, emitter, seed.wrapping_add(emitter as u64 + 1), over))
            })
            .collect();
        let result = work();
        over.store(true, Ordering::SeqCst);
        let published = publishes.join().expect("the publisher's thread");
        let emitted = emitters
            .into_iter()
            .flat_map(|emitter| emitter.join().expect("an emitter's thread"))
            .collect();
        (Given { published, emitted }, result)
    })
}

/// Hands events over by the control socket, as `hem emit` does, one after the other.
fn emit(socket: &Path, life: usize, emitter: usize, seed: u64, over: &AtomicBool) -> Vec<Emitted> {
    let runtime = runtime();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut emitted = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let number = format!("e{life}-{emitter}-{}", emitted.len());
        let (key, document) = event(&number, rng.u64(..MACHINES));
        let order = EmitOrder {
            key,
            payload: STANDARD.encode(document),
            hook: None,
        };
        let reply = runtime.block_on(async {
            let client = Client::connect(socket).await.ok()?;
            // A daemon that is killed closes its end of the connection: there is an answer or an error.
            Some(client.emit(&order).await)
        });
        match reply {
            // Nobody listened, so nothing was handed over.
            None => thread::sleep(Duration::from_millis(5)),
            Some(reply) => {
                emitted.push(Emitted {
                    number,
                    acknowledged: reply.ok().map(|reply| reply.seq),
                });
                thread::sleep(Duration::from_millis(rng.u64(1..120)));
            }
        }
    }
    emitted
}
