use super::*;

fn report(largest: u64, received: u64, at_ms: u64) -> Report {
    Report {
        largest,
        received,
        largest_at_us: at_ms * 1_000,
        ..Report::default()
    }
}

const RTT: Duration = Duration::from_millis(20);

#[test]
fn counts_what_left_and_what_is_in_flight() {
    // SPEC: R-loss-1, R-congestion-2
    let mut log = SentLog::default();
    for at in 0..10 {
        log.on_sent(Instant::from_millis(at), at * 2, 2, 2_000);
    }
    let outcome = log.on_report(Instant::from_millis(25), &report(8, 7, 100), RTT, 0, false);
    assert_eq!(
        (outcome.received, outcome.lost, outcome.left_network),
        (7, 2, 9_000)
    );
    assert_eq!(outcome.rtt, Some(Duration::from_millis(21)));
    assert_eq!(log.in_flight(), 11_000);
    // Sent at least RTT/16 before packet 8.
    assert_eq!(log.lost_below(), 6);
    let late = log.on_report(Instant::from_millis(26), &report(8, 9, 100), RTT, 0, false);
    assert_eq!((late.received, late.lost, late.rtt), (2, 0, None));
}

#[test]
fn what_came_before_the_session_is_not_lost() {
    // SPEC: R-loss-5
    let mut log = SentLog::default();
    let ms = Instant::from_millis;
    log.on_opening(0);
    log.on_opening(1);
    log.on_sent(ms(0), 0, 90, 90_000);
    log.on_opening(90);
    log.on_opening(91);
    log.on_sent(ms(20), 90, 2, 2_400);
    let outcome = log.on_report(ms(40), &report(91, 1, 100), RTT, 0, false);
    assert_eq!((outcome.received, outcome.lost), (1, 0));
    assert!(outcome.rate.is_none(), "it says nothing of the path");
    assert_eq!((log.in_flight(), log.lost_below()), (0, 90));
    log.on_sent(ms(41), 92, 10, 10_000);
    let outcome = log.on_report(ms(61), &report(93, 2, 120), RTT, 0, false);
    assert_eq!((outcome.received, outcome.lost), (1, 1));
    assert!(outcome.rate.is_none(), "nothing to measure from");
    let outcome = log.on_report(ms(62), &report(101, 10, 128), RTT, 0, false);
    let rate = outcome.rate.unwrap();
    assert!(rate.is_first_flight);
    assert_eq!((rate.packets, rate.interval), (8, Duration::from_millis(8)));

    let mut log = SentLog::default();
    log.on_opening(0);
    log.on_sent(ms(0), 0, 90, 90_000);
    log.on_opening(90);
    log.on_sent(ms(20), 90, 1, 1_200);
    let outcome = log.on_report(ms(40), &report(90, 60, 100), RTT, 0, false);
    assert_eq!(outcome.lost, 31, "it was the first, and its report is lost");
}

#[test]
fn what_may_still_come_is_not_lost() {
    let mut log = SentLog::default();
    log.on_sent(Instant::from_millis(1), 0, 100, 100_000);
    let early = Report {
        overtaken: 30,
        ..report(99, 65, 100)
    };
    let outcome = log.on_report(Instant::from_millis(25), &early, RTT, 0, false);
    assert_eq!((outcome.lost, log.lost_total()), (5, 5));
    log.on_report(
        Instant::from_millis(45),
        &report(99, 93, 100),
        RTT,
        0,
        false,
    );
    assert_eq!(log.lost_total(), 7);
    let liar = Report {
        overtaken: u64::MAX,
        ..report(99, 93, 100)
    };
    log.on_report(Instant::from_millis(45), &liar, RTT, 0, false);
    assert_eq!(log.lost_total(), 0);
}

#[test]
fn the_rate_is_that_of_arrival() {
    let mut log = SentLog::default();
    let ms = Instant::from_millis;
    log.on_sent(ms(1), 0, 10, 10_000);
    log.on_report(ms(21), &report(9, 10, 1_000), RTT, 0, false);
    // Ten packets at once that the bottleneck spreads over 10 ms.
    log.on_sent(ms(22), 10, 10, 10_000);
    let rate = log
        .on_report(ms(52), &report(19, 20, 1_031), RTT, 0, false)
        .rate
        .unwrap();
    assert_eq!((rate.packets, rate.arrived, rate.bytes), (10, 10, 10_000));
    assert_eq!(rate.interval, Duration::from_millis(31));
}

#[test]
fn needless_repairs_widen_the_window() {
    let mut log = SentLog::default();
    let before = log.reorder_window(RTT);
    let duplicates = Report {
        duplicates: 1,
        ..Report::default()
    };
    log.on_report(Instant::ZERO, &duplicates, RTT, 0, false);
    assert_eq!(log.reorder_window(RTT), before, "the network duplicated");
    let more = Report {
        duplicates: 2,
        ..Report::default()
    };
    log.on_report(Instant::ZERO, &more, RTT, 2, true);
    assert_eq!(
        log.reorder_window(RTT),
        before,
        "copies that were sent on purpose"
    );
    let beyond = Report {
        duplicates: 3,
        ..Report::default()
    };
    log.on_report(Instant::ZERO, &beyond, RTT, 2, true);
    assert!(log.reorder_window(RTT) > before);
}
