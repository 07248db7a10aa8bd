//! `hem schema`.

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::{Outcome, output};
use crate::config::raw::RawConfig;

/// Print the JSON Schema of hook files or of hem.yaml, or the OpenAPI document of the control API
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem schema > hook.schema.json
  hem schema config > hem.schema.json
  hem schema openapi > hem.openapi.json

An editor with a YAML language server checks hook files that begin with
  # yaml-language-server: $schema=hook.schema.json")]
pub(super) struct Arguments {
    /// Of what
    #[arg(value_enum, default_value_t = What::Hook)]
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// One YAML document in the hooks folder
    Hook,
    /// The configuration, hem.yaml
    Config,
    /// The control API, as an OpenAPI document
    Openapi,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match arguments.what {
        What::Hook => output::print_json(&crate::hooks::json_schema())?,
        What::Openapi => output::print_json(&crate::control::openapi::document())?,
        What::Config => output::print_json(&schemars::schema_for!(RawConfig))?,
    }
    Ok(Exit::Ok)
}
