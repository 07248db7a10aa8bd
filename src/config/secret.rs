//! Where secrets are, checked. They never stand in `hem.yaml` itself.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::NamedFile;
use super::load::SourceFault;
use super::raw::secret::RawSecret;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretPlace {
    /// In this file.
    File(PathBuf),
    /// In this variable of the daemon's environment.
    Variable(String),
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Variable(name) => write!(f, "the variable `{name}`"),
        }
    }
}

/// The file that this setting names, if it is one.
pub(super) fn named_file<'a>(place: &'a SecretPlace, setting: &[&str]) -> Option<NamedFile<'a>> {
    match place {
        SecretPlace::File(path) => Some(NamedFile::secret(path, &[setting, &["file"]].concat())),
        SecretPlace::Variable(_) => None,
    }
}

/// The files among the places that a list of this setting names.
pub(super) fn named_files<'a>(
    places: impl Iterator<Item = &'a SecretPlace>,
    setting: &[&str],
) -> Vec<NamedFile<'a>> {
    let file = |(index, place): (usize, &'a SecretPlace)| {
        let index = index.to_string();
        named_file(place, &[setting, &[index.as_str()]].concat())
    };
    places.enumerate().filter_map(file).collect()
}

/// Of a list of secrets any one will do. `folder` is what relative paths are relative to.
pub(super) fn check_all(
    raw: Spanned<Vec<Spanned<RawSecret>>>,
    folder: &Path,
) -> Result<Vec<SecretPlace>, SourceFault> {
    if raw.value.is_empty() {
        return Err(SourceFault::at(
            &raw,
            "the list is empty; name a file, `secrets: [{ file: … }]`".to_owned(),
        ));
    }
    raw.value
        .into_iter()
        .map(|secret| check(secret, folder))
        .collect()
}

/// One secret.
pub(super) fn check(raw: Spanned<RawSecret>, folder: &Path) -> Result<SecretPlace, SourceFault> {
    match (&raw.value.file, &raw.value.env) {
        (Some(file), None) => Ok(SecretPlace::File(folder.join(file))),
        (None, Some(variable)) => Ok(SecretPlace::Variable(variable.0.clone())),
        _ => Err(SourceFault::at(
            &raw,
            "a secret is in a file or in the environment: write `file: …` or `env: …`".to_owned(),
        )),
    }
}
