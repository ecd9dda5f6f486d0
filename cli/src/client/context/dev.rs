//! The context of a cluster that `coracle dev` runs: the current one until it ends, then the former one is that again.
//! A second cluster has a name of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Context, Contexts, read, write};
use crate::client::Address;
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
        fs::create_dir_all(folder).map_err(|error| Failure::local(folder.display(), error))?;
        let (name, lock) = free_name(folder)?;
        let mut contexts = read(Some(folder))?;
        let texts = |all: &[Address]| all.iter().map(ToString::to_string).collect();
        let current = contexts.current.replace(name.clone());
        // One that was killed gave nothing back: what was before it is before this one.
        let killed = current.as_ref() == Some(&name);
        let former = if killed { contexts.context.remove(&name).and_then(|it| it.former) } else { current };
        let context = Context { addresses: texts(addresses), gateways: texts(gateways), former };
        contexts.context.insert(name.clone(), context);
        write(folder, &contexts)?;
        Ok(Self { folder: folder.to_owned(), name, _lock: lock })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the place back to the context that was the current one before, unless it was given to another meanwhile.
    pub(crate) fn end(self) -> Result<(), Failure> {
        let mut contexts = read(Some(&self.folder))?;
        let former = contexts.context.get_mut(&self.name).and_then(|own| own.former.take());
        give_back(&mut contexts, &self.name, former);
        write(&self.folder, &contexts)
    }
}

/// Puts the former one wherever the one that ended stands: as the current one, or as what a later cluster gives back.
fn give_back(contexts: &mut Contexts, ended: &str, former: Option<String>) {
    let former = former.filter(|former| contexts.context.contains_key(former));
    let current = std::iter::once(&mut contexts.current);
    let places = current.chain(contexts.context.values_mut().map(|context| &mut context.former));
    for place in places.filter(|place| place.as_deref() == Some(ended)) {
        place.clone_from(&former);
    }
}

fn free_name(folder: &Path) -> Result<(String, File), Failure> {
    for number in 1..=CLUSTERS_MAX {
        let name = if number == 1 { NAME.to_owned() } else { format!("{NAME}-{number}") };
        let path = folder.join(format!("{name}.lock"));
        if let Some(lock) = os::lock(&path).map_err(|error| Failure::local(path.display(), error))? {
            return Ok((name, lock));
        }
    }
    Err(Failure::usage(format!("{CLUSTERS_MAX} clusters of 'coracle dev' run already")))
}

#[cfg(test)]
mod tests {
    use super::super::{FILE_NAME, choose};
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
}
