//! The hosts of the lab: their names, addresses and namespaces.

use anyhow::{Result, bail};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Receivers that can be had on top of the three hosts.
pub const MAX_EXTRA_HOSTS: usize = 64;

/// The network of every IPv4 address.
pub const NETWORK: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 0);

/// Bits of the network part of every IPv4 address.
pub const PREFIX_BITS: u8 = 24;

/// The last byte of the first extra host's address.
const FIRST_EXTRA: u8 = 100;

/// One host: a network namespace with a single device, `eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `client`, `server1`, `server2`, ...
    pub name: String,
    last_byte: u8,
}

impl Host {
    fn new(name: impl Into<String>, last_byte: u8) -> Self {
        Self {
            name: name.into(),
            last_byte,
        }
    }

    /// Its IPv4 address, in 192.168.122.0/24.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 122, self.last_byte)
    }

    /// Its IPv6 address, in fd78:6665:72::/64.
    pub fn address_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd78, 0x6665, 0x72, 0, 0, 0, 0, u16::from(self.last_byte))
    }

    /// Its Ethernet address, locally administered.
    pub fn mac(&self) -> String {
        format!("02:78:66:65:72:{:02x}", self.last_byte)
    }

    /// The name of its network namespace.
    pub fn netns(&self) -> String {
        format!("xfer-{}", self.name)
    }
}

/// The three hosts of the mission and `extra` receivers: `server3`, `server4`, ...
pub fn hosts(extra: usize) -> Result<Vec<Host>> {
    if extra > MAX_EXTRA_HOSTS {
        bail!(
            "{extra} extra hosts are more than the {MAX_EXTRA_HOSTS} that the lab has addresses for"
        );
    }
    let mut hosts = vec![
        Host::new("client", 72),
        Host::new("server1", 223),
        Host::new("server2", 181),
    ];
    hosts.extend((0..extra as u8).map(|i| Host::new(format!("server{}", 3 + i), FIRST_EXTRA + i)));
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_host_has_its_own_address_and_a_prefixed_namespace() {
        let all = hosts(MAX_EXTRA_HOSTS).unwrap();
        let addresses: HashSet<_> = all.iter().map(Host::address).collect();
        assert_eq!(addresses.len(), 3 + MAX_EXTRA_HOSTS);
        assert!(all.iter().all(|host| host.netns().starts_with("xfer-")));
        assert_eq!(all[0].address(), Ipv4Addr::new(192, 168, 122, 72));
        assert!(hosts(MAX_EXTRA_HOSTS + 1).is_err());
    }
}
