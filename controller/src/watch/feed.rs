//! Raft's apply on its way into the hub.

use std::sync::Arc;

use coracle_raft::{Change, Observer, Position};
use tracing::error;

use super::Hub;
use crate::machine::{MetaMachine, told};

/// Tells the hub what was applied.
#[derive(Debug)]
pub(crate) struct Feed(pub(crate) Arc<Hub>);

impl Observer<MetaMachine> for Feed {
    fn applied(&self, machine: &MetaMachine, batch: &[(Position, Vec<Change>)]) {
        let changes = batch.iter().flat_map(|(_, changes)| changes).map(told).collect();
        match changes {
            Ok(changes) => self.0.applied(machine.state().clone(), changes),
            // What was just written cannot be read back: whoever follows is given the whole state instead.
            Err(reason) => {
                let reason: coracle_proto::codec::DecodeError = reason;
                error!(%reason, "a change cannot be told; followers are given a snapshot");
                self.0.replaced(machine.state().clone());
            }
        }
    }

    fn replaced(&self, _: Position, machine: &MetaMachine) {
        self.0.replaced(machine.state().clone());
    }
}
