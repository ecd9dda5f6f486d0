//! Ports that a test may bind, give up and bind again: the system gives none of them to a connection meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux takes for outgoing connections (32768 and above, unless somebody has changed it), and above
/// what services of a machine have.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Offers so far: no port is offered twice before all were.
static OFFERED: AtomicU16 = AtomicU16::new(0);

/// Addresses on loopback, each offered to one test of this process; one of them may be in use by another process.
pub(crate) fn offers() -> impl Iterator<Item = SocketAddr> {
    // Processes begin apart: their ids are neighbours, so they are spread.
    let start = std::process::id().wrapping_mul(2_654_435_761) % u32::from(COUNT);
    let start = u16::try_from(start).unwrap_or_default();
    (0..COUNT).map(move |_| {
        let offset =
            (u32::from(start) + u32::from(OFFERED.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        (Ipv4Addr::LOCALHOST, FIRST + u16::try_from(offset).unwrap_or_default()).into()
    })
}
