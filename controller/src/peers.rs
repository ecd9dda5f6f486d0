//! Connections to other processes by address: made when first used, kept, shared.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use coracle_proto::status::{Code, Refusal};
use coracle_transport::{Dialer, Purpose};
use tonic::transport::Channel;

/// Addresses that change leave dead connections behind; at this many all are dropped and made anew.
const CHANNELS_MAX: usize = 1024;

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
        let channel = Dialer::new(Purpose::Shared)
            .connect_lazily(address)
            .map_err(|error| Refusal::new(Code::Internal, format!("'{address}' is no address: {error}")))?;
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
