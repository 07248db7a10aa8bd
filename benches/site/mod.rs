//! What the benchmarks share: where they run, the events they publish, how figures are taken and printed.

#![allow(dead_code, reason = "each benchmark uses its own part")]

pub(crate) mod processor;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hem::config::Config;
use hem::daemon::{Daemon, Options};
use hem::sources::opennebula::publisher::Publisher;

use crate::daemon::House;

/// No single measurement takes this long.
const LIMIT: Duration = Duration::from_secs(300);

/// A house on the disk that the build folder is on: a temporary folder may be memory.
pub(crate) fn house() -> House {
    House::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// A daemon that does not wait for running scripts when it is stopped.
pub(crate) async fn daemon(house: &House) -> Daemon {
    let config = Config {
        shutdown_grace: Duration::ZERO,
        ..house.config.clone()
    };
    Daemon::start(&config, Options::default())
        .await
        .expect("a daemon")
}

/// What the figures depend on, in a line: cores, processor, file system of a folder.
pub(crate) fn describe(folder: &Path) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    println!("{cores} cores ({model}), store on {}", file_system(folder));
}

/// The type and device of the file system that holds `folder`.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (device, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
            folder
                .starts_with(at)
                .then(|| (at.len(), format!("{kind} ({device})")))
        })
        .max()
        .map_or_else(|| "an unknown file system".to_owned(), |(_, what)| what)
}

/// One message as the hook manager would send it.
pub(crate) struct Message {
    pub(crate) key: String,
    pub(crate) content: Vec<u8>,
}

/// A virtual machine that came to run, in a document of 2,000 bytes; another machine for every number.
pub(crate) fn running(number: usize) -> Message {
    let mut document = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
         <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{number}</RESOURCE_ID><REMOTE_HOST>node{}</REMOTE_HOST>\
         <VM><ID>{number}</ID><NAME>web-{number}</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><PREV_STATE>3</PREV_STATE>\
         <PREV_LCM_STATE>2</PREV_LCM_STATE><TEMPLATE><CPU><![CDATA[0.5]]></CPU><MEMORY><![CDATA[4096]]></MEMORY></TEMPLATE>\
         <USER_TEMPLATE>",
        number % 50
    );
    let end = "</USER_TEMPLATE></VM></HOOK_MESSAGE>";
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut attribute = 0;
    while document.len() + end.len() < SIZE - 60 {
        // Half of it repeats from event to event, as names do, half of it does not, as values do.
        let value: u128 = random.u128(..);
        let _ = write!(
            document,
            "<ATTR{attribute:02}><![CDATA[{value:020.20x}]]></ATTR{attribute:02}>"
        );
        attribute += 1;
    }
    let padding = SIZE.saturating_sub(document.len() + end.len() + "<PAD></PAD>".len());
    let _ = write!(document, "<PAD>{}</PAD>{end}", "x".repeat(padding));
    Message {
        key: format!("EVENT STATE VM/ACTIVE/RUNNING/{number} "),
        content: document.into_bytes(),
    }
}

/// Bytes of a document that `running` makes.
pub(crate) const SIZE: usize = 2_000;

/// Messages ready to be sent.
pub(crate) fn encoded(numbers: std::ops::Range<usize>) -> Vec<(String, String)> {
    numbers
        .map(running)
        .map(|message| (message.key, STANDARD.encode(message.content)))
        .collect()
}

/// Publishes messages as fast as they are taken.
pub(crate) async fn publish_all(publisher: &Publisher, messages: &[(String, String)]) {
    for (key, content) in messages {
        publisher.publish(key, content.as_bytes()).await;
    }
}

/// How many events were accepted and how many executions settled, both durable.
pub(crate) fn done(daemon: &Daemon) -> (u64, u64) {
    let summary = daemon.handle().store().summary();
    let accepted = summary.events.values().map(|counters| counters.accepted()).sum();
    let settled = ["succeeded", "failed", "skipped", "cancelled"]
        .iter()
        .filter_map(|state| summary.executions.get(*state))
        .sum();
    (accepted, settled)
}

/// Looks every millisecond until it holds.
///
/// # Panics
/// When that takes too long.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "it takes too long");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// So many in so long, as a rate.
#[allow(
    clippy::cast_precision_loss,
    reason = "a count of events fits a double's digits"
)]
pub(crate) fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The largest of the rates: the round the rest of the machine disturbed least.
pub(crate) fn best(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

/// The value below which the given share of a sorted list lies.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a short list"
    )]
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}
