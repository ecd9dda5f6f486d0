//! What a supervisor tells a child: options and listeners, over the socket that is the child's stdin. The
//! child tells its last words the same way.
//!
//! Arguments and environments can be read by others on the machine; a socket cannot. Descriptors come by
//! `SCM_RIGHTS`, because taking over an inherited number needs `unsafe` in the child.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use coracle_proto::id::{ClusterId, NodeId, Revision, StoreId};
use coracle_proto::record::{Addresses, Node, NodeState, Role};
use serde::{Deserialize, Serialize};

use crate::os;
use crate::telemetry::{Log, Otlp};

/// Longest last message that is kept.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Where a node is reached: [`coracle_proto::record::Addresses`] for the way to a child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// 7400.
    pub(crate) grpc: String,
    /// 7401.
    pub(crate) admin: String,
    /// 7402.
    pub(crate) data: String,
    /// 8080.
    pub(crate) http: String,
    /// 7403.
    pub(crate) store: String,
}

/// Everything that a child must know. Written and read by the same program, so its form may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The node's data.
    pub(crate) folder: PathBuf,
    /// Compiled code, perhaps shared with other nodes.
    pub(crate) cache: PathBuf,
    /// The cluster's id, as 32 hexadecimal digits.
    pub(crate) cluster: String,
    /// For people.
    pub(crate) cluster_name: String,
    /// The node's id.
    pub(crate) node: u64,
    /// The number of this start of the child: greater than those before.
    pub(crate) incarnation: u64,
    /// For people.
    pub(crate) name: String,
    /// For spreading.
    pub(crate) zone: String,
    /// What the node does.
    pub(crate) roles: Vec<String>,
    /// Whether this node founded the cluster.
    pub(crate) founder: bool,
    /// How many voters a cluster that it founds should have.
    pub(crate) voters_wanted: u32,
    /// Go on from a log one of whose syncs has failed.
    pub(crate) accept_failed_sync: bool,
    /// How others reach it.
    pub(crate) reached: Reached,
    /// What the controller binds.
    pub(crate) grpc: Option<SocketAddr>,
    /// What the store binds.
    pub(crate) store: Option<SocketAddr>,
    /// Cores.
    pub(crate) slots: u32,
    /// Memory for guests, bytes.
    pub(crate) memory_bytes: u64,
    /// Controllers to begin with.
    pub(crate) controllers: Vec<String>,
    /// `auto`, `pool-scan`, `pool` or `on-demand`.
    pub(crate) runtime_memory: String,
    /// `public`, `private` or `anywhere`.
    pub(crate) guests_reach: String,
    /// Functions may be made for WASI 0.3.
    pub(crate) wasip3: bool,
    /// The log.
    pub(crate) log: Log,
    /// Spans, if they are wanted.
    pub(crate) otlp: Option<Otlp>,
}

impl Order {
    /// The cluster's id.
    pub(crate) fn cluster(&self) -> io::Result<ClusterId> {
        self.cluster.parse().map_err(invalid)
    }

    /// The node's id.
    pub(crate) const fn node(&self) -> NodeId {
        NodeId::new(self.node)
    }

    /// The node, as the cluster records it.
    pub(crate) fn record(&self) -> io::Result<Node> {
        let reached = self.reached.clone();
        Ok(Node {
            id: self.node(),
            name: self.name.clone(),
            roles: self.roles()?,
            zone: self.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: Addresses {
                grpc: reached.grpc,
                admin: reached.admin,
                data: reached.data,
                http: reached.http,
                store: reached.store,
            },
            state: NodeState::Alive,
            registered: Revision::ZERO,
            slots: self.slots,
            memory_bytes: self.memory_bytes,
            store: StoreId::UNKNOWN,
        })
    }

    /// What the node does.
    pub(crate) fn roles(&self) -> io::Result<std::collections::BTreeSet<Role>> {
        self.roles.iter().map(|role| role.parse().map_err(invalid)).collect()
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Line(UnixStream);

impl Line {
    /// Its own end, and the one that becomes the child's stdin.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs.into()))
    }

    /// Sends order, lock and listeners.
    pub(crate) fn send(&self, order: &Order, lock: &File, listeners: &[TcpListener]) -> io::Result<()> {
        let mut files = vec![lock.as_fd()];
        files.extend(listeners.iter().map(TcpListener::as_fd));
        os::send_with_files(&self.0, &serde_json::to_vec(order)?, &files)
    }

    /// What the child said before it ended, if anything.
    pub(crate) fn last_words(mut self) -> Option<String> {
        // A process that the child left behind may hold the other end: nothing is waited for.
        self.0.set_nonblocking(true).ok()?;
        let mut words = vec![0; MESSAGE_BYTES_MAX];
        let length = self.0.read(&mut words).ok().filter(|length| *length > 0)?;
        words.truncate(length);
        Some(String::from_utf8_lossy(&words).into_owned())
    }
}

/// What a child is given at its start.
#[derive(Debug)]
pub(crate) struct Handed {
    /// What to do.
    pub(crate) order: Order,
    /// The lock of the data folder: held as long as any process of the node lives, so that the next
    /// supervisor waits for the last child of a killed one.
    pub(crate) lock: OwnedFd,
    /// In the order in which they were sent.
    pub(crate) listeners: Vec<TcpListener>,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct ParentLine(UnixStream);

impl ParentLine {
    /// Takes this process's stdin.
    pub(crate) fn from_stdin() -> io::Result<Self> {
        Ok(Self(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// Waits for the order.
    pub(crate) fn receive(&self) -> io::Result<Handed> {
        let (message, files) = os::receive_with_files(&self.0)?;
        let mut files = files.into_iter();
        let lock = files.next().ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Handed {
            order: serde_json::from_slice(&message)?,
            lock,
            listeners: files.map(TcpListener::from).collect(),
        })
    }

    /// Tells why this process ends.
    pub(crate) fn leave(&self, words: &str) {
        let end = words.floor_char_boundary(MESSAGE_BYTES_MAX);
        // A supervisor that is gone needs no message.
        let _ = (&self.0).write_all(words.as_bytes().get(..end).unwrap_or_default());
    }
}

#[cfg(test)]
pub(crate) fn example() -> Order {
    Order {
        folder: "/data".into(),
        cache: "/cache".into(),
        cluster: "0".repeat(32),
        cluster_name: "boat".to_owned(),
        node: 1,
        incarnation: 1,
        name: "n1".to_owned(),
        zone: String::new(),
        roles: vec!["controller".to_owned(), "worker".to_owned()],
        founder: true,
        voters_wanted: 3,
        accept_failed_sync: false,
        reached: Reached::default(),
        grpc: None,
        store: None,
        slots: 2,
        memory_bytes: 1 << 30,
        controllers: Vec::new(),
        runtime_memory: "auto".to_owned(),
        guests_reach: "private".to_owned(),
        wasip3: false,
        log: Log::default(),
        otlp: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_and_last_words_cross_the_line() {
        let (ours, theirs) = Line::pair().unwrap();
        let child = ParentLine(UnixStream::from(theirs));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = os::lock(&path).unwrap().unwrap();
        ours.send(&example(), &lock, &[listener]).unwrap();
        drop(lock);
        let handed = child.receive().unwrap();
        assert_eq!(handed.order.roles().unwrap().len(), 2);
        assert_eq!(handed.listeners[0].local_addr().unwrap(), address);
        assert!(os::lock(&path).unwrap().is_none(), "the child holds the folder too");
        drop(handed);
        assert!(os::lock(&path).unwrap().is_some());
        child.leave("the store is damaged");
        assert_eq!(ours.last_words().as_deref(), Some("the store is damaged"));
    }

    #[test]
    fn a_child_that_says_nothing_is_not_waited_for() {
        let (ours, theirs) = Line::pair().unwrap();
        assert_eq!(ours.last_words(), None);
        drop(theirs);
    }
}
