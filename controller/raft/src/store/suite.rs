//! openraft's own tests of a log store and a state machine, on ours.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::{LogStore, Machine, Opened, open};
use crate::metrics::StoreMetrics;
use crate::options::Identity;
use crate::state_machine::{Applied, Halt, NoObserver, Position, RestoreError, StateMachine};
use crate::types::Types;

/// Keeps nothing.
#[derive(Clone)]
struct Void;

impl StateMachine for Void {
    fn restore(_records: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        Ok(Self)
    }

    fn apply(&mut self, _position: Position, _command: &[u8]) -> Result<Applied, Halt> {
        Ok(Applied::default())
    }

    fn records(&self) -> Box<dyn Iterator<Item = (Bytes, Bytes)> + Send + '_> {
        Box::new(std::iter::empty())
    }
}

struct Builder;

impl StoreBuilder<Types, LogStore, Machine<Void>, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Machine<Void>), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("0");
        let identity = Identity { cluster: ClusterId::new(1), group: GroupId::META, node: NodeId::new(1) };
        let Opened { log, machine, .. } =
            open(&path, &identity, Arc::new(NoObserver), Arc::new(StoreMetrics::default())).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
