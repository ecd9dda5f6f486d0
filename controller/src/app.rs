//! One controller process: opened from its options, run until it is told to stop, ended in order.

mod addresses;
mod announce;
mod begun;
mod error;
mod options;
mod service;
mod stopped;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::record::Node;
use coracle_raft::{Follower, Raft, Role, Seat};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span, error, info};

pub use error::RunError;
pub use options::{ARTIFACT_GRACE, Options};
pub use service::Listener;

use crate::clock::{self, ClusterClock};
use crate::context::Context;
use crate::exchange::{exchange, tend};
use crate::lead::lead;
use crate::liveness::detector::POLICY;
use crate::metrics::Metrics;
use crate::model::ClusterState;
use crate::peers::Peers;
use crate::propose;
use crate::silent::Silent;
use crate::soft::{OrdersBook, OrdersPolicy, SoftTable};
use crate::watch::{Feed, Hub};
use crate::ways::{Link, Reads};

/// Copies of each artifact where there are so many workers (design, decision 9).
const ARTIFACT_COPIES: usize = 3;
/// What this node proposed before it handed over is committed by the next leader, whose word still comes in for so long.
const LAST_COMMITS: Duration = Duration::from_millis(200);
/// Open requests get so long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the log has ended nothing that was asked can be done: those who wait are told so by the end of their connection.
const ENDED_DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
/// Handing over leadership takes one round trip; who cannot within this time is simply left.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Binds and runs a controller until `shutdown` is done.
///
/// # Errors
/// See [`RunError`].
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let listener = Listener::bind(options.listen)?;
    run_on(options, listener, shutdown).await
}

/// Runs a controller on a port that is bound.
///
/// # Errors
/// See [`RunError`].
pub async fn run_on(
    mut options: Options,
    listener: Listener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    options.node.id = options.identity.node;
    if options.node.addresses.grpc.is_empty() {
        options.node.addresses.grpc = listener.address().to_string();
    }
    let context = open(&options).await?;
    let span = debug_span!("controller", node = %context.node);
    let serving = async {
        let serve_until = CancellationToken::new();
        let mut server = tokio::spawn(
            service::serve(Arc::clone(&context), listener, serve_until.clone().cancelled_owned())
                .in_current_span(),
        );
        let mut tasks = start(&context, &options);
        let mut ways = JoinSet::new();
        ways.spawn(propose::drive(Arc::clone(&context)).in_current_span());
        ways.spawn(propose::read(Arc::clone(&context)).in_current_span());
        let result = tokio::select! {
            () = shutdown => Ok(()),
            reason = stopped::stopped(&context) => Err(reason),
            ended = &mut server => Err(RunError::serving(ended)),
            ended = tasks.join_next() => Err(RunError::task(ended)),
            ended = ways.join_next() => Err(RunError::task(ended)),
        };
        if let Err(reason) = &result {
            error!(%reason, "the controller ends");
        }
        close(&context, tasks, serve_until, server).await;
        // Not before: these are the ways of open requests to the leader.
        ways.shutdown().await;
        result
    };
    serving.instrument(span).await
}

async fn open(options: &Options) -> Result<Arc<Context>, RunError> {
    let identity = &options.identity;
    let hub = Arc::new(Hub::new(ClusterState::empty()));
    let book = Arc::new(addresses::StateAddresses(Arc::clone(&hub)));
    let mut log = options.raft();
    log.must_exist = begun::had_log(&options.data_dir)?;
    let raft = Raft::open(log, Arc::new(Feed(Arc::clone(&hub))), book).await;
    let raft = raft.map_err(|source| RunError::Store { data_dir: options.data_dir.clone(), source })?;
    begun::mark(options)?;
    hub.replaced(raft.state().state().clone());
    info!(cluster = %identity.cluster, revision = %hub.state().revision(), "the store is open");
    Ok(Arc::new(Context {
        cluster: identity.cluster,
        node: identity.node,
        own: Node { store: raft.store(), ..options.node.clone() },
        hub,
        soft: Arc::new(SoftTable::new()),
        orders: OrdersBook::default(),
        policy: OrdersPolicy {
            copies: ARTIFACT_COPIES,
            grace: options.artifact_grace,
            live_within: POLICY.suspect_after,
        },
        peers: Peers::default(),
        silent: Silent::default(),
        raft,
        clock: ClusterClock::new(clock::now(), clock::unix_ms()),
        link: Link::new(),
        reads: Reads::new(),
        metrics: Metrics::default(),
        removed: CancellationToken::new(),
        closing: CancellationToken::new(),
    }))
}

/// The background tasks. None of them ends by itself: one that does has failed, and the process with it.
fn start(context: &Arc<Context>, options: &Options) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(
        announce::announce(Arc::clone(context), options.identity.clone(), options.voters_wanted)
            .in_current_span(),
    );
    tasks.spawn(exchange(Arc::clone(context)).in_current_span());
    tasks.spawn(tend(Arc::clone(context), options.incarnation).in_current_span());
    tasks.spawn(lead(Arc::clone(context)).in_current_span());
    tasks
}

/// First long streams end and nothing new begins, then leadership goes, then open requests end, then the log closes.
async fn close(
    context: &Context,
    mut tasks: JoinSet<()>,
    serve_until: CancellationToken,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
) {
    context.closing.cancel();
    tasks.shutdown().await;
    let ended = context.raft.status().role == Role::Stopped;
    if !ended && tokio::time::timeout(HAND_OVER_TIMEOUT, hand_over(context)).await.is_err() {
        info!("leadership was not handed over in time");
    }
    serve_until.cancel();
    // One that ended by itself was waited for already.
    if !server.is_finished() {
        drain(server, ended, || context.raft.leave()).await;
    }
    context.raft.shutdown().await;
    info!("closed");
}

/// Lets open requests end; where the log has `ended` there is nothing that they could wait for.
async fn drain<T>(mut server: JoinHandle<T>, ended: bool, leave: impl FnOnce()) {
    if tokio::time::timeout(LAST_COMMITS, &mut server).await.is_err() {
        leave();
        let drain_timeout = if ended { ENDED_DRAIN_TIMEOUT } else { DRAIN_TIMEOUT };
        if tokio::time::timeout(drain_timeout, server).await.is_err() {
            info!(?drain_timeout, "some requests did not end in time");
        }
    }
}

/// A leader that goes on purpose lets another voter lead at once.
async fn hand_over(context: &Context) {
    let status = context.raft.status();
    let Some(heir) = heir(&status.followers, &status.voters) else { return };
    if let Err(reason) = context.raft.transfer_leader(heir).await {
        info!(%reason, %heir, "leadership was not handed over");
    }
}

/// The voter that was heard of last, and has most of the log; one that was never heard of is the last choice.
fn heir(followers: &BTreeMap<NodeId, Follower>, voters: &BTreeMap<NodeId, Seat>) -> Option<NodeId> {
    let voters = followers.iter().filter(|(node, _)| voters.contains_key(node));
    let order = |follower: &Follower| (follower.heard.is_none(), follower.heard, follower.lag);
    voters.min_by_key(|(node, follower)| (order(follower), **node)).map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_drained_where_the_log_has_ended() {
        let begun = clock::now();
        drain(tokio::spawn(std::future::pending::<()>()), true, || ()).await;
        assert!(clock::now() - begun < DRAIN_TIMEOUT / 2, "{:?}", clock::now() - begun);
    }

    #[test]
    fn who_was_never_heard_of_inherits_last() {
        let follower = |heard, lag| Follower { matched: None, lag, heard };
        let ms = |ms| Some(Duration::from_millis(ms));
        let of = |followers: &[(u64, Follower)]| {
            let followers = followers.iter().map(|(id, it)| (NodeId::new(*id), *it)).collect();
            heir(&followers, &[1, 2, 3].map(|id| (NodeId::new(id), Seat::default())).into())
        };
        let node = |id| Some(NodeId::new(id));
        assert_eq!(of(&[(2, follower(None, 0)), (3, follower(ms(900), 5))]), node(3));
        assert_eq!(of(&[(2, follower(ms(90), 5)), (3, follower(ms(90), 0))]), node(3));
        assert_eq!(of(&[(2, follower(None, 0)), (4, follower(ms(1), 0))]), node(2), "4 does not vote");
        assert_eq!(of(&[]), None);
    }
}
