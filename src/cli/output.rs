//! What goes to the terminal: tables that fit it, times as the reader's clock shows them, colours only where they help.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::control::api::{ActorView, CauseView, OutcomeView, StateView, Text, Time};
use crate::event::time::Timestamp;

/// Columns that are never wrapped.
const UNBROKEN: [&str; 5] = ["EXECUTION", "EVENT", "SINCE", "RECEIVED", "TIME"];

/// How the reader sees things.
#[derive(Debug, Clone)]
pub(super) struct Style {
    /// Whether colours are used.
    pub(super) colours: bool,
    /// The terminal's width; none when it is no terminal, then nothing is wrapped.
    pub(super) width: Option<u16>,
    /// The reader's time zone.
    pub(super) zone: TimeZone,
    /// The time now, for "3 min ago".
    pub(super) now: Timestamp,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tint {
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It is under way, or needs attention.
    Busy,
    /// It matters less.
    Faint,
    /// It matters more.
    Strong,
    /// Nothing in particular.
    Plain,
}

impl Style {
    /// The style of this process's standard output.
    pub(super) fn of_stdout(utc: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            colours: terminal && !refused,
            width: if terminal { Table::new().width() } else { None },
            zone: if utc { TimeZone::UTC } else { TimeZone::system() },
            now: Timestamp::now(),
        }
    }

    /// Text in the colour of its meaning.
    pub(super) fn paint(&self, tint: Tint, text: &str) -> String {
        let code = match tint {
            _ if !self.colours => return text.to_owned(),
            Tint::Plain => return text.to_owned(),
            Tint::Good => "32",
            Tint::Bad => "31;1",
            Tint::Busy => "33",
            Tint::Faint => "2",
            Tint::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A point in time, to the millisecond: `2026-11-22 02:10:03.120`, with a `Z` in UTC.
    pub(super) fn time(&self, time: Time) -> String {
        let Ok(instant) = jiff::Timestamp::from_millisecond(time.0.as_millis()) else {
            return time.0.to_string();
        };
        let suffix = if self.zone == TimeZone::UTC { "Z" } else { "" };
        let zoned = instant.to_zoned(self.zone.clone());
        format!("{}{suffix}", zoned.strftime("%Y-%m-%d %H:%M:%S%.3f"))
    }

    /// The time of day, of a time within a day of now; with the date otherwise.
    pub(super) fn clock(&self, time: Time) -> String {
        let distance = time.0.since(self.now).max(self.now.since(time.0));
        let whole = self.time(time);
        let seconds = whole.split('.').next().unwrap_or(&whole);
        let is_utc = whole.ends_with('Z');
        let shown = match seconds.split_once(' ') {
            Some((_, of_day)) if distance < Duration::from_secs(86_400) => of_day,
            _ => seconds,
        };
        format!("{shown}{}", if is_utc { "Z" } else { "" })
    }

    /// How long ago, in words: `8 min ago`, `in 5 s`.
    pub(super) fn ago(&self, time: Time) -> String {
        if time.0 > self.now {
            format!("in {}", span(time.0.since(self.now)))
        } else {
            format!("{} ago", span(self.now.since(time.0)))
        }
    }

    /// A table with this header.
    pub(super) fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).force_no_tty();
        match self.width {
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.colours {
            table.enforce_styling();
        }
        table.set_header(
            header
                .iter()
                .map(|name| Cell::new(name).add_attribute(Attribute::Bold)),
        );
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // A name or a time broken in two can be neither read nor copied.
        for (index, name) in header.iter().enumerate() {
            if UNBROKEN.contains(name)
                && let Some(column) = table.column_mut(index)
            {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    /// A cell in the colour of its meaning.
    pub(super) fn cell(&self, tint: Tint, text: &str) -> Cell {
        let cell = Cell::new(safe_line(text));
        if !self.colours {
            return cell;
        }
        match tint {
            Tint::Plain => cell,
            Tint::Good => cell.fg(Color::Green),
            Tint::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
            Tint::Busy => cell.fg(Color::Yellow),
            Tint::Faint => cell.add_attribute(Attribute::Dim),
            Tint::Strong => cell.add_attribute(Attribute::Bold),
        }
    }
}

/// Prints a table without blanks at the ends of lines.
pub(super) fn lines_of(table: &Table) -> String {
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// A span of time in two digits of precision at most: `120 ms`, `3.2 s`, `8 min`, `2 h 5 min`, `3 d`.
pub(super) fn span(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number with its thousands apart: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text whose control characters are spelt out: what a script or a controller says must not steer the terminal.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| match c {
        '\n' | '\t' => true,
        // They turn the direction of what follows, so that a line reads as another one.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    };
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Progress bars overwrite their line; as lines of their own they can be read.
            '\r' => out.push_str("\\r"),
            c if harmless(c) => out.push(c),
            c => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

/// The same for a text that belongs in a row or a line: a line break in a key must not make a line of its own.
pub(super) fn safe_line(text: &str) -> Cow<'_, str> {
    let safe = safe(text);
    if safe.contains('\n') {
        Cow::Owned(safe.replace('\n', "\\n"))
    } else {
        safe
    }
}

/// Text as it is, or a note that it is none.
pub(super) fn readable(text: &Text) -> Cow<'_, str> {
    match text {
        Text::Text(text) => safe(text),
        Text::Base64(base64) => Cow::Owned(format!("(no UTF-8; base64) {base64}")),
    }
}

/// The colour of a state.
pub(super) const fn tint_of(state: &StateView) -> Tint {
    match state {
        StateView::Succeeded { .. } => Tint::Good,
        StateView::Failed { .. } => Tint::Bad,
        StateView::Running { .. }
        | StateView::Retrying { .. }
        | StateView::Queued { .. }
        | StateView::Debouncing { .. } => Tint::Busy,
        StateView::Skipped { .. } | StateView::Cancelled { .. } => Tint::Faint,
    }
}

/// An outcome in words.
pub(super) fn outcome(outcome: &OutcomeView) -> String {
    let how = |killed: &bool| {
        if *killed {
            "KILL was needed after TERM"
        } else {
            "it obeyed TERM"
        }
    };
    match outcome {
        OutcomeView::Exited { code } => format!("exit status {code}"),
        OutcomeView::Signalled { signal } => match signal_name(*signal) {
            Some(name) => format!("ended by {name} (signal {signal}), which hem did not send"),
            None => format!("ended by signal {signal}, which hem did not send"),
        },
        OutcomeView::TimedOut { after_ms, killed } => {
            format!(
                "ran into its time limit of {}; {}",
                span(Duration::from_millis(*after_ms)),
                how(killed)
            )
        }
        OutcomeView::Stopped { killed } => format!("stopped on request; {}", how(killed)),
        OutcomeView::StartFailed { message, .. } => format!("could not be started: {}", safe(message)),
        OutcomeView::Leaked { code } => {
            format!("exit status {code}, but a process it left behind kept its output open")
        }
        OutcomeView::Interrupted => "cut short by the daemon's end; how far it came is not known".to_owned(),
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(number)
        .ok()
        .map(nix::sys::signal::Signal::as_str)
}

/// The colour of an outcome.
pub(super) const fn tint_of_outcome(outcome: &OutcomeView) -> Tint {
    match outcome {
        OutcomeView::Exited { code: 0 } => Tint::Good,
        OutcomeView::Leaked { code: 0 } | OutcomeView::Interrupted | OutcomeView::Stopped { .. } => {
            Tint::Busy
        }
        _ => Tint::Bad,
    }
}

/// Who, in words.
pub(super) fn actor(actor: &ActorView) -> String {
    match actor {
        ActorView::User { name: Some(name), .. } => name.clone(),
        ActorView::User { uid, name: None } => format!("uid {uid}"),
        ActorView::Token { name } => format!("token {name}"),
        ActorView::Daemon => "the daemon".to_owned(),
    }
}

/// What caused an attempt, in words.
pub(super) fn cause(cause: &CauseView) -> String {
    match cause {
        CauseView::Event => "the event".to_owned(),
        CauseView::Retry => "automatic retry".to_owned(),
        CauseView::RetryMessage { event } => format!("RETRY message (event {event})"),
        CauseView::Operator {
            actor: who,
            as_recorded: false,
        } => format!("`hem retry` by {}", actor(who)),
        CauseView::Operator {
            actor: who,
            as_recorded: true,
        } => {
            format!("`hem retry --as-recorded` by {}", actor(who))
        }
        CauseView::Recovery => "the daemon came back after the attempt before was cut short".to_owned(),
    }
}

/// Writes text to standard output.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a value to standard output as JSON, laid out for people and programs alike.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Writes a value to standard output as one line of JSON.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print_json_line(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    print(&text)
}

/// Says something to the person at the terminal, on standard error. That nobody listens there is no error.
pub(super) fn say(text: &str) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{}", safe(text));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A style that gives the same everywhere: 2026-11-22T02:20:00Z, UTC, no colours, 100 columns.
    pub(in crate::cli) fn fixed() -> Style {
        Style {
            colours: false,
            width: Some(100),
            zone: TimeZone::UTC,
            now: Timestamp::from_millis(1_795_314_000_000),
        }
    }

    #[test]
    fn spans_are_short() {
        for (millis, text) in [
            (0, "0 ms"),
            (120, "120 ms"),
            (3_240, "3.2 s"),
            (59_999, "59 s"),
            (480_000, "8 min"),
            (7_500_000, "2 h 5 min"),
            (300_000_000, "3 d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn scripts_do_not_steer_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\rc\td\n"), "a\\x1b[2Jb\\rc\td\n");
        assert!(matches!(safe("plain ü\n"), Cow::Borrowed(_)));
        assert_eq!(safe("a\u{202e}b"), "a\\x202eb");
        assert_eq!(safe_line("vm/1\n1043 vm/2"), "vm/1\\n1043 vm/2");
    }

    #[test]
    fn times_are_shown_in_the_reader_s_zone() {
        let mut style = fixed();
        let time = Time(Timestamp::from_millis(1_795_313_403_120));
        assert_eq!(style.time(time), "2026-11-22 02:10:03.120Z");
        assert_eq!(style.ago(time), "9 min ago");
        style.zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(style.time(time), "2026-11-22 03:10:03.120");
    }
}
