//! Hooks of `oned` as hem declares hooks: one YAML document each, with the profile `onehem`.
//!
//! What a hook means is what `onehem-server.rb` makes of its attributes. A hook of the live pool gets the name
//! `oned/<name>` and a limit for its start; one that is written to a file keeps its plain name, its author's comments, and
//! remarks on what has no equal.

mod names;

use std::collections::BTreeSet;

use crate::event::id::HookName;
use crate::event::opennebula::Resource;
use crate::event::opennebula::hook_pool::{Attribute, AttributeValue, HookKind, PoolHook};
use crate::event::opennebula::template::Template;
use crate::event::opennebula::vocabulary::{
    API_CALLS, ON_WORDS, is_known_call, is_never_published, lcm_states, nearest, states,
};
use crate::hooks::invocation::SHELL_CHARACTERS;
use crate::hooks::yaml_text::{comment, remark, scalar};

/// A hook of `oned` as a hook of hem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The hook's name.
    pub name: HookName,
    /// One YAML document.
    pub text: String,
    /// What an operator should know: what has no equal, or means something else than it seems to.
    pub notes: Vec<String>,
}

/// Why a hook cannot be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undeclarable {
    /// `TYPE` is missing or none that hem knows.
    #[error("its TYPE is `{0}`, neither `state` nor `api`")]
    Kind(String),
    /// An attribute is missing or empty that a hook of its kind needs.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// `ON` is none of the words that stand for states.
    #[error("its ON is `{0}`, which is no state condition")]
    On(String),
    /// A NUL byte stands where a process could not be given it.
    #[error("its {0} holds a NUL byte")]
    Nul(&'static str),
}

/// A hook before it is declared: of the pool, or from a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onehook {
    /// Its number in the pool; a template has none.
    pub id: Option<u64>,
    /// `NAME`.
    pub name: String,
    /// `TYPE`.
    pub kind: HookKind,
    /// All other attributes.
    pub attributes: Vec<Attribute>,
    /// What its author wrote beside them.
    pub comments: Comments,
}

impl TryFrom<Template> for Onehook {
    type Error = Undeclarable;

    /// A hook as a template describes it, for `onehook create`.
    fn try_from(template: Template) -> Result<Self, Undeclarable> {
        let mut comments = Comments {
            above: Vec::new(),
            below: template.comments_below,
        };
        let mut attributes = Vec::new();
        let (mut name, mut kind) = (None, None);
        for (index, attribute) in template.attributes.into_iter().enumerate() {
            // What stands above the first attribute is about the whole.
            let about = if index == 0 {
                "NAME"
            } else {
                attribute.name.as_str()
            };
            let lines = attribute
                .comments
                .into_iter()
                .map(|line| (about.to_owned(), line));
            comments.above.extend(lines);
            match (attribute.name.as_str(), attribute.value) {
                ("NAME", AttributeValue::Text(text)) if name.is_none() => name = Some(text),
                ("TYPE", AttributeValue::Text(text)) if kind.is_none() => kind = Some(text),
                (_, value) => attributes.push(Attribute {
                    name: attribute.name,
                    value,
                }),
            }
        }
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or(Undeclarable::Missing("NAME"))?;
        let kind = kind.ok_or(Undeclarable::Missing("TYPE"))?;
        Ok(Self {
            id: None,
            name,
            kind: HookKind::parse(&kind),
            attributes,
            comments,
        })
    }
}

/// The comments of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comments {
    /// Those above an attribute, with the attribute's name in capitals; one line each.
    pub above: Vec<(String, String)>,
    /// Those below the last attribute.
    pub below: Vec<String>,
}

impl From<&PoolHook> for Onehook {
    fn from(hook: &PoolHook) -> Self {
        Self {
            id: Some(hook.id),
            name: hook.name.clone(),
            kind: hook.kind.clone(),
            attributes: hook.attributes.clone(),
            comments: Comments::default(),
        }
    }
}

/// What a declaration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// The hook stands in the set in force, for the pool that this source follows; unset where there is one source alone.
    Pool {
        /// The source's name.
        source: Option<&'a str>,
    },
    /// The hook is written to a file of the hooks folder.
    File,
}

impl Use<'_> {
    fn prefix(self) -> &'static str {
        match self {
            Self::Pool { .. } => HookName::POOL_PREFIX,
            Self::File => "",
        }
    }
}

/// Declares these hooks, in the same order. Their names depend on one another where they would come out alike, so a pool is
/// declared as a whole.
pub fn declare_all(hooks: &[Onehook], purpose: Use<'_>) -> Vec<Result<Declared, Undeclarable>> {
    let given: Vec<(Option<u64>, &str)> = hooks.iter().map(|hook| (hook.id, hook.name.as_str())).collect();
    names::unique_names(purpose.prefix(), &given)
        .into_iter()
        .zip(hooks)
        .map(|(name, hook)| declare(hook, name, purpose))
        .collect()
}

fn declare(hook: &Onehook, name: HookName, purpose: Use<'_>) -> Result<Declared, Undeclarable> {
    let mut writer = Writer {
        hook,
        purpose,
        text: String::new(),
        notes: Vec::new(),
        read: BTreeSet::new(),
        told: BTreeSet::new(),
    };
    writer.name(&name);
    writer.trigger()?;
    writer.action()?;
    writer.limits();
    writer.rest();
    Ok(Declared {
        name,
        text: writer.text,
        notes: writer.notes,
    })
}

/// Lays one document out, key by key.
struct Writer<'a> {
    hook: &'a Onehook,
    purpose: Use<'a>,
    text: String,
    notes: Vec<String>,
    /// The attributes that were looked at.
    read: BTreeSet<&'static str>,
    /// The comments that were written, by their place in the list.
    told: BTreeSet<usize>,
}

impl<'a> Writer<'a> {
    /// The first text of that attribute.
    fn attribute(&mut self, name: &'static str) -> Option<&'a str> {
        self.read.insert(name);
        self.hook
            .attributes
            .iter()
            .find_map(|attribute| match &attribute.value {
                AttributeValue::Text(text) if attribute.name == name => Some(text.as_str()),
                AttributeValue::Text(_) | AttributeValue::Vector(_) => None,
            })
    }

    /// Notes something; in a file the note stands above what is written next.
    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if self.purpose == Use::File {
            remark(&mut self.text, &format!("Note: {note}."));
        }
        self.notes.push(note);
    }

    /// The author's comments above these attributes.
    fn comments(&mut self, attributes: &[&str]) {
        let hook = self.hook;
        for (index, (attribute, line)) in hook.comments.above.iter().enumerate() {
            if attributes.contains(&attribute.as_str()) && self.told.insert(index) {
                comment(&mut self.text, line);
            }
        }
    }

    fn line(&mut self, key: &str, value: &str) {
        self.text.push_str(key);
        self.text.push_str(": ");
        self.text.push_str(value);
        self.text.push('\n');
    }

    fn name(&mut self, name: &HookName) {
        self.comments(&["NAME"]);
        let plain = name.as_str().strip_prefix(self.purpose.prefix());
        if plain != Some(self.hook.name.as_str()) {
            self.note(format!("oned calls it `{}`", self.hook.name.escape_debug()));
        }
        self.line("name", &scalar(name.as_str()));
        if let Some(id) = self.hook.id {
            self.line("id", &id.to_string());
        }
        self.line("profile", "onehem");
    }

    fn trigger(&mut self) -> Result<(), Undeclarable> {
        self.comments(&["TYPE", "RESOURCE", "ON", "STATE", "LCM_STATE", "CALL"]);
        let condition = match &self.hook.kind {
            HookKind::State => format!("state: {{ {} }}", self.state()?),
            HookKind::Api => format!("api: {{ call: {} }}", self.call()?),
            HookKind::Other(kind) => return Err(Undeclarable::Kind(kind.clone())),
        };
        let source = match self.purpose {
            Use::Pool { source: Some(source) } => format!("source: {}, ", scalar(source)),
            Use::Pool { source: None } | Use::File => String::new(),
        };
        self.line("trigger", &format!("{{ {source}{condition} }}"));
        Ok(())
    }

    fn state(&mut self) -> Result<String, Undeclarable> {
        let name = self
            .attribute("RESOURCE")
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .ok_or(Undeclarable::Missing("RESOURCE"))?;
        let resource = match Resource::parse(&name.to_ascii_uppercase()) {
            Resource::Other(_) => Resource::Other(name.to_owned()),
            known => known,
        };
        if name != resource.as_str() {
            self.note(format!("oned does not take `RESOURCE = {}`", name.escape_debug()));
        }
        let written = match &resource {
            Resource::Other(name) => {
                self.note(format!(
                    "this version of hem does not know the resource `{}`",
                    name.escape_debug()
                ));
                format!("={name}")
            }
            known => known.as_str().to_owned(),
        };
        let start = format!("resource: {}", scalar(&written));
        if resource != Resource::Vm {
            let state = self.attribute("STATE");
            let state = self.state_name("STATE", state, &states(&resource))?;
            return Ok(format!("{start}, state: {state}"));
        }
        let on = self.attribute("ON").map(|on| on.trim().to_ascii_uppercase());
        let state = self.attribute("STATE");
        let lcm_state = self.attribute("LCM_STATE");
        match on.as_deref() {
            None | Some("CUSTOM") => {}
            Some(word) => {
                return match ON_WORDS.iter().find(|(known, _)| *known == word) {
                    Some(_) => Ok(format!("{start}, on: {word}")),
                    None => Err(Undeclarable::On(word.to_owned())),
                };
            }
        }
        let pair = (state.map(str::trim), lcm_state.map(str::trim));
        let short = ON_WORDS.iter().find(|(_, meaning)| {
            meaning.is_some_and(|(state, lcm_state)| pair == (Some(state), Some(lcm_state)))
        });
        if let Some((word, _)) = short {
            return Ok(format!("{start}, on: {word}"));
        }
        let state = self.state_name("STATE", state, &states(&resource))?;
        let lcm_state = self.state_name("LCM_STATE", lcm_state, &lcm_states())?;
        Ok(format!("{start}, state: {state}, lcm_state: {lcm_state}"))
    }

    fn state_name(
        &mut self,
        attribute: &'static str,
        value: Option<&str>,
        known: &[&str],
    ) -> Result<String, Undeclarable> {
        let value = value
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .ok_or(Undeclarable::Missing(attribute))?;
        // oned keeps states in capitals, however they were written.
        let capitals = value.to_ascii_uppercase();
        if known.contains(&capitals.as_str()) {
            return Ok(scalar(&capitals));
        }
        self.unknown(attribute, &capitals, nearest(&capitals, known.iter().copied()));
        Ok(scalar(&format!("={capitals}")))
    }

    fn unknown(&mut self, attribute: &str, value: &str, near: Option<&str>) {
        let meant = near.map_or(String::new(), |name| format!("; is `{name}` meant?"));
        self.note(format!(
            "this version of hem does not know `{attribute} = {}` and compares it as it is{meant}",
            value.escape_debug()
        ));
    }

    fn call(&mut self) -> Result<String, Undeclarable> {
        let call = self
            .attribute("CALL")
            .map(str::trim)
            .filter(|call| !call.is_empty())
            .ok_or(Undeclarable::Missing("CALL"))?;
        if is_never_published(call) {
            self.note(format!(
                "oned publishes no event for `{call}`, so nothing triggers it"
            ));
        } else if is_known_call(call) {
            return Ok(scalar(call));
        } else {
            let near = nearest(call, API_CALLS.iter().copied());
            self.unknown("CALL", call, near);
        }
        Ok(scalar(&format!("={call}")))
    }

    fn action(&mut self) -> Result<(), Undeclarable> {
        let command = self
            .attribute("COMMAND")
            .filter(|command| !command.trim().is_empty())
            .ok_or(Undeclarable::Missing("COMMAND"))?;
        let arguments = self.attribute("ARGUMENTS").unwrap_or_default();
        for (name, text) in [("COMMAND", command), ("ARGUMENTS", arguments)] {
            if text.contains('\0') {
                return Err(Undeclarable::Nul(name));
            }
        }
        let on_stdin = self.attribute("ARGUMENTS_STDIN");
        let to_stdin = on_stdin.is_some_and(is_yes_or_true);

        self.comments(&["COMMAND"]);
        let reads_shell = |text: &str| text.contains(SHELL_CHARACTERS);
        if reads_shell(command) {
            self.note(
                "a shell reads the line, as with onehem-server: COMMAND holds characters that are a shell's",
            );
        }
        self.line("command", &scalar(command));

        self.comments(&["ARGUMENTS"]);
        if !arguments.trim().is_empty() {
            self.note_arguments(arguments, to_stdin);
            self.line("arguments", &scalar(arguments));
        }
        self.comments(&["ARGUMENTS_STDIN"]);
        self.note_stdin(on_stdin);
        if to_stdin {
            self.line("arguments_stdin", "true");
        }
        self.comments(&["REMOTE"]);
        self.remote();
        Ok(())
    }

    fn note_arguments(&mut self, arguments: &str, to_stdin: bool) {
        let (own, other) = match self.hook.kind {
            HookKind::Api => ("$API", "$TEMPLATE"),
            HookKind::State | HookKind::Other(_) => ("$TEMPLATE", "$API"),
        };
        let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
        if words.contains(&other) {
            self.note(format!(
                "`{other}` stands for an empty text here: an event of this kind has `{own}` alone"
            ));
        }
        for word in &words {
            let holds = |name: &str| *word != name && word.contains(name);
            if holds("$API") || holds("$TEMPLATE") {
                let becomes = if to_stdin {
                    ""
                } else {
                    ", and the shell that reads the line knows no such variable"
                };
                self.note(format!(
                    "nothing stands in for `{}`: only `$API` and `$TEMPLATE` as words of their own are replaced{becomes}",
                    word.escape_debug()
                ));
            }
        }
        if words.join(" ") != arguments.trim() {
            self.note("several blanks between arguments count as one, as with onehem-server");
        }
        let reads_shell = words
            .iter()
            .any(|word| !matches!(*word, "$API" | "$TEMPLATE") && word.contains(SHELL_CHARACTERS));
        if reads_shell && !to_stdin {
            self.note("a shell reads the line, as with onehem-server: ARGUMENTS holds characters that are a shell's");
        }
    }

    fn note_stdin(&mut self, value: Option<&str>) {
        let Some(value) = value else { return };
        if value.eq_ignore_ascii_case("true") {
            self.note(
                "the arguments go to standard input; onehem-server compares `ARGUMENTS_STDIN = true` wrongly and put \
                 them on the command line",
            );
        } else if !value.eq_ignore_ascii_case("yes") && !is_no(value) {
            self.note(format!(
                "`ARGUMENTS_STDIN = {}` counts as no: only `yes` and `true` put arguments on standard input",
                value.escape_debug()
            ));
        }
    }

    fn remote(&mut self) {
        let Some(remote) = self.attribute("REMOTE") else {
            return;
        };
        if !remote.eq_ignore_ascii_case("yes") {
            if !is_no(remote) {
                self.note(format!(
                    "`REMOTE = {}` counts as no: only `yes` runs it on another host",
                    remote.escape_debug()
                ));
            }
            return;
        }
        if self.hook.kind == HookKind::Api {
            self.note(
                "no event of an API call names a host, so every run fails and is recorded; onehem-server ran nothing and \
                 recorded nothing",
            );
        }
        self.line("remote", "true");
    }

    fn limits(&mut self) {
        self.comments(&["TIMEOUT"]);
        if let Some(text) = self.attribute("TIMEOUT") {
            let seconds = ruby_integer(text);
            if seconds.to_string() != text.trim() {
                self.note(format!(
                    "`TIMEOUT = {}` reads as {seconds}, as with onehem-server",
                    text.escape_debug()
                ));
            }
            match u64::try_from(seconds) {
                Ok(0) | Err(_) => self.note("a TIMEOUT that is not greater than 0 is no limit"),
                Ok(seconds) if seconds > LONGEST_TIMEOUT => {
                    self.note("a TIMEOUT of more than ten years is no limit");
                }
                Ok(seconds) => self.line("timeout", &format!("{seconds}s")),
            }
        }
        match self.purpose {
            // What a former leader still has in its queue must not fence hosts a week later.
            Use::Pool { .. } => self.line("start_within", "15m"),
            Use::File => {}
        }
    }

    /// What hem does not read, as comments.
    fn rest(&mut self) {
        let hook = self.hook;
        if self.purpose != Use::File {
            return;
        }
        let mut first: BTreeSet<&str> = BTreeSet::new();
        for attribute in &hook.attributes {
            let name = attribute.name.as_str();
            let value = match &attribute.value {
                AttributeValue::Text(_) if self.read.contains(name) && first.insert(name) => continue,
                AttributeValue::Text(text) => scalar(text),
                AttributeValue::Vector(parts) => {
                    let parts: Vec<String> = parts
                        .iter()
                        .map(|(key, value)| format!("{key} = {}", scalar(value)))
                        .collect();
                    format!("[ {} ]", parts.join(", "))
                }
            };
            let why = if first.contains(name) {
                "stands there more than once, and the first one counts"
            } else {
                "is not read by hem"
            };
            self.comments(&[name]);
            self.notes
                .push(format!("the attribute `{}` {why}", name.escape_debug()));
            comment(&mut self.text, &format!("Not read: {name} = {value}"));
        }
        let all: Vec<&str> = hook
            .comments
            .above
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        self.comments(&all);
        for line in &hook.comments.below {
            comment(&mut self.text, line);
        }
    }
}

/// What a time limit of hem may be at most, in seconds.
const LONGEST_TIMEOUT: u64 = 3_653 * 86_400;

fn is_yes_or_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("yes") || text.eq_ignore_ascii_case("true")
}

fn is_no(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("no") || text.eq_ignore_ascii_case("false")
}

/// The number at the beginning of a text as Ruby's `String#to_i` reads it; 0 where there is none.
fn ruby_integer(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut number: i64 = 0;
    let mut after_digit = false;
    for c in digits.chars() {
        match c.to_digit(10) {
            Some(digit) => {
                number = number.saturating_mul(10).saturating_add(i64::from(digit));
                after_digit = true;
            }
            // One underscore may stand between two digits.
            None if c == '_' && after_digit => after_digit = false,
            None => break,
        }
    }
    number.saturating_mul(sign)
}

#[cfg(test)]
mod tests;
