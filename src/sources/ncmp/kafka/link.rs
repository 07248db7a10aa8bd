//! Whether the broker is reached, and what is said of it. librdkafka connects by itself and tells of trouble alone, so whether it is
//! over is found by asking.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::asking;
use super::client::Consumer;
use crate::engine::bookmark::Bookmark;
use crate::engine::intake::Intake;
use crate::engine::records::Records;
use crate::event::ncmp::mark::FirstSight;
use crate::repeats::Repeats;
use crate::sources::sentence;

/// While the broker is away it is asked again after the first time, and then twice as long each time up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A topic that is not there is looked for this often.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(5);

/// What became of a look at the broker.
pub(super) type Look = Result<BTreeMap<String, i32>, String>;

/// Asks the broker for the topics, and keeps what was seen of them first: so that what is made later is known to be new.
pub(super) async fn look(
    consumer: Arc<Consumer>,
    name: Arc<str>,
    topics: Vec<String>,
    intake: Intake,
    records: Records,
) -> Look {
    let found = asking::topics(&consumer, topics).await;
    let found = found.map_err(|error| sentence(&error))?;
    let kept = records.bookmarks(&name).await.map_err(|error| sentence(&error))?;
    let first = found.iter().filter(|(topic, _)| {
        kept.get(*topic)
            .is_none_or(|bytes| FirstSight::from_bytes(bytes).is_none())
    });
    let bookmarks: Result<Vec<Bookmark>, _> = first
        .map(|(topic, &partitions)| Bookmark::new(topic.as_str(), FirstSight { partitions }.to_bytes()))
        .collect();
    let bookmarks = bookmarks.map_err(|error| sentence(&error))?;
    if !bookmarks.is_empty() {
        intake.keep(bookmarks).await.map_err(|error| sentence(&error))?;
    }
    Ok(found)
}

/// What is known of the connection to the broker.
#[derive(Debug)]
pub(super) struct Link {
    name: Arc<str>,
    intake: Intake,
    /// None before it was up or down for the first time; then why it is down, if it is.
    state: Option<Result<(), String>>,
    /// What librdkafka last said of a single broker.
    last_reason: Option<String>,
    /// When to look next; none while nothing is to be found out.
    look_at: Option<Instant>,
    delay: Duration,
    missing: Vec<String>,
    /// The broker refuses what hem asks for, though it answers.
    is_denied: bool,
    /// No broker has answered since the last one was lost.
    is_away: bool,
    /// The broker answers, and has one of the topics at least.
    is_there: bool,
    /// The group has given hem partitions, and they are read: whatever is sent from now on is seen.
    has_share: bool,
}

impl Link {
    pub(super) fn new(name: Arc<str>, intake: Intake) -> Self {
        Self {
            name,
            intake,
            state: None,
            last_reason: None,
            look_at: Some(Instant::now()),
            delay: ASK_AGAIN.0,
            missing: Vec::new(),
            is_denied: false,
            is_away: false,
            is_there: false,
            has_share: false,
        }
    }

    /// The partitions that the group has given to hem are read, be they none.
    pub(super) fn reads(&mut self, log: &mut Repeats) {
        self.has_share = true;
        self.is_denied = false;
        self.up_if_all_is_well(log);
    }

    /// A record has come: the broker does not refuse hem any more, of which librdkafka tells nothing.
    pub(super) fn record_came(&mut self, log: &mut Repeats) {
        if std::mem::take(&mut self.is_denied) {
            self.up_if_all_is_well(log);
        }
    }

    fn up_if_all_is_well(&mut self, log: &mut Repeats) {
        if self.is_there && self.has_share && !self.is_denied {
            self.up(log);
        }
    }

    /// Whether it is time to look.
    pub(super) fn is_look_due(&self, now: Instant) -> bool {
        self.look_at.is_some_and(|at| at <= now)
    }

    /// A look is on its way.
    pub(super) const fn looks(&mut self) {
        self.look_at = None;
    }

    /// Whether the broker is not reached.
    pub(super) const fn is_down(&self) -> bool {
        matches!(self.state, Some(Err(_)))
    }

    /// Whether no broker has answered since the last one was lost. What comes back may have other topics, even of the same name.
    pub(super) const fn is_away(&self) -> bool {
        self.is_away
    }

    /// librdkafka tells of trouble. It goes on by itself.
    pub(super) fn trouble(&mut self, code: RDKafkaErrorCode, reason: String, log: &mut Repeats) {
        let reason = without_details(&reason).to_owned();
        match code {
            RDKafkaErrorCode::AllBrokersDown => {
                self.is_away = true;
                let why = self.last_reason.clone().unwrap_or(reason);
                self.down(why, log);
            }
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve => {
                self.last_reason = Some(reason)
            }
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::SSL => {
                self.last_reason = Some(reason.clone());
                self.down(reason, log);
            }
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                self.is_denied = true;
                self.down(reason, log);
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                self.look_at.get_or_insert_with(Instant::now);
            }
            _ => {
                if let Some(repeats) = log.allows(&reason, Instant::now()) {
                    tracing::warn!(
                        source = &*self.name,
                        why = reason,
                        repeats,
                        "the broker is read with difficulty"
                    );
                }
            }
        }
    }

    /// A look has come back; whether the broker was reached.
    pub(super) fn looked(&mut self, look: &Look, log: &mut Repeats) -> bool {
        match look {
            Ok(found) => {
                self.is_away = false;
                self.delay = ASK_AGAIN.0;
                let missing: Vec<String> = found
                    .iter()
                    .filter(|(_, partitions)| **partitions == 0)
                    .map(|(topic, _)| topic.clone())
                    .collect();
                self.look_at = (!missing.is_empty()).then(|| Instant::now() + LOOK_FOR_TOPICS);
                if missing.len() == found.len() {
                    let topics = missing.join("`, `");
                    self.down(format!("there is no topic `{topics}` yet; it is waited for"), log);
                    // A broker that has none is reached all the same.
                    self.look_at = Some(Instant::now() + LOOK_FOR_TOPICS);
                } else {
                    self.is_there = true;
                    self.up_if_all_is_well(log);
                    if !missing.is_empty() && missing != self.missing {
                        tracing::warn!(
                            source = &*self.name,
                            topics = missing.join(","),
                            "topics do not exist yet; they are waited for"
                        );
                    }
                }
                self.missing = missing;
                true
            }
            Err(why) => {
                let why = self.last_reason.clone().unwrap_or_else(|| why.clone());
                self.down(why, log);
                false
            }
        }
    }

    fn up(&mut self, log: &mut Repeats) {
        self.last_reason = None;
        if matches!(self.state, Some(Ok(()))) {
            return;
        }
        self.state = Some(Ok(()));
        self.intake.reads_on();
        if let Some(repeats) = log.allows("up", Instant::now()) {
            tracing::info!(source = &*self.name, repeats, "the broker is read");
        }
    }

    fn down(&mut self, why: String, log: &mut Repeats) {
        self.is_there = false;
        if self.look_at.is_none_or(|at| at > Instant::now() + self.delay) {
            self.look_at = Some(Instant::now() + self.delay);
            self.delay = (self.delay * 2).min(ASK_AGAIN.1);
        }
        if matches!(&self.state, Some(Err(known)) if *known == why) {
            return;
        }
        self.intake.disconnected(&why);
        if let Some(repeats) = log.allows(&why, Instant::now()) {
            tracing::warn!(source = &*self.name, why, repeats, "the broker is not read");
        }
        self.state = Some(Err(why));
    }
}

/// A reason without the name that librdkafka gives to the broker, and without how long it took: the same trouble is the same sentence.
fn without_details(reason: &str) -> &str {
    let reason = match reason.split_once(": ") {
        Some((broker, rest)) if broker.contains('/') && !broker.contains(' ') => rest,
        _ => reason,
    };
    match reason.rfind(" (after ") {
        Some(end) => &reason[..end],
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::intake::{IntakeQueue, Limits};

    #[test]
    fn a_topic_that_was_denied_is_read_again_once_a_record_of_it_comes() {
        let queue = IntakeQueue::new(Limits {
            events: 1,
            bytes: 1_024,
        });
        let mut log = Repeats::default();
        let mut link = Link::new("ncmp1".into(), queue.source("ncmp1"));
        let found: Look = Ok(BTreeMap::from([("t".to_owned(), 1)]));
        link.looked(&found, &mut log);
        link.reads(&mut log);
        assert!(!link.is_down());
        let denied = RDKafkaErrorCode::TopicAuthorizationFailed;
        link.trouble(denied, "Topic authorization failed".to_owned(), &mut log);
        link.looked(&found, &mut log);
        assert!(link.is_down(), "whoever may see a topic may not read it yet");
        link.record_came(&mut log);
        assert!(!link.is_down());
    }

    #[test]
    fn the_same_trouble_is_the_same_sentence() {
        let reason = "127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        let short = "Connect to ipv4#127.0.0.1:9092 failed: Connection refused";
        assert_eq!(without_details(reason), short);
        assert_eq!(without_details(short), short);
        assert_eq!(without_details("1/1 brokers are down"), "1/1 brokers are down");
    }
}
