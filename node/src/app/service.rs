//! What the supervisor asks of this process: its metrics, and whether it is ready.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use coracle_proto::id::Revision;
use coracle_proto::pb::process_server::{Process, ProcessServer};
use coracle_proto::pb::{InspectReply, InspectRequest};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tonic::{Request, Response, Status};

use super::Stop;
use crate::artifact::{ArtifactMetrics, Store};
use crate::clock;
use crate::front::{Front, NEWS_TIMEOUT};
use crate::metrics::text;
use crate::runtime::Runtime;
use crate::view::ViewHandle;

/// Answers at 7402. That it answers means that the ports are open.
#[derive(Debug, Clone)]
pub(super) struct ProcessService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    view: ViewHandle,
    stopping: Stop,
    store: Arc<Store>,
    artifacts: ArtifactMetrics,
    runtime: Runtime,
    front: Front,
    cache: PathBuf,
    cache_bytes: Gauge,
    resident: Gauge,
    /// Until when a controller's first word is waited for.
    news_by: Instant,
}

/// What is looked at when somebody asks.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) view: ViewHandle,
    /// The first step of the end.
    pub(super) stopping: Stop,
    pub(super) store: Arc<Store>,
    pub(super) artifacts: ArtifactMetrics,
    pub(super) runtime: Runtime,
    /// Of a node that is one: others accept nobody, and are not asked to.
    pub(super) front: Front,
    /// The folder of compiled code.
    pub(super) cache: PathBuf,
}

impl ProcessService {
    pub(super) fn new(mut registry: Registry, watched: Watched) -> Self {
        let Watched { view, stopping, store, artifacts, runtime, front, cache } = watched;
        let (cache_bytes, resident) = (Gauge::default(), Gauge::default());
        let help = "Bytes of compiled code in the folder, of all nodes that share it";
        registry.register_with_unit("coracle_compiled_cache", help, Unit::Bytes, cache_bytes.clone());
        registry.register("coracle_functions_resident", "Functions whose code is mapped", resident.clone());
        Self(Arc::new(Inner {
            registry,
            view,
            stopping,
            store,
            artifacts,
            runtime,
            front,
            cache,
            cache_bytes,
            resident,
            news_by: clock::now() + NEWS_TIMEOUT,
        }))
    }
}

impl ProcessService {
    /// For a server.
    pub(super) fn into_server(self) -> ProcessServer<Self> {
        ProcessServer::new(self)
    }
}

impl Inner {
    /// Why no calls should be sent here.
    fn unready(&self) -> Vec<String> {
        let view = self.view.load();
        let loaded = view.revision() > Revision::ZERO;
        let no_view = (!loaded).then_some("no view of the cluster is loaded yet");
        // Without a controller's word the view on disk has to do, after the time in which one comes.
        let hoped = view.routing.following || clock::now() < self.news_by;
        let old = (loaded && hoped && !view.routing.told)
            .then_some("its view may be older than the cluster's state: no leader has confirmed it yet");
        let stopping = self.stopping.is_cancelled().then_some("the node is going away");
        let said = no_view.into_iter().chain(old).chain(stopping).map(str::to_owned);
        said.chain(self.front.shut()).collect()
    }

    /// Blocks on the disk.
    fn metrics(&self) -> String {
        self.artifacts.observe(&self.store);
        self.cache_bytes.set(i64::try_from(folder_bytes(&self.cache)).unwrap_or(i64::MAX));
        self.resident.set(i64::try_from(self.runtime.stats().resident).unwrap_or(i64::MAX));
        text(&self.registry)
    }
}

#[tonic::async_trait]
impl Process for ProcessService {
    async fn inspect(&self, request: Request<InspectRequest>) -> Result<Response<InspectReply>, Status> {
        let reasons = self.0.unready();
        let metrics = if request.into_inner().metrics {
            let inner = Arc::clone(&self.0);
            let metrics = tokio::task::spawn_blocking(move || inner.metrics()).await;
            metrics.map_err(|error| Status::internal(error.to_string()))?
        } else {
            String::new()
        };
        Ok(Response::new(InspectReply { metrics, ready: reasons.is_empty(), reasons }))
    }
}

/// Bytes of the files in a folder; what vanishes meanwhile does not count.
fn folder_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
}
