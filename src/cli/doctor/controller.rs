//! `oned`: whether it answers, takes the credentials, and leads.

use super::LIMIT;
use super::report::{Finding, Section};
use crate::cli::exit::chain;
use crate::config::{Config, Oned};
use crate::event::opennebula::hook_pool::{self, Pool};
use crate::oned::{CallError, Client, RaftState};

/// What was found, and the controller to ask further.
pub(super) struct Controller {
    pub(super) section: Section,
    /// Unset where it does not answer, or not to these credentials.
    pub(super) client: Option<Client>,
    /// Its hooks; none where they cannot be read.
    pub(super) pool: Option<Pool>,
}

pub(super) async fn look(config: &Config) -> Controller {
    let mut controller = Controller {
        section: Section {
            name: "oned",
            findings: Vec::new(),
        },
        client: None,
        pool: None,
    };
    let findings = &mut controller.section.findings;
    match config.oned_to_ask() {
        Ok(oned) => {
            let client = Client::new(&oned).with_limit(LIMIT);
            if let Some(document) = pool(&client, config, findings).await {
                findings.extend(of_pool(&document, config, &mut controller.pool));
                findings.push(leader(&client, config, &oned).await);
                controller.client = Some(client);
            }
        }
        Err(error) => findings.push(Finding::fail(
            chain(&error),
            "correct ONE_XMLRPC or the file `one_endpoint`, or write `oned: { endpoint: … }` into hem.yaml",
        )),
    }
    controller
}

/// Asks for the pool of hooks, as the daemon does. It is a call that `oned` publishes no event of.
async fn pool(client: &Client, config: &Config, findings: &mut Vec<Finding>) -> Option<String> {
    let error = match client.text("one.hookpool.info", &[]).await {
        Ok(document) => {
            findings.push(Finding::ok(format!(
                "oned answers at {} and takes the credentials",
                client.endpoint()
            )));
            return Some(document);
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
    None
}

/// Whether the hooks of the pool are run.
fn of_pool(document: &str, config: &Config, found: &mut Option<Pool>) -> Option<Finding> {
    match hook_pool::read(document) {
        Ok(pool) if config.oned.is_none() && !pool.hooks.is_empty() => {
            *found = Some(pool);
            Some(Finding::warn(
                "`oned:` is not in hem.yaml: hooks that were made with `onehook` are not run by hem",
                "write `oned: {}` into hem.yaml to run them",
            ))
        }
        Ok(pool) => {
            *found = Some(pool);
            None
        }
        Err(error) => Some(Finding::fail(
            format!("the hooks that oned knows cannot be read: {}", chain(&error)),
            "`onehook list -x` shows the same document",
        )),
    }
}

async fn leader(client: &Client, config: &Config, oned: &Oned) -> Finding {
    match client.raft_state().await {
        Ok(RaftState::Solo) => Finding::ok("this front-end stands alone: there is no other leader"),
        Ok(RaftState::Leader) => Finding::ok("this front-end leads"),
        Ok(RaftState::Candidate) => Finding::warn(
            "this front-end has no leader: an election is under way",
            "look again in a few seconds; `onezone show 0` names the servers",
        ),
        Ok(RaftState::Follower) if oned.leader_only && config.oned.is_some() => {
            Finding::ok("this front-end follows another one, and hem stands by (`leader_only: true`)")
        }
        Ok(RaftState::Follower) => Finding::warn(
            "this front-end follows another one, and hem would work all the same",
            "write `leader_only: true` below `oned:` in hem.yaml, or start and stop hem with the leader",
        ),
        Ok(state @ RaftState::Other(_)) => Finding::warn(
            format!("who leads is not known: oned is {state}"),
            "`onezone show 0` asks the same",
        ),
        Err(error) => Finding::warn(
            format!("who leads is not known: {}", chain(&error)),
            "`onezone show 0` asks the same",
        ),
    }
}
