//! The record of a process's file operations, and the disks that a power cut may leave of them.

use std::collections::BTreeMap;
use std::path::Path;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Truncate,
    Create,
    Rename,
    Unlink,
    MakeFolder,
    SyncBegins,
    Synced,
    Acknowledge,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    number: u64,
    pub(crate) offset: u64,
    pub(crate) path: &'a str,
    second: &'a str,
    pub(crate) data: &'a [u8],
}

/// All operations of a process, in order, as `record.c` writes them.
pub(crate) struct Log {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

const HEAD: usize = 1 + 5 * 8;

impl Log {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("a record");
        let mut starts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            starts.push(at);
            at += HEAD + number(&bytes, at, 2) + number(&bytes, at, 3) + number(&bytes, at, 4);
        }
        Self { bytes, starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.starts.iter().map(|start| self.record(*start))
    }

    fn record(&self, start: usize) -> Record<'_> {
        let bytes = &self.bytes;
        let kind = match bytes[start] {
            b'w' => Kind::Write,
            b't' => Kind::Truncate,
            b'c' => Kind::Create,
            b'r' => Kind::Rename,
            b'u' => Kind::Unlink,
            b'm' => Kind::MakeFolder,
            b's' => Kind::SyncBegins,
            b'f' => Kind::Synced,
            b'a' => Kind::Acknowledge,
            other => panic!("`{other}` is no operation"),
        };
        let path = start + HEAD;
        let second = path + number(bytes, start, 2);
        let data = second + number(bytes, start, 3);
        let end = data + number(bytes, start, 4);
        let text = |from: usize, to: usize| std::str::from_utf8(&bytes[from..to]).expect("text");
        Record {
            kind,
            number: number(bytes, start, 0) as u64,
            offset: number(bytes, start, 1) as u64,
            path: text(path, second),
            second: text(second, data),
            data: &bytes[data..end],
        }
    }
}

fn number(bytes: &[u8], start: usize, field: usize) -> usize {
    let at = start + 1 + field * 8;
    let bytes = bytes[at..at + 8].try_into().expect("eight bytes");
    u64::from_ne_bytes(bytes) as usize
}

/// Of what was not synced, what a cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survivors {
    None,
    All,
    /// Each write or not, as chance has it.
    Some,
    /// Of each write, each sector or not.
    Torn,
}

/// What drives write as one.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// A file: what is safe of it, and what was done to it since.
#[derive(Debug, Default)]
struct File {
    safe: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Naming {
    Make { path: String, file: usize },
    Rename { from: String, to: String },
    Remove(String),
    Folder(String),
}

/// The files, and the names they have.
#[derive(Debug, Default, Clone)]
struct Names {
    files: BTreeMap<String, usize>,
    folders: Vec<String>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::Make { path, file } => {
                self.files.insert(path.clone(), *file);
            }
            Naming::Rename { from, to } => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Naming::Remove(path) => {
                self.files.remove(path);
            }
            Naming::Folder(path) => self.folders.push(path.clone()),
        }
    }
}

/// A disk while a process works on it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// As the process sees them.
    names: Names,
    safe_names: Names,
    pending_names: Vec<Naming>,
    /// Syncs that have begun: how much of the file and of the names each covers.
    syncs: BTreeMap<u64, (Option<(usize, usize)>, usize)>,
}

/// A disk after a cut.
#[derive(Debug)]
pub(crate) struct Image {
    files: BTreeMap<String, Vec<u8>>,
    folders: Vec<String>,
}

impl Disk {
    /// Does what the process did.
    pub(crate) fn take(&mut self, record: &Record<'_>) {
        let path = record.path.to_owned();
        match record.kind {
            Kind::Create => {
                self.files.push(File::default());
                let file = self.files.len() - 1;
                self.name(Naming::Make { path, file });
            }
            Kind::Rename => self.name(Naming::Rename {
                from: path,
                to: record.second.to_owned(),
            }),
            Kind::Unlink => self.name(Naming::Remove(path)),
            Kind::MakeFolder => self.name(Naming::Folder(path)),
            Kind::Write => self.change(record.path, || Pending::Write {
                at: record.offset as usize,
                bytes: record.data.to_vec(),
            }),
            Kind::Truncate => self.change(record.path, || Pending::Truncate(record.offset as usize)),
            Kind::SyncBegins => {
                let file = self.names.files.get(record.path).copied();
                let covers = file.map(|file| (file, self.files[file].pending.len()));
                self.syncs
                    .insert(record.number, (covers, self.pending_names.len()));
            }
            Kind::Synced => self.synced(record.number),
            Kind::Acknowledge => {}
        }
    }

    fn name(&mut self, naming: Naming) {
        self.names.apply(&naming);
        self.pending_names.push(naming);
    }

    fn change(&mut self, path: &str, pending: impl FnOnce() -> Pending) {
        // A file that was removed while it was open is on no disk any more.
        if let Some(file) = self.names.files.get(path) {
            self.files[*file].pending.push(pending());
        }
    }

    fn synced(&mut self, number: u64) {
        let Some((covers, names)) = self.syncs.remove(&number) else {
            return;
        };
        if let Some((file, count)) = covers {
            let File { safe, pending } = &mut self.files[file];
            for done in pending.drain(..count) {
                apply(safe, &done, |_| true);
            }
        }
        for naming in self.pending_names.drain(..names) {
            self.safe_names.apply(&naming);
        }
        // Another sync that goes on covers what it covers; what this one made safe is off the lists.
        for (other, other_names) in self.syncs.values_mut() {
            *other_names = other_names.saturating_sub(names);
            if let (Some((file, count)), Some((this, done))) = (other, covers)
                && *file == this
            {
                *count = count.saturating_sub(done);
            }
        }
    }

    /// What is found after power comes back.
    pub(crate) fn after_cut(&self, survivors: Survivors, rng: &mut fastrand::Rng) -> Image {
        let mut names = self.safe_names.clone();
        let named = match survivors {
            Survivors::None => 0,
            Survivors::All => self.pending_names.len(),
            Survivors::Some | Survivors::Torn => rng.usize(..=self.pending_names.len()),
        };
        for naming in self.pending_names.iter().take(named) {
            names.apply(naming);
        }
        let files = names
            .files
            .iter()
            .map(|(path, file)| {
                let File { safe, pending } = &self.files[*file];
                let mut bytes = safe.clone();
                for change in pending {
                    match survivors {
                        Survivors::None => {}
                        Survivors::All => apply(&mut bytes, change, |_| true),
                        Survivors::Some => {
                            if rng.bool() {
                                apply(&mut bytes, change, |_| true);
                            }
                        }
                        Survivors::Torn => apply(&mut bytes, change, |_| rng.bool()),
                    }
                }
                (path.clone(), bytes)
            })
            .collect();
        Image {
            files,
            folders: names.folders,
        }
    }
}

/// Applies the sectors of a change that survive.
fn apply(to: &mut Vec<u8>, change: &Pending, mut survives: impl FnMut(usize) -> bool) {
    match change {
        Pending::Write { at, bytes } => {
            let mut done = 0;
            while done < bytes.len() {
                let from = at + done;
                let sector = (SECTOR - from % SECTOR).min(bytes.len() - done);
                if survives(from / SECTOR) {
                    if to.len() < from + sector {
                        to.resize(from + sector, 0);
                    }
                    to[from..from + sector].copy_from_slice(&bytes[done..done + sector]);
                }
                done += sector;
            }
        }
        Pending::Truncate(len) => {
            if survives(0) {
                to.resize(*len, 0);
            }
        }
    }
}

impl Image {
    pub(crate) fn write_to(&self, folder: &Path) {
        for name in &self.folders {
            std::fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        for (path, bytes) in &self.files {
            if path != "acknowledged" {
                std::fs::write(folder.join(path), bytes).expect("a file");
            }
        }
    }
}
