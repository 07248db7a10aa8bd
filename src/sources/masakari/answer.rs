//! Answers in the words of Masakari's API, faults included.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::listener::Response;

/// Success, as JSON.
pub(super) fn json(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: Vec::new(),
        content_type: "application/json",
        body: Bytes::from(body.to_string()),
    }
}

/// A fault: the code, and why in words.
pub(super) fn fault(status: u16, message: &str) -> Response {
    let name = match status {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "masakariFault",
    };
    Response {
        content_type: "application/json; charset=UTF-8",
        ..json(status, &json!({ name: { "code": status, "message": message } }))
    }
}

/// A page in HTML, as the framework under the API answers where no controller does.
pub(super) fn page(status: u16, title: &str, explanation: &str, detail: &str) -> Response {
    let page = format!(
        "<html>\n <head>\n  <title>{status} {title}</title>\n </head>\n <body>\n  <h1>{status} {title}</h1>\n  \
         {explanation}<br /><br />\n{detail}\n\n\n </body>\n</html>"
    );
    Response {
        status,
        headers: Vec::new(),
        content_type: "text/html; charset=UTF-8",
        body: Bytes::from(page),
    }
}
