//! Raw triggers → checked ones: OpenNebula's attribute names and vocabulary.

use super::compile::Compiler;
use super::fault::{Mark, listed};
use super::raw::{
    RawApiTrigger, RawMasakariTrigger, RawNames, RawResult, RawStateTrigger, RawTrigger, RawWebhookTrigger,
};
use super::tree::At;
use super::{ApiTrigger, MasakariTrigger, Names, Patterns, StateTrigger, Trigger, WebhookTrigger};
use crate::event::masakari;
use crate::event::opennebula::Resource;
use crate::event::opennebula::vocabulary::{
    API_CALLS, ON_WORDS, is_known_call, is_never_published, lcm_states, nearest, states,
};

const CUSTOM: &str = "CUSTOM";

const RESOURCES: &[&str] = &["VM", "HOST", "IMAGE", "NET"];

/// Published as an empty text; hooks may use its name.
const UPDATE_FAILURE: &str = "UPDATE_FAILURE";

/// Longer lists of names are no help in a message.
const LISTABLE: usize = 12;

/// Whether names that are not known are taken as they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Vocabulary {
    /// Those that are like none of the known ones.
    Open,
    /// None.
    Closed,
}

impl Compiler<'_> {
    /// Checks one trigger; several come of a list of short names.
    pub(super) fn trigger(&mut self, raw: RawTrigger, mark: Mark) -> Vec<Trigger> {
        let present = [
            raw.state.is_some(),
            raw.api.is_some(),
            raw.webhook.is_some(),
            raw.esc.is_some(),
            raw.masakari.is_some(),
            raw.ncmp.is_some(),
            raw.gap.is_some(),
            raw.execution.is_some(),
            raw.muted.is_some(),
            raw.blocked.is_some(),
            raw.source_down.is_some(),
        ];
        match present.into_iter().filter(|is| *is).count() {
            0 => {
                self.missing(
                    mark,
                    "a trigger needs `state`, `api`, `webhook`, `esc`, `masakari`, `ncmp`, or one of hem's own: `gap`, `execution`, `muted`, `blocked`, `source_down`",
                    "write `state: { resource: VM, on: RUNNING }`",
                );
                return Vec::new();
            }
            1 => {}
            _ => {
                self.error(mark, "a trigger asks for one thing alone".to_owned())
                    .help("write a list: `trigger: [{ state: … }, { api: … }]`");
                return Vec::new();
            }
        }
        let source_mark = raw.source.as_ref().map(|source| source.mark);
        let source = raw.source.and_then(|source| self.source_name(source));
        if let Some(state) = raw.state {
            return self.state_trigger(state, source);
        }
        if let Some(api) = raw.api {
            return self.api_trigger(api, source).into_iter().collect();
        }
        if let Some(webhook) = raw.webhook {
            return self.webhook_trigger(webhook, source).into_iter().collect();
        }
        if let Some(esc) = raw.esc {
            return self.esc_trigger(esc, source).into_iter().collect();
        }
        if let Some(masakari) = raw.masakari {
            return vec![self.masakari_trigger(masakari.value, source)];
        }
        if let Some(ncmp) = raw.ncmp {
            return self.ncmp_trigger(ncmp, source).into_iter().collect();
        }
        if let Some(mark) = source_mark {
            self.error(
                mark,
                "`source` beside it is for `state`, `api`, `webhook`, `esc`, `masakari` and `ncmp`"
                    .to_owned(),
            )
            .help("write it inside: `gap: { source: … }`, `source_down: { source: … }`");
        }
        let gap = raw.gap.map(|gap| self.gap_trigger(gap));
        let execution = raw.execution.and_then(|ended| self.execution_trigger(ended));
        let muted = raw.muted.map(|muted| self.muted_trigger(muted));
        let blocked = raw.blocked.map(|blocked| self.blocked_trigger(blocked));
        let down = raw.source_down.map(|down| self.source_down_trigger(down));
        gap.or(execution)
            .or(muted)
            .or(blocked)
            .or(down)
            .into_iter()
            .collect()
    }

    fn source_name(&mut self, source: At<String>) -> Option<String> {
        if source.value.trim().is_empty() {
            self.error(source.mark, "a source's name must not be empty".to_owned());
            return None;
        }
        Some(source.value)
    }

    fn state_trigger(&mut self, raw: At<RawStateTrigger>, source: Option<String>) -> Vec<Trigger> {
        let mark = raw.mark;
        let raw = raw.value;
        let Some(resource) = raw.resource else {
            self.missing(
                mark,
                "`state` needs `resource`",
                "write `resource: VM` (or `HOST`, `IMAGE`, `NET`)",
            );
            return Vec::new();
        };
        let Some(resource) = self.resource(&resource) else {
            return Vec::new();
        };
        let is_vm = resource == Resource::Vm;
        let mut known_states = states(&resource);
        if resource == Resource::Net {
            known_states.push(UPDATE_FAILURE);
        }
        if !is_vm {
            let only_vms = [
                ("on", &raw.on),
                ("lcm_state", &raw.lcm_state),
                ("from", &raw.from),
            ];
            let mut refused = false;
            for (name, value) in only_vms {
                if let Some(value) = value {
                    refused = true;
                    self.error(value.mark, format!("`{name}` is for VMs only"))
                        .help("other resources have `state` alone");
                }
            }
            if refused {
                return Vec::new();
            }
        }
        let state_mark = raw.state.as_ref().map(|state| state.mark);
        let lcm_mark = raw.lcm_state.as_ref().map(|state| state.mark);
        let state = raw
            .state
            .map(|names| self.names(names, "state", &known_states, |word| known_states.contains(&word)));
        let lcm_state = raw.lcm_state.map(|names| {
            self.names(names, "life-cycle state", &lcm_states(), |word| {
                lcm_states().contains(&word)
            })
        });
        let previous: Vec<&str> = states(&Resource::Vm).into_iter().chain(lcm_states()).collect();
        let from = raw.from.map_or(Names::Any, |names| {
            self.names(names, "state or life-cycle state", &previous, |word| {
                previous.contains(&word)
            })
        });
        let pairs = match raw.on {
            Some(on) => self.on(on, state, lcm_state, state_mark.or(lcm_mark)),
            None if state.is_none() && lcm_state.is_none() => {
                let hint = if is_vm {
                    "write `on: RUNNING`, or `state:` and `lcm_state:`; `any` for all"
                } else {
                    "write `state: ERROR` or another of the resource's states; `any` for all"
                };
                self.missing(mark, "which state?", hint);
                Vec::new()
            }
            None => vec![(state.unwrap_or(Names::Any), lcm_state.unwrap_or(Names::Any))],
        };
        pairs
            .into_iter()
            .map(|(state, lcm_state)| {
                Trigger::State(StateTrigger {
                    source: source.clone(),
                    resource: resource.clone(),
                    state: as_published(&resource, state),
                    lcm_state,
                    from: from.clone(),
                })
            })
            .collect()
    }

    fn resource(&mut self, raw: &At<String>) -> Option<Resource> {
        let word = raw.value.as_str();
        match word {
            "VM" => Some(Resource::Vm),
            "HOST" => Some(Resource::Host),
            "IMAGE" => Some(Resource::Image),
            "NET" => Some(Resource::Net),
            _ => {
                if let Some(name) = word.strip_prefix('=').filter(|name| !name.is_empty()) {
                    return Some(Resource::Other(name.to_owned()));
                }
                let hint = if word.eq_ignore_ascii_case("vnet") {
                    "OpenNebula calls it `NET` in hooks".to_owned()
                } else {
                    match nearest(word, RESOURCES.iter().copied()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("allowed: {}", listed(RESOURCES.iter().copied())),
                    }
                };
                self.error(raw.mark, format!("no such resource `{word}`"))
                    .help(hint);
                None
            }
        }
    }

    fn on(
        &mut self,
        on: At<RawNames>,
        state: Option<Names>,
        lcm_state: Option<Names>,
        beside: Option<Mark>,
    ) -> Vec<(Names, Names)> {
        let on_mark = on.mark;
        let words: Vec<(String, Mark)> = match on.value {
            RawNames::One(word) if word == "any" && beside.is_none() => {
                return vec![(Names::Any, Names::Any)];
            }
            RawNames::One(word) => vec![(word, on_mark)],
            RawNames::Of(words) => words.into_iter().map(|word| (word.value, word.mark)).collect(),
        };
        if words.is_empty() {
            self.error(on_mark, "the list is empty".to_owned())
                .help("write `any` for all");
        }
        let has_custom = words.iter().any(|(word, _)| word == CUSTOM);
        if let Some(mark) = beside
            && !has_custom
        {
            self.error(mark, "`on` says the state already".to_owned())
                .help("take one of them out, or write `on: CUSTOM` with `state` and `lcm_state`");
            return Vec::new();
        }
        let mut pairs = Vec::new();
        for (word, mark) in words {
            if word == "any" {
                self.error(mark, "`any` cannot stand in a list".to_owned())
                    .help("write `any` instead of the list");
            } else if word == CUSTOM {
                match (&state, &lcm_state) {
                    (Some(state), Some(lcm_state)) => pairs.push((state.clone(), lcm_state.clone())),
                    _ => self.missing(
                        mark,
                        "`on: CUSTOM` needs `state` and `lcm_state`",
                        "write both, `any` for all",
                    ),
                }
            } else if let Some((_, Some((state, lcm_state)))) =
                ON_WORDS.iter().find(|(name, _)| *name == word)
            {
                pairs.push((one(state), one(lcm_state)));
            } else {
                let hint = if states(&Resource::Vm).contains(&word.as_str()) {
                    format!("it is a state: write `state: {word}` instead of `on`")
                } else if lcm_states().contains(&word.as_str()) {
                    format!("it is a life-cycle state: write `lcm_state: {word}` instead of `on`")
                } else {
                    let known = || ON_WORDS.iter().map(|(name, _)| *name);
                    match nearest(&word, known()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("allowed: {}", listed(known())),
                    }
                };
                self.error(mark, format!("no such state condition `{word}`"))
                    .help(hint);
            }
        }
        pairs
    }

    fn api_trigger(&mut self, raw: At<RawApiTrigger>, source: Option<String>) -> Option<Trigger> {
        let Some(call) = raw.value.call else {
            self.missing(
                raw.mark,
                "`api` needs `call`",
                "write `call: one.vm.allocate`; `any` for all",
            );
            return None;
        };
        self.refuse_unpublished(&call);
        let call = self.names(call, "API call", API_CALLS, |word| {
            is_known_call(word) || is_never_published(word)
        });
        let success = match raw.value.result.map(|result| result.value) {
            Some(RawResult::Success) => Some(true),
            Some(RawResult::Failure) => Some(false),
            Some(RawResult::Any) | None => None,
        };
        Some(Trigger::Api(ApiTrigger {
            source,
            call,
            success,
        }))
    }

    fn webhook_trigger(&mut self, raw: At<RawWebhookTrigger>, source: Option<String>) -> Option<Trigger> {
        let Some(name) = raw.value.name else {
            self.missing(
                raw.mark,
                "`webhook` needs `name`",
                "write the name of an endpoint of hem.yaml, `name: deploy`; `any` for all",
            );
            return None;
        };
        let name = self.patterns(Some(name), "endpoint");
        Some(Trigger::Webhook(WebhookTrigger { source, name }))
    }

    fn masakari_trigger(&mut self, raw: RawMasakariTrigger, source: Option<String>) -> Trigger {
        Trigger::Masakari(MasakariTrigger {
            source,
            kind: self.words_of(raw.kind, "type", &masakari::TYPES, Vocabulary::Closed),
            event: self.words_of(raw.event, "event", &masakari::EVENTS, Vocabulary::Open),
            host: self.patterns(raw.host, "host"),
            status: raw
                .status
                .map(|status| self.words_of(Some(status), "status", &masakari::STATUSES, Vocabulary::Closed)),
            host_status: self.words_of(
                raw.host_status,
                "host status",
                &masakari::HOST_STATUSES,
                Vocabulary::Closed,
            ),
            cluster_status: self.words_of(
                raw.cluster_status,
                "cluster status",
                &masakari::CLUSTER_STATUSES,
                Vocabulary::Closed,
            ),
            process: self.patterns(raw.process, "process"),
            vir_domain_event: self.patterns(raw.vir_domain_event, "event of a domain"),
            instance_uuid: self.patterns(raw.instance_uuid, "instance"),
        })
    }

    /// Patterns of names of which some are known. `=NAME` takes one that is not, or looks like a mistake.
    pub(super) fn words_of(
        &mut self,
        raw: Option<At<RawNames>>,
        what: &str,
        known: &[&str],
        vocabulary: Vocabulary,
    ) -> Patterns {
        let marks: Vec<Mark> = match raw.as_ref().map(|raw| (&raw.value, raw.mark)) {
            Some((RawNames::Of(words), _)) => words.iter().map(|word| word.mark).collect(),
            Some((RawNames::One(_), mark)) => vec![mark],
            None => Vec::new(),
        };
        let Patterns::Of(words) = self.patterns(raw, what) else {
            return Patterns::Any;
        };
        let mut checked = Vec::new();
        for (word, mark) in words.into_iter().zip(marks) {
            if let Some(unchecked) = word.strip_prefix('=').filter(|name| !name.is_empty()) {
                checked.push(unchecked.to_owned());
                continue;
            }
            let is_known = known.contains(&word.as_str()) || word.contains('*') || word == "any";
            let own = format!("write `\"={word}\"` if yours has it");
            let hint = match (nearest(&word, known.iter().copied()), vocabulary) {
                _ if is_known => None,
                (Some(name), _) => Some(format!("did you mean `{name}`? {own}")),
                (None, Vocabulary::Closed) => {
                    Some(format!("known: {}; {own}", listed(known.iter().copied())))
                }
                (None, Vocabulary::Open) => None,
            };
            if let Some(hint) = hint {
                self.error(mark, format!("no such {what} `{word}`")).help(hint);
            }
            checked.push(word);
        }
        Patterns::Of(checked)
    }

    fn refuse_unpublished(&mut self, calls: &At<RawNames>) {
        let words: Vec<(&str, Mark)> = match &calls.value {
            RawNames::One(word) => vec![(word, calls.mark)],
            RawNames::Of(words) => words
                .iter()
                .map(|word| (word.value.as_str(), word.mark))
                .collect(),
        };
        for (word, mark) in words {
            if is_never_published(word) {
                self.error(
                    mark,
                    format!("OpenNebula never publishes `{word}`: no event would trigger the hook"),
                );
            }
        }
    }

    fn names(
        &mut self,
        raw: At<RawNames>,
        what: &str,
        listed_names: &[&str],
        known: impl Fn(&str) -> bool,
    ) -> Names {
        let words: Vec<(String, Mark)> = match raw.value {
            RawNames::One(word) if word == "any" => return Names::Any,
            RawNames::One(word) => vec![(word, raw.mark)],
            RawNames::Of(words) => words.into_iter().map(|word| (word.value, word.mark)).collect(),
        };
        if words.is_empty() {
            self.error(raw.mark, "the list is empty".to_owned())
                .help("write `any` for all");
        }
        let mut names = Vec::new();
        for (word, mark) in words {
            if let Some(unchecked) = word.strip_prefix('=').filter(|name| !name.is_empty()) {
                names.push(unchecked.to_owned());
            } else if known(&word) {
                names.push(word);
            } else if word == "any" {
                self.error(mark, "`any` cannot stand in a list".to_owned())
                    .help("write `any` instead of the list");
            } else {
                let own = format!("write `\"={word}\"` if your OpenNebula has it");
                let hint = match nearest(&word, listed_names.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`? {own}"),
                    None if (1..=LISTABLE).contains(&listed_names.len()) => {
                        format!("known: {}; {own}", listed(listed_names.iter().copied()))
                    }
                    None => own,
                };
                self.error(mark, format!("no such {what} `{word}`")).help(hint);
            }
        }
        Names::Of(names)
    }
}

fn one(name: &str) -> Names {
    Names::Of(vec![name.to_owned()])
}

/// oned writes nothing for a network's UPDATE_FAILURE (VirtualNetwork.h), so nothing is what has to match.
fn as_published(resource: &Resource, names: Names) -> Names {
    match names {
        Names::Of(mut names)
            if *resource == Resource::Net && names.iter().any(|name| name == UPDATE_FAILURE) =>
        {
            names.push(String::new());
            Names::Of(names)
        }
        names => names,
    }
}
