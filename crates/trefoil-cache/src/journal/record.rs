//! The format of a journal.
//!
//! The file begins with a line of text, [`FIRST`]. Records follow:
//!
//! ```text
//! MARK (4) · length of the body (4) · check of the length (4) · body · check (8)
//! ```
//!
//! The body is a [`Record`] in postcard's encoding; the check is the beginning of the BLAKE3 hash
//! of everything before it. So a record that is not whole is found, wherever it was cut. The mark
//! only helps to find records behind damage. The length has a check of its own, so that what a
//! record contains is not taken for a record behind it: a result may be the bytes of a journal.

use serde::{Deserialize, Serialize};

pub(crate) const FIRST: &[u8] = b"trefoil journal 1\n";

const MARK: [u8; 4] = *b"\xf7trj";
const HEAD: usize = 12;
const CHECK: usize = 8;

/// The longest body.
const LONGEST: usize = 16 << 20;

/// A hash of an item.
pub(crate) type Item = [u8; 16];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record<'a> {
    /// The first record.
    Header(Header),
    /// A program begins to run items. If the one before has not closed, it has died.
    Session,
    /// Items begin.
    Begun(Vec<u64>),
    /// The result of an item, in `postcard-described`'s encoding.
    Done {
        index: u64,
        item: Item,
        #[serde(borrow)]
        result: &'a [u8],
    },
    /// The result of an item is in a file of its own, of this hash.
    Beside {
        index: u64,
        item: Item,
        hash: [u8; 32],
    },
    /// An item has ended without a result.
    Failed(u64),
    /// The session has ended in order: what is under way was cancelled.
    Closed,
    /// What [`Session`](Self::Session) becomes, in its place, when nothing more can be written: what
    /// began in it is not counted.
    Forgiven,
}

/// What the map is that a journal belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) argument: String,
    pub(crate) result: String,
}

impl Header {
    /// The first difference: what, recorded, now.
    pub(crate) fn difference<'a>(
        &'a self,
        now: &'a Self,
    ) -> Option<(&'static str, &'a str, &'a str)> {
        let pairs = [
            ("function", &self.name, &now.name),
            ("version", &self.version, &now.version),
            ("argument type", &self.argument, &now.argument),
            ("result type", &self.result, &now.result),
        ];
        let mut pairs = pairs.into_iter();
        let (what, recorded, now) = pairs.find(|(_, recorded, now)| recorded != now)?;
        Some((what, recorded, now))
    }
}

/// Appends a record to `out`.
pub(crate) fn push(out: &mut Vec<u8>, record: &Record<'_>) {
    let begin = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; HEAD - 4]);
    let body = postcard::to_extend(record, std::mem::take(out));
    // (Encoding plain data into a vector cannot fail.)
    *out = body.unwrap_or_default();
    let length = out.len() - begin - HEAD;
    let length = (length as u32).to_le_bytes();
    out[begin + 4..begin + 8].copy_from_slice(&length);
    out[begin + 8..begin + HEAD].copy_from_slice(&check_of_length(length));
    let check = blake3::hash(&out[begin..]);
    out.extend_from_slice(&check.as_bytes()[..CHECK]);
}

fn check_of_length(length: [u8; 4]) -> [u8; 4] {
    let hash = blake3::hash(&length);
    hash.as_bytes()[..4].try_into().unwrap_or_default()
}

/// What is at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed<'a> {
    /// A record, so many bytes long.
    Record(Record<'a>, usize),
    /// The beginning of one, or nothing.
    Part,
    /// No record. The next one cannot begin before this many bytes.
    Damage(usize),
}

pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let marked = bytes.len().min(MARK.len());
    if bytes[..marked] != MARK[..marked] {
        return Parsed::Damage(1);
    }
    let Some(head) = bytes.get(4..HEAD) else {
        return Parsed::Part;
    };
    let length: [u8; 4] = head[..4].try_into().unwrap_or_default();
    if check_of_length(length) != head[4..] {
        return Parsed::Damage(1);
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Parsed::Damage(1);
    }
    let whole = HEAD + length + CHECK;
    let Some(bytes) = bytes.get(..whole) else {
        return Parsed::Part;
    };
    let (covered, check) = bytes.split_at(HEAD + length);
    if blake3::hash(covered).as_bytes()[..CHECK] != *check {
        return Parsed::Damage(whole);
    }
    match postcard::from_bytes(&covered[HEAD..]) {
        Ok(record) => Parsed::Record(record, whole),
        Err(_) => Parsed::Damage(whole),
    }
}

/// Whether there is a whole record anywhere in `bytes`.
pub(crate) fn has_record(bytes: &[u8]) -> bool {
    let starts = bytes.windows(MARK.len()).enumerate();
    let mut starts = starts.filter(|(_, four)| **four == MARK);
    starts.any(|(at, _)| matches!(parse(&bytes[at..]), Parsed::Record(..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_are_read() {
        let mut bytes = Vec::new();
        let result = &[1, 2, 3][..];
        let record = Record::Done {
            index: 7,
            item: [9; 16],
            result,
        };
        push(&mut bytes, &record);
        let whole = bytes.len();
        push(&mut bytes, &Record::Begun(vec![1, 2]));
        assert_eq!(parse(&bytes), Parsed::Record(record, whole));
        for length in 0..whole {
            assert_eq!(parse(&bytes[..length]), Parsed::Part, "{length}");
        }
        for at in 0..whole {
            let mut damaged = bytes[..whole].to_vec();
            damaged[at] ^= 1;
            assert!(!matches!(parse(&damaged), Parsed::Record(..)), "{at}");
            assert!(!has_record(&damaged[1..]));
            damaged.extend_from_slice(&bytes[whole..]);
            assert!(has_record(&damaged));
        }
    }
}
