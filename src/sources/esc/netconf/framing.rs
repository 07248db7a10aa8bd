//! Where one NETCONF message ends and the next begins (RFC 6242): the end mark of base:1.0, the chunks of base:1.1.
//!
//! Pure: bytes go in as they come, in pieces of any size, and whole messages come out. A message that is too long is passed over and
//! reported, so that what comes after it is still heard; only what leaves the place of the next message unknown is an end.

/// What ends a message in base:1.0. It cannot stand in XML but by a mistake of the sender's.
const END: &[u8] = b"]]>]]>";

/// Digits of a chunk's size; the largest has ten.
const LONGEST_SIZE: usize = 10;

/// A message that goes on for longer than this many times what is taken goes on for ever.
const ENDLESS: u64 = 16;

/// How messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By an end mark: base:1.0, and every `hello`.
    EndMark,
    /// In chunks that say their size: base:1.1, behind the `hello`.
    Chunks,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole message, without blanks around it.
    Message(Vec<u8>),
    /// A message that was too long, and how many bytes it had. It is gone.
    TooLong(u64),
}

/// Why nobody can say where the next message begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// What stands where a chunk begins is none.
    #[error("no chunk begins with `{0}`")]
    Chunk(String),
    /// A message of no chunks.
    #[error("a message has no chunk")]
    Empty,
    /// A message has no end.
    #[error("a message goes on for more than {0} bytes")]
    Endless(u64),
}

/// Finds messages in what is received.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    longest: usize,
    /// What was received and not looked at; with end marks, the message so far.
    input: Vec<u8>,
    /// How far `input` was searched for an end mark.
    searched: usize,
    /// With chunks, the message so far.
    message: Vec<u8>,
    /// Bytes of the message that were dropped because it is too long.
    dropped: u64,
    /// Bytes that the present chunk still has; none between chunks.
    chunk: Option<u64>,
    /// The message has a chunk.
    has_chunk: bool,
}

impl Decoder {
    /// Begins with end marks. Messages of more than `longest` bytes are passed over.
    pub fn new(longest: usize) -> Self {
        Self {
            framing: Framing::EndMark,
            longest,
            input: Vec::new(),
            searched: 0,
            message: Vec::new(),
            dropped: 0,
            chunk: None,
            has_chunk: false,
        }
    }

    /// Messages of up to so many bytes are taken from now on.
    pub fn take_up_to(&mut self, longest: usize) {
        self.longest = longest;
    }

    /// From the next message on, chunks.
    pub fn expect_chunks(&mut self) {
        self.framing = Framing::Chunks;
        self.searched = 0;
    }

    /// Takes what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next message; none until more has come.
    ///
    /// # Errors
    /// Nobody can say where the next message begins: the connection has to be given up.
    pub fn frame(&mut self) -> Result<Option<Frame>, FramingFault> {
        match self.framing {
            Framing::EndMark => self.marked(),
            Framing::Chunks => self.chunked(),
        }
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.input.len() + self.message.len()
    }

    fn marked(&mut self) -> Result<Option<Frame>, FramingFault> {
        // A mark may have begun in what was searched before.
        let from = self.searched.saturating_sub(END.len() - 1);
        let found = self.input[from..]
            .windows(END.len())
            .position(|bytes| bytes == END);
        let Some(at) = found.map(|at| from + at) else {
            self.searched = self.input.len();
            if self.dropped > 0 || self.input.len() > self.longest + END.len() {
                let kept = self.input.len().min(END.len() - 1);
                let gone = self.input.len() - kept;
                self.input.drain(..gone);
                self.searched = kept;
                self.drop_bytes(gone as u64)?;
            }
            return Ok(None);
        };
        // However it came, in one piece or in many, it is the same message.
        self.check_end(self.dropped + at as u64)?;
        let rest = self.input.split_off(at + END.len());
        let mut message = std::mem::replace(&mut self.input, rest);
        message.truncate(at);
        self.searched = 0;
        Ok(Some(self.finished(message)))
    }

    fn chunked(&mut self) -> Result<Option<Frame>, FramingFault> {
        let mut at = 0;
        let mut frame = None;
        let result = loop {
            match self.chunk {
                Some(0) => self.chunk = None,
                Some(left) => {
                    let here = &self.input[at..];
                    let taken = here.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if taken == 0 {
                        break Ok(());
                    }
                    let fits = self.dropped == 0 && self.message.len() + taken <= self.longest;
                    if fits {
                        self.message.extend_from_slice(&here[..taken]);
                    }
                    at += taken;
                    self.chunk = Some(left - taken as u64);
                    if !fits {
                        let gone = taken + self.message.len();
                        self.message = Vec::new();
                        if let Err(fault) = self.drop_bytes(gone as u64) {
                            break Err(fault);
                        }
                    }
                }
                None => match header(&self.input[at..]) {
                    Header::Incomplete => break Ok(()),
                    Header::Chunk { size, length } => {
                        at += length;
                        self.chunk = Some(size);
                        self.has_chunk = true;
                    }
                    Header::End { .. } if !self.has_chunk => break Err(FramingFault::Empty),
                    Header::End { length } => {
                        at += length;
                        self.has_chunk = false;
                        let message = std::mem::take(&mut self.message);
                        frame = Some(self.finished(message));
                        break Ok(());
                    }
                    Header::Wrong(seen) => break Err(FramingFault::Chunk(seen)),
                },
            }
        };
        self.input.drain(..at);
        result.map(|()| frame)
    }

    fn drop_bytes(&mut self, gone: u64) -> Result<(), FramingFault> {
        self.dropped += gone;
        self.check_end(self.dropped)
    }

    fn check_end(&self, length: u64) -> Result<(), FramingFault> {
        let endless = (self.longest as u64).saturating_mul(ENDLESS).max(1);
        if length > endless {
            Err(FramingFault::Endless(endless))
        } else {
            Ok(())
        }
    }

    fn finished(&mut self, message: Vec<u8>) -> Frame {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 || message.len() > self.longest {
            return Frame::TooLong(dropped + message.len() as u64);
        }
        let trimmed = message.trim_ascii();
        if trimmed.len() == message.len() {
            Frame::Message(message)
        } else {
            Frame::Message(trimmed.to_vec())
        }
    }
}

enum Header {
    Incomplete,
    Chunk { size: u64, length: usize },
    End { length: usize },
    Wrong(String),
}

/// What stands where a chunk begins: a newline, `#`, its size or another `#`, a newline.
fn header(bytes: &[u8]) -> Header {
    let wrong = || {
        let seen = &bytes[..bytes.len().min(LONGEST_SIZE + 3)];
        Header::Wrong(seen.escape_ascii().to_string())
    };
    match bytes {
        [] | [b'\n'] | [b'\n', b'#'] | [b'\n', b'#', b'#'] => Header::Incomplete,
        [b'\n', b'#', b'#', b'\n', ..] => Header::End { length: 4 },
        [b'\n', b'#', b'1'..=b'9', ..] => {
            let digits = bytes[2..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits > LONGEST_SIZE {
                return wrong();
            }
            match bytes.get(2 + digits) {
                None => Header::Incomplete,
                Some(b'\n') => {
                    let size = bytes[2..2 + digits]
                        .iter()
                        .fold(0_u64, |size, digit| size * 10 + u64::from(digit - b'0'));
                    if size > u64::from(u32::MAX) {
                        return wrong();
                    }
                    Header::Chunk {
                        size,
                        length: digits + 3,
                    }
                }
                Some(_) => wrong(),
            }
        }
        _ => wrong(),
    }
}

/// A message as it is sent.
pub fn framed(framing: Framing, message: &str) -> Vec<u8> {
    match framing {
        Framing::EndMark => [message.as_bytes(), END].concat(),
        Framing::Chunks => format!("\n#{}\n{message}\n##\n", message.len()).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that comes out of these pieces.
    fn decoded(decoder: &mut Decoder, pieces: &[&[u8]]) -> (Vec<Frame>, Option<FramingFault>) {
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(fault) => return (frames, Some(fault)),
                }
            }
        }
        (frames, None)
    }

    fn of_chunks(longest: usize) -> Decoder {
        let mut decoder = Decoder::new(longest);
        decoder.expect_chunks();
        decoder
    }

    fn message(text: &str) -> Frame {
        Frame::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn messages_are_told_apart() {
        let marked = b"\n<a/>]]>]]>\n<b>]]></b>]]>]]><c>";
        let (frames, fault) = decoded(&mut Decoder::new(100), &[marked]);
        assert_eq!(
            (frames, fault),
            (vec![message("<a/>"), message("<b>]]></b>")], None)
        );
        let chunked = b"\n#4\n<a/>\n##\n\n#2\n<b\n#2\n/>\n##\n\n#3\n<c>";
        let (frames, fault) = decoded(&mut of_chunks(100), &[chunked]);
        assert_eq!((frames, fault), (vec![message("<a/>"), message("<b/>")], None));
        // An end mark is text in a chunk, and what looks like a chunk is text before an end mark.
        let (frames, _) = decoded(&mut of_chunks(100), &[b"\n#6\n]]>]]>\n##\n"]);
        assert_eq!(frames, [message("]]>]]>")]);
        let (frames, _) = decoded(&mut Decoder::new(100), &[b"x\n##\ny]]>]]>"]);
        assert_eq!(frames, [message("x\n##\ny")]);
    }

    #[test]
    fn chunks_begin_behind_the_hello_in_the_middle_of_what_was_received() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"<hello/>]]>]]>\n#4\n<a/>\n##\n");
        assert_eq!(decoder.frame(), Ok(Some(message("<hello/>"))));
        decoder.expect_chunks();
        assert_eq!(decoder.frame(), Ok(Some(message("<a/>"))));
        assert_eq!((decoder.frame(), decoder.held()), (Ok(None), 0));
    }

    #[test]
    fn what_begins_no_chunk_is_an_end() {
        for wrong in [
            "<a/>",
            "\n<",
            "\n#0\n",
            "\n#01\n",
            "\n#a\n",
            "\n#1a\n",
            "\n#-1\n",
            "\n###",
            "\n#4294967296\n",
            "\n#99999999999",
            "\r\n#1\n",
            "\n#1\na#1\n",
        ] {
            let (frames, fault) = decoded(&mut of_chunks(100), &[wrong.as_bytes()]);
            assert_eq!(frames, []);
            assert!(
                matches!(fault, Some(FramingFault::Chunk(_))),
                "{wrong:?}: {fault:?}"
            );
        }
        assert_eq!(
            decoded(&mut of_chunks(100), &[b"\n##\n"]).1,
            Some(FramingFault::Empty)
        );
        assert_eq!(decoded(&mut of_chunks(9), &[b"\n#4294967295\nx"]), (vec![], None));
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_what_has_no_end_is_given_up() {
        let long = "x".repeat(25);
        for framing in [Framing::EndMark, Framing::Chunks] {
            let mut decoder = Decoder::new(20);
            if framing == Framing::Chunks {
                decoder.expect_chunks();
            }
            let sent = [framed(framing, &long), framed(framing, "<a/>")].concat();
            let pieces: Vec<&[u8]> = sent.chunks(3).collect();
            assert_eq!(
                decoded(&mut decoder, &pieces),
                (vec![Frame::TooLong(25), message("<a/>")], None),
                "{framing:?}"
            );
        }
        let endless: Vec<&[u8]> = vec![b"xxxxxxxxxx"; 40];
        let mut decoder = Decoder::new(20);
        assert_eq!(
            decoded(&mut decoder, &endless).1,
            Some(FramingFault::Endless(320))
        );
        assert!(decoder.held() < 40);
        let chunks: Vec<&[u8]> = vec![b"\n#10\nxxxxxxxxxx"; 40];
        let mut decoder = of_chunks(20);
        assert_eq!(decoded(&mut decoder, &chunks).1, Some(FramingFault::Endless(320)));
        assert!(decoder.held() < 40);
    }

    proptest! {
        #[test]
        fn what_was_framed_comes_out_however_it_is_cut(
            messages in proptest::collection::vec("<[a-z]{1,9}>[^\\]]{0,40}</a>", 1..6),
            cuts in proptest::collection::vec(1_usize..30, 1..40),
            is_chunked: bool,
        ) {
            let framing = if is_chunked { Framing::Chunks } else { Framing::EndMark };
            let sent: Vec<u8> = messages.iter().flat_map(|message| framed(framing, message)).collect();
            let mut decoder = Decoder::new(1_000);
            if is_chunked {
                decoder.expect_chunks();
            }
            let mut rest = sent.as_slice();
            let mut pieces = Vec::new();
            for size in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at(rest.len().min(*size));
                pieces.push(piece);
                rest = more;
            }
            let expected: Vec<Frame> = messages.iter().map(|text| message(text)).collect();
            prop_assert_eq!(decoded(&mut decoder, &pieces), (expected, None));
            prop_assert_eq!(decoder.held(), 0);
        }

        #[test]
        fn byte_by_byte_or_all_at_once_is_the_same(
            bytes in "(\n|#|##|[0-3]|<a>|x|\\]|\\]\\]>|\\]\\]>\\]\\]>){0,40}", is_chunked: bool, longest in 0_usize..20,
        ) {
            let decoder = || if is_chunked { of_chunks(longest) } else { Decoder::new(longest) };
            let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
            let (mut one, mut other) = (decoder(), decoder());
            let (frames, fault) = decoded(&mut one, &single);
            let (at_once, fault_at_once) = decoded(&mut other, &[bytes.as_bytes()]);
            prop_assert_eq!(frames, at_once);
            prop_assert_eq!(fault.is_some(), fault_at_once.is_some());
            prop_assert!(one.held() <= longest + END.len() + LONGEST_SIZE + 3);
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20), is_chunked: bool) {
            let mut decoder = if is_chunked { of_chunks(64) } else { Decoder::new(64) };
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = decoded(&mut decoder, &pieces);
        }
    }
}
