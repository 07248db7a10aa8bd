//! `hem check`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint, count};
use super::{Global, Outcome};
use crate::config::Config;
use crate::hooks::check::{CheckOptions, Checked};
use crate::hooks::{Defaults, trial};

/// Check hook files and run their own tests
///
/// Each fault is shown with its line and a hint. Exit code 4 says that a file is refused or a test failed, so that a
/// pipeline can stop a broken hook before it is live.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem check
  hem check hooks.d/dns.yaml
  hem check ./hooks.d --scripts-dir ./scripts")]
pub(super) struct Arguments {
    /// A hook file or a folder of them [default: hooks_dir of the configuration]
    path: Option<PathBuf>,
    /// Where relative commands are looked for, instead of scripts_dir
    #[arg(long, value_name = "FOLDER")]
    scripts_dir: Option<PathBuf>,
    /// Warnings count as errors
    #[arg(long)]
    strict: bool,
}

/// How hooks are checked under this configuration.
pub(super) fn options(config: &Config) -> CheckOptions {
    CheckOptions {
        defaults: Defaults {
            scripts_dir: config.scripts_dir.clone(),
            onehem_scripts_dir: config.onehem_scripts_dir.clone(),
            remote_scripts_dir: config.remote_scripts_dir.clone(),
            catch_up: config.oned.as_ref().is_some_and(|oned| oned.catch_up),
        },
        permissions: config.permissions,
    }
}

/// The configuration, with `--scripts-dir` where it is given.
pub(super) fn config(global: &Global, scripts_dir: Option<&Path>) -> Result<Config, Failure> {
    let mut config = global.config()?;
    if let Some(folder) = scripts_dir {
        config.scripts_dir = std::path::absolute(folder).map_err(|error| {
            Failure::new(Exit::Usage, format!("cannot use `{}`: {error}", folder.display()))
        })?;
    }
    Ok(config)
}

/// Reads and checks a hook file or a folder.
pub(super) fn read(path: &Path, config: &Config) -> Result<Checked, Failure> {
    crate::hooks::check::check(path, &options(config)).map_err(|error| {
        Failure::new(
            Exit::Invalid,
            format!("cannot read the hooks in `{}`: {error}", path.display()),
        )
    })
}

/// A fault for programs.
#[derive(Debug, Serialize)]
struct FaultView {
    file: String,
    line: usize,
    column: usize,
    severity: &'static str,
    message: String,
    hint: Option<String>,
}

/// A test for programs.
#[derive(Debug, Serialize)]
struct TestView {
    hook: String,
    event: String,
    line: usize,
    failures: Vec<String>,
}

/// What was found, for programs.
#[derive(Debug, Serialize)]
struct CheckView {
    files: usize,
    hooks: Vec<String>,
    faults: Vec<FaultView>,
    tests: Vec<TestView>,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let config = config(global, arguments.scripts_dir.as_deref())?;
    let path = arguments.path.unwrap_or_else(|| config.hooks_dir.clone());
    let checked = read(&path, &config)?;
    let here = std::env::current_dir().into_iter().collect::<Vec<_>>();
    let tests: Vec<TestView> = checked
        .hooks
        .iter()
        .flat_map(|hook| {
            trial::run_tests(hook, &here, config.onehem_shell)
                .into_iter()
                .map(|test| TestView {
                    hook: hook.name.to_string(),
                    event: test.event.display().to_string(),
                    line: test.line,
                    failures: test.failures,
                })
        })
        .collect();
    let failed = tests.iter().any(|test| !test.failures.is_empty());
    let refused = checked.has_errors() || (arguments.strict && !checked.faults.is_empty());
    if global.json {
        output::print_json(&view(&checked, tests))?;
    } else {
        output::print(&render(&checked, &tests, &global.style()))?;
    }
    Ok(if failed || refused {
        Exit::Invalid
    } else {
        Exit::Ok
    })
}

fn view(checked: &Checked, tests: Vec<TestView>) -> CheckView {
    CheckView {
        files: checked.files,
        hooks: checked.hooks.iter().map(|hook| hook.name.to_string()).collect(),
        faults: checked
            .faults
            .iter()
            .map(|fault| FaultView {
                file: fault.file.display().to_string(),
                line: fault.line,
                column: fault.column,
                severity: fault.severity.as_str(),
                message: fault.message.clone(),
                hint: fault.hint.clone(),
            })
            .collect(),
        tests,
    }
}

fn render(checked: &Checked, tests: &[TestView], style: &Style) -> String {
    let mut text = String::new();
    for fault in &checked.faults {
        text.push_str(&output::safe(fault.to_string().trim_end()));
        text.push_str("\n\n");
    }
    for test in tests.iter().filter(|test| !test.failures.is_empty()) {
        let heading = style.paint(Tint::Bad, &format!("test of `{}` failed", test.hook));
        text.push_str(&format!("{heading}: {} (line {})\n", test.event, test.line));
        for failure in &test.failures {
            text.push_str(&format!("  {}\n", output::safe(failure)));
        }
        text.push('\n');
    }
    let errors = checked.faults.iter().filter(|fault| fault.is_error()).count();
    let failed = tests.iter().filter(|test| !test.failures.is_empty()).count();
    let number = |number: usize, word: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{} {word}{plural}", count(number as u64))
    };
    let tint = if errors + failed > 0 {
        Tint::Bad
    } else {
        Tint::Good
    };
    let sums = format!(
        "{}, {}, {}, {}; {}, {failed} failed",
        number(checked.files, "file"),
        number(checked.hooks.len(), "good hook"),
        number(errors, "error"),
        number(checked.faults.len() - errors, "warning"),
        number(tests.len(), "test"),
    );
    text.push_str(&style.paint(tint, &sums));
    text.push('\n');
    text
}
