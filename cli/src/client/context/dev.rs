//! The context of a cluster that `coracle dev` runs: the current one until it ends, then the former one is that again.
//! A second cluster has a name of its own.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Context, Contexts, change};
use crate::address::Address;
use crate::exit::Failure;
use crate::os;

/// The name of the first; the next one is `dev-2`.
pub(crate) const NAME: &str = "dev";
/// Clusters that run at once: ports and memory end sooner.
const CLUSTERS_MAX: u32 = 100;

/// A context that this process keeps.
#[derive(Debug)]
pub(crate) struct DevContext {
    folder: PathBuf,
    name: String,
    /// Held as long as the cluster runs, however its process ends: by it others know that the name is taken.
    _lock: File,
}

impl DevContext {
    /// Makes a cluster the one that all verbs use.
    pub(crate) fn begin(folder: &Path, addresses: &[Address], gateways: &[Address]) -> Result<Self, Failure> {
        let texts = |all: &[Address]| all.iter().map(ToString::to_string).collect();
        let context = Context { addresses: texts(addresses), gateways: texts(gateways), former: None };
        change(folder, |contexts| {
            heal(folder, contexts)?;
            let (name, lock) = free_name(folder)?;
            // What it said before is of a cluster that is gone. Were the name still what another one gives back, the
            // two would name each other, and what was before both would be lost.
            let killed = contexts.context.remove(&name).and_then(|it| it.former);
            give_back(contexts, &name, killed);
            let former = contexts.current.replace(name.clone());
            contexts.context.insert(name.clone(), Context { former, ..context });
            Ok(Self { folder: folder.to_owned(), name, _lock: lock })
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the place back to the context that was the current one before, unless it was given to another meanwhile.
    pub(crate) fn end(self) -> Result<(), Failure> {
        change(&self.folder, |contexts| {
            heal(&self.folder, contexts)?;
            let former = contexts.context.get_mut(&self.name).and_then(|own| own.former.take());
            give_back(contexts, &self.name, former);
            Ok(())
        })
    }
}

/// Ends the contexts of clusters that were killed and gave nothing back: nobody holds their locks.
fn heal(folder: &Path, contexts: &mut Contexts) -> Result<(), Failure> {
    for name in names() {
        let took = contexts.context.get(&name).is_some_and(|context| context.former.is_some());
        if took && let Some(_lock) = take(folder, &name)? {
            let former = contexts.context.get_mut(&name).and_then(|context| context.former.take());
            give_back(contexts, &name, former);
        }
    }
    Ok(())
}

/// Puts the former one wherever the one that ended stands: as the current one, or as what a later cluster gives back.
fn give_back(contexts: &mut Contexts, ended: &str, former: Option<String>) {
    let former = former.filter(|former| former != ended && contexts.context.contains_key(former));
    let current = std::iter::once(&mut contexts.current);
    let places = current.chain(contexts.context.values_mut().map(|context| &mut context.former));
    for place in places.filter(|place| place.as_deref() == Some(ended)) {
        place.clone_from(&former);
    }
}

fn free_name(folder: &Path) -> Result<(String, File), Failure> {
    for name in names() {
        if let Some(lock) = take(folder, &name)? {
            return Ok((name, lock));
        }
    }
    Err(Failure::usage(format!("{CLUSTERS_MAX} clusters of 'coracle dev' run already")))
}

/// What clusters are called, in the order of their beginning.
fn names() -> impl Iterator<Item = String> {
    let later = (2..=CLUSTERS_MAX).map(|number| format!("{NAME}-{number}"));
    std::iter::once(NAME.to_owned()).chain(later)
}

/// The lock of a name, unless a cluster that runs has it.
fn take(folder: &Path, name: &str) -> Result<Option<File>, Failure> {
    let path = folder.join(format!("{name}.lock"));
    os::lock(&path).map_err(|error| Failure::local(path.display(), error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Barrier;
    use std::thread;

    use super::super::{FILE_NAME, choose, read};
    use super::*;

    fn begin(folder: &Path) -> DevContext {
        DevContext::begin(folder, &["127.0.0.1:7400".parse().unwrap()], &[]).unwrap()
    }

    fn current(folder: &Path) -> Option<String> {
        read(Some(folder)).unwrap().current
    }

    fn with_prod() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = "current = 'prod'\n[context.prod]\naddresses = ['p:1', 'p:2']\n";
        fs::write(folder.path().join(FILE_NAME), text).unwrap();
        folder
    }

    #[test]
    fn dev_becomes_the_current_context_and_keeps_the_others() {
        let folder = with_prod();
        let path = folder.path();
        let nodes = ["127.0.0.1:7400".parse().unwrap(), "127.0.0.1:7410".parse().unwrap()];
        let dev = DevContext::begin(path, &nodes, &["127.0.0.1:8080".parse().unwrap()]).unwrap();
        let contexts = read(Some(path)).unwrap();
        let picked = contexts.pick(None).unwrap().unwrap();
        assert_eq!((picked.name.as_str(), picked.addresses.len(), picked.gateways.len()), ("dev", 2, 1));
        assert_eq!(contexts.pick(Some("prod")).unwrap().unwrap().addresses[1].as_str(), "p:2");
        assert!(contexts.pick(Some("other")).unwrap_err().message.contains("known: dev, prod"));
        dev.end().unwrap();
        assert_eq!(current(path).as_deref(), Some("prod"));
        choose(path, "dev").unwrap();
        let dev = begin(path);
        choose(path, "prod").unwrap();
        dev.end().unwrap();
        assert_eq!(current(path).as_deref(), Some("prod"), "chosen meanwhile");
        assert!(choose(path, "other").unwrap_err().message.contains("known: dev, prod"));
    }

    #[test]
    fn a_second_cluster_has_its_own_name_and_either_may_end_first() {
        for first_ends_first in [true, false] {
            let folder = with_prod();
            let path = folder.path();
            let (first, second) = (begin(path), begin(path));
            assert_eq!((first.name(), second.name()), ("dev", "dev-2"));
            assert_eq!(current(path).as_deref(), Some("dev-2"));
            let (ends, stays, left) =
                if first_ends_first { (first, second, "dev-2") } else { (second, first, "dev") };
            ends.end().unwrap();
            assert_eq!(current(path).as_deref(), Some(left));
            stays.end().unwrap();
            assert_eq!(current(path).as_deref(), Some("prod"));
        }
    }

    #[test]
    fn one_that_was_killed_is_succeeded() {
        let folder = with_prod();
        drop(begin(folder.path()));
        assert_eq!(current(folder.path()).as_deref(), Some("dev"), "it gave nothing back");
        let dev = begin(folder.path());
        assert_eq!(dev.name(), "dev");
        dev.end().unwrap();
        assert_eq!(current(folder.path()).as_deref(), Some("prod"));
    }

    #[test]
    fn a_name_that_is_taken_again_is_given_back_by_nobody() {
        let folder = with_prod();
        let path = folder.path();
        let (first, second) = (begin(path), begin(path));
        drop(first);
        let third = begin(path);
        assert_eq!((third.name(), second.name()), ("dev", "dev-2"));
        third.end().unwrap();
        assert_eq!(current(path).as_deref(), Some("dev-2"));
        second.end().unwrap();
        assert_eq!(current(path).as_deref(), Some("prod"));
    }

    #[test]
    fn one_that_was_killed_stays_current_only_until_another_one_begins_or_ends() {
        for ends in [true, false] {
            let folder = with_prod();
            let path = folder.path();
            let first = begin(path);
            drop(begin(path));
            assert_eq!(current(path).as_deref(), Some("dev-2"), "it gave nothing back");
            if ends {
                first.end().unwrap();
            } else {
                begin(path).end().unwrap();
                assert_eq!(current(path).as_deref(), Some("dev"));
                first.end().unwrap();
            }
            assert_eq!(current(path).as_deref(), Some("prod"));
        }
    }

    #[test]
    fn clusters_that_begin_together_do_not_undo_each_other() {
        const TOGETHER: usize = 8;
        let folder = with_prod();
        let (path, all) = (folder.path(), Barrier::new(TOGETHER));
        let together = || {
            all.wait();
            begin(path)
        };
        let begun: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..TOGETHER).map(|_| scope.spawn(together)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let contexts = read(Some(path)).unwrap();
        assert!(begun.iter().all(|dev| contexts.context.contains_key(dev.name())), "{contexts:?}");
        begun.into_iter().for_each(|dev| dev.end().unwrap());
        assert_eq!(current(path).as_deref(), Some("prod"));
    }
}
