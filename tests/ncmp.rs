//! ONAP NCMP's topics are read from a real broker: tansu, with records that librdkafka sent.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod http_stand_in;
mod kafka;
mod peers;
mod recorded;
mod service;

use kafka::{Broker, SESSION_MS, Sent, TOPIC, update};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_keeps_records_and_what_a_group_has_read() {
    let mut broker = Broker::with_topic(2);
    let sent = [
        update(0, "h1", 1),
        update(1, "h2", 2),
        Sent {
            value: None,
            ..update(0, "h1", 3)
        },
        Sent::new(0, "h1", [0xff, 0]).header("large", vec![0; 70_000]),
    ];
    assert_eq!(broker.produce(&sent), [0, 0, 1, 2]);
    assert_eq!(broker.ends(TOPIC), [(0, 3), (1, 1)].into());
    broker.commit("hem", TOPIC, &[(0, 2)]);
    broker.tell(json!({ "do": "join", "group": "hem", "topics": [TOPIC], "session_ms": SESSION_MS }));
    broker.until_committed("hem", TOPIC).await;
    let got = broker.tell(json!({ "do": "leave" }));
    let mut records: Vec<(String, i32, i64)> =
        serde_json::from_value(got["records"].clone()).expect("records");
    records.sort();
    assert_eq!(records, [(TOPIC.to_owned(), 0, 2), (TOPIC.to_owned(), 1, 0)]);
}
