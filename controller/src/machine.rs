//! The cluster's state as Raft's state machine: envelopes in, changed records out, all as bytes.

mod codec;

use bytes::Bytes;
use coracle_proto::codec::Door;
use coracle_raft::{Applied, Halt, Position, RestoreError, StateMachine};

use crate::model::{self, ClusterState, Encoded};

pub(crate) use codec::change_to_wire;

/// The replicated state of group `meta`.
#[derive(Debug, Clone)]
pub(crate) struct MetaMachine {
    state: ClusterState,
}

impl MetaMachine {
    pub(crate) const fn state(&self) -> &ClusterState {
        &self.state
    }
}

impl StateMachine for MetaMachine {
    fn restore(records: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        let wrong = |reason: String| RestoreError { reason };
        let mut restored = Vec::new();
        for (key, value) in records {
            restored.push(codec::record(&key, &value).map_err(|error| wrong(error.to_string()))?);
        }
        let state = ClusterState::restore(restored).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { state })
    }

    fn apply(&mut self, position: Position, command: &[u8]) -> Result<Applied, Halt> {
        let envelope =
            model::codec::decode(command, Door::Disk).map_err(|error| Halt { reason: error.to_string() })?;
        let applied = self.state.apply(position.term, envelope);
        let reply = codec::reply(&applied.outcome, applied.revision);
        Ok(Applied { reply, changes: applied.changes.into_iter().map(codec::change).collect() })
    }

    fn records(&self) -> Box<dyn Iterator<Item = (Bytes, Bytes)> + Send + '_> {
        Box::new(self.state.records().map(|record| {
            let Encoded { key, value } = Encoded::of(&record);
            (key, value)
        }))
    }
}
