//! A whole daemon in this process, on a folder of its own, fed by a publisher over real sockets.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use std::fmt::Debug;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hem::config::{Config, OpennebulaSource, Permissions, Source};
use hem::daemon::{Daemon, Options};
use hem::engine::execution::State;
use hem::engine::handle::Handle;
use hem::sources::opennebula::publisher::Publisher;
use hem::sources::opennebula::zmtp::Endpoint;
use hem::store::{Store, Summary};

use crate::recorded::Recorded;

/// Nothing in these tests takes this long on any machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A publisher on a free port, whose replies nobody looks at.
pub(crate) async fn publisher() -> Publisher {
    let free: Endpoint = "tcp://127.0.0.1:0".parse().expect("an endpoint");
    Publisher::bind(&free, &free).await.expect("a publisher").0
}

/// Publishes a recorded event as the hook manager does.
pub(crate) async fn publish(publisher: &Publisher, event: &Recorded) {
    publisher
        .publish(&event.key, STANDARD.encode(&event.content).as_bytes())
        .await;
}

/// A folder with hooks and scripts, and the configuration of a daemon on it.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
}

impl House {
    /// An empty house.
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// An empty house in a folder of its own within `folder`.
    pub(crate) fn within(folder: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("hem-")
            .tempdir_in(folder)
            .expect("a folder");
        let mut config = Config::defaults(folder.path());
        config.state_dir = folder.path().join("state");
        config.hooks_dir = folder.path().join("hooks.d");
        config.scripts_dir = folder.path().join("scripts");
        config.control.socket = folder.path().join("run/hem.sock");
        config.permissions = Permissions::Lax;
        config.shutdown_grace = Duration::from_secs(5);
        for folder in [&config.hooks_dir, &config.scripts_dir] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        Self { folder, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a hook file.
    pub(crate) fn hook(&self, name: &str, yaml: &str) -> &Self {
        std::fs::write(self.config.hooks_dir.join(format!("{name}.yaml")), yaml).expect("a hook file");
        self
    }

    /// Writes an executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> &Self {
        let path = self.config.scripts_dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
        std::fs::write(&path, text).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        self
    }

    /// Adds the source `opennebula`.
    pub(crate) fn listen_to(&mut self, publisher: &Publisher) -> &mut Self {
        let source = OpennebulaSource {
            endpoint: publisher.events().to_string(),
            ..OpennebulaSource::default()
        };
        self.config
            .sources
            .insert("opennebula".to_owned(), Source::Opennebula(source));
        self
    }

    /// Adds the source `opennebula`, with a controller that takes results, and looks for the commands of its hooks here.
    pub(crate) fn serve(&mut self, events: &str, replies: &str) -> &mut Self {
        self.config.onehem_scripts_dir = self.config.scripts_dir.clone();
        let source = OpennebulaSource {
            endpoint: events.to_owned(),
            replies: replies.to_owned(),
            ..OpennebulaSource::default()
        };
        self.config
            .sources
            .insert("opennebula".to_owned(), Source::Opennebula(source));
        self
    }

    /// Starts the daemon.
    pub(crate) async fn daemon(&self) -> Daemon {
        Daemon::start(&self.config, Options::default())
            .await
            .expect("a daemon")
    }

    /// The lines that scripts appended to a file.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        std::fs::read_to_string(self.path(name))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_found(what, async || holds().then_some(()).ok_or("")).await;
}

/// Waits until a look finds something; one that does not says what is there instead.
pub(crate) async fn until_found<T, Instead: Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, Instead>,
) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(began.elapsed() < LIMIT, "waited in vain: {what}: {instead:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until nothing is queued, running or waiting for a retry, and this many events were received.
pub(crate) async fn until_settled(handle: &Handle, received: u64) {
    until_found(
        &format!("{received} events are received and settled"),
        async || {
            let summary = handle.store().summary();
            let got: u64 = summary.events.values().map(|counters| counters.received).sum();
            if got >= received && unsettled(&summary) == 0 {
                Ok(())
            } else {
                Err(summary)
            }
        },
    )
    .await;
}

/// Executions that have not reached their end.
pub(crate) fn unsettled(summary: &Summary) -> u64 {
    State::UNSETTLED
        .iter()
        .filter_map(|state| summary.executions.get(*state))
        .sum()
}

/// The store of a daemon that has stopped.
pub(crate) fn store_of(config: &Config) -> Store {
    open(&config.state_dir)
}

fn open(folder: &Path) -> Store {
    Store::open(folder).expect("a store")
}
