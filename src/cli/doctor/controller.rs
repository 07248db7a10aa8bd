//! `oned`: whether it answers, takes the credentials, and leads.

use super::LIMIT;
use super::report::{Finding, Section};
use crate::cli::exit::chain;
use crate::config::{Config, Oned};
use crate::event::document;
use crate::oned::{CallError, Client, Value};

/// What was found, and the controller to ask further.
pub(super) struct Controller {
    pub(super) section: Section,
    /// Unset where it does not answer, or not to these credentials.
    pub(super) client: Option<Client>,
}

pub(super) async fn look(config: &Config) -> Controller {
    let mut findings = Vec::new();
    let client = match config.oned_to_ask() {
        Ok(oned) => {
            let client = Client::new(&oned).with_limit(LIMIT);
            let answers = pool(&client, config, &mut findings).await;
            if answers {
                findings.push(leader(&client, config, &oned).await);
            }
            answers.then_some(client)
        }
        Err(error) => {
            findings.push(Finding::fail(
                chain(&error),
                "correct ONE_XMLRPC or the file `one_endpoint`, or write `oned: { endpoint: … }` into hem.yaml",
            ));
            None
        }
    };
    Controller {
        section: Section {
            name: "oned",
            findings,
        },
        client,
    }
}

/// Asks for the pool of hooks, which only an administrator's credentials give. It is a call that `oned` publishes no event of.
async fn pool(client: &Client, config: &Config, findings: &mut Vec<Finding>) -> bool {
    let everything = [Value::Integer(-2), Value::Integer(-1), Value::Integer(-1)];
    let error = match client.text("one.hookpool.info", &everything).await {
        Ok(document) => {
            let hooks = document::parse(&document).map_or(0, |pool| pool.elements().count());
            findings.push(Finding::ok(format!(
                "oned answers at {} and takes the credentials; hooks in its pool: {hooks}",
                client.endpoint()
            )));
            if config.oned.is_none() && hooks > 0 {
                findings.push(Finding::warn(
                    "`oned:` is not in hem.yaml: hooks that were made with `onehook` are not run by hem",
                    "write `oned: {}` into hem.yaml to run them",
                ));
            }
            return true;
        }
        Err(error) => error,
    };
    let advice = match &error {
        CallError::Credentials(_) => {
            "run it as oneadmin, set ONE_AUTH, or write `oned: { auth: FILE }` into hem.yaml"
        }
        error if error.is_authentication() => {
            "the file of credentials holds another user or an old password; `oneuser show` with the same file says the same"
        }
        CallError::Refused { .. } => "hem needs the credentials of oneadmin, or of a user of its group",
        _ => "start it with `systemctl start opennebula`, or write `oned: { endpoint: … }` into hem.yaml",
    };
    findings.push(if config.oned.is_some() {
        Finding::fail(chain(&error), advice)
    } else {
        Finding::skipped(format!(
            "{}; hem.yaml has no `oned:`, so hem does without it",
            chain(&error)
        ))
    });
    false
}

/// `STATE` of `one.zone.raftstatus` (`RaftManager.h`).
async fn leader(client: &Client, config: &Config, oned: &Oned) -> Finding {
    let status = match client.text("one.zone.raftstatus", &[]).await {
        Ok(status) => status,
        Err(error) => {
            return Finding::warn(
                format!("who leads is not known: {}", chain(&error)),
                "`onezone show 0` asks the same",
            );
        }
    };
    let state = document::parse(&status).ok().and_then(|raft| {
        let state = raft.elements().find(|element| element.name == "STATE")?;
        state.text().trim().parse::<i64>().ok()
    });
    match state {
        Some(0) => Finding::ok("this front-end stands alone: there is no other leader"),
        Some(3) => Finding::ok("this front-end leads"),
        Some(1) => Finding::warn(
            "this front-end has no leader: an election is under way",
            "look again in a few seconds; `onezone show 0` names the servers",
        ),
        Some(2) if oned.leader_only && config.oned.is_some() => {
            Finding::ok("this front-end follows another one, and hem stands by (`leader_only: true`)")
        }
        Some(2) => Finding::warn(
            "this front-end follows another one, and hem would work all the same",
            "write `leader_only: true` below `oned:` in hem.yaml, or start and stop hem with the leader",
        ),
        _ => Finding::warn(
            "who leads is not known: oned's answer has no state that hem knows",
            "`onezone show 0` asks the same",
        ),
    }
}
