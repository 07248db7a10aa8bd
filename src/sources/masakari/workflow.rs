//! What hem does with a notification, in Masakari's words: its status, and the details of its recovery workflow.

use serde::Serialize;

use super::instant::Instant;
use crate::engine::records::{Course, Phase, Stage, Try};
use crate::event::time::Timestamp;

/// The status of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    New,
    Running,
    Error,
    Failed,
    Ignored,
    Finished,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Running => "running",
            Self::Error => "error",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
            Self::Finished => "finished",
        }
    }
}

/// The status, and when it became so; none while nothing has happened yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) updated: Option<Timestamp>,
    /// Nothing more comes by itself.
    pub(super) is_final: bool,
}

/// Of what an event caused, where its notification stands.
pub(super) fn standing(stages: &[Stage], received: Timestamp) -> Standing {
    let any = |phase| stages.iter().any(|stage| stage.phase == phase);
    let is_any_settled = stages.iter().any(|stage| stage.phase.is_settled());
    let status = if any(Phase::Running) || is_any_settled && any(Phase::Waiting) {
        Status::Running
    } else if any(Phase::Retrying) {
        Status::Error
    } else if !is_any_settled && !stages.is_empty() {
        Status::New
    } else if any(Phase::Failed) || any(Phase::Cancelled) {
        Status::Failed
    } else if any(Phase::Succeeded) {
        Status::Finished
    } else {
        Status::Ignored
    };
    let last = stages
        .iter()
        .filter(|stage| stage.phase != Phase::Waiting)
        .map(|stage| stage.since)
        .max();
    Standing {
        status,
        updated: match status {
            Status::New => None,
            _ => Some(last.unwrap_or(received)),
        },
        is_final: stages.iter().all(|stage| stage.phase.is_settled()),
    }
}

/// One execution, in the form of a task of a workflow.
#[derive(Debug, Serialize)]
pub(super) struct Task {
    name: String,
    state: &'static str,
    progress: f64,
    progress_details: Vec<Detail>,
}

/// Something that happened to a task. Its progress is a text, unlike the task's.
#[derive(Debug, Serialize)]
struct Detail {
    timestamp: String,
    message: String,
    progress: &'static str,
}

/// The executions of a notification as tasks.
pub(super) fn details(courses: &[Course]) -> Vec<Task> {
    courses.iter().map(task).collect()
}

fn task(course: &Course) -> Task {
    let Stage { phase, since } = course.stage;
    let mut happened: Vec<Detail> = course.attempts.iter().flat_map(attempt).collect();
    let mut add = |message: String, progress| happened.push(detail(since, message, progress));
    match (phase, course.reason) {
        (Phase::Skipped, reason) => add(format!("Skipped: {}", reason.unwrap_or("by a policy")), "1.0"),
        (Phase::Cancelled, reason) => add(
            format!("Cancelled: {}", reason.unwrap_or("by an operator")),
            "1.0",
        ),
        (Phase::Retrying, _) => add("Waiting for the next attempt".to_owned(), "0.0"),
        (Phase::Waiting, _) => add("Waiting for its turn".to_owned(), "0.0"),
        (Phase::Running | Phase::Succeeded | Phase::Failed, _) => {}
    }
    Task {
        name: course.execution.hook.to_string(),
        state: match phase {
            Phase::Waiting => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Retrying => "RETRYING",
            Phase::Succeeded => "SUCCESS",
            Phase::Failed | Phase::Cancelled => "FAILURE",
            Phase::Skipped => "IGNORE",
        },
        progress: if phase.is_settled() { 1.0 } else { 0.0 },
        progress_details: happened,
    }
}

fn attempt(attempt: &Try) -> impl Iterator<Item = Detail> + use<> {
    let number = attempt.number;
    let program = attempt.program.as_deref().unwrap_or("the hook");
    let started = detail(
        attempt.released,
        format!("Attempt {number}: starting {program}"),
        "0.0",
    );
    let ended = attempt.ended.map(|(at, outcome, code)| {
        let how = outcome.replace('_', " ");
        let message = match code {
            Some(code) => format!("Attempt {number}: {how} {code}"),
            None => format!("Attempt {number}: {how}"),
        };
        detail(at, message, "1.0")
    });
    std::iter::once(started).chain(ended)
}

fn detail(at: Timestamp, message: String, progress: &'static str) -> Detail {
    Detail {
        timestamp: Instant::from(at).spaced(),
        message,
        progress,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::id::{ExecutionKey, HookName, Seq};

    fn stages(phases: &[Phase]) -> Vec<Stage> {
        phases
            .iter()
            .zip(1..)
            .map(|(&phase, second)| Stage {
                phase,
                since: Timestamp::from_millis(second * 1_000),
            })
            .collect()
    }

    #[test]
    fn the_first_of_the_rules_that_applies_gives_the_status() {
        use Phase::{Cancelled, Failed, Retrying, Running, Skipped, Succeeded, Waiting};
        for (phases, status) in [
            (&[][..], Status::Ignored),
            (&[Waiting], Status::New),
            (&[Waiting, Waiting], Status::New),
            (&[Waiting, Running], Status::Running),
            (&[Retrying, Running], Status::Running),
            (&[Failed, Waiting], Status::Running),
            (&[Skipped, Waiting, Retrying], Status::Running),
            (&[Retrying], Status::Error),
            (&[Retrying, Waiting], Status::Error),
            (&[Retrying, Succeeded], Status::Error),
            (&[Succeeded, Failed], Status::Failed),
            (&[Succeeded, Cancelled, Skipped], Status::Failed),
            (&[Succeeded, Skipped], Status::Finished),
            (&[Skipped, Skipped], Status::Ignored),
        ] {
            let standing = standing(&stages(phases), Timestamp::default());
            assert_eq!(standing.status, status, "{phases:?}");
            assert_eq!(standing.updated.is_none(), status == Status::New, "{phases:?}");
            let is_final = phases.iter().all(|phase| phase.is_settled());
            assert_eq!(standing.is_final, is_final, "{phases:?}");
        }
        let both = standing(&stages(&[Succeeded, Succeeded]), Timestamp::default());
        assert_eq!(both.updated, Some(Timestamp::from_millis(2_000)));
    }

    #[test]
    fn executions_are_tasks_with_their_attempts() {
        let at = Timestamp::from_millis;
        let course = Course {
            execution: ExecutionKey::new(Seq(12), HookName::trusted("fence")),
            stage: Stage {
                phase: Phase::Retrying,
                since: at(1_551_966_869_000),
            },
            reason: None,
            attempts: vec![Try {
                number: 1,
                released: at(1_551_966_868_842),
                program: Some("/opt/fence".to_owned()),
                ended: Some((at(1_551_966_869_000), "exited", Some(75))),
            }],
        };
        let told = serde_json::to_value(details(&[course])).expect("JSON");
        assert_eq!(
            told,
            serde_json::json!([{
                "name": "fence", "state": "RETRYING", "progress": 0.0,
                "progress_details": [
                    {"timestamp": "2019-03-07 13:54:28.842000", "message": "Attempt 1: starting /opt/fence", "progress": "0.0"},
                    {"timestamp": "2019-03-07 13:54:29.000000", "message": "Attempt 1: exited 75", "progress": "1.0"},
                    {"timestamp": "2019-03-07 13:54:29.000000", "message": "Waiting for the next attempt", "progress": "0.0"},
                ],
            }])
        );
    }
}
