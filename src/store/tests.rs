//! The store from outside: what was written comes back, the sums hold, limits are kept, nothing is replaced in silence.

mod bookmarks;
mod damage;
mod keeping;
mod known;
mod opening;
mod records;
mod retention;
mod round_trip;
mod salvage;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::writer::{Change, Writer, durable};
use super::{EventQuery, ExecutionQuery, Store, Summary};
use crate::config::{Config, Retention};
use crate::engine::core::Record;
use crate::engine::execution::{Cause, EndedAttempt, Execution, Progress, Settlement, StartedProcess, State};
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{ApiCall, Event, Facts, Subject};
use crate::hooks::{Hook, Version, declared};
use crate::runner::{Captured, Outcome};

/// A store with its writer.
struct Desk {
    store: Store,
    writer: Writer,
    thread: JoinHandle<()>,
}

impl Desk {
    fn open(folder: &Path, retention: Retention) -> Self {
        let store = Store::open(folder).expect("a store");
        let (writer, thread) = Writer::start(store.clone(), retention).expect("a thread");
        Self {
            store,
            writer,
            thread,
        }
    }

    async fn write(&self, changes: Vec<Change>) {
        durable(&self.writer, changes).await.expect("a write");
    }

    fn close(self) {
        drop(self.writer);
        self.thread.join().expect("the writer ends in order");
    }

    /// Lets it prune until `holds`. A pass follows each write, though not at once.
    async fn pruned(&self, what: &str, holds: impl Fn(&Summary) -> bool) {
        let began = std::time::Instant::now();
        while !holds(&self.store.summary()) {
            assert!(
                began.elapsed().as_secs() < 60,
                "{what}: {:?}",
                self.store.summary()
            );
            self.write(Vec::new()).await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

fn keep_all() -> Retention {
    let for_ever = std::time::Duration::from_secs(1 << 40);
    Retention {
        age: for_ever,
        unmatched_age: for_ever,
        output_age: for_ever,
        ..Config::defaults(Path::new("/")).retention
    }
}

fn key(seq: u64, hook: &str) -> ExecutionKey {
    ExecutionKey::new(Seq(seq), HookName::trusted(hook))
}

/// A hook whose definition says `text`, so that each text is a version.
fn hook(name: &str, text: &str) -> Arc<Hook> {
    let text = format!(
        "name: {name}\ndescription: {text}\ntrigger: {{ api: {{ call: any }} }}\ncommand: /bin/true\n"
    );
    Arc::new(declared(&text))
}

fn event(seq: u64, received: i64, payload: &[u8]) -> Box<Event> {
    Box::new(Event {
        seq: Seq(seq),
        source: "one".into(),
        key: "EVENT API one.vm.allocate 1 ".to_owned(),
        subject: Some(Subject::new("vm/1")),
        received: Timestamp::from_millis(received),
        facts: Facts::Api(ApiCall {
            call: "one.vm.allocate".to_owned(),
            success: true,
        }),
        ambiguous: false,
        synthesised: false,
        payload: Payload::new(payload.to_vec().into()),
    })
}

/// An event with the executions it causes, in one submission, as the dispatcher hands it over.
fn accepted(event: Box<Event>, hooks: &[&Arc<Hook>]) -> Vec<Change> {
    let mut changes: Vec<Change> = hooks
        .iter()
        .map(|hook| Change::Definition(Arc::clone(hook)))
        .collect();
    let seq = event.seq.0;
    changes.push(Change::Event {
        event,
        hooks: hooks.iter().map(|hook| hook.name.clone()).collect(),
        condition_errors: 0,
        absent_elements: 0,
        keep_payload: true,
    });
    changes.extend(hooks.iter().map(|hook| {
        Change::Record(Record::Created(Box::new(Execution {
            key: key(seq, hook.name.as_str()),
            source: "one".into(),
            subject: Some(Subject::new("vm/1")),
            accepted: Timestamp::from_millis(0),
            why: "api one.vm.allocate success".to_owned(),
            retry_of: None,
            progress: progress(queued(), hook.version),
        })))
    }));
    changes
}

fn progress(state: State, version: Version) -> Progress {
    Progress {
        state,
        turn: 1,
        version,
        attempts: 0,
        budget_used: 0,
        interruptions: 0,
    }
}

fn queued() -> State {
    State::Queued {
        cause: Cause::Event,
        since: Timestamp::from_millis(0),
    }
}

fn succeeded() -> State {
    State::Settled {
        settlement: Settlement::Succeeded,
        at: Timestamp::from_millis(1),
    }
}

fn moved(key: &ExecutionKey, left: &'static str, state: State, version: Version) -> Change {
    Change::Record(Record::Progressed {
        key: key.clone(),
        left,
        progress: progress(state, version),
    })
}

/// The three parts of an attempt.
fn attempted(key: &ExecutionKey, attempt: u32, version: Version, stdout: Vec<u8>) -> Vec<Change> {
    let at = Timestamp::from_millis(2);
    let captured = |head: Vec<u8>| Captured {
        total: head.len() as u64,
        head: head.into(),
        tail: Vec::new().into(),
    };
    vec![
        Change::Record(Record::Released {
            key: key.clone(),
            attempt,
            cause: Cause::Event,
            at,
        }),
        Change::Started {
            key: key.clone(),
            attempt,
            process: Box::new(StartedProcess {
                pid: 1,
                start_ticks: 2,
                boot_id: None,
                at,
                uid: 3,
                version,
                hook_file: "a.yaml".into(),
                hook_file_sha256: [7; 32],
                arguments_sha256: Some([8; 32]),
                argv: vec!["/bin/true".to_owned()],
                environment: Vec::new(),
                directory: None,
                files: Vec::new(),
            }),
        },
        Change::Ended {
            key: key.clone(),
            attempt,
            ended: Box::new(EndedAttempt {
                at,
                outcome: Outcome::Exited { code: 0 },
                stdout: captured(stdout),
                stderr: captured(Vec::new()),
                outputs_pruned: false,
            }),
        },
    ]
}

fn all_events(store: &Store) -> Vec<u64> {
    let query = EventQuery {
        limit: usize::MAX,
        ..EventQuery::default()
    };
    let mut seqs: Vec<u64> = store
        .events(&query)
        .expect("events")
        .iter()
        .map(|listed| listed.event.seq.0)
        .collect();
    seqs.reverse();
    seqs
}

fn all_executions(store: &Store) -> Vec<Execution> {
    let query = ExecutionQuery {
        limit: usize::MAX,
        ..ExecutionQuery::default()
    };
    store.executions(&query).expect("executions")
}
