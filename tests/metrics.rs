//! What `hem metrics` and `GET /metrics` say, read by the parsers of Prometheus' own client, against `hem status`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use daemon::{House, publish, publisher, until, until_found};
use serde_json::Value;
use service::hem;

/// Metrics as a parser understood them: each sample by its name and its labels.
struct Parsed {
    families: Vec<Value>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Parsed {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let sample = self.samples.get(&(name.to_owned(), labels));
        *sample.unwrap_or_else(|| panic!("no {name}; there are {:#?}", self.samples.keys()))
    }
}

fn parsed(format: &str, text: &str) -> Parsed {
    let python = std::env::var("HEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut child = Command::new(&python)
        .arg(format!("{}/tests/peers/metrics.py", env!("CARGO_MANIFEST_DIR")))
        .arg(format)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{python}` for the tests: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // Where it cannot even start, what it says below is worth more than a broken pipe.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the metrics cannot be parsed; `make test-deps` installs prometheus_client where that is missing: {said}\n{text}"
    );
    let families: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let samples = families
        .iter()
        .flat_map(|family| family["samples"].as_array().expect("samples").clone())
        .map(|sample| {
            let name = sample[0].as_str().expect("a name").to_owned();
            let labels = serde_json::from_value(sample[1].clone()).expect("labels");
            ((name, labels), sample[2].as_f64().unwrap_or(f64::NAN))
        })
        .collect();
    Parsed { families, samples }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// A house in which one VM's script does not end, so that the next execution for that VM is blocked behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_what_the_status_says_and_a_blocked_lane_shows() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.config.blocked_after = Duration::from_millis(1);
    house
        .script(
            "hang.sh",
            &format!(
                "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.05; done\n",
                house.path("go").display()
            ),
        )
        .hook(
            "slow",
            "name: slow\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: hang.sh\n---\n\
             name: doubtful\ntrigger: { api: { call: any } }\nwhen: int(event.CALL_INFO.RESULT) / 0 == 1\ncommand: hang.sh\n",
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let events = recorded::events();
    let running = events
        .iter()
        .find(|event| event.key.contains("VM/ACTIVE/RUNNING/"))
        .expect("a recorded event");
    let twin = events
        .iter()
        .find(|event| event.key.starts_with("EVENT VM "))
        .expect("a recorded twin");
    let call = events
        .iter()
        .find(|event| event.key.starts_with("EVENT API one.vm."))
        .expect("a recorded call");
    for event in [running, running, twin, call] {
        publish(&publisher, event).await;
    }
    let handle = daemon.handle().clone();
    until("everything is received", || {
        let summary = handle.store().summary();
        summary
            .events
            .get("opennebula")
            .is_some_and(|sums| sums.received == 4)
            && summary.executions.get("running") == Some(&1)
    })
    .await;
    // Until a look around has passed, the lane may have been blocked for less than a millisecond.
    until_found("the lane is blocked", async || {
        let status = handle.status().await.expect("a status");
        if status.blocked.is_empty() {
            Err(status)
        } else {
            Ok(())
        }
    })
    .await;

    let status = hem(&house, &["status", "--json"]).await;
    assert_eq!(status.code, 0, "{}", status.stderr);
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    let older = hem(&house, &["metrics"]).await;
    assert_eq!(older.code, 0, "{}", older.stderr);
    let newer = hem(&house, &["metrics", "--openmetrics"]).await;
    assert_eq!(newer.code, 0, "{}", newer.stderr);
    let (older, newer) = (older.stdout, newer.stdout);
    assert!(newer.ends_with("# EOF\n") && !older.contains("# EOF"), "{newer}");

    for metrics in [parsed("prometheus", &older), parsed("openmetrics", &newer)] {
        for family in &metrics.families {
            assert!(
                family["name"].as_str().expect("a name").starts_with("hem_"),
                "{family}"
            );
            assert!(!family["help"].as_str().expect("a help").is_empty(), "{family}");
            assert_ne!(family["type"], "unknown", "{family}");
            assert_ne!(family["type"], "untyped", "{family}");
        }
        assert_eq!(metrics.value("hem_blocked_lanes", &[]), 1.0);
        assert_eq!(
            number(&Value::from(status["blocked"].as_array().expect("a list").len())),
            1.0
        );
        assert!(metrics.value("hem_queue_age_seconds", &[]) > 0.0);

        let sums = &status["events"]["opennebula"];
        for outcome in [
            "matched",
            "unmatched",
            "undecodable",
            "duplicate",
            "refused",
            "lost",
        ] {
            let labels = [("source", "opennebula"), ("outcome", outcome)];
            assert_eq!(
                metrics.value("hem_events_total", &labels),
                number(&sums[outcome]),
                "{outcome}"
            );
        }
        let source = [("source", "opennebula")];
        assert_eq!(metrics.value("hem_events_received_total", &source), 4.0);
        assert_eq!(
            metrics.value("hem_events_received_total", &source),
            number(&sums["received"])
        );
        assert_eq!(metrics.value("hem_gaps_total", &source), number(&sums["gaps"]));
        assert_eq!(
            metrics.value(
                "hem_source_up",
                &[("source", "opennebula"), ("type", "opennebula")]
            ),
            1.0
        );
        assert_eq!(metrics.value("hem_source_connects_total", &source), 1.0);
        for (state, count) in status["executions"].as_object().expect("states") {
            assert_eq!(
                metrics.value("hem_executions", &[("state", state)]),
                number(count),
                "{state}"
            );
        }
        assert_eq!(metrics.value("hem_executions", &[("state", "running")]), 1.0);
        assert_eq!(
            metrics.value("hem_scripts_running", &[]),
            number(&status["running"])
        );
        assert_eq!(
            metrics.value("hem_concurrency", &[]),
            number(&status["concurrency"])
        );
        assert_eq!(metrics.value("hem_queued_executions", &[("hook", "slow")]), 1.0);
        assert_eq!(metrics.value("hem_held_executions", &[]), 0.0);
        assert_eq!(metrics.value("hem_mutes", &[("by", "loop_guard")]), 0.0);
        assert_eq!(metrics.value("hem_hooks", &[]), 2.0);
        assert_eq!(metrics.value("hem_condition_errors_total", &[]), 1.0);
        assert_eq!(metrics.value("hem_stale_hook_files", &[]), 0.0);
        assert_eq!(metrics.value("hem_accepting", &[]), 1.0);
        assert_eq!(
            metrics.value("hem_store_kept_bytes", &[]),
            number(&status["kept"]["bytes"])
        );
        assert!(metrics.value("hem_store_kept_bytes", &[]) > 0.0);

        // Three of the four were accepted; the last bucket holds all of them, and none goes down.
        let accepted = number(&sums["accepted"]);
        assert_eq!(metrics.value("hem_acceptance_seconds_count", &[]), accepted);
        assert_eq!(
            metrics.value("hem_acceptance_seconds_bucket", &[("le", "+Inf")]),
            accepted
        );
        let mut counted = 0.0;
        for bucket in status["acceptance"].as_array().expect("buckets") {
            counted += number(&bucket["events"]);
            let bound = match bucket["up_to_ms"].as_u64().expect("a bound") {
                u64::MAX => "+Inf".to_owned(),
                millis => format!("{:?}", Duration::from_millis(millis).as_secs_f64()),
            };
            assert_eq!(
                metrics.value("hem_acceptance_seconds_bucket", &[("le", &bound)]),
                counted,
                "{bound}"
            );
        }
        assert_eq!(
            metrics.value("hem_acceptance_seconds_sum", &[]),
            number(&status["acceptance_total_ms"]) / 1000.0
        );
    }
    std::fs::write(house.path("go"), "").expect("a file");
    drop(handle);
    daemon.stop().await;
}
