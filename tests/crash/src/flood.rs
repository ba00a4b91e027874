//! Random datagrams at a receiver that is at work.

use crate::host::{Program, noise};
use crate::say;
use anyhow::{Result, ensure};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use xfer_proto::rng::Rng;

/// Share of its rate that a transfer keeps.
const KEPT_RATE: f64 = 0.8;
/// Growth of the memory that does not count: a few datagrams under way.
const GROWTH_KIB: u64 = 4 << 10;
/// Different datagrams; making one anew each time would cost more than sending it.
const KINDS: usize = 4_096;
const MAX_DATAGRAM: u64 = 1_500;

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
    /// Chooses the datagrams
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    let (sent, mut rates) = (AtomicU64::new(0), Vec::new());
    let started = Instant::now();
    let flood_seconds = thread::scope(|scope| -> Result<f64> {
        let flood = scope.spawn(|| flood(to, arguments, &sent));
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
    let datagrams = sent.load(Ordering::Relaxed);
    let kept = rates.iter().sum::<f64>() / rates.len() as f64 / quiet;
    say(&format!(
        "{datagrams} random datagrams in {flood_seconds:.1} s ({:.0} a second); {} transfers kept \
         {:.0} % of the rate without the flood ({quiet:.0} Mbit/s); memory {:.1} MiB before, \
         {:.1} after",
        datagrams as f64 / flood_seconds,
        rates.len(),
        kept * 100.0,
        before as f64 / 1024.0,
        after as f64 / 1024.0
    ));
    Ok(u64::from(kept < KEPT_RATE) + u64::from(after > before + GROWTH_KIB))
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

/// Sends random bytes of random length.
fn flood(to: SocketAddr, arguments: &Arguments, sent: &AtomicU64) -> Result<()> {
    let mut rng = Rng::new(arguments.seed ^ 1);
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let kinds: Vec<Vec<u8>> = (0..KINDS)
        .map(|_| {
            let len = rng.below(MAX_DATAGRAM) as usize;
            noise(len, &mut rng)
        })
        .collect();
    let started = Instant::now();
    for (at, datagram) in (0..arguments.datagrams).zip(kinds.iter().cycle()) {
        // What the kernel does not take is not sent: it does not count.
        if socket.send_to(datagram, to).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
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
