//! How the daemon is reached, checked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::NamedFile;
use super::listen::{self, Listen};
use super::load::SourceFault;
use super::raw::{RawControl, RawRole, RawTokenFile};
pub use super::scalar::HostPattern;
use super::scalar::TokenName;

/// How the daemon is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Its mode.
    pub socket_mode: u32,
    /// The group it is given to.
    pub socket_group: Option<String>,
    /// Over TCP as well.
    pub tcp: Option<Tcp>,
}

/// How the daemon is reached over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Where it listens.
    pub listen: Listen,
    /// Whose tokens open it; at least one file.
    pub tokens: Vec<TokenFile>,
    /// Names by which it is reached, besides its own address.
    pub hosts: Vec<HostPattern>,
}

/// A file of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// What the audit log calls whoever has one of them.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What they allow.
    pub role: Role,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read, without what is redacted.
    Viewer,
    /// Everything.
    Operator,
}

impl Role {
    /// The name in configuration and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

impl Tcp {
    /// The files that its settings name, by the path below `control`.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = self.listen.named_files();
        files.extend(self.tokens.iter().enumerate().map(|(index, token)| {
            let index = index.to_string();
            NamedFile::secret(&token.file, &["tokens", &index, "file"])
        }));
        files
    }
}

impl Control {
    /// `folder` is what relative paths are relative to.
    pub(super) fn from_raw(raw: RawControl, defaults: Self, folder: &Path) -> Result<Self, SourceFault> {
        let tcp = match &raw.listen {
            None => {
                let stray = [
                    ("tls", raw.tls.is_some()),
                    ("limits", raw.limits.is_some()),
                    ("tokens", raw.tokens.is_some()),
                    ("hosts", raw.hosts.is_some()),
                ];
                if let Some((name, _)) = stray.into_iter().find(|(_, is_set)| *is_set) {
                    return Err(SourceFault::of_all(format!(
                        "`control`: `{name}` says something about `listen`, which is not set"
                    )));
                }
                None
            }
            Some(address) => {
                let files = raw.tokens.unwrap_or_default();
                if files.is_empty() {
                    return Err(SourceFault::at(
                        address,
                        "whoever calls over TCP needs a token: name a file in `control: { tokens }`; `hem token` makes one"
                            .to_owned(),
                    ));
                }
                Some(Tcp {
                    listen: listen::check(Some(&address.value), raw.tls, raw.limits, folder)?,
                    tokens: token_files(files, folder)?,
                    hosts: raw.hosts.unwrap_or_default(),
                })
            }
        };
        Ok(Self {
            socket: raw.socket.map_or(defaults.socket, |socket| folder.join(socket)),
            socket_mode: raw.socket_mode.map_or(defaults.socket_mode, |mode| mode.0),
            socket_group: raw.socket_group,
            tcp,
        })
    }
}

fn token_files(raw: Vec<RawTokenFile>, folder: &Path) -> Result<Vec<TokenFile>, SourceFault> {
    let mut names = BTreeSet::new();
    raw.into_iter()
        .map(|raw| {
            let name = match &raw.name {
                Some(name) => name.value.0.clone(),
                None => name_of(&raw.file)?,
            };
            if !names.insert(name.clone()) {
                return Err(SourceFault::at(
                    &raw.file,
                    format!(
                        "there are two files with tokens of the name `{name}`; say `name:` of one of them"
                    ),
                ));
            }
            Ok(TokenFile {
                name,
                file: folder.join(&raw.file.value),
                role: match raw.role {
                    RawRole::Viewer => Role::Viewer,
                    RawRole::Operator => Role::Operator,
                },
            })
        })
        .collect()
}

/// The name that a file of tokens has by itself.
fn name_of(file: &Spanned<PathBuf>) -> Result<String, SourceFault> {
    file.value
        .file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse::<TokenName>().ok())
        .map(|name| name.0)
        .ok_or_else(|| SourceFault::at(file, "the tokens of this file need a `name:`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Place};

    fn read(control: &str) -> Result<Control, String> {
        let place = Place {
            root: true,
            ..Place::default()
        };
        Config::from_text(
            &format!("control:\n{control}"),
            Path::new("/etc/hem/hem.yaml"),
            &place,
        )
        .map(|config| config.control)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_have_the_name_of_their_file_or_another() {
        let control = read(
            "  listen: 127.0.0.1:8090\n  tokens:\n    - { file: secrets/watch.tokens, role: viewer }\n    \
             - { file: /run/x, role: operator, name: ann }\n  hosts: [hem.example.org]\n",
        )
        .expect("a configuration");
        let tcp = control.tcp.expect("TCP");
        assert_eq!(
            tcp.tokens,
            [
                TokenFile {
                    name: "watch".to_owned(),
                    file: "/etc/hem/secrets/watch.tokens".into(),
                    role: Role::Viewer,
                },
                TokenFile {
                    name: "ann".to_owned(),
                    file: "/run/x".into(),
                    role: Role::Operator,
                },
            ]
        );
        assert_eq!(tcp.hosts.len(), 1);
        assert_eq!(read("  socket_group: hem\n").expect("no TCP").tcp, None);
    }

    #[test]
    fn what_would_be_open_to_anybody_or_to_nobody_is_refused_with_its_place() {
        let tokens = "tokens: [{ file: a, role: viewer }]";
        for (control, said) in [
            ("  listen: 127.0.0.1:8090\n".to_owned(), "2:11: whoever calls over TCP needs a token"),
            ("  listen: 127.0.0.1:8090\n  tokens: []\n".to_owned(), "needs a token"),
            (format!("  {tokens}\n"), "`tokens` says something about `listen`"),
            ("  hosts: [a]\n".to_owned(), "`hosts` says something about `listen`"),
            (
                "  listen: 127.0.0.1:1\n  tokens: [{ file: a, role: viewer }, { file: b/a, role: operator }]\n".to_owned(),
                "two files with tokens of the name `a`",
            ),
            (
                "  listen: 127.0.0.1:1\n  tokens: [{ file: \"a b\", role: viewer }]\n".to_owned(),
                "need a `name:`",
            ),
            (
                format!("  listen: 127.0.0.1:1\n  hosts: [\"http://x\"]\n  {tokens}\n"),
                "is no name of a host",
            ),
        ] {
            let error = read(&control).expect_err(&control);
            assert!(error.contains(said), "{error}");
        }
    }
}
