//! How the files of a transfer are divided among jobs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;

/// Most jobs at a time where nobody says how many.
const MAX_DEFAULT_JOBS: usize = 64;
/// What a file costs besides its bytes, in bytes that could be sent meanwhile: opening, syncing,
/// renaming.
const FILE_COST: u64 = 64 << 10;

/// Jobs at a time where the caller leaves it open: one for each destination, and two where the
/// machine has two cores.
pub(crate) fn default_jobs(destinations: usize) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = destinations.max(cores.min(2)).clamp(1, MAX_DEFAULT_JOBS);
    NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN)
}

/// How many shards the files fall into, for `jobs` at a time to `destinations`.
pub(crate) fn shard_count(files: usize, jobs: usize, destinations: usize) -> usize {
    let jobs_each = (jobs / destinations.max(1)).max(1);
    files.min(jobs_each)
}

/// Divides files of these sizes into `count` shards of nearly equal cost: the largest first, each
/// to the shard that has least. Within a shard the files keep their order.
pub(crate) fn shards(sizes: &[u64], count: usize) -> Vec<Vec<usize>> {
    let mut by_size: Vec<usize> = (0..sizes.len()).collect();
    by_size.sort_by_key(|&file| Reverse(sizes.get(file).copied()));
    let mut shards = vec![Vec::new(); count];
    let mut loads: BinaryHeap<Reverse<(u64, usize)>> =
        (0..count).map(|at| Reverse((0, at))).collect();
    for file in by_size {
        let Some(Reverse((load, at))) = loads.pop() else {
            break;
        };
        let cost = sizes.get(file).copied().unwrap_or(0);
        loads.push(Reverse((
            load.saturating_add(cost).saturating_add(FILE_COST),
            at,
        )));
        if let Some(shard) = shards.get_mut(at) {
            shard.push(file);
        }
    }
    shards.iter_mut().for_each(|shard| shard.sort_unstable());
    shards
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn large_files_part_and_order_stays() {
        let sizes = [MIB, 10 * MIB, 9 * MIB, 2 * MIB, 0];
        assert_eq!(shards(&sizes, 2), [vec![0, 1, 4], vec![2, 3]]);
        assert_eq!(shards(&sizes, 1), [vec![0, 1, 2, 3, 4]]);
    }

    #[test]
    fn small_files_spread_by_number() {
        let shards = shards(&[0; 1_000], 4);
        assert!(shards.iter().all(|shard| shard.len() == 250));
    }

    #[test]
    fn jobs_are_shared_among_destinations() {
        assert_eq!(shard_count(10, 4, 2), 2);
        assert_eq!(shard_count(1, 4, 2), 1);
        assert_eq!(shard_count(10, 1, 3), 1);
        assert_eq!(shard_count(0, 4, 1), 0);
        assert!(default_jobs(1_000).get() == MAX_DEFAULT_JOBS && default_jobs(3).get() == 3);
    }

    proptest! {
        #[test]
        fn every_file_is_in_one_shard(
            sizes in prop::collection::vec(any::<u64>(), 0..100),
            count in 1_usize..10,
        ) {
            let shards = shards(&sizes, count);
            prop_assert_eq!(shards.len(), count);
            let mut all: Vec<usize> = shards.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
        }
    }
}
