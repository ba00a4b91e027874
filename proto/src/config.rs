//! What a driver may set, with defaults that need no change, and the limits that bound a hostile
//! peer.

use crate::manifest::MAX_FILE_SIZE;
use crate::memory::{GUARANTEE, MemoryPool};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// Smallest datagram that every path must carry, in bytes of UDP payload: IPv6's 1,280 less its
/// headers, rounded down. Control packets never exceed it.
pub const MIN_DATAGRAM: usize = 1_200;
/// Largest datagram that the engine makes: a jumbo frame of 9,000 less the headers of IPv6 and UDP.
pub const MAX_DATAGRAM: usize = 8_952;
/// Sizes of the datagrams that probe the path in the handshake, largest first (SPEC.md,
/// `path-mtu`).
pub const PROBE_SIZES: [usize; 4] = [8_952, 1_472, 1_452, MIN_DATAGRAM];
/// Longest token that a sender takes, in bytes: a `Hello` with it fits [`MIN_DATAGRAM`].
pub const MAX_TOKEN: usize = 1_024;
/// Most files in one session.
pub const MAX_FILES: u32 = 1 << 20;
/// Most bytes of names in one session.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// Most holes in the received chunks before the receiver takes nothing beyond them.
pub const MAX_RANGES: usize = 16_384;
/// Bytes in one full write of the receiver, aligned to as much: the size from which the page cache
/// is fast. The sender reads whole leaves.
pub const WRITE_BLOCK: usize = 64 << 10;
/// The same while many sessions share the receiver's memory.
pub const SMALL_WRITE_BLOCK: usize = 16 << 10;
/// Bytes that the sessions of one receiver hold together until storage has taken them, beyond what
/// each is guaranteed ([`crate::memory`]).
pub const MEMORY_POOL: u64 = 44 << 20;
/// Bytes that the manifests of all sessions of one receiver may take. A session gets half of what
/// the others leave ([`crate::memory::Share::take_half`]): alone it can have [`MAX_FILES`] entries
/// with names of 100 bytes.
pub const MANIFEST_POOL: u64 = 1 << 30;
/// Bytes that an entry of a manifest takes beside its name until its file is final: what the engine
/// knows of the file, and what storage does.
pub const ENTRY_COST: u64 = 400;
/// Bytes that files which have begun and are not final may take, of all sessions of one receiver,
/// beside their entries. A session's content begins no other file where that is more than it
/// leaves to the others; what has to be remembered without content may exceed it.
pub const BEGUN_POOL: u64 = 256 << 20;
/// Bytes that such a file takes at most.
pub const BEGUN_COST: u64 = 600;
/// The part of an entry that stays until the session ends.
pub const FINAL_ENTRY_COST: u64 = 128;
/// Bytes of the chunks of a block with parity at most.
pub const MAX_PARITY_BLOCK: u64 = 512 << 10;
/// Bytes of parity that a session holds at most.
pub const MAX_PARITY_HELD: u64 = 1 << 20;
/// How often a leaf or a file with a wrong digest is asked for again before the file fails.
pub const MAX_INTEGRITY_RETRIES: u8 = 3;
/// A session whose sender gets on by fewer bytes in [`PROGRESS_WINDOWS`] windows, while nothing of
/// ours keeps it from it, is ended: about 2 kbit/s.
pub const MIN_PROGRESS: u64 = 16 << 10;
/// Windows over which progress is looked at.
pub const PROGRESS_WINDOWS: usize = 6;
/// Length of a window.
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(10);
/// A token is good for so long after it was made.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(120);
/// Sessions at once, and from one address.
pub const MAX_SESSIONS: usize = 4_096;
/// Sessions at once from one address.
pub const MAX_SESSIONS_PER_ADDRESS: usize = 2_048;

const _: () = assert!(MIN_DATAGRAM < MAX_DATAGRAM && PROBE_SIZES[0] == MAX_DATAGRAM);
const _: () = assert!(FINAL_ENTRY_COST < ENTRY_COST);
const _: () = assert!(MAX_FILES as u64 * (ENTRY_COST + 100) <= MANIFEST_POOL / 2);
// A chunk lies in at most two blocks, and a session can always have them and one that is written.
const _: () =
    assert!(3 * SMALL_WRITE_BLOCK as u64 == GUARANTEE && SMALL_WRITE_BLOCK > MAX_DATAGRAM);

/// How the sending rate is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Congestion {
    /// By a model of the path that tolerates random loss.
    #[default]
    Xcc,
    /// As TCP does by default: every loss means congestion.
    Cubic,
    /// [`SenderConfig::max_rate`] whatever the path says. Without such a rate, as [`Self::Xcc`].
    Fixed,
}

/// Settings of the sending end of a session.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// Largest datagram to try, in bytes of UDP payload. Default [`MAX_DATAGRAM`]; a driver that
    /// knows the route's MTU sets less.
    pub max_datagram: usize,
    /// A peer silent for so long is given up. Default 10 s.
    pub idle_timeout: Duration,
    /// Upper bound of the sending rate, in bytes a second of UDP payload. Default none.
    pub max_rate: Option<u64>,
    /// How the sending rate is found. Default [`Congestion::Xcc`].
    pub congestion: Congestion,
    /// Bytes of source blocks held at once: read-ahead and repairs; at least 4 MiB. Default 8 MiB.
    pub read_buffer: usize,
    /// Seeds the jitter of timers.
    pub seed: u64,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            max_datagram: MAX_DATAGRAM,
            idle_timeout: Duration::from_secs(10),
            max_rate: None,
            congestion: Congestion::default(),
            read_buffer: 8 << 20,
            seed: 0,
        }
    }
}

/// Settings of the receiving end of a session.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// A sender silent for so long is given up. Default 30 s.
    pub idle_timeout: Duration,
    /// Bytes held until storage has taken them; bounds what the sender may have in flight. Default
    /// 44 MiB: what 1 Gbit/s with a round trip of 300 ms has in flight.
    pub write_buffer: usize,
    /// What this session shares with all whose settings are clones of these: its part of it counts
    /// where that is less than `write_buffer`. Default a pool of [`MEMORY_POOL`] bytes.
    pub memory: MemoryPool,
    /// The same for manifests. Default a pool of [`MANIFEST_POOL`] bytes.
    pub manifests: MemoryPool,
    /// The same for files that have begun. Default a pool of [`BEGUN_POOL`] bytes.
    pub begun: MemoryPool,
    /// Largest file to accept, in bytes. Default [`MAX_FILE_SIZE`].
    pub max_file_size: u64,
    /// Most bytes to accept in one session. Default no bound but that of each file.
    pub max_total_size: u64,
    /// Most files to accept in one session. Default [`MAX_FILES`].
    pub max_files: u32,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            write_buffer: 44 << 20,
            memory: MemoryPool::new(MEMORY_POOL),
            manifests: MemoryPool::new(MANIFEST_POOL),
            begun: MemoryPool::new(BEGUN_POOL),
            max_file_size: MAX_FILE_SIZE,
            max_total_size: u64::MAX,
            max_files: MAX_FILES,
        }
    }
}
