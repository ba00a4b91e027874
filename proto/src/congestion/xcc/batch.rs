//! How much leaves at once: less where a path drops it, whose queue may be shorter than a batch
//! (SPEC.md, `pacing`).

use crate::congestion::pacing::BATCH_TIME;
use crate::time::Duration;

const MIN_TIME: Duration = Duration::from_micros(125);
/// Rounds without unexplained loss after which longer batches are tried again; each time that they
/// turn out too long it takes twice as many.
const FIRST_PATIENCE: u32 = 64;
const MAX_PATIENCE: u32 = 4_096;

/// The length of batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchTime {
    time: Duration,
    clean: u32,
    patience: u32,
    has_grown: bool,
}

impl Default for BatchTime {
    fn default() -> Self {
        Self {
            time: BATCH_TIME,
            clean: 0,
            patience: FIRST_PATIENCE,
            has_grown: false,
        }
    }
}

impl BatchTime {
    /// What the rate makes in this time leaves at once.
    pub fn get(&self) -> Duration {
        self.time
    }

    /// A round trip is over that lost more than chance explains, or did not.
    pub fn on_round(&mut self, is_excess: bool) {
        if is_excess {
            if core::mem::take(&mut self.has_grown) {
                self.patience = (self.patience * 2).min(MAX_PATIENCE);
            }
            self.time = (self.time / 2).max(MIN_TIME);
            self.clean = 0;
            return;
        }
        self.clean += 1;
        if self.clean >= self.patience && self.time < BATCH_TIME {
            self.time = (self.time * 2).min(BATCH_TIME);
            self.clean = 0;
            self.has_grown = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_at_once_and_grow_with_patience() {
        let mut batch = BatchTime::default();
        batch.on_round(false);
        assert_eq!(batch.get(), BATCH_TIME);
        batch.on_round(true);
        assert_eq!(batch.get(), BATCH_TIME / 2);
        for _ in 0..9 {
            batch.on_round(true);
        }
        assert_eq!(batch.get(), MIN_TIME);
        for _ in 0..FIRST_PATIENCE {
            assert_eq!(batch.get(), MIN_TIME);
            batch.on_round(false);
        }
        assert_eq!(batch.get(), MIN_TIME * 2);
        batch.on_round(true);
        for _ in 0..FIRST_PATIENCE * 2 {
            assert_eq!(
                batch.get(),
                MIN_TIME,
                "they were too long: twice as patient"
            );
            batch.on_round(false);
        }
        assert_eq!(batch.get(), MIN_TIME * 2);
    }
}
