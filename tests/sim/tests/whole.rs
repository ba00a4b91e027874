//! Whole transfers that were once much slower than others over the same link.

use xfer_sim::table::Cell;
use xfer_sim::whole::Course;

/// The share of rate × (1 - loss) that 4 MiB reach.
fn share(rate_mbit: u64, rtt_ms: u64, loss_percent: u32, seed: u64) -> f64 {
    share_of(4, rate_mbit, rtt_ms, loss_percent, seed)
}

/// The same for a file of `mib` MiB.
fn share_of(mib: u64, rate_mbit: u64, rtt_ms: u64, loss_percent: u32, seed: u64) -> f64 {
    let cell = Cell {
        overhead: 42,
        ..Cell::new(rate_mbit, rtt_ms, loss_percent * 10_000)
    };
    let course = Course {
        cell,
        size: mib << 20,
    };
    course.run(seed).expect("the transfer ends").0
}

/// Both copies of the answer to the offer were lost: the receiver waited for the probe timeout of a
/// path that it had not measured, and the sender forgot what the first flight had shown.
#[test]
fn a_lost_answer_does_not_start_the_transfer_anew() {
    let share = share(100, 100, 5, 110);
    assert!(share > 0.4, "{share:.3} of the link");
}

/// The last repairs were lost, their copies had widened the reordering window to a round trip, and
/// none were left for the stragglers.
#[test]
fn the_last_repairs_do_not_wait_for_a_window_that_copies_widened() {
    let share = share(50, 200, 10, 106);
    assert!(share > 0.4, "{share:.3} of the link");
}

/// The queue of a near path overflowed in start-up: half the rate for a hundred round trips was no
/// way to find out that this loss was its own.
#[test]
fn a_near_path_that_overflows_at_first_is_not_looked_at_for_long() {
    let share = share(100, 1, 0, 108);
    assert!(share > 0.93, "{share:.3} of the link");
}

/// Both copies of the `Hello` with the token were lost, and with them the session for the whole
/// first flight: it was repeated after three round trips, and the flight counted as lost.
#[test]
fn a_lost_hello_costs_one_round_trip_and_teaches_nothing() {
    let share = share(100, 100, 5, 1_024);
    assert!(share > 0.33, "{share:.3} of the link");
}

/// The cap on the flight after a loss fell below what comes between two reports: nothing was in
/// flight when one came.
#[test]
fn a_cap_on_the_flight_leaves_what_comes_between_two_reports() {
    let share = share_of(16, 100, 1, 0, 24);
    assert!(share > 0.85, "{share:.3} of the link");
}
