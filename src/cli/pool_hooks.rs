//! Hooks of `oned` for commands that look at hooks themselves: the daemon knows them.

use std::path::Path;
use std::sync::Arc;

use super::backend::Backend;
use super::exit::Failure;
use super::{Global, check, output};
use crate::config::Config;
use crate::control::api::{HookView, OriginView};
use crate::hooks::{Hook, Origin, parse_definition};

/// The hooks of `oned` that run: from `live`, or else asked of the daemon. None where `folder` was named, or where the
/// configuration asks for none; where no daemon answers that is said, and there are none.
pub(super) fn in_force(
    global: &Global,
    config: &Config,
    folder: Option<&Path>,
    live: Option<&[HookView]>,
    offline: bool,
) -> Result<Vec<Arc<Hook>>, Failure> {
    if folder.is_some() || offline || !config.oned.as_ref().is_some_and(|oned| oned.hooks) {
        return Ok(Vec::new());
    }
    let asked;
    let views = match live {
        Some(views) => views,
        None => {
            let answer = super::wait_for_value(async {
                match Backend::open(global, false).await? {
                    Backend::Daemon(client) => Ok(client.hooks().await?),
                    Backend::Store(_) => Ok(Vec::new()),
                }
            });
            match answer {
                Ok(views) => asked = views,
                Err(_) => {
                    output::say("note: no daemon answers, so the hooks of oned are left out");
                    return Ok(Vec::new());
                }
            }
            &asked
        }
    };
    Ok(views.iter().filter_map(|view| compiled(view, config)).collect())
}

fn compiled(view: &HookView, config: &Config) -> Option<Arc<Hook>> {
    if matches!(view.origin, OriginView::File) || view.shadowed_by.is_some() {
        return None;
    }
    let text = &view.definition.text;
    let origin = Origin::of_pool(text);
    let sha256: String = origin
        .file_sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if sha256 != view.definition.file_sha256 {
        output::say(&format!(
            "note: `{}` holds what the daemon does not show, and is left out",
            view.name
        ));
        return None;
    }
    match parse_definition(text, &origin, &check::options(config).defaults) {
        Ok(hook) => Some(Arc::new(hook)),
        Err(_) => {
            output::say(&format!(
                "note: `{}` is not understood by this hem, and is left out",
                view.name
            ));
            None
        }
    }
}
