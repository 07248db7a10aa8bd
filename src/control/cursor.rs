//! Where a list goes on: the last thing that was on the page before, by its id across stores.
//!
//! Lists run from the newest to the oldest, so what arrives meanwhile neither moves nor repeats anything on later pages.

use super::query::QueryError;
use crate::event::id::{ExecutionKey, Reference, Seq, StoreId};

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; none where this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// `found` may hold one more than `limit`, which shows that there is another page.
    pub(super) fn of<F>(
        mut found: Vec<F>,
        limit: usize,
        id: impl FnOnce(&F) -> String,
        view: impl FnOnce(&[F]) -> Result<Vec<T>, QueryError>,
    ) -> Result<Self, QueryError> {
        let goes_on = found.len() > limit;
        found.truncate(limit);
        Ok(Self {
            next: found.last().filter(|_| goes_on).map(id),
            items: view(&found)?,
        })
    }
}

fn unreadable(text: &str) -> QueryError {
    QueryError::Question {
        message: format!(
            "`{}` is no cursor of this list",
            text.chars().take(80).collect::<String>()
        ),
        hint: Some("the header `Next-Cursor` of an answer says where the next page begins".to_owned()),
    }
}

fn check_store(named: Option<StoreId>, store: &StoreId, text: &str) -> Result<(), QueryError> {
    match named {
        Some(named) if named == *store => Ok(()),
        Some(named) => Err(QueryError::Question {
            message: format!("the cursor `{text}` is of the store `{named}`, and this is `{store}`"),
            hint: Some("the store was replaced; begin the list anew".to_owned()),
        }),
        None => Err(unreadable(text)),
    }
}

/// The number that a list of events, or of lines of the audit log, goes on below.
pub(super) fn number(text: &str, store: &StoreId) -> Result<Seq, QueryError> {
    match text.parse() {
        Ok(Reference::Event(named, seq)) => check_store(named, store, text).map(|()| seq),
        _ => Err(unreadable(text)),
    }
}

/// The execution that a list of them goes on behind.
pub(super) fn execution(text: &str, store: &StoreId) -> Result<ExecutionKey, QueryError> {
    match text.parse() {
        Ok(Reference::Execution(named, key)) => check_store(named, store, text).map(|()| key),
        _ => Err(unreadable(text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::id::HookName;

    fn store() -> StoreId {
        "k3vd".parse().expect("a store id")
    }

    #[test]
    fn a_page_names_the_next_one_where_there_is_one() {
        let page = |found: Vec<u32>| {
            Page::of(
                found,
                2,
                |last| format!("after {last}"),
                |found| Ok(found.to_vec()),
            )
            .expect("a page")
        };
        assert_eq!(page(vec![9, 8, 7]).next.as_deref(), Some("after 8"));
        assert_eq!(page(vec![9, 8, 7]).items, [9, 8]);
        assert_eq!(page(vec![9, 8]).next, None);
        assert_eq!(page(Vec::new()).next, None);
    }

    #[test]
    fn a_cursor_of_another_list_or_store_is_refused() {
        for text in ["", "last", "12", "k3vd-12.h", "x3vd-12", "k3vd-x", "12.h"] {
            assert!(number(text, &store()).is_err(), "{text}");
        }
        for text in ["", "last", "12", "12.h", "k3vd-12", "x3vd-12.h"] {
            assert!(execution(text, &store()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cursors_are_read_back(seq: u64, hook in "(oned/)?[A-Za-z0-9._-]{1,20}") {
            let text = format!("{}-{seq}", store());
            prop_assert_eq!(number(&text, &store()).ok(), Some(Seq(seq)));
            let key = ExecutionKey::new(Seq(seq), HookName::trusted(&hook));
            prop_assert_eq!(execution(&key.with_store(&store()), &store()).ok(), Some(key));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = number(&text, &store());
            let _ = execution(&text, &store());
        }
    }
}
