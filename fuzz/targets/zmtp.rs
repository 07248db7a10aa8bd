//! What a ZeroMQ publisher may send: the greeting, and frames. What is taken must not hang on how the bytes were cut.

#![no_main]

use hem::sources::opennebula::zmtp::codec::{Decoder, FrameError, GREETING_LEN, Traffic, check_greeting};
use libfuzzer_sys::fuzz_target;

fn taken<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Traffic>, Option<FrameError>) {
    let mut decoder = Decoder::default();
    let mut all = Vec::new();
    for piece in pieces {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.take() {
                Ok(Some(traffic)) => all.push(traffic),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, sent) = input;
    // However much of a greeting has come, it is judged without a panic; and what is wrong in part is wrong as a whole.
    let greeting = &sent[..sent.len().min(GREETING_LEN)];
    for end in 0..=greeting.len() {
        assert!(check_greeting(&greeting[..end]).is_ok() || check_greeting(greeting).is_err());
    }
    let at_once = taken(std::iter::once(sent));
    assert_eq!(taken(sent.chunks(usize::from(size) + 1)), at_once);
    assert_eq!(taken(sent.chunks(1)), at_once);
});
