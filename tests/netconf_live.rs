//! Notifications of the stream become events while hem is connected: netconfd, behind OpenSSH, sends them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod netconf;
mod recorded;
mod service;
mod sshd;

use daemon::{House, until};
use netconf::{Emit, Netconfd, Operator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_of_the_tests_sends_what_it_is_told_to_send() {
    let house = House::new();
    let mut netconfd = Netconfd::start(&house, 1000).await;
    let mut operator = Operator::connect(&netconfd).await;
    let mut other = Operator::connect(&netconfd).await;
    let reply = other.ask(
        "<create-subscription xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><stream>NETCONF</stream></create-subscription>",
    );
    assert!(reply.contains("<ok/>"), "{reply}");
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(7, 2));
    for number in 7..9 {
        let notification = other.next();
        assert!(
            notification.contains(&format!("<status_message>{number}</status_message>")),
            "{notification}"
        );
    }
    operator.deploy("t1", "dep1", "SERVICE_ACTIVE_STATE");
    netconfd.kill();
    netconfd.start_again().await;
    Operator::connect(&netconfd).await;
    until("", || true).await;
}
