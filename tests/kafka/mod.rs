//! A real broker with topics of NCMP, reached over a link that can be cut, and what is sent to it.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on says where"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use hem::event::{Event, Facts};
use hem::store::{EventQuery, Store};

use crate::daemon::{House, LIMIT};
use crate::http_stand_in::StandIn;
use crate::service::{self, Service};

/// The topic of events of a CM handle's life cycle.
pub(crate) const TOPIC: &str = "ncmp-events";

/// Every member of a group says so often that it lives; one that was killed is gone after this. The broker answers the first member
/// of a group after half of it.
pub(crate) const SESSION_MS: u32 = 2_000;

/// The broker. It ends with this.
pub(crate) struct Broker {
    steering: StandIn,
    address: String,
}

impl Broker {
    /// Starts one with nothing in it; the options are those of `tests/peers/kafka.py`.
    pub(crate) fn start(options: &[&str]) -> Self {
        let steering = StandIn::start("kafka.py", options);
        let address = steering.said("broker").to_owned();
        Self { steering, address }
    }

    /// One with the topic `ncmp-events`.
    pub(crate) fn with_topic(partitions: u32) -> Self {
        let mut broker = Self::start(&[]);
        broker.topic(TOPIC, partitions);
        broker
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Gives an order of `tests/peers/kafka.py` that must be obeyed.
    #[track_caller]
    pub(crate) fn tell(&mut self, order: Value) -> Value {
        self.steering.tell(order)
    }

    #[track_caller]
    pub(crate) fn topic(&mut self, name: &str, partitions: u32) {
        self.tell(json!({ "do": "topic", "name": name, "partitions": partitions }));
    }

    /// Has the records sent, in this order; gives their offsets.
    #[track_caller]
    pub(crate) fn produce(&mut self, records: &[Sent]) -> Vec<i64> {
        let records: Vec<Value> = records.iter().map(Sent::order).collect();
        let answer = self.tell(json!({ "do": "produce", "records": records }));
        serde_json::from_value(answer["offsets"].clone()).expect("offsets")
    }

    /// The offset behind the last record of each partition.
    #[track_caller]
    pub(crate) fn ends(&mut self, topic: &str) -> BTreeMap<i32, i64> {
        let answer = self.tell(json!({ "do": "ends", "topic": topic }));
        by_partition(&answer["ends"])
    }

    /// What the group has committed; partitions of which it has committed nothing are left out.
    #[track_caller]
    pub(crate) fn committed(&mut self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let answer = self.tell(json!({ "do": "committed", "group": group, "topic": topic }));
        by_partition(&answer["committed"])
    }

    /// Sets what the group has committed, while it has no members.
    #[track_caller]
    pub(crate) fn commit(&mut self, group: &str, topic: &str, offsets: &[(i32, i64)]) {
        let offsets: BTreeMap<String, i64> = offsets
            .iter()
            .map(|(partition, offset)| (partition.to_string(), *offset))
            .collect();
        self.tell(json!({ "do": "commit", "group": group, "topic": topic, "offsets": offsets }));
    }

    /// Kills it, and starts one with nothing in it.
    #[track_caller]
    pub(crate) fn start_anew(&mut self) {
        self.tell(json!({ "do": "stop" }));
        self.tell(json!({ "do": "start" }));
    }

    /// Waits until the group has committed everything that the topic holds.
    pub(crate) async fn until_committed(&mut self, group: &str, topic: &str) {
        let ends = self.ends(topic).into_iter().filter(|(_, end)| *end > 0);
        let ends: Vec<(i32, i64)> = ends.collect();
        self.until_committed_are(group, topic, &ends).await;
    }

    /// Waits until the group has committed these offsets of these partitions.
    pub(crate) async fn until_committed_are(&mut self, group: &str, topic: &str, offsets: &[(i32, i64)]) {
        let began = Instant::now();
        loop {
            let committed = self.committed(group, topic);
            if offsets
                .iter()
                .all(|(partition, offset)| committed.get(partition) == Some(offset))
            {
                return;
            }
            assert!(
                began.elapsed() < LIMIT,
                "the group has committed {committed:?}, not {offsets:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn by_partition(numbers: &Value) -> BTreeMap<i32, i64> {
    let numbers = numbers.as_object().expect("a number of each partition");
    numbers
        .iter()
        .filter_map(|(partition, offset)| Some((partition.parse().expect("a number"), offset.as_i64()?)))
        .collect()
}

/// A record that is sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    /// None is Kafka's null.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Sent {
    /// A record of `ncmp-events` whose key is the CM handle.
    pub(crate) fn new(partition: i32, key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: TOPIC.to_owned(),
            partition,
            key: Some(key.to_owned()),
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    pub(crate) fn to(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    fn order(&self) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name, value.as_ref().map(|value| STANDARD.encode(value))))
            .collect();
        let mut order = json!({
            "topic": self.topic, "partition": self.partition, "key": self.key, "headers": headers, "value": null,
        });
        match self.value.as_deref().map(std::str::from_utf8) {
            Some(Ok(text)) => order["value"] = text.into(),
            Some(Err(_)) => {
                order["value_base64"] = STANDARD.encode(self.value.as_deref().unwrap_or_default()).into()
            }
            None => {}
        }
        order
    }
}

/// An event of a CM handle's life cycle in the first version of its schema, with a number of ours as its id.
pub(crate) fn life_cycle(
    event: &str,
    handle: &str,
    number: u64,
    old: Option<&str>,
    new: Option<&str>,
) -> String {
    let mut told = json!({ "cmHandleId": handle, "alternateId": format!("/network/{handle}") });
    if let Some(old) = old {
        told["oldValues"] = json!({ "cmHandleState": old });
    }
    if let Some(new) = new {
        told["newValues"] = json!({ "cmHandleState": new });
    }
    json!({
        "eventId": number.to_string(), "eventCorrelationId": handle, "eventTime": "2026-11-21T20:30:40.000+0000",
        "eventSource": "org.onap.ncmp", "eventType": format!("org.onap.ncmp.cmhandle-lcm-event.{event}"),
        "eventSchema": "org.onap.ncmp:cmhandle-lcm-event", "eventSchemaVersion": "1.0", "event": told,
    })
    .to_string()
}

/// A record that tells of an update of a CM handle: `ADVISED` to `READY`.
pub(crate) fn update(partition: i32, handle: &str, number: u64) -> Sent {
    let value = life_cycle("update", handle, number, Some("ADVISED"), Some("READY"));
    Sent::new(partition, handle, value)
}

/// Updates with these numbers of the one CM handle of a partition.
pub(crate) fn updates(partition: i32, numbers: std::ops::Range<u64>) -> Vec<Sent> {
    numbers
        .map(|number| update(partition, &format!("h{partition}"), number))
        .collect()
}

/// A string as Java serialises it.
pub(crate) fn java(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short string");
    [
        b"\xac\xed\0\x05\x74".as_slice(),
        &length.to_be_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

/// The lines of a source that reads this broker, in the group `hem`, and `more` settings: `, start: earliest`.
pub(crate) fn source(broker: &str, more: &str) -> String {
    let librdkafka = format!(
        "{{ session.timeout.ms: \"{SESSION_MS}\", heartbeat.interval.ms: \"{}\", topic.metadata.refresh.interval.ms: \"1000\" }}",
        SESSION_MS / 6
    );
    let group = if more.contains("group_id:") {
        ""
    } else {
        ", group_id: hem"
    };
    format!("{{ type: ncmp, brokers: [ \"{broker}\" ], librdkafka: {librdkafka}{group}{more} }}")
}

/// Writes `hem.yaml` with the source `ncmp1`.
pub(crate) fn configure(house: &House, broker: &str, more: &str) {
    write_sources(house, &format!("  ncmp1: {}\n", source(broker, more)));
}

/// Writes `hem.yaml` with these sources.
pub(crate) fn write_sources(house: &House, sources: &str) {
    service::configure(house, sources);
    let file = house.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("sources: {}\n", "sources:\n")).expect("a file");
}

/// Waits until the source reads, from wherever it is.
pub(crate) async fn reads(service: &mut Service) {
    service
        .until("it reads", |status| {
            status.sources.get("ncmp1").is_some_and(|source| source.connected)
        })
        .await;
}

/// Waits until so many events were accepted by this store, whether or not they could be read.
pub(crate) async fn until_accepted(service: &mut Service, count: u64) {
    service
        .until(&format!("{count} events were accepted"), |status| {
            // A source of which nothing came yet has no sums.
            status.events.get("ncmp1").map_or(0, |sums| sums.accepted) >= count
        })
        .await;
}

/// What the store of a daemon that has stopped holds of this source, in the order of acceptance.
pub(crate) fn kept_of(house: &House, source: &str) -> Vec<Event> {
    let store = Store::open(&house.config.state_dir).expect("a store");
    let query = EventQuery {
        source: Some(source.to_owned()),
        limit: 100_000,
        ..EventQuery::default()
    };
    let listed = store.events(&query).expect("events");
    // Payloads are not in lists.
    let whole = |seq| store.event(seq).expect("an event").expect("it is kept");
    listed
        .iter()
        .rev()
        .map(|listed| whole(listed.event.seq).event)
        .collect()
}

/// [`kept_of`] the source `ncmp1`.
pub(crate) fn kept(house: &House) -> Vec<Event> {
    kept_of(house, "ncmp1")
}

/// Which record an event was; none where it was none.
pub(crate) fn place(event: &Event) -> Option<(String, i32, i64)> {
    match &event.facts {
        Facts::Ncmp(told) => Some((told.topic.clone(), told.partition, told.offset)),
        Facts::Undecodable { .. } => {
            let mut words = event.key.split(' ').skip(1);
            let topic = words.next().expect("a topic").to_owned();
            let mut number = || words.next().expect("a number").parse::<i64>().expect("a number");
            let partition = i32::try_from(number()).expect("a partition");
            Some((topic, partition, number()))
        }
        _ => None,
    }
}

/// The offsets of what was accepted of a topic's partition, in the order of acceptance.
pub(crate) fn offsets(events: &[Event], topic: &str, partition: i32) -> Vec<i64> {
    let places = events.iter().filter_map(place);
    places
        .filter(|place| place.0 == topic && place.1 == partition)
        .map(|place| place.2)
        .collect()
}

/// Why events may be missing.
pub(crate) fn gaps(events: &[Event]) -> Vec<String> {
    let why = events.iter().filter_map(|event| match &event.facts {
        Facts::Gap(gap) => Some(gap.why.clone()),
        _ => None,
    });
    why.collect()
}
