//! Batches on their way through the kernel: what to do when it takes only a part of one, and how a
//! buffer that came with GRO falls apart into datagrams.

use errors::{is_offload_refused, is_too_large};
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use xfer_proto::machine::Received;
use xfer_proto::transmit::{Ecn, Transmit};

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is left to do: every datagram is with the kernel or counted as lost.
    Done,
    /// The socket takes no more; the bytes from here on wait until it is writable.
    Blocked(usize),
}

/// Counts of what a socket did and suffered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCounters {
    /// System calls that the kernel took.
    pub calls: u64,
    /// Datagrams larger than the path or the interface takes.
    pub too_large: u64,
    /// Datagrams that the system refused for another reason: no buffer, no route, a firewall.
    pub refused: u64,
    /// Times that segmentation offload was switched off.
    pub step_downs: u64,
}

/// Sends `bytes`, the part of `transmit` that is not sent yet, by `send(datagrams, segment size)`.
///
/// Where the kernel refuses a batch as a whole, its datagrams go out one by one at once; `offload`
/// says whether a later batch may try again. Like any other network, this one may lose datagrams,
/// so that an error that is not about the socket being full costs the datagram and nothing else.
pub(crate) fn send_batch(
    offload: &mut bool,
    counters: &mut SendCounters,
    transmit: &Transmit,
    bytes: &[u8],
    mut send: impl FnMut(&[u8], Option<usize>) -> Result<()>,
) -> Progress {
    let size = transmit.segment_size.max(1);
    if *offload && bytes.len() > size {
        match send(bytes, Some(size)) {
            Ok(()) => {
                counters.calls += 1;
                return Progress::Done;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Blocked(0),
            Err(error) if is_offload_refused(&error) => {
                *offload = false;
                counters.step_downs += 1;
            }
            // One datagram by one it shows which of them the error is about.
            Err(_) => {}
        }
    }
    let mut sent = 0;
    for datagram in bytes.chunks(size) {
        match send(datagram, None) {
            Ok(()) => counters.calls += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Blocked(sent),
            Err(error) if is_too_large(&error) => counters.too_large += 1,
            Err(_) => counters.refused += 1,
        }
        sent += datagram.len();
    }
    Progress::Done
}

#[cfg(unix)]
mod errors {
    use rustix::io::Errno;
    use std::io::Error;

    /// The kernel says so when a driver promised segmentation and does not keep the promise.
    pub(super) fn is_offload_refused(error: &Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::INVAL))
    }

    /// The datagram is larger than the path or the interface takes.
    pub(super) fn is_too_large(error: &Error) -> bool {
        Errno::from_io_error(error) == Some(Errno::MSGSIZE)
    }
}

#[cfg(not(unix))]
mod errors {
    use std::io::{Error, ErrorKind};

    pub(super) fn is_offload_refused(error: &Error) -> bool {
        error.kind() == ErrorKind::InvalidInput
    }

    /// `WSAEMSGSIZE`.
    pub(super) fn is_too_large(error: &Error) -> bool {
        error.raw_os_error() == Some(10_040)
    }
}

/// What came in one piece: a datagram, or several of one sender that the kernel has put together
/// (GRO). It filters them as one, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub source: SocketAddr,
    pub ecn: Ecn,
    /// All of them, one behind the other.
    pub bytes: &'a [u8],
    /// Bytes of each but the last.
    pub stride: usize,
}

impl<'a> Arrival<'a> {
    /// The datagrams. An empty one is none.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = Received<'a>> + use<'a> {
        let (source, ecn) = (self.source, self.ecn);
        let parts = self.bytes.chunks(self.stride.max(1));
        parts.map(move |data| Received { source, ecn, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Transmit = Transmit {
        destination: SocketAddr::V4(std::net::SocketAddrV4::new(
            std::net::Ipv4Addr::LOCALHOST,
            1,
        )),
        ecn: Ecn::NotEct,
        segment_size: 4,
        len: 10,
    };
    const BYTES: &[u8] = b"aaaabbbbcc";

    /// Sends the batch through `answer`, which sees the number of the call and its segment size.
    fn run(
        offload: &mut bool,
        mut answer: impl FnMut(usize, Option<usize>) -> Result<()>,
    ) -> (Progress, SendCounters, Vec<Vec<u8>>) {
        let mut counters = SendCounters::default();
        let mut taken = Vec::new();
        let mut call = 0;
        let progress = send_batch(offload, &mut counters, &BATCH, BYTES, |bytes, segment| {
            call += 1;
            answer(call, segment)?;
            taken.push(bytes.to_vec());
            Ok(())
        });
        (progress, counters, taken)
    }

    #[test]
    fn a_batch_is_one_call_with_offload() {
        let mut offload = true;
        let (progress, counters, taken) = run(&mut offload, |_, segment| {
            assert_eq!(segment, Some(4));
            Ok(())
        });
        assert_eq!((progress, counters.calls), (Progress::Done, 1));
        assert_eq!(taken, [BYTES.to_vec()]);
    }

    #[cfg(unix)]
    #[test]
    fn refused_offload_sends_the_same_batch_as_datagrams() {
        use rustix::io::Errno;
        for errno in [Errno::IO, Errno::INVAL] {
            let mut offload = true;
            let (progress, counters, taken) = run(&mut offload, |_, segment| match segment {
                Some(_) => Err(errno.into()),
                None => Ok(()),
            });
            assert!(!offload);
            assert_eq!(progress, Progress::Done);
            assert_eq!((counters.step_downs, counters.calls), (1, 3));
            assert_eq!(taken, [b"aaaa".to_vec(), b"bbbb".to_vec(), b"cc".to_vec()]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_datagram_that_is_too_large_is_lost_alone() {
        use rustix::io::Errno;
        let mut offload = true;
        let (progress, counters, taken) = run(&mut offload, |call, _| match call {
            1..=3 => Err(Errno::MSGSIZE.into()),
            _ => Ok(()),
        });
        assert!(offload, "the size is to blame, not the offload");
        assert_eq!((progress, counters.too_large), (Progress::Done, 2));
        assert_eq!(taken, [b"cc".to_vec()]);
    }

    #[cfg(unix)]
    #[test]
    fn a_full_queue_of_the_system_is_loss() {
        use rustix::io::Errno;
        let mut offload = false;
        let (progress, counters, taken) = run(&mut offload, |call, _| match call {
            2 => Err(Errno::NOBUFS.into()),
            _ => Ok(()),
        });
        assert_eq!((progress, counters.refused), (Progress::Done, 1));
        assert_eq!(taken.len(), 2);
    }

    #[test]
    fn a_full_socket_keeps_what_is_not_sent() {
        let would_block = || Err(ErrorKind::WouldBlock.into());
        let (progress, _, taken) = run(&mut true, |_, _| would_block());
        assert_eq!((progress, taken.len()), (Progress::Blocked(0), 0));
        let (progress, _, taken) = run(&mut false, |call, _| match call {
            3 => would_block(),
            _ => Ok(()),
        });
        assert_eq!((progress, taken.len()), (Progress::Blocked(8), 2));
    }

    #[test]
    fn a_received_buffer_falls_apart_at_its_stride() {
        let datagrams = |bytes, stride| {
            let (source, ecn) = (BATCH.destination, Ecn::Ect0);
            let arrival = Arrival {
                source,
                ecn,
                bytes,
                stride,
            };
            arrival.datagrams().map(|received| received.data)
        };
        let parts: Vec<&[u8]> = datagrams(BYTES, 4).collect();
        assert_eq!(parts, [b"aaaa".as_slice(), b"bbbb", b"cc"]);
        assert_eq!(datagrams(BYTES, BYTES.len()).count(), 1);
        assert_eq!(datagrams(b"", 0).count(), 0);
    }
}
