//! Finds out where partitions are read from, and keeps it before the first record is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Spot;
use super::asking::{self, Standing};
use super::client::Consumer;
use super::placing::{Begin, Known, Missed, begin};
use super::reader::ReaderSite;
use crate::engine::bookmark::{Bookmark, BookmarkError};
use crate::engine::intake::NotAccepted;
use crate::engine::seek::Sought;
use crate::event::Gap;
use crate::event::ncmp::mark::{FirstSight, Mark, Target, partition_name};
use crate::event::time::Timestamp;
use crate::sources::sentence;

/// What cannot be found out is asked for again after the first time, and then twice as long each time up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Where a partition is read from.
#[derive(Debug)]
pub(super) struct Placed {
    pub spot: Spot,
    pub begin: Begin,
    /// How far the group has read it, as the broker has it.
    pub committed: Option<i64>,
}

/// What is to be read.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The partitions.
    pub spots: Vec<Spot>,
    /// Of these, those of which the last record that was accepted is not the one that is there.
    pub others: BTreeSet<Spot>,
    /// What an operator wants to be read from elsewhere.
    pub seek: Option<Seeking>,
}

/// What an operator wants to be read from elsewhere.
#[derive(Debug)]
pub(super) struct Seeking {
    pub sought: Vec<Sought>,
    pub target: Target,
    pub reply: oneshot::Sender<Result<Vec<Sought>, String>>,
}

/// Why it is not known yet.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("how far the partitions were read cannot be found in the store")]
    Store(#[source] crate::engine::records::ReadError),
    #[error("the broker does not say where the partitions stand")]
    Broker(#[from] rdkafka::error::KafkaError),
    #[error("where the partitions are read from cannot be kept")]
    NotKept(#[from] NotAccepted),
    #[error("where the partitions are read from cannot be kept")]
    Bookmark(#[from] BookmarkError),
}

/// Finds out where partitions are read from. None where it was given up.
pub(super) async fn place(
    site: ReaderSite,
    consumer: Arc<Consumer>,
    wanted: Wanted,
    until: CancellationToken,
) -> Option<Vec<Placed>> {
    let Wanted {
        spots,
        mut others,
        seek,
    } = wanted;
    if let Some(seek) = seek {
        let Seeking {
            sought,
            target,
            reply,
        } = seek;
        let kept = keep(&site, &sought, target).await;
        // Whoever asked may have gone away.
        let _ = reply.send(match kept {
            Ok(()) => Ok(sought),
            Err(error) => Err(sentence(&error)),
        });
    }
    let mut delay = ASK_AGAIN.0;
    loop {
        match attempt(&site, &consumer, &spots, &mut others, &until).await {
            Ok(placed) => return placed,
            Err(error) => {
                tracing::debug!(
                    source = &*site.name,
                    why = sentence(&error),
                    "partitions wait to be read"
                );
                until.run_until_cancelled(sleep(delay)).await?;
                delay = (delay * 2).min(ASK_AGAIN.1);
            }
        }
    }
}

/// Keeps what an operator wants, before anybody asks the broker where that is.
async fn keep(site: &ReaderSite, sought: &[Sought], target: Target) -> Result<(), NotYet> {
    let mark = Mark::Seek(target).to_bytes();
    let bookmarks: Result<Vec<Bookmark>, _> = sought
        .iter()
        .map(|sought| Bookmark::new(partition_name(&sought.topic, sought.partition), mark.clone()))
        .collect();
    site.intake.keep(bookmarks?).await?;
    Ok(())
}

/// None where it was given up.
async fn attempt(
    site: &ReaderSite,
    consumer: &Arc<Consumer>,
    spots: &[Spot],
    others: &mut BTreeSet<Spot>,
    until: &CancellationToken,
) -> Result<Option<Vec<Placed>>, NotYet> {
    let kept = site.records.bookmarks(&site.name).await.map_err(NotYet::Store)?;
    let mark = |spot: &Spot| {
        let bytes = kept.get(&partition_name(&spot.0, spot.1))?;
        Mark::from_bytes(bytes)
    };
    let time = |spot: &Spot| match mark(spot) {
        Some(Mark::Seek(Target::Time(millis))) => Some((spot.clone(), millis)),
        _ => None,
    };
    let times: BTreeMap<Spot, i64> = spots.iter().filter_map(time).collect();
    // A broker that is silent keeps nobody waiting who has to give the partitions up. What follows is hem's own matter, and is not left halfway.
    let asked = asking::standings(consumer, spots.to_vec(), times, until.clone());
    let Some(standings) = until.run_until_cancelled(asked).await else {
        return Ok(None);
    };
    let standings = standings?;
    let mut all = Vec::new();
    for (spot, standing) in standings {
        let Standing {
            committed,
            oldest,
            end,
            at_time,
        } = standing;
        let known = Known {
            mark: mark(&spot),
            committed,
            oldest,
            end,
            at_time,
            is_young: is_young(&kept, &spot),
            is_another: others.contains(&spot),
        };
        let begin = begin(&known, site.rules.start);
        all.push((spot, known, begin));
    }
    let mut placed = Vec::new();
    let mut to_keep = Vec::new();
    for (spot, known, begin) in all {
        let (committed, oldest, end) = (known.committed, known.oldest, known.end);
        tracing::info!(
            source = &*site.name,
            topic = &*spot.0,
            partition = spot.1,
            offset = begin.read.next,
            committed,
            oldest,
            end,
            "a partition is read"
        );
        if let Some(missed) = begin.missed {
            tell(site, &spot, missed, &known, &begin).await?;
            // Told and kept: another attempt, over another partition, goes on from there.
            others.remove(&spot);
        } else if begin.is_new {
            to_keep.push(bookmark(&spot, &begin)?);
        }
        placed.push(Placed {
            spot,
            begin,
            committed,
        });
    }
    if !to_keep.is_empty() {
        site.intake.keep(to_keep).await?;
    }
    Ok(Some(placed))
}

/// Whether a partition was made after its topic was first seen.
fn is_young(kept: &BTreeMap<String, Bytes>, (topic, partition): &Spot) -> bool {
    let sight = kept.get(&**topic).and_then(|bytes| FirstSight::from_bytes(bytes));
    sight.is_some_and(|sight| *partition >= sight.partitions)
}

/// Says what was missed; where the partition is read from is kept with it.
async fn tell(
    site: &ReaderSite,
    spot: &Spot,
    missed: Missed,
    known: &Known,
    begin: &Begin,
) -> Result<(), NotYet> {
    let (topic, partition) = spot;
    let why = match missed {
        Missed::Removed { from, to } => format!(
            "the broker has removed the records {from} to {} of {topic}/{partition} before they were read",
            to - 1
        ),
        Missed::Anew { read, end } if read > end => format!(
            "{topic}/{partition} was read up to {read}, and the broker has records up to {end} alone: it lost them, or the topic was made anew"
        ),
        Missed::Anew { read, .. } => format!(
            "{topic}/{partition} was read up to {read}, and the broker has another record there: it lost them, or the topic was made anew"
        ),
    };
    tracing::warn!(
        source = &*site.name,
        why,
        offset = begin.read.next,
        "records were missed"
    );
    let now = Timestamp::now();
    let from = match &known.mark {
        Some(Mark::Read(read)) => read.at.map_or(now, Timestamp::from_millis).min(now),
        _ => now,
    };
    let gap = Gap {
        from,
        to: now,
        why,
        lost: missed.count(),
        keys: Vec::new(),
        present: Vec::new(),
    };
    let event = gap.into_event(Arc::clone(&site.name));
    let pending = site.intake.hand_over(event, vec![bookmark(spot, begin)?])?;
    pending.accepted().await?;
    Ok(())
}

fn bookmark((topic, partition): &Spot, begin: &Begin) -> Result<Bookmark, BookmarkError> {
    Bookmark::new(
        partition_name(topic, *partition),
        Mark::Read(begin.read.clone()).to_bytes(),
    )
}
