//! `xfer demo`: shows and checks the whole thing on this machine, with nothing else set up.
//!
//! Two receivers on loopback, two pictures, each of the four modes, first over a clean path and
//! then over one that loses datagrams in both directions. Every copy is compared with its original,
//! byte for byte.

mod course;
mod relay;

use super::args::LogArguments;
use super::error::{CliError, system};
use super::exit::Exit;
use super::output::Output;
use super::output::table::{Align, Table};
use super::settings::{mode_name, stop_on_signals};
use super::units::{bits_per_second, show_rate, show_share};
use course::{Arrived, Course};
use std::fs;
use std::io;
use std::path::Path;
use xfer::Mode;

/// The pictures travel with the program, so that the demo works in any directory.
const PICTURES: [(&str, &[u8]); 2] = [
    ("1.png", include_bytes!("../../../images/1.png")),
    ("2.png", include_bytes!("../../../images/2.png")),
];
const MODES: [Mode; 4] = [
    Mode::Process,
    Mode::Thread,
    Mode::ProcessAsync,
    Mode::ThreadAsync,
];
/// Datagrams lost in each direction, in per cent: a clean path and a bad one.
const LOSSES: [u32; 2] = [0, 5];
const RECEIVERS: usize = 2;

/// Runs every course, prints the table, and says whether all copies are identical.
pub(super) fn run(log: LogArguments) -> Exit {
    let mut output = Output::new(log, false);
    let exit = match run_courses(&mut output) {
        Ok(exit) => exit,
        Err(error) => {
            output.failure(&error);
            error.exit
        }
    };
    output.finish(exit)
}

fn run_courses(output: &mut Output) -> Result<Exit, CliError> {
    let dir = tempfile::Builder::new()
        .prefix("xfer-demo-")
        .tempdir()
        .map_err(|error| storage_error("make a temporary directory", &error))?;
    write_pictures(dir.path()).map_err(|error| storage_error("write the pictures", &error))?;
    let stop = stop_on_signals()?;
    let steps = output.progress().steps((MODES.len() * LOSSES.len()) as u64);
    let mut table = new_table();
    let mut exits = Vec::new();
    for mode in MODES {
        for loss_percent in LOSSES {
            steps.set_message(format!("{}, {}", mode_name(mode), path_name(loss_percent)));
            let course = Course {
                mode,
                loss_percent,
                dir: dir.path(),
                stop: &stop,
            };
            let arrived = course.run(output)?;
            for (at, arrived) in arrived.iter().enumerate() {
                table.push(&row(&course, at, arrived));
                exits.push(arrived.exit);
            }
            steps.inc(1);
        }
    }
    output.progress().clear();
    output.result(table.render());
    let exit = Exit::combine(exits);
    if exit == Exit::Success {
        let copies = MODES.len() * LOSSES.len() * RECEIVERS * PICTURES.len();
        output.result(format!(
            "all {copies} copies are identical to their originals\n"
        ));
    } else {
        output.error("not every copy arrived, or not as it was sent");
    }
    dir.close()
        .map_err(|error| storage_error("remove the temporary directory", &error))?;
    Ok(exit)
}

fn write_pictures(dir: &Path) -> io::Result<()> {
    PICTURES
        .iter()
        .try_for_each(|(name, content)| fs::write(dir.join(name), content))
}

fn storage_error(action: &str, error: &io::Error) -> CliError {
    CliError::new(Exit::Storage, format!("cannot {action}: {}", system(error)))
}

fn path_name(loss_percent: u32) -> String {
    match loss_percent {
        0 => "clean".into(),
        loss => format!("{loss} % lost"),
    }
}

fn new_table() -> Table<9> {
    Table::new([
        ("MODE", Align::Left),
        ("PATH", Align::Left),
        ("RECEIVER", Align::Right),
        ("FILES", Align::Right),
        ("BYTES", Align::Right),
        ("SECONDS", Align::Right),
        ("RATE", Align::Right),
        ("SENT AGAIN", Align::Right),
        ("VERIFIED", Align::Left),
    ])
}

fn row(course: &Course<'_>, receiver: usize, arrived: &Arrived) -> [String; 9] {
    [
        mode_name(course.mode).into(),
        path_name(course.loss_percent),
        (receiver + 1).to_string(),
        arrived.files.to_string(),
        arrived.bytes.to_string(),
        format!("{:.3}", arrived.seconds),
        show_rate(bits_per_second(arrived.bytes, arrived.seconds)),
        show_share(arrived.retransmitted_bytes, arrived.bytes),
        if arrived.exit == Exit::Success {
            "identical"
        } else {
            "NO"
        }
        .into(),
    ]
}
