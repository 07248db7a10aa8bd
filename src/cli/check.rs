//! `hem check`.

mod configuration;
mod references;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use self::configuration::CheckedConfiguration;
use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint, count};
use super::{Global, Outcome};
use crate::config::Config;
use crate::hooks::check::{CheckOptions, Checked};
use crate::hooks::{Defaults, trial};

/// Check hem.yaml and hook files, and run the hooks' own tests
///
/// Without a path: the configuration that `hem run` would use, and the hooks that it names. Each fault is shown with its line and a
/// hint. Exit code 4 says that a file is refused or a test failed, so that a pipeline can stop a broken hook or a broken
/// configuration before it is live.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem check
  hem check hooks.d/dns.yaml
  hem check ./hem.yaml
  hem check ./hooks.d --scripts-dir ./scripts
  hem --config ./hem.yaml check --strict")]
pub(super) struct Arguments {
    /// hem.yaml, a hook file, a folder of hook files, or a folder with a hem.yaml, which is checked with the hooks it names
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
    with_scripts_dir(global.config()?, scripts_dir)
}

fn with_scripts_dir(mut config: Config, scripts_dir: Option<&Path>) -> Result<Config, Failure> {
    if let Some(folder) = scripts_dir {
        config.scripts_dir = std::path::absolute(folder).map_err(|error| {
            Failure::new(Exit::Usage, format!("cannot use `{}`: {error}", folder.display()))
        })?;
    }
    Ok(config)
}

/// Reads and checks a hook file or a folder.
pub(super) fn read(path: &Path, config: &Config) -> Result<Checked, Failure> {
    crate::hooks::check::check(path, &options(config)).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Invalid,
        format!("cannot read the hooks in `{}`: {error}", path.display()),
    )
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
    /// The configuration file that was checked.
    configuration: Option<String>,
    files: usize,
    hooks: Vec<String>,
    faults: Vec<FaultView>,
    tests: Vec<TestView>,
}

/// What is looked at.
struct Scope {
    /// A configuration file, faults in which count.
    configuration: Option<CheckedConfiguration>,
    /// Where the hooks are; none where the configuration alone is looked at.
    hooks: Option<PathBuf>,
}

fn scope(global: &Global, path: Option<PathBuf>) -> Result<Scope, Failure> {
    let named = match &path {
        Some(path) if path.is_dir() => configuration::in_folder(path),
        Some(path) if configuration::is_configuration(path) => {
            return Ok(Scope {
                configuration: Some(configuration::check(path)?),
                hooks: None,
            });
        }
        Some(_) => None,
        None => Config::file(global.config.as_deref()).map(Path::to_owned),
    };
    match named {
        Some(file) => {
            let configuration = configuration::check(&file)?;
            Ok(Scope {
                hooks: configuration
                    .config
                    .as_ref()
                    .map(|config| config.hooks_dir.clone()),
                configuration: Some(configuration),
            })
        }
        None => Ok(Scope {
            configuration: None,
            hooks: Some(match path {
                Some(path) => path,
                None => global.config()?.hooks_dir,
            }),
        }),
    }
}

/// The configuration that hooks are checked by, and whether a file says it.
fn in_force(global: &Global, scripts_dir: Option<&Path>, scope: &Scope) -> Result<(Config, bool), Failure> {
    let of_the_file = scope
        .configuration
        .as_ref()
        .and_then(|checked| checked.config.clone());
    match of_the_file {
        Some(config) => Ok((with_scripts_dir(config, scripts_dir)?, true)),
        None => {
            let is_said = Config::file(global.config.as_deref()).is_some();
            Ok((config(global, scripts_dir)?, is_said))
        }
    }
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let scope = scope(global, arguments.path)?;
    let mut checked = Checked {
        hooks: Vec::new(),
        faults: Vec::new(),
        files: 0,
    };
    let mut tests = Vec::new();
    if let Some(path) = &scope.hooks {
        let (config, is_said) = in_force(global, arguments.scripts_dir.as_deref(), &scope)?;
        match (
            crate::hooks::check::check(path, &options(&config)),
            &scope.configuration,
        ) {
            (Ok(of_hooks), _) => checked = of_hooks,
            (Err(error), Some(configuration)) => {
                checked.faults.push(configuration.without_hooks(&config, &error));
            }
            (Err(error), None) => return Err(unreadable(path, &error)),
        }
        if is_said {
            let references = checked
                .hooks
                .iter()
                .flat_map(|hook| references::check(hook, &config));
            checked.faults.extend(references.collect::<Vec<_>>());
        }
        tests = run_tests(&checked, &config);
    }
    let mut configuration = None;
    if let Some(of_configuration) = scope.configuration {
        checked.files += 1;
        checked.faults.splice(0..0, of_configuration.faults);
        configuration = Some(of_configuration.file.display().to_string());
    }
    let failed = tests.iter().any(|test| !test.failures.is_empty());
    let refused = checked.has_errors() || (arguments.strict && !checked.faults.is_empty());
    if global.json {
        output::print_json(&view(configuration, &checked, tests))?;
    } else {
        output::print(&render(&checked, &tests, &global.style()))?;
    }
    Ok(if failed || refused {
        Exit::Invalid
    } else {
        Exit::Ok
    })
}

fn run_tests(checked: &Checked, config: &Config) -> Vec<TestView> {
    let here = std::env::current_dir().into_iter().collect::<Vec<_>>();
    let tests = checked.hooks.iter().flat_map(|hook| {
        let tests = trial::run_tests(hook, &here, config.onehem_shell).into_iter();
        tests.map(|test| TestView {
            hook: hook.name.to_string(),
            event: test.event.display().to_string(),
            line: test.line,
            failures: test.failures,
        })
    });
    tests.collect()
}

fn view(configuration: Option<String>, checked: &Checked, tests: Vec<TestView>) -> CheckView {
    CheckView {
        configuration,
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
