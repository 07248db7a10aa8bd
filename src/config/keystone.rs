//! How Keystone is asked, checked.

use std::path::{Path, PathBuf};

use super::NamedFile;
use super::load::SourceFault;
use super::raw::keystone::{RawKeystone, RawKeystoneUser};
use super::scalar::HttpUrl;
use super::secret::{self, SecretPlace};

/// What clouds call the domain that is there from the beginning.
const DOMAIN: &str = "Default";

/// Keystone, and the user that hem is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keystone {
    /// Where its version 3 is: ends with `/v3`.
    pub url: HttpUrl,
    /// Who may vouch for it; the system's authorities where unset.
    pub ca_file: Option<PathBuf>,
    /// The user.
    pub user: KeystoneUser,
}

/// A user of Keystone's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeystoneUser {
    /// Its name.
    pub username: String,
    /// The domain that it belongs to.
    pub domain: String,
    /// Where its password is.
    pub password: SecretPlace,
    /// The project in which it works.
    pub project: String,
    /// The domain of the project.
    pub project_domain: String,
}

impl Keystone {
    /// The files that its settings name.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let authorities = self
            .ca_file
            .iter()
            .map(|path| NamedFile::plain(path, &["ca_file"]));
        let password = secret::named_file(&self.user.password, &["user", "password"]);
        authorities.chain(password).collect()
    }
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: RawKeystone, folder: &Path) -> Result<Keystone, SourceFault> {
    check_parts(raw.url, raw.ca_file, raw.user, folder)
}

pub(super) fn check_parts(
    url: HttpUrl,
    ca_file: Option<PathBuf>,
    user: RawKeystoneUser,
    folder: &Path,
) -> Result<Keystone, SourceFault> {
    Ok(Keystone {
        url: url.of_version("/v3"),
        ca_file: ca_file.map(|file| folder.join(file)),
        user: KeystoneUser {
            username: user.username,
            domain: user.domain.unwrap_or_else(|| DOMAIN.to_owned()),
            password: secret::check(user.password, folder)?,
            project: user.project,
            project_domain: user.project_domain.unwrap_or_else(|| DOMAIN.to_owned()),
        },
    })
}
