//! What this store was told of its groups, and where their members are: kept on the disk, so that a store that starts while no
//! controller answers has its groups.

mod codec;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::codec::DecodeError;
use coracle_proto::id::{GroupId, NodeId, Revision};
use coracle_raft::{AddressBook, Seat};
use tracing::warn;

/// The file in the node's folder: an `ArrangedGroups`.
const FILE: &str = "store-groups";

/// Who the members of a group are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrangement {
    /// Which group.
    pub(crate) group: GroupId,
    /// Of the cluster's state, when that was decided.
    pub(crate) revision: Revision,
    /// Where each of them is.
    pub(crate) members: BTreeMap<NodeId, Seat>,
    /// The group has had a leader: nobody founds it.
    pub(crate) begun: bool,
    /// This store is none of them and votes still: it has its replica until it does not.
    pub(crate) stays: bool,
}

impl Arrangement {
    /// Whether a node is to have a replica.
    pub(crate) fn keeps(&self, node: NodeId) -> bool {
        self.stays || self.members.contains_key(&node)
    }
}

/// The newest arrangement of each group. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    path: PathBuf,
    groups: Arc<Mutex<BTreeMap<GroupId, Arrangement>>>,
    /// Held while the file is written: whoever dials a member does not wait for the disk.
    writing: Arc<Mutex<()>>,
}

impl Book {
    /// Opens the book of a store. One that cannot be read is begun anew: the cluster's leader tells all of it again.
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let groups = read(&path).unwrap_or_else(|error| {
            warn!(file = %path.display(), %error, "what this store was told of its groups cannot be read: it is told again");
            BTreeMap::new()
        });
        Self { path, groups: Arc::new(Mutex::new(groups)), writing: Arc::default() }
    }

    /// All that it has.
    pub(crate) fn all(&self) -> Vec<Arrangement> {
        self.groups().values().cloned().collect()
    }

    /// What is known of one group.
    pub(crate) fn of(&self, group: GroupId) -> Option<Arrangement> {
        self.groups().get(&group).cloned()
    }

    /// Takes over a newer word than the one that it has, and keeps it. Answers whether it was one. Blocks.
    ///
    /// # Errors
    /// When the disk does not take it: then nothing is taken over.
    pub(crate) fn note(&self, arrangement: &Arrangement) -> io::Result<bool> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.groups().clone();
        if let Some(known) = next.get(&arrangement.group)
            && (known.revision > arrangement.revision || known == arrangement)
        {
            return Ok(false);
        }
        next.insert(arrangement.group, arrangement.clone());
        self.write(&next)?;
        *self.groups() = next;
        Ok(true)
    }

    fn write(&self, groups: &BTreeMap<GroupId, Arrangement>) -> io::Result<()> {
        let fresh = self.path.with_extension("tmp");
        let mut file = File::create(&fresh)?;
        file.write_all(&codec::encode(groups.values()))?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        File::open(self.path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arrangement>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<GroupId, Arrangement>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        bytes => bytes?,
    };
    let damaged = |error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    Ok(codec::decode(&bytes).map_err(damaged)?.into_iter().map(|it| (it.group, it)).collect())
}

/// What was told last of any group goes before what a group recorded: a node that has moved is found again by all of them.
impl AddressBook for Book {
    fn address(&self, node: NodeId, recorded: &str) -> String {
        let groups = self.groups();
        let told = groups.values().filter_map(|group| Some((group.revision, group.members.get(&node)?)));
        let newest = told.filter(|(_, seat)| !seat.address.is_empty()).max_by_key(|(revision, _)| *revision);
        newest.map_or_else(|| recorded.to_owned(), |(_, seat)| seat.address.clone())
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::StoreId;

    use super::*;

    pub(super) fn arrangement(group: u32, revision: u64, address: &str) -> Arrangement {
        let seat = Seat { address: address.to_owned(), store: StoreId::new(7) };
        Arrangement {
            group: GroupId::new(group),
            revision: Revision::new(revision),
            members: BTreeMap::from([(NodeId::new(1), seat)]),
            begun: revision > 1,
            stays: revision > 2,
        }
    }

    #[test]
    fn the_newest_word_counts_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path());
        assert!(book.note(&arrangement(1, 5, "a:1")).unwrap());
        assert!(!book.note(&arrangement(1, 5, "a:1")).unwrap(), "nothing new");
        assert!(!book.note(&arrangement(1, 4, "b:1")).unwrap(), "an older word");
        assert!(book.note(&arrangement(1, 5, "c:1")).unwrap(), "members were told to have moved");
        assert!(book.note(&arrangement(2, 3, "d:1")).unwrap());
        let again = Book::open(folder.path());
        assert_eq!(again.all(), [arrangement(1, 5, "c:1"), arrangement(2, 3, "d:1")]);
        assert_eq!(again.address(NodeId::new(1), "old:1"), "c:1");
        assert_eq!(again.address(NodeId::new(2), "old:1"), "old:1");
    }

    #[test]
    fn a_damaged_book_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"\xff\xff\xff").unwrap();
        let book = Book::open(folder.path());
        assert_eq!(book.all(), []);
        assert!(book.note(&arrangement(1, 5, "a:1")).unwrap());
        assert_eq!(Book::open(folder.path()).all().len(), 1);
    }
}
