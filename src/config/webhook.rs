//! A source of type `webhook`, checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_saphyr::Spanned;

use super::NamedFile;
use super::listen::{self, Listen};
use super::load::SourceFault;
use super::raw::webhook::{
    RawAlgorithm, RawBody, RawEncoding, RawEndpoint, RawRespond, RawSignature, RawToken, RawWebhook,
};
pub use super::scalar::Network;
use super::secret::{self, SecretPlace};
use crate::event::webhook::Form;
use crate::expression::Expression;

/// No answer waits longer: between sender and hem are proxies that give up.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Headers that carry credentials; they are never kept.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Endpoints that take requests over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSource {
    /// Where it listens.
    pub listen: Listen,
    /// The endpoints by name.
    pub endpoints: BTreeMap<String, Endpoint>,
}

impl WebhookSource {
    /// The files that its settings name, by the path below the source's own.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = self.listen.named_files();
        for (name, endpoint) in &self.endpoints {
            let secrets = [
                (
                    "signature",
                    endpoint.signature.as_ref().map(|rules| &rules.secrets),
                ),
                ("token", endpoint.token.as_ref().map(|rules| &rules.secrets)),
            ];
            for (by, places) in secrets {
                let setting = ["endpoints", name, by, "secrets"];
                files.extend(secret::named_files(places.into_iter().flatten(), &setting));
            }
        }
        files
    }
}

/// One address that requests are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its path: `/deploy`.
    pub path: String,
    /// The methods it takes, in capitals.
    pub methods: Vec<String>,
    /// What bodies are read as; by their type where unset.
    pub body: Option<Form>,
    /// How requests must be signed.
    pub signature: Option<Signature>,
    /// Which token they must carry.
    pub token: Option<Token>,
    /// Where they must come from; anywhere where empty.
    pub addresses: Vec<Network>,
    /// What the answer waits for.
    pub respond: Respond,
    /// How deliveries are told apart.
    pub delivery: Option<Delivery>,
    /// What the event is about.
    pub subject: Option<Expression>,
    /// Headers that are kept, in small letters.
    pub headers: Vec<String>,
}

impl Endpoint {
    /// Whether a sender must show that it knows a secret.
    pub const fn knows_senders(&self) -> bool {
        self.signature.is_some() || self.token.is_some()
    }

    fn takes(&self, method: &str) -> bool {
        self.methods.iter().any(|taken| taken == method)
    }
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Respond {
    /// That the event is durable.
    Accepted,
    /// That what it caused has ended.
    Result {
        /// For this long at most.
        within: Duration,
    },
}

/// How requests are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The hash.
    pub algorithm: Algorithm,
    /// The header, in small letters.
    pub header: String,
    /// What stands before the signature in it.
    pub prefix: String,
    /// How it is written.
    pub encoding: Encoding,
    /// The secrets of which one must fit.
    pub secrets: Vec<SecretPlace>,
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits.
    Hex,
    /// Base64.
    Base64,
}

/// Which token requests carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The header that holds the token alone, in small letters; `Authorization: Bearer …` where unset.
    pub header: Option<String>,
    /// The tokens of which one must fit.
    pub secrets: Vec<SecretPlace>,
}

/// How deliveries are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The header that tells them apart, in small letters.
    pub header: String,
    /// How long a value is remembered.
    pub remember: Duration,
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: RawWebhook, folder: &Path) -> Result<WebhookSource, SourceFault> {
    let address = raw.listen.as_ref().map(|address| &address.value);
    let listen = Listen {
        trusted_proxies: raw.trusted_proxies.unwrap_or_default(),
        ..listen::check(address, raw.tls, raw.limits, folder)?
    };
    let mut endpoints: BTreeMap<String, Endpoint> = BTreeMap::new();
    for (name, raw) in raw.endpoints {
        let place = (raw.referenced, raw.defined);
        let endpoint = check_endpoint(&name.0, raw.value, folder)?;
        let fault = |message| SourceFault::at(&Spanned::new((), place.0, place.1), message);
        if let Some((other, _)) = endpoints.iter().find(|(_, other)| other.path == endpoint.path) {
            return Err(fault(format!(
                "the endpoints `{other}` and `{}` have the same path `{}`",
                name.0, endpoint.path
            )));
        }
        if !listen.is_loopback() && !endpoint.knows_senders() && endpoint.addresses.is_empty() {
            return Err(fault(format!(
                "on {} the endpoint `{}` would take requests from anybody; give it a `signature`, a `token` or `addresses`, or listen \
                 on 127.0.0.1",
                listen.address, name.0
            )));
        }
        if !listen.is_loopback() && listen.tls.is_none() && !endpoint.knows_senders() && endpoint.takes("GET")
        {
            return Err(fault(format!(
                "on {} the endpoint `{}` could be triggered by any page that somebody in `addresses` looks at: without TLS no browser \
                 says for which page it sends a `GET`; give the endpoint a `signature` or a `token`, leave `GET` out, or set `tls`",
                listen.address, name.0
            )));
        }
        endpoints.insert(name.0, endpoint);
    }
    Ok(WebhookSource { listen, endpoints })
}

fn check_endpoint(name: &str, raw: RawEndpoint, folder: &Path) -> Result<Endpoint, SourceFault> {
    let signature = raw
        .signature
        .map(|signature| check_signature(signature, folder))
        .transpose()?;
    let token = raw.token.map(|token| check_token(token, folder)).transpose()?;
    if let Some(empty) = raw.addresses.as_ref().filter(|list| list.value.is_empty()) {
        return Err(SourceFault::at(
            empty,
            "the list is empty, so nobody could send anything; leave it out".to_owned(),
        ));
    }
    let secret_headers = [
        signature.as_ref().map(|signature| signature.header.as_str()),
        token.as_ref().and_then(|token| token.header.as_deref()),
    ];
    let mut headers = Vec::new();
    for header in raw.headers.unwrap_or_default() {
        let name = header.value.0.as_str();
        if CREDENTIALS.contains(&name) || secret_headers.contains(&Some(name)) {
            return Err(SourceFault::at(
                &header,
                format!("the header `{name}` carries credentials, which are not kept"),
            ));
        }
        headers.push(header.value.0);
    }
    let respond = match (raw.respond.unwrap_or(RawRespond::Accepted), raw.respond_within) {
        (RawRespond::Accepted, None) => Respond::Accepted,
        (RawRespond::Accepted, Some(within)) => {
            return Err(SourceFault::at(
                &within,
                "`respond_within` is for `respond: result`".to_owned(),
            ));
        }
        (RawRespond::Result, None) => Respond::Result {
            within: Duration::from_secs(30),
        },
        (RawRespond::Result, Some(within)) if within.value.0 <= LONGEST_WAIT => Respond::Result {
            within: within.value.0,
        },
        (RawRespond::Result, Some(within)) => {
            return Err(SourceFault::at(
                &within,
                "no answer waits longer than `10m`".to_owned(),
            ));
        }
    };
    let methods: Vec<String> = match raw.methods {
        Some(methods) if !methods.is_empty() => methods.into_iter().map(|method| method.0).collect(),
        _ => vec!["POST".to_owned()],
    };
    Ok(Endpoint {
        path: raw.path.map_or_else(|| format!("/{name}"), |path| path.0),
        methods,
        body: match raw.body {
            None | Some(RawBody::ByType) => None,
            Some(RawBody::Json) => Some(Form::Json),
            Some(RawBody::Form) => Some(Form::Form),
            Some(RawBody::Xml) => Some(Form::Xml),
        },
        signature,
        token,
        addresses: raw.addresses.map(|list| list.value).unwrap_or_default(),
        respond,
        delivery: raw.delivery.map(|delivery| Delivery {
            header: delivery.header.0,
            remember: delivery
                .remember
                .map_or(Duration::from_secs(24 * 3600), |time| time.0),
        }),
        subject: raw.subject.map(|subject| subject.0),
        headers,
    })
}

fn check_signature(raw: RawSignature, folder: &Path) -> Result<Signature, SourceFault> {
    let (algorithm, header, prefix) = match raw.algorithm.unwrap_or(RawAlgorithm::Sha256) {
        RawAlgorithm::Sha1 => (Algorithm::Sha1, "x-hub-signature", "sha1="),
        RawAlgorithm::Sha256 => (Algorithm::Sha256, "x-hub-signature-256", "sha256="),
        RawAlgorithm::Sha512 => (Algorithm::Sha512, "x-hub-signature-512", "sha512="),
    };
    Ok(Signature {
        algorithm,
        header: raw.header.map_or_else(|| header.to_owned(), |header| header.0),
        prefix: raw.prefix.unwrap_or_else(|| prefix.to_owned()),
        encoding: match raw.encoding {
            None | Some(RawEncoding::Hex) => Encoding::Hex,
            Some(RawEncoding::Base64) => Encoding::Base64,
        },
        secrets: secret::check_all(raw.secrets, folder)?,
    })
}

fn check_token(raw: RawToken, folder: &Path) -> Result<Token, SourceFault> {
    Ok(Token {
        header: raw
            .header
            .map(|header| header.0)
            .filter(|header| header != "authorization"),
        secrets: secret::check_all(raw.secrets, folder)?,
    })
}
