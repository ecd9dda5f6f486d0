//! Tells a controller how this node is, and takes the leader's orders from it.

mod lists;

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{ClusterId, NodeId, StateHash};
use coracle_proto::pace::Pace;
use coracle_proto::pb::NodeStatus;
use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::soft::{PART_BYTES_MAX, ViewsTold, cut};
use coracle_transport::{Dialer, Purpose};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::agent::{Board, Orders};
use crate::artifact::Store;
use crate::clock;
use crate::controllers::{Controllers, Then};
use crate::view::{Stamp, ViewHandle};
use crate::worker::Executor;
use lists::Lists;

/// Where much changes it is told together: a deploy changes several things at once.
const PACE: Pace = Pace::new(Duration::from_millis(20), 4);
/// What the gateway routes by changes with every change of the cluster: a deploy waits for it, no call does.
const PACE_ROUTING: Pace = Pace::new(Duration::from_millis(100), 6);
/// Reports that wait for a slow connection: a newer one replaces what an older one said.
const QUEUE_MAX: usize = 2;
/// Orders name every digest of the node.
const ORDERS_BYTES_MAX: usize = 8 << 20;

/// What is reported, and to whom.
#[derive(Debug)]
pub struct Options {
    /// Whose node it is.
    pub cluster: ClusterId,
    /// Who reports.
    pub node: NodeId,
    /// `HOST:PORT` of controllers, this node's own first; after them come those that the view names.
    pub controllers: Vec<String>,
    /// For the revision that is known.
    pub view: ViewHandle,
    /// How far the assignments are.
    pub board: Arc<Board>,
    /// What is held.
    pub store: Arc<Store>,
    /// How busy it is.
    pub executor: Executor,
    /// Where the leader's orders go.
    pub orders: watch::Sender<Arc<Orders>>,
    /// The number of this start: greater than those before.
    pub incarnation: u64,
    /// Memory mode of the runtime.
    pub runtime: String,
}

/// The task.
#[derive(Debug)]
pub struct Reporter {
    options: Options,
    sequence: u64,
    lists: Lists,
    views: ViewsTold,
}

#[derive(Debug, Error)]
enum ReportError {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the stream broke off: {0}")]
    Stream(#[from] Box<tonic::Status>),
    #[error("the stream ended")]
    Ended,
    #[error("orders were not understood: {0}")]
    Orders(#[from] coracle_proto::codec::DecodeError),
}

impl Reporter {
    /// A reporter of the process that starts now.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, sequence: 0, lists: Lists::default(), views: ViewsTold::default() }
    }

    /// Reports until it is stopped. A node that reaches no controller goes on trying, and serving.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.report_for_ever()).await;
    }

    /// To one controller after the other: a node that nobody hears is thought dead, so the next one is told at once.
    async fn report_for_ever(&mut self) {
        let mut controllers = Controllers::new(self.options.controllers.clone(), Then::GoOn);
        loop {
            let controller = controllers.next(|| self.options.view.load().controllers()).await;
            let mut accepted = false;
            if let Err(error) = self.report_to(&controller, &mut accepted).await {
                tracing::debug!(controller, accepted, "reports end: {error}");
            }
            if accepted {
                controllers.answered();
            }
        }
    }

    async fn report_to(&mut self, controller: &str, accepted: &mut bool) -> Result<(), ReportError> {
        let channel = Dialer::new(Purpose::Following).connect(controller).await?;
        let mut client = ControlClient::new(channel).max_decoding_message_size(ORDERS_BYTES_MAX);
        let (reports, stream) = mpsc::channel(QUEUE_MAX);
        let mut board = self.options.board.changes();
        let mut held = self.options.store.changes();
        let mut views = self.options.view.subscribe();
        let view = self.options.view.clone();
        let routing = move || view.load().routing.stamp.revision;
        let mut told = routing();
        let (mut pace, mut routing_pace) = (PACE, PACE_ROUTING);
        self.lists.begin();
        // It may have more parts than wait here: they leave while the stream is being opened.
        let opening = client.report(ReceiverStream::new(stream));
        let (orders, first) = tokio::join!(opening, self.send(&reports));
        let mut orders = orders.map_err(Box::new)?.into_inner();
        first?;
        *accepted = true;
        loop {
            let interval = self.options.orders.borrow().interval;
            let due = Instant::from_std(clock::now() + interval);
            tokio::select! {
                order = orders.message() => {
                    let order = order.map_err(Box::new)?.ok_or(ReportError::Ended)?;
                    let whole = order.whole;
                    // Told again and again: each is a new chance for what failed or was too early.
                    self.options.orders.send_replace(Arc::new(Orders::try_from(order)?));
                    if !whole {
                        continue;
                    }
                    self.lists.begin();
                }
                Ok(()) = board.changed() => clock::turn(&mut pace).await,
                Ok(()) = held.changed() => clock::turn(&mut pace).await,
                true = async { views.wait_for(|_| routing() > told).await.is_ok() } => {
                    clock::turn(&mut routing_pace).await;
                }
                () = sleep_until(due) => {}
            }
            board.mark_unchanged();
            held.mark_unchanged();
            told = routing();
            self.send(&reports).await?;
        }
    }

    async fn send(&mut self, reports: &mpsc::Sender<NodeStatus>) -> Result<(), ReportError> {
        self.sequence += 1;
        for part in cut(self.status(), PART_BYTES_MAX) {
            reports.send(part).await.map_err(|_| ReportError::Ended)?;
        }
        Ok(())
    }

    fn status(&mut self) -> NodeStatus {
        let options = &self.options;
        let view = options.view.load();
        let stamps = [view.held.stamp, view.routing.stamp];
        let Stamp { revision, hash } =
            stamps.into_iter().max_by_key(|stamp| stamp.revision).unwrap_or_default();
        let now_ms = clock::unix_ms();
        let mut status = NodeStatus {
            node: options.node.get(),
            cluster_id: options.cluster.to_wire(),
            incarnation: options.incarnation,
            sequence: self.sequence,
            load: Some(options.executor.load().into()),
            view_revision: revision.get(),
            routing_revision: view.routing.stamp.revision.get(),
            runtime: options.runtime.clone(),
            view_hash: hash.map(StateHash::to_wire).unwrap_or_default(),
            clock_ms: now_ms,
            ..NodeStatus::default()
        };
        self.views.fill(&mut status);
        let (entries, held) = (options.board.entries(), options.store.held());
        self.lists.fill(&mut status, entries, held, options.store.now_ms());
        status
    }
}
