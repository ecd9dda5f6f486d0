//! The thread that keeps the engines up to date: what groups changed, gathered for a moment and written in one batch
//! for each group. It syncs when the log waits for that, now and then by itself, and at the end.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::GroupId;
use tokio::sync::Notify;

use super::{Changes, Engine, EngineStore, Unsynced};
use crate::codec::record::AppliedState;
use crate::failure::Failure;
use crate::log::{GroupLog, LogWriter};
use crate::reader::{RecordsIter, View};
use crate::state_machine::Change;

/// Changes are gathered for so long: a record that changes all the time is written ten times a second at most.
const GATHER: Duration = Duration::from_millis(75);

/// Without the log asking, a sync is no rarer than this while there are changes: bounds what a start applies again.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Changes of a group that are not written yet. Who applies beyond this waits: the disk is that slow.
const GATHERED_BYTES_MAX: usize = 32 << 20;

/// A group's engine, and what it does not have yet.
pub(crate) struct Group {
    engine: Mutex<Box<dyn Engine>>,
    gathered: Mutex<Gathered>,
    /// Told when what was gathered is on its way.
    taken: Notify,
    log: (Arc<GroupLog>, LogWriter),
}

#[derive(Default)]
struct Gathered {
    changes: HashMap<Bytes, Option<Bytes>>,
    bytes: usize,
    at: Option<AppliedState>,
    /// How far the engine is by itself, where nothing is gathered for it.
    written: Option<AppliedState>,
}

impl Group {
    /// Takes what was applied. Cheap: bytes are shared.
    pub(crate) fn gather(&self, changes: impl Iterator<Item = Change>, at: &AppliedState) {
        let mut gathered = lock(&self.gathered);
        for Change { key, value } in changes {
            gathered.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            gathered.changes.insert(key, value);
        }
        gathered.at = Some(at.clone());
    }

    /// Returns when not too much is gathered, or nothing is written any more.
    pub(crate) async fn room(&self, failure: &Failure) {
        loop {
            let taken = self.taken.notified();
            if lock(&self.gathered).bytes <= GATHERED_BYTES_MAX {
                return;
            }
            let mut failed = failure.watch();
            tokio::select! {
                () = taken => {}
                _ = failed.wait_for(Option::is_some) => return,
            }
        }
    }

    /// Writes what was applied at once, and gives a view of the state that this makes. It is not synced yet. Blocks.
    pub(crate) fn write_through(&self, changes: Changes, at: &AppliedState) -> io::Result<View> {
        let mut engine = lock(&self.engine);
        engine.write(changes, at)?;
        lock(&self.gathered).written = Some(at.clone());
        engine.view()
    }

    /// A view of the state, where the engine has them.
    pub(crate) fn view(&self) -> io::Result<View> {
        lock(&self.engine).view()
    }

    /// Puts another state in the place of this one and forgets what was gathered. It is not synced yet.
    pub(crate) fn replace(&self, records: RecordsIter<'_>, at: &AppliedState) -> io::Result<()> {
        let mut engine = lock(&self.engine);
        *lock(&self.gathered) = Gathered::default();
        engine.replace(records, at)
    }

    /// Writes what is gathered; the position up to which that is everything, if there was any.
    fn write(&self) -> io::Result<Option<AppliedState>> {
        let mut engine = lock(&self.engine);
        let Gathered { changes, at, written, .. } = std::mem::take(&mut *lock(&self.gathered));
        self.taken.notify_waiters();
        let Some(at) = at else { return Ok(written) };
        let mut changes: Vec<_> = changes.into_iter().collect();
        changes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        engine.write(changes, &at)?;
        Ok(Some(at))
    }

    /// What was written up to there is synced.
    pub(super) fn synced(&self, at: &AppliedState) {
        if let Some(at) = at.log_id {
            // An error means that the log has ended: nobody removes anything then.
            let _ = self.log.1.checkpointed(&self.log.0, at);
        }
    }
}

/// The groups of a process, and what the thread is asked for.
pub(crate) struct Checkpoint {
    /// Until it is closed.
    store: Mutex<Option<Arc<dyn EngineStore>>>,
    failure: Arc<Failure>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<GroupId, Arc<Group>>,
    changed: bool,
    sync: bool,
    stop: bool,
}

impl Checkpoint {
    pub(crate) fn new(store: Arc<dyn EngineStore>, failure: Arc<Failure>) -> Self {
        Self { store: Mutex::new(Some(store)), failure, state: Mutex::default(), wake: Condvar::new() }
    }

    fn store(&self) -> io::Result<Arc<dyn EngineStore>> {
        lock(&self.store).clone().ok_or_else(|| io::Error::other("the store is closed"))
    }

    /// The engine of a group.
    pub(crate) fn engine(&self, group: GroupId) -> io::Result<Box<dyn Engine>> {
        self.store()?.open(group)
    }

    /// Adds a group with its engine.
    pub(crate) fn add(&self, engine: Box<dyn Engine>, log: Arc<GroupLog>, writer: LogWriter) -> Arc<Group> {
        let id = log.id;
        let (engine, gathered) = (Mutex::new(engine), Mutex::default());
        let group = Arc::new(Group { engine, gathered, taken: Notify::new(), log: (log, writer) });
        lock(&self.state).groups.insert(id, Arc::clone(&group));
        group
    }

    /// Forgets a group, after all that it has is on the disk: another member of it may go on from there. Blocks.
    pub(crate) fn remove(&self, group: GroupId) {
        let Some(group) = lock(&self.state).groups.remove(&group) else { return };
        match group.write() {
            Ok(at) => {
                if self.sync().is_ok() {
                    at.iter().for_each(|at| group.synced(at));
                }
            }
            Err(error) => self.write_failed(&error),
        }
        // An error means that the log has ended: nobody goes on from it then.
        let _ = group.log.1.flush(&group.log.0);
    }

    /// Something was gathered.
    pub(crate) fn changed(&self) {
        lock(&self.state).changed = true;
        self.wake.notify_one();
    }

    /// The log waits for a synced checkpoint.
    pub(crate) fn ask(&self) {
        lock(&self.state).sync = true;
        self.wake.notify_one();
    }

    /// Makes durable what engines have. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let synced = self.store()?.sync().inspect_err(|unsynced| match unsynced {
            Unsynced::Refused(error) => self.failure.write_failed("the state", error),
            Unsynced::Lost(error) => self.failure.sync_failed("the state", error),
        });
        Ok(synced?)
    }

    /// Of an error of the disk whoever comes next is told, whatever it was that is lost.
    fn write_failed(&self, error: &io::Error) {
        match self.store().ok().and_then(|store| store.lost()) {
            Some(lost) => self.failure.sync_failed("the state", &lost),
            None => self.failure.write_failed("the state", error),
        }
    }

    fn stop(&self) {
        lock(&self.state).stop = true;
        self.wake.notify_one();
    }

    #[expect(clippy::disallowed_methods, reason = "this thread has a rhythm of its own")]
    fn run(&self) {
        let (mut synced, mut dirty) = (Instant::now(), BTreeMap::new());
        loop {
            let wait = if dirty.is_empty() { Duration::MAX } else { SYNC_EVERY };
            let (stop, sync) = self.wait(wait);
            if let Err(error) = self.write(&mut dirty) {
                return self.write_failed(&error);
            }
            if stop || sync || synced.elapsed() >= SYNC_EVERY {
                if !dirty.is_empty() && self.sync().is_err() {
                    return;
                }
                for (group, at) in std::mem::take(&mut dirty).into_values() {
                    let group: Arc<Group> = group;
                    group.synced(&at);
                }
                synced = Instant::now();
            }
            if stop {
                return;
            }
        }
    }

    /// Waits until something was gathered for a while, or somebody asks, or the time is up.
    fn wait(&self, at_most: Duration) -> (bool, bool) {
        let state = lock(&self.state);
        let idle = |state: &mut State| !(state.changed || state.sync || state.stop);
        let at_most = at_most.min(Duration::from_secs(3_600));
        let (state, _) =
            self.wake.wait_timeout_while(state, at_most, idle).unwrap_or_else(PoisonError::into_inner);
        let gathering = |state: &mut State| !(state.sync || state.stop);
        let gathered = self.wake.wait_timeout_while(state, GATHER, gathering);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        state.changed = false;
        (state.stop, std::mem::take(&mut state.sync))
    }

    /// Writes what each group has gathered, and notes how far that is.
    fn write(&self, dirty: &mut BTreeMap<GroupId, (Arc<Group>, AppliedState)>) -> io::Result<()> {
        let groups: Vec<_> =
            lock(&self.state).groups.iter().map(|(id, group)| (*id, Arc::clone(group))).collect();
        for (id, group) in groups {
            if let Some(at) = group.write()? {
                dirty.insert(id, (group, at));
            }
        }
        Ok(())
    }
}

/// The thread, and the means to end it.
pub(crate) struct CheckpointThread {
    thread: JoinHandle<()>,
    checkpoint: Arc<Checkpoint>,
}

impl CheckpointThread {
    pub(crate) fn spawn(checkpoint: Arc<Checkpoint>, name: String) -> io::Result<Self> {
        let running = Arc::clone(&checkpoint);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            running.failure.watching("the state", || running.run());
        })?;
        Ok(Self { thread, checkpoint })
    }

    /// Ends the thread after a last synced checkpoint; an error means that it panicked. Blocks.
    pub(crate) fn stop(self) -> std::thread::Result<()> {
        self.checkpoint.stop();
        let ended = self.thread.join();
        // Whoever still has a handle does not keep the files open.
        lock(&self.checkpoint.state).groups.clear();
        *lock(&self.checkpoint.store) = None;
        ended
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::HostIdentity;
    use crate::state::SledStore;

    /// As sled does now and then.
    struct Panics;

    impl EngineStore for Panics {
        fn open(&self, _group: GroupId) -> io::Result<Box<dyn Engine>> {
            panic!("a test: the store panics")
        }

        fn sync(&self) -> Result<(), Unsynced> {
            panic!("a test: the store panics")
        }

        fn identity(&self) -> io::Result<Option<HostIdentity>> {
            Ok(None)
        }

        fn claim(&self, _identity: &HostIdentity) -> io::Result<()> {
            panic!("a test: the store panics")
        }

        fn is_empty(&self) -> bool {
            true
        }
    }

    impl Engine for Panics {
        fn applied(&self) -> io::Result<Option<AppliedState>> {
            Ok(None)
        }

        fn records(&self) -> RecordsIter<'_> {
            Box::new(std::iter::empty())
        }

        fn write(&mut self, _changes: Changes, _at: &AppliedState) -> io::Result<()> {
            panic!("a test: the engine panics")
        }

        fn replace(&mut self, _records: RecordsIter<'_>, _at: &AppliedState) -> io::Result<()> {
            panic!("a test: the engine panics")
        }
    }

    /// The disk fails where a blob is written, and it is a write that is told.
    #[tokio::test]
    async fn a_write_that_failed_for_want_of_more_than_room_is_remembered_as_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (failure, state) = (Arc::new(Failure::new(dir.path())), dir.path().join("state"));
        let store = Arc::new(SledStore::open(&state).unwrap());
        let checkpoint = Arc::new(Checkpoint::new(Arc::clone(&store) as _, Arc::clone(&failure)));
        let (log, writer, log_thread) = crate::log::tests::open_for_test(dir.path());
        let group = checkpoint.add(checkpoint.engine(log.id).unwrap(), log, writer);
        let thread = CheckpointThread::spawn(Arc::clone(&checkpoint), "state".to_owned()).unwrap();
        checkpoint.sync().unwrap();
        std::fs::remove_dir_all(state.join("blobs")).unwrap();
        let (key, value) = (Bytes::from_static(b"k"), Some(Bytes::from(vec![0; 8 << 20])));
        group.gather(std::iter::once(Change { key, value }), &AppliedState::default());
        checkpoint.changed();
        let mut failed = failure.watch();
        let found = tokio::time::timeout(Duration::from_secs(30), failed.wait_for(Option::is_some)).await;
        let found = found.unwrap().unwrap().clone().unwrap();
        assert!(found.reason.contains("the state") && found.taints, "{found:?}");
        assert!(matches!(store.sync(), Err(Unsynced::Lost(_))));
        thread.stop().unwrap();
        assert!(crate::failure::taint(dir.path()).unwrap().is_some());
        drop(group);
        log_thread.stop().unwrap();
    }

    #[tokio::test]
    async fn a_panic_of_the_engine_ends_whoever_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Arc::new(Failure::new(dir.path()));
        let checkpoint = Arc::new(Checkpoint::new(Arc::new(Panics), Arc::clone(&failure)));
        let (log, writer, log_thread) = crate::log::tests::open_for_test(dir.path());
        let group = checkpoint.add(Box::new(Panics), log, writer);
        let thread = CheckpointThread::spawn(Arc::clone(&checkpoint), "state".to_owned()).unwrap();
        let (key, value) = (Bytes::from_static(b"k"), Some(Bytes::from(vec![0; GATHERED_BYTES_MAX + 1])));
        group.gather(std::iter::once(Change { key, value }), &AppliedState::default());
        checkpoint.changed();
        tokio::time::timeout(Duration::from_secs(30), group.room(&failure)).await.unwrap();
        let mut failed = failure.watch();
        let found = tokio::time::timeout(Duration::from_secs(30), failed.wait_for(Option::is_some)).await;
        let found = found.unwrap().unwrap().clone().unwrap();
        assert!(found.reason.contains("the state") && !found.taints, "{found:?}");
        assert!(thread.stop().is_err(), "the panic is not hidden");
        drop(group);
        log_thread.stop().unwrap();
    }
}
