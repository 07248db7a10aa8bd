//! What happened while hem had no session is told once, whoever went away and however often; where that cannot be, it is said.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod netconf;
mod recorded;
mod service;
mod sshd;

use std::collections::BTreeMap;

use daemon::{House, until};
use netconf::subscriber::{
    SOURCE, accepted, begun, configure, connected, kept, listening, only_gap, refused, subscribed,
};
use netconf::{Emit, Link, Manners, Netconfd, Operator, Scripted, notification, stream};
use service::Service;

/// So many events, some of them one like the other, while the link is cut ten times. `kills`: hem is killed as often besides.
async fn five_hundred_over_ten_cuts(kills: bool) {
    let house = House::new();
    let (_netconfd, link, mut service, mut operator) = listening(&house, 5000, "").await;
    // The first event is what hem goes on from.
    operator.emit(&Emit::step("SERVICE_ALIVE", "SUCCESS"));
    accepted(&mut service, 1).await;
    let alike = Emit::step("VM_ALIVE", "SUCCESS");
    for round in 0..10 {
        // 50 a round, of which 20 are alike: some are accepted before the cut, some are on their way, some come while hem is away.
        let (number, before) = (1 + round * 30, 1 + u64::from(round) * 50);
        operator.emit(&Emit::step("VM_DEPLOYED", "SUCCESS").numbered(number, 10));
        operator.emit(&alike.clone().times(10));
        accepted(&mut service, before + 5).await;
        operator.emit(&Emit::step("VM_DEPLOYED", "SUCCESS").numbered(number + 10, 10));
        link.cut();
        operator.emit(&alike.clone().times(5));
        if kills {
            service.kill();
            service = Service::start(&house);
        }
        operator.emit(&alike.clone().times(5));
        connected(&mut service, if kills { 1 } else { u64::from(round) + 2 }).await;
        // While what was missed is told.
        operator.emit(&Emit::step("VM_DEPLOYED", "SUCCESS").numbered(number + 20, 10));
    }
    operator.emit(&Emit::step("SERVICE_ALIVE", "SUCCESS"));
    // Until nothing comes any more that could still have come: the last event is behind all others.
    let status = accepted(&mut service, 502).await;
    let sums = status.events[SOURCE];
    assert!(sums.adds_up, "{sums:?}");
    assert!(sums.duplicate > 0, "the replays overlap with what was accepted");
    service.stop().await;

    let kept = kept(&house);
    let (lost, twice) = kept.lost_and_twice(1, 300);
    println!(
        "500 events, 10 cuts, {} kills: lost {lost:?}, twice {twice:?}, alike {} of 200, duplicates dropped {}, sessions {}",
        if kills { 10 } else { 0 },
        kept.of_type("VM_ALIVE"),
        sums.duplicate,
        link.connections(),
    );
    assert_eq!((lost, twice), (Vec::new(), Vec::new()));
    assert_eq!(
        kept.of_type("VM_ALIVE"),
        200,
        "of those alike none is lost, and none twice"
    );
    assert_eq!((kept.events.len(), kept.gaps), (502, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_events_across_10_cuts_of_the_link_none_is_lost_and_none_is_there_twice() {
    five_hundred_over_ten_cuts(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_events_across_10_cuts_and_10_kills_of_hem_none_is_lost_and_none_is_there_twice() {
    five_hundred_over_ten_cuts(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_hem_was_stopped_is_told_at_its_next_start_without_a_gap() {
    let house = House::new();
    let (_netconfd, _link, mut service, mut operator) = listening(&house, 5000, "").await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 10));
    accepted(&mut service, 10).await;
    service.stop().await;

    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(11, 20));
    let mut service = subscribed(&house).await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(31, 10));
    accepted(&mut service, 40).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 40), (Vec::new(), Vec::new()));
    let numbers: Vec<u32> = kept
        .events
        .iter()
        .map(|(_, message)| message.parse().expect("a number"))
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(kept.gaps, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_very_first_start_takes_what_comes_or_all_that_is_kept() {
    for (start, expected) in [("latest", vec![4, 5]), ("earliest", vec![1, 2, 3, 4, 5])] {
        let house = House::new();
        let netconfd = Netconfd::start(&house, 5000).await;
        let link = Link::to(netconfd.door.sshd.port);
        configure(&house, &netconfd.settings(&link, &format!(", start: {start}")));
        let mut operator = Operator::connect(&netconfd).await;
        operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 3));
        let mut service = subscribed(&house).await;
        operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(4, 1));
        accepted(&mut service, expected.len() as u64 - 1).await;
        // What is there from the start on is gone on from, also when nothing else was accepted before the cut.
        link.cut();
        operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(5, 1));
        accepted(&mut service, expected.len() as u64).await;
        service.stop().await;
        let kept = kept(&house);
        let numbers: Vec<u32> = kept
            .events
            .iter()
            .map(|(_, message)| message.parse().expect("a number"))
            .collect();
        assert_eq!(numbers, expected, "{start}");
        assert_eq!(kept.gaps, Vec::<String>::new(), "{start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_between_the_first_subscription_and_the_first_event_is_not_lost_by_a_cut() {
    let house = House::new();
    let netconfd = Netconfd::start(&house, 5000).await;
    let link = Link::to(netconfd.door.sshd.port);
    configure(&house, &netconfd.settings(&link, ""));
    let mut service = subscribed(&house).await;
    // No event was ever accepted; still hem knows from when on it has to ask.
    link.take_down();
    let mut operator = Operator::connect(&netconfd).await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 3));
    link.repair();
    accepted(&mut service, 3).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 3), (Vec::new(), Vec::new()));
    assert_eq!(kept.gaps, Vec::<String>::new());
}

/// A server of the test's own that keeps a log from this time on.
fn replaying(more: &str) -> Manners {
    Manners {
        streams: Some(stream(
            "escEvent",
            &format!("<replaySupport>true</replaySupport>{more}"),
        )),
        ..Manners::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_begins_at_the_servers_own_time_and_what_was_accepted_is_dropped_by_count() {
    let house = House::new();
    let server = Scripted::start(
        &house,
        replaying("<replayLogCreationTime>2026-01-01T00:00:00+00:00</replayLogCreationTime>"),
    )
    .await;
    let link = Link::to(server.door.sshd.port);
    configure(&house, &server.door.settings(link.port));
    let mut service = Service::start(&house);
    let mut first = server.first_subscription().await;
    assert_eq!(first.stream, "escEvent");
    // A clock far from this machine's: only what the server wrote can be asked for again.
    let second = "2026-03-01T10:00:00.27+02:00";
    first.event("2026-03-01T09:59:59.9+02:00", "VM_STARTED", "before");
    first.event(second, "VM_ALIVE", "alike");
    first.event(second, "VM_ALIVE", "alike");
    accepted(&mut service, 3).await;
    first.end();

    let mut again = server.subscription().await;
    let start = again.start.clone().expect("the past is asked for");
    assert_eq!(start, "2026-03-01T07:59:55Z", "some seconds before the newest");
    // All of that second comes once more, in another order, and one of those alike that is new.
    again.event(second, "SERVICE_ALIVE", "new");
    for _ in 0..3 {
        again.event(second, "VM_ALIVE", "alike");
    }
    again.replay_is_complete("2026-03-01T10:00:05+02:00");
    again.event("2026-03-01T10:00:06+02:00", "VM_ALIVE", "later");
    let status = accepted(&mut service, 6).await;
    assert_eq!(status.events[SOURCE].duplicate, 2, "{:?}", status.events[SOURCE]);
    service.stop().await;
    let kept = kept(&house);
    let mut count = BTreeMap::new();
    for (event, message) in &kept.events {
        *count.entry((event.as_str(), message.as_str())).or_insert(0) += 1;
    }
    assert_eq!(
        count,
        BTreeMap::from([
            (("VM_STARTED", "before"), 1),
            (("VM_ALIVE", "alike"), 3),
            (("SERVICE_ALIVE", "new"), 1),
            (("VM_ALIVE", "later"), 1),
        ])
    );
    assert_eq!(kept.gaps, Vec::<String>::new());
}

/// The one gap that there is after a server like this was come back to, and what is shown of it.
async fn gap_after(manners: Manners, settings: &str) -> (String, String, Scripted) {
    gap_between(manners.clone(), manners, settings).await
}

/// The same of a server that was like the first, and like the second when it was come back to.
async fn gap_between(before: Manners, after: Manners, settings: &str) -> (String, String, Scripted) {
    let house = House::new();
    let (server, _link, mut service, first) = begun(&house, before, settings).await;
    accepted(&mut service, 1).await;
    server.change(|manners| *manners = after);
    first.end();
    let mut again = server.subscription().await;
    again.event("2026-03-01T11:00:00+00:00", "VM_ALIVE", "2");
    accepted(&mut service, 2).await;
    let shown = only_gap(&house).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 2), (Vec::new(), Vec::new()));
    assert_eq!(kept.gaps.len(), 1);
    (kept.gaps[0].clone(), shown, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_no_log_leaves_a_gap_and_is_not_asked_for_the_past() {
    let manners = Manners {
        streams: Some(stream("escEvent", "<replaySupport>false</replaySupport>")),
        ..Manners::default()
    };
    let (why, _, server) = gap_after(manners, "").await;
    assert!(why.contains("keeps nothing"), "{why}");
    let asked = server.asked();
    assert!(
        asked.iter().all(|request| !request.contains("startTime")),
        "{asked:#?}"
    );
    // One that does not tell of its streams at all is taken for such a one.
    let manners = Manners {
        streams: None,
        ..Manners::default()
    };
    gap_after(manners, "").await;
    // And so is one that refuses to.
    let manners = Manners {
        answers: vec![(
            "streams".to_owned(),
            "<rpc-error><error-type>protocol</error-type><error-tag>access-denied</error-tag><error-severity>error</error-severity>\
             <error-message>not for you</error-message></rpc-error>"
                .to_owned(),
        )],
        ..Manners::default()
    };
    gap_after(manners, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_later_than_what_was_accepted_leaves_a_gap() {
    for more in [
        "<replayLogCreationTime>2026-03-01T10:30:00+00:00</replayLogCreationTime>",
        "<replayLogCreationTime>2026-01-01T00:00:00+00:00</replayLogCreationTime>\
         <replayLogAgedTime>2026-03-01T10:30:00+00:00</replayLogAgedTime>",
    ] {
        let before = "<replayLogCreationTime>2026-01-01T00:00:00+00:00</replayLogCreationTime>";
        let (why, _, server) = gap_between(replaying(before), replaying(more), "").await;
        assert!(why.contains("2026-03-01T10:30:00"), "{why}");
        let asked = server.asked();
        assert!(
            asked.iter().any(|request| request.contains("startTime")),
            "what there is is asked for: {asked:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_before_the_subscription_is_confirmed_is_heard() {
    let house = House::new();
    let (server, _link, mut service, first) = begun(&house, replaying(""), "").await;
    accepted(&mut service, 1).await;
    server.change(|manners| {
        manners.before_ok = vec![
            notification("2026-03-01T10:00:00+00:00", "VM_ALIVE", "1"),
            notification("2026-03-01T10:10:00+00:00", "VM_ALIVE", "2"),
            "no notification".to_owned(),
        ];
    });
    first.end();
    let mut again = server.subscription().await;
    again.event("2026-03-01T10:20:00+00:00", "VM_ALIVE", "3");
    let status = accepted(&mut service, 3).await;
    let sums = status.events[SOURCE];
    assert_eq!((sums.duplicate, sums.undecodable), (1, 1), "{sums:?}");
    service.stop().await;
    let kept = kept(&house);
    let numbers: Vec<&str> = kept.events.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_look_ends_also_where_the_server_does_not_say_that_its_replay_is_complete() {
    let house = House::new();
    let server = Scripted::start(&house, replaying("")).await;
    let link = Link::to(server.door.sshd.port);
    configure(
        &house,
        &format!("{}, keepalive: 20s", server.door.settings(link.port)),
    );
    let mut service = Service::start(&house);
    let mut first = server.subscription().await;
    for number in ["1", "2"] {
        first.event("2026-03-01T10:00:00+00:00", "VM_ALIVE", number);
    }
    service.until_logged("events are taken from here on").await;
    first.event("2026-03-01T10:00:01+00:00", "VM_ALIVE", "3");
    let status = accepted(&mut service, 1).await;
    let passed_over = status.sources[SOURCE].refused.get("before the first start");
    assert_eq!(passed_over, Some(&2), "{:?}", status.sources[SOURCE]);
    assert!(status.events[SOURCE].adds_up);
    service.stop().await;
    let kept = kept(&house);
    let numbers: Vec<&str> = kept.events.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!((numbers, kept.gaps), (vec!["3"], Vec::new()));
}

/// An answer that refuses, with this tag and these words.
fn refusal(tag: &str, message: &str) -> Vec<(String, String)> {
    let error = format!(
        "<rpc-error><error-type>protocol</error-type><error-tag>{tag}</error-tag><error-severity>error</error-severity>\
         <error-message>{message}</error-message></rpc-error>"
    );
    vec![("<startTime>".to_owned(), error)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_passes_does_not_cost_what_the_server_has_kept() {
    let house = House::new();
    let (server, _link, mut service, first) = begun(&house, replaying(""), "").await;
    accepted(&mut service, 1).await;
    let asked = || {
        let asked = server.asked();
        let of_start = asked.iter().filter(|request| request.contains("<startTime>"));
        of_start.count()
    };
    let before = asked();
    server.change(|manners| manners.answers = refusal("resource-denied", "too many sessions; no replay now"));
    first.end();
    refused(&mut service, "too many sessions").await;
    until("it was refused three times", || asked() >= before + 3).await;
    server.change(|manners| manners.answers.clear());
    let mut again = server.subscription().await;
    assert_eq!(again.start.as_deref(), Some("2026-03-01T09:59:55Z"));
    again.event("2026-03-01T10:00:00+00:00", "VM_ALIVE", "1");
    again.event("2026-03-01T10:10:00+00:00", "VM_ALIVE", "2");
    again.replay_is_complete("2026-03-01T10:11:00+00:00");
    again.event("2026-03-01T10:12:00+00:00", "VM_ALIVE", "3");
    accepted(&mut service, 3).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 3), (Vec::new(), Vec::new()));
    assert_eq!(kept.gaps, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_the_start_twice_is_listened_to_without_it_and_a_gap_is_recorded() {
    let refusing = Manners {
        answers: refusal("invalid-value", "startTime is not for you"),
        ..replaying("")
    };
    let (why, _, server) = gap_between(replaying(""), refusing, "").await;
    assert!(why.contains("startTime is not for you"), "{why}");
    let asked = server.asked();
    let subscriptions: Vec<bool> = asked
        .iter()
        .filter(|request| request.contains("create-subscription"))
        .map(|request| request.contains("<startTime>"))
        .collect();
    assert_eq!(subscriptions, [true, true, true, false], "{asked:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_gap_the_deployments_there_are_stand_in_the_record_where_that_is_wanted() {
    let deployments = "<tenants><tenant><name>t1</name><deployments><deployment_name>dep1</deployment_name>\
                       <state_machine><state>SERVICE_ACTIVE_STATE</state></state_machine></deployments><deployments>\
                       <deployment_name>dep2</deployment_name><state_machine><state>SERVICE_ERROR_STATE</state></state_machine>\
                       </deployments></tenant></tenants>";
    let manners = Manners {
        streams: Some(stream("escEvent", "<replaySupport>false</replaySupport>")),
        deployments: deployments.to_owned(),
        ..Manners::default()
    };
    let (_, shown, _) = gap_after(manners.clone(), ", reconcile: true").await;
    for part in [
        "t1",
        "dep1",
        "SERVICE_ACTIVE_STATE",
        "dep2",
        "SERVICE_ERROR_STATE",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (_, shown, server) = gap_after(manners.clone(), "").await;
    assert!(!shown.contains("SERVICE_ACTIVE_STATE"), "{shown}");
    let asked = server.asked();
    assert!(
        asked.iter().all(|request| !request.contains("esc_datamodel")),
        "{asked:#?}"
    );
    // A server that does not tell is no reason to do without the record.
    let refusing = Manners {
        answers: vec![(
            "esc_datamodel".to_owned(),
            "<rpc-error><error-type>application</error-type><error-tag>operation-failed</error-tag>\
             <error-severity>error</error-severity><error-message>the model is away</error-message></rpc-error>"
                .to_owned(),
        )],
        ..manners
    };
    let (why, shown, _) = gap_after(refusing, ", reconcile: true").await;
    assert!(
        shown.contains("the model is away") || why.contains("the model is away"),
        "{why}: {shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_the_server_ends_is_made_anew() {
    let house = House::new();
    let (server, _link, mut service, mut first) = begun(&house, replaying(""), "").await;
    first.send(
        b"<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>2026-03-01T10:00:01+00:00</eventTime>\
          <notificationComplete xmlns=\"urn:ietf:params:xml:ns:netmod:notification\"/></notification>",
    );
    let mut again = server.subscription().await;
    again.event("2026-03-01T10:00:00+00:00", "VM_ALIVE", "1");
    again.replay_is_complete("2026-03-01T10:00:02+00:00");
    again.event("2026-03-01T10:00:03+00:00", "VM_ALIVE", "2");
    accepted(&mut service, 2).await;
    again.end();
    let mut third = server.subscription().await;
    third.event("2026-03-01T10:00:04+00:00", "VM_ALIVE", "3");
    accepted(&mut service, 3).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 3), (Vec::new(), Vec::new()));
    let asked = server.asked_where_subscribed();
    assert_eq!(asked.len(), 2, "{asked:#?}");
    assert!(
        asked[1].contains("close-session"),
        "hem takes its leave: {asked:#?}"
    );
}
