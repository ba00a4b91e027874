//! What each command does.

use crate::args::{ExecArgs, SetArgs, UpArgs, Verb};
use crate::control::{self, Request};
use crate::daemon::{self, Plan};
use crate::hosts::{Host, MAX_EXTRA_HOSTS, hosts};
use crate::{bench, netns, out, ready};
use anyhow::{Context, Result, anyhow, bail};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// Does what the command line asks.
pub fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up(args) => up(&args)?,
        Verb::Down => down()?,
        Verb::Exec(args) => return exec(&args),
        Verb::Set(args) => set(args)?,
        Verb::Stats => stats()?,
        Verb::Bench(args) => bench::run(&args)?,
        Verb::Measure(args) => bench::measure::run(&args.report, &args.command)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(args: &UpArgs) -> Result<()> {
    if args.background {
        return up_in_background();
    }
    let mut all = hosts(args.hosts)?;
    if args.veth {
        all.truncate(2);
    }
    let plan = Plan {
        hosts: all,
        profile: args.link.profile(),
        seed: args.seed,
        veth: args.veth,
        until_eof: args.until_eof,
    };
    daemon::run(&plan, || {
        for host in &plan.hosts {
            out::note(format_args!("{:<16} {}", host.name, host.address()));
        }
        out::line(ready::READY);
    })
}

/// Starts ourselves again without the terminal, and waits for the word.
fn up_in_background() -> Result<()> {
    let program = std::env::current_exe().context("cannot find our own program")?;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|a| a != "-d" && a != "--background");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("cannot start the lab")?;
    ready::wait_until_ready(&mut child)
}

fn down() -> Result<()> {
    netns::require_root()?;
    if control::ask(&Request::Down).is_ok() {
        daemon::wait_until_down()?;
    }
    let stale = daemon::remove_stale()?;
    if stale > 0 {
        out::note(format_args!(
            "removed {stale} hosts that a killed lab had left"
        ));
    }
    Ok(())
}

fn exec(args: &ExecArgs) -> Result<ExitCode> {
    netns::require_root()?;
    let host = find_host(&args.host)?;
    let (program, rest) = args
        .command
        .split_first()
        .ok_or_else(|| anyhow!("no command"))?;
    // Returns only when it fails: on success this process has become the command.
    Err(netns::inside(&host, program).args(rest).exec()).context("cannot run `ip`")
}

fn find_host(name: &str) -> Result<Host> {
    let host = hosts(MAX_EXTRA_HOSTS)?
        .into_iter()
        .find(|host| host.name == name);
    match host {
        Some(host) if netns::exists(&host) => Ok(host),
        _ => bail!("there is no host `{name}` (is the lab up?)"),
    }
}

fn set(args: SetArgs) -> Result<()> {
    let mut change = args.link.change();
    change.blackout = args.blackout;
    control::ask(&Request::Set {
        hosts: args.hosts,
        change,
    })
    .map(drop)
}

fn stats() -> Result<()> {
    netns::require_root()?;
    out::line(serde_json::to_string_pretty(&control::stats()?)?);
    Ok(())
}
