//! What the runner promises, each promise with a real process.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it finds something amiss"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hem::runner::{
    Invocation, Limits, Observer, Outcome, Report, Runner, Secret, StartFailureKind, Started, Stdin, Stream,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// No wait in here takes this long unless something is broken, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A time limit within which a helper program has begun, on the slowest machine.
const BEGUN: Duration = Duration::from_secs(2);

/// Longer than any of the helper programs takes for what it is asked.
const LONG: Duration = Duration::from_secs(300);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn invocation(program: impl Into<PathBuf>, arguments: &[&str]) -> Invocation {
    Invocation {
        program: program.into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        secrets: Vec::new(),
        directory: None,
        stdin: Stdin::Empty,
        umask: None,
        host: None,
        refuses_open_programs: false,
    }
}

fn limits() -> Limits {
    Limits {
        timeout: Some(LONG),
        grace: LONG,
        leak: LONG,
        output_head: 64 << 10,
        output_tail: 64 << 10,
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn run_with(invocation: Invocation, limits: Limits, observer: Observer) -> Report {
    let runner = Runner::start().expect("a runner");
    let run = runner.run(invocation, limits, CancellationToken::new(), observer);
    tokio::time::timeout(PATIENCE, run)
        .await
        .expect("the run comes back")
}

async fn run(invocation: Invocation, limits: Limits) -> Report {
    run_with(invocation, limits, Observer::none()).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stdout(report: &Report) -> String {
    assert_eq!(report.stdout.cut(), 0, "{report:?}");
    text(&report.stdout.head)
}

fn start_failure(report: &Report) -> (StartFailureKind, &str) {
    match &report.outcome {
        Outcome::StartFailed(failure) => (failure.kind, &failure.message),
        other => panic!("expected a failure to start, got {other:?}"),
    }
}

/// Running, and not merely a zombie that nobody collected yet.
fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        !matches!(state, Some('Z' | 'X') | None)
    })
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: did not come true");
        tokio::time::sleep(millis(10)).await;
    }
}

fn pid_in(file: &Path) -> i32 {
    fs::read_to_string(file)
        .expect("the file with the pid")
        .trim()
        .parse()
        .expect("a pid")
}

fn executable(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    use std::io::Write as _;
    let path = folder.join(name);
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o755)
        .open(&path)
        .expect("a file");
    file.write_all(content).expect("its content");
    path
}

/// Ends a process that a test left behind on purpose.
fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a process to end");
}

#[tokio::test]
async fn an_exit_status_and_both_streams_are_reported() {
    let before = SystemTime::now();
    let report = run(
        invocation("/bin/sh", &["-c", "echo out; echo err >&2; exit 7"]),
        limits(),
    )
    .await;
    assert_eq!(report.outcome, Outcome::Exited { code: 7 });
    assert_eq!(stdout(&report), "out\n");
    assert_eq!(text(&report.stderr.head), "err\n");
    let started = report.started.expect("it was started");
    assert!(before <= started.at && started.at <= report.ended);
    assert_eq!(started.uid, nix::unistd::Uid::current().as_raw());
    assert!(started.pid > 1, "{started:?}");
}

#[tokio::test]
async fn a_signal_from_elsewhere_is_reported_as_such() {
    let report = run(invocation(fixture("exits-by-signal"), &["SEGV"]), limits()).await;
    assert_eq!(report.outcome, Outcome::Signalled { signal: 11 });
    assert_eq!(stdout(&report), "last words\n");
}

#[tokio::test]
async fn a_process_gets_exactly_the_environment_arguments_directory_and_umask_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    // Descriptors of this process that must not be passed on.
    let _file = fs::File::open("/etc/passwd").expect("a file");
    let _socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let runner = Runner::start().expect("a runner");
    for umask in [0o027, 0o077, 0o000] {
        let mut invocation = invocation(
            fixture("prints-environment"),
            &["$HOME; `id`", "", "two words\n", "ä"],
        );
        invocation.environment.push(("EVENT".into(), "a=b $c".into()));
        invocation.directory = Some(folder.path().to_owned());
        invocation.umask = Some(umask);
        let report = runner
            .run(invocation, limits(), CancellationToken::new(), Observer::none())
            .await;
        assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{report:?}");
        let seen: serde_json::Value = serde_json::from_str(&stdout(&report)).expect("JSON");
        let mut environment: BTreeMap<String, String> =
            serde_json::from_value(seen["environment"].clone()).expect("the environment");
        // Python itself sets this one where no locale is given.
        environment.remove("LC_CTYPE");
        let expected = [("EVENT", "a=b $c"), ("PATH", "/usr/local/bin:/usr/bin:/bin")];
        assert_eq!(
            environment,
            expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into()
        );
        assert_eq!(
            seen["arguments"],
            serde_json::json!(["$HOME; `id`", "", "two words\n", "ä"])
        );
        assert_eq!(
            Path::new(seen["directory"].as_str().expect("a path")),
            folder.path().canonicalize().expect("a path")
        );
        assert_eq!(seen["umask"], umask, "umask {umask:o}");
        assert_eq!(seen["descriptors"], serde_json::json!([0, 1, 2]));
        assert_eq!(seen["group"], seen["pid"], "it leads a group of its own");
    }
}

#[tokio::test]
async fn without_a_umask_the_daemons_own_is_kept_whatever_others_ask_for() {
    let runner = Runner::start().expect("a runner");
    let mut seen = Vec::new();
    for umask in [None, Some(0o077), None] {
        let invocation = Invocation {
            umask,
            ..invocation("/bin/sh", &["-c", "umask"])
        };
        let report = runner
            .run(invocation, limits(), CancellationToken::new(), Observer::none())
            .await;
        seen.push(u32::from_str_radix(stdout(&report).trim(), 8).expect("a umask"));
    }
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .expect("a umask");
    let own = u32::from_str_radix(own.trim(), 8).expect("a umask");
    assert_eq!(seen, [own, 0o077, own]);
}

#[tokio::test]
async fn standard_input_is_empty_or_exactly_the_bytes_given() {
    let report = run(invocation(fixture("reads-stdin"), &[]), limits()).await;
    assert!(stdout(&report).starts_with("0 "), "{report:?}");

    let document = Bytes::from(b"0123456789abcdef".repeat(256 << 10));
    let with_input = Invocation {
        stdin: Stdin::Bytes(document.clone()),
        ..invocation(fixture("reads-stdin"), &[])
    };
    let report = run(with_input, limits()).await;
    let sha256: String = Sha256::digest(&document)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(stdout(&report), format!("4194304 {sha256}\n"));
}

#[tokio::test]
async fn a_script_that_does_not_read_its_input_is_not_waited_for() {
    let document = Bytes::from(vec![b'x'; 4 << 20]);
    for script in ["exit 3", "exec 0<&-; sleep 0.1; exit 3"] {
        let deaf = Invocation {
            stdin: Stdin::Bytes(document.clone()),
            ..invocation("/bin/sh", &["-c", script])
        };
        let report = run(deaf, limits()).await;
        assert_eq!(report.outcome, Outcome::Exited { code: 3 }, "{script}");
    }
}

#[tokio::test]
async fn input_is_written_while_output_is_read() {
    let document = Bytes::from(vec![b'x'; 4 << 20]);
    let echo = Invocation {
        stdin: Stdin::Bytes(document),
        ..invocation(fixture("echoes-while-reading"), &[])
    };
    let report = run(echo, limits()).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert_eq!(report.stdout.total, 4 << 20);
    assert_eq!(report.stdout.cut(), (4 << 20) - (128 << 10));
}

#[tokio::test]
async fn long_output_keeps_its_beginning_and_its_end() {
    let small = Limits {
        output_head: 28,
        output_tail: 14,
        ..limits()
    };
    let report = run(invocation(fixture("spams-output"), &["20000"]), small).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    for (stream, name) in [(&report.stdout, "out"), (&report.stderr, "err")] {
        assert_eq!(
            text(&stream.head),
            format!("{name} 000000000\n{name} 000000001\n")
        );
        assert_eq!(text(&stream.tail), format!("{name} 000019999\n"));
        assert_eq!((stream.total, stream.cut()), (14 * 20_000, 14 * 20_000 - 42));
    }
}

#[tokio::test]
async fn a_time_limit_ends_a_script_and_keeps_its_output() {
    let short = Limits {
        timeout: Some(BEGUN),
        ..limits()
    };
    let report = run(
        invocation("/bin/sh", &["-c", "echo begun; sleep 300; echo never"]),
        short,
    )
    .await;
    assert_eq!(
        report.outcome,
        Outcome::TimedOut {
            after: BEGUN,
            killed: false
        }
    );
    assert_eq!(stdout(&report), "begun\n");
}

#[tokio::test]
async fn a_script_that_never_stops_printing_does_not_outshout_its_time_limit() {
    let short = Limits {
        timeout: Some(BEGUN),
        ..limits()
    };
    let report = run(invocation(fixture("spams-output"), &[]), short).await;
    assert_eq!(
        report.outcome,
        Outcome::TimedOut {
            after: BEGUN,
            killed: false
        }
    );
}

#[tokio::test]
async fn a_script_that_ignores_term_is_killed_after_the_grace() {
    let short = Limits {
        timeout: Some(BEGUN),
        grace: millis(300),
        ..limits()
    };
    let begin = Instant::now();
    let report = run(invocation(fixture("ignores-term"), &[]), short).await;
    assert_eq!(
        report.outcome,
        Outcome::TimedOut {
            after: BEGUN,
            killed: true
        }
    );
    assert_eq!(stdout(&report), "running\n");
    assert!(begin.elapsed() >= BEGUN + millis(300), "the grace was given");
}

#[tokio::test]
async fn a_stopped_script_is_woken_to_end() {
    let stopped = invocation(
        "/bin/sh",
        &["-c", "trap 'echo bye; exit' TERM; kill -STOP $$; sleep 300"],
    );
    let report = run(
        stopped,
        Limits {
            timeout: Some(BEGUN),
            ..limits()
        },
    )
    .await;
    assert_eq!(
        report.outcome,
        Outcome::TimedOut {
            after: BEGUN,
            killed: false
        }
    );
    assert_eq!(stdout(&report), "bye\n");
}

#[tokio::test]
async fn a_time_limit_ends_the_whole_group_also_those_that_gave_the_output_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = folder.path().join("child");
    let family = invocation(fixture("family-ignores-term"), &[child.to_str().expect("a path")]);
    let short = Limits {
        timeout: Some(BEGUN),
        grace: millis(300),
        ..limits()
    };
    let report = run(family, short).await;
    assert_eq!(
        report.outcome,
        Outcome::TimedOut {
            after: BEGUN,
            killed: true
        }
    );
    assert!(!is_alive(pid_in(&child)), "the child was ended");
}

#[tokio::test]
async fn a_script_that_closes_its_output_is_still_waited_for() {
    let silent = invocation("/bin/sh", &["-c", "echo last; exec >&- 2>&-; sleep 0.5; exit 4"]);
    let report = run(silent, limits()).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 4 });
    assert_eq!(stdout(&report), "last\n");
}

#[tokio::test]
async fn a_script_ended_by_a_signal_is_named_so_even_if_it_leaves_somebody_behind() {
    let script = invocation("/bin/sh", &["-c", "sleep 300 & kill -KILL $$"]);
    let report = run(
        script,
        Limits {
            leak: millis(300),
            ..limits()
        },
    )
    .await;
    assert_eq!(report.outcome, Outcome::Signalled { signal: 9 });
}

#[tokio::test]
async fn a_descendant_that_holds_the_output_neither_hangs_nor_erases_the_record() {
    let folder = tempfile::tempdir().expect("a folder");
    for code in ["0", "5"] {
        let child = folder.path().join(code);
        let script = invocation(
            fixture("forks-and-holds-stdout"),
            &[child.to_str().expect("a path"), code],
        );
        let report = run(
            script,
            Limits {
                leak: millis(300),
                ..limits()
            },
        )
        .await;
        assert_eq!(
            report.outcome,
            Outcome::Leaked {
                code: code.parse().expect("a number")
            }
        );
        assert_eq!(stdout(&report), "before\nafter\n");
        assert!(!is_alive(pid_in(&child)), "nothing is left behind");
    }
}

#[tokio::test]
async fn a_descendant_beyond_the_group_does_not_hold_the_slot() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = folder.path().join("child");
    let script = invocation(
        fixture("escapes-and-holds-stdout"),
        &[child.to_str().expect("a path")],
    );
    let report = run(
        script,
        Limits {
            leak: millis(300),
            ..limits()
        },
    )
    .await;
    assert_eq!(report.outcome, Outcome::Leaked { code: 0 });
    assert!(stdout(&report).contains("done\n"));
    end(pid_in(&child));
}

#[tokio::test]
async fn a_descendant_that_gave_the_output_back_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = folder.path().join("child");
    let script = invocation(fixture("forks-and-lets-go"), &[child.to_str().expect("a path")]);
    let report = run(script, limits()).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert_eq!(stdout(&report), "done\n");
    let child = pid_in(&child);
    assert!(is_alive(child), "a daemon started on purpose goes on");
    end(child);
}

#[tokio::test]
async fn a_stop_ends_the_group_and_names_itself() {
    let runner = Runner::start().expect("a runner");
    let stop = CancellationToken::new();
    let (chunks, mut output) = mpsc::channel(8);
    let observer = Observer::none().output(chunks);
    let unlimited = Limits {
        timeout: None,
        grace: millis(300),
        ..limits()
    };
    let ignores_term = invocation(fixture("ignores-term"), &[]);
    let run = runner.run(ignores_term, unlimited.clone(), stop.clone(), observer);
    let ask = async {
        assert_eq!(output.recv().await.expect("output").bytes, "running\n");
        stop.cancel();
    };
    let (report, ()) = tokio::join!(run, ask);
    assert_eq!(report.outcome, Outcome::Stopped { killed: true });
    assert_eq!(stdout(&report), "running\n");

    let report = runner
        .run(invocation("/bin/true", &[]), unlimited, stop, Observer::none())
        .await;
    assert_eq!(report.outcome, Outcome::Stopped { killed: false });
    assert_eq!(report.started, None, "after the stop nothing is started");
}

#[tokio::test]
async fn a_run_that_is_dropped_takes_its_group_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = folder.path().join("child");
    let runner = Runner::start().expect("a runner");
    let family = invocation(fixture("family-ignores-term"), &[child.to_str().expect("a path")]);
    let (chunks, mut output) = mpsc::channel(8);
    let run = runner.run(
        family,
        limits(),
        CancellationToken::new(),
        Observer::none().output(chunks),
    );
    tokio::select! {
        report = run => panic!("it was not to end: {report:?}"),
        chunk = output.recv() => assert_eq!(chunk.expect("output").bytes, "running\n"),
    }
    let child = pid_in(&child);
    eventually("the group ends", || !is_alive(child)).await;
}

#[tokio::test]
async fn the_observer_hears_of_the_start_at_once_and_of_output_as_it_comes() {
    let (tell, started) = oneshot::channel::<Started>();
    let (chunks, mut output) = mpsc::channel(64);
    let observer = Observer::none()
        .on_start(move |started| drop(tell.send(started.clone())))
        .output(chunks);
    // It goes on only when it has been heard.
    let folder = tempfile::tempdir().expect("a folder");
    let go = folder.path().join("go");
    let script = r#"echo one; while [ ! -e "$1" ]; do sleep 0.05; done; echo two >&2"#;
    let waits = invocation("/bin/sh", &["-c", script, "sh", go.to_str().expect("a path")]);
    let listen = async {
        let started = started.await.expect("word of the start");
        assert!(is_alive(i32::try_from(started.pid).expect("a pid")));
        let first = output.recv().await.expect("output");
        assert_eq!((first.stream, &first.bytes[..]), (Stream::Stdout, &b"one\n"[..]));
        fs::write(&go, "").expect("the sign to go on");
        let second = output.recv().await.expect("output");
        assert_eq!(
            (second.stream, &second.bytes[..]),
            (Stream::Stderr, &b"two\n"[..])
        );
        started
    };
    let (report, started) = tokio::join!(run_with(waits, limits(), observer), listen);
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert_eq!(report.started, Some(started));
    assert_eq!(report.chunks_dropped, 0);
}

#[tokio::test]
async fn the_observer_hears_of_a_process_that_runs_long_and_not_of_one_that_has_ended() {
    let (tell, told) = oneshot::channel::<u64>();
    let (tell_pid, pid) = oneshot::channel::<u32>();
    let observer = Observer::none()
        .on_start(move |started| tell_pid.send(started.pid).expect("somebody listens"))
        .still_running(millis(50), move |ticks| {
            tell.send(ticks).expect("somebody listens")
        });
    let folder = tempfile::tempdir().expect("a folder");
    let go = folder.path().join("go");
    let script = r#"while [ ! -e "$1" ]; do sleep 0.05; done"#;
    let waits = invocation("/bin/sh", &["-c", script, "sh", go.to_str().expect("a path")]);
    let listen = async {
        let ticks = told.await.expect("word of the process");
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.await.expect("a pid"))).expect("its stat");
        let (_, fields) = stat.rsplit_once(')').expect("the command's name");
        // Field 22; the first behind the name is the third.
        let expected = fields.split_ascii_whitespace().nth(19).map(str::to_owned);
        assert_eq!(expected, Some(ticks.to_string()));
        fs::write(&go, "").expect("the sign to go on");
    };
    let (report, ()) = tokio::join!(run_with(waits, limits(), observer), listen);
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });

    let (tell, told) = oneshot::channel::<u64>();
    let observer =
        Observer::none().still_running(LONG, move |ticks| tell.send(ticks).expect("somebody listens"));
    let report = run_with(invocation("/bin/true", &[]), limits(), observer).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    told.await.expect_err("nobody was told");
}

#[tokio::test]
async fn a_listener_that_never_listens_does_not_slow_the_script() {
    let (chunks, output) = mpsc::channel(1);
    let report = run_with(
        invocation(fixture("spams-output"), &["50000"]),
        limits(),
        Observer::none().output(chunks),
    )
    .await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 });
    assert_eq!(report.stdout.total, 14 * 50_000);
    assert!(report.chunks_dropped > 0);
    drop(output);
}

#[tokio::test]
async fn secrets_reach_the_script_and_never_the_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let (chunks, mut output) = mpsc::channel(64);
    for value in ["correct-horse-battery", "another-one-after-rotation"] {
        fs::write(&file, format!("{value}\n")).expect("the secret");
        let mut script = invocation(fixture("prints-secret-in-pieces"), &[]);
        script.secrets = vec![Secret {
            name: "TOKEN".to_owned(),
            file: file.clone(),
        }];
        let report = run_with(script, limits(), Observer::none().output(chunks.clone())).await;
        assert_eq!(stdout(&report), "token=[secret TOKEN].\n");
        assert_eq!(text(&report.stderr.head), "again [secret TOKEN]\n");
    }
    drop(chunks);
    let mut live = Vec::new();
    while let Some(chunk) = output.recv().await {
        live.extend_from_slice(&chunk.bytes);
    }
    assert!(
        !text(&live).contains("horse") && !text(&live).contains("rotation"),
        "{}",
        text(&live)
    );
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_with_its_file() {
    let mut script = invocation("/bin/true", &[]);
    script.secrets = vec![Secret {
        name: "TOKEN".to_owned(),
        file: "/nonexistent/token".into(),
    }];
    let report = run(script, limits()).await;
    let (kind, message) = start_failure(&report);
    assert_eq!(kind, StartFailureKind::NotFound);
    assert!(
        message.contains("/nonexistent/token") && message.contains("TOKEN"),
        "{message}"
    );
}

#[tokio::test]
async fn a_program_that_others_may_write_is_refused_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = executable(folder.path(), "script", b"#!/bin/sh\nexit 0\n");
    let strict = || Invocation {
        refuses_open_programs: true,
        ..invocation(&script, &[])
    };
    let rights = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("rights");
    };
    rights(folder.path(), 0o755);
    for (of_folder, of_script, open) in [
        (0o755, 0o775, Some("`chmod go-w")),
        (0o777, 0o755, Some("others may write the folder")),
        (0o1777, 0o755, None),
        (0o755, 0o755, None),
    ] {
        rights(folder.path(), of_folder);
        rights(&script, of_script);
        let report = run(strict(), limits()).await;
        match open {
            Some(part) => {
                let (kind, message) = start_failure(&report);
                assert_eq!(kind, StartFailureKind::NotPermitted);
                assert!(message.contains(part), "{message}");
                let lax = run(invocation(&script, &[]), limits()).await;
                assert_eq!(lax.outcome, Outcome::Exited { code: 0 });
            }
            None => assert_eq!(report.outcome, Outcome::Exited { code: 0 }),
        }
    }
}

#[tokio::test]
async fn a_start_that_fails_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let not_executable = folder.join("not-executable");
    fs::write(&not_executable, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(&not_executable, fs::Permissions::from_mode(0o644)).expect("rights");
    let windows = executable(folder, "windows", b"#!/bin/sh\r\necho hello\r\n");
    let foreign = executable(folder, "foreign", b"\x7fELF\0\0\0\0 for another machine");
    let dangling = folder.join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).expect("a link");
    let elsewhere = |directory: &str| Invocation {
        directory: Some(directory.into()),
        ..invocation("/bin/true", &[])
    };
    let not_found = StartFailureKind::NotFound;
    let not_permitted = StartFailureKind::NotPermitted;
    for (invocation, kind, part) in [
        (
            invocation("/nonexistent/script", &[]),
            not_found,
            "/nonexistent/script does not exist",
        ),
        (
            invocation("no-such-program", &[]),
            not_found,
            "none of the folders of PATH",
        ),
        (invocation("", &[]), not_found, "none of the folders of PATH"),
        (
            invocation(fixture("missing-interpreter"), &[]),
            not_found,
            "/nonexistent/interpreter",
        ),
        (invocation(&windows, &[]), not_found, "Windows line ends"),
        (invocation(&dangling, &[]), not_found, "symbolic link"),
        (
            elsewhere("/nonexistent"),
            not_found,
            "working directory /nonexistent",
        ),
        (invocation(&not_executable, &[]), not_permitted, "chmod +x"),
        (invocation(folder, &[]), not_permitted, "is a directory"),
        (
            invocation(&foreign, &[]),
            StartFailureKind::Other,
            "no program for this machine",
        ),
        (
            invocation("/bin/true", &["a\0b"]),
            StartFailureKind::BadArgument,
            "argument 1",
        ),
    ] {
        let report = run(invocation, limits()).await;
        let (found, message) = start_failure(&report);
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(part), "{part:?} in {message:?}");
        assert_eq!(report.started, None);
    }
}

#[tokio::test]
async fn the_longest_argument_the_kernel_takes_is_taken_and_a_longer_one_is_explained() {
    let count = |length: usize| invocation("/bin/sh", &["-c", "printf %s ${#1}", "sh", &"x".repeat(length)]);
    assert_eq!(stdout(&run(count(131_071), limits()).await), "131071");
    let report = run(count(131_072), limits()).await;
    let (kind, message) = start_failure(&report);
    assert_eq!(kind, StartFailureKind::ArgumentTooLong);
    assert!(
        message.contains("argument 4 is 131072 bytes") && message.contains("stdin: payload"),
        "{message}"
    );

    let long = "x".repeat(131_000);
    let many = vec![long.as_str(); 80];
    let report = run(invocation("/bin/true", &many), limits()).await;
    let (kind, message) = start_failure(&report);
    assert_eq!(kind, StartFailureKind::ArgumentTooLong);
    assert!(
        message.contains("together") && message.contains("argument 80, 131000 bytes"),
        "{message}"
    );
}

#[tokio::test]
async fn a_script_without_a_shebang_line_is_run_by_sh() {
    let report = run(invocation(fixture("no-shebang"), &["a b"]), limits()).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{report:?}");
    assert_eq!(
        stdout(&report),
        format!("run by sh: {} a b\n", fixture("no-shebang").display())
    );
}

#[tokio::test]
async fn relative_programs_are_taken_from_the_working_directory_and_names_from_path() {
    let folder = tempfile::tempdir().expect("a folder");
    executable(folder.path(), "script", b"#!/bin/sh\necho found\n");
    let relative = Invocation {
        directory: Some(folder.path().to_owned()),
        ..invocation("./script", &[])
    };
    assert_eq!(stdout(&run(relative, limits()).await), "found\n");

    let mut named = invocation("script", &[]);
    named.environment = vec![(
        "PATH".into(),
        format!("/nonexistent:{}", folder.path().display()).into(),
    )];
    assert_eq!(stdout(&run(named, limits()).await), "found\n");
}

#[tokio::test]
async fn the_files_that_were_run_are_named_with_their_hashes() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = executable(folder.path(), "script.sh", b"exit 0\n");
    let report = run(
        invocation("/bin/sh", &[script.to_str().expect("a path")]),
        limits(),
    )
    .await;
    let files = report.started.expect("it was started").files;
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(files[0].path, Path::new("/bin/sh"));
    assert_eq!(files[1].path, script);
    assert_eq!(files[1].size, 7);
    assert_eq!(files[1].sha256, <[u8; 32]>::from(Sha256::digest(b"exit 0\n")));
}

#[tokio::test]
async fn many_runs_go_side_by_side() {
    let runner = Runner::start().expect("a runner");
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..40 {
        let runner = runner.clone();
        runs.spawn(async move {
            let script = Invocation {
                umask: Some([0o027, 0o022][number % 2]),
                ..invocation("/bin/sh", &["-c", "umask; exit $1", "sh", &number.to_string()])
            };
            let report = runner
                .run(script, limits(), CancellationToken::new(), Observer::none())
                .await;
            (number, report)
        });
    }
    while let Some(ended) = runs.join_next().await {
        let (number, report) = ended.expect("a run");
        assert_eq!(
            report.outcome,
            Outcome::Exited {
                code: i32::try_from(number).expect("a code")
            }
        );
        assert_eq!(stdout(&report), ["0027\n", "0022\n"][number % 2]);
    }
}
