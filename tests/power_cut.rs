//! A power cut takes nothing that was acknowledged. `examples/power_cut.rs` does the same for longer.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says where, and with which seed"
)]

#[path = "power_cut/mod.rs"]
mod harness;

use harness::{Load, WriterProgram, cut_power, write};

const FOLDER: &str = "HEM_POWER_CUT_FOLDER";
const LOAD: &str = "HEM_POWER_CUT_LOAD";

/// The writer of the tests below runs this test, in a process of its own; by itself it writes a small load.
#[test]
fn a_store_takes_the_load() {
    let given = std::env::var_os(FOLDER);
    let load = std::env::var(LOAD).map_or(Load::Small, |name| Load::named(&name));
    let own = tempfile::tempdir().expect("a folder");
    let folder = given.as_ref().map_or(own.path(), |folder| folder.as_ref());
    write(folder, load);
    let said = std::fs::read_to_string(folder.join("acknowledged")).expect("acknowledgements");
    assert!(said.starts_with("event 1\n"), "{said}");
}

fn cut(load: Load, cuts: usize) {
    let program = WriterProgram {
        path: std::env::current_exe().expect("this program"),
        arguments: ["a_store_takes_the_load", "--exact", "--test-threads=1"]
            .map(Into::into)
            .into(),
        folder_variable: FOLDER,
        load_variable: LOAD,
    };
    let seed = std::env::var("HEM_POWER_CUT_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("HEM_POWER_CUT_SEED is a number"),
    );
    println!("HEM_POWER_CUT_SEED={seed}");
    let figures = cut_power(&program, load, cuts, seed);
    println!("{}: {figures}", load.name());
    assert!(figures.is_clean(), "{figures}");
}

#[test]
fn a_power_cut_takes_no_small_record() {
    cut(Load::Small, 80);
}

#[test]
fn a_power_cut_takes_no_record_of_ten_megabytes() {
    cut(Load::Large, 6);
}

#[test]
fn a_power_cut_takes_no_record_while_old_ones_are_pruned() {
    cut(Load::Pruned, 40);
}
