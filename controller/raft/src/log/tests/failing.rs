//! What the system refuses is not acknowledged, and ends the members.

use super::*;
use crate::failure::Failed;

/// A file that the system refuses to sync: what is acknowledged with it was not synced.
#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_synced() {
    let (_dir, path) = made();
    let mut log = recover(&path, syncs(&path)).unwrap();
    log.written.segment.file = fs::File::options().read(true).write(true).open("/dev/full").unwrap();
    assert!(log.written.segment.file.sync_data().is_err(), "it can be synced: the test would prove nothing");
    let failure = Arc::clone(&log.syncs.failure);
    let start = Start {
        dir: path.clone(),
        name: "log".to_owned(),
        identity: log.identity,
        written: log.written,
        groups: BTreeMap::new(),
        syncs: log.syncs,
        full: Box::new(|| ()),
    };
    assert!(LogThread::spawn(start).is_err(), "what a killed process had not synced is synced at the start");
    assert!(failure.found().is_some_and(|found| found.taints));
    assert!(crate::failure::taint(&path).unwrap().unwrap().contains("a sync of the log failed"));
}

/// What a log with this file and this callback says after some megabytes.
async fn failed(file: Option<fs::File>, full: Box<dyn Fn() + Send>) -> (Failed, std::thread::Result<()>) {
    let (_dir, path) = made();
    let mut log = recover(&path, syncs(&path)).unwrap();
    if let Some(file) = file {
        log.written.segment.file = file;
    }
    let (failure, name) = (Arc::clone(&log.syncs.failure), "log".to_owned());
    let (dir, identity, written, groups) = (path.clone(), log.identity, log.written, BTreeMap::new());
    let start = Start { dir, name, identity, written, groups, syncs: log.syncs, full };
    let (writer, thread) = LogThread::spawn(start).unwrap();
    let group = Arc::new(GroupLog::new(GroupId::new(0), Tail::default()));
    let mut store = LogStore::new(path, group, writer);
    let mut failed = failure.watch();
    for index in 0..20 {
        if store.blocking_append([entry(1, index, 1 << 20)]).await.is_err() {
            break;
        }
    }
    let found = tokio::time::timeout(Duration::from_secs(30), failed.wait_for(Option::is_some)).await;
    let found = found.unwrap().unwrap().clone().unwrap();
    drop(store);
    (found, thread.stop())
}

#[tokio::test]
async fn a_write_that_failed_or_a_panic_ends_the_members() {
    // It can be synced, and not written.
    let only_read = fs::File::open("/proc/self/exe").unwrap();
    only_read.sync_data().unwrap();
    let (found, ended) = failed(Some(only_read), Box::new(|| ())).await;
    assert!(found.reason.contains("writing the log failed") && !found.taints, "{found:?}");
    ended.unwrap();
    let (found, ended) = failed(None, Box::new(|| panic!("a test: whoever is told panics"))).await;
    assert!(found.reason.contains("panicked") && !found.taints, "{found:?}");
    assert!(ended.is_err(), "the panic is not hidden");
}

/// A segment that was not made holds nothing: a disk that is full then says nothing of what others hold.
#[test]
fn a_sync_on_a_full_disk_taints_what_somebody_has_relied_on() {
    let full = || Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    for (what, taints) in [(sync::NEW_SEGMENT, false), (sync::RECORDS, true), (sync::FULL_SEGMENT, true)] {
        let (_dir, path) = made();
        let syncs = syncs(&path);
        assert!(syncs.run(what, full).is_err());
        assert_eq!(syncs.failure.found().is_some_and(|found| found.taints), taints, "{what}");
        let ill = || Err(std::io::Error::from_raw_os_error(5));
        assert!(syncs.run(what, ill).is_err());
        assert!(syncs.failure.found().is_some_and(|found| found.taints), "{what}");
    }
}
