//! The command line of `bench`.

use super::scenario::{Preset, Scenario};
use super::steps::{self, Step};
use crate::args::LinkArgs;
use crate::units;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xfer_proto::config::MAX_FILES;

/// Sizes that the tables of the project are made with.
const DEFAULT_SIZES: [u64; 2] = [16 << 20, 64 << 20];

/// A file system in memory: a disk would be measured otherwise.
const MEMORY_DIR: &str = "/dev/shm";

/// `bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Links to measure, repeatable [default: all four, unless a link or --veth is given].
    #[arg(long, value_enum)]
    pub preset: Vec<Preset>,
    /// A link of your own.
    #[command(flatten)]
    pub link: LinkArgs,
    /// Measure on a bare veth pair.
    #[arg(long)]
    pub veth: bool,
    /// Sizes of the file, repeatable [default: 16MiB and 64MiB].
    #[arg(long = "size", value_name = "BYTES", value_parser = units::size)]
    pub sizes: Vec<u64>,
    /// So many files of each size, in a directory; only tools that take one are measured.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = file_count())]
    pub files: u32,
    /// A change of the link so long after the start, repeatable: "2s rate=50M", "3s blackout=2s".
    #[arg(long = "step", value_name = "STEP", value_parser = steps::parse)]
    pub steps: Vec<Step>,
    /// Runs of each tool; the table has the medians.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub runs: u32,
    /// Only tools with this in their name, e.g. socat,xfer.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub tools: Vec<String>,
    /// A run that takes longer is not done [default: 40s, or ten times the ideal].
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub limit: Option<Duration>,
    /// Write bench.md, bench.json and bench.svg into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where the files are sent from and arrive [default: in memory, under /dev/shm].
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// The xfer program [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub xfer: Option<PathBuf>,
    /// Count system calls too, in a run of their own.
    #[arg(long)]
    pub strace: bool,
    /// Where the random numbers of the switch start.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// As many as one session of xfer takes.
fn file_count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MAX_FILES))
}

impl BenchArgs {
    /// Every link with every size.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let own_link = self.link.profile();
        let has_own_link = own_link != LinkArgs::default().profile();
        let mut links: Vec<_> = self
            .preset
            .iter()
            .map(|preset| Some(preset.profile()))
            .collect();
        if has_own_link {
            links.push(Some(own_link));
        }
        if self.veth {
            links.push(None);
        }
        if links.is_empty() {
            links.extend(
                Preset::value_variants()
                    .iter()
                    .map(|preset| Some(preset.profile())),
            );
        }
        let sizes = if self.sizes.is_empty() {
            &DEFAULT_SIZES[..]
        } else {
            &self.sizes
        };
        let of_size = |file_bytes: &u64| {
            let file_bytes = *file_bytes;
            links
                .iter()
                .cloned()
                .map(move |link| Scenario {
                    link,
                    file_bytes,
                    files: self.files,
                    steps: self.steps.clone(),
                })
                .collect::<Vec<_>>()
        };
        sizes.iter().flat_map(of_size).collect()
    }

    /// A directory of our own.
    pub fn work_dir(&self) -> PathBuf {
        let memory = Path::new(MEMORY_DIR);
        let parent = match &self.work {
            Some(dir) => dir.clone(),
            None if memory.is_dir() => memory.to_owned(),
            None => std::env::temp_dir(),
        };
        parent.join("xfer-lab")
    }

    /// The xfer program to measure.
    pub fn xfer_program(&self) -> Result<PathBuf> {
        if let Some(path) = &self.xfer {
            return std::path::absolute(path).context("cannot tell where xfer is");
        }
        let ourselves = std::env::current_exe().context("cannot find our own program")?;
        Ok(ourselves.with_file_name("xfer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn scenarios(line: &[&str]) -> Vec<String> {
        let arguments = [&["bench"], line].concat();
        Line::parse_from(arguments)
            .bench
            .scenarios()
            .iter()
            .map(Scenario::title)
            .collect()
    }

    #[test]
    fn without_a_word_it_is_the_four_links_with_two_sizes() {
        let all = scenarios(&[]);
        assert_eq!(all.len(), 8);
        assert_eq!(all[3], "50 Mbit/s, 200 ms round trip, 10 % loss, 16 MiB");
    }

    #[test]
    fn a_link_of_ones_own_and_veth_are_instead_of_the_presets() {
        let all = scenarios(&[
            "--rate", "1G", "--delay", "10ms", "--veth", "--size", "1GiB",
        ]);
        assert_eq!(
            all,
            [
                "1 Gbit/s, 10 ms round trip, 0 % loss, 1 GiB",
                "veth pair, 1 GiB"
            ]
        );
    }
}
