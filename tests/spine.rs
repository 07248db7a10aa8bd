//! The whole way of an event: published over ZeroMQ, matched, durable, run, recorded, retried.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall fail"
)]

mod daemon;
mod recorded;

use std::path::Path;

use daemon::{House, publish, publisher, until, until_settled};
use hem::engine::execution::{Actor, Cause, State};
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::{Facts, Kind};
use hem::runner::Outcome;
use hem::sources::opennebula::publisher::Publisher;
use hem::store::{EventQuery, ExecutionQuery};

fn all() -> ExecutionQuery {
    ExecutionQuery {
        limit: usize::MAX,
        ..ExecutionQuery::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_runs_its_hook_and_leaves_a_record_that_can_be_retried() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house
        .script(
            "note.sh",
            "#!/bin/sh\necho \"$1 $HEM_ATTEMPT $HEM_SUBJECT\" >> \"$2\"\necho seen\n",
        )
        .hook(
            "running",
            &format!(
                "name: vm-running\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\n\
             command: note.sh\narguments: [\"${{{{ event.VM.ID }}}}\", {}]\nloop_guard: off\n",
                house.path("notes").display()
            ),
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let running: Vec<_> = recorded::events()
        .into_iter()
        .filter(|event| event.key.contains("VM/ACTIVE/RUNNING/"))
        .collect();
    for event in &running {
        publish(&publisher, event).await;
    }
    let handle = daemon.handle().clone();
    until_settled(&handle, running.len() as u64).await;
    assert_eq!(house.lines("notes").len(), running.len());

    let executions = handle.store().executions(&all()).expect("executions");
    assert_eq!(executions.len(), running.len());
    for execution in &executions {
        assert_eq!(execution.progress.state.name(), "succeeded");
        let attempts = handle.store().attempts(&execution.key).expect("attempts");
        let [attempt] = attempts.as_slice() else {
            panic!("one attempt, not {attempts:?}")
        };
        let ended = attempt.ended.as_ref().expect("an end");
        assert_eq!(ended.outcome, Outcome::Exited { code: 0 });
        assert_eq!(ended.stdout.head, "seen\n");
        let process = attempt.process.as_ref().expect("a process");
        assert!(process.argv[0].ends_with("note.sh"));
        assert!(process.files.iter().any(|file| file.path.ends_with("note.sh")));
    }

    let key = executions[0].key.clone();
    let results = handle
        .retry(vec![key.clone()], false, Actor::User { uid: 7 })
        .await
        .expect("an answer");
    assert_eq!(results, vec![Ok(())]);
    until_settled(&handle, running.len() as u64).await;
    let attempts = handle.store().attempts(&key).expect("attempts");
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        attempts[1].cause,
        Cause::Operator {
            actor: Actor::User { uid: 7 },
            as_recorded: false
        }
    );
    assert_eq!(handle.store().audit(1).expect("the audit log")[0].action, "retry");
    drop(handle);
    daemon.stop().await;

    // Everything is still there in the next life.
    let store = daemon::store_of(&house.config);
    assert_eq!(store.executions(&all()).expect("executions").len(), running.len());
    assert_eq!(store.summary().last_seq, Seq(running.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_recorded_events_run_a_hook_on_everything_and_the_sums_add_up() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.script("true.sh", "#!/bin/sh\nexit 0\n").hook(
        "everything",
        "name: every-call\ntrigger: { api: { call: any } }\ncommand: true.sh\nloop_guard: off\n---\n\
         name: every-state\ntrigger:\n  - state: { resource: VM, state: any, lcm_state: any }\n  \
         - state: { resource: HOST, state: any }\n  - state: { resource: IMAGE, state: any }\n  \
         - state: { resource: NET, state: any }\ncommand: true.sh\nloop_guard: off\n",
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let events = recorded::events();
    for event in &events {
        publish(&publisher, event).await;
    }
    let handle = daemon.handle().clone();
    until_settled(&handle, events.len() as u64).await;
    let counters = handle.store().summary().events["opennebula"].clone();
    assert_eq!(counters.received, events.len() as u64);
    assert!(counters.adds_up(), "{counters:?}");
    assert_eq!(counters.lost, 0);
    assert_eq!(counters.undecodable, 0);
    let twins = events
        .iter()
        .filter(|event| {
            [
                "EVENT VM ",
                "EVENT HOST ",
                "EVENT IMAGE ",
                "EVENT NET ",
                "EVENT SERVICE ",
            ]
            .iter()
            .any(|kind| event.key.starts_with(kind))
        })
        .count();
    assert!(counters.duplicate >= twins as u64, "{counters:?}, {twins} twins");
    let executions = handle.store().executions(&all()).expect("executions");
    assert_eq!(executions.len() as u64, counters.matched);
    let kept = EventQuery {
        limit: usize::MAX,
        ..EventQuery::default()
    };
    assert_eq!(
        handle.store().events(&kept).expect("events").len() as u64,
        counters.accepted()
    );
    for execution in executions {
        assert_eq!(execution.progress.state.name(), "succeeded", "{}", execution.key);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stop_cuts_short_runs_again_in_the_next_life_with_a_higher_number() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house
        .script(
            "once-more.sh",
            "#!/bin/sh\necho $HEM_ATTEMPT >> \"$1\"\n[ $HEM_ATTEMPT -gt 1 ] || exec sleep 600\n",
        )
        .hook(
            "slow",
            &format!(
                "name: slow\ntrigger: {{ api: {{ call: any }} }}\ncommand: once-more.sh\narguments: [{}]\n",
                house.path("notes").display()
            ),
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let events = recorded::events();
    let event = events
        .iter()
        .find(|event| event.key.starts_with("EVENT API one.vm."))
        .expect("one");
    publish(&publisher, event).await;
    until("the script runs", || house.lines("notes") == ["1"]).await;
    daemon.stop().await;

    let daemon = house.daemon().await;
    until("the script ran again", || house.lines("notes") == ["1", "2"]).await;
    let handle = daemon.handle().clone();
    until_settled(&handle, 1).await;
    let key = ExecutionKey::new(Seq(1), HookName::new("slow").expect("a name"));
    let execution = handle
        .store()
        .execution(&key)
        .expect("a read")
        .expect("the execution");
    assert!(matches!(execution.progress.state, State::Settled { .. }));
    let attempts = handle.store().attempts(&key).expect("attempts");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[1].cause, Cause::Recovery);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_was_away_leaves_a_gap_that_says_from_when_to_when() {
    let first = publisher().await;
    let mut house = House::new();
    house.listen_to(&first);
    let daemon = house.daemon().await;
    first.wait_for_subscriber().await;
    let events = recorded::events();
    publish(&first, &events[0]).await;
    let store = daemon.handle().store().clone();
    let gaps = || {
        let query = EventQuery {
            kind: Some(Kind::Gap),
            limit: 10,
            ..EventQuery::default()
        };
        store.events(&query).expect("events")
    };
    until("the event is there", || store.summary().last_seq == Seq(1)).await;
    assert!(gaps().is_empty(), "the very first start is no gap");

    let endpoint = first.events().clone();
    first.finish().await;
    let again = Publisher::bind(&endpoint, &"tcp://127.0.0.1:0".parse().expect("an endpoint"))
        .await
        .expect("the same port")
        .0;
    again.wait_for_subscriber().await;
    until("the gap is written down", || {
        store.summary().events["opennebula"].gaps == 1
    })
    .await;
    let gap = gaps().remove(0);
    let Facts::Gap(facts) = &gap.event.facts else {
        panic!("a gap, not {:?}", gap.event.facts)
    };
    assert!(facts.from <= facts.to);
    assert_eq!(facts.lost, 0, "nobody can tell how many");
    assert!(!facts.why.is_empty());
    let counters = store.summary().events["opennebula"].clone();
    assert_eq!(
        (counters.received, counters.gaps),
        (1, 1),
        "a gap is made here and not received"
    );
    assert!(counters.adds_up());
    drop(store);
    daemon.stop().await;

    // While the daemon itself is away, events may pass as well.
    let daemon = house.daemon().await;
    again.wait_for_subscriber().await;
    let store = daemon.handle().store().clone();
    until("the second gap is written down", || {
        store.summary().events["opennebula"].gaps == 2
    })
    .await;
    drop(store);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_sees_the_number_that_the_event_gets() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.script("true.sh", "#!/bin/sh\nexit 0\n").hook(
        "second",
        "name: second\ntrigger: { api: { call: any } }\nwhen: meta.seq == 2\ncommand: true.sh\n",
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let events = recorded::events();
    let calls = events
        .iter()
        .filter(|event| event.key.starts_with("EVENT API one.vm.allocate"));
    for event in calls.take(3) {
        publish(&publisher, event).await;
    }
    let handle = daemon.handle().clone();
    until_settled(&handle, 3).await;
    let executions = handle.store().executions(&all()).expect("executions");
    let keys: Vec<String> = executions
        .iter()
        .map(|execution| execution.key.to_string())
        .collect();
    assert_eq!(keys, ["2.second"]);
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_replaced_only_where_that_was_asked_for_and_leaves_a_gap() {
    use hem::config::DamagedStore;
    use hem::daemon::{Daemon, DaemonError, Options};
    use hem::store::OpenError;

    let damages: [fn(&Path) -> std::io::Result<()>; 2] = [
        |log| std::fs::write(log, [b'x'; 4_096]),
        |log| std::fs::remove_file(log),
    ];
    for damage in damages {
        let publisher = publisher().await;
        let mut house = House::new();
        house.listen_to(&publisher);
        house.daemon().await.stop().await;
        damage(&house.config.state_dir.join("db")).expect("damage");

        let refused = Daemon::start(&house.config, Options::default()).await;
        assert!(
            matches!(refused, Err(DaemonError::Store(OpenError::Damaged { .. }))),
            "{refused:?}"
        );

        house.config.on_damaged_store = DamagedStore::StartEmpty;
        let daemon = house.daemon().await;
        publisher.wait_for_subscriber().await;
        let store = daemon.handle().store().clone();
        until("the gap is written down", || {
            store
                .summary()
                .events
                .get("opennebula")
                .is_some_and(|counters| counters.gaps == 1)
        })
        .await;
        let parent = house.config.state_dir.parent().expect("a parent");
        let aside = std::fs::read_dir(parent).expect("a folder").filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name();
            name.to_string_lossy().starts_with("state.damaged-")
        });
        assert_eq!(aside.count(), 1, "the damaged store is kept");
        drop(store);
        daemon.stop().await;
    }
}
