//! `one.zone.raftstatus`: what an `oned` is among those of its zone.

use std::fmt;

use super::{AnswerFault, CallError, Client};
use crate::event::document;

/// What an `oned` is among the servers of its zone (`RaftManager::State` in include/RaftManager.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftState {
    /// There is no other server in the zone.
    Solo,
    /// It stands for election.
    Candidate,
    /// It follows the leader.
    Follower,
    /// It leads the zone.
    Leader,
    /// A number that this program does not know.
    Other(i64),
}

impl RaftState {
    const fn of(number: i64) -> Self {
        match number {
            0 => Self::Solo,
            1 => Self::Candidate,
            2 => Self::Follower,
            3 => Self::Leader,
            other => Self::Other(other),
        }
    }
}

/// In OpenNebula's own word.
impl fmt::Display for RaftState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Solo => f.write_str("SOLO"),
            Self::Candidate => f.write_str("CANDIDATE"),
            Self::Follower => f.write_str("FOLLOWER"),
            Self::Leader => f.write_str("LEADER"),
            Self::Other(number) => write!(f, "in the unknown state {number}"),
        }
    }
}

impl Client {
    /// `one.zone.raftstatus`: what this `oned` is in its zone. The call makes `oned` publish an event of its own, which the
    /// default `ignore_calls` drops.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn raft_state(&self) -> Result<RaftState, CallError> {
        const METHOD: &str = "one.zone.raftstatus";
        let text = self.text(METHOD, &[]).await?;
        state(&text).map_err(|source| CallError::Answer {
            endpoint: self.endpoint().clone(),
            method: METHOD.to_owned(),
            source,
        })
    }
}

/// The state in `<RAFT>…<STATE>3</STATE>…</RAFT>`.
fn state(text: &str) -> Result<RaftState, AnswerFault> {
    let root = document::parse(text).map_err(|fault| AnswerFault::Document(fault.to_string()))?;
    let stated = root.elements().find(|element| element.name == "STATE");
    stated
        .and_then(|element| element.text().trim().parse().ok())
        .map(RaftState::of)
        .ok_or_else(|| AnswerFault::NotOfOned("it says no state".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_state_is_read_as_oned_says_it() {
        let raft = |state: &str| {
            format!(
                "<RAFT><SERVER_ID>1</SERVER_ID><STATE>{state}</STATE><TERM>4</TERM><VOTEDFOR>-1</VOTEDFOR><COMMIT>70</COMMIT>\
                 <LOG_INDEX>70</LOG_INDEX><LOG_TERM>4</LOG_TERM><FEDLOG_INDEX>-1</FEDLOG_INDEX></RAFT>"
            )
        };
        for (number, expected, word) in [
            ("0", RaftState::Solo, "SOLO"),
            ("1", RaftState::Candidate, "CANDIDATE"),
            ("2", RaftState::Follower, "FOLLOWER"),
            ("3", RaftState::Leader, "LEADER"),
            ("4", RaftState::Other(4), "in the unknown state 4"),
        ] {
            let read = state(&raft(number)).expect("a state");
            assert_eq!((read, read.to_string().as_str()), (expected, word));
        }
        assert!(matches!(state(&raft("LEADER")), Err(AnswerFault::NotOfOned(_))));
        assert!(matches!(state("<RAFT/>"), Err(AnswerFault::NotOfOned(_))));
        assert!(matches!(state("<RAFT>"), Err(AnswerFault::Document(_))));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "\\PC{0,60}", state_text in "\\PC{0,12}") {
            let _ = state(&text);
            let _ = state(&format!("<RAFT><STATE>{state_text}</STATE></RAFT>"));
        }
    }
}
