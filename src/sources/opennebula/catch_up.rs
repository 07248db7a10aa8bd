//! After a gap: asks the controller in which state its resources are, and hands over what differs from what is known.
//!
//! The pools are asked for page by page, and of each page what differs is raised before the next one is asked for: no more
//! than a page is held, and what is raised is seconds old. What a page leaves out because the pool changed meanwhile is asked
//! for by its number at the end, as are the VMs that are done, which no pool lists.
//!
//! Where it is configured, it also looks without a gap: what a hook manager drops at its high-water mark no subscriber sees. A
//! state that differs then may be that of an event which is on its way, so it is raised only if a second look, a while later,
//! finds the same.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::decode::Decoder;
use super::sentence;
use crate::engine::catch_up::{CatchUp, Ended, Halted, NotedOnly, Seen};
use crate::event::opennebula::Resource;
use crate::event::opennebula::pool::{
    LeftOut, Page, PoolEntry, PoolFault, ResourceId, StateNames, pool_page, resource_entry,
};
use crate::oned::{CallError, Client, Value};
use crate::repeats::Repeats;
use crate::sources::backoff::Backoff;

/// Resources asked for at once; OpenNebula's own tools take as many.
const PAGE: i64 = 100;

/// At most twenty states are raised in a second: behind each may be a script.
const BETWEEN_RAISED: Duration = Duration::from_millis(50);

/// A controller that cannot be asked is asked again this often at least.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Between a look that finds a state which no event told of and the one that is to confirm it, unless looks are more frequent: an
/// event that takes longer is not on its way.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// All resources, whoever owns them (`PoolSQL::ALL`).
const EVERYBODYS: i64 = -2;

/// VMs in any state but DONE (`VirtualMachinePoolAPI`).
const NOT_DONE: i64 = -1;

/// `ErrorCode::NO_EXISTS` and `AUTHORIZATION` (`src/rm/…/RequestManager.h`, and the documentation of the API).
const NO_EXISTS: i64 = 0x0400;
const AUTHORIZATION: i64 = 0x0200;

/// The order of the pools: what fails with a host is what hooks are most waited for.
const POOLS: [Resource; 4] = [Resource::Host, Resource::Vm, Resource::Image, Resource::Net];

/// Catches up with what was missed, whenever something was, until `shutdown`; looks every so often whether something was that
/// nobody noticed.
pub async fn run(
    client: Client,
    name: &str,
    decoder: Arc<Decoder>,
    catch_up: CatchUp,
    look_every: Option<Duration>,
    shutdown: CancellationToken,
) {
    let follower = Follower {
        client,
        name,
        decoder,
        catch_up,
        look_every,
        polled: Instant::now(),
        untold: HashMap::new(),
    };
    // What is given up in the middle is done again by the next life: the gap is still open.
    shutdown.run_until_cancelled(follower.keep_up()).await;
}

/// Why a poll came to nothing.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Halted(#[from] Halted),
    #[error(transparent)]
    Call(CallError),
    #[error("the answer to `{method}` cannot be used")]
    Answer { method: &'static str, source: PoolFault },
    #[error("hem failed to read the answer to `{method}`, a fault of hem; its log says more")]
    Failed { method: &'static str },
}

/// Why a poll is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Something was missed.
    Gap,
    /// It is time to look.
    Look,
}

struct Follower<'a> {
    client: Client,
    name: &'a str,
    decoder: Arc<Decoder>,
    catch_up: CatchUp,
    look_every: Option<Duration>,
    /// When the last poll ended.
    polled: Instant,
    /// What the last look found that no event had told of.
    untold: HashMap<ResourceId, StateNames>,
}

/// What a look finds, held against what the one before found.
#[derive(Debug)]
struct Look {
    before: HashMap<ResourceId, StateNames>,
    found: HashMap<ResourceId, StateNames>,
}

impl Look {
    /// Whether the look before found the same; if not, it is for the next one to see.
    fn confirms(&mut self, id: &ResourceId, names: &StateNames) -> bool {
        let is_same = self.before.get(id).is_some_and(|before| before.is_same_as(names));
        if !is_same {
            self.found.insert(id.clone(), names.clone());
        }
        is_same
    }
}

impl Follower<'_> {
    async fn keep_up(mut self) {
        let mut backoff = Backoff::new(fastrand::Rng::new()).up_to(LONGEST_DELAY);
        let mut log = Repeats::default();
        while let Ok(occasion) = self.occasion().await {
            match self.poll(occasion).await {
                Ok(()) => {
                    backoff.reset();
                    self.polled = Instant::now();
                }
                Err(PollError::Halted(Halted::Ended(_))) => return,
                // The gap is still open: it is asked for anew what it is like then.
                Err(PollError::Halted(Halted::GivenUp)) => sleep(backoff.next_delay()).await,
                Err(error) => {
                    let why = sentence(&error as &dyn Error);
                    if let Some(repeats) = log.allows(&why, Instant::now()) {
                        tracing::warn!(
                            source = self.name,
                            repeats,
                            why,
                            "cannot ask what was missed; it is tried again"
                        );
                    }
                    self.catch_up.failed(&why).await;
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Comes back when there is something to catch up with, or it is time to look whether there is.
    async fn occasion(&mut self) -> Result<Occasion, Ended> {
        let Some(every) = self.look_every else {
            return self.catch_up.wanted().await.map(|()| Occasion::Gap);
        };
        let wait = if self.untold.is_empty() {
            every
        } else {
            every.min(LOOK_AGAIN)
        };
        match timeout_at((self.polled + wait).into(), self.catch_up.wanted()).await {
            Ok(wanted) => wanted.map(|()| Occasion::Gap),
            Err(_) => Ok(Occasion::Look),
        }
    }

    /// Asks for everything once.
    async fn poll(&mut self, occasion: Occasion) -> Result<(), PollError> {
        let noted_only = self.catch_up.begin().await?;
        let mut look = (occasion == Occasion::Look).then(|| Look {
            before: std::mem::take(&mut self.untold),
            found: HashMap::new(),
        });
        let mut raised = 0;
        for resource in &POOLS {
            raised += self.pool(resource, look.as_mut()).await?;
        }
        self.catch_up.end().await?;
        self.untold = look.map(|look| look.found).unwrap_or_default();
        if occasion == Occasion::Look {
            if raised > 0 {
                tracing::warn!(
                    source = self.name,
                    raised,
                    "the hook manager dropped events: states were found that none told of; raise its high-water mark"
                );
            }
            return Ok(());
        }
        let what = match noted_only {
            None => "caught up with what was missed",
            Some(NotedOnly::First) => "noted the present states, against which the next gap is held",
            Some(NotedOnly::OtherLed) => "noted the present states: another front-end led meanwhile",
            Some(NotedOnly::TooOld) => "the gap was too long to catch up with; noted the present states",
        };
        tracing::info!(source = self.name, raised, "{what}");
        Ok(())
    }

    /// Asks for one pool; says how many states were raised.
    async fn pool(&self, resource: &Resource, mut look: Option<&mut Look>) -> Result<u64, PollError> {
        let mut raised = 0;
        let mut start = 0;
        // Whether a resource that is on no page is not there.
        let mut is_sure = true;
        loop {
            let asked = Instant::now();
            let (method, parameters) = page(resource, start);
            let document = self
                .client
                .text(method, &parameters)
                .await
                .map_err(PollError::Call)?;
            let kind = resource.clone();
            let page = read(method, move || pool_page(&document, &kind)).await?;
            self.say_left_out(resource, &page.left_out);
            is_sure &= page.left_out.iter().all(|left_out| left_out.number.is_some());
            for place in self.catch_up.differing(resource, asked, seen(&page)).await? {
                if let Some(entry) = page.entries.get(place) {
                    raised += u64::from(self.raise(entry.clone(), asked, look.as_deref_mut()).await?);
                }
            }
            let is_last = parameters.is_empty() || i64::try_from(page.len()).is_ok_and(|len| len < PAGE);
            if is_last {
                break;
            }
            start += PAGE;
        }
        if !is_sure && *resource != Resource::Vm {
            return Ok(raised);
        }
        for number in self.catch_up.absent(resource).await? {
            raised += u64::from(self.absent(number, look.as_deref_mut()).await?);
        }
        Ok(raised)
    }

    /// A VM that no page had: it is done, or it slipped from one page to another.
    async fn absent(&self, number: u64, look: Option<&mut Look>) -> Result<bool, PollError> {
        const METHOD: &str = "one.vm.info";
        let id = ResourceId {
            resource: Resource::Vm,
            number,
        };
        let Ok(parameter) = i64::try_from(number) else {
            self.catch_up.forget(id).await;
            return Ok(false);
        };
        let asked = Instant::now();
        match self.client.text(METHOD, &[parameter.into(), false.into()]).await {
            Ok(document) => match read(METHOD, move || resource_entry(&document, &Resource::Vm)).await {
                Ok(entry) => self.raise(entry, asked, look).await,
                Err(PollError::Answer {
                    source: why @ (PoolFault::Document(_) | PoolFault::NoNumber),
                    ..
                }) => {
                    let number = Some(number);
                    self.say_left_out(&Resource::Vm, &[LeftOut { number, why }]);
                    Ok(false)
                }
                Err(error) => Err(error),
            },
            // What these credentials may not see, no later poll tells either.
            Err(CallError::Refused {
                code: NO_EXISTS | AUTHORIZATION,
                ..
            }) => {
                self.catch_up.forget(id).await;
                Ok(false)
            }
            Err(error) => Err(PollError::Call(error)),
        }
    }

    /// Says which resources of an answer cannot be read; of these nothing is raised.
    fn say_left_out(&self, resource: &Resource, left_out: &[LeftOut]) {
        if let Some(LeftOut { number, why }) = left_out.first() {
            tracing::warn!(
                source = self.name, %resource, count = left_out.len(), number, %why,
                "resources that oned does not tell so that they can be read are left out of catching up"
            );
        }
    }

    /// Hands over one that may have been missed; says whether its event is raised, and then keeps the pace.
    async fn raise(
        &self,
        entry: PoolEntry,
        asked: Instant,
        look: Option<&mut Look>,
    ) -> Result<bool, PollError> {
        let PoolEntry {
            id,
            state: Some(names),
            ..
        } = entry.clone()
        else {
            return Ok(false);
        };
        if look.is_some_and(|look| !look.confirms(&id, &names)) {
            return Ok(false);
        }
        let decoder = Arc::clone(&self.decoder);
        let made = spawn_blocking(move || Some(decoder.synthesised(entry.message()?))).await;
        let Ok(Some(event)) = made else {
            let (resource, number) = (&id.resource, id.number);
            tracing::error!(
                source = self.name, %resource, number,
                "hem failed to tell of a state that was missed, a fault of hem; it is left out"
            );
            return Ok(false);
        };
        let is_raised = self.catch_up.raise(&id, &names, asked, event).await?;
        if is_raised {
            sleep(BETWEEN_RAISED).await;
        }
        Ok(is_raised)
    }
}

/// Reads an answer, which may be large, where it holds nobody up. A follower that ends would leave the gap open in silence.
async fn read<T: Send + 'static>(
    method: &'static str,
    read: impl FnOnce() -> Result<T, PoolFault> + Send + 'static,
) -> Result<T, PollError> {
    spawn_blocking(read)
        .await
        .map_err(|_| PollError::Failed { method })?
        .map_err(|source| PollError::Answer { method, source })
}

/// The entries in their order, and behind them what cannot be read: it is there, in whatever state.
fn seen(page: &Page) -> Vec<Seen> {
    let entries = page.entries.iter().map(|entry| Seen {
        number: entry.id.number,
        names: entry.state.clone(),
    });
    let left_out = page.left_out.iter().filter_map(|left_out| {
        let number = left_out.number?;
        Some(Seen { number, names: None })
    });
    entries.chain(left_out).collect()
}

/// The call for the page of a pool that begins at this place. Hosts come all at once: their pool knows no pages.
fn page(resource: &Resource, start: i64) -> (&'static str, Vec<Value>) {
    let page = || vec![EVERYBODYS.into(), start.into(), (-PAGE).into()];
    match resource {
        Resource::Vm => {
            let mut parameters = page();
            parameters.push(NOT_DONE.into());
            ("one.vmpool.infoextended", parameters)
        }
        Resource::Image => ("one.imagepool.info", page()),
        Resource::Net => ("one.vnpool.info", page()),
        Resource::Host | Resource::Other(_) => ("one.hostpool.info", Vec::new()),
    }
}
