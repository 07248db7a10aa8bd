//! What stands at which address.

use super::query::unescaped;

/// What an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// The versions of the API.
    Versions,
    /// Whether the service is up.
    Healthcheck,
    /// Something of version 1.
    V1 {
        /// The project that the address is in.
        project: Option<String>,
        /// What it is.
        resource: Resource,
    },
    /// Another path under the root, as it is without the base path.
    Other(String),
    /// Nothing: it is not under the base path.
    Nothing,
}

/// Something of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// The version itself.
    Version,
    /// All notifications.
    Notifications,
    /// One notification.
    Notification(String),
    /// All segments.
    Segments,
    /// One segment.
    Segment(String),
    /// The hosts of a segment.
    Hosts(String),
    /// One host of a segment.
    Host { segment: String, host: String },
    /// What the service's library for routes makes of a resource besides: `edit` and, of some, `action`.
    Member(&'static str),
    /// Nothing.
    Nothing,
}

impl Address {
    /// Reads a path as it was sent.
    pub(super) fn of(path: &str, base_path: &str) -> Self {
        if path == "/healthcheck" {
            return Self::Healthcheck;
        }
        let Some(path) = path
            .strip_prefix(base_path)
            .filter(|path| path.is_empty() || path.starts_with('/'))
        else {
            return Self::Nothing;
        };
        match path {
            "" | "/" => return Self::Versions,
            "/healthcheck" => return Self::Healthcheck,
            _ => {}
        }
        let mut parts = path.split('/').skip(1);
        if parts.next() != Some("v1") {
            return Self::Other(path.to_owned());
        }
        let parts: Vec<String> = parts.map(unescaped_part).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (project, parts) = match parts.as_slice() {
            [project, rest @ ..] if is_project(project) && !rest.is_empty() => (Some(*project), rest),
            parts => (None, parts),
        };
        Self::V1 {
            project: project.map(str::to_owned),
            resource: Resource::of(parts, project.is_some()),
        }
    }
}

impl Resource {
    fn of(parts: &[&str], is_in_project: bool) -> Self {
        let id = |id: &&str| (*id).to_owned();
        match parts {
            [] | [""] if !is_in_project => Self::Version,
            ["notifications"] => Self::Notifications,
            ["notifications", one] if !one.is_empty() => Self::Notification(id(one)),
            ["notifications" | "segments", one, "action"] if !one.is_empty() => Self::Member("action"),
            ["notifications" | "segments", one, "edit"] if !one.is_empty() => Self::Member("edit"),
            ["segments"] => Self::Segments,
            ["segments", one] if !one.is_empty() => Self::Segment(id(one)),
            ["segments", one, "hosts"] if !one.is_empty() => Self::Hosts(id(one)),
            ["segments", one, "hosts", host] if !one.is_empty() && !host.is_empty() => Self::Host {
                segment: id(one),
                host: id(host),
            },
            _ => Self::Nothing,
        }
    }

    /// What the service calls a request to it; none where it knows no such request.
    pub(super) fn action(&self, method: &str) -> Option<&'static str> {
        let is_collection = matches!(self, Self::Notifications | Self::Segments | Self::Hosts(_));
        match (self, method) {
            (Self::Nothing, _) => None,
            (Self::Version, "GET") => Some("show"),
            (Self::Version, _) => None,
            (Self::Member("action"), "POST") => Some("action"),
            (Self::Member("edit"), "GET") => Some("edit"),
            (Self::Member(_), _) => None,
            (_, "GET") if is_collection => Some("index"),
            (_, "POST") if is_collection => Some("create"),
            _ if is_collection => None,
            (Self::Notification(id) | Self::Segment(id) | Self::Host { host: id, .. }, "GET")
                if id == "new" =>
            {
                Some("new")
            }
            (_, "GET") => Some("show"),
            (_, "PUT" | "PATCH") => Some("update"),
            (_, "DELETE") => Some("delete"),
            _ => None,
        }
    }
}

/// A `+` in a path is one.
fn unescaped_part(part: &str) -> String {
    unescaped(&part.replace('+', "%2B"))
}

fn is_project(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v1(project: Option<&str>, resource: Resource) -> Address {
        Address::V1 {
            project: project.map(str::to_owned),
            resource,
        }
    }

    #[test]
    fn addresses_are_read_with_and_without_a_base_path_and_a_project() {
        for (path, address) in [
            ("", Address::Versions),
            ("/", Address::Versions),
            ("/healthcheck", Address::Healthcheck),
            ("/foo", Address::Other("/foo".to_owned())),
            ("/v2/x", Address::Other("/v2/x".to_owned())),
            ("/v1", v1(None, Resource::Version)),
            ("/v1/", v1(None, Resource::Version)),
            ("/v1/notifications", v1(None, Resource::Notifications)),
            (
                "/v1/0123abcd-/notifications",
                v1(Some("0123abcd-"), Resource::Notifications),
            ),
            (
                "/v1/notifications/a%20b+c",
                v1(None, Resource::Notification("a b+c".to_owned())),
            ),
            (
                "/v1/abc/notifications/2",
                v1(Some("abc"), Resource::Notification("2".to_owned())),
            ),
            ("/v1/notifications/2/action", v1(None, Resource::Member("action"))),
            ("/v1/notifications/2/vmoves", v1(None, Resource::Nothing)),
            ("/v1/segments/s/hosts", v1(None, Resource::Hosts("s".to_owned()))),
            (
                "/v1/0/segments/s/hosts/h",
                v1(
                    Some("0"),
                    Resource::Host {
                        segment: "s".to_owned(),
                        host: "h".to_owned(),
                    },
                ),
            ),
            ("/v1/abc", v1(None, Resource::Nothing)),
            ("/v1/abc/", v1(Some("abc"), Resource::Nothing)),
            ("/v1/XYZ/notifications", v1(None, Resource::Nothing)),
            ("/v1/notifications/", v1(None, Resource::Nothing)),
        ] {
            assert_eq!(Address::of(path, ""), address, "{path}");
            assert_eq!(
                Address::of(&format!("/instance-ha{path}"), "/instance-ha"),
                address,
                "{path}"
            );
        }
        assert_eq!(Address::of("/v1/notifications", "/instance-ha"), Address::Nothing);
        assert_eq!(Address::of("/instance-haw/v1", "/instance-ha"), Address::Nothing);
        assert_eq!(Address::of("/healthcheck", "/instance-ha"), Address::Healthcheck);
    }

    #[test]
    fn requests_have_the_names_that_the_service_gives_them() {
        let one = Resource::Notification("2".to_owned());
        for (resource, method, action) in [
            (Resource::Notifications, "GET", Some("index")),
            (Resource::Notifications, "POST", Some("create")),
            (Resource::Notifications, "PUT", None),
            (one.clone(), "PUT", Some("update")),
            (one.clone(), "PATCH", Some("update")),
            (one.clone(), "DELETE", Some("delete")),
            (one, "POST", None),
            (Resource::Segment("new".to_owned()), "GET", Some("new")),
            (Resource::Member("edit"), "GET", Some("edit")),
            (Resource::Version, "POST", None),
            (Resource::Nothing, "GET", None),
        ] {
            assert_eq!(resource.action(method), action, "{resource:?} {method}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/|v1|notifications|segments|hosts|%|%2f|\\+|[0-9a-f]|\\PC){0,10}", method in "\\PC{0,6}") {
            if let Address::V1 { resource, .. } = Address::of(&path, "/x") {
                let _ = resource.action(&method);
            }
            let _ = Address::of(&path, "");
        }
    }
}
