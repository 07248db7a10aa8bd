//! Points in time as Masakari reads and writes them. It reads ISO 8601 as the Python library `iso8601` does, and writes UTC with six
//! digits and no zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::event::time;

/// Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(i64);

const SECOND: i64 = 1_000_000;

/// A zone is less than a day away from UTC.
const DAY: i64 = 24 * 3600;

impl Instant {
    /// Reads a time; without a zone it is UTC. None where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = |count: usize| digits(text, count);
        let (year, rest) = digits(4)?;
        let mut date = Date {
            year,
            month: 1,
            day: 1,
        };
        if rest.is_empty() {
            return date.at(Clock::default());
        }
        // What one reading leaves over, another one may take: `2017-123` is the 23rd of January.
        for (month, rest) in parts(rest) {
            date.month = month;
            date.day = 1;
            let is_dashed = text.as_bytes().get(4) == Some(&b'-');
            if rest.is_empty() && is_dashed {
                return date.at(Clock::default());
            }
            for (day, rest) in parts(rest) {
                date.day = day;
                if rest.is_empty() {
                    return date.at(Clock::default());
                }
                if let Some(clock) = clock(rest) {
                    return date.at(clock);
                }
            }
        }
        None
    }

    /// So many seconds before.
    pub(super) const fn before(self, seconds: i64) -> Self {
        Self(self.0.saturating_sub(seconds.saturating_mul(SECOND)))
    }

    /// As the API writes it: `2026-11-21T23:00:00.123456`.
    pub(super) fn text(self) -> String {
        self.written("%Y-%m-%dT%H:%M:%S.%6f")
    }

    /// As the details of a workflow have it: `2019-03-07 13:54:28.842031`.
    pub(super) fn spaced(self) -> String {
        self.written("%Y-%m-%d %H:%M:%S.%6f")
    }

    fn written(self, format: &str) -> String {
        // What was read or is of this hem's clock is a time that jiff knows.
        Timestamp::from_microsecond(self.0)
            .unwrap_or_default()
            .strftime(format)
            .to_string()
    }

    /// The whole seconds, as Masakari keeps the times of its own records.
    pub(super) const fn whole_seconds(self) -> Self {
        Self(self.0.div_euclid(SECOND) * SECOND)
    }
}

impl From<time::Timestamp> for Instant {
    fn from(time: time::Timestamp) -> Self {
        Self(time.as_millis().saturating_mul(1_000))
    }
}

#[derive(Clone, Copy)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// The time of a day, and how many seconds its zone is ahead of UTC.
#[derive(Clone, Copy, Default)]
struct Clock {
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    ahead: i64,
}

impl Date {
    fn at(self, clock: Clock) -> Option<Instant> {
        let small = |number: i64| i8::try_from(number).ok();
        let year = i16::try_from(self.year).ok().filter(|year| *year >= 1)?;
        let civil = DateTime::new(
            year,
            small(self.month)?,
            small(self.day)?,
            small(clock.hour)?,
            small(clock.minute)?,
            small(clock.second)?,
            i32::try_from(clock.micros * 1_000).ok()?,
        )
        .ok()?;
        if clock.ahead.abs() >= DAY {
            return None;
        }
        let there = TimeZone::UTC.to_timestamp(civil).ok()?.as_microsecond();
        let here = there - clock.ahead * SECOND;
        let year = TimeZone::UTC
            .to_datetime(Timestamp::from_microsecond(here).ok()?)
            .year();
        (year >= 1).then_some(Instant(here))
    }
}

/// A number of so many digits, and what follows.
fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

/// The ways to read a month or a day: a dash and up to two digits, or two digits.
fn parts(text: &str) -> impl Iterator<Item = (i64, &str)> {
    let dashed = text.strip_prefix('-');
    let ways = match dashed {
        Some(rest) => [digits(rest, 2), digits(rest, 1)],
        None => [digits(text, 2), None],
    };
    ways.into_iter().flatten()
}

/// The time of a day with its zone, to the end of the text.
fn clock(text: &str) -> Option<Clock> {
    let text = text.strip_prefix([' ', 'T'])?;
    let (hour, rest) = digits(text, 2)?;
    let colon = |text| str::strip_prefix(text, ':').unwrap_or(text);
    let none = |text| Some((0, text));
    for (minute, rest) in [digits(colon(rest), 2), none(rest)].into_iter().flatten() {
        let seconds = colon(rest);
        let ways = [
            (digits(seconds, 2), true),
            (digits(seconds, 1), true),
            (none(rest), false),
        ];
        for (way, is_said) in ways {
            let Some((second, rest)) = way else { continue };
            let (micros, rest) = if is_said { fraction(rest) } else { (0, rest) };
            if let Some(ahead) = zone(rest) {
                return Some(Clock {
                    hour,
                    minute,
                    second,
                    micros,
                    ahead,
                });
            }
        }
    }
    None
}

/// Digits behind a point or a comma, cut after the sixth.
fn fraction(text: &str) -> (i64, &str) {
    let Some(rest) = text.strip_prefix(['.', ',']) else {
        return (0, text);
    };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return (0, text);
    }
    let (digits, rest) = rest.split_at(length);
    let micros = digits
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    (micros, rest)
}

/// How many seconds a zone, which is the whole text, is ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first() {
        None => return Some(0),
        Some(b'Z') => return (text.len() == 1).then_some(0),
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        Some(_) => return None,
    };
    let (hours, rest) = digits(rest, 2)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = match digits(rest, 2) {
        Some((minutes, "")) => minutes,
        None if rest.is_empty() => 0,
        _ => return None,
    };
    Some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_iso_8601() {
        for (text, utc) in [
            ("2017-04-24 08:34:46", "2017-04-24T08:34:46.000000"),
            ("2026-11-21T23:00:00.123456789Z", "2026-11-21T23:00:00.123456"),
            ("2026-11-21T23:30:00+02:00", "2026-11-21T21:30:00.000000"),
            ("2026-11-21T23:30-0130", "2026-11-22T01:00:00.000000"),
            ("20261121T233000,5+02", "2026-11-21T21:30:00.500000"),
            ("2017", "2017-01-01T00:00:00.000000"),
            ("2017-04", "2017-04-01T00:00:00.000000"),
            ("2017-4-5", "2017-04-05T00:00:00.000000"),
            ("2017-123", "2017-01-23T00:00:00.000000"),
            ("2017-04-24T10:3", "2017-04-24T10:00:03.000000"),
        ] {
            let read = Instant::parse(text).map(Instant::text);
            assert_eq!(read.as_deref(), Some(utc), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2017-13-01",
            "2017-02-30",
            "201704",
            "0000-01-01",
            "2017-04-24T",
            "2017-04-24T24:00:00",
            "2017-04-24T08:34:60",
            "2017-04-24T08:34:46+24:00",
            "2017-04-24T08:34:46 Z",
            "2017-04-24\n",
            "9999-12-31T23:59:59-23:59x",
            "0001-01-01T00:00:00+01:00",
            "２０１７",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_other_forms_are_those_of_masakari() {
        let instant = Instant::from(time::Timestamp::from_millis(1_551_966_868_842));
        assert_eq!(instant.spaced(), "2019-03-07 13:54:28.842000");
        assert_eq!(instant.whole_seconds().text(), "2019-03-07T13:54:28.000000");
        assert_eq!(
            instant.before(180).whole_seconds().text(),
            "2019-03-07T13:51:28.000000"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{1,4}|-|:|T| |Z|\\+|\\.|\\PC){0,14}") {
            let _ = Instant::parse(&text);
        }

        #[test]
        fn what_it_writes_it_reads(micros in -62_135_596_800_000_000_i64..253_402_207_200_000_000) {
            let instant = Instant(micros);
            prop_assert_eq!(Instant::parse(&instant.text()), Some(instant));
            prop_assert_eq!(Instant::parse(&instant.spaced()), Some(instant));
        }
    }
}
