//! A machine for tests whose state is on the disk, and hosts of it over real connections.

#![allow(dead_code, reason = "each test binary uses a part of the harness")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::GroupId;
use coracle_raft::{
    Change, DiskMachine, Draft, GroupOptions, Halt, Host, HostOptions, Limits, Observer, OpenError, Owner,
    Position, Raft, Reader, RecordedAddresses, Role, States, Stop, View,
};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;

use crate::node::{CLUSTER, PATIENCE, eventually, id, listen};

/// The group of these tests.
pub(crate) const GROUP: GroupId = GroupId::new(1);

/// A command is `KEY=VALUE`, which is put twice, or `-PREFIX`, which removes twice whatever begins so; `!` is of the
/// future. Each counts.
#[derive(Debug)]
pub(crate) struct Twice;

/// Where the two are; the second follows the first.
pub(crate) const SIDES: [&str; 2] = ["left/", "right/"];

const COUNT: &[u8] = b"count";

impl DiskMachine for Twice {
    fn apply(draft: &mut Draft<'_>, _position: Position, command: &[u8]) -> Result<Bytes, Stop> {
        let count =
            draft.get(COUNT)?.map_or(0, |count| String::from_utf8_lossy(&count).parse::<u64>().unwrap()) + 1;
        let count = Bytes::from(count.to_string());
        draft.put(Bytes::from_static(COUNT), count.clone());
        match command {
            // What was drafted by a command that stops is not seen again: the count too.
            [b'!', ..] => return Err(Halt { reason: "format 2 of a command".to_owned() }.into()),
            [b'-', prefix @ ..] => {
                for side in SIDES {
                    let from = [side.as_bytes(), prefix].concat();
                    let to = [&from[..], &[u8::MAX]].concat();
                    let found: Vec<_> = draft.scan(&from, &to).collect::<Result<_, _>>()?;
                    found.into_iter().for_each(|(key, _)| draft.remove(&key));
                }
            }
            put => {
                let at = put.iter().position(|byte| *byte == b'=').unwrap();
                let value = Bytes::copy_from_slice(&put[at + 1..]);
                for side in SIDES {
                    draft.put(Bytes::from([side.as_bytes(), &put[..at]].concat()), value.clone());
                }
            }
        }
        Ok(count)
    }
}

/// Everything that a view holds, if what each command put and removed twice is there twice.
pub(crate) fn whole(view: &View) -> BTreeMap<String, Bytes> {
    let [left, right] = SIDES.map(|side| {
        let to = [side.as_bytes(), &[u8::MAX]].concat();
        let records = view.scan(side.as_bytes(), &to).map(Result::unwrap);
        let records =
            records.map(|(key, value)| (String::from_utf8_lossy(&key[side.len()..]).into_owned(), value));
        records.collect::<BTreeMap<_, _>>()
    });
    assert!(left == right, "a command was kept by half: {:?} and {:?}", left.keys(), right.keys());
    left
}

pub(crate) fn get(raft: &Raft<View>, key: impl std::fmt::Display) -> Option<String> {
    let view = raft.state();
    let values = SIDES.map(|side| view.get(format!("{side}{key}").as_bytes()).unwrap());
    assert!(values[0] == values[1], "a command was kept by half");
    values[0].as_ref().map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Commands that were applied.
pub(crate) fn count(view: &View) -> u64 {
    view.get(COUNT).unwrap().map_or(0, |count| String::from_utf8_lossy(&count).parse().unwrap())
}

/// Listens to nothing.
struct NoObserver;

impl Observer<View> for NoObserver {
    fn applied(&self, _state: &View, _batch: &[(Position, Vec<Change>)]) {}

    fn replaced(&self, _position: Position, _state: &View) {}
}

pub(crate) fn host_options(dir: &Path, node: u64) -> HostOptions {
    let owner = Owner { cluster: CLUSTER, node: id(node) };
    let dir = dir.join(node.to_string());
    HostOptions { dir, owner, must_exist: false, accept_taint: false, states: States::OnDisk }
}

/// Opens a host with its one member.
pub(crate) async fn open(
    dir: &Path,
    node: u64,
    adjust: impl Fn(&mut Limits),
) -> Result<(Host, Raft<View>), OpenError> {
    let host = Host::open(host_options(dir, node), Arc::new(RecordedAddresses)).await?;
    match start(&host, adjust).await {
        Ok(raft) => Ok((host, raft)),
        Err(error) => {
            host.shutdown().await;
            Err(error)
        }
    }
}

/// Starts the member of a host.
pub(crate) async fn start(host: &Host, adjust: impl Fn(&mut Limits)) -> Result<Raft<View>, OpenError> {
    let mut options = GroupOptions::new(GROUP);
    adjust(&mut options.limits);
    host.start_on_disk::<Twice>(options, Arc::new(NoObserver)).await
}

/// Snapshots are made often and little of the log is kept: who comes late gets a snapshot.
pub(crate) fn forgetful(limits: &mut Limits) {
    (limits.snapshot_every, limits.keep_entries) = (50, 5);
}

/// A host without others, whose member leads itself.
pub(crate) async fn alone(dir: &Path) -> (Host, Raft<View>) {
    alone_with(dir, |_| ()).await
}

pub(crate) async fn alone_with(dir: &Path, adjust: impl Fn(&mut Limits)) -> (Host, Raft<View>) {
    let (host, raft) = open(dir, 1, adjust).await.unwrap();
    if raft.status().voters.is_empty() {
        raft.initialize(BTreeMap::from([(id(1), "127.0.0.1:1")])).await.unwrap();
    }
    eventually("it leads", || raft.status().role == Role::Leader).await;
    raft.read_barrier().await.unwrap();
    (host, raft)
}

/// A host and its server.
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) raft: Raft<View>,
    pub(crate) address: SocketAddr,
    server: Runtime,
}

impl Node {
    pub(crate) async fn start(
        dir: &Path,
        node: u64,
        at: Option<SocketAddr>,
        adjust: impl Fn(&mut Limits),
    ) -> Self {
        let (host, raft) = open(dir, node, adjust).await.unwrap();
        let listener = listen(at).await;
        let address = listener.local_addr().unwrap();
        let server = serve(&host, listener);
        Self { host, raft, address, server }
    }

    pub(crate) async fn kill(self) -> SocketAddr {
        self.server.shutdown_background();
        self.host.shutdown().await;
        self.address
    }
}

pub(crate) fn serve(host: &Host, listener: tokio::net::TcpListener) -> Runtime {
    let listener = listener.into_std().unwrap();
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let service = host.service();
    server.spawn(async move {
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
    });
    server
}

/// Hosts by node.
pub(crate) type Nodes = BTreeMap<u64, Node>;

/// The member that leads, as itself says.
pub(crate) fn leader(nodes: &Nodes) -> Option<u64> {
    nodes.iter().find(|(_, node)| node.raft.status().role == Role::Leader).map(|(number, _)| *number)
}

/// Has a command applied by whoever leads: it may be done twice.
pub(crate) async fn propose(nodes: &Nodes, command: Bytes) {
    let mut last = None;
    let asked = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
        loop {
            tick.tick().await;
            let Some(leader) = leader(nodes) else { continue };
            match nodes[&leader].raft.propose(command.clone()).await {
                Ok(_) => return,
                Err(error) => last = Some(error),
            }
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    asked.unwrap_or_else(|_| panic!("waited for a leader to do it: {last:?}"));
}

/// Waits until all have what was answered, and gives what that is.
pub(crate) async fn agreed(nodes: &Nodes) -> BTreeMap<String, Bytes> {
    for (number, node) in nodes {
        let read = async { while node.raft.read_barrier().await.is_err() {} };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.unwrap_or_else(|_| panic!("waited for node {number} to catch up: {:#?}", node.raft.status()));
    }
    let mut views = nodes.values().map(|node| (whole(&node.raft.state()), count(&node.raft.state())));
    let first = views.next().unwrap();
    for other in views {
        assert!(first == other, "the states differ: {} and {} commands", first.1, other.1);
    }
    first.0
}
