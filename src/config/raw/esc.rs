//! A source of type `esc`, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::RawSourceType;
use super::esc_netconf::RawNetconf;
use super::listen::{RawHttpLimits, RawTls};
use super::secret::RawSecret;
use crate::config::scalar::{DurationText, HeaderName, ListenAddress, Network, UrlPath};

/// A source of type `esc`: a Cisco Elastic Services Controller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEsc {
    /// `esc`.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("const" = "esc"))]
    pub kind: Spanned<RawSourceType>,
    /// Takes the callbacks of its REST API. `callbacks: {}` takes them with all defaults. Default: none are taken; then `netconf` must
    /// be set.
    #[schemars(with = "Option<RawCallbacks>")]
    pub callbacks: Option<Spanned<RawCallbacks>>,
    /// Listens to its notifications over NETCONF. Where `callbacks` are taken as well, one step may come both ways: hooks on it say in
    /// `via` which one they mean. Default: it does not.
    #[schemars(with = "Option<RawNetconf>")]
    pub netconf: Option<Spanned<RawNetconf>>,
}

/// Where callbacks are taken: the address that orders to ESC name in their header `Callback`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCallbacks {
    /// The address and the port it listens on: `127.0.0.1:8081`, `"[::1]:8081"`, `0.0.0.0:8443`. With port 0 any free one, which
    /// `hem status` tells. On other addresses than this machine's own ones it needs a `token` or `addresses`. Default
    /// `127.0.0.1:8081`.
    #[schemars(with = "Option<ListenAddress>")]
    pub listen: Option<Spanned<ListenAddress>>,
    /// TLS, by files in PEM form. Default: none.
    pub tls: Option<RawTls>,
    /// What one sender may take.
    pub limits: Option<RawHttpLimits>,
    /// Proxies, by address or network, whose header `X-Forwarded-For` says who sent a request. Default: none; then it is whoever the
    /// connection comes from.
    pub trusted_proxies: Option<Vec<Network>>,
    /// The path that callbacks are sent to, compared exactly. Default `/esc`.
    pub path: Option<UrlPath>,
    /// Callbacks must carry a token.
    pub token: Option<RawCallbackToken>,
    /// Callbacks must come from one of these addresses or networks: `192.0.2.7`, `10.0.0.0/8`, `"2001:db8::/32"`. Behind a proxy it
    /// is the proxy's.
    #[schemars(with = "Option<Vec<Network>>")]
    pub addresses: Option<Spanned<Vec<Network>>>,
    /// How long a callback is remembered, across restarts too, so that the same one sent again is no new event; the newest 100000 at
    /// most. Default `1d`.
    pub remember: Option<DurationText>,
}

/// Callbacks must carry a token: the last part of their path, `/esc/TOKEN`, since the address is all that an order can tell ESC.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCallbackToken {
    /// A header that carries it instead, where a proxy in between adds one; of `Authorization` it is what follows `Bearer`. Default:
    /// none, it is in the path.
    pub header: Option<HeaderName>,
    /// The tokens; any one of them will do, so that an old and a new one both work for a while.
    #[schemars(with = "Vec<RawSecret>")]
    pub secrets: Spanned<Vec<Spanned<RawSecret>>>,
}
