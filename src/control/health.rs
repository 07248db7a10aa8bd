//! Whether the daemon lives and can do its work, for whoever asks, without a secret.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::api::{AliveView, ReadyView, UnreadyReason};
use super::operations::As;
use super::room::Room;
use crate::engine::handle::{Standing, Stopping};

/// The rounds of the daemon's parts take less where it does its work.
const LONGEST_ROUND: Duration = Duration::from_secs(5);

/// An answer holds for so long.
const KEPT: Duration = Duration::from_secs(1);

/// Whoever gets this answer knows that the daemon answers.
pub(super) async fn alive() -> Json<AliveView> {
    Json(AliveView { alive: true })
}

/// What was found last, and when.
#[derive(Debug, Default)]
pub(super) struct Last(Mutex<Option<(Instant, ReadyView)>>);

/// Whether intake, scheduler and writer make their rounds, and new work is accepted.
pub(super) async fn ready(State(room): State<Arc<Room>>) -> As<Json<ReadyView>> {
    // Anybody may ask, so asking often must not cost more.
    let mut last = room.ready.0.lock().await;
    let view = match &*last {
        Some((at, view)) if at.elapsed() < KEPT => view.clone(),
        _ => {
            let view = look(&room).await;
            *last = Some((Instant::now(), view.clone()));
            view
        }
    };
    drop(last);
    let code = if view.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    As::new((code, Json(view)).into_response())
}

async fn look(room: &Room) -> ReadyView {
    let status = timeout(LONGEST_ROUND, async {
        room.handle.pulse().await?;
        room.handle.status().await
    });
    let mut reasons = Vec::new();
    match status.await {
        Err(_) => reasons.push(UnreadyReason::Stuck),
        Ok(Err(Stopping)) => reasons.push(UnreadyReason::Stopping),
        Ok(Ok(status)) => {
            if status.not_accepting.is_some() {
                reasons.push(UnreadyReason::NotAccepting);
            }
            let standing = status.role.map(|role| role.standing);
            if let Some(Standing::Unknown(_)) = standing {
                reasons.push(UnreadyReason::LeaderUnknown);
            }
        }
    }
    ReadyView {
        ready: reasons.is_empty(),
        standby: room.handle.standby().is_some(),
        reasons,
    }
}
