//! A source of type `masakari`, checked.

pub mod auth;
pub mod poll;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_saphyr::Spanned;

use self::auth::MasakariAuth;
use super::NamedFile;
use super::Source;
use super::listen::{self, Listen};
use super::load::SourceFault;
use super::raw::masakari::{RawMaintenance, RawMasakari, RawRecoveryMethod, RawSegment};
use super::scalar::ListenAddress;

/// Where Masakari itself listens.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15868);

/// The notifications API of Masakari.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasakariSource {
    /// Where it listens.
    pub listen: Listen,
    /// What stands before `/v1`, without a slash at its end; empty for nothing.
    pub base_path: String,
    /// Who may use it.
    pub auth: MasakariAuth,
    /// Notifications of hosts that are in no segment are refused.
    pub strict_hosts: bool,
    /// What sets a host's `on_maintenance`.
    pub maintenance: Maintenance,
    /// The failover segments, by name.
    pub segments: Vec<Segment>,
}

impl MasakariSource {
    /// The files that its settings name, by the path below the source's own.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let of_auth = self.auth.named_files().into_iter();
        let of_listen = self.listen.named_files().into_iter();
        of_listen
            .chain(of_auth.map(|file| file.below(&["auth"])))
            .collect()
    }
}

/// What sets a host's `on_maintenance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// An operator alone.
    Manual,
    /// Also the notification that the host or one of its processes has stopped.
    Auto,
}

/// A failover segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub name: String,
    /// Its UUID; made from its name where unset.
    pub uuid: Option<String>,
    /// What it is, for people.
    pub description: Option<String>,
    /// The kind of service on its hosts.
    pub service_type: String,
    /// How Masakari would recover it.
    pub recovery_method: &'static str,
    /// Whether it is told to be enabled.
    pub enabled: bool,
    /// Its hosts, by name.
    pub hosts: Vec<SegmentHost>,
}

/// A host of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHost {
    /// Its name, as the monitors write it.
    pub name: String,
    /// Its UUID; made from its name where unset.
    pub uuid: Option<String>,
    /// What it is.
    pub kind: String,
    /// How it is controlled.
    pub control_attributes: String,
    /// Whether it is told to be reserved.
    pub reserved: bool,
    /// Whether it is under maintenance until somebody says otherwise.
    pub on_maintenance: bool,
}

/// A Masakari that hem is, or one that it reads. `folder` is what relative paths are relative to.
pub(super) fn check(mut raw: RawMasakari, folder: &Path) -> Result<Source, SourceFault> {
    match raw.poll.take() {
        None => check_api(raw, folder).map(Source::Masakari),
        Some(poll) if raw.says_what_it_is() => Err(SourceFault::at(
            &poll,
            "with `poll` hem reads another Masakari and is none itself; leave out everything beside it"
                .to_owned(),
        )),
        Some(poll) => poll::check(poll, folder).map(Source::MasakariPoll),
    }
}

fn check_api(raw: RawMasakari, folder: &Path) -> Result<MasakariSource, SourceFault> {
    let address = raw
        .listen
        .as_ref()
        .map_or(ListenAddress(ADDRESS), |address| address.value);
    let listen = listen::check(Some(&address), raw.tls, raw.limits, folder)?;
    if let Some(place) = &raw.listen
        && !listen.is_loopback()
        && raw.auth.is_none()
    {
        return Err(SourceFault::at(
            place,
            format!(
                "on {} anybody could send notifications; say in `auth` who may, or `auth: none` if anybody may",
                listen.address
            ),
        ));
    }
    let base_path = match &raw.base_path {
        None => String::new(),
        Some(path) if path.value.0.contains("//") => {
            return Err(SourceFault::at(
                path,
                "a path with an empty part would never be found".to_owned(),
            ));
        }
        Some(path) => path.value.0.trim_end_matches('/').to_owned(),
    };
    let mut segments: Vec<Segment> = Vec::new();
    for (name, raw) in raw.segments {
        let place = Spanned::new((), raw.referenced, raw.defined);
        segments.push(check_segment(name.0, raw.value, &segments, &place)?);
    }
    Ok(MasakariSource {
        listen,
        base_path,
        auth: raw
            .auth
            .map_or(Ok(MasakariAuth::None), |auth| auth::check(auth, folder))?,
        strict_hosts: raw.strict_hosts.unwrap_or(false),
        maintenance: match raw.maintenance {
            None | Some(RawMaintenance::Manual) => Maintenance::Manual,
            Some(RawMaintenance::Auto) => Maintenance::Auto,
        },
        segments,
    })
}

fn check_segment(
    name: String,
    raw: RawSegment,
    earlier: &[Segment],
    place: &Spanned<()>,
) -> Result<Segment, SourceFault> {
    let uuid = raw.uuid.map(|uuid| uuid.0);
    if let Some(other) = earlier.iter().find(|other| uuid.is_some() && other.uuid == uuid) {
        return Err(SourceFault::at(
            place,
            format!("the segments `{}` and `{name}` have the same UUID", other.name),
        ));
    }
    let mut hosts: Vec<SegmentHost> = Vec::new();
    for (host_name, raw) in raw.hosts {
        let place = Spanned::new((), raw.referenced, raw.defined);
        let raw = raw.value.unwrap_or_default();
        let uuid = raw.uuid.map(|uuid| uuid.0);
        let mut others = earlier.iter().flat_map(|segment| &segment.hosts).chain(&hosts);
        if let Some(other) =
            others.find(|other| other.name == host_name.0 || (uuid.is_some() && other.uuid == uuid))
        {
            let what = if other.name == host_name.0 {
                format!("the host `{}` is in two segments", host_name.0)
            } else {
                format!(
                    "the hosts `{}` and `{}` have the same UUID",
                    other.name, host_name.0
                )
            };
            return Err(SourceFault::at(&place, what));
        }
        hosts.push(SegmentHost {
            name: host_name.0,
            uuid,
            kind: raw.kind.unwrap_or_else(|| "COMPUTE".to_owned()),
            control_attributes: raw.control_attributes.unwrap_or_else(|| "SSH".to_owned()),
            reserved: raw.reserved.unwrap_or(false),
            on_maintenance: raw.on_maintenance.unwrap_or(false),
        });
    }
    Ok(Segment {
        name,
        uuid,
        description: raw.description,
        service_type: raw.service_type.unwrap_or_else(|| "COMPUTE".to_owned()),
        recovery_method: match raw.recovery_method {
            None | Some(RawRecoveryMethod::Auto) => "auto",
            Some(RawRecoveryMethod::ReservedHost) => "reserved_host",
            Some(RawRecoveryMethod::AutoPriority) => "auto_priority",
            Some(RawRecoveryMethod::RhPriority) => "rh_priority",
        },
        enabled: raw.enabled.unwrap_or(true),
        hosts,
    })
}
