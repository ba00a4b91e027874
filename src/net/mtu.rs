//! How large a datagram the first hop towards a peer takes.

use std::net::SocketAddr;
use xfer_proto::config::{MAX_DATAGRAM, MIN_DATAGRAM};

/// Headers of IPv4 and UDP, in bytes.
const HEADERS_V4: usize = 28;
/// Headers of IPv6 and UDP, in bytes.
const HEADERS_V6: usize = 48;

/// Largest UDP payload worth trying towards `peer`, in bytes: what the route's MTU leaves, within
/// the engine's limits. Where the system does not tell, the engine's largest: it probes the path
/// anyway.
pub(crate) fn max_datagram(peer: SocketAddr) -> usize {
    route_mtu(peer).map_or(MAX_DATAGRAM, |mtu| payload(mtu, peer.is_ipv6()))
}

fn payload(mtu: usize, is_ipv6: bool) -> usize {
    let headers = if is_ipv6 { HEADERS_V6 } else { HEADERS_V4 };
    mtu.saturating_sub(headers)
        .clamp(MIN_DATAGRAM, MAX_DATAGRAM)
}

/// The MTU of the route to `peer`, which a connected socket knows. No packet is sent.
#[cfg(target_os = "linux")]
fn route_mtu(peer: SocketAddr) -> Option<usize> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    };
    let probe = std::net::UdpSocket::bind(any).ok()?;
    probe.connect(peer).ok()?;
    let mtu = match peer {
        SocketAddr::V4(_) => rustix::net::sockopt::ip_mtu(&probe),
        SocketAddr::V6(_) => rustix::net::sockopt::ipv6_mtu(&probe),
    };
    mtu.ok().and_then(|mtu| usize::try_from(mtu).ok())
}

#[cfg(not(target_os = "linux"))]
fn route_mtu(_peer: SocketAddr) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_off_the_mtu() {
        assert_eq!(payload(1_500, false), 1_472);
        assert_eq!(payload(1_500, true), 1_452);
        assert_eq!(payload(576, false), MIN_DATAGRAM);
        assert_eq!(payload(65_536, false), MAX_DATAGRAM);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_loopback_takes_the_largest() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 10_000));
        assert_eq!(max_datagram(peer), MAX_DATAGRAM);
    }
}
