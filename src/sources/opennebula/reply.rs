//! What `oned` is told of an attempt: the message that `onehem-server` sends (onehem-server.rb, `build_response_body`).
//!
//! `"<rc> <hook id> <base64>"`, where the base64 holds elements without a root, around which `oned` puts
//! `HOOK_EXECUTION_RECORD`. It drops what is then not well-formed, in silence, so what stands between the tags is escaped here;
//! `onehem-server` does not do that.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::engine::outbox::{Captured, FinishedAttempt, Outcome};

/// The code of everything that is not an exit status.
const NO_STATUS: i32 = 255;

/// Ruby's `Base64.encode64` breaks its lines there, and puts a newline behind the last one.
const LINE: usize = 60;

/// `oned` keeps a record in one column of its database; of a longer output the beginning and the end are sent.
const OUTPUT_AT_MOST: usize = 64 << 10;

/// The message for one finished attempt.
pub(super) fn message(attempt: &FinishedAttempt) -> Vec<u8> {
    let (code, remark) = verdict(attempt);
    let document = document(attempt, code, remark.as_deref());
    format!("{code} {} {}", attempt.hook_id, STANDARD.encode(document)).into_bytes()
}

/// The return code, and what is said of an attempt that has no exit status: `onehem-server`'s words where it has any.
fn verdict(attempt: &FinishedAttempt) -> (i32, Option<String>) {
    match &attempt.outcome {
        Outcome::Exited { code } | Outcome::Leaked { code } => (*code, None),
        Outcome::TimedOut { .. } => (NO_STATUS, Some(format!("Timeout executing {}", attempt.command))),
        Outcome::StartFailed(failure) => (NO_STATUS, Some(format!("Internal error {failure}"))),
        Outcome::Signalled { signal } => (
            NO_STATUS,
            Some(format!("Internal error ended by signal {signal}")),
        ),
        Outcome::Stopped { .. } => (NO_STATUS, Some("Internal error ended on request".to_owned())),
        Outcome::Interrupted => (
            NO_STATUS,
            Some("Internal error interrupted: the daemon ended while the hook ran".to_owned()),
        ),
    }
}

fn document(attempt: &FinishedAttempt, code: i32, remark: Option<&str>) -> String {
    let mut stderr = kept(&attempt.stderr).into_owned();
    if let Some(remark) = remark {
        if !stderr.is_empty() && !stderr.ends_with(b"\n") {
            stderr.push(b'\n');
        }
        stderr.extend_from_slice(remark.as_bytes());
    }
    let mut document = format!(
        "<ARGUMENTS>{}</ARGUMENTS><EXECUTION_RESULT><COMMAND>{}</COMMAND><STDOUT>{}</STDOUT><STDERR>{}</STDERR>\
         <CODE>{code}</CODE></EXECUTION_RESULT>",
        escaped(&attempt.arguments),
        escaped(&attempt.command),
        in_lines(&kept(&attempt.stdout)),
        in_lines(&stderr),
    );
    if let Some(host) = attempt.remote_host.as_deref().filter(|host| !host.is_empty()) {
        // Writing to a string never fails.
        let _ = write!(document, "<REMOTE_HOST>{}</REMOTE_HOST>", escaped(host));
    }
    if attempt.repeats {
        document.push_str("<RETRY>yes</RETRY>");
    }
    document
}

/// What of an output is sent: all of it, or its beginning and its end with a mark that says how much is missing between.
fn kept(output: &Captured) -> Cow<'_, [u8]> {
    let (head, tail) = (output.head.as_ref(), output.tail.as_ref());
    if output.cut() == 0 && head.len() + tail.len() <= OUTPUT_AT_MOST {
        return match tail {
            [] => Cow::Borrowed(head),
            _ => Cow::Owned([head, tail].concat()),
        };
    }
    let begins = &head[..head.len().min(OUTPUT_AT_MOST / 2)];
    let rest = if tail.is_empty() {
        &head[begins.len()..]
    } else {
        tail
    };
    let ends = &rest[rest.len().saturating_sub(OUTPUT_AT_MOST / 2)..];
    let missing = output.total.saturating_sub((begins.len() + ends.len()) as u64);
    let mark = format!("\n[... {missing} bytes left out ...]\n");
    Cow::Owned([begins, mark.as_bytes(), ends].concat())
}

/// Base64 as Ruby's `Base64.encode64` lays it out.
fn in_lines(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines
}

/// Text as it may stand between tags. What XML 1.0 cannot carry at all is replaced.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |character: char| match character {
        '&' | '<' | '\r' => false,
        '\t' | '\n' => true,
        character => character >= ' ' && !matches!(character, '\u{FFFE}' | '\u{FFFF}'),
    };
    if text.chars().all(is_plain) && !text.contains("]]>") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A parser would make a newline of it.
            '\r' => out.push_str("&#13;"),
            character if is_plain(character) => out.push(character),
            _ => out.push('\u{FFFD}'),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::outbox::{StartFailure, StartFailureKind};
    use crate::event::opennebula::schema::validate_reply;

    fn captured(bytes: &[u8]) -> Captured {
        Captured {
            head: bytes.to_vec().into(),
            tail: Default::default(),
            total: bytes.len() as u64,
        }
    }

    fn attempt(outcome: Outcome) -> FinishedAttempt {
        FinishedAttempt {
            hook_id: 7,
            arguments: "a b".to_owned(),
            command: "/hooks/x.sh a b".to_owned(),
            outcome,
            stdout: captured(b"out\n"),
            stderr: Captured::default(),
            remote_host: None,
            repeats: false,
        }
    }

    /// The return code, the hook and the document of a message.
    fn read(message: &[u8]) -> (String, String, String) {
        let text = std::str::from_utf8(message).expect("a text");
        let mut words = text.split(' ').map(str::to_owned);
        let mut next = || words.next().expect("three words");
        let (code, hook) = (next(), next());
        let document = STANDARD.decode(next()).expect("base64");
        (code, hook, String::from_utf8(document).expect("a text"))
    }

    #[test]
    fn a_script_that_ended_by_itself_is_reported_with_its_status() {
        let (code, hook, document) = read(&message(&attempt(Outcome::Exited { code: 3 })));
        assert_eq!((code.as_str(), hook.as_str()), ("3", "7"));
        assert_eq!(
            document,
            "<ARGUMENTS>a b</ARGUMENTS><EXECUTION_RESULT><COMMAND>/hooks/x.sh a b</COMMAND><STDOUT>b3V0Cg==\n</STDOUT>\
             <STDERR></STDERR><CODE>3</CODE></EXECUTION_RESULT>"
        );
    }

    #[test]
    fn what_has_no_status_is_255_and_says_why() {
        let not_found = StartFailure {
            kind: StartFailureKind::NotFound,
            message: "no such file".to_owned(),
        };
        let timed_out = Outcome::TimedOut {
            after: Duration::from_secs(1),
            killed: true,
        };
        for (outcome, says) in [
            (timed_out, "Timeout executing /hooks/x.sh a b"),
            (Outcome::StartFailed(not_found), "Internal error no such file"),
            (Outcome::Signalled { signal: 9 }, "signal 9"),
            (Outcome::Stopped { killed: false }, "on request"),
            (Outcome::Interrupted, "interrupted"),
        ] {
            let mut attempt = attempt(outcome);
            attempt.stderr = captured(b"so far");
            let (code, _, document) = read(&message(&attempt));
            assert_eq!(code, "255");
            assert!(document.contains("<CODE>255</CODE>"), "{document}");
            let stderr = between(&document, "<STDERR>", "</STDERR>").replace('\n', "");
            let stderr = String::from_utf8(STANDARD.decode(stderr).expect("base64")).expect("a text");
            assert!(
                stderr.starts_with("so far\n") && stderr.contains(says),
                "{stderr}"
            );
        }
    }

    #[test]
    fn the_host_and_a_repetition_are_said_where_there_are_any() {
        let mut attempt = attempt(Outcome::Exited { code: 0 });
        attempt.remote_host = Some("node<1>".to_owned());
        attempt.repeats = true;
        let (_, _, document) = read(&message(&attempt));
        assert!(
            document.ends_with("<REMOTE_HOST>node&lt;1&gt;</REMOTE_HOST><RETRY>yes</RETRY>"),
            "{document}"
        );
        attempt.remote_host = Some(String::new());
        let (_, _, document) = read(&message(&attempt));
        assert!(!document.contains("REMOTE_HOST"), "{document}");
    }

    #[test]
    fn a_long_output_is_sent_as_beginning_and_end_with_a_mark_between() {
        let all: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
        let whole = captured(&all);
        let cut = Captured {
            head: all[..65_536].to_vec().into(),
            tail: all[200_000 - 65_536..].to_vec().into(),
            total: 200_000,
        };
        for output in [whole, cut] {
            let sent = kept(&output);
            assert!(sent.starts_with(&all[..32_768]) && sent.ends_with(&all[200_000 - 32_768..]));
            let mark = format!("[... {} bytes left out ...]", 200_000 - 65_536);
            assert!(String::from_utf8_lossy(&sent).contains(&mark));
        }
    }

    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let (_, rest) = text.split_once(from).expect(from);
        rest.split_once(to).expect(to).0
    }

    proptest! {
        /// `oned` drops what is not well-formed, so there is nothing that may break it.
        #[test]
        fn the_document_is_well_formed_whatever_stands_in_it(arguments in any::<String>(), command in ".*", host in ".*") {
            let mut attempt = attempt(Outcome::Exited { code: 0 });
            (attempt.arguments, attempt.command) = (arguments, command);
            attempt.remote_host = Some(host);
            let (_, _, document) = read(&message(&attempt));
            prop_assert_eq!(validate_reply(&document), Vec::<String>::new());
        }
    }
}
