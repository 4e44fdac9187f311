//! Encoded results.
//!
//! ```text
//! hash of the value (16) · the value, in `postcard-described`'s encoding
//! ```
//!
//! The hash is that of a key: it covers the names and types of all parts. After decoding it is
//! compared with that of the decoded value. So a result whose type has changed under its name since
//! it was written is never returned, even where the bytes can be read as the new type.
//!
//! A value may have any number of parts that take no bytes, such as `()`. What is decoded here has
//! passed a check, so no damage makes a number of them up; and who may write to the file may put
//! any result there.

use std::io;

use postcard::de_flavors::Slice;
use postcard_described::{Encoded, Error, Limit, StackLimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::{Key, key_of};

const HASH: usize = 16;

/// Appends a value to `out`.
pub(crate) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> io::Result<()> {
    let Key(hash) = key_of(value).map_err(io::Error::other)?;
    out.extend_from_slice(&hash[..HASH]);
    postcard_described::to_writer(value, out).map_err(io::Error::other)
}

/// The value, if these bytes are one of this type.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (hash, encoded) = bytes.split_at_checked(HASH)?;
    let encoded = Encoded::split(encoded)?;
    let open = || Slice::new(encoded.data());
    let limit = || Nested(StackLimit::default());
    let value = encoded.read(open, limit).ok()?;
    let Key(now) = key_of(&value).ok()?;
    (now[..HASH] == *hash).then_some(value)
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
}
