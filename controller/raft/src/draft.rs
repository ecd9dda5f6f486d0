//! A view with what was changed over it: what a machine applies a command to.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::iter::{Peekable, from_fn};

use bytes::Bytes;

use crate::reader::{Reader, RecordsIter, between};
use crate::state_machine::Change;

/// Records as they will be. It reads its own changes; nobody else does before they are written.
pub struct Draft<'a> {
    over: &'a dyn Reader,
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

impl<'a> Draft<'a> {
    /// Nothing is changed yet.
    #[must_use]
    pub fn over(reader: &'a dyn Reader) -> Self {
        Self { over: reader, changes: BTreeMap::new() }
    }

    /// The value of a key, as it will be.
    ///
    /// # Errors
    /// When the reader below cannot read it.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.over.get(key),
        }
    }

    /// From the first key on and before the second one, as they will be.
    #[must_use]
    pub fn scan(&self, from: &[u8], to: &[u8]) -> RecordsIter<'_> {
        let changed = between(&self.changes, from, to).peekable();
        merged(self.over.scan(from, to).peekable(), changed)
    }

    /// Gives a key a value.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.changes.insert(key, Some(value));
    }

    /// Takes a key away, if it is there.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.changes.insert(Bytes::copy_from_slice(key.as_ref()), None);
    }

    /// Takes over what a draft over this one changed.
    pub(crate) fn take(&mut self, changes: &[Change]) {
        let changes = changes.iter().map(|Change { key, value }| (key.clone(), value.clone()));
        self.changes.extend(changes);
    }

    /// What was changed, in key order; each key once.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        self.changes.into_iter().map(|(key, value)| Change { key, value })
    }
}

impl Reader for Draft<'_> {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Draft::get(self, key)
    }

    fn scan(&self, from: &[u8], to: &[u8]) -> RecordsIter<'_> {
        Draft::scan(self, from, to)
    }
}

/// Both in key order, the changes in the place of what they change.
fn merged<'b>(
    mut below: Peekable<RecordsIter<'b>>,
    mut changed: Peekable<impl Iterator<Item = (&'b Bytes, &'b Option<Bytes>)> + Send + 'b>,
) -> RecordsIter<'b> {
    Box::new(from_fn(move || {
        loop {
            let order = match (below.peek(), changed.peek()) {
                (None | Some(Err(_)), None) | (Some(Err(_)), Some(_)) => return below.next(),
                (Some(Ok(_)), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((key, _))), Some((other, _))) => key.cmp(other),
            };
            if order == Ordering::Less {
                return below.next();
            }
            if order == Ordering::Equal {
                // What it was is not told any more.
                drop(below.next());
            }
            if let Some((key, Some(value))) = changed.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn map(text: &[(&str, &str)]) -> BTreeMap<Bytes, Bytes> {
        text.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
    }

    fn scanned(reader: &dyn Reader, from: &str, to: &str) -> BTreeMap<Bytes, Bytes> {
        let records: Vec<_> = reader.scan(from.as_bytes(), to.as_bytes()).map(Result::unwrap).collect();
        assert!(records.is_sorted_by(|(one, _), (other, _)| one < other), "{records:?}");
        records.into_iter().collect()
    }

    #[test]
    fn a_draft_reads_its_own_changes() {
        let below = map(&[("b", "1"), ("d", "1"), ("f", "1")]);
        let mut draft = Draft::over(&below);
        draft.put(bytes("a"), bytes("2"));
        draft.put(bytes("d"), bytes("2"));
        draft.remove("f");
        draft.remove("g");
        draft.put(bytes("h"), bytes("2"));
        assert_eq!(draft.get(b"b").unwrap(), Some(bytes("1")));
        assert_eq!(draft.get(b"d").unwrap(), Some(bytes("2")));
        assert_eq!(draft.get(b"f").unwrap(), None);
        assert_eq!(scanned(&draft, "a", "z"), map(&[("a", "2"), ("b", "1"), ("d", "2"), ("h", "2")]));
        assert_eq!(scanned(&draft, "b", "h"), map(&[("b", "1"), ("d", "2")]));
        assert_eq!(scanned(&draft, "h", "a"), map(&[]), "the end is before the beginning");
        assert_eq!(scanned(&below, "h", "a"), map(&[]));
        let changed: Vec<_> = draft.into_changes().map(|Change { key, .. }| key).collect();
        assert_eq!(changed, ["a", "d", "f", "g", "h"].map(bytes));
    }

    #[test]
    fn a_draft_over_a_draft_leaves_it_as_it_is() {
        let below = map(&[("a", "1"), ("b", "1")]);
        let mut first = Draft::over(&below);
        first.remove("a");
        first.put(bytes("c"), bytes("2"));
        let mut second = Draft::over(&first);
        second.put(bytes("a"), bytes("3"));
        second.remove("c");
        assert_eq!(scanned(&second, "a", "z"), map(&[("a", "3"), ("b", "1")]));
        drop(second);
        assert_eq!(scanned(&first, "a", "z"), map(&[("b", "1"), ("c", "2")]));
    }

    /// The disk gives one record and then nothing more.
    struct Torn;

    impl Reader for Torn {
        fn get(&self, _key: &[u8]) -> io::Result<Option<Bytes>> {
            Err(io::ErrorKind::InvalidData.into())
        }

        fn scan(&self, _from: &[u8], _to: &[u8]) -> RecordsIter<'_> {
            let torn = Err(io::ErrorKind::InvalidData.into());
            Box::new([Ok((Bytes::from_static(b"a"), Bytes::new())), torn].into_iter())
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_and_not_passed_over() {
        let mut draft = Draft::over(&Torn);
        draft.put(bytes("b"), bytes("2"));
        assert!(draft.get(b"a").is_err());
        let told: Vec<_> = draft.scan(b"a", b"z").map(|record| record.is_ok()).collect();
        assert_eq!(told, [true, false, true]);
    }
}
