//! What is measured: a link and a size.

use super::steps::{self, Step, Timeline};
use crate::link::Profile;
use crate::units;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The links that the tables of the project are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 100 Mbit/s, 1 ms round trip, no loss.
    Near,
    /// 100 Mbit/s, 50 ms, 1 % each way.
    Far,
    /// 100 Mbit/s, 100 ms, 5 % each way.
    Lossy,
    /// 50 Mbit/s, 200 ms, 10 % each way.
    Worst,
}

impl Preset {
    /// The link of this preset. Its delay is the round-trip time.
    pub fn profile(self) -> Profile {
        let (rate_mbit, delay_ms, loss_percent) = match self {
            Self::Near => (100, 1, 0),
            Self::Far => (100, 50, 1),
            Self::Lossy => (100, 100, 5),
            Self::Worst => (50, 200, 10),
        };
        Profile {
            rate: Some(rate_mbit * 1_000_000),
            delay: Duration::from_millis(delay_ms),
            loss: loss_percent * 10_000,
            ..Profile::default()
        }
    }
}

/// One link, and what is sent over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The link; `None` is a bare veth pair.
    pub link: Option<Profile>,
    /// Bytes of each file.
    pub file_bytes: u64,
    /// How many files: more than one are sent as a directory.
    pub files: u32,
    /// What changes on the way.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// As a heading.
    pub fn title(&self) -> String {
        let size = self.content();
        let Some(link) = &self.link else {
            return format!("veth pair, {size}");
        };
        let rate = link
            .rate
            .map_or_else(|| "unlimited".to_owned(), units::show_rate);
        let delay = units::trim(link.delay.as_secs_f64() * 1e3);
        let loss = units::trim(f64::from(link.loss) / 1e4);
        let mut title = format!("{rate}, {delay} ms round trip, {loss} % loss, {size}");
        for (share, name) in [
            (link.down_loss, "downward loss"),
            (link.duplicate, "duplicates"),
            (link.reorder, "reordered"),
        ] {
            if share > 0 {
                title += &format!(", {} % {name}", units::trim(f64::from(share) / 1e4));
            }
        }
        if !link.jitter.is_zero() {
            title += &format!(
                ", {} ms jitter",
                units::trim(link.jitter.as_secs_f64() * 1e3)
            );
        }
        for step in &self.steps {
            title += &format!(", after {}", step.text);
        }
        title
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.file_bytes.saturating_mul(self.files.into())
    }

    /// What is sent, as a heading.
    fn content(&self) -> String {
        let size = units::show_size(self.file_bytes);
        match self.files {
            1 => size,
            files => format!("{files} files of {size}"),
        }
    }

    /// The most bits a second of frames that can arrive: (1 - loss) x rate.
    pub fn limit_bits(&self) -> Option<f64> {
        self.link.as_ref()?.limit_bits()
    }

    /// For each step the seconds until the rate was back, see [`steps::recoveries`].
    pub fn recoveries(&self, timeline: &Timeline) -> Vec<Option<f64>> {
        let link = self.link.clone().unwrap_or_default();
        steps::recoveries(&link, &self.steps, timeline)
    }

    /// How long a run may take when nothing is said: long enough for a tenth of the limit.
    pub fn default_time_limit(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(40);
        const MOST_TIMES_IDEAL: f64 = 10.0;
        let ideal_s = self
            .limit_bits()
            .map_or(0.0, |bits| self.total_bytes() as f64 * 8.0 / bits);
        LEAST.max(Duration::from_secs_f64(
            (ideal_s * MOST_TIMES_IDEAL).min(3600.0),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_names_itself_and_its_limit() {
        let scenario = Scenario {
            link: Some(Preset::Lossy.profile()),
            file_bytes: 16 << 20,
            files: 1,
            steps: vec![],
        };
        assert_eq!(
            scenario.title(),
            "100 Mbit/s, 100 ms round trip, 5 % loss, 16 MiB"
        );
        assert_eq!(scenario.limit_bits(), Some(95e6));
        assert_eq!(scenario.default_time_limit(), Duration::from_secs(40));
        let veth = Scenario {
            link: None,
            file_bytes: 1 << 30,
            files: 1,
            steps: vec![],
        };
        assert_eq!(
            (veth.title().as_str(), veth.limit_bits()),
            ("veth pair, 1 GiB", None)
        );
    }
}
