//! Encoded results.
//!
//! ```text
//! order (1) · hash of the value (16) · the value, in `postcard-described`'s encoding
//! ```
//!
//! The hash is that of a key: it covers the names and types of all parts. After decoding it is
//! compared with that of the decoded value. So a result whose type has changed under its name since
//! it was written is never returned, even where the bytes can be read as the new type.
//!
//! Each value is decoded once when it is encoded, and its hash compared. If it differs, the value
//! may have a set that is no std `HashSet` by its type's name (it is in a transparent type, in a
//! `Mutex`, or of another crate), and whose order differs after decoding: then the hash is one for
//! which no order counts. If that differs, too, the value is not kept.
//!
//! A value may have any number of parts that take no bytes, such as `()`. What is decoded here has
//! passed a check, so no damage makes a number of them up; and who may write to the file may put
//! any result there.

use std::io;

use postcard::de_flavors::Slice;
use postcard_described::{Encoded, Error, Limit, StackLimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::{Key, Order, hash_in};

/// What stands before the encoded value: the order, the hash.
const HEAD: usize = 17;

/// Appends a value to `out`, which is as it was if that fails. Returns the value as it is decoded
/// later, which lacks what serde does not write: whoever has computed it gets that one, too.
pub(crate) fn encode<T>(value: &T, out: &mut Vec<u8>) -> io::Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let begin = out.len();
    let written = try_encode(value, out);
    if written.is_err() {
        out.truncate(begin);
    }
    written
}

fn try_encode<T>(value: &T, out: &mut Vec<u8>) -> io::Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let begin = out.len();
    out.resize(begin + HEAD, 0);
    postcard_described::to_writer(value, &mut *out).map_err(io::Error::other)?;
    let again: Option<T> = read(&out[begin + HEAD..]);
    let Some(again) = again else {
        return Err(io::Error::other("it cannot be decoded"));
    };
    for order in [Order::Kept, Order::Any] {
        let head = head(order, value)?;
        if head == self::head(order, &again)? {
            out[begin..begin + HEAD].copy_from_slice(&head);
            return Ok(again);
        }
    }
    Err(io::Error::other("after decoding it is another value"))
}

/// The value, if these bytes are one of this type.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (written, encoded) = bytes.split_at_checked(HEAD)?;
    let order = match written[0] {
        0 => Order::Kept,
        1 => Order::Any,
        _ => return None,
    };
    let value = read(encoded)?;
    (head(order, &value).ok()? == written).then_some(value)
}

fn head<T: Serialize>(order: Order, value: &T) -> io::Result<[u8; HEAD]> {
    let Key(hash) = hash_in(order, value).map_err(io::Error::other)?;
    let mut head = [0; HEAD];
    head[0] = (order == Order::Any) as u8;
    head[1..].copy_from_slice(&hash[..HEAD - 1]);
    Ok(head)
}

fn read<T: DeserializeOwned>(encoded: &[u8]) -> Option<T> {
    let encoded = Encoded::split(encoded)?;
    let open = || Slice::new(encoded.data());
    let limit = || Nested(StackLimit::default());
    encoded.read(open, limit).ok()
}

/// Limits only how deeply values nest.
struct Nested(StackLimit);

impl Limit for Nested {
    fn check(&mut self) -> Result<(), Error> {
        self.0.check()
    }

    fn most_empty(&self) -> usize {
        usize::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types of one name, as before and after a change.
    #[test]
    fn no_value_is_read_as_another_type() {
        #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
        #[serde(rename = "S")]
        struct Old {
            x: u64,
        }
        #[derive(serde::Serialize, serde::Deserialize, Debug)]
        #[serde(rename = "S")]
        struct Signed {
            x: i64,
        }
        #[derive(serde::Serialize, serde::Deserialize, Debug)]
        #[serde(rename = "S")]
        struct More {
            x: u64,
            more: Option<u8>,
        }
        let mut bytes = Vec::new();
        let old = Old { x: u64::MAX - 4 };
        encode(&old, &mut bytes).unwrap();
        assert_eq!(decode::<Old>(&bytes), Some(old));
        let signed = decode::<Signed>(&bytes);
        assert!(signed.is_none(), "{:?}", signed.map(|now| now.x));
        let more = decode::<More>(&bytes);
        assert!(more.is_none(), "{:?}", more.map(|now| (now.x, now.more)));
        assert_eq!(decode::<Old>(&bytes[..10]), None);
    }

    /// A value has the same hash after decoding, or it is not kept.
    #[test]
    fn a_value_of_changing_order_is_found_again() {
        use std::cell::Cell;
        use std::collections::HashSet;
        use std::sync::Mutex;
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        struct Tags(HashSet<String>);
        let tags = || (0..100).map(|n| n.to_string()).collect();
        let mut bytes = Vec::new();
        encode(&vec![Tags(tags()), Tags(tags())], &mut bytes).unwrap();
        let all = decode::<Vec<Tags>>(&bytes).expect("it is found");
        assert!(all.len() == 2 && all[1].0 == tags());
        bytes.clear();
        encode(&Mutex::new(tags()), &mut bytes).unwrap();
        let locked = decode::<Mutex<HashSet<String>>>(&bytes).expect("it is found");
        assert_eq!(locked.into_inner().unwrap(), tags());
        // The order of a list counts.
        bytes.clear();
        encode(&[1, 2, 3], &mut bytes).unwrap();
        assert_eq!(bytes[0], 0);

        struct Counted;
        thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });
        impl Serialize for Counted {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                COUNT.set(COUNT.get() + 1);
                to.serialize_u64(COUNT.get())
            }
        }
        impl<'de> serde::Deserialize<'de> for Counted {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                u64::deserialize(from).map(|_| Self)
            }
        }
        let mut bytes = vec![7];
        let error = encode(&Counted, &mut bytes).err().unwrap();
        assert!(error.to_string().contains("another value"), "{error}");
        assert_eq!(bytes, [7]);
    }
}
