//! Listens to a server's notifications, one session after the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::asking::{ANSWER, Unanswered, question};
use super::ledger::{Ledger, Overlap, Plan, Sighting};
use super::line::{Line, TOGETHER, line};
use super::look::Look;
use super::reply::RpcError;
use super::ssh::{self, Credentials, Link, NetconfChannel, SshError};
use super::{Heard, Session, SessionFault, Stream, Subscription, asking, deployments};
use crate::config::esc::netconf::Netconf;
use crate::engine::intake::{Intake, Limits, NotKept};
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{Facts, Gap};
use crate::repeats::Repeats;
use crate::sources::backoff::Backoff;
use crate::sources::esc::arrived;
use crate::sources::{BuildError, Site, Wires, sentence};

/// What is on its way at once, with some room for what is said besides.
pub(in crate::sources::esc) const QUEUE: Limits = Limits {
    events: 2 * TOGETHER,
    bytes: 64 << 20,
};

/// Longer notifications are passed over; real ones have a few KiB.
const LONGEST: usize = 4 << 20;

/// What arrives while a question is asked waits, up to so many bytes; then the server has to wait, too.
const EARLY: usize = 16 << 20;

/// A server that takes longer to say goodbye is left without.
const FAREWELL: Duration = Duration::from_secs(2);

/// The longest delay before a server is called again that was not to be had, and before one that somebody has to see to.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_FOR_SOMEBODY: Duration = Duration::from_secs(30);

/// So many refusals in a row to send again what the server has kept are its last word.
const REFUSALS: u32 = 2;

/// A session that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Session(#[from] SessionFault),
    #[error("the server has not answered in {} seconds", ANSWER.as_secs())]
    Silent,
    #[error("the server sends and sends, and does not answer the subscription")]
    Unanswered,
    #[error("the server ended the session: {0}")]
    Closed(String),
    #[error("the server ended the subscription")]
    Unsubscribed,
    #[error("hem stops")]
    Stopped,
}

/// Notifications that are ready to be listened to.
pub(in crate::sources::esc) struct Notifications {
    rules: Netconf,
    credentials: Credentials,
    names_source: bool,
}

impl Notifications {
    /// Reads what hem logs in with.
    pub(in crate::sources::esc) fn build(rules: &Netconf, site: &Site<'_>) -> Result<Self, BuildError> {
        if rules.legacy_algorithms {
            tracing::warn!(
                source = site.name,
                "old algorithms of SSH are allowed; whoever is on the way may be able to read along"
            );
        }
        Ok(Self {
            credentials: Credentials::read(rules, site.redaction).map_err(BuildError::Secret)?,
            rules: rules.clone(),
            names_source: site.names_source,
        })
    }

    /// Where they come from.
    pub(in crate::sources::esc) fn url(&self) -> String {
        format!("netconf://{}/{}", self.rules.endpoint, self.rules.stream)
    }

    /// Listens until the readers end.
    pub(in crate::sources::esc) fn start(self, wires: Wires) {
        let Wires {
            name,
            intake,
            records,
            readers,
            ..
        } = wires;
        let (line, waiting) = line();
        let (source, taker) = (name.clone(), intake.clone());
        readers.spawn(|until| async move { waiting.hand_over(&source, taker, &until).await });
        readers.spawn(|until| async move {
            let mut backoff = Backoff::new(fastrand::Rng::new()).up_to(AGAIN_FOR_SOMEBODY);
            let mut log = Repeats::default();
            let bookmarks = loop {
                let error = match records.bookmarks(&name).await {
                    Ok(bookmarks) => break bookmarks,
                    Err(error) => error,
                };
                intake.disconnected("how far it was read cannot be found in the store");
                if let Some(repeats) = log.allows(&sentence(&error), Instant::now()) {
                    tracing::error!(
                        source = name,
                        error = &error as &dyn std::error::Error,
                        repeats,
                        "how far the notifications were read is not to be had; they are not listened to"
                    );
                }
                let waited = until.run_until_cancelled(sleep(backoff.next_delay())).await;
                if waited.is_none() {
                    return;
                }
            };
            let listener = Listener::new(self, name.as_str().into(), intake, line, &bookmarks);
            if listener.ledger.is_place_lost() {
                tracing::error!(
                    source = name,
                    "how far the notifications were read cannot be read in the store; a gap is recorded"
                );
            }
            listener.listen(&until).await;
        });
    }
}

/// A session that has subscribed.
struct Subscribed {
    channel: NetconfChannel,
    session: Session,
    /// What the server sent before it said that the subscription is in force: it may begin with what it has kept at once.
    early: VecDeque<Heard>,
}

struct Listener {
    name: Arc<str>,
    names_source: bool,
    rules: Netconf,
    credentials: Credentials,
    intake: Intake,
    line: Line,
    ledger: Ledger,
    /// What a first look at what the server has kept found.
    look: Option<Look>,
    /// When the last session ended that was listened to.
    away_since: Option<Timestamp>,
    /// How many notifications were taken.
    taken: u64,
    /// How often in a row the server refused to send again what it has kept.
    refusals: u32,
    /// Where the last session that was sent something again broke, and how.
    broken: Option<(u64, String)>,
    /// Why the next session leaves out what the server has kept.
    skips: Option<String>,
    log: Repeats,
}

impl Listener {
    fn new(
        notifications: Notifications,
        name: Arc<str>,
        intake: Intake,
        line: Line,
        bookmarks: &BTreeMap<String, Bytes>,
    ) -> Self {
        let Notifications {
            rules,
            credentials,
            names_source,
        } = notifications;
        Self {
            name,
            names_source,
            rules,
            credentials,
            intake,
            line,
            ledger: Ledger::of(bookmarks),
            look: None,
            away_since: None,
            taken: 0,
            refusals: 0,
            broken: None,
            skips: None,
            log: Repeats::default(),
        }
    }

    async fn listen(mut self, until: &CancellationToken) {
        let delays = |longest| Backoff::new(fastrand::Rng::new()).up_to(longest);
        let (mut backoff, mut patience) = (delays(AGAIN), delays(AGAIN_FOR_SOMEBODY));
        while !until.is_cancelled() {
            let (began, taken) = (Instant::now(), self.taken);
            // Wherever it is given up: what is accepted has moved its bookmark, and nothing else has.
            let ended = self.session(until).await;
            let why = sentence(&ended);
            self.intake.disconnected(&why);
            if matches!(ended, Ended::Stopped) {
                return;
            }
            if let Some(repeats) = self.log.allows(&why, Instant::now()) {
                tracing::warn!(
                    source = &*self.name,
                    why,
                    repeats,
                    "the notifications are not listened to"
                );
            }
            let needs_somebody = matches!(&ended, Ended::Ssh(error) if error.needs_somebody());
            if self.taken > taken || began.elapsed() >= GOOD {
                backoff.reset();
            }
            if !needs_somebody {
                patience.reset();
            }
            let delay = if needs_somebody {
                patience.next_delay()
            } else {
                backoff.next_delay()
            };
            until.run_until_cancelled(sleep(delay)).await;
        }
        self.intake.disconnected("hem stops");
    }

    /// One session, from the connection to its end.
    async fn session(&mut self, until: &CancellationToken) -> Ended {
        self.credentials.look();
        let beginning = async {
            let link = ssh::connect(&self.rules, &self.credentials).await?;
            let stream = self.stream(&link).await?;
            Ok::<_, Ended>((link, stream))
        };
        let begun = until.run_until_cancelled(beginning).await;
        let (link, stream) = match begun.unwrap_or(Err(Ended::Stopped)) {
            Ok(begun) => begun,
            Err(ended) => return ended,
        };
        let mut plan = self.ledger.plan(stream.as_ref(), self.rules.start);
        if let Some(why) = self.skips.take() {
            // A first look would have passed over what the server has kept all the same.
            let gap = if plan.only_looks { plan.gap } else { Some(why) };
            plan = Plan {
                gap,
                ..Plan::default()
            };
        }
        let subscribed = until.run_until_cancelled(self.subscribe(&link, &plan)).await;
        let ended = match subscribed.unwrap_or(Err(Ended::Stopped)) {
            Ok(subscribed) => {
                self.ledger.attend(stream.as_ref());
                let ended = self
                    .follow(&link, subscribed, &plan, stream.as_ref(), until)
                    .await;
                self.away_since = Some(Timestamp::now());
                ended
            }
            Err(ended) => {
                // Where nothing is listened to yet, nothing is kept of it.
                if matches!(ended, Ended::Session(SessionFault::Framing(_))) {
                    self.intake.not_kept(NotKept::Refused("broken framing"));
                }
                ended
            }
        };
        if plan.start.is_some() {
            self.learn_from(&ended);
        }
        link.close().await;
        ended
    }

    /// What is done otherwise next time, after a session that was to be sent something again.
    fn learn_from(&mut self, ended: &Ended) {
        let is_refused = matches!(
            ended,
            Ended::Session(SessionFault::Refused { errors, .. }) if errors.iter().any(RpcError::is_about_start)
        );
        self.refusals = if is_refused { self.refusals + 1 } else { 0 };
        match ended {
            // Whatever else is refused, the server has not said that it would not send it at another time.
            _ if self.refusals >= REFUSALS => {
                self.refusals = 0;
                self.skips = Some(format!(
                    "the server does not send again what it has kept: {}",
                    sentence(ended)
                ));
            }
            // What broke the session is sent again each time, and is passed over when it has done so twice.
            Ended::Session(fault @ SessionFault::Framing(_)) => {
                let here = (self.taken, sentence(fault));
                if self.broken.as_ref() == Some(&here) {
                    self.skips = Some(format!(
                        "what the server has kept cannot be heard to its end: {}",
                        here.1
                    ));
                    self.broken = None;
                } else {
                    self.broken = Some(here);
                }
            }
            _ => {}
        }
    }

    /// What the server says of the stream, if it says anything.
    async fn stream(&mut self, link: &Link) -> Result<Option<Stream>, Ended> {
        let name = self.rules.stream.clone();
        let why = match asking::stream(link, &name).await {
            Ok(Some(stream)) => return Ok(Some(stream)),
            Ok(None) => format!("it does not list the stream `{name}`"),
            Err(error) if error.is_final() => sentence(&error),
            Err(Unanswered::Ssh(error)) => return Err(error.into()),
            Err(error) => return Err(Ended::Closed(sentence(&error))),
        };
        if let Some(repeats) = self.log.allows(&why, Instant::now()) {
            tracing::warn!(
                source = &*self.name,
                why,
                repeats,
                "the server does not say what it has kept; what happens while hem is away is not sent again"
            );
        }
        Ok(None)
    }

    /// Subscribes as planned.
    async fn subscribe(&self, link: &Link, plan: &Plan) -> Result<Subscribed, Ended> {
        let subscription = Subscription {
            stream: self.rules.stream.clone(),
            start: plan.start.clone(),
        };
        let subscribed = async {
            let mut channel = link.netconf().await?;
            let mut session = Session::new(subscription, LONGEST);
            let (mut early, mut received) = (VecDeque::new(), 0);
            loop {
                channel.send(session.output()).await?;
                match session.hear()? {
                    Some(Heard::Subscribed) => {
                        return Ok(Subscribed {
                            channel,
                            session,
                            early,
                        });
                    }
                    Some(heard) => early.push_back(heard),
                    None if received > EARLY => return Err(Ended::Unanswered),
                    None => match channel.receive().await {
                        Some(bytes) => {
                            received += bytes.len();
                            session.push(&bytes);
                        }
                        None => return Err(end_of(link, &channel)),
                    },
                }
            }
        };
        timeout(ANSWER, subscribed).await.unwrap_or(Err(Ended::Silent))
    }

    /// Hears all that comes.
    async fn follow(
        &mut self,
        link: &Link,
        subscribed: Subscribed,
        plan: &Plan,
        stream: Option<&Stream>,
        until: &CancellationToken,
    ) -> Ended {
        let Subscribed {
            mut channel,
            mut session,
            mut early,
        } = subscribed;
        self.intake.reads_on();
        tracing::info!(
            source = &*self.name, endpoint = %self.rules.endpoint, stream = self.rules.stream,
            from = plan.start, "the notifications are listened to"
        );
        let away_since = self.away_since.take().or_else(|| self.ledger.noted());
        self.look = plan
            .only_looks
            .then(|| Look::begin(stream, tokio::time::Instant::now()));
        let telling = self.tell_gap(link, &mut channel, &mut session, plan, away_since);
        let told = until.run_until_cancelled(telling).await;
        let mut overlap = if plan.start.is_some() {
            self.ledger.overlap()
        } else {
            Overlap::default()
        };
        if told.is_some() && plan.start.is_none() && self.ledger.noted().is_none() {
            // From now on it is known that something may be missed.
            let bookmarks = self.ledger.note_gap(Timestamp::now());
            self.line.keep(bookmarks).await;
        }
        loop {
            let taken = self.hear(&mut early, &mut session, &mut overlap);
            match until.run_until_cancelled(taken).await {
                Some(Ok(())) => {}
                Some(Err(ended)) => {
                    if let Ended::Session(fault @ SessionFault::Framing(_)) = &ended {
                        self.take_break(fault, &mut overlap).await;
                    }
                    return ended;
                }
                None => {
                    // What waits for room now is heard again by the next life.
                    let goodbye = say_goodbye(&mut channel, &mut session);
                    // A server that does not answer is left without.
                    let _ = timeout(FAREWELL, goodbye).await;
                    return Ended::Stopped;
                }
            }
            let look_ends = self.look.as_ref().map(Look::ends_at);
            tokio::select! {
                received = channel.receive() => match received {
                    Some(bytes) => session.push(&bytes),
                    None => return end_of(link, &channel),
                },
                () = until.cancelled() => {}
                () = sleep_until(look_ends.unwrap_or_else(tokio::time::Instant::now)), if look_ends.is_some() => {
                    self.end_look().await;
                }
            }
        }
    }

    /// Writes down that events may be missed, if so; meanwhile what comes is only kept.
    async fn tell_gap(
        &mut self,
        link: &Link,
        channel: &mut NetconfChannel,
        session: &mut Session,
        plan: &Plan,
        away_since: Option<Timestamp>,
    ) {
        let Some(why) = plan.gap.clone() else {
            return;
        };
        let present = if self.rules.reconcile {
            let asking = question(link, deployments::SUBTREE);
            let mut asking = std::pin::pin!(asking);
            let mut early = 0;
            let answer = loop {
                tokio::select! {
                    answer = &mut asking => break answer,
                    Some(bytes) = channel.receive(), if early < EARLY => {
                        early += bytes.len();
                        session.push(&bytes);
                    }
                }
            };
            let read = answer.and_then(|answer| deployments::read(&answer).map_err(Unanswered::Answer));
            read.unwrap_or_else(|error| {
                let why = sentence(&error);
                tracing::warn!(
                    source = &*self.name,
                    why,
                    "the present deployments cannot be read"
                );
                vec![format!("the present deployments cannot be read: {why}")]
            })
        } else {
            Vec::new()
        };
        let now = Timestamp::now();
        let gap = Gap {
            from: away_since.unwrap_or(now),
            to: now,
            why,
            lost: 0,
            keys: Vec::new(),
            present,
        };
        tracing::warn!(
            source = &*self.name, from = %gap.from, to = %gap.to, why = gap.why,
            "events may be missing"
        );
        let bookmarks = self.ledger.note_gap(now);
        self.line
            .put(gap.into_event(Arc::clone(&self.name)), bookmarks)
            .await;
    }

    /// Takes all that has come.
    async fn hear(
        &mut self,
        early: &mut VecDeque<Heard>,
        session: &mut Session,
        overlap: &mut Overlap,
    ) -> Result<(), Ended> {
        loop {
            let heard = match early.pop_front() {
                Some(heard) => heard,
                None => match session.hear()? {
                    Some(heard) => heard,
                    None => return Ok(()),
                },
            };
            match heard {
                Heard::Event {
                    event,
                    tree,
                    document,
                } => {
                    let sighting = Sighting::of_event(&event, &tree);
                    let (key, subject) = (event.key(), event.subject());
                    let payload = Payload::with_tree(document, tree);
                    self.take(&sighting, overlap, key, subject, Facts::Esc(event), payload)
                        .await;
                }
                Heard::Unreadable { document, reason } => {
                    let reason = format!("a notification cannot be read: {reason}");
                    let sighting = Sighting::of_unreadable(&document);
                    self.take_unreadable(&sighting, overlap, reason, document).await;
                }
                Heard::TooLong(length) => {
                    let reason =
                        format!("a notification of {length} bytes was passed over: more than {LONGEST}");
                    let sighting = Sighting::of_too_long(length);
                    self.take_unreadable(&sighting, overlap, reason, Bytes::new())
                        .await;
                }
                Heard::Other(element) => {
                    self.intake.not_kept(NotKept::Refused("another module"));
                    let about = format!("a notification `{element}` of another module is passed over");
                    if let Some(repeats) = self.log.allows(&about, Instant::now()) {
                        tracing::debug!(source = &*self.name, repeats, "{about}");
                    }
                }
                Heard::ReplayComplete => {
                    *overlap = Overlap::default();
                    self.broken = None;
                    self.end_look().await;
                }
                Heard::SubscriptionEnded => return Err(Ended::Unsubscribed),
                Heard::Closed => return Err(Ended::Closed("it said goodbye".to_owned())),
                Heard::Hello { .. } | Heard::Subscribed => {}
            }
        }
    }

    /// All that the server had kept was seen, or enough: what comes now is taken.
    async fn end_look(&mut self) {
        if let Some(look) = self.look.take() {
            let passed_over = look.passed_over();
            if look.is_cut_short(tokio::time::Instant::now()) {
                tracing::warn!(
                    source = &*self.name,
                    passed_over,
                    "the server does not say where what it has kept ends; some of what was passed over may have been new"
                );
            }
            self.ledger = look.into_ledger();
            let bookmarks = self.ledger.settle(Timestamp::now());
            tracing::info!(
                source = &*self.name,
                newest = self.ledger.place(),
                passed_over,
                "events are taken from here on"
            );
            self.line.keep(bookmarks).await;
        }
    }

    async fn take_unreadable(
        &mut self,
        sighting: &Sighting,
        overlap: &mut Overlap,
        reason: String,
        document: Bytes,
    ) {
        if let Some(repeats) = self.log.allows(&reason, Instant::now()) {
            tracing::warn!(source = &*self.name, repeats, "{reason}");
        }
        let facts = Facts::Undecodable { reason };
        let payload = Payload::new(document);
        self.take(sighting, overlap, "ESC".to_owned(), None, facts, payload)
            .await;
    }

    /// What broke a session is kept as something that cannot be read; where it is sent again, once.
    async fn take_break(&mut self, fault: &SessionFault, overlap: &mut Overlap) {
        let reason = sentence(fault);
        let sighting = Sighting::of_unreadable(reason.as_bytes());
        // It is no progress: what is sent again breaks at the same place.
        let taken = self.taken;
        self.take_unreadable(&sighting, overlap, reason, Bytes::new())
            .await;
        self.taken = taken;
    }

    async fn take(
        &mut self,
        sighting: &Sighting,
        overlap: &mut Overlap,
        key: String,
        subject: Option<String>,
        facts: Facts,
        payload: Payload,
    ) {
        let now = Timestamp::now();
        if let Some(look) = &mut self.look {
            look.note(sighting, now, tokio::time::Instant::now());
            self.intake.not_kept(NotKept::Refused("before the first start"));
            return;
        }
        if overlap.drops(sighting) {
            self.intake.not_kept(NotKept::Duplicate);
            return;
        }
        if self.ledger.went_back(sighting)
            && let Some(repeats) = self.log.allows("back", Instant::now())
        {
            tracing::warn!(
                source = &*self.name,
                repeats,
                newest = self.ledger.place(),
                "the server's times went back: after the next cut events may come twice"
            );
        }
        let event = arrived(
            Arc::clone(&self.name),
            self.names_source,
            key,
            subject,
            facts,
            payload,
        );
        let bookmarks = self.ledger.note(sighting, now);
        self.taken += 1;
        self.line.put(event, bookmarks).await;
    }
}

/// Ends a session, and waits until the server has said goodbye, too.
async fn say_goodbye(channel: &mut NetconfChannel, session: &mut Session) -> Result<(), SshError> {
    session.close();
    channel.send(session.output()).await?;
    loop {
        match session.hear() {
            Ok(Some(Heard::Closed)) | Err(_) => return Ok(()),
            Ok(Some(_)) => {}
            Ok(None) => match channel.receive().await {
                Some(bytes) => session.push(&bytes),
                None => return Ok(()),
            },
        }
    }
}

fn end_of(link: &Link, channel: &NetconfChannel) -> Ended {
    Ended::Closed(format!("{}{}", link.end(), channel.last_words()))
}
