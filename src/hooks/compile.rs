//! One YAML document → a [`Hook`]. Pure: the files a hook names are looked at in [`check`](super::check).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::command_line::{self, ArgumentError};
use super::fault::{Fault, Mark, Severity};
use super::raw::{RawExpectation, RawHook, RawProfile, RawStdin, RawTest, Triggers, Words, Written};
use super::tree::{At, Node, ReadError, Value};
use super::yaml::{self, Document};
use super::{
    Action, Defaults, Hook, HookTest, Origin, Piece, Profile, StdinChoice, Template, Trigger, Version,
};
use crate::event::id::HookName;
use crate::expression::Expression;

/// Changes whenever a default of a hook changes, so that the version of a hook says everything about what it does.
const DEFAULTS_VERSION: &str = "hem hook defaults 2";

/// Characters of a hook's name. A name is part of execution ids, of keys in the store and of tables.
pub(super) const LONGEST_NAME: usize = 64;

/// A hook, and where its document says what other documents are compared with.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) hook: Hook,
    pub(super) name: Mark,
    pub(super) id: Option<Mark>,
    pub(super) command: Mark,
}

/// Compiles the text of one hook, as the store keeps it: the version an execution is pinned to.
///
/// # Errors
/// Every fault found; the text was accepted once, so a newer program refuses what an older one took.
pub fn parse_definition(text: &str, origin: &Origin, defaults: &Defaults) -> Result<Hook, Vec<Fault>> {
    let document = Document {
        text,
        line: origin.line.max(1),
    };
    let (compiled, faults) = compile(&origin.file, document, origin.file_sha256, defaults);
    match compiled {
        Some(compiled) if !faults.iter().any(Fault::is_error) => Ok(compiled.hook),
        _ => Err(faults),
    }
}

/// Compiles one document of a file; the hook is there when it has no error.
pub(super) fn compile(
    file: &Path,
    document: Document<'_>,
    file_sha256: [u8; 32],
    defaults: &Defaults,
) -> (Option<Compiled>, Vec<Fault>) {
    let mut compiler = Compiler {
        file,
        document,
        defaults,
        faults: Vec::new(),
        is_whole: true,
    };
    let compiled = compiler.read().and_then(|raw| compiler.hook(raw, file_sha256));
    let refused = compiler.faults.iter().any(Fault::is_error);
    (compiled.filter(|_| !refused), compiler.faults)
}

/// What is known while one document is compiled.
pub(super) struct Compiler<'a> {
    file: &'a Path,
    document: Document<'a>,
    defaults: &'a Defaults,
    faults: Vec<Fault>,
    /// Nothing was taken out of the document for being unreadable: what is missing was not written.
    is_whole: bool,
}

impl Compiler<'_> {
    pub(super) fn error(&mut self, mark: Mark, message: String) -> &mut Fault {
        self.record(mark, message, Severity::Error)
    }

    pub(super) fn warning(&mut self, mark: Mark, message: String) -> &mut Fault {
        self.record(mark, message, Severity::Warning)
    }

    fn record(&mut self, mark: Mark, message: String, severity: Severity) -> &mut Fault {
        let index = self.faults.len();
        self.faults
            .push(Fault::at(self.file, self.document, mark, severity, message));
        &mut self.faults[index]
    }

    /// Something that has to be there is not; silent when it may have been there and was unreadable.
    pub(super) fn missing(&mut self, mark: Mark, message: &str, hint: &str) {
        if self.is_whole {
            self.error(mark, message.to_owned()).help(hint);
        }
    }

    fn read_error(&mut self, error: ReadError) {
        self.is_whole = false;
        let mark = error.mark.unwrap_or(Mark {
            line: self.document.line,
            column: 1,
            length: 1,
        });
        let fault = self.error(mark, error.message);
        fault.hint = error.hint;
    }

    /// The raw form; every part that cannot be read is reported and left out.
    fn read(&mut self) -> Option<At<RawHook>> {
        let mut tree = match yaml::parse(self.document) {
            Ok(tree) => tree,
            Err(error) => {
                self.read_error(error);
                return None;
            }
        };
        if !matches!(tree.value, Value::Mapping(_)) {
            self.error(
                tree.mark,
                "a hook is a mapping: `name: …`, `trigger: …`, `command: …`".to_owned(),
            );
            return None;
        }
        drop_extensions(&mut tree);
        loop {
            match At::<RawHook>::deserialize(&tree) {
                Ok(raw) => return Some(raw),
                Err(mut error) => {
                    let mark = error.mark;
                    explain_misplaced(&mut error, &tree);
                    self.read_error(error);
                    // Each round takes something out of the tree, so this comes to an end.
                    if !mark.is_some_and(|mark| tree.remove(mark)) {
                        return None;
                    }
                }
            }
        }
    }

    fn hook(&mut self, raw: At<RawHook>, file_sha256: [u8; 32]) -> Option<Compiled> {
        let start = raw.mark;
        let mut raw = raw.value;
        let profile = match raw.profile.as_ref().map(|profile| profile.value) {
            Some(RawProfile::Onehem) => Profile::Onehem,
            Some(RawProfile::Hem) | None => Profile::Hem,
        };
        let name = self.name(raw.name.take(), start);
        let triggers = self.triggers(raw.trigger.take(), start);
        let when = raw.when.take().and_then(|when| self.condition(&when));
        let catch_up = self.catch_up(raw.catch_up.take(), &triggers);
        let policy = self.policy(&mut raw, profile);
        let tests = self.tests(raw.tests.take());
        let command = raw.command.take();
        if command.is_none() {
            self.missing(
                start,
                "the hook has no `command`",
                "write `command: path/of/script.sh`",
            );
        }
        let command_mark = command.as_ref().map_or(start, |command| command.mark);
        let id = raw.id.take();
        let description = raw.description.take().map(|description| description.value);
        let enabled = raw.enabled.take().is_none_or(|enabled| enabled.value);
        let action = self.action(raw, command, profile)?;
        let (name, name_mark) = name?;
        if triggers.is_empty() {
            return None;
        }
        Some(Compiled {
            hook: Hook {
                name,
                oned_id: id.as_ref().map(|id| id.value),
                description,
                enabled,
                profile,
                triggers,
                when,
                catch_up,
                action,
                policy,
                tests,
                origin: Origin {
                    file: self.file.to_owned(),
                    line: self.document.line,
                    file_sha256,
                },
                text: Arc::from(self.document.text),
                version: version(self.document.text, self.defaults),
            },
            name: name_mark,
            id: id.map(|id| id.mark),
            command: command_mark,
        })
    }

    fn name(&mut self, name: Option<At<String>>, start: Mark) -> Option<(HookName, Mark)> {
        let Some(name) = name else {
            self.missing(
                start,
                "the hook has no `name`",
                "write `name: …`; it must be unique in the folder",
            );
            return None;
        };
        if name.value.len() > LONGEST_NAME {
            self.error(
                name.mark,
                format!("a hook's name has at most {LONGEST_NAME} characters"),
            );
            return None;
        }
        let checked = if self.file == Path::new(Origin::POOL) {
            pool_name(&name.value)
        } else {
            HookName::new(&name.value)
        };
        match checked {
            Ok(checked) => Some((checked, name.mark)),
            Err(message) => {
                self.error(name.mark, message);
                None
            }
        }
    }

    fn triggers(&mut self, raw: Option<At<Triggers>>, start: Mark) -> Vec<Trigger> {
        let Some(raw) = raw else {
            self.missing(
                start,
                "the hook has no `trigger`",
                "write `trigger: { state: { resource: VM, on: RUNNING } }` or `trigger: { api: { call: one.vm.allocate } }`",
            );
            return Vec::new();
        };
        if raw.value.0.is_empty() && self.is_whole {
            self.error(raw.mark, "the list of triggers is empty".to_owned());
        }
        let outer = raw.mark;
        raw.value
            .0
            .into_iter()
            .flat_map(|trigger| {
                let mark = Some(trigger.mark)
                    .filter(|mark| *mark != Mark::default())
                    .unwrap_or(outer);
                self.trigger(trigger.value, mark)
            })
            .collect()
    }

    fn catch_up(&mut self, raw: Option<At<bool>>, triggers: &[Trigger]) -> bool {
        let Some(raw) = raw else {
            return self.defaults.catch_up;
        };
        let has_state = triggers
            .iter()
            .any(|trigger| matches!(trigger, Trigger::State(_)));
        if raw.value && !has_state && !triggers.is_empty() {
            self.warning(
                raw.mark,
                "`catch_up` does nothing: the hook has no `state` trigger".to_owned(),
            )
            .help("only states can be caught up with; the calls of a gap are gone");
        }
        raw.value
    }

    fn condition(&mut self, when: &At<String>) -> Option<Expression> {
        match Expression::compile(when.value.trim()) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let lead = when.value.len() - when.value.trim_start().len();
                let mark = self.within(when.mark, &when.value, error.offset.map(|offset| offset + lead));
                self.error(
                    mark,
                    format!("the condition cannot be compiled: {}", error.message),
                );
                None
            }
        }
    }

    /// The place of a byte of a scalar, where the scalar stands in one line as it is; the whole scalar otherwise.
    fn within(&self, mark: Mark, scalar: &str, offset: Option<usize>) -> Mark {
        let place = || {
            let before = scalar.get(..offset?)?.chars().count();
            let line = self
                .document
                .text
                .lines()
                .nth(mark.line.checked_sub(self.document.line)?)?;
            let written: String = line.chars().skip(mark.column - 1).collect();
            let quotes = usize::from(written.starts_with(['"', '\'']));
            let is_plain = written
                .chars()
                .skip(quotes)
                .zip(scalar.chars())
                .filter(|(a, b)| a == b)
                .count()
                == scalar.trim_end().chars().count().max(1);
            is_plain.then_some(Mark {
                line: mark.line,
                column: mark.column + quotes + before,
                length: 1,
            })
        };
        place().unwrap_or(mark)
    }

    fn action(&mut self, raw: RawHook, command: Option<At<String>>, profile: Profile) -> Option<Action> {
        let shell = raw.shell.as_ref().is_some_and(|shell| shell.value);
        if let Some(mark) = raw
            .shell
            .as_ref()
            .filter(|_| shell && profile == Profile::Onehem)
            .map(|shell| shell.mark)
        {
            self.error(mark, "`shell` is for the profile `hem`".to_owned())
                .help("the profile `onehem` uses a shell where Ruby's popen would");
        }
        let remote = raw.remote.as_ref().is_some_and(|remote| remote.value);
        if let Some(secrets) = raw.secrets.as_ref().filter(|_| remote) {
            self.error(
                secrets.mark,
                "`secrets` cannot be given to a script on another host".to_owned(),
            )
            .help("they would stand in the command line of `ssh`: let the script read them there");
        }
        let arguments_stdin = raw.arguments_stdin.as_ref().is_some_and(|choice| choice.value);
        if let Some(stdin) = raw.stdin.as_ref().filter(|_| arguments_stdin) {
            self.error(
                stdin.mark,
                "standard input is taken by `arguments_stdin`".to_owned(),
            )
            .help("take one of them out");
        }
        let program = command
            .as_ref()
            .and_then(|command| self.program(command, shell, profile, remote));
        let (arguments, raw_arguments) = self.arguments(raw.arguments, profile, !(arguments_stdin || shell));
        let directory = raw.cwd.and_then(|cwd| self.absolute(cwd, "cwd"));
        let env = self.env(raw.env);
        let pass_env = raw
            .pass_env
            .map(|names| names.value)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| self.variable(&name.value, name.mark))
            .map(|name| name.value)
            .collect();
        let secrets = self.secrets(raw.secrets, &env);
        let command = command?.value;
        Some(Action {
            command,
            program: program?,
            arguments,
            raw_arguments,
            arguments_stdin,
            stdin: match raw.stdin.map(|stdin| stdin.value) {
                Some(RawStdin::Payload) => StdinChoice::Payload,
                Some(RawStdin::Base64) => StdinChoice::Base64,
                Some(RawStdin::Event) => StdinChoice::Event,
                Some(RawStdin::None) | None => StdinChoice::None,
            },
            directory,
            scripts_dir: match profile {
                Profile::Hem => self.defaults.scripts_dir.clone(),
                Profile::Onehem => self.defaults.onehem_scripts_dir.clone(),
            },
            env,
            pass_env,
            secrets,
            remote,
            shell,
        })
    }

    fn program(
        &mut self,
        command: &At<String>,
        shell: bool,
        profile: Profile,
        remote: bool,
    ) -> Option<PathBuf> {
        let text = command.value.as_str();
        if text.trim().is_empty() {
            self.error(command.mark, "the command is empty".to_owned());
            return None;
        }
        if text.contains('\0') {
            self.error(command.mark, "a command cannot hold a NUL byte".to_owned());
            return None;
        }
        if profile == Profile::Hem && command_line::holds_expression(text) {
            let hint = if shell {
                "values would be read by the shell: put `${{ … }}` into `arguments` and use `\"$1\"`"
            } else {
                "put `${{ … }}` into `arguments`"
            };
            self.error(command.mark, "`${{ }}` cannot stand in a command".to_owned())
                .help(hint);
            return None;
        }
        if shell {
            return Some(PathBuf::from("/bin/sh"));
        }
        let (folder, program) = match profile {
            Profile::Hem => (&self.defaults.scripts_dir, text),
            Profile::Onehem => {
                let first = text.split_ascii_whitespace().next().unwrap_or(text);
                (&self.defaults.onehem_scripts_dir, first)
            }
        };
        let folder = if remote {
            &self.defaults.remote_scripts_dir
        } else {
            folder
        };
        Some(folder.join(program))
    }

    fn arguments(
        &mut self,
        raw: Option<At<Words>>,
        profile: Profile,
        reads_options: bool,
    ) -> (Vec<Template>, Option<String>) {
        let Some(raw) = raw else {
            return (Vec::new(), None);
        };
        let mut marks = Vec::new();
        let mut arguments = Vec::new();
        let raw_line = match raw.value {
            Words::Line(line) => {
                match command_line::split(&line, profile) {
                    Ok(words) => {
                        marks.resize(words.len(), raw.mark);
                        arguments = words;
                    }
                    Err(error) => self.argument_error(error, raw.mark, &line),
                }
                line
            }
            Words::List(items) => {
                let mut texts = Vec::new();
                for At {
                    value: Written(text),
                    mark,
                } in items
                {
                    match command_line::word(&text, profile) {
                        Ok(template) => {
                            arguments.push(template);
                            marks.push(mark);
                        }
                        Err(error) => self.argument_error(error, mark, &text),
                    }
                    texts.push(text);
                }
                texts.join(" ")
            }
        };
        if reads_options {
            self.warn_of_options(&arguments, &marks);
        }
        (arguments, (profile == Profile::Onehem).then_some(raw_line))
    }

    fn argument_error(&mut self, error: ArgumentError, mark: Mark, text: &str) {
        let mark = self.within(mark, text, error.offset);
        let fault = self.error(mark, error.message);
        fault.hint = error.hint.map(str::to_owned);
    }

    /// A value that begins with `-` reads as an option to most programs, and users choose names.
    fn warn_of_options(&mut self, arguments: &[Template], marks: &[Mark]) {
        for (argument, mark) in arguments.iter().zip(marks) {
            match argument {
                Template::Text(pieces) => match pieces.as_slice() {
                    [Piece::Literal(text)] if text == "--" => return,
                    [Piece::Value(expression), ..] => {
                        let message = format!(
                            "the value of `{}` could begin with `-` and read as an option",
                            expression.text()
                        );
                        self.warning(*mark, message)
                            .help("put `--` before it, or write `--name=${{ … }}`");
                    }
                    _ => {}
                },
                Template::ResourceElement | Template::CallInfo => {}
            }
        }
    }

    fn absolute(&mut self, path: At<String>, what: &str) -> Option<PathBuf> {
        if Path::new(&path.value).is_absolute() && !path.value.contains('\0') {
            return Some(PathBuf::from(path.value));
        }
        self.error(
            path.mark,
            format!("`{what}` is no absolute path: `{}`", path.value.escape_debug()),
        );
        None
    }

    fn env(&mut self, raw: Option<At<BTreeMap<String, At<Written>>>>) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for (name, value) in raw.map(|env| env.value).unwrap_or_default() {
            let At {
                value: Written(text),
                mark,
            } = value;
            if text.contains('\0') {
                self.error(mark, format!("the value of `{name}` cannot hold a NUL byte"));
            } else if self.variable(&name, mark) {
                env.insert(name, text);
            }
        }
        env
    }

    fn secrets(
        &mut self,
        raw: Option<At<BTreeMap<String, At<String>>>>,
        env: &BTreeMap<String, String>,
    ) -> BTreeMap<String, PathBuf> {
        let mut secrets = BTreeMap::new();
        for (name, file) in raw.map(|secrets| secrets.value).unwrap_or_default() {
            let mark = file.mark;
            if env.contains_key(&name) {
                self.error(mark, format!("`{name}` is in `env` already"));
            } else if self.variable(&name, mark)
                && let Some(file) = self.absolute(file, &name)
            {
                secrets.insert(name, file);
            }
        }
        secrets
    }

    fn variable(&mut self, name: &str, mark: Mark) -> bool {
        let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            self.error(
                mark,
                format!("`{}` is no name of a variable", name.escape_debug()),
            )
            .help("letters, digits and `_`, and no digit first");
        } else if name.starts_with("HEM_") {
            self.error(
                mark,
                format!("`{name}`: names that begin with `HEM_` are set by hem"),
            );
        } else {
            return true;
        }
        false
    }

    fn tests(&mut self, raw: Option<At<Vec<At<RawTest>>>>) -> Vec<HookTest> {
        raw.map(|tests| tests.value)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|At { value: test, mark }| {
                let Some(event) = test.event else {
                    self.missing(
                        mark,
                        "the test has no `event`",
                        "write `event: path/of/event.xml`",
                    );
                    return None;
                };
                let expect = test
                    .expect
                    .map_or_else(RawExpectation::default, |expect| expect.value);
                let expect_match = expect.matches.is_none_or(|matches| matches.value);
                if let Some(argv) = expect.argv.as_ref().filter(|_| !expect_match) {
                    self.error(argv.mark, "a hook that does not match has no `argv`".to_owned());
                }
                Some(HookTest {
                    event: PathBuf::from(event.value),
                    expect_match,
                    expect_argv: expect
                        .argv
                        .map(|argv| argv.value.into_iter().map(|word| word.value.0).collect()),
                    line: mark.line,
                })
            })
            .collect()
    }
}

/// A name as hooks of the controller's pool have it: with the prefix that keeps it apart from those of `hooks.d`.
fn pool_name(name: &str) -> Result<HookName, String> {
    let plain = name.strip_prefix(HookName::POOL_PREFIX).ok_or_else(|| {
        format!(
            "the name of a hook of oned's pool begins with `{}`",
            HookName::POOL_PREFIX
        )
    })?;
    HookName::new(plain)?;
    Ok(HookName::trusted(name))
}

fn version(text: &str, defaults: &Defaults) -> Version {
    let mut hash = Sha256::new();
    for part in [
        DEFAULTS_VERSION.as_bytes(),
        defaults.scripts_dir.as_os_str().as_encoded_bytes(),
        defaults.onehem_scripts_dir.as_os_str().as_encoded_bytes(),
        text.as_bytes(),
    ] {
        // The length keeps parts apart: no path and text can add up to those of another hook.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Version(hash.finalize().into())
}

/// Keys that begin with `x-` are places for anchors.
fn drop_extensions(tree: &mut Node) {
    if let Value::Mapping(entries) = &mut tree.value {
        entries.retain(|(key, _)| !matches!(&key.value, Value::Text(name) if name.starts_with("x-")));
    }
}

/// OpenNebula's templates are flat and hem's triggers are not: say where a template's attribute belongs.
fn explain_misplaced(error: &mut ReadError, tree: &Node) {
    let Some(name) = error
        .message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.strip_suffix('`'))
    else {
        return;
    };
    let Value::Mapping(entries) = &tree.value else {
        return;
    };
    let is_top_level = entries.iter().any(|(key, _)| Some(key.mark) == error.mark);
    if !is_top_level {
        return;
    }
    let hint = match name.to_ascii_lowercase().as_str() {
        "resource" | "on" | "state" | "lcm_state" | "from" => {
            "it belongs into the trigger: `trigger: { state: { resource: VM, on: RUNNING } }`"
        }
        "call" | "api" | "result" => {
            "it belongs into the trigger: `trigger: { api: { call: one.vm.allocate } }`"
        }
        "type" => "the kind of trigger says it: `trigger: { state: { … } }` or `trigger: { api: { … } }`",
        "backoff" | "attempts" => "it belongs into `retry: { attempts: 5, backoff: 2s..5m }`",
        _ => return,
    };
    error.hint = Some(hint.to_owned());
}
