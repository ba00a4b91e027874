//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1.

use alloc::vec;
use alloc::vec::Vec;

/// What is left of the polynomial when x^8 is taken away.
const REST: u8 = 0x1d;

/// The powers of x, and for each number which power it is; that of 0 means nothing.
#[allow(clippy::indexing_slicing, reason = "at compile time")]
const TABLES: ([u8; 256], [u8; 256]) = {
    let (mut powers, mut logs) = ([0; 256], [0; 256]);
    let (mut power, mut at) = (1, 0_u8);
    while at < u8::MAX {
        powers[at as usize] = power;
        logs[power as usize] = at;
        power = double(power);
        at += 1;
    }
    (powers, logs)
};

/// Times x.
pub(super) const fn double(byte: u8) -> u8 {
    // Without a branch, so that many are doubled at once.
    (byte << 1) ^ (0_u8.wrapping_sub(byte >> 7) & REST)
}

fn power(of: u8) -> u8 {
    TABLES.0.get(usize::from(of)).copied().unwrap_or_default()
}

fn log(of: u8) -> u8 {
    TABLES.1.get(usize::from(of)).copied().unwrap_or_default()
}

fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    let sum = u16::from(log(a)).saturating_add(u16::from(log(b)));
    power((sum % 255) as u8)
}

/// The inverse of a number that is not 0.
fn inverse(of: u8) -> u8 {
    power(255_u8.wrapping_sub(log(of)) % 255)
}

/// What the symbol at `position` is multiplied by for the parity symbol `index`. The position is
/// less than 255 - `index`.
pub(super) fn coefficient(index: u8, position: u8) -> u8 {
    inverse(255_u8.wrapping_sub(index) ^ position)
}

/// The inverse of a square matrix, by rows; `None` where it has none.
pub(super) fn invert(mut rows: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let size = rows.len();
    let unit = |at: usize| {
        let mut row = vec![0; size];
        row.iter_mut().skip(at).take(1).for_each(|one| *one = 1);
        row
    };
    let mut result: Vec<Vec<u8>> = (0..size).map(unit).collect();
    for at in 0..size {
        let entry = |row: &Vec<u8>| row.get(at).copied().unwrap_or_default();
        let pivot = rows.iter().skip(at).position(|row| entry(row) != 0)?;
        let pivot = pivot.checked_add(at)?;
        rows.swap(at, pivot);
        result.swap(at, pivot);
        let scale = inverse(entry(rows.get(at)?));
        for matrix in [&mut rows, &mut result] {
            let row = matrix.get_mut(at)?;
            row.iter_mut()
                .for_each(|number| *number = multiply(*number, scale));
        }
        let (row, inverted) = (rows.get(at)?.clone(), result.get(at)?.clone());
        for (other, (left, right)) in rows.iter_mut().zip(&mut result).enumerate() {
            let factor = if other == at { 0 } else { entry(left) };
            subtract(left, &row, factor);
            subtract(right, &inverted, factor);
        }
    }
    Some(result)
}

/// Takes `factor` times `row` from `from`.
fn subtract(from: &mut [u8], row: &[u8], factor: u8) {
    for (number, other) in from.iter_mut().zip(row) {
        *number ^= multiply(*other, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_field() {
        for a in 1..=255 {
            assert_eq!(multiply(a, inverse(a)), 1);
            assert_eq!(multiply(a, 2), double(a));
            for b in 1..=255 {
                assert_ne!(multiply(a, b), 0);
                assert_eq!(multiply(a, b), multiply(b, a));
            }
        }
        assert_eq!(multiply(0x80, 2), REST);
    }

    #[test]
    fn a_matrix_without_an_inverse_is_told() {
        assert_eq!(invert(vec![vec![1, 2], vec![1, 2]]), None);
        assert_eq!(
            invert(vec![vec![0, 1], vec![1, 0]]).unwrap(),
            [[0, 1], [1, 0]]
        );
    }
}
