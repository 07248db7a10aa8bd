//! A power cut, simulated: what a process writes to its store and when it syncs is recorded, and from the record the disk
//! is made as it could be after a cut at any moment. From each such disk the store must open, with everything that was
//! acknowledged before the cut, whole.
//!
//! What may be after a cut: everything that was synced; of the writes since, each or not, or a part of its sectors; of the
//! names made, changed and removed since the last sync, the first so many (journaling file systems keep their order).
//! `sync_file_range`, with which sled flushes, syncs nothing.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "the test and the example use their own parts; a harness that cannot go on says where"
)]

mod disk;
pub(crate) mod image;
mod writer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::{Disk, Kind, Log, Survivors};
use hem::engine::execution::State;
use hem::event::id::Seq;
use hem::runner::Outcome;
use hem::store::Store;
pub(crate) use writer::{Load, write};

/// How to start the process that writes: its folder and the load's name follow the arguments.
#[derive(Debug, Clone)]
pub(crate) struct WriterProgram {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The variables in which the folder and the load's name are given.
    pub(crate) folder_variable: &'static str,
    pub(crate) load_variable: &'static str,
}

/// What came of the cuts, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Records of writes, syncs and names.
    pub(crate) recorded: u64,
    /// Moments at which power was cut.
    pub(crate) moments: u64,
    /// Disks that were made.
    pub(crate) disks: u64,
    /// Acknowledged records looked for, in all of them.
    pub(crate) looked_for: u64,
    /// Disks from which the store did not open, by what it said.
    pub(crate) does_not_open: BTreeMap<String, u64>,
    /// Acknowledged records that were not there or not whole.
    pub(crate) lost: Vec<String>,
}

impl Figures {
    /// Adds those of another recording.
    pub(crate) fn add(&mut self, other: Self) {
        self.recorded += other.recorded;
        self.moments += other.moments;
        self.disks += other.disks;
        self.looked_for += other.looked_for;
        for (said, count) in other.does_not_open {
            *self.does_not_open.entry(said).or_default() += count;
        }
        self.lost.extend(other.lost);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.does_not_open.is_empty() && self.lost.is_empty()
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} operations, {} cuts, {} disks, {} acknowledged records looked for, {} lost",
            self.recorded,
            self.moments,
            self.disks,
            self.looked_for,
            self.lost.len()
        )?;
        for (said, count) in &self.does_not_open {
            writeln!(f, "  {count} do not open: {said}")?;
        }
        for lost in self.lost.iter().take(20) {
            writeln!(f, "  {lost}")?;
        }
        Ok(())
    }
}

/// Records a load and cuts the power `cuts` times: in the first half of them just after something was acknowledged.
pub(crate) fn cut_power(program: &WriterProgram, load: Load, cuts: usize, seed: u64) -> Figures {
    let folder = tempfile::Builder::new()
        .prefix("hem-power-")
        .tempdir()
        .expect("a folder");
    let log = record(program, load, folder.path());
    let mut rng = fastrand::Rng::with_seed(seed);
    let moments = choose(&log, cuts, &mut rng);
    let mut figures = Figures {
        recorded: log.len() as u64,
        ..Figures::default()
    };
    let mut disk = Disk::default();
    let mut acknowledged = Vec::new();
    let cut = memory_folder();
    for (index, record) in log.records().enumerate() {
        match record.kind {
            Kind::Acknowledge => acknowledged.extend(read_acknowledgement(record.data)),
            _ => disk.take(&record),
        }
        if !moments.contains(&index) {
            continue;
        }
        figures.moments += 1;
        for survivors in [Survivors::None, Survivors::All, Survivors::Some, Survivors::Torn] {
            figures.disks += 1;
            let image = cut.path().join("state");
            disk.after_cut(survivors, &mut rng).write_to(cut.path());
            let place = format!("{} after operation {index}, {survivors:?}", load.name());
            check(&image, load, &acknowledged, &place, &mut figures);
            std::fs::remove_dir_all(cut.path().join("state")).ok();
        }
    }
    figures
}

/// A folder in memory, where there is one: thousands of disks are made.
fn memory_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("hem-power-");
    builder
        .tempdir_in("/dev/shm")
        .or_else(|_| builder.tempdir())
        .expect("a folder")
}

/// Runs the writer with its file operations recorded.
fn record(program: &WriterProgram, load: Load, folder: &Path) -> Log {
    let library = folder.join("record.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cut/record.c");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .expect("a C compiler, `cc`: install gcc");
    assert!(built.success(), "record.c does not compile");
    let below = folder.join("disk");
    std::fs::create_dir(&below).expect("a folder");
    let to = folder.join("operations");
    let wrote = Command::new(&program.path)
        .args(&program.arguments)
        .env("LD_PRELOAD", &library)
        .env("RECORD_BELOW", &below)
        .env("RECORD_TO", &to)
        .env(program.folder_variable, &below)
        .env(program.load_variable, load.name())
        .stdout(std::process::Stdio::null())
        .status()
        .expect("the writer starts");
    assert!(wrote.success(), "the writer failed");
    let log = Log::read(&to);
    let syncs = log.records().filter(|record| record.kind == Kind::Synced).count();
    assert!(
        syncs > 5 && log.records().any(|record| record.kind == Kind::Acknowledge),
        "nothing was recorded: is the C library another one than glibc?"
    );
    // sled writes what does not fit into its log to files of its own, and syncs none of them.
    let outside: Vec<&str> = log
        .records()
        .filter(|record| record.kind == Kind::Create && record.path.starts_with("state/blobs/"))
        .map(|record| record.path)
        .collect();
    assert!(outside.is_empty(), "written outside the log: {outside:?}");
    log
}

fn choose(log: &Log, cuts: usize, rng: &mut fastrand::Rng) -> std::collections::BTreeSet<usize> {
    let mut after_acknowledgement: Vec<usize> = log
        .records()
        .enumerate()
        .filter(|(_, record)| record.kind == Kind::Acknowledge)
        .map(|(index, _)| index)
        .collect();
    rng.shuffle(&mut after_acknowledgement);
    let mut anywhere: Vec<usize> = (0..log.len()).collect();
    rng.shuffle(&mut anywhere);
    let first_half = after_acknowledgement.into_iter().take(cuts / 2);
    first_half.chain(anywhere).take(cuts).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    Event(u64),
    End(u64),
}

fn read_acknowledgement(line: &[u8]) -> Option<Acknowledged> {
    let line = std::str::from_utf8(line).ok()?;
    let (what, seq) = line.trim_end().split_once(' ')?;
    let seq = seq.parse().ok()?;
    match what {
        "event" => Some(Acknowledged::Event(seq)),
        "end" => Some(Acknowledged::End(seq)),
        _ => None,
    }
}

/// Keeps the disk from which a store does not open, or what is left of it after the attempt.
fn copy(folder: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("blobs")).expect("a folder");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// Opens the store of a disk and looks for all that was acknowledged.
fn check(folder: &Path, load: Load, acknowledged: &[Acknowledged], place: &str, figures: &mut Figures) {
    let store = match Store::open(folder) {
        Ok(store) => store,
        Err(error) => {
            let mut said = error.to_string().replace(&folder.display().to_string(), "…");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                said = format!("{said}: {cause}");
                source = cause.source();
            }
            if let Some(keep) = std::env::var_os("HEM_POWER_CUT_KEEP") {
                copy(folder, Path::new(&keep));
            }
            if figures.does_not_open.is_empty() {
                figures.lost.push(format!("{place}: does not open"));
            }
            *figures.does_not_open.entry(said).or_default() += 1;
            return;
        }
    };
    let newest = acknowledged.iter().map(|record| match record {
        Acknowledged::Event(seq) | Acknowledged::End(seq) => *seq,
    });
    let newest = newest.max().unwrap_or(0);
    if store.summary().last_seq < Seq(newest) {
        figures.lost.push(format!(
            "{place}: the last number is {}",
            store.summary().last_seq
        ));
    }
    // Every tenth of the oldest, and all of the newest.
    for (index, record) in acknowledged.iter().enumerate() {
        if index + 40 < acknowledged.len() && !index.is_multiple_of(10) {
            continue;
        }
        figures.looked_for += 1;
        let fault = match *record {
            // What is newest may be pruned by a batch that was being written.
            Acknowledged::Event(seq) if load == Load::Pruned && seq + writer::KEPT / 2 <= newest => None,
            Acknowledged::Event(seq) => event_fault(&store, load, seq),
            Acknowledged::End(seq) => end_fault(&store, seq),
        };
        if let Some(fault) = fault {
            figures.lost.push(format!("{place}: {record:?}: {fault}"));
        }
    }
}

fn event_fault(store: &Store, load: Load, seq: u64) -> Option<String> {
    let listed = match store.event(Seq(seq)) {
        Ok(Some(listed)) => listed,
        other => return Some(format!("{other:?}")),
    };
    if listed.event.payload.bytes() != load.payload(seq).as_slice() {
        return Some("its payload is another one".to_owned());
    }
    if listed.event.facts != writer::facts(seq) {
        return Some("it says something else".to_owned());
    }
    if load == Load::Pruned {
        return None;
    }
    match store.execution(&writer::key(seq)) {
        Ok(Some(_)) => None,
        other => Some(format!("its execution: {other:?}")),
    }
}

fn end_fault(store: &Store, seq: u64) -> Option<String> {
    let key = writer::key(seq);
    match store.execution(&key) {
        Ok(Some(execution)) if matches!(execution.progress.state, State::Settled { .. }) => {}
        other => return Some(format!("its execution: {other:?}")),
    }
    let attempts = match store.attempts(&key) {
        Ok(attempts) => attempts,
        Err(error) => return Some(format!("its attempts: {error:?}")),
    };
    let ended = attempts.first().and_then(|attempt| attempt.ended.as_ref())?;
    (ended.outcome != Outcome::Exited { code: 0 } || ended.stdout.head != writer::output(seq))
        .then(|| "its output is another one".to_owned())
}
