//! Hook files checked: every fault of every document, and of the files they name.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compile::{Compiled, compile};
use super::fault::{Fault, Mark, Severity};
use super::yaml::{Document, documents};
use super::{Defaults, Hook, Profile};
use crate::config::Permissions;
use crate::runner::rights::{OpenToOthers, is_open_to_others, mode};

/// A hook file of a megabyte is no hook file.
const LARGEST_FILE: u64 = 1 << 20;

/// How strictly files are checked.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Where commands are looked for.
    pub defaults: Defaults,
    /// Whether files, folders and commands that others may write are refused.
    pub permissions: Permissions,
}

/// What `hem check` found in a file or a folder.
#[derive(Debug)]
pub struct Checked {
    /// The hooks without an error, in the order of files and documents.
    pub hooks: Vec<Arc<Hook>>,
    /// Everything wrong, by file and line.
    pub faults: Vec<Fault>,
    /// How many files were looked at.
    pub files: usize,
}

impl Checked {
    /// Whether a file was refused.
    pub fn has_errors(&self) -> bool {
        self.faults.iter().any(Fault::is_error)
    }
}

/// Checks one file, or all hook files of a folder, duplicates included.
///
/// # Errors
/// The path cannot be read at all; what is wrong with single files is among the faults.
pub fn check(path: &Path, options: &CheckOptions) -> io::Result<Checked> {
    check_files(path, options, check_text)
}

/// What [`check`] finds without looking at the commands, which may stand on a file system that does not answer.
///
/// # Errors
/// The path cannot be read at all; what is wrong with single files is among the faults.
pub fn declared(path: &Path, options: &CheckOptions) -> io::Result<Checked> {
    check_files(path, options, |file, text, sha256, options| {
        compile_text(file, text, sha256, &options.defaults)
    })
}

fn check_files(
    path: &Path,
    options: &CheckOptions,
    of_text: impl Fn(&Path, &str, [u8; 32], &CheckOptions) -> CheckedText,
) -> io::Result<Checked> {
    let files = if fs::metadata(path)?.is_dir() {
        hook_files(path)?
            .into_iter()
            .map(|name| path.join(name))
            .collect()
    } else {
        vec![path.to_owned()]
    };
    let mut faults = Vec::new();
    if let Some(folder) = files.first().and_then(|file| file.parent()) {
        faults.extend(writable_by_others(folder, "folder", options.permissions));
    }
    let mut compiled = Vec::new();
    for file in &files {
        match read(file, options) {
            Ok(text) => {
                let checked = of_text(file, &text.text, text.sha256, options);
                compiled.extend(checked.hooks);
                faults.extend(checked.faults);
            }
            Err(fault) => faults.push(*fault),
        }
    }
    faults.extend(duplicates(&compiled));
    Ok(Checked {
        hooks: compiled
            .into_iter()
            .map(|compiled| Arc::new(compiled.hook))
            .collect(),
        faults,
        files: files.len(),
    })
}

/// The names of the hook files of a folder, sorted. Hidden files and what editors leave behind are none.
pub(super) fn hook_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        let is_yaml = name
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        let is_left_over = entry.file_name().as_encoded_bytes().starts_with(b".")
            || entry.file_name().as_encoded_bytes().starts_with(b"#");
        // A link that leads nowhere is a file that cannot be read, not a file that is gone.
        let is_folder = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        if is_yaml && !is_left_over && !is_folder {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A file's text and its hash.
#[derive(Debug)]
pub(super) struct FileText {
    pub(super) text: String,
    pub(super) sha256: [u8; 32],
}

/// Reads a file, once it is known to be fit for it.
pub(super) fn read(file: &Path, options: &CheckOptions) -> Result<FileText, Box<Fault>> {
    let refuse = |message: String| Box::new(Fault::of_file(file, Severity::Error, message));
    let unreadable = |error: io::Error| refuse(format!("cannot read the file: {error}"));
    let opened = fs::File::open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("this is not a file".to_owned()));
    }
    if let Some(fault) = permission_fault(file, "file", &metadata, options.permissions) {
        return Err(Box::new(fault));
    }
    let mut bytes = Vec::new();
    opened
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(refuse("the file is larger than 1 MiB".to_owned()));
    }
    let sha256 = Sha256::digest(&bytes).into();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(FileText { text, sha256 }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count() + 1;
            let mut fault = refuse("the file is not in UTF-8".to_owned());
            fault.line = line;
            fault.column = 1;
            Err(fault)
        }
    }
}

/// What came of one file's text.
#[derive(Debug, Default)]
pub(super) struct CheckedText {
    pub(super) hooks: Vec<Compiled>,
    pub(super) faults: Vec<Fault>,
}

/// Checks the text of one file and the commands it names.
pub(super) fn check_text(file: &Path, text: &str, sha256: [u8; 32], options: &CheckOptions) -> CheckedText {
    let mut checked = compile_text(file, text, sha256, &options.defaults);
    for compiled in &checked.hooks {
        checked
            .faults
            .extend(command_faults(compiled, options.permissions));
    }
    checked.faults.sort_by_key(|fault| (fault.line, fault.column));
    checked
}

/// Compiles the text of one file, without looking at any other file.
pub(super) fn compile_text(file: &Path, text: &str, sha256: [u8; 32], defaults: &Defaults) -> CheckedText {
    if let Some(fault) = conflict(file, text) {
        return CheckedText {
            hooks: Vec::new(),
            faults: vec![fault],
        };
    }
    let mut checked = CheckedText::default();
    for document in documents(text) {
        let (compiled, faults) = compile(file, document, sha256, defaults);
        checked.hooks.extend(compiled);
        checked.faults.extend(faults);
    }
    checked
}

fn conflict(file: &Path, text: &str) -> Option<Fault> {
    let starts = |line: &str, marker: &str| {
        line.strip_prefix(marker)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let begin = text.lines().position(|line| starts(line, "<<<<<<<"))?;
    text.lines().skip(begin).find(|line| starts(line, ">>>>>>>"))?;
    let mark = Mark {
        line: begin + 1,
        column: 1,
        length: 7,
    };
    let message = "a merge conflict is not resolved".to_owned();
    Some(
        Fault::at(file, Document { text, line: 1 }, mark, Severity::Error, message)
            .with_hint("keep one side and take the lines with `<<<<<<<`, `=======` and `>>>>>>>` out"),
    )
}

/// Names and ids that two hooks share; each fault names both places.
pub(super) fn duplicates(hooks: &[Compiled]) -> Vec<Fault> {
    let mut names: BTreeMap<&str, &Compiled> = BTreeMap::new();
    let mut ids: BTreeMap<u64, (&Compiled, Mark)> = BTreeMap::new();
    let mut faults = Vec::new();
    for compiled in hooks {
        let hook = &compiled.hook;
        if let Some(first) = names.get(hook.name.as_str()) {
            let message = format!("two hooks are named `{}`", hook.name);
            faults.push(duplicate(compiled, compiled.name, message, first, first.name));
        } else {
            names.insert(hook.name.as_str(), compiled);
        }
        if let (Some(id), Some(mark)) = (hook.oned_id, compiled.id) {
            if let Some((first, first_mark)) = ids.get(&id) {
                let message = format!("two hooks stand for OpenNebula's hook {id}");
                faults.push(duplicate(compiled, mark, message, first, *first_mark));
            } else {
                ids.insert(id, (compiled, mark));
            }
        }
    }
    faults
}

fn duplicate(second: &Compiled, mark: Mark, message: String, first: &Compiled, first_mark: Mark) -> Fault {
    let document = Document {
        text: &second.hook.text,
        line: second.hook.origin.line,
    };
    let file = &second.hook.origin.file;
    Fault::at(file, document, mark, Severity::Error, message).with_hint(format!(
        "the other one is at {}:{}:{}",
        first.hook.origin.file.display(),
        first_mark.line,
        first_mark.column
    ))
}

fn command_faults(compiled: &Compiled, permissions: Permissions) -> Vec<Fault> {
    let hook = &compiled.hook;
    // What a host or the shell will find is not known here.
    if hook.action.remote || hook.action.shell {
        return Vec::new();
    }
    let document = Document {
        text: &hook.text,
        line: hook.origin.line,
    };
    let fault =
        |severity, message| Fault::at(&hook.origin.file, document, compiled.command, severity, message);
    let program = &hook.action.program;
    let shown = program.display();
    let metadata = match fs::metadata(program) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let missing = fault(Severity::Warning, format!("there is no `{shown}`"));
            let has_arguments = hook.profile == Profile::Hem && hook.action.command.contains(' ');
            return vec![if has_arguments {
                missing.with_hint("arguments belong into `arguments`")
            } else {
                missing
            }];
        }
        Err(error) => {
            return vec![fault(
                Severity::Warning,
                format!("cannot look at `{shown}`: {error}"),
            )];
        }
    };
    if !metadata.is_file() {
        return vec![fault(Severity::Warning, format!("`{shown}` is not a file"))];
    }
    let mut faults = Vec::new();
    if permissions == Permissions::Strict
        && let Some(open) = OpenToOthers::find(program)
    {
        faults.push(fault(Severity::Error, open.to_string()).with_hint(open.cure()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        let message = format!("`{shown}` is not executable");
        faults.push(fault(Severity::Warning, message).with_hint(format!("run `chmod +x {shown}`")));
    } else if !names_its_interpreter(program) {
        let message = format!("`{shown}` has no `#!` line and is run by `/bin/sh`");
        faults.push(
            fault(Severity::Warning, message)
                .with_hint("begin the script with `#!/bin/sh` or its interpreter"),
        );
    }
    faults
}

/// Whether the kernel can run the file by itself: a `#!` line, or a compiled program.
fn names_its_interpreter(program: &Path) -> bool {
    let mut start = [0; 4];
    match fs::File::open(program).and_then(|mut file| file.read(&mut start)) {
        Ok(length) => start[..length].starts_with(b"#!") || start == *b"\x7fELF",
        // Executable and not readable is allowed, and nothing to warn of.
        Err(_) => true,
    }
}

/// The fault of a file or folder that others may write, as sshd treats such keys.
pub(super) fn writable_by_others(path: &Path, what: &str, permissions: Permissions) -> Option<Fault> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    permission_fault(path, what, &fs::metadata(path).ok()?, permissions)
}

fn permission_fault(path: &Path, what: &str, metadata: &Metadata, permissions: Permissions) -> Option<Fault> {
    if permissions == Permissions::Lax || !is_open_to_others(metadata) {
        return None;
    }
    let message = format!("others may write this {what} ({})", mode(metadata));
    Some(Fault::of_file(path, Severity::Error, message).with_hint(format!(
        "run `chmod go-w {}`, or write `permissions: lax` into hem.yaml",
        path.display()
    )))
}
