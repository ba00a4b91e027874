//! Datagrams that nobody asked for at a receiver that is at work.

use crate::host::{Program, noise};
use crate::say;
use anyhow::{Result, ensure};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use xfer_proto::config::MIN_DATAGRAM;
use xfer_proto::id::{PacketNumber, SessionId};
use xfer_proto::rng::Rng;
use xfer_proto::wire::checksum;
use xfer_proto::wire::frame::{Frame, Hello};
use xfer_proto::wire::header::{Header, Kind};
use xfer_proto::wire::packet::FrameWriter;

/// Share of its rate that a transfer keeps.
const KEPT_RATE: f64 = 0.8;
/// Growth of the memory that does not count: a few datagrams under way.
const GROWTH_KIB: u64 = 4 << 10;
/// Different datagrams; making one anew each time would cost more than sending it.
const KINDS: usize = 4_096;
const MAX_DATAGRAM: u64 = 1_450;
/// So many come from one address.
const DATAGRAMS_EACH: u64 = 1_024;
/// A token of today: a time, and a hash that nobody without the secret can make.
const TOKEN_LEN: usize = 24;
/// Every kind whose content may be anything.
const KINDS_OF_PACKETS: [Kind; 7] = [
    Kind::Hello,
    Kind::Retry,
    Kind::Data,
    Kind::Part,
    Kind::Parity,
    Kind::Control,
    Kind::Reset,
];

/// Options of the flood.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Datagrams in all
    #[arg(long, default_value_t = 10_000_000)]
    datagrams: u64,
    /// Datagrams a second, 0 for as many as the machine can
    #[arg(long, default_value_t = 0)]
    per_second: u64,
    /// Bytes of the file that is sent meanwhile, as often as the flood lasts
    #[arg(long, default_value_t = 64 << 20)]
    size: usize,
    /// Rate of the sender
    #[arg(long, default_value = "200M")]
    rate: String,
    /// What they look like
    #[arg(long, value_enum, default_value_t = Looks::Mixed)]
    looks: Looks,
    /// Chooses the datagrams
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How much of a datagram is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Looks {
    /// Random bytes: nothing is
    Random,
    /// A header, a checksum, random bytes between, of sessions that do not exist
    Packets,
    /// The first packet of a session, full length, with a token that is missing or wrong
    Hellos,
    /// A third of each
    Mixed,
}

/// What the flood did.
#[derive(Debug, Default)]
struct Tally {
    datagrams: AtomicU64,
    /// Bytes of the datagrams.
    sent: AtomicU64,
    /// Bytes that came back.
    answered: AtomicU64,
}

/// Runs the flood; answers how often a promise broke.
pub(crate) fn run(program: &Program, arguments: &Arguments) -> Result<u64> {
    let scratch = tempfile::tempdir()?;
    let mut rng = Rng::new(arguments.seed);
    fs::write(scratch.path().join("data"), noise(arguments.size, &mut rng))?;
    let out = scratch.path().join("out");
    let receiver = program.receive(&out, "127.0.0.1:0", &[], &[])?;
    let to = receiver.address()?;
    let once = || transfer(program, scratch.path(), &out, to, arguments);
    let quiet = once()?;
    let before = receiver.process.memory_kib("VmRSS")?;
    let (tally, mut rates) = (Tally::default(), Vec::new());
    let started = Instant::now();
    let flood_seconds = thread::scope(|scope| -> Result<f64> {
        let flood = scope.spawn(|| flood(to, arguments, &tally));
        while !flood.is_finished() {
            rates.push(once()?);
        }
        let seconds = started.elapsed().as_secs_f64();
        flood
            .join()
            .map_err(|_| anyhow::anyhow!("the flood panicked"))??;
        Ok(seconds)
    })?;
    let after = receiver.process.memory_kib("VmRSS")?;
    ensure!(receiver.stop()? == 130, "the receiver did not end in order");
    let datagrams = tally.datagrams.load(Ordering::Relaxed);
    let sent = tally.sent.load(Ordering::Relaxed);
    let answered = tally.answered.load(Ordering::Relaxed);
    let kept = rates.iter().sum::<f64>() / rates.len() as f64 / quiet;
    say(&format!(
        "{datagrams} datagrams ({:?}) in {flood_seconds:.1} s ({:.0} a second); {} transfers kept \
         {:.0} % of the rate without the flood ({quiet:.0} Mbit/s); memory {:.1} MiB before, \
         {:.1} after; {answered} bytes of answers to {sent}",
        arguments.looks,
        datagrams as f64 / flood_seconds,
        rates.len(),
        kept * 100.0,
        before as f64 / 1024.0,
        after as f64 / 1024.0
    ));
    let broken = [
        kept < KEPT_RATE,
        after > before + GROWTH_KIB,
        answered > sent,
    ];
    Ok(broken.into_iter().map(u64::from).sum())
}

/// One transfer; megabits a second.
fn transfer(
    program: &Program,
    dir: &Path,
    out: &Path,
    to: SocketAddr,
    arguments: &Arguments,
) -> Result<f64> {
    let started = Instant::now();
    let options = ["--rate", &arguments.rate, "--timeout", "60"];
    let (status, _) = program.send(dir, to, &options, &["data"], &[])?.finish()?;
    ensure!(status == 0, "a transfer gave {status}");
    let seconds = started.elapsed().as_secs_f64();
    let copy = out.join("data");
    ensure!(
        fs::read(&copy)? == fs::read(dir.join("data"))?,
        "a copy differs"
    );
    fs::remove_file(copy)?;
    Ok(arguments.size as f64 * 8.0 / 1e6 / seconds)
}

/// One datagram of the flood.
fn datagram(looks: Looks, rng: &mut Rng) -> Vec<u8> {
    let looks = match (looks, rng.below(3)) {
        (Looks::Mixed, 0) => Looks::Random,
        (Looks::Mixed, 1) => Looks::Packets,
        (Looks::Mixed, _) => Looks::Hellos,
        (other, _) => other,
    };
    let len = rng.below(MAX_DATAGRAM) as usize;
    let session = SessionId(rng.next_u64());
    match looks {
        Looks::Random | Looks::Mixed => noise(len, rng),
        Looks::Packets => {
            let kind = KINDS_OF_PACKETS[rng.below(KINDS_OF_PACKETS.len() as u64) as usize];
            let mut bytes = Vec::new();
            let number = PacketNumber(rng.below(1_000));
            Header {
                kind,
                session,
                number,
            }
            .encode(&mut bytes);
            bytes.extend(noise(len, rng));
            checksum::append(&mut bytes, 0);
            bytes
        }
        Looks::Hellos => {
            let token = noise(rng.below(2) as usize * TOKEN_LEN, rng);
            let (number, tag) = (PacketNumber(0), rng.next_u64());
            let mut packet = FrameWriter::new(Kind::Hello, session, number, tag, MIN_DATAGRAM);
            packet.push(&Frame::Hello(Hello {
                token: &token,
                datagram_size: 1_200,
                interval_us: 10_000,
            }));
            packet.pad();
            let mut bytes = Vec::new();
            packet.finish(&mut bytes);
            bytes
        }
    }
}

/// A socket with an address that nobody has seen; where the system has one loopback address, with
/// that.
fn stranger(rng: &mut Rng) -> Result<UdpSocket> {
    let [_, a, b, c, ..] = rng.next_u64().to_be_bytes();
    let own = SocketAddr::from(([127, a, b, c], 0));
    let socket = UdpSocket::bind(own).or_else(|_| UdpSocket::bind("127.0.0.1:0"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends them as fast as it is asked to.
fn flood(to: SocketAddr, arguments: &Arguments, tally: &Tally) -> Result<()> {
    let mut rng = Rng::new(arguments.seed ^ 1);
    let mut socket = stranger(&mut rng)?;
    let mut answer = [0; 2_048];
    let kinds: Vec<Vec<u8>> = (0..KINDS)
        .map(|_| datagram(arguments.looks, &mut rng))
        .collect();
    let started = Instant::now();
    for (at, datagram) in (0..arguments.datagrams).zip(kinds.iter().cycle()) {
        if at % DATAGRAMS_EACH == 0 {
            socket = stranger(&mut rng)?;
        }
        // What the kernel does not take is not sent: it does not count.
        if socket.send_to(datagram, to).is_ok() {
            tally.datagrams.fetch_add(1, Ordering::Relaxed);
            tally
                .sent
                .fetch_add(datagram.len() as u64, Ordering::Relaxed);
        }
        while let Ok(len) = socket.recv(&mut answer) {
            tally.answered.fetch_add(len as u64, Ordering::Relaxed);
        }
        if arguments.per_second > 0 && at % 64 == 0 {
            let due = at as f64 / arguments.per_second as f64;
            while started.elapsed().as_secs_f64() < due {
                thread::yield_now();
            }
        }
    }
    Ok(())
}
