//! Goal: a voter that meets a command which it cannot read ends and says why, and does not begin anew without end.

use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::GroupId;
use coracle_proto::status::Code;
use coracle_raft::{
    Applied, Change, Halt, Observer, Options, Position, Raft, RecordedAddresses, RestoreError, Role,
    StateMachine,
};

use crate::running::{found, start, until};

/// Whom changes do not matter to.
struct Nobody;

impl Observer<Stubborn> for Nobody {
    fn applied(&self, _: &Stubborn, _: &[(Position, Vec<Change>)]) {}

    fn replaced(&self, _: Position, _: &Stubborn) {}
}

/// Stands for a newer program's log: whatever comes, it leaves it in the log and applies nothing.
#[derive(Clone)]
struct Stubborn;

impl StateMachine for Stubborn {
    fn restore(records: &mut dyn Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        records.for_each(drop);
        Ok(Self)
    }

    fn apply(&mut self, _: Position, _: &[u8]) -> Result<Applied, Halt> {
        Err(Halt { reason: "as planned".to_owned() })
    }

    fn records(&self) -> Box<dyn Iterator<Item = (Bytes, Bytes)> + Send + '_> {
        Box::new(std::iter::empty())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_read_ends_the_voter_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    until("a cluster", async || node.status().await.filter(|it| it.quorum && it.nodes.len() == 1)).await;
    let (path, identity, address) = node.stop().await;

    let owner =
        coracle_raft::MemberId { cluster: identity.cluster, group: GroupId::META, node: identity.node };
    let options = Options::new(path.join("raft"), owner);
    let raft = Raft::<Stubborn>::open(options, Arc::new(Nobody), Arc::new(RecordedAddresses)).await.unwrap();
    raft.watch().until(|status| status.role == Role::Leader).await.unwrap();
    raft.propose(Bytes::from_static(b"\xff\xff\xff")).await.unwrap_err();
    assert!(raft.status().halted, "it is in the log");
    raft.shutdown().await;

    let ended = start(&path, identity, address).ended().await.unwrap_err();
    assert!(ended.is_configuration(), "started again it would meet it again: {ended}");
    assert_eq!(ended.code(), Some(Code::UpgradeRequired));
    assert!(ended.to_string().contains("cannot be read"), "{ended}");
}
