//! A group of one member for tests, and what is asked of it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use coracle_proto::id::{ClusterId, FunctionId, GroupId, InvocationId, NodeId, Revision};
use coracle_raft::{Host, HostOptions, Owner, Role, Seat, States};

use tokio_util::sync::CancellationToken;

use crate::app::Context;
use crate::book::{Arrangement, Book};
use crate::chunks::{ChunkLimits, Chunks};
use crate::model::{self, Asked, Batch, Due, Effected, Op, Outcome, Phase, Place, Publish};
use crate::replicas::{Replicas, Served};

pub(crate) const GROUP: GroupId = GroupId::new(1);
const HERE: NodeId = NodeId::new(1);
/// For what is to come at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Small enough for tests that wait until garbage is gone.
pub(crate) const LIMITS: ChunkLimits =
    ChunkLimits { reserve_bytes: 0, grace: Duration::from_millis(300), settle: Duration::from_millis(20) };

/// A store of one node that leads a group of one member.
pub(crate) struct World {
    dir: tempfile::TempDir,
    cluster: ClusterId,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) served: Served,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = ClusterId::new(rand::random());
        let options = HostOptions {
            dir: dir.path().join("store"),
            owner: Owner { cluster, node: HERE },
            must_exist: false,
            accept_taint: false,
            states: States::OnDisk,
        };
        let book = Book::open(dir.path());
        let host = Host::open(options, Arc::new(book.clone())).await.unwrap();
        let seat = Seat { address: "127.0.0.1:1".to_owned(), store: host.store() };
        let chunks = Chunks::new(dir.path(), LIMITS);
        let replicas = Replicas::new((cluster, HERE), host, (book, chunks));
        let members = BTreeMap::from([(HERE, seat)]);
        let arranged =
            Arrangement { group: GROUP, revision: Revision::new(1), members, begun: false, stays: false };
        replicas.arrange(arranged).await.unwrap();
        let served = replicas.served(GROUP).unwrap();
        let mut status = served.replica.watch();
        status.until(|now| now.role == Role::Leader).await.unwrap();
        Self { dir, cluster, replicas: Arc::new(replicas), served }
    }

    /// Takes the folders away in which what is in memory would be written.
    pub(crate) fn break_disk(&self) {
        for keyspace in std::fs::read_dir(self.dir.path().join("store/state/keyspaces")).unwrap() {
            std::fs::remove_dir_all(keyspace.unwrap().path().join("tables")).unwrap();
        }
    }

    /// What services share.
    pub(crate) fn context(&self) -> Arc<Context> {
        let (cluster, replicas) = (self.cluster, Arc::clone(&self.replicas));
        Arc::new(Context { cluster, node: HERE, replicas, closing: CancellationToken::new() })
    }

    pub(crate) async fn done(&self, op: Op) -> Outcome {
        self.served.proposer.propose(Asked { request: None, op }).await.unwrap()
    }

    /// Brings the group's time on by so much, as a leader whose clock is ahead does.
    pub(crate) async fn jump(&self, ms: u64) {
        let (term, stamp_ms) = (self.served.replica.status().term, self.served.clock.now_ms() + ms);
        let ops = vec![Asked { request: None, op: Op::Sweep { due: Due::Values, steps: 1, from_ms: 0 } }];
        let batch = Batch { cluster: self.cluster, group: GROUP, term, stamp_ms, random: 1, ops };
        self.served.replica.propose(model::codec::encode(&batch)).await.unwrap();
        assert_eq!(model::group(&self.served.replica.state()).unwrap().unwrap().time_ms, stamp_ms);
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// A message of its own, for queue `shop/q`.
    pub(crate) fn publish(&self) -> Publish {
        let invocation = InvocationId::new(rand::random());
        Publish {
            queue: Place::parse("shop", "q").unwrap(),
            source: "test".to_owned(),
            id: invocation.to_string(),
            group: String::new(),
            attributes: BTreeMap::new(),
            delay_ms: 0,
            data: "body".into(),
            invocation,
            kind: "async".to_owned(),
            http: None,
            fingerprint: bytes::Bytes::new(),
            also: String::new(),
        }
    }

    pub(crate) async fn submit(&self, function: &str) -> InvocationId {
        let function = FunctionId::parse("shop", function).unwrap();
        let publish = Publish { queue: Place::of_function(&function), ..self.publish() };
        let invocation = publish.invocation;
        let outcome = self.done(Op::Submit { function, publish }).await;
        let Outcome::Performed(effects) = outcome else { panic!("{outcome:?}") };
        assert!(matches!(effects[..], [Effected::Published { repeated: false, .. }]), "{effects:?}");
        invocation
    }

    /// Waits until somebody has claimed it.
    pub(crate) async fn runs(&self, id: InvocationId) {
        let claimed = async {
            while self.phase(id) != Phase::Running {
                tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
            }
        };
        tokio::time::timeout(SOON, claimed).await.expect("it is claimed");
    }

    pub(crate) fn phase(&self, id: InvocationId) -> Phase {
        model::invocation(&self.served.replica.state(), id).unwrap().unwrap().phase
    }

    pub(crate) async fn end(self) {
        self.replicas.close().await;
    }
}

/// Begins it; whether it waits.
pub(crate) async fn waits(future: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}
