//! The process that holds the lab: TAP devices on one side, the switch on the other.

use crate::control::{self, Call, HostStats, Request, Response, Stats};
use crate::hosts::Host;
use crate::lateness::LatenessHistogram;
use crate::link::Profile;
use crate::netns;
use crate::switch::Fabric;
use crate::tap::Tap;
use anyhow::{Context, Result, bail};
use rustix::event::{EventfdFlags, Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Frames that are read from one port before the others have their turn.
const READ_BATCH: usize = 32;

/// Longest frame that a port can send: an Ethernet header and the MTU, with room to spare.
const FRAME_BUFFER_BYTES: usize = 2048;

/// The epoll token of the wake-up; ports have their own number.
const WAKE_TOKEN: u64 = u64::MAX;

/// Real-time priority of the switch: above every ordinary process, below the kernel's own threads.
const PRIORITY: &str = "5";

/// Another lab may just be ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

const LOCK_POLL: Duration = Duration::from_millis(20);

/// What a lab is made of.
pub struct Plan {
    /// The hosts, one port each.
    pub hosts: Vec<Host>,
    /// What each port starts with.
    pub profile: Profile,
    /// Where the random numbers start.
    pub seed: u64,
    /// Two hosts joined by a veth pair: no switch at all.
    pub veth: bool,
    /// End when standard input does.
    pub until_eof: bool,
}

/// Builds the lab, runs it until it is told to end, removes it.
pub fn run(plan: &Plan, on_ready: impl FnOnce()) -> Result<()> {
    netns::require_root()?;
    let _lock = lock()?;
    netns::remove_all()?;
    // From here on a failure must not leave half a lab behind.
    let result = build_and_run(plan, on_ready);
    let removed = netns::remove_all();
    let _ = std::fs::remove_file(control::socket_path());
    result.and(removed.map(drop))
}

fn build_and_run(plan: &Plan, on_ready: impl FnOnce()) -> Result<()> {
    for host in &plan.hosts {
        netns::create(host)?;
    }
    let mut taps = Vec::new();
    if plan.veth {
        netns::join_by_veth(&plan.hosts)?;
    } else {
        for (port, host) in plan.hosts.iter().enumerate() {
            taps.push(Tap::create(&netns::tap_name(port))?);
            netns::adopt_device(host, &netns::tap_name(port), &plan.hosts)?;
        }
    }
    let mut driver = Driver::new(plan, taps)?;
    on_ready();
    driver.run()
}

/// Waits for a lab that was told to end.
pub fn wait_until_down() -> Result<()> {
    rustix::fs::flock(open_lock()?, FlockOperation::LockExclusive)
        .context("cannot wait for the lab")
}

/// Removes what a killed lab has left, unless one is alive. Returns how many hosts that were.
pub fn remove_stale() -> Result<usize> {
    let _lock = lock()?;
    netns::remove_all()
}

/// One lab at a time: its names and addresses are fixed. The lock goes with the process.
fn lock() -> Result<OwnedFd> {
    let file = open_lock()?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= deadline {
            bail!("a lab is up already; `xfer-lab down` ends it");
        }
        std::thread::sleep(LOCK_POLL);
    }
    Ok(file)
}

fn open_lock() -> Result<OwnedFd> {
    std::fs::create_dir_all(control::RUN_DIR)
        .with_context(|| format!("cannot create `{}`", control::RUN_DIR))?;
    let path = format!("{}/lock", control::RUN_DIR);
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
        .with_context(|| format!("cannot open `{path}`"))
}

struct Driver {
    hosts: Vec<Host>,
    taps: Vec<Tap>,
    fabric: Fabric,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    calls: mpsc::Receiver<Call>,
    epoch: Instant,
    lateness: LatenessHistogram,
    dropped_write: Vec<u64>,
}

impl Driver {
    fn new(plan: &Plan, taps: Vec<Tap>) -> Result<Self> {
        let wake = Arc::new(rustix::event::eventfd(
            0,
            EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = epoll::EventFlags::IN;
        epoll::add(
            &epoll,
            &*wake,
            epoll::EventData::new_u64(WAKE_TOKEN),
            readable,
        )?;
        for (port, tap) in taps.iter().enumerate() {
            epoll::add(
                &epoll,
                tap.as_fd(),
                epoll::EventData::new_u64(port as u64),
                readable,
            )?;
        }
        let (sender, calls) = mpsc::channel();
        control::serve(sender.clone(), waker(&wake))?;
        stop_on_signal(sender.clone(), waker(&wake))?;
        if plan.until_eof {
            stop_on_eof(sender, waker(&wake));
        }
        Ok(Self {
            dropped_write: vec![0; taps.len()],
            fabric: Fabric::new(vec![plan.profile.clone(); plan.hosts.len()], plan.seed),
            hosts: plan.hosts.clone(),
            taps,
            epoll,
            wake,
            calls,
            epoch: Instant::now(),
            lateness: LatenessHistogram::new(),
        })
    }

    fn run(&mut self) -> Result<()> {
        raise_priority();
        let mut events = Vec::with_capacity(self.taps.len() + 1);
        loop {
            let now = self.now();
            self.deliver(now);
            let timeout = self
                .fabric
                .deadline()
                .map(|at| timespec(at.saturating_sub(now)));
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for frames"),
            }
            for event in &events {
                match event.data.u64() {
                    WAKE_TOKEN if self.answer_calls() => return Ok(()),
                    WAKE_TOKEN => {}
                    port => self.read_port(port as usize),
                }
            }
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn deliver(&mut self, now: u64) {
        let Self {
            fabric,
            taps,
            lateness,
            dropped_write,
            ..
        } = self;
        fabric.advance(now, |port, frame, due| {
            lateness.add(now - due);
            if !taps[port].write(frame) {
                dropped_write[port] += 1;
            }
        });
    }

    fn read_port(&mut self, port: usize) {
        let mut buffer = [0; FRAME_BUFFER_BYTES];
        for _ in 0..READ_BATCH {
            let Some(len) = self.taps[port].read(&mut buffer) else {
                break;
            };
            let now = self.now();
            self.fabric.ingress(now, port, &buffer[..len]);
        }
    }

    /// Answers what was asked; true when the lab is to end.
    fn answer_calls(&mut self) -> bool {
        let mut counter = [0; 8];
        // Empties the eventfd; an error means that it was empty.
        let _ = rustix::io::read(&*self.wake, &mut counter);
        while let Ok((request, reply)) = self.calls.try_recv() {
            let down = matches!(request, Request::Down);
            let response = self.answer(request);
            // A client that has gone does not need its answer.
            let _ = reply.send(response);
            if down {
                return true;
            }
        }
        false
    }

    fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Down => Response::Done,
            Request::Stats => Response::Stats(Box::new(self.stats())),
            Request::Set { .. } if self.taps.is_empty() => {
                Response::Refused("a veth pair has no link to set".into())
            }
            Request::Set { hosts, change } => {
                for name in &hosts {
                    if !self.hosts.iter().any(|host| host.name == *name) {
                        return Response::Refused(format!("there is no host `{name}`"));
                    }
                }
                let now = self.now();
                for (port, host) in self.hosts.iter().enumerate() {
                    if hosts.is_empty() || hosts.contains(&host.name) {
                        self.fabric.change(now, port, &change);
                    }
                }
                Response::Done
            }
        }
    }

    fn stats(&self) -> Stats {
        let port_stats = |(port, host): (usize, &Host)| HostStats {
            host: host.name.clone(),
            profile: self.fabric.profile(port).clone(),
            port: self.fabric.stats(port),
            // Whoever asks adds it: starting a program from here would hold up the frames.
            dropped_kernel: 0,
            dropped_write: self.dropped_write[port],
            waiting_bytes: self.fabric.waiting_bytes(port),
        };
        Stats {
            lateness: self.lateness.summary(),
            ports: self
                .hosts
                .iter()
                .take(self.taps.len())
                .enumerate()
                .map(port_stats)
                .collect(),
        }
    }
}

fn waker(wake: &Arc<OwnedFd>) -> impl Fn() + Send + 'static {
    let wake = Arc::clone(wake);
    move || {
        // It fails only when the counter is full, and then the loop wakes anyway.
        let _ = rustix::io::write(&*wake, &1u64.to_ne_bytes());
    }
}

fn stop_on_signal(calls: mpsc::Sender<Call>, wake: impl Fn() + Send + 'static) -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot watch for signals")?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            ask_to_stop(&calls, &wake);
        }
    });
    Ok(())
}

fn stop_on_eof(calls: mpsc::Sender<Call>, wake: impl Fn() + Send + 'static) {
    std::thread::spawn(move || {
        // Whatever comes is ignored; only the end counts.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        ask_to_stop(&calls, &wake);
    });
}

fn ask_to_stop(calls: &mpsc::Sender<Call>, wake: &impl Fn()) {
    // When nobody listens any more, the lab is ending already.
    let _ = calls.send((Request::Down, mpsc::channel().0));
    wake();
}

/// The ends of a transfer must not keep the switch waiting, or it would add delay of its own. Where
/// `chrt` is missing the lab works, less precisely: `stats` shows the lateness.
fn raise_priority() {
    // At most 100 us of every sleep are slack otherwise (50 by default).
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", PRIORITY, &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn timespec(nanos: u64) -> Timespec {
    Timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    }
}
