//! Which requests are taken, and what becomes of one that is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::signature::is_signed;
use crate::config::webhook::{self as config, Respond};
use crate::engine::intake::{Accepted, Intake, NotAccepted, NotKept};
use crate::engine::records::Records;
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::event::webhook::{Form, WebhookRequest, key, read};
use crate::event::{Event, Facts, Subject};
use crate::listener::{Head, Response, Serve};
use crate::repeats::Repeats;
use crate::secrets::{Keyring, SecretError};
use crate::sources::deliveries::{Claim, Deliveries};
use crate::sources::refusal::Refusal;
use crate::sources::senders::{bearer, cut, is_for_this_machine, is_of_a_page, read_body};

/// Longer values of headers are cut.
const LONGEST_HEADER: usize = 1_024;

/// Longer names of deliveries are cut.
const LONGEST_DELIVERY: usize = 256;

/// One endpoint, with its secrets.
#[derive(Debug)]
pub(super) struct Endpoint {
    name: String,
    rules: config::Endpoint,
    signers: Option<Keyring>,
    tokens: Option<Keyring>,
    deliveries: Option<Deliveries>,
    /// Only this machine can reach it.
    is_local: bool,
}

impl Endpoint {
    /// Reads the secrets that the endpoint needs; `redaction` hides them. `is_local` where only this machine can reach it.
    pub(super) fn build(
        name: &str,
        rules: &config::Endpoint,
        is_local: bool,
        redaction: &Redaction,
    ) -> Result<Self, SecretError> {
        let keyring = |places: &[_]| Keyring::read(places, redaction);
        Ok(Self {
            name: name.to_owned(),
            signers: rules
                .signature
                .as_ref()
                .map(|signature| keyring(&signature.secrets))
                .transpose()?,
            tokens: rules
                .token
                .as_ref()
                .map(|token| keyring(&token.secrets))
                .transpose()?,
            deliveries: rules
                .delivery
                .as_ref()
                .map(|delivery| Deliveries::new(delivery.remember)),
            rules: rules.clone(),
            is_local,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &str {
        &self.rules.path
    }

    /// Reads the secrets again whose files changed.
    pub(super) fn look_at_secrets(&self) {
        self.keyrings().for_each(Keyring::look);
    }

    fn keyrings(&self) -> impl Iterator<Item = &Keyring> {
        self.signers.iter().chain(&self.tokens)
    }

    /// For how long it remembers deliveries, if it does.
    pub(super) fn remembers(&self) -> Option<Duration> {
        self.deliveries.as_ref().map(Deliveries::remember_for)
    }

    /// A delivery that a former life accepted so long ago.
    pub(super) fn remember(&self, delivery: &str, event: Seq, age: Duration) {
        if let Some(deliveries) = &self.deliveries {
            deliveries.recall(delivery, event, age);
        }
    }

    /// What can be said of a request before its body is read.
    fn admit(&self, head: &Head) -> Result<(), Refusal> {
        let rules = &self.rules;
        if !rules.methods.contains(&head.method) {
            return Err(Refusal::Method(rules.methods.join(", ")));
        }
        if !rules.addresses.is_empty() && !rules.addresses.iter().any(|list| list.contains(head.sender)) {
            return Err(Refusal::Address);
        }
        if !rules.knows_senders() && is_of_a_page(head) {
            return Err(Refusal::Page);
        }
        // A page whose own name was made to lead here (DNS rebinding) reads like any program, but for the name it asks for.
        if self.is_local
            && !rules.knows_senders()
            && matches!(&*head.method, "GET" | "HEAD")
            && !is_for_this_machine(head)
        {
            return Err(Refusal::Host);
        }
        if let (Some(token), Some(known)) = (&rules.token, &self.tokens) {
            let given = head.header(token.header.as_deref().unwrap_or("authorization"));
            let given = given.as_deref();
            let given = match token.header {
                Some(_) => given,
                None => given.and_then(bearer),
            };
            if !given.is_some_and(|given| known.holds(given.as_bytes())) {
                return Err(Refusal::Token {
                    bearer: token.header.is_none(),
                });
            }
        }
        if let Some(signature) = &rules.signature
            && head.header(&signature.header).is_none()
        {
            return Err(Refusal::Signature);
        }
        if head.has_body {
            self.form(head)?;
        }
        Ok(())
    }

    /// What the body is to be read as.
    fn form(&self, head: &Head) -> Result<Form, Refusal> {
        if let Some(encoding) = head.header("content-encoding")
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Err(Refusal::Type(cut(&encoding, LONGEST_HEADER)));
        }
        let content_type = head.header("content-type").unwrap_or_default();
        let by_type = || Form::of_type(&content_type);
        self.rules
            .body
            .or_else(by_type)
            .ok_or_else(|| Refusal::Type(cut(&content_type, LONGEST_HEADER)))
    }

    fn check_signature(&self, head: &Head, body: &[u8]) -> Result<(), Refusal> {
        let (Some(rules), Some(known)) = (&self.rules.signature, &self.signers) else {
            return Ok(());
        };
        let given = head.header(&rules.header).unwrap_or_default();
        if is_signed(rules, &known.secrets(), &given, body) {
            Ok(())
        } else {
            Err(Refusal::Signature)
        }
    }

    /// The event that a request is. Without a body, what stands behind the `?` is one, unless a signature, which covers no address,
    /// must vouch for it.
    fn event(
        &self,
        source: &str,
        names_source: bool,
        head: &Head,
        body: Bytes,
        delivery: Option<String>,
    ) -> Result<Event, Refusal> {
        self.check_signature(head, &body)?;
        let (form, body) = if body.is_empty() {
            let query = head.query.as_ref().filter(|_| self.signers.is_none());
            (Form::Form, Bytes::from(query.cloned().unwrap_or_default()))
        } else {
            (self.form(head)?, body)
        };
        let tree = read(form, &body).map_err(Refusal::Body)?;
        let headers: BTreeMap<String, String> = self
            .rules
            .headers
            .iter()
            .filter_map(|name| Some((name.clone(), cut(&head.header(name)?, LONGEST_HEADER))))
            .collect();
        let mut event = Event {
            seq: Seq::default(),
            source: source.into(),
            key: key(&self.name),
            subject: None,
            received: Timestamp::now(),
            facts: Facts::Webhook(WebhookRequest {
                endpoint: self.name.clone(),
                method: head.method.clone(),
                form,
                delivery,
                headers,
                sender: Some(head.sender.to_string()),
                request: Some(head.id.clone()),
            }),
            ambiguous: false,
            synthesised: false,
            payload: Payload::with_tree(body, tree),
        };
        event.subject = self.subject(&event, names_source);
        Ok(event)
    }

    fn subject(&self, event: &Event, names_source: bool) -> Option<Subject> {
        let expression = self.rules.subject.as_ref()?;
        let subject = match expression.text_for(event) {
            Ok(subject) => subject,
            Err(error) => {
                tracing::debug!(endpoint = self.name, %error, "a request is about nothing in particular");
                return None;
            }
        };
        (!subject.is_empty()).then(|| Subject::of(&subject, names_source.then_some(&*event.source)))
    }
}

/// What became of a request that was taken.
enum Taken {
    New(Accepted),
    Duplicate(Seq),
}

/// All endpoints of one source.
pub(super) struct Door {
    source: String,
    names_source: bool,
    endpoints: HashMap<String, Arc<Endpoint>>,
    intake: Intake,
    records: Records,
    /// Nobody waits for results any more.
    until: CancellationToken,
    log: Mutex<Repeats>,
}

impl Door {
    pub(super) fn new(
        source: String,
        names_source: bool,
        endpoints: HashMap<String, Arc<Endpoint>>,
        intake: Intake,
        records: Records,
        until: CancellationToken,
    ) -> Self {
        Self {
            source,
            names_source,
            endpoints,
            intake,
            records,
            until,
            log: Mutex::default(),
        }
    }

    fn find(&self, head: &Head) -> Result<&Arc<Endpoint>, Refusal> {
        self.endpoints.get(&head.path).ok_or(Refusal::Path)
    }

    fn refuse(&self, head: &Head, refusal: &Refusal) -> Response {
        if let Some(reason) = refusal.counted_as() {
            self.intake.not_kept(NotKept::Refused(reason));
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // The path is the sender's to choose: new ones must not crowd out what is said of others.
        let endpoint = self
            .endpoints
            .get(&head.path)
            .map_or("", |endpoint| &endpoint.name);
        let about = format!("{endpoint} {}", refusal.reason());
        if let Some(repeats) = log.allows(&about, Instant::now()) {
            tracing::warn!(
                source = self.source, request = head.id, sender = %head.sender, path = head.path, repeats,
                why = refusal.detail(), "a request was refused"
            );
        }
        refusal.response()
    }

    async fn take(&self, endpoint: &Arc<Endpoint>, head: &Arc<Head>, body: Bytes) -> Result<Taken, Refusal> {
        let delivery = endpoint
            .rules
            .delivery
            .as_ref()
            .and_then(|delivery| head.header(&delivery.header))
            .map(|id| cut(&id, LONGEST_DELIVERY))
            .filter(|id| !id.is_empty());
        let event = self.event(endpoint, head, body, delivery.clone()).await?;
        let ticket = match (&endpoint.deliveries, &delivery) {
            (Some(deliveries), Some(delivery)) => match deliveries.claim(delivery).await {
                Claim::New(ticket) => Some(ticket),
                Claim::Known(event) => {
                    self.intake.not_kept(NotKept::Duplicate);
                    return Ok(Taken::Duplicate(event));
                }
            },
            _ => None,
        };
        let accepted = self.intake.deliver(event).await.map_err(Refusal::NotNow)?;
        if let Some(ticket) = ticket {
            ticket.accepted(accepted.seq);
        }
        Ok(Taken::New(accepted))
    }

    async fn event(
        &self,
        endpoint: &Arc<Endpoint>,
        head: &Arc<Head>,
        body: Bytes,
        delivery: Option<String>,
    ) -> Result<Event, Refusal> {
        let (endpoint, head) = (Arc::clone(endpoint), Arc::clone(head));
        let (source, names_source) = (self.source.clone(), self.names_source);
        let size = body.len();
        let read = move || endpoint.event(&source, names_source, &head, body, delivery);
        read_body(size, read)
            .await
            .unwrap_or(Err(Refusal::NotNow(NotAccepted::Stopping)))
    }

    async fn answered(&self, endpoint: &Endpoint, taken: Taken) -> Response {
        let (event, is_duplicate) = match &taken {
            Taken::New(accepted) => (accepted.seq, false),
            Taken::Duplicate(event) => (*event, true),
        };
        let id = self.records.event_id(event);
        let Respond::Result { within } = endpoint.rules.respond else {
            return match taken {
                Taken::Duplicate(_) => answer::duplicate(&id),
                Taken::New(accepted) => {
                    let hooks: Vec<String> = accepted
                        .executions
                        .iter()
                        .map(|execution| execution.hook.to_string())
                        .collect();
                    answer::accepted(&id, &hooks)
                }
            };
        };
        // A stop, a limit and an end lead to the same: what stands in the records by then is told.
        let settled = timeout(within, self.records.until_settled(event));
        if let Some(Ok(Err(error))) = self.until.run_until_cancelled(settled).await {
            tracing::error!(
                event = id,
                error = &error as &dyn std::error::Error,
                "what came of an event cannot be read"
            );
        }
        match self.records.standings(event).await {
            Ok(standings) => answer::result(&id, &standings, is_duplicate),
            // It is accepted all the same.
            Err(error) => {
                tracing::error!(
                    event = id,
                    error = &error as &dyn std::error::Error,
                    "what came of an event cannot be read"
                );
                answer::accepted(&id, &[])
            }
        }
    }
}

impl Serve for Door {
    fn admit(&self, head: &Head) -> Result<(), Response> {
        self.find(head)
            .and_then(|endpoint| endpoint.admit(head))
            .map_err(|refusal| self.refuse(head, &refusal))
    }

    async fn answer(self: Arc<Self>, head: Head, body: Bytes) -> Response {
        let head = Arc::new(head);
        let taken = match self.find(&head) {
            Ok(endpoint) => self
                .take(endpoint, &head, body)
                .await
                .map(|taken| (endpoint, taken)),
            Err(refusal) => Err(refusal),
        };
        match taken {
            Ok((endpoint, taken)) => self.answered(endpoint, taken).await,
            Err(refusal) => self.refuse(&head, &refusal),
        }
    }

    fn broken(&self, why: &'static str) {
        self.intake.not_kept(NotKept::Refused(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::webhook;
    use crate::expression::Expression;

    #[test]
    fn subjects_that_differ_far_from_their_beginning_stay_two() {
        let rules = config::Endpoint {
            path: "/deploy".to_owned(),
            methods: vec!["POST".to_owned()],
            body: None,
            signature: None,
            token: None,
            addresses: Vec::new(),
            respond: Respond::Accepted,
            delivery: None,
            subject: Some(Expression::compile("event.ref").expect("an expression")),
            headers: Vec::new(),
        };
        let endpoint = Endpoint::build("deploy", &rules, true, &Redaction::default()).expect("an endpoint");
        let subject = |names_source, end| {
            let body = serde_json::json!({ "ref": format!("{}{end}", "x".repeat(600)) });
            let saved = serde_json::json!({ "kind": "webhook", "endpoint": "deploy", "body": body });
            let event = webhook::from_saved(saved.to_string().as_bytes());
            endpoint.subject(&event, names_source).expect("it has one")
        };
        for names_source in [false, true] {
            assert_ne!(subject(names_source, "1"), subject(names_source, "2"));
            assert_eq!(subject(names_source, "1"), subject(names_source, "1"));
        }
    }
}
