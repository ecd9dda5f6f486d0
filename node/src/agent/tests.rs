//! The plan's properties, and the agent against a store, a source and a compiler of its own.

mod driver;
mod plan;
mod removal;

use coracle_proto::id::{Digest, Epoch, FunctionId, NodeId, VersionId, VersionNumber};
use coracle_proto::record::{Kind, Record, Replica, Version};
use coracle_proto::spec::{Draft, FunctionSpec};

fn digest(number: u8) -> Digest {
    Digest::new([number; 32])
}

fn version_id(number: u64) -> VersionId {
    VersionId { function: FunctionId::parse("", "hello").unwrap(), number: VersionNumber::new(number) }
}

/// A version and its assignment to node 1.
fn assignment(number: u64, digest: Digest, epoch: u64) -> [Record; 2] {
    let id = version_id(number);
    let spec = FunctionSpec::new(Draft::default()).unwrap();
    let version = Version {
        id: id.clone(),
        digest,
        size: 1,
        kind: Kind::HttpComponent,
        spec,
        created_ms: 0,
        trace: String::new(),
    };
    let replica = Replica { version: id, node: NodeId::new(1), epoch: Epoch::new(epoch) };
    [Record::Version(version), Record::Replica(replica)]
}
