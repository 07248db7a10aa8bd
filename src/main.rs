//! The program `hem`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hem::cli::main(std::env::args_os())
}
