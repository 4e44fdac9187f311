//! The checksum of an item, which travels in its record.
//!
//! It finds an item that is not the one that was sent: replaced by another, mixed, or zero. It is
//! no protection against a process that forges it. Both ends are the same program, so its value may
//! change from version to version.
//!
//! It reads 32 bytes at a time into four sums that do not wait for one another, so that it costs
//! little compared with copying the item.
//!
//! **Rejected.** The standard library's `DefaultHasher`: for large items it takes as long as all
//! else. A number for each item, in the record and before the item: it would not find an item whose
//! end was overwritten.
//!
//! Tests: below.

/// An odd number with about as many ones as zeros.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes `word` into `sum`. For each `sum` different words give different results.
#[inline]
fn mix(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(FACTOR).rotate_left(29)
}

/// The checksum of `bytes`.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut sums = [1, 2, 3, 4].map(|n: u64| n.wrapping_mul(FACTOR));
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = mix(*sum, u64::from_le_bytes(*word));
        }
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    let (words, _) = last.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let all = sums.into_iter().chain(words);
    let sum = all.fold(bytes.len() as u64, mix);
    (sum >> 32) as u32 ^ sum as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Items of all lengths: of zeros, of another byte, with one bit changed, with the first half
    /// of one and the second of another, and with two words exchanged.
    #[test]
    fn what_is_not_the_item_has_another_checksum() {
        let mut seen = HashSet::new();
        let mut items = 0;
        for length in (0..200).chain([4095, 4096, 5000]) {
            let item: Vec<u8> = (0..length).map(|n| (n * 7 / 3) as u8).collect();
            let mut others = vec![vec![0; length], vec![1; length], item.clone()];
            for at in (0..length).step_by(1 + length / 50) {
                let mut other = item.clone();
                other[at] ^= 1 << (at % 8);
                others.push(other);
                let mut other = item.clone();
                other[at..].fill(0xaa);
                others.push(other);
            }
            if length >= 64 {
                let mut other = item.clone();
                other.rotate_left(32);
                others.push(other);
            }
            others.sort();
            others.dedup();
            items += others.len();
            seen.extend(others.iter().map(|item| checksum(item)));
        }
        // (Of so few, no two have the same one by chance.)
        assert_eq!(seen.len(), items);
    }
}
