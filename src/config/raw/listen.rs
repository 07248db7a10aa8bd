//! What a part of hem that listens for HTTP is told, as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::scalar::{DurationText, SizeText};

/// TLS, by files in PEM form. They are read again when they change; a pair that cannot be used leaves the former one in force.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What one sender may take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHttpLimits {
    /// A body has at most so many bytes, `64MiB` at most. Default `1MiB`.
    #[schemars(with = "Option<SizeText>")]
    pub body: Option<serde_saphyr::Spanned<SizeText>>,
    /// How long a sender may take for TLS and for the head of a request, and how long an idle connection is kept;
    /// `1h` at most. Default `10s`.
    pub head_time: Option<DurationText>,
    /// How long a sender may take for the body of a request; `1h` at most. Default `30s`.
    pub body_time: Option<DurationText>,
    /// Connections at once. A further one takes the place of the one that has kept hem waiting longest. Default 1000, and never more
    /// than half of the files that the process may open, or all but 4096 where it may open many (`LimitNOFILE=` of its unit):
    /// all addresses that hem listens on share those evenly.
    pub connections: Option<usize>,
}
