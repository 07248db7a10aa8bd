//! Starts one process: checks what the kernel would refuse with a bare number, resolves the program, spawns.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use super::leader::{Leader, Leash};
use super::rights::OpenToOthers;
use super::secrets::{self, Redactor, Revealed};
use super::start_failure::{self, Subject};
use super::threads::Seat;
use super::{Invocation, StartFailure, StartFailureKind, Started};

/// Runs files that have neither a shebang line nor another format the kernel knows.
const SHELL: &str = "/bin/sh";

/// How often a program that is being written is tried again, and after how long.
const BUSY_TRIES: u32 = 5;
const BUSY_DELAY: Duration = Duration::from_millis(20);

/// A process that was just started. Dropped, it takes its whole group with it.
pub(super) struct Running {
    pub(super) leader: Leader,
    pub(super) started: Started,
    pub(super) stdout_redactor: Redactor,
    pub(super) stderr_redactor: Redactor,
}

/// Starts a process; blocks for as long as `posix_spawn` and the reading of secrets and of changed programs take.
pub(super) fn start(
    invocation: &Invocation,
    seat: &Seat,
    leash: &Arc<Leash>,
) -> Result<Running, StartFailure> {
    let secrets = secrets::reveal(&invocation.secrets)?;
    let variables: Vec<(OsString, OsString)> = invocation
        .environment
        .iter()
        .cloned()
        .chain(secrets.iter().map(Revealed::variable))
        .collect();
    let program = resolve(invocation)?;
    if invocation.refuses_open_programs
        && let Some(open) = OpenToOthers::find(&program)
    {
        return Err(StartFailure {
            kind: StartFailureKind::NotPermitted,
            message: format!("{open}: {}", open.cure()),
        });
    }
    start_failure::check_sizes(&program, &invocation.arguments, &variables)?;

    let files =
        seat.fingerprints()
            .of_command(&program, &invocation.arguments, invocation.directory.as_deref());
    let at = SystemTime::now();
    seat.take_umask(invocation.umask);
    let child = spawn(invocation, &program, &variables).map_err(|error| {
        start_failure::explain(
            &error,
            &Subject {
                invocation,
                program: &program,
            },
        )
    })?;
    let leader = Leader::new(child, Arc::clone(leash));
    let started = Started {
        pid: leader.pid(),
        at,
        uid: nix::unistd::Uid::current().as_raw(),
        files,
    };
    Ok(Running {
        leader,
        started,
        stdout_redactor: Redactor::new(&secrets),
        stderr_redactor: Redactor::new(&secrets),
    })
}

fn spawn(invocation: &Invocation, program: &Path, variables: &[(OsString, OsString)]) -> io::Result<Child> {
    let direct = || command(invocation, variables, program, &[]);
    let mut tries = 0;
    let error = loop {
        match direct().spawn() {
            Err(error) if is(&error, Errno::ETXTBSY) && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_DELAY);
            }
            Err(error) => break error,
            Ok(child) => return Ok(child),
        }
    };
    if is(&error, Errno::ENOEXEC) && start_failure::may_be_a_shell_script(program) {
        return command(invocation, variables, Path::new(SHELL), &[program.as_os_str()]).spawn();
    }
    Err(error)
}

/// Never with `pre_exec`, `uid` or `gid`: they turn posix_spawn into a fork of the whole daemon.
fn command(
    invocation: &Invocation,
    variables: &[(OsString, OsString)],
    program: &Path,
    first_arguments: &[&OsStr],
) -> Command {
    let mut command = Command::new(program);
    command
        .args(first_arguments)
        .args(&invocation.arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(directory) = &invocation.directory {
        command.current_dir(directory);
    }
    command
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The program as a path with a slash in it. A bare name is looked up in the `PATH` the process will have.
fn resolve(invocation: &Invocation) -> Result<PathBuf, StartFailure> {
    let program = &invocation.program;
    if program.as_os_str().as_bytes().contains(&b'/') {
        // The working directory changes before the program is looked for.
        return Ok(match &invocation.directory {
            Some(directory) => directory.join(program),
            None => program.clone(),
        });
    }
    let path = invocation
        .environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), |(_, path)| {
            path.as_os_str()
        });
    let mut candidates = std::env::split_paths(path)
        .filter(|folder| folder.is_absolute() && !program.as_os_str().is_empty())
        .map(|folder| folder.join(program))
        .filter(|candidate| candidate.is_file());
    let first = candidates.next();
    first
        .iter()
        .cloned()
        .chain(candidates)
        .find(|candidate| nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok())
        .or(first)
        .ok_or_else(|| start_failure::not_in_path(program, path))
}
