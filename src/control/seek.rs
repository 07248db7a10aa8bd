//! Orders to read from elsewhere, over the interface and in a store that no daemon has.

use std::collections::BTreeMap;

use super::api::{SeekOrder, SeekReply, SeekTarget, SoughtView};
use crate::engine::execution::Actor;
use crate::engine::handle::{Aim, Handle, OrderError, Sought};
use crate::event::ncmp::mark::{Mark, Target, partition_name, partition_of};
use crate::store::Store;
use crate::store::offline::{self, OfflineError};

/// Why a store is not written to.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    /// Nothing is known of the topic, and no partition is named.
    #[error("the store knows no partition of `{0}`; name it with `--partition`")]
    Unknown(String),
    /// The store cannot be read or written.
    #[error("the store cannot be changed")]
    Store(#[from] OfflineError),
}

/// Tells a source that runs.
pub(super) async fn order(
    handle: &Handle,
    source: &str,
    order: SeekOrder,
    actor: Actor,
) -> Result<SeekReply, OrderError> {
    let sought = handle.seek(source, aim(&order), order.dry_run, actor).await?;
    Ok(SeekReply {
        partitions: sought.into_iter().map(view).collect(),
    })
}

/// Writes into a store that no daemon has from where a source is to read.
///
/// # Errors
/// The partitions are not known, or the store cannot be changed.
pub async fn offline(
    store: &Store,
    source: &str,
    order: &SeekOrder,
    uid: u32,
) -> Result<SeekReply, SeekError> {
    let kept = store.bookmarks(source).map_err(OfflineError::Read)?;
    let read_up_to = |bytes: &[u8]| match Mark::from_bytes(bytes) {
        Some(Mark::Read(read)) => Some(read.next),
        _ => None,
    };
    let mut spots: BTreeMap<i32, Option<i64>> = BTreeMap::new();
    for (name, bytes) in &kept {
        if let Some((topic, partition)) = partition_of(name)
            && topic == order.topic
            && order.partition.is_none_or(|asked| asked == partition)
        {
            spots.insert(partition, read_up_to(bytes));
        }
    }
    if let Some(partition) = order.partition {
        spots.entry(partition).or_insert(None);
    }
    if spots.is_empty() {
        return Err(SeekError::Unknown(order.topic.clone()));
    }
    if !order.dry_run {
        let aim = aim(order);
        let mark = Mark::Seek(aim.target).to_bytes();
        let bookmarks = spots
            .keys()
            .map(|partition| (partition_name(&order.topic, *partition), mark.clone()))
            .collect();
        let what = aim.in_audit(source);
        offline::keep(store, source, bookmarks, Actor::User { uid }, "seek", what).await?;
    }
    let sought = |(partition, read_up_to)| SoughtView {
        topic: order.topic.clone(),
        partition,
        read_up_to,
    };
    Ok(SeekReply {
        partitions: spots.into_iter().map(sought).collect(),
    })
}

fn aim(order: &SeekOrder) -> Aim {
    Aim {
        topic: order.topic.clone(),
        partition: order.partition,
        target: match order.to {
            SeekTarget::Earliest => Target::Earliest,
            SeekTarget::Latest => Target::Latest,
            SeekTarget::Offset(offset) => Target::Offset(offset),
            SeekTarget::Time(time) => Target::Time(time.0.as_millis()),
        },
    }
}

fn view(sought: Sought) -> SoughtView {
    SoughtView {
        topic: sought.topic,
        partition: sought.partition,
        read_up_to: sought.read_up_to,
    }
}
