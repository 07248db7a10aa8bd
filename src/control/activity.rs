//! How many executions reached their end in each of the last minutes, by how they ended.

use std::collections::BTreeMap;

use super::api::{ActivityView, MinuteView, Time};
use super::query::QueryError;
use crate::engine::execution::State;
use crate::event::time::Timestamp;
use crate::store::{ExecutionQuery, Store};

const MINUTE: i64 = 60_000;

/// Minutes told of when nobody says how many.
pub(super) const DEFAULT_MINUTES: u32 = 60;

/// Minutes told of at most.
const GREATEST_MINUTES: u32 = 24 * 60;

/// Executions looked at, at most: the newest.
const LARGEST_LOOK: usize = 100_000;

/// Counts the executions that were accepted within twice that time, so one that ran for longer than the time asked for is
/// not among them. The last minute is the one that goes on now.
///
/// # Errors
/// More minutes than a day has, or none; a store that cannot be read.
pub(super) fn of_minutes(store: &Store, minutes: u32, now: Timestamp) -> Result<ActivityView, QueryError> {
    if minutes == 0 || minutes > GREATEST_MINUTES {
        return Err(QueryError::Question {
            message: format!("`minutes` is {minutes}"),
            hint: Some(format!("it is a number from 1 to {GREATEST_MINUTES}")),
        });
    }
    let span = i64::from(minutes);
    let first = now.as_millis().div_euclid(MINUTE) - span + 1;
    let query = ExecutionQuery {
        since: Some(Timestamp::from_millis((first - span) * MINUTE)),
        limit: LARGEST_LOOK,
        ..ExecutionQuery::default()
    };
    let executions = store.executions(&query)?;
    let mut counted: BTreeMap<i64, BTreeMap<String, u64>> = (first..first + span)
        .map(|minute| (minute, BTreeMap::new()))
        .collect();
    for execution in &executions {
        let State::Settled { at, .. } = &execution.progress.state else {
            continue;
        };
        if let Some(minute) = counted.get_mut(&at.as_millis().div_euclid(MINUTE)) {
            *minute
                .entry(execution.progress.state.name().to_owned())
                .or_default() += 1;
        }
    }
    Ok(ActivityView {
        complete: executions.len() < LARGEST_LOOK,
        minutes: counted
            .into_iter()
            .map(|(minute, settled)| MinuteView {
                begin: Time(Timestamp::from_millis(minute * MINUTE)),
                settled,
            })
            .collect(),
    })
}
