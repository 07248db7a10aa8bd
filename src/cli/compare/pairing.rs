//! Which record of the controller and which execution of hem are the same: by hook and arguments, in the order of time.

use std::time::Duration;

use crate::event::time::Timestamp;

/// The controller's times are whole seconds, and two clocks are read.
const SLACK: Duration = Duration::from_secs(2);

/// An execution as the controller recorded it, when it had ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Theirs {
    /// Its number within the hook.
    pub(super) execution: u64,
    pub(super) at: Timestamp,
    /// Names the arguments.
    pub(super) digest: String,
    /// The arguments, to be shown.
    pub(super) line: String,
}

/// An execution of hem; one that was started several times stands here as often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ours {
    /// Its id.
    pub(super) execution: String,
    /// When its event came.
    pub(super) at: Timestamp,
    /// Names the arguments.
    pub(super) digest: String,
    /// The arguments, to be shown.
    pub(super) line: String,
    pub(super) fate: Fate,
}

/// What became of an execution of hem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It ran, or would have.
    Ran,
    /// It is under way or waits.
    Unfinished,
    /// It did not run, for this reason.
    NotRun(String),
}

/// Within which times two lists are compared.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// Records from before are not compared.
    pub(super) from: Timestamp,
    /// The controller keeps no older records than that: of events about then nobody knows whether they had one.
    pub(super) is_cut: bool,
    /// The lists were read then.
    pub(super) now: Timestamp,
    /// A record comes this long after its event at most: that is how long the script ran and waited for its turn.
    pub(super) tolerance: Duration,
    /// Times in which hem did not listen.
    pub(super) deaf: Vec<(Timestamp, Timestamp)>,
}

/// What came of setting the two lists of one hook side by side.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Paired {
    /// How many are in both.
    pub(super) both: u64,
    /// In the controller's list alone; with why hem did not run it, where it knows of it.
    pub(super) only_theirs: Vec<(Theirs, Option<String>)>,
    /// In hem's list alone.
    pub(super) only_ours: Vec<Ours>,
    /// In both, but with other arguments.
    pub(super) differing: Vec<(Theirs, Ours)>,
    /// Of hem's alone: it has not ended, or the other one may not have ended yet.
    pub(super) unfinished: Vec<Ours>,
    /// Of the controller's alone: the event may have come while hem did not listen.
    pub(super) unheard: u64,
}

impl Paired {
    /// Whether there is anything that the two did differently.
    pub(super) fn differs(&self) -> bool {
        !(self.only_theirs.is_empty() && self.only_ours.is_empty() && self.differing.is_empty())
    }
}

/// Sets the two lists of one hook side by side.
pub(super) fn pair(mut theirs: Vec<Theirs>, mut ours: Vec<Ours>, times: &Times) -> Paired {
    theirs.retain(|record| record.at >= times.from);
    theirs.sort_by_key(|record| (record.at, record.execution));
    ours.sort_by_key(|execution| execution.at);
    let (mut taken, mut paired) = (vec![false; ours.len()], Paired::default());
    let mut matched_before: Vec<&str> = Vec::new();
    let mut last_seen = None;
    let mut left = Vec::new();
    for record in theirs {
        let is_same = |own: &Ours| !matches!(own.fate, Fate::NotRun(_)) && own.digest == record.digest;
        match take(&ours, &mut taken, &record, times, is_same) {
            Some(at) => {
                paired.both += 1;
                last_seen = last_seen.max(Some(ours[at].at));
                // The oldest record that is kept is of an event before it in any case.
                let is_the_oldest = times.is_cut && record.at == times.from;
                if times.is_before(&ours[at]) && !is_the_oldest {
                    matched_before.push(&ours[at].digest);
                }
            }
            None => left.push(record),
        }
    }
    excuse(&ours, &mut taken, &matched_before, times);
    for record in left {
        let may_be = |own: &Ours| !matches!(own.fate, Fate::NotRun(_)) && !times.is_before(own);
        let not_run = |own: &Ours| matches!(own.fate, Fate::NotRun(_)) && own.digest == record.digest;
        if let Some(at) = take(&ours, &mut taken, &record, times, not_run) {
            let Fate::NotRun(why) = &ours[at].fate else {
                continue;
            };
            let why = why.clone();
            paired.only_theirs.push((record, Some(why)));
        } else if let Some(at) = take(&ours, &mut taken, &record, times, may_be) {
            paired.differing.push((record, ours[at].clone()));
        } else if times.is_unheard(record.at) {
            paired.unheard += 1;
        } else {
            paired.only_theirs.push((record, None));
        }
    }
    for (own, is_taken) in ours.into_iter().zip(taken) {
        if is_taken || times.is_before(&own) {
            continue;
        }
        match own.fate {
            Fate::NotRun(_) => {}
            Fate::Unfinished => paired.unfinished.push(own),
            // Whoever runs scripts side by side may still be at this one, if nothing later is known to have ended.
            Fate::Ran
                if own.at.plus(times.tolerance) > times.now
                    && last_seen.is_none_or(|seen| seen <= own.at) =>
            {
                paired.unfinished.push(own);
            }
            Fate::Ran => paired.only_ours.push(own),
        }
    }
    paired
}

/// Executions with equal arguments cannot be told apart. Where the record of one from before the comparison is gone, what was
/// paired with that one leaves one too many here.
fn excuse(ours: &[Ours], taken: &mut [bool], matched_before: &[&str], times: &Times) {
    for digest in matched_before {
        let is_too_many =
            |own: &Ours| own.fate == Fate::Ran && own.digest == **digest && !times.is_before(own);
        let mut left = ours.iter().zip(&mut *taken).filter(|(_, is_taken)| !**is_taken);
        if let Some((_, is_taken)) = left.find(|(own, _)| is_too_many(own)) {
            *is_taken = true;
        }
    }
}

/// Takes the first that fits and came at a time at which it can be the record's.
fn take(
    ours: &[Ours],
    taken: &mut [bool],
    record: &Theirs,
    times: &Times,
    fits: impl Fn(&Ours) -> bool,
) -> Option<usize> {
    let at = ours.iter().zip(&*taken).position(|(own, is_taken)| {
        let is_in_time =
            own.at <= record.at.plus(SLACK) && own.at.plus(times.tolerance).plus(SLACK) >= record.at;
        !is_taken && is_in_time && fits(own)
    })?;
    taken[at] = true;
    Some(at)
}

impl Times {
    /// Whether it is none of the comparison's, though its record may be.
    fn is_before(&self, own: &Ours) -> bool {
        let from = if self.is_cut {
            self.from.plus(SLACK)
        } else {
            self.from
        };
        own.at < from
    }

    fn is_unheard(&self, at: Timestamp) -> bool {
        let mut deaf = self.deaf.iter();
        deaf.any(|(from, to)| at.plus(SLACK) >= *from && at <= to.plus(self.tolerance).plus(SLACK))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn theirs(execution: u64, seconds: i64, digest: &str) -> Theirs {
        Theirs {
            execution,
            at: at(seconds),
            digest: digest.to_owned(),
            line: digest.to_owned(),
        }
    }

    fn ours(execution: &str, seconds: i64, digest: &str) -> Ours {
        Ours {
            execution: execution.to_owned(),
            at: at(seconds),
            digest: digest.to_owned(),
            line: digest.to_owned(),
            fate: Fate::Ran,
        }
    }

    fn times() -> Times {
        Times {
            from: at(0),
            is_cut: false,
            now: at(10_000),
            tolerance: Duration::from_secs(60),
            deaf: Vec::new(),
        }
    }

    fn names(list: &[Ours]) -> Vec<&str> {
        list.iter().map(|own| own.execution.as_str()).collect()
    }

    #[test]
    fn equal_arguments_are_counted_and_paired_in_the_order_of_time() {
        let paired = pair(
            vec![theirs(2, 130, "a"), theirs(0, 100, "a"), theirs(1, 101, "b")],
            vec![ours("3", 129, "a"), ours("1", 99, "a"), ours("2", 100, "b")],
            &times(),
        );
        assert_eq!((paired.both, paired.differs()), (3, false), "{paired:?}");
        let paired = pair(
            vec![theirs(0, 100, "a"), theirs(1, 101, "a")],
            vec![ours("1", 99, "a"), ours("2", 100, "a"), ours("3", 100, "a")],
            &times(),
        );
        assert_eq!(
            (paired.both, names(&paired.only_ours)),
            (2, vec!["3"]),
            "one too many"
        );
    }

    #[test]
    fn what_only_one_has_and_what_differs_is_told_apart() {
        let paired = pair(
            vec![theirs(0, 100, "a"), theirs(1, 200, "x"), theirs(2, 500, "gone")],
            vec![
                ours("1", 99, "a"),
                ours("2", 198, "y"),
                ours("3", 300, "b"),
                ours("4", 9_000, "c"),
            ],
            &times(),
        );
        assert_eq!(paired.both, 1);
        assert_eq!(paired.differing, [(theirs(1, 200, "x"), ours("2", 198, "y"))]);
        assert_eq!(paired.only_theirs, [(theirs(2, 500, "gone"), None)]);
        assert_eq!(names(&paired.only_ours), ["3", "4"]);
        assert!(paired.differs());
    }

    #[test]
    fn a_record_belongs_to_no_event_after_it_and_none_long_before() {
        let paired = pair(
            vec![theirs(0, 100, "a"), theirs(1, 300, "a")],
            vec![ours("early", 237, "a"), ours("late", 103, "a")],
            &times(),
        );
        assert_eq!(
            (paired.both, paired.only_theirs.len(), paired.only_ours.len()),
            (0, 2, 2)
        );
    }

    #[test]
    fn before_the_log_reaches_nothing_is_compared_but_its_first_record_finds_its_event() {
        let times = Times {
            from: at(100),
            is_cut: true,
            ..times()
        };
        let paired = pair(
            vec![theirs(5, 100, "a"), theirs(6, 120, "a")],
            vec![ours("1", 50, "a"), ours("2", 95, "b"), ours("3", 119, "a")],
            &times,
        );
        assert_eq!((paired.both, paired.differs()), (2, false), "{paired:?}");
    }

    #[test]
    fn equal_ones_whose_records_are_gone_are_not_too_many() {
        let every = |seconds: i64, from: u64, to: u64| {
            let theirs = (from..to)
                .map(|n| theirs(n, n as i64 * seconds + 1, "a"))
                .collect();
            let ours = (0..to)
                .map(|n| ours(&n.to_string(), n as i64 * seconds, "a"))
                .collect();
            let times = Times {
                from: at(from as i64 * seconds + 1),
                is_cut: true,
                ..times()
            };
            (theirs, ours, times)
        };
        for seconds in [0, 1, 10, 50] {
            let (theirs, mut ours, times): (_, Vec<Ours>, _) = every(seconds, 10, 30);
            let paired = pair(theirs, ours.clone(), &times);
            assert_eq!(
                (paired.both, paired.differs()),
                (20, false),
                "every {seconds} s: {paired:?}"
            );
            if seconds > 1 {
                let (theirs, _, _) = every(seconds, 10, 30);
                let extra = ours[25].clone();
                ours.push(extra);
                let paired = pair(theirs, ours, &times);
                assert_eq!(paired.only_ours.len(), 1, "every {seconds} s: {paired:?}");
            }
        }
    }

    #[test]
    fn what_has_not_ended_is_held_against_nobody() {
        let times = Times {
            now: at(150),
            ..times()
        };
        let waits = Ours {
            fate: Fate::Unfinished,
            ..ours("waits", 100, "a")
        };
        let paired = pair(
            vec![theirs(0, 111, "b")],
            vec![waits, ours("b", 110, "b"), ours("c", 140, "c")],
            &times,
        );
        assert_eq!((paired.both, names(&paired.unfinished)), (1, vec!["waits", "c"]));
        assert!(!paired.differs());
        // Something that came later has ended there: this one is missing.
        let paired = pair(
            vec![theirs(0, 145, "b")],
            vec![ours("c", 140, "c"), ours("b", 144, "b")],
            &times,
        );
        assert_eq!(names(&paired.only_ours), ["c"]);
    }

    #[test]
    fn what_hem_did_not_run_says_why_and_what_it_did_not_hear_is_not_held_against_it() {
        let throttled = Ours {
            fate: Fate::NotRun("throttled".to_owned()),
            ..ours("1", 100, "a")
        };
        let times = Times {
            deaf: vec![(at(400), at(500))],
            ..times()
        };
        let paired = pair(
            vec![theirs(0, 101, "a"), theirs(1, 530, "z"), theirs(2, 700, "y")],
            vec![throttled],
            &times,
        );
        assert_eq!(
            paired.only_theirs,
            [
                (theirs(0, 101, "a"), Some("throttled".to_owned())),
                (theirs(2, 700, "y"), None)
            ]
        );
        assert_eq!(paired.unheard, 1);
    }

    proptest! {
        /// Whatever the lists are, each entry is counted once, and two equal lists do not differ.
        #[test]
        fn every_entry_is_counted_once(
            records in prop::collection::vec((0_i64..2_000, "[ab]"), 0..12),
            executions in prop::collection::vec((0_i64..2_000, "[ab]", 0_u8..3), 0..12),
        ) {
            let fate = |kind| match kind {
                0 => Fate::Ran,
                1 => Fate::Unfinished,
                _ => Fate::NotRun("muted".to_owned()),
            };
            let theirs: Vec<Theirs> = (0..).zip(&records).map(|(n, (s, digest))| theirs(n, *s, digest)).collect();
            let ours: Vec<Ours> = executions
                .iter()
                .enumerate()
                .map(|(n, (s, digest, kind))| Ours { fate: fate(*kind), ..ours(&n.to_string(), *s, digest) })
                .collect();
            let ran = ours.iter().filter(|own| !matches!(own.fate, Fate::NotRun(_))).count();
            let paired = pair(theirs.clone(), ours, &times());
            let both = paired.both as usize + paired.differing.len();
            prop_assert_eq!(both + paired.only_theirs.len() + paired.unheard as usize, theirs.len());
            prop_assert_eq!(both + paired.only_ours.len() + paired.unfinished.len(), ran);

            let same = theirs.iter().map(|record| Ours {
                execution: record.execution.to_string(),
                at: record.at,
                digest: record.digest.clone(),
                line: String::new(),
                fate: Fate::Ran,
            });
            let paired = pair(theirs.clone(), same.collect(), &times());
            prop_assert_eq!((paired.both as usize, paired.differs()), (theirs.len(), false));
        }
    }
}
