//! Every store that must not be started from is refused with what to do; every harmless remain of a crash is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "harness/files.rs"]
mod files;
#[path = "harness/kv.rs"]
mod kv;
#[path = "harness/node.rs"]
mod node;

use std::fs;
use std::path::{Path, PathBuf};

use coracle_proto::id::ClusterId;
use coracle_raft::{MemberId, OpenError, Options, Owner, Raft};

use files::{copy_dir, flip};
use kv::Kv;
use node::{get, id, identity, open, open_single, options, set, until};

/// Entries of the store that the tests damage; enough for sled to write more than one of its segments.
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

fn store(dir: &Path) -> PathBuf {
    options(dir, 1).dir
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
    let others = [MemberId { node: id(2), ..own }, MemberId { cluster: ClusterId::new(1), ..own }];
    for other in others {
        let error = open(Options::new(store(dir.path()), other)).await.err().unwrap();
        let OpenError::Foreign { found, wanted, .. } = &error else { panic!("{error:?}") };
        let owner = |identity: MemberId| Owner { cluster: identity.cluster, node: identity.node };
        assert_eq!((*found, *wanted), (owner(own), owner(other)));
        assert!(error.to_string().contains("use another data folder"), "{error}");
    }
    // The record inside the database is enough.
    fs::remove_file(store(dir.path()).join("identity")).unwrap();
    let other = Options::new(store(dir.path()), others[0]);
    assert!(matches!(open(other).await, Err(OpenError::Foreign { .. })));
}

/// The parts of a store, each of which is nothing without the others.
const PARTS: [&str; 2] = ["state", "log-meta"];

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_is_refused() {
    let dir = written(3).await;
    let other = written(0).await;
    for part in PARTS {
        let (whole, aside) = (store(dir.path()).join(part), dir.path().join("aside"));
        fs::rename(&whole, &aside).unwrap();
        for _ in 0..2 {
            let error = refused(dir.path()).await;
            assert!(matches!(error, OpenError::Empty { .. }), "{part}: {error:?}");
            assert!(error.to_string().contains("rejoin as a new node"), "{error}");
        }
        // One of another store of the same node is no better.
        copy_dir(&store(other.path()).join(part), &whole);
        assert_damaged(dir.path(), "of store").await;
        fs::remove_dir_all(&whole).unwrap();
        fs::rename(&aside, &whole).unwrap();
    }
    // A fresh database in its place neither.
    fs::remove_dir_all(store(dir.path()).join("state")).unwrap();
    drop(sled::open(store(dir.path()).join("state")).unwrap());
    assert!(matches!(refused(dir.path()).await, OpenError::Empty { .. }));
}

/// Everything of a node is gone, and whoever runs it starts it once more under its old id.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_made_anew_is_another_one() {
    let dir = written(3).await;
    let raft = open_single(dir.path()).await;
    let before = raft.store();
    raft.shutdown().await;
    let raft = open_single(dir.path()).await;
    assert_eq!(raft.store(), before);
    raft.shutdown().await;
    fs::remove_dir_all(store(dir.path())).unwrap();
    let raft = open_single(dir.path()).await;
    assert_ne!(raft.store(), before);
    raft.shutdown().await;
}

/// A disk that is not mounted leaves its mount point: an empty folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_must_exist_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let must_exist = |dir: &Path| Options { must_exist: true, ..options(dir, 1) };
    for _ in 0..2 {
        let error = open(must_exist(dir.path())).await.err().unwrap();
        assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
        assert!(!store(dir.path()).join("state").exists());
    }
    // Neither is a database that is there and holds nothing.
    drop(sled::open(store(dir.path()).join("state")).unwrap());
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
    let state = store(dir.path()).join("state");
    let snapshots = || {
        let names = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snap.")).collect::<Vec<_>>()
    };
    // Opened and closed once more: sled makes its snapshot when it is opened.
    assert_whole(dir.path(), ENTRIES).await;
    let before = snapshots();
    assert!(!before.is_empty(), "there is no snapshot: the test would prove less");
    fs::rename(state.join("db"), state.join("db.aside")).unwrap();
    fs::create_dir(state.join("db")).unwrap();
    let error = refused(dir.path()).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(!error.to_string().contains("rejoin"), "{error}");
    assert_eq!(snapshots(), before);
    fs::remove_dir(state.join("db")).unwrap();
    fs::rename(state.join("db.aside"), state.join("db")).unwrap();
    assert_whole(dir.path(), ENTRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_below_its_mark_is_refused() {
    let dir = written(20).await;
    let older = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), older.path());
    write(dir.path(), 20..40).await;
    // The older log is whole in itself; only the mark says that it had more.
    let mark = "log-meta/mark";
    fs::copy(store(dir.path()).join(mark), store(older.path()).join(mark)).unwrap();
    assert_damaged(older.path(), "synced").await;
    // An older state is what the log no longer says that it has.
    fs::remove_dir_all(store(older.path()).join("log-meta")).unwrap();
    copy_dir(&store(dir.path()).join("log-meta"), &store(older.path()).join("log-meta"));
    assert_whole(older.path(), 40).await;
    assert_whole(dir.path(), 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_missing_or_changed_is_refused() {
    let dir = written(3).await;
    let mark = store(dir.path()).join("log-meta/mark");
    let bytes = fs::read(&mark).unwrap();
    assert_eq!(bytes.len(), 32);
    let mut changed = bytes.clone();
    changed[12] ^= 1;
    fs::write(&mark, changed).unwrap();
    assert_damaged(dir.path(), "checksum").await;
    fs::remove_file(&mark).unwrap();
    assert_damaged(dir.path(), "the mark is missing").await;
    fs::write(&mark, bytes).unwrap();
    fs::remove_file(store(dir.path()).join("identity")).unwrap();
    assert_damaged(dir.path(), "the identity file is missing").await;
}

/// Whether it was refused as damaged; one that is opened has everything.
async fn is_refused(dir: &Path) -> bool {
    match open(options(dir, 1)).await {
        Ok(raft) => {
            until(&raft, "it leads", |status| status.role == coracle_raft::Role::Leader).await;
            assert_all(&raft, ENTRIES).await;
            raft.shutdown().await;
            false
        }
        Err(error) => {
            assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Empty { .. }), "{error:?}");
            true
        }
    }
}

/// The database keeps older copies of its pages for a while: nobody reads a value there any more. The log has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found() {
    let dir = written(ENTRIES).await;
    for (file, always) in [("state/db", false), ("log-meta/0000000001.wal", true)] {
        let mut refusals = 0;
        for part in 1..10 {
            let copy = tempfile::tempdir().unwrap();
            copy_dir(dir.path(), copy.path());
            flip(&store(copy.path()).join(file), &format!("entry-{}-vvvv", ENTRIES * part / 10));
            refusals += u32::from(is_refused(copy.path()).await);
        }
        println!("{file}: {refusals} of 9 flips were refused");
        assert!(refusals == 9 || refusals > 0 && !always, "{file}: {refusals} of 9");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_changed_under_sled_is_found() {
    let dir = written(20).await;
    for key in [&b"r00007"[..], b"applied"] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        {
            let db = sled::open(store(copy.path()).join("state")).unwrap();
            let tree = db.open_tree("group-0").unwrap();
            let mut record = tree.get(key).unwrap().unwrap().to_vec();
            let last = record.len() - 1;
            record[last] ^= 1;
            tree.insert(key, record).unwrap();
            db.flush().unwrap();
        }
        assert_damaged(copy.path(), "checksum").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_cut_off_is_whole_or_refused() {
    let dir = written(ENTRIES).await;
    let length = fs::metadata(store(dir.path()).join("state/db")).unwrap().len();
    let mut refusals = 0;
    for part in 1..10 {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let db = fs::File::options().write(true).open(store(copy.path()).join("state/db")).unwrap();
        db.set_len(length * part / 10).unwrap();
        refusals += u32::from(is_refused(copy.path()).await);
    }
    println!("{refusals} of 9 cuts were refused");
}

/// A sync that failed is not believed again, by nobody but who takes the risk.
#[tokio::test(flavor = "multi_thread")]
async fn a_tainted_store_is_refused() {
    let dir = written(3).await;
    let taint = store(dir.path()).join("tainted");
    fs::write(&taint, "a sync of the log failed: Input/output error (os error 5)").unwrap();
    for _ in 0..2 {
        let error = refused(dir.path()).await;
        assert!(matches!(error, OpenError::Tainted { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("os error 5") && text.contains("rejoin as a new node"), "{text}");
        assert!(text.contains("--accept-failed-sync"), "{text}");
    }
    let accepted = Options { accept_taint: true, ..options(dir.path(), 1) };
    open(accepted).await.unwrap().shutdown().await;
    assert!(!taint.exists());
    assert_whole(dir.path(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_behind_is_swept() {
    let dir = written(ENTRIES).await;
    let (store, state) = (store(dir.path()), store(dir.path()).join("state"));
    fs::write(state.join("snap.0000000000ffffff.generating"), b"half").unwrap();
    fs::write(state.join("snap.0000000000fffffe"), b"").unwrap();
    let remains = ["snapshot-0-7.tmp", "identity.tmp", "log-meta/0000000009.tmp", "log-meta/mark.tmp"];
    for remain in remains {
        fs::write(store.join(remain), b"half").unwrap();
    }
    fs::create_dir_all(store.join("log-data.tmp")).unwrap();
    assert_whole(dir.path(), ENTRIES).await;
    assert!(
        remains.iter().all(|remain| !store.join(remain).exists()) && !store.join("log-data.tmp").exists()
    );
    // sled's own snapshots, cut off: it refuses them, and needs none.
    for entry in fs::read_dir(&state).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            let half = entry.metadata().unwrap().len() / 2;
            fs::File::options().write(true).open(entry.path()).unwrap().set_len(half).unwrap();
        }
    }
    fs::write(state.join("snap.0000000000fffffd"), b"no snapshot at all").unwrap();
    assert_whole(dir.path(), ENTRIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_is_finished() {
    let cuts: [&[&str]; 4] = [&[], &["log-meta/mark"], &["log-meta"], &["log-meta", "state"]];
    for cut in cuts {
        let dir = tempfile::tempdir().unwrap();
        open(options(dir.path(), 1)).await.unwrap().shutdown().await;
        let store = store(dir.path());
        fs::remove_file(store.join("identity")).unwrap();
        for part in cut {
            let path = store.join(part);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        write(dir.path(), 0..3).await;
        assert_whole(dir.path(), 3).await;
    }
}

/// The log forgets what is in the state on the disk, and a start finds all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_purged_log_and_the_state_make_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = options(dir.path(), 1);
    (small.limits.snapshot_every, small.limits.keep_entries) = (50, 5);
    for round in 0..3 {
        let raft = open(small.clone()).await.unwrap();
        if round == 0 {
            raft.initialize([(id(1), "127.0.0.1:1".to_owned())].into()).await.unwrap();
        }
        until(&raft, "it leads", |status| status.role == coracle_raft::Role::Leader).await;
        assert_all(&raft, 120 * round).await;
        for entry in 120 * round..120 * (round + 1) {
            raft.propose(set(format!("{entry:05}"), value(entry))).await.unwrap();
        }
        until(&raft, "the log is purged", |status| status.purged.is_some()).await;
        raft.shutdown().await;
    }
}
