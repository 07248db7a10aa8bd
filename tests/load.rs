//! Under load everything still adds up and stays within bounds. `examples/load.rs` does the same for longer, and measures.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says where; figures are for whoever looks"
)]

#[path = "load/mod.rs"]
mod harness;

use harness::{Program, disk_use, flood, keeping, write};

#[test]
fn of_a_flood_everything_is_accepted_or_said_to_be_lost_and_the_status_answers_meanwhile() {
    let program = Program {
        path: env!("CARGO_BIN_EXE_hem").into(),
        arguments: Vec::new(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let flood = flood(&program, folder.path(), 5_000);
    let sums = &flood.status.events["opennebula"];
    println!(
        "{} published in {:?}, {} received, {} matched, {} lost; {} MiB; {} times the status, at worst in {:?}",
        flood.published,
        flood.took,
        sums.received,
        sums.matched,
        sums.lost,
        flood.peak_memory >> 20,
        flood.answers.len(),
        flood.answers.last()
    );
    assert_eq!(flood.faults(), Vec::<String>::new());
    assert!(!flood.answers.is_empty(), "the status was asked for");
}

#[test]
fn the_disk_that_a_steady_load_takes_does_not_grow() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut used = Vec::new();
    write(folder.path(), keeping(500), 30_000, 1_000, |_| {
        used.push(disk_use(folder.path()))
    });
    println!("{used:?}");
    // Once the log has its size, parts of it are used again.
    let early = used[10..16].iter().max().expect("some");
    let late = used[24..].iter().max().expect("some");
    assert!(*late <= early + (8 << 20), "{used:?}");
}
