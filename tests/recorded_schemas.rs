//! Recorded messages and replies against the schemas in `xsd/`, by xmllint and by the validator in the program.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod recorded;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use hem::event::opennebula::schema::{validate, validate_reply, wrap_reply};

struct Document {
    schema: &'static str,
    what: String,
    text: String,
    /// The verdict of the validator in the program.
    valid: bool,
}

fn message(what: &str, text: String) -> Document {
    let schema = if text.starts_with("<HOOK_MESSAGE><HOOK_TYPE>STATE") {
        "hook_message_state.xsd"
    } else if text.starts_with("<HOOK_MESSAGE><HOOK_TYPE>API") {
        "hook_message_api.xsd"
    } else {
        "hook_message_retry.xsd"
    };
    Document {
        schema,
        what: what.to_owned(),
        valid: validate(text.as_bytes()).is_empty(),
        text,
    }
}

fn reply(what: &str, text: &str) -> Document {
    Document {
        schema: "hook_execution_result.xsd",
        what: what.to_owned(),
        valid: validate_reply(text).is_empty(),
        text: wrap_reply(text),
    }
}

/// Which of the documents xmllint finds valid, by their number.
fn valid_by_xmllint(schema: &str, documents: &[&Document]) -> BTreeSet<usize> {
    let folder = tempfile::tempdir().expect("a folder");
    for (n, document) in documents.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{n}.xml")), &document.text).expect("a file");
    }
    let told = folder.path().join("verdicts");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("xsd").join(schema);
    Command::new("xmllint")
        .current_dir(folder.path())
        .args(["--noout", "--nonet", "--huge", "--schema"])
        .arg(schema)
        .args((0..documents.len()).map(|n| format!("{n}.xml")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&told).expect("a file"))
        .status()
        .expect("xmllint cannot be started: install libxml2-utils");
    let told = String::from_utf8_lossy(&std::fs::read(&told).expect("what xmllint said")).into_owned();
    assert!(!told.contains("failed to compile"), "{told}");
    told.lines()
        .filter_map(|line| line.strip_suffix(".xml validates")?.parse().ok())
        .collect()
}

/// Checks that both validators say the same of each document, and gives how many are valid.
fn agree(documents: &[Document]) -> usize {
    let schemas: BTreeSet<_> = documents.iter().map(|document| document.schema).collect();
    let mut valid = 0;
    for schema in schemas {
        let of_schema: Vec<_> = documents
            .iter()
            .filter(|document| document.schema == schema)
            .collect();
        let by_xmllint = valid_by_xmllint(schema, &of_schema);
        valid += by_xmllint.len();
        for (n, document) in of_schema.iter().enumerate() {
            assert_eq!(
                document.valid,
                by_xmllint.contains(&n),
                "{schema}: the program says {}, of {}",
                document.valid,
                document.what
            );
        }
    }
    valid
}

fn recorded_messages() -> Vec<(String, String)> {
    recorded::events()
        .into_iter()
        .map(|event| {
            (
                event.key,
                String::from_utf8(event.content.to_vec()).expect("UTF-8"),
            )
        })
        .collect()
}

#[test]
fn recorded_messages_are_valid_unless_they_are_not_well_formed() {
    let documents: Vec<_> = recorded_messages()
        .into_iter()
        .map(|(key, text)| message(&key, text))
        .collect();
    assert_eq!(documents.len(), 578);
    assert_eq!(agree(&documents), 578 - 11);
}

#[test]
fn recorded_replies_are_valid() {
    let documents: Vec<_> = recorded::passed()
        .iter()
        .map(|passed| reply(&passed.event.key, &passed.reply))
        .collect();
    assert_eq!(agree(&documents), 59);
}

#[test]
fn damaged_messages_are_judged_alike() {
    let changes = [
        ("<RESOURCE_ID>", "<RESOURCE_ID>x"),
        ("<RESOURCE_ID>", "<RESOURCE_ID>-"),
        ("<RESOURCE_ID>", "<NEW>1</NEW><RESOURCE_ID>"),
        ("<STATE>", "<STATE> "),
        ("<HOOK_OBJECT>HOST", "<HOOK_OBJECT>ZONE"),
        ("<REMOTE_HOST/>", ""),
        ("</HOOK_MESSAGE>", "<MORE/></HOOK_MESSAGE>"),
        ("<RESULT>1", "<RESULT>2"),
        ("<RESULT>1</RESULT>", ""),
        ("<TYPE>OUT", "<TYPE>UP"),
        ("<POSITION>1", "<POSITION>0"),
        ("<EXTRA>", "text<EXTRA>"),
        ("<EXTRA></EXTRA>", "<EXTRA><A/><B/></EXTRA>"),
        ("<EXTRA></EXTRA>", "<EXTRA><A b='c'>d</A></EXTRA>"),
        ("<VALUE>true", "<VALUE><A/>true<B>c</B>"),
        ("<CALL>one.", "<CALL>two."),
        ("<HOOK_ID>", "<HOOK_ID>1.5"),
        ("<ARGUMENTS>", "<ARGUMENTS>\n"),
        ("</VM>", "<ANY x='y'>thing</ANY></VM>"),
    ];
    let mut documents = Vec::new();
    for (key, text) in recorded_messages().into_iter().step_by(7) {
        // The largest ones add time, not cases.
        if text.len() > 20_000 {
            continue;
        }
        for (from, to) in changes {
            if text.contains(from) {
                let changed = text.replacen(from, to, 1);
                documents.push(message(&format!("{key}, {from} -> {to}"), changed));
            }
        }
    }
    let valid = agree(&documents);
    assert!(
        valid > 10 && documents.len() - valid > 100,
        "{valid} of {}",
        documents.len()
    );
}
