//! What all addresses of the interface work with.

use std::sync::Arc;

use axum::response::Json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Caller;
use super::api::{ErrorCode, HookView};
use super::convert;
use super::feed::ring::Ring;
use super::health;
use super::pool;
use super::problem::Failure;
use super::query::{QueryError, Reader};
use super::veil::Veil;
use crate::config::control::Role;
use crate::engine::execution::Actor;
use crate::engine::handle::{Handle, OrderError};
use crate::event::id::HookName;
use crate::event::redaction::Redaction;
use crate::hooks::Hook;

/// An answer in JSON.
pub(super) type Answer<T> = Result<Json<T>, Failure>;

/// What all addresses work with.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) handle: Handle,
    pub(super) veil: Veil,
    /// Where the API is over TCP, if it is.
    pub(super) url: Option<String>,
    pub(super) feed: Arc<Ring>,
    pub(super) ready: health::Last,
    /// What runs for several callers.
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Room {
    pub(super) fn new(
        handle: Handle,
        redaction: Redaction,
        url: Option<String>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            handle,
            url,
            veil: Veil::new(redaction),
            feed: Arc::default(),
            ready: health::Last::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    pub(super) fn reader(&self, veil: Veil) -> Reader {
        Reader::new(self.handle.store().clone(), Some(self.handle.hooks()), veil)
    }

    /// Reads on a thread that may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        veil: Veil,
        read: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Failure> {
        let reader = self.reader(veil);
        match tokio::task::spawn_blocking(move || read(&reader)).await {
            Ok(result) => Ok(result?),
            Err(error) => {
                tracing::error!(%error, "a query broke down");
                Err(Failure::new(
                    ErrorCode::Internal,
                    "the query broke down; the daemon's log says more",
                ))
            }
        }
    }

    /// What may be shown; lifting the veil is written down first.
    pub(super) async fn veil(&self, reveal: bool, caller: &Caller, target: &str) -> Result<Veil, Failure> {
        if !reveal {
            return Ok(self.veil.clone());
        }
        if caller.role < Role::Operator {
            return Err(Failure::new(
                ErrorCode::Forbidden,
                "only an operator may see what is redacted",
            ));
        }
        self.handle.audit(caller.actor.clone(), "reveal", target).await?;
        Ok(Veil::lifted())
    }

    pub(super) async fn set_enabled(
        &self,
        name: HookName,
        enabled: Option<bool>,
        actor: Actor,
    ) -> Answer<HookView> {
        self.handle.set_enabled(name.clone(), enabled, actor).await?;
        let views = self.hook_views().await?;
        let view = views.into_iter().find(|view| view.name == name.as_str());
        view.map(Json)
            .ok_or_else(|| Failure::from(OrderError::NoSuchHook(name)))
    }

    /// All hooks in force, and behind them those of the controller that others stand for.
    pub(super) async fn hook_views(&self) -> Result<Vec<HookView>, Failure> {
        let mutes = self.read(self.veil.clone(), Reader::mutes).await?;
        let (overrides, pool) = (self.handle.overrides(), self.handle.pool());
        let view = |hook: &Hook| {
            let said = overrides.get(&hook.name);
            let mut view = convert::hook(hook, said, self.handle.onehem_shell(), &pool);
            let about_it = mutes.iter().filter(|mute| mute.scope.is_about(&view.name));
            view.muted = about_it.cloned().collect();
            self.veil.definition(&mut view.definition);
            view
        };
        let mut views: Vec<HookView> = self.handle.hooks().iter().map(|hook| view(hook)).collect();
        views.extend(self.handle.shadowed().iter().map(|shadowed| HookView {
            shadowed_by: Some(pool::place(&shadowed.by)),
            ..view(&shadowed.hook)
        }));
        Ok(views)
    }
}
