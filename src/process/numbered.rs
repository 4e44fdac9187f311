//! Things by numbers that this program has chosen itself.
//!
//! The standard table guards against keys that somebody chose in order to make it slow, and pays for that with every
//! look. Jobs have consecutive numbers, and functions have offsets into the image: one multiplication
//! spreads both.
//!
//! Tests: below; `sched::sim`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by number.
pub(crate) type Numbered<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// Spreads numbers over all bits.
#[derive(Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // The table takes its place from the low bits and seven more from the top.
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_spread() {
        let hash = |number: u64| {
            let mut spread = Spread::default();
            spread.write_u64(number);
            spread.finish()
        };
        for step in [1, 16, 4096] {
            let low: std::collections::HashSet<u64> =
                (1..=1024).map(|n| hash(n * step) % 1024).collect();
            assert!(
                low.len() > 512,
                "{} of 1024 places for steps of {step}",
                low.len()
            );
            let top: std::collections::HashSet<u64> =
                (1..=1024).map(|n| hash(n * step) >> 57).collect();
            assert!(
                top.len() > 100,
                "{} of 128 marks for steps of {step}",
                top.len()
            );
        }
    }
}
