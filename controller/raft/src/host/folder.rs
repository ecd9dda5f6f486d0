//! The folder of a host: opened, or made, and looked at whole before anybody may rely on it: whose it is, whether it is
//! whole, and whether it still has what it acknowledged.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use coracle_proto::id::StoreId;

use super::identity;
use crate::disk;
use crate::error::OpenError;
use crate::failure::{Failure, forget_taint, taint};
use crate::log::{self, Syncs};
use crate::options::{HostIdentity, HostOptions, Owner, States};
use crate::state::{EngineStore, FjallStore, SledStore, Trouble};

/// The log of the group that all else depends on, and that of all other groups.
pub(super) const META_LOG: &str = "log-meta";
pub(super) const DATA_LOG: &str = "log-data";

/// What is in it, read.
pub(super) struct Contents {
    pub(super) identity: HostIdentity,
    pub(super) meta: log::Log,
    /// Only where there ever was a group but the first.
    pub(super) data: Option<log::Log>,
    pub(super) state: Arc<dyn EngineStore>,
    /// Why an earlier process ended, where that is accepted: forgotten when all of it is synced.
    pub(super) taint: Option<String>,
}

/// The folder, as it is opened.
pub(super) struct Folder<'a>(pub(super) &'a HostOptions, pub(super) &'a Arc<Failure>);

impl Folder<'_> {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.dir.join(name)
    }

    pub(super) fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> OpenError + use<> {
        let dir = self.0.dir.clone();
        move |source| match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                OpenError::Damaged { dir, reason: source.to_string() }
            }
            _ => OpenError::Io { what, dir, source },
        }
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged { dir: self.0.dir.clone(), reason: reason.into() }
    }

    fn empty(&self) -> OpenError {
        OpenError::Empty { dir: self.0.dir.clone(), node: self.0.owner.node }
    }

    fn foreign(&self, found: Owner) -> OpenError {
        OpenError::Foreign { dir: self.0.dir.clone(), found, wanted: self.0.owner }
    }

    pub(super) fn refused(&self, refused: log::Refused) -> OpenError {
        match refused {
            log::Refused::Io(error) => self.io("reading the log")(error),
            log::Refused::Empty => self.empty(),
            log::Refused::Damaged(reason) => self.damaged(reason),
        }
    }

    /// Opens the folder, or makes it. Blocks.
    pub(super) fn open(&self) -> Result<Contents, OpenError> {
        fs::create_dir_all(&self.0.dir).map_err(self.io("making the folder"))?;
        let owner = self.owner()?;
        let there = |path: PathBuf| path.try_exists().map_err(self.io("looking for the store"));
        let whole = there(self.path("state").join(self.marker()))? && there(self.path(META_LOG))?;
        if !whole && (owner.is_some() || self.0.must_exist) {
            return Err(self.empty());
        }
        let state = self.state()?;
        // It is locked: nobody else is at work here.
        let taint = self.taint()?;
        self.sweep().map_err(self.io("cleaning up"))?;
        let identity = self.claim(state.as_ref(), owner)?;
        let meta = self.log(META_LOG, &identity)?;
        let data = if there(self.path(DATA_LOG))? { Some(self.log(DATA_LOG, &identity)?) } else { None };
        if let Some(reason) = &taint {
            self.check_alone(reason, state.as_ref(), [&meta].into_iter().chain(&data))?;
        }
        Ok(Contents { identity, meta, data, state, taint })
    }

    /// The file that says that the database was made.
    fn marker(&self) -> &'static str {
        match self.0.states {
            States::InMemory => "db",
            States::OnDisk => "version",
        }
    }

    /// Opens the database, or makes it.
    fn state(&self) -> Result<Arc<dyn EngineStore>, OpenError> {
        let dir = self.path("state");
        let opened: Result<Arc<dyn EngineStore>, _> = match self.0.states {
            States::InMemory => SledStore::open(&dir).map(|store| Arc::new(store) as _),
            States::OnDisk => FjallStore::open(&dir).map(|store| Arc::new(store) as _),
        };
        opened.map_err(|trouble| match trouble {
            Trouble::InUse => OpenError::InUse { dir: self.0.dir.clone() },
            Trouble::Refused(source) => self.io("opening the database")(source),
            Trouble::Damaged(reason) => self.damaged(reason),
        })
    }

    /// Who had a store here before, which must be who is asking.
    fn owner(&self) -> Result<Option<HostIdentity>, OpenError> {
        match identity::read(&self.path("identity")).map_err(self.io("reading the identity"))? {
            None => Ok(None),
            Some(Err(error)) => Err(self.damaged(format!("identity: {error}"))),
            Some(Ok(found)) if found.owner == self.0.owner => Ok(Some(found)),
            Some(Ok(found)) => Err(self.foreign(found.owner)),
        }
    }

    /// What an earlier process could not sync.
    fn taint(&self) -> Result<Option<String>, OpenError> {
        match taint(&self.0.dir).map_err(self.io("looking for a taint"))? {
            Some(reason) if !self.0.accept_taint => {
                Err(OpenError::Tainted { dir: self.0.dir.clone(), reason })
            }
            taint => Ok(taint),
        }
    }

    /// A store that may have lost what it acknowledged may only be used where no other voter has relied on that.
    fn check_alone<'b>(
        &self,
        reason: &str,
        state: &dyn EngineStore,
        logs: impl Iterator<Item = &'b log::Log>,
    ) -> Result<(), OpenError> {
        let own = self.0.owner.node.get();
        for (group, recovered) in logs.flat_map(|log| &log.groups) {
            let applied = state.open(*group).and_then(|engine| engine.applied());
            let applied = applied.map_err(self.io("reading the state"))?.unwrap_or_default();
            if let Some(voter) = recovered.membership(&applied).voter_ids().find(|voter| *voter != own) {
                let reason = format!(
                    "{reason}, and --accept-failed-sync is refused, for node {voter} votes too in group {group}"
                );
                return Err(OpenError::Tainted { dir: self.0.dir.clone(), reason });
            }
        }
        Ok(())
    }

    /// Whoever runs the node took the risk, and all that is there is on the disk.
    pub(super) fn forget_taint(&self, reason: &str) -> Result<(), OpenError> {
        tracing::warn!(reason, "going on from a store one of whose syncs failed: it may have lost something");
        forget_taint(&self.0.dir).map_err(self.io("forgetting the taint"))
    }

    /// Removes what a crash left behind.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0.dir)?.collect::<Result<Vec<_>, _>>()? {
            if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    /// Checks that the database is the one that this folder had; makes a store otherwise.
    fn claim(&self, state: &dyn EngineStore, owner: Option<HostIdentity>) -> Result<HostIdentity, OpenError> {
        let found = state.identity().map_err(self.io("reading the identity record"))?;
        match (found, owner) {
            (Some(found), _) if found.owner != self.0.owner => Err(self.foreign(found.owner)),
            (Some(found), Some(owner)) if found == owner => Ok(owner),
            (Some(found), Some(owner)) => {
                Err(self.damaged(format!("the state is of store {}, not of {}", found.store, owner.store)))
            }
            (None, Some(_)) => Err(self.empty()),
            (None, None) if self.0.must_exist => Err(self.empty()),
            // A creation that a crash cut off left nothing else; anything else was made by another hand.
            (_, None) if !self.0.must_exist && state.is_empty() && self.log_is_empty()? => {
                self.create(state).map_err(self.io("creating the store"))
            }
            (_, None) => Err(self.damaged("the identity file is missing")),
        }
    }

    /// Whether the log has nothing in it but, at most, its beginning.
    fn log_is_empty(&self) -> Result<bool, OpenError> {
        match self.recover(META_LOG) {
            Ok(log) => Ok(log.groups.is_empty()),
            Err(log::Refused::Io(error)) => Err(self.io("reading the log")(error)),
            // Cut off before it was whole.
            Err(log::Refused::Empty | log::Refused::Damaged(_)) => Ok(true),
        }
    }

    /// Makes a new store durable, the identity last: when it is there, everything else was.
    fn create(&self, state: &dyn EngineStore) -> io::Result<HostIdentity> {
        let identity =
            HostIdentity { owner: self.0.owner, store: StoreId::new(rand::random_range(1..=u64::MAX)) };
        state.claim(&identity)?;
        disk::sync_dir(&self.path("state"))?;
        log::create(&self.path(META_LOG), &identity, &self.syncs(META_LOG))?;
        disk::sync_dir(&self.0.dir)?;
        identity::write(&self.path("identity"), &identity)?;
        self.0.dir.parent().map_or(Ok(()), disk::sync_dir)?;
        Ok(identity)
    }

    /// Makes the log of the groups but the first: whole or not at all.
    pub(super) fn create_data_log(&self, identity: &HostIdentity) -> Result<log::Log, OpenError> {
        let aside = self.path("log-data.tmp");
        let made = log::create(&aside, identity, &self.syncs(DATA_LOG))
            .and_then(|()| disk::replace(&aside, &self.path(DATA_LOG)));
        made.map_err(self.io("making the log"))?;
        self.log(DATA_LOG, identity)
    }

    fn syncs(&self, name: &str) -> Syncs {
        Syncs::new(&self.path(name), self.1)
    }

    fn recover(&self, name: &str) -> Result<log::Log, log::Refused> {
        log::recover(&self.path(name), self.syncs(name))
    }

    fn log(&self, name: &str, identity: &HostIdentity) -> Result<log::Log, OpenError> {
        let log = self.recover(name).map_err(|refused| self.refused(refused))?;
        if log.identity == *identity {
            return Ok(log);
        }
        Err(self.damaged(format!("{name} is of store {}, not of {}", log.identity.store, identity.store)))
    }
}
