//! Hooks in the versions that records name, compiled anew from the stored definitions.

use std::sync::Arc;

use crate::engine::execution::Execution;
use crate::event::id::HookName;
use crate::hooks::compile::parse_definition;
use crate::hooks::{Defaults, Hook, Origin, Version};
use crate::store::{ReadError, Store};

/// Why the version of a hook that an execution is pinned to cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// The store cannot be read.
    #[error("cannot read the definition of hook `{hook}`")]
    Read {
        /// The hook.
        hook: String,
        /// Why.
        source: ReadError,
    },
    /// The definition is not in the store.
    #[error("the definition of hook `{hook}` that matched is not in the store")]
    Missing {
        /// The hook.
        hook: String,
    },
    /// The definition does not compile with this version of hem.
    #[error("the definition of hook `{hook}` that matched is not understood by this hem: {fault}")]
    NotUnderstood {
        /// The hook.
        hook: String,
        /// The first fault.
        fault: String,
    },
}

/// The hook in the version that the execution is pinned to.
pub(super) fn pinned_hook(
    store: &Store,
    execution: &Execution,
    defaults: &Defaults,
) -> Result<Arc<Hook>, PinnedError> {
    hook_of_version(store, &execution.key.hook, execution.progress.version, defaults)
}

/// The hook `name` in that version.
pub(super) fn hook_of_version(
    store: &Store,
    name: &HookName,
    version: Version,
    defaults: &Defaults,
) -> Result<Arc<Hook>, PinnedError> {
    let hook = || name.to_string();
    let definition = store
        .definition(&version)
        .map_err(|source| PinnedError::Read { hook: hook(), source })?
        .ok_or_else(|| PinnedError::Missing { hook: hook() })?;
    let origin = Origin {
        file: definition.file.into(),
        line: definition.line,
        file_sha256: definition.file_sha256,
    };
    match parse_definition(&definition.text, &origin, defaults) {
        Ok(mut hook) => {
            // The defaults that were applied then may differ from today's; the record's name for it stays.
            hook.version = version;
            Ok(Arc::new(hook))
        }
        Err(faults) => Err(PinnedError::NotUnderstood {
            hook: hook(),
            fault: faults
                .first()
                .map(|fault| fault.message.clone())
                .unwrap_or_default(),
        }),
    }
}
