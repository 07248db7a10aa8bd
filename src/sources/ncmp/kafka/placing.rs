//! Where a partition is read from. Decides, and asks nobody.

use crate::config::ncmp::KafkaStart;
use crate::event::ncmp::mark::{Mark, Read, Target};

/// What is known of a partition before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// How far it was read, as it is kept here.
    pub mark: Option<Mark>,
    /// How far the group has read it, as the broker has it.
    pub committed: Option<i64>,
    /// The offset of the oldest record that the broker has.
    pub oldest: i64,
    /// The offset that the next record will get.
    pub end: i64,
    /// Where a time that was asked for begins.
    pub at_time: Option<i64>,
    /// The partition was made after the topic was first seen.
    pub is_young: bool,
    /// The last record that was accepted is not the one that is there: the topic was made anew.
    pub is_another: bool,
}

/// Where it is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    /// The first record that is wanted.
    pub read: Read,
    /// The record before it is to be looked at first.
    pub looks_back: Option<LookBack>,
    /// That must be kept before the first record is read.
    pub is_new: bool,
    /// What was missed.
    pub missed: Option<Missed>,
}

/// The last record that was accepted, which must still be there: a broker may have lost its records and got others since, and what it
/// says of its end alone is no proof of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookBack {
    /// Its offset.
    pub offset: i64,
    /// By what it is known again; none where another member of the group read it.
    pub print: Option<String>,
    /// It must come, since the broker says that it ends before it; otherwise it may have been removed.
    pub is_due: bool,
}

/// What was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// The broker has removed records from here up to there.
    Removed {
        /// The first one.
        from: i64,
        /// The first one that is still there.
        to: i64,
    },
    /// The broker has other records than those that were read: it lost them, or the topic was made anew.
    Anew {
        /// Up to where the former ones were read.
        read: i64,
        /// The offset that the next record will get.
        end: i64,
    },
}

impl Missed {
    /// How many records are known to be lost.
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Removed { from, to } => u64::try_from(to.saturating_sub(from)).unwrap_or(0),
            Self::Anew { .. } => 0,
        }
    }
}

/// Says where a partition is read from.
pub(super) fn begin(known: &Known, start: KafkaStart) -> Begin {
    let newly = |read: Read, missed: Option<Missed>| Begin {
        read,
        looks_back: None,
        is_new: true,
        missed,
    };
    let mark = match &known.mark {
        Some(Mark::Seek(target)) => {
            let wanted = match *target {
                Target::Earliest => known.oldest,
                Target::Latest => known.end,
                Target::Offset(offset) => offset,
                Target::Time(_) => known.at_time.unwrap_or(known.end),
            };
            let read = Read {
                overrules: known.committed,
                ..Read::up_to(wanted.min(known.end).max(known.oldest))
            };
            return newly(read, None);
        }
        Some(Mark::Read(read)) => Some(read),
        None => None,
    };
    let overruled = mark.and_then(|read| read.overrules);
    let committed = known.committed.filter(|committed| Some(*committed) != overruled);
    let next = match (mark.map(|read| read.next), committed) {
        (Some(here), Some(there)) => here.max(there),
        (Some(next), None) | (None, Some(next)) => next,
        (None, None) => {
            let is_from_its_beginning = known.is_young || start == KafkaStart::Earliest;
            let next = if is_from_its_beginning {
                known.oldest
            } else {
                known.end
            };
            return newly(Read::up_to(next), None);
        }
    };
    let print = mark
        .filter(|read| read.next == next)
        .and_then(|read| read.print.clone());
    let is_due = next > known.end;
    let looks_back = (next > known.oldest && (is_due || print.is_some())).then(|| LookBack {
        offset: next - 1,
        print,
        is_due,
    });
    if known.is_another {
        let missed = Missed::Anew {
            read: next,
            end: known.end,
        };
        let read = Read {
            overrules: known.committed,
            ..Read::up_to(known.oldest)
        };
        return newly(read, Some(missed));
    }
    if next < known.oldest {
        let missed = Missed::Removed {
            from: next,
            to: known.oldest,
        };
        let read = Read {
            overrules: overruled,
            ..Read::up_to(known.oldest)
        };
        return newly(read, Some(missed));
    }
    match mark {
        Some(read) if read.next == next => Begin {
            looks_back,
            read: read.clone(),
            is_new: false,
            missed: None,
        },
        _ => Begin {
            is_new: false,
            looks_back,
            ..newly(Read::up_to(next), None)
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRESH: Known = Known {
        mark: None,
        committed: None,
        oldest: 10,
        end: 100,
        at_time: None,
        is_young: false,
        is_another: false,
    };

    fn read(next: i64) -> Option<Mark> {
        Some(Mark::Read(Read::up_to(next)))
    }

    fn latest(known: &Known) -> (i64, Option<Missed>) {
        let begin = begin(known, KafkaStart::Latest);
        (begin.read.next, begin.missed)
    }

    #[test]
    fn the_very_first_reading_begins_where_the_configuration_says_and_that_is_kept() {
        let first = begin(&FRESH, KafkaStart::Latest);
        assert_eq!((first.read.next, first.is_new, first.missed), (100, true, None));
        let first = begin(&FRESH, KafkaStart::Earliest);
        assert_eq!((first.read.next, first.is_new, first.missed), (10, true, None));
    }

    #[test]
    fn what_was_made_after_the_topic_was_first_seen_is_read_from_its_beginning() {
        let young = Known {
            is_young: true,
            ..FRESH
        };
        assert_eq!(latest(&young), (10, None));
        // Once it was read it is like any other.
        let known = Known {
            mark: read(50),
            ..young
        };
        assert_eq!(latest(&known), (50, None));
    }

    #[test]
    fn it_goes_on_at_the_later_one_of_what_is_kept_here_and_what_the_group_committed() {
        for (here, there, at) in [
            (Some(50), Some(40), 50),
            (Some(40), Some(50), 50),
            (None, Some(60), 60),
            (Some(70), None, 70),
        ] {
            let known = Known {
                mark: here.and_then(read),
                committed: there,
                ..FRESH
            };
            assert_eq!(latest(&known), (at, None), "{here:?} {there:?}");
        }
    }

    #[test]
    fn what_the_broker_has_removed_is_a_gap_and_the_oldest_record_is_next() {
        let known = Known {
            mark: read(4),
            ..FRESH
        };
        let missed = Missed::Removed { from: 4, to: 10 };
        assert_eq!(latest(&known), (10, Some(missed)));
        assert_eq!(missed.count(), 6);
        // Nothing of what was not read was removed.
        let known = Known {
            mark: read(10),
            ..FRESH
        };
        assert_eq!(latest(&known), (10, None));
    }

    #[test]
    fn a_broker_that_begins_again_is_a_gap_and_its_oldest_record_is_next() {
        // What it says of its end is no proof: the last record that was accepted is looked for.
        let known = Known {
            mark: read(101),
            ..FRESH
        };
        assert_eq!(latest(&known), (101, None));
        let missed = Missed::Anew { read: 101, end: 100 };
        let known = Known {
            is_another: true,
            ..known
        };
        assert_eq!(latest(&known), (10, Some(missed)));
        let known = Known {
            mark: read(50),
            committed: Some(50),
            is_another: true,
            ..FRESH
        };
        let begun = begin(&known, KafkaStart::Latest);
        assert_eq!(begun.missed, Some(Missed::Anew { read: 50, end: 100 }));
        // What the group has committed of the former topic does not bring hem past the records of this one.
        let again = Known {
            mark: Some(Mark::Read(begun.read)),
            is_another: false,
            ..known
        };
        assert_eq!(latest(&again), (10, None));
    }

    #[test]
    fn the_record_before_is_looked_at_where_it_is_there_and_known() {
        let mark = |next| {
            Some(Mark::Read(Read {
                print: Some("x".to_owned()),
                ..Read::up_to(next)
            }))
        };
        let looks_back = |mark: Option<Mark>, committed| {
            let known = Known {
                mark,
                committed,
                ..FRESH
            };
            let looks_back = begin(&known, KafkaStart::Latest).looks_back;
            looks_back.map(|last| (last.offset, last.is_due))
        };
        assert_eq!(looks_back(mark(50), Some(50)), Some((49, false)));
        assert_eq!(looks_back(mark(100), None), Some((99, false)));
        assert_eq!(
            looks_back(mark(101), None),
            Some((100, true)),
            "the broker says it ends before"
        );
        assert_eq!(looks_back(mark(10), None), None, "it is removed");
        assert_eq!(looks_back(mark(50), Some(60)), None, "another member read it");
        assert_eq!(looks_back(read(50), None), None, "it is not known");
    }

    #[test]
    fn a_rewind_is_not_undone_by_what_the_group_committed_before() {
        let sought = |target| Known {
            mark: Some(Mark::Seek(target)),
            committed: Some(90),
            ..FRESH
        };
        assert_eq!(latest(&sought(Target::Earliest)), (10, None));
        assert_eq!(latest(&sought(Target::Latest)), (100, None));
        assert_eq!(latest(&sought(Target::Offset(20))), (20, None));
        assert_eq!(latest(&sought(Target::Offset(3))), (10, None));
        assert_eq!(latest(&sought(Target::Offset(300))), (100, None));
        let in_time = Known {
            at_time: Some(33),
            ..sought(Target::Time(5))
        };
        assert_eq!(latest(&in_time), (33, None));
        assert_eq!(
            latest(&sought(Target::Time(5))),
            (100, None),
            "nothing is that late"
        );

        let begun = begin(&sought(Target::Offset(20)), KafkaStart::Latest);
        assert!(begun.is_new);
        let again = |committed| {
            let known = Known {
                mark: Some(Mark::Read(begun.read.clone())),
                committed,
                ..FRESH
            };
            latest(&known).0
        };
        // Before anything was committed anew, and after it.
        assert_eq!(again(Some(90)), 20);
        assert_eq!(again(Some(20)), 20);
        assert_eq!(again(Some(95)), 95, "another member has read on");
    }

    proptest! {
        #[test]
        fn wherever_it_begins_there_is_a_record_or_the_end(
            mark in proptest::option::of((0_i64..40, any::<bool>())),
            committed in proptest::option::of(0_i64..40),
            seek in proptest::option::of(-5_i64..40),
            oldest in 0_i64..30,
            length in 0_i64..30,
            is_young: bool,
            is_another: bool,
            is_earliest: bool,
        ) {
            let end = oldest + length;
            let known = Known {
                mark: match (seek, mark) {
                    (Some(offset), _) => Some(Mark::Seek(Target::Offset(offset))),
                    (None, Some((next, is_rewound))) => Some(Mark::Read(Read { overrules: committed.filter(|_| is_rewound), ..Read::up_to(next) })),
                    (None, None) => None,
                },
                committed, oldest, end, at_time: None, is_young, is_another,
            };
            let start = if is_earliest { KafkaStart::Earliest } else { KafkaStart::Latest };
            let begun = begin(&known, start);
            let is_looked_for = begun.looks_back.as_ref().is_some_and(|last| last.is_due);
            prop_assert_eq!(is_looked_for, begun.read.next > end);
            prop_assert!(begun.read.next >= oldest);
            prop_assert!(begun.missed.is_none() || begun.is_new, "what was missed is told once");
            // What an operator overruled does not count.
            let counts = committed.filter(|_| !mark.is_some_and(|(_, is_rewound)| is_rewound));
            let next = mark.map(|(next, _)| next).max(counts);
            if let Some(next) = next && seek.is_none() && begun.missed.is_none() {
                prop_assert_eq!(begun.read.next, next);
            }
            // Kept, and read again before anything was committed, it begins at the same place and tells nothing twice.
            let again = Known { mark: Some(Mark::Read(begun.read.clone())), is_another: false, is_young: false, ..known };
            let second = begin(&again, start);
            prop_assert_eq!(second.missed, None);
            prop_assert_eq!(second.read.next, begun.read.next);
        }
    }
}
