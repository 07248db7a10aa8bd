//! Notifications: taken, listed and shown.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::instant::Instant;
use super::query::{Column, Filter, Page, Sorting};
use super::register::{Register, Row};
use super::uuid;
use super::workflow::{self, Standing, Status, Task};
use crate::engine::records::{ReadError, Records};
use crate::event::id::Seq;
use crate::event::masakari::MasakariNotification;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};

/// So many are looked at before more are asked of the register.
const CHUNK: usize = 500;

/// A notification as the API tells of it.
#[derive(Debug, Serialize)]
pub(super) struct Notification {
    id: u64,
    notification_uuid: String,
    generated_time: String,
    source_host_uuid: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    payload: BTreeMap<String, String>,
    status: &'static str,
    failover_segment_uuid: Option<String>,
    message: Option<String>,
    created_at: String,
    updated_at: Option<String>,
    deleted_at: Option<String>,
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_workflow_details: Option<Vec<Task>>,
}

impl Notification {
    fn of(seq: Seq, received: Timestamp, told: &MasakariNotification, standing: Standing) -> Self {
        let seconds = |time: Timestamp| Instant::from(time).whole_seconds().text();
        Self {
            id: seq.0,
            notification_uuid: told.uuid.clone(),
            generated_time: told.generated_time.clone(),
            source_host_uuid: told.host_uuid.clone(),
            kind: told.kind.clone(),
            payload: told.payload.clone(),
            status: standing.status.as_str(),
            failover_segment_uuid: told.segment_uuid.clone(),
            message: None,
            created_at: seconds(received),
            updated_at: standing.updated.map(seconds),
            deleted_at: None,
            deleted: false,
            recovery_workflow_details: None,
        }
    }

    /// One that was accepted a moment ago.
    pub(super) fn accepted(event: &Event) -> Option<Self> {
        let Facts::Masakari(told) = &event.facts else {
            return None;
        };
        let standing = Standing {
            status: Status::New,
            updated: None,
            is_final: false,
        };
        Some(Self::of(event.seq, event.received, told, standing))
    }
}

/// Why a list cannot be given.
#[derive(Debug)]
pub(super) enum NoList {
    /// What is asked for makes no sense: what the service says.
    Refused(String),
    /// The store cannot be read.
    Unreadable(ReadError),
}

impl From<ReadError> for NoList {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

/// What lists and shows are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shelf<'a> {
    pub(super) register: &'a Register,
    pub(super) records: &'a Records,
}

impl Shelf<'_> {
    /// Where a notification stands. Waits for the disk.
    pub(super) fn standing(self, row: &Row) -> Result<Standing, ReadError> {
        if let Some(standing) = row.standing {
            return Ok(standing);
        }
        let stages = self.records.stages(row.seq)?;
        let standing = workflow::standing(&stages, row.received);
        self.register.keep(row, standing);
        Ok(standing)
    }

    /// A notification; none where it is not on record any more. Waits for the disk.
    fn tell(self, row: &Row, standing: Standing) -> Result<Option<Notification>, ReadError> {
        let event = self.records.header(row.seq)?;
        Ok(match event.as_ref().map(|event| &event.facts) {
            Some(Facts::Masakari(told)) => Some(Notification::of(row.seq, row.received, told, standing)),
            _ => {
                self.register.forget(row.seq, Timestamp::now());
                None
            }
        })
    }

    /// The notification with this UUID. Waits for the disk.
    pub(super) fn show(self, id: &str, with_workflow: bool) -> Result<Option<Notification>, ReadError> {
        let Some(row) = uuid::parse(id).and_then(|uuid| self.register.find(uuid)) else {
            return Ok(None);
        };
        let standing = self.standing(&row)?;
        let Some(mut notification) = self.tell(&row, standing)? else {
            return Ok(None);
        };
        if with_workflow {
            let courses = self.records.courses(row.seq)?;
            notification.recovery_workflow_details = Some(workflow::details(&courses));
        }
        Ok(Some(notification))
    }

    /// A page of those that are asked for. Waits for the disk.
    pub(super) fn list(self, filter: &Filter, page: &Page) -> Result<Vec<Notification>, NoList> {
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let marker = match &page.marker {
            None => None,
            Some(marker) => {
                let row = marker
                    .trim()
                    .parse()
                    .ok()
                    .and_then(|seq| self.register.row(Seq(seq)));
                let unknown = || NoList::Refused(format!("Marker {marker} could not be found."));
                Some(row.ok_or_else(unknown)?)
            }
        };
        let columns = page.columns().map_err(NoList::Refused)?;
        match columns.as_slice() {
            // They are in this order already.
            [by_number] => self.by_number(filter, page.limit, by_number.descending, marker),
            columns => self.sorted(filter, page.limit, columns, marker),
        }
    }

    fn by_number(
        self,
        filter: &Filter,
        limit: usize,
        descending: bool,
        marker: Option<Row>,
    ) -> Result<Vec<Notification>, NoList> {
        let mut found = Vec::new();
        let mut after = marker.map(|row| row.seq);
        loop {
            let rows = self.register.next(filter, descending, after, CHUNK);
            after = match rows.last() {
                Some(row) => Some(row.seq),
                None => return Ok(found),
            };
            for row in &rows {
                if let Some(notification) = self.asked_for(row, filter)? {
                    found.push(notification);
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
    }

    fn asked_for(self, row: &Row, filter: &Filter) -> Result<Option<Notification>, ReadError> {
        let standing = self.standing(row)?;
        let has_status = |wanted: &String| wanted == standing.status.as_str();
        if !filter.status.as_ref().is_none_or(has_status) {
            return Ok(None);
        }
        self.tell(row, standing)
    }

    fn sorted(
        self,
        filter: &Filter,
        limit: usize,
        columns: &[Sorting],
        marker: Option<Row>,
    ) -> Result<Vec<Notification>, NoList> {
        let marker = marker.map(|row| self.keys(&row, columns)).transpose()?;
        let mut rows = Vec::new();
        for row in self.register.next(filter, true, None, usize::MAX) {
            let keys = self.keys(&row, columns)?;
            if marker
                .as_ref()
                .is_none_or(|marker| compare(columns, &keys, marker).is_gt())
            {
                rows.push((keys, row));
            }
        }
        rows.sort_unstable_by(|(left, _), (right, _)| compare(columns, left, right));
        let mut found = Vec::new();
        for (_, row) in &rows {
            if let Some(notification) = self.asked_for(row, filter)? {
                found.push(notification);
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    fn keys(self, row: &Row, columns: &[Sorting]) -> Result<Vec<Key>, ReadError> {
        let key = |sorting: &Sorting| {
            Ok(match sorting.column {
                Column::Number => Key::Number(row.seq.0),
                Column::Type => Key::Text((*row.kind).into()),
                Column::Generated => Key::Time(row.generated),
                Column::Updated => match self.standing(row)?.updated {
                    Some(updated) => Key::Time(Instant::from(updated).whole_seconds()),
                    None => Key::Nothing,
                },
                Column::Uuid => Key::Uuid(row.uuid),
                Column::Payload => Key::Text(self.payload(row)?),
                Column::Status => Key::Text(self.standing(row)?.status.as_str().into()),
                Column::Host => Key::Text((*row.host_uuid).into()),
                Column::Segment => match &row.segment_uuid {
                    Some(uuid) => Key::Text((**uuid).into()),
                    None => Key::Nothing,
                },
                Column::Same => Key::Nothing,
            })
        };
        columns.iter().map(key).collect()
    }

    fn payload(self, row: &Row) -> Result<Box<str>, ReadError> {
        let event = self.records.header(row.seq)?;
        Ok(match event.map(|event| event.facts) {
            Some(Facts::Masakari(told)) => serde_json::to_string(&told.payload)
                .unwrap_or_default()
                .into_boxed_str(),
            _ => Box::default(),
        })
    }
}

/// What is compared of a notification. Nothing comes before everything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Nothing,
    Number(u64),
    Time(Instant),
    Uuid(u128),
    Text(Box<str>),
}

fn compare(columns: &[Sorting], left: &[Key], right: &[Key]) -> Ordering {
    let keys = columns.iter().zip(left.iter().zip(right));
    keys.map(|(sorting, (left, right))| {
        if sorting.descending {
            right.cmp(left)
        } else {
            left.cmp(right)
        }
    })
    .find(|order| order.is_ne())
    .unwrap_or(Ordering::Equal)
}
