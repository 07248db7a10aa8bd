//! `hem check` of hem.yaml: its text, and the files that its settings name.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Exit, Failure};
use crate::config::{Config, NamedFile, Place, PlaceInText, Places};
use crate::event::opennebula::vocabulary::nearest;
use crate::event::redaction::Redaction;
use crate::hooks::{Fault, Severity};
use crate::runner::rights::{is_open_to_others, mode};

/// What a configuration file is called where nothing else says that it is one.
const USUAL_NAMES: [&str; 2] = ["hem.yaml", "hem.yml"];

/// A configuration file, checked.
#[derive(Debug)]
pub(super) struct CheckedConfiguration {
    /// The file, as it was named.
    pub(super) file: PathBuf,
    /// What it says; none where it is refused.
    pub(super) config: Option<Config>,
    /// Everything wrong, in the order of the text.
    pub(super) faults: Vec<Fault>,
    places: Option<Places>,
    text: String,
}

/// Whether a path names a configuration, rather than hooks: by its name, else by the settings in it.
pub(super) fn is_configuration(path: &Path) -> bool {
    if USUAL_NAMES.iter().any(|name| path.ends_with(name)) {
        return true;
    }
    let settings = Config::settings();
    fs::read_to_string(path)
        .ok()
        .and_then(|text| Places::of(&text))
        .is_some_and(|places| {
            places
                .outermost()
                .any(|name| settings.iter().any(|setting| setting == name))
        })
}

/// The configuration file in a folder, where there is one.
pub(super) fn in_folder(folder: &Path) -> Option<PathBuf> {
    let mut candidates = USUAL_NAMES.iter().map(|name| folder.join(name));
    candidates.find(|file| file.is_file())
}

/// Reads and checks a configuration file.
pub(super) fn check(file: &Path) -> Result<CheckedConfiguration, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(
            Exit::Invalid,
            format!("cannot read the configuration `{}`: {error}", file.display()),
        )
    };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let path = std::path::absolute(file).map_err(unreadable)?;
    let mut checked = CheckedConfiguration {
        file: file.to_owned(),
        config: None,
        faults: Vec::new(),
        places: Places::of(&text),
        text,
    };
    match Config::check_text(&checked.text, &path, &Place::of_this_process()) {
        Ok(config) => {
            let files = config.named_files();
            checked.faults = files.iter().filter_map(|file| checked.named_file(file)).collect();
            checked.faults.extend(checked.rights());
            checked.config = Some(config);
        }
        Err(faults) => {
            let told = faults.into_iter().map(|fault| {
                let place = PlaceInText {
                    line: fault.line,
                    column: fault.column,
                };
                let severity = Severity::Error;
                told(file, &checked.text, place, severity, fault.message, fault.hint)
            });
            checked.faults = told.collect();
        }
    }
    checked.faults.sort_by_key(|fault| (fault.line, fault.column));
    Ok(checked)
}

impl CheckedConfiguration {
    /// The hooks folder cannot be read.
    pub(super) fn without_hooks(&self, config: &Config, error: &io::Error) -> Fault {
        let message = format!(
            "cannot read the hooks in `{}`: {error}",
            config.hooks_dir.display()
        );
        self.at(&["hooks_dir"], Severity::Error, message, None)
    }

    fn at(&self, setting: &[&str], severity: Severity, message: String, hint: Option<String>) -> Fault {
        let is_set = |places: &&Places| {
            let mut outermost = places.outermost();
            setting
                .first()
                .is_some_and(|first| outermost.any(|name| name == *first))
        };
        let place = self
            .places
            .as_ref()
            .filter(is_set)
            .map_or(PlaceInText { line: 0, column: 0 }, |places| places.find(setting));
        told(&self.file, &self.text, place, severity, message, hint)
    }

    /// Who may write it decides what hem runs.
    fn rights(&self) -> Option<Fault> {
        let metadata = fs::metadata(&self.file).ok()?;
        is_open_to_others(&metadata).then(|| {
            let message = format!("others may write this file ({})", mode(&metadata));
            let hint = format!("run `chmod go-w {}`", self.file.display());
            self.at(&[], Severity::Warning, message, Some(hint))
        })
    }

    /// A file that hem could not use, or that says its secret to others. The machine that checks need not be the one that runs: so
    /// these are warnings.
    fn named_file(&self, named: &NamedFile<'_>) -> Option<Fault> {
        let path = named.path.display();
        let (message, hint) = match fs::metadata(named.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (format!("there is no file `{path}`"), None)
            }
            Err(error) => (format!("cannot look at `{path}`: {error}"), None),
            Ok(file) if !file.is_file() => (format!("`{path}` is not a file"), None),
            Ok(file) if file.len() == 0 && named.is_secret => (format!("`{path}` is empty"), None),
            Ok(file) if named.is_secret && is_open_to_all(&file) => (
                format!(
                    "every user of this machine can read or write `{path}` ({})",
                    mode(&file)
                ),
                Some(format!("run `chmod o-rwx {path}`")),
            ),
            Ok(file) if is_open_to_others(&file) => (
                format!("others may write `{path}` ({})", mode(&file)),
                Some(format!("run `chmod go-w {path}`")),
            ),
            Ok(_) => return None,
        };
        let setting: Vec<&str> = named.setting.iter().map(String::as_str).collect();
        Some(self.at(&setting, Severity::Warning, message, hint))
    }
}

fn is_open_to_all(file: &Metadata) -> bool {
    file.permissions().mode() & 0o007 != 0
}

/// What was probably meant, else what there is.
pub(super) fn meant(word: &str, names: &[&str]) -> String {
    match nearest(word, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "hem.yaml has none".to_owned(),
        None => format!("there are: `{}`", names.join("`, `")),
    }
}

/// A fault with the line that it is about, and carets below the word.
pub(super) fn told(
    file: &Path,
    text: &str,
    place: PlaceInText,
    severity: Severity,
    message: String,
    hint: Option<String>,
) -> Fault {
    let line = place
        .line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index));
    let snippet = line.map(|line| {
        let shown = Redaction::default().text(line, None);
        // Carets that pointed at what is hidden, or behind it, point at where it stood.
        let same = shown
            .chars()
            .zip(line.chars())
            .take_while(|(shown, clear)| shown == clear)
            .count();
        let before = place.column.saturating_sub(1).min(same);
        let carets = word_length(shown.chars().skip(before)).max(1);
        format!("{shown}\n{}{}", " ".repeat(before), "^".repeat(carets))
    });
    Fault {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        message,
        hint,
        snippet: snippet.unwrap_or_default(),
        severity,
    }
}

/// How many characters belong to the word or the quoted text that begins here.
fn word_length(mut text: impl Iterator<Item = char>) -> usize {
    match text.next() {
        None => 0,
        Some(quote @ ('"' | '\'')) => text
            .position(|c| c == quote)
            .map_or(1, |characters| characters + 2),
        Some(_) => {
            1 + text
                .take_while(|c| !c.is_whitespace() && !",:{}[]".contains(*c))
                .count()
        }
    }
}
