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
            (_, Some(read)) => format!("its hooks are those of {read}"),
            (_, None) => "its hooks are those of the daemon's last life".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::handle::UnusableHook;
    use crate::event::time::Timestamp;

    #[test]
    fn an_oned_that_is_away_and_hooks_that_cannot_be_used_are_concerns() {
        let fine = PoolStatus {
            source: "one".to_owned(),
            endpoint: "http://localhost:2633/RPC2".to_owned(),
            hooks: 2,
            shadowed: 0,
            unusable: Vec::new(),
            read: Some(Timestamp::from_millis(1000)),
            away: None,
            reads: 1,
            failures: 0,
        };
        assert_eq!(concerns(&fine), [""; 0]);
        let away = PoolStatus {
            away: Some((Timestamp::from_millis(2000), "refused".to_owned())),
            unusable: vec![UnusableHook {
                id: Some(9),
                name: Some("odd".to_owned()),
                why: "it has no COMMAND".to_owned(),
            }],
            ..fine
        };
        assert_eq!(
            concerns(&away),
            [
                "oned cannot be asked for its hooks since 1970-01-01T00:00:02.000Z, and its hooks are those of \
                 1970-01-01T00:00:01.000Z: refused",
                "hook 9 (`odd`) of oned cannot be used: it has no COMMAND",
            ]
        );
    }

    #[test]
    fn locks_have_the_words_of_oned() {
        let words: Vec<String> = (1..5).map(lock).collect();
        assert_eq!(words, ["use", "manage", "admin", "level 4"]);
    }
}
