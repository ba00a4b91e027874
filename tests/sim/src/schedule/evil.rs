//! Scenarios in which one end of one session is a traitor.

use super::{Draw, Plan};
use crate::host::SenderSpec;
use crate::traitor::{Side, Treason};
use xfer_proto::config::{MIN_PROGRESS, PROGRESS_WINDOW, PROGRESS_WINDOWS};
use xfer_proto::memory::MemoryPool;

impl Draw {
    /// Adds a session in which somebody lies to one whose two ends are honest.
    pub(super) fn treason(&mut self, plan: &mut Plan) {
        let scenario = &mut plan.scenario;
        let node = scenario.senders.len() as u32 + 1;
        let first = scenario.senders.first().map(|sender| sender.ingress);
        let sender = SenderSpec {
            is_evil: true,
            max_attempts: 1,
            ingress: first.flatten(),
            ..self.sender(u64::from(node))
        };
        scenario.senders.push(sender);
        let side = match self.one_in(2) {
            true => Side::Sender,
            false => Side::Receiver,
        };
        scenario.treason = Some(Treason {
            node,
            side,
            per_million: self.spread(1_000, 500_000) as u32,
            only: self.one_in(2).then(|| self.below(9) as u32),
            mute_after: self.one_in(8).then(|| self.below(200)),
        });
        // Whatever is written comes to nothing, unless its digest is right.
        scenario.receiver.disk.tolerates_wrong_writes = true;
        if self.one_in(3) {
            let bytes = self.spread(1, 4 << 20);
            scenario.receiver.config.memory = MemoryPool::new(bytes);
        }
        // Heavy loss makes a large file take longer than any deadline here.
        let links = plan.scenario.links.iter();
        let loss = links.map(|link| link.loss_ppm).max().unwrap_or(0);
        if self.one_in(8) && loss < 100_000 {
            self.large_file(plan);
        }
        // A session that gets nowhere ends after a minute. One that gets on as slowly as it may
        // takes a minute for each part of its files, and counts what it says about them.
        let sizes = plan.scenario.senders.last();
        let bytes = sizes.map_or(0, |it| {
            it.manifest.iter().map(|entry| entry.size + 8_192).sum()
        });
        let minute = PROGRESS_WINDOW * PROGRESS_WINDOWS as u32;
        let parts: u64 = 3 + bytes / MIN_PROGRESS;
        plan.scenario.patience = minute.as_nanos() as u64 * parts;
    }
}
