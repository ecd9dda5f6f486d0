//! The HTTP requests that guests make: only to the hosts that they were granted.
//!
//! A host's addresses are looked at after it was resolved, and the connection goes to the very address that was
//! looked at. Loopback, link-local and private addresses are refused unless the grant names the address, or `localhost`,
//! with the port: otherwise whoever controls a granted name could point it at this network. And how far a grant may lead at
//! all is the operator's to say: [`Reach`].

mod address;
mod connect;
mod grant;
mod meter;
mod names;
mod quota;
mod reach;
mod send;
mod shares;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use thiserror::Error;

use self::connect::Connector;
pub use self::meter::Meter;
use self::quota::Quota;
pub use self::quota::Requests;
pub use self::reach::Reach;
pub use self::shares::Whose;

/// What a guest may ask for at most, and what it gets when it does not ask.
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
/// Until there is a connection; the name is looked up within it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until the response's head.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of the response's body.
const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a response's header block.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The body of a response.
pub type ResponseBody = UnsyncBoxBody<Bytes, OutboundError>;

/// Why a request did not come to a response, or the response to its end.
#[derive(Debug, Error)]
pub enum OutboundError {
    /// The spec's `hosts` does not name it.
    #[error("'{0}' is not one of the function's 'hosts'")]
    Denied(String),
    /// It leads into this network, and the grant does not name its address and port.
    #[error("'{0}' leads to a private address: the function's 'hosts' must name that address with its port")]
    PrivateAddress(String),
    /// It leads where no function of this node may go.
    #[error(
        "'{host}' leads to a {place}, and this node's '--guests-reach {reach}' lets no function go there"
    )]
    OutOfReach {
        /// As in the URI.
        host: String,
        /// What is there.
        place: &'static str,
        /// What the node's operator allows.
        reach: Reach,
    },
    /// No scheme, or no host.
    #[error("not an http or https URI with a host")]
    BadUri,
    /// Too many requests at once.
    #[error("{whose} has {max} outgoing requests open on this node, and may have no more")]
    TooMany {
        /// Whose.
        whose: Whose,
        /// How many there may be.
        max: u32,
    },
    /// Too many names are looked up at once.
    #[error("{whose} has {max} look-ups of names under way on this node, and may have no more")]
    TooManyLookups {
        /// Whose.
        whose: Whose,
        /// How many there may be.
        max: u32,
    },
    /// The name has no address, or nobody could be asked for it.
    #[error("name not resolved: {0}")]
    Resolve(String),
    /// No name server answered in time.
    #[error("name not resolved in time: {0}")]
    ResolveTimeout(String),
    /// No address answers.
    #[error("not connected: {0}")]
    Connect(String),
    /// No address answered in time.
    #[error("not connected in time")]
    ConnectTimeout,
    /// No response in time.
    #[error("no response in time")]
    FirstByteTimeout,
    /// The response did not go on in time.
    #[error("the response did not go on in time")]
    ReadTimeout,
    /// The other side is not who it should be, or speaks no TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The other side speaks no HTTP, or ended early.
    #[error("HTTP: {0}")]
    Http(String),
}

impl OutboundError {
    /// Whether the platform did not let it go out, rather than that somebody else failed.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Denied(_)
            | Self::PrivateAddress(_)
            | Self::OutOfReach { .. }
            | Self::BadUri
            | Self::TooMany { .. }
            | Self::TooManyLookups { .. } => true,
            Self::Resolve(_)
            | Self::ResolveTimeout(_)
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::ReadTimeout
            | Self::Tls(_)
            | Self::Http(_) => false,
        }
    }
}

/// What a guest asks for; the defaults and the bounds are the platform's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Option<Duration>,
    /// Until the response's head.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body.
    pub between_bytes: Option<Duration>,
}

/// Sends the requests of all guests of a node, each on a connection of its own.
#[derive(Debug)]
pub struct Egress {
    connector: Connector,
    reach: Reach,
    quota: Quota,
}
