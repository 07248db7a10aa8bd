//! The first frame of a message: what the driver published it under.
//!
//! The driver (`one_hm.rb`) publishes a state change under two keys, `EVENT VM 12/ACTIVE/RUNNING ` and
//! `EVENT STATE VM/ACTIVE/RUNNING/12 `, and a third time under `EVENT SERVICE 77 ` where the VM's user template has a
//! `SERVICE_ID`. The documentation spells the state keys without the resource's number. All of these are read; trailing
//! blanks, which the driver leaves behind most keys, mean nothing.

use super::Resource;

/// What a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `EVENT API one.vm.allocate 1`: a call ended.
    Api {
        /// The method.
        call: String,
        /// Whether it succeeded; unset where the key does not say.
        success: Option<bool>,
    },
    /// `EVENT STATE VM/ACTIVE/RUNNING/12 `: a resource changed its state.
    State {
        /// The kind of resource.
        resource: Resource,
        /// Its state, as spelt; a network that failed an update has an empty one.
        state: String,
        /// The state of its life-cycle manager; VMs only.
        lcm_state: Option<String>,
        /// The resource's number; the documented form has none.
        id: Option<String>,
    },
    /// `EVENT VM 12/ACTIVE/RUNNING `: the copy of a state change for those who wait for one resource.
    OneResource {
        /// The kind of resource.
        resource: Resource,
        /// The resource's number.
        id: String,
        /// Its state, as spelt.
        state: String,
        /// The state of its life-cycle manager; VMs only.
        lcm_state: Option<String>,
    },
    /// `EVENT SERVICE 77 `: the copy of a state change for the service that a VM belongs to.
    Service {
        /// The service, verbatim from the VM's user template: it may hold blanks and slashes.
        value: String,
    },
    /// `RETRY`: a request to run a hook once more.
    Retry,
    /// `EVENT `: the driver found no type, because an element of the document imitates the envelope's `HOOK_TYPE`.
    Damaged,
    /// None of these.
    Unknown,
}

impl Key {
    /// Reads a key. Every text is some key; what is not one is [`Key::Unknown`].
    pub fn parse(key: &str) -> Self {
        let trimmed = key.trim_end();
        if trimmed == "RETRY" {
            return Self::Retry;
        }
        if trimmed == "EVENT" {
            return Self::Damaged;
        }
        let Some((kind, rest)) = trimmed
            .strip_prefix("EVENT ")
            .and_then(|event| event.split_once(' '))
        else {
            return Self::Unknown;
        };
        match kind {
            "API" => api(rest),
            "STATE" => state(rest),
            "SERVICE" => Some(Self::Service {
                value: rest.to_owned(),
            }),
            resource => one_resource(resource, rest),
        }
        .unwrap_or(Self::Unknown)
    }

    /// Whether a message with this key is a second copy of one that also comes under `EVENT STATE`.
    ///
    /// The damaged key is none: such an event comes under it and nothing else, once (one state change of a VM with a
    /// `HOOK_TYPE` attribute is one message; byte-identical neighbours are two events). Where that VM belongs to a service
    /// as well, its `EVENT SERVICE` copy is a twin like any other.
    pub fn is_twin(&self) -> bool {
        matches!(self, Self::OneResource { .. } | Self::Service { .. })
    }
}

fn api(rest: &str) -> Option<Key> {
    let (call, success) = match rest.split_once(' ') {
        None => (rest, None),
        Some((call, "1")) => (call, Some(true)),
        Some((call, "0")) => (call, Some(false)),
        Some(_) => return None,
    };
    (!call.is_empty()).then(|| Key::Api {
        call: call.to_owned(),
        success,
    })
}

fn state(rest: &str) -> Option<Key> {
    let mut parts = rest.split('/');
    let resource = Resource::parse(word(parts.next()?)?);
    let state = parts.next()?.to_owned();
    let lcm_state = parts.next().filter(|lcm| !lcm.is_empty()).map(str::to_owned);
    let id = match parts.next().filter(|id| !id.is_empty()) {
        Some(id) => Some(number(id)?.to_owned()),
        None => None,
    };
    parts.next().is_none().then_some(Key::State {
        resource,
        state,
        lcm_state,
        id,
    })
}

fn one_resource(resource: &str, rest: &str) -> Option<Key> {
    let mut parts = rest.split('/');
    let id = number(parts.next()?)?.to_owned();
    let state = parts.next()?.to_owned();
    let lcm_state = parts.next().filter(|lcm| !lcm.is_empty()).map(str::to_owned);
    parts.next().is_none().then_some(Key::OneResource {
        resource: Resource::parse(word(resource)?),
        id,
        state,
        lcm_state,
    })
}

/// The name of a kind of resource: capitals and underscores.
fn word(text: &str) -> Option<&str> {
    let name = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    name.then_some(text)
}

fn number(text: &str) -> Option<&str> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state_key(resource: Resource, state: &str, lcm_state: Option<&str>, id: Option<&str>) -> Key {
        Key::State {
            resource,
            state: state.to_owned(),
            lcm_state: lcm_state.map(str::to_owned),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn keys_of_the_driver_and_of_the_documentation_are_read() {
        let table = [
            (
                "EVENT STATE VM/ACTIVE/RUNNING/12 ",
                state_key(Resource::Vm, "ACTIVE", Some("RUNNING"), Some("12")),
            ),
            (
                "EVENT STATE VM/PENDING/LCM_INIT",
                state_key(Resource::Vm, "PENDING", Some("LCM_INIT"), None),
            ),
            (
                "EVENT STATE HOST/INIT/",
                state_key(Resource::Host, "INIT", None, None),
            ),
            (
                "EVENT STATE HOST/INIT",
                state_key(Resource::Host, "INIT", None, None),
            ),
            (
                "EVENT STATE HOST/MONITORED//0 ",
                state_key(Resource::Host, "MONITORED", None, Some("0")),
            ),
            (
                "EVENT STATE NET/READY//3 ",
                state_key(Resource::Net, "READY", None, Some("3")),
            ),
            (
                "EVENT STATE VNET/READY//3",
                state_key(Resource::Net, "READY", None, Some("3")),
            ),
            (
                "EVENT STATE NET///3 ",
                state_key(Resource::Net, "", None, Some("3")),
            ),
            (
                "EVENT SERVICE 7 8/9 ",
                Key::Service {
                    value: "7 8/9".to_owned(),
                },
            ),
            (
                "EVENT API one.vm.allocate 1",
                Key::Api {
                    call: "one.vm.allocate".to_owned(),
                    success: Some(true),
                },
            ),
            (
                "EVENT API one.vm.allocate 0 ",
                Key::Api {
                    call: "one.vm.allocate".to_owned(),
                    success: Some(false),
                },
            ),
            (
                "EVENT API one.vm.allocate",
                Key::Api {
                    call: "one.vm.allocate".to_owned(),
                    success: None,
                },
            ),
            ("RETRY", Key::Retry),
            ("RETRY ", Key::Retry),
            ("EVENT ", Key::Damaged),
            ("EVENT", Key::Damaged),
            ("", Key::Unknown),
            ("EVENTS", Key::Unknown),
            ("EVENT VM", Key::Unknown),
            ("EVENT VM x/ACTIVE/RUNNING ", Key::Unknown),
            ("EVENT STATE VM/ACTIVE/RUNNING/12/13", Key::Unknown),
            ("EVENT API one.vm.allocate 2", Key::Unknown),
        ];
        for (text, key) in table {
            assert_eq!(Key::parse(text), key, "{text:?}");
        }
    }

    #[test]
    fn copies_for_one_resource_and_for_a_service_are_twins() {
        for twin in [
            "EVENT VM 12/ACTIVE/RUNNING ",
            "EVENT HOST 0/ERROR/ ",
            "EVENT IMAGE 5/READY/ ",
            "EVENT NET 3/READY/ ",
            "EVENT SERVICE 77 ",
        ] {
            assert!(Key::parse(twin).is_twin(), "{twin:?}");
        }
        for single in [
            "EVENT ",
            "RETRY",
            "EVENT STATE VM/ACTIVE/RUNNING/12 ",
            "EVENT API one.vm.info 1",
            "nonsense",
        ] {
            assert!(!Key::parse(single).is_twin(), "{single:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(EVENT |RETRY|STATE |API |VM|[0-9/ ]|\\PC){0,12}") {
            let _ = Key::parse(&text);
        }

        #[test]
        fn what_the_driver_writes_comes_back(
            state in "[A-Z_]{1,20}", lcm in "[A-Z_]{1,20}", id in 0u32..,
        ) {
            let id = id.to_string();
            prop_assert_eq!(
                Key::parse(&format!("EVENT STATE VM/{state}/{lcm}/{id} ")),
                state_key(Resource::Vm, &state, Some(&lcm), Some(&id))
            );
        }
    }
}
