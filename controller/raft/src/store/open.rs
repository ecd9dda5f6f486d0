//! Opens a store and looks at all of it before anybody may rely on it: whose it is, whether it is whole, and
//! whether it still has what it acknowledged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

use super::database::{self, Trouble};
use super::flusher::{FlusherLoop, FlusherThread};
use super::log::{LogStore, decode, last_entry};
use super::machine::{Machine, Published};
use super::mark::{Mark, MarkFile};
use super::snapshot::{Snapshots, is_damage, open_current};
use super::{APPLIED, IDENTITY, PURGED, RECORD, Trees, VOTE, disk, identity, read, sled_error};
use crate::codec::frame::unseal;
use crate::codec::raft::position;
use crate::codec::record::AppliedState;
use crate::error::OpenError;
use crate::metrics::StoreMetrics;
use crate::options::{Identity, Options};
use crate::state_machine::{Observer, StateMachine};
use crate::types::{LogId, Vote};

/// An open store.
pub(crate) struct Opened<S> {
    pub(crate) log: LogStore,
    pub(crate) machine: Machine<S>,
    pub(crate) published: watch::Receiver<Published<S>>,
    pub(crate) flusher: FlusherThread,
}

/// The files of a group's folder.
struct Folder<'a> {
    dir: &'a Path,
    wanted: &'a Identity,
    must_exist: bool,
}

impl Folder<'_> {
    fn identity(&self) -> PathBuf {
        self.dir.join("identity")
    }

    fn mark(&self) -> PathBuf {
        self.dir.join("mark")
    }

    fn sled(&self) -> PathBuf {
        self.dir.join("store")
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> OpenError + use<> {
        let dir = self.dir.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                OpenError::Damaged { dir, reason: source.to_string() }
            }
            _ => OpenError::Io { what, dir, source },
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged { dir: self.dir.to_owned(), reason: reason.into() }
    }

    fn empty(&self) -> OpenError {
        OpenError::Empty { dir: self.dir.to_owned(), node: self.wanted.node }
    }

    fn foreign(&self, found: Identity) -> OpenError {
        OpenError::Foreign { dir: self.dir.to_owned(), found, wanted: *self.wanted }
    }

    /// Who had a store here before, which must be who is asking.
    fn owner(&self) -> Result<bool, OpenError> {
        match identity::read(&self.identity()).map_err(self.io("reading the identity"))? {
            None => Ok(false),
            Some(Err(error)) => Err(self.damaged(format!("identity: {error}"))),
            Some(Ok(found)) if found == *self.wanted => Ok(true),
            Some(Ok(found)) => Err(self.foreign(found)),
        }
    }

    /// Removes what a crash left behind.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.dir)?.collect::<Result<Vec<_>, _>>()? {
            if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(entry.path())?;
            }
        }
        database::sweep(&self.sled())
    }

    fn database(&self) -> Result<Trees, OpenError> {
        database::open(&self.sled()).map_err(|trouble| match trouble {
            Trouble::InUse => OpenError::InUse { dir: self.dir.to_owned() },
            Trouble::Refused(source) => {
                OpenError::Io { what: "opening the database", dir: self.dir.to_owned(), source }
            }
            Trouble::Damaged(reason) => self.damaged(reason),
        })
    }

    /// Makes a new store durable, the identity last: when it is there, everything else was.
    fn create(&self, trees: &Trees) -> io::Result<()> {
        trees.write_meta(IDENTITY, self.wanted)?;
        trees.db.flush().map_err(sled_error)?;
        fs::File::open(self.sled().join("db"))?.sync_all()?;
        disk::sync_dir(&self.sled())?;
        MarkFile::create(&self.mark(), Mark::default())?;
        disk::sync_dir(self.dir)?;
        identity::write(&self.identity(), self.wanted)?;
        self.dir.parent().map_or(Ok(()), disk::sync_dir)
    }

    /// Checks that the database is the one that this folder had; makes a new one otherwise.
    fn claim(&self, trees: &Trees, owned: bool) -> Result<(), OpenError> {
        let found: Option<Identity> =
            trees.read_meta(IDENTITY).map_err(self.io("reading the identity record"))?;
        match found {
            Some(found) if found != *self.wanted => Err(self.foreign(found)),
            Some(_) if owned => Ok(()),
            None if owned || self.must_exist => Err(self.empty()),
            // A creation that a crash cut off left nothing else; anything else was made by another hand.
            Some(_) | None if !self.must_exist && holds_nothing(trees) => {
                self.create(trees).map_err(self.io("creating the store"))
            }
            Some(_) | None => Err(self.damaged("the identity file is missing")),
        }
    }

    /// The end of the log and the vote, after every entry was read and compared with the mark.
    fn verify(&self, trees: &Trees, applied: Option<LogId>) -> Result<Mark, OpenError> {
        let io = |error| self.io("reading the log")(error);
        let purged = trees.read_meta(PURGED).map_err(io)?;
        let mut before: Option<LogId> = purged;
        for item in &trees.log {
            let (key, record) = item.map_err(sled_error).map_err(io)?;
            let id = decode(&key, &record).map_err(io)?.log_id;
            let next = before.map_or(0, |before| before.index + 1);
            // A purge that was cut off leaves entries that it had already counted as gone.
            if id.index > next && before.is_some() {
                return Err(self.damaged(format!("entries {next} to {} are missing", id.index - 1)));
            }
            if id.index >= next && before.is_some_and(|before| id.leader_id < before.leader_id) {
                return Err(self.damaged(format!("the term falls at entry {}", id.index)));
            }
            before = before.max(Some(id));
        }
        let last = last_entry(trees).map_err(io)?.max(purged).max(applied).as_ref().map(position);
        let vote: Option<Vote> = trees.read_meta(VOTE).map_err(io)?;
        let vote_term = vote.map_or(0, |vote| vote.leader_id.term);
        if last.is_some_and(|last| last.term > vote_term) {
            return Err(
                self.damaged(format!("the log ends in a term above the vote's, which is {vote_term}"))
            );
        }
        let bound = MarkFile::read(&self.mark()).map_err(self.io("reading the mark"))?;
        let bound = bound.map_err(|reason| self.damaged(reason))?;
        let found = Mark { vote_term, last };
        if found.covers(&bound) {
            return Ok(found);
        }
        Err(self.damaged(format!("it acknowledged {bound:?} and now has {found:?}")))
    }

    /// The state, rebuilt from its records.
    fn restore<S: StateMachine>(&self, trees: &Trees) -> Result<S, OpenError> {
        let mut failed = None;
        let mut records = trees.state.scan_prefix([RECORD]).map_while(|item| {
            let record = item.map_err(sled_error).and_then(|(key, record)| {
                let value = unseal(&key, &record).map_err(|error| super::damaged(&key, &error))?;
                Ok((Bytes::copy_from_slice(key.get(1..).unwrap_or_default()), Bytes::copy_from_slice(value)))
            });
            record.map_err(|error| failed = Some(error)).ok()
        });
        let state = S::restore(&mut records);
        drop(records);
        if let Some(error) = failed {
            return Err(self.io("reading the state")(error));
        }
        state.map_err(|source| OpenError::Restore { dir: self.dir.to_owned(), source })
    }

    /// Where the newest snapshot ends. One that cannot be used is removed: the state makes a new one.
    fn snapshot(&self, purged: Option<LogId>) -> io::Result<Option<LogId>> {
        match open_current(self.dir, self.wanted) {
            Ok(Some((meta, _))) if meta.last_log_id >= purged => Ok(meta.last_log_id),
            Ok(None) => Ok(None),
            Ok(Some(_)) => fs::remove_file(Snapshots::path(self.dir)).map(|()| None),
            Err(error) if !is_damage(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "removed a snapshot that cannot be read");
                fs::remove_file(Snapshots::path(self.dir)).map(|()| None)
            }
        }
    }
}

/// Nothing but, at most, the identity.
fn holds_nothing(trees: &Trees) -> bool {
    trees.log.is_empty() && trees.meta.len() <= 1 && trees.state.is_empty()
}

/// Opens a store, or makes a new one. Blocks.
pub(crate) fn open<S: StateMachine>(
    options: &Options,
    observer: Arc<dyn Observer<S>>,
    metrics: Arc<StoreMetrics>,
) -> Result<Opened<S>, OpenError> {
    let (dir, wanted) = (options.dir.as_path(), &options.identity);
    let folder = Folder { dir, wanted, must_exist: options.must_exist };
    fs::create_dir_all(dir).map_err(folder.io("making the folder"))?;
    let owned = folder.owner()?;
    folder.sweep().map_err(folder.io("cleaning up"))?;
    let there = folder.sled().join("db").try_exists().map_err(folder.io("looking for the database"))?;
    if !there && (owned || options.must_exist) {
        return Err(folder.empty());
    }
    let trees = folder.database()?;
    folder.claim(&trees, owned)?;

    let at: Option<AppliedState> = read(&trees.state, APPLIED).map_err(folder.io("reading the state"))?;
    let at = at.unwrap_or_default();
    let mark = folder.verify(&trees, at.log_id)?;
    let state: S = folder.restore(&trees)?;
    let purged = trees.read_meta(PURGED).map_err(folder.io("reading the log"))?;
    let newest = folder.snapshot(purged).map_err(folder.io("reading the snapshot"))?;

    let io = |error| folder.io("starting the flusher")(error);
    let mark_file = MarkFile::open(&folder.mark()).map_err(io)?;
    let flusher = FlusherLoop::new(trees.db.clone(), &folder.sled(), mark_file, mark, metrics).map_err(io)?;
    let (handle, thread) = flusher.spawn(format!("raft-{}-flush", wanted.group)).map_err(io)?;
    let applied = at.log_id.as_ref().map(position);
    observer.replaced(applied.unwrap_or_default(), &state);
    let (sender, published) = watch::channel(Published { applied, state: state.clone() });
    let machine = Machine {
        trees: trees.clone(),
        flusher: handle.clone(),
        snapshots: Snapshots::new(dir, *wanted, newest),
        state,
        at,
        published: sender,
        observer,
        halted: Arc::new(OnceLock::new()),
    };
    Ok(Opened { log: LogStore::new(trees, handle), machine, published, flusher: thread })
}
