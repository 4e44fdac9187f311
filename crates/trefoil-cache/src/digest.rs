//! The hash of long byte strings.
//!
//! It is BLAKE3's, whose tree of parts lets several threads work on it: halves are hashed with
//! `trefoil::join`, down to [`PART`]. That of a `Bulk` or a `Shared` is remembered, by the number
//! that `array_id` gives for its contents.

use std::collections::HashMap;

use parking_lot::Mutex;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use trefoil::process::array_id;

/// From this length on a byte string is hashed by itself. Arrays have numbers from here on.
pub(crate) const LONG: usize = 16 << 10;

/// What one thread hashes; a smaller one is not worth waking another. (100 to 400 µs.)
const PART: usize = 1 << 20;

/// How many hashes are remembered. Then all are forgotten: an array that is used again costs one
/// more hash.
const MOST: usize = 10_000;

static KNOWN: Mutex<Option<HashMap<u64, [u8; 32]>>> = Mutex::new(None);

/// The hash of `bytes`, which is remembered if they are an array's.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let Some(id) = array_id(bytes) else {
        return hash(bytes);
    };
    let known = || KNOWN.lock();
    if let Some(hash) = known().as_ref().and_then(|known| known.get(&id)) {
        return *hash;
    }
    let hash = hash(bytes);
    let mut known = known();
    let known = known.get_or_insert_default();
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(id, hash);
    hash
}

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
