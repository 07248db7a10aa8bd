//! Who may use the notifications API, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::NamedFile;
use crate::config::keystone::{self, Keystone};
use crate::config::load::SourceFault;
use crate::config::raw::masakari_auth::{RawKeystoneAuth, RawMasakariAuth};
use crate::config::secret::{self, SecretPlace};

/// What Keystone said is not believed for longer.
const LONGEST_CACHE: Duration = Duration::from_secs(3_600);

/// As long as OpenStack's own services believe it.
const CACHE: Duration = Duration::from_secs(300);

/// Who may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasakariAuth {
    /// Anybody who can reach it.
    None,
    /// Who has a name and a password.
    HttpBasic {
        /// The file with the hashes of passwords.
        file: PathBuf,
    },
    /// Who has one of these tokens.
    Token {
        /// The tokens.
        secrets: Vec<SecretPlace>,
    },
    /// Who has a token of Keystone's.
    Keystone(KeystoneAuth),
}

/// Who has a token of Keystone's with one of these roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeystoneAuth {
    /// Keystone, and the user that hem is to it.
    pub server: Keystone,
    /// Where callers are told to ask for a token.
    pub public_url: String,
    /// The roles of which one is needed.
    pub roles: Vec<String>,
    /// For how long an answer is believed.
    pub cache: Duration,
}

impl MasakariAuth {
    /// The files that its settings name.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        match self {
            Self::None => Vec::new(),
            Self::HttpBasic { file } => vec![NamedFile::secret(file, &["http_basic", "file"])],
            Self::Token { secrets } => secret::named_files(secrets.iter(), &["token", "secrets"]),
            Self::Keystone(keystone) => keystone
                .server
                .named_files()
                .into_iter()
                .map(|file| file.below(&["keystone"]))
                .collect(),
        }
    }
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: RawMasakariAuth, folder: &Path) -> Result<MasakariAuth, SourceFault> {
    Ok(match raw {
        RawMasakariAuth::None => MasakariAuth::None,
        RawMasakariAuth::HttpBasic(basic) => MasakariAuth::HttpBasic {
            file: folder.join(basic.file),
        },
        RawMasakariAuth::Token(token) => MasakariAuth::Token {
            secrets: secret::check_all(token.secrets, folder)?,
        },
        RawMasakariAuth::Keystone(keystone) => MasakariAuth::Keystone(check_keystone(keystone, folder)?),
    })
}

fn check_keystone(raw: RawKeystoneAuth, folder: &Path) -> Result<KeystoneAuth, SourceFault> {
    let cache = match raw.cache {
        None => CACHE,
        Some(cache) if cache.value.0 <= LONGEST_CACHE => cache.value.0,
        Some(cache) => {
            return Err(SourceFault::at(
                &cache,
                "an answer of Keystone's is believed for `1h` at most".to_owned(),
            ));
        }
    };
    let roles = match raw.roles {
        None => vec!["admin".to_owned()],
        Some(roles) if roles.value.is_empty() => {
            return Err(SourceFault::at(
                &roles,
                "the list is empty, so nobody could do anything; name a role, `[admin]`".to_owned(),
            ));
        }
        Some(roles) => roles.value,
    };
    let server = keystone::check_parts(raw.url, raw.ca_file, raw.user, folder)?;
    let public_url = raw.public_url.as_ref().unwrap_or(&server.url).as_str();
    Ok(KeystoneAuth {
        public_url: public_url.strip_suffix("/v3").unwrap_or(public_url).to_owned(),
        server,
        roles,
        cache,
    })
}
