//! Tests of arrays in shared memory, with the codec around them.

use super::*;
use crate::process::Bulk;
use crate::process::pages::raw_ledger::Ledger;
use crate::process::value::attachments::Descriptors;
use crate::process::value::chunk::Chunk;
use crate::process::value::codec::decode;
use crate::process::value::scope::{self, Decoding};

fn numbers(list: [u64; 3], view: &Arc<View>) -> Result<Bulk<u16>, String> {
    let bytes = [0, 16, 1, 0, 0, 0]; // no bytes, and their description: `Tag::Bytes`
    let missing = Missing::new(&[list], &bytes, Some(view), &mut Copies::default());
    scope::decoding(&mut Decoding::new(Descriptors::default(), missing), || {
        decode(&bytes)
    })
}

#[test]
fn a_parent_believes_nothing() {
    let ledger = Ledger::new().unwrap();
    let (mapping, area) = ledger.lent().unwrap();
    let view = Arc::new(View::Mapped(mapping, area.start));
    let area = AREA as u64;
    for (offset, length) in [(area, 8), (0, area + 2), (u64::MAX - 7, 16), (4, 2), (0, 3)] {
        assert!(
            numbers([1, offset, length], &view).is_err(),
            "{offset} {length}"
        );
    }
    assert_eq!(numbers([1, 8, 16], &view).unwrap().len(), 8);
    assert_eq!(numbers([1, 0, area], &view).unwrap().len(), AREA / 2);
    for elsewhere in [7, u64::MAX] {
        assert!(numbers([elsewhere, 8, 16], &view).unwrap().is_empty());
    }
    assert!(numbers([0, 8, 16], &view).is_err(), "nobody has read it");
}

#[test]
fn what_cannot_have_been_lent_breaks_the_protocol() {
    let set = |list: &[[u64; 3]]| Lending::default().set(list.to_vec());
    let area = AREA as u64;
    assert_eq!(set(&[]), Ok(()));
    assert_eq!(set(&[[9, 8, 8], [5, 0, 8], [7, 16, area - 16]]), Ok(()));
    for list in [
        vec![[1, 0, area]; 2],
        vec![[1, 0, area - 16], [2, 0, 24]],
        vec![[1, 0, area + 1]],
        vec![[1, 8, u64::MAX - 7]],
        vec![[1, u64::MAX, 1]],
    ] {
        assert_eq!(set(&list), Err(Broken), "{list:?}");
    }
}

#[test]
fn little_that_is_lent_is_few_bytes_in_few_pieces() {
    let within = |list: &[[u64; 3]]| {
        let lending = Lending {
            list: list.to_vec(),
            view: None,
        };
        lending.is_within(100)
    };
    assert!(within(&[]) && within(&[[1, 0, 100]]) && within(&[[1, 0, 50], [2, 50, 50]]));
    assert!(!within(&[[1, 0, 101]]) && !within(&[[1, 0, 1], [2, 8, u64::MAX]]));
    assert!(!within(&[[0; 3]; MAX_INLINE + 1]));
}

#[test]
fn what_is_lent_is_missing_in_the_bytes_and_known_beside_them() {
    let mut chunk = Chunk::lending(&Arc::new(SharedBuffer::new()));
    let bulk = Bulk::from(vec![5u16; LEND_FROM]);
    chunk.push(&(7u8, bulk.clone())).unwrap();
    let mut items = wire::Reader(&chunk.bytes);
    let item = items.bytes().unwrap();
    assert!(item.starts_with(&[7, 0]) && item.len() < 16, "{item:?}");
    let mut lends_none = Chunk::default();
    lends_none.push(&bulk).unwrap();
    assert!(lends_none.bytes.len() > 2 * LEND_FROM);
    assert!(postcard::to_stdvec(&bulk).unwrap().len() > 2 * LEND_FROM);
}
