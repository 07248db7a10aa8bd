//! The hooks: whether each one's command can be started, and which set they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::controller::Controller;
use super::daemon::Daemon;
use super::report::{Finding, Section};
use super::{LIMIT, within_limit};
use crate::cli::check;
use crate::cli::output::count;
use crate::config::{Config, Permissions};
use crate::control::api::HookView;
use crate::hooks::pool::{PoolHooks, combine};
use crate::hooks::{Hook, HookSet, Profile};
use crate::runner::rights::OpenToOthers;

/// The kernel reads no longer first line (`BINPRM_BUF_SIZE`).
const FIRST_LINE: usize = 256;

/// What was found, and the hooks it was found of.
pub(super) struct Hooks {
    pub(super) section: Section,
    pub(super) declared: Vec<Declared>,
}

/// What matters here of a hook.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) program: PathBuf,
    version: String,
    enabled: bool,
    remote: bool,
    /// Its command is a script text.
    is_text: bool,
}

impl Declared {
    fn of_file(hook: &Hook) -> Self {
        Self {
            name: hook.name.to_string(),
            program: hook.action.program.clone(),
            version: hook.version.to_string(),
            enabled: hook.enabled,
            remote: hook.action.remote,
            is_text: hook.profile == Profile::Hem && hook.action.shell,
        }
    }

    fn in_force(view: &HookView) -> Self {
        Self {
            name: view.name.clone(),
            program: PathBuf::from(&view.program),
            version: view.definition.version.clone(),
            enabled: view.enabled,
            remote: view.remote,
            is_text: view.profile == "hem" && view.shell,
        }
    }

    /// Whether its command has to be there on the hosts of the cloud.
    pub(super) fn runs_elsewhere(&self) -> bool {
        self.enabled && self.remote
    }

    /// Whether its command has to be there on this machine.
    fn runs_here(&self) -> bool {
        self.enabled && !self.remote && !self.is_text
    }
}

impl Hooks {
    /// SHA-256 over the names and versions of all hooks, in the order of names: the same on every front-end with the same hooks
    /// and the same folders of scripts. None of no hook.
    pub(super) fn digest(&self) -> Option<String> {
        if self.declared.is_empty() {
            return None;
        }
        let versions: BTreeMap<&str, &str> = self
            .declared
            .iter()
            .map(|hook| (hook.name.as_str(), hook.version.as_str()))
            .collect();
        let mut digest = Sha256::new();
        for (name, version) in versions {
            digest.update(format!("{name} {version}\n"));
        }
        Some(
            digest
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

pub(super) async fn look(config: &Config, daemon: &Daemon, controller: &Controller) -> Hooks {
    let mut findings = Vec::new();
    let folder = of_folder(config, &mut findings).await;
    let declared: Vec<Declared> = match &daemon.hooks {
        Some(views) => views.iter().map(Declared::in_force).collect(),
        None => with_pool(config, controller, folder, &mut findings)
            .iter()
            .map(|hook| Declared::of_file(hook))
            .collect(),
    };
    findings.extend(of_commands(&declared, config.permissions).await);
    let mut hooks = Hooks {
        section: Section {
            name: "hooks",
            findings,
        },
        declared,
    };
    let of_digest = match hooks.digest() {
        Some(digest) => Finding::ok(format!(
            "{} hook{} with the digest {}: the same on each front-end that has the same hooks",
            count(hooks.declared.len() as u64),
            if hooks.declared.len() == 1 { "" } else { "s" },
            &digest[..16]
        )),
        None => Finding::skipped("there are no hooks"),
    };
    hooks.section.findings.push(of_digest);
    hooks
}

/// What is wrong with the commands that run here. Each is looked at by itself: one on a file system that does not answer is
/// named, and hides none of the others.
async fn of_commands(declared: &[Declared], permissions: Permissions) -> Vec<Finding> {
    let until = Instant::now() + LIMIT;
    let looks: Vec<_> = declared
        .iter()
        .filter(|hook| hook.runs_here())
        .map(|hook| {
            let looked_at = hook.clone();
            let look = spawn_blocking(move || of_command(&looked_at, permissions));
            (hook, look)
        })
        .collect();
    let number = looks.len() as u64;
    let mut faults = Vec::new();
    for (hook, look) in looks {
        match timeout_at(until, look).await {
            Ok(Ok(fault)) => faults.extend(fault),
            Ok(Err(_)) | Err(_) => faults.push(Finding::fail(
                format!(
                    "`{}`: `{}` could not be looked at within {} s",
                    hook.name,
                    hook.program.display(),
                    LIMIT.as_secs()
                ),
                "is the file system that it stands on there? `df` hangs where it is not",
            )),
        }
    }
    if faults.is_empty() && number > 0 {
        faults.push(Finding::ok(format!(
            "each command is there, executable, with its interpreter and safe rights ({} looked at)",
            count(number)
        )));
    }
    faults
}

/// The good hooks of the folder; faults are `hem check`'s to tell, and those of their commands are told apart from them.
async fn of_folder(config: &Config, findings: &mut Vec<Finding>) -> HookSet {
    let (path, options) = (config.hooks_dir.clone(), check::options(config));
    let shown = path.display().to_string();
    match within_limit(move || crate::hooks::check::declared(&path, &options)).await {
        Some(Ok(checked)) => {
            let refused = checked.faults.iter().filter(|fault| fault.is_error()).count();
            if refused > 0 {
                let s = if refused == 1 { "" } else { "s" };
                findings.push(Finding::fail(
                    format!("{} error{s} in the hook files of {shown}", count(refused as u64)),
                    "`hem check` says each with its line and cure",
                ));
            }
            HookSet::new(checked.hooks)
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::warn(
                format!("there is no folder {shown}"),
                "make it, or name another one with `hooks_dir:` in hem.yaml",
            ));
            HookSet::default()
        }
        Some(Err(error)) => {
            findings.push(Finding::fail(
                format!("cannot read the hooks in {shown}: {error}"),
                "the daemon's user must be able to read it",
            ));
            HookSet::default()
        }
        None => {
            findings.push(Finding::fail(
                format!("{shown} could not be read within {} s", LIMIT.as_secs()),
                "is the file system that it stands on there?",
            ));
            HookSet::default()
        }
    }
}

/// The folder's hooks with those of the pool, as the daemon would put them into force.
fn with_pool(
    config: &Config,
    controller: &Controller,
    folder: HookSet,
    findings: &mut Vec<Finding>,
) -> HookSet {
    let oned = config.oned.as_ref().filter(|oned| oned.hooks);
    let (Some(oned), Some(pool)) = (oned, &controller.pool) else {
        return folder;
    };
    let source = Some(oned.source.as_str()).filter(|_| config.sources.len() > 1);
    let pool = PoolHooks::declared(pool, source, &check::options(config).defaults);
    findings.extend(pool.unusable.iter().map(|unusable| {
        Finding::warn(
            format!("{} of oned does not run: {}", unusable.called(), unusable.why),
            "correct it with `onehook update`",
        )
    }));
    combine(&folder, &pool, &oned.source).set
}

/// What is wrong with a hook's command.
fn of_command(hook: &Declared, permissions: Permissions) -> Option<Finding> {
    let (name, shown) = (&hook.name, hook.program.display());
    let metadata = match fs::metadata(&hook.program) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(Finding::fail(
                format!("`{name}`: there is no `{shown}`"),
                "install the script, or correct `command`",
            ));
        }
        Err(error) => {
            return Some(Finding::fail(
                format!("`{name}`: cannot look at `{shown}`: {error}"),
                "the daemon's user must be able to reach it",
            ));
        }
    };
    if !metadata.is_file() {
        return Some(Finding::fail(
            format!("`{name}`: `{shown}` is not a file"),
            "correct `command`",
        ));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Some(Finding::fail(
            format!("`{name}`: `{shown}` is not executable"),
            format!("run `chmod +x {shown}`"),
        ));
    }
    if permissions == Permissions::Strict
        && let Some(open) = OpenToOthers::find(&hook.program)
    {
        return Some(Finding::fail(format!("`{name}`: {open}"), open.cure()));
    }
    match Start::of(&hook.program) {
        // Executable and not readable is allowed.
        Err(_) | Ok(Start::Compiled) => None,
        Ok(Start::Interpreter(words)) => missing_interpreter(&words).map(|(missing, advice)| {
            Finding::fail(
                format!("`{name}`: `{shown}` asks for `{missing}`, which is not there"),
                advice,
            )
        }),
        Ok(Start::Neither) => Some(Finding::warn(
            format!("`{name}`: `{shown}` has no `#!` line and is run by `/bin/sh`"),
            "begin the script with `#!/bin/sh` or its interpreter",
        )),
    }
}

/// How a file begins.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// `#!` and the words behind it.
    Interpreter(Vec<String>),
    /// A program of the machine's own.
    Compiled,
    Neither,
}

impl Start {
    fn of(program: &Path) -> io::Result<Self> {
        let mut start = Vec::new();
        fs::File::open(program)?
            .take(FIRST_LINE as u64)
            .read_to_end(&mut start)?;
        Ok(Self::of_bytes(&start))
    }

    fn of_bytes(start: &[u8]) -> Self {
        if start.starts_with(b"\x7fELF") {
            return Self::Compiled;
        }
        let Some(line) = start.strip_prefix(b"#!") else {
            return Self::Neither;
        };
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        // Not all white space: a carriage return belongs to the name, for the kernel too.
        let words: Vec<String> = line
            .split([' ', '\t'])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        if words.is_empty() {
            Self::Neither
        } else {
            Self::Interpreter(words)
        }
    }
}

/// The interpreter that a `#!` line asks for in vain, and what to do.
fn missing_interpreter(words: &[String]) -> Option<(String, String)> {
    let path = words.first()?;
    if let Some(unix) = path.strip_suffix('\r') {
        return Some((
            format!("{unix}\\r"),
            "the file has the line ends of Windows: `sed -i 's/\\r$//' FILE`".to_owned(),
        ));
    }
    if !is_executable(Path::new(path)) {
        return Some((path.clone(), "install it, or correct the `#!` line".to_owned()));
    }
    let is_env = Path::new(path).file_name().is_some_and(|name| name == "env");
    // `env -S ruby -w` and `env LANG=C ruby`: the first word that is neither option nor variable.
    let name = words[1..]
        .iter()
        .map(|word| word.trim_end_matches('\r'))
        .find(|word| is_env && !word.starts_with('-') && !word.contains('='))?;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = if name.contains('/') {
        is_executable(Path::new(name))
    } else {
        std::env::split_paths(&folders).any(|folder| is_executable(&folder.join(name)))
    };
    let advice = "install it, or write the interpreter's whole path into the `#!` line";
    (!is_there).then(|| (name.to_owned(), advice.to_owned()))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_first_line_says_who_runs_it() {
        assert_eq!(
            Start::of_bytes(b"#! /usr/bin/env  ruby\nputs 1\n"),
            Start::Interpreter(words("/usr/bin/env ruby"))
        );
        assert_eq!(
            Start::of_bytes(b"#!/bin/sh\r\n"),
            Start::Interpreter(words("/bin/sh\r"))
        );
        assert_eq!(Start::of_bytes(b"\x7fELF\x02"), Start::Compiled);
        for neither in [&b""[..], b"echo\n", b"#!\n", b"#! \n"] {
            assert_eq!(Start::of_bytes(neither), Start::Neither);
        }
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let missing = |line: &str| missing_interpreter(&words(line)).map(|(missing, _)| missing);
        assert_eq!(missing("/bin/sh -e"), None);
        assert_eq!(missing("/usr/bin/env sh"), None);
        assert_eq!(missing("/usr/bin/env -S LANG=C sh -e"), None);
        assert_eq!(missing("/no/such/ruby"), Some("/no/such/ruby".to_owned()));
        assert_eq!(
            missing("/usr/bin/env no-such-ruby"),
            Some("no-such-ruby".to_owned())
        );
        assert_eq!(missing("/bin/sh\r"), Some("/bin/sh\\r".to_owned()));
    }

    #[test]
    fn the_digest_is_of_names_and_versions_in_any_order() {
        let hook = |name: &str, version: &str| Declared {
            name: name.to_owned(),
            program: "/bin/true".into(),
            version: version.to_owned(),
            enabled: true,
            remote: false,
            is_text: false,
        };
        let digest = |declared: Vec<Declared>| {
            let section = Section {
                name: "hooks",
                findings: Vec::new(),
            };
            Hooks { section, declared }.digest()
        };
        let one = digest(vec![hook("a", "1"), hook("b", "2")]);
        assert_eq!(one, digest(vec![hook("b", "2"), hook("a", "1")]));
        assert_ne!(one, digest(vec![hook("a", "1"), hook("b", "3")]));
        assert_eq!(one.map(|digest| digest.len()), Some(64));
        assert_eq!(digest(Vec::new()), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), shebang: bool) {
            let start = if shebang { [b"#!".as_slice(), &bytes].concat() } else { bytes };
            if let Start::Interpreter(words) = Start::of_bytes(&start) {
                let _ = missing_interpreter(&words);
            }
        }
    }
}
