//! Who may use the notifications API, as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::keystone::RawKeystoneUser;
use super::secret::RawSecret;
use crate::config::scalar::{DurationText, HttpUrl};

/// Who may use it: `none`, or one of the others with its settings, `{ http_basic: { file: users } }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RawMasakariAuth {
    /// Anybody who can reach it.
    None,
    /// Who has a name and a password.
    HttpBasic(RawHttpBasic),
    /// Who has a token that hem has too.
    Token(RawSharedToken),
    /// Who has a token of Keystone's, as with Masakari itself.
    Keystone(RawKeystoneAuth),
}

/// Who has a name and a password (`Authorization: Basic`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHttpBasic {
    /// The users with hashes of their passwords, as `htpasswd -B` makes the file: bcrypt, `apr1` or SHA-1. Read again when it changes.
    pub file: PathBuf,
}

/// Who has a token that hem has too (`X-Auth-Token`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSharedToken {
    /// The tokens; any one of them will do, so that an old and a new one both work for a while.
    #[schemars(with = "Vec<RawSecret>")]
    pub secrets: Spanned<Vec<Spanned<RawSecret>>>,
}

/// Who has a token of Keystone's with one of these roles.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKeystoneAuth {
    /// Where Keystone is: `https://keystone.example.org:5000`, with or without `/v3`.
    pub url: HttpUrl,
    /// With `https`: a file in PEM form with the authorities that may vouch for it. Default: the system's own.
    pub ca_file: Option<PathBuf>,
    /// The user as whom hem asks it; its role must allow it to look at the tokens of others.
    pub user: RawKeystoneUser,
    /// Where callers without a token are told to ask for one. Default: `url` without `/v3`.
    pub public_url: Option<HttpUrl>,
    /// The roles of which a caller needs one. Default `[admin]`.
    #[schemars(with = "Option<Vec<String>>")]
    pub roles: Option<Spanned<Vec<String>>>,
    /// For how long an answer of Keystone's is believed, and never longer than the token lasts. A token that is revoked is taken that
    /// much longer. `1h` at most. Default `5m`.
    #[schemars(with = "Option<DurationText>")]
    pub cache: Option<Spanned<DurationText>>,
}
