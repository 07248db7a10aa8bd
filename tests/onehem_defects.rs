//! What was seen to go wrong with `onehem-server`, each as a test that hem does better, through the stand-in for `oned`, its
//! pool of hooks and hem's real binary. The numbers are those of the table in `docs/from-onehem.md`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod front_end;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::until;
use front_end::{FrontEnd, Told, decoded, element, on_call, on_running};
use peers::Peer;
use serde_json::json;
use service::{Service, unsettled};

const SAY: &str = "#!/bin/sh\nfor word; do echo \"[$word]\"; done\ncat\n";

/// The XML that a hook was given as its first argument.
fn document_of(told: &Told) -> String {
    let encoded = told.element("ARGUMENTS").split(' ').next().expect("a word");
    String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
}

/// A VM's number, from what a hook was given.
fn vm_of(told: &Told) -> u64 {
    element(&document_of(told), "ID").parse().expect("a number")
}

/// A file, and a script that ends when it is there.
fn gate(front: &FrontEnd) -> (String, String) {
    let gate = front.house.path("gate").display().to_string();
    let script = format!("#!/bin/sh\necho x >> {gate}.began\nuntil [ -e {gate} ]; do sleep 0.05; done\n");
    (gate, script)
}

/// Defect 1: an argument over 128 KiB cannot be passed. The kernel passes none; hem says which and what to do, `oned` is told,
/// and on standard input it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_too_long_to_be_passed_is_told_with_its_cure_and_arrives_on_standard_input() {
    let mut front = FrontEnd::new()
        .with(
            "say.sh",
            SAY,
            &on_running("line", "say.sh", "ARGUMENTS=\"$TEMPLATE\""),
        )
        .with(
            "count.sh",
            "#!/bin/sh\nwc -c\n",
            &on_running(
                "stdin",
                "count.sh",
                "ARGUMENTS=\"$TEMPLATE\"\nARGUMENTS_STDIN=yes",
            ),
        );
    front.start().await;
    let padding = "x".repeat(1_000_000);
    front
        .oned
        .tell(json!({ "do": "vm", "id": 12, "user_template": { "PADDING": padding } }));
    let told: BTreeMap<u64, Told> = front.told(2).into_iter().map(|told| (told.hook, told)).collect();
    assert!(told.values().all(|told| told.kept));
    assert_eq!(told[&0].code, 255);
    let why = told[&0].stderr();
    assert!(why.contains("arguments_stdin"), "{why}");
    assert_eq!(told[&1].code, 0, "{}", told[&1].stderr());
    let bytes: usize = told[&1].stdout().trim().parse().expect("a number");
    assert!(bytes > 1_333_333, "{bytes}");
    front.stop().await;
}

/// Defect 2: one lost acknowledgement stops all results, and then all hooks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_dies_before_it_acknowledges_delays_the_results_and_stops_nothing() {
    let mut front = FrontEnd::new();
    let (gate, script) = gate(&front);
    front = front.with(
        "slow.sh",
        &script,
        &on_running("all", "slow.sh", "ARGUMENTS=\"$TEMPLATE\""),
    );
    front.start().await;
    // A result is sent to a driver that hangs, and dies with it.
    front.oned.vm(1, "ACTIVE", "RUNNING");
    front
        .hem()
        .until("the hook runs", |status| status.running == 1)
        .await;
    front.oned.tell(json!({ "do": "freeze" }));
    std::fs::write(&gate, "").expect("a file");
    front.hem().until_succeeded(1).await;
    front.oned.tell(json!({ "do": "kill" }));
    front.oned.wait_for_subscriber();
    // More than there are slots.
    for id in 2..=22 {
        front.oned.vm(id, "ACTIVE", "RUNNING");
    }
    front.hem().until_succeeded(22).await;
    let status = front
        .hem()
        .until("all is told", |status| status.results["opennebula"].waiting == 0)
        .await;
    assert_eq!(status.results["opennebula"].away_since, None);
    let vms: BTreeSet<u64> = front.told(22).iter().map(vm_of).collect();
    assert_eq!(vms, (1..=22).collect());
    front.stop().await;
}

/// Sends signals to all threads of hem until it is dropped, as ended hooks do.
fn signals(front: &mut FrontEnd) -> Peer {
    let pid = front.hem().pid().to_string();
    let peer = Peer::start("signals.py", &[&pid]);
    peer.expect("begun");
    peer
}

/// Defect 3: an interrupted system call makes the daemon deaf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_to_every_thread_cost_no_event() {
    let mut front = FrontEnd::new().with(
        "true.sh",
        "#!/bin/sh\n",
        &on_running("all", "true.sh", "ARGUMENTS=\"$TEMPLATE\""),
    );
    front.start().await;
    let mut storm = signals(&mut front);
    for id in 0..200 {
        front.oned.vm(id, "ACTIVE", "RUNNING");
    }
    let vms: BTreeSet<u64> = front.told(200).iter().map(vm_of).collect();
    assert_eq!(vms, (0..200).collect());
    storm.order("end");
    assert!(storm.line().parse::<u64>().expect("a number") > 200);
    front.stop().await;
}

/// Defect 4: an interrupted wait for an acknowledgement costs the next result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_while_acknowledgements_are_waited_for_cost_no_result() {
    let mut front = FrontEnd::new();
    let (gate, script) = gate(&front);
    front = front.with(
        "slow.sh",
        &script,
        &on_running("all", "slow.sh", "ARGUMENTS=\"$TEMPLATE\""),
    );
    front.start().await;
    for id in 0..20 {
        front.oned.vm(id, "ACTIVE", "RUNNING");
    }
    front
        .hem()
        .until("all came", |status| unsettled(status) == 20)
        .await;
    // The results wait while the driver hangs, and the signals go on.
    front.oned.tell(json!({ "do": "freeze" }));
    let storm = signals(&mut front);
    std::fs::write(&gate, "").expect("a file");
    front.hem().until_succeeded(20).await;
    front.oned.tell(json!({ "do": "thaw" }));
    let told = front.told(20);
    drop(storm);
    let vms: Vec<u64> = told.iter().map(vm_of).collect();
    let different: BTreeSet<u64> = vms.iter().copied().collect();
    assert_eq!(different, (0..20).collect());
    assert_eq!(vms.len(), 20, "each was told once: {vms:?}");
    front.stop().await;
}

/// Defect 5: while hooks are slow, events beyond the publisher's high-water mark are lost and nothing says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_events_at_once_are_accepted_while_all_hooks_are_slow() {
    let mut front = FrontEnd::new();
    let (gate, script) = gate(&front);
    front = front.with("slow.sh", &script, &on_running("slow", "slow.sh", ""));
    front.start().await;
    front
        .oned
        .tell(json!({ "do": "burst", "count": 4000, "vms": 4000, "size": 27000 }));
    front.oned.tell(json!({ "do": "flush", "within": 55 }));
    let status = front
        .hem()
        .until("all came", |status| {
            status
                .events
                .get("opennebula")
                .is_some_and(|sums| sums.accepted + sums.lost >= 4000)
        })
        .await;
    let sums = &status.events["opennebula"];
    assert_eq!((sums.matched, sums.lost), (4000, 0), "{sums:?}");
    std::fs::write(gate, "").expect("a file");
    drop(front.hem.take());
}

/// Defect 6: a record is lost where ARGUMENTS or COMMAND holds `&` or `<`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_that_xml_reserves_cost_no_record_and_come_back_with_a_retry() {
    let mut front = FrontEnd::new().with(
        "say.sh",
        SAY,
        &on_running("signs", "say.sh '<&>'", "ARGUMENTS=\"'a&b' 'x < y'\""),
    );
    front.start().await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(1);
    assert_eq!((told[0].code, told[0].kept), (0, true), "{}", told[0].document);
    assert_eq!(told[0].stdout(), "[<&>]\n[a&b]\n[x < y]\n");
    assert_eq!(front.oned.records(0).len(), 1);
    let answer = front.oned.call("one.hook.retry", json!([0, 0]));
    assert_eq!(answer[0], true, "{answer:?}");
    let told = front.told(2);
    assert_eq!(told[1].stdout(), told[0].stdout());
    assert_eq!(told[1].element("RETRY"), "yes");
    assert_eq!(front.oned.records(0).len(), 2);
    front.stop().await;
}

/// A record with much output is kept too: what is left out of it is said in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_output_is_told_cut_with_a_mark_and_the_record_is_kept() {
    let script = "#!/bin/sh\nprintf begins\nhead -c 200000 /dev/zero | tr '\\0' x\nprintf ends\n";
    let mut front = FrontEnd::new().with("much.sh", script, &on_running("much", "much.sh", ""));
    front.start().await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(1);
    assert_eq!((told[0].code, told[0].kept), (0, true));
    let records = front.oned.records(0);
    assert_eq!(records.len(), 1);
    let stdout = decoded(element(&records[0], "STDOUT"));
    let (head, rest) = stdout.split_once("\n[... ").expect("a mark");
    let (missing, tail) = rest.split_once(" bytes left out ...]\n").expect("a mark");
    assert!(head.starts_with("begins") && tail.ends_with("ends"));
    let missing: usize = missing.parse().expect("a number");
    assert_eq!(head.len() + missing + tail.len(), 200_010);
    assert!(head.len() + tail.len() <= 64 << 10, "{}", head.len() + tail.len());
    front.stop().await;
}

/// Defect 7: a shell reads the arguments. `shell: never` splits them as a shell would and starts none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_reach_the_hook_as_words_without_a_shell() {
    let mut front = FrontEnd::new();
    let trap = front.house.path("trap").display().to_string();
    let arguments =
        format!("ARGUMENTS=\"'one arg' two ; touch {trap} $(touch {trap}) `touch {trap}` & < >\"");
    front = front.with("say.sh", SAY, &on_running("words", "say.sh", &arguments));
    front.start_with("  shell: never\n").await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(1);
    assert_eq!(
        told[0].stdout(),
        format!(
            "[one arg]\n[two]\n[;]\n[touch]\n[{trap}]\n[$(touch]\n[{trap})]\n[`touch]\n[{trap}`]\n[&]\n[<]\n[>]\n"
        )
    );
    assert!(!front.house.path("trap").exists());
    front.stop().await;
}

/// Defect 8: a user hides his VM from all hooks by an attribute `HOOK_TYPE`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attribute_of_a_vm_hides_it_from_hooks() {
    let mut front = FrontEnd::new().with(
        "true.sh",
        "#!/bin/sh\n",
        &on_running("all", "true.sh", "ARGUMENTS=\"$TEMPLATE\""),
    );
    front.start().await;
    front
        .oned
        .tell(json!({ "do": "vm", "id": 666, "user_template": { "HOOK_TYPE": "x" } }));
    front
        .oned
        .tell(json!({ "do": "vm", "id": 667, "user_template": { "HOOK_OBJECT": "HOST", "STATE": "DONE" } }));
    let vms: BTreeSet<u64> = front.told(2).iter().map(vm_of).collect();
    assert_eq!(vms, BTreeSet::from([666, 667]));
    front.stop().await;
}

/// Defect 9: what a user writes into a template ends the call's own elements early, and a hook sees another object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_parameter_of_a_call_makes_up_what_a_hook_sees() {
    let script = "#!/bin/sh\necho \"ambiguous=$HEM_AMBIGUOUS\"\n";
    let template = on_call("created", "one.vm.allocate", "ambiguous.sh", "ARGUMENTS=\"$API\"");
    let mut front = FrontEnd::new().with("ambiguous.sh", script, &template);
    front.start().await;
    let extra = "<VM><ID>12</ID></VM>";
    let forged =
        "</VALUE></PARAMETER></PARAMETERS><EXTRA><VM><ID>666</ID></VM></EXTRA></CALL_INFO></HOOK_MESSAGE>";
    for value in ["1 < 2 && a & b", forged, "</VALUE></PARAMETER><X>"] {
        front.oned.tell(json!({ "do": "api", "call": "one.vm.allocate", "in": [value, false], "out": 12, "extra": extra }));
    }
    let told = front.told(3);
    let shown: BTreeMap<String, &Told> = told.iter().map(|told| (document_of(told), told)).collect();
    assert_eq!(shown.len(), 3);
    for (document, told) in &shown {
        let (parameters, extra) = document.rsplit_once("<EXTRA").expect("an element");
        assert!(parameters.ends_with("</PARAMETERS>\n  "), "{document}");
        assert!(!extra.contains("666"), "{document}");
        if document.contains("1 &lt; 2 &amp;&amp; a &amp; b") {
            assert_eq!(element(document, "ID"), "12");
            assert_eq!(told.stdout(), "ambiguous=\n");
        } else if document.contains("&lt;X&gt;") {
            // Elements that nothing closes: there is one way to read it.
            assert_eq!(told.stdout(), "ambiguous=\n", "{document}");
        } else {
            assert_eq!(told.stdout(), "ambiguous=1\n", "{document}");
        }
    }
    assert!(
        shown.keys().any(|document| document.contains("1 &lt; 2")),
        "{shown:?}"
    );
    assert!(told.iter().any(|told| told.stdout() == "ambiguous=1\n"));
    front.stop().await;
}

/// Defect 10: a deletion that `oned` refused disables the hook where any hook is on that call, and its RETRY crashes a thread;
/// a creation that it refused makes hook 0 be asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_deletion_leaves_the_hook_in_force() {
    let mut front = FrontEnd::new()
        .with("say.sh", SAY, &on_running("victim", "say.sh", "ARGUMENTS=\"a\""))
        .with(
            "true.sh",
            "#!/bin/sh\n",
            &on_call("deletions", "one.hook.delete", "true.sh", ""),
        )
        .with(
            "true.sh",
            "#!/bin/sh\n",
            &on_call("creations", "one.hook.allocate", "true.sh", ""),
        );
    front.start().await;
    front.oned.call("one.hook.lock", json!([0, 4, false]));
    let refused = front.oned.call("one.hook.delete", json!([0]));
    assert_eq!(refused[0], false);
    let refused = front.oned.call(
        "one.hook.allocate",
        json!(["NAME=victim\nTYPE=api\nCALL=one.vm.deploy\nCOMMAND=x"]),
    );
    assert_eq!(refused[0], false);
    // The hooks on the two calls ran for the failures.
    let hooks: BTreeSet<u64> = front.told(2).iter().map(|told| told.hook).collect();
    assert_eq!(hooks, BTreeSet::from([1, 2]));
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(3);
    assert_eq!((told[2].hook, told[2].code), (0, 0));
    assert_eq!(front.hooks().await.len(), 3);
    front.oned.call("one.hook.unlock", json!([0]));
    let answer = front.oned.call("one.hook.retry", json!([0, 0]));
    assert_eq!(answer[0], true, "{answer:?}");
    let told = front.told(4);
    assert_eq!((told[3].hook, told[3].element("RETRY")), (0, "yes"));
    // Those that oned did delete go.
    front.oned.call("one.hook.delete", json!([0]));
    front
        .until_hooks(|there| !there.contains(&"oned/victim".to_owned()))
        .await;
    front.stop().await;
}

/// Defect 11: the hooks of one VM run in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_of_one_vm_run_in_the_order_of_its_events() {
    let mut front = FrontEnd::new();
    let ran = front.house.path("ran").display().to_string();
    let script = format!("#!/bin/sh\nsleep 0.0$(($$ % 10))\necho \"$HEM_SUBJECT $1\" >> {ran}\n");
    let states = [
        "PENDING",
        "HOLD",
        "POWEROFF",
        "SUSPENDED",
        "UNDEPLOYED",
        "STOPPED",
    ];
    // One hook whose states are told apart by the event, so that all are of one lane.
    front.house.script("note.sh", &script).hook(
        "note",
        "name: note\nprofile: hem\ntrigger: { state: { resource: VM, state: any, lcm_state: any } }\ncommand: note.sh\n\
         arguments: [\"${{ event.STATE }}\"]\nloop_guard: off\n",
    );
    front.start().await;
    for state in states {
        for id in 0..30 {
            front.oned.tell(json!({ "do": "vm", "id": id, "state": state }));
        }
    }
    front.hem().until_succeeded(180).await;
    let lines = front.house.lines("ran");
    let mut by_vm: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &lines {
        let (subject, state) = line.split_once(' ').expect("two words");
        by_vm.entry(subject).or_default().push(state);
    }
    assert_eq!(by_vm.len(), 30);
    for (vm, seen) in by_vm {
        assert_eq!(seen, states, "{vm}");
    }
    front.stop().await;
}

/// Defect 12: TIMEOUT sends TERM and then waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_ignores_term_ends_when_its_time_is_over() {
    let script = "#!/bin/sh\ntrap '' TERM\necho before\nwhile :; do sleep 600; done\n";
    let mut front = FrontEnd::new().with(
        "stubborn.sh",
        script,
        &on_running("stubborn", "stubborn.sh", "TIMEOUT=1"),
    );
    front.start().await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(1);
    assert_eq!(told[0].code, 255);
    assert_eq!(told[0].stdout(), "before\n");
    assert!(
        told[0].stderr().contains("Timeout executing "),
        "{}",
        told[0].stderr()
    );
    front.stop().await;
}

/// Defect 13: output is lost where a process in the background keeps the pipe open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_kept_where_a_process_in_the_background_holds_the_pipe() {
    let mut front = FrontEnd::new();
    let pid = front.house.path("pid").display().to_string();
    let script = format!("#!/bin/sh\necho before\nsleep 600 &\necho $! > {pid}\necho after\n");
    front = front.with("leaves.sh", &script, &on_running("leaves", "leaves.sh", ""));
    front.start().await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(1);
    assert_eq!(
        (told[0].code, told[0].stdout()),
        (0, "before\nafter\n".to_owned())
    );
    front.stop().await;
    let pid: i32 = std::fs::read_to_string(front.house.path("pid"))
        .expect("a file")
        .trim()
        .parse()
        .expect("a number");
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

/// Defect 14: a stop loses what runs, what waits and what is not told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_loses_neither_what_runs_nor_what_waits_nor_what_is_not_told() {
    let mut front = FrontEnd::new();
    let (gate, script) = gate(&front);
    front = front.with(
        "slow.sh",
        &script,
        &on_running("slow", "slow.sh", "ARGUMENTS=\"$TEMPLATE\""),
    );
    front.start_with("shutdown_grace: 100ms\n").await;
    for id in 0..15 {
        front.oned.vm(id, "ACTIVE", "RUNNING");
    }
    front
        .hem()
        .until("all were accepted", |status| unsettled(status) == 15)
        .await;
    let house = &front.house;
    until("some run", || !house.lines("gate.began").is_empty()).await;
    front.stop().await;
    std::fs::write(&gate, "").expect("a file");
    front.start().await;
    front
        .hem()
        .until("all ran and is told", |status| {
            unsettled(status) == 0
                && status
                    .results
                    .get("opennebula")
                    .is_some_and(|told| told.waiting == 0)
        })
        .await;
    // At least once each: what was being told when it stopped is told again.
    let told = front.told(15);
    let by_vm: BTreeMap<u64, i64> = told.iter().map(|told| (vm_of(told), told.code)).collect();
    assert_eq!(by_vm.len(), 15, "each is told: {by_vm:?}");
    // What the stop cut short is told as a failure; what waited ran.
    assert!(by_vm.values().all(|code| [0, 255].contains(code)), "{by_vm:?}");
    assert!(
        by_vm.values().filter(|code| **code == 0).count() >= 5,
        "{by_vm:?}"
    );
    front.stop().await;
}

/// Defect 15: a hook for another host leaves no record where the event names no host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_for_another_host_without_one_is_a_failure_on_record() {
    let mut front = FrontEnd::new()
        .with(
            "say.sh",
            SAY,
            &on_running("state", "say.sh", "REMOTE=YES\nARGUMENTS=\"a\""),
        )
        .with(
            "say.sh",
            SAY,
            &on_call("call", "one.vm.deploy", "say.sh", "REMOTE=YES\nARGUMENTS=\"b\""),
        );
    front.start().await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    front
        .oned
        .tell(json!({ "do": "api", "call": "one.vm.deploy", "in": [12, 0], "out": 12 }));
    for told in front.told(2) {
        assert_eq!((told.code, told.kept), (255, true), "{}", told.document);
        assert!(told.stderr().contains("host"), "{}", told.stderr());
    }
    assert_eq!((front.oned.records(0).len(), front.oned.records(1).len()), (1, 1));
    front.stop().await;
}

/// Defect 16: what waits is kept in memory without a bound. It waits on the disk, up to a bound, and what comes beyond is
/// counted and said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_has_a_bound_and_what_comes_beyond_it_is_said_to_be_lost() {
    let mut front = FrontEnd::new();
    let (gate, script) = gate(&front);
    front = front.with("slow.sh", &script, &on_running("slow", "slow.sh", ""));
    front.start_with("limits: { max_backlog: 300 }\n").await;
    front
        .oned
        .tell(json!({ "do": "burst", "count": 1000, "vms": 1000 }));
    let full = front
        .hem()
        .until("the backlog is full", |status| status.not_accepting.is_some())
        .await;
    assert!(!full.concerns.is_empty(), "{full:?}");
    front
        .oned
        .tell(json!({ "do": "burst", "count": 100, "vms": 100, "first": 5000 }));
    front.oned.tell(json!({ "do": "flush" }));
    std::fs::write(&gate, "").expect("a file");
    let status = front
        .hem()
        .until("all that waited ran, and what is lost is said", |status| {
            let sums = &status.events["opennebula"];
            unsettled(status) == 0 && sums.gaps > 0 && sums.accepted + sums.lost >= 1100
        })
        .await;
    let sums = &status.events["opennebula"];
    assert!(sums.adds_up && sums.lost >= 100 && sums.matched > 300, "{sums:?}");
    assert_eq!(status.executions["succeeded"], sums.matched, "{status:?}");
    front.stop().await;
}

/// Defect 17: with `ONE_LOCATION` set, the folder of hooks is misspelt, and no hook is found where the configuration does not
/// name it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_found_below_one_location_where_the_configuration_does_not_say_where() {
    let mut front = FrontEnd::new();
    let location = front.house.path("one");
    let folder = location.join("var/remotes/hooks");
    std::fs::create_dir_all(&folder).expect("a folder");
    front.house.script("say.sh", SAY);
    std::fs::copy(
        front.house.config.scripts_dir.join("say.sh"),
        folder.join("say.sh"),
    )
    .expect("a script");
    front
        .oned
        .create_hook(&on_running("say", "say.sh", "ARGUMENTS=\"found\""));
    let config = &front.house.config;
    let yaml = format!(
        "state_dir: {}\nhooks_dir: {}\ncontrol: {{ socket: {} }}\npermissions: lax\n",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.control.socket.display()
    );
    std::fs::write(front.house.path("hem.yaml"), yaml).expect("a file");
    let conf = front.house.path("onehem-server.conf");
    let text = format!(
        ":debug_level: 2\n:subscriber_endpoint: '{}'\n:replier_endpoint: '{}'\n:concurrency: 10\n",
        front.oned.events(),
        front.oned.replies()
    );
    std::fs::write(&conf, text).expect("a file");
    let environment = [
        "env".to_owned(),
        format!("ONE_LOCATION={}", location.display()),
        format!("ONE_XMLRPC={}", front.oned.xmlrpc()),
        format!("ONE_AUTH={}", front.house.path("one_auth").display()),
    ];
    let conf = conf.display().to_string();
    front.hem = Some(Service::start_by(
        &front.house,
        &environment,
        &["--onehem-conf", &conf],
    ));
    front.until_in_force().await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    let told = front.told(1);
    assert_eq!(
        (told[0].code, told[0].stdout()),
        (0, "[found]\n".to_owned()),
        "{}",
        told[0].stderr()
    );
    front.stop().await;
}
