//! `hem match` and `hem try` on events that the daemon has kept: asked of the daemon, and of its store while it is away.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;

use daemon::{House, until_settled};
use service::{configure, hem};

const SECRET: &str = "s3cret-of-ann";

/// A machine that runs, with a password in its template; and somebody's change of password, for which there is no hook.
fn events(house: &House) -> [String; 2] {
    let running = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
         <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID><VM><ID>12</ID><TEMPLATE>\
         <PASSWORD>{SECRET}</PASSWORD></TEMPLATE></VM></HOOK_MESSAGE>"
    );
    let parameter = |position: u32, direction: &str, value: &str| {
        format!(
            "<PARAMETER><POSITION>{position}</POSITION><TYPE>{direction}</TYPE><VALUE>{value}</VALUE></PARAMETER>"
        )
    };
    let password = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.user.passwd</CALL><CALL_INFO><RESULT>1</RESULT>\
         <PARAMETERS>{}{}{}{}{}</PARAMETERS><EXTRA/></CALL_INFO></HOOK_MESSAGE>",
        parameter(1, "IN", "****"),
        parameter(2, "IN", "3"),
        parameter(3, "IN", SECRET),
        parameter(1, "OUT", "true"),
        parameter(2, "OUT", "3"),
    );
    [("running.xml", running), ("password.xml", password)].map(|(name, document)| {
        let file = house.path(name);
        std::fs::write(&file, document).expect("a file");
        file.to_str().expect("a path").to_owned()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_events_are_matched_and_tried_with_and_without_a_daemon() {
    let house = House::new();
    house
        .script("count.sh", "#!/bin/sh\nprintf %s \"$1\" | wc -c\n")
        .hook(
            "count",
            "name: count\ntrigger: { state: { resource: VM, on: RUNNING } }\n\
             when: size(text(\"VM/TEMPLATE/PASSWORD\")) == 13\n\
             command: count.sh\narguments: [\"${{ event.VM.TEMPLATE.PASSWORD }}\"]\n",
        );
    let config = configure(&house, "");
    let config = config.to_str().expect("a path");
    let [running, password] = events(&house);
    let daemon = house.daemon().await;
    for (file, caused) in [(&running, "1.count\n"), (&password, "")] {
        let emitted = hem(&house, &["emit", file]).await;
        assert_eq!(emitted.code, 0, "{}", emitted.stderr);
        assert_eq!(emitted.stdout, caused);
    }
    until_settled(daemon.handle(), 2).await;

    let mut printed = Vec::new();
    let mut daemon = Some(daemon);
    for offline in [false, true] {
        if offline && let Some(daemon) = daemon.take() {
            daemon.stop().await;
        }
        let ask = async |words: &[&str]| {
            let mut arguments = vec!["--config", config];
            arguments.extend(words);
            if offline {
                arguments.push("--offline");
            }
            hem(&house, &arguments).await
        };
        let matched = ask(&["match", "1"]).await;
        assert_eq!(matched.code, 0, "{}", matched.stderr);
        assert!(
            matched.stdout.contains("1 of 1 hooks would run") && matched.stdout.contains("[1] [redacted]"),
            "{}",
            matched.stdout
        );
        // The script gets what the event brought, whatever is printed of it.
        let tried = ask(&["try", "count", "1"]).await;
        assert_eq!((tried.code, tried.stdout.trim()), (0, "13"), "{}", tried.stderr);
        printed.extend([matched, tried]);
        for words in [["match", "2"].as_slice(), &["try", "count", "2"]] {
            let refused = ask(words).await;
            assert_eq!(refused.code, 1, "{words:?}: {}", refused.stdout);
            assert!(
                refused.stderr.contains("the document of event 2 was not kept")
                    && refused
                        .stderr
                        .contains("only the envelope is kept, for the passwords in them"),
                "{words:?}: {}",
                refused.stderr
            );
            printed.push(refused);
        }
        let absent = ask(&["match", "7"]).await;
        assert_eq!(absent.code, 1, "{}", absent.stderr);
        assert!(absent.stderr.contains("there is no event 7"), "{}", absent.stderr);
    }
    for said in &printed {
        assert!(
            !said.stdout.contains(SECRET) && !said.stderr.contains(SECRET),
            "{said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_an_offline_question_is_refused_and_leaves_no_store_behind() {
    let house = House::new();
    let config = configure(&house, "");
    let config = config.to_str().expect("a path");
    for words in [["match", "1"].as_slice(), &["try", "count", "1"]] {
        let mut arguments = vec!["--config", config];
        arguments.extend(words);
        arguments.push("--offline");
        let refused = hem(&house, &arguments).await;
        assert_eq!(refused.code, 5, "{words:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("there is no store in"),
            "{}",
            refused.stderr
        );
    }
    assert!(!house.config.state_dir.exists());
}
