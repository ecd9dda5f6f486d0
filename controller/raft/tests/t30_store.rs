//! Every store that must not be started from is refused with what to do; every harmless remain of a crash is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "harness/kv.rs"]
mod kv;
#[path = "harness/node.rs"]
mod node;

use std::fs;
use std::path::{Path, PathBuf};

use coracle_proto::id::{ClusterId, GroupId};
use coracle_raft::{Identity, OpenError, Options, Raft};

use kv::Kv;
use node::{get, id, identity, open, open_single, options, set, until};

/// Entries of the store that the tests damage; enough for sled to write more than one segment.
const ENTRIES: usize = 300;

/// A value that is found again in the database's file.
fn value(entry: usize) -> String {
    format!("entry-{entry}-{}", "v".repeat(4_000))
}

/// A folder with a single member's store, closed.
async fn written(entries: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..entries).await;
    dir
}

async fn write(dir: &Path, entries: std::ops::Range<usize>) {
    let raft = open_single(dir).await;
    for entry in entries {
        raft.propose(set(format!("{entry:05}"), value(entry))).await.unwrap();
    }
    raft.shutdown().await;
}

fn group(dir: &Path) -> PathBuf {
    options(dir, 1).dir
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

async fn refused(dir: &Path) -> OpenError {
    match open(options(dir, 1)).await {
        Err(error) => error,
        Ok(raft) => panic!("it was opened: {:#?}", raft.status()),
    }
}

async fn assert_damaged(dir: &Path, why: &str) {
    let error = refused(dir).await;
    assert!(matches!(&error, OpenError::Damaged { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("rejoin as a new node") && text.contains(why), "{text}");
}

/// Opens and reads everything that was written.
async fn assert_whole(dir: &Path, entries: usize) {
    let raft = open_single(dir).await;
    assert_all(&raft, entries).await;
    raft.shutdown().await;
}

async fn assert_all(raft: &Raft<Kv>, entries: usize) {
    raft.read_barrier().await.unwrap();
    for entry in 0..entries {
        assert_eq!(get(raft, format!("{entry:05}")), Some(value(entry)), "entry {entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_opened_again_and_again() {
    let dir = written(20).await;
    for round in 1..4 {
        assert_whole(dir.path(), 20 * round).await;
        write(dir.path(), 20 * round..20 * (round + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cannot_have_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let raft = open_single(dir.path()).await;
    assert!(matches!(refused(dir.path()).await, OpenError::InUse { .. }));
    raft.shutdown().await;
    assert_whole(dir.path(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_store_is_refused() {
    let dir = written(3).await;
    let own = identity(1);
    let others = [
        Identity { node: id(2), ..own },
        Identity { cluster: ClusterId::new(1), ..own },
        Identity { group: GroupId::new(1), ..own },
    ];
    for other in others {
        let error = open(Options::new(group(dir.path()), other)).await.err().unwrap();
        let OpenError::Foreign { found, wanted, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*found, *wanted), (own, other));
        assert!(error.to_string().contains("use another data folder"), "{error}");
    }
    // The record inside the database is enough.
    fs::remove_file(group(dir.path()).join("identity")).unwrap();
    let other = Options::new(group(dir.path()), others[0]);
    assert!(matches!(open(other).await, Err(OpenError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_is_refused() {
    let dir = written(3).await;
    let store = group(dir.path()).join("store");
    fs::remove_dir_all(&store).unwrap();
    for _ in 0..2 {
        let error = refused(dir.path()).await;
        assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
        assert!(error.to_string().contains("rejoin as a new node"), "{error}");
    }
    // A fresh database in its place is no better.
    let other = written(0).await;
    let fresh = tempfile::tempdir().unwrap();
    drop(sled::open(fresh.path().join("store")).unwrap());
    copy_dir(&fresh.path().join("store"), &store);
    assert!(matches!(refused(dir.path()).await, OpenError::Empty { .. }));
    // Neither is one that was made anew for the same node: the mark knows of more.
    fs::remove_dir_all(&store).unwrap();
    copy_dir(&group(other.path()).join("store"), &store);
    assert_damaged(dir.path(), "it acknowledged").await;
}

/// A disk that is not mounted leaves its mount point: an empty folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_must_exist_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let must_exist = |dir: &Path| Options { must_exist: true, ..options(dir, 1) };
    for _ in 0..2 {
        let error = open(must_exist(dir.path())).await.err().unwrap();
        assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
        assert!(!group(dir.path()).join("store").exists());
    }
    // Neither is a database that is there and holds nothing.
    drop(sled::open(group(dir.path()).join("store")).unwrap());
    let error = open(must_exist(dir.path())).await.err().unwrap();
    assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
    let dir = written(3).await;
    open(must_exist(dir.path())).await.unwrap().shutdown().await;
    assert_whole(dir.path(), 3).await;
}

/// What the system refuses today says nothing about the store: nobody is told to give it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_opened_now_is_kept() {
    let dir = written(ENTRIES).await;
    let store = group(dir.path()).join("store");
    let snapshots = || {
        let names = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snap.")).collect::<Vec<_>>()
    };
    // Opened and closed once more: sled makes its snapshot when it is opened.
    assert_whole(dir.path(), ENTRIES).await;
    let before = snapshots();
    assert!(!before.is_empty(), "there is no snapshot: the test would prove less");
    fs::rename(store.join("db"), store.join("db.aside")).unwrap();
    fs::create_dir(store.join("db")).unwrap();
    let error = refused(dir.path()).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(!error.to_string().contains("rejoin"), "{error}");
    assert_eq!(snapshots(), before);
    fs::remove_dir(store.join("db")).unwrap();
    fs::rename(store.join("db.aside"), store.join("db")).unwrap();
    assert_whole(dir.path(), ENTRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_below_its_mark_is_refused() {
    let dir = written(20).await;
    let older = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), older.path());
    write(dir.path(), 20..40).await;
    // The older database is whole in itself; only the mark says that it had more.
    fs::copy(group(dir.path()).join("mark"), group(older.path()).join("mark")).unwrap();
    assert_damaged(older.path(), "it acknowledged").await;
    assert_whole(dir.path(), 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_missing_or_changed_is_refused() {
    let dir = written(3).await;
    let mark = group(dir.path()).join("mark");
    let bytes = fs::read(&mark).unwrap();
    assert_eq!(bytes.len(), 32);
    let mut changed = bytes.clone();
    changed[12] ^= 1;
    fs::write(&mark, changed).unwrap();
    assert_damaged(dir.path(), "checksum").await;
    fs::remove_file(&mark).unwrap();
    assert_damaged(dir.path(), "the mark is missing").await;
    fs::write(&mark, bytes).unwrap();
    fs::remove_file(group(dir.path()).join("identity")).unwrap();
    assert_damaged(dir.path(), "the identity file is missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found() {
    let dir = written(ENTRIES).await;
    let db = group(dir.path()).join("store/db");
    let whole = fs::read(&db).unwrap();
    let needle = format!("entry-{}-vvvv", ENTRIES / 2).into_bytes();
    let at: Vec<usize> = whole
        .windows(needle.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == needle)
        .map(|(at, _)| at)
        .collect();
    assert!(!at.is_empty(), "the value is in the file");
    let mut flipped = whole.clone();
    at.iter().for_each(|at| flipped[at + 2] ^= 4);
    fs::write(&db, flipped).unwrap();
    let error = refused(dir.path()).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_changed_under_sled_is_found() {
    let dir = written(20).await;
    for (tree, key) in
        [("log", 7_u64.to_be_bytes().to_vec()), ("state", b"r00007".to_vec()), ("meta", b"vote".to_vec())]
    {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        {
            let db = sled::open(group(copy.path()).join("store")).unwrap();
            let tree = db.open_tree(tree).unwrap();
            let mut record = tree.get(&key).unwrap().unwrap().to_vec();
            let last = record.len() - 1;
            record[last] ^= 1;
            tree.insert(key, record).unwrap();
            db.flush().unwrap();
        }
        assert_damaged(copy.path(), "checksum").await;
    }
    // A hole in the log.
    {
        let db = sled::open(group(dir.path()).join("store")).unwrap();
        db.open_tree("log").unwrap().remove(9_u64.to_be_bytes()).unwrap();
        db.flush().unwrap();
    }
    assert_damaged(dir.path(), "entries 9 to 9 are missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_cut_off_is_whole_or_refused() {
    let dir = written(ENTRIES).await;
    let length = fs::metadata(group(dir.path()).join("store/db")).unwrap().len();
    let mut refusals = 0;
    for part in 1..10 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let db = fs::File::options().write(true).open(group(copy.path()).join("store/db")).unwrap();
        db.set_len(length * part / 10).unwrap();
        match open(options(copy.path(), 1)).await {
            Ok(raft) => {
                until(&raft, "it leads", |status| status.role == coracle_raft::Role::Leader).await;
                assert_all(&raft, ENTRIES).await;
                raft.shutdown().await;
            }
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Empty { .. }), "{error:?}");
                refusals += 1;
            }
        }
    }
    assert!(refusals >= 5, "only {refusals} of 9 cuts were noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_behind_is_swept() {
    let dir = written(ENTRIES).await;
    let group = group(dir.path());
    let store = group.join("store");
    fs::write(store.join("snap.0000000000ffffff.generating"), b"half").unwrap();
    fs::write(store.join("snap.0000000000fffffe"), b"").unwrap();
    fs::write(group.join("snapshot-7.tmp"), b"half").unwrap();
    fs::write(group.join("identity.tmp"), b"half").unwrap();
    assert_whole(dir.path(), ENTRIES).await;
    assert!(!group.join("snapshot-7.tmp").exists() && !group.join("identity.tmp").exists());
    // sled's own snapshots, cut off: it refuses them, and needs none.
    for entry in fs::read_dir(&store).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            let half = entry.metadata().unwrap().len() / 2;
            fs::File::options().write(true).open(entry.path()).unwrap().set_len(half).unwrap();
        }
    }
    fs::write(store.join("snap.0000000000fffffd"), b"no snapshot at all").unwrap();
    assert_whole(dir.path(), ENTRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let raft = open(options(dir.path(), 1)).await.unwrap();
    raft.shutdown().await;
    fs::remove_file(group(dir.path()).join("identity")).unwrap();
    write(dir.path(), 0..3).await;
    assert_whole(dir.path(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = options(dir.path(), 1);
    (small.limits.snapshot_every, small.limits.keep_entries) = (50, 5);
    let raft = open(small.clone()).await.unwrap();
    raft.initialize([(id(1), "127.0.0.1:1".to_owned())].into()).await.unwrap();
    until(&raft, "it leads", |status| status.role == coracle_raft::Role::Leader).await;
    for entry in 0..120 {
        raft.propose(set(format!("{entry:05}"), value(entry))).await.unwrap();
    }
    until(&raft, "the log is purged", |status| status.purged.is_some()).await;
    raft.shutdown().await;
    let snapshot = small.dir.join("snapshot");
    let whole = fs::read(&snapshot).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damage in [&whole[..3], &[0_u8; 64], &whole[..whole.len() - 1], &flipped] {
        fs::write(&snapshot, damage).unwrap();
        let raft = open(small.clone()).await.unwrap();
        let status = until(&raft, "it has a snapshot", |status| status.snapshot.is_some()).await;
        assert!(status.snapshot >= status.purged, "{status:#?}");
        until(&raft, "it leads", |status| status.role == coracle_raft::Role::Leader).await;
        assert_all(&raft, 120).await;
        raft.shutdown().await;
        assert!(fs::metadata(&snapshot).unwrap().len() > 400_000);
        assert_ne!(fs::read(&snapshot).unwrap(), damage);
    }
}
