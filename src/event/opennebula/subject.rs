//! Which resource an API call was about.

use super::calls::{CallInfo, Direction};

/// Where a call says which resource it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a parameter that went in.
    In(u32),
    /// The call makes the resource: its number comes out.
    New,
    /// Nowhere.
    Nowhere,
}

/// The subject of a call, `vm/12`: what it made, or else what it was told to act on.
///
/// A failed call that acts on a resource is about that resource; `OUT 4`, which should name it, sometimes names another
/// thing (of a failed `one.vm.scheddelete` the scheduled action), so it only counts where no parameter names one.
pub(super) fn of_call(call: &str, success: bool, info: &CallInfo) -> Option<String> {
    let (object, method) = call.strip_prefix("one.")?.split_once('.')?;
    let (kind, place) = place(object, method);
    let number = match place {
        Place::Nowhere => return None,
        Place::In(position) => info
            .value(Direction::In, position)
            .and_then(number)
            .or_else(|| failed_on(success, info))?,
        Place::New if success => info.value(Direction::Out, 2).and_then(number)?,
        Place::New => {
            // What a failed clone or instantiate names is what it was to copy.
            let source = info.value(Direction::In, 2).and_then(number);
            let number = match method {
                "clone" | "instantiate" => source.or_else(|| failed_on(success, info)),
                _ => failed_on(success, info),
            }?;
            return Some(format!("{}/{number}", kind_of(object)));
        }
    };
    Some(format!("{kind}/{number}"))
}

fn place<'a>(object: &'a str, method: &str) -> (&'a str, Place) {
    let kind = kind_of(object);
    match (object, method) {
        // Pools, quotas by default, the system: about nothing in particular.
        (object, _) if object.ends_with("pool") || object.ends_with("quota") => (kind, Place::Nowhere),
        ("system" | "internal" | "hooklog", _) => (kind, Place::Nowhere),
        // A name goes in, which may look like a number.
        ("user", "login") => (kind, Place::Nowhere),
        // What the servers of a zone say to each other: terms and indexes, no zone.
        ("zone", "raftstatus" | "replicate" | "voterequest" | "fedreplicate" | "updatedb") => {
            (kind, Place::Nowhere)
        }
        ("template", "instantiate") => ("vm", Place::New),
        ("vntemplate", "instantiate") => ("net", Place::New),
        // Makes VMs, and gives back the router.
        ("vrouter", "instantiate") => (kind, Place::In(2)),
        ("vm", "action") => (kind, Place::In(3)),
        (_, "allocate" | "allocatedb" | "clone" | "addrule") => (kind, Place::New),
        _ => (kind, Place::In(2)),
    }
}

fn kind_of(object: &str) -> &str {
    match object {
        "vn" => "net",
        other => other,
    }
}

fn failed_on(success: bool, info: &CallInfo) -> Option<&str> {
    if success {
        return None;
    }
    info.value(Direction::Out, 4).and_then(number)
}

fn number(value: &str) -> Option<&str> {
    let value = value.trim();
    let digits = !value.is_empty() && value.len() <= 10 && value.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::opennebula::Parameter;

    fn info(ins: &[&str], outs: &[&str]) -> CallInfo {
        let direction = |direction, values: &[&str], first: u32| {
            values
                .iter()
                .zip(first..)
                .map(|(value, position)| Parameter {
                    position,
                    direction,
                    value: (*value).to_owned(),
                })
                .collect::<Vec<_>>()
        };
        let mut parameters = direction(Direction::In, ins, 2);
        parameters.extend(direction(Direction::Out, outs, 1));
        CallInfo {
            parameters,
            ..CallInfo::default()
        }
    }

    #[test]
    fn each_call_is_about_its_resource() {
        type Case<'a> = (&'a str, bool, &'a [&'a str], &'a [&'a str], Option<&'a str>);
        let table: &[Case<'_>] = &[
            (
                "one.vm.allocate",
                true,
                &["NAME=x", "1"],
                &["true", "30", "0"],
                Some("vm/30"),
            ),
            (
                "one.vm.allocate",
                false,
                &["NAME=x", "1"],
                &["false", "no", "8192", "-1"],
                None,
            ),
            (
                "one.vm.action",
                true,
                &["release", "12"],
                &["true", "12", "0"],
                Some("vm/12"),
            ),
            (
                "one.vm.disksaveas",
                true,
                &["5", "0", "sa"],
                &["true", "4", "0"],
                Some("vm/5"),
            ),
            (
                "one.vm.scheddelete",
                false,
                &["24", "0"],
                &["false", "no", "1024", "0"],
                Some("vm/24"),
            ),
            (
                "one.template.instantiate",
                true,
                &["0", "ti"],
                &["true", "4", "0"],
                Some("vm/4"),
            ),
            (
                "one.template.instantiate",
                false,
                &["9", "ti"],
                &["false", "no", "1024", "9"],
                Some("template/9"),
            ),
            (
                "one.image.clone",
                true,
                &["0", "c"],
                &["true", "3", "0"],
                Some("image/3"),
            ),
            (
                "one.vntemplate.instantiate",
                true,
                &["0", "v"],
                &["true", "2", "0"],
                Some("net/2"),
            ),
            (
                "one.vn.reserve",
                true,
                &["0", "SIZE=4"],
                &["true", "1", "0"],
                Some("net/0"),
            ),
            (
                "one.vrouter.instantiate",
                true,
                &["7", "2"],
                &["true", "7", "0"],
                Some("vrouter/7"),
            ),
            (
                "one.user.login",
                false,
                &["12", "****"],
                &["false", "no", "4096", "-1"],
                None,
            ),
            (
                "one.user.allocate",
                false,
                &["12", "****"],
                &["false", "no", "8192", "-1"],
                None,
            ),
            (
                "one.acl.addrule",
                true,
                &["100000002", "14", "1"],
                &["true", "13", "0"],
                Some("acl/13"),
            ),
            (
                "one.host.delete",
                false,
                &["99999"],
                &["false", "no", "1024", "99999"],
                Some("host/99999"),
            ),
            (
                "one.vmpool.infoset",
                true,
                &["0", "1"],
                &["true", "<VM_POOL/>", "0"],
                None,
            ),
            ("one.zone.raftstatus", true, &[], &["true", "<RAFT/>", "0"], None),
            ("one.system.version", true, &[], &["true", "7", "0"], None),
            (
                "one.vm.rename",
                true,
                &["not a number"],
                &["true", "1", "0"],
                None,
            ),
            ("nonsense", true, &["1"], &["true"], None),
        ];
        for (call, success, ins, outs, subject) in table {
            assert_eq!(
                of_call(call, *success, &info(ins, outs)).as_deref(),
                *subject,
                "{call}"
            );
        }
    }
}
