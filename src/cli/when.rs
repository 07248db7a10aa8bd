//! Points in time as people say them: `10m`, `2h ago`, `today`, `2026-11-22 02:00`, RFC 3339.

use jiff::civil;
use jiff::tz::TimeZone;

use crate::config::scalar::DurationText;
use crate::control::api::Time;
use crate::event::time::Timestamp;

/// Reads a point in time, in this machine's time zone and from now.
pub(super) fn instant(text: &str) -> Result<Time, String> {
    read(text, Timestamp::now(), &TimeZone::system()).map(Time)
}

/// Reads a point in time as seen at `now` in `zone`.
fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    let refused = || {
        format!(
            "`{text}` is no point in time; write `10m`, `2h ago`, `today`, `yesterday`, `2026-11-22 02:00` or RFC 3339"
        )
    };
    let millis = |time: jiff::Timestamp| Timestamp::from_millis(time.as_millisecond());
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(millis(time));
    }
    let today = || {
        jiff::Timestamp::from_millisecond(now.as_millis())
            .map(|now| now.to_zoned(zone.clone()).date())
            .map_err(|_| refused())
    };
    let local = |time: civil::DateTime| zone.to_timestamp(time).map(millis).map_err(|_| refused());
    let midnight = |date: civil::Date| local(date.at(0, 0, 0, 0));
    match text {
        "now" => return Ok(now),
        "today" => return midnight(today()?),
        "yesterday" => return midnight(today()?.yesterday().map_err(|_| refused())?),
        _ => {}
    }
    for format in [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(time) = civil::DateTime::strptime(format, text) {
            return local(time);
        }
    }
    if let Ok(date) = civil::Date::strptime("%Y-%m-%d", text) {
        return midnight(date);
    }
    for format in ["%H:%M:%S", "%H:%M"] {
        if let Ok(time) = civil::Time::strptime(format, text) {
            return local(today()?.to_datetime(time));
        }
    }
    let ago = text.strip_suffix("ago").map_or(text, str::trim_end);
    let DurationText(duration) = ago.parse().map_err(|_| refused())?;
    let duration = i64::try_from(duration.as_millis()).map_err(|_| refused())?;
    Ok(Timestamp::from_millis(now.as_millis().saturating_sub(duration)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_people_say_them() {
        // 2026-11-22T02:10:00Z, read where clocks are one hour ahead.
        let now: jiff::Timestamp = "2026-11-22T02:10:00Z".parse().expect("a time");
        let now = Timestamp::from_millis(now.as_millisecond());
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2026-11-22T02:00:00Z", "2026-11-22T02:00:00.000Z"),
            ("2026-11-22T02:00:00.120+01:00", "2026-11-22T01:00:00.120Z"),
            ("2026-11-22 02:00", "2026-11-22T01:00:00.000Z"),
            ("2026-11-22 02:00:30", "2026-11-22T01:00:30.000Z"),
            ("2026-11-22T02:00", "2026-11-22T01:00:00.000Z"),
            ("2026-11-20", "2026-11-19T23:00:00.000Z"),
            ("02:00", "2026-11-22T01:00:00.000Z"),
            ("10m", "2026-11-22T02:00:00.000Z"),
            ("2h ago", "2026-11-22T00:10:00.000Z"),
            ("1h30m ago", "2026-11-22T00:40:00.000Z"),
            ("1d", "2026-11-21T02:10:00.000Z"),
            ("now", "2026-11-22T02:10:00.000Z"),
            ("today", "2026-11-21T23:00:00.000Z"),
            ("yesterday", "2026-11-20T23:00:00.000Z"),
        ] {
            let read = read(text, now, &zone).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "soon", "10", "2026-13-01", "25:00", "ago", "-5m"] {
            assert!(read(text, now, &zone).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}") {
            let _ = read(&text, Timestamp::from_millis(0), &TimeZone::UTC);
        }
    }
}
