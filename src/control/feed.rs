//! The live feed: a listing, then everything that becomes durable, without a gap and without doubles.
//!
//! The subscription is made before the listing is read, so nothing falls between; what the listing already showed
//! is dropped from the feed.

pub(super) mod ring;
pub(super) mod sse;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::access::Caller;
use super::api::FeedLine;
use super::convert;
use super::export::Exporter;
use super::veil::Veil;
use crate::config::control::Role;
use crate::engine::execution::{Execution, State};
use crate::engine::handle::Notice;
use crate::event::id::{ExecutionKey, Seq, StoreId};
use crate::event::time::Timestamp;
use crate::store::{EventQuery, ExecutionQuery};

/// What a follower wants to see, and what it has seen.
#[derive(Debug)]
pub(super) enum Follow {
    /// Events.
    Events {
        /// Which.
        query: EventQuery,
        /// The newest one listed; the journal is one sequence, so nothing at or below it is news.
        listed: Seq,
        /// What is not shown of them.
        veil: Veil,
        /// What the follower may do.
        role: Role,
    },
    /// Executions.
    Executions {
        /// Which.
        query: ExecutionQuery,
        /// How far each listed one had come.
        listed: HashMap<ExecutionKey, Progress>,
        /// What is not shown of them.
        veil: Veil,
        /// What the follower may do.
        role: Role,
    },
}

impl Follow {
    /// The line for a notice, if it is asked for and news.
    fn line(&mut self, store: &StoreId, notice: &Notice) -> Option<FeedLine> {
        match (self, notice) {
            (
                Self::Events {
                    query,
                    listed,
                    veil,
                    role,
                },
                Notice::Event(event),
            ) => {
                let is_wanted = || query.selects(event) && veil.lets_find_event(*role, query, &event.event);
                if event.event.seq <= *listed || !is_wanted() {
                    return None;
                }
                let mut view = convert::event(store, event);
                veil.event(&mut view);
                Some(FeedLine::Event(Box::new(view)))
            }
            (
                Self::Executions {
                    query,
                    listed,
                    veil,
                    role,
                },
                Notice::Execution(execution),
            ) => {
                if let Some(seen) = listed.get(&execution.key) {
                    if Progress::of(execution) <= *seen {
                        return None;
                    }
                    listed.remove(&execution.key);
                }
                let is_wanted = query.selects(execution) && veil.lets_find_execution(*role, query, execution);
                is_wanted.then(|| {
                    let mut view = convert::execution(store, execution);
                    veil.execution(&mut view);
                    FeedLine::Execution(Box::new(view))
                })
            }
            _ => None,
        }
    }
}

/// How far an execution has come: grows with every change of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Progress {
    attempts: u32,
    moment: Timestamp,
    /// Within one millisecond: it settles or waits for its retry after it ran, and is reopened after it settled.
    phase: u8,
}

impl Progress {
    pub(super) fn of(execution: &Execution) -> Self {
        let (moment, phase) = match &execution.progress.state {
            State::Queued { since, .. } if execution.progress.attempts == 0 => (*since, 0),
            State::Debouncing { due, delay, .. } => (before(*due, *delay), 0),
            State::Running { since, .. } => (*since, 1),
            State::Retrying { due, delay } => (before(*due, *delay), 2),
            State::Settled { at, .. } => (*at, 3),
            State::Queued { since, .. } => (*since, 4),
        };
        Self {
            attempts: execution.progress.attempts,
            moment,
            phase,
        }
    }
}

fn before(time: Timestamp, delay: Duration) -> Timestamp {
    let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(delay))
}

/// Everything that follows a listing, for as long as the caller is welcome.
pub(super) fn news(
    caller: Caller,
    live: broadcast::Receiver<Notice>,
    follow: Follow,
    store: StoreId,
    shutdown: CancellationToken,
) -> impl Stream<Item = FeedLine> + Send + 'static {
    stream::unfold((caller, live, follow, store, shutdown), |mut state| async move {
        let (caller, live, follow, store, shutdown) = &mut state;
        let line = loop {
            // All arms may be dropped at any time without losing anything.
            let received = tokio::select! {
                () = shutdown.cancelled() => return None,
                () = caller.sent_away() => return None,
                received = live.recv() => received,
            };
            if !caller.is_still_welcome() {
                return None;
            }
            match received {
                Ok(notice) => {
                    if let Some(line) = follow.line(store, &notice) {
                        break line;
                    }
                }
                Err(RecvError::Lagged(lines)) => break FeedLine::Skipped { lines },
                Err(RecvError::Closed) => return None,
            }
        };
        Some((line, state))
    })
}

/// Lines of JSON, sent one by one.
pub(super) fn lines(lines: impl Stream<Item = FeedLine> + Send + 'static) -> Response {
    let bytes = lines.map(|line| {
        let mut json = serde_json::to_vec(&line).unwrap_or_default();
        json.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(json))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(bytes)).into_response()
}

/// An export, made as fast as it is read. A daemon that stops leaves it without its last line, and so does a caller who would no longer be
/// let in.
pub(super) fn chunks(exporter: Exporter, caller: Caller, shutdown: CancellationToken) -> Response {
    let reader = caller.clone();
    let chunks = stream::unfold((exporter, reader), |(mut exporter, reader)| async move {
        // It waits for the disk.
        let made = tokio::task::spawn_blocking(move || {
            let chunk = exporter.next_chunk();
            (chunk, exporter)
        });
        let (chunk, exporter) = made.await.ok()?;
        if !reader.is_still_welcome() {
            return None;
        }
        Some((Ok::<_, Infallible>(Bytes::from(chunk?)), (exporter, reader)))
    });
    let chunks = chunks.take_until(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = caller.sent_away() => {}
        }
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(chunks),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::engine::execution::{self, Actor, Cause, Settlement};
    use crate::event::id::HookName;
    use crate::event::payload::Payload;
    use crate::event::{Event, Facts, Subject};
    use crate::hooks::Version;
    use crate::store::ListedEvent;

    fn store() -> StoreId {
        "k3vd".parse().expect("a store id")
    }

    fn event(seq: u64, subject: &str) -> Notice {
        Notice::Event(Arc::new(ListedEvent {
            event: Event {
                seq: Seq(seq),
                source: "opennebula".into(),
                key: "EVENT STATE VM/ACTIVE/RUNNING/12".to_owned(),
                subject: Some(Subject::new(subject)),
                received: Timestamp::from_millis(1000),
                facts: Facts::Undecodable {
                    reason: "for the test".to_owned(),
                },
                ambiguous: false,
                synthesised: false,
                payload: Payload::new(Bytes::new()),
            },
            payload_len: 0,
            hooks: Vec::new(),
        }))
    }

    fn execution(attempts: u32, state: State) -> Execution {
        Execution {
            key: ExecutionKey::new(Seq(1), HookName::trusted("h")),
            subject: None,
            source: "one".into(),
            accepted: Timestamp::from_millis(1000),
            why: String::new(),
            retry_of: None,
            progress: execution::Progress {
                state,
                turn: 1,
                version: Version([0; 32]),
                attempts,
                budget_used: 0,
                interruptions: 0,
            },
        }
    }

    /// Everything the feed says about these notices.
    async fn said(follow: Follow, notices: Vec<Notice>, room: usize) -> Vec<FeedLine> {
        let (sender, receiver) = broadcast::channel(room);
        for notice in notices {
            sender.send(notice).expect("a receiver");
        }
        drop(sender);
        news(
            Caller::local(Actor::Daemon),
            receiver,
            follow,
            store(),
            CancellationToken::new(),
        )
        .collect()
        .await
    }

    #[tokio::test]
    async fn events_of_the_listing_are_not_told_again() {
        let follow = Follow::Events {
            query: EventQuery {
                subject: Some("vm/12".to_owned()),
                ..EventQuery::default()
            },
            listed: Seq(5),
            veil: Veil::lifted(),
            role: Role::Operator,
        };
        let notices = vec![
            event(4, "vm/12"),
            event(5, "vm/12"),
            event(6, "vm/13"),
            event(7, "vm/12"),
        ];
        let told: Vec<_> = said(follow, notices, 16)
            .await
            .into_iter()
            .map(|line| match line {
                FeedLine::Event(event) => event.seq,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, [7]);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_missed() {
        let follow = Follow::Events {
            query: EventQuery::default(),
            listed: Seq(0),
            veil: Veil::lifted(),
            role: Role::Operator,
        };
        let lines = said(follow, (1..=10).map(|seq| event(seq, "vm/1")).collect(), 4).await;
        assert_eq!(lines[0], FeedLine::Skipped { lines: 6 });
        assert_eq!(lines.len(), 5);
    }

    #[tokio::test]
    async fn an_execution_is_told_from_where_the_listing_left_it() {
        let at = |millis| Timestamp::from_millis(millis);
        let life = [
            execution(
                0,
                State::Queued {
                    cause: Cause::Event,
                    since: at(10),
                },
            ),
            execution(
                1,
                State::Running {
                    attempt: 1,
                    cause: Cause::Event,
                    since: at(10),
                    ended_for: None,
                },
            ),
            execution(
                1,
                State::Retrying {
                    due: at(2010),
                    delay: Duration::from_millis(2000),
                },
            ),
            execution(
                2,
                State::Running {
                    attempt: 2,
                    cause: Cause::Retry,
                    since: at(2010),
                    ended_for: None,
                },
            ),
            execution(
                2,
                State::Settled {
                    settlement: Settlement::Failed,
                    at: at(2010),
                },
            ),
            execution(
                2,
                State::Queued {
                    cause: Cause::Recovery,
                    since: at(2010),
                },
            ),
            execution(
                3,
                State::Running {
                    attempt: 3,
                    cause: Cause::Recovery,
                    since: at(2010),
                    ended_for: None,
                },
            ),
        ];
        assert!(
            life.windows(2)
                .all(|pair| Progress::of(&pair[0]) < Progress::of(&pair[1]))
        );
        for seen in 0..life.len() {
            let follow = Follow::Executions {
                query: ExecutionQuery::default(),
                listed: HashMap::from([(life[seen].key.clone(), Progress::of(&life[seen]))]),
                veil: Veil::lifted(),
                role: Role::Operator,
            };
            let notices = life
                .iter()
                .cloned()
                .map(|one| Notice::Execution(Arc::new(one)))
                .collect();
            let lines = said(follow, notices, 16).await;
            let expected: Vec<_> = life[seen + 1..]
                .iter()
                .map(|one| FeedLine::Execution(Box::new(convert::execution(&store(), one))))
                .collect();
            assert_eq!(lines, expected, "listed as {}", life[seen].progress.state.name());
        }
    }
}
