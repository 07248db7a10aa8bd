//! hem as the subscriber: its configuration, and what it made of what was sent.

use std::collections::BTreeMap;

use hem::control::api::StatusView;
use hem::event::Facts;
use hem::store::{EventQuery, Store};

use super::{Link, Manners, Netconfd, Operator, Scripted, Subscription};
use crate::daemon::House;
use crate::service::{Service, hem};

/// The name of the source in all these tests.
pub(crate) const SOURCE: &str = "esc";

/// A house without hooks, or with those that a test adds.
pub(crate) fn configure(house: &House, settings: &str) {
    let config = &house.config;
    let text = format!(
        "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\ncontrol: {{ socket: {} }}\npermissions: lax\nshutdown_grace: 5s\n\
         log: debug\nsources:\n  {SOURCE}:\n    type: esc\n    netconf: {{ {settings} }}\n",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.scripts_dir.display(),
        config.control.socket.display()
    );
    std::fs::write(house.path("hem.yaml"), text).expect("a file");
}

/// Adds a hook that takes every event of ESC and writes a line of what it was told into the file `notes`.
pub(crate) fn notes(house: &House) {
    let script = format!(
        "#!/bin/sh\necho \"$HEM_ESC_EVENT $HEM_ESC_STATUS $HEM_ESC_VIA $HEM_SUBJECT $HEM_ESC_STATUS_MESSAGE\" >>{}\n",
        house.path("notes").display()
    );
    house.script("note.sh", &script).hook(
        "note",
        "name: note\ntrigger: { esc: { event: any } }\ncommand: note.sh\nloop_guard: off\n",
    );
}

/// Starts the daemon and waits until it has subscribed.
pub(crate) async fn subscribed(house: &House) -> Service {
    let mut service = Service::start(house);
    connected(&mut service, 1).await;
    service
}

/// netconfd with a replay log for so many notifications, hem subscribed to it through the link with these settings besides, and whoever
/// has it send notifications.
pub(crate) async fn listening(house: &House, events: u32, more: &str) -> (Netconfd, Link, Service, Operator) {
    let netconfd = Netconfd::start(house, events).await;
    let link = Link::to(netconfd.door.sshd.port);
    configure(house, &netconfd.settings(&link, more));
    let service = subscribed(house).await;
    let operator = Operator::connect(&netconfd).await;
    (netconfd, link, service, operator)
}

/// A server that the test plays, and hem subscribed to it with these settings besides; the first event, number 1, is on its way.
pub(crate) async fn begun(
    house: &House,
    manners: Manners,
    more: &str,
) -> (Scripted, Link, Service, Subscription) {
    let server = Scripted::start(house, manners).await;
    let link = Link::to(server.door.sshd.port);
    configure(house, &format!("{}{more}", server.door.settings(link.port)));
    let service = Service::start(house);
    let mut first = server.first_subscription().await;
    first.event("2026-03-01T10:00:00+00:00", "VM_ALIVE", "1");
    (server, link, service, first)
}

/// What is shown of the only gap that there is.
pub(crate) async fn only_gap(house: &House) -> String {
    let gaps = hem(house, &["events", "--kind", "gap", "--json"]).await.stdout;
    let gaps: Vec<serde_json::Value> = serde_json::from_str(&gaps).expect("a list");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let id = gaps[0]["id"].as_str().expect("an id");
    let number = id.rsplit('-').next().expect("a number");
    hem(house, &["show", number, "--full"]).await.stdout
}

/// Waits until the connection stands and was made at least so often in this life.
pub(crate) async fn connected(service: &mut Service, times: u64) -> StatusView {
    service
        .until(&format!("it has subscribed {times} times"), |status| {
            status
                .sources
                .get(SOURCE)
                .is_some_and(|source| source.connected && source.connects >= times)
        })
        .await
}

/// Waits until so many events, kept as what they are, were accepted.
pub(crate) async fn accepted(service: &mut Service, events: u64) -> StatusView {
    service
        .until(&format!("{events} events are accepted"), |status| {
            status
                .events
                .get(SOURCE)
                .is_some_and(|sums| sums.matched + sums.unmatched >= events)
        })
        .await
}

/// Waits until it says why it has no connection, in words with this in them.
pub(crate) async fn refused(service: &mut Service, words: &str) -> String {
    let status = service
        .until(&format!("it says `{words}`"), |status| {
            let source = status.sources.get(SOURCE);
            source.is_some_and(|source| {
                !source.connected
                    && source
                        .last_error
                        .as_ref()
                        .is_some_and(|error| error.message.contains(words))
            })
        })
        .await;
    let error = status.sources[SOURCE].last_error.clone();
    error.expect("an error").message
}

/// What a store has of the source, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Of every event the type, and what ESC said about it.
    pub(crate) events: Vec<(String, String)>,
    /// Why events may be missing.
    pub(crate) gaps: Vec<String>,
    /// Why events could not be read.
    pub(crate) undecodable: Vec<String>,
}

/// Reads the store of a daemon that has ended.
pub(crate) fn kept(house: &House) -> Kept {
    let store = Store::open(&house.config.state_dir).expect("a store");
    let query = EventQuery {
        source: Some(SOURCE.to_owned()),
        limit: 100_000,
        ..EventQuery::default()
    };
    let mut kept = Kept::default();
    for listed in store.events(&query).expect("events").into_iter().rev() {
        let event = listed.event;
        match &event.facts {
            Facts::Esc(esc) => kept
                .events
                .push((esc.event.clone(), esc.status_message.clone().unwrap_or_default())),
            Facts::Gap(gap) => kept.gaps.push(gap.why.clone()),
            Facts::Undecodable { reason } => kept.undecodable.push(reason.clone()),
            other => panic!("such a source has no such events: {other:?}"),
        }
    }
    kept
}

impl Kept {
    /// Which numbers of `first..first + count` are missing, and which came more than once.
    pub(crate) fn lost_and_twice(&self, first: u32, count: u32) -> (Vec<u32>, Vec<u32>) {
        let mut times: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, message) in &self.events {
            if let Ok(number) = message.parse() {
                *times.entry(number).or_default() += 1;
            }
        }
        let lost = (first..first + count).filter(|number| !times.contains_key(number));
        let twice = times.iter().filter(|(_, times)| **times > 1);
        (lost.collect(), twice.map(|(number, _)| *number).collect())
    }

    /// How many events there are of a type.
    pub(crate) fn of_type(&self, event: &str) -> usize {
        self.events.iter().filter(|(kind, _)| kind == event).count()
    }
}
