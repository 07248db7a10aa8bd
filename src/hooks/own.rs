//! Triggers on hem's own doings: what they ask for, and their raw forms → checked ones.

use std::fmt;
use std::time::Duration;

use super::Trigger;
use super::compile::Compiler;
use super::fault::{Mark, listed};
use super::raw::{
    RawBlockedTrigger, RawExecutionTrigger, RawGapTrigger, RawMutedTrigger, RawNames, RawSourceDownTrigger,
};
use super::tree::At;
use crate::event::opennebula::vocabulary::nearest;
use crate::event::own::Outcome;

/// How long a source is away before that is an event, where the hook does not say.
const AWAY: Duration = Duration::from_secs(60);

/// Connections are looked at once a second.
const SHORTEST_AWAY: Duration = Duration::from_secs(1);

/// `trigger: { gap: … }` and the others that ask for what hem did itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnTrigger {
    /// Events may be missing.
    Gap {
        /// Of which sources.
        source: Patterns,
    },
    /// An execution reached its end.
    Execution {
        /// Of which hooks.
        hook: Patterns,
        /// Which ends.
        outcomes: Vec<Outcome>,
    },
    /// Executions are held or dropped from now on.
    Muted {
        /// Of which hooks; a mute that names none fits only where all are asked for.
        hook: Patterns,
        /// For events of which sources; likewise.
        source: Patterns,
    },
    /// An execution waits too long for another one of its lane.
    Blocked {
        /// Of which hooks.
        hook: Patterns,
    },
    /// A source is away.
    SourceDown {
        /// Which sources.
        source: Patterns,
        /// Since when at least; whole milliseconds.
        after: Duration,
    },
}

impl OwnTrigger {
    /// The attribute under which it is written, which is also the kind of event that it asks for.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Execution { .. } => "execution",
            Self::Muted { .. } => "muted",
            Self::Blocked { .. } => "blocked",
            Self::SourceDown { .. } => "source_down",
        }
    }
}

/// A choice of names, in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patterns {
    /// Any name, and none.
    Any,
    /// Names that fit one of these.
    Of(Vec<String>),
}

impl Patterns {
    /// Whether a name, which may be absent, is among them.
    pub fn fit(&self, name: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Of(patterns) => name.is_some_and(|name| patterns.iter().any(|pattern| fits(pattern, name))),
        }
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Of(patterns) => f.write_str(&patterns.join("|")),
        }
    }
}

/// Whether a name fits a pattern. Each part between two `*` is taken where it first fits, so this looks at each character
/// of the name once for each part.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

impl Compiler<'_> {
    pub(super) fn gap_trigger(&mut self, raw: At<RawGapTrigger>) -> Trigger {
        let source = self.patterns(raw.value.source, "source");
        Trigger::Own(OwnTrigger::Gap { source })
    }

    pub(super) fn execution_trigger(&mut self, raw: At<RawExecutionTrigger>) -> Option<Trigger> {
        let hook = self.patterns(raw.value.hook, "hook");
        let Some(outcome) = raw.value.outcome else {
            self.missing(
                raw.mark,
                "`execution` needs `outcome`",
                "write `outcome: failed`; `any` for all",
            );
            return None;
        };
        let outcomes = self.outcomes(outcome);
        Some(Trigger::Own(OwnTrigger::Execution { hook, outcomes }))
    }

    pub(super) fn muted_trigger(&mut self, raw: At<RawMutedTrigger>) -> Trigger {
        let hook = self.patterns(raw.value.hook, "hook");
        let source = self.patterns(raw.value.source, "source");
        Trigger::Own(OwnTrigger::Muted { hook, source })
    }

    pub(super) fn blocked_trigger(&mut self, raw: At<RawBlockedTrigger>) -> Trigger {
        let hook = self.patterns(raw.value.hook, "hook");
        Trigger::Own(OwnTrigger::Blocked { hook })
    }

    pub(super) fn source_down_trigger(&mut self, raw: At<RawSourceDownTrigger>) -> Trigger {
        let source = self.patterns(raw.value.source, "source");
        let after = match raw.value.after {
            None => AWAY,
            Some(after) => {
                if after.value.0 < SHORTEST_AWAY {
                    self.error(
                        after.mark,
                        "`after` is shorter than a second; connections are looked at once a second"
                            .to_owned(),
                    );
                }
                after.value.0
            }
        };
        Trigger::Own(OwnTrigger::SourceDown { source, after })
    }

    pub(super) fn words(&mut self, raw: At<RawNames>) -> Option<Vec<(String, Mark)>> {
        let words = match raw.value {
            RawNames::One(word) if word == "any" => return None,
            RawNames::One(word) => vec![(word, raw.mark)],
            RawNames::Of(words) => words.into_iter().map(|word| (word.value, word.mark)).collect(),
        };
        if words.is_empty() {
            self.error(raw.mark, "the list is empty".to_owned())
                .help("write `any` for all");
        }
        for (_, mark) in words.iter().filter(|(word, _)| word == "any") {
            self.error(*mark, "`any` cannot stand in a list".to_owned())
                .help("write `any` instead of the list");
        }
        Some(words)
    }

    pub(super) fn patterns(&mut self, raw: Option<At<RawNames>>, what: &str) -> Patterns {
        let Some(words) = raw.and_then(|raw| self.words(raw)) else {
            return Patterns::Any;
        };
        for (word, mark) in &words {
            if word.trim().is_empty() {
                self.error(*mark, format!("a {what}'s name must not be empty"));
            } else if word.contains(char::is_whitespace) {
                self.error(*mark, format!("`{word}` is no name of a {what}"))
                    .help("names have no blanks; several stand in a list: `[a, b]`");
            }
        }
        Patterns::Of(words.into_iter().map(|(word, _)| word).collect())
    }

    fn outcomes(&mut self, raw: At<RawNames>) -> Vec<Outcome> {
        let Some(words) = self.words(raw) else {
            return Outcome::ALL.to_vec();
        };
        let names = || Outcome::ALL.map(Outcome::as_str);
        let mut outcomes = Vec::new();
        for (word, mark) in words.into_iter().filter(|(word, _)| word != "any") {
            match Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word) {
                Some(outcome) => outcomes.push(outcome),
                None => {
                    let hint = match nearest(&word, names()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("allowed: {} and any", listed(names().into_iter())),
                    };
                    self.error(mark, format!("no such outcome `{word}`")).help(hint);
                }
            }
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, fitting, strange) in [
            ("dns", &["dns"][..], &["dn", "dnss", ""][..]),
            ("*", &["", "dns"], &[]),
            ("vm-*", &["vm-", "vm-on"], &["vm", "a-vm-on"]),
            ("*-on", &["-on", "vm-on"], &["vm-one"]),
            ("a*b*c", &["abc", "a-b-b-c"], &["acb", "ab", "abcd"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("**", &["", "x"], &[]),
        ] {
            let patterns = Patterns::Of(vec![pattern.to_owned()]);
            for name in fitting {
                assert!(patterns.fit(Some(name)), "{pattern} {name}");
            }
            for name in strange {
                assert!(!patterns.fit(Some(name)), "{pattern} {name}");
            }
            assert!(!patterns.fit(None), "{pattern}");
        }
        assert!(Patterns::Any.fit(None));
    }
}
