//! A hash of numbers: ids and addresses.

use std::hash::{BuildHasherDefault, Hasher};

/// A hash of a number that nobody outside chooses.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

pub(super) type Ids = BuildHasherDefault<IdHasher>;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // The table uses the upper bits, too.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
