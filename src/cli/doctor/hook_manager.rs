//! The hook manager of each source: its two sockets, and how much it keeps for a subscriber.

use std::path::{Path, PathBuf};

use super::report::{Finding, Section};
use super::within_limit;
use crate::cli::exit::chain;
use crate::cli::onehem_server::is_this_machine;
use crate::cli::output::count;
use crate::config::{Config, OpennebulaSource};
use crate::runner::processes::Process;
use crate::sources::opennebula::probe;
use crate::sources::opennebula::zmtp::Endpoint;

/// What libzmq keeps for a subscriber unless it is told otherwise (zmq_setsockopt(3), ZMQ_SNDHWM).
const USUAL_MARK: u64 = 1000;

/// Where the hook manager publishes unless it is told otherwise (`one_hm.rb`).
const USUAL_PORT: u16 = 2101;

/// `oned`'s configuration, where OpenNebula is installed in `/`; below `$ONE_LOCATION` in the folder `etc`.
const INSTALLED: &str = "/etc/one/oned.conf";

pub(super) async fn look(config: &Config, oned_conf: Option<PathBuf>) -> Section {
    let mut findings = Vec::new();
    let oned_conf = oned_conf.unwrap_or_else(usual_oned_conf);
    for (name, source) in config.opennebula_sources() {
        let (publisher, replier) = tokio::join!(
            probe::publisher(&source.endpoint),
            probe::replier(&source.replies)
        );
        findings.push(match publisher {
            Ok(()) => Finding::ok(format!("`{name}`: it publishes at {}", source.endpoint)),
            Err(error) => Finding::fail(
                format!(
                    "`{name}`: nobody publishes at {}: {}",
                    source.endpoint,
                    chain(&error)
                ),
                "is oned up, and are the port and address those of HM_MAD in oned.conf (`-p`, `-b`)?",
            ),
        });
        findings.push(match replier {
            Ok(()) => Finding::ok(format!("`{name}`: it takes results at {}", source.replies)),
            Err(error) => Finding::fail(
                format!("`{name}`: nobody takes results at {}: {}", source.replies, chain(&error)),
                "are the port and address those of HM_MAD in oned.conf (`-l`, `-b`)? `replies:` of the source names another",
            ),
        });
        findings.push(high_water_mark(name, source, &oned_conf).await);
    }
    if config.sources.is_empty() {
        findings.push(Finding::skipped(
            "hem.yaml names no source: hem listens to nobody",
        ));
    }
    Section {
        name: "hook manager",
        findings,
    }
}

fn usual_oned_conf() -> PathBuf {
    std::env::var_os("ONE_LOCATION")
        .filter(|location| !location.is_empty())
        .map_or_else(
            || PathBuf::from(INSTALLED),
            |location| Path::new(&location).join("etc/oned.conf"),
        )
}

async fn high_water_mark(name: &str, source: &OpennebulaSource, oned_conf: &Path) -> Finding {
    let Ok(Endpoint::Tcp { host, port }) = source.endpoint.parse() else {
        return Finding::skipped(format!(
            "`{name}`: what it keeps for a subscriber is only looked for at TCP ports"
        ));
    };
    if !is_this_machine(&host) {
        return Finding::skipped(format!(
            "`{name}`: what it keeps for a subscriber is not looked for on another machine"
        ));
    }
    let running = Process::find(is_hook_manager)
        .into_iter()
        .map(|process| Settings::of(&process.words))
        .find(|settings| settings.port == port);
    let (settings, by) = match running {
        Some(settings) => (settings, "as it runs".to_owned()),
        None => {
            let by = format!("`{}`", oned_conf.display());
            let file = oned_conf.to_owned();
            let text = within_limit(move || std::fs::read_to_string(file)).await;
            let Some(Ok(text)) = text else {
                return Finding::skipped(format!(
                    "`{name}`: it does not run here, and {by} cannot be read, so what it keeps for a subscriber is not known"
                ));
            };
            match arguments_of_hook_manager(&text) {
                Some(arguments) => {
                    let words: Vec<String> = arguments.split_ascii_whitespace().map(str::to_owned).collect();
                    (Settings::of(&words), by)
                }
                None => {
                    return Finding::skipped(format!(
                        "`{name}`: it does not run here, and {by} has no arguments of HM_MAD"
                    ));
                }
            }
        }
    };
    match settings.high_water_mark {
        Some(0) => Finding::ok(format!(
            "`{name}`: it keeps any number of messages for a subscriber ({by})"
        )),
        Some(mark) if mark > USUAL_MARK => Finding::ok(format!(
            "`{name}`: it keeps {} messages for a subscriber ({by})",
            count(mark)
        )),
        mark => Finding::warn(
            format!(
                "`{name}`: it keeps only {} messages for a subscriber, and drops the others in silence ({by})",
                count(mark.unwrap_or(USUAL_MARK))
            ),
            "add `-h 20000` to ARGUMENTS of HM_MAD in oned.conf, and restart oned when it suits",
        ),
    }
}

/// The program, or the script of Ruby or of a shell.
fn is_hook_manager(words: &[String]) -> bool {
    let name = |word: &String| {
        Path::new(word)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let is_it = |name: Option<String>| name.is_some_and(|name| name == "one_hm.rb" || name == "one_hm");
    let program = words.first().and_then(name).unwrap_or_default();
    let runs_scripts = program.starts_with("ruby") || program == "sh" || program == "bash";
    is_it(Some(program)) || (runs_scripts && words.iter().skip(1).map(name).any(is_it))
}

/// What the hook manager was told that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    port: u16,
    high_water_mark: Option<u64>,
}

impl Settings {
    /// Reads the words of its command line (`one_hm.rb`, GetoptLong): `-h N`, `-hN`, `--hwm N` and `--hwm=N`, and the same of the port.
    fn of(words: &[String]) -> Self {
        let value = |short: &str, long: &str| {
            words.iter().enumerate().rev().find_map(|(at, word)| {
                let next = || {
                    words
                        .get(at + 1)
                        .map(String::as_str)
                        .filter(|next| !next.starts_with('-'))
                };
                if word == short || word == long {
                    return next();
                }
                let with_long = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
                with_long.or_else(|| word.strip_prefix(short).filter(|_| !word.starts_with("--")))
            })
        };
        Self {
            port: value("-p", "--publisher-port")
                .and_then(|port| port.parse().ok())
                .unwrap_or(USUAL_PORT),
            high_water_mark: value("-h", "--hwm").and_then(|mark| mark.parse().ok()),
        }
    }
}

/// `ARGUMENTS` of `HM_MAD = [ … ]` in `oned.conf`: names and values in quotes, comments from `#` to the end of the line.
fn arguments_of_hook_manager(text: &str) -> Option<String> {
    let mut bare = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_quotes = false;
        let end = line.find(|c| {
            in_quotes ^= c == '"';
            c == '#' && !in_quotes
        });
        bare.push_str(&line[..end.unwrap_or(line.len())]);
        bare.push('\n');
    }
    let (_, after) = bare.split_once("HM_MAD")?;
    let vector = after
        .trim_start()
        .strip_prefix('=')?
        .trim_start()
        .strip_prefix('[')?;
    let (_, after) = vector.split_once("ARGUMENTS")?;
    let value = after
        .trim_start()
        .strip_prefix('=')?
        .trim_start()
        .strip_prefix('"')?;
    let (arguments, _) = value.split_once('"')?;
    Some(arguments.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(line: &str) -> Settings {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Settings::of(&words)
    }

    #[test]
    fn the_mark_is_read_as_the_hook_manager_reads_it() {
        for (line, port, high_water_mark) in [
            ("ruby one_hm.rb -p 2101 -l 2102 -b 127.0.0.1", 2101, None),
            ("ruby one_hm.rb -p 3101 -h 5000", 3101, Some(5000)),
            ("-h5000", 2101, Some(5000)),
            ("--hwm=0 --publisher-port=7", 7, Some(0)),
            ("--hwm 12 --hwm 13", 2101, Some(13)),
            ("-h -p 2101", 2101, None),
        ] {
            assert_eq!(
                settings(line),
                Settings {
                    port,
                    high_water_mark
                },
                "{line}"
            );
        }
    }

    #[test]
    fn the_arguments_stand_in_oned_conf() {
        let text = "# HM_MAD = [ ARGUMENTS = \"-h 1\" ]\nVM_MAD = [ ARGUMENTS = \"-t 15\" ]\n\
                    HM_MAD = [ # the driver\n    EXECUTABLE = \"one_hm\", # \"\n    ARGUMENTS = \"-p 2101 -l 2102 -b 127.0.0.1\"]\n";
        assert_eq!(
            arguments_of_hook_manager(text).as_deref(),
            Some("-p 2101 -l 2102 -b 127.0.0.1")
        );
        assert_eq!(arguments_of_hook_manager("HM_MAD = []"), None);
        assert_eq!(arguments_of_hook_manager(""), None);
    }

    #[test]
    fn the_hook_manager_is_a_program_or_a_script_of_ruby() {
        let is = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            is_hook_manager(&words)
        };
        assert!(is("ruby /usr/lib/one/mads/one_hm.rb -p 2101"));
        assert!(is("/bin/sh /usr/lib/one/mads/one_hm -p 2101"));
        assert!(is("/usr/lib/one/mads/one_hm -p 2101"));
        assert!(!is("vim one_hm.rb"));
    }

    proptest! {
        #[test]
        fn no_oned_conf_makes_the_reader_panic(text in "(\\PC|\n|HM_MAD|ARGUMENTS|[=\\[\\]\"#]){0,40}") {
            let _ = arguments_of_hook_manager(&text);
        }

        #[test]
        fn no_command_line_makes_the_reader_panic(words in proptest::collection::vec("(-h|-p|--hwm)?=?\\PC{0,6}", 0..8)) {
            let _ = Settings::of(&words);
        }
    }
}
