//! Every recorded message is read for what it is.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod recorded;

use hem::event::opennebula::key::Key;
use hem::event::opennebula::{Layout, Resource, call_info, parsed_call, read, resource_element};
use hem::event::payload::Payload;
use hem::event::{Facts, Kind};
use quick_xml::events::Event as Xml;
use recorded::canonical;

fn kind(facts: &Facts) -> Kind {
    match facts {
        Facts::State(_) => Kind::State,
        Facts::Api(_) => Kind::Api,
        Facts::Retry(_) => Kind::Retry,
        Facts::Undecodable { .. } => Kind::Undecodable,
        Facts::Gap(_) => Kind::Gap,
        Facts::Own(own) => own.kind(),
        Facts::Webhook(_) => Kind::Webhook,
        Facts::Esc(_) => Kind::Esc,
        Facts::Masakari(_) => Kind::Masakari,
        Facts::Ncmp(_) => Kind::Ncmp,
    }
}

#[test]
fn the_compressed_corpus_is_read_whole_and_by_the_line() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/opennebula.jsonl.gz");
    let all = hem::event::saved::messages(&path, None).expect("the corpus");
    let recorded = recorded::events();
    assert_eq!(all.len(), recorded.len());
    let seventeenth = hem::event::saved::messages(&path, Some(17)).expect("a line");
    assert_eq!(seventeenth[0].key, recorded[16].key);
    assert_eq!(seventeenth[0].document, recorded[16].content);
}

#[test]
fn every_recorded_event_reads_as_its_key_says() {
    let mut damaged = 0;
    for event in recorded::events() {
        let key = &event.key;
        let reading = read(key, &event.content);
        assert!(!reading.ambiguous, "{key:?} is ambiguous");
        // The envelope alone says the same.
        assert_eq!(reading, read("", &event.content), "{key:?}");
        match (Key::parse(key), &reading.facts) {
            (Key::Api { call, success }, Facts::Api(api)) => {
                assert_eq!(api.call, call);
                assert_eq!(Some(api.success), success);
            }
            (
                Key::State {
                    resource,
                    state,
                    lcm_state,
                    id,
                },
                Facts::State(change),
            ) => {
                assert_eq!(change.resource, resource, "{key}");
                assert_eq!(change.state, state, "{key}");
                assert_eq!(change.lcm_state, lcm_state, "{key}");
                assert_eq!(change.id, id, "{key}");
                assert!(reading.subject.is_some(), "{key}");
            }
            (
                Key::OneResource {
                    resource,
                    id,
                    state,
                    lcm_state,
                },
                Facts::State(change),
            ) => {
                assert_eq!(change.resource, resource, "{key}");
                assert_eq!(change.state, state, "{key}");
                assert_eq!(change.lcm_state, lcm_state, "{key}");
                assert_eq!(
                    reading.subject,
                    Some(format!("{}/{id}", resource.subject_prefix()))
                );
                if resource == Resource::Vm {
                    assert!(change.previous_state.is_some() && change.previous_lcm_state.is_some());
                }
            }
            (Key::Service { .. }, Facts::State(change)) => assert_eq!(change.resource, Resource::Vm),
            (Key::Damaged, facts) => {
                damaged += 1;
                assert!(matches!(kind(facts), Kind::State | Kind::Api), "{facts:?}");
                assert!(reading.subject.is_some());
            }
            (Key::Retry, Facts::Retry(retry)) => assert!(!retry.arguments.is_empty()),
            (key, facts) => panic!("{key:?} reads as {facts:?}"),
        }
    }
    assert_eq!(damaged, 11);
}

/// A damaged key is not published a second time: no two of those documents are the same.
#[test]
fn events_under_the_damaged_key_come_once() {
    let damaged: Vec<_> = recorded::events()
        .into_iter()
        .filter(|event| Key::parse(&event.key) == Key::Damaged)
        .collect();
    for (n, event) in damaged.iter().enumerate() {
        assert!(!Key::parse(&event.key).is_twin());
        assert!(
            damaged[n + 1..]
                .iter()
                .all(|other| other.content != event.content)
        );
    }
}

#[test]
fn arguments_are_byte_for_byte_what_onehem_passed() {
    let passed = recorded::passed();
    assert_eq!(passed.len(), 59);
    for run in passed {
        let payload = Payload::new(run.event.content.clone());
        let give = |layout| resource_element(&payload, layout).or_else(|| call_info(&payload, layout));
        let laid_out = give(Layout::Libxml2).expect("an element");
        assert_eq!(
            std::str::from_utf8(&laid_out).expect("UTF-8"),
            run.argument_xml,
            "{}",
            run.event.key
        );
        let received = give(Layout::AsReceived).expect("an element");
        assert_eq!(
            canonical(&received),
            canonical(run.argument_xml.as_bytes()),
            "{}",
            run.event.key
        );
    }
}

#[test]
fn documents_with_unescaped_values_still_say_what_was_called() {
    let broken: Vec<_> = recorded::events()
        .into_iter()
        .filter(|event| {
            let text = std::str::from_utf8(&event.content).expect("UTF-8");
            let mut reader = quick_xml::Reader::from_str(text);
            loop {
                match reader.read_event() {
                    Ok(Xml::Eof) => return false,
                    Ok(_) => {}
                    Err(_) => return true,
                }
            }
        })
        .collect();
    assert_eq!(broken.len(), 11);
    for event in broken {
        let payload = Payload::new(event.content.clone());
        let info = parsed_call(&payload).expect("a call");
        assert!(info.parameters.len() > 3, "{}", event.key);
        for layout in [Layout::AsReceived, Layout::Libxml2] {
            let element = call_info(&payload, layout).expect("a call");
            assert!(canonical(&element).len() > 10);
        }
        assert_eq!(payload.text("CALL_INFO/RESULT"), info.result);
        let list = payload.at("CALL_INFO/PARAMETERS/PARAMETER").expect("parameters");
        assert_eq!(list.as_array().map(Vec::len), Some(info.parameters.len()));
    }
}

#[test]
fn every_recorded_document_has_a_tree() {
    for event in recorded::events() {
        let payload = Payload::new(event.content.clone());
        let tree = payload.tree();
        assert!(tree.is_object(), "{}", event.key);
        match read(&event.key, &event.content).facts {
            Facts::State(change) => {
                assert_eq!(payload.text("RESOURCE_ID"), change.id.expect("a number"));
                let id = format!("{}/ID", change.resource.element_name());
                assert_eq!(payload.text(&id), payload.text("RESOURCE_ID"));
            }
            Facts::Api(api) => assert_eq!(payload.text("CALL"), api.call),
            Facts::Retry(retry) => assert_eq!(payload.text("HOOK_ID"), retry.hook_id.to_string()),
            Facts::Undecodable { reason } => panic!("{}: {reason}", event.key),
            Facts::Gap(_)
            | Facts::Own(_)
            | Facts::Webhook(_)
            | Facts::Esc(_)
            | Facts::Masakari(_)
            | Facts::Ncmp(_) => {
                panic!("{}: no hook manager sends this", event.key)
            }
        }
    }
}
