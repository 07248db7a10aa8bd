//! What sources want to find again.

use bytes::Bytes;

use super::super::salvage::salvage;
use super::*;
use crate::engine::bookmark::Bookmark;

fn kept(source: &str, name: &str, value: Option<&'static [u8]>) -> Change {
    Change::Bookmark {
        source: source.into(),
        bookmark: match value {
            Some(value) => Bookmark::new(name, value).expect("a bookmark"),
            None => Bookmark::removal(name),
        },
    }
}

fn found(store: &Store, source: &str) -> Vec<(String, Bytes)> {
    store.bookmarks(source).expect("bookmarks").into_iter().collect()
}

#[tokio::test]
async fn bookmarks_come_back_by_source_and_name_and_survive_a_salvage() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(&folder.path().join("store"), keep_all());
    desk.write(vec![
        kept("a", "cursor", Some(b"1")),
        kept("a", "hosts", Some(b"\0\xff")),
        kept("ab", "cursor", Some(b"9")),
        kept("a", "gone", Some(b"x")),
    ])
    .await;
    desk.write(vec![kept("a", "cursor", Some(b"2")), kept("a", "gone", None)])
        .await;
    let expected = vec![
        ("cursor".to_owned(), Bytes::from_static(b"2")),
        ("hosts".to_owned(), Bytes::from_static(b"\0\xff")),
    ];
    assert_eq!(found(&desk.store, "a"), expected);
    assert_eq!(
        found(&desk.store, "ab"),
        [("cursor".to_owned(), Bytes::from_static(b"9"))]
    );
    assert_eq!(found(&desk.store, "b"), []);
    desk.close();

    salvage(&folder.path().join("store"), |_| {}).expect("a sound store");
    let store = Store::open(&folder.path().join("store")).expect("a store");
    assert_eq!(found(&store, "a"), expected);
}
