//! The arguments of executions as one line, for whoever compares them with the controller's records.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::api::{ArgumentsView, Time};
use super::veil::Veil;
use crate::config::control::Role;
use crate::engine::execution::Execution;
use crate::hooks::invocation::argument_line;
use crate::hooks::{Defaults, Hook, Origin, Version, parse_definition};
use crate::store::{ReadError, Store};

/// Lays out argument lines. Each version of a hook is compiled once.
pub(super) struct ArgumentLines<'a> {
    store: &'a Store,
    veil: &'a Veil,
    role: Role,
    hooks: HashMap<Version, Option<Arc<Hook>>>,
}

impl<'a> ArgumentLines<'a> {
    /// `role` is that of whoever reads them.
    pub(super) fn new(store: &'a Store, veil: &'a Veil, role: Role) -> Self {
        Self {
            store,
            veil,
            role,
            hooks: HashMap::new(),
        }
    }

    /// The arguments of an execution, of a hook that stands for one of the controller's. None for other hooks, and where the
    /// event or the definition is not kept any more.
    pub(super) fn of(&mut self, execution: &Execution) -> Result<Option<ArgumentsView>, ReadError> {
        let Some(hook) = self.hook(execution.progress.version)? else {
            return Ok(None);
        };
        let Some(oned_id) = hook.oned_id else {
            return Ok(None);
        };
        let Some(listed) = self.store.event(execution.key.event)? else {
            return Ok(None);
        };
        // What cannot be made from the event did not start.
        let line = argument_line(&hook, &listed.event).unwrap_or_default();
        let veil = self.veil.over(listed.event.payload.bytes());
        let shown = veil.argument(&line);
        // By it whoever sees the rest of the line could try out what a short secret may be.
        let is_told = shown == line || self.role >= Role::Operator;
        Ok(Some(ArgumentsView {
            oned_id,
            received: Time(listed.event.received),
            sha256: is_told.then(|| ArgumentsView::digest(&line)),
            line: ArgumentsView::shortened(&shown),
        }))
    }

    fn hook(&mut self, version: Version) -> Result<Option<Arc<Hook>>, ReadError> {
        if let Some(hook) = self.hooks.get(&version) {
            return Ok(hook.clone());
        }
        let compiled = self.store.definition(&version)?.and_then(|definition| {
            let origin = Origin {
                file: definition.file.into(),
                line: definition.line,
                file_sha256: definition.file_sha256,
            };
            parse_definition(&definition.text, &origin, &nowhere())
                .ok()
                .map(Arc::new)
        });
        self.hooks.insert(version, compiled.clone());
        Ok(compiled)
    }
}

/// Where commands are looked for, and what else a hook does not say itself, does not matter to its arguments.
fn nowhere() -> Defaults {
    Defaults {
        scripts_dir: PathBuf::from("/"),
        onehem_scripts_dir: PathBuf::from("/"),
        remote_scripts_dir: PathBuf::from("/"),
        catch_up: false,
    }
}
