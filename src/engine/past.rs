//! What a former life left that counts for policies: the newest executions of each hook, as far back as its throttle, loop
//! guard and breaker look.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Kind;
use crate::event::time::Timestamp;
use crate::hooks::{Hook, HookSet};
use crate::store::{ReadError, Store};

use super::execution::Execution;

/// No more executions of one hook are read back than this.
const READ_BACK: usize = 10_000;

/// A failure is looked for among that many executions for each one that the breaker counts: they fail in another order than
/// they were accepted in.
const LOOKED_AT_PER_FAILURE: usize = 10;

/// The executions to remember, each with its hook as it is in force. What cannot be read is passed over: its counts begin anew.
pub(super) fn past(store: &Store, hooks: &HookSet, now: Timestamp) -> Vec<(Execution, Arc<Hook>)> {
    let mut found = Vec::new();
    for hook in hooks.iter() {
        match of_hook(store, hook, now) {
            Ok(executions) => found.extend(executions.into_iter().map(|one| (one, Arc::clone(hook)))),
            Err(error) => tracing::warn!(
                hook = %hook.name, error = &error as &dyn std::error::Error,
                "cannot read back what counts for its policies; they begin anew"
            ),
        }
    }
    found
}

fn of_hook(store: &Store, hook: &Hook, now: Timestamp) -> Result<Vec<Execution>, ReadError> {
    let policy = &hook.policy;
    let counted_by_acceptance = policy.throttle.map(|throttle| throttle.per).into_iter();
    let counted_by_acceptance = counted_by_acceptance.chain(policy.loop_guard.map(|guard| guard.per));
    let longest = counted_by_acceptance.max().unwrap_or(Duration::ZERO);
    let looked_at = policy
        .breaker
        .map_or(0, |breaker| breaker.failures * LOOKED_AT_PER_FAILURE);
    let mut read = 0;
    let mut executions = store.newest(&hook.name, |execution| {
        read += 1;
        read <= READ_BACK && (read <= looked_at || execution.accepted.plus(longest) > now)
    })?;
    // Only hooks that stand for one of the controller's are asked for by RETRY messages, which count for nothing.
    if hook.oned_id.is_some() {
        let mut counts = Vec::with_capacity(executions.len());
        for execution in &executions {
            let event = store.event_header(execution.key.event)?;
            counts.push(event.is_none_or(|listed| listed.event.kind() != Kind::Retry));
        }
        let mut counts = counts.into_iter();
        executions.retain(|_| counts.next().unwrap_or(true));
    }
    Ok(executions)
}
