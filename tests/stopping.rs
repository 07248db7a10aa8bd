//! The daemon is told to stop, or is ended, in any order and at any time: what was accepted is executed, once it is back.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;

use daemon::{House, until};
use hem::control::client::Client;
use service::{Service, configure, hem};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_to_cancel_that_was_answered_outlives_the_daemon() {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\ntrap '' TERM\necho \"$HEM_ATTEMPT\" >>{}\nwhile :; do sleep 0.05; done\n",
        house.path("ran").display()
    );
    house.script("stubborn.sh", &script).hook(
        "stubborn",
        "name: stubborn\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: stubborn.sh\ngrace: 1h\n\
         retry: { attempts: 5, backoff: 1ms..2ms }\n",
    );
    configure(&house, "");
    let mut daemon = Service::start(&house);
    daemon.until("it answers", |_| true).await;
    let event = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/events/vm-running.xml");
    let emitted = hem(&house, &["emit", event]).await;
    assert_eq!(emitted.stdout, "1.stubborn\n", "{}", emitted.stderr);
    until("the script runs", || !house.lines("ran").is_empty()).await;
    let cancelled = hem(&house, &["cancel", "1.stubborn"]).await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    // The script has an hour to end, and does not think of it.
    daemon.kill();

    let mut daemon = Service::start(&house);
    daemon
        .until("it is settled", |status| service::unsettled(status) == 0)
        .await;
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    let story = client.story("1", false).await.expect("its story");
    assert_eq!(
        story.executions[0].execution.state.name(),
        "cancelled",
        "{story:?}"
    );
    assert_eq!(house.lines("ran"), ["1"]);
    daemon.stop().await;
}
