//! What a crash, a power cut and a bad disk leave of the engine: the state after some write, or an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::AbstractTree as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::codec::raft::log_id;
use crate::codec::record::AppliedState;
use crate::reader::{Reader as _, RecordsIter};
use crate::state::Changes;

const GROUP: GroupId = GroupId::new(7);

fn at(index: u64) -> AppliedState {
    AppliedState { log_id: Some(log_id(1, index)), ..AppliedState::default() }
}

/// Each write changes all of these, so that a part of one is seen.
const KEYS: u64 = 8;

fn changes(index: u64) -> Changes {
    let value = Bytes::from(format!("{index:08}").repeat(20));
    let mut changes: Changes =
        (0..KEYS).map(|key| (Bytes::from(format!("all-{key}")), Some(value.clone()))).collect();
    changes.push((Bytes::from(format!("one-{index:08}")), Some(value)));
    changes.push((Bytes::from(format!("one-{:08}", index.saturating_sub(50))), None));
    changes
}

fn expected(index: u64) -> BTreeMap<Bytes, Bytes> {
    let mut state = BTreeMap::new();
    for (key, value) in (0..=index).flat_map(changes) {
        match value {
            Some(value) => drop(state.insert(key, value)),
            None => drop(state.remove(&key)),
        }
    }
    state
}

fn write(engine: &mut dyn Engine, indexes: std::ops::RangeInclusive<u64>) {
    indexes.for_each(|index| engine.write(changes(index), &at(index)).unwrap());
}

/// How far the engine is, and that it has exactly what belongs to that; each record is read twice, in two ways.
fn state(engine: &dyn Engine) -> io::Result<Option<u64>> {
    let Some(found) = engine.applied()?.and_then(|applied| applied.log_id) else { return Ok(None) };
    let records: BTreeMap<_, _> = engine.records().collect::<io::Result<_>>()?;
    let view = engine.view()?;
    for (key, value) in &records {
        let got = view.get(key)?;
        assert!(got.as_ref() == Some(value), "{key:?} is read in two ways");
    }
    assert!(records == expected(found.index), "a wrong state at {found}: {} records", records.len());
    Ok(Some(found.index))
}

fn reopened(dir: &Path) -> Option<u64> {
    let store = FjallStore::open(dir).unwrap();
    state(store.open(GROUP).unwrap().as_ref()).unwrap()
}

#[test]
fn what_was_synced_is_there_and_what_was_not_is_gone_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    assert_eq!(state(engine.as_ref()).unwrap(), None);
    write(engine.as_mut(), 0..=99);
    store.sync().unwrap();
    write(engine.as_mut(), 100..=149);
    assert_eq!(state(engine.as_ref()).unwrap(), Some(149));
    drop((engine, store));
    assert_eq!(reopened(dir.path()), Some(99));
    // What is written then is not taken for older than what there was.
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    write(engine.as_mut(), 100..=120);
    assert_eq!(state(engine.as_ref()).unwrap(), Some(120));
    store.sync().unwrap();
    drop((engine, store));
    assert_eq!(reopened(dir.path()), Some(120));
}

#[test]
fn a_store_in_use_is_not_opened_and_keeps_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    write(engine.as_mut(), 0..=9);
    let before = fs::metadata(dir.path().join("0.jnl")).unwrap().len();
    assert!(matches!(FjallStore::open(dir.path()), Err(Trouble::InUse)));
    assert_eq!(fs::metadata(dir.path().join("0.jnl")).unwrap().len(), before);
}

/// The trial that made us not rely on fjall's journal: pages that a power cut kept behind one that it took. When this fails
/// fjall has learned to open it, and docs/adr/0013 may be read again.
#[test]
fn fjall_by_itself_does_not_open_a_journal_with_a_hole_and_we_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    write(engine.as_mut(), 0..=99);
    store.sync().unwrap();
    let large = Bytes::from(vec![b'v'; 64 << 10]);
    engine.write(vec![(Bytes::from_static(b"large"), Some(large.clone()))], &at(100)).unwrap();
    write(engine.as_mut(), 101..=199);
    store.database.check().unwrap();
    drop((engine, store));
    let mut journal = fs::read(dir.path().join("0.jnl")).unwrap();
    let value = journal.windows(large.len()).position(|bytes| bytes == large).unwrap();
    let hole = (value / 4_096 + 2) * 4_096;
    journal[hole..hole + 4_096].fill(0);
    fs::write(dir.path().join("0.jnl"), &journal).unwrap();
    let refused = fjall::Database::builder(dir.path()).open();
    assert!(matches!(refused, Err(fjall::Error::JournalRecovery(_))), "{:?}", refused.err());
    assert_eq!(reopened(dir.path()), Some(99));
}

/// What a power cut leaves of the journal is without meaning; so are tables and lists of them that nobody has named.
#[test]
fn what_was_not_synced_may_be_anything() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    write(engine.as_mut(), 0..=99);
    store.sync().unwrap();
    write(engine.as_mut(), 100..=199);
    store.database.check().unwrap();
    drop((engine, store));
    for seed in 0..20 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut journal = vec![0; random.random_range(0..200_000)];
        random.fill(&mut journal[..]);
        fs::write(dir.path().join("0.jnl"), &journal).unwrap();
        fs::write(dir.path().join("1.jnl"), &journal[..journal.len() / 2]).unwrap();
        for keyspace in fs::read_dir(dir.path().join("keyspaces")).unwrap().map(|entry| entry.unwrap().path())
        {
            fs::write(keyspace.join("v999"), &journal[..journal.len() / 3]).unwrap();
            fs::write(keyspace.join("tables/999"), &journal[..journal.len() / 4]).unwrap();
        }
        assert_eq!(reopened(dir.path()), Some(99), "seed {seed}");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(self::files(&entry)),
            false => files.push(entry),
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Flips of one bit, and cuts of a file.
const DAMAGES: u64 = 400;

/// Damage is an error, or it hits something that nobody needs. It is never another state.
#[test]
fn a_bit_that_was_flipped_makes_no_wrong_state() {
    let (whole, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = FjallStore::open(whole.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    for part in 0..4 {
        write(engine.as_mut(), part * 100..=part * 100 + 99);
        store.sync().unwrap();
    }
    drop((engine, store));
    assert_eq!(reopened(whole.path()), Some(399));
    let (mut refused, mut unread, mut harmless) = (0, 0, 0);
    for seed in 0..DAMAGES {
        let mut random = SmallRng::seed_from_u64(seed);
        let place = dir.path().join(seed.to_string());
        copy(whole.path(), &place);
        let files = files(&place);
        let file = &files[random.random_range(0..files.len())];
        let mut bytes = fs::read(file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let byte = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes.truncate(byte),
            _ => bytes[byte] ^= 1 << random.random_range(0..8),
        }
        fs::write(file, &bytes).unwrap();
        let name = file.strip_prefix(&place).unwrap();
        match FjallStore::open(&place) {
            Err(Trouble::Damaged(_)) => refused += 1,
            Err(Trouble::Refused(error)) => panic!("seed {seed}, byte {byte} of {}: {error}", name.display()),
            Err(Trouble::InUse) => panic!("seed {seed}: nobody uses it"),
            Ok(store) => match store.open(GROUP).and_then(|engine| state(engine.as_ref())) {
                Err(_) => unread += 1,
                Ok(Some(399)) => harmless += 1,
                // The log knows that the state was newer, and refuses it.
                Ok(found) => {
                    println!("seed {seed}, byte {byte} of {}: the state at {found:?}", name.display())
                }
            },
        }
        fs::remove_dir_all(&place).unwrap();
    }
    println!("{DAMAGES} damages: {refused} refused, {unread} found when read, {harmless} without effect");
    assert!(refused > 0 && unread > 0, "the damage is not seen");
}

/// Records in order, the last of which may not come.
fn snapshot(index: u64, cut: bool) -> RecordsIter<'static> {
    let records = expected(index).into_iter().map(Ok);
    let end = cut.then(|| Err(io::Error::other("a test: the file ends")));
    Box::new(records.chain(end))
}

#[test]
fn a_snapshot_takes_the_place_of_the_state_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    write(engine.as_mut(), 0..=9);
    store.sync().unwrap();
    let before = engine.view().unwrap();
    for _ in 0..2 {
        engine.replace(snapshot(500, true), &at(500)).unwrap_err();
        assert_eq!(state(engine.as_ref()).unwrap(), Some(9));
    }
    drop((engine, store));
    assert_eq!(reopened(dir.path()), Some(9));
    assert!(before.get(b"all-1").is_err(), "its store is closed");

    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    let before = engine.view().unwrap();
    // Its keyspace is in the place of one that was removed: fjall by itself would forget it at the next start.
    engine.replace(snapshot(500, false), &at(500)).unwrap();
    assert_eq!(state(engine.as_ref()).unwrap(), Some(500));
    let old: BTreeMap<_, _> = before.all().map(Result::unwrap).collect();
    assert!(old == expected(9), "a view is what it was");
    // No sync: it is durable by itself.
    drop((engine, store));
    assert_eq!(reopened(dir.path()), Some(500));
    let store = FjallStore::open(dir.path()).unwrap();
    let mut engine = store.open(GROUP).unwrap();
    write(engine.as_mut(), 501..=510);
    assert_eq!(state(engine.as_ref()).unwrap(), Some(510));
    let keyspaces = fs::read_dir(dir.path().join("keyspaces")).unwrap().count();
    assert_eq!(keyspaces, 3, "fjall's own, the host's and the group's");
}

/// fjall frees nothing that is newer than the oldest view of any keyspace.
#[test]
fn the_view_of_a_group_that_rests_keeps_nothing_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path()).unwrap();
    let mut resting = store.open(GroupId::new(1)).unwrap();
    write(resting.as_mut(), 0..=9);
    let view = resting.view().unwrap();
    let mut engine = store.open(GROUP).unwrap();
    for part in 0..30 {
        write(engine.as_mut(), part * 10..=part * 10 + 9);
        store.sync().unwrap();
    }
    let kept = store.database.find("group-7-0").unwrap().unwrap();
    let kept = kept.with(|keyspace| Ok(keyspace.tree.version_free_list_len())).unwrap();
    assert!(kept < 12, "{kept} versions are kept for a view that nobody needs to be old");
    assert!(view.all().map(Result::unwrap).eq(expected(9)), "it sees what it saw");
    assert_eq!(state(resting.as_ref()).unwrap(), Some(9));
}

#[test]
fn a_store_whose_creation_was_cut_off_is_made() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["0.jnl", "lock"] {
        fs::write(dir.path().join(name), [0; 100]).unwrap();
    }
    let store = FjallStore::open(dir.path()).unwrap();
    assert!(store.is_empty() && store.identity().unwrap().is_none());
    let mut engine = store.open(GROUP).unwrap();
    assert!(store.is_empty());
    write(engine.as_mut(), 0..=0);
    assert!(!store.is_empty());
}
