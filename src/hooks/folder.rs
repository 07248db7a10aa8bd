//! The hooks folder as a whole: what is in force is the good files and the last good text of broken ones.
//!
//! [`load`] keeps nothing itself: the last good texts come in and go out, and the store keeps them, so that a restart
//! with a broken file changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::HookSet;
use super::check::{
    CheckOptions, check_text, compile_text, duplicates, hook_files, read, writable_by_others,
};
use super::compile::Compiled;
use super::fault::{Fault, Severity};
use super::looks::ANSWERS_WITHIN;
use super::yaml::documents;
use crate::event::time::Timestamp;

/// The last text of each file that was good, by the file's name in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastGood {
    /// The files in force.
    pub files: BTreeMap<PathBuf, LastGoodFile>,
}

/// The last good text of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGoodFile {
    /// The text.
    pub text: String,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Since when the file in the folder is broken and this text stands in for it; unset while it is good.
    pub since_stale: Option<Timestamp>,
}

/// How a folder is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// How its files are checked.
    pub check: CheckOptions,
    /// Any error keeps the whole former set (`--strict-hooks`).
    pub strict: bool,
    /// A folder that vanished, is empty, or lost more than half of its hooks is taken as it is (`hem reload --accept`).
    pub accept: bool,
    /// Now.
    pub now: Timestamp,
}

/// What came of loading a folder.
#[derive(Debug)]
pub struct Loaded {
    /// The hooks in force.
    pub set: HookSet,
    /// Everything wrong with the files as they are now.
    pub faults: Vec<Fault>,
    /// Broken files whose last good text is in force.
    pub stale: Vec<Stale>,
    /// Why the former set was kept whole, where it was.
    pub kept: Option<String>,
    /// What to keep for the next time.
    pub last_good: LastGood,
}

/// A broken file whose last good text is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The file.
    pub file: PathBuf,
    /// Since when it is broken.
    pub since: Timestamp,
    /// Its first error.
    pub fault: Fault,
}

/// Loads the hook files of a folder. Takes effect as a whole: the set is to be put into force at once or not at all.
///
/// The former set stays whole when two hooks share a name or an id, when the folder vanished or cannot be read, or
/// when it lost more than half of its hooks at once: a checkout gone wrong must not switch a site's hooks off.
pub fn load(folder: &Path, previous: &LastGood, options: &LoadOptions) -> Loaded {
    let names = match hook_files(folder) {
        Ok(names) => names,
        Err(error) => return without_folder(folder, previous, options, &error),
    };
    let mut loading = Loading::default();
    let refused = writable_by_others(folder, "folder", options.check.permissions);
    let is_refused = refused.is_some();
    loading.faults.extend(refused);
    for name in names {
        loading.file(folder, name, previous, options);
    }
    let doubles = duplicates(&loading.hooks);
    let has_doubles = !doubles.is_empty();
    loading.faults.extend(doubles);

    // Every document of a good text is one hook.
    let former: usize = previous
        .files
        .values()
        .map(|good| documents(&good.text).len())
        .sum();
    let kept = if is_refused {
        Some(format!("others may write the folder {}", folder.display()))
    } else if has_doubles {
        Some("two hooks share a name or an id".to_owned())
    } else if options.strict && loading.faults.iter().any(Fault::is_error) {
        Some("a file has an error, and `--strict-hooks` is set".to_owned())
    } else if options.accept {
        None
    } else {
        losses(former, loading.hooks.len())
    };
    match kept {
        Some(reason) => Loaded {
            set: set_of(former_hooks(folder, previous, options)),
            faults: loading.faults,
            stale: loading.stale,
            kept: Some(reason),
            last_good: previous.clone(),
        },
        None => Loaded {
            set: set_of(loading.hooks),
            faults: loading.faults,
            stale: loading.stale,
            kept: None,
            last_good: loading.last_good,
        },
    }
}

fn losses(former: usize, now: usize) -> Option<String> {
    let gone = former.saturating_sub(now);
    if former > 0 && now == 0 {
        Some(format!(
            "all {former} hooks are gone; `hem reload --accept` takes that"
        ))
    } else if gone * 2 > former {
        Some(format!(
            "{gone} of {former} hooks are gone at once; `hem reload --accept` takes that"
        ))
    } else {
        None
    }
}

fn without_folder(folder: &Path, previous: &LastGood, options: &LoadOptions, error: &io::Error) -> Loaded {
    let is_gone = error.kind() == io::ErrorKind::NotFound;
    let fault = Fault::of_file(
        folder,
        Severity::Error,
        format!("cannot read the hooks folder: {error}"),
    );
    if previous.files.is_empty() || (is_gone && options.accept) {
        return Loaded {
            set: HookSet::default(),
            faults: vec![fault],
            stale: Vec::new(),
            kept: None,
            last_good: LastGood::default(),
        };
    }
    let reason = if is_gone {
        format!(
            "the folder {} is gone; `hem reload --accept` takes that",
            folder.display()
        )
    } else {
        format!("the folder {} cannot be read", folder.display())
    };
    Loaded {
        set: set_of(former_hooks(folder, previous, options)),
        faults: vec![fault],
        stale: Vec::new(),
        kept: Some(reason),
        last_good: previous.clone(),
    }
}

/// What there is to load while a folder does not answer: the former set, whole.
pub fn unanswered(folder: &Path, previous: &LastGood, options: &LoadOptions) -> Loaded {
    let fault = Fault::of_file(
        folder,
        Severity::Error,
        format!(
            "the hooks folder, or a script of a hook, could not be read within {} s",
            ANSWERS_WITHIN.as_secs()
        ),
    )
    .with_hint("is the file system that it stands on there? `df` hangs where it is not");
    Loaded {
        set: set_of(former_hooks(folder, previous, options)),
        faults: vec![fault],
        stale: Vec::new(),
        kept: Some(format!("the folder {} does not answer", folder.display())),
        last_good: previous.clone(),
    }
}

#[derive(Default)]
struct Loading {
    hooks: Vec<Compiled>,
    faults: Vec<Fault>,
    stale: Vec<Stale>,
    last_good: LastGood,
}

impl Loading {
    fn file(&mut self, folder: &Path, name: PathBuf, previous: &LastGood, options: &LoadOptions) {
        let file = folder.join(&name);
        let faults = match read(&file, &options.check) {
            Ok(read) => {
                let checked = check_text(&file, &read.text, read.sha256, &options.check);
                if !checked.faults.iter().any(Fault::is_error) {
                    self.hooks.extend(checked.hooks);
                    self.faults.extend(checked.faults);
                    let good = LastGoodFile {
                        text: read.text,
                        sha256: read.sha256,
                        since_stale: None,
                    };
                    self.last_good.files.insert(name, good);
                    return;
                }
                checked.faults
            }
            Err(fault) => vec![*fault],
        };
        if let Some(good) = previous.files.get(&name) {
            let since = good.since_stale.unwrap_or(options.now);
            let former = compile_text(&file, &good.text, good.sha256, &options.check.defaults);
            self.hooks.extend(former.hooks);
            if let Some(fault) = faults.iter().find(|fault| fault.is_error()) {
                self.stale.push(Stale {
                    file,
                    since,
                    fault: fault.clone(),
                });
            }
            let good = LastGoodFile {
                since_stale: Some(since),
                ..good.clone()
            };
            self.last_good.files.insert(name, good);
        }
        self.faults.extend(faults);
    }
}

fn former_hooks(folder: &Path, previous: &LastGood, options: &LoadOptions) -> Vec<Compiled> {
    previous
        .files
        .iter()
        .flat_map(|(name, good)| {
            compile_text(
                &folder.join(name),
                &good.text,
                good.sha256,
                &options.check.defaults,
            )
            .hooks
        })
        .collect()
}

fn set_of(hooks: Vec<Compiled>) -> HookSet {
    HookSet::new(
        hooks
            .into_iter()
            .map(|compiled| Arc::new(compiled.hook))
            .collect(),
    )
}
