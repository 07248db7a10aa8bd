//! The scalars of hook files: limits, delays and sizes within what a hook may ask for.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::tree::HINT;
use crate::quantity::{self, Fault};

/// Durable deadlines are sums of these; ten years is for ever, for a script.
const LONGEST: Duration = Duration::from_secs(3_653 * 86_400);

/// Output is kept in memory while a script runs: with ten scripts and four buffers each this is 640 MiB at most.
const LARGEST_OUTPUT: u64 = 16 << 20;

fn told(fault: &Fault) -> String {
    format!("{}{HINT}{}", fault.message, fault.hint)
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = quantity::duration(text).map_err(|fault| told(&fault))?;
    if duration > LONGEST {
        return Err(format!("`{text}` is longer than ten years"));
    }
    Ok(duration)
}

fn size(text: &str) -> Result<usize, String> {
    let size = quantity::size(text).map_err(|fault| told(&fault))?;
    usize::try_from(size)
        .ok()
        .filter(|_| size <= LARGEST_OUTPUT)
        .ok_or_else(|| format!("`{text}` is more than 16MiB"))
}

struct Scalar<T> {
    expected: &'static str,
    from_text: fn(&str) -> Result<T, String>,
    from_number: fn(u64) -> Result<T, String>,
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.from_text)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.from_number)(number).map_err(E::custom)
    }
}

/// A duration with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HumanDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a duration such as `30s`",
            from_text: |text| duration(text).map(Self),
            from_number: |number| duration(&number.to_string()).map(Self),
        })
    }
}

/// A time limit: a duration, `none`, or as in OpenNebula's templates a bare number of seconds where 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeLimit(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for TimeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a time limit such as `30s`",
            from_text: |text| match text {
                "none" => Ok(Self(None)),
                _ => duration(text).map(|limit| Self(Some(limit).filter(|limit| !limit.is_zero()))),
            },
            from_number: |seconds| match seconds {
                0 => Ok(Self(None)),
                _ => duration(&format!("{seconds}s")).map(|limit| Self(Some(limit))),
            },
        })
    }
}

/// The shortest and the longest delay between attempts: `2s..5m`, or one for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn from_text(text: &str) -> Result<Backoff, String> {
            let (min, max) = match text.split_once("..") {
                Some((min, max)) => (duration(min.trim())?, duration(max.trim())?),
                None => (duration(text)?, duration(text)?),
            };
            if min > max {
                return Err(format!(
                    "the first delay of `{text}` is longer than the last{HINT}write the shorter one first"
                ));
            }
            Ok(Backoff { min, max })
        }
        deserializer.deserialize_any(Scalar {
            expected: "a range of delays such as `2s..5m`",
            from_text,
            from_number: |number| {
                Err(format!(
                    "`{number}` has no unit{HINT}write a range such as `2s..5m`"
                ))
            },
        })
    }
}

/// A number of bytes with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a size such as `64KiB`",
            from_text: |text| size(text).map(Self),
            from_number: |number| match number {
                0 => Ok(Self(0)),
                _ => size(&number.to_string()).map(Self),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_asks_for_ten_years_at_most() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert!(duration("3653d").is_ok());
        assert_eq!(
            duration("99999999d"),
            Err("`99999999d` is longer than ten years".to_owned())
        );
    }

    #[test]
    fn a_hook_keeps_sixteen_mebibytes_of_output_at_most() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        for text in ["17MiB", "1GiB"] {
            assert_eq!(size(text), Err(format!("`{text}` is more than 16MiB")));
        }
    }

    #[test]
    fn what_is_wrong_comes_with_what_to_write() {
        let fault = duration("30").expect_err("no unit");
        let (message, hint) = fault.split_once(HINT).expect("a hint");
        assert_eq!(message, "`30` has no unit");
        assert!(hint.contains("`30s`"), "{hint}");
    }
}
