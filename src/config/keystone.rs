//! How Keystone is asked, checked.

use std::path::{Path, PathBuf};

use super::load::SourceFault;
use super::raw::keystone::RawKeystone;
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
    /// The name of the user.
    pub username: String,
    /// The domain of the user.
    pub user_domain: String,
    /// Where its password is.
    pub password: SecretPlace,
    /// The project in which it works.
    pub project: String,
    /// The domain of the project.
    pub project_domain: String,
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: RawKeystone, folder: &Path) -> Result<Keystone, SourceFault> {
    let at_password = |message| SourceFault::at(&raw.password, message);
    let url = if raw.url.path().ends_with("/v3") {
        raw.url
    } else {
        format!("{}/v3", raw.url).parse().map_err(at_password)?
    };
    Ok(Keystone {
        url,
        ca_file: raw.ca_file.map(|file| folder.join(file)),
        username: raw.username,
        user_domain: raw.user_domain.unwrap_or_else(|| DOMAIN.to_owned()),
        password: secret::check(raw.password, folder)?,
        project: raw.project,
        project_domain: raw.project_domain.unwrap_or_else(|| DOMAIN.to_owned()),
    })
}
