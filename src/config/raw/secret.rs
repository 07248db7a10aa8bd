//! Where a secret is, as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::scalar::VariableName;

/// Where a secret is: in a file or in a variable of the daemon's environment. Never in this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["file"] }, { "required": ["env"] }]))]
pub struct RawSecret {
    /// A file that holds it; one newline at its end is not part of it. Read again when it changes.
    pub file: Option<PathBuf>,
    /// A variable of the daemon's environment.
    pub env: Option<VariableName>,
}
