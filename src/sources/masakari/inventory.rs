//! The failover segments and hosts that the configuration declares, and which hosts are under maintenance.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::instant::Instant;
use super::uuid;
use crate::config::masakari::{Segment, SegmentHost};
use crate::engine::bookmark::{Bookmark, BookmarkError};
use crate::event::time::Timestamp;

/// Before the name of a host, in the name under which its maintenance is kept.
const BOOKMARK: &str = "host/";

/// What is known of a host's maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Maintenance {
    on: bool,
    /// Since when, in milliseconds.
    since: i64,
}

/// A host, and the segment that it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    number: usize,
    pub(super) uuid: &'a str,
    pub(super) declared: &'a SegmentHost,
    pub(super) segment: &'a Placed,
}

/// A segment with its number and UUIDs.
#[derive(Debug)]
pub(super) struct Placed {
    number: usize,
    pub(super) uuid: String,
    declared: Segment,
    /// The number and the UUID of each host.
    hosts: Vec<(usize, String)>,
}

/// The segments and hosts.
#[derive(Debug)]
pub(super) struct Inventory {
    segments: Vec<Placed>,
    by_name: HashMap<String, (usize, usize)>,
    /// Since when they are declared, as far as this life knows.
    since: Timestamp,
    maintenance: Mutex<HashMap<String, Maintenance>>,
}

impl Inventory {
    /// What is declared; `kept` is what a former life kept.
    pub(super) fn new(segments: &[Segment], kept: &BTreeMap<String, Bytes>, since: Timestamp) -> Self {
        let mut host_number = 0;
        let segments: Vec<Placed> = segments
            .iter()
            .zip(1..)
            .map(|(declared, number)| Placed {
                number,
                uuid: declared
                    .uuid
                    .clone()
                    .unwrap_or_else(|| uuid::of("segment", &declared.name)),
                hosts: declared
                    .hosts
                    .iter()
                    .map(|host| {
                        host_number += 1;
                        (host_number, host_uuid(host))
                    })
                    .collect(),
                declared: declared.clone(),
            })
            .collect();
        let places = segments.iter().enumerate().flat_map(|(segment, placed)| {
            let hosts = placed.declared.hosts.iter().enumerate();
            hosts.map(move |(place, host)| (host.name.clone(), (segment, place)))
        });
        Self {
            by_name: places.collect(),
            since,
            maintenance: Mutex::new(
                kept.iter()
                    .filter_map(|(name, value)| {
                        let host = name.strip_prefix(BOOKMARK)?;
                        Some((host.to_owned(), serde_json::from_slice(value).ok()?))
                    })
                    .collect(),
            ),
            segments,
        }
    }

    /// The host of this name.
    pub(super) fn host(&self, name: &str) -> Option<Host<'_>> {
        let &(segment, place) = self.by_name.get(name)?;
        self.segments.get(segment)?.host(place)
    }

    /// The segment with this UUID.
    pub(super) fn segment(&self, uuid: &str) -> Option<&Placed> {
        self.segments.iter().find(|segment| segment.uuid == uuid)
    }

    /// All segments.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Placed> {
        self.segments.iter()
    }

    fn kept(&self, host: &str) -> Option<Maintenance> {
        let kept = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(host).copied()
    }

    /// Whether a host is under maintenance.
    pub(super) fn is_on_maintenance(&self, host: Host<'_>) -> bool {
        self.kept(&host.declared.name)
            .map_or(host.declared.on_maintenance, |kept| kept.on)
    }

    /// What is to be kept so that a host is, or is not, under maintenance from now on.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) fn change(
        host: Host<'_>,
        on: bool,
        now: Timestamp,
    ) -> Result<(Maintenance, Bookmark), BookmarkError> {
        let since = now.as_millis();
        let value = json!({ "on": on, "since": since }).to_string();
        let bookmark = Bookmark::new(format!("{BOOKMARK}{}", host.declared.name), value)?;
        Ok((Maintenance { on, since }, bookmark))
    }

    /// It is kept.
    pub(super) fn changed(&self, host: Host<'_>, maintenance: Maintenance) {
        let mut kept = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(host.declared.name.clone(), maintenance);
    }

    /// A segment as the API tells of it.
    pub(super) fn tell_segment(&self, segment: &Placed, with_enabled: bool) -> Value {
        let declared = &segment.declared;
        let mut told = json!({
            "id": segment.number,
            "uuid": segment.uuid,
            "name": declared.name,
            "description": declared.description,
            "service_type": declared.service_type,
            "recovery_method": declared.recovery_method,
            "created_at": Instant::from(self.since).whole_seconds().text(),
            "updated_at": null,
            "deleted_at": null,
            "deleted": false,
        });
        if with_enabled {
            told["enabled"] = Value::Bool(declared.enabled);
        }
        told
    }

    /// A host as the API tells of it.
    pub(super) fn tell_host(&self, host: Host<'_>, with_enabled: bool) -> Value {
        let kept = self.kept(&host.declared.name);
        let updated = kept.map(|kept| Timestamp::from_millis(kept.since));
        json!({
            "id": host.number,
            "uuid": host.uuid,
            "name": host.declared.name,
            "failover_segment_id": host.segment.uuid,
            "failover_segment": self.tell_segment(host.segment, with_enabled),
            "type": host.declared.kind,
            "reserved": host.declared.reserved,
            "control_attributes": host.declared.control_attributes,
            "on_maintenance": self.is_on_maintenance(host),
            "created_at": Instant::from(self.since).whole_seconds().text(),
            "updated_at": updated.map(|time| Instant::from(time).whole_seconds().text()),
            "deleted_at": null,
            "deleted": false,
        })
    }
}

impl Placed {
    fn host(&self, place: usize) -> Option<Host<'_>> {
        let (number, uuid) = self.hosts.get(place)?;
        Some(Host {
            number: *number,
            uuid,
            declared: self.declared.hosts.get(place)?,
            segment: self,
        })
    }

    /// Its hosts.
    pub(super) fn hosts(&self) -> impl Iterator<Item = Host<'_>> {
        (0..self.hosts.len()).filter_map(|place| self.host(place))
    }
}

/// The UUID of a host that is not declared.
pub(super) fn undeclared(name: &str) -> String {
    uuid::of("host", name)
}

fn host_uuid(host: &SegmentHost) -> String {
    host.uuid.clone().unwrap_or_else(|| undeclared(&host.name))
}

/// Those of a list that are asked for: filtered by equality, sorted, from behind the marker, no more than the limit.
///
/// # Errors
/// What the service says.
pub(super) fn page(
    mut rows: Vec<Value>,
    filters: &[(&str, Value)],
    page: &super::query::Page,
) -> Result<Vec<Value>, String> {
    if page.limit == 0 {
        return Ok(Vec::new());
    }
    let id = |row: &Value| row["id"].as_u64();
    if let Some((name, _)) = page
        .sort
        .iter()
        .find(|(name, _)| rows.first().is_some_and(|row| row.get(name).is_none()))
    {
        return Err(format!("InvalidSortKey('Sort key supplied is invalid: {name}')"));
    }
    let marker = match &page.marker {
        None => None,
        Some(marker) => {
            let row = rows
                .iter()
                .find(|row| id(row).is_some_and(|id| marker.parse() == Ok(id)))
                .cloned();
            Some(row.ok_or_else(|| format!("Marker {marker} could not be found."))?)
        }
    };
    let first = page.sort.first().is_none_or(|(_, descending)| *descending);
    let compare = |left: &Value, right: &Value| {
        let columns = page
            .sort
            .iter()
            .map(|(name, descending)| (name.as_str(), *descending))
            .chain([("id", first)]);
        for (name, descending) in columns {
            let order = match (left[name].as_u64(), right[name].as_u64()) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => left[name].to_string().cmp(&right[name].to_string()),
            };
            let order = if descending { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        std::cmp::Ordering::Equal
    };
    rows.retain(|row| filters.iter().all(|(name, wanted)| row[*name] == *wanted));
    rows.sort_by(compare);
    if let Some(marker) = marker {
        rows.retain(|row| compare(row, &marker).is_gt());
    }
    rows.truncate(page.limit);
    Ok(rows)
}
