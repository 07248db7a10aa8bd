//! What documents of every system are read as: no document makes hem panic, and one that cannot be read says why.

#![no_main]

use std::path::Path;

use hem::event::esc::{CallbackHeaders, notification_tree, read_callback, read_notification};
use hem::event::ncmp::{self, Record};
use hem::event::opennebula::{self, hook_pool};
use hem::event::saved::{self, SavedMessage};
use hem::event::time::Timestamp;
use hem::event::webhook::{self, Form};
use hem::event::{Event, Facts};
use libfuzzer_sys::fuzz_target;

/// What every event goes through: its tree, and what is kept of it.
fn follow(event: &Event) {
    if let Facts::Undecodable { reason } = &event.facts {
        assert!(!reason.is_empty());
    }
    if let Some(subject) = &event.subject {
        assert!(subject.as_str().len() <= 256);
    }
    let _ = event.payload.tree();
}

fn record(document: &[u8]) {
    let mut parts = document.splitn(4, |byte| *byte == b'\n');
    let (name, value, key) = (parts.next(), parts.next(), parts.next());
    let headers: Vec<_> = name
        .map(|name| {
            (
                String::from_utf8_lossy(name).into_owned(),
                value.map(<[u8]>::to_vec),
            )
        })
        .into_iter()
        .collect();
    let record = Record {
        topic: "ncmp-events",
        partition: 0,
        offset: 1,
        key,
        headers: &headers,
        value: parts.next(),
    };
    follow(&ncmp::event(&record, "ncmp", true, Timestamp::from_millis(0)));
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, document) = input;
    match choice % 8 {
        0 => {
            let text = String::from_utf8_lossy(document);
            let (key, document) = text.split_once('\n').unwrap_or(("EVENT ", &text));
            let _ = opennebula::read(key, document.as_bytes());
        }
        1 => {
            let _ = hook_pool::read(&String::from_utf8_lossy(document));
        }
        2 => follow(&saved::event(SavedMessage {
            key: String::new(),
            document: document.to_vec().into(),
        })),
        3 => record(document),
        4 => {
            let headers = document
                .split(|byte| *byte == b'\n')
                .map(|line| ("esc-status-message", line));
            let form = Form::by_content(document).unwrap_or(Form::Xml);
            let _ = read_callback(form, document, CallbackHeaders::of(headers));
        }
        5 => {
            let read = read_notification(document);
            assert!(read.is_err() || notification_tree(document).is_ok());
        }
        6 => {
            let _ = saved::locate(Path::new(&*String::from_utf8_lossy(document)));
        }
        _ => {
            for form in [Form::Json, Form::Form, Form::Xml] {
                let _ = webhook::read(form, document);
            }
        }
    }
});
