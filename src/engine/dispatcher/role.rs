//! The change between work and standby.

use std::time::Duration;

use super::Dispatcher;
use crate::engine::core::Input;
use crate::engine::execution::Actor;
use crate::engine::role::{Role, Standing};
use crate::store::writer::{Change, Closed};

/// How often it is written down that this front-end still leads. The next life counts from there how long it did not.
const NOTE_EVERY: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Takes up how `oned` stands.
    pub(super) async fn stand(&mut self, standing: Standing) -> Result<(), Closed> {
        let Some(former) = self.parts.role.now() else {
            return Ok(());
        };
        if former.standing == standing {
            return Ok(());
        }
        let now = self.clock.now();
        let (worked, works) = (former.standing.works(), standing.works());
        let does_not_lead = matches!(standing, Standing::NotLeading(_));
        let role = Role {
            other_led: does_not_lead || (former.other_led && (works || !worked)),
            since: if worked == works { former.since } else { now },
            standing,
        };
        let (name, why) = (role.name(), role.why().unwrap_or_default());
        // Acceptance reads it: it closes before the scheduler rests, and opens before that works again.
        self.parts.role.set(role);
        match (worked, works) {
            (false, true) => {
                tracing::warn!(role = name, since = %former.since, "this front-end leads: hem takes up its work");
                if !self.parts.role.observes() {
                    self.parts.outbox.resume();
                }
                let audit = self.audit(Actor::Daemon, "lead", format!("as {name}"));
                self.noted_leading = Some(now);
                self.decide(Input::Lead, vec![audit, Change::Led(now)], || ())
                    .await
            }
            (true, false) => {
                tracing::warn!(why, "on standby: nothing is accepted, started or replied");
                self.parts.outbox.pause();
                let audit = self.audit(Actor::Daemon, "stand by", why);
                self.decide(Input::StandBy, vec![audit, Change::Led(now)], || ())
                    .await
            }
            _ => {
                tracing::info!(role = name, why, "oned stands otherwise");
                Ok(())
            }
        }
    }

    /// That this front-end still leads, where it is time to write that down.
    pub(super) fn still_leads(&mut self) -> Option<Change> {
        let role = self.parts.role.now()?;
        let now = self.clock.now();
        let is_early = self
            .noted_leading
            .is_some_and(|noted| noted <= now && now.since(noted) < NOTE_EVERY);
        if !role.standing.works() || is_early {
            return None;
        }
        self.noted_leading = Some(now);
        Some(Change::Led(now))
    }
}
