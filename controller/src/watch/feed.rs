//! Raft's apply on its way into the hub.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_raft::{Change, Observer, Position};
use tracing::error;

use super::Hub;
use crate::machine::{MetaMachine, change_to_wire};

/// Tells the hub what was applied.
#[derive(Debug)]
pub(crate) struct Feed(pub(crate) Arc<Hub>);

impl Observer<MetaMachine> for Feed {
    fn applied(&self, machine: &MetaMachine, batch: &[(Position, Vec<Change>)]) {
        let changes = newest(batch).into_iter().map(change_to_wire).collect();
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

/// The last change of each key: nobody needs to be told what a record was between two commands of one batch, the cluster's
/// own record least of all, which every command changes. What is put again keeps its first place, before those that name it.
fn newest(batch: &[(Position, Vec<Change>)]) -> Vec<&Change> {
    let mut places = HashMap::new();
    let mut newest = Vec::new();
    for change in batch.iter().flat_map(|(_, changes)| changes) {
        let place = *places.entry(&change.key).or_insert(newest.len());
        match newest.get_mut(place) {
            Some(before) if change.value.is_some() => *before = Some(change),
            Some(before) => {
                *before = None;
                places.insert(&change.key, newest.len());
                newest.push(Some(change));
            }
            None => newest.push(Some(change)),
        }
    }
    newest.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use coracle_raft::StateMachine as _;

    use super::super::hub::News;
    use super::*;
    use crate::model::codec::{encode, encodings};
    use crate::model::samples::{Asked, deploy, node};
    use crate::model::{ClusterState, Command};

    #[test]
    fn of_a_batch_the_last_change_of_each_record_is_told() {
        let change = |key: &'static str, value: Option<&'static str>| Change {
            key: key.into(),
            value: value.map(Into::into),
        };
        let batch = [
            vec![change("a", Some("1")), change("b", Some("1")), change("cluster", Some("1"))],
            vec![change("b", None), change("cluster", Some("2"))],
            vec![change("a", Some("3")), change("cluster", Some("3"))],
        ];
        let batch = batch.map(|changes| (Position::default(), changes));
        let told: Vec<_> = newest(&batch).into_iter().cloned().collect();
        assert_eq!(told, [change("a", Some("3")), change("cluster", Some("3")), change("b", None)]);
    }

    #[test]
    fn followers_are_told_the_bytes_that_were_stored() {
        let mut asked = Asked::nothing();
        let mut machine = MetaMachine::restore(&mut std::iter::empty()).unwrap();
        let hub = Arc::new(Hub::new(ClusterState::empty()));
        let create = Command::CreateCluster { name: "test".into(), first: node("a"), voters_wanted: 3 };
        let mut last = Vec::new();
        for command in [create, deploy("f", 1)] {
            let envelope = encode(&asked.envelope(command));
            encodings::take();
            last = machine.apply(Position::default(), &envelope).unwrap().changes;
            Feed(Arc::clone(&hub)).applied(&machine, &[(Position::default(), last.clone())]);
            assert_eq!(encodings::take(), last.len(), "once for the store, the hash and whoever follows");
        }
        let News::Changes(_, batches) = hub.since(coracle_proto::id::Revision::new(1)) else {
            panic!("what changed is still known")
        };
        let place = |record: &Option<bytes::Bytes>| record.as_ref().map(|record| record.as_ptr());
        let told: Vec<_> = batches[0].changes.iter().map(|change| place(&change.record)).collect();
        assert_eq!(told, last.iter().map(|change| place(&change.value)).collect::<Vec<_>>());
    }
}
