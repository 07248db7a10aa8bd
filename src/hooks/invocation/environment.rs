//! The environment of a hook's process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;

use super::AttemptFacts;
use crate::event::{Event, Facts};
use crate::hooks::{Hook, Profile};

/// What the `hem` profile takes from the daemon's environment; `*` stands for the rest of a name.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_*",
    "TZ",
    "SSH_AUTH_SOCK",
    "ONE*",
];

/// Where programs are looked for when the daemon itself was started without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Set only sometimes, so a daemon that was itself started by a hook must not pass its own on.
const OCCASIONAL: &[&str] = &[
    "HEM_AMBIGUOUS",
    "HEM_SYNTHESISED",
    "HEM_ENDPOINT",
    "HEM_DELIVERY",
    "HEM_HEADER_*",
];

/// The whole environment. What comes later wins: the daemon's, `env:`, then hem's own variables.
pub(super) fn environment(hook: &Hook, event: &Event, facts: &AttemptFacts<'_>) -> Vec<(OsString, OsString)> {
    let is_passed = |name: &str| match hook.profile {
        Profile::Onehem => true,
        Profile::Hem => {
            PASSED.iter().any(|pattern| fits(pattern, name)) || hook.action.pass_env.iter().any(|n| n == name)
        }
    };
    let mut variables: BTreeMap<Cow<'_, str>, String> = facts
        .daemon_environment
        .iter()
        .filter(|(name, _)| is_passed(name) && !OCCASIONAL.iter().any(|pattern| fits(pattern, name)))
        .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.clone()))
        .collect();
    variables.extend(
        hook.action
            .env
            .iter()
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.clone())),
    );
    if hook.profile == Profile::Hem {
        fill_gaps(&mut variables);
    }
    variables.extend(own(hook, event, facts));
    variables
        .into_iter()
        .map(|(name, value)| (OsString::from(name.into_owned()), OsString::from(value)))
        .collect()
}

/// What a script on another host is given besides that host's own: `env:`, `pass_env:` and hem's own variables.
pub(super) fn given(hook: &Hook, event: &Event, facts: &AttemptFacts<'_>) -> Vec<(String, String)> {
    let mut variables: BTreeMap<Cow<'_, str>, String> = facts
        .daemon_environment
        .iter()
        .filter(|(name, _)| hook.action.pass_env.iter().any(|passed| passed == name))
        .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.clone()))
        .collect();
    variables.extend(
        hook.action
            .env
            .iter()
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.clone())),
    );
    variables.extend(own(hook, event, facts));
    variables
        .into_iter()
        .map(|(name, value)| (name.into_owned(), value))
        .collect()
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

/// A daemon under a supervisor has neither locale nor, at worst, a PATH. Without a locale Ruby reads its input as US-ASCII
/// and fails at the first umlaut.
fn fill_gaps(variables: &mut BTreeMap<Cow<'_, str>, String>) {
    let is_locale = |name: &str| name == "LANG" || name.starts_with("LC_");
    if !variables
        .iter()
        .any(|(name, value)| is_locale(name) && !value.is_empty())
    {
        variables.insert(Cow::Borrowed("LANG"), "C.UTF-8".to_owned());
    }
    if variables.get("PATH").is_none_or(String::is_empty) {
        variables.insert(Cow::Borrowed("PATH"), DEFAULT_PATH.to_owned());
    }
}

/// What every script is told of its event and attempt.
fn own(hook: &Hook, event: &Event, facts: &AttemptFacts<'_>) -> Vec<(Cow<'static, str>, String)> {
    let subject = event.subject.as_ref().map_or("", |subject| subject.as_str());
    let mut own = vec![
        ("HEM_HOOK", hook.name.as_str().to_owned()),
        (
            "HEM_EVENT_ID",
            format!("{}-{}", facts.instance, facts.execution.event),
        ),
        ("HEM_EVENT_KEY", without_nul(&event.key)),
        ("HEM_EXECUTION_ID", facts.execution.with_store(facts.instance)),
        ("HEM_ATTEMPT", facts.attempt.to_string()),
        ("HEM_SUBJECT", without_nul(subject)),
        ("HEM_INSTANCE", facts.instance.as_str().to_owned()),
        ("HEM_SOURCE", without_nul(&event.source)),
    ];
    if event.ambiguous {
        own.push(("HEM_AMBIGUOUS", "1".to_owned()));
    }
    if event.synthesised {
        own.push(("HEM_SYNTHESISED", "1".to_owned()));
    }
    if let Facts::Webhook(request) = &event.facts {
        own.push(("HEM_ENDPOINT", request.endpoint.clone()));
        if let Some(delivery) = &request.delivery {
            own.push(("HEM_DELIVERY", without_nul(delivery)));
        }
    }
    if let Facts::Masakari(told) = &event.facts {
        own.extend([
            ("HEM_NOTIFICATION_UUID", without_nul(&told.uuid)),
            ("HEM_NOTIFICATION_TYPE", without_nul(&told.kind)),
            ("HEM_NOTIFICATION_STATUS", without_nul(told.status())),
            ("HEM_HOST", without_nul(&told.hostname)),
        ]);
        if let Some(previous) = told.previous_status() {
            own.push(("HEM_PREVIOUS_STATUS", without_nul(previous)));
        }
    }
    let mut own: Vec<_> = own
        .into_iter()
        .map(|(name, value)| (Cow::Borrowed(name), value))
        .collect();
    if let Facts::Webhook(request) = &event.facts {
        own.extend(request.headers.iter().map(|(name, value)| {
            let name = name.to_ascii_uppercase().replace('-', "_");
            (Cow::Owned(format!("HEM_HEADER_{name}")), without_nul(value))
        }));
    }
    if let Facts::Ncmp(told) = &event.facts {
        own.extend(told.texts().map(|(name, text)| {
            let name = name.to_ascii_uppercase();
            (Cow::Owned(format!("HEM_NCMP_{name}")), without_nul(&text))
        }));
    }
    if let Facts::Esc(event) = &event.facts {
        own.extend(event.texts().map(|(name, text)| {
            let name = name.to_ascii_uppercase();
            (Cow::Owned(format!("HEM_ESC_{name}")), without_nul(text))
        }));
    }
    if let Facts::Masakari(told) = &event.facts {
        own.extend(told.payload.iter().map(|(name, value)| {
            let name = variable_part(name);
            (Cow::Owned(format!("HEM_PAYLOAD_{name}")), without_nul(value))
        }));
    }
    own
}

/// What a key of a payload is in the name of a variable: capitals, digits and underscores.
fn variable_part(name: &str) -> String {
    name.chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// No variable carries a NUL byte; a sender that writes one into a key must not keep the hook from running.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
