//! Kills a daemon under load, again and again, and holds it to what it accepted.
//!
//! ```text
//! cargo run --release --all-features --example torture -- --rounds 300 --seed 1
//! ```
//!
//! Needs Python 3 with pyzmq, for a publisher that is real libzmq.

#![allow(clippy::print_stdout, reason = "it is a report for the one who runs it")]

#[path = "../tests/torture/mod.rs"]
mod harness;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use harness::{Figures, Program, campaign};

/// The first argument with which this program is `hem` itself: the daemon under torture is the library at hand.
const AS_HEM: &str = "as-hem";

/// Rounds on one state folder, before the next one is begun.
const ROUNDS_A_CAMPAIGN: u32 = 20;

/// Kill a daemon under load, again and again, and hold it to what it accepted
#[derive(Debug, Parser)]
struct Arguments {
    /// How often the daemon is killed
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// Where the moments of the kills come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next();
    if std::env::args_os().nth(1).is_some_and(|word| word == AS_HEM) {
        return hem::cli::main(program.into_iter().chain(words.skip(1)));
    }
    let arguments = Arguments::parse();
    let program = Program {
        path: match std::env::current_exe() {
            Ok(path) => path,
            Err(error) => {
                println!("this program does not find itself: {error}");
                return ExitCode::FAILURE;
            }
        },
        arguments: vec![OsString::from(AS_HEM)],
    };
    let began = Instant::now();
    let mut figures = Figures::default();
    let mut seeds = fastrand::Rng::with_seed(arguments.seed);
    let mut left = arguments.rounds;
    while left > 0 {
        let rounds = left.min(ROUNDS_A_CAMPAIGN);
        left -= rounds;
        figures.add(campaign(&program, rounds, seeds.u64(..)));
        println!(
            "{:>4} of {} rounds, {} s, {} faults",
            arguments.rounds - left,
            arguments.rounds,
            began.elapsed().as_secs(),
            figures.faults.len()
        );
    }
    println!("\n{figures}");
    for fault in &figures.faults {
        println!("{fault}");
    }
    if figures.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
