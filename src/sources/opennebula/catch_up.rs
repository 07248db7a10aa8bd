//! After a gap: asks the controller in which state its resources are, and hands over what differs from what is known.
//!
//! The pools are asked for page by page, and of each page what differs is raised before the next one is asked for: no more
//! than a page is held, and what is raised is seconds old. What a page leaves out because the pool changed meanwhile is asked
//! for by its number at the end, as are the VMs that are done, which no pool lists.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::decode::Decoder;
use super::repeats::Repeats;
use super::sentence;
use crate::engine::catch_up::{CatchUp, Halted, NotedOnly, Seen};
use crate::event::opennebula::Resource;
use crate::event::opennebula::pool::{PoolEntry, PoolFault, ResourceId, pool_entries, resource_entry};
use crate::oned::{CallError, Client, Value};

/// Resources asked for at once; OpenNebula's own tools take as many.
const PAGE: i64 = 100;

/// At most twenty states are raised in a second: behind each may be a script.
const BETWEEN_RAISED: Duration = Duration::from_millis(50);

/// A controller that cannot be asked is asked again this often at least.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// All resources, whoever owns them (`PoolSQL::ALL`).
const EVERYBODYS: i64 = -2;

/// VMs in any state but DONE (`VirtualMachinePoolAPI`).
const NOT_DONE: i64 = -1;

/// `ErrorCode::NO_EXISTS` and `AUTHORIZATION` (`src/rm/…/RequestManager.h`, and the documentation of the API).
const NO_EXISTS: i64 = 0x0400;
const AUTHORIZATION: i64 = 0x0200;

/// The order of the pools: what fails with a host is what hooks are most waited for.
const POOLS: [Resource; 4] = [Resource::Host, Resource::Vm, Resource::Image, Resource::Net];

/// Catches up with what was missed, whenever something was, until `shutdown`.
pub async fn run(
    client: Client,
    name: &str,
    decoder: Arc<Decoder>,
    catch_up: CatchUp,
    shutdown: CancellationToken,
) {
    let follower = Follower {
        client,
        name,
        decoder,
        catch_up,
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
}

struct Follower<'a> {
    client: Client,
    name: &'a str,
    decoder: Arc<Decoder>,
    catch_up: CatchUp,
}

impl Follower<'_> {
    async fn keep_up(mut self) {
        let mut backoff = Backoff::new(fastrand::Rng::new()).up_to(LONGEST_DELAY);
        let mut log = Repeats::default();
        while self.catch_up.wanted().await.is_ok() {
            match self.poll().await {
                Ok(()) => backoff.reset(),
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

    /// Asks for everything once.
    async fn poll(&self) -> Result<(), PollError> {
        let noted_only = self.catch_up.begin().await?;
        let mut raised = 0;
        for resource in &POOLS {
            raised += self.pool(resource).await?;
        }
        self.catch_up.end().await?;
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
    async fn pool(&self, resource: &Resource) -> Result<u64, PollError> {
        let mut raised = 0;
        let mut start = 0;
        loop {
            let asked = Instant::now();
            let (method, parameters) = page(resource, start);
            let document = self
                .client
                .text(method, &parameters)
                .await
                .map_err(PollError::Call)?;
            let unusable = |source| PollError::Answer { method, source };
            let entries = pool_entries(&document, resource).map_err(unusable)?;
            let seen = entries.iter().map(seen).collect();
            for place in self.catch_up.differing(resource, asked, seen).await? {
                if let Some(entry) = entries.get(place) {
                    raised += u64::from(self.raise(entry, asked).await?);
                }
            }
            let is_last = parameters.is_empty() || i64::try_from(entries.len()).is_ok_and(|len| len < PAGE);
            if is_last {
                break;
            }
            start += PAGE;
        }
        for number in self.catch_up.absent(resource).await? {
            raised += u64::from(self.absent(number).await?);
        }
        Ok(raised)
    }

    /// A VM that no page had: it is done, or it slipped from one page to another.
    async fn absent(&self, number: u64) -> Result<bool, PollError> {
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
            Ok(document) => {
                let unusable = |source| PollError::Answer {
                    method: METHOD,
                    source,
                };
                let entry = resource_entry(&document, &Resource::Vm).map_err(unusable)?;
                self.raise(&entry, asked).await
            }
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

    /// Hands over one that may have been missed; says whether its event is raised, and then keeps the pace.
    async fn raise(&self, entry: &PoolEntry<'_>, asked: Instant) -> Result<bool, PollError> {
        let (Some(names), Some(message)) = (&entry.state, entry.message()) else {
            return Ok(false);
        };
        let event = self.decoder.synthesised(message);
        let is_raised = self.catch_up.raise(&entry.id, names, asked, event).await?;
        if is_raised {
            sleep(BETWEEN_RAISED).await;
        }
        Ok(is_raised)
    }
}

fn seen(entry: &PoolEntry<'_>) -> Seen {
    Seen {
        number: entry.id.number,
        names: entry.state.clone(),
    }
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
