//! One NETCONF session that asks one thing: hello, `get`, the answer, goodbye. Servers without `:interleave` answer nothing on a session
//! that is subscribed, so that each question has a session of its own.
//!
//! Pure, as [`super::Session`] is.

use super::framing::{Decoder, Frame, Framing, FramingFault, framed};
use super::hello::{self, HelloFault};
use super::reply::{Reply, RpcError, in_words, read_reply};
use super::request::{get, request};

const QUESTION: &str = "1";
const GOODBYE: &str = "2";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InquiryFault {
    /// Messages cannot be told apart.
    #[error("the messages of the server cannot be told apart")]
    Framing(#[from] FramingFault),
    /// The server did not begin as it should.
    #[error(transparent)]
    Hello(#[from] HelloFault),
    /// It was refused.
    #[error("the server refuses to tell: {}", in_words(.0))]
    Refused(Vec<RpcError>),
    /// The answer is too long.
    #[error("the answer has {0} bytes, which is too long")]
    TooLong(u64),
    /// The answer cannot be read.
    #[error("the answer is not understood: {0}")]
    Unreadable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Hello,
    Asked,
    Over,
}

/// A question from the first byte to the last.
#[derive(Debug)]
pub struct Inquiry {
    question: String,
    decoder: Decoder,
    longest: usize,
    framing: Framing,
    stage: Stage,
    output: Vec<u8>,
}

impl Inquiry {
    /// Asks for what there is of a subtree, and takes an answer of up to `longest` bytes.
    pub fn new(subtree: &str, longest: usize) -> Self {
        Self {
            question: get(subtree),
            decoder: Decoder::new(longest.min(hello::LONGEST)),
            longest,
            framing: Framing::EndMark,
            stage: Stage::Hello,
            output: hello::sent(),
        }
    }

    /// What is to be sent; it is handed out once.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.stage != Stage::Over {
            self.decoder.push(bytes);
        }
    }

    /// The answer, a whole `rpc-reply`; none until it has come. Then goodbye is to be sent, and nothing more is heard.
    ///
    /// # Errors
    /// There is none.
    pub fn answer(&mut self) -> Result<Option<Vec<u8>>, InquiryFault> {
        while self.stage != Stage::Over {
            let message = match self.decoder.frame()? {
                None => return Ok(None),
                Some(Frame::TooLong(_)) if self.stage == Stage::Hello => {
                    return Err(HelloFault::TooLong.into());
                }
                Some(Frame::TooLong(length)) => {
                    self.end();
                    return Err(InquiryFault::TooLong(length));
                }
                Some(Frame::Message(message)) => message,
            };
            if self.stage == Stage::Asked {
                self.end();
                return match read_reply(&message) {
                    Ok((_, Reply::Errors(errors))) => Err(InquiryFault::Refused(errors)),
                    Ok((_, Reply::Ok | Reply::Other)) => Ok(Some(message)),
                    Err(why) => Err(InquiryFault::Unreadable(why)),
                };
            }
            self.framing = hello::read(&message)?.framing;
            self.decoder.take_up_to(self.longest);
            if self.framing == Framing::Chunks {
                self.decoder.expect_chunks();
            }
            self.output
                .extend(framed(self.framing, &request(QUESTION, &self.question)));
            self.stage = Stage::Asked;
        }
        Ok(None)
    }

    fn end(&mut self) {
        self.output
            .extend(framed(self.framing, &request(GOODBYE, "<close-session/>")));
        self.stage = Stage::Over;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn greeting(version: &str) -> Vec<u8> {
        let hello = format!(
            "<hello xmlns='urn:x'><capabilities><capability>urn:ietf:params:netconf:base:{version}</capability></capabilities>\
             <session-id>7</session-id></hello>"
        );
        framed(Framing::EndMark, &hello)
    }

    #[test]
    fn a_question_is_asked_behind_the_hello_and_answered_in_either_framing() {
        for (version, framing) in [("1.0", Framing::EndMark), ("1.1", Framing::Chunks)] {
            let mut inquiry = Inquiry::new("<a/>", 1_000);
            assert!(inquiry.output().ends_with(b"</hello>]]>]]>"));
            inquiry.push(&greeting(version));
            assert_eq!(inquiry.answer(), Ok(None));
            let asked = String::from_utf8(inquiry.output()).expect("UTF-8");
            assert!(
                asked.contains("<get><filter type=\"subtree\"><a/></filter></get>"),
                "{asked}"
            );
            let reply = "<rpc-reply message-id='1'><data/></rpc-reply>";
            inquiry.push(&framed(framing, reply));
            assert_eq!(inquiry.answer(), Ok(Some(reply.as_bytes().to_vec())));
            let goodbye = String::from_utf8(inquiry.output()).expect("UTF-8");
            assert!(goodbye.contains("<close-session/>"), "{goodbye}");
            assert_eq!(inquiry.answer(), Ok(None));
        }
    }

    #[test]
    fn a_refusal_is_said_in_words() {
        let mut inquiry = Inquiry::new("<a/>", 100);
        inquiry.push(&greeting("1.0"));
        assert!(
            inquiry
                .answer()
                .is_err_and(|fault| fault == HelloFault::TooLong.into())
        );
        let mut inquiry = Inquiry::new("<a/>", 1_000);
        inquiry.push(&greeting("1.0"));
        inquiry.push(&framed(
            Framing::EndMark,
            "<rpc-reply><rpc-error><error-tag>access-denied</error-tag></rpc-error></rpc-reply>",
        ));
        let fault = inquiry.answer().expect_err("refused");
        assert_eq!(
            fault.to_string(),
            "the server refuses to tell: the user may not do that"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in "(<hello>|</hello>|]]>]]>|\n#|\n##\n|[0-9]|<rpc-reply/>|\\PC){0,30}", greets: bool) {
            let mut inquiry = Inquiry::new("<a/>", 500);
            if greets {
                inquiry.push(&greeting("1.1"));
            }
            inquiry.push(bytes.as_bytes());
            while let Ok(Some(_)) = inquiry.answer() {}
        }
    }
}
