//! Cuts the power of a writing process, in simulation, and looks for everything it had acknowledged.
//!
//! ```text
//! cargo run --release --example power_cut -- --recordings 10 --cuts 300 --images 300 --seed 1
//! ```
//!
//! Needs a C compiler, `cc`, and glibc; for images of a real file system root, loop devices and `mkfs.ext4`.

#![allow(clippy::print_stdout, reason = "it is a report for the one who runs it")]

#[path = "../tests/power_cut/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use harness::image::cut_on_images;
use harness::{Figures, Load, WriterProgram, cut_power, write};

const FOLDER: &str = "HEM_POWER_CUT_FOLDER";
const LOAD: &str = "HEM_POWER_CUT_LOAD";

/// Cut the power of a writing process, in simulation, and look for everything it had acknowledged
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each load is written and recorded
    #[arg(long, default_value_t = 10)]
    recordings: u32,
    /// Moments at which power is cut, for each recording; for each of them four disks are made
    #[arg(long, default_value_t = 300)]
    cuts: usize,
    /// Copies of a real file system, taken for each load while its writer is stopped in the middle of its work; 0 for none
    #[arg(long, default_value_t = 0)]
    images: u64,
    /// Only this load: small, large or pruned
    #[arg(long)]
    load: Option<String>,
    /// Where the moments and what survives come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    if let (Some(folder), Ok(load)) = (std::env::var_os(FOLDER), std::env::var(LOAD)) {
        write(folder.as_ref(), Load::named(&load));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let path = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => {
            println!("this program does not find itself: {error}");
            return ExitCode::FAILURE;
        }
    };
    let program = WriterProgram {
        path,
        arguments: Vec::new(),
        folder_variable: FOLDER,
        load_variable: LOAD,
    };
    let began = Instant::now();
    let mut seeds = fastrand::Rng::with_seed(arguments.seed);
    let mut is_clean = true;
    let wanted = arguments.load.as_deref().map(Load::named);
    for load in Load::ALL
        .into_iter()
        .filter(|load| wanted.is_none_or(|wanted| wanted == *load))
    {
        let mut figures = Figures::default();
        for _ in 0..arguments.recordings {
            figures.add(cut_power(&program, load, arguments.cuts, seeds.u64(..)));
        }
        is_clean &= figures.is_clean();
        if arguments.recordings > 0 {
            println!(
                "{}, after {} s: {figures}",
                load.name(),
                began.elapsed().as_secs()
            );
        }
        if arguments.images > 0 {
            let figures = cut_on_images(&program, load, arguments.images, seeds.u64(..));
            is_clean &= figures.is_clean();
            println!(
                "{} on images of ext4, after {} s: {figures}",
                load.name(),
                began.elapsed().as_secs()
            );
        }
    }
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
