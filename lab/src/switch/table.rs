//! Which host is behind which port, learned from what the hosts send.

use std::collections::HashMap;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Addresses that are remembered at most; a lab has a few dozen hosts.
const MAX_ADDRESSES: usize = 4096;

/// The forwarding table of a learning switch. Entries do not age: a lab's hosts do not move.
#[derive(Default)]
pub struct MacTable(HashMap<Mac, usize>);

impl MacTable {
    /// Remembers that `source` is behind `port`. Group addresses are no sources.
    pub fn learn(&mut self, source: Mac, port: usize) {
        let room = self.0.len() < MAX_ADDRESSES || self.0.contains_key(&source);
        if !is_group(source) && room {
            self.0.insert(source, port);
        }
    }

    /// The port of `destination`, or `None` when the frame is for every port but its own.
    pub fn port(&self, destination: Mac) -> Option<usize> {
        if is_group(destination) {
            None
        } else {
            self.0.get(&destination).copied()
        }
    }
}

/// Broadcast and multicast have the lowest bit of the first byte set.
fn is_group(address: Mac) -> bool {
    address[0] & 1 == 1
}
