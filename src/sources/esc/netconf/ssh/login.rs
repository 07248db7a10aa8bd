//! Who hem is to a server: an agent's keys, a key in a file, a password, in this order, until the server is content.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_secret_key};
use russh::{MethodKind, MethodSet};
use tokio::net::UnixStream;

use super::algorithms::rsa_hash;
use super::{Doorkeeper, SshError};
use crate::config::esc::netconf::{Netconf, PrivateKeyFile};
use crate::config::scalar::SshAgent;
use crate::event::redaction::Redaction;
use crate::secrets::{Keyring, SecretError};

/// Servers count each key that they are offered, and lose patience.
const AGENT_KEYS: usize = 4;

/// Rounds of questions that a server may ask before it lets somebody in.
const QUESTIONS: usize = 8;

/// What hem logs in with, read again when a file changes.
#[derive(Debug)]
pub(in crate::sources::esc) struct Credentials {
    password: Option<Keyring>,
    passphrase: Option<Keyring>,
}

impl Credentials {
    /// Reads them; `redaction` hides them.
    pub(in crate::sources::esc) fn read(rules: &Netconf, redaction: &Redaction) -> Result<Self, SecretError> {
        let keyring = |place| Keyring::read(std::slice::from_ref(place), redaction);
        let passphrase = rules.key.as_ref().and_then(|key| key.passphrase.as_ref());
        Ok(Self {
            password: rules.password.as_ref().map(keyring).transpose()?,
            passphrase: passphrase.map(keyring).transpose()?,
        })
    }

    /// Reads those again whose files changed.
    pub(in crate::sources::esc) fn look(&self) {
        self.password
            .iter()
            .chain(&self.passphrase)
            .for_each(Keyring::look);
    }
}

fn text(keyring: &Keyring) -> Option<String> {
    let secret = keyring.first()?;
    Some(String::from_utf8_lossy(secret.bytes()).into_owned())
}

/// Why hem is not let in.
#[derive(Debug, thiserror::Error)]
pub(in crate::sources::esc::netconf) enum LoginError {
    /// The server takes nothing of what it was offered.
    #[error("the server does not let `{user}` in: it refused {tried}{}", taken(.takes))]
    Refused {
        /// The user.
        user: String,
        /// What was offered.
        tried: String,
        /// What it would take.
        takes: Vec<&'static str>,
    },
    /// The key's file cannot be used.
    #[error("the key in `{}` cannot be used{hint}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What may be wrong with it.
        hint: &'static str,
        /// Why.
        source: russh::keys::Error,
    },
    /// Others could have the key, too.
    #[error("others may read the key in `{}` ({mode:04o}); run `chmod 600` on it", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The agent cannot be asked, and there is nothing else.
    #[error("the agent cannot be asked for its keys")]
    Agent(#[source] russh::keys::Error),
}

fn taken(methods: &[&str]) -> String {
    if methods.is_empty() {
        String::new()
    } else {
        format!("; it takes {}", methods.join(", "))
    }
}

/// What a server said to what it was offered last.
struct Attempt<'a> {
    handle: &'a mut Handle<Doorkeeper>,
    rules: &'a Netconf,
    tried: Vec<String>,
    takes: MethodSet,
}

/// Logs in.
pub(super) async fn login(
    handle: &mut Handle<Doorkeeper>,
    rules: &Netconf,
    credentials: &Credentials,
) -> Result<(), SshError> {
    // Says which methods there are, and lets in who needs none.
    let takes = match handle.authenticate_none(&rules.user).await? {
        AuthResult::Success => return Ok(()),
        AuthResult::Failure {
            remaining_methods, ..
        } => remaining_methods,
    };
    let mut attempt = Attempt {
        handle,
        rules,
        tried: Vec::new(),
        takes,
    };
    if attempt.takes(MethodKind::PublicKey) && attempt.by_agent().await? {
        return Ok(());
    }
    if let Some(key) = &rules.key
        && attempt.takes(MethodKind::PublicKey)
        && attempt.by_key(key, credentials.passphrase.as_ref()).await?
    {
        return Ok(());
    }
    if let Some(password) = credentials.password.as_ref().and_then(text)
        && attempt.by_password(&password).await?
    {
        return Ok(());
    }
    let tried = if attempt.tried.is_empty() {
        "everything".to_owned()
    } else {
        attempt.tried.join(", ")
    };
    Err(LoginError::Refused {
        user: rules.user.clone(),
        tried,
        takes: attempt.takes.iter().map(Into::into).collect(),
    }
    .into())
}

impl Attempt<'_> {
    fn takes(&self, method: MethodKind) -> bool {
        // One that says nothing may take anything.
        self.takes.is_empty() || self.takes.contains(&method)
    }

    /// Whether that was enough.
    fn is_in(&mut self, result: AuthResult, offered: String) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                self.takes = remaining_methods;
                if !partial_success {
                    self.tried.push(offered);
                }
                false
            }
        }
    }

    async fn by_agent(&mut self) -> Result<bool, SshError> {
        let asked = match &self.rules.agent {
            SshAgent::None => return Ok(false),
            SshAgent::OfEnvironment => AgentClient::connect_env().await,
            SshAgent::At(socket) => AgentClient::connect_uds(socket).await,
        };
        let has_others = self.rules.key.is_some() || self.rules.password.is_some();
        let mut agent = match asked {
            Ok(agent) => agent,
            Err(error) if has_others => {
                self.tried
                    .push(format!("an agent that cannot be asked ({error})"));
                return Ok(false);
            }
            Err(error) => return Err(LoginError::Agent(error).into()),
        };
        if let Some(binding) = self.handle.agent_session_binding() {
            // Agents that know no destinations refuse it, and sign all the same.
            let _ = agent.bind_session(binding, false).await;
        }
        let identities = agent.request_identities().await.map_err(LoginError::Agent)?;
        if identities.is_empty() {
            self.tried.push("an agent without keys".to_owned());
        }
        for identity in identities.into_iter().take(AGENT_KEYS) {
            if let AgentIdentity::PublicKey { key, .. } = identity
                && self.takes(MethodKind::PublicKey)
                && self.by_key_of(&mut agent, key).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn by_key_of(
        &mut self,
        agent: &mut AgentClient<UnixStream>,
        key: PublicKey,
    ) -> Result<bool, SshError> {
        let offered = format!("the agent's key {}", key.fingerprint(HashAlg::Sha256));
        let hash = self.hash(key.algorithm().is_rsa()).await?;
        let user = &self.rules.user;
        match self
            .handle
            .authenticate_publickey_with(user, key, hash, agent)
            .await
        {
            Ok(result) => Ok(self.is_in(result, offered)),
            Err(error) => {
                self.tried.push(format!("{offered} ({error})"));
                Ok(false)
            }
        }
    }

    async fn by_key(
        &mut self,
        file: &PrivateKeyFile,
        passphrase: Option<&Keyring>,
    ) -> Result<bool, SshError> {
        let key = read_key(file.path.clone(), passphrase.and_then(text)).await?;
        let hash = self.hash(key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let result = self.handle.authenticate_publickey(&self.rules.user, key).await?;
        Ok(self.is_in(result, format!("the key in `{}`", file.path.display())))
    }

    /// The hash with which a key of RSA signs.
    async fn hash(&self, is_rsa: bool) -> Result<Option<HashAlg>, SshError> {
        if !is_rsa {
            return Ok(None);
        }
        let told = self.handle.best_supported_rsa_hash().await?;
        Ok(rsa_hash(self.rules.legacy_algorithms, told))
    }

    async fn by_password(&mut self, password: &str) -> Result<bool, SshError> {
        let user = &self.rules.user;
        if self.takes(MethodKind::Password) {
            let result = self.handle.authenticate_password(user, password).await?;
            return Ok(self.is_in(result, "the password".to_owned()));
        }
        if !self.takes(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(user, None)
            .await?;
        for _ in 0..QUESTIONS {
            match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => break,
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    // What is shown as it is typed is no password.
                    let answers = prompts.iter().map(|prompt| {
                        if prompt.echo {
                            user.clone()
                        } else {
                            password.to_owned()
                        }
                    });
                    answer = self
                        .handle
                        .authenticate_keyboard_interactive_respond(answers.collect())
                        .await?;
                }
            }
        }
        self.tried
            .push("the password, as an answer to its questions".to_owned());
        Ok(false)
    }
}

/// Reading one that is encrypted takes its time.
async fn read_key(path: PathBuf, passphrase: Option<String>) -> Result<PrivateKey, LoginError> {
    let file = path.clone();
    let read = move || {
        refuse_open(&path)?;
        load_secret_key(&path, passphrase.as_deref()).map_err(|source| LoginError::Key {
            hint: match (&passphrase, &source) {
                (None, russh::keys::Error::KeyIsEncrypted) => {
                    "; it is encrypted, and there is no `passphrase`"
                }
                (None, _) => "",
                (Some(_), _) => " with its passphrase, which may be a wrong one",
            },
            path,
            source,
        })
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(_) => Err(LoginError::Key {
            path: file,
            hint: "",
            source: russh::keys::Error::CouldNotReadKey,
        }),
    }
}

/// As `ssh` does with the user's own keys.
fn refuse_open(path: &Path) -> Result<(), LoginError> {
    let unreadable = |source: std::io::Error| LoginError::Key {
        path: path.to_owned(),
        hint: "",
        source: source.into(),
    };
    let file = std::fs::metadata(path).map_err(unreadable)?;
    let mode = file.permissions().mode() & 0o7777;
    if file.uid() == nix::unistd::geteuid().as_raw() && mode & 0o077 != 0 {
        return Err(LoginError::OpenKey {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}
