//! From what a person writes to an address.

use crate::api::{DEFAULT_PORT, Destination, Error};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// So long one of several addresses may take to say that nobody is there.
const WAIT: Duration = Duration::from_millis(250);
const LOCAL_WAIT: Duration = Duration::from_millis(10);

/// Resolves `host`, `host:port`, `[v6]:port` or a bare IPv6 address; a missing port is
/// [`DEFAULT_PORT`].
///
/// Of a name with several addresses the first one counts that this host has a route to and that
/// does not refuse: to each an empty datagram is sent, and .25 s waited for what comes back. Blocks
/// meanwhile, and while the system's resolver works.
///
/// # Errors
///
/// [`Error::Resolve`] when the words are not of these forms or the name has no address.
pub fn resolve(host: &str) -> Result<Destination, Error> {
    let failed = |source| Error::Resolve {
        host: host.escape_debug().to_string(),
        source,
    };
    let (name, port) = split(host).map_err(failed)?;
    let addresses: Vec<SocketAddr> = match name.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => (name, port).to_socket_addrs().map_err(failed)?.collect(),
    };
    let address =
        choose(&addresses).ok_or_else(|| failed(io::Error::other("the name has no address")))?;
    Ok(Destination {
        label: host.to_owned(),
        address,
    })
}

/// The address to be used of those of a name.
fn choose(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let [_, _, ..] = addresses else {
        return addresses.first().copied();
    };
    let mut routed = addresses.iter().filter(|address| has_route(**address));
    let willing = routed.clone().find(|address| !refuses(**address));
    let any = willing.or_else(|| routed.next());
    any.or(addresses.first()).copied()
}

/// Host and port of `text`, without the brackets around an IPv6 address.
fn split(text: &str) -> io::Result<(&str, u16)> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, DEFAULT_PORT));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| invalid("`[` without `]`"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(invalid("expected `:port` after `]`")),
            }
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(invalid("the host is missing"));
    }
    if text.starts_with('[') != host.contains(':') {
        return Err(invalid(
            "an IPv6 address with a port or a scope is written in brackets: `[address]:port`",
        ));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(invalid("the port is a number from 1 to 65535")),
            Ok(port) => port,
        },
    };
    Ok((host, port))
}

fn invalid(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, words)
}

/// Whether the system knows a way to `address`. Nothing is sent.
fn has_route(address: SocketAddr) -> bool {
    UdpSocket::bind(unspecified(address)).is_ok_and(|socket| socket.connect(address).is_ok())
}

/// Whether the host at `address` says that nobody is there.
fn refuses(address: SocketAddr) -> bool {
    let ask = || {
        let socket = UdpSocket::bind(unspecified(address))?;
        socket.connect(address)?;
        // On this host the answer is there at once.
        let wait = if address.ip().is_loopback() {
            LOCAL_WAIT
        } else {
            WAIT
        };
        socket.set_read_timeout(Some(wait))?;
        socket.send(&[])?;
        socket.recv(&mut [0])
    };
    ask().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// What a socket is bound to that is to reach `address`.
fn unspecified(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:10000"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("::1", "[::1]:10000"),
            ("[::1]", "[::1]:10000"),
            ("[::1]:9", "[::1]:9"),
        ] {
            let destination = resolve(text).unwrap();
            assert_eq!(destination.address, address.parse().unwrap());
            assert_eq!(destination.label, text);
        }
        let named = resolve("localhost:77").unwrap().address;
        assert!(named.ip().is_loopback() && named.port() == 77);
    }

    #[test]
    fn of_several_addresses_one_is_taken_where_somebody_is() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = taken.local_addr().unwrap();
        let nobody = {
            let free = UdpSocket::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        assert_eq!(choose(&[nobody, there]), Some(there));
        assert_eq!(choose(&[there, nobody]), Some(there));
        assert_eq!(choose(&[nobody, nobody]), Some(nobody));
        assert_eq!(choose(&[nobody]), Some(nobody));
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", ":9", "h:", "h:x", "h:0", "h:65536", "[::1", "[::1]x", "[]:9", "[h]:9", "::1:x",
        ] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
