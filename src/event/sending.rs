//! How saved events travelled, so that they can be sent again to whoever takes them.

use bytes::Bytes;

use super::ncmp::SavedRecord;
use super::saved::{SavedAs, SavedMessage};
use super::{esc, masakari, webhook};

/// What a saved event was when it travelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// A message that OpenNebula's hook manager publishes.
    Message(SavedMessage),
    /// A request over HTTP.
    Request(Request),
    /// A record of a Kafka topic.
    Record(SavedRecord),
}

/// A request over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The headers, the body's type among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A request with a body of that type, unless the headers name another one.
    pub(super) fn new(
        method: String,
        content_type: &str,
        headers: impl IntoIterator<Item = (String, String)>,
        body: Vec<u8>,
    ) -> Self {
        let mut headers: Vec<_> = headers.into_iter().collect();
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        Self {
            method,
            headers,
            body: body.into(),
        }
    }
}

/// Why a saved event cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSendable {
    /// A NETCONF server alone sends it.
    #[error("it is a notification of ESC's NETCONF stream, which ESC alone sends to who subscribed")]
    Notification,
    /// What hem did itself.
    #[error("it is an event of hem's own, which nobody sends")]
    Own,
    /// What another Masakari made of a notification.
    #[error("it tells the status of a notification in a Masakari, which hem asks for and nobody sends")]
    Observed,
    /// It is no such event.
    #[error("it is no saved event: {0}")]
    Unreadable(String),
}

/// How a saved event was sent.
///
/// # Errors
/// Nobody sends such an event, or the file says too little.
pub fn sending(message: &SavedMessage) -> Result<Sending, NotSendable> {
    let document = &message.document;
    match SavedAs::of(document) {
        SavedAs::Webhook => webhook::request(document).map(Sending::Request),
        SavedAs::Esc => esc::request(document).map(Sending::Request),
        SavedAs::Ncmp => {
            let record = SavedRecord::read(document).map_err(NotSendable::Unreadable)?;
            Ok(Sending::Record(record))
        }
        SavedAs::Masakari => masakari::request(document).map(Sending::Request),
        SavedAs::Own => Err(NotSendable::Own),
        SavedAs::Message => Ok(Sending::Message(message.clone())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn sent(document: impl Into<Vec<u8>>) -> Result<Sending, NotSendable> {
        sending(&SavedMessage {
            key: String::new(),
            document: document.into().into(),
        })
    }

    fn request(saved: &Value) -> Request {
        match sent(saved.to_string()) {
            Ok(Sending::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn header<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
        let named = request.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn requests_are_what_their_senders_sent() {
        let push = request(
            &json!({"kind": "webhook", "endpoint": "deploy", "method": "PUT", "headers": {"X-Event": "push"},
            "body": {"ref": "main"}}),
        );
        assert_eq!(
            (push.method.as_str(), &push.body[..]),
            ("PUT", &br#"{"ref":"main"}"#[..])
        );
        assert_eq!(header(&push, "X-Event"), ["push"]);
        assert_eq!(header(&push, "Content-Type"), ["application/json"]);
        let form = request(
            &json!({"kind": "webhook", "endpoint": "x", "form": "form", "headers": {"content-type": "text/x"}, "text": "a=1"}),
        );
        assert_eq!((form.method.as_str(), &form.body[..]), ("POST", &b"a=1"[..]));
        assert_eq!(header(&form, "content-type"), ["text/x"]);
        assert!(header(&form, "Content-Type").is_empty());

        let callback = request(
            &json!({"kind": "esc", "headers": {"ESC_TRANSACTION_ID": "x"}, "text": "<d><event_type>A</event_type></d>"}),
        );
        assert_eq!(&callback.body[..], b"<d><event_type>A</event_type></d>");
        assert_eq!(header(&callback, "ESC_TRANSACTION_ID"), ["x"]);
        assert_eq!(
            header(&callback, "Content-Type"),
            ["application/xml; charset=UTF-8"]
        );
        let callback = request(&json!({"kind": "esc", "body": {"event_type": "A"}}));
        assert_eq!(header(&callback, "Content-Type"), ["application/json"]);

        let body = json!({"notification": {"type": "VM", "hostname": "n1", "generated_time": "2026-11-21T23:00:00",
            "payload": {"event": "LIFECYCLE"}}});
        let mut saved = body.clone();
        saved["source"] = json!("site");
        let notification = request(&saved);
        let sent: Value = serde_json::from_slice(&notification.body).expect("JSON");
        assert_eq!(sent, body, "what stands beside the notification is not sent");
    }

    #[test]
    fn what_nobody_sends_says_so() {
        for (document, why) in [
            (
                "<notification><escEvent><event><type>VM_ALIVE</type></event></escEvent></notification>".to_owned(),
                NotSendable::Notification,
            ),
            (json!({"kind": "source_down"}).to_string(), NotSendable::Own),
            (
                json!({"notification": {"type": "VM", "generated_time": "", "payload": {}, "status": "failed"}}).to_string(),
                NotSendable::Observed,
            ),
        ] {
            assert_eq!(sent(document), Err(why));
        }
        for unreadable in [
            json!({"kind": "webhook", "endpoint": "x"}),
            json!({"kind": "esc", "headers": 1}),
            json!({"kind": "ncmp", "bdy": 1}),
            json!({"notification": {"type": "VM"}}),
        ] {
            assert!(
                matches!(sent(unreadable.to_string()), Err(NotSendable::Unreadable(_))),
                "{unreadable}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_sent_all_the_same() {
        let callback = request(&json!({"kind": "esc", "text": "<broken"}));
        assert_eq!(&callback.body[..], b"<broken");
        assert!(matches!(
            sent(json!({"kind": "ncmp", "text": "{"}).to_string()),
            Ok(Sending::Record(_))
        ));
        assert!(matches!(sent("<HOOK_MESSAGE/>"), Ok(Sending::Message(_))));
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = sent(bytes);
        }
    }
}
