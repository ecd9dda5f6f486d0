//! From a host to a connection: resolve, look at the addresses, connect to one of those.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use coracle_proto::id::FunctionId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::OutboundError;
use super::address::{Place, place};
use super::grant::Granted;
use super::names::{LookupsMax, Names};
use super::reach::Reach;

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
    names: Arc<Names>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Trusts the roots that Mozilla trusts, and looks names up as the system is told to.
    pub(super) fn new() -> Result<Self, OutboundError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| OutboundError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let names = Arc::new(Names::of_system(LookupsMax::DEFAULTS));
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), names })
    }

    /// Connects for a function, among whose look-ups that of the name is counted.
    pub(super) async fn connect(
        &self,
        target: &Target,
        reach: Reach,
        function: &FunctionId,
    ) -> Result<Box<dyn Stream>, OutboundError> {
        let found = self.names.addresses(bare(&target.host), function).await?;
        let found = found.iter().map(|address| SocketAddr::new(*address, target.port)).collect();
        let stream = open(&allowed(target, reach, found)?).await?;
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

/// Those of a name's addresses that its grant leads to, and its node lets it.
fn allowed(
    target: &Target,
    reach: Reach,
    mut found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, OutboundError> {
    if let Some(beyond) = found.iter().map(|it| place(it.ip())).find(|place| !reach.includes(*place)) {
        found.retain(|address| reach.includes(place(address.ip())));
        if found.is_empty() {
            let host = target.host.clone();
            return Err(OutboundError::OutOfReach { host, place: beyond.name(), reach });
        }
    }
    if target.granted == Granted::Public {
        found.retain(|address| place(address.ip()) == Place::Public);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(granted: Granted, reach: Reach, addresses: &[&str]) -> Result<usize, OutboundError> {
        let target = Target { host: "it".to_owned(), port: 80, tls: false, granted };
        let found = addresses.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 80)).collect();
        allowed(&target, reach, found).map(|left| left.len())
    }

    #[test]
    fn no_grant_leads_farther_than_the_operator_lets_it() {
        let (metadata, private, public) = (["169.254.169.254"], ["10.0.0.1"], ["1.1.1.1"]);
        for reach in [Reach::Public, Reach::Private] {
            let error = reached(Granted::Anywhere, reach, &metadata).unwrap_err();
            assert!(matches!(error, OutboundError::OutOfReach { .. }), "{error:?}");
            assert!(error.to_string().contains(&format!("--guests-reach {reach}")), "{error}");
        }
        assert_eq!(reached(Granted::Anywhere, Reach::Anywhere, &metadata).unwrap(), 1);
        let error = reached(Granted::Anywhere, Reach::Public, &private).unwrap_err();
        assert!(matches!(error, OutboundError::OutOfReach { .. }), "{error:?}");
        assert_eq!(reached(Granted::Anywhere, Reach::Private, &private).unwrap(), 1);
        for reach in [Reach::Public, Reach::Private, Reach::Anywhere] {
            assert_eq!(reached(Granted::Public, reach, &public).unwrap(), 1);
            assert!(reached(Granted::Public, reach, &private).is_err(), "a name that leads here, {reach}");
            assert!(reached(Granted::Public, reach, &metadata).is_err(), "a name that leads there, {reach}");
            // A public address that is none.
            assert!(reached(Granted::Public, reach, &["168.63.129.16"]).is_err(), "{reach}");
        }
        let mixed = ["169.254.169.254", "10.0.0.1"];
        assert_eq!(reached(Granted::Anywhere, Reach::Private, &mixed).unwrap(), 1, "what is left of them");
    }
}
