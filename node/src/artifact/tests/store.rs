//! The folder: names, left-overs, renewal, removal.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::Digest;
use tokio_util::sync::CancellationToken;

use super::super::{ArtifactError, Pace, Patrol, Removed, Store};
use super::node::{digest, until};

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
        Arc::unwrap_or_clone(again.held()).into_iter().collect::<Vec<_>>(),
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

async fn stored(store: &Arc<Store>, bytes: &'static [u8]) -> Digest {
    let digest = digest(bytes);
    let mut incoming = store.begin(digest, bytes.len() as u64).unwrap();
    incoming.write(Bytes::from_static(bytes)).await.unwrap();
    incoming.seal().await.unwrap().commit(1_000).await.unwrap();
    digest
}

#[tokio::test]
async fn an_artifact_that_rotted_is_found_and_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let digest = stored(&store, b"abc").await;
    store.verify(&digest).unwrap();
    fs::write(store.path(&digest), b"abd").unwrap();
    assert!(matches!(store.verify(&digest), Err(ArtifactError::Mismatch { .. })));
    assert!(store.get(&digest).is_none() && !store.path(&digest).exists());
}

#[tokio::test]
async fn what_is_gone_cut_or_unreadable_is_given_up_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let whole = stored(&store, b"whole").await;
    let gone = stored(&store, b"gone").await;
    let cut = stored(&store, b"cut").await;
    let folder_now = stored(&store, b"a folder").await;
    let mut changes = store.changes();
    store.look();
    assert!(!changes.has_changed().unwrap(), "all is well");
    fs::remove_file(store.path(&gone)).unwrap();
    fs::write(store.path(&cut), b"cu").unwrap();
    let path = store.path(&folder_now);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.parent().unwrap(), b"").unwrap();
    store.look();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(store.held().keys().copied().collect::<Vec<_>>(), [whole]);
    assert!(!store.path(&cut).exists(), "it is not what its name says");
    store.look();
    assert!(!changes.has_changed().unwrap(), "told once");
}

#[tokio::test]
async fn a_deploy_of_what_is_lost_finds_that_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let digest = stored(&store, b"gone").await;
    fs::remove_file(store.path(&digest)).unwrap();
    assert_eq!(store.renew(&digest, 5).unwrap(), None);
    assert_eq!(store.get(&digest), None);
    stored(&store, b"gone").await;
    store.verify(&digest).unwrap();
}

#[tokio::test]
async fn a_patrol_finds_what_is_gone_and_what_rotted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (gone, rotted) = (stored(&store, b"gone").await, stored(&store, b"rots").await);
    let begun = Pace { look: HOUR, read_bytes: 1 << 20, round: Duration::from_millis(5) };
    let reads = Patrol::new(Arc::clone(&store), begun);
    fs::write(store.path(&rotted), b"rotz").unwrap();
    store.look();
    assert!(store.get(&rotted).is_some(), "a look does not read");
    let stop = CancellationToken::new();
    let task = tokio::spawn(reads.run(stop.clone()));
    until("the rotted one is found", || store.get(&rotted).is_none()).await;
    assert!(store.get(&gone).is_some());
    stop.cancel();
    task.await.unwrap();

    let looks = Patrol::new(Arc::clone(&store), Pace { look: Duration::from_millis(5), ..Pace::DEFAULT });
    let task = tokio::spawn(looks.run(CancellationToken::new()));
    fs::remove_file(store.path(&gone)).unwrap();
    until("the lost one is found", || store.get(&gone).is_none()).await;
    task.abort();
}

/// It was stored a moment ago, whatever the clock on the wall says.
#[test]
fn artifacts_age_by_two_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (first, wall) = (store.now_ms(), crate::clock::unix_ms());
    assert!(wall.abs_diff(first) < 60_000, "it begins with the time: {first}, {wall}");
    assert!(store.now_ms() >= first);
}
