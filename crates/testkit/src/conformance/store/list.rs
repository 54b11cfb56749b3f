//! Listings: complete, in the byte order of the keys, from any place.

use backstay_core::store::{ListEntry, ListOptions, ObjectStore, ObjectStoreExt, Prefix};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Outcome, cases, ensure, key, names};

cases! {
    an_empty_store_lists_nothing: Nothing,
    listings_are_in_byte_order: Nothing,
    listings_tell_size_time_and_etag: Nothing,
    an_etag_that_is_foretold_proves_content: Nothing,
    a_prefix_is_a_beginning_of_bytes: Nothing,
    a_listing_can_start_after_any_string: Nothing,
    deeper_keys_fold_into_folders: Nothing,
    many_keys_are_all_listed: Nothing,
    a_put_is_listed_at_once_and_a_delete_too: Nothing,
}

/// Names whose byte order, letter case or spelling stores have got wrong.
pub(super) const ODD: [&str; 22] = [
    "%41",
    "+plus",
    "-minus",
    ".hidden",
    "A",
    "B/b",
    "Z",
    "_",
    "a b",
    "a-b",
    "a.b",
    "a/b",
    "a/b-c",
    "a0",
    "aZ",
    "az",
    "b/B",
    "b/b",
    "e\u{301}",
    "q?x=1&y#z",
    "~tilde",
    "\u{e9}",
];

async fn put_odd(store: &dyn ObjectStore) -> backstay_core::Result<Vec<&'static str>> {
    let mut order = ODD.to_vec();
    order.sort_unstable_by_key(|name| std::cmp::Reverse(name.len() * 31 % 7));
    for name in order {
        store.put_new(&key(name)?, name).await?;
    }
    let mut sorted = ODD.to_vec();
    sorted.sort_unstable();
    Ok(sorted)
}

async fn an_empty_store_lists_nothing(store: &dyn ObjectStore) -> Outcome {
    for options in [ListOptions::default(), ListOptions::folders(), ListOptions::after("a")] {
        for prefix in ["", "a", "a/"] {
            let found = names(store, prefix, &options).await?;
            ensure!(found.is_empty(), "the store is not fresh, or it lists what is not there: {found:?}");
        }
    }
    Ok(())
}

async fn listings_are_in_byte_order(store: &dyn ObjectStore) -> Outcome {
    let expected = put_odd(store).await?;
    let found = names(store, "", &ListOptions::default()).await?;
    ensure!(found == expected, "expected {expected:?}, got {found:?}");
    Ok(())
}

async fn listings_tell_size_time_and_etag(store: &dyn ObjectStore) -> Outcome {
    let put = store.put_new(&key("a/b")?, "12345").await?;
    let lines: Vec<ListEntry> = store.list(&Prefix::all(), &ListOptions::default()).try_collect().await?;
    let [ListEntry::Object(meta)] = lines.as_slice() else {
        return Err(super::Stopped::Broken(format!("one object was put, listed are {lines:?}")));
    };
    ensure!(meta.key == put.key && meta.size == 5 && meta.latest, "the listing tells {meta:?}");
    ensure!(meta.etag == put.etag, "the put answered {:?}, the listing {:?}", put.etag, meta.etag);
    let apart = meta.last_modified.as_second() - put.last_modified.as_second();
    ensure!(apart.abs() <= 1, "the put answered {}, the listing {}", put.last_modified, meta.last_modified);
    Ok(())
}

async fn an_etag_that_is_foretold_proves_content(store: &dyn ObjectStore) -> Outcome {
    let (ours, other) = (Bytes::from_static(b"ours!"), Bytes::from_static(b"other"));
    let Some(foretold) = store.etag_of(&ours) else { return Ok(()) };
    ensure!(store.etag_of(&other).is_some_and(|etag| etag != foretold), "two contents have the etag {foretold}");
    store.put_new(&key("a")?, ours).await?;
    let lines: Vec<ListEntry> = store.list(&Prefix::all(), &ListOptions::default()).try_collect().await?;
    let [ListEntry::Object(meta)] = lines.as_slice() else {
        return Err(super::Stopped::Broken(format!("one object was put, listed are {lines:?}")));
    };
    ensure!(meta.etag.as_ref() == Some(&foretold), "foretold was {foretold}, the listing tells {:?}", meta.etag);
    Ok(())
}

async fn a_prefix_is_a_beginning_of_bytes(store: &dyn ObjectStore) -> Outcome {
    let all = put_odd(store).await?;
    for prefix in ["a", "a/", "a/b", "a/b-", "a/b-c", "a/x", "b/", "B", "e", "\u{e9}", "%", ".h", "zz", "a/b/c/"] {
        let expected: Vec<_> = all.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        let found = names(store, prefix, &ListOptions::default()).await?;
        ensure!(found == expected, "under {prefix:?}: expected {expected:?}, got {found:?}");
    }
    Ok(())
}

async fn a_listing_can_start_after_any_string(store: &dyn ObjectStore) -> Outcome {
    let all = put_odd(store).await?;
    for prefix in ["", "a", "a/"] {
        for after in ["%", "A", "a", "a/", "a/b", "a/b-", "a/zz", "a0", "b", "b/C", "z", "~tilde", "\u{e9}", "\u{ea}"] {
            let later = |name: &&str| *name > after && name.starts_with(prefix);
            let expected: Vec<_> = all.iter().copied().filter(later).collect();
            let found = names(store, prefix, &ListOptions::after(after)).await?;
            ensure!(found == expected, "{prefix:?} after {after:?}: expected {expected:?}, got {found:?}");
        }
    }
    Ok(())
}

async fn deeper_keys_fold_into_folders(store: &dyn ObjectStore) -> Outcome {
    for name in ["a-b", "a/1", "a/2/x", "a/2/y", "a0", "b/c/d/e", "top"] {
        store.put_new(&key(name)?, "x").await?;
    }
    let after = |bound: &str| {
        let mut options = ListOptions::after(bound);
        options.folders = true;
        options
    };
    let table: [(&str, &ListOptions, &[&str]); 7] = [
        ("", &ListOptions::folders(), &["a-b", "a/", "a0", "b/", "top"]),
        ("a", &ListOptions::folders(), &["a-b", "a/", "a0"]),
        ("a/", &ListOptions::folders(), &["a/1", "a/2/"]),
        ("a/2/", &ListOptions::folders(), &["a/2/x", "a/2/y"]),
        ("b/c", &ListOptions::folders(), &["b/c/"]),
        ("a/", &after("a/2/x"), &["a/2/"]),
        ("", &after("b"), &["b/", "top"]),
    ];
    for (prefix, options, expected) in table {
        let found = names(store, prefix, options).await?;
        ensure!(found == expected, "{prefix:?} with {options:?}: expected {expected:?}, got {found:?}");
    }
    Ok(())
}

async fn many_keys_are_all_listed(store: &dyn ObjectStore) -> Outcome {
    // More than two pages of every store there is.
    const COUNT: usize = 2_300;
    let put = |i: usize| async move { store.put_new(&key(&format!("many/{i:05}"))?, "").await };
    stream::iter(0..COUNT).map(put).buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await?;
    let found = names(store, "many/", &ListOptions::default()).await?;
    let expected = (0..COUNT).map(|i| format!("many/{i:05}"));
    ensure!(found.iter().cloned().eq(expected), "{} of {COUNT} keys are listed, or out of order", found.len());
    let folders = names(store, "", &ListOptions::folders()).await?;
    ensure!(folders == ["many/"], "one folder is listed as {} lines", folders.len());
    Ok(())
}

async fn a_put_is_listed_at_once_and_a_delete_too(store: &dyn ObjectStore) -> Outcome {
    for i in 0..10 {
        let name = key(&format!("k{i}"))?;
        store.put_new(&name, "x").await?;
        ensure!(names(store, "k", &ListOptions::default()).await? == [name.as_str()], "{name} is not listed alone");
        store.delete(&[name.into()]).await?.remove(0).result?;
    }
    let left = names(store, "", &ListOptions::default()).await?;
    ensure!(left.is_empty(), "deleted keys are listed: {left:?}");
    Ok(())
}
