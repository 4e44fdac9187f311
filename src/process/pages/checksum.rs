//! The checksum of an item, which travels in its record.
//!
//! It finds an item that is not the one that was sent: replaced by another, mixed, or zero. It is
//! no protection against a process that forges it. Both ends are the same program, so its value may
//! change from version to version.
//!
//! It reads 32 bytes at a time into four sums that do not wait for one another, so that it costs
//! little compared with copying the item. The body of the loop has no iterators, because a
//! program's debug build has this crate without optimisation, too.
//!
//! **Rejected.** The standard library's `DefaultHasher`: for large items it takes as long as all
//! else. A number for each item, in the record and before the item: it would not find an item whose
//! end was overwritten. The crate `crc32fast`: two more crates in every user's build for these
//! lines.
//!
//! Tests: below.

/// An odd number with about as many ones as zeros.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes `word` into `sum`. For each `sum` different words give different results.
#[inline(always)]
fn mix(sum: u64, word: [u8; 8]) -> u64 {
    (sum ^ u64::from_le_bytes(word))
        .wrapping_mul(FACTOR)
        .rotate_left(29)
}

/// The checksum of `bytes`.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let [mut one, mut two, mut three, mut four] = [1, 2, 3, 4_u64];
    let mut read = |block: &[[u8; 8]; 4]| {
        let [a, b, c, d] = *block;
        one = mix(one, a);
        two = mix(two, b);
        three = mix(three, c);
        four = mix(four, d);
    };
    let (words, _) = bytes.as_chunks();
    let (blocks, _) = words.as_chunks();
    blocks.iter().for_each(&mut read);
    let rest = &bytes[size_of_val(blocks)..];
    let mut last = [[0; 8]; 4];
    last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
    read(&last);
    let sums = [one, two, three, four].map(u64::to_le_bytes);
    let sum = sums.into_iter().fold(bytes.len() as u64, mix);
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
