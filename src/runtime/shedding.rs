//! Load shedding: how much of what belongs to no session a receiver lets the kernel drop for it.
//!
//! Each class of such datagrams has a valve. While a class comes faster than the loop can spare
//! time for, its valve lets through what the loop can take, at random. Packets of sessions always
//! pass, so a flood costs running transfers next to nothing, and newcomers get in as often as the
//! budget of stateless answers allows anyway.

use crate::net::{ALL, Arrival, Class, Share, Sieve, Socket};
use std::io;
use std::net::UdpSocket;
use std::time::Duration;
use xfer_proto::id::SessionId;
use xfer_proto::time::Instant;

/// Valves are looked at so often.
const INTERVAL: Duration = Duration::from_millis(100);
/// In an interval no more than so many times what passed before is let through: what seems to be
/// the end of a flood may be a pause.
const MAX_GROWTH: f64 = 2.0;
/// A valve is never shut: from a smaller share it would open for ever.
const MIN_SHARE: f64 = 1.0 / (1 << 20) as f64;
/// A share that differs by less from what is set is not worth a new filter.
const WORTHWHILE: f64 = 0.1;
/// Datagrams in [`INTERVAL`] that the loop can spare the time for: a hundredth of a core for what
/// is dropped at sight, and what the router answers of what asks for a session.
const MAX_GARBAGE: u64 = 1_000;
const MAX_STRAYS: u64 = 1_000;
const MAX_HELLOS: u64 = 2_000;
/// So long after the last filter the kernel's counter of drops may still have some of the filter's.
const AFTERMATH: Duration = Duration::from_secs(1);

/// One class's share.
#[derive(Debug)]
struct Valve {
    /// What may pass in [`INTERVAL`].
    most: f64,
    /// What has passed since the last look.
    count: u64,
    /// The part that passes, at least [`MIN_SHARE`].
    share: f64,
}

impl Valve {
    fn new(most: u64) -> Self {
        Self {
            most: most as f64,
            count: 0,
            share: 1.0,
        }
    }

    /// Looks at what came in `elapsed`, at least [`INTERVAL`].
    fn adjust(&mut self, elapsed: Duration) {
        let intervals = elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
        let came = std::mem::take(&mut self.count) as f64 / intervals / self.share;
        let fits = (self.most / came.max(self.most)).max(MIN_SHARE);
        let share = fits.min(self.share * MAX_GROWTH.powf(intervals));
        if share == 1.0 || (share / self.share - 1.0).abs() > WORTHWHILE {
            self.share = share;
        }
    }

    /// For the filter.
    fn share(&self) -> Share {
        (self.share * f64::from(ALL)) as Share
    }
}

/// The valves of one socket, and the filter that they have set.
#[derive(Debug)]
pub(crate) struct Shedding {
    /// The socket whose filter is set.
    socket: UdpSocket,
    garbage: Valve,
    hello: Valve,
    stray: Valve,
    /// What the kernel took the arrival in hand for, where it may have dropped it.
    class: Option<Class>,
    looked_at: Instant,
    sieve: Sieve,
    /// When there was a filter last.
    shed_at: Option<Instant>,
    /// The system has no filters, or none for us.
    is_unavailable: bool,
}

impl Shedding {
    /// Everything passes at `socket`.
    pub(crate) fn new(socket: &Socket, now: Instant) -> io::Result<Self> {
        Ok(Self {
            socket: socket.io().try_clone()?,
            garbage: Valve::new(MAX_GARBAGE),
            hello: Valve::new(MAX_HELLOS),
            stray: Valve::new(MAX_STRAYS),
            class: None,
            looked_at: now,
            sieve: Sieve::default(),
            shed_at: None,
            is_unavailable: false,
        })
    }

    /// The next datagrams came in one piece.
    pub(crate) fn on_arrival(&mut self, arrival: &Arrival<'_>) {
        self.class = Some(Class::of(arrival.bytes));
    }

    /// A datagram of a session came: an arrival that it is part of passes whatever the valve of
    /// strays lets through, if it begins with one of that session.
    pub(crate) fn on_session(&mut self) {
        self.class = self.class.filter(|class| *class != Class::Stray);
    }

    /// A datagram came that belonged to no session. What it is does not matter: it has passed as
    /// what the first of its arrival is.
    pub(crate) fn count(&mut self) {
        let valve = match self.class {
            None => return,
            Some(Class::Garbage) => &mut self.garbage,
            Some(Class::Hello) => &mut self.hello,
            Some(Class::Stray) => &mut self.stray,
        };
        valve.count += 1;
    }

    /// When [`Shedding::update`] is due even if nothing comes.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.sieve.is_open()).then_some(self.looked_at + INTERVAL)
    }

    /// Whether the kernel's counter of drops may have grown by a filter of late.
    pub(crate) fn is_recent(&self, now: Instant) -> bool {
        self.shed_at.is_some_and(|at| now.since(at) < AFTERMATH)
    }

    /// Sets the filter anew where the valves or the sessions changed.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        sessions: impl ExactSizeIterator<Item = SessionId>,
    ) {
        if self.is_unavailable {
            return;
        }
        let elapsed = now.since(self.looked_at);
        if elapsed >= INTERVAL {
            self.looked_at = now;
            for valve in [&mut self.garbage, &mut self.hello, &mut self.stray] {
                valve.adjust(elapsed);
            }
        }
        let was_open = self.sieve.is_open();
        let sieve = self.wanted(sessions);
        if sieve != self.sieve {
            self.set(sieve);
        }
        if !was_open || !self.sieve.is_open() {
            self.shed_at = Some(now);
        }
    }

    fn wanted(&mut self, sessions: impl ExactSizeIterator<Item = SessionId>) -> Sieve {
        // Of more than it can tell from strays, all strays have to pass.
        if sessions.len() > Sieve::MAX_SESSIONS {
            self.stray.share = 1.0;
        }
        let mut sieve = Sieve {
            garbage: self.garbage.share(),
            hello: self.hello.share(),
            ..Sieve::default()
        };
        if self.stray.share() < ALL {
            sieve.stray = self.stray.share();
            sieve.sessions = sessions.collect();
        }
        sieve
    }

    fn set(&mut self, sieve: Sieve) {
        self.sieve = sieve;
        let result = Socket::set_sieve(&self.socket, &self.sieve).or_else(|error| {
            tracing::debug!(%error, "no filter with sessions");
            // A system may bound a filter's memory more tightly.
            self.stray.share = 1.0;
            self.sieve.stray = ALL;
            self.sieve.sessions = Vec::new();
            Socket::set_sieve(&self.socket, &self.sieve)
        });
        if let Err(error) = result {
            tracing::debug!(%error, "no filter");
            self.is_unavailable = true;
            // An older one would keep new sessions out for ever; there may be none.
            self.sieve = Sieve::default();
            let _ = Socket::set_sieve(&self.socket, &self.sieve);
        }
        let Sieve {
            garbage,
            hello,
            stray,
            ..
        } = self.sieve;
        tracing::debug!(garbage, hello, stray, "what passes of no session");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_proto::transmit::Ecn;
    use xfer_proto::wire::header::{Kind, VERSION};

    /// A packet of no session.
    fn packet(kind: Kind) -> Vec<u8> {
        let mut packet = vec![VERSION << 4 | kind as u8];
        packet.resize(100, 0);
        packet
    }

    /// So many arrivals of these datagrams.
    fn flood(shedding: &mut Shedding, datagrams: &[Vec<u8>], times: usize) {
        let bytes = datagrams.concat();
        let arrival = Arrival {
            source: "127.0.0.1:1".parse().unwrap(),
            ecn: Ecn::NotEct,
            bytes: &bytes,
            stride: datagrams[0].len(),
        };
        for _ in 0..times {
            shedding.on_arrival(&arrival);
            arrival.datagrams().for_each(|_| shedding.count());
        }
    }

    /// What a valve for 1,000 lets through of what it sees in an interval, one after the other.
    #[test]
    fn a_valve_lets_through_what_fits() {
        let mut valve = Valve::new(1_000);
        let mut look = |came: f64, intervals| {
            valve.count = (came * valve.share * f64::from(intervals)).round() as u64;
            valve.adjust(INTERVAL * intervals);
            valve.share
        };
        assert_eq!(look(1_000.0, 1), 1.0, "as much as may be");
        assert_eq!(look(20_000.0, 1), 0.05);
        assert_eq!(look(20_000.0, 1), 0.05, "a steady flood");
        assert_eq!(look(21_000.0, 1), 0.05, "about as much");
        assert_eq!(look(40_000.0, 2), 0.025);
        assert_eq!(look(0.0, 1), 0.05, "a pause");
        assert_eq!(look(0.0, 2), 0.2);
        assert_eq!(look(2_000.0, 9), 0.5);
        assert_eq!(look(0.0, 1), 1.0);
        assert_eq!(look(1e18, 1), MIN_SHARE);
        assert_eq!(look(0.0, 20), 1.0);
    }

    #[test]
    fn a_flood_sets_the_filter_and_calm_takes_it_off() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut now = Instant::ZERO;
        let mut shedding = Shedding::new(&socket, now).unwrap();
        let sessions = || [SessionId(7)].into_iter();
        let stray = packet(Kind::Control);
        flood(&mut shedding, &[stray], 5_000);
        flood(&mut shedding, &[b"nothing".to_vec()], 5_000);
        shedding.update(now, sessions());
        assert_eq!(shedding.due(), None, "the interval is not over");
        now = now + INTERVAL;
        shedding.update(now, sessions());
        if cfg!(target_os = "linux") {
            assert_eq!(shedding.sieve.sessions, [SessionId(7)]);
            assert_eq!(
                (shedding.sieve.garbage, shedding.sieve.stray),
                (ALL / 5, ALL / 5)
            );
            assert_eq!(shedding.due(), Some(now + INTERVAL));
            assert!(shedding.is_recent(now + INTERVAL));
        }
        now = now + Duration::from_secs(3);
        shedding.update(now, sessions());
        assert_eq!((shedding.sieve.is_open(), shedding.due()), (true, None));
        assert!(!shedding.is_recent(now + AFTERMATH));
    }

    #[test]
    fn a_batch_counts_as_what_the_kernel_takes_it_for() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut shedding = Shedding::new(&socket, Instant::ZERO).unwrap();
        // What passes as garbage says nothing about the valve of Hellos: that shut for ever.
        let mut batch = vec![packet(Kind::Hello); 50];
        batch[0][1] = 1;
        for second in 1..40 {
            flood(&mut shedding, &batch, 1_000);
            shedding.update(Instant::from_millis(second * 1_000), [].into_iter());
            assert_eq!(shedding.hello.share, 1.0);
        }
        assert!(shedding.garbage.share < 1.0);
        // What passes behind a packet of a session says nothing about that of strays.
        let arrival = [packet(Kind::Data), packet(Kind::Data)].concat();
        for _ in 0..100_000 {
            shedding.class = Some(Class::of(&arrival));
            shedding.on_session();
            shedding.count();
        }
        shedding.update(Instant::from_millis(41_000), [].into_iter());
        assert_eq!(shedding.stray.share, 1.0);
    }

    #[test]
    fn strays_that_have_to_pass_shut_no_valve() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut shedding = Shedding::new(&socket, Instant::ZERO).unwrap();
        let sessions = |count: usize| {
            let ids: Vec<SessionId> = (0..count as u64).map(SessionId).collect();
            ids.into_iter()
        };
        let most = Sieve::MAX_SESSIONS;
        let mut now = Instant::ZERO;
        for count in [most + 1; 40].into_iter().chain([most, 0]) {
            flood(&mut shedding, &[packet(Kind::Data)], 10_000);
            now = now + INTERVAL;
            shedding.update(now, sessions(count));
            assert_eq!(
                shedding.sieve.is_open(),
                count > most || cfg!(not(target_os = "linux"))
            );
            assert!(!shedding.is_unavailable || cfg!(not(target_os = "linux")));
        }
        now = now + INTERVAL * 10;
        shedding.update(now, sessions(0));
        assert!(shedding.sieve.is_open() && shedding.due().is_none());
    }
}
