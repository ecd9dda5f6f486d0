//! Deploys the functions of a manifest, and again whenever the manifest or a component changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::screen;
use crate::address::Address;
use crate::client::Targets;
use crate::command::deploy::{Deployed, deploy_manifest};
use crate::exit::Failure;
use crate::manifest;
use crate::output::Talk;
use crate::say;

/// A build writes a component in many steps: it is complete when nothing more comes for so long.
const QUIET: Duration = Duration::from_millis(300);
/// Changes that wait to be looked at. More are not needed: one is enough to deploy again.
const CHANGES_MAX: usize = 64;

/// Deploys and watches until something makes watching impossible.
pub(super) async fn watch(path: &Path, cluster: &[Address], talk: Talk) -> Result<Infallible, Failure> {
    let path = if path.is_dir() { path.join(manifest::FILE_NAME) } else { path.to_owned() };
    loop {
        // Before the files are read, so that no change falls between.
        let mut changes = Changes::of(&files(&path)?)?;
        match deploy_manifest(&path, Targets::given(cluster.to_vec()), talk).await {
            Ok(deployed) => deployed.iter().try_for_each(show)?,
            Err(failure) => say(talk.failed(&failure.to_string())),
        }
        say("watching for changes");
        let changed = changes.next().await;
        say(&format!("{} changed", changed.display()));
    }
}

/// One line for a function that was deployed.
pub(super) fn show(deployed: &Deployed) -> Result<(), Failure> {
    let note = if deployed.is_unchanged() { " (unchanged)" } else { "" };
    let (function, version) = (deployed.function(), deployed.version());
    screen::print(&format!("{function}@{version}{note}  {}", deployed.urls().join("  ")))
}

/// The manifest, its components, and the data of its schedules. A manifest that cannot be read is watched alone: the deploy says what is
/// wrong with it.
fn files(path: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let manifest = manifest::read(path).unwrap_or_default();
    let components = manifest.functions.into_iter().map(|function| function.component);
    let data = manifest.schedules.into_iter().filter_map(|schedule| match schedule.data {
        manifest::Data::File(file) => Some(file),
        manifest::Data::Text(_) => None,
    });
    let all = components.chain(data).chain([path.to_owned()]);
    all.map(|file| std::path::absolute(&file).map_err(|error| Failure::local(file.display(), error)))
        .collect()
}

/// Changes of some files, from when it was made.
#[derive(Debug)]
struct Changes {
    files: BTreeSet<PathBuf>,
    events: mpsc::Receiver<PathBuf>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches the folders of the files, because a new file takes the place of an old one; where a folder is
    /// not there yet, the nearest one above it.
    fn of(files: &BTreeSet<PathBuf>) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel(CHANGES_MAX);
        let told = move |event: notify::Result<Event>| {
            for path in
                event.into_iter().filter(|event| !event.kind.is_access()).flat_map(|event| event.paths)
            {
                // A full queue says the same: something changed.
                let _ = sender.try_send(path);
            }
        };
        let cannot = |error| Failure::local("cannot watch for changes", error);
        let mut watcher = notify::recommended_watcher(told).map_err(cannot)?;
        let folder =
            |file: &PathBuf| file.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned);
        for folder in files.iter().filter_map(folder).collect::<BTreeSet<_>>() {
            watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(cannot)?;
        }
        Ok(Self { files: files.clone(), events, _watcher: watcher })
    }

    /// Waits for a change, and then until no more come.
    async fn next(&mut self) -> PathBuf {
        let changed = self.any().await;
        while tokio::time::timeout(QUIET, self.any()).await.is_ok() {}
        changed
    }

    async fn any(&mut self) -> PathBuf {
        loop {
            match self.events.recv().await {
                Some(path) if self.files.iter().any(|file| file.starts_with(&path)) => return path,
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn changed(changes: &mut Changes) -> PathBuf {
        tokio::time::timeout(Duration::from_secs(10), changes.next()).await.expect("a change")
    }

    #[tokio::test]
    async fn a_component_that_is_replaced_is_seen_and_its_neighbour_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("hello.wasm");
        fs::write(&component, "1").unwrap();
        let mut changes = Changes::of(&BTreeSet::from([component.clone()])).unwrap();
        fs::write(folder.path().join("other.txt"), "x").unwrap();
        fs::write(folder.path().join("new"), "2").unwrap();
        fs::rename(folder.path().join("new"), &component).unwrap();
        assert_eq!(changed(&mut changes).await, component);
        assert!(changes.events.try_recv().is_err(), "one build is one change");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_yet_is_seen_to_appear() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let mut changes = Changes::of(&BTreeSet::from([target.join("release/hello.wasm")])).unwrap();
        fs::create_dir(&target).unwrap();
        assert_eq!(changed(&mut changes).await, target);
    }

    #[test]
    fn a_manifest_that_is_wrong_is_watched_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coracle.toml");
        let schedule = "[schedule.s]\ncron = '@daily'\nfunction = 'hello'\ndata = '@s.json'\n";
        fs::write(&path, format!("[function.hello]\ncomponent = 'a.wasm'\n{schedule}")).unwrap();
        let beside = |name: &str| folder.path().join(name);
        let expected = BTreeSet::from([path.clone(), beside("a.wasm"), beside("s.json")]);
        assert_eq!(files(&path).unwrap(), expected);
        fs::write(&path, "nonsense").unwrap();
        assert_eq!(files(&path).unwrap(), BTreeSet::from([path]));
    }
}
