//! Who may use the API.

use crate::config::masakari::MasakariAuth;
use crate::listener::{Head, Response};

/// How callers are told from others.
#[derive(Debug)]
pub(super) enum Authentication {
    /// Everybody is an administrator, as with Masakari's `auth_strategy = noauth2`.
    None,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The project that the caller is in; none where callers are in no project, and then any project's addresses are theirs.
    pub(super) project: Option<String>,
    /// Whether the policy allows what only administrators may.
    pub(super) is_admin: bool,
}

impl Authentication {
    pub(super) fn build(auth: &MasakariAuth) -> Self {
        match auth {
            MasakariAuth::None => Self::None,
        }
    }

    /// Says who calls.
    ///
    /// # Errors
    /// The answer to whoever may not.
    pub(super) async fn admit(&self, _: &Head) -> Result<Identity, Response> {
        match self {
            Self::None => Ok(Identity {
                project: None,
                is_admin: true,
            }),
        }
    }
}
