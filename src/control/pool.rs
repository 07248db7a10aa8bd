//! What the interface says of the hooks that `oned` keeps.

use super::api::{OriginView, PoolView, Time, UnusableView};
use crate::engine::handle::{PoolInForce, PoolStatus};
use crate::hooks::Hook;

/// Where a hook was declared.
pub(super) fn origin(hook: &Hook, pool: &PoolInForce) -> OriginView {
    let Some(id) = hook.oned_id.filter(|_| hook.origin.is_pool()) else {
        return OriginView::File;
    };
    let remarks = pool.hooks.get(&hook.name);
    OriginView::Oned {
        id,
        locked: remarks.and_then(|remarks| remarks.lock).map(lock),
        confirmed: pool.is_confirmed,
        notes: remarks.map(|remarks| remarks.notes.clone()).unwrap_or_default(),
    }
}

/// The levels of `oned` (`include/PoolObjectSQL.h`).
fn lock(level: u32) -> String {
    match level {
        1 => "use".to_owned(),
        2 => "manage".to_owned(),
        3 => "admin".to_owned(),
        other => format!("level {other}"),
    }
}

/// The place of a hook of the folder, as it is shown.
pub(super) fn place(hook: &Hook) -> String {
    format!("{}:{}", hook.origin.file.display(), hook.origin.line)
}

pub(super) fn status(pool: &PoolStatus) -> PoolView {
    PoolView {
        source: pool.source.clone(),
        endpoint: pool.endpoint.clone(),
        hooks: pool.hooks,
        shadowed: pool.shadowed,
        unusable: pool
            .unusable
            .iter()
            .map(|hook| UnusableView {
                id: hook.id,
                name: hook.name.clone(),
                why: hook.why.clone(),
            })
            .collect(),
        read: pool.read.map(Time),
        away_since: pool.away.as_ref().map(|(since, _)| Time(*since)),
        away: pool.away.as_ref().map(|(_, why)| why.clone()),
        reads: pool.reads,
        failures: pool.failures,
    }
}

/// What is not as it should be.
pub(super) fn concerns(pool: &PoolStatus) -> Vec<String> {
    let mut concerns = Vec::new();
    if let Some((since, why)) = &pool.away {
        let in_force = match (pool.hooks + pool.shadowed, pool.read) {
            (0, None) => "none of its hooks are known".to_owned(),
            (hooks, Some(read)) => format!("its {hooks} hooks are those of {read}"),
            (hooks, None) => format!("its {hooks} hooks are those of the daemon's last life"),
        };
        concerns.push(format!(
            "oned cannot be asked for its hooks since {since}, and {in_force}: {why}"
        ));
    }
    for hook in &pool.unusable {
        concerns.push(format!("{} of oned cannot be used: {}", hook.called(), hook.why));
    }
    concerns
}
