//! Every system at once: the examples of each run, what `hem publish` sends arrives, and one daemon with one hooks directory serves all.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod http_stand_in;
mod kafka;
mod netconf;
mod peers;
mod recorded;
mod service;
mod sshd;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemon::House;
use hem::control::api::StatusView;
use kafka::{Broker, TOPIC};
use netconf::{Emit, Netconfd, Operator};
use peers::{Peer, Port};
use serde_json::{Value, json};
use service::{Said, Service, hem};
use web::{post, send};

/// The directories of `examples`.
const SYSTEMS: [&str; 6] = ["opennebula", "webhook", "esc", "masakari", "ncmp", "own"];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// The saved events of a system, each as a command takes it.
fn events_of(system: &str) -> Vec<String> {
    let files = files_of(&example(system).join("events")).into_iter();
    files
        .flat_map(|file| {
            let name = file.display().to_string();
            if file.extension().is_some_and(|extension| extension == "jsonl") {
                let lines = std::fs::read_to_string(&file).expect("a file").lines().count();
                (1..=lines).map(|line| format!("{name}#{line}")).collect()
            } else {
                vec![name]
            }
        })
        .collect()
}

/// Writes `hem.yaml` with these sources, and says where it is.
fn configure(house: &House, sources: &str) -> String {
    kafka::write_sources(house, sources);
    house.path("hem.yaml").to_str().expect("a path").to_owned()
}

async fn ok(house: &House, arguments: &[&str]) -> Said {
    let said = hem(house, arguments).await;
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
    said
}

async fn connected(service: &mut Service, sources: &[&str]) -> StatusView {
    service
        .until(&format!("{sources:?} are connected"), |status| {
            sources
                .iter()
                .all(|name| status.sources.get(*name).is_some_and(|source| source.connected))
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_every_system_run() {
    for system in SYSTEMS {
        let house = House::new();
        for (from, to) in [
            ("hooks", &house.config.hooks_dir),
            ("scripts", &house.config.scripts_dir),
        ] {
            for file in files_of(&example(system).join(from)) {
                std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
            }
        }
        let config = configure(&house, "");
        let mut service = Service::start(&house);
        service.until("it answers", |_| true).await;
        let mut expected = BTreeMap::new();
        for event in events_of(system) {
            // The daemon runs what the command says would run.
            let matched = ok(&house, &["--config", &config, "--json", "match", &event]).await;
            let answers: Vec<Value> = serde_json::from_str(&matched.stdout).expect("JSON");
            let would_run: BTreeSet<&str> = answers
                .iter()
                .filter(|answer| answer["matches"] == true)
                .filter_map(|answer| answer["hook"].as_str())
                .collect();
            let emitted = ok(&house, &["emit", &event]).await;
            let ran: BTreeSet<&str> = emitted
                .stdout
                .lines()
                .filter_map(|line| line.split_once('.'))
                .map(|(_, hook)| hook)
                .collect();
            // This one asks for events of one source, and what is emitted is of none of those in `hem.yaml`.
            let of_one_source = BTreeSet::from(["every-attribute"]);
            assert!(
                ran.is_subset(&would_run) && &would_run - &ran <= of_one_source,
                "{event}: {ran:?} ran and not {would_run:?}"
            );
            for hook in ran {
                *expected.entry(hook.to_owned()).or_insert(0_u64) += 1;
            }
        }
        let all: u64 = expected.values().sum();
        let status = service.until_succeeded(all).await;
        assert_eq!(status.executions.values().sum::<u64>(), all, "{status:?}");
        assert!(status.events["emit"].adds_up, "{status:?}");
        // Each hook that is shown with an event of its own was run by one.
        let hooks = ok(&house, &["--config", &config, "hooks", "--json"]).await;
        let hooks: Value = serde_json::from_str(&hooks.stdout).expect("JSON");
        let idle: Vec<&str> = hooks
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|hook| hook["name"].as_str())
            .filter(|name| !expected.contains_key(*name))
            .collect();
        let without_event: &[&str] = match system {
            "opennebula" => &["host-error", "new-state"],
            _ => &[],
        };
        assert_eq!(idle, without_event, "{system}");
        service.stop().await;
    }
}

/// Hooks for events of every system, which note down what they were given.
fn noting() -> House {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"$HEM_HOOK|$HEM_SOURCE|$HEM_EVENT_KEY|$HEM_SUBJECT\" >>{}\n",
        house.path("notes").display()
    );
    house.script("note.sh", &script);
    for (name, trigger) in [
        ("opennebula", "state: { resource: VM, on: RUNNING }"),
        ("webhook", "webhook: { name: \"*\" }"),
        ("esc", "esc: { event: any }"),
        ("masakari", "masakari: {}"),
        ("ncmp", "ncmp: { event: any }"),
    ] {
        house.hook(
            name,
            &format!("name: {name}\ntrigger: {{ {trigger} }}\ncommand: note.sh\nloop_guard: off\n"),
        );
    }
    house.hook(
        "everything",
        "name: everything\ntrigger:\n  - state: { resource: VM, on: RUNNING }\n  - webhook: { name: \"*\" }\n  - esc: { event: any }\n  \
         - masakari: {}\n  - ncmp: { event: any }\ncommand: note.sh\nloop_guard: off\n",
    );
    house
}

/// How often each hook noted down events of each source.
fn noted(house: &House) -> BTreeMap<(String, String), u64> {
    let mut noted = BTreeMap::new();
    for line in house.lines("notes") {
        let mut words = line.split('|').map(str::to_owned);
        let (Some(hook), Some(source)) = (words.next(), words.next()) else {
            panic!("no note: {line}")
        };
        *noted.entry((hook, source)).or_insert(0) += 1;
    }
    noted
}

/// The address of a source's own, `http://127.0.0.1:8080`, as the daemon says it.
fn base(status: &StatusView, source: &str) -> String {
    let endpoint = &status.sources[source].endpoint;
    let parts: Vec<&str> = endpoint.split('/').collect();
    match parts.as_slice() {
        [address] => format!("http://{address}"),
        _ => parts[..3].join("/"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_arrives_where_its_system_sends_it() {
    let house = noting();
    let mut broker = Broker::with_topic(4);
    broker.topic("cm-events", 1);
    let token = house.path("token");
    std::fs::write(&token, "a-token-of-the-tests-0123456789\n").expect("a file");
    let sources = format!(
        "  web: {{ type: webhook, listen: \"127.0.0.1:0\", endpoints: {{ deploy: {{ token: {{ secrets: [ {{ file: {} }} ] }} }} }} }}\n  \
         esc1: {{ type: esc, callbacks: {{ listen: \"127.0.0.1:0\" }} }}\n  \
         ha: {{ type: masakari, listen: \"127.0.0.1:0\" }}\n  \
         ncmp1: {}\n",
        token.display(),
        kafka::source(
            broker.address(),
            ", topics: [ ncmp-events, cm-events ], start: earliest"
        )
    );
    configure(&house, &sources);
    let mut service = Service::start(&house);
    let status = connected(&mut service, &["web", "esc1", "ha", "ncmp1"]).await;
    let of = |name: &str| example(name).display().to_string();

    let push = of("webhook/events/push.json");
    let deploy = format!("{}/deploy", base(&status, "web"));
    let refused = hem(&house, &["publish", &push, "--to", &deploy]).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("with 401") && refused.stderr.contains("push.json"),
        "{}",
        refused.stderr
    );
    let headers = house.path("headers");
    std::fs::write(
        &headers,
        "Authorization: Bearer a-token-of-the-tests-0123456789\n",
    )
    .expect("a file");
    let headers = format!("@{}", headers.display());
    let published = ok(
        &house,
        &[
            "publish", &push, "--to", &deploy, "--header", &headers, "--repeat", "2",
        ],
    )
    .await;
    assert_eq!(published.stderr.trim(), "published 2");

    let callbacks: Vec<String> = events_of("esc")
        .into_iter()
        .filter(|name| name.contains("callback-"))
        .collect();
    let esc = status.sources["esc1"].endpoint.clone();
    let mut arguments = vec!["publish", "--to", &esc];
    arguments.extend(callbacks.iter().map(String::as_str));
    ok(&house, &arguments).await;

    let notifications = format!("{}/v1/notifications", base(&status, "ha"));
    let (stopped, failed) = (
        of("masakari/events/host-stopped.json"),
        of("masakari/events/vm-failed.json"),
    );
    ok(&house, &["publish", &stopped, &failed, "--to", &notifications]).await;

    let records = events_of("ncmp");
    let to = format!("kafka://{}", broker.address());
    let mut arguments = vec!["publish", "--to", &to, "--rate", "100"];
    arguments.extend(records.iter().map(String::as_str));
    ok(&house, &arguments).await;
    // Where the brokers are, the source knows as well.
    let config = house.path("hem.yaml");
    let config = config.to_str().expect("a path");
    let create = of("ncmp/events/create-v1.json");
    ok(
        &house,
        &[
            "--config", config, "publish", &create, "--to", "ncmp1", "--topic", TOPIC,
        ],
    )
    .await;
    let another = hem(&house, &["--config", config, "publish", &create, "--to", "ha"]).await;
    assert!(
        another.code == 2 && another.stderr.contains("of another type"),
        "{}",
        another.stderr
    );

    let counts = [
        ("web", "webhook", 2),
        ("esc1", "esc", callbacks.len() as u64),
        ("ha", "masakari", 2),
        ("ncmp1", "ncmp", records.len() as u64 + 1),
    ];
    let all: u64 = counts.iter().map(|(_, _, count)| count).sum();
    let status = service.until_succeeded(2 * all).await;
    let mut expected = BTreeMap::new();
    for (source, hook, count) in counts {
        let sums = &status.events[source];
        assert_eq!(
            (sums.accepted, sums.matched, sums.undecodable),
            (count, count, 0),
            "{source}: {sums:?}"
        );
        assert!(sums.adds_up, "{source}: {sums:?}");
        for hook in [hook, "everything"] {
            expected.insert((hook.to_owned(), source.to_owned()), count);
        }
    }
    assert_eq!(noted(&house), expected);
    let keys: BTreeSet<String> = house
        .lines("notes")
        .into_iter()
        .filter(|line| line.starts_with("ncmp|"))
        .collect();
    for key in [
        "ncmp|ncmp1|NCMP create ADVISED|cm-handle/cmhandle-001",
        "ncmp|ncmp1|NCMP delete|cm-handle/cmhandle-002",
        "ncmp|ncmp1|NCMP AvcEvent|cm-handle/cmhandle-001",
    ] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_published_says_what_to_do_instead() {
    let house = House::new();
    let of = |name: &str| example(name).display().to_string();
    let http = "http://127.0.0.1:1/x";
    let kafka = "kafka://127.0.0.1:1";
    let own = of("own/events/source-down.json");
    let (notification, record) = (of("esc/events/vm-alive.xml"), of("ncmp/events/create-v1.json"));
    let (push, message) = (
        of("webhook/events/push.json"),
        of("opennebula/events/vm-done.xml"),
    );
    let observed = of("masakari/events/recovery-failed.json");
    for (file, to, code, why) in [
        (&notification, Some(http), 1, "hem emit"),
        (&notification, None, 1, "ESC alone sends"),
        (&own, None, 1, "hem emit"),
        (&observed, Some(http), 1, "hem emit"),
        (&push, None, 2, "--to http"),
        (&push, Some(kafka), 2, "a request over HTTP"),
        (&record, None, 2, "--to kafka://"),
        (&record, Some(http), 2, "a record of NCMP"),
        (&message, Some(http), 2, "leave out `--to`"),
        (&push, Some("ftp://x"), 2, "neither http"),
        (&push, Some("ncmp1"), 2, "a request over HTTP"),
        (&push, Some("kafka://"), 2, "a broker is missing"),
        (&push, Some(http), 1, "cannot be reached"),
        (&own, Some("kafka://"), 2, "a broker is missing"),
    ] {
        let mut arguments = vec!["publish", file.as_str()];
        arguments.extend(to.iter().flat_map(|to| ["--to", to]));
        let said = hem(&house, &arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(why), "{arguments:?}: {}", said.stderr);
    }
    // What would be ignored is refused.
    for (file, to, option, value) in [
        (&push, http, "--topic", "t"),
        (&record, kafka, "--header", "A: b"),
        (&record, kafka, "--ca-file", "ca.pem"),
        (&record, "ncmp1", "--header", "A: b"),
    ] {
        let said = hem(&house, &["publish", file, "--to", to, option, value]).await;
        assert_eq!(said.code, 2, "{option}: {}", said.stderr);
        let why = format!("`{option}` has no meaning there");
        assert!(said.stderr.contains(&why), "{option}: {}", said.stderr);
    }
    // Before anything is sent, all of it is looked at.
    let said = hem(&house, &["publish", &push, &record, "--to", http]).await;
    assert!(
        said.code == 2 && !said.stderr.contains("reached"),
        "{}",
        said.stderr
    );
}

/// What each system sends.
const EACH: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hooks_directory_serves_all_four_systems_and_webhooks_at_once() {
    let house = noting();
    let port = Port::reserve();
    let mut controller = Peer::publisher(&port.endpoint(), &[]);
    let netconfd = Netconfd::start(&house, 1000).await;
    let mut operator = Operator::connect(&netconfd).await;
    let mut broker = Broker::with_topic(4);
    let sources = format!(
        "  zone1: {{ type: opennebula, endpoint: \"{}\" }}\n  \
         callbacks: {{ type: esc, callbacks: {{ listen: \"127.0.0.1:0\" }} }}\n  \
         notifications: {{ type: esc, netconf: {{ {}, stream: {} }} }}\n  \
         ha: {{ type: masakari, listen: \"127.0.0.1:0\" }}\n  \
         web: {{ type: webhook, listen: \"127.0.0.1:0\", endpoints: {{ deploy: {{}} }} }}\n  \
         ncmp1: {}\n",
        port.endpoint(),
        netconfd.door.settings(netconfd.door.sshd.port),
        netconf::STREAM,
        kafka::source(broker.address(), ", start: earliest")
    );
    configure(&house, &sources);
    let mut service = Service::start(&house);
    let names = ["zone1", "callbacks", "notifications", "ha", "web", "ncmp1"];
    let status = connected(&mut service, &names).await;
    let address = |source: &str| -> SocketAddr {
        let base = base(&status, source);
        let address = base.rsplit('/').next().expect("an address");
        address.parse().expect("an address")
    };
    let (esc, ha, web) = (address("callbacks"), address("ha"), address("web"));
    controller.wait_for_subscriptions(2);

    // All of them at the same time, each from its own peer.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            controller.order(&format!("states {EACH} 400"));
            controller.expect("sent");
        });
        scope.spawn(|| {
            for number in 0..EACH {
                let body = format!(
                    "<deployment><event_type>VM_ALIVE</event_type><internal_deployment_id>dep{}</internal_deployment_id>\
                     <internal_tenant_id>t1</internal_tenant_id></deployment>",
                    number % 4
                );
                let transaction = format!("ESC_TRANSACTION_ID: {number}");
                let headers = ["Content-Type: application/xml", "ESC-Status-Code: 200", &transaction];
                let answer = send(esc, "POST", "/esc", &headers, body.as_bytes());
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
        scope.spawn(|| {
            let few = u32::try_from(EACH / 4).expect("a few");
            for event in ["VM_STARTED", "VM_ALIVE", "SERVICE_ALIVE", "VM_STOPPED"] {
                operator.emit(&Emit::step(event, "SUCCESS").numbered(0, few));
            }
        });
        scope.spawn(|| {
            for number in 0..EACH {
                let body = json!({ "notification": {
                    "type": "PROCESS", "hostname": format!("node{number}"), "generated_time": "2026-11-21T23:00:00",
                    "payload": { "process_name": "nova-compute", "event": "STOPPED" },
                }});
                let answer = post(ha, "/v1/notifications", &[], &body.to_string());
                assert_eq!(answer.status, 202, "{answer:?}");
            }
        });
        scope.spawn(|| {
            for number in 0..EACH {
                let answer = post(web, "/deploy", &[], &json!({ "number": number }).to_string());
                assert_eq!(answer.status, 202, "{answer:?}");
            }
        });
        scope.spawn(|| {
            for number in 0..EACH {
                let partition = i32::try_from(number % 4).expect("a partition");
                broker.produce(&[kafka::update(partition, &format!("h{partition}"), number)]);
            }
        });
    });

    let sent = EACH * names.len() as u64;
    let status = service.until_succeeded(2 * sent).await;
    let hooks = ["opennebula", "esc", "esc", "masakari", "webhook", "ncmp"];
    let mut expected = BTreeMap::new();
    for (source, hook) in names.into_iter().zip(hooks) {
        let sums = status.events[source];
        assert_eq!(
            (
                sums.accepted,
                sums.matched,
                sums.unmatched,
                sums.undecodable,
                sums.lost
            ),
            (EACH, EACH, 0, 0, 0),
            "{source}: {sums:?}"
        );
        assert_eq!(
            sums.received,
            sums.accepted + sums.duplicate + sums.refused + sums.lost,
            "{source}: {sums:?}"
        );
        // The server's own notifications, of sessions that begin, are counted and are no events of ESC.
        assert!(
            sums.refused == 0 || source == "notifications",
            "{source}: {sums:?}"
        );
        assert!(sums.adds_up, "{source}: {sums:?}");
        for hook in [hook, "everything"] {
            expected.insert((hook.to_owned(), source.to_owned()), EACH);
        }
    }
    assert_eq!(
        noted(&house),
        expected,
        "every event was run once by each of its hooks"
    );
    assert_eq!(status.executions.values().sum::<u64>(), 2 * sent, "{status:?}");
    // What the operator is shown are the same sums.
    let shown = ok(&house, &["status", "--json"]).await;
    let shown: StatusView = serde_json::from_str(&shown.stdout).expect("a status");
    assert_eq!(
        (&shown.events, &shown.executions),
        (&status.events, &status.executions)
    );
    broker.until_committed("hem", TOPIC).await;
    service.stop().await;
}
