//! A source of type `webhook`, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::RawSourceType;
use super::listen::{RawHttpLimits, RawTls};
use super::secret::RawSecret;
use crate::config::scalar::{
    DurationText, EndpointName, HeaderName, ListenAddress, MethodName, Network, SubjectExpression, UrlPath,
};

/// A source of type `webhook`: whoever sends requests over HTTP. Each request that one of its endpoints takes is an event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWebhook {
    /// `webhook`.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("const" = "webhook"))]
    pub kind: RawSourceType,
    /// The address and the port it listens on: `127.0.0.1:8080`, `"[::1]:8080"`, `0.0.0.0:8443`. With port 0 any free one, which
    /// `hem status` tells. On other addresses than this machine's own ones each endpoint needs a `signature`, a `token` or
    /// `addresses`. Default `127.0.0.1:8080`.
    #[schemars(with = "Option<ListenAddress>")]
    pub listen: Option<Spanned<ListenAddress>>,
    /// TLS, by files in PEM form. Default: none.
    pub tls: Option<RawTls>,
    /// What one sender may take.
    pub limits: Option<RawHttpLimits>,
    /// Proxies, by address or network, whose header `X-Forwarded-For` says who sent a request. Default: none; then it is whoever the
    /// connection comes from.
    pub trusted_proxies: Option<Vec<Network>>,
    /// The endpoints by name; hooks ask for them by it.
    #[schemars(with = "BTreeMap<EndpointName, RawEndpoint>")]
    pub endpoints: BTreeMap<EndpointName, Spanned<RawEndpoint>>,
}

/// One address that requests are sent to, and which of them are taken.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEndpoint {
    /// Its path, compared exactly: `/deploy`. Default: `/` and its name.
    pub path: Option<UrlPath>,
    /// The methods it takes: `GET`, `POST`, `PUT`, `PATCH`, `DELETE`. With neither `signature` nor `token`, and not on this machine's own
    /// address, `GET` needs `tls`. Default `[POST]`.
    pub methods: Option<Vec<MethodName>>,
    /// What bodies are read as. Default `by_type`.
    pub body: Option<RawBody>,
    /// Requests must be signed with a secret that both sides have.
    pub signature: Option<RawSignature>,
    /// Requests must carry a token.
    pub token: Option<RawToken>,
    /// Requests must come from one of these addresses or networks: `192.0.2.7`, `10.0.0.0/8`, `"2001:db8::/32"`. Behind a proxy it
    /// is the proxy's, unless `trusted_proxies` names that.
    #[schemars(with = "Option<Vec<Network>>")]
    pub addresses: Option<Spanned<Vec<Network>>>,
    /// What the answer waits for. Default `accepted`.
    pub respond: Option<RawRespond>,
    /// With `respond: result`: how long the answer waits for it. Default `30s`.
    #[schemars(with = "Option<DurationText>")]
    pub respond_within: Option<Spanned<DurationText>>,
    /// A header by which the sender tells deliveries apart: what comes again under the same value is no new event.
    pub delivery: Option<RawDelivery>,
    /// What the event is about, a CEL expression over `event` and `meta`: `event.repository.name`. Hooks run in order for each
    /// subject. Default: about nothing in particular.
    pub subject: Option<SubjectExpression>,
    /// Headers that are kept: as `meta.headers["x-github-event"]` in conditions, and as `HEM_HEADER_X_GITHUB_EVENT` in the
    /// environment of scripts. Default: none.
    #[schemars(with = "Option<Vec<HeaderName>>")]
    pub headers: Option<Vec<Spanned<HeaderName>>>,
}

/// What bodies are read as.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawBody {
    /// What the header `Content-Type` says: JSON, XML or a form.
    ByType,
    /// JSON, whatever the header says.
    Json,
    /// A form (`a=1&b=2`), whatever the header says.
    Form,
    /// XML, whatever the header says.
    Xml,
}

/// What the answer waits for.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawRespond {
    /// That the event is on disk: 202.
    Accepted,
    /// That what it caused has ended: 200, and how it ended; 202 when that takes longer than `respond_within`.
    Result,
}

/// Requests must be signed: an HMAC of the body with a secret that both sides have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSignature {
    /// The hash. Default `sha256`.
    pub algorithm: Option<RawAlgorithm>,
    /// The header that carries it. Default `X-Hub-Signature-256`, with sha1 `X-Hub-Signature`, with sha512 `X-Hub-Signature-512`.
    pub header: Option<HeaderName>,
    /// What stands before it in the header. Default `sha256=`, `sha1=` or `sha512=`.
    pub prefix: Option<String>,
    /// How it is written. Default `hex`.
    pub encoding: Option<RawEncoding>,
    /// The secrets; any one of them will do, so that an old and a new one both work for a while.
    #[schemars(with = "Vec<RawSecret>")]
    pub secrets: Spanned<Vec<Spanned<RawSecret>>>,
}

/// The hash of a signature.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawAlgorithm {
    /// SHA-1, for senders that know nothing better.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawEncoding {
    /// Hexadecimal digits, small or capital.
    Hex,
    /// Base64.
    Base64,
}

/// Requests must carry a token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawToken {
    /// The header that carries it and nothing else, such as `X-Gitlab-Token`. Default: `Authorization`, as `Bearer TOKEN`.
    pub header: Option<HeaderName>,
    /// The tokens; any one of them will do, so that an old and a new one both work for a while.
    #[schemars(with = "Vec<RawSecret>")]
    pub secrets: Spanned<Vec<Spanned<RawSecret>>>,
}

/// A header by which the sender tells deliveries apart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDelivery {
    /// The header: `X-GitHub-Delivery`. A request without it is always a new event.
    pub header: HeaderName,
    /// How long a value is remembered, across restarts too; the newest 100000 at most. Default `1d`.
    pub remember: Option<DurationText>,
}
