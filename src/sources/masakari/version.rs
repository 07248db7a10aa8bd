//! The documents that say which versions of the API there are.

use serde_json::{Value, json};

use super::answer;
use super::microversion::NoVersion;
use crate::listener::Response;

fn media_types() -> Value {
    json!([{ "base": "application/json", "type": "application/vnd.openstack.masakari+json;version=1" }])
}

/// All versions; `links` is what addresses begin with.
pub(super) fn versions(links: &str) -> Response {
    let version = json!({
        "id": "v1.0",
        "status": "CURRENT",
        "version": "1.3",
        "min_version": "1.0",
        "updated": "2016-07-01T11:33:21Z",
        "links": [{ "rel": "self", "href": format!("{links}/v1/") }],
    });
    answer::json(200, &json!({ "versions": [version] }))
}

/// The one version.
pub(super) fn document(links: &str) -> Response {
    let version = json!({
        "id": "v1.0",
        "status": "CURRENT",
        "version": "1.3",
        "min_version": "1.0",
        "updated": "2016-07-01T11:33:21Z",
        "links": [
            { "rel": "self", "href": format!("{links}/v1/") },
            { "rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/" },
        ],
        "media-types": media_types(),
    });
    answer::json(200, &json!({ "version": version }))
}

/// What a path that is of no version may have meant.
pub(super) fn choices(links: &str, path: &str) -> Response {
    let choice = json!({
        "id": "v1.0",
        "status": "CURRENT",
        "links": [{ "rel": "self", "href": format!("{links}/v1/{}", path.trim_matches('/')) }],
        "media-types": media_types(),
    });
    answer::json(300, &json!({ "choices": [choice] }))
}

/// There is no such version.
pub(super) fn refusal(unknown: &NoVersion) -> Response {
    match unknown {
        NoVersion::Malformed(_) => answer::fault(400, &unknown.message()),
        NoVersion::Unknown(_) => answer::fault(406, &unknown.message()).with("vary", "OpenStack-API-Version"),
    }
}
