//! One module a system. Each is a configuration that can be built into a running source ([`Source`]); what it receives it hands to
//! the intake. Sources know nothing else of the engine.

mod backoff;
mod deliveries;
pub mod esc;
mod masakari;
pub mod ncmp;
pub mod opennebula;
mod refusal;
mod senders;
mod webhook;

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Oned};
use crate::engine::catch_up::CatchUp;
use crate::engine::intake::{Decode, Intake, Limits};
use crate::engine::outbox::Results;
use crate::engine::pool::{Followed, Inlet};
use crate::engine::records::Records;
use crate::engine::role::Leadership;
use crate::engine::seek::Seek;
use crate::event::redaction::Redaction;
use crate::http_client::TrustError;
use crate::keystone;
use crate::secrets::SecretError;

pub use self::masakari::HtpasswdError;
#[cfg(feature = "kafka")]
pub use self::ncmp::kafka::ClientError;
pub use crate::listener::BindError;

/// A source as it is configured.
pub trait Source {
    /// Its type: `opennebula`.
    fn kind(&self) -> &'static str;

    /// How much of it may wait for acceptance.
    fn queue(&self) -> Limits;

    /// Makes everything ready that can fail: from here on it only has to be started. May read files, and binds its sockets.
    ///
    /// # Errors
    /// What it needs cannot be had.
    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError>;
}

/// The configured source, whatever its type.
pub fn configured(source: &config::Source) -> &dyn Source {
    match source {
        config::Source::Opennebula(source) => source,
        config::Source::Webhook(source) => source,
        config::Source::Masakari(source) => source,
        config::Source::Esc(source) => source,
        config::Source::MasakariPoll(source) => source,
        config::Source::Ncmp(source) => source,
    }
}

/// Where a source is built.
#[derive(Debug)]
pub struct Site<'a> {
    /// Its name.
    pub name: &'a str,
    /// There are several sources of its type, so subjects carry its name.
    pub names_source: bool,
    /// What nothing must show; a source adds the secrets that it knows.
    pub redaction: &'a Redaction,
    /// The controller behind it, where that is to be asked.
    pub oned: Option<&'a Oned>,
}

/// Why a source cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It cannot listen.
    #[error("it cannot listen")]
    Listen(#[source] BindError),
    /// A secret that it needs cannot be had.
    #[error("a secret cannot be had")]
    Secret(#[source] SecretError),
    /// The users who may use it cannot be had.
    #[error("there are no users")]
    Users(#[source] HtpasswdError),
    /// The kernel has no randomness to give.
    #[error("the kernel's randomness cannot be had")]
    Randomness(#[source] std::io::Error),
    /// Keystone cannot be asked.
    #[error("Keystone cannot be asked")]
    Keystone(#[source] keystone::SetUpError),
    /// Whom it asks cannot be told from somebody else.
    #[error("the other end cannot be told from somebody else")]
    Trust(#[source] TrustError),
    /// The client of the Kafka broker cannot be made.
    #[cfg(feature = "kafka")]
    #[error("the broker cannot be read")]
    Kafka(#[source] ClientError),
    /// This hem was built without what it needs.
    #[error("this hem was built without the feature `{0}`")]
    Lacks(&'static str),
}

impl BuildError {
    /// Whether it may be otherwise in a moment, without anybody changing the configuration: somebody else has the address.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Listen(BindError::Address { .. }))
    }
}

/// A source that is ready to be started.
pub struct Built {
    /// Where it connects to, or listens.
    pub endpoint: String,
    /// Makes events of its messages; none where it hands events over.
    pub decoder: Option<Arc<dyn Decode>>,
    /// The controller behind it, where the hooks that it keeps are to run.
    pub pool: Option<Followed>,
    /// Starts it; it has ended when its tasks have.
    pub start: Box<dyn FnOnce(Wires) + Send>,
}

/// What connects a running source to the engine.
#[derive(Debug)]
pub struct Wires {
    /// Its name.
    pub name: String,
    /// Takes what it receives.
    pub intake: Intake,
    /// What it may look up.
    pub records: Records,
    /// What its controller is to be told; none where it has none.
    pub results: Option<Results>,
    /// Takes the hooks that its controller keeps, where they are to run.
    pub inlet: Option<Inlet>,
    /// Brings orders to read from elsewhere. A source that drops it takes none.
    pub seeks: mpsc::Receiver<Seek>,
    /// Takes what its controller has meanwhile, where events were missed and are to be made up for.
    pub catch_up: Option<CatchUp>,
    /// Is told whether its controller leads, where that matters.
    pub leadership: Option<Leadership>,
    /// Runs what receives: it ends first.
    pub readers: Tasks,
    /// Runs what tells results: it goes on until the last script has ended.
    pub tellers: Tasks,
}

/// Tasks that are counted, and told when to end. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// An error with all that is behind it, as one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

/// Works on a thread that may be busy for long. None where the runtime ends over it. A panic goes on where it is waited for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            if let Ok(panic) = error.try_into_panic() {
                resume_unwind(panic);
            }
            None
        }
    }
}

impl Tasks {
    /// Runs what `task` makes of the sign to end.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.tracker.spawn(task(self.stop.clone()));
    }

    /// Tells all of them to end, and waits until they have.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
