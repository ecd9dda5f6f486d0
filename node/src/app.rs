//! The data plane as a process: everything composed, served, and ended in order.

mod composed;
mod data;
mod ending;
mod ground;
mod options;
mod sample;
mod service;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::TcpListener;

use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken as Stop;

pub use options::{AppError, Options};
pub use sample::host_id;

use self::composed::Composed;
use self::ending::{Parts, Stops};
use crate::runtime::RuntimeError;
use crate::threads::{self, Threads};

/// A part that ended: its name, and whether it failed.
type Part = (&'static str, Result<(), AppError>);

/// Runs until `shutdown` ends, then lets open calls end.
///
/// # Errors
/// When it cannot begin, or one of its parts ends by itself: it should then be started anew.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), AppError> {
    let stops = Stops::default();
    let threads = Threads::start(threads::CALLS, 0).map_err(RuntimeError::Thread)?;
    let composed = Composed::new(&options, threads.handle(), &stops).await?;
    let (executor, logs) = (composed.executor.clone(), composed.logs.clone());
    let mut parts = start(composed, options.http, options.data, threads.handle(), &stops)?;
    tracing::info!(node = %options.node, "data plane is ready");
    tokio::select! {
        () = shutdown => {}
        Some(part) = parts.gateway.join_next() => return Err(unexpected(part)),
        Some(part) = parts.rest.join_next() => return Err(unexpected(part)),
    }
    parts.end(stops, &executor, &logs, options.drain_timeout).await;
    Ok(())
}

fn start(
    composed: Composed,
    http: Option<TcpListener>,
    data: TcpListener,
    calls: &Handle,
    stops: &Stops,
) -> Result<Parts, AppError> {
    let mut parts = Parts::default();
    let server = data::server(composed.services, data, stops.rest.clone())?;
    parts.rest.spawn(async move { ("data server", server.await) });
    for (name, task) in composed.background.tasks(&stops.rest) {
        parts.rest.spawn(async move {
            task.await;
            (name, Ok(()))
        });
    }
    if let Some(events) = composed.events {
        let taking = events.run(stops.gateway.clone());
        parts.gateway.spawn(async move {
            taking.await;
            ("messages", Ok(()))
        });
    }
    if let Some(listener) = http {
        let serving = composed.front.run(listener, calls.clone(), stops.gateway.clone());
        parts.gateway.spawn(async move { ("gateway", serving.await.map_err(AppError::from)) });
    }
    Ok(parts)
}

/// No part ends before it is told to.
fn unexpected(part: Result<Part, JoinError>) -> AppError {
    match part {
        Ok((_, Err(error))) => error,
        Ok((name, Ok(()))) => AppError::Ended(name.to_owned()),
        Err(error) => AppError::Ended(error.to_string()),
    }
}
