//! Real Ruby, for comparisons with what OpenNebula's own programs do and for hooks that are written in it.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const MISSING: &str =
    "the tests need Ruby with nokogiri: apt-get install ruby ruby-nokogiri, or run tests/install-tools";

/// Fails with what to install where Ruby or nokogiri is missing.
pub(crate) fn must_be_there() {
    let there = Command::new("ruby")
        .args(["-e", "require 'nokogiri'; require 'rexml/document'"])
        .stderr(Stdio::null())
        .status();
    assert!(there.is_ok_and(|status| status.success()), "{MISSING}");
}

/// Runs a script of this project with a text on its standard input; gives what it printed.
pub(crate) fn run(script: &str, input: &str) -> String {
    must_be_there();
    let mut child = Command::new("ruby")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Ruby");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{script} failed");
    String::from_utf8(output.stdout).expect("UTF-8")
}
