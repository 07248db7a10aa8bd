//! What a former life left is taken over.

use super::{Dispatcher, Left};
use crate::engine::core::Record;
use crate::engine::execution::{EndedAttempt, Progress, Settlement, State};
use crate::runner::{Captured, Outcome};
use crate::store::writer::{Change, Closed};

impl Dispatcher {
    /// Takes over what a former life left unsettled. What had not been started and has no hook in force any more is
    /// cancelled; what was started and has no definition any more fails.
    pub(super) async fn recover(&mut self, left: Left) -> Result<(), Closed> {
        let Left {
            unsettled,
            mutes,
            past,
        } = left;
        let now = self.clock.now();
        self.parts.room.look(unsettled.len());
        for (execution, hook) in past {
            self.core.remember(&execution, &hook, now);
        }
        let in_force = self.parts.hooks.now();
        let mut changes = Vec::new();
        let mut taken_up = Vec::new();
        let mut letters = Vec::new();
        for (execution, hook) in unsettled {
            if let State::Running { attempt, .. } = execution.progress.state {
                let ended = EndedAttempt {
                    at: now,
                    outcome: Outcome::Interrupted,
                    stdout: Captured::default(),
                    stderr: Captured::default(),
                    outputs_pruned: false,
                };
                let (key, outbox) = (execution.key.clone(), &self.parts.outbox);
                letters.extend(
                    hook.as_ref()
                        .and_then(|hook| outbox.letter(hook, &key, attempt, &ended, None)),
                );
                let ended = Box::new(ended);
                changes.push(Change::Ended { key, attempt, ended });
            }
            let is_untouched = execution.progress.attempts == 0
                && !matches!(execution.progress.state, State::Running { .. });
            let withdrawn = in_force
                .not_in_force(&execution.key.hook)
                .filter(|_| is_untouched)
                .map(Settlement::Cancelled);
            match (withdrawn, hook) {
                (None, Some(hook)) => taken_up.push((execution, hook)),
                (withdrawn, _) => {
                    let left = execution.progress.state.name();
                    let wished = match &execution.progress.state {
                        State::Running { ended_for, .. } => ended_for.clone().map(Settlement::Cancelled),
                        _ => None,
                    };
                    let state = State::Settled {
                        settlement: withdrawn.or(wished).unwrap_or(Settlement::Failed),
                        at: now,
                    };
                    let progress = Progress {
                        state,
                        ..execution.progress
                    };
                    changes.push(Change::Record(Record::Progressed {
                        key: execution.key,
                        left,
                        progress,
                    }));
                }
            }
        }
        changes.extend(letters.iter().map(|letter| Change::Owed(letter.owed.clone())));
        let (step, outbox) = (self.core.recover(taken_up, mutes, now), self.parts.outbox.clone());
        self.submit(changes, step, move || {
            for letter in letters {
                outbox.post(letter);
            }
        })
        .await
    }
}
