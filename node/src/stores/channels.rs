//! Connections to stores, kept by address.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use coracle_transport::{Dialer, Purpose};
use tokio::runtime::Handle;
use tonic::transport::{Channel, Error};

/// Stores that are connected to at once: a cluster has fewer. Where there are more all are made anew.
const CHANNELS_MAX: usize = 1000;

/// One connection to each address. A connection that broke is made again by its next request.
#[derive(Debug)]
pub(super) struct Channels {
    purpose: Purpose,
    threads: Handle,
    all: Mutex<BTreeMap<String, Channel>>,
}

impl Channels {
    /// None yet; they will be on the threads of the task that calls this.
    pub(super) fn here(purpose: Purpose) -> Self {
        Self { purpose, threads: Handle::current(), all: Mutex::default() }
    }

    /// Where they are, and whatever lasts longer than the task that wants it.
    pub(super) const fn threads(&self) -> &Handle {
        &self.threads
    }

    /// The connection to `HOST:PORT`.
    pub(super) fn to(&self, address: &str) -> Result<Channel, Error> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = all.get(address) {
            return Ok(channel.clone());
        }
        if all.len() >= CHANNELS_MAX {
            all.clear();
        }
        let _threads = self.threads.enter();
        let channel = Dialer::new(self.purpose).connect_lazily(address)?;
        all.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
