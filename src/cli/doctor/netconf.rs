//! The NETCONF servers of ESC: whether they are the right ones, let hem in, and can send again what was missed.

use tokio::time::timeout;

use super::LIMIT;
use super::report::{Finding, Section};
use crate::cli::exit::chain;
use crate::config::esc::netconf::Netconf;
use crate::config::{Config, Source};
use crate::sources::esc::netconf::probe;

/// None where no source listens to notifications.
pub(super) async fn look(config: &Config) -> Option<Section> {
    let mut findings = Vec::new();
    for (name, source) in &config.sources {
        if let Source::Esc(source) = source
            && let Some(netconf) = &source.netconf
        {
            findings.extend(server(name, netconf).await);
        }
    }
    (!findings.is_empty()).then_some(Section {
        name: "NETCONF",
        findings,
    })
}

async fn server(name: &str, rules: &Netconf) -> Vec<Finding> {
    let endpoint = &rules.endpoint;
    let reached = match timeout(2 * LIMIT, probe::reach(rules)).await {
        Ok(Ok(reached)) => reached,
        Ok(Err(error)) => {
            return vec![Finding::fail(
                format!("`{name}`: there is no way into {endpoint}: {}", chain(&error)),
                "are `endpoint`, `user`, and what hem logs in with right, and is the server's key known?",
            )];
        }
        Err(_) => {
            return vec![Finding::fail(
                format!(
                    "`{name}`: {endpoint} has not answered in {} seconds",
                    2 * LIMIT.as_secs()
                ),
                "is the server up, and is nothing in between that drops packets?",
            )];
        }
    };
    let door = Finding::ok(format!(
        "`{name}`: {endpoint} lets `{}` in; its host key is {}",
        rules.user, reached.host_key
    ));
    let replay = match reached.replay {
        Ok(since) => Finding::ok(format!(
            "`{name}`: what happens on `{}` while hem is away is sent again; it is kept since {since}",
            rules.stream
        )),
        Err(why) => Finding::warn(
            format!("`{name}`: what happens while hem is away is lost: {why}"),
            "a trigger `gap` says when; `reconcile: true` shows the deployments that there are then",
        ),
    };
    vec![door, replay]
}
