//! What of a partition is on its way. Decides, and does nothing: what is read is taken in, handed over in its order, and held until it
//! is accepted; where something is refused, all behind it waits and is handed over again.

use std::collections::VecDeque;

/// What of a partition is on its way.
#[derive(Debug)]
pub(super) struct Lane<T> {
    /// The offset behind the last record that was taken in.
    taken: i64,
    /// The offset behind the last record that was accepted.
    accepted: i64,
    /// What is not accepted yet, by its offset, in order.
    held: VecDeque<(i64, T)>,
    /// So many of them, the first ones, are handed over and not answered for.
    under_way: usize,
    /// Of those that were handed over one was refused.
    is_refused: bool,
}

impl<T> Lane<T> {
    /// Nothing before this offset is wanted.
    pub(super) const fn new(next: i64) -> Self {
        Self {
            taken: next,
            accepted: next,
            held: VecDeque::new(),
            under_way: 0,
            is_refused: false,
        }
    }

    /// Takes a record in that was read; false where it was taken in before.
    pub(super) fn take(&mut self, offset: i64, item: T) -> bool {
        if offset < self.taken {
            return false;
        }
        self.taken = offset.saturating_add(1);
        self.held.push_back((offset, item));
        true
    }

    /// What is to be handed over next, if anything is.
    pub(super) fn next(&self) -> Option<(i64, &T)> {
        if self.is_refused {
            return None;
        }
        self.held
            .get(self.under_way)
            .map(|(offset, item)| (*offset, item))
    }

    /// It was handed over, and an answer will come.
    pub(super) fn handed_over(&mut self) {
        self.under_way += 1;
    }

    /// It was not even taken.
    pub(super) fn turned_away(&mut self) {
        self.is_refused = true;
    }

    /// The record of this offset is accepted; gives back what was held of it.
    pub(super) fn accepted(&mut self, offset: i64) -> Option<T> {
        let (first, _) = self.held.front()?;
        if *first != offset || self.under_way == 0 {
            return None;
        }
        self.under_way -= 1;
        self.accepted = offset.saturating_add(1);
        self.held.pop_front().map(|(_, item)| item)
    }

    /// A record that was handed over is refused, and so is all that was handed over behind it.
    pub(super) fn refused(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.is_refused = true;
    }

    /// Whether something waits to be handed over again.
    pub(super) const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Begins again with the first record that is not accepted; false while answers are still to come.
    pub(super) fn begin_anew(&mut self) -> bool {
        if self.under_way > 0 {
            return false;
        }
        self.is_refused = false;
        true
    }

    /// The offset behind the last record that was accepted.
    pub(super) const fn next_to_accept(&self) -> i64 {
        self.accepted
    }

    /// What is not accepted yet.
    #[cfg(test)]
    pub(super) fn held(&self) -> impl Iterator<Item = &T> {
        self.held.iter().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_are_dropped_by_their_offset() {
        let mut lane = Lane::new(5);
        assert!(!lane.take(4, 'a'));
        assert!(lane.take(5, 'b'));
        assert!(!lane.take(5, 'b'));
        // A broker leaves offsets out where it compacts.
        assert!(lane.take(9, 'c'));
        assert!(!lane.take(7, 'd'));
        assert_eq!(lane.held().collect::<String>(), "bc");
    }

    #[test]
    fn behind_what_was_refused_everything_waits_and_begins_with_it() {
        let mut lane = Lane::new(0);
        for offset in 0..3 {
            lane.take(offset, offset);
            lane.handed_over();
        }
        assert_eq!(lane.accepted(0), Some(0));
        lane.refused();
        assert!(lane.is_refused() && lane.next().is_none());
        assert!(!lane.begin_anew(), "one answer is still to come");
        lane.refused();
        assert!(lane.begin_anew());
        assert_eq!(lane.next(), Some((1, &1)));
        assert_eq!(lane.next_to_accept(), 1);
    }

    /// What may happen to a lane.
    #[derive(Debug, Clone)]
    enum Step {
        Read(i64),
        HandOver,
        TurnAway,
        Answer { is_accepted: bool },
        BeginAnew,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0_i64..40).prop_map(Step::Read),
            4 => Just(Step::HandOver),
            1 => Just(Step::TurnAway),
            3 => any::<bool>().prop_map(|is_accepted| Step::Answer { is_accepted }),
            2 => Just(Step::BeginAnew),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn all_that_is_read_is_accepted_once_and_in_its_order(steps in steps()) {
            let mut lane = Lane::new(0);
            let mut read: Vec<i64> = Vec::new();
            let mut accepted: Vec<i64> = Vec::new();
            // What the engine has: behind a refusal it refuses everything, until the sequence begins anew.
            let mut engine: VecDeque<i64> = VecDeque::new();
            let mut is_cut = false;
            let answer = |lane: &mut Lane<i64>, engine: &mut VecDeque<i64>, is_cut: &mut bool, is_accepted: bool, accepted: &mut Vec<i64>| {
                let Some(offset) = engine.pop_front() else { return };
                if is_accepted && !*is_cut {
                    assert_eq!(lane.accepted(offset), Some(offset));
                    accepted.push(offset);
                } else {
                    *is_cut = true;
                    lane.refused();
                }
            };
            for step in steps {
                match step {
                    Step::Read(offset) => {
                        let is_new = read.last().is_none_or(|last| offset > *last);
                        prop_assert_eq!(lane.take(offset, offset), is_new);
                        if is_new {
                            read.push(offset);
                        }
                    }
                    Step::HandOver => {
                        if let Some((offset, _)) = lane.next() {
                            prop_assert!(!is_cut || !engine.is_empty(), "it knows of a refusal once all is answered");
                            engine.push_back(offset);
                            lane.handed_over();
                        }
                    }
                    Step::TurnAway => {
                        if lane.next().is_some() {
                            lane.turned_away();
                            is_cut = true;
                        }
                    }
                    Step::Answer { is_accepted } => {
                        answer(&mut lane, &mut engine, &mut is_cut, is_accepted, &mut accepted);
                    }
                    Step::BeginAnew => {
                        if lane.is_refused() && lane.begin_anew() {
                            prop_assert!(engine.is_empty());
                            is_cut = false;
                        }
                    }
                }
                let next = accepted.last().map_or(0, |last| last + 1);
                prop_assert_eq!(lane.next_to_accept(), next);
            }
            // In the end everything is taken.
            while accepted.len() < read.len() {
                while !engine.is_empty() {
                    answer(&mut lane, &mut engine, &mut is_cut, true, &mut accepted);
                }
                if lane.is_refused() && lane.begin_anew() {
                    is_cut = false;
                }
                while let Some((offset, _)) = lane.next() {
                    engine.push_back(offset);
                    lane.handed_over();
                }
            }
            prop_assert_eq!(accepted, read);
            prop_assert_eq!(lane.held().count(), 0);
        }
    }
}
