//! Accepted means kept, whatever moment the daemon is killed at. `examples/torture.rs` does the same for longer.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says where, and with which seed"
)]

#[path = "torture/mod.rs"]
mod harness;

use harness::{Program, campaign};

#[test]
fn nothing_accepted_is_lost_in_twenty_lives() {
    let program = Program {
        path: env!("CARGO_BIN_EXE_hem").into(),
        arguments: Vec::new(),
    };
    let seed = std::env::var("HEM_TORTURE_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("HEM_TORTURE_SEED is a number"),
    );
    println!("HEM_TORTURE_SEED={seed}");
    let figures = campaign(&program, 20, seed);
    println!("{figures}");
    assert!(figures.faults.is_empty(), "{}", figures.faults.join("\n"));
    for name in hem::kill_point::NAMES {
        assert!(
            figures.kills.contains_key(name),
            "no life ended at `{name}`; the tests are to be run with --all-features\n{figures}"
        );
    }
}
