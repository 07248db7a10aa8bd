//! An existing Masakari that is read, as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::keystone::RawKeystone;
use super::secret::RawSecret;
use crate::config::scalar::{DurationText, HttpUrl};

/// An existing Masakari that is read. Each of its notifications is an event, and each change of a notification's status that is
/// seen is another one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPoll {
    /// Where its API is: `http://masakari.example.org:15868/v1`, with or without `/v1`.
    pub endpoint: HttpUrl,
    /// With `https`: a file in PEM form with the authorities that may vouch for it. Default: the system's own.
    pub ca_file: Option<PathBuf>,
    /// How often it is asked, from `100ms` to `1h`. Default `10s`.
    #[schemars(with = "Option<DurationText>")]
    pub every: Option<Spanned<DurationText>>,
    /// Where the first reading begins. Later ones go on where the last one stopped. Default `latest`.
    pub start: Option<RawPollStart>,
    /// Who hem is to it. Default `none`.
    pub auth: Option<RawPollAuth>,
}

/// Where the first reading begins.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawPollStart {
    /// With what comes from now on.
    Latest,
    /// With the oldest notification that is there.
    Earliest,
}

/// Who hem is to it: `none`, or one of the others with its settings, `{ token: { file: token } }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RawPollAuth {
    /// Nobody in particular.
    None,
    /// A user with a password.
    HttpBasic(RawPollUser),
    /// Who has this token; it is sent as `X-Auth-Token`.
    #[schemars(with = "RawSecret")]
    Token(Spanned<RawSecret>),
    /// A user of Keystone's.
    Keystone(RawKeystone),
}

/// A user with a password (`Authorization: Basic`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPollUser {
    /// The user's name.
    pub username: String,
    /// The password, in a file or in the environment; it is read again when the file changes.
    #[schemars(with = "RawSecret")]
    pub password: Spanned<RawSecret>,
}
