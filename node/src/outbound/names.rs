//! From a host to its addresses: what it says itself, what the system's files say, what was heard before, or what a name
//! server answers.
//!
//! A look-up costs sockets and time, and no thread: a name server that falls silent holds up whoever waits for its
//! names, and nothing else. Equal look-ups are one, and each function has its own share of those that may be under way.
//! What is known already needs no share.

mod ask;
mod cache;
mod system;
#[cfg(test)]
mod tests;
mod upstream;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::FunctionId;
use tokio::runtime::Handle;

use self::system::{Files, System};
use self::upstream::Unresolved;
use super::shares::{Full, Shares};
use super::{CONNECT_TIMEOUT, OutboundError};
use crate::clock;

/// One look-up, with all that is asked for it. Within the time that a guest has for its connection by default; one that
/// gave itself less waits no longer than that.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
const _: () = assert!(LOOKUP_TIMEOUT.as_millis() * 2 <= CONNECT_TIMEOUT.as_millis());

/// Addresses that are kept of one name: far more than are tried, for some of them may be refused.
const ADDRESSES_MAX: usize = 16;

/// A name's addresses, those to be tried first in front.
type Addresses = Arc<[IpAddr]>;

/// How many look-ups may be under way at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookupsMax {
    /// Of all guests of a node. Each has a socket for both kinds of addresses, for each of two name servers, for each
    /// of three times that a silent one is asked: three thousand at the worst.
    pub(super) node: u32,
    /// Of one function: at 20 ms each that is 1600 new names a second, and eight functions that wait for a silent name
    /// server leave nothing for a ninth.
    pub(super) function: u32,
}

impl LookupsMax {
    pub(super) const DEFAULTS: Self = Self { node: 256, function: 32 };
}

const _: () = assert!(LookupsMax::DEFAULTS.function <= LookupsMax::DEFAULTS.node / 8);

/// Looks names up for the guests of a node.
#[derive(Debug)]
pub(super) struct Names {
    system: Arc<System>,
    shares: Arc<Shares>,
    /// On which names are looked up.
    threads: Handle,
}

impl Names {
    /// As `/etc/hosts` and `/etc/resolv.conf` say, from now on and whenever they change. Where they say nothing that
    /// can be used each look-up is told why. Names are looked up on the threads of the caller of this.
    pub(super) fn of_system(max: LookupsMax) -> Self {
        Self::new(System::read(Files::default(), clock::now()), max)
    }

    fn new(system: System, max: LookupsMax) -> Self {
        let threads = Handle::current();
        Self { system: Arc::new(system), shares: Shares::new(max.node, max.function), threads }
    }

    /// The addresses of a host, for a request of a function. An IPv6 address has no brackets here.
    ///
    /// # Errors
    /// When the name has none, when no name server says so in time, and when there are too many look-ups.
    pub(super) async fn addresses(
        &self,
        host: &str,
        function: &FunctionId,
    ) -> Result<Addresses, OutboundError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([address].into());
        }
        let host = host.to_ascii_lowercase();
        let name = host.strip_suffix('.').unwrap_or(&host);
        if is_this_machine(name) {
            return Ok([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into());
        }
        let known = self.system.known(clock::now());
        if let Some(addresses) = known.hosts.get(name) {
            return Ok(Arc::clone(addresses));
        }
        let upstream = known.upstream.as_ref().map_err(|why| OutboundError::Resolve(why.clone()))?;
        let share = || self.shares.take(function);
        let flight = upstream.begin(&host, &self.threads, share).map_err(too_many)?;
        flight.await.map_err(OutboundError::from)
    }
}

/// `localhost` and what is below it is never asked for (RFC 6761, 6.3): no name server may point it elsewhere.
fn is_this_machine(name: &str) -> bool {
    name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn too_many(Full { whose, max }: Full) -> OutboundError {
    OutboundError::TooManyLookups { whose, max }
}

impl From<Unresolved> for OutboundError {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::Nothing(why) | Unresolved::Failed(why) => Self::Resolve(why),
            Unresolved::Silent(why) => Self::ResolveTimeout(why),
        }
    }
}
