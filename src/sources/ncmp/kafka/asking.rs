//! What the broker is asked besides its records. All of it waits for answers, on threads that may.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio_util::sync::CancellationToken;

use super::Spot;
use super::client::Consumer;
use crate::sources::apart;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the broker says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// How far the group has read it.
    pub committed: Option<i64>,
    /// The offset of the oldest record.
    pub oldest: i64,
    /// The offset that the next record will get.
    pub end: i64,
    /// Where the time that was asked for begins.
    pub at_time: Option<i64>,
}

/// How many partitions each of these topics has; 0 where there is no such topic.
///
/// # Errors
/// The broker does not say.
pub(super) async fn topics(
    consumer: &Arc<Consumer>,
    topics: Vec<String>,
) -> Result<BTreeMap<String, i32>, KafkaError> {
    ask(consumer, move |consumer| {
        let mut found = BTreeMap::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE)?;
            let known = metadata.topics().iter().find(|known| known.name() == topic);
            let count = match known.map(|known| (known.error(), known.partitions().len())) {
                None
                | Some((
                    Some(
                        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                        | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                    ),
                    _,
                )) => 0,
                Some((Some(error), _)) => return Err(KafkaError::MetadataFetch(error.into())),
                Some((None, count)) => i32::try_from(count).unwrap_or(i32::MAX),
            };
            found.insert(topic, count);
        }
        Ok(found)
    })
    .await
}

/// Where the partitions stand. `times` has the times, in milliseconds since 1970, that are looked for in some of them.
///
/// The broker is asked about one partition after the other. Whoever does not want to know any more cancels `until`: no more is asked then,
/// though the question that is on its way has its time.
///
/// # Errors
/// The broker does not say, or it was cancelled.
pub(super) async fn standings(
    consumer: &Arc<Consumer>,
    spots: Vec<Spot>,
    times: BTreeMap<Spot, i64>,
    until: CancellationToken,
) -> Result<BTreeMap<Spot, Standing>, KafkaError> {
    ask(consumer, move |consumer| {
        let committed = consumer.committed_offsets(list(spots.iter().cloned()), PATIENCE)?;
        let committed = offsets(&committed)?;
        let mut wanted = TopicPartitionList::new();
        for ((topic, partition), millis) in &times {
            wanted.add_partition_offset(topic, *partition, Offset::Offset(*millis))?;
        }
        let at_times = if times.is_empty() {
            BTreeMap::new()
        } else {
            offsets(&consumer.offsets_for_times(wanted, PATIENCE)?)?
        };
        let mut standings = BTreeMap::new();
        for spot in spots {
            if until.is_cancelled() {
                return Err(KafkaError::Canceled);
            }
            let (oldest, end) = consumer.fetch_watermarks(&spot.0, spot.1, PATIENCE)?;
            let standing = Standing {
                committed: committed.get(&spot).copied(),
                oldest,
                end,
                at_time: at_times.get(&spot).copied(),
            };
            standings.insert(spot, standing);
        }
        Ok(standings)
    })
    .await
}

/// Tells the group how far partitions were read: the offset behind the last record of each.
///
/// # Errors
/// The broker does not take it.
pub(super) async fn commit(consumer: Arc<Consumer>, offsets: Vec<(Spot, i64)>) -> Result<(), KafkaError> {
    ask(&consumer, move |consumer| {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        // Of one that is not waited for nobody would be told what became of it.
        consumer.commit(&list, CommitMode::Sync)
    })
    .await
}

async fn ask<T: Send + 'static>(
    consumer: &Arc<Consumer>,
    question: impl FnOnce(&Consumer) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let consumer = Arc::clone(consumer);
    apart(move || question(&consumer))
        .await
        .unwrap_or(Err(KafkaError::Canceled))
}

/// A list of partitions.
pub(super) fn list(spots: impl Iterator<Item = Spot>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in spots {
        list.add_partition(&topic, partition);
    }
    list
}

/// The offsets that are in a list.
fn offsets(list: &TopicPartitionList) -> Result<BTreeMap<Spot, i64>, KafkaError> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert((element.topic().into(), element.partition()), offset);
        }
    }
    Ok(offsets)
}
