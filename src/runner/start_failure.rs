//! Turns the kernel's error numbers into what the author of a hook has to do.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Invocation, StartFailure, StartFailureKind};

/// Linux takes no single argument or variable of this many bytes or more, the NUL at its end included (MAX_ARG_STRLEN: 32 pages).
const ARGUMENT_LIMIT: usize = 131_072;

/// What was to be started.
pub(super) struct Subject<'a> {
    pub(super) invocation: &'a Invocation,
    pub(super) program: &'a Path,
}

fn failure(kind: StartFailureKind, message: impl Into<String>) -> StartFailure {
    StartFailure {
        kind,
        message: message.into(),
    }
}

/// Finds what the kernel would refuse with E2BIG or what cannot be passed at all.
pub(super) fn check_sizes(
    program: &Path,
    arguments: &[OsString],
    variables: &[(OsString, OsString)],
) -> Result<(), StartFailure> {
    if program.as_os_str().as_bytes().contains(&0) {
        return Err(failure(
            StartFailureKind::BadArgument,
            "the program's path holds a NUL byte",
        ));
    }
    for (index, argument) in arguments.iter().enumerate() {
        let number = index + 1;
        if argument.as_bytes().contains(&0) {
            return Err(failure(
                StartFailureKind::BadArgument,
                format!("argument {number} holds a NUL byte, which no argument can carry"),
            ));
        }
        if argument.len() + 1 > ARGUMENT_LIMIT {
            return Err(too_long(&format!("argument {number}"), argument.len()));
        }
    }
    for (name, value) in variables {
        let shown = name.to_string_lossy();
        if name.is_empty() || name.as_bytes().iter().any(|byte| matches!(byte, 0 | b'=')) {
            return Err(failure(
                StartFailureKind::BadArgument,
                format!(
                    "`{}` cannot be the name of an environment variable",
                    shown.escape_debug()
                ),
            ));
        }
        if value.as_bytes().contains(&0) {
            return Err(failure(
                StartFailureKind::BadArgument,
                format!("the environment variable {shown} holds a NUL byte, which it cannot carry"),
            ));
        }
        let size = name.len() + 1 + value.len();
        if size + 1 > ARGUMENT_LIMIT {
            return Err(too_long(&format!("the environment variable {shown}"), size));
        }
    }
    Ok(())
}

fn too_long(what: &str, size: usize) -> StartFailure {
    failure(
        StartFailureKind::ArgumentTooLong,
        format!(
            "{what} is {size} bytes long; the kernel takes at most {} bytes in one argument: pass the document with \
             `stdin: payload`, or the arguments with `arguments_stdin: true`",
            ARGUMENT_LIMIT - 1
        ),
    )
}

pub(super) fn not_in_path(program: &Path, path: &OsStr) -> StartFailure {
    failure(
        StartFailureKind::NotFound,
        format!(
            "`{}` is in none of the folders of PATH ({})",
            program.display(),
            path.to_string_lossy()
        ),
    )
}

/// Whether a file the kernel cannot run (ENOEXEC) is text that `/bin/sh` may run, as execvp(3) does.
pub(super) fn may_be_a_shell_script(program: &Path) -> bool {
    // A line of text holds no NUL byte; programs for other machines hold many.
    !beginning(program).contains(&0)
}

/// Whether the machine, or the daemon's share of it, is short of processes, memory or open files.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
    )
}

/// Says why a process could not be started.
pub(super) fn explain(error: &io::Error, subject: &Subject<'_>) -> StartFailure {
    let program = subject.program.display();
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else {
        return failure(
            StartFailureKind::Other,
            format!("{program} cannot be started: {error}"),
        );
    };
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG => not_found(error, subject),
        Errno::EACCES | Errno::EPERM => not_permitted(error, subject),
        Errno::E2BIG => everything_too_long(subject),
        Errno::ENOEXEC => failure(
            StartFailureKind::Other,
            format!("{program} is no program for this machine, nor a script: {error}"),
        ),
        _ if is_shortage(error) => failure(
            StartFailureKind::Exhausted,
            format!(
                "the machine is short of processes, memory or open files, {program} was not started: {error}"
            ),
        ),
        Errno::ETXTBSY => failure(
            StartFailureKind::Exhausted,
            format!("{program} is open for writing by somebody, so it cannot be run: {error}"),
        ),
        _ => failure(
            StartFailureKind::Other,
            format!("{program} cannot be started: {error}"),
        ),
    }
}

fn not_found(error: &io::Error, subject: &Subject<'_>) -> StartFailure {
    let program = subject.program;
    if let Some(directory) = &subject.invocation.directory
        && !directory.is_dir()
    {
        return failure(
            StartFailureKind::NotFound,
            format!("the working directory {} does not exist", directory.display()),
        );
    }
    if fs::symlink_metadata(program).is_ok_and(|metadata| metadata.is_symlink())
        && fs::metadata(program).is_err()
    {
        return failure(
            StartFailureKind::NotFound,
            format!(
                "{} is a symbolic link to a file that does not exist",
                program.display()
            ),
        );
    }
    if !program.exists() {
        return failure(
            StartFailureKind::NotFound,
            format!("{} does not exist", program.display()),
        );
    }
    let message = match interpreter(program) {
        Some(interpreter) if interpreter.as_os_str().as_bytes().ends_with(b"\r") => format!(
            "{} has Windows line ends: its first line asks for the interpreter `{}`; convert it with `sed -i 's/\\r$//'`",
            program.display(),
            interpreter.to_string_lossy().escape_debug()
        ),
        Some(interpreter) => format!(
            "{} exists, but the interpreter its first line asks for does not: {}",
            program.display(),
            interpreter.display()
        ),
        None => format!(
            "{} exists, but a loader or library it needs does not: {error}",
            program.display()
        ),
    };
    failure(StartFailureKind::NotFound, message)
}

fn not_permitted(error: &io::Error, subject: &Subject<'_>) -> StartFailure {
    let program = subject.program;
    let executable = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok();
    let message = if let Some(directory) = &subject.invocation.directory
        && !executable(directory)
    {
        format!(
            "the working directory {} may not be entered: {error}",
            directory.display()
        )
    } else if program.is_dir() {
        format!("{} is a directory", program.display())
    } else if program.is_file() && !executable(program) {
        format!(
            "{} is not executable: chmod +x {}",
            program.display(),
            program.display()
        )
    } else if let Some(interpreter) = interpreter(program)
        && !executable(&interpreter)
    {
        format!(
            "{} asks for the interpreter {}, which may not be executed",
            program.display(),
            interpreter.display()
        )
    } else {
        format!(
            "{} may not be executed: {error}; look at the rights of its folders, and whether its file system is mounted noexec",
            program.display()
        )
    };
    failure(StartFailureKind::NotPermitted, message)
}

/// No single string is too long (that was checked before), so all of them together are.
fn everything_too_long(subject: &Subject<'_>) -> StartFailure {
    let arguments = &subject.invocation.arguments;
    let total: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    let longest = arguments
        .iter()
        .enumerate()
        .max_by_key(|(_, argument)| argument.len());
    let longest = longest.map_or_else(String::new, |(index, argument)| {
        format!(
            ", the longest of them, argument {}, {} bytes",
            index + 1,
            argument.len()
        )
    });
    failure(
        StartFailureKind::ArgumentTooLong,
        format!(
            "the arguments ({total} bytes in all{longest}) and the environment together are longer than the kernel takes \
             (a quarter of the stack limit, see `ulimit -s`): pass the document with `stdin: payload`, or the arguments \
             with `arguments_stdin: true`"
        ),
    )
}

/// The first bytes of a file, as many as the kernel looks at for a shebang line (BINPRM_BUF_SIZE); none if it cannot be read.
fn beginning(program: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(program) {
        let _ = file.take(256).read_to_end(&mut bytes);
    }
    bytes
}

/// The interpreter named in a script's first line.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let beginning = beginning(program);
    let line = beginning
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name = line.split(is_blank).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_argument_that_fits_passes_and_one_byte_more_is_named() {
        let argument = |length: usize| OsString::from("x".repeat(length));
        let check = |arguments: &[OsString]| check_sizes(Path::new("/bin/true"), arguments, &[]);
        assert_eq!(check(&[argument(3), argument(131_071)]), Ok(()));
        let refused = check(&[argument(3), argument(131_072)]).expect_err("one byte too many");
        assert_eq!(refused.kind, StartFailureKind::ArgumentTooLong);
        for part in [
            "argument 2",
            "131072 bytes",
            "131071 bytes",
            "stdin: payload",
            "arguments_stdin",
        ] {
            assert!(refused.message.contains(part), "{part} in {}", refused.message);
        }
    }

    #[test]
    fn variables_are_checked_with_their_names() {
        let check = |name: &str, value: &str| {
            check_sizes(Path::new("/bin/true"), &[], &[(name.into(), value.into())])
        };
        assert_eq!(check("A", "b=c"), Ok(()));
        let kind = |result: Result<(), StartFailure>| result.map_err(|failure| failure.kind);
        assert_eq!(kind(check("", "b")), Err(StartFailureKind::BadArgument));
        assert_eq!(kind(check("A=B", "b")), Err(StartFailureKind::BadArgument));
        assert_eq!(kind(check("A", "b\0")), Err(StartFailureKind::BadArgument));
        assert_eq!(
            kind(check("A", &"b".repeat(131_070))),
            Err(StartFailureKind::ArgumentTooLong)
        );
        assert_eq!(kind(check("A", &"b".repeat(131_069))), Ok(()));
    }

    #[test]
    fn a_nul_byte_is_named() {
        let refused =
            check_sizes(Path::new("/bin/true"), &["a".into(), "b\0c".into()], &[]).expect_err("a NUL");
        assert_eq!(refused.kind, StartFailureKind::BadArgument);
        assert!(refused.message.contains("argument 2"), "{}", refused.message);
    }
}
