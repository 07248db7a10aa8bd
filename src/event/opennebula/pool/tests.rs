use proptest::prelude::*;

use super::*;
use crate::event::opennebula::read;

const VM: &str = "<VM><ID>12</ID><NAME>web</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><PREV_STATE>3</PREV_STATE>\
    <TEMPLATE><STATE><![CDATA[6]]></STATE><X><![CDATA[</VM></VM_POOL>]]></X></TEMPLATE><USER_TEMPLATE/>\
    <HISTORY_RECORDS><HISTORY><SEQ>10</SEQ><HOSTNAME>h2</HOSTNAME></HISTORY>\
    <HISTORY><SEQ>9</SEQ><HOSTNAME>h1</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>";

fn names(state: &str, lcm_state: Option<&str>) -> StateNames {
    StateNames {
        state: state.to_owned(),
        lcm_state: lcm_state.map(str::to_owned),
    }
}

#[test]
fn a_pool_gives_each_resource_with_the_names_of_its_states() {
    let unknown = VM
        .replace("<ID>12</ID>", "<ID>13</ID>")
        .replace("<STATE>3", "<STATE>99");
    let pool = format!("<?xml version=\"1.0\"?>\n<VM_POOL>{VM}<OTHER/>\n{unknown}</VM_POOL>\n");
    let Page { entries, left_out } = pool_page(&pool, &Resource::Vm).expect("a pool");
    assert_eq!(left_out, []);
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.id.number, entry.state.clone(), entry.element.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (12, Some(names("ACTIVE", Some("RUNNING"))), VM),
            (13, None, unknown.as_str())
        ]
    );
    assert_eq!(entries[1].message(), None);
}

#[test]
fn states_have_the_names_that_are_published() {
    let table = [
        (
            Resource::Host,
            "<HOST><ID>1</ID><STATE>3</STATE></HOST>",
            Some("ERROR"),
        ),
        (Resource::Host, "<HOST><ID>1</ID><STATE>1</STATE></HOST>", None),
        (
            Resource::Image,
            "<IMAGE><ID>1</ID><STATE>8</STATE></IMAGE>",
            Some("USED"),
        ),
        (
            Resource::Image,
            "<IMAGE><ID>1</ID><STATE>10</STATE></IMAGE>",
            Some("LOCKED_USED"),
        ),
        (
            Resource::Net,
            "<VNET><ID>1</ID><STATE><![CDATA[6]]></STATE></VNET>",
            Some(""),
        ),
        (
            Resource::Net,
            "<VNET><ID>1</ID><STATE><![CDATA[1]]></STATE></VNET>",
            Some("READY"),
        ),
        (Resource::Net, "<VNET><ID>1</ID></VNET>", None),
        (Resource::Vm, "<VM><ID>1</ID><STATE>6</STATE></VM>", None),
    ];
    for (resource, document, state) in table {
        let entry = resource_entry(document, &resource).expect("a resource");
        assert_eq!(
            entry.state.map(|names| names.state).as_deref(),
            state,
            "{document}"
        );
    }
}

#[test]
fn what_is_no_pool_of_the_kind_says_why() {
    for (document, says) in [
        ("", "begins with ``, not with `<VM_POOL>`"),
        ("<HOST_POOL></HOST_POOL>", "begins with `<HOST_POOL></HOST_POOL>`"),
        ("<VM_POOL>", "ends within an element"),
        ("<VM_POOL><VM><ID>1</ID>", "ends within an element"),
        ("<VM_POOL></VM_POOL><VM/>", "goes on after its root element"),
    ] {
        let fault = pool_page(document, &Resource::Vm)
            .expect_err(document)
            .to_string();
        assert!(fault.contains(says), "{document}: {fault}");
    }
    for empty in ["<VM_POOL/>", "<VM_POOL></VM_POOL>", " <VM_POOL> </VM_POOL> "] {
        assert_eq!(pool_page(empty, &Resource::Vm), Ok(Page::default()));
    }
}

#[test]
fn a_resource_that_cannot_be_read_leaves_the_others() {
    let last = VM.replace("<ID>12</ID>", "<ID>19</ID>");
    let forged = "<X><![CDATA[</VM><VM><ID>66</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>]]></X>";
    for (broken, number, says) in [
        ("<VM><STATE>3</STATE></VM>".to_owned(), None, "has no number"),
        ("<VM><ID>x</ID></VM>".to_owned(), None, "has no number"),
        ("<VM><ID>13</ID><NAME>a</B></VM>".to_owned(), Some(13), "no XML"),
        (
            "<VM><ID>13</ID><NAME>a & b</NAME></VM>".to_owned(),
            Some(13),
            "no XML",
        ),
        (
            format!("<VM><ID>13</ID>{forged}<NAME></B></VM>"),
            Some(13),
            "no XML",
        ),
    ] {
        let pool = format!("<VM_POOL>{VM}{broken}\n{last}</VM_POOL>");
        let page = pool_page(&pool, &Resource::Vm).expect(&broken);
        let numbers: Vec<_> = page.entries.iter().map(|entry| entry.id.number).collect();
        assert_eq!((numbers, page.len()), (vec![12, 19], 3), "{broken}");
        assert_eq!(page.left_out[0].number, number, "{broken}");
        let why = page.left_out[0].why.to_string();
        assert!(why.contains(says), "{broken}: {why}");
        // As the only one, or the last one.
        let pool = format!("<VM_POOL>{broken}</VM_POOL>");
        let page = pool_page(&pool, &Resource::Vm).expect(&broken);
        assert_eq!((page.entries.len(), page.left_out.len()), (0, 1), "{broken}");
    }
}

#[test]
fn a_message_is_built_as_the_controller_builds_it() {
    let vm = resource_entry(VM, &Resource::Vm).expect("a VM");
    let message = vm.message().expect("a message");
    assert_eq!(message.key, "EVENT STATE VM/ACTIVE/RUNNING/12 ");
    assert_eq!(
        message.document,
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID><REMOTE_HOST>h2</REMOTE_HOST>{VM}</HOOK_MESSAGE>"
        )
    );
    let host = "<HOST><ID>3</ID><NAME>node3</NAME><STATE>3</STATE><TEMPLATE/></HOST>";
    let message = resource_entry(host, &Resource::Host).expect("a host").message();
    assert_eq!(
        message.expect("a message"),
        StateMessage {
            key: "EVENT STATE HOST/ERROR//3 ".to_owned(),
            document: format!(
                "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT><STATE>ERROR</STATE>\
                 <REMOTE_HOST>node3</REMOTE_HOST><RESOURCE_ID>3</RESOURCE_ID>{host}</HOOK_MESSAGE>"
            ),
        }
    );
}

#[test]
fn a_service_that_its_owner_made_up_forges_no_host() {
    let forged = "7</SERVICE_ID><REMOTE_HOST>evil</REMOTE_HOST><SERVICE_ID>7";
    let vm = VM.replace(
        "<USER_TEMPLATE/>",
        &format!("<USER_TEMPLATE><SERVICE_ID><![CDATA[{forged}]]></SERVICE_ID></USER_TEMPLATE>"),
    );
    let message = resource_entry(&vm, &Resource::Vm)
        .expect("a VM")
        .message()
        .expect("a message");
    let reading = read(&message.key, message.document.as_bytes());
    let Facts::State(change) = reading.facts else {
        panic!("{reading:?}")
    };
    // As with the controller's own message, the text of it in the VM's element leaves the host in dispute.
    assert_eq!((change.host, reading.ambiguous), (None, true));
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,200}") {
        for resource in [Resource::Vm, Resource::Host, Resource::Image, Resource::Net] {
            let _ = pool_page(&text, &resource);
            if let Ok(entry) = resource_entry(&text, &resource) {
                let _ = entry.message();
            }
        }
    }

    #[test]
    fn a_pool_that_was_cut_or_changed_makes_no_reader_panic(
        at in 0..VM.len(), with in "[<>/A-Z&;]{0,3}", length in 0..20_usize,
    ) {
        let pool = format!("<VM_POOL>{VM}{VM}</VM_POOL>");
        let mut changed = pool.clone();
        changed.replace_range(at..(at + length).min(pool.len()), &with);
        for document in [&pool[..at], &changed] {
            for entry in pool_page(document, &Resource::Vm).unwrap_or_default().entries {
                let _ = entry.message();
            }
        }
    }

    /// What is raised reads back as what the pool said.
    #[test]
    fn a_message_reads_back_as_the_state_of_its_resource(
        number: u64, state in 0..12_u32, lcm_state in 0..80_u32, value in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,20}",
        host in "[a-z0-9.-]{0,10}",
    ) {
        let value = value.replace("]]>", "");
        let vm = format!(
            "<VM><ID>{number}</ID><STATE>{state}</STATE><LCM_STATE>{lcm_state}</LCM_STATE><TEMPLATE/><USER_TEMPLATE>\
             <SERVICE_ID><![CDATA[{value}]]></SERVICE_ID></USER_TEMPLATE><HISTORY_RECORDS><HISTORY><SEQ>0</SEQ>\
             <HOSTNAME>{host}</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"
        );
        let entry = resource_entry(&vm, &Resource::Vm).expect("a VM");
        if let Some(message) = entry.message() {
            let reading = read(&message.key, message.document.as_bytes());
            prop_assert_eq!(state_told(&reading.facts), Some((entry.id.clone(), entry.state.clone().expect("known"))));
            let Facts::State(change) = &reading.facts else { panic!("{reading:?}") };
            prop_assert_eq!(change.host.clone().unwrap_or_default(), host);
            prop_assert!(!reading.ambiguous);
        }
    }
}

#[test]
fn what_is_no_name_of_a_state_is_not_remembered_as_one() {
    let told = |state: &str, lcm_state: Option<&str>| {
        state_told(&Facts::State(StateChange {
            resource: Resource::Vm,
            id: Some("12".to_owned()),
            state: state.to_owned(),
            lcm_state: lcm_state.map(str::to_owned),
            previous_state: None,
            previous_lcm_state: None,
            host: None,
        }))
    };
    let long = "A".repeat(LONGEST_STATE + 1);
    assert!(told("ACTIVE", Some("RUNNING")).is_some() && told(&long[1..], None).is_some());
    assert_eq!(told(&long, None), None);
    assert_eq!(told("ACTIVE", Some(&long)), None);
}
