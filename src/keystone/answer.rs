//! What Keystone's answers about tokens say.

use serde::Deserialize;

use crate::event::time::Timestamp;

/// Longer names are cut nowhere in Keystone: what has them is no answer of it.
const LONGEST_NAME: usize = 255;

/// What Keystone says of a token that it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// When it ends.
    pub expires: Timestamp,
    /// The name of whom it was given to.
    pub user: String,
    /// The id of the project it is for; none where it is for none.
    pub project: Option<String>,
    /// The names of the roles that it gives.
    pub roles: Vec<String>,
}

/// What of an answer about a token cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON of that form.
    #[error("it does not describe a token")]
    Form(#[source] serde_json::Error),
    /// Its time is none.
    #[error("`expires_at` is no time")]
    Time(#[source] crate::event::time::InvalidTime),
    /// A name in it is too long.
    #[error("a name in it has more than {LONGEST_NAME} characters")]
    Name,
}

#[derive(Deserialize)]
struct Answer {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    expires_at: String,
    user: Named,
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

/// Reads the body of an answer to `POST` or `GET /v3/auth/tokens`.
pub(super) fn token_facts(body: &[u8]) -> Result<TokenFacts, Unreadable> {
    let Answer { token } = serde_json::from_slice(body).map_err(Unreadable::Form)?;
    let is_long = |named: &Named| {
        [&named.id, &named.name]
            .iter()
            .any(|text| text.chars().count() > LONGEST_NAME)
    };
    if is_long(&token.user) || token.project.iter().chain(&token.roles).any(is_long) {
        return Err(Unreadable::Name);
    }
    Ok(TokenFacts {
        expires: token.expires_at.parse().map_err(Unreadable::Time)?,
        user: token.user.name,
        project: token.project.map(|project| project.id),
        roles: token.roles.into_iter().map(|role| role.name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_read_with_its_roles_and_its_end() {
        let answer = json!({"token": {
            "methods": ["password"],
            "expires_at": "2026-11-22T11:00:00.000000Z",
            "user": {"id": "a1", "name": "nova", "domain": {"id": "default", "name": "Default"}, "password_expires_at": null},
            "project": {"id": "b2", "name": "service", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "c3", "name": "admin"}, {"id": "c4", "name": "service"}],
            "catalog": [],
        }});
        let facts = token_facts(answer.to_string().as_bytes()).expect("a token");
        assert_eq!(
            facts,
            TokenFacts {
                expires: "2026-11-22T11:00:00Z".parse().expect("a time"),
                user: "nova".to_owned(),
                project: Some("b2".to_owned()),
                roles: vec!["admin".to_owned(), "service".to_owned()],
            }
        );
    }

    #[test]
    fn a_token_for_no_project_has_no_roles() {
        let answer =
            br#"{"token": {"expires_at": "2026-11-22T11:00:00Z", "user": {"id": "a", "name": "b"}}}"#;
        let facts = token_facts(answer).expect("a token");
        assert_eq!((facts.project, facts.roles), (None, Vec::new()));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in "\\PC{0,60}", time in "\\PC{0,30}", name in ".{0,300}") {
            let _ = token_facts(body.as_bytes());
            let answer = json!({"token": {"expires_at": time, "user": {"id": "a", "name": name}}});
            let _ = token_facts(answer.to_string().as_bytes());
            let answer = json!({"token": {"expires_at": "2026-11-22T11:00:00Z", "user": {"id": "a", "name": name}}});
            prop_assert_eq!(token_facts(answer.to_string().as_bytes()).is_ok(), name.chars().count() <= LONGEST_NAME);
        }
    }
}
