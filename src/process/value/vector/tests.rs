//! Tests of whole vectors, with the codec around them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::process::value::codec::{decode, encode};

fn goes_both_ways<N>(number: impl Fn(usize) -> N)
where
    N: Plain + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
    Vec<N>: Any,
{
    for count in [0, 1, 3, 127, 128, 5000, 20_000] {
        let value: Vec<N> = (0..count).map(&number).collect();
        let mut out = vec![9];
        encode(&value, &mut out, &mut None).unwrap();
        let own = [&postcard::to_stdvec(&count).unwrap(), bytes_of(&value)].concat();
        assert_eq!(out[1..], own);
        assert_eq!(decode::<Vec<N>>(&out[1..]), Ok(value));
        for wrong in [&out[1..out.len() - 1], &[&out[1..], &[0]].concat()] {
            assert!(decode::<Vec<N>>(wrong).is_err());
        }
    }
}

#[test]
fn either_way_gives_the_same() {
    goes_both_ways(|n| n as u8);
    goes_both_ways(|n| n as i8);
    goes_both_ways(|n| n as f32 / 3.0);
    goes_both_ways(|n| -(n as f64) / 7.0);
    goes_both_ways(|n| n as u16);
    goes_both_ways(|n| !n as u64);
    goes_both_ways(|n| !n);
    goes_both_ways(|n| -(n as i32) * 99);
    goes_both_ways(|n| -(n as i128) << 90);
}

#[test]
fn what_is_no_such_vector_is_left_alone() {
    assert!(memory(&vec![1.5f32]).is_some_and(|(count, memory)| (count, memory.len()) == (1, 4)));
    assert!(memory(&vec![true]).is_none() && memory(&7u8).is_none());
    assert!(memory(&Some(vec![1u8])).is_none() && memory(&"x".to_owned()).is_none());
    assert_eq!(read(&[2, 7, 8]), Some(Ok(vec![7u8, 8])));
    assert_eq!(read::<Vec<bool>>(&[2, 1, 1]), None);
    assert!(read::<Vec<u16>>(&[2, 7, 8]).is_some_and(|read| read.is_err()));
    assert!(read::<Vec<f32>>(&[2, 7, 8]).is_some_and(|read| read.is_err()));
    assert!(read::<Vec<u8>>(&[]).is_some_and(|read| read.is_err()));
    assert!(whole(&mut vec![1u8]).is_some() && whole(&mut Bulk::from([1u128])).is_some());
    assert!(whole(&mut vec![true]).is_none() && whole(&mut "x".to_owned()).is_none());
}
