//! What a NETCONF server may say: to a session that listens, and to one that asks. What is heard must not hang on how the bytes were
//! cut, and no more may be held than the limit allows.

#![no_main]

use hem::sources::esc::netconf::{
    Decoder, Framing, FramingFault, Heard, Inquiry, InquiryFault, Session, SessionFault, Subscription, framed,
};
use libfuzzer_sys::fuzz_target;

/// The longest message that is taken.
const LONGEST: usize = 600;

const OLD: &str = "urn:ietf:params:netconf:base:1.0";
const NEW: &str = "urn:ietf:params:netconf:base:1.1";
const OK: &str =
    "<rpc-reply xmlns='urn:ietf:params:xml:ns:netconf:base:1.0' message-id='1'><ok/></rpc-reply>";

fn hello(base: &str) -> Vec<u8> {
    let text = format!(
        "<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><capabilities><capability>{base}</capability><capability>\
         urn:ietf:params:netconf:capability:notification:1.0</capability></capabilities><session-id>1</session-id></hello>"
    );
    framed(Framing::EndMark, &text)
}

/// What the server has said before: nothing, a greeting of either version, or that and an answer.
fn before(choice: u8) -> Vec<u8> {
    match choice % 5 {
        0 => Vec::new(),
        1 => hello(OLD),
        2 => hello(NEW),
        3 => [hello(OLD), framed(Framing::EndMark, OK)].concat(),
        _ => [hello(NEW), framed(Framing::Chunks, OK)].concat(),
    }
}

/// A fault without the bytes that it shows: how many of them had come is chance.
fn without_bytes(fault: FramingFault) -> FramingFault {
    match fault {
        FramingFault::Chunk(_) => FramingFault::Chunk(String::new()),
        other => other,
    }
}

fn heard<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Heard>, Option<SessionFault>) {
    let subscription = Subscription {
        stream: "escEvent".to_owned(),
        start: None,
    };
    let mut session = Session::new(subscription, LONGEST);
    let mut all = Vec::new();
    for piece in pieces {
        session.push(piece);
        loop {
            match session.hear() {
                Ok(Some(heard)) => all.push(heard),
                Ok(None) => break,
                Err(SessionFault::Framing(fault)) => return (all, Some(without_bytes(fault).into())),
                Err(fault) => return (all, Some(fault)),
            }
        }
        let _ = session.output();
    }
    (all, None)
}

fn answered<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Result<Vec<u8>, InquiryFault>> {
    let mut inquiry = Inquiry::new(
        "<netconf xmlns='urn:ietf:params:xml:ns:netmod:notification'/>",
        LONGEST,
    );
    for piece in pieces {
        inquiry.push(piece);
        match inquiry.answer() {
            Ok(None) => {}
            Ok(Some(answer)) => return Some(Ok(answer)),
            Err(InquiryFault::Framing(fault)) => return Some(Err(without_bytes(fault).into())),
            Err(fault) => return Some(Err(fault)),
        }
        let _ = inquiry.output();
    }
    None
}

/// Feeds a decoder piece by piece, and looks how much it keeps.
fn keeps_little<'a>(pieces: impl Iterator<Item = &'a [u8]>, expects_chunks: bool) {
    let mut decoder = Decoder::new(LONGEST);
    if expects_chunks {
        decoder.expect_chunks();
    }
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.frame() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // Nobody listens any more.
                Err(_) => return,
            }
        }
        assert!(
            decoder.held() <= LONGEST + piece.len() + 64,
            "{} bytes held",
            decoder.held()
        );
    }
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (choice, size, said) = input;
    let size = usize::from(size % 40) + 1;
    let bytes = [&before(choice), said].concat();
    assert_eq!(
        heard(bytes.chunks(size)),
        heard(std::iter::once(bytes.as_slice()))
    );
    assert_eq!(
        answered(bytes.chunks(size)),
        answered(std::iter::once(bytes.as_slice()))
    );
    keeps_little(said.chunks(size), choice.is_multiple_of(2));
});
