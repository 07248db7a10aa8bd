//! Files that are written whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Ready, Refused};
use crate::cli::exit::{Exit, Failure};
use crate::hooks::check::{CheckOptions, check};

/// Everybody may read them, as other files of a configuration; the umask takes away what it takes away.
const MODE: u32 = 0o644;

/// The folder that hook files are written to, with the hooks that are in it.
pub(super) struct Folder<'a> {
    path: &'a Path,
    /// The file of each, by name and by number.
    names: BTreeMap<String, PathBuf>,
    ids: BTreeMap<u64, PathBuf>,
}

impl<'a> Folder<'a> {
    /// Looks what is there. A folder that is not there is made when it is written to.
    pub(super) fn look(path: &'a Path, options: &CheckOptions) -> Result<Self, Failure> {
        let mut folder = Self {
            path,
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
        };
        match check(path, options) {
            Ok(checked) => {
                for hook in checked.hooks {
                    let file = hook.origin.file.clone();
                    folder.names.insert(hook.name.to_string(), file.clone());
                    if let Some(id) = hook.oned_id {
                        folder.ids.insert(id, file);
                    }
                }
                Ok(folder)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(folder),
            Err(error) => Err(Failure::new(
                Exit::Failed,
                format!("cannot read the folder `{}`: {error}", path.display()),
            )),
        }
    }

    /// Gives each hook its file; takes those out that would disturb what is there.
    pub(super) fn name_files(&self, hooks: &mut Vec<Ready>, refused: &mut Vec<Refused>, force: bool) {
        hooks.retain_mut(|hook| {
            let file = self.path.join(format!("{}.yaml", hook.name));
            let reason = if file.exists() && !force {
                Some(format!(
                    "{} is there already; --force writes over it",
                    file.display()
                ))
            } else {
                let elsewhere = |found: Option<&PathBuf>| found.filter(|other| **other != file).cloned();
                let by_name = elsewhere(self.names.get(&hook.name))
                    .map(|other| format!("a hook in {} has this name", other.display()));
                let by_id = || {
                    let other = elsewhere(self.ids.get(&hook.id?))?;
                    Some(format!(
                        "a hook in {} stands for oned's hook with its number",
                        other.display()
                    ))
                };
                by_name.or_else(by_id)
            };
            match reason {
                Some(reason) => {
                    refused.push(Refused {
                        from: hook.from.clone(),
                        reason: format!("hook `{}` is not written: {reason}", hook.name),
                    });
                    false
                }
                None => {
                    hook.file = Some(file);
                    true
                }
            }
        });
    }

    /// Writes the files.
    pub(super) fn write(&self, hooks: &[Ready], force: bool) -> Result<(), Failure> {
        if !hooks.is_empty() {
            fs::create_dir_all(self.path).map_err(|error| {
                Failure::new(
                    Exit::Failed,
                    format!("cannot make the folder `{}`: {error}", self.path.display()),
                )
            })?;
        }
        for hook in hooks {
            if let Some(file) = &hook.file {
                write(file, &hook.text, force)?;
            }
        }
        Ok(())
    }
}

/// Writes a file that has its name only once it is whole; over another one only when told to.
pub(super) fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    written(path, text, force).map_err(|error| {
        let failure = Failure::new(
            Exit::Failed,
            format!("cannot write `{}`: {error}", path.display()),
        );
        if error.kind() == io::ErrorKind::AlreadyExists {
            failure.with_hint("--force writes over it")
        } else {
            failure
        }
    })
}

fn written(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".hem-import-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    if force {
        file.persist(path)?;
    } else {
        file.persist_noclobber(path)?;
    }
    File::open(folder)?.sync_all()
}
