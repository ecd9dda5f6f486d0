//! Threads of a kind, and why there is more than one kind.
//!
//! What keeps a node in its cluster (reports, the view, pings, the agent, the port of other nodes, accepting callers) runs on
//! the threads that the process began with. Callers are served, and guests run, on threads of their own ([`CALLS`]), and
//! guests that compute for long on others again: whatever a guest does, it holds up none of the former.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::os;

/// The name of the threads on which calls are served.
pub(crate) const CALLS: &str = "calls";
/// One that is held up is not all there are.
const THREADS_MIN: usize = 2;

/// Threads that run tasks, as many as there are cores. Dropping it ends them without waiting for their tasks: it is dropped by
/// a task of other threads, and a task must not wait.
#[derive(Debug)]
pub(crate) struct Threads {
    handle: Handle,
    /// Until it is dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    /// Starts them, so much nicer than this one.
    pub(crate) fn start(name: &str, nicer: i32) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(THREADS_MIN, usize::from);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(cores.max(THREADS_MIN)).thread_name(name).enable_all();
        if nicer > 0 {
            builder.on_thread_start(move || os::be_nicer(nicer));
        }
        let runtime = builder.build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
