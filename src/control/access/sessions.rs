//! Sessions of browsers, which hold a cookie instead of a token. They live in memory alone.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::random::secret;
use super::tokens::{Digest, Holder};

/// A session ends by itself after this time, whatever is done in it.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// So many at once; a further one ends one that began before.
const MOST: usize = 1_000;

/// So many of one token, so that whoever has it ends nobody's sessions but those of the same token.
const MOST_OF_ONE: usize = 100;

/// A session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Names it among all sessions, and says nothing of its cookie.
    pub(super) id: Digest,
    /// Whose token began it.
    pub(super) holder: Holder,
    /// What writing requests must repeat in a header, which no foreign page can read.
    pub(super) csrf: String,
    began: Instant,
}

impl Session {
    /// For how long it goes on.
    pub(super) fn left(&self, now: Instant) -> Duration {
        LONGEST.saturating_sub(now.saturating_duration_since(self.began))
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Digest, Session>>);

impl Sessions {
    fn live(&self, now: Instant) -> MutexGuard<'_, HashMap<Digest, Session>> {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, session| !session.left(now).is_zero());
        live
    }

    /// Begins one, and gives what its cookie holds.
    pub(super) fn begin(&self, holder: Holder, now: Instant) -> io::Result<(String, Session)> {
        let (cookie, csrf) = (secret()?, secret()?);
        let id: Digest = Sha256::digest(&cookie).into();
        let session = Session {
            id,
            holder,
            csrf,
            began: now,
        };
        let mut live = self.live(now);
        let is_own = |other: &Session| other.holder == session.holder;
        let own = live.values().filter(|other| is_own(other)).count();
        if own >= MOST_OF_ONE || live.len() >= MOST {
            let first = live
                .values()
                .filter(|other| own == 0 || is_own(other))
                .min_by_key(|other| other.began)
                .map(|other| other.id);
            first.and_then(|first| live.remove(&first));
        }
        live.insert(id, session.clone());
        Ok((cookie, session))
    }

    /// The session of a cookie.
    pub(super) fn get(&self, cookie: &str, now: Instant) -> Option<Session> {
        let digest: Digest = Sha256::digest(cookie).into();
        self.live(now).get(&digest).cloned()
    }

    /// Whether a session goes on.
    pub(super) fn goes_on(&self, id: &Digest, now: Instant) -> bool {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.get(id).is_some_and(|session| !session.left(now).is_zero())
    }

    /// Ends the session of a cookie.
    pub(super) fn end(&self, cookie: &str) {
        let digest: Digest = Sha256::digest(cookie).into();
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.remove(&digest);
    }
}

/// The value of a cookie in a `Cookie` header (RFC 6265).
pub(super) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (known, value) = pair.trim().split_once('=')?;
        (known == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::control::Role;

    fn holder() -> Holder {
        holder_of(7)
    }

    fn holder_of(token: u8) -> Holder {
        Holder {
            name: "watch".into(),
            role: Role::Viewer,
            digest: [token; 32],
        }
    }

    #[test]
    fn a_session_ends_when_it_is_told_to_or_its_time_is_up() {
        let (sessions, began) = (Sessions::default(), Instant::now());
        let (first, session) = sessions.begin(holder(), began).expect("a session");
        let (second, other) = sessions.begin(holder(), began).expect("a session");
        let csrf = sessions.get(&first, began).map(|found| found.csrf);
        assert_eq!(csrf, Some(session.csrf));
        assert!(sessions.get("another", began).is_none());
        sessions.end(&first);
        assert!(sessions.get(&first, began).is_none() && sessions.get(&second, began).is_some());
        let nearly = began + LONGEST - Duration::from_secs(1);
        assert!(sessions.get(&second, nearly).is_some());
        assert!(!sessions.goes_on(&session.id, began) && sessions.goes_on(&other.id, nearly));
        assert!(!sessions.goes_on(&other.id, began + LONGEST));
        assert!(sessions.get(&second, began + LONGEST).is_none());
    }

    #[test]
    fn the_oldest_session_of_the_same_token_makes_place() {
        let (sessions, mut now) = (Sessions::default(), Instant::now());
        let mut begin = |token| {
            now += Duration::from_millis(1);
            sessions.begin(holder_of(token), now).expect("a session").0
        };
        let others = begin(0);
        let cookies: Vec<_> = (0..=MOST_OF_ONE).map(|_| begin(1)).collect();
        let is_there = |cookie: &String| sessions.get(cookie, Instant::now()).is_some();
        assert!(is_there(&others), "it is another token's");
        assert!(!is_there(&cookies[0]) && is_there(&cookies[1]) && is_there(&cookies[MOST_OF_ONE]));

        // Where all tokens together have too many.
        for token in 2..=10 {
            for _ in 0..MOST_OF_ONE {
                begin(token);
            }
        }
        assert!(sessions.live(Instant::now()).len() <= MOST);
        let newest = begin(11);
        assert!(is_there(&newest) && !is_there(&others));
        assert_eq!(sessions.live(Instant::now()).len(), MOST);
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        assert_eq!(cookie("a=1; hem=x=y; hem2=z", "hem"), Some("x=y"));
        assert_eq!(cookie("hem=1", "hem"), Some("1"));
        assert_eq!(cookie("xhem=1; hem2=1; hem", "hem"), None);
        assert_eq!(cookie("", "hem"), None);
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(header in ".{0,80}") {
            if let Some(value) = cookie(&header, "hem") {
                prop_assert!(header.contains(value));
                prop_assert!(!value.contains(';'));
            }
        }

        #[test]
        fn a_cookie_is_found_wherever_it_stands(
            before in "([a-z]{1,4}=[a-zA-Z0-9=]{0,5}; ){0,3}",
            value in "[A-Za-z0-9_-]{0,43}",
            after in "(; [a-z]{1,4}=[a-zA-Z0-9]{0,5}){0,3}",
        ) {
            let header = format!("{before}__Host-hem={value}{after}");
            prop_assert_eq!(cookie(&header, "__Host-hem"), Some(&*value));
        }
    }
}
