//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::tree::HINT;

const DURATION_HINT: &str = "write a number and a unit: `500ms`, `30s`, `5m`, `2h`, `1d`";
const SIZE_HINT: &str = "write a number and a unit: `512B`, `64KiB`, `1MiB`";

/// A duration in milliseconds: `500ms`, `30s`, `5m`, `2h`, `1d`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        number_and_unit(text).ok_or_else(|| format!("`{text}` is no duration{HINT}{DURATION_HINT}"))?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("`{text}` has no unit{HINT}{DURATION_HINT}")),
        _ => return Err(format!("`{unit}` is no unit of time{HINT}{DURATION_HINT}")),
    };
    let total = number
        .checked_mul(millis)
        .filter(|total| *total <= LONGEST_MILLIS)
        .ok_or_else(|| format!("`{text}` is longer than ten years"))?;
    Ok(Duration::from_millis(total))
}

/// Durable deadlines are sums of these; ten years is for ever, for a script.
const LONGEST_MILLIS: u64 = 3_653 * 86_400_000;

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start_matches(' ')))
}

fn size(text: &str) -> Result<usize, String> {
    let (number, unit) =
        number_and_unit(text).ok_or_else(|| format!("`{text}` is no size{HINT}{SIZE_HINT}"))?;
    let unit: usize = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "" => return Err(format!("`{text}` has no unit{HINT}{SIZE_HINT}")),
        "K" | "KB" | "kB" | "k" | "M" | "MB" => {
            return Err(format!("`{unit}` is no unit here{HINT}write `KiB` or `MiB`"));
        }
        _ => return Err(format!("`{unit}` is no unit of size{HINT}{SIZE_HINT}")),
    };
    usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|total| *total <= LARGEST_OUTPUT)
        .ok_or_else(|| format!("`{text}` is more than 16MiB"))
}

/// Output is kept in memory while a script runs: with ten scripts and four buffers each this is 640 MiB at most.
const LARGEST_OUTPUT: usize = 16 << 20;

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
            from_number: |number| Err(format!("`{number}` has no unit{HINT}{DURATION_HINT}")),
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
                _ => Err(format!("`{number}` has no unit{HINT}{SIZE_HINT}")),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "-5s",
            "5 years",
            "1.5s",
            "99999999999999999999s",
            "99999999d",
            "5S",
            "µs",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        assert_eq!(size("10B"), Ok(10));
        for text in ["64", "64KB", "1GiB", "17MiB", "18446744073709551615MiB", "x"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = duration(&text);
            let _ = size(&text);
        }
    }
}
