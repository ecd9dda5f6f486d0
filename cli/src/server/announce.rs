//! Tells the cluster where this node is reached, at each start: its addresses or version may have changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_controller::identity::Identity;
use coracle_proto::record::Node;
use tracing::{debug, info, warn};

use super::join::{self, Announced, JoinError};
use crate::ground::Board;
use crate::os;

/// The file with the last known controllers, one `HOST:PORT` a line: with them the node finds its cluster
/// again when all those that it joined through are gone.
const FILE: &str = "controllers";
/// Longest list that is kept: more than a cluster has controllers.
const CONTROLLERS_MAX: usize = 64;
/// Between two tries, each of which asks every controller for about a minute.
const PAUSE: Duration = Duration::from_secs(5);

/// Controllers that this node may ask, without repetition: itself, those of the last run, those that it was
/// told of.
pub(crate) fn known_controllers(folder: &Path, own: Option<String>, told: &[String]) -> Vec<String> {
    let kept = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let mut known: Vec<String> = Vec::new();
    let all = own.into_iter().chain(kept.lines().map(str::to_owned)).chain(told.iter().cloned());
    for address in all.filter(|address| !address.is_empty()) {
        if known.len() < CONTROLLERS_MAX && !known.contains(&address) {
            known.push(address);
        }
    }
    known
}

/// Before the first try: this node's own controller, which is asked first, must open its store.
const START_PAUSE: Duration = Duration::from_secs(1);

/// Tries until the cluster knows all of it; only a refusal ends it.
pub(crate) async fn announce(folder: PathBuf, identity: Identity, node: Node, board: Board) {
    tokio::time::sleep(START_PAUSE).await;
    loop {
        match join::announce(&identity, &node).await {
            Ok(Announced { controllers, later }) => {
                keep(&folder, &controllers);
                if !later {
                    return info!(node = %identity.node, "announced");
                }
                debug!("not all controllers know of data groups yet");
                tokio::time::sleep(PAUSE).await;
            }
            Err(JoinError::Refused { refusal }) => {
                warn!(code = %refusal.code, reason = %refusal, "the cluster does not take this node");
                return board.alarm(format!("the cluster does not take this node: {refusal}"));
            }
            Err(error) => {
                warn!(%error, "could not announce this node yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Writes the list where it has changed.
pub(super) fn keep(folder: &Path, controllers: &[String]) {
    let text: String =
        controllers.iter().take(CONTROLLERS_MAX).map(|address| format!("{address}\n")).collect();
    if fs::read_to_string(folder.join(FILE)).is_ok_and(|kept| kept == text) {
        return;
    }
    if let Err(error) = os::replace_file(&folder.join(FILE), text.as_bytes()) {
        warn!(%error, "cannot keep the addresses of the controllers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_the_last_run_are_asked_too() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), &["a:1".to_owned(), "b:1".to_owned()]);
        let known =
            known_controllers(folder.path(), Some("me:1".to_owned()), &["b:1".to_owned(), "c:1".to_owned()]);
        assert_eq!(known, ["me:1", "a:1", "b:1", "c:1"]);
    }
}
