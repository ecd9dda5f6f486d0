//! Records that are read where they lie: what a state larger than memory looks like to whoever reads it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

/// Records in key order, each of which may turn out to be unreadable.
pub type RecordsIter<'a> = Box<dyn Iterator<Item = io::Result<(Bytes, Bytes)>> + Send + 'a>;

/// Records in key order, at one moment.
pub trait Reader: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the disk does not give it, or gives something that was not written.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// From the first key on and before the second one; nothing when the second is not after the first.
    fn scan(&self, from: &[u8], to: &[u8]) -> RecordsIter<'_>;
}

/// All records of a state, at one moment.
pub(crate) trait Whole: Reader {
    fn all(&self) -> RecordsIter<'_>;
}

/// What a state on the disk held after some command: it stays as it was, whatever is applied meanwhile. Clones are cheap
/// and share it. Whoever keeps one for long keeps the memory and the disk space of what has changed since.
#[derive(Clone)]
pub struct View(Arc<dyn Whole>);

impl View {
    pub(crate) fn new(records: Arc<dyn Whole>) -> Self {
        Self(records)
    }

    /// All records.
    pub(crate) fn all(&self) -> RecordsIter<'_> {
        self.0.all()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl Reader for View {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> RecordsIter<'_> {
        self.0.scan(from, to)
    }
}

/// In memory: for tests of a machine that is pure.
impl Reader for BTreeMap<Bytes, Bytes> {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> RecordsIter<'_> {
        let records = between(self, from, to);
        Box::new(records.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

/// A range of a map, empty where the end is not after the beginning: the map itself would panic.
pub(crate) fn between<'a, V>(
    map: &'a BTreeMap<Bytes, V>,
    from: &[u8],
    to: &[u8],
) -> impl Iterator<Item = (&'a Bytes, &'a V)> + use<'a, V> {
    let to = to.max(from);
    map.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
}
