//! How the blocking loop sleeps: until its socket is ready, another thread wakes it, or a time has
//! come.

use super::stop::Wake;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

/// A wait shorter than this is not worth a sleep: timers overshoot by as much.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// How long datagrams are left to gather while many come.
pub(crate) const GATHER_TIME: Duration = Duration::from_micros(100);

/// What to wait for besides the time and wake-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Datagrams have come.
    Readable,
    /// That, or the socket takes datagrams again.
    ReadableOrWritable,
}

/// The place where one blocking loop sleeps.
pub(crate) struct Waiter(imp::Waiter);

impl Waiter {
    /// A waiter for the calling thread.
    pub(crate) fn new() -> io::Result<Self> {
        imp::Waiter::new().map(Self)
    }

    /// Ends the current wait, or the next one if there is none.
    pub(crate) fn wake(&self) -> Wake {
        self.0.wake()
    }

    /// Sleeps until `socket` is ready, a wake-up or the end of `timeout`. Answers whether datagrams
    /// may be there: a look at the socket that finds nothing costs as much as one that does.
    pub(crate) fn wait(
        &self,
        socket: &UdpSocket,
        interest: Interest,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        if timeout.is_some_and(|timeout| timeout < SHORTEST_SLEEP) {
            return Ok(true);
        }
        self.0.wait(socket, interest, timeout)
    }

    /// Lets datagrams gather for [`GATHER_TIME`], at most `timeout`, so that one call takes many.
    /// Wake-ups wait as long.
    pub(crate) fn gather(&self, timeout: Option<Duration>) {
        let time = timeout.map_or(GATHER_TIME, |timeout| timeout.min(GATHER_TIME));
        if time >= SHORTEST_SLEEP {
            std::thread::sleep(time);
        }
    }
}

/// `ppoll`, whose timeout has nanoseconds, over the socket and a socket pair.
#[cfg(unix)]
mod imp {
    use super::{Interest, Wake};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::io::{self, Read, Write};
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    /// The loop is at work: it will see what a wake-up is about before it sleeps.
    const AWAKE: u8 = 0;
    /// The loop is at work and has been called: it must not sleep.
    const CALLED: u8 = 1;
    /// The loop sleeps or is about to: only a byte in the pair wakes it.
    const ASLEEP: u8 = 2;

    pub(super) struct Waiter {
        woken: UnixStream,
        waker: Arc<Waker>,
    }

    struct Waker {
        state: AtomicU8,
        pair: UnixStream,
    }

    impl Waiter {
        pub(super) fn new() -> io::Result<Self> {
            let (woken, pair) = UnixStream::pair()?;
            woken.set_nonblocking(true)?;
            pair.set_nonblocking(true)?;
            sharpen_timers();
            let state = AtomicU8::new(AWAKE);
            Ok(Self {
                woken,
                waker: Arc::new(Waker { state, pair }),
            })
        }

        pub(super) fn wake(&self) -> Wake {
            let waker = Arc::clone(&self.waker);
            Arc::new(move || {
                // A busy loop is called without a system call.
                if waker.state.swap(CALLED, Ordering::SeqCst) == ASLEEP {
                    // A full pair means that a wake-up is under way already.
                    let _ = (&waker.pair).write(&[0]);
                }
            })
        }

        pub(super) fn wait(
            &self,
            socket: &UdpSocket,
            interest: Interest,
            timeout: Option<Duration>,
        ) -> io::Result<bool> {
            let flags = match interest {
                Interest::Readable => PollFlags::IN,
                Interest::ReadableOrWritable => PollFlags::IN | PollFlags::OUT,
            };
            let timeout = timeout.map(|timeout| Timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            });
            let state = &self.waker.state;
            if state.swap(ASLEEP, Ordering::SeqCst) == CALLED {
                state.store(AWAKE, Ordering::SeqCst);
                // Not looked at: wake-ups in a row must not hide the socket.
                return Ok(true);
            }
            let mut fds = [
                PollFd::new(socket, flags),
                PollFd::new(&self.woken, PollFlags::IN),
            ];
            let polled = poll(&mut fds, timeout.as_ref());
            state.store(AWAKE, Ordering::SeqCst);
            match polled {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !fds[1].revents().is_empty() {
                let _ = (&self.woken).read(&mut [0; 64]);
            }
            // An error of the socket shows here too, and is taken by receiving.
            Ok(!fds[0].revents().is_empty())
        }
    }

    /// Lets timers of this thread be late by 1 us instead of 50.
    #[cfg(target_os = "linux")]
    fn sharpen_timers() {
        let slack = std::num::NonZeroU64::new(1_000);
        // Where the system refuses, pacing is a little coarser.
        let _ = rustix::thread::set_current_timer_slack(slack);
    }

    #[cfg(not(target_os = "linux"))]
    fn sharpen_timers() {}
}

/// The portable way: look again each millisecond, sooner when woken.
#[cfg(not(unix))]
mod imp {
    use super::{Interest, Wake};
    use std::io;
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::thread::{self, Thread};
    use std::time::Duration;

    const INTERVAL: Duration = Duration::from_millis(1);

    pub(super) struct Waiter(Thread);

    impl Waiter {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(thread::current()))
        }

        pub(super) fn wake(&self) -> Wake {
            let thread = self.0.clone();
            Arc::new(move || thread.unpark())
        }

        pub(super) fn wait(
            &self,
            _socket: &UdpSocket,
            _interest: Interest,
            timeout: Option<Duration>,
        ) -> io::Result<bool> {
            thread::park_timeout(timeout.map_or(INTERVAL, |timeout| timeout.min(INTERVAL)));
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_by_a_wake_up_and_by_a_datagram() {
        let waiter = Waiter::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        (waiter.wake())();
        // Without a timeout: these end only by what they wait for.
        waiter.wait(&socket, Interest::Readable, None).unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        waiter.wait(&socket, Interest::Readable, None).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
        waiter
            .wait(&socket, Interest::ReadableOrWritable, None)
            .unwrap();
        let timeout = Some(Duration::from_millis(1));
        let is_readable = waiter.wait(&socket, Interest::Readable, timeout).unwrap();
        assert!(!is_readable || cfg!(not(unix)), "nothing has come");
    }
}
