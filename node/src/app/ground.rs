//! What a data plane stands on: its folders, opened, and the runtime.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::{AppError, Options, Stop};
use crate::artifact::{ArtifactError, Store};
use crate::logs::{self, LogMetrics, LogService, Logs, RingLimits};
use crate::metrics::UsageMetrics;
use crate::runtime::{RestLimits, Runtime, RuntimeOptions};
use crate::stores::Stores;
use crate::view::{self, Follower};

/// Everything that outlives the process, and what compiles and runs.
pub(super) struct Ground {
    pub(super) follower: Follower,
    pub(super) stores: Stores,
    pub(super) store: Arc<Store>,
    pub(super) runtime: Runtime,
    pub(super) logs: Logs,
    pub(super) log_service: LogService,
    pub(super) log_metrics: LogMetrics,
}

impl Ground {
    /// Opens all of it, where waiting for the disk holds up nothing else. `running_max` calls are to run at once;
    /// `readers` ends those who follow logs.
    /// `usage` is told what calls came to.
    pub(super) async fn open(
        options: &Options,
        running_max: u32,
        usage: UsageMetrics,
        readers: &Stop,
    ) -> Result<Self, AppError> {
        let data_dir = options.data_dir.clone();
        let (cluster, node, readers) = (options.cluster, options.node, readers.clone());
        let (cache_dir, memory) = (options.cache_dir.clone(), options.memory);
        let (reach, guests_bytes, wasip3) = (options.reach, options.guests_bytes, options.wasip3);
        let (compile_program, compile_args) = (options.compile_program.clone(), options.compile_args.clone());
        let view = view::Options {
            cluster,
            node,
            folder: data_dir.join("view"),
            controllers: options.controllers.clone(),
        };
        let opened = tokio::task::spawn_blocking(move || {
            make_folder(view.folder.clone())?;
            let (store, log_metrics) = (Store::open(&data_dir.join("artifacts"))?, LogMetrics::default());
            let (metrics, limits) = (log_metrics.clone(), RingLimits::default());
            let (logs, log_service) = logs::start(&data_dir.join("logs"), node, limits, metrics, readers)?;
            let follower = Follower::open(&view);
            let stores = Stores::at(follower.view(), cluster, node);
            let runtime = Runtime::new(RuntimeOptions {
                cache_dir,
                memory,
                wasip3,
                guests_bytes,
                running_max,
                compile_program,
                compile_args,
                resident_max: None,
                reach,
                rest: RestLimits::DEFAULT,
                state: Arc::new(stores.clone()),
                logs: Arc::new(logs.clone()),
                usage: Arc::new(usage),
            })?;
            Ok(Self { follower, stores, store, runtime, logs, log_service, log_metrics })
        });
        // A lost task means that the process is ending.
        opened.await.unwrap_or(Err(AppError::Artifacts(ArtifactError::Stopped)))
    }
}

fn make_folder(folder: PathBuf) -> Result<(), AppError> {
    fs::create_dir_all(&folder).map_err(|source| AppError::Folder { folder, source })
}
