//! Which requests are taken, and who answers them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::address::{Address, Resource};
use super::answer;
use super::authentication::{Authentication, Identity};
use super::inventory::{self, Host, Inventory};
use super::microversion::Microversion;
use super::notifications::{NoList, Notification, Shelf};
use super::python::Json;
use super::query::{Filter, Page, Parameters};
use super::register::{Fingerprint, Register};
use super::validation::{self, HostChange, Told};
use super::{uuid, version};
use crate::config::MasakariSource;
use crate::config::masakari::Maintenance;
use crate::engine::bookmark::Bookmark;
use crate::engine::intake::{Intake, NotAccepted, NotKept};
use crate::engine::records::{ReadError, Records, apart};
use crate::event::Facts;
use crate::event::masakari::MasakariNotification;
use crate::event::time::Timestamp;
use crate::listener::{Head, Response, Serve};
use crate::repeats::Repeats;
use crate::sources::senders::{cut, is_for_this_machine, is_of_a_page, read_body};

/// Two notifications that say the same pass one after the other; others seldom wait for each other.
const GATES: usize = 1_024;

/// What is said of a refused request is cut: Masakari's words repeat what was sent.
const LONGEST_REASON: usize = 500;

/// The name of the rules for notifications, before the action.
const NOTIFICATIONS: &str = "os_masakari_api:notifications";
const SEGMENTS: &str = "os_masakari_api:segments";
const HOSTS: &str = "os_masakari_api:os-hosts";

/// The whole API of one source.
pub(super) struct Door {
    pub(super) source: String,
    pub(super) names_source: bool,
    pub(super) rules: MasakariSource,
    pub(super) authentication: Arc<Authentication>,
    pub(super) inventory: Inventory,
    pub(super) register: Arc<Register>,
    pub(super) intake: Intake,
    pub(super) records: Records,
    /// Where it listens, for links of those who do not say how they call it.
    pub(super) url: String,
    pub(super) gates: Gates,
    /// Turns for lists in another order than that of the numbers, for which everything on record is looked at.
    pub(super) sorting: Semaphore,
    pub(super) log: Mutex<Repeats>,
}

/// So many lists are sorted at once.
pub(super) const SORTED_AT_ONCE: usize = 2;

/// What lets one pass at a time of those that might be the same.
pub(super) struct Gates(Vec<tokio::sync::Mutex<()>>);

impl Default for Gates {
    fn default() -> Self {
        Self(
            std::iter::repeat_with(tokio::sync::Mutex::default)
                .take(GATES)
                .collect(),
        )
    }
}

/// A request of version 1, once its caller and the version are known.
struct Request<'a> {
    head: &'a Head,
    id: &'a str,
    identity: &'a Identity,
    version: Microversion,
}

impl Request<'_> {
    /// Whether the policy lets the caller do this.
    fn may(&self, rules: &str, action: &str) -> Result<(), Response> {
        if self.identity.is_admin {
            return Ok(());
        }
        Err(answer::fault(
            403,
            &format!("Policy doesn't allow {rules}:{action} to be performed."),
        ))
    }
}

impl Door {
    async fn v1(
        &self,
        head: &Head,
        id: &str,
        project: Option<&str>,
        resource: &Resource,
        body: Bytes,
    ) -> Response {
        let identity = match self.authentication.admit(head).await {
            Ok(identity) => identity,
            Err(refusal) => {
                self.refused(head, id, "authentication", "the caller may not");
                return refusal;
            }
        };
        let Some(action) = resource.action(&head.method) else {
            self.refused(head, id, "path", "nothing is taken at this path");
            return answer::nothing_here();
        };
        let version = match Microversion::read(head.header("openstack-api-version").as_deref()) {
            Ok(version) => version,
            Err(unknown) => {
                self.refused(head, id, "version", "the API has no such version");
                return version::refusal(&unknown);
            }
        };
        let request = Request {
            head,
            id,
            identity: &identity,
            version,
        };
        let answer = self
            .act(&request, project, resource, action, body)
            .await
            .unwrap_or_else(|refusal| refusal);
        answer
            .with("openstack-api-version", version.header())
            .with("vary", "OpenStack-API-Version")
    }

    async fn act(
        &self,
        request: &Request<'_>,
        project: Option<&str>,
        resource: &Resource,
        action: &'static str,
        body: Bytes,
    ) -> Result<Response, Response> {
        let head = request.head;
        if !is_json(head.header("content-type").as_deref()) {
            self.refused(head, request.id, "type", "the body is no JSON");
            return Err(answer::fault(415, "Unsupported Content-Type"));
        }
        let is_known = matches!(
            (resource, action),
            (Resource::Version, "show")
                | (Resource::Notifications, "index" | "create")
                | (Resource::Notification(_) | Resource::Segment(_), "show")
                | (Resource::Segments | Resource::Hosts(_), "index")
                | (Resource::Host { .. }, "show" | "update")
        );
        if !is_known {
            self.refused(head, request.id, "method", "this cannot be done here");
            return Err(not_allowed(&head.method, action));
        }
        let has_body = matches!(head.method.as_str(), "POST" | "PUT");
        let json = match body.is_empty() || !has_body {
            true => Json::Null,
            false => {
                let document = body.clone();
                let parsed = read_body(body.len(), move || Json::parse(&document)).await;
                parsed.ok_or_else(stopping)?.ok_or_else(|| {
                    self.refused(head, request.id, "body", "the body is malformed");
                    answer::fault(400, "Malformed request body")
                })?
            }
        };
        if let (Some(asked), Some(own)) = (project, &request.identity.project)
            && asked != own
        {
            let message = format!(
                "Malformed request URL: URL's project_id '{asked}' doesn't match Context's project_id '{own}'"
            );
            self.refused(head, request.id, "project", &message);
            return Err(answer::fault(400, &message));
        }
        match resource {
            Resource::Version => Ok(version::document(&self.links(head))),
            Resource::Notifications if action == "create" => self.create(request, json, body).await,
            Resource::Notifications => self.list(request).await,
            Resource::Notification(id) => self.show(request, id.clone()).await,
            Resource::Segments => self.list_segments(request),
            Resource::Segment(id) => self.show_segment(request, id),
            Resource::Hosts(segment) => self.list_hosts(request, segment),
            Resource::Host { segment, host } if action == "update" => {
                self.change_host(request, segment, host, &json).await
            }
            Resource::Host { segment, host } => self.show_host(request, segment, host),
            Resource::Member(_) | Resource::Nothing => Err(answer::nothing_here()),
        }
    }

    /// What links in answers begin with.
    fn links(&self, head: &Head) -> String {
        let scheme = if self.rules.listen.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let is_host = |host: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte);
            !host.is_empty() && host.bytes().all(is_plain)
        };
        match head.header("host").filter(|host| is_host(host)) {
            Some(host) => format!("{scheme}://{host}{}", self.rules.base_path),
            None => format!("{}{}", self.url, self.rules.base_path),
        }
    }

    async fn create(&self, request: &Request<'_>, body: Json, document: Bytes) -> Result<Response, Response> {
        let refused = |reason, status, message: String| {
            self.refused(request.head, request.id, reason, &message);
            answer::fault(status, &message)
        };
        let told = read_body(document.len(), move || validation::notification(&body)).await;
        let told = told
            .ok_or_else(stopping)?
            .map_err(|message| refused("body", 400, message))?;
        request
            .may(NOTIFICATIONS, "create")
            .inspect_err(|_| self.refused(request.head, request.id, "policy", "the caller may not"))?;
        let host = self.inventory.host(&told.hostname);
        if host.is_none() && self.rules.strict_hosts {
            let message = format!("Host with name {} could not be found.", told.hostname);
            return Err(refused("unknown host", 400, message));
        }
        let fingerprint = Fingerprint::of(&told.kind, &told.hostname, &told.payload);
        let gate = match self.rules.maintenance {
            Maintenance::Manual => fingerprint,
            // One may keep the next one of its host out.
            Maintenance::Auto => Fingerprint::of("", &told.hostname, &Default::default()),
        };
        let _passing = self.gates.pass(gate).await;
        if host.is_some_and(|host| self.inventory.is_on_maintenance(host)) {
            let message = format!(
                "Notification received from host {} of type '{}' is ignored as the host is already under maintenance.",
                told.hostname, told.kind
            );
            return Err(refused("maintenance", 409, message));
        }
        if self.register.is_duplicate(fingerprint, told.generated) {
            self.intake.not_kept(NotKept::Duplicate);
            let message = format!(
                "Notification received from host {} of type {} is duplicate.",
                told.hostname, told.kind
            );
            return Err(answer::fault(409, &message));
        }
        self.accept(request, told, host, document).await
    }

    async fn accept(
        &self,
        request: &Request<'_>,
        told: Told,
        host: Option<Host<'_>>,
        document: Bytes,
    ) -> Result<Response, Response> {
        let now = Timestamp::now();
        let change = match (self.rules.maintenance, host) {
            (Maintenance::Auto, Some(host)) if takes_host_out(&told) => {
                let change = Inventory::change(host, true, now);
                let (maintenance, bookmark) = change.map_err(|error| answer::not_now(&error.to_string()))?;
                Some((host, maintenance, bookmark))
            }
            _ => None,
        };
        let notification = MasakariNotification {
            uuid: uuid::draw(),
            kind: told.kind,
            generated_time: told.generated.text(),
            payload: told.payload,
            host_uuid: Some(host.map_or_else(
                || inventory::undeclared(&told.hostname),
                |host| host.uuid.to_owned(),
            )),
            hostname: told.hostname,
            segment_uuid: host.map(|host| host.segment.uuid.clone()),
            observed: None,
            sender: Some(request.head.sender.to_string()),
            request: Some(request.id.to_owned()),
        };
        let mut event =
            notification.into_event(self.source.as_str().into(), self.names_source, now, document);
        let bookmarks: Vec<Bookmark> = change.iter().map(|(.., bookmark)| bookmark.clone()).collect();
        let not_now = |why: NotAccepted| answer::not_now(&why.to_string());
        let pending = self.intake.hand_over(event.clone(), bookmarks).map_err(not_now)?;
        event.seq = pending.accepted().await.map_err(not_now)?.seq;
        self.register.take(&event);
        if host.is_none()
            && let Facts::Masakari(told) = &event.facts
        {
            self.note_unknown(&told.hostname);
        }
        if let Some((host, maintenance, _)) = change {
            self.inventory.changed(host, maintenance);
        }
        Notification::accepted(&event)
            .map(|notification| answer::named(202, "notification", &notification))
            .ok_or_else(|| answer::fault(500, "The notification cannot be told"))
    }

    async fn list(&self, request: &Request<'_>) -> Result<Response, Response> {
        request.may(NOTIFICATIONS, "index")?;
        let bad = |message: String| answer::fault(400, &message);
        let parameters = Parameters::read(request.head.query.as_deref());
        let page = Page::read(&parameters).map_err(bad)?;
        let filter = Filter::read(&parameters).map_err(bad)?;
        let page = page.sorted(&parameters).map_err(bad)?;
        let _turn = match page.columns() {
            Ok(columns) if columns.len() > 1 => Some(self.sorting.acquire().await),
            _ => None,
        };
        let listed = self.read(move |shelf| shelf.list(&filter, &page)).await?;
        match listed {
            Ok(listed) => Ok(answer::named(200, "notifications", &listed)),
            Err(NoList::Refused(message)) => Err(bad(message)),
            Err(NoList::Unreadable(error)) => Err(unreadable(&error)),
        }
    }

    async fn show(&self, request: &Request<'_>, id: String) -> Result<Response, Response> {
        request.may(NOTIFICATIONS, "detail")?;
        let unknown = format!("No notification with id {id}.");
        let with_workflow = request.version >= Microversion::WITH_WORKFLOW;
        match self.read(move |shelf| shelf.show(&id, with_workflow)).await? {
            Ok(Some(notification)) => Ok(answer::named(200, "notification", &notification)),
            Ok(None) => Err(answer::fault(404, &unknown)),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(Shelf<'_>) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let (register, records) = (Arc::clone(&self.register), self.records.clone());
        let read = apart(move || {
            Ok(read(Shelf {
                register: &register,
                records: &records,
            }))
        });
        match read.await {
            Ok(Some(read)) => Ok(read),
            Ok(None) => Err(stopping()),
            Err(error) => Err(unreadable(&error)),
        }
    }

    fn list_segments(&self, request: &Request<'_>) -> Result<Response, Response> {
        request.may(SEGMENTS, "index")?;
        let rows = self.inventory.segments();
        let rows = rows.map(|segment| self.tell_segment(request, segment)).collect();
        let parameters = Parameters::read(request.head.query.as_deref());
        let mut filters = Vec::new();
        for name in ["recovery_method", "service_type"] {
            filters.extend(parameters.get(name).map(|value| (name, Value::from(value))));
        }
        let rows = paged(rows, &filters, &parameters)?;
        Ok(answer::named(200, "segments", &rows))
    }

    fn tell_segment(&self, request: &Request<'_>, segment: &inventory::Placed) -> Value {
        let with_enabled = request.version >= Microversion::WITH_ENABLED;
        self.inventory.tell_segment(segment, with_enabled)
    }

    fn tell_host(&self, request: &Request<'_>, host: Host<'_>) -> Value {
        let with_enabled = request.version >= Microversion::WITH_ENABLED;
        self.inventory.tell_host(host, with_enabled)
    }

    fn segment(&self, id: &str) -> Result<&inventory::Placed, Response> {
        self.inventory
            .segment(id)
            .ok_or_else(|| answer::fault(404, &format!("No failover segment with id {id}.")))
    }

    fn show_segment(&self, request: &Request<'_>, id: &str) -> Result<Response, Response> {
        request.may(SEGMENTS, "detail")?;
        let told = self.tell_segment(request, self.segment(id)?);
        Ok(answer::named(200, "segment", &told))
    }

    fn list_hosts(&self, request: &Request<'_>, segment: &str) -> Result<Response, Response> {
        request.may(HOSTS, "index")?;
        let parameters = Parameters::read(request.head.query.as_deref());
        let rows = self
            .segment(segment)?
            .hosts()
            .map(|host| self.tell_host(request, host))
            .collect();
        let mut filters = Vec::new();
        for name in ["name", "type", "control_attributes"] {
            filters.extend(parameters.get(name).map(|value| (name, Value::from(value))));
        }
        for name in ["on_maintenance", "reserved"] {
            if let Some(word) = parameters.get(name) {
                let truth = truth(word)
                    .map_err(|why| answer::fault(400, &format!("Invalid value for {name}: {why}")))?;
                filters.push((name, Value::Bool(truth)));
            }
        }
        let rows = paged(rows, &filters, &parameters)?;
        Ok(answer::named(200, "hosts", &rows))
    }

    fn host(&self, segment: &str, id: &str) -> Result<Host<'_>, Response> {
        self.segment(segment)?
            .hosts()
            .find(|host| host.uuid == id)
            .ok_or_else(|| answer::fault(404, &format!("No host with id {id}.")))
    }

    fn show_host(&self, request: &Request<'_>, segment: &str, id: &str) -> Result<Response, Response> {
        request.may(HOSTS, "detail")?;
        let told = self.tell_host(request, self.host(segment, id)?);
        Ok(answer::named(200, "host", &told))
    }

    async fn change_host(
        &self,
        request: &Request<'_>,
        segment: &str,
        id: &str,
        body: &Json,
    ) -> Result<Response, Response> {
        let change = validation::host_change(body).map_err(|message| answer::fault(400, &message))?;
        request.may(HOSTS, "update")?;
        let host = self.host(segment, id)?;
        if let Some(name) = other_change(&change, host) {
            let message =
                format!("{name} is declared in hem's configuration; only on_maintenance can be changed.");
            return Err(answer::fault(403, &message));
        }
        if let Some(on) = change.on_maintenance {
            let gate = Fingerprint::of("", &host.declared.name, &Default::default());
            let _passing = self.gates.pass(gate).await;
            let changed = Inventory::change(host, on, Timestamp::now());
            let (maintenance, bookmark) = changed.map_err(|error| answer::not_now(&error.to_string()))?;
            let kept = self.intake.keep(vec![bookmark]).await;
            kept.map_err(|why| answer::not_now(&why.to_string()))?;
            self.inventory.changed(host, maintenance);
            tracing::info!(
                source = self.source, request = request.id, sender = %request.head.sender,
                host = host.declared.name, on_maintenance = on, "a host's maintenance was changed"
            );
        }
        Ok(answer::named(200, "host", &self.tell_host(request, host)))
    }

    /// Says and counts that a notification was not taken.
    fn refused(&self, head: &Head, request: &str, reason: &'static str, why: &str) {
        if head.method == "POST" {
            self.intake.not_kept(NotKept::Refused(reason));
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repeats) = log.allows(reason, std::time::Instant::now()) {
            let why = cut(why, LONGEST_REASON);
            tracing::warn!(
                source = self.source, request, sender = %head.sender, path = head.path, repeats, why,
                "a request was refused"
            );
        }
    }

    /// Says and counts that a notification about a host in no segment was taken.
    fn note_unknown(&self, host: &str) {
        self.intake.remark("unknown host");
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::time::Instant::now();
        if let Some(repeats) = log.allows("a host in no segment", now) {
            tracing::warn!(
                source = self.source,
                host,
                repeats,
                "a notification is about a host in no segment"
            );
        }
    }
}

impl Gates {
    async fn pass(&self, who: Fingerprint) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let gate = self.0.get(who.place(self.0.len()))?;
        Some(gate.lock().await)
    }
}

/// What Masakari itself takes a host out for: the host, which its neighbours see, or one of its processes has stopped.
fn takes_host_out(told: &Told) -> bool {
    let says = |name, value| told.payload.get(name).is_some_and(|found| found == value);
    match told.kind.as_str() {
        "COMPUTE_HOST" => says("event", "STOPPED") && says("host_status", "NORMAL"),
        "PROCESS" => says("event", "STOPPED"),
        _ => false,
    }
}

/// The first thing that is to be changed and cannot be.
fn other_change(change: &HostChange, host: Host<'_>) -> Option<&'static str> {
    let declared = host.declared;
    let is_new = |name: &str, text: &Option<String>| {
        let known = match name {
            "name" => &declared.name,
            "type" => &declared.kind,
            _ => &declared.control_attributes,
        };
        text.as_ref() != Some(known)
    };
    let texts = change.texts.iter();
    let mut changed = texts
        .filter(|(name, text)| is_new(name, text))
        .map(|(name, _)| *name);
    let reserved = change.reserved.filter(|reserved| *reserved != declared.reserved);
    changed.next().or(reserved.map(|_| "reserved"))
}

fn paged(
    rows: Vec<Value>,
    filters: &[(&str, Value)],
    parameters: &Parameters,
) -> Result<Vec<Value>, Response> {
    let page = Page::read(parameters).and_then(|page| page.sorted(parameters));
    page.and_then(|page| inventory::page(rows, filters, &page))
        .map_err(|message| answer::fault(400, &message))
}

/// A word for yes or no, as OpenStack's libraries read it.
fn truth(word: &str) -> Result<bool, String> {
    match word.trim().to_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(format!(
            "Unrecognized value '{word}', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"
        )),
    }
}

/// Whether a body of this type is read; one without a type is.
fn is_json(content_type: Option<&str>) -> bool {
    let kind = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    matches!(
        kind.trim().to_ascii_lowercase().as_str(),
        "" | "text/plain" | "application/json" | "application/vnd.openstack.masakari+json"
    )
}

fn not_allowed(method: &str, action: &str) -> Response {
    answer::fault(
        405,
        &format!("The request method: '{method}' with action: '{action}' is not allowed on this resource"),
    )
}

fn stopping() -> Response {
    answer::not_now("hem is stopping")
}

fn unreadable(error: &ReadError) -> Response {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "notifications cannot be read"
    );
    answer::fault(500, "The records cannot be read.")
}

impl Serve for Door {
    /// What a browser sends without its user's knowledge goes no further: neither for a page of somebody else's, nor for one whose
    /// name somebody made to mean this machine (DNS rebinding), which then is a page of hem's own to the browser.
    fn admit(&self, head: &Head) -> Result<(), Response> {
        if self.authentication.is_carried_by_browsers() && is_of_a_page(head) {
            let why = "requests that a page in a browser sends are not taken";
            self.refused(head, &head.id, "browser", why);
            return Err(answer::fault(403, why));
        }
        let is_local = self.authentication.is_none() && self.rules.listen.is_loopback();
        if is_local && !is_for_this_machine(head) {
            let why = "only requests for localhost or an address of this machine alone are taken";
            self.refused(head, &head.id, "host", why);
            return Err(answer::fault(421, why));
        }
        Ok(())
    }

    async fn answer(self: Arc<Self>, head: Head, body: Bytes) -> Response {
        match Address::of(&head.path, &self.rules.base_path) {
            Address::Versions => version::versions(&self.links(&head)),
            Address::Healthcheck => answer::text("OK"),
            Address::Other(path) => {
                self.refused(&head, &head.id, "path", "nothing is taken at this path");
                version::choices(&self.links(&head), &path)
            }
            Address::Nothing => {
                self.refused(&head, &head.id, "path", "nothing is taken at this path");
                answer::nothing_here()
            }
            Address::V1 { project, resource } => {
                let id = format!("req-{}", uuid::draw());
                let answer = self.v1(&head, &id, project.as_deref(), &resource, body).await;
                answer.with("x-openstack-request-id", id)
            }
        }
    }

    fn broken(&self, why: &'static str) {
        self.intake.not_kept(NotKept::Refused(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_bodies_are_those_that_masakari_reads() {
        for kind in [
            None,
            Some(""),
            Some("text/plain"),
            Some("application/json; charset=utf-8"),
            Some("Application/vnd.openstack.masakari+json"),
        ] {
            assert!(is_json(kind), "{kind:?}");
        }
        for kind in ["text/xml", "application/x-www-form-urlencoded", "json"] {
            assert!(!is_json(Some(kind)), "{kind}");
        }
    }

    #[test]
    fn words_for_yes_and_no_are_openstacks() {
        assert_eq!(truth(" Yes"), Ok(true));
        assert_eq!(truth("OFF"), Ok(false));
        assert!(truth("maybe").is_err_and(|why| why.starts_with("Unrecognized value 'maybe'")));
    }
}
