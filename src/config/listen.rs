//! Where a part of hem listens for HTTP, and with which limits, checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::NamedFile;
use super::load::SourceFault;
use super::raw::listen::{RawHttpLimits, RawTls};
use super::scalar::{ListenAddress, Network};

/// A body may not be larger, whatever the configuration says: it is held in memory.
const LARGEST_BODY: u64 = 64 << 20;

/// Whoever takes longer is not waited for, whatever the configuration says.
const LONGEST_TIME: Duration = Duration::from_secs(3600);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address and the port; port 0 for any free one.
    pub address: SocketAddr,
    /// The files of TLS; plain HTTP where unset.
    pub tls: Option<Tls>,
    /// What one sender may take.
    pub limits: HttpLimits,
    /// Proxies whose `X-Forwarded-For` says who sent a request.
    pub trusted_proxies: Vec<Network>,
}

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// Whether the two cannot listen at once. With port 0 each gets one of its own.
    pub fn collides_with(&self, other: &Self) -> bool {
        let (here, there) = (self.address, other.address);
        let is_all = |address: SocketAddr| address.ip().is_unspecified();
        here.port() == there.port()
            && here.port() != 0
            && (here.ip().to_canonical() == there.ip().to_canonical() || is_all(here) || is_all(there))
    }

    /// The files that its settings name, by the path below the one that holds them.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let Some(tls) = &self.tls else {
            return Vec::new();
        };
        vec![
            NamedFile::plain(&tls.certificate, &["tls", "certificate"]),
            NamedFile::secret(&tls.key, &["tls", "key"]),
        ]
    }
}

/// The files of TLS, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What one sender may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of a body.
    pub body: usize,
    /// For TLS, for the head of a request, and between two requests.
    pub head_time: Duration,
    /// For the body of a request.
    pub body_time: Duration,
    /// Connections at once.
    pub connections: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            connections: 1_000,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            tls: None,
            limits: HttpLimits::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(
    address: Option<&ListenAddress>,
    tls: Option<RawTls>,
    limits: Option<RawHttpLimits>,
    folder: &Path,
) -> Result<Listen, SourceFault> {
    let defaults = Listen::default();
    let limits = limits.unwrap_or_default();
    let body = match &limits.body {
        None => defaults.limits.body,
        Some(size) if (1..=LARGEST_BODY).contains(&size.value.0) => {
            usize::try_from(size.value.0).unwrap_or(usize::MAX)
        }
        Some(size) => {
            return Err(SourceFault::at(
                size,
                "a body may have from 1 byte to 64MiB".to_owned(),
            ));
        }
    };
    Ok(Listen {
        address: address.map_or(defaults.address, |address| address.0),
        tls: tls.map(|tls| Tls {
            certificate: folder.join(tls.certificate),
            key: folder.join(tls.key),
        }),
        limits: HttpLimits {
            body,
            head_time: limits
                .head_time
                .map_or(defaults.limits.head_time, |time| time.0.min(LONGEST_TIME)),
            body_time: limits
                .body_time
                .map_or(defaults.limits.body_time, |time| time.0.min(LONGEST_TIME)),
            connections: limits
                .connections
                .map_or(defaults.limits.connections, |number| number.max(1)),
        },
        trusted_proxies: Vec::new(),
    })
}
