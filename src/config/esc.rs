//! A source of type `esc`, checked.

pub mod netconf;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_saphyr::Spanned;

use self::netconf::Netconf;
use super::NamedFile;
use super::listen::{self, Listen};
use super::load::SourceFault;
use super::raw::esc::{RawCallbackToken, RawCallbacks, RawEsc};
use super::scalar::{ListenAddress, Network};
use super::secret::{self, SecretPlace};

/// Where callbacks are taken unless something else is said; webhooks have the port before it.
const LISTEN: ListenAddress = ListenAddress(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081));

/// A Cisco Elastic Services Controller. At least one of the two ways is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscSource {
    /// Where its callbacks are taken.
    pub callbacks: Option<Callbacks>,
    /// Where its notifications come from.
    pub netconf: Option<Netconf>,
}

impl EscSource {
    /// The files that its settings name, by the path below the source's own.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let of_callbacks = self.callbacks.iter().flat_map(Callbacks::named_files);
        let of_netconf = self.netconf.iter().flat_map(Netconf::named_files);
        of_callbacks
            .map(|file| file.below(&["callbacks"]))
            .chain(of_netconf.map(|file| file.below(&["netconf"])))
            .collect()
    }
}

/// Where callbacks over REST are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callbacks {
    /// Where it listens.
    pub listen: Listen,
    /// The path: `/esc`.
    pub path: String,
    /// Which token they must carry.
    pub token: Option<CallbackToken>,
    /// Where they must come from; anywhere where empty.
    pub addresses: Vec<Network>,
    /// How long one is remembered.
    pub remember: Duration,
}

impl Callbacks {
    fn named_files(&self) -> Vec<NamedFile<'_>> {
        let secrets = self.token.iter().flat_map(|token| &token.secrets);
        let mut files = self.listen.named_files();
        files.extend(secret::named_files(secrets, &["token", "secrets"]));
        files
    }
}

/// Which token callbacks carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackToken {
    /// The header that holds it, in small letters; the last part of the path where unset.
    pub header: Option<String>,
    /// The tokens of which one must fit.
    pub secrets: Vec<SecretPlace>,
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: RawEsc, folder: &Path) -> Result<EscSource, SourceFault> {
    if raw.callbacks.is_none() && raw.netconf.is_none() {
        return Err(SourceFault::at(
            &raw.kind,
            "nothing comes from it; set `callbacks` (`callbacks: {}` takes them with all defaults), `netconf`, or both"
                .to_owned(),
        ));
    }
    Ok(EscSource {
        callbacks: raw
            .callbacks
            .map(|callbacks| check_callbacks(callbacks, folder))
            .transpose()?,
        netconf: raw
            .netconf
            .map(|netconf| netconf::check(netconf, folder))
            .transpose()?,
    })
}

fn check_callbacks(raw: Spanned<RawCallbacks>, folder: &Path) -> Result<Callbacks, SourceFault> {
    let (place, defined) = (raw.referenced, raw.defined);
    let raw = raw.value;
    let address = raw.listen.as_ref().map_or(&LISTEN, |address| &address.value);
    let listen = Listen {
        trusted_proxies: raw.trusted_proxies.unwrap_or_default(),
        ..listen::check(Some(address), raw.tls, raw.limits, folder)?
    };
    if let Some(empty) = raw.addresses.as_ref().filter(|list| list.value.is_empty()) {
        return Err(SourceFault::at(
            empty,
            "the list is empty, so nobody could send anything; leave it out".to_owned(),
        ));
    }
    if !listen.is_loopback() && raw.token.is_none() && raw.addresses.is_none() {
        return Err(SourceFault::at(
            &Spanned::new((), place, defined),
            format!(
                "on {} callbacks would be taken from anybody; give them a `token` or `addresses`, or listen on 127.0.0.1",
                listen.address
            ),
        ));
    }
    Ok(Callbacks {
        listen,
        path: raw.path.map_or_else(|| "/esc".to_owned(), |path| path.0),
        token: raw.token.map(|token| check_token(token, folder)).transpose()?,
        addresses: raw.addresses.map(|list| list.value).unwrap_or_default(),
        remember: raw.remember.map_or(Duration::from_secs(24 * 3600), |time| time.0),
    })
}

fn check_token(raw: RawCallbackToken, folder: &Path) -> Result<CallbackToken, SourceFault> {
    Ok(CallbackToken {
        header: raw.header.map(|header| header.0),
        secrets: secret::check_all(raw.secrets, folder)?,
    })
}
