//! A crash at each system call, then the same command again.

use crate::host::{Program, difference, half_file};
use crate::points::{Arguments, End, Place, TIMEOUT, calls_of, file_count, tries};
use crate::{say, strace};
use anyhow::{Result, ensure};

/// Runs the loop; answers how often a promise broke.
pub(crate) fn run(program: &Program, arguments: &Arguments) -> Result<u64> {
    if let Some(why) = strace::is_missing() {
        say(&format!("skipped: {why}"));
        return Ok(0);
    }
    let mut violations = 0;
    let (mut all, mut reached) = (0, 0);
    for end in [End::Receiver, End::Sender] {
        let place = Place::new()?;
        let (mut points, mut died) = (0, 0);
        for (name, count) in calls_of(end, program, &place, arguments)? {
            for when in tries(&name, count, arguments) {
                points += 1;
                match crash(end, program, &place, arguments, &name, when) {
                    Ok(has_died) => died += u64::from(has_died),
                    Err(error) => {
                        violations += 1;
                        say(&format!("{end:?}, {name} {when}: {error:#}"));
                    }
                }
            }
        }
        say(&format!("{end:?}: {points} points, {died} of them reached"));
        all += points;
        reached += died;
    }
    say(&format!(
        "{all} points, {reached} of them reached, all judged; {violations} violations"
    ));
    Ok(violations)
}

/// One crash and the run after it; answers whether it came to a crash.
fn crash(
    end: End,
    program: &Program,
    place: &Place,
    arguments: &Arguments,
    name: &str,
    when: u64,
) -> Result<bool> {
    let out = place.out()?;
    let wrapper = strace::inject(name, "signal=KILL", when, &place.log());
    let (around_receiver, around_sender) = match end {
        End::Receiver => (wrapper.as_slice(), [].as_slice()),
        End::Sender => ([].as_slice(), wrapper.as_slice()),
    };
    let files = file_count();
    let options = ["--exit-after", &files];
    let mut receiver = program.receive(&out, "127.0.0.1:0", &options, around_receiver)?;
    let mut has_died = true;
    if let Some(to) = receiver.listens_on() {
        let options = ["--mode", &arguments.mode, TIMEOUT[0], TIMEOUT[1]];
        let sender = program.send(&place.source(), to, &options, &["tree"], around_sender)?;
        let status = sender.finish()?.0;
        let is_expected = match end {
            End::Receiver => [0, 6].contains(&status),
            End::Sender => [0, 1, 137].contains(&status),
        };
        ensure!(is_expected, "the first run gave {status}");
        has_died = status != 0;
    }
    // A receiver that is still there has not died, or not yet: a second crash does no harm.
    receiver.process.kill_children();
    receiver.process.signal(rustix::process::Signal::KILL);
    receiver.process.wait()?;
    if let Some(half) = half_file(&place.expected, &out)? {
        anyhow::bail!("after the crash {half}");
    }
    let receiver = program.receive(&out, "127.0.0.1:0", &[], &[])?;
    let status = place.send(program, receiver.address()?, &arguments.mode)?;
    ensure!(status == 0, "the second run gave {status}");
    receiver.stop()?;
    match difference(&place.expected, &out)? {
        Some(what) => anyhow::bail!("after the second run {what}"),
        None => Ok(has_died),
    }
}
