//! One file a command; thin: parse, ask, print.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with these arguments (the program's name first).
pub fn main(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::SUCCESS
}
