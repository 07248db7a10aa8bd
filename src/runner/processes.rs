//! What runs on this machine, known by its command line.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// A process and how it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The words of its command line, the program's name first. What is no UTF-8 is replaced.
    pub words: Vec<String>,
}

impl Process {
    /// All processes that can be seen and whose words say that they are meant, by process id. One that has ended and was not
    /// waited for has no words.
    pub fn find(is_meant: impl Fn(&[String]) -> bool) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let mut found: Vec<Self> = entries
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let words = words_of(pid);
                (!words.is_empty() && is_meant(&words)).then_some(Self { pid, words })
            })
            .collect();
        found.sort_by_key(|process| process.pid);
        found
    }

    /// A variable of the environment it was started with; none where it had none, or where that is not for this user to read.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| {
                let (key, value) = variable.split_at(variable.iter().position(|byte| *byte == b'=')?);
                (key == name.as_bytes()).then(|| OsString::from_vec(value[1..].to_vec()))
            })
            .next()
    }
}

/// The words of a process's command line; none where it is gone.
fn words_of(pid: u32) -> Vec<String> {
    let mut bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes
        .split(|byte| *byte == 0)
        .map(|word| OsStr::from_bytes(word).to_string_lossy().into_owned())
        .collect()
}

/// The command line of a process, blanks between the words.
pub(super) fn command_line(pid: u32) -> String {
    words_of(pid).join(" ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_found_by_its_words_and_asked_for_its_environment() {
        let mark = format!("a mark of {}", std::process::id());
        let mut child = Command::new("/bin/sh")
            .arg0("ruby")
            .args(["-c", "read line", &mark])
            .env("FOUND_BY_TEST", "a=b")
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        // Between fork and exec it still has this program's words.
        let found = loop {
            let found = Process::find(|words| words.contains(&mark));
            if !found.is_empty() {
                break found;
            }
            assert!(child.try_wait().expect("a child").is_none());
            std::thread::yield_now();
        };
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pid, child.id());
        assert_eq!(found[0].words, ["ruby", "-c", "read line", mark.as_str()]);
        assert_eq!(found[0].variable("FOUND_BY_TEST"), Some("a=b".into()));
        assert_eq!(found[0].variable("FOUND_BY"), None);
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert!(Process::find(|words| words.contains(&mark)).is_empty());
    }
}
