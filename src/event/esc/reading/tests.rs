use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A notification as the guides show them, with everything that one can have.
const RECOVERED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<notification xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0">
  <eventTime>2026-06-23T18:15:04.27+00:00</eventTime>
  <escEvent xmlns="http://www.cisco.com/esc/esc">
    <status>SUCCESS</status>
    <status_code>200</status_code>
    <status_message>Recovery: Successfully recovered VM
      [dep1_g1_0_aaaa].</status_message>
    <depname>dep1</depname>
    <tenant>t1</tenant>
    <tenant_id>721d0a0aaf5a40299650d4ec74f48f1a</tenant_id>
    <svcid>NULL</svcid>
    <depid>d4778a3a-deba-4df7-9614-03f31f1bea00</depid>
    <vm_group>g1</vm_group>
    <vm_source>
      <vmid>1dd943b9-93a4-4987-b26b-1b8fd2647700</vmid>
      <hostid>4f926bb44423804ea8d87cac946b80e6</hostid>
      <hostname>ucs-7</hostname>
    </vm_source>
    <vm_target>
      <vmid>22d210a1-15e1-4e2b-a7a9-9796ec7b2500</vmid>
      <vmname>dep1_g1_0_bbbb</vmname>
      <hostname>ucs-8</hostname>
      <interfaces>
        <interface><nicid>0</nicid><ip_address>192.168.0.75</ip_address></interface>
        <interface><nicid>1</nicid><ip_address/></interface>
      </interfaces>
    </vm_target>
    <event><type>VM_RECOVERY_COMPLETE</type></event>
  </escEvent>
</notification>"#;

fn notified(document: &str) -> (EscEvent, Value) {
    match read_notification(document.as_bytes()) {
        Ok(Notification::Event(event, tree)) => (*event, tree),
        other => panic!("{other:?}: {document}"),
    }
}

fn headers(lines: &[(&str, &str)]) -> CallbackHeaders {
    CallbackHeaders::of(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn called_back(body: &str, lines: &[(&str, &str)]) -> (EscEvent, Value) {
    let form = Form::by_content(body.as_bytes()).expect("XML or JSON");
    read_callback(form, body.as_bytes(), headers(lines)).unwrap_or_else(|fault| panic!("{fault}: {body}"))
}

#[test]
fn a_notification_says_what_happened() {
    let (event, tree) = notified(RECOVERED);
    let texts: Vec<(&str, &str)> = event.texts().collect();
    assert_eq!(
        texts,
        [
            ("via", "netconf"),
            ("event", "VM_RECOVERY_COMPLETE"),
            ("status", "SUCCESS"),
            ("status_code", "200"),
            (
                "status_message",
                "Recovery: Successfully recovered VM [dep1_g1_0_aaaa]."
            ),
            ("tenant", "t1"),
            ("deployment", "dep1"),
            ("vm_group", "g1"),
            ("vm", "1dd943b9-93a4-4987-b26b-1b8fd2647700"),
            ("host_id", "4f926bb44423804ea8d87cac946b80e6"),
            ("host_name", "ucs-7"),
            ("new_vm", "22d210a1-15e1-4e2b-a7a9-9796ec7b2500"),
            ("new_vm_name", "dep1_g1_0_bbbb"),
            ("new_host_name", "ucs-8"),
            ("time", "2026-06-23T18:15:04.27+00:00"),
        ]
    );
    assert_eq!(event.host(), Some("ucs-8"));
    assert_eq!(event.subject().as_deref(), Some("deployment/t1/dep1"));
    assert_eq!(event.key(), "ESC VM_RECOVERY_COMPLETE SUCCESS");
    assert_eq!(
        event.delivery, None,
        "what is replayed is the connection's matter"
    );
    assert_eq!(
        tree["vm_target"]["interfaces"]["interface"],
        json!([{"nicid": "0", "ip_address": "192.168.0.75"}, {"nicid": "1"}])
    );
    assert!(
        tree.get("svcid").is_none(),
        "NULL is no value and the element is not there: {tree}"
    );
    assert_eq!(notification_tree(RECOVERED.as_bytes()), Ok(tree));
}

#[test]
fn other_namespaces_prefixes_and_empty_elements_change_nothing() {
    let (event, tree) = notified(
        "<n:notification xmlns:n='urn:ietf:params:xml:ns:netconf:notification:1.0'><n:eventTime>2026-06-23T18:15:04.262+00:00</n:eventTime>\
         <e:escEvent xmlns:e='http://www.cisco.com/esc/esc_notifications'><e:status>FAILURE</e:status><e:status_message>Service group \
         reboot failed</e:status_message><e:depname>dep1</e:depname><e:tenant> </e:tenant><e:vm_group><![CDATA[NULL]]></e:vm_group>\
         <e:vm_source>\n</e:vm_source><e:vm_target/><e:event><e:type>SERVICE_ALIVE</e:type></e:event></e:escEvent></n:notification>",
    );
    assert_eq!(
        (event.event.as_str(), event.status.as_deref()),
        ("SERVICE_ALIVE", Some("FAILURE"))
    );
    assert_eq!(
        tree,
        json!({
            "status": "FAILURE", "status_message": "Service group reboot failed", "depname": "dep1",
            "event": {"type": "SERVICE_ALIVE"},
        })
    );
    assert_eq!((event.tenant.as_deref(), event.vm_group.as_deref()), (None, None));
    assert_eq!(event.vm, Machine::default());
    assert_eq!(event.subject().as_deref(), Some("deployment/dep1"));
}

#[test]
fn a_network_has_a_name_and_no_deployment() {
    let (event, _) = notified(
        "<notification><eventTime>2026-01-01T00:00:00Z</eventTime><escEvent><status>SUCCESS</status><tenant>t1</tenant>\
         <network>n1</network><subnet>s1</subnet><event><type>CREATE_SUBNET</type></event></escEvent></notification>",
    );
    assert_eq!(event.resource.as_deref(), Some("s1"));
    assert_eq!(event.subject().as_deref(), Some("tenant/t1"));
}

#[test]
fn notifications_that_are_no_event_are_told_apart() {
    let of = |inner: &str| {
        let document = format!(
            "<notification xmlns='urn:ietf:params:xml:ns:netconf:notification:1.0'><eventTime>2026-01-01T00:00:00Z</eventTime>{inner}\
             </notification>"
        );
        read_notification(document.as_bytes())
    };
    assert_eq!(
        of("<replayComplete xmlns='urn:x'/>"),
        Ok(Notification::ReplayComplete)
    );
    assert_eq!(
        of("<x:notificationComplete/>"),
        Ok(Notification::NotificationComplete)
    );
    assert_eq!(
        of("<nso-licensing-proxy><unique-id>7</unique-id></nso-licensing-proxy>"),
        Ok(Notification::Other("nso-licensing-proxy".to_owned()))
    );
    assert_eq!(of(""), Ok(Notification::Other(String::new())));
    assert_eq!(of("<escEvent/>"), Err(Fault::NoType("event/type")));
    assert_eq!(
        of("<escEvent><event><type>NULL</type></event></escEvent>"),
        Err(Fault::NoType("event/type"))
    );
    assert_eq!(
        read_notification(b"<rpc-reply/>"),
        Err(Fault::NoNotification("rpc-reply".to_owned()))
    );
    assert_eq!(read_notification(b"\xff"), Err(Fault::Body(BodyFault::Encoding)));
}

/// A callback as the guide of the REST interface shows it.
const UPDATED: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<deployment xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
  <datacenter><default>false</default></datacenter>
  <deployment_details>
    <host_uuid>host-1</host_uuid><host_name>10.0.0.1</host_name>
    <vm_uuid>50217d2d-8afb-41c2-cffd-d76b1239f500</vm_uuid>
    <interfaces><interface><network_uuid>Mgt</network_uuid><port_uuid/><type>virtual</type></interface></interfaces>
  </deployment_details>
  <event_type>VM_UPDATED</event_type>
  <internal_deployment_id>dep1</internal_deployment_id>
  <internal_tenant_id>t1</internal_tenant_id>
  <service_state_machine_state>SERVICE_ACTIVE_STATE</service_state_machine_state>
</deployment>"#;

const SPELT: [[&str; 3]; 4] = [
    ["esc-transaction-id", "esc-status-code", "esc-status-message"],
    ["ESC-Transaction-Id", "ESC-Status-Code", "ESC-Status-Message"],
    ["ESC_TRANSACTION_ID", "ESC_STATUS_CODE", "ESC_STATUS_MESSAGE"],
    ["Esc_Transaction-Id", "esc_status-code", "ESC-STATUS_message"],
];

#[test]
fn a_callback_says_what_happened_however_its_headers_are_spelt() {
    for [transaction, code, message] in SPELT {
        let (event, tree) = called_back(
            UPDATED,
            &[
                ("content-type", "application/xml; charset=UTF-8"),
                (transaction, " d53f0047-2315 "),
                (code, "200"),
                (message, "VM has been   updated. vm: [dep1_0]"),
            ],
        );
        let texts: Vec<(&str, &str)> = event.texts().collect();
        assert_eq!(
            texts,
            [
                ("via", "rest"),
                ("event", "VM_UPDATED"),
                ("status", "SUCCESS"),
                ("status_code", "200"),
                ("status_message", "VM has been updated. vm: [dep1_0]"),
                ("tenant", "t1"),
                ("deployment", "dep1"),
                ("vm", "50217d2d-8afb-41c2-cffd-d76b1239f500"),
                ("host_id", "host-1"),
                ("host_name", "10.0.0.1"),
                ("transaction", "d53f0047-2315"),
            ]
        );
        assert_eq!(event.subject().as_deref(), Some("deployment/t1/dep1"));
        assert_eq!(
            event.delivery.as_deref(),
            Some("d53f0047-2315 VM_UPDATED 200 50217d2d-8afb-41c2-cffd-d76b1239f500 ")
        );
        assert_eq!(
            tree["deployment_details"]["interfaces"]["interface"],
            json!({"network_uuid": "Mgt", "type": "virtual"})
        );
        assert_eq!(callback_tree(Form::Xml, UPDATED.as_bytes()), Ok(tree));
    }
}

#[test]
fn json_and_xml_say_the_same() {
    let (xml, of_xml) = called_back(
        "<tenant><external_tenant_id>NULL</external_tenant_id><name>t one</name><event_type>CREATE_TENANT</event_type>\
         <internal_tenant_id>t1</internal_tenant_id></tenant>",
        &[("esc-status-code", "500")],
    );
    for body in [
        r#"{"external_tenant_id":null,"name":"t one","event_type":"CREATE_TENANT","internal_tenant_id":"t1"}"#,
        r#"{"external_tenant_id":"NULL","name":" t\none ","event_type":"CREATE_TENANT","internal_tenant_id":"t1","x":[{}]}"#,
        "\u{feff}{\"tenant\": {\"external_tenant_id\":\"\",\"name\":\"t one\",\"event_type\":\"CREATE_TENANT\",\"internal_tenant_id\":\"t1\"}}",
    ] {
        let (json, of_json) = called_back(body, &[("esc-status-code", "500")]);
        assert_eq!(of_json, of_xml, "{body}");
        assert_eq!(
            EscEvent {
                form: Form::Xml,
                ..json
            },
            xml,
            "{body}"
        );
    }
    assert_eq!(xml.status.as_deref(), Some("FAILURE"));
    assert_eq!(xml.subject().as_deref(), Some("tenant/t1"));
    assert_eq!(xml.delivery, None, "without a transaction nothing is a repeat");
}

#[test]
fn the_status_follows_from_the_code() {
    for (code, status) in [
        ("200", Some("SUCCESS")),
        ("201", Some("SUCCESS")),
        ("500", Some("FAILURE")),
        ("404", Some("FAILURE")),
        ("NULL", None),
        ("", None),
        ("ok", None),
    ] {
        let (event, _) = called_back(r#"{"event_type":"VM_ALIVE"}"#, &[("esc-status-code", code)]);
        assert_eq!(event.status.as_deref(), status, "{code}");
    }
    let (event, _) = called_back(
        r#"{"event_type":"VM_ALIVE","status_code":500,"status":"FAILURE"}"#,
        &[],
    );
    assert_eq!(
        (event.status.as_deref(), event.status_code.as_deref()),
        (Some("FAILURE"), Some("500"))
    );
}

#[test]
fn a_repeat_is_told_from_another_step_of_its_transaction() {
    let delivery = |body: &str, code: &str| {
        called_back(body, &[("esc-transaction-id", "x"), ("esc-status-code", code)])
            .0
            .delivery
            .expect("a delivery")
    };
    let vm = |event: &str, vm: &str| {
        format!(
            "<deployment><deployment_details><vm_uuid>{vm}</vm_uuid></deployment_details><event_type>{event}</event_type></deployment>"
        )
    };
    let once = delivery(&vm("VM_UPDATED", "a"), "200");
    assert_eq!(once, delivery(&format!(" {}\n", vm("VM_UPDATED", "a")), "200"));
    let others = [
        delivery(&vm("VM_UPDATED", "b"), "200"),
        delivery(&vm("VM_UPDATED", "a"), "500"),
        delivery(&vm("SERVICE_UPDATED", "a"), "200"),
        delivery(
            &vm(
                "VM_UPDATED",
                "a</vm_uuid></deployment_details><deployment_details><vm_uuid>c",
            ),
            "200",
        ),
        delivery(
            r#"{"event_type":"CREATE_NETWORK","internal_network_id":"n1"}"#,
            "200",
        ),
        delivery(
            r#"{"event_type":"CREATE_NETWORK","internal_network_id":"n2"}"#,
            "200",
        ),
    ];
    for (number, other) in others.iter().enumerate() {
        assert_ne!(*other, once);
        assert!(!others[..number].contains(other), "{other}");
    }
    let many: String = (0..100)
        .map(|number| format!("<deployment_details><vm_uuid>vm-{number}</vm_uuid></deployment_details>"))
        .collect();
    let long = |more: &str| {
        delivery(
            &format!("<d><event_type>VM_UPDATED</event_type>{many}{more}</d>"),
            "200",
        )
    };
    assert_eq!(long("").len(), 64, "a hash");
    assert_ne!(
        long(""),
        long("<deployment_details><vm_uuid>z</vm_uuid></deployment_details>")
    );
}

#[test]
fn what_is_no_callback_is_said() {
    let deep_json = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
    let deep_xml = "<a>".repeat(200) + &"</a>".repeat(200);
    for (form, body) in [
        (Form::Json, ""),
        (Form::Json, "{"),
        (Form::Json, "[1]"),
        (Form::Json, "\"VM_ALIVE\""),
        (Form::Json, "{}"),
        (Form::Json, r#"{"event_type": null}"#),
        (Form::Json, r#"{"event_type": {"a": "b"}}"#),
        (Form::Json, deep_json.as_str()),
        (Form::Xml, ""),
        (Form::Xml, "<a>"),
        (Form::Xml, "<a/>"),
        (Form::Xml, "<a><event_type/></a>"),
        (
            Form::Xml,
            "<!DOCTYPE a [<!ENTITY e 'x'>]><a><event_type>&e;</event_type></a>",
        ),
        (Form::Xml, "<a><event_type>&e;</event_type></a>"),
        (Form::Xml, deep_xml.as_str()),
        (Form::Form, "event_type=VM_ALIVE"),
    ] {
        assert!(
            read_callback(form, body.as_bytes(), CallbackHeaders::default()).is_err(),
            "{form}: {body}"
        );
    }
    for form in [Form::Json, Form::Xml] {
        assert_eq!(
            read_callback(form, b"<a>\xe4</a>", CallbackHeaders::default()),
            Err(Fault::Body(BodyFault::Encoding))
        );
    }
}

#[test]
fn long_values_are_cut_and_unknown_types_are_types() {
    let long = "ä".repeat(10_000);
    let (event, tree) = called_back(
        &format!(
            "<d><event_type>VM_TELEPORTED</event_type><internal_tenant_id>{long}</internal_tenant_id></d>"
        ),
        &[("esc-status-message", &long), ("esc-transaction-id", &long)],
    );
    assert_eq!(event.event, "VM_TELEPORTED");
    assert_eq!(event.tenant.expect("a tenant").len(), LONGEST_VALUE);
    assert_eq!(event.status_message.expect("a message").len(), LONGEST_MESSAGE);
    assert_eq!(event.transaction.expect("a transaction").len(), LONGEST_VALUE);
    assert_eq!(tree["internal_tenant_id"], Value::from(long));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "NULL|VM_ALIVE| |\\PC{0,6}".prop_map(Value::from),
    ];
    let name = "event_type|event|type|status|vm_uuid|deployment_details|depname|#text|@a|[a-c]";
    leaf.prop_recursive(4, 30, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Nothing that says nothing is left.
fn is_pruned(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text != NULL && text.trim() == text,
        Value::Array(list) => !list.is_empty() && list.iter().all(is_pruned),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_pruned),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for form in [Form::Json, Form::Form, Form::Xml] {
            let _ = read_callback(form, &bytes, CallbackHeaders::default());
        }
        let _ = read_notification(&bytes);
        let _ = notification_tree(&bytes);
    }

    #[test]
    fn no_text_makes_a_reader_panic(
        text in "(<(x:)?(notification|escEvent|event|type|event_type|vm_source|vmid|eventTime|[a-c])>|</(notification|escEvent|event|type|[a-c])>|<a/>|<a b='c' xmlns='d'>|NULL|VM_ALIVE|&amp;|&x;|<!\\[CDATA\\[|\\]\\]>|\\{|\\}|\\[|\"|:|,| |\\PC){0,30}",
    ) {
        for form in [Form::Json, Form::Xml] {
            let _ = read_callback(form, text.as_bytes(), CallbackHeaders::default());
        }
        let _ = read_notification(text.as_bytes());
        let _ = crate::event::esc::is_saved(text.as_bytes());
        let _ = crate::event::esc::from_saved(text.as_bytes());
    }

    #[test]
    fn no_header_makes_a_reader_panic(
        headers in proptest::collection::vec(("(?i)(esc[-_](transaction[-_]id|status[-_](code|message)))|\\PC{0,12}", proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let found = CallbackHeaders::of(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        let read = read_callback(Form::Json, br#"{"event_type":"VM_ALIVE"}"#, found);
        prop_assert!(read.is_ok());
    }

    #[test]
    fn a_json_body_keeps_nothing_that_says_nothing_and_all_the_rest(body in json_value()) {
        let text = body.to_string();
        match callback_tree(Form::Json, text.as_bytes()) {
            Ok(Value::Object(fields)) => prop_assert!(fields.values().all(is_pruned)),
            Ok(other) => prop_assert!(false, "{}", other),
            Err(fault) => prop_assert!(!body.is_object(), "{}: {}", fault, text),
        }
    }

    #[test]
    fn what_a_body_says_is_found_whatever_stands_around_it(
        noise in proptest::collection::vec("[d-f]{1,3}", 0..5), tenant in "[a-z0-9-]{1,20}", vm in "[a-f0-9-]{1,36}", at: usize,
    ) {
        let own = [
            "<q:event_type>VM_ALIVE</q:event_type>".to_owned(),
            format!("<internal_tenant_id>\n {tenant}\n</internal_tenant_id>"),
            format!("<deployment_details><vm_uuid>{vm}</vm_uuid></deployment_details>"),
        ];
        let mut parts: Vec<String> = noise.iter().map(|name| format!("<{name}>{name}</{name}>")).collect();
        for part in own {
            parts.insert(at % (parts.len() + 1), part);
        }
        let body = format!("<q:root xmlns:q='urn:x'>{}</q:root>", parts.concat());
        let (event, _) = read_callback(Form::Xml, body.as_bytes(), CallbackHeaders::default()).expect("an event");
        prop_assert_eq!(event.event, "VM_ALIVE");
        prop_assert_eq!(event.tenant, Some(tenant));
        prop_assert_eq!(event.vm.id, Some(vm));
    }
}
