//! Datagrams that the kernel dropped at a socket because its buffer was full.

use std::io;
use std::net::UdpSocket;

/// The kernel's drop counter of one socket, where the system tells it.
#[derive(Debug)]
pub(crate) struct KernelDrops {
    counter: imp::Counter,
    seen: u64,
}

impl KernelDrops {
    /// The counter of `socket`, or an error where there is none.
    pub(crate) fn new(socket: &UdpSocket) -> io::Result<Self> {
        let counter = imp::Counter::new(socket)?;
        let seen = counter.read()?;
        Ok(Self { counter, seen })
    }

    /// Drops since the last call. Reads a file of the size of the system's socket table: call it
    /// seldom.
    pub(crate) fn poll(&mut self) -> u64 {
        let Ok(total) = self.counter.read() else {
            return 0;
        };
        let new = total.saturating_sub(self.seen);
        self.seen = total;
        new
    }
}

/// `/proc/net/udp` has one line a socket; the inode is in the tenth column, the drops in the
/// thirteenth.
#[cfg(target_os = "linux")]
mod imp {
    use std::io::{self, BufRead, BufReader};
    use std::net::UdpSocket;

    #[derive(Debug)]
    pub(super) struct Counter {
        table: &'static str,
        inode: u64,
    }

    impl Counter {
        pub(super) fn new(socket: &UdpSocket) -> io::Result<Self> {
            let table = match socket.local_addr()?.is_ipv4() {
                true => "/proc/net/udp",
                false => "/proc/net/udp6",
            };
            let inode = rustix::fs::fstat(socket)?.st_ino;
            Ok(Self { table, inode })
        }

        pub(super) fn read(&self) -> io::Result<u64> {
            for line in BufReader::new(std::fs::File::open(self.table)?).lines() {
                if let Some(drops) = drops_of(&line?, self.inode) {
                    return Ok(drops);
                }
            }
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// The drops in `line`, if it is about the socket `inode`.
    pub(super) fn drops_of(line: &str, inode: u64) -> Option<u64> {
        let mut columns = line.split_ascii_whitespace().skip(9);
        let is_ours = columns.next()?.parse() == Ok(inode);
        is_ours.then(|| columns.nth(2)?.parse().ok()).flatten()
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::net::UdpSocket;

    #[derive(Debug)]
    pub(super) struct Counter;

    impl Counter {
        pub(super) fn new(_socket: &UdpSocket) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn read(&self) -> io::Result<u64> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_inode() {
        let line = "  610: 0100007F:2710 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    \u{20}1000        0 48711 2 00000000a1b2c3d4 17";
        assert_eq!(imp::drops_of(line, 48_711), Some(17));
        assert_eq!(imp::drops_of(line, 48_712), None);
        assert_eq!(imp::drops_of("sl local_address", 1), None);
    }

    #[test]
    fn an_overrun_socket_is_noticed() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut drops = KernelDrops::new(&socket).unwrap();
        assert_eq!(drops.poll(), 0);
        let address = socket.local_addr().unwrap();
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4_096);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 1_000], address).unwrap();
        }
        assert!(drops.poll() > 0);
        assert_eq!(drops.poll(), 0);
    }
}
