//! The process whose power is cut: it writes to a store and says what is durable.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hem::config::Retention;
use hem::engine::core::Record;
use hem::engine::execution::{Cause, EndedAttempt, Execution, Progress, Settlement, State};
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{ApiCall, Event, Facts, RetryRequest, Subject};
use hem::hooks::Version;
use hem::runner::{Captured, Outcome};
use hem::store::Store;
use hem::store::writer::{Change, Writer, durable};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Events of some hundred bytes to some thousand, each with an execution that runs and ends.
    Small,
    /// The same between events of 10 MB.
    Large,
    /// Many events that match nothing, of which few are kept: the log is reused all the time.
    Pruned,
}

/// Of a pruned load, how many of the newest events are kept.
pub(crate) const KEPT: u64 = 40;

/// Times the store is opened, written to and closed.
const LIVES: u64 = 3;

impl Load {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Pruned];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Pruned => "pruned",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|load| load.name() == name)
            .expect("the name of a load")
    }

    const fn events(self) -> u64 {
        match self {
            Self::Small => 60,
            Self::Large => 8,
            Self::Pruned => 400,
        }
    }

    fn retention(self) -> Retention {
        Retention {
            unmatched_events: if matches!(self, Self::Pruned) {
                KEPT
            } else {
                10_000
            },
            executions: 100_000,
            age: std::time::Duration::from_secs(365 * 86_400),
            bytes: 2 << 30,
        }
    }

    /// The payload of an event: bytes that do not compress, other ones for each.
    pub(crate) fn payload(self, seq: u64) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(seq);
        let len = match self {
            Self::Small => rng.usize(100..6_000),
            Self::Large if seq.is_multiple_of(3) => 10 << 20,
            Self::Large => rng.usize(100..3_000),
            Self::Pruned => rng.usize(2_000..40_000),
        };
        std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
    }
}

pub(crate) fn key(seq: u64) -> ExecutionKey {
    ExecutionKey::new(Seq(seq), HookName::new("hook").expect("a name"))
}

/// What the attempt of an event's execution prints.
pub(crate) fn output(seq: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(!seq);
    let len = rng.usize(10..3_000);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

/// Writes a load to the store `folder/state`, and to `folder/acknowledged` a line for everything that is durable.
pub(crate) fn write(folder: &Path, load: Load) {
    let acknowledged = File::options()
        .create(true)
        .append(true)
        .open(folder.join("acknowledged"))
        .expect("a file");
    let acknowledged = Arc::new(acknowledged);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for life in 0..LIVES {
        let store = Store::open(&folder.join("state")).expect("a store");
        let first = store.summary().last_seq.0 + 1;
        let (writer, thread) = Writer::start(store.clone(), load.retention()).expect("a thread");
        runtime.block_on(async {
            for seq in first..=load.events() * (life + 1) / LIVES {
                submit(&writer, &acknowledged, load, seq).await;
                // Now and then everything is waited for, so that batches have all sizes.
                if seq.is_multiple_of(7) {
                    durable(&writer, Vec::new()).await.expect("a store that writes");
                }
            }
        });
        drop(writer);
        thread.join().expect("the writer's thread");
        drop(store);
    }
}

/// Now and then something of which the controller decides how long it is: the arguments of a RETRY message.
pub(crate) fn facts(seq: u64) -> Facts {
    if seq.is_multiple_of(11) {
        Facts::Retry(RetryRequest {
            hook_id: 1,
            arguments: output(seq)
                .iter()
                .map(|byte| format!("{byte} "))
                .collect::<String>()
                .repeat(40),
            remote_host: None,
        })
    } else {
        Facts::Api(ApiCall {
            call: "one.test".to_owned(),
            success: true,
        })
    }
}

async fn submit(writer: &Writer, acknowledged: &Arc<File>, load: Load, seq: u64) {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let matches = load != Load::Pruned;
    let say = |what: &'static str| {
        let file = Arc::clone(acknowledged);
        move || {
            (&*file)
                .write_all(format!("{what} {seq}\n").as_bytes())
                .expect("a write");
        }
    };
    let event = Event {
        seq: Seq(seq),
        source: "power".into(),
        key: format!("EVENT API one.test {seq}"),
        subject: Some(Subject::new("vm/1")),
        received: now,
        facts: facts(seq),
        payload: Payload::new(load.payload(seq).into()),
        ambiguous: false,
        synthesised: false,
    };
    let running = State::Running {
        attempt: 1,
        cause: Cause::Event,
        since: now,
        ended_for: None,
    };
    let progress = |state| Progress {
        state,
        turn: seq,
        version: Version([7; 32]),
        attempts: 1,
        budget_used: 0,
        interruptions: 0,
    };
    let mut changes = vec![Change::Event {
        event: Box::new(event),
        hooks: if matches { vec![key(seq).hook] } else { Vec::new() },
        condition_errors: 0,
        absent_elements: 0,
        keep_payload: true,
    }];
    if matches {
        changes.push(Change::Record(Record::Created(Box::new(Execution {
            key: key(seq),
            source: "one".into(),
            subject: Some(Subject::new("vm/1")),
            accepted: now,
            why: "it is tested".to_owned(),
            retry_of: None,
            progress: progress(running),
        }))));
        changes.push(Change::Record(Record::Released {
            key: key(seq),
            attempt: 1,
            cause: Cause::Event,
            at: now,
        }));
    }
    writer
        .submit(changes, say("event"))
        .await
        .expect("a store that writes");
    if matches {
        let stdout = output(seq);
        let ended = EndedAttempt {
            at: now,
            outcome: Outcome::Exited { code: 0 },
            stdout: Captured {
                total: stdout.len() as u64,
                head: Bytes::from(stdout),
                tail: Bytes::new(),
            },
            stderr: Captured::default(),
        };
        let settled = State::Settled {
            settlement: Settlement::Succeeded,
            at: now,
        };
        let changes = vec![
            Change::Ended {
                key: key(seq),
                attempt: 1,
                ended: Box::new(ended),
            },
            Change::Record(Record::Progressed {
                key: key(seq),
                left: "running",
                progress: progress(settled),
            }),
        ];
        writer
            .submit(changes, say("end"))
            .await
            .expect("a store that writes");
    }
}
