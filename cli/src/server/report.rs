//! Tells the cluster of this node's processes. The supervisor does it, because it alone outlives both children and
//! knows why one of them is not started again.

use std::path::PathBuf;
use std::time::Duration;

use coracle_controller::identity::Identity;
use coracle_proto::pb::{ChildProcess, ChildState, NodeProcesses};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::announce::{keep, known_controllers};
use super::join::{self, JoinError};
use crate::ground::{Board, ChildView, State, View};

/// Told again so often although nothing changed: a controller that was started again has forgotten, and all
/// forget a node that is silent for a minute.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two tries: at the start of a node its own controller does not listen yet.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest message of a child that is passed on: it stands in a line of `coracle status`.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The cluster has no record of this node any more, and never will again.
#[derive(Debug)]
pub(crate) struct Removed;

/// Tells until the cluster answers that it has removed this node, be it to one of its children: a controller may know of
/// others of which the supervisor has not heard yet. `incarnation` is the number of the supervisor's start.
pub(crate) async fn tell(
    folder: PathBuf,
    own: Option<String>,
    identity: Identity,
    incarnation: u64,
    board: Board,
) -> Removed {
    let mut views = board.subscribe();
    tokio::select! {
        removed = tell_all(folder, own, identity, incarnation, board) => removed,
        // The board lives as long as the other branch does.
        _ = views.wait_for(|view| view.removed) => Removed,
    }
}

async fn tell_all(
    folder: PathBuf,
    own: Option<String>,
    identity: Identity,
    incarnation: u64,
    board: Board,
) -> Removed {
    let mut changes = board.subscribe();
    let mut told = NodeProcesses {
        node: identity.node.get(),
        cluster_id: identity.cluster.to_wire(),
        incarnation,
        sequence: 0,
        host_id: coracle_node::host_id(),
        supervisor_pid: std::process::id(),
        children: Vec::new(),
    };
    loop {
        told.children = children(&changes.borrow_and_update());
        told.sequence += 1;
        let known = known_controllers(&folder, own.clone(), &identity.controllers);
        let asked = Identity { controllers: known, ..identity.clone() };
        match join::tell(&asked, &told).await {
            Ok(controllers) => {
                keep(&folder, &controllers);
                // Whether a change or the time ends the wait makes no difference.
                let _ = timeout(AGAIN, changes.changed()).await;
            }
            Err(JoinError::Refused { refusal: _ }) => return Removed,
            Err(error) => {
                debug!(%error, "no controller was told of the processes");
                sleep(PAUSE).await;
            }
        }
    }
}

fn children(view: &View) -> Vec<ChildProcess> {
    view.children.iter().map(child).collect()
}

fn child(view: &ChildView) -> ChildProcess {
    let state = match view.state {
        State::Running => ChildState::Running,
        State::Waiting => ChildState::Waiting,
        State::GivenUp => ChildState::GivenUp,
        State::Stopped => ChildState::Stopped,
    };
    let message = view.last_message.as_deref().unwrap_or_default();
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    ChildProcess {
        name: view.name.name().to_owned(),
        state: state.into(),
        pid: view.pid.unwrap_or_default(),
        restarts: view.restarts,
        alarm: view.alarm,
        message: message.get(..end).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coracle_proto::id::{ClusterId, NodeId};

    use super::super::incarnation::Incarnations;
    use super::super::keeper::Keeper;
    use super::super::restart::{Ended, Next};
    use super::*;
    use crate::exit::Exit;
    use crate::ground::Kind;

    #[tokio::test]
    async fn a_child_that_heard_of_the_removal_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::new(folder.path(), &[Kind::Controller]);
        let identity = Identity {
            cluster: ClusterId::new(1),
            cluster_name: "c".to_owned(),
            node: NodeId::new(1),
            founder: true,
            controllers: Vec::new(),
        };
        // Nobody is known who could be told.
        let told = tell(folder.path().to_owned(), None, identity, 1, board.clone());
        let lock = crate::os::lock(&folder.path().join("lock")).unwrap().unwrap();
        let incarnations = Incarnations::load(folder.path());
        let order = Arc::new(crate::ground::example());
        let keeper =
            Keeper::new(Kind::Controller, order, Arc::new(lock), Vec::new(), incarnations, board.clone());
        keeper.note(Ended::Code(Exit::Removed as i32), None, Next::GiveUp);
        assert!(timeout(AGAIN, told).await.is_ok(), "the node ends");
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let view = ChildView {
            name: Kind::Data,
            state: State::GivenUp,
            pid: None,
            restarts: 2,
            alarm: true,
            last_message: Some("ä".repeat(MESSAGE_BYTES_MAX)),
        };
        let told = child(&view);
        assert_eq!((told.name.as_str(), told.pid, told.state()), ("data", 0, ChildState::GivenUp));
        assert_eq!(told.message, "ä".repeat(MESSAGE_BYTES_MAX / 2));
    }
}
