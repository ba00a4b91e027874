//! Changes of the link in the middle of a transfer, and how soon a tool is back at its rate.

use crate::control::{self, Request, Response};
use crate::link::{Change, Profile};
use crate::units;
use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked how much has arrived.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// Over so long the rate is taken.
const WINDOW_S: f64 = 0.5;

/// Back at the rate means this share of the new limit.
const RECOVERED_SHARE: f64 = 0.9;

/// A change at a time after the start of the sender: `2s rate=50M`, `1s loss=5%`, `3s blackout=2s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// As it was typed.
    pub text: String,
    after: Duration,
    change: Change,
}

/// Reads a step from the command line.
pub fn parse(text: &str) -> Result<Step, String> {
    let mut words = text.split_whitespace();
    let after = units::time(words.next().unwrap_or_default())?;
    let mut change = Change::default();
    for word in words {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` has no `=`"))?;
        match key {
            "rate" => change.rate = Some(Some(units::rate(value)?)),
            "loss" => change.loss = Some(units::share(value)?),
            "down-loss" => change.down_loss = Some(units::share(value)?),
            "delay" => change.delay = Some(units::time(value)?),
            "blackout" => change.blackout = Some(units::time(value)?),
            _ => {
                return Err(format!(
                    "`{key}` is not one of rate, loss, down-loss, delay and blackout"
                ));
            }
        }
    }
    Ok(Step {
        text: text.to_owned(),
        after,
        change,
    })
}

/// Seconds since the start of the sender, and bytes of frames that had arrived by then.
pub type Timeline = Vec<(f64, u64)>;

/// Undoes what the steps of an earlier run have changed.
pub fn reset(link: &Profile) -> Result<()> {
    set(Change::from(link))
}

/// Makes the changes when they are due, and watches what `receiver` receives until `stop`.
pub fn follow(steps: &[Step], receiver: &str, stop: &AtomicBool) -> Result<Timeline> {
    let start = Instant::now();
    let mut due = steps.to_vec();
    due.sort_by_key(|step| step.after);
    due.reverse();
    let mut timeline = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while due.last().is_some_and(|step| start.elapsed() >= step.after) {
            if let Some(step) = due.pop() {
                set(step.change)?;
            }
        }
        timeline.push((start.elapsed().as_secs_f64(), received_bytes(receiver)?));
        std::thread::sleep(SAMPLE_INTERVAL);
    }
    Ok(timeline)
}

fn set(change: Change) -> Result<()> {
    control::ask(&Request::Set {
        hosts: Vec::new(),
        change,
    })
    .map(drop)
}

fn received_bytes(receiver: &str) -> Result<u64> {
    let Response::Stats(stats) = control::ask(&Request::Stats)? else {
        return Err(anyhow!("the lab did not answer with its counters"));
    };
    let port = stats.ports.iter().find(|port| port.host == receiver);
    port.map(|port| port.port.down.bytes_out)
        .ok_or_else(|| anyhow!("there is no `{receiver}`"))
}

/// For each step the seconds until the rate was back at nine tenths of the new limit: from the
/// step, or from the end of its black-out. `None` when it was not before the next step or the end.
pub fn recoveries(link: &Profile, steps: &[Step], timeline: &Timeline) -> Vec<Option<f64>> {
    let mut steps = steps.to_vec();
    steps.sort_by_key(|step| step.after);
    let mut link = link.clone();
    let mut all = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        step.change.apply(&mut link);
        let from = (step.after + step.change.blackout.unwrap_or_default()).as_secs_f64();
        let until = steps
            .get(index + 1)
            .map_or(f64::INFINITY, |next| next.after.as_secs_f64());
        let wanted = link.limit_bits().map(|bits| bits * RECOVERED_SHARE);
        all.push(wanted.and_then(|bits| {
            let back = first_at_rate(timeline, from, until, bits)?;
            Some((back - from).max(0.0))
        }));
    }
    all
}

/// The start of the first window between `from` and `until` in which the rate is at least `bits`.
fn first_at_rate(timeline: &Timeline, from: f64, until: f64, bits: f64) -> Option<f64> {
    let inside = || timeline.iter().filter(|(at, _)| (from..until).contains(at));
    inside().find_map(|(start, before)| {
        let (end, after) = inside().find(|(at, _)| *at >= start + WINDOW_S)?;
        ((after - before) as f64 * 8.0 / (end - start) >= bits).then_some(*start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read() {
        let step = parse("2s rate=50M loss=5%").unwrap();
        assert_eq!(step.after, Duration::from_secs(2));
        assert_eq!(
            (step.change.rate, step.change.loss),
            (Some(Some(50_000_000)), Some(50_000))
        );
        assert!(parse("2s speed=1").is_err());
        assert!(parse("rate=50M").is_err());
    }

    #[test]
    fn recovery_is_counted_from_the_end_of_a_blackout() {
        let link = Profile {
            rate: Some(100_000_000),
            ..Profile::default()
        };
        let steps = [
            parse("1s blackout=2s").unwrap(),
            parse("6s rate=50M").unwrap(),
        ];
        // 100 Mbit/s, then nothing until 4 s, then 100 Mbit/s, and 40 of 50 after the second step.
        let mut bytes = 0.0;
        let timeline: Timeline = (0..200)
            .map(|i| {
                let at = f64::from(i) * 0.05;
                bytes += match at {
                    at if at < 1.0 => 625_000.0,
                    at if at < 4.0 => 0.0,
                    at if at < 6.0 => 625_000.0,
                    _ => 250_000.0,
                };
                (at, bytes as u64)
            })
            .collect();
        let [first, second] = recoveries(&link, &steps, &timeline)[..] else {
            panic!("two steps")
        };
        assert!((first.unwrap() - 1.0).abs() < 0.11, "{first:?}");
        assert_eq!(second, None);
    }
}
