//! Forward error correction: parity over a block of chunks, from any part of which as many chunks
//! can be recovered as there are parity symbols (SPEC.md, `parity`).
//!
//! A systematic Cauchy code over GF(2^8). A coefficient depends only on the position in the block
//! and on the index of the parity symbol, so that more symbols can be made later, and shorter
//! blocks need no other rules. Symbols that are shorter than others end in zeros.

mod field;

use alloc::vec;
use alloc::vec::Vec;

/// A sum over the block, kept apart by the bits of the coefficients: adding a symbol is a few
/// exclusive ors of whole symbols, which the compiler makes vector instructions of, and only the
/// sum is multiplied, once.
#[derive(Debug)]
struct Sum {
    /// What has coefficients with bit 0, then with bit 1, and so on; each of `len` bytes.
    planes: Vec<u8>,
    len: usize,
}

impl Sum {
    fn new(len: usize) -> Self {
        Self {
            planes: vec![0; len.saturating_mul(8)],
            len,
        }
    }

    /// Adds `coefficient` times a symbol that lies in two pieces.
    fn add(&mut self, coefficient: u8, head: &[u8], tail: &[u8]) {
        let planes = self.planes.chunks_exact_mut(self.len.max(1));
        for (bit, plane) in planes.enumerate() {
            if coefficient >> bit & 1 == 1 {
                let (first, second) = plane.split_at_mut(head.len().min(self.len));
                xor(first, head);
                xor(second, tail);
            }
        }
    }

    /// The sum, added to `onto`.
    fn finish(&self, onto: &[u8]) -> Vec<u8> {
        let mut sum = vec![0; self.len];
        for plane in self.planes.chunks_exact(self.len.max(1)).rev() {
            for (byte, add) in sum.iter_mut().zip(plane) {
                *byte = field::double(*byte) ^ add;
            }
        }
        xor(&mut sum, onto);
        sum
    }
}

/// Adds `other` to `bytes`, as far as both go.
fn xor(bytes: &mut [u8], other: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(other) {
        *byte ^= other;
    }
}

/// The parity symbol `index`, of `len` bytes, of a block whose symbols, each in two pieces, come in
/// the order of their positions.
pub fn parity<'a>(
    index: u8,
    len: usize,
    symbols: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<u8> {
    let mut sum = Sum::new(len);
    for (position, (head, tail)) in (0..u8::MAX).zip(symbols) {
        sum.add(field::coefficient(index, position), head, tail);
    }
    sum.finish(&[])
}

/// The symbols at the positions `missing`, in their order. `present` are the others with their
/// positions, `parities` as many parity symbols of `len` bytes as are missing, or more, with their
/// indexes. `None` where there are too few, or where a position or an index comes twice.
pub fn recover(
    len: usize,
    present: &[(u8, &[u8])],
    missing: &[u8],
    parities: &[(u8, &[u8])],
) -> Option<Vec<Vec<u8>>> {
    let parities = parities.get(..missing.len())?;
    // What the parity symbols say of the missing ones alone.
    let syndromes = parities.iter().map(|(index, bytes)| {
        let mut sum = Sum::new(len);
        for (position, symbol) in present {
            sum.add(field::coefficient(*index, *position), symbol, &[]);
        }
        sum.finish(bytes)
    });
    let syndromes: Vec<Vec<u8>> = syndromes.collect();
    let rows = parities.iter().map(|(index, _)| {
        let row = missing.iter();
        row.map(|position| field::coefficient(*index, *position))
            .collect()
    });
    let inverse = field::invert(rows.collect())?;
    let solve = |row: &Vec<u8>| {
        let mut sum = Sum::new(len);
        for (coefficient, syndrome) in row.iter().zip(&syndromes) {
            sum.add(*coefficient, syndrome, &[]);
        }
        sum.finish(&[])
    };
    Some(inverse.iter().map(solve).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    fn symbols(count: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut rng = Rng::new(seed);
        let symbol = |_| (0..len).map(|_| rng.below(256) as u8).collect();
        (0..count).map(symbol).collect()
    }

    fn parity_of(symbols: &[Vec<u8>], index: u8, len: usize) -> Vec<u8> {
        parity(
            index,
            len,
            symbols
                .iter()
                .map(|symbol| symbol.split_at(symbol.len() / 3)),
        )
    }

    proptest! {
        #[test]
        fn as_many_are_recovered_as_there_is_parity(
            count in 1_usize..40, spare in 0_usize..20, len in 1_usize..70, seed: u64,
        ) {
            let symbols = symbols(count, len, seed);
            let mut rng = Rng::new(!seed);
            let mut missing: Vec<u8> = (0..count as u8).collect();
            missing.retain(|_| rng.chance(300_000));
            let mut indexes: Vec<u8> = (0..(missing.len() + spare) as u8).collect();
            while indexes.len() > missing.len() {
                indexes.remove(rng.below(indexes.len() as u64) as usize);
            }
            let all: Vec<_> = indexes.iter().map(|i| (*i, parity_of(&symbols, *i, len))).collect();
            let parities: Vec<_> = all.iter().map(|(i, bytes)| (*i, bytes.as_slice())).collect();
            let present: Vec<_> = (0..count as u8)
                .filter(|at| !missing.contains(at))
                .map(|at| (at, symbols[usize::from(at)].as_slice()))
                .collect();
            let found = recover(len, &present, &missing, &parities).unwrap();
            for (at, symbol) in missing.iter().zip(&found) {
                prop_assert_eq!(symbol, &symbols[usize::from(*at)]);
            }
            if let Some((_, fewer)) = parities.split_last() {
                prop_assert_eq!(recover(len, &present, &missing, fewer), None);
            }
        }
    }

    #[test]
    fn the_largest_block_and_the_last_index() {
        // SPEC: R-parity-3
        let symbols = symbols(254, 8, 1);
        let last = parity_of(&symbols, 0, 8);
        let present: Vec<_> = (1..254)
            .map(|at| (at as u8, symbols[at].as_slice()))
            .collect();
        let found = recover(8, &present, &[0], &[(0, &last)]).unwrap();
        assert_eq!(found, [symbols[0].clone()]);
        let one = &symbols[..1];
        let last = parity_of(one, 254, 8);
        assert_eq!(recover(8, &[], &[0], &[(254, &last)]).unwrap(), one);
    }

    #[test]
    fn a_shorter_symbol_ends_in_zeros() {
        // SPEC: R-parity-3
        let short = parity_of(&[vec![1, 2, 3], vec![4]], 3, 3);
        let long = parity_of(&[vec![1, 2, 3], vec![4, 0, 0]], 3, 3);
        assert_eq!(short, long);
    }

    #[test]
    fn what_comes_twice_recovers_nothing() {
        let symbols = symbols(3, 4, 9);
        let one = parity_of(&symbols, 1, 4);
        let present = [(0, symbols[0].as_slice())];
        let twice = [(1, one.as_slice()), (1, one.as_slice())];
        assert_eq!(recover(4, &present, &[1, 2], &twice), None);
    }
}
