//! Instructions that the engine takes for each packet, both ends together: a figure that does not
//! depend on what else the machine does. `cargo bench --bench instructions`; needs valgrind.

mod memory;

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Makes this program carry out one transfer of so many bytes, and nothing else.
const SIZE: &str = "XFER_BENCH_TRANSFER";
/// Which packets are lost, for the same.
const LOSE: &str = "XFER_BENCH_LOSE";
/// Two transfers of different size: their difference is free of what every program costs.
const SIZES: [u64; 2] = [4 << 20, 12 << 20];
const DATAGRAM: usize = 1_472;

fn main() -> io::Result<()> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Some(size) = number(SIZE) {
        memory::transfer(size, DATAGRAM, number(LOSE));
        return Ok(());
    }
    let mut out = io::stdout().lock();
    for (words, lose) in [("nothing lost", None), ("one in 100 lost", Some(100))] {
        let [small, large] = SIZES.map(|size| memory::transfer(size, DATAGRAM, lose));
        let (Some(few), Some(many)) = (count(SIZES[0], lose)?, count(SIZES[1], lose)?) else {
            return writeln!(
                out,
                "valgrind is not installed: instructions are not counted"
            );
        };
        let packets = large.packets - small.packets;
        let each = many.saturating_sub(few) / packets.max(1);
        let share = 100.0 * large.back as f64 / large.forward as f64;
        writeln!(
            out,
            "{words}: {each} instructions a packet, feedback {share:.2} % of the bytes forward"
        )?;
    }
    Ok(())
}

/// Instructions of a whole run under valgrind; `None` where it is not installed.
fn count(size: u64, lose: Option<u64>) -> io::Result<Option<u64>> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .env(SIZE, size.to_string())
        .stdout(Stdio::null());
    if let Some(lose) = lose {
        command.env(LOSE, lose.to_string());
    }
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let words = String::from_utf8_lossy(&output.stderr);
    let found = words.lines().find_map(|line| {
        let (_, number) = line.split_once("Collected : ")?;
        number.trim().parse().ok()
    });
    let error = || io::Error::other(format!("valgrind did not count: {words}"));
    found.map(Some).ok_or_else(error)
}
