//! What changes on the way of a running session: sizes that pass, addresses.

use crate::network::LinkChange;
use crate::queue::SECOND;
use crate::world::{Fault, FaultKind, Scenario, When};
use xfer_proto::config::MIN_DATAGRAM;
use xfer_proto::rng::Rng;

/// Has the path carry less from some moment on, and a router forget a sender's address; each of
/// them seldom.
pub(crate) fn change(rng: &mut Rng, scenario: &mut Scenario) {
    if rng.below(8) == 0 {
        let change = LinkChange {
            at: rng.below(2 * SECOND),
            mtu: Some(MIN_DATAGRAM + rng.below(200) as usize),
            ..LinkChange::default()
        };
        if let Some(forward) = scenario.links.first_mut() {
            forward.changes.push(change);
            forward.changes.sort_by_key(|change| change.at);
        }
    }
    if rng.below(8) == 0 {
        scenario.faults.push(Fault {
            when: When::At(rng.below(2 * SECOND)),
            node: 1,
            kind: FaultKind::Rebind,
        });
    }
}
