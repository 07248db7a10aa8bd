//! Names of hooks of `oned` as names of hem: one for each, the same every time.

use std::collections::BTreeSet;

use crate::event::id::HookName;
use crate::hooks::compile::LONGEST_NAME;

/// Names for hooks with these numbers and names, in the same order, each behind `prefix`.
///
/// A name that can stand as it is does so, whatever other hooks there are. Of the others, characters that cannot stand in a
/// name become `-` and what is too long is cut; where two come out alike, the one with the greater number gets that behind
/// it.
pub(super) fn unique_names(prefix: &str, hooks: &[(Option<u64>, &str)]) -> Vec<HookName> {
    let mut names: Vec<Option<String>> = vec![None; hooks.len()];
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut order: Vec<usize> = (0..hooks.len()).collect();
    order.sort_by_key(|&index| (hooks[index].0.is_none(), hooks[index].0, index));
    for &index in &order {
        let name = hooks[index].1;
        let full = format!("{prefix}{name}");
        let is_allowed = HookName::new(name).is_ok() && full.len() <= LONGEST_NAME && !name.starts_with('.');
        if is_allowed && taken.insert(full.clone()) {
            names[index] = Some(full);
        }
    }
    for &index in &order {
        if names[index].is_none() {
            let (id, name) = hooks[index];
            let full = distinct(prefix, &allowed(name), id, &taken);
            taken.insert(full.clone());
            names[index] = Some(full);
        }
    }
    names
        .into_iter()
        .flatten()
        .map(|name| HookName::trusted(&name))
        .collect()
}

fn allowed(name: &str) -> String {
    let replaced: String = name
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() => c,
            '.' | '_' | '-' => c,
            _ => '-',
        })
        .collect();
    // A file whose name begins with a dot is hidden, and an argument that begins with `-` is an option.
    let trimmed = replaced.trim_matches(['-', '.']);
    if trimmed.is_empty() {
        "hook".to_owned()
    } else {
        trimmed.to_owned()
    }
}

fn distinct(prefix: &str, name: &str, id: Option<u64>, taken: &BTreeSet<String>) -> String {
    let number = id.map(|id| format!("-{id}")).unwrap_or_default();
    let endings = [String::new(), number.clone()]
        .into_iter()
        .chain((2u32..).map(|n| format!("{number}-{n}")));
    for ending in endings {
        // Every character of it is one byte long.
        let room = LONGEST_NAME.saturating_sub(prefix.len() + ending.len());
        let full = format!("{prefix}{}{ending}", &name[..name.len().min(room)]);
        if !taken.contains(&full) {
            return full;
        }
    }
    format!("{prefix}{name}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(prefix: &str, hooks: &[(Option<u64>, &str)]) -> Vec<String> {
        unique_names(prefix, hooks)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn names_stay_as_they_are_where_they_can() {
        assert_eq!(
            names(
                "oned/",
                &[
                    (Some(3), "a b"),
                    (Some(7), "a-b"),
                    (Some(1), "a/b"),
                    (Some(9), "ok.1")
                ]
            ),
            ["oned/a-b-3", "oned/a-b", "oned/a-b-1", "oned/ok.1"]
        );
        assert_eq!(
            names("", &[(None, "x y"), (None, "x y"), (None, "x-y")]),
            ["x-y-2", "x-y-3", "x-y"]
        );
        assert_eq!(
            names("", &[(Some(4), "über"), (None, "äöü"), (None, ".hidden")]),
            ["ber", "hook", "hidden"]
        );
    }

    #[test]
    fn a_long_name_is_cut_with_its_number_kept() {
        let long = "n".repeat(200);
        let found = names("oned/", &[(Some(5), &long), (Some(6), &long)]);
        assert_eq!(found[0], format!("oned/{}", "n".repeat(59)));
        assert_eq!(found[1], format!("oned/{}-6", "n".repeat(57)));
    }

    proptest! {
        #[test]
        fn names_are_allowed_and_differ(
            hooks in proptest::collection::vec((proptest::option::of(0u64..4), "[a.b /-]{0,3}|\\PC{0,80}"), 0..8)
        ) {
            let given: Vec<(Option<u64>, &str)> = hooks.iter().map(|(id, name)| (*id, name.as_str())).collect();
            let found = names("oned/", &given);
            prop_assert_eq!(found.len(), given.len());
            let different: BTreeSet<&String> = found.iter().collect();
            prop_assert_eq!(different.len(), found.len());
            for name in &found {
                prop_assert!(name.len() <= LONGEST_NAME);
                prop_assert!(HookName::new(name.strip_prefix("oned/").expect("the prefix")).is_ok());
            }
        }
    }
}
