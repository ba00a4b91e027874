//! `xfer sum`: BLAKE3 sums as b3sum prints and checks them.

use super::args::SumArguments;
use super::error::{CliError, system};
use super::exit::Exit;
use super::output::Output;
use super::output::escape::escape;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use xfer::sum;
use xfer_proto::id::Digest;

/// Longest line of a file of sums: the longest path that a system takes, escaped, with its digest.
const MAX_LINE: u64 = 16 << 10;

/// Prints or checks, and says how it ended.
pub(super) fn run(arguments: SumArguments) -> Exit {
    let mut output = Output::plain();
    let exit = match arguments.check {
        Some(file) => check(&mut output, &file),
        None => print(&mut output, arguments.paths),
    };
    output.finish(exit)
}

fn print(output: &mut Output, mut paths: Vec<PathBuf>) -> Exit {
    if paths.is_empty() {
        paths.push("-".into());
    }
    let mut exits = Vec::new();
    for path in paths {
        if !output.is_read() {
            break;
        }
        match digest(&path) {
            Ok(digest) => {
                let mut line = sum::format_line(digest, &path);
                line.push(b'\n');
                output.result(&line);
            }
            Err(error) => exits.push(unreadable(output, &path, &error)),
        }
    }
    Exit::combine(exits)
}

fn check(output: &mut Output, list: &Path) -> Exit {
    let opened: io::Result<Box<dyn Read>> = if is_stdin(list) {
        Ok(Box::new(io::stdin().lock()))
    } else {
        File::open(list).map(|file| Box::new(file) as _)
    };
    let mut reader = match opened {
        Ok(reader) => BufReader::new(reader),
        Err(error) => return unreadable(output, list, &error),
    };
    let mut exits = Vec::new();
    for number in 1_u64.. {
        let mut line = Vec::new();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => exits.push(check_line(output, list, number, &line)),
            Err(error) => {
                exits.push(unreadable(output, list, &error));
                break;
            }
        }
    }
    if exits.is_empty() {
        output.error(&format!("there are no sums in {}", show(list)));
        exits.push(Exit::Integrity);
    }
    Exit::combine(exits)
}

fn check_line(output: &mut Output, list: &Path, number: u64, line: &[u8]) -> Exit {
    let (expected, path) = match sum::parse_line(line) {
        Ok(parsed) => parsed,
        Err(error) => {
            output.error(&format!("line {number} of {}: {error}", show(list)));
            return Exit::Integrity;
        }
    };
    // A list may come from anywhere: its names are as little to be trusted as those of a peer.
    let name = escape(&path.to_string_lossy());
    match digest(&path) {
        Ok(found) if found == expected => {
            output.result(format!("{name}: OK\n"));
            Exit::Success
        }
        Ok(_) => {
            output.result(format!("{name}: FAILED\n"));
            Exit::Integrity
        }
        Err(error) => {
            output.result(format!("{name}: FAILED ({})\n", system(&error)));
            unreadable(output, &path, &error)
        }
    }
}

fn digest(path: &Path) -> io::Result<Digest> {
    if is_stdin(path) {
        sum::digest_reader(io::stdin().lock())
    } else {
        sum::digest_path(path)
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn unreadable(output: &mut Output, path: &Path, error: &io::Error) -> Exit {
    let error = CliError::new(
        Exit::Source,
        format!("cannot read {}: {}", show(path), system(error)),
    );
    output.error(&error.message);
    error.exit
}

fn show(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".into()
    } else {
        format!("`{}`", escape(&path.to_string_lossy()))
    }
}
