//! What is known of a controller's resources, and what became of gaps.

use proptest::prelude::*;

use super::super::format::{
    read_baseline, read_gap_story, read_state_names, write_baseline, write_gap_story, write_state_names,
};
use super::super::salvage::salvage;
use super::*;
use crate::engine::known_states::{Baseline, CatchUpTotals, GapStory, NotedOnly, OpenGap};
use crate::event::opennebula::Resource;
use crate::event::opennebula::pool::{ResourceId, StateNames};

fn id(resource: Resource, number: u64) -> ResourceId {
    ResourceId { resource, number }
}

fn names(state: &str) -> StateNames {
    StateNames {
        state: state.to_owned(),
        lcm_state: None,
    }
}

fn known(source: &str, id: ResourceId, state: Option<&str>) -> Change {
    Change::KnownState {
        source: source.into(),
        id,
        names: state.map(names),
    }
}

fn baseline(heard: i64) -> Baseline {
    Baseline {
        heard: Some(Timestamp::from_millis(heard)),
        open: Vec::new(),
        totals: CatchUpTotals::default(),
    }
}

fn says(source: &str, baseline: Option<Baseline>) -> Change {
    Change::Baseline {
        source: source.into(),
        baseline,
    }
}

fn told(record: u64) -> Change {
    let story = GapStory {
        raised: 3,
        ..GapStory::default()
    };
    Change::GapStory {
        record: Seq(record),
        story,
    }
}

#[tokio::test]
async fn what_is_known_comes_back_by_source_and_survives_a_salvage() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state");
    let desk = Desk::open(&folder, keep_all());
    // No two of these have a common beginning that counts.
    let odd = id(Resource::Vm, u64::from_be_bytes(*b"\0\0vm\0\0\0\x0c"));
    let mut changes = vec![
        known("one", id(Resource::Vm, 12), Some("ACTIVE")),
        known("one", odd.clone(), Some("HOLD")),
        known("one", id(Resource::Net, 12), Some("")),
        known("one", id(Resource::Host, 1), Some("ERROR")),
        known("one2", id(Resource::Vm, 12), Some("DONE")),
        says("one", Some(baseline(7))),
        says("one2", Some(baseline(8))),
        told(1),
        told(2),
    ];
    changes.extend(accepted(event(1, 5, b"x"), &[]));
    desk.write(changes).await;
    desk.write(vec![known("one", id(Resource::Host, 1), None)]).await;
    let look = |store: &Store| {
        let mut of_one = store.known_states("one").expect("a read");
        of_one.sort_by(|(one, _), (other, _)| one.cmp(other));
        let expected = [
            (id(Resource::Vm, 12), names("ACTIVE")),
            (odd.clone(), names("HOLD")),
            (id(Resource::Net, 12), names("")),
        ];
        assert_eq!(of_one, expected);
        let of_two = store.known_states("one2").expect("a read");
        assert_eq!(of_two, [(id(Resource::Vm, 12), names("DONE"))]);
        assert_eq!(store.known_states("on").expect("a read"), []);
        let baselines = store.baselines().expect("a read");
        let heard: Vec<_> = baselines
            .iter()
            .map(|(name, known)| (&**name, known.heard))
            .collect();
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(heard, [("one", at(7)), ("one2", at(8))]);
        let story = store.gap_story(Seq(1)).expect("a read").expect("a story");
        assert_eq!(story.raised, 3);
    };
    look(&desk.store);
    desk.close();
    salvage(&folder, |_| {}).expect("a sound store");
    let desk = Desk::open(&folder, keep_all());
    look(&desk.store);
    // It belongs to an event that was never there.
    assert_eq!(desk.store.gap_story(Seq(2)).expect("a read"), None);
    desk.write(vec![says("one", None)]).await;
    assert_eq!(desk.store.baselines().expect("a read").len(), 1);
    desk.close();
}

#[tokio::test]
async fn what_became_of_a_gap_goes_with_its_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let retention = Retention {
        unmatched_events: 1,
        ..keep_all()
    };
    let desk = Desk::open(folder.path(), retention);
    for seq in 1..=20 {
        let mut changes = accepted(event(seq, 5, b"x"), &[]);
        changes.push(told(seq));
        desk.write(changes).await;
    }
    desk.pruned("the oldest is gone", |summary| summary.unmatched_kept < 20)
        .await;
    assert_eq!(desk.store.gap_story(Seq(1)).expect("a read"), None);
    assert!(desk.store.gap_story(Seq(20)).expect("a read").is_some());
    // Catching up went on, and tells of a record that nobody can look at any more.
    desk.write(vec![told(1)]).await;
    assert_eq!(desk.store.gap_story(Seq(1)).expect("a read"), None);
    desk.close();
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn open_gap() -> impl Strategy<Value = OpenGap> {
    (time(), any::<Option<u64>>()).prop_map(|(from, record)| OpenGap {
        from,
        record: record.map(Seq),
    })
}

proptest! {
    #[test]
    fn stored_forms_read_back(
        (state, lcm_state) in (".{0,12}", prop::option::of(".{0,12}")),
        (heard, open) in (prop::option::of(time()), prop::collection::vec(open_gap(), 0..4)),
        (raised, live, unwanted, rebuilt) in any::<(u64, u64, u64, u64)>(),
        noted_only in prop::option::of(prop::sample::select(vec![NotedOnly::First, NotedOnly::OtherLed, NotedOnly::TooOld])),
        (failures, finished) in (any::<u64>(), prop::option::of(time())),
        last_error in prop::option::of((time(), ".{0,12}")),
    ) {
        let names = StateNames { state, lcm_state };
        prop_assert_eq!(read_state_names(&write_state_names(&names)).expect("what was written"), names);
        let totals = CatchUpTotals { raised, live, unwanted, rebuilt };
        let baseline = Baseline { heard, open, totals };
        prop_assert_eq!(read_baseline(&write_baseline(&baseline)).expect("what was written"), baseline);
        let story = GapStory { raised, live, unwanted, noted_only, failures, last_error, finished };
        prop_assert_eq!(read_gap_story(&write_gap_story(&story)).expect("what was written"), story);
    }
}
