//! Whether the `oned` beside this hem leads its zone: asked every two seconds, and told the engine.
//!
//! Publishing tells nothing: a follower publishes the API calls that it passes on to its leader.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::sentence;
use crate::engine::role::{Leadership, Standing, Stopping};
use crate::oned::{CallError, Client, RaftState};

/// Between two questions: of the order of the time in which a zone elects another leader (ELECTION_TIMEOUT_MS in oned.conf).
const ASK_EVERY: Duration = Duration::from_secs(2);

/// An `oned` that takes longer to say what it is has no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A leader that gives no answer so often in a row is none any more. A busy `oned` may miss one; an `oned` that is not there
/// cannot lead and is not asked twice.
const SILENT_AT_MOST: u32 = 2;

/// Asks `oned` and tells the engine how it stands, until `shutdown`.
pub async fn run(client: Client, leadership: Leadership, shutdown: CancellationToken) {
    let client = client.with_limit(ANSWER_WITHIN);
    let ask = move || {
        let client = client.clone();
        async move { client.raft_state().await }
    };
    shutdown
        .run_until_cancelled(watch(ASK_EVERY, ask, |standing| leadership.tell(standing)))
        .await;
}

/// Asks and tells until nobody is there to be told. A question that hem itself fails on is one without an answer: whoever
/// led is not taken for a leader for ever.
async fn watch<A, T>(every: Duration, ask: impl Fn() -> A, tell: impl Fn(Standing) -> T)
where
    A: Future<Output = Result<RaftState, CallError>>,
    T: Future<Output = Result<(), Stopping>>,
{
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silences = Silences::default();
    loop {
        rounds.tick().await;
        let standing = match AssertUnwindSafe(async { ask().await }).catch_unwind().await {
            Ok(answer) => silences.standing(answer),
            Err(_) => {
                tracing::error!("hem failed while it asked whether oned leads");
                Some(Standing::Unknown("hem failed while it asked oned".to_owned()))
            }
        };
        let Some(standing) = standing else {
            continue;
        };
        if tell(standing).await.is_err() {
            return;
        }
    }
}

/// How often in a row `oned` gave no answer.
#[derive(Debug, Default)]
struct Silences(u32);

impl Silences {
    /// What an answer, or none, says of how `oned` stands; none while that says nothing new.
    fn standing(&mut self, answer: Result<RaftState, CallError>) -> Option<Standing> {
        match answer {
            Ok(state) => {
                self.0 = 0;
                Some(match state {
                    RaftState::Solo => Standing::Solo,
                    RaftState::Leader => Standing::Leader,
                    other => Standing::NotLeading(other.to_string()),
                })
            }
            Err(error) => {
                self.0 += 1;
                let is_gone = matches!(error, CallError::NotReachable { .. });
                (is_gone || self.0 >= SILENT_AT_MOST).then(|| Standing::Unknown(sentence(&error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn too_slow() -> CallError {
        CallError::TooSlow {
            endpoint: "http://localhost:2633/RPC2".parse().expect("an endpoint"),
            method: "one.zone.raftstatus".to_owned(),
            limit: ANSWER_WITHIN,
        }
    }

    #[test]
    fn one_silence_is_forgiven_and_a_second_is_not() {
        let mut silences = Silences::default();
        assert_eq!(silences.standing(Ok(RaftState::Leader)), Some(Standing::Leader));
        assert_eq!(silences.standing(Err(too_slow())), None);
        assert_eq!(silences.standing(Ok(RaftState::Leader)), Some(Standing::Leader));
        assert_eq!(silences.standing(Err(too_slow())), None);
        let Some(Standing::Unknown(why)) = silences.standing(Err(too_slow())) else {
            panic!("it is not known to lead");
        };
        assert!(
            why.contains("did not answer `one.zone.raftstatus` within 3 s"),
            "{why}"
        );
    }

    #[tokio::test]
    async fn a_question_that_hem_itself_fails_on_has_no_answer_and_another_one_follows() {
        let (asked, told) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        let ask = || async {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            assert_ne!(before, 1, "as it must, in this test");
            Ok(RaftState::Leader)
        };
        let tell = |standing| {
            let mut told = told.lock().expect("a lock");
            told.push(standing);
            let is_enough = told.len() == 3;
            async move { if is_enough { Err(Stopping) } else { Ok(()) } }
        };
        watch(Duration::from_millis(1), ask, tell).await;
        let unknown = Standing::Unknown("hem failed while it asked oned".to_owned());
        let told = told.into_inner().expect("a lock");
        assert_eq!(told, [Standing::Leader, unknown, Standing::Leader]);
    }

    #[test]
    fn an_oned_that_is_not_there_does_not_lead() {
        let mut silences = Silences::default();
        assert_eq!(silences.standing(Ok(RaftState::Solo)), Some(Standing::Solo));
        let gone = CallError::NotReachable {
            endpoint: "http://localhost:2633/RPC2".parse().expect("an endpoint"),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        assert!(matches!(silences.standing(Err(gone)), Some(Standing::Unknown(_))));
        let follower = silences.standing(Ok(RaftState::Follower));
        assert_eq!(follower, Some(Standing::NotLeading("FOLLOWER".to_owned())));
    }
}
