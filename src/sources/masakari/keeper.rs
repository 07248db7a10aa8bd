//! Keeps the register as the records are: what was accepted before, what becomes of it, what is not kept any more.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::notifications::Shelf;
use super::register::{REGISTERED, Register};
use crate::engine::records::{Change, Changes, ReadError, Records, apart};
use crate::event::id::Seq;
use crate::event::time::Timestamp;

/// So many are looked at before others may have the disk.
const CHUNK: usize = 500;

/// Where notifications stand is looked at this long after it changed.
const PAUSE: Duration = Duration::from_millis(200);

/// How often is looked what is not on record any more.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// Takes up everything that is on record of a source.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn recall(
    register: &Arc<Register>,
    records: &Records,
    source: &str,
) -> Result<(), ReadError> {
    let (register, records, source) = (Arc::clone(register), records.clone(), source.to_owned());
    let read = move || records.visit_newest(&source, REGISTERED, |event| register.take(&event));
    apart(read).await.map(Option::unwrap_or_default)
}

/// What is to be looked at.
#[derive(Debug, Default)]
struct Due {
    numbers: BTreeSet<Seq>,
    /// Something happened to nobody knows which.
    missed: bool,
}

impl Due {
    fn chunk(&mut self) -> Vec<Seq> {
        std::iter::from_fn(|| self.numbers.pop_first())
            .take(CHUNK)
            .collect()
    }
}

/// Follows what becomes of the notifications, until `until`. `changes` was asked for before anything was taken up.
pub(super) async fn follow(
    register: Arc<Register>,
    records: Records,
    mut changes: Changes,
    until: CancellationToken,
) {
    let mut due = Due {
        numbers: register.numbers(true).into_iter().collect(),
        missed: false,
    };
    let mut sweep = Instant::now() + SWEEP_EVERY;
    loop {
        // Some are gathered before they are looked at: a notification may cause many executions.
        let gathered = gather(&register, &mut changes, &mut due, sleep(PAUSE));
        if until.run_until_cancelled(gathered).await.flatten().is_none() {
            return;
        }
        let (missed, chunk) = (std::mem::take(&mut due.missed), due.chunk());
        let sweeps = Instant::now() >= sweep;
        if sweeps {
            sweep = Instant::now() + SWEEP_EVERY;
        }
        let work = async {
            let touched = if missed {
                touch_all(&register).await
            } else {
                Ok(Vec::new())
            };
            let looked = look(&register, &records, chunk).await;
            let swept = if sweeps {
                forget_pruned(&register, &records).await
            } else {
                Ok(())
            };
            (touched, looked.and(swept))
        };
        // Changes are told to whoever keeps up alone, and the disk may be slow.
        let Some((touched, looked)) = gather(&register, &mut changes, &mut due, work).await else {
            return;
        };
        let touched = touched.map(|touched| due.numbers.extend(touched));
        if let Err(error) = touched.and(looked) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "where notifications stand cannot be read"
            );
        }
    }
}

/// Takes up what changes until something is done; none when the engine has ended.
async fn gather<T>(
    register: &Register,
    changes: &mut Changes,
    due: &mut Due,
    done: impl Future<Output = T>,
) -> Option<T> {
    let mut done = pin!(done);
    loop {
        tokio::select! {
            biased;
            done = &mut done => return Some(done),
            change = changes.next() => match change {
                Some(Change::Execution { event, is_settled }) => {
                    if register.touch(event) && is_settled {
                        due.numbers.insert(event);
                    }
                }
                Some(Change::Missed) => due.missed = true,
                None => {
                    // Nothing more changes; what is known stays true.
                    done.await;
                    return None;
                }
            },
        }
    }
}

/// Something may have happened to any of them, also to those that were at their end: an operator repeats what failed.
async fn touch_all(register: &Arc<Register>) -> Result<Vec<Seq>, ReadError> {
    let register = Arc::clone(register);
    let touch = move || {
        let mut numbers = register.numbers(false);
        numbers.retain(|seq| register.touch(*seq));
        Ok(numbers)
    };
    apart(touch).await.map(Option::unwrap_or_default)
}

async fn look(register: &Arc<Register>, records: &Records, chunk: Vec<Seq>) -> Result<(), ReadError> {
    if chunk.is_empty() {
        return Ok(());
    }
    let (register, records) = (Arc::clone(register), records.clone());
    let read = move || {
        let shelf = Shelf {
            register: &register,
            records: &records,
        };
        for row in chunk.into_iter().filter_map(|seq| register.row(seq)) {
            shelf.standing(&row)?;
        }
        Ok(())
    };
    apart(read).await.map(Option::unwrap_or_default)
}

async fn forget_pruned(register: &Arc<Register>, records: &Records) -> Result<(), ReadError> {
    let (register, records) = (Arc::clone(register), records.clone());
    let read = move || {
        for seq in register.numbers(false) {
            if !records.has(seq)? {
                register.forget(seq, Timestamp::now());
            }
        }
        Ok(())
    };
    apart(read).await.map(Option::unwrap_or_default)
}
