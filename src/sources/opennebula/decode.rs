//! From what the hook manager sent to an event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::config::OpennebulaSource;
use crate::engine::intake::{Decode, Decoded, NotKept, Received};
use crate::engine::pool::Hints;
use crate::event::id::Seq;
use crate::event::opennebula::key::Key;
use crate::event::opennebula::pool::StateMessage;
use crate::event::opennebula::{self, Reading, schema};
use crate::event::payload::Payload;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts, Subject};
use crate::repeats::Repeats;

/// Keys are longer than this in no message of a real hook manager; a longer one is cut and the event not matched.
const MAX_KEY: usize = 4096;

/// `oned` pads; a message that came through other hands may not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes the messages of one OpenNebula source.
#[derive(Debug)]
pub struct Decoder {
    source: Arc<str>,
    names_source: bool,
    ignored_calls: Vec<String>,
    /// Set where messages are checked against the schemas.
    validation: Option<Mutex<Repeats>>,
    /// What the log must not show of a message.
    redaction: Redaction,
    /// Where to say that the controller's own hooks changed, where somebody wants to know.
    hints: Option<Hints>,
}

/// The calls that change the hooks that `oned` keeps (`src/rm/xml-rpc/HookXRPC.h`). Changes of owner and rights are none: they
/// change nothing that a hook does.
const CHANGES_POOL: [&str; 6] = [
    "one.hook.allocate",
    "one.hook.update",
    "one.hook.delete",
    "one.hook.rename",
    "one.hook.lock",
    "one.hook.unlock",
];

impl Decoder {
    /// A decoder for the source of this name. `names_source` puts the name in front of subjects (`zone1:vm/12`), for a site
    /// with several sources of this kind.
    pub fn new(source: &str, config: &OpennebulaSource, names_source: bool) -> Self {
        Self {
            source: source.into(),
            names_source,
            ignored_calls: config.ignore_calls.clone(),
            validation: config.validate.then(Mutex::default),
            redaction: Redaction::default(),
            hints: None,
        }
    }

    /// Says at `hints` when `oned` changed one of the hooks that it keeps.
    #[must_use]
    pub fn hinting(self, hints: Hints) -> Self {
        Self {
            hints: Some(hints),
            ..self
        }
    }

    /// Keeps what `redaction` hides out of the log.
    #[must_use]
    pub fn hiding(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    /// Warns of a message that differs from its schema, once a minute for each kind of message. It is an event nevertheless.
    fn validate(&self, repeats: &Mutex<Repeats>, key: &str, document: &[u8], facts: &Facts) {
        let what = match facts {
            Facts::State(change) => change.resource.as_str(),
            Facts::Api(call) => call.call.as_str(),
            Facts::Retry(_) => "RETRY",
            Facts::Undecodable { .. }
            | Facts::Gap(_)
            | Facts::Own(_)
            | Facts::Webhook(_)
            | Facts::Esc(_)
            | Facts::Masakari(_)
            | Facts::Ncmp(_) => return,
        };
        let faults = schema::validate(document);
        if faults.is_empty() {
            return;
        }
        let allowed = repeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .allows(what, Instant::now());
        if let Some(repeats) = allowed {
            let call = match facts {
                Facts::Api(call) => Some(call.call.as_str()),
                _ => None,
            };
            let redaction = self.redaction.knowing(document);
            let key = redaction.text(key, call);
            let faults = redaction.text(&faults.join("; "), call);
            tracing::warn!(
                source = &*self.source,
                key,
                repeats,
                faults,
                "a message differs from its schema"
            );
        }
    }

    /// A call that failed changed nothing, whatever it was about.
    fn hint(&self, facts: &Facts) {
        if let (Some(hints), Facts::Api(call)) = (&self.hints, facts)
            && call.success
            && CHANGES_POOL.contains(&call.call.as_str())
        {
            hints.give();
        }
    }

    fn is_ignored(&self, facts: &Facts) -> bool {
        matches!(facts, Facts::Api(call) if self.ignored_calls.iter().any(|pattern| fits(pattern, &call.call)))
    }

    fn event(&self, message: Received, payload: Bytes, reading: Reading) -> Event {
        Event {
            seq: Seq::default(),
            source: Arc::clone(&self.source),
            key: message.key,
            subject: reading
                .subject
                .map(|subject| Subject::of(&subject, self.names_source.then_some(&*self.source))),
            received: message.at,
            facts: reading.facts,
            ambiguous: reading.ambiguous,
            synthesised: false,
            payload: Payload::new(payload),
        }
    }

    /// The event of a state that was missed: what the message would have made that nobody sent, and marked as such.
    pub(super) fn synthesised(&self, message: StateMessage) -> Event {
        let reading = opennebula::read(&message.key, message.document.as_bytes());
        let received = Received {
            key: message.key,
            frames: Vec::new(),
            at: Timestamp::now(),
        };
        Event {
            synthesised: true,
            ..self.event(received, message.document.into(), reading)
        }
    }

    /// An event that cannot be read, with all that came.
    fn undecodable(&self, mut message: Received, reason: String) -> Decoded {
        message.key.truncate(message.key.floor_char_boundary(MAX_KEY));
        let frames = std::mem::take(&mut message.frames);
        let payload = match frames.as_slice() {
            [content] => content.clone(),
            several => several.join(&b'\n').into(),
        };
        let reading = Reading {
            facts: Facts::Undecodable { reason },
            subject: None,
            ambiguous: false,
        };
        Decoded::Event(Box::new(self.event(message, payload, reading)))
    }
}

impl Decode for Decoder {
    fn source(&self) -> Arc<str> {
        Arc::clone(&self.source)
    }

    fn decode(&self, message: Received) -> Decoded {
        let [content] = message.frames.as_slice() else {
            let reason = format!(
                "the message has {}; expected are two, key and content",
                match message.frames.len() {
                    0 => "one frame".to_owned(),
                    more => format!("{} frames", more + 1),
                }
            );
            return self.undecodable(message, reason);
        };
        if message.key.is_empty() {
            return self.undecodable(message, "the message has an empty key".to_owned());
        }
        if message.key.len() > MAX_KEY {
            let reason = format!("the key has {} bytes, more than {MAX_KEY}", message.key.len());
            return self.undecodable(message, reason);
        }
        if Key::parse(&message.key).is_twin() {
            return Decoded::NotKept(NotKept::Duplicate);
        }
        let document = match decode_base64(content) {
            Ok(document) => document,
            Err(error) => {
                return self.undecodable(message, format!("the content is no base64: {error}"));
            }
        };
        let reading = opennebula::read(&message.key, &document);
        self.hint(&reading.facts);
        if self.is_ignored(&reading.facts) {
            return Decoded::NotKept(NotKept::Refused("ignored call"));
        }
        if let Some(repeats) = &self.validation {
            self.validate(repeats, &message.key, &document, &reading.facts);
        }
        Decoded::Event(Box::new(self.event(message, document.into(), reading)))
    }
}

/// Line breaks and blanks anywhere are no part of it: RETRY has a trailing one, other encoders break lines.
fn decode_base64(content: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
    let trimmed = content.trim_ascii();
    if trimmed.iter().any(u8::is_ascii_whitespace) {
        let dense: Vec<u8> = trimmed
            .iter()
            .copied()
            .filter(|b| !b.is_ascii_whitespace())
            .collect();
        BASE64.decode(dense)
    } else {
        BASE64.decode(trimmed)
    }
}

/// Whether `name` is what `pattern` says, `*` standing for any characters, also none.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        // The first place a piece fits leaves the most room for the others.
        let Some((_, after)) = rest.split_once(piece) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Kind;

    fn config(ignore: &[&str]) -> OpennebulaSource {
        OpennebulaSource {
            endpoint: "tcp://127.0.0.1:2101".to_owned(),
            replies: "tcp://127.0.0.1:2102".to_owned(),
            ignore_calls: ignore.iter().map(|&pattern| pattern.to_owned()).collect(),
            validate: false,
            queue_events: 1000,
            queue_bytes: 1 << 20,
        }
    }

    fn received(key: &str, frames: &[&[u8]]) -> Received {
        Received {
            key: key.to_owned(),
            frames: frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect(),
            at: Timestamp::from_millis(42),
        }
    }

    fn decode(key: &str, frames: &[&[u8]]) -> Decoded {
        Decoder::new("one", &config(&["one.zone.*"]), false).decode(received(key, frames))
    }

    fn event(decoded: Decoded) -> Event {
        match decoded {
            Decoded::Event(event) => *event,
            Decoded::NotKept(why) => panic!("not kept: {why:?}"),
        }
    }

    #[test]
    fn what_cannot_be_read_is_kept_with_the_reason_and_all_that_came() {
        let long_key = format!("EVENT {}", "ü".repeat(MAX_KEY));
        let long_key_reason = format!("the key has {} bytes, more than {MAX_KEY}", long_key.len());
        type Row<'a> = (&'a str, &'a [&'a [u8]], &'a str, &'a [u8]);
        let table: [Row<'_>; 5] = [
            (
                "EVENT X",
                &[],
                "the message has one frame; expected are two, key and content",
                b"",
            ),
            (
                "EVENT X",
                &[b"a", b"b"],
                "the message has 3 frames; expected are two, key and content",
                b"a\nb",
            ),
            ("", &[b"YQ=="], "the message has an empty key", b"YQ=="),
            (
                "EVENT STATE VM/DONE",
                &[b"{not base64}"],
                "the content is no base64: Invalid symbol 123, offset 0.",
                b"{not base64}",
            ),
            (&long_key, &[b"YQ=="], &long_key_reason, b"YQ=="),
        ];
        for (key, frames, reason, payload) in table {
            let event = event(decode(key, frames));
            assert_eq!(event.kind(), Kind::Undecodable, "{key}");
            assert_eq!(
                event.facts,
                Facts::Undecodable {
                    reason: reason.to_owned()
                },
                "{key}"
            );
            assert_eq!(event.payload.bytes(), payload, "{key}");
            assert_eq!(event.received.as_millis(), 42);
            assert_eq!(&*event.source, "one");
            assert!(key.starts_with(&event.key) && event.key.len() <= MAX_KEY);
        }
    }

    #[test]
    fn copies_by_resource_and_by_service_are_dropped_and_nothing_else() {
        for key in [
            "EVENT VM 12/ACTIVE/RUNNING ",
            "EVENT HOST 0/MONITORED/ ",
            "EVENT IMAGE 5/READY/ ",
            "EVENT NET 3/UPDATE_FAILURE/ ",
            "EVENT SERVICE 77 ",
            "EVENT SERVICE 7 8/9 ",
        ] {
            assert!(
                matches!(decode(key, &[b"YQ=="]), Decoded::NotKept(NotKept::Duplicate)),
                "{key}"
            );
        }
        for key in [
            "EVENT ",
            "EVENT STATE VM/ACTIVE/RUNNING/12 ",
            "EVENT API one.vm.info 1",
            "RETRY",
            "EVENTVM 1",
        ] {
            let decoded = decode(key, &[b"YQ=="]);
            assert!(!matches!(decoded, Decoded::NotKept(NotKept::Duplicate)), "{key}");
        }
    }

    const STATE: &[u8] = b"<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT>\
        <STATE>ERROR</STATE><REMOTE_HOST>h1</REMOTE_HOST><RESOURCE_ID>7</RESOURCE_ID><HOST><ID>7</ID></HOST></HOOK_MESSAGE>";

    fn api(call: &str) -> String {
        let document = format!(
            "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>{call}</CALL><CALL_INFO><RESULT>1</RESULT><PARAMETERS>\
             </PARAMETERS><EXTRA></EXTRA></CALL_INFO></HOOK_MESSAGE>"
        );
        BASE64.encode(document)
    }

    #[test]
    fn ignored_calls_are_refused_by_the_envelope_whatever_the_key_says() {
        for (call, kept) in [("one.zone.raftstatus", false), ("one.vm.allocate", true)] {
            for key in [
                "EVENT API one.vm.allocate 1",
                "EVENT API one.zone.raftstatus 1",
                "EVENT ",
            ] {
                match decode(key, &[api(call).as_bytes()]) {
                    Decoded::Event(event) => assert!(kept && event.kind() == Kind::Api, "{call} as {key}"),
                    Decoded::NotKept(why) => {
                        assert_eq!(
                            (kept, why),
                            (false, NotKept::Refused("ignored call")),
                            "{call} as {key}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn identical_state_events_all_count() {
        let content = BASE64.encode(STATE);
        for _ in 0..3 {
            let event = event(decode("EVENT STATE HOST/ERROR//7 ", &[content.as_bytes()]));
            assert_eq!(event.kind(), Kind::State);
        }
    }

    #[test]
    fn subjects_name_their_source_where_several_are_configured() {
        let message = received("EVENT STATE HOST/ERROR//7 ", &[BASE64.encode(STATE).as_bytes()]);
        for (names_source, subject) in [(false, "host/7"), (true, "zone1:host/7")] {
            let decoder = Decoder::new("zone1", &config(&[]), names_source);
            let event = event(decoder.decode(message.clone()));
            assert_eq!(event.subject, Some(Subject::new(subject)));
            assert_eq!(event.payload.bytes(), STATE);
        }
    }

    /// A log that can be read.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_message_that_differs_from_its_schema_is_warned_of_once_and_is_an_event_nevertheless() {
        let config = OpennebulaSource {
            validate: true,
            ..config(&[])
        };
        let decoder = Decoder::new("one", &config, false);
        let good = received("EVENT good", &[BASE64.encode(STATE).as_bytes()]);
        let document = String::from_utf8_lossy(STATE).replace(
            "<STATE>ERROR</STATE>",
            "<STATE>ERROR</STATE><STATE/><PASSWORD>s3cret-of-ann</PASSWORD>",
        );
        let odd = received("EVENT odd s3cret-of-ann", &[BASE64.encode(document).as_bytes()]);
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for message in [&good, &odd, &odd, &good] {
                assert_eq!(event(decoder.decode(message.clone())).kind(), Kind::State);
            }
        });
        let said = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("a message differs from its schema") && said.contains("EVENT odd [redacted]"),
            "{said}"
        );
        assert!(!said.contains("s3cret"), "{said}");
    }

    #[test]
    fn base64_is_read_with_line_breaks_blanks_and_without_padding() {
        for text in [
            "aGVsbG8=",
            "aGVsbG8",
            "aGVs\nbG8=\n",
            "aGVs\r\nbG8=\r\n",
            "aGVsbG8= ",
            "\taG Vs bG8 = ",
        ] {
            assert_eq!(
                decode_base64(text.as_bytes()).as_deref(),
                Ok(b"hello".as_slice()),
                "{text:?}"
            );
        }
        assert_eq!(decode_base64(b""), Ok(vec![]));
        for text in ["aGVsbG8==x", "a", "aGVs-G8=", "aGVsbG8=aGVs"] {
            assert!(decode_base64(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn patterns_of_calls_fit_whole_names() {
        let table = [
            ("one.zone.*", "one.zone.raftstatus", true),
            ("one.zone.*", "one.zone.", true),
            ("one.zone.*", "one.zones.info", false),
            ("*.monitoring", "one.vm.monitoring", true),
            ("*.monitoring", "one.vm.monitoring2", false),
            ("one.vmpool.infoset", "one.vmpool.infoset", true),
            ("one.vmpool.infoset", "one.vmpool.infosets", false),
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "x", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*x*x*", "xx", true),
            ("*x*x*", "x", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(fits(pattern, name), expected, "{pattern} on {name}");
        }
    }

    proptest! {
        #[test]
        fn base64_written_by_anyone_reads_back(
            document in prop::collection::vec(any::<u8>(), 0..300),
            breaks in prop::collection::vec((0_usize..400, prop::sample::select(vec![' ', '\n', '\r', '\t'])), 0..20),
            padded: bool,
        ) {
            let mut text = BASE64.encode(&document);
            if !padded {
                text.truncate(text.trim_end_matches('=').len());
            }
            for (at, blank) in breaks {
                text.insert(at.min(text.len()), blank);
            }
            prop_assert_eq!(decode_base64(text.as_bytes()), Ok(document));
        }

        #[test]
        fn a_pattern_made_from_a_name_fits_it(name in "[a-z.]{0,20}", cuts in prop::collection::vec((0_usize..20, 0_usize..5), 0..4)) {
            let mut pattern = name.clone();
            for (at, len) in cuts {
                let from = at.min(pattern.len());
                let to = (from + len).min(pattern.len());
                pattern.replace_range(from..to, "*");
            }
            prop_assert!(fits(&pattern, &name), "{pattern} on {name}");
        }

        #[test]
        fn no_message_that_is_not_two_frames_is_matched(
            key in "\\PC{0,40}",
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5),
        ) {
            prop_assume!(frames.len() != 1);
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(event(decode(&key, &frames)).kind(), Kind::Undecodable);
        }
    }
}
