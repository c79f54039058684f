//! What every store must do, whatever it is made of.

#![allow(unreachable_pub)] // a module of several test binaries

use std::collections::HashSet;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ringvault_core::ErrorClass;
use ringvault_vault::{
    Store, StoreErrorKind,
    store::{MIN_PART, PutIfAbsent},
};

use crate::support::content;

async fn keys(store: &Store, folder: &str) -> Vec<String> {
    store.list(folder).map_ok(|object| object.key).try_collect().await.unwrap()
}

async fn kind<T: std::fmt::Debug>(
    request: impl Future<Output = Result<T, ringvault_vault::StoreError>>,
) -> StoreErrorKind {
    request.await.unwrap_err().kind
}

/// In what stores differ.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// An upload that was aborted cannot be completed.
    pub drops_parts: bool,
    /// It is asked which uploads were never ended.
    pub finds_uploads: bool,
}

#[allow(dead_code)] // not all test binaries have a store that does everything
/// Every check, in a store that is empty and is empty again afterwards.
pub async fn check(store: &Store) {
    check_with(store, Traits { drops_parts: true, finds_uploads: true }).await;
}

/// The same of a store that differs in these.
pub async fn check_with(store: &Store, traits: Traits) {
    objects_are_written_and_read(store).await;
    names_are_kept_as_they_are(store).await;
    one_of_many_creates(store).await;
    lists_are_exact_and_in_order(store).await;
    deletes_are_idempotent_and_in_batches(store).await;
    large_objects_come_in_parts(store, traits).await;
    if traits.finds_uploads {
        uploads_that_were_never_ended_are_found(store).await;
    }
    no_key_leaves_the_vault(store).await;
    assert_eq!(keys(store, "").await, [""; 0]);
}

async fn objects_are_written_and_read(store: &Store) {
    let body = Bytes::from(content("an object", 3 << 20));
    store.put("a/object", body.clone()).await.unwrap();
    assert_eq!(store.get("a/object", u64::MAX).await.unwrap(), body);
    assert_eq!(kind(store.get("a/object", (3 << 20) - 1)).await, StoreErrorKind::Integrity);
    let head = store.head("a/object").await.unwrap();
    assert_eq!((head.key.as_str(), head.size), ("a/object", 3 << 20));

    let range = |from: u64, len: u64| store.get_range("a/object", from, len);
    assert_eq!(range(0, 1).await.unwrap(), body[..1]);
    assert_eq!(range(1_000_000, 2_000_000).await.unwrap(), body[1_000_000..3_000_000]);
    assert_eq!(range((3 << 20) - 5, 5).await.unwrap(), body[(3 << 20) - 5..]);
    assert!(range(7, 0).await.unwrap().is_empty());
    assert_eq!(kind(range((3 << 20) - 5, 6)).await, StoreErrorKind::Integrity);
    assert_eq!(kind(range(3 << 20, 1)).await, StoreErrorKind::Integrity);
    let pieces = store.get_stream("a/object", Some(10..20)).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), body[10..20]);
    let end = body.len() as u64;
    let pieces = store.get_stream("a/object", Some(end - 5..end + 100)).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), body[body.len() - 5..], "it ends where the object does");

    store.put("a/object", Bytes::from_static(b"shorter")).await.unwrap();
    assert_eq!(store.get("a/object", 7).await.unwrap(), "shorter");
    store.put("a/empty", Bytes::new()).await.unwrap();
    assert_eq!(store.get("a/empty", 0).await.unwrap(), "");
    assert_eq!(store.head("a/empty").await.unwrap().size, 0);
    assert_eq!(kind(store.get_range("a/empty", 0, 1)).await, StoreErrorKind::Integrity);
    store.copy("a/object", "b/copy").await.unwrap();
    assert_eq!(store.get("b/copy", 7).await.unwrap(), "shorter");

    for absent in ["a/nothing", "nowhere/nothing", "a/obj"] {
        assert_eq!(kind(store.get(absent, 9)).await, StoreErrorKind::NotFound, "{absent}");
        assert_eq!(kind(store.head(absent)).await, StoreErrorKind::NotFound, "{absent}");
    }
    assert_eq!(kind(store.copy("a/nothing", "b/x")).await, StoreErrorKind::NotFound);
    let gone = ["a/object", "a/empty", "b/copy"].map(str::to_owned);
    assert!(store.delete_many(&gone).await.unwrap().is_empty());
}

/// Whatever means something in an address, in XML or to a shell is a name like any other.
async fn names_are_kept_as_they_are(store: &Store) {
    let mut names = [
        "per%cent",
        "per%2Fcent",
        "pl+us",
        "ha#sh",
        "que?ry=1",
        "am&amp;p",
        "e=q",
        "quo\"te's",
        "se;mi:co,lon",
        "br[a]{c}(e)",
        "an<g>le",
        "ti~l!d@e$*^|`",
        "-_.dots...",
        "UPPER",
        "upper",
    ]
    .map(|name| format!("odd/{name}"));
    names.sort_unstable();
    for name in &names {
        let body = Bytes::from(name.clone());
        store.put(name, body.clone()).await.unwrap();
        assert_eq!(store.get(name, 1 << 10).await.unwrap(), body, "{name}");
        assert_eq!(store.head(name).await.unwrap().size, body.len() as u64, "{name}");
        store.copy(name, "odd2/copy").await.unwrap();
        assert_eq!(store.get("odd2/copy", 1 << 10).await.unwrap(), body, "{name}");
    }
    assert_eq!(keys(store, "odd/").await, names);
    assert!(store.delete_many(&names).await.unwrap().is_empty());
    store.delete("odd2/copy").await.unwrap();
    assert_eq!(keys(store, "odd/").await, [""; 0]);
}

async fn one_of_many_creates(store: &Store) {
    for round in 0..4 {
        let key = format!("race/{round}");
        let writers = (0..16).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                let body = Bytes::from(format!("writer {writer}"));
                match store.put_if_absent(&key, body.clone()).await.unwrap() {
                    PutIfAbsent::Created(_) => Some(body),
                    PutIfAbsent::Exists => None,
                }
            })
        });
        let won = futures::future::join_all(writers).await;
        let won: Vec<_> = won.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(won.len(), 1, "exactly one writer creates an object");
        assert_eq!(store.get(&key, 100).await.unwrap(), won[0]);
        assert_eq!(store.put_if_absent(&key, Bytes::new()).await.unwrap(), PutIfAbsent::Exists);
        store.delete(&key).await.unwrap();
        let again = store.put_if_absent(&key, Bytes::new()).await.unwrap();
        assert!(matches!(again, PutIfAbsent::Created(_)));
        store.delete(&key).await.unwrap();
    }
}

async fn lists_are_exact_and_in_order(store: &Store) {
    let all = ["l/b/2", "l/a", "l/b-1", "l/b/1/x", "l/b.json", "l/b0/y", "l2/z"];
    for key in all {
        store.put(key, Bytes::from(key)).await.unwrap();
    }
    let mut expected: Vec<_> = all.iter().filter(|key| key.starts_with("l/")).collect();
    expected.sort_unstable();
    assert_eq!(keys(store, "l/").await.iter().collect::<Vec<_>>(), expected);
    assert_eq!(keys(store, "l/b/").await, ["l/b/1/x", "l/b/2"]);
    assert_eq!(keys(store, "l/nothing/").await, [""; 0]);
    assert_eq!(store.list_folders("l/").await.unwrap(), ["l/b/", "l/b0/"]);
    assert_eq!(store.list_folders("").await.unwrap(), ["l/", "l2/"]);
    assert_eq!(store.list_folders("l/nothing/").await.unwrap(), [""; 0]);
    let sizes: Vec<u64> = store.list("l2/").map_ok(|object| object.size).try_collect().await.unwrap();
    assert_eq!(sizes, [4]);
    let no_folder: Result<Vec<_>, _> = store.list("l").try_collect().await;
    assert!(no_folder.is_err(), "a prefix of a name means nothing");
    store.delete_many(&all.map(str::to_owned)).await.unwrap();
}

async fn deletes_are_idempotent_and_in_batches(store: &Store) {
    let mut many: Vec<_> = (0..2_400).map(|n| format!("many/{n:05}")).collect();
    // About where a page of a thousand ends: names that begin like the one before.
    many.extend((990..1_010).flat_map(|n| ["-", ".", "0"].map(|more| format!("many/{n:05}{more}"))));
    many.sort_unstable();
    futures::stream::iter(&many)
        .for_each_concurrent(16, |key| async { store.put(key, Bytes::new()).await.map(drop).unwrap() })
        .await;
    assert_eq!(keys(store, "many/").await, many);
    assert!(store.delete_many(&many[5..]).await.unwrap().is_empty());
    assert_eq!(keys(store, "many/").await, many[..5]);
    // Among those that are gone already, and some that never were.
    many.extend((0..40).map(|n| format!("many/never/{n}")));
    assert_eq!(many.len(), 2_500);
    assert!(store.delete_many(&many).await.unwrap().is_empty());
    assert_eq!(keys(store, "many/").await, [""; 0]);
    assert!(store.delete_many(&many).await.unwrap().is_empty(), "what is gone counts as deleted");
    assert!(store.delete_many(&[]).await.unwrap().is_empty());
}

async fn large_objects_come_in_parts(store: &Store, traits: Traits) {
    let size = usize::try_from(MIN_PART).unwrap();
    let body = Bytes::from(content("parts", 2 * size + 12_345));
    let upload = store.begin_multipart("m/large", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(2, Bytes::from(content("a try that came to nothing", size))).await.unwrap();
    upload.part(3, body.slice(2 * size..)).await.unwrap();
    let (first, second) =
        tokio::join!(upload.part(1, body.slice(..size)), upload.part(2, body.slice(size..2 * size)));
    first.and(second).unwrap();
    assert_eq!(kind(store.head("m/large")).await, StoreErrorKind::NotFound, "it is there only when complete");
    upload.finish(body.len() as u64).await.unwrap();
    assert!(store.get("m/large", u64::MAX).await.unwrap() == body);
    let across = store.get_range("m/large", MIN_PART - 3, 6).await.unwrap();
    assert_eq!(across, body[size - 3..size + 3]);
    store.copy("m/large", "m/copy").await.unwrap();
    assert_eq!(store.head("m/copy").await.unwrap().size, body.len() as u64);

    let upload = store.begin_multipart("m/aborted", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(1, body.slice(..size)).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(kind(store.head("m/aborted")).await, StoreErrorKind::NotFound);
    // By key and id, as who comes after a crash does; once more is no error.
    let upload = store.begin_multipart("m/left", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(1, body.slice(..size)).await.unwrap();
    for _ in 0..2 {
        store.abort_upload("m/left", upload.id()).await.unwrap();
    }
    // What the store does not put together any more is to be sent again.
    if traits.drops_parts {
        let error = upload.finish(size as u64).await.unwrap_err();
        assert_eq!(error.to_task_error().class, ErrorClass::Transient, "{error}");
    }
    assert_eq!(kind(store.head("m/left")).await, StoreErrorKind::NotFound);
    assert!(store.begin_multipart("m/small", MIN_PART - 1, 1).await.is_err());
    let seen: HashSet<_> = keys(store, "m/").await.into_iter().collect();
    assert_eq!(seen, HashSet::from(["m/large".to_owned(), "m/copy".to_owned()]));
    store.delete_many(&["m/large".to_owned(), "m/copy".to_owned()]).await.unwrap();
}

async fn uploads_that_were_never_ended_are_found(store: &Store) {
    let part = Bytes::from(content("part", usize::try_from(MIN_PART).unwrap()));
    let upload = store.begin_multipart("dead/large", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(1, part.clone()).await.unwrap();
    let other = store.begin_multipart("alive/large", MIN_PART, MIN_PART + 3).await.unwrap();
    other.part(1, part).await.unwrap();
    assert_eq!(store.abort_uploads("dead/").await.unwrap(), 1);
    assert!(upload.finish(1).await.is_err(), "it was dropped");
    other.finish(MIN_PART).await.unwrap();
    for folder in ["dead/", "alive/"] {
        assert_eq!(store.abort_uploads(folder).await.unwrap(), 0, "{folder}");
    }
    store.delete("alive/large").await.unwrap();
}

async fn no_key_leaves_the_vault(store: &Store) {
    for key in ["../outside", "a/../../outside", "/etc/outside", "a//b", "a/", "", "a/.hidden", "a b"] {
        assert_eq!(kind(store.put(key, Bytes::new())).await, StoreErrorKind::Invalid, "{key:?}");
        assert_eq!(kind(store.get(key, 1)).await, StoreErrorKind::Invalid, "{key:?}");
        assert_eq!(kind(store.delete(key)).await, StoreErrorKind::Invalid, "{key:?}");
    }
    assert!(store.list_folders("../").await.is_err());
}
