//! What Keystone said of tokens, kept for a while: it is asked about a token once, and not for each request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::event::time::Timestamp;
use crate::keystone::{KeystoneError, Session, TokenFacts};
use crate::secrets::Disguise;

/// Questions to Keystone at once.
const AT_ONCE: usize = 8;

/// That a token is none is believed for so long at most: who was told so asks for another one.
const BELIEVED: Duration = Duration::from_secs(10);

/// So many answers are kept.
const KEPT: usize = 10_000;

/// What Keystone said of a token, and when.
#[derive(Debug)]
struct Said {
    at: Instant,
    facts: Option<TokenFacts>,
}

/// Tokens that Keystone knows.
#[derive(Debug)]
pub(in crate::sources::masakari) struct Tokens {
    session: Session,
    keep: Duration,
    said: Mutex<HashMap<[u8; 32], Said>>,
    disguise: Disguise,
    turns: Semaphore,
}

impl Tokens {
    /// Nothing is asked yet. What Keystone says is kept for `keep`, and never longer than the token is one.
    pub(super) fn new(session: Session, disguise: Disguise, keep: Duration) -> Self {
        Self {
            session,
            keep,
            said: Mutex::default(),
            disguise,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// What is true of a token; none where it is none, or has ended.
    pub(super) async fn facts(&self, token: &str) -> Result<Option<TokenFacts>, KeystoneError> {
        let identity = self.disguise.of(&[token.as_bytes()]);
        if let Some(facts) = self.kept(&identity) {
            return Ok(facts);
        }
        // Closed by nobody.
        let _turn = self.turns.acquire().await;
        // Somebody before in this line may have asked the same.
        if let Some(facts) = self.kept(&identity) {
            return Ok(facts);
        }
        let facts = self.session.look_at(token).await?;
        let facts = facts.filter(|facts| Timestamp::now() < facts.expires);
        self.keep(identity, facts.clone());
        Ok(facts)
    }

    fn kept(&self, identity: &[u8; 32]) -> Option<Option<TokenFacts>> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.get(identity)?;
        self.holds(said).then(|| said.facts.clone())
    }

    fn holds(&self, said: &Said) -> bool {
        match &said.facts {
            Some(facts) => said.at.elapsed() < self.keep && Timestamp::now() < facts.expires,
            None => said.at.elapsed() < self.keep.min(BELIEVED),
        }
    }

    fn keep(&self, identity: [u8; 32], facts: Option<TokenFacts>) {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.retain(|_, said| self.holds(said));
        }
        if all.len() < KEPT {
            let at = Instant::now();
            all.insert(identity, Said { at, facts });
        }
    }
}
