//! From a host to a connection: resolve, look at the addresses, connect to one of those.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::OutboundError;
use super::address::is_private;
use super::grant::Granted;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As in the URI.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) granted: Granted,
}

/// Makes connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Trusts the roots that Mozilla trusts.
    pub(super) fn new() -> Result<Self, OutboundError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| OutboundError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    pub(super) async fn connect(&self, target: &Target) -> Result<Box<dyn Stream>, OutboundError> {
        let stream = open(&addresses(target).await?).await?;
        if !target.tls {
            return Ok(Box::new(stream));
        }
        let tls = |error: &dyn fmt::Display| OutboundError::Tls(error.to_string());
        let name = ServerName::try_from(bare(&target.host).to_owned()).map_err(|error| tls(&error))?;
        Ok(Box::new(self.tls.connect(name, stream).await.map_err(|error| tls(&error))?))
    }
}

async fn open(addresses: &[SocketAddr]) -> Result<TcpStream, OutboundError> {
    let mut failed = OutboundError::Resolve("no address".into());
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it small requests wait for an acknowledgement; where it fails they do.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = OutboundError::Connect(error.to_string()),
        }
    }
    Err(failed)
}

/// The addresses that may be connected to.
async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, OutboundError> {
    let found = tokio::net::lookup_host((bare(&target.host), target.port)).await;
    let mut found: Vec<_> = found.map_err(|error| OutboundError::Resolve(error.to_string()))?.collect();
    if target.granted == Granted::Public {
        found.retain(|address| !is_private(address.ip()));
        if found.is_empty() {
            return Err(OutboundError::PrivateAddress(target.host.clone()));
        }
    }
    Ok(found)
}

/// Without the brackets that an IPv6 address has in a URI.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
