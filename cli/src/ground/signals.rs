//! SIGTERM, SIGINT, and SIGHUP of a terminal that closes: the first one asks for an orderly end, the second one for any.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;
use crate::os;

/// All of them, from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Not where whoever started this process chose that it shall outlive its terminal (`nohup`).
    hangup: Option<Signal>,
}

impl Signals {
    /// Takes the signals over. Call it inside a runtime.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::local("cannot handle signals", error));
        let hangup = if os::ignores_hangup() { None } else { Some(take(SignalKind::hangup())?) };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hung_up => {}
        }
    }
}
