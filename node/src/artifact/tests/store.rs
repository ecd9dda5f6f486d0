//! The folder: names, left-overs, renewal, removal.

use std::fs;
use std::time::Duration;

use bytes::Bytes;

use super::super::{Removed, Store};
use super::node::digest;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_committed_artifact_survives_and_left_overs_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let digest = digest(b"abc");
    let mut incoming = store.begin(digest, 3).unwrap();
    incoming.write(Bytes::from_static(b"abc")).await.unwrap();
    let held = incoming.seal().await.unwrap().commit(1_000).await.unwrap();
    let hex = digest.hex();
    let path = folder.path().join("sha256").join(&hex[..2]).join(format!("{}.wasm", &hex[2..]));
    assert_eq!(fs::read(&path).unwrap(), b"abc");

    fs::write(folder.path().join("tmp/half"), b"x").unwrap();
    fs::write(folder.path().join("sha256/README"), b"x").unwrap();
    fs::write(path.with_file_name("odd.wasm"), b"x").unwrap();
    let again = Store::open(folder.path()).unwrap();
    assert_eq!(
        again.held().into_iter().collect::<Vec<_>>(),
        [(digest, held)],
        "with the time of its renewal"
    );
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    assert!(path.with_file_name("odd.wasm").exists(), "what is no artifact is left alone");
}

#[tokio::test]
async fn only_what_was_not_renewed_for_longer_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let digest = digest(b"abc");
    assert_eq!(store.remove(&digest, HOUR, 0).unwrap(), Removed::Absent);
    let mut incoming = store.begin(digest, 3).unwrap();
    incoming.write(Bytes::from_static(b"abc")).await.unwrap();
    incoming.seal().await.unwrap().commit(1_000).await.unwrap();

    let late = 1_000 + 3_600_001;
    assert_eq!(store.remove(&digest, HOUR, late - 1).unwrap(), Removed::TooYoung { age_ms: 3_600_000 });
    assert_eq!(
        store.remove(&digest, HOUR, 5).unwrap(),
        Removed::TooYoung { age_ms: 0 },
        "the clock went back"
    );
    assert!(store.renew(&digest, late).unwrap().is_some());
    assert_eq!(
        store.remove(&digest, HOUR, late + 1).unwrap(),
        Removed::TooYoung { age_ms: 1 },
        "a deploy won"
    );
    assert_eq!(Store::open(folder.path()).unwrap().get(&digest).unwrap().renewed_ms, late, "on disk too");

    assert_eq!(store.remove(&digest, HOUR, late + 3_600_001).unwrap(), Removed::Yes);
    assert!(store.get(&digest).is_none() && !store.path(&digest).exists());
    assert_eq!(store.renew(&digest, late).unwrap(), None);
}

#[tokio::test]
async fn an_artifact_that_rotted_is_found_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let digest = digest(b"abc");
    let mut incoming = store.begin(digest, 3).unwrap();
    incoming.write(Bytes::from_static(b"abc")).await.unwrap();
    incoming.seal().await.unwrap().commit(1_000).await.unwrap();
    assert!(store.verify(&digest).unwrap());
    fs::write(store.path(&digest), b"abd").unwrap();
    assert!(!store.verify(&digest).unwrap());
    assert!(store.get(&digest).is_none());
}
