//! A keyspace, open until its database is closed; written in batches, and seen through views.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread::sleep;
use std::time::Duration;

use fjall::{AbstractTree as _, Keyspace, SeqNo};

use super::open::{Database, closed, error};
use super::view::FjallView;

/// What was in memory and is being written: who writes more waits. fjall itself would wait from 4 on, for ever when its
/// threads have failed.
const SEALED_MAX: usize = 1;

/// Tables that overlap, each of which a read looks into: who writes more waits until they are merged. fjall itself
/// would, from 20 on, in the same way.
const RUNS_MAX: usize = 16;

/// Between two looks at what fjall's threads have done.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A keyspace.
pub(super) struct OpenKeyspace {
    keyspace: RwLock<Option<Keyspace>>,
    /// The view of what it holds now, while somebody has it. Locked by whoever changes what it holds.
    newest: Mutex<Weak<FjallView>>,
}

impl OpenKeyspace {
    pub(super) fn new(keyspace: Keyspace) -> Self {
        Self { keyspace: RwLock::new(Some(keyspace)), newest: Mutex::default() }
    }

    /// Uses it, unless it is closed, and keeps it open meanwhile.
    pub(super) fn with<T>(&self, usage: impl FnOnce(&Keyspace) -> io::Result<T>) -> io::Result<T> {
        let keyspace = self.keyspace.read().unwrap_or_else(PoisonError::into_inner);
        usage(keyspace.as_ref().ok_or_else(closed)?)
    }

    pub(super) fn close(&self) {
        *self.keyspace.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn newest(&self) -> MutexGuard<'_, Weak<FjallView>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what it holds: no view is of what it holds now any more.
    pub(super) fn change(&self, change: impl FnOnce(&Keyspace) -> io::Result<()>) -> io::Result<()> {
        let mut newest = self.newest();
        *newest = Weak::new();
        self.with(change)
    }

    /// What it holds now.
    pub(super) fn view(self: &Arc<Self>, database: &Database) -> io::Result<Arc<FjallView>> {
        let mut newest = self.newest();
        if let Some(view) = newest.upgrade() {
            return Ok(view);
        }
        let view = Arc::new(FjallView::new(database.fjall()?.snapshot(), Arc::clone(self)));
        *newest = Arc::downgrade(&view);
        Ok(view)
    }

    /// Lets the newest view see the database as it is now, which for this keyspace is the same. fjall frees nothing, of
    /// no keyspace, that was there when the oldest view was made; one of a group that rests must not be that.
    fn renew_view(&self, database: &Database) -> io::Result<()> {
        let newest = self.newest();
        if let Some(view) = newest.upgrade() {
            view.renew(database.fjall()?.snapshot());
        }
        Ok(())
    }

    /// Returns when fjall has written most of what it was given.
    pub(super) fn room(&self, database: &Database) -> io::Result<()> {
        let behind = |keyspace: &Keyspace| {
            let tree = &keyspace.tree;
            Ok(tree.sealed_memtable_count() > SEALED_MAX || tree.l0_run_count() > RUNS_MAX)
        };
        while self.with(behind)? {
            database.check()?;
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Has a table made of what is in memory. What must be in tables then: none if there is nothing.
    pub(super) fn rotate(&self, database: &Database) -> io::Result<Option<SeqNo>> {
        self.renew_view(database)?;
        self.seal()
    }

    fn seal(&self) -> io::Result<Option<SeqNo>> {
        self.with(|keyspace| {
            let newest = keyspace.tree.get_highest_memtable_seqno();
            if newest.is_some() {
                keyspace.rotate_memtable().map_err(error)?;
            }
            Ok(newest)
        })
    }

    /// Returns when that much is in tables, or `check` finds that nothing more is written.
    pub(super) fn flushed(
        &self,
        wanted: Option<SeqNo>,
        check: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let missing = |keyspace: &Keyspace| Ok(keyspace.tree.get_highest_persisted_seqno() < wanted);
        while self.with(missing)? {
            check()?;
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Both, where nobody has a view yet.
    pub(super) fn flush(&self, check: impl Fn() -> io::Result<()>) -> io::Result<()> {
        self.flushed(self.seal()?, check)
    }
}
