//! Durations and sizes as people write them, the same in hook files, in `hem.yaml` and on the command line.

use std::fmt;
use std::time::Duration;

const DURATION_HINT: &str = "write a number and a unit: `500ms`, `30s`, `5m`, `2h`, `1d`";
const SIZE_HINT: &str = "write a number and a unit: `512B`, `64KiB`, `1MiB`, `2GiB`";

/// What a duration looks like, for JSON Schemas; without anchors.
pub const DURATION_PATTERN: &str = "([0-9]+ *(ms|s|min|m|h|d) *)+";

/// What a size looks like, for JSON Schemas; without anchors.
pub const SIZE_PATTERN: &str = "[0-9]+ *([kKmMgGtT]i?[bB]?|[bB])";

/// Why a text is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: &'static str,
}

/// What is wrong; what to write instead.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl std::error::Error for Fault {}

/// A duration with its unit: `250ms`, `30s`, `10m`, `2h`, `30d`, or several in a row, `1h30m`.
///
/// # Errors
/// There is no number, no unit, or more than a signed number of milliseconds holds, which is how times are stored.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let fault = |message| Fault {
        message,
        hint: DURATION_HINT,
    };
    let refused = || fault(format!("`{text}` is no duration"));
    let mut rest = text.trim();
    let mut total: u64 = 0;
    loop {
        let (number, after) = number(rest).ok_or_else(refused)?;
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(fault(format!("`{text}` has no unit"))),
            _ => return Err(fault(format!("`{unit}` is no unit of time"))),
        };
        total = number
            .checked_mul(millis)
            .and_then(|part| total.checked_add(part))
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(refused)?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(Duration::from_millis(total));
        }
    }
}

/// A number of bytes with its unit: `64KiB`, `256MiB`, `2GiB` (1024 based), `500MB` (1000 based), `4096B`.
///
/// # Errors
/// There is no number, no unit, or more bytes than a number holds.
pub fn size(text: &str) -> Result<u64, Fault> {
    let fault = |message| Fault {
        message,
        hint: SIZE_HINT,
    };
    let refused = || fault(format!("`{text}` is no size"));
    let (number, unit) = number(text.trim()).ok_or_else(refused)?;
    let bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "" => return Err(fault(format!("`{text}` has no unit"))),
        _ => return Err(fault(format!("`{unit}` is no unit of size"))),
    };
    number.checked_mul(bytes).ok_or_else(refused)
}

/// The number that a text begins with, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("10m", 600_000),
            ("10min", 600_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("1h30m", 5_400_000),
            (" 1h 30m ", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, message) in [
            ("", "`` is no duration"),
            ("s", "`s` is no duration"),
            ("30", "`30` has no unit"),
            ("-5s", "`-5s` is no duration"),
            ("1.5h", "`1.5h` has no unit"),
            ("10 parsecs", "`parsecs` is no unit of time"),
            ("5S", "`S` is no unit of time"),
            ("5µs", "`µs` is no unit of time"),
            ("99999999999999999999s", "`99999999999999999999s` is no duration"),
            ("18446744073709551615d", "`18446744073709551615d` is no duration"),
        ] {
            assert_eq!(
                duration(text).map_err(|fault| fault.message),
                Err(message.to_owned())
            );
        }
    }

    #[test]
    fn sizes_need_a_number_and_a_unit() {
        for (text, bytes) in [
            ("4096B", 4096),
            ("64KiB", 65_536),
            ("256 MiB", 268_435_456),
            ("2GiB", 2_147_483_648),
            ("500MB", 500_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "12", "MiB", "-1KiB", "1.5GiB", "99999999TiB", "3 sheep"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,24}") {
            let _ = duration(&text);
            let _ = size(&text);
        }
    }
}
