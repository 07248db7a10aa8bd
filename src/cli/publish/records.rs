//! Records of NCMP's topics, produced as NCMP does.

use super::super::exit::{Exit, Failure};
use super::{Arguments, Saved};
use crate::config::NcmpSource;
use crate::event::ncmp::SavedRecord;
use crate::event::redaction::Redaction;

/// Where the brokers are.
#[cfg_attr(
    not(feature = "kafka"),
    expect(dead_code, reason = "without Kafka nobody asks where they are")
)]
pub(super) enum Brokers<'a> {
    /// `HOST:PORT[,HOST:PORT]`.
    Named(&'a str),
    /// Those of a source.
    Of(&'a NcmpSource, Redaction),
}

#[cfg(feature = "kafka")]
pub(super) async fn produce(
    arguments: &Arguments,
    brokers: &Brokers<'_>,
    saved: &[Saved<SavedRecord>],
) -> Result<u64, Failure> {
    use crate::sources::ncmp::kafka::producer::Producer;

    let failed = |error| Failure::of(Exit::Failed, &error);
    let mut producer = match brokers {
        Brokers::Named(brokers) => Producer::new(brokers),
        Brokers::Of(rules, redaction) => Producer::of_source(rules, redaction),
    }
    .map_err(failed)?;
    let total = super::each(arguments, saved, async |Saved { event, .. }| {
        let topic = arguments.topic.as_deref().unwrap_or(&event.topic);
        producer.produce(topic, event).await.map_err(failed)
    })
    .await?;
    producer.finish().await.map_err(failed)?;
    Ok(total)
}

#[cfg(not(feature = "kafka"))]
pub(super) async fn produce(
    _: &Arguments,
    _: &Brokers<'_>,
    _: &[Saved<SavedRecord>],
) -> Result<u64, Failure> {
    Err(Failure::new(Exit::Failed, "this hem was built without Kafka")
        .with_hint("build it with `--features kafka`, or hand the records to a daemon with `hem emit`"))
}
