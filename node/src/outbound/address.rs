//! Which addresses are of this machine or network, in all the ways to write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// To the open Internet.
    Public,
    /// To this machine or its network, or nowhere.
    Private,
    /// To the link itself, or to what tells a machine about itself: the metadata services of clouds.
    Metadata,
}

impl Place {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Public => "public address",
            Self::Private => "private address",
            Self::Metadata => "link-local address or metadata service",
        }
    }
}

/// Metadata services outside 169.254.0.0/16: Azure's wire server, Alibaba's and Oracle's.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// Those of Amazon and of Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Where an address leads, by itself or by the IPv4 address in it.
pub(super) fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    let [a, b, c, _] = address.octets();
    if address.is_link_local() || METADATA_V4.contains(&address) {
        return Place::Metadata;
    }
    let private = address.is_private()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        // Carriers' networks (RFC 6598), protocol assignments, benchmarks, reserved with broadcast.
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240;
    if private { Place::Private } else { Place::Public }
}

fn place_v6(address: Ipv6Addr) -> Place {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        place_v4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        // IPv4-mapped and IPv4-compatible; loopback and unspecified are among the latter.
        [0, 0, 0, 0, 0, 0xffff | 0] => return embedded(g, h),
        // NAT64 (RFC 6052), with its local prefix (RFC 8215), whose last four bytes are an address where it is a /96.
        [0x64, 0xff9b, 0, 0, 0, 0] => return embedded(g, h),
        [0x64, 0xff9b, 1, ..] => {
            return if embedded(g, h) == Place::Metadata { Place::Metadata } else { Place::Private };
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => return embedded(high, low),
        _ => {}
    }
    if address.is_unicast_link_local() || METADATA_V6.contains(&address) {
        return Place::Metadata;
    }
    // Global unicast is 2000::/3, but for Teredo and documentation.
    let private = a & 0xe000 != 0x2000 || (a == 0x2001 && (b == 0 || b == 0xdb8)) || a & 0xfff0 == 0x3ff0;
    if private { Place::Private } else { Place::Public }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_network_in_many_spellings() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "198.18.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "0.1.2.3",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fec0::1",
        ];
        for text in private {
            assert_ne!(place(text.parse().unwrap()), Place::Public, "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(place(text.parse().unwrap()), Place::Public, "{text}");
        }
    }

    #[test]
    fn what_tells_a_machine_about_itself_in_many_spellings() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert_eq!(place(text.parse().unwrap()), Place::Metadata, "{text}");
        }
    }
}
