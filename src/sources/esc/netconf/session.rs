//! One NETCONF session that listens to a stream of notifications: hello, subscription, notifications, goodbye (RFC 6241, RFC 5277).
//!
//! Pure: what was received goes in, what is to be sent and what was heard come out. Connections, time and retries are the caller's.

use bytes::Bytes;
use serde_json::Value;

use super::framing::{Decoder, Frame, Framing, FramingFault, framed};
use super::hello::{self, HelloFault, local};
use super::reply::{Reply, RpcError, in_words, read_reply};
use super::request::{escaped, request};
use crate::event::document;
use crate::event::esc::{EscEvent, Notification, read_notification};

const NOTIFICATION_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:notification:1.0";

/// The `message-id` of the subscription and of the goodbye.
const SUBSCRIPTION: &str = "1";
const GOODBYE: &str = "2";

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The stream: `escEvent`.
    pub stream: String,
    /// Since when what the server has kept is sent again, RFC 3339; only what is new where unset.
    pub start: Option<String>,
}

/// What a session heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The server said hello.
    Hello {
        /// The number that it gave the session.
        session: String,
        /// How messages are told apart from now on.
        framing: Framing,
    },
    /// The subscription is in force.
    Subscribed,
    /// An event.
    Event {
        /// What it says.
        event: Box<EscEvent>,
        /// Its tree.
        tree: Value,
        /// The notification as it was received.
        document: Bytes,
    },
    /// A notification of another module, whose element this is.
    Other(String),
    /// A message that cannot be read; the session goes on.
    Unreadable {
        /// As it was received.
        document: Bytes,
        /// Why, as a sentence for the operator.
        reason: String,
    },
    /// A message that was too long, and how many bytes it had; the session goes on.
    TooLong(u64),
    /// All that the server had kept was sent.
    ReplayComplete,
    /// The server ended the subscription.
    SubscriptionEnded,
    /// The server said goodbye, too: the connection can be closed.
    Closed,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// Messages cannot be told apart any more.
    #[error("the messages of the server cannot be told apart")]
    Framing(#[from] FramingFault),
    /// The server did not begin as it should.
    #[error(transparent)]
    Hello(#[from] HelloFault),
    /// There is nothing to subscribe to.
    #[error("the server sends no notifications: it lacks the capability notification:1.0")]
    NoNotifications,
    /// The subscription was refused.
    #[error("the subscription to `{stream}` was refused: {}", in_words(.errors))]
    Refused {
        /// The stream.
        stream: String,
        /// What the server said.
        errors: Vec<RpcError>,
    },
    /// An answer is none to what was asked.
    #[error("the server's answer to the subscription is not understood: {0}")]
    Answer(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was heard yet.
    Hello,
    /// The subscription was asked for.
    Subscribing,
    Subscribed,
    /// Goodbye was said.
    Closing,
    /// Nothing more is to come, or could be understood.
    Over,
}

/// A session from the first byte to the last.
#[derive(Debug)]
pub struct Session {
    subscription: Subscription,
    decoder: Decoder,
    longest: usize,
    framing: Framing,
    stage: Stage,
    output: Vec<u8>,
}

impl Session {
    /// A session that is to listen to this. Messages of more than `longest` bytes are passed over.
    pub fn new(subscription: Subscription, longest: usize) -> Self {
        Self {
            subscription,
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

    /// Says goodbye. What comes until the server does the same is still heard.
    pub fn close(&mut self) {
        match self.stage {
            Stage::Hello => self.stage = Stage::Over,
            Stage::Subscribing | Stage::Subscribed => {
                self.ask(GOODBYE, "<close-session/>");
                self.stage = Stage::Closing;
            }
            Stage::Closing | Stage::Over => {}
        }
    }

    /// What was heard next; none until more has come.
    ///
    /// # Errors
    /// The session cannot go on; nothing is heard behind that.
    pub fn hear(&mut self) -> Result<Option<Heard>, SessionFault> {
        if self.stage == Stage::Over {
            return Ok(None);
        }
        let heard = self.heard();
        if heard.is_err() || heard == Ok(Some(Heard::Closed)) {
            self.stage = Stage::Over;
        }
        heard
    }

    fn heard(&mut self) -> Result<Option<Heard>, SessionFault> {
        let message = match self.decoder.frame()? {
            None => return Ok(None),
            Some(Frame::TooLong(_)) if self.stage == Stage::Hello => {
                return Err(HelloFault::TooLong.into());
            }
            Some(Frame::TooLong(length)) => return Ok(Some(Heard::TooLong(length))),
            Some(Frame::Message(message)) => message,
        };
        if self.stage == Stage::Hello {
            return self.greeted(&message).map(Some);
        }
        match document::root_name(&message).as_deref().map(local) {
            Some("rpc-reply") => self.answered(message.into()).map(Some),
            _ => Ok(Some(notified(message.into()))),
        }
    }

    fn greeted(&mut self, message: &[u8]) -> Result<Heard, SessionFault> {
        let greeting = hello::read(message)?;
        self.decoder.take_up_to(self.longest);
        if greeting.framing == Framing::Chunks {
            self.framing = Framing::Chunks;
            self.decoder.expect_chunks();
        }
        if !greeting.has_notifications {
            return Err(SessionFault::NoNotifications);
        }
        let start = self.subscription.start.as_ref();
        let start = start.map_or(String::new(), |start| {
            format!("<startTime>{}</startTime>", escaped(start))
        });
        let subscription = format!(
            "<create-subscription xmlns=\"{NOTIFICATION_NAMESPACE}\"><stream>{}</stream>{start}</create-subscription>",
            escaped(&self.subscription.stream)
        );
        self.ask(SUBSCRIPTION, &subscription);
        self.stage = Stage::Subscribing;
        Ok(Heard::Hello {
            session: greeting.session,
            framing: self.framing,
        })
    }

    fn answered(&mut self, document: Bytes) -> Result<Heard, SessionFault> {
        let reply = read_reply(&document);
        let expected = match self.stage {
            Stage::Subscribing => SUBSCRIPTION,
            Stage::Closing => GOODBYE,
            Stage::Hello | Stage::Subscribed | Stage::Over => "",
        };
        match reply {
            // One that answers a message that could not be read names none.
            Ok((id, reply)) if id.as_deref().is_none_or(|id| id == expected) && !expected.is_empty() => {
                match (self.stage, reply) {
                    (Stage::Closing, _) => Ok(Heard::Closed),
                    (_, Reply::Ok) => {
                        self.stage = Stage::Subscribed;
                        Ok(Heard::Subscribed)
                    }
                    (_, Reply::Errors(errors)) => Err(SessionFault::Refused {
                        stream: self.subscription.stream.clone(),
                        errors,
                    }),
                    (_, Reply::Other) => {
                        Err(SessionFault::Answer("it is neither ok nor an error".to_owned()))
                    }
                }
            }
            Err(why) if self.stage == Stage::Subscribing => Err(SessionFault::Answer(why)),
            Ok((id, _)) => Ok(Heard::Unreadable {
                reason: format!(
                    "an answer to the message `{}`, which nobody asked for",
                    id.unwrap_or_default()
                ),
                document,
            }),
            Err(reason) => Ok(Heard::Unreadable { document, reason }),
        }
    }

    fn ask(&mut self, id: &str, operation: &str) {
        self.output.extend(framed(self.framing, &request(id, operation)));
    }
}

fn notified(document: Bytes) -> Heard {
    match read_notification(&document) {
        Ok(Notification::Event(event, tree)) => Heard::Event {
            event,
            tree,
            document,
        },
        Ok(Notification::ReplayComplete) => Heard::ReplayComplete,
        Ok(Notification::NotificationComplete) => Heard::SubscriptionEnded,
        Ok(Notification::Other(element)) => Heard::Other(element),
        Err(fault) => Heard::Unreadable {
            document,
            reason: fault.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
