//! An existing Masakari that is read, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_saphyr::Spanned;

use crate::config::NamedFile;
use crate::config::keystone::{self, Keystone};
use crate::config::load::SourceFault;
use crate::config::raw::masakari_poll::{RawPoll, RawPollAuth, RawPollStart};
use crate::config::scalar::HttpUrl;
use crate::config::secret::{self, SecretPlace};

/// How often it may be asked at most, and must be at least.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);

/// An existing Masakari that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasakariPoll {
    /// Where its API is: with `/v1`.
    pub endpoint: HttpUrl,
    /// Who may vouch for it; the system's authorities where unset.
    pub ca_file: Option<PathBuf>,
    /// How often it is asked.
    pub every: Duration,
    /// Where the first reading begins.
    pub start: PollStart,
    /// Who hem is to it.
    pub auth: PollAuth,
}

impl MasakariPoll {
    /// The files that its settings name, by the path below the source's own.
    pub(in crate::config) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let authorities = self
            .ca_file
            .iter()
            .map(|path| NamedFile::plain(path, &["poll", "ca_file"]));
        let of_auth = match &self.auth {
            PollAuth::None => Vec::new(),
            PollAuth::HttpBasic { password, .. } => secret::named_file(password, &["http_basic", "password"])
                .into_iter()
                .collect(),
            PollAuth::Token(token) => secret::named_file(token, &["token"]).into_iter().collect(),
            PollAuth::Keystone(keystone) => keystone
                .named_files()
                .into_iter()
                .map(|file| file.below(&["keystone"]))
                .collect(),
        };
        let of_auth = of_auth.into_iter().map(|file| file.below(&["poll", "auth"]));
        authorities.chain(of_auth).collect()
    }
}

/// Where the first reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollStart {
    /// With what comes from now on.
    Latest,
    /// With the oldest notification that is there.
    Earliest,
}

/// Who hem is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollAuth {
    /// Nobody in particular.
    None,
    /// A user with a password.
    HttpBasic {
        /// The user's name.
        username: String,
        /// Where the password is.
        password: SecretPlace,
    },
    /// Who has this token.
    Token(SecretPlace),
    /// A user of Keystone's.
    Keystone(Keystone),
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: Spanned<RawPoll>, folder: &Path) -> Result<MasakariPoll, SourceFault> {
    let raw = raw.value;
    let every = match raw.every {
        None => Duration::from_secs(10),
        Some(every) if EVERY.contains(&every.value.0) => every.value.0,
        Some(every) => {
            return Err(SourceFault::at(
                &every,
                "it can be asked every `100ms` to every `1h`".to_owned(),
            ));
        }
    };
    // With a project's id behind it the version stands in the middle.
    let has_version = raw.endpoint.path().split('/').any(|part| part == "v1");
    Ok(MasakariPoll {
        endpoint: if has_version {
            raw.endpoint
        } else {
            raw.endpoint.of_version("/v1")
        },
        ca_file: raw.ca_file.map(|file| folder.join(file)),
        every,
        start: match raw.start {
            None | Some(RawPollStart::Latest) => PollStart::Latest,
            Some(RawPollStart::Earliest) => PollStart::Earliest,
        },
        auth: match raw.auth {
            None | Some(RawPollAuth::None) => PollAuth::None,
            Some(RawPollAuth::HttpBasic(user)) => PollAuth::HttpBasic {
                username: user.username,
                password: secret::check(user.password, folder)?,
            },
            Some(RawPollAuth::Token(token)) => PollAuth::Token(secret::check(token, folder)?),
            Some(RawPollAuth::Keystone(server)) => PollAuth::Keystone(keystone::check(server, folder)?),
        },
    })
}
