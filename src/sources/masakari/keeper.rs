//! Keeps the register as the records are: what was accepted before, what becomes of it, what is not kept any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::notifications::Shelf;
use super::register::{REGISTERED, Register};
use crate::engine::records::{Change, Changes, ReadError, Records};
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
    // A runtime that ends takes its threads along, and whoever waits here.
    tokio::task::spawn_blocking(read).await.unwrap_or(Ok(()))
}

/// Follows what becomes of the notifications, until `until`. `changes` was asked for before anything was taken up.
pub(super) async fn follow(
    register: Arc<Register>,
    records: Records,
    mut changes: Changes,
    until: CancellationToken,
) {
    let mut due: BTreeSet<Seq> = register.numbers(true).into_iter().collect();
    let mut sweep = Instant::now() + SWEEP_EVERY;
    loop {
        // Some are gathered before they are looked at: a notification may cause many executions.
        let pause = Instant::now() + PAUSE;
        let gathered = gather(&register, &mut changes, &mut due, pause);
        match until.run_until_cancelled(gathered).await {
            Some(Gathered::Enough) => {}
            Some(Gathered::Ended) | None => return,
        }
        let chunk: Vec<Seq> = due.iter().take(CHUNK).copied().collect();
        due.retain(|seq| !chunk.contains(seq));
        let looked = look(&register, &records, chunk).await;
        let swept = if Instant::now() >= sweep {
            sweep = Instant::now() + SWEEP_EVERY;
            forget_pruned(&register, &records).await
        } else {
            Ok(())
        };
        if let Err(error) = looked.and(swept) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "where notifications stand cannot be read"
            );
        }
    }
}

enum Gathered {
    /// It is time to look.
    Enough,
    /// The engine has ended.
    Ended,
}

async fn gather(
    register: &Register,
    changes: &mut Changes,
    due: &mut BTreeSet<Seq>,
    until: Instant,
) -> Gathered {
    loop {
        match timeout_at(until, changes.next()).await {
            Err(_) => return Gathered::Enough,
            Ok(None) => {
                // Nothing more changes; what is known stays true.
                sleep_until(until).await;
                return Gathered::Ended;
            }
            Ok(Some(Change::Execution { event, is_settled })) => {
                if register.touch(event) && is_settled {
                    due.insert(event);
                }
            }
            Ok(Some(Change::Missed)) => {
                for seq in register.numbers(false) {
                    register.touch(seq);
                    due.insert(seq);
                }
            }
        }
    }
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
    tokio::task::spawn_blocking(read).await.unwrap_or(Ok(()))
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
    tokio::task::spawn_blocking(read).await.unwrap_or(Ok(()))
}
