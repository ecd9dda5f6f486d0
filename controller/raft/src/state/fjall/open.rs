//! The database, open until it is closed: opened with its bounds, and what goes wrong told apart.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::sleep;
use std::time::Duration;

use fjall::{KeyspaceCreateOptions, LsmError, PersistMode};

use super::keyspace::OpenKeyspace;
use super::{HOST, journal, lists, sync_names};
use crate::disk;
use crate::state::database::Trouble;

/// Names that fjall gives: of the file that says that a database was made whole, of its lock, of the folder of keyspaces.
pub(super) const VERSION: &str = "version";
const LOCK: &str = "lock";
pub(super) const KEYSPACES: &str = "keyspaces";

/// Blocks of tables that were read, of all groups.
const CACHE_BYTES: u64 = 64 << 20;

/// What a keyspace has in memory before it makes a table of it. The engine waits while two more are being written, so
/// that a group has three times as much at most; a segment of the log, which asks for a sync when it is full, has as much.
const TABLE_BYTES: u64 = 8 << 20;

/// One writes tables, the other one merges them.
const THREADS: usize = 2;

/// Files of tables that stay open: 64 MiB each at most, so that those of 8 GiB do.
const FILES_MAX: usize = 128;

/// The least that fjall takes for its journal, which is not relied upon.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// More than what is written between two starts, and a small part of what there is: enough for two billion starts.
const NUMBERS_MAX: u64 = 1 << 32;

/// Key of what is written at each start.
const OPENED: &[u8] = b"opened";

/// A store that was closed a moment ago may still be locked: threads of fjall's own have to end.
const LOCK_LOOKS: usize = 20;
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(50);

/// The database. Clones share it.
#[derive(Clone)]
pub(super) struct Database(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    fjall: fjall::Database,
    keyspaces: BTreeMap<String, Arc<OpenKeyspace>>,
    /// Those of which somebody may still have a view.
    removed: Vec<Weak<OpenKeyspace>>,
}

impl Database {
    /// Opens the database of a folder, or makes one. One that is locked is waited for, a second at most. Blocks.
    pub(super) fn open(dir: &Path) -> Result<Self, Trouble> {
        std::fs::create_dir_all(dir).map_err(Trouble::Refused)?;
        for _ in 0..LOCK_LOOKS {
            match Self::open_now(dir) {
                Err(Trouble::InUse) => sleep(LOCK_LOOK_EVERY),
                opened => return opened,
            }
        }
        Self::open_now(dir)
    }

    fn open_now(dir: &Path) -> Result<Self, Trouble> {
        let lock = lock(dir)?;
        journal::empty(dir).map_err(Trouble::Refused)?;
        lists::check(dir).map_err(|error| trouble(error.into()))?;
        drop(lock);
        let open = || {
            fjall::Database::builder(dir)
                .cache_size(CACHE_BYTES)
                .manual_journal_persist(true)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .max_cached_files(Some(FILES_MAX))
                .worker_threads(THREADS)
                .open()
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        let fjall = opened.map_err(|_| Trouble::Damaged("fjall panicked".to_owned()))?.map_err(trouble)?;
        count_on(&fjall).map_err(Trouble::Refused)?;
        let names = fjall.list_keyspace_names();
        let found = names
            .iter()
            .map(|name| Ok((name.to_string(), Arc::new(OpenKeyspace::new(keyspace(&fjall, name)?)))));
        let keyspaces = found.collect::<io::Result<BTreeMap<_, _>>>().map_err(Trouble::Refused)?;
        // A killed process may have named tables that a power cut would take back.
        for open in keyspaces.values() {
            open.with(|keyspace| disk::sync_dir(keyspace.path())).map_err(Trouble::Refused)?;
        }
        sync_names(dir).map_err(Trouble::Refused)?;
        let open = Mutex::new(Some(Open { fjall, keyspaces, removed: Vec::new() }));
        Ok(Self(Arc::new(Shared { dir: dir.to_owned(), open })))
    }

    /// Uses what is open.
    fn opened<T>(&self, look: impl FnOnce(&mut Open) -> io::Result<T>) -> io::Result<T> {
        look(self.lock().as_mut().ok_or_else(closed)?)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// fjall's handle.
    pub(super) fn fjall(&self) -> io::Result<fjall::Database> {
        self.opened(|open| Ok(open.fjall.clone()))
    }

    /// Fails when a thread of fjall has failed: nothing is written any more then, and who waits for it waits for ever.
    pub(super) fn check(&self) -> io::Result<()> {
        self.fjall()?.persist(PersistMode::Buffer).map_err(error)
    }

    /// A keyspace, if it is there.
    pub(super) fn find(&self, name: &str) -> io::Result<Option<Arc<OpenKeyspace>>> {
        self.opened(|open| Ok(open.keyspaces.get(name).cloned()))
    }

    /// A keyspace; one that is new has a name that lasts.
    pub(super) fn make(&self, name: &str) -> io::Result<Arc<OpenKeyspace>> {
        self.opened(|open| {
            if let Some(found) = open.keyspaces.get(name) {
                return Ok(Arc::clone(found));
            }
            let made = Arc::new(OpenKeyspace::new(keyspace(&open.fjall, name)?));
            sync_names(&self.0.dir)?;
            open.keyspaces.insert(name.to_owned(), Arc::clone(&made));
            Ok(made)
        })
    }

    /// Removes a keyspace. Its files go when nobody reads them any more.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.opened(|open| {
            let Some(removed) = open.keyspaces.remove(name) else { return Ok(()) };
            removed.with(|keyspace| open.fjall.delete_keyspace(keyspace.clone()).map_err(error))?;
            open.removed.retain(|removed| removed.strong_count() > 0);
            open.removed.push(Arc::downgrade(&removed));
            Ok(())
        })
    }

    /// The names of all keyspaces.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        self.opened(|open| Ok(open.keyspaces.keys().cloned().collect()))
    }

    /// All keyspaces.
    pub(super) fn keyspaces(&self) -> io::Result<Vec<Arc<OpenKeyspace>>> {
        self.opened(|open| Ok(open.keyspaces.values().cloned().collect()))
    }

    /// Closes all files. Waits for fjall's threads.
    pub(super) fn close(&self) {
        let Some(Open { fjall, keyspaces, removed }) = self.lock().take() else { return };
        keyspaces.values().for_each(|keyspace| keyspace.close());
        removed.iter().filter_map(Weak::upgrade).for_each(|keyspace| keyspace.close());
        drop(fjall);
    }
}

/// Takes the lock of a database that is there, as long as the file lives: fjall takes it itself when it opens.
fn lock(dir: &Path) -> Result<Option<File>, Trouble> {
    let file = match File::options().read(true).write(true).open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::Refused(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Trouble::InUse),
        Err(TryLockError::Error(error)) => Err(Trouble::Refused(error)),
    }
}

/// Lets fjall count its writes from a number that it has not had. At a start it goes on from what it finds in the tables of
/// keyspaces, but numbers the making and the removal of keyspaces too: one that got a lower number than the removal of another
/// one, in whose place it is, would be gone at the next start. A record makes the number last.
fn count_on(fjall: &fjall::Database) -> io::Result<()> {
    fjall.supervisor.seqno.fetch_max(fjall.seqno() + NUMBERS_MAX);
    let host = keyspace(fjall, HOST)?;
    guarded(|| host.insert(OPENED, fjall.seqno().to_le_bytes()))?;
    OpenKeyspace::new(host).flush(|| fjall.persist(PersistMode::Buffer).map_err(error))
}

/// Opens or makes a keyspace.
fn keyspace(fjall: &fjall::Database, name: &str) -> io::Result<fjall::Keyspace> {
    let options =
        || KeyspaceCreateOptions::default().max_memtable_size(TABLE_BYTES).manual_journal_persist(true);
    guarded(|| fjall.keyspace(name, options))
}

/// Asks fjall for something. It panics where it meets damage that it did not see before.
pub(super) fn guarded<T>(ask: impl FnOnce() -> fjall::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(answer) => answer.map_err(error),
        Err(_) => Err(damaged("fjall panicked")),
    }
}

pub(super) fn error(error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => error,
        fjall::Error::Poisoned => io::Error::other("a thread of fjall has failed, the log says of what"),
        other => damaged(other.to_string()),
    }
}

pub(super) fn damaged(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

pub(super) fn closed() -> io::Error {
    io::Error::other("the store is closed")
}

/// Why it did not open.
fn trouble(found: fjall::Error) -> Trouble {
    if matches!(found, fjall::Error::Locked) {
        return Trouble::InUse;
    }
    let found = error(found);
    match found.kind() {
        // A file that another one names is missing, or shorter than it was, or not what it was; or it says to read where
        // there is no place.
        io::ErrorKind::NotFound
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput => Trouble::Damaged(found.to_string()),
        _ => Trouble::Refused(found),
    }
}
