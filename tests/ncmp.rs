//! ONAP NCMP's topics are read from a real broker, tansu, with records that librdkafka sent: what becomes of records, and where
//! reading begins.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod authority;
mod daemon;
mod http_stand_in;
mod kafka;
mod peers;
mod recorded;
mod service;

use std::collections::BTreeMap;

use authority::{certify, openssl};
use daemon::{House, until};
use hem::event::{Event, Facts};
use kafka::{
    Broker, Sent, TOPIC, configure, gaps, java, kept, life_cycle, offsets, reads, until_accepted, update,
    updates,
};
use serde_json::json;
use service::Service;

/// A house whose hook writes a line of what it is told of each record.
fn noting() -> House {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\nset -u\necho \"$HEM_NCMP_TOPIC/$HEM_NCMP_PARTITION/$HEM_NCMP_OFFSET $HEM_NCMP_EVENT ${{HEM_NCMP_CM_HANDLE:-}} \
         ${{HEM_NCMP_OLD_STATE:-}}>${{HEM_NCMP_STATE:-}} sync=${{HEM_NCMP_DATA_SYNC:-}} alternate=${{HEM_NCMP_ALTERNATE_ID:-}} \
         id=${{HEM_NCMP_ID:-}} from=${{HEM_NCMP_ORIGIN:-}} subject=$HEM_SUBJECT\" >>{}\n",
        house.path("notes").display()
    );
    house.script("note.sh", &script).hook(
        "note",
        "name: note\ntrigger: { ncmp: { event: any } }\ncommand: note.sh\nloop_guard: off\n",
    );
    house
}

/// Waits until exactly these lines were noted, in any order.
async fn until_noted(house: &House, expected: &[&str]) {
    until(&format!("{expected:?} are noted"), || {
        house.lines("notes").len() >= expected.len()
    })
    .await;
    let mut noted = house.lines("notes");
    noted.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(noted, expected);
}

fn undecodable(events: &[Event]) -> Vec<(&str, &[u8])> {
    let unread = events.iter().filter_map(|event| match &event.facts {
        Facts::Undecodable { reason } => Some((reason.as_str(), &event.payload.bytes()[..])),
        _ => None,
    });
    unread.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_every_kind_run_hooks_that_are_told_what_they_say() {
    let mut broker = Broker::with_topic(2);
    broker.topic("cm-events", 1);
    let house = noting();
    configure(
        &house,
        broker.address(),
        ", topics: [ ncmp-events, cm-events ], start: earliest",
    );

    // Montreal sends headers whose ids are others than those of the body.
    let first = |event: &str, number: u64, old, new| {
        Sent::new(0, "h1", life_cycle(event, "h1", number, old, new))
            .header("eventId", java("another"))
            .header("eventType", java("org.onap.ncmp.cmhandle-lcm-event.create"))
            .header("eventSchemaVersion", java("1.0"))
            .header("__TypeId__", "org.onap.cps.ncmp.events.lcm.LcmEventV1")
    };
    let second = json!({
        "eventId": "5", "eventCorrelationId": "h2", "eventTime": "2026-11-21T16:30:40.000-04:00", "eventSource": "org.onap.ncmp",
        "eventType": "org.onap.ncmp.cmhandle-lcm-event.update", "eventSchema": "org.onap.ncmp:cmhandle-lcm-event.v2",
        "eventSchemaVersion": "1.0",
        "event": { "cmHandleId": "h2", "alternateId": null, "oldValues": { "dataSyncEnabled": false, "cmHandleProperties": { "color": "red" } },
            "newValues": { "dataSyncEnabled": true, "alternateId": "fdn2", "cmHandleState": null, "cmHandleProperties": { "color": "green" } } },
    });
    let changed = json!({ "data": { "attributeValueChange": [] } }).to_string();
    let mut records = vec![
        first("create", 1, None, Some("ADVISED")),
        first("update", 2, Some("ADVISED"), Some("READY")),
        first("update", 3, Some("READY"), Some("DELETING")),
        first("delete", 4, None, None),
        Sent::new(1, "h2", second.to_string()),
        Sent::new(0, "h3", changed)
            .to("cm-events")
            .header("ce_specversion", "1.0")
            .header("ce_id", "6")
            .header("ce_source", "NCMP")
            .header("ce_type", "org.onap.cps.ncmp.events.avc.ncmp_to_client.AvcEvent"),
    ];
    records[5].headers.push(("ce_time".to_owned(), None));
    broker.produce(&records);

    let service = Service::start(&house);
    let expected = [
        "ncmp-events/0/0 create h1 >ADVISED sync= alternate=/network/h1 id=1 from=org.onap.ncmp subject=cm-handle/h1",
        "ncmp-events/0/1 update h1 ADVISED>READY sync= alternate=/network/h1 id=2 from=org.onap.ncmp subject=cm-handle/h1",
        "ncmp-events/0/2 update h1 READY>DELETING sync= alternate=/network/h1 id=3 from=org.onap.ncmp subject=cm-handle/h1",
        "ncmp-events/0/3 delete h1 > sync= alternate=/network/h1 id=4 from=org.onap.ncmp subject=cm-handle/h1",
        "ncmp-events/1/0 update h2 > sync=true alternate=fdn2 id=5 from=org.onap.ncmp subject=cm-handle/h2",
        "cm-events/0/0 AvcEvent h3 > sync= alternate= id=6 from=NCMP subject=cm-handle/h3",
    ];
    until_noted(&house, &expected).await;
    let of_one: Vec<String> = house
        .lines("notes")
        .into_iter()
        .filter(|line| line.contains(" h1 "))
        .collect();
    assert_eq!(of_one, expected[..4], "in their order");

    // What an operator sees with tools of Kafka: nothing is left to read.
    broker.until_committed("hem", TOPIC).await;
    broker.until_committed("hem", "cm-events").await;
    let status = service.status().await.expect("a status");
    assert!(status.events["ncmp1"].adds_up, "{:?}", status.events);
    service.stop().await;
    let events = kept(&house);
    let told = events.iter().find_map(|event| match &event.facts {
        Facts::Ncmp(told) if told.cm_handle.as_deref() == Some("h2") => Some(told),
        _ => None,
    });
    let told = told.expect("an event");
    let color = |is: &str| BTreeMap::from([("color".to_owned(), is.to_owned())]);
    assert_eq!(
        (&told.old_properties, &told.properties),
        (&color("red"), &color("green"))
    );
    assert_eq!(told.time.as_deref(), Some("2026-11-21T16:30:40.000-04:00"));
    assert_eq!(gaps(&events), Vec::<String>::new());
}

/// Records with the faults of the prototypes in NCMP's documentation, by their names.
fn prototypes() -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/tests/data/ncmp/prototypes", env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("a name")
                .to_owned();
            (name, std::fs::read(path).expect("a file"))
        })
        .collect();
    found.sort();
    assert_eq!(found.len(), 8);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_kept_with_its_bytes_and_the_partition_goes_on() {
    let mut broker = Broker::with_topic(1);
    let house = noting();
    configure(&house, broker.address(), ", start: earliest");
    let mut bad: Vec<Vec<u8>> = prototypes().into_iter().map(|(_, bytes)| bytes).collect();
    let no_text = [b"{\"eventType\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    bad.extend([
        no_text,
        deep.into_bytes(),
        b"[1]".to_vec(),
        br#"{"eventType":"org.onap.ncmp.cmhandle-lcm-event.create","event":{}}"#.to_vec(),
        br#"{"event":{"cmHandleId":"h"}}"#.to_vec(),
        Vec::new(),
    ]);
    let mut records = vec![update(0, "before", 1)];
    records.extend(
        bad.iter()
            .map(|bytes| Sent::new(0, "cmhandle-001", bytes.clone())),
    );
    // Kafka's sign that a key is gone, which nobody sends on these topics.
    records.push(Sent {
        value: None,
        ..update(0, "gone", 2)
    });
    // An envelope that is larger than all that it carries, one that is no text, and names that no variable could have.
    records.push(
        update(0, "large", 3)
            .header("eventId", vec![b'x'; 70_000])
            .header("ce_type", vec![0xff; 70_000]),
    );
    records.push(
        update(0, "odd", 4)
            .header("", "")
            .header("a=b\0c", [0xac, 0xed, 0, 5, 0x74, 0xff, 0xff]),
    );
    records.push(update(0, "after", 5));
    broker.produce(&records);

    let mut service = Service::start(&house);
    until_accepted(&mut service, records.len() as u64).await;
    let status = service.status().await.expect("a status");
    let sums = &status.events["ncmp1"];
    assert_eq!(
        (sums.undecodable, sums.matched),
        (bad.len() as u64 + 1, 4),
        "{sums:?}"
    );
    assert!(sums.adds_up, "{sums:?}");
    broker.until_committed("hem", TOPIC).await;
    until("the good ones are noted", || house.lines("notes").len() >= 4).await;
    let handles: Vec<String> = house
        .lines("notes")
        .iter()
        .filter_map(|line| line.split(' ').nth(2).map(str::to_owned))
        .collect();
    for handle in ["before", "large", "odd", "after"] {
        assert!(
            handles.iter().any(|noted| noted == handle),
            "{handle}: {handles:?}"
        );
    }
    service.stop().await;
    let events = kept(&house);
    let all: Vec<i64> = (0..).take(records.len()).collect();
    assert_eq!(offsets(&events, TOPIC, 0), all, "each once, in order");
    let unread = undecodable(&events);
    bad.push(Vec::new());
    assert_eq!(unread.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), bad);
    for (reason, _) in &unread[..10] {
        assert!(reason.starts_with("the value is no JSON"), "{reason}");
    }
    let others: Vec<&str> = unread[10..].iter().map(|(reason, _)| *reason).collect();
    // Where it was, and what it was about.
    let place = "(record 11 of ncmp-events/0, key `cmhandle-001`)";
    assert_eq!(others[0], format!("the value is no JSON object {place}"));
    assert!(others[1].contains("names no CM handle"), "{others:?}");
    assert!(others[2].contains("says what it is"), "{others:?}");
    assert!(others[3].starts_with("the value is no JSON"), "{others:?}");
    assert!(
        others[4].starts_with("the record has no value (record "),
        "{others:?}"
    );
}

/// Runs hem until it has accepted so many events in all, and stops it.
async fn run_until(house: &House, accepted: u64) {
    let mut service = Service::start(house);
    reads(&mut service).await;
    until_accepted(&mut service, accepted).await;
    service.stop().await;
}

/// A daemon that has read three records, and is stopped.
async fn three_read(broker: &mut Broker) -> House {
    let house = noting();
    configure(&house, broker.address(), ", start: earliest");
    broker.produce(&updates(0, 0..3));
    run_until(&house, 3).await;
    broker.until_committed("hem", TOPIC).await;
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_begins_at_the_end_or_at_the_oldest_record() {
    let mut broker = Broker::with_topic(2);
    broker.produce(&updates(0, 0..3));
    for (start, group, expected) in [
        ("", "late", vec![3, 4]),
        (", start: earliest", "early", vec![0, 1, 2, 3, 4]),
    ] {
        let house = noting();
        configure(&house, broker.address(), &format!("{start}, group_id: {group}"));
        let mut service = Service::start(&house);
        reads(&mut service).await;
        if start.is_empty() {
            broker.produce(&updates(0, 3..5));
        }
        until_accepted(&mut service, expected.len() as u64).await;
        service.stop().await;
        let events = kept(&house);
        assert_eq!(offsets(&events, TOPIC, 0), expected, "{start}");
        assert_eq!(gaps(&events), Vec::<String>::new());
    }

    // What came while hem was away is read, though it had never accepted anything before.
    let house = noting();
    configure(&house, broker.address(), ", group_id: away");
    run_until(&house, 0).await;
    broker.produce(&updates(1, 0..2));
    run_until(&house, 2).await;
    assert_eq!(offsets(&kept(&house), TOPIC, 1), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_at_the_later_of_what_it_keeps_and_what_the_group_committed() {
    let mut broker = Broker::with_topic(2);
    let house = noting();
    configure(&house, broker.address(), ", start: earliest");
    broker.produce(&updates(0, 0..4));
    broker.produce(&updates(1, 0..4));
    run_until(&house, 8).await;
    broker.until_committed("hem", TOPIC).await;

    // The group is behind in one partition, as after a kill, and ahead in the other, as after another member read on.
    broker.produce(&updates(0, 4..6));
    broker.produce(&updates(1, 4..8));
    broker.commit("hem", TOPIC, &[(0, 1), (1, 6)]);
    run_until(&house, 12).await;
    broker.until_committed("hem", TOPIC).await;
    let events = kept(&house);
    assert_eq!(
        offsets(&events, TOPIC, 0),
        [0, 1, 2, 3, 4, 5],
        "none of them twice"
    );
    assert_eq!(
        offsets(&events, TOPIC, 1),
        [0, 1, 2, 3, 6, 7],
        "others read 4 and 5"
    );
    assert_eq!(gaps(&events), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_the_broker_does_not_have_are_a_gap_and_the_oldest_record_is_next() {
    let mut broker = Broker::with_topic(1);
    let house = noting();
    configure(&house, broker.address(), "");
    broker.produce(&updates(0, 0..3));
    broker.commit("hem", TOPIC, &[(0, 100)]);
    run_until(&house, 3).await;
    let events = kept(&house);
    assert_eq!(offsets(&events, TOPIC, 0), [0, 1, 2]);
    let told = gaps(&events);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(TOPIC), "{told:?}");

    // Once is enough.
    broker.produce(&updates(0, 3..4));
    run_until(&house, 4).await;
    let events = kept(&house);
    assert_eq!(offsets(&events, TOPIC, 0), [0, 1, 2, 3]);
    assert_eq!(gaps(&events).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_while_hem_was_away_is_a_gap_and_read_from_its_beginning() {
    let mut broker = Broker::with_topic(1);
    let house = three_read(&mut broker).await;

    broker.tell(json!({ "do": "drop", "name": TOPIC }));
    broker.topic(TOPIC, 1);
    // More than were read before: the offset alone tells nothing.
    broker.produce(&updates(0, 10..15));
    run_until(&house, 8).await;
    let events = kept(&house);
    assert_eq!(offsets(&events, TOPIC, 0), [0, 1, 2, 0, 1, 2, 3, 4]);
    assert_eq!(gaps(&events).len(), 1, "{:?}", gaps(&events));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_starts_with_nothing_is_a_gap_and_read_from_its_beginning() {
    let mut broker = Broker::with_topic(2);
    let house = noting();
    configure(&house, broker.address(), ", start: earliest");
    let mut service = Service::start(&house);
    reads(&mut service).await;
    broker.produce(&updates(0, 0..3));
    until_accepted(&mut service, 3).await;

    broker.start_anew();
    broker.topic(TOPIC, 2);
    broker.produce(&updates(0, 10..12));
    broker.produce(&updates(1, 20..21));
    until_accepted(&mut service, 6).await;
    broker.until_committed("hem", TOPIC).await;
    service.stop().await;
    let events = kept(&house);
    assert_eq!(offsets(&events, TOPIC, 0), [0, 1, 2, 0, 1]);
    assert_eq!(offsets(&events, TOPIC, 1), [0]);
    let told = gaps(&events);
    assert_eq!(told.len(), 1, "of the partition that had something: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_later_is_read_from_its_beginning() {
    let mut broker = Broker::with_topic(1);
    let house = noting();
    configure(&house, broker.address(), ", topics: [ ncmp-events, cm-events ]");
    let mut service = Service::start(&house);
    reads(&mut service).await;
    broker.topic("cm-events", 3);
    let sent: Vec<Sent> = (0..3)
        .map(|partition| update(partition, "h", 1).to("cm-events"))
        .collect();
    broker.produce(&sent);
    until_accepted(&mut service, 3).await;
    service.stop().await;
    let events = kept(&house);
    for partition in 0..3 {
        assert_eq!(offsets(&events, "cm-events", partition), [0]);
    }
    assert_eq!(gaps(&events), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_must_name_brokers_and_a_group() {
    let house = noting();
    for (settings, lacks) in [("brokers: [ a ]", "group_id"), ("group_id: hem", "brokers")] {
        kafka::write_sources(&house, &format!("  ncmp1: {{ type: ncmp, {settings} }}\n"));
        let config = house.path("hem.yaml");
        let said = service::hem(&house, &["--config", config.to_str().expect("a path"), "check"]).await;
        assert_ne!(said.code, 0, "{said:?}");
        assert!(
            format!("{}{}", said.stdout, said.stderr).contains(lacks),
            "{said:?}"
        );
    }
}

/// Waits until the source is not connected for this reason.
async fn until_refused(service: &mut Service, reason: &str) {
    service
        .until(&format!("it is refused: {reason}"), |status| {
            let source = &status.sources["ncmp1"];
            let last = source.last_error.as_ref();
            !source.connected && last.is_some_and(|error| error.message.contains(reason))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_its_certificate_and_its_password_and_nobody_else_learns_them() {
    let house = noting();
    certify(&house).await;
    let file = |name: &str| house.path(name).display().to_string();
    let (key, encrypted) = (file("tls.key"), file("encrypted.key"));
    let arguments = [
        "pkcs8",
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-passout",
        "pass:open sesame",
        "-in",
        &key,
        "-out",
        &encrypted,
    ];
    openssl(&arguments).await;
    std::fs::write(house.path("passphrase"), "open sesame\n").expect("a file");
    std::fs::write(house.path("password"), "se,cr=et\n").expect("a file");
    let folder = house.folder.path().to_str().expect("a path").to_owned();
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        let sasl = format!("{mechanism}:hem:se,cr=et");
        let mut broker = Broker::start(&["--tls", &folder, "--client-certificates", "--sasl", &sasl]);
        broker.topic(TOPIC, 1);
        broker.produce(&updates(0, 0..2));
        let group = mechanism.to_ascii_lowercase();
        let settings = format!(
            ", start: earliest, group_id: {group}, tls: {{ ca: ca.pem, certificate: tls.pem, key: encrypted.key, \
             passphrase: {{ file: passphrase }} }}, sasl: {{ mechanism: {mechanism}, user: hem, password: {{ file: password }} }}"
        );
        configure(&house, broker.address(), &settings);
        let mut service = Service::start(&house);
        reads(&mut service).await;
        until("both are noted", || house.lines("notes").len() == 2).await;
        service.stop().await;
        std::fs::remove_file(house.path("notes")).expect("the notes");
        std::fs::remove_dir_all(&house.config.state_dir).expect("the store");
        let seen = broker.tell(json!({ "do": "clients" }));
        let let_in = seen["seen"].as_array().expect("a list");
        assert!(!let_in.is_empty());
        for client in let_in {
            assert_eq!(
                client["certificate"]["subject"],
                json!([[["commonName", "hem"]]]),
                "{client}"
            );
        }
    }
    let log = std::fs::read_to_string(house.path("daemon.log")).expect("a log");
    for secret in ["se,cr=et", "open sesame"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_trusted_or_does_not_trust_is_said_plainly_and_tried_again() {
    let house = noting();
    certify(&house).await;
    let folder = house.folder.path().to_str().expect("a path").to_owned();
    let options = ["--tls", &folder, "--sasl", "SCRAM-SHA-512:hem:secret"];
    let mut broker = Broker::start(&options);
    broker.topic(TOPIC, 1);
    broker.produce(&updates(0, 0..1));
    let sasl = "sasl: { mechanism: SCRAM-SHA-512, user: hem, password: { file: password } }";
    std::fs::write(house.path("password"), "not-this-one\n").expect("a file");

    // The system's authorities did not sign it.
    configure(
        &house,
        broker.address(),
        &format!(", start: earliest, tls: {{}}, {sasl}"),
    );
    let mut service = Service::start(&house);
    until_refused(&mut service, "certificate").await;
    service.stop().await;

    configure(
        &house,
        broker.address(),
        &format!(", start: earliest, tls: {{ ca: ca.pem }}, {sasl}"),
    );
    let mut service = Service::start(&house);
    until_refused(&mut service, "uthentication").await;
    let seen = broker.tell(json!({ "do": "clients" }));
    let refused = seen["seen"]
        .as_array()
        .expect("a list")
        .iter()
        .any(|client| client["why"] == "wrong password");
    assert!(refused, "{seen}");
    service.stop().await;
    let log = std::fs::read_to_string(house.path("daemon.log")).expect("a log");
    assert!(!log.contains("not-this-one"), "{log}");

    std::fs::write(house.path("password"), "secret\n").expect("a file");
    let mut service = Service::start(&house);
    reads(&mut service).await;
    until_accepted(&mut service, 1).await;
    service.stop().await;
    assert_eq!(offsets(&kept(&house), TOPIC, 0), [0]);

    // Without TLS the broker understands nothing.
    let house = noting();
    configure(&house, broker.address(), "");
    let mut service = Service::start(&house);
    service
        .until("it is not connected", |status| {
            let source = &status.sources["ncmp1"];
            !source.connected && source.last_error.is_some()
        })
        .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_lets_a_running_daemon_read_from_elsewhere() {
    let mut broker = Broker::with_topic(2);
    let house = noting();
    configure(&house, broker.address(), ", start: earliest");
    broker.produce(&updates(0, 0..4));
    broker.produce(&updates(1, 0..2));
    let mut service = Service::start(&house);
    reads(&mut service).await;
    until_accepted(&mut service, 6).await;
    broker.until_committed("hem", TOPIC).await;

    let seek = async |arguments: &[&str]| {
        let all = ["source", "seek", "ncmp1", "--topic", TOPIC];
        service::hem(&house, &[&all, arguments].concat()).await
    };
    let planned = seek(&["--earliest", "--dry-run"]).await;
    let expected = "ncmp-events/0 would be read from its oldest record; it was read up to 4\n\
                    ncmp-events/1 would be read from its oldest record; it was read up to 2\n";
    assert_eq!(planned.stdout, expected, "{planned:?}");
    let done = seek(&["--partition", "0", "--offset", "1"]).await;
    assert_eq!(
        done.stdout, "ncmp-events/0 is read from offset 1; it was read up to 4\n",
        "{done:?}"
    );
    until_accepted(&mut service, 9).await;
    for (arguments, reason) in [
        (
            &["--partition", "7", "--earliest"][..],
            "hem reads no such partition of `ncmp-events` now",
        ),
        (&[], "required arguments were not provided"),
    ] {
        let refused = seek(arguments).await;
        assert!(refused.stderr.contains(reason), "{refused:?}");
        assert_ne!(refused.code, 0);
    }
    let audit = service::hem(&house, &["audit"]).await;
    assert!(
        audit.stdout.contains("ncmp1 ncmp-events/0 to offset 1"),
        "{audit:?}"
    );
    broker.until_committed("hem", TOPIC).await;
    service.stop().await;

    // It is not read once more by the next start.
    run_until(&house, 9).await;
    let events = kept(&house);
    assert_eq!(offsets(&events, TOPIC, 0), [0, 1, 2, 3, 1, 2, 3]);
    assert_eq!(offsets(&events, TOPIC, 1), [0, 1]);
    assert_eq!(gaps(&events), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_hem_is_to_read_again_is_not_undone_by_what_the_group_committed() {
    let mut broker = Broker::with_topic(1);
    let house = three_read(&mut broker).await;

    let config = house.path("hem.yaml").display().to_string();
    let seek = async |arguments: &[&str]| {
        let all = [
            "--config",
            &config,
            "source",
            "seek",
            "ncmp1",
            "--offline",
            "--topic",
        ];
        service::hem(&house, &[&all, arguments].concat()).await
    };
    let unknown = seek(&["other", "--earliest"]).await;
    assert!(
        unknown.stderr.contains("the store knows no partition of `other`"),
        "{unknown:?}"
    );
    let planned = seek(&[TOPIC, "--latest", "--dry-run"]).await;
    assert_eq!(
        planned.stdout, "ncmp-events/0 would be read from the end; it was read up to 3\n",
        "{planned:?}"
    );
    let done = seek(&[TOPIC, "--earliest"]).await;
    assert_eq!(
        done.stdout, "ncmp-events/0 is read from its oldest record; it was read up to 3\n",
        "{done:?}"
    );
    let audit = service::hem(&house, &["--config", &config, "audit", "--offline"]).await;
    assert!(
        audit.stdout.contains("ncmp1 ncmp-events to its oldest record"),
        "{audit:?}"
    );
    run_until(&house, 6).await;
    assert_eq!(offsets(&kept(&house), TOPIC, 0), [0, 1, 2, 0, 1, 2]);
}
