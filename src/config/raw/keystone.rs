//! How Keystone is asked, as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::secret::RawSecret;
use crate::config::scalar::HttpUrl;

/// Keystone, and the user that hem is to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKeystone {
    /// Where it is: `https://keystone.example.org:5000`, with or without `/v3`.
    pub url: HttpUrl,
    /// With `https`: a file in PEM form with the authorities that may vouch for it. Default: the system's own.
    pub ca_file: Option<PathBuf>,
    /// The user that hem is.
    pub user: RawKeystoneUser,
}

/// A user of Keystone's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKeystoneUser {
    /// Its name.
    pub username: String,
    /// The domain that it belongs to. Default `Default`.
    pub domain: Option<String>,
    /// Its password, in a file or in the environment; it is read again when the file changes.
    #[schemars(with = "RawSecret")]
    pub password: Spanned<RawSecret>,
    /// The project in which it works: `service`.
    pub project: String,
    /// The domain of that project. Default `Default`.
    pub project_domain: Option<String>,
}
