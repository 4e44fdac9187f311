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

use std::io::{self, Read};
use std::mem;

use serde::{Deserialize, Serialize};

pub(crate) const FIRST: &[u8] = b"trefoil journal 1\n";

const MARK: [u8; 4] = *b"\xf7trj";
const HEAD: usize = 12;
const CHECK: usize = 8;

/// How many bytes are read at once.
const BLOCK: usize = 1 << 20;

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
    let body = postcard::to_extend(record, mem::take(out));
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

/// Bytes that are read block by block; what has been looked at is dropped.
#[derive(Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    at: usize,
    is_last: bool,
}

impl Window {
    /// What has been read and not passed.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn pass(&mut self, count: usize) {
        self.at += count;
    }

    /// Reads on. Returns how many bytes have come.
    pub(crate) fn more(&mut self, from: &mut impl Read) -> io::Result<usize> {
        if self.is_last {
            return Ok(0);
        }
        self.bytes.drain(..mem::take(&mut self.at));
        let mut block = from.by_ref().take(BLOCK as u64);
        let count = block.read_to_end(&mut self.bytes)?;
        self.is_last = count == 0;
        Ok(count)
    }

    /// Whether there is a whole record anywhere here, or behind it. No more is in memory than the
    /// longest record has.
    pub(crate) fn has_record(&mut self, from: &mut impl Read) -> io::Result<bool> {
        loop {
            let rest = self.rest();
            let marks = rest.windows(MARK.len());
            let mark = marks.enumerate().find(|(_, four)| **four == MARK);
            // (A mark may be cut where the bytes end.)
            let begin = mark.map_or(rest.len().saturating_sub(MARK.len() - 1), |(at, _)| at);
            let parsed = mark.map_or(Parsed::Part, |_| parse(&rest[begin..]));
            let passed = match parsed {
                Parsed::Record(..) => return Ok(true),
                Parsed::Damage(at_least) => begin + at_least,
                Parsed::Part => {
                    let is_cut = mark.is_none();
                    self.pass(begin);
                    if self.more(from)? > 0 {
                        continue;
                    }
                    if is_cut {
                        return Ok(false);
                    }
                    1
                }
            };
            self.pass(passed);
        }
    }
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

    fn has_record(mut bytes: &[u8]) -> bool {
        Window::default().has_record(&mut bytes).unwrap()
    }

    /// A file that is no journal any more may be long: it is looked through, and not kept.
    #[test]
    fn damage_takes_little_memory() {
        let mut record = Vec::new();
        push(&mut record, &Record::Closed);
        let lone_marks = MARK.repeat(1 << 10);
        let mut longest = Vec::new();
        push(&mut longest, &Record::Session);
        longest[4..8].copy_from_slice(&(LONGEST as u32).to_le_bytes());
        let check = check_of_length((LONGEST as u32).to_le_bytes());
        longest[8..HEAD].copy_from_slice(&check);
        let all = [
            (vec![0; 1 << 10], 8 * BLOCK, 4 * BLOCK),
            (lone_marks, 8 * BLOCK, 4 * BLOCK),
            (longest, 3 * LONGEST, 2 * (LONGEST + 2 * BLOCK)),
        ];
        for (part, length, most) in all {
            for last in [&[][..], &record, &record[1..]] {
                let mut from = Blocks(part.clone(), length / part.len(), 0).chain(last);
                let mut window = Window::default();
                let found = window.has_record(&mut from).unwrap();
                assert_eq!(found, last == record);
                let room = window.bytes.capacity();
                assert!(room <= most, "{room} bytes, of {length}");
            }
        }
    }

    /// So many times these bytes, of which some have been read.
    struct Blocks(Vec<u8>, usize, usize);

    impl Read for Blocks {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.1 == 0 {
                return Ok(0);
            }
            let count = to.len().min(self.0.len() - self.2);
            to[..count].copy_from_slice(&self.0[self.2..self.2 + count]);
            self.2 += count;
            if self.2 == self.0.len() {
                (self.1, self.2) = (self.1 - 1, 0);
            }
            Ok(count)
        }
    }
}
