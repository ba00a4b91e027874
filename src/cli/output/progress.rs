//! Progress bars on a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const TEMPLATE: &str =
    "{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";
const STEPS_TEMPLATE: &str = "{wide_bar} {pos}/{len} {msg}";

/// Bars, or nothing where there is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    destinations: Vec<Bar>,
}

/// One destination: its bar, and what each worker has brought there.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    workers: Vec<u64>,
}

impl Progress {
    /// Bars are drawn only if `enabled`.
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            bars: enabled.then(MultiProgress::new),
            destinations: Vec::new(),
        }
    }

    /// Starts a bar for each destination, each to get so many bytes.
    pub(crate) fn start<'a>(&mut self, destinations: impl Iterator<Item = &'a str>, bytes: u64) {
        let Some(bars) = &self.bars else { return };
        self.destinations.extend(destinations.map(|label| {
            let bar = bars.add(ProgressBar::new(bytes));
            bar.set_style(style(TEMPLATE));
            bar.set_prefix(label.to_owned());
            Bar {
                bar,
                workers: Vec::new(),
            }
        }));
    }

    /// A worker has brought so many bytes to a destination.
    pub(crate) fn update(&mut self, destination: usize, worker: usize, bytes: u64) {
        let Some(bar) = self.destinations.get_mut(destination) else {
            return;
        };
        if bar.workers.len() <= worker {
            bar.workers.resize(worker + 1, 0);
        }
        bar.workers[worker] = bytes;
        bar.bar.set_position(bar.workers.iter().sum());
    }

    /// A bar that counts steps. It does nothing where there is no terminal.
    pub(crate) fn steps(&self, count: u64) -> ProgressBar {
        match &self.bars {
            Some(bars) => {
                let bar = bars.add(ProgressBar::new(count));
                bar.set_style(style(STEPS_TEMPLATE));
                bar
            }
            None => ProgressBar::hidden(),
        }
    }

    /// Takes the bars away while something else is written to the terminal.
    pub(crate) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Takes the bars away for good.
    pub(crate) fn clear(&mut self) {
        self.destinations.clear();
        if let Some(bars) = self.bars.take() {
            // A terminal that cannot be written to shows no bars either.
            bars.clear().unwrap_or_default();
        }
    }
}

/// The templates are constants that a test parses; a plain bar is the answer to a mistake all the
/// same.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_parse() {
        for template in [TEMPLATE, STEPS_TEMPLATE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_happens() {
        let mut progress = Progress::new(false);
        progress.start(["a"].into_iter(), 10);
        progress.update(0, 3, 5);
        progress.clear();
        assert_eq!(progress.suspend(|| 7), 7);
    }
}
