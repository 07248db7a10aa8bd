//! Reads the partitions that the group gives to hem, for as long as one client of librdkafka lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Spot;
use super::asking::{commit, list};
use super::client::{Consumer, Credentials, Told};
use super::lane::Lane;
use super::link::{Link, Look, look};
use super::message::Message;
use super::place::{Placed, Seeking, Wanted, place};
use super::placing::LookBack;
use crate::config::NcmpSource;
use crate::engine::bookmark::Bookmark;
use crate::engine::intake::{Accepted, Intake, NotAccepted, NotKept, Sequence};
use crate::engine::records::Records;
use crate::engine::seek::{Seek, Sought};
use crate::event::Event;
use crate::event::ncmp::mark::{Mark, Read, partition_name};
use crate::event::ncmp::{self};
use crate::event::time::Timestamp;
use crate::repeats::Repeats;
use crate::sources::{apart, sentence};

/// So much is on its way at once; one record alone is taken whatever its size.
const ON_THE_WAY: (usize, usize) = (512, 32 << 20);

/// Records that are larger are read on a thread of their own.
const READ_APART: usize = 256 << 10;

/// The last record that was accepted comes within this time, if it is there.
const LOOK_BACK_WITHIN: Duration = Duration::from_secs(5);

/// How often what is due is looked at.
const LOOK_ROUND: Duration = Duration::from_millis(250);

/// Where nothing can be taken for so long, the partitions are paused, so that the group still hears of hem.
const PAUSE_AFTER: Duration = Duration::from_millis(500);

/// What was accepted is committed this often.
const COMMIT_EVERY: Duration = Duration::from_secs(2);

/// What is refused is handed over again after the first time, and then twice as long each time up to the second.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long answers are waited for before partitions are given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// The same where hem stops.
const STOP_AFTER: Duration = Duration::from_secs(10);

/// How long the broker may take to commit before partitions are given up.
const COMMIT_WITHIN: Duration = Duration::from_secs(3);

/// What a source works with, whatever its client is.
#[derive(Debug, Clone)]
pub(super) struct ReaderSite {
    pub name: Arc<str>,
    pub names_source: bool,
    pub rules: Arc<NcmpSource>,
    pub intake: Intake,
    pub records: Records,
}

/// Why a client is not read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// hem stops.
    Stopped,
    /// Another client is to be made.
    Anew,
}

/// What is held of a record until it is accepted.
#[derive(Debug)]
struct Held {
    event: Event,
    bookmark: Bookmark,
    weight: usize,
}

/// A partition that is read.
#[derive(Debug)]
struct Partition {
    lane: Lane<Held>,
    sequence: Sequence,
    /// The record in front of the first one, until it has come.
    looks_back: Option<LookBack>,
    /// What of the group's offsets does not count until another one is committed.
    overrules: Option<i64>,
    committed: Option<i64>,
    /// What is being committed.
    committing: Option<i64>,
}

/// What becomes of the partitions when nothing is on its way any more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    /// The group gets them back.
    GiveUp,
    /// Where they are read from is found out again. Of these the topic was made anew.
    PlaceAgain(BTreeSet<Spot>),
    /// They are given up for good.
    End(Ended),
}

#[derive(Debug)]
enum Phase {
    /// There are no partitions.
    Idle,
    /// Where they are read from is being found out.
    Placing {
        until: CancellationToken,
        then: Option<Then>,
    },
    Reading,
    /// No more is read, and what is on its way is waited for.
    Draining {
        then: Then,
        since: Instant,
        /// Since when the last commit is on its way.
        commits: Option<Instant>,
    },
}

type Answer = (Spot, i64, Result<Accepted, NotAccepted>);

/// What happens next.
enum Next {
    Stop,
    Told(Told),
    Seek(Seek),
    Answered(Answer),
    Placed(Option<Vec<Placed>>),
    Looked(Look),
    Committed(Result<(), KafkaError>),
    Came(Result<Message, KafkaError>),
    Round,
}

/// Reads.
pub(super) struct Reader<'a> {
    site: &'a ReaderSite,
    consumer: Arc<Consumer>,
    told: mpsc::UnboundedReceiver<Told>,
    seeks: &'a mut mpsc::Receiver<Seek>,
    /// What is to be read from elsewhere when nothing is on its way any more.
    seeking: Option<Seek>,
    credentials: &'a Credentials,
    log: &'a mut Repeats,
    link: Link,
    is_subscribed: bool,
    phase: Phase,
    partitions: BTreeMap<Spot, Partition>,
    answers: FuturesOrdered<BoxFuture<'static, Answer>>,
    placing: Option<BoxFuture<'static, Option<Vec<Placed>>>>,
    looking: Option<BoxFuture<'static, Look>>,
    on_the_way: (usize, usize),
    is_paused: bool,
    full_since: Option<Instant>,
    reads_since: Instant,
    committing: Option<BoxFuture<'static, Result<(), KafkaError>>>,
    commit_at: Instant,
    again: (Instant, Duration),
    ended: Option<Ended>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        site: &'a ReaderSite,
        consumer: Arc<Consumer>,
        told: mpsc::UnboundedReceiver<Told>,
        seeks: &'a mut mpsc::Receiver<Seek>,
        credentials: &'a Credentials,
        log: &'a mut Repeats,
    ) -> Self {
        let now = Instant::now();
        Self {
            link: Link::new(Arc::clone(&site.name), site.intake.clone()),
            site,
            consumer,
            told,
            seeks,
            seeking: None,
            credentials,
            log,
            is_subscribed: false,
            phase: Phase::Idle,
            partitions: BTreeMap::new(),
            answers: FuturesOrdered::new(),
            placing: None,
            looking: None,
            on_the_way: (0, 0),
            is_paused: false,
            full_since: None,
            reads_since: now,
            committing: None,
            commit_at: now,
            again: (now, AGAIN_AFTER.0),
            ended: None,
        }
    }

    /// Reads until hem stops, or another client is needed. Whatever was accepted is committed by then, where the broker takes it.
    pub(super) async fn run(mut self, until: &CancellationToken) -> Ended {
        let mut rounds = tokio::time::interval(LOOK_ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_stopping = false;
        loop {
            self.look_if_due();
            self.hand_over();
            self.pause_or_resume();
            self.drain();
            if let Some(ended) = self.ended {
                return ended;
            }
            let polls = self.takes() || self.is_paused || !matches!(self.phase, Phase::Reading);
            let consumer = Arc::clone(&self.consumer);
            let next = tokio::select! {
                biased;
                () = until.cancelled(), if !is_stopping => Next::Stop,
                Some(told) = self.told.recv() => Next::Told(told),
                Some(seek) = self.seeks.recv(), if self.seeking.is_none() => Next::Seek(seek),
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => Next::Answered(answer),
                Some(placed) = OptionFuture::from(self.placing.as_mut()) => Next::Placed(placed),
                Some(look) = OptionFuture::from(self.looking.as_mut()) => Next::Looked(look),
                Some(result) = OptionFuture::from(self.committing.as_mut()) => Next::Committed(result),
                _ = rounds.tick() => Next::Round,
                // Nothing of librdkafka's is held while something else is waited for.
                came = async { consumer.recv().await.map(|message| Message::of(&message)) }, if polls => Next::Came(came),
            };
            match next {
                Next::Stop => {
                    is_stopping = true;
                    self.drain_then(Then::End(Ended::Stopped));
                }
                Next::Told(told) => self.told(told),
                Next::Seek(seek) => self.seek(seek),
                Next::Answered(answer) => self.answered(answer),
                Next::Placed(placed) => {
                    self.placing = None;
                    self.placed(placed);
                }
                Next::Looked(look) => {
                    self.looking = None;
                    self.looked(&look);
                }
                Next::Committed(result) => {
                    self.committing = None;
                    self.committed(&result);
                }
                Next::Came(Ok(message)) => self.came(message).await,
                Next::Came(Err(error)) => self.failed(&error),
                Next::Round => self.round(),
            }
        }
    }

    fn look_if_due(&mut self) {
        if self.looking.is_none() && self.link.is_look_due(Instant::now()) {
            self.link.looks();
            let site = self.site;
            let look = look(
                Arc::clone(&self.consumer),
                Arc::clone(&site.name),
                site.rules.topics.clone(),
                site.intake.clone(),
                site.records.clone(),
            );
            self.looking = Some(Box::pin(look));
        }
    }

    fn looked(&mut self, look: &Look) {
        let was_down = self.link.is_down();
        let is_reached = self.link.looked(look, self.log);
        if was_down && !self.link.is_down() && matches!(self.phase, Phase::Reading) {
            // It may have lost its records meanwhile.
            self.drain_then(Then::PlaceAgain(BTreeSet::new()));
        }
        if is_reached && !self.is_subscribed {
            let topics: Vec<&str> = self.site.rules.topics.iter().map(String::as_str).collect();
            match self.consumer.subscribe(&topics) {
                Ok(()) => self.is_subscribed = true,
                Err(error) => self.end_over(&error),
            }
        }
        if !is_reached && self.credentials.have_changed() {
            tracing::info!(
                source = &*self.site.name,
                "what opens the broker has changed; it is used from now on"
            );
            self.drain_then(Then::End(Ended::Anew));
        }
    }

    /// The client is of no use any more.
    fn end_over(&mut self, error: &KafkaError) {
        let why = sentence(error);
        self.site.intake.disconnected(&why);
        tracing::warn!(
            source = &*self.site.name,
            why,
            "the client of the broker is made anew"
        );
        self.drain_then(Then::End(Ended::Anew));
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Assigned(spots) => {
                self.forget_partitions();
                match &self.phase {
                    Phase::Draining {
                        then: Then::End(_), ..
                    } => {}
                    _ => self.place(spots, BTreeSet::new(), None),
                }
            }
            Told::Revoked { is_lost } => {
                if is_lost && let Some(repeats) = self.log.allows("lost", Instant::now()) {
                    tracing::warn!(
                        source = &*self.site.name,
                        repeats,
                        "the group went on without hem; what it read meanwhile may be read by another member again"
                    );
                }
                self.drain_then(Then::GiveUp);
            }
            Told::Trouble { code, reason } => match code {
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                    tracing::debug!(
                        source = &*self.site.name,
                        reason,
                        "the broker has no such records"
                    );
                    if matches!(self.phase, Phase::Reading) {
                        self.drain_then(Then::PlaceAgain(self.due()));
                    }
                }
                _ => self.link.trouble(code, reason, self.log),
            },
        }
    }

    /// Somebody wants partitions to be read from elsewhere.
    fn seek(&mut self, seek: Seek) {
        if seek.is_given_up() {
            return;
        }
        let why = if matches!(self.phase, Phase::Reading) {
            let sought = self.sought_by(&seek);
            if sought.is_empty() {
                format!(
                    "hem reads no such partition of `{}` now: another member of its group does, or there is none",
                    seek.aim.topic
                )
            } else if seek.is_dry_run {
                // Whoever asked may have gone away.
                let _ = seek.reply.send(Ok(sought));
                return;
            } else {
                self.seeking = Some(seek);
                self.drain_then(Then::PlaceAgain(BTreeSet::new()));
                return;
            }
        } else {
            "hem reads no partition now: the broker is away, or its group is giving them out anew".to_owned()
        };
        let _ = seek.reply.send(Err(why));
    }

    /// The partitions that an order is about, of those that are read.
    fn sought_by(&self, seek: &Seek) -> Vec<Sought> {
        let is_meant = |(topic, number): &Spot| {
            **topic == *seek.aim.topic && seek.aim.partition.is_none_or(|asked| asked == *number)
        };
        let meant = self.partitions.iter().filter(|(spot, _)| is_meant(spot));
        meant
            .map(|((topic, partition), read)| Sought {
                topic: topic.to_string(),
                partition: *partition,
                read_up_to: Some(read.lane.next_to_accept()),
            })
            .collect()
    }

    fn sought(&self, seek: Seek) -> Seeking {
        Seeking {
            sought: self.sought_by(&seek),
            target: seek.aim.target,
            reply: seek.reply,
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        // Everything else was told with its reason.
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            self.end_over(error);
        }
    }

    /// Finds out where these partitions are read from.
    fn place(&mut self, spots: Vec<Spot>, others: BTreeSet<Spot>, seek: Option<Seeking>) {
        let until = CancellationToken::new();
        let placing = place(
            self.site.clone(),
            Arc::clone(&self.consumer),
            Wanted { spots, others, seek },
            until.clone(),
        );
        self.placing = Some(Box::pin(placing));
        self.phase = Phase::Placing { until, then: None };
    }

    fn placed(&mut self, placed: Option<Vec<Placed>>) {
        let then = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Placing { then, .. } => then,
            other => {
                self.phase = other;
                return;
            }
        };
        if let Some(then) = then {
            self.drain_then(then);
            return;
        }
        let mut assignment = TopicPartitionList::new();
        for Placed {
            spot,
            begin,
            committed,
        } in placed.unwrap_or_default()
        {
            let next = begin.read.next;
            let first = begin.looks_back.as_ref().map_or(next, |last| last.offset);
            // Offsets of a broker are no negative ones.
            let offset = Offset::Offset(first.max(0));
            if let Err(error) = assignment.add_partition_offset(&spot.0, spot.1, offset) {
                self.end_over(&error);
                return;
            }
            let partition = Partition {
                lane: Lane::new(next),
                sequence: self.site.intake.sequence(),
                looks_back: begin.looks_back,
                overrules: begin.read.overrules,
                committed,
                committing: None,
            };
            self.partitions.insert(spot, partition);
        }
        // A pause outlives the assignment under which it was made.
        let resumed = self.consumer.resume(&assignment);
        match resumed.and_then(|()| self.consumer.assign(&assignment)) {
            Ok(()) => {
                self.phase = Phase::Reading;
                self.link.reads(self.log);
                self.reads_since = Instant::now();
                self.is_paused = false;
                self.commit_at = Instant::now();
            }
            Err(error) => self.end_over(&error),
        }
    }

    /// Reads no more, and goes on when nothing is on its way any more.
    fn drain_then(&mut self, then: Then) {
        match &mut self.phase {
            Phase::Placing { until, then: waiting } => {
                until.cancel();
                let ends = matches!(waiting, Some(Then::End(_)));
                if !ends {
                    *waiting = Some(then);
                }
            }
            Phase::Draining {
                then: Then::End(_), ..
            } => {}
            Phase::Draining { then: before, .. } => *before = then,
            Phase::Idle | Phase::Reading => {
                self.phase = Phase::Draining {
                    then,
                    since: Instant::now(),
                    commits: None,
                };
            }
        }
    }

    /// Goes on where nothing is on its way any more.
    fn drain(&mut self) {
        let Phase::Draining { then, since, commits } = &self.phase else {
            return;
        };
        let (then, since, commits) = (then.clone(), *since, *commits);
        let patience = match then {
            Then::GiveUp => Some(GIVE_UP_AFTER),
            Then::End(_) => Some(STOP_AFTER),
            // The same partitions are read again by hem itself, which must know what it has accepted.
            Then::PlaceAgain(_) => None,
        };
        let is_over = |patience: Duration| since.elapsed() >= patience;
        if !self.answers.is_empty() && !patience.is_some_and(is_over) {
            return;
        }
        match commits {
            // It says less than what is accepted by now.
            None if self.committing.is_some() && since.elapsed() < COMMIT_WITHIN => return,
            None => {
                self.committing = None;
                self.commit();
                if let Phase::Draining { commits, .. } = &mut self.phase {
                    *commits = Some(Instant::now());
                }
                if self.committing.is_some() {
                    return;
                }
            }
            Some(at) if self.committing.is_some() && at.elapsed() < COMMIT_WITHIN => return,
            Some(_) => {}
        }
        let spots: Vec<Spot> = self.partitions.keys().cloned().collect();
        let seek = self.seeking.take().filter(|seek| !seek.is_given_up());
        let seek = seek.map(|seek| self.sought(seek));
        self.forget_partitions();
        self.phase = Phase::Idle;
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(
                source = &*self.site.name,
                why = sentence(&error),
                "partitions cannot be given up"
            );
        }
        match then {
            Then::GiveUp => {}
            Then::PlaceAgain(others) => self.place(spots, others, seek),
            Then::End(ended) => self.ended = Some(ended),
        }
    }

    fn forget_partitions(&mut self) {
        self.partitions.clear();
        self.on_the_way = (0, 0);
        self.is_paused = false;
        self.full_since = None;
        self.committing = None;
    }

    /// Whether a record can be taken.
    fn takes(&self) -> bool {
        let (events, bytes) = self.on_the_way;
        matches!(self.phase, Phase::Reading)
            && events < ON_THE_WAY.0
            && bytes < ON_THE_WAY.1
            && !self
                .partitions
                .values()
                .any(|partition| partition.lane.is_refused())
    }

    /// Paused partitions bring nothing, while the group still hears of hem.
    ///
    /// They are paused at once where the broker is away: once it is back it is asked for its topics before anything is read. What it is
    /// asked for in between it may know nothing of, and librdkafka 2.12 does not live through an answer that names no topic at all.
    fn pause_or_resume(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let is_away = self.link.is_away();
        if self.takes() && !is_away {
            self.full_since = None;
            if self.is_paused {
                self.is_paused = false;
                let all = list(self.partitions.keys().cloned());
                if let Err(error) = self.consumer.resume(&all) {
                    self.end_over(&error);
                }
            }
        } else {
            let since = *self.full_since.get_or_insert_with(Instant::now);
            if !self.is_paused && (is_away || since.elapsed() >= PAUSE_AFTER) {
                let all = list(self.partitions.keys().cloned());
                match self.consumer.pause(&all) {
                    Ok(()) => {
                        self.is_paused = true;
                        tracing::debug!(source = &*self.site.name, is_away, "the partitions are paused");
                    }
                    Err(error) => self.end_over(&error),
                }
            }
        }
    }

    async fn came(&mut self, message: Message) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let Some(partition) = self.partitions.get_mut(&message.spot) else {
            return;
        };
        self.link.record_came(self.log);
        if let Some(last) = partition.looks_back.take() {
            let is_there = message.offset == last.offset;
            let is_another = last.print.is_some_and(|print| print != message.print());
            if (is_there && is_another) || (!is_there && last.is_due) {
                self.drain_then(Then::PlaceAgain(BTreeSet::from([message.spot])));
                return;
            }
            if is_there {
                return;
            }
        }
        let overrules = partition.overrules;
        let (spot, offset) = (message.spot.clone(), message.offset);
        if message.is_without_headers {
            self.site.intake.remark("the name of a header is no UTF-8");
        }
        let weight = message.weight();
        let (name, names_source) = (Arc::clone(&self.site.name), self.site.names_source);
        let read = move || read(&message, &name, names_source, overrules);
        let held = if weight > READ_APART {
            let Some(held) = apart(read).await else {
                return;
            };
            held
        } else {
            read()
        };
        let held = match held {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(
                    source = &*self.site.name,
                    why = sentence(&error),
                    "a record cannot be kept"
                );
                return;
            }
        };
        let weight = held.weight;
        let Some(partition) = self.partitions.get_mut(&spot) else {
            return;
        };
        if partition.lane.take(offset, held) {
            self.on_the_way.0 += 1;
            self.on_the_way.1 += weight;
        } else {
            self.site.intake.not_kept(NotKept::Duplicate);
        }
    }

    /// Hands over what was read, each partition in its order.
    fn hand_over(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        for (spot, partition) in &mut self.partitions {
            while let Some((offset, held)) = partition.lane.next() {
                let (event, bookmark) = (held.event.clone(), held.bookmark.clone());
                match partition.sequence.hand_over(event, vec![bookmark]) {
                    Ok(pending) => {
                        partition.lane.handed_over();
                        let spot = spot.clone();
                        self.answers
                            .push_back(Box::pin(async move { (spot, offset, pending.accepted().await) }));
                    }
                    Err(why) => {
                        partition.lane.turned_away();
                        refused(&self.site.name, &why, self.log, &mut self.again);
                    }
                }
            }
        }
    }

    fn answered(&mut self, (spot, offset, answer): Answer) {
        let Some(partition) = self.partitions.get_mut(&spot) else {
            return;
        };
        match answer {
            Ok(_) => {
                self.again.1 = AGAIN_AFTER.0;
                if let Some(held) = partition.lane.accepted(offset) {
                    self.on_the_way.0 = self.on_the_way.0.saturating_sub(1);
                    self.on_the_way.1 = self.on_the_way.1.saturating_sub(held.weight);
                }
            }
            Err(why) => {
                partition.lane.refused();
                refused(&self.site.name, &why, self.log, &mut self.again);
            }
        }
    }

    /// What is due now and then.
    fn round(&mut self) {
        let now = Instant::now();
        if now >= self.again.0 {
            for partition in self.partitions.values_mut() {
                if partition.lane.is_refused() && partition.lane.begin_anew() {
                    partition.sequence.begin_anew();
                }
            }
        }
        if matches!(self.phase, Phase::Reading) {
            if now >= self.commit_at {
                self.commit_at = now + COMMIT_EVERY;
                self.commit();
            }
            self.miss_what_was_looked_back_at();
        }
    }

    /// What does not come is not there.
    fn miss_what_was_looked_back_at(&mut self) {
        if self.link.is_down() || self.is_paused || self.reads_since.elapsed() < LOOK_BACK_WITHIN {
            return;
        }
        // Others may have been removed where a topic is compacted: of these the next record tells, however late it comes.
        let gone = self.due();
        if !gone.is_empty() {
            self.drain_then(Then::PlaceAgain(gone));
        }
    }

    /// Partitions of which the last record that was accepted must come, and has not.
    fn due(&self) -> BTreeSet<Spot> {
        let is_due = |partition: &Partition| partition.looks_back.as_ref().is_some_and(|last| last.is_due);
        let due = self.partitions.iter().filter(|(_, partition)| is_due(partition));
        due.map(|(spot, _)| spot.clone()).collect()
    }

    /// Tells the group how far what was read is accepted.
    fn commit(&mut self) {
        if self.committing.is_some() || self.link.is_down() {
            return;
        }
        let has_waited = self.reads_since.elapsed() >= LOOK_BACK_WITHIN;
        let mut offsets = Vec::new();
        for (spot, partition) in &mut self.partitions {
            let next = partition.lane.next_to_accept();
            partition.committing = None;
            // Before it is known that the broker has the same records as before, nothing is said of them; unless the last one may have
            // been removed and nothing new comes.
            let is_unsure = partition
                .looks_back
                .as_ref()
                .is_some_and(|last| last.is_due || !has_waited);
            if partition.committed == Some(next) || is_unsure {
                continue;
            }
            partition.committing = Some(next);
            offsets.push((spot.clone(), next));
        }
        if !offsets.is_empty() {
            self.committing = Some(Box::pin(commit(Arc::clone(&self.consumer), offsets)));
        }
    }

    fn committed(&mut self, result: &Result<(), KafkaError>) {
        match result {
            Ok(()) => {
                for partition in self.partitions.values_mut() {
                    if let Some(committed) = partition.committing.take() {
                        partition.committed = Some(committed);
                        // What the group had before is overwritten.
                        partition.overrules = None;
                    }
                }
            }
            Err(error) => self.not_committed(&sentence(error)),
        }
    }

    /// Nothing is lost by that: hem knows itself how far it has read.
    fn not_committed(&mut self, why: &str) {
        if let Some(repeats) = self.log.allows(why, Instant::now()) {
            tracing::warn!(
                source = &*self.site.name,
                why,
                repeats,
                "the broker does not take how far hem has read; other members of the group may read the same again"
            );
        }
    }
}

/// Notes that hem takes nothing now.
fn refused(name: &str, why: &NotAccepted, log: &mut Repeats, again: &mut (Instant, Duration)) {
    if *why == NotAccepted::Behind {
        return;
    }
    let now = Instant::now();
    *again = (now + again.1, (again.1 * 2).min(AGAIN_AFTER.1));
    let why = why.to_string();
    if let Some(repeats) = log.allows(&why, now) {
        tracing::warn!(
            source = name,
            why,
            repeats,
            "records wait at the broker: hem takes none now"
        );
    }
}

/// What is held of a record.
fn read(
    message: &Message,
    name: &Arc<str>,
    names_source: bool,
    overrules: Option<i64>,
) -> Result<Held, crate::engine::bookmark::BookmarkError> {
    let received = Timestamp::now();
    let event = ncmp::event(&message.record(), name, names_source, received);
    let mark = Mark::Read(Read {
        next: message.offset.saturating_add(1),
        print: Some(message.print()),
        at: Some(received.as_millis()),
        overrules,
    });
    let bookmark = Bookmark::new(partition_name(&message.spot.0, message.spot.1), mark.to_bytes())?;
    Ok(Held {
        event,
        bookmark,
        weight: message.weight() + 1_024,
    })
}
