//! Points in time as they are stored: UTC milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A point in time, in milliseconds since the Unix epoch, UTC.
///
/// Nothing is ordered by it (sequence numbers order); it is for people and for durable deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time that many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The wall clock, now. The pure rooms (`engine::core`, `matching`) never call it: they are given the time.
    pub fn now() -> Self {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// This time plus `duration`, at the end of time at most.
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time, such as 2026-11-22T02:10:03.120Z")]
pub struct InvalidTime {
    /// What was given.
    pub text: String,
}

/// Reads RFC 3339, in any time zone.
impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let time: Result<jiff::Timestamp, _> = text.parse();
        time.map(|time| Self(time.as_millisecond()))
            .map_err(|_| InvalidTime {
                text: text.to_owned(),
            })
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-22T02:10:03.120Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}
