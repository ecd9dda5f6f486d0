//! What is known of a node's children: shown at 7401, told to the cluster, and in the file `pids` for others on
//! the machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use tracing::warn;

use crate::os;

/// The file in the data folder: `supervisor = 1`, `controller = 2`, `store = 3`, `data = 4`, without those that do not run.
pub(crate) const PIDS: &str = "pids";

/// One of the three children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// 7400.
    Controller,
    /// 8080 and 7402.
    Data,
    /// 7403.
    Store,
}

impl Kind {
    /// The word for it in files, metrics, messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Data => "data",
            Self::Store => "store",
        }
    }
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It has a process.
    Running,
    /// It ended and is about to be started again.
    Waiting,
    /// It ended in a way that a restart would repeat.
    GivenUp,
    /// It was asked to end and did.
    Stopped,
}

/// A child, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ChildView {
    /// Which one.
    pub(crate) name: Kind,
    /// What it does.
    pub(crate) state: State,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// How often it was started again.
    pub(crate) restarts: u64,
    /// It crashes again and again.
    pub(crate) alarm: bool,
    /// What it said, or what was seen, when it last ended unasked.
    pub(crate) last_message: Option<String>,
}

/// All that the supervisor knows, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct View {
    /// The children that the node has.
    pub(crate) children: Vec<ChildView>,
    /// What someone should look at.
    pub(crate) alarms: Vec<String>,
    /// The node was asked to end: nothing new should come here.
    pub(crate) ending: bool,
    /// A child heard that the cluster has removed this node.
    #[serde(skip)]
    pub(crate) removed: bool,
}

/// Shared by those who watch a child each, by the admin server, and by the one who tells the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    view: Arc<watch::Sender<View>>,
    pids: PathBuf,
}

impl Board {
    /// A board for a node whose data lies in `folder`.
    pub(crate) fn new(folder: &Path, kinds: &[Kind]) -> Self {
        let child = |name: &Kind| ChildView {
            name: *name,
            state: State::Waiting,
            pid: None,
            restarts: 0,
            alarm: false,
            last_message: None,
        };
        let view = View { children: kinds.iter().map(child).collect(), ..View::default() };
        let board = Self { view: Arc::new(watch::Sender::new(view)), pids: folder.join(PIDS) };
        board.write_pids();
        board
    }

    /// What is known now.
    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Tells of each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Changes what is known of one child.
    pub(crate) fn update(&self, kind: Kind, change: impl FnOnce(&mut ChildView)) {
        self.view.send_modify(|view| {
            if let Some(child) = view.children.iter_mut().find(|child| child.name == kind) {
                change(child);
            }
        });
        self.write_pids();
    }

    /// Sets the one alarm that is not a child's: what stands between this node and its cluster.
    pub(crate) fn alarm(&self, text: String) {
        self.view.send_modify(|view| view.alarms = vec![text]);
    }

    /// A child heard that the cluster has removed this node.
    pub(crate) fn removed(&self) {
        self.view.send_modify(|view| view.removed = true);
    }

    /// The node ends from now on.
    pub(crate) fn ending(&self) {
        self.view.send_modify(|view| view.ending = true);
    }

    fn write_pids(&self) {
        let mut text = format!("supervisor = {}\n", std::process::id());
        for child in &self.view.borrow().children {
            if let Some(pid) = child.pid {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{} = {pid}", child.name.name());
            }
        }
        if let Err(error) = os::replace_file(&self.pids, text.as_bytes()) {
            warn!(%error, file = %self.pids.display(), "cannot write the process ids");
        }
    }
}

impl View {
    /// Whether every child is as it should be.
    pub(crate) fn healthy(&self) -> bool {
        self.alarms.is_empty()
            && self.children.iter().all(|child| child.state != State::GivenUp && !child.alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_those_that_run() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::new(folder.path(), &[Kind::Controller, Kind::Data]);
        board.update(Kind::Data, |child| child.pid = Some(42));
        let text = std::fs::read_to_string(folder.path().join(PIDS)).unwrap();
        assert_eq!(text, format!("supervisor = {}\ndata = 42\n", std::process::id()));
    }

    #[test]
    fn a_child_that_was_given_up_is_not_healthy() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::new(folder.path(), &[Kind::Controller]);
        assert!(board.view().healthy());
        board.update(Kind::Controller, |child| child.state = State::GivenUp);
        assert!(!board.view().healthy());
    }
}
