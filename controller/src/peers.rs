//! Connections to other processes by address: made when first used, kept, shared.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coracle_proto::status::{Code, Refusal};
use tonic::transport::{Channel, Endpoint};

/// Addresses that change leave dead connections behind; at this many all are dropped and made anew.
const CHANNELS_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Finds a peer that is stopped but still connected.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections by `HOST:PORT`.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    /// The connection to an address; it connects, and connects again, by itself.
    ///
    /// # Errors
    /// When the text is no address.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, Refusal> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Refusal::new(Code::Internal, format!("'{address}' is no address: {error}")))?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .connect_lazy();
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
