//! A source of type `masakari`, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::RawSourceType;
use super::listen::{RawHttpLimits, RawTls};
use super::masakari_auth::RawMasakariAuth;
use super::masakari_poll::RawPoll;
use crate::config::scalar::{ListenAddress, MasakariHostName, SegmentName, UrlPath, UuidText};

/// A source of type `masakari`: the notifications API of OpenStack Masakari, for its monitors and for operators' tools. Each
/// notification that is accepted is an event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMasakari {
    /// `masakari`.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("const" = "masakari"))]
    pub kind: RawSourceType,
    /// An existing Masakari that is read, instead of being one: with it, there is no `listen` and nothing else of what follows.
    #[schemars(with = "Option<RawPoll>")]
    pub poll: Option<Spanned<RawPoll>>,
    /// The address and the port it listens on: `127.0.0.1:15868`, `"[::1]:15868"`. With port 0 any free one, which `hem status`
    /// tells. On other addresses than this machine's own ones `auth` must be set. Default `127.0.0.1:15868`.
    #[schemars(with = "Option<ListenAddress>")]
    pub listen: Option<Spanned<ListenAddress>>,
    /// TLS, by files in PEM form. Default: none.
    pub tls: Option<RawTls>,
    /// What one sender may take.
    pub limits: Option<RawHttpLimits>,
    /// What stands before `/v1` in the addresses, such as `/instance-ha`. Default: nothing.
    #[schemars(with = "Option<UrlPath>")]
    pub base_path: Option<Spanned<UrlPath>>,
    /// Who may use it. Default `none`.
    pub auth: Option<RawMasakariAuth>,
    /// Whether notifications of hosts that are in no segment are refused, as Masakari does. Default `false`: they are taken and
    /// told in the log.
    pub strict_hosts: Option<bool>,
    /// What sets a host's `on_maintenance`. Default `manual`.
    pub maintenance: Option<RawMaintenance>,
    /// The failover segments by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<SegmentName, RawSegment>")]
    pub segments: BTreeMap<SegmentName, Spanned<RawSegment>>,
}

impl RawMasakari {
    /// Whether it says anything of a Masakari that hem is to be.
    pub(in crate::config) fn says_what_it_is(&self) -> bool {
        self.listen.is_some()
            || self.tls.is_some()
            || self.limits.is_some()
            || self.base_path.is_some()
            || self.auth.is_some()
            || self.strict_hosts.is_some()
            || self.maintenance.is_some()
            || !self.segments.is_empty()
    }
}

/// What sets a host's `on_maintenance`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawMaintenance {
    /// An operator alone, with `PUT`.
    Manual,
    /// As in Masakari also the notification that the host or one of its processes has stopped. What comes of that host afterwards is
    /// refused until an operator takes it back.
    Auto,
}

/// A failover segment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSegment {
    /// Its UUID. Default: one made from its name.
    pub uuid: Option<UuidText>,
    /// What it is, for people.
    pub description: Option<String>,
    /// The kind of service on its hosts. Default `COMPUTE`.
    pub service_type: Option<String>,
    /// How Masakari would recover it; hem only tells it. Default `auto`.
    pub recovery_method: Option<RawRecoveryMethod>,
    /// Whether it is told to be enabled. Default `true`.
    pub enabled: Option<bool>,
    /// Its hosts by name, as the monitors write it.
    #[schemars(with = "BTreeMap<MasakariHostName, Option<RawHost>>")]
    pub hosts: BTreeMap<MasakariHostName, Spanned<Option<RawHost>>>,
}

/// How Masakari would recover a segment.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawRecoveryMethod {
    /// On any host.
    Auto,
    /// On a reserved host.
    ReservedHost,
    /// On any host, then on a reserved one.
    AutoPriority,
    /// On a reserved host, then on any.
    RhPriority,
}

/// A host of a segment.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHost {
    /// Its UUID. Default: one made from its name.
    pub uuid: Option<UuidText>,
    /// What it is. Default `COMPUTE`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How it is controlled. Default `SSH`.
    pub control_attributes: Option<String>,
    /// Whether it is told to be reserved. Default `false`.
    pub reserved: Option<bool>,
    /// Whether it is under maintenance until an operator says otherwise. Default `false`.
    pub on_maintenance: Option<bool>,
}
