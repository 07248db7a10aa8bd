//! The daemon as a service: signals, and what the service manager is told.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::exit::{Exit, Failure};
use super::run::failure;
use super::{Outcome, output};
use crate::config::Config;
use crate::daemon::{Daemon, Options};

/// How often the service manager hears how the daemon does, where it asks for no watchdog.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// The signals the daemon understands.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn watch() -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(Exit::Failed, format!("cannot watch for signals: {error}")))
        };
        Ok(Self {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hang_up: watch(SignalKind::hangup())?,
        })
    }

    /// Comes back at SIGTERM and SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs a daemon until it is told to stop or cannot go on.
pub(super) async fn serve(config: &Config, options: Options) -> Outcome {
    let mut signals = Signals::watch()?;
    let daemon = Daemon::start(config, options)
        .await
        .map_err(|error| failure(&error))?;
    let state = restraint(&daemon).unwrap_or_else(|| "accepting events".to_owned());
    tell(&[NotifyState::Ready, NotifyState::Status(&state)]);

    // Side by side: a round that does not end must not keep a signal waiting.
    let ended = tokio::select! {
        () = stop_or_reload(&mut signals, &daemon) => Ok(()),
        ended = daemon.until_stopped() => ended,
        never = make_rounds(&daemon) => match never {},
    };
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("running scripts come to their end"),
    ]);
    tokio::select! {
        () = daemon.stop() => {}
        () = signals.stop() => {
            output::say("hem: stopped at once; what was cut short is taken up at the next start");
            return Ok(Exit::Failed);
        }
    }
    ended.map_err(|error| failure(&error.into()))?;
    Ok(Exit::Ok)
}

/// Reads the configuration and the hooks folder at each SIGHUP; comes back when the daemon is to stop.
async fn stop_or_reload(signals: &mut Signals, daemon: &Daemon) {
    let Signals {
        terminate,
        interrupt,
        hang_up,
    } = signals;
    let reloads = async {
        while hang_up.recv().await.is_some() {
            // Only a daemon that stops already reads nothing.
            let _ = daemon.reload().await;
        }
    };
    // A folder that is slow to read does not keep the daemon from stopping.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = reloads => {}
    }
}

async fn make_rounds(daemon: &Daemon) -> Infallible {
    let watchdog = sd_notify::watchdog_enabled();
    let mut rounds = interval(watchdog.map_or(SAY_EVERY, |limit| limit / 3));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        make_round(daemon, watchdog).await;
    }
}

/// Feeds the watchdog, but only when intake, scheduler and writer have each made a round, and says how things stand.
async fn make_round(daemon: &Daemon, watchdog: Option<Duration>) {
    let patience = watchdog.unwrap_or(SAY_EVERY);
    match timeout(patience, daemon.pulse()).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return,
        Err(_) => {
            tracing::error!("intake, scheduler or writer made no round in {patience:?}");
            return;
        }
    }
    let summary = daemon.summary();
    let count = |state: &str| summary.executions.get(state).copied().unwrap_or_default();
    let restraint = restraint(daemon).map_or_else(String::new, |said| format!("{said}; "));
    let status = format!(
        "{restraint}{} events, {} running, {} queued, {} waiting for a retry, {} failed",
        summary.last_seq,
        count("running"),
        count("queued"),
        count("retrying"),
        count("failed")
    );
    tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
}

/// Why the daemon does not start what happens to match, where it does not.
fn restraint(daemon: &Daemon) -> Option<String> {
    let standby = daemon.standby().map(|why| format!("standby: {why}"));
    let observing = daemon.handle().observes().then(|| "observing".to_owned());
    standby.or(observing)
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a service manager this does nothing.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager how things stand");
    }
}
