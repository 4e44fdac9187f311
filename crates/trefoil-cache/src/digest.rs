//! The hash of long byte strings.
//!
//! It is BLAKE3's, whose tree of parts lets several threads work on it: halves are hashed with
//! `trefoil::join`, down to [`PART`].

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

/// From this length on a byte string is hashed by itself.
pub(crate) const LONG: usize = 16 << 10;

/// What one thread hashes; a smaller one is not worth waking another. (100 to 400 µs.)
const PART: usize = 1 << 20;

/// BLAKE3's hash of `bytes`.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    if bytes.len() <= PART {
        return *blake3::hash(bytes).as_bytes();
    }
    let (left, right) = halves(bytes, 0);
    *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
}

/// The hashes of both subtrees of `bytes`, which are at this offset.
fn halves(bytes: &[u8], offset: u64) -> (ChainingValue, ChainingValue) {
    let middle = left_subtree_len(bytes.len() as u64);
    let (left, right) = bytes.split_at(middle as usize);
    trefoil::join(|| subtree(left, offset), || subtree(right, offset + middle))
}

fn subtree(bytes: &[u8], offset: u64) -> ChainingValue {
    if bytes.len() > PART {
        let (left, right) = halves(bytes, offset);
        return merge_subtrees_non_root(&left, &right, Mode::Hash);
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset).update(bytes);
    hasher.finalize_non_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_the_whole() {
        let bytes: Vec<u8> = (0..9 * PART + 77).map(|n| (n % 251) as u8).collect();
        let lengths = [
            0,
            1,
            LONG,
            PART,
            PART + 1,
            2 * PART,
            3 * PART - 1,
            bytes.len(),
        ];
        for length in lengths {
            let bytes = &bytes[..length];
            assert_eq!(hash(bytes), *blake3::hash(bytes).as_bytes(), "{length}");
        }
    }
}
