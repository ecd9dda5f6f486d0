//! What tells one caller from another.

use std::net::{IpAddr, Ipv6Addr};

/// Bits of an IPv6 address that do: whoever has one address of a network may use all of it.
const NETWORK_BITS: u32 = 64;

/// An IPv4 address, however a socket of both families writes it, or the network of an IPv6 address.
#[must_use]
pub fn network(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_network_are_one_caller() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8::ffff:2"), network("2001:db8::1"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8::1"));
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }
}
