//! Packs: files of small entries.
//!
//! ```text
//! MAGIC (8) · number of slots (4) · its complement (4) · slots (8 each) · nodes
//! node:  next (8) · used (8) · an entry (`entry`)
//! ```
//!
//! A pack is a hash table in a file. The mark of an entry chooses a slot. A slot has the offset of
//! a node, and `next` that of the next node in the list of this slot; 0 ends it. So an entry is
//! found in two or three reads, however many there are, and nothing of it is kept in memory. `used`
//! is when the entry was last used, in ns since 1970. Numbers are little-endian.
//!
//! **Protocol.** There is one writer at a time, who holds a lock (`store`). Readers hold none.
//!
//! 1. A node is written behind the others.
//! 2. Then the one number is written that leads to it: the slot, or the number that led to the node
//!    with this mark, whose place it takes.
//!
//! A node is removed by one number, too: what led to it leads to the next. Where no number leads,
//! bytes mean nothing. They are left by what was replaced, removed, or cut short when its writer
//! died, and they go when the pack is written anew: under another name, and renamed. This happens
//! when it is full, and gives it as many slots as it needs by then.
//!
//! **Damage.** An entry has its own check. A number that leads to no entry ends its list. Both are
//! misses, and the next writer leads past them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::entry;
use crate::key::Key;
use crate::regular::{self, read_at, write_at};

/// Longer entries have files of their own.
pub(crate) const SMALL: usize = 1024;

const MAGIC: [u8; 8] = *b"trefoilp";
const HEAD: u64 = 16;
const SLOT: u64 = 8;

/// What stands before the entry of a node.
const NODE: usize = 16;

/// The fewest slots of a pack.
const FEWEST: u64 = 16;

/// A pack is full when it has more bytes of nodes than this for each slot.
const FULL: u64 = 1024;

/// How many bytes of nodes a pack has for each slot when it is written anew: so many, or down to
/// half as many. (So it is written anew when it is two to four times as long.)
const SPARSE: u64 = 512;

/// Only damage makes longer lists.
const LONGEST: usize = 1_000;

/// How many bytes a new pack has, of one entry of this length, and what such an entry adds to a
/// pack.
pub(crate) fn lengths(entry: usize) -> (u64, u64) {
    let node = (NODE + entry) as u64;
    (HEAD + FEWEST * SLOT + node, node)
}

/// A pack that is open.
struct Pack {
    file: File,
    slots: u64,
    length: u64,
}

/// A number that leads to a node.
struct Link {
    /// Where the number is.
    at: u64,
    offset: u64,
}

/// What is read of a node at once.
type Buffer = [u8; NODE + SMALL];

struct Node {
    next: u64,
    used: u64,
    mark: Key,
    /// Of its entry.
    length: usize,
}

impl Node {
    /// The node at the beginning of these bytes.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(NODE)?;
        let (mark, length) = entry::look(rest)?;
        (length <= SMALL).then_some(Self {
            next: number(head, 0),
            used: number(head, 8),
            mark,
            length,
        })
    }
}

/// The number at this place; 0 if it is not there.
fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + 8).unwrap_or_default();
    u64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a pack of small results is damaged")
}

/// The number of slots that the beginning of a pack gives.
fn slots_in(head: &[u8]) -> Option<u64> {
    let four = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (slots, complement) = (four(8)?, four(12)?);
    (head[..8] == MAGIC && slots == !complement && slots.is_power_of_two()).then(|| slots.into())
}

/// Which of the slots an entry with this mark belongs to.
fn slot_of(mark: &Key, slots: u64) -> u64 {
    number(&mark.0, 0) & (slots - 1)
}

impl Pack {
    fn open(path: &Path) -> io::Result<Self> {
        Self::new(regular::open(path, File::options().read(true))?)
    }

    fn open_to_write(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        Self::new(regular::open_own(path, options.read(true).write(true))?)
    }

    fn new((file, about): (File, fs::Metadata)) -> io::Result<Self> {
        let mut head = [0; HEAD as usize];
        read_at(&file, &mut head, 0)?;
        let (slots, length) = (slots_in(&head).ok_or_else(damaged)?, about.len());
        if length < HEAD + slots * SLOT {
            return Err(damaged());
        }
        Ok(Self {
            file,
            slots,
            length,
        })
    }

    /// Whether a node of this length makes it full.
    fn has_room(&self, node: u64) -> bool {
        self.length + node <= HEAD + self.slots * (SLOT + FULL)
    }

    fn number(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        read_at(&self.file, &mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn slot(&self, mark: &Key) -> io::Result<Link> {
        let at = HEAD + slot_of(mark, self.slots) * SLOT;
        let offset = self.number(at)?;
        Ok(Link { at, offset })
    }

    /// The node with this mark, which is left in `buffer`, and the place that leads to it.
    fn find(&self, mark: &Key, buffer: &mut Buffer) -> io::Result<Option<(Link, Node)>> {
        let mut link = self.slot(mark)?;
        for _ in 0..LONGEST {
            if link.offset == 0 {
                return Ok(None);
            }
            let length = read_at(&self.file, buffer, link.offset)?;
            let node = Node::parse(&buffer[..length]).ok_or_else(damaged)?;
            if node.mark == *mark {
                return Ok(Some((link, node)));
            }
            link = Link {
                at: link.offset,
                offset: node.next,
            };
        }
        Err(damaged())
    }

    /// Adds an entry, in the place of one with the same mark.
    fn put(&self, mark: &Key, entry: &[u8]) -> io::Result<()> {
        let found = match self.find(mark, &mut [0; NODE + SMALL]) {
            Err(error) if error.kind() == ErrorKind::InvalidData => None,
            found => found?,
        };
        let (link, next) = match found {
            Some((link, node)) => (link, node.next),
            None => {
                let link = self.slot(mark)?;
                let next = link.offset;
                (link, next)
            }
        };
        let mut node = Vec::with_capacity(NODE + entry.len());
        push(&mut node, next, entry::now(), entry);
        if let Err(error) = write_at(&self.file, &node, self.length) {
            // (If that fails, too, nothing leads to what was written.)
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        write_at(&self.file, &self.length.to_le_bytes(), link.at)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = regular::reserved(self.length)?;
        bytes.resize(self.length as usize, 0);
        let length = read_at(&self.file, &mut bytes, 0)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn push(out: &mut Vec<u8>, next: u64, used: u64, entry: &[u8]) {
    out.extend_from_slice(&next.to_le_bytes());
    out.extend_from_slice(&used.to_le_bytes());
    out.extend_from_slice(entry);
}

/// All nodes of a pack, each with its entry.
fn nodes(bytes: &[u8]) -> Vec<(Node, &[u8])> {
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    for slot in 0..slots_in(bytes).unwrap_or(0) {
        let mut offset = number(bytes, (HEAD + slot * SLOT) as usize) as usize;
        while offset != 0
            && let Some(bytes) = bytes.get(offset..)
            && let Some(node) = Node::parse(bytes)
            && let Some(entry) = bytes.get(NODE..NODE + node.length)
            && seen.insert(node.mark)
        {
            offset = node.next as usize;
            all.push((node, entry));
        }
    }
    all
}

/// Writes a pack with these entries under a temporary name, and renames it. Returns its length.
fn write_new(path: &Path, temporary: &Path, nodes: &[(Node, &[u8])]) -> io::Result<u64> {
    let length: usize = nodes.iter().map(|(_, entry)| NODE + entry.len()).sum();
    let slots = (length as u64 / SPARSE)
        .next_power_of_two()
        .clamp(FEWEST, 1 << 31);
    let begin = (HEAD + slots * SLOT) as usize;
    let mut out = Vec::with_capacity(begin + length);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(slots as u32).to_le_bytes());
    out.extend_from_slice(&(!(slots as u32)).to_le_bytes());
    out.resize(begin, 0);
    for (node, entry) in nodes {
        let slot = (HEAD + slot_of(&node.mark, slots) * SLOT) as usize;
        let (next, offset) = (number(&out, slot), out.len() as u64);
        out[slot..slot + 8].copy_from_slice(&offset.to_le_bytes());
        push(&mut out, next, node.used, entry);
    }
    regular::replace(path, temporary, &out)?;
    Ok(out.len() as u64)
}

/// The entry with this mark, and when it was last used. An error of the kind `InvalidData`: the
/// pack is damaged where it would be.
pub(crate) fn read(path: &Path, mark: &Key) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut buffer = [0; NODE + SMALL];
    let found = Pack::open(path)?.find(mark, &mut buffer)?;
    Ok(found.map(|(_, node)| (buffer[NODE..NODE + node.length].to_vec(), node.used)))
}

/// Writes when an entry was last used. The caller need not hold the lock: if the pack is written
/// anew meanwhile, this is lost.
pub(crate) fn stamp(path: &Path, mark: &Key) -> io::Result<()> {
    let pack = Pack::open_to_write(path)?;
    match pack.find(mark, &mut [0; NODE + SMALL])? {
        Some((Link { offset, .. }, _)) => {
            write_at(&pack.file, &entry::now().to_le_bytes(), offset + 8)
        }
        None => Ok(()),
    }
}

/// Adds an entry, or replaces the one with its mark, for the one who holds the lock. Returns the
/// length of the file before and after that.
pub(crate) fn put(
    path: &Path,
    temporary: &Path,
    mark: &Key,
    entry: &[u8],
) -> io::Result<(u64, u64)> {
    let more = (NODE + entry.len()) as u64;
    let (bytes, before) = match Pack::open_to_write(path) {
        Ok(pack) if pack.has_room(more) => {
            pack.put(mark, entry)?;
            return Ok((pack.length, pack.length + more));
        }
        Ok(full) => (full.bytes()?, full.length),
        Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), 0),
        Err(error) if is_replaceable(path, &error) => (Vec::new(), 0),
        Err(error) => return Err(error),
    };
    let mut nodes = nodes(&bytes);
    nodes.retain(|(node, _)| node.mark != *mark);
    let new = Node {
        next: 0,
        used: entry::now(),
        mark: *mark,
        length: entry.len(),
    };
    nodes.push((new, entry));
    Ok((before, write_new(path, temporary, &nodes)?))
}

/// Whether a pack that cannot be opened is damaged, or something else is in its place.
fn is_replaceable(path: &Path, error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidData
        || fs::symlink_metadata(path).is_ok_and(|about| !about.is_file())
}

/// Removes the entry with this mark, for the one who holds the lock. Returns whether it was there.
pub(crate) fn remove(path: &Path, mark: &Key) -> io::Result<bool> {
    let pack = Pack::open_to_write(path)?;
    match pack.find(mark, &mut [0; NODE + SMALL])? {
        Some((link, node)) => {
            write_at(&pack.file, &node.next.to_le_bytes(), link.at).map(|()| true)
        }
        None => Ok(false),
    }
}

/// Writes the pack anew without these entries, for the one who holds the lock. Returns the length
/// of the file before and after that.
pub(crate) fn shrink(
    path: &Path,
    temporary: &Path,
    without: &HashSet<Key>,
) -> io::Result<(u64, u64)> {
    let pack = Pack::open(path)?;
    let bytes = pack.bytes()?;
    let mut nodes = nodes(&bytes);
    nodes.retain(|(node, _)| !without.contains(&node.mark));
    let after = match nodes.is_empty() {
        true => fs::remove_file(path).map(|()| 0)?,
        false => write_new(path, temporary, &nodes)?,
    };
    Ok((pack.length, after))
}

/// What a pack has in it.
pub(crate) struct Contents {
    /// Of each entry its mark, when it was last used, and how many bytes it takes.
    pub(crate) nodes: Vec<(Key, u64, u64)>,
    /// How many bytes mean nothing.
    pub(crate) waste: u64,
}

pub(crate) fn list(path: &Path) -> io::Result<Contents> {
    let pack = Pack::open(path)?;
    let bytes = pack.bytes()?;
    let nodes: Vec<_> = nodes(&bytes)
        .into_iter()
        .map(|(node, entry)| (node.mark, node.used, (NODE + entry.len()) as u64))
        .collect();
    let live: u64 = nodes.iter().map(|(_, _, length)| length).sum();
    let table = HEAD + pack.slots * SLOT;
    let waste = pack.length.saturating_sub(table + live);
    Ok(Contents { nodes, waste })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hash_of;
    use std::path::PathBuf;

    /// A pack of one test, removed at its end.
    struct Test {
        folder: PathBuf,
        path: PathBuf,
        temporary: PathBuf,
    }

    impl Test {
        fn new(name: &str) -> Self {
            let name = format!("trefoil-pack-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self {
                path: folder.join("pack"),
                temporary: folder.join("tmp-1"),
                folder,
            }
        }

        fn put(&self, n: u64, result: &[u8]) {
            let entry = entry_of(n, result);
            put(&self.path, &self.temporary, &mark(n), &entry).unwrap();
        }

        /// The result, if the pack has it whole.
        fn get(&self, n: u64) -> Option<Vec<u8>> {
            let (bytes, _) = read(&self.path, &mark(n)).ok()??;
            entry::parse(&bytes, &mark(n))?;
            Some(entry::result_in(&bytes).to_vec())
        }

        fn remove(&self, n: u64) -> bool {
            remove(&self.path, &mark(n)).unwrap()
        }
    }

    impl Drop for Test {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn mark(n: u64) -> Key {
        hash_of(&[&n.to_le_bytes()])
    }

    fn entry_of(n: u64, result: &[u8]) -> Vec<u8> {
        let mut bytes = entry::begin(&mark(n), &entry::Meta::new(Default::default()));
        bytes.extend_from_slice(result);
        entry::finish(&mut bytes);
        bytes
    }

    fn result(n: u64) -> Vec<u8> {
        vec![n as u8; n as usize * 7_919 % 900]
    }

    #[test]
    fn it_has_what_was_put_last() {
        let test = Test::new("all");
        for n in 0..2_000 {
            test.put(n, &result(n));
        }
        assert!((0..2_000).all(|n| test.get(n) == Some(result(n))));
        assert_eq!(test.get(2_000), None);
        let length = || fs::metadata(&test.path).unwrap().len();
        let live = length() - list(&test.path).unwrap().waste;
        for n in 0..20_000 {
            test.put(n % 10, &result(n));
        }
        assert!(length() < 5 * live, "what was replaced goes");
        assert!((0..10).all(|n| test.get(n) == Some(result(19_990 + n))));
        assert!((10..2_000).all(|n| test.get(n) == Some(result(n))));
        assert!((0..1_000).all(|n| test.remove(2 * n) && !test.remove(2 * n)));
        assert!((11..2_000).all(|n| test.get(n).is_some() == (n % 2 == 1)));
        let contents = list(&test.path).unwrap();
        assert_eq!(contents.nodes.len(), 1_000);
        assert!(contents.waste > 100_000);
        let without: HashSet<Key> = (0..500).map(mark).collect();
        let (before, after) = shrink(&test.path, &test.temporary, &without).unwrap();
        assert!(before > after && after == length());
        assert_eq!(list(&test.path).unwrap().waste, 0);
        assert!((11..2_000).all(|n| test.get(n).is_some() == (n % 2 == 1 && n >= 500)));
        let all: HashSet<Key> = (0..2_000).map(mark).collect();
        shrink(&test.path, &test.temporary, &all).unwrap();
        assert!(!test.path.exists());
    }

    /// Lists are short, and an entry is stamped where it is.
    #[test]
    fn stamps_and_lists() {
        let test = Test::new("stamps");
        (0..5_000).for_each(|n| test.put(n, &[7; 50]));
        let pack = Pack::open(&test.path).unwrap();
        assert!(pack.slots >= 5_000 / 8, "{}", pack.slots);
        let before = entry::now();
        stamp(&test.path, &mark(77)).unwrap();
        for (key, used, _) in list(&test.path).unwrap().nodes {
            assert_eq!(used >= before, key == mark(77));
        }
    }

    /// A pack that was cut or damaged anywhere has right results or none, and takes new ones.
    #[test]
    fn whatever_the_damage() {
        let test = Test::new("damage");
        // (More than slots, so that there are lists.)
        (0..20).for_each(|n| test.put(n, &[n as u8; 10]));
        let whole = fs::read(&test.path).unwrap();
        let (mut right, mut rounds) = (0, 0);
        let mut check = |bytes: &[u8]| {
            fs::write(&test.path, bytes).unwrap();
            for n in 0..20 {
                match test.get(n) {
                    None => {}
                    Some(found) => {
                        assert_eq!(found, [n as u8; 10]);
                        right += 1;
                    }
                }
            }
            rounds += 1;
            assert!(list(&test.path).is_ok_and(|all| all.nodes.len() <= 20) || bytes != whole);
            test.put(rounds % 20, b"new");
            test.put(50, b"other");
            assert_eq!(test.get(rounds % 20).unwrap(), b"new");
            assert_eq!(test.get(50).unwrap(), b"other");
            let _ = remove(&test.path, &mark(3));
            assert_eq!(test.get(3), None);
        };
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            check(&damaged);
            if at % 3 == 0 {
                check(&whole[..at]);
                damaged.truncate(at);
                damaged.resize(whole.len(), 0);
                check(&damaged);
            }
        }
        assert!(right > rounds * 7, "most are still there");
    }

    /// Numbers that lead in a circle are damage, too.
    #[test]
    fn circles_end() {
        let test = Test::new("circles");
        (0..40).for_each(|n| test.put(n, &[n as u8; 10]));
        let whole = fs::read(&test.path).unwrap();
        let pack = Pack::open(&test.path).unwrap();
        for n in 0..40 {
            let (link, _) = pack
                .find(&mark(n), &mut [0; NODE + SMALL])
                .unwrap()
                .unwrap();
            let mut damaged = whole.clone();
            let at = link.offset as usize;
            damaged[at..at + 8].copy_from_slice(&link.offset.to_le_bytes());
            fs::write(&test.path, damaged).unwrap();
            assert!((0..40).all(|n| test.get(n).is_none_or(|found| found == [n as u8; 10])));
            assert!(list(&test.path).unwrap().nodes.len() <= 40);
            assert_eq!(test.get(1_000), None);
        }
    }

    /// Whatever a writer has done of its two steps when it dies, the pack has the old or the new.
    #[test]
    fn a_writer_that_dies_leaves_the_old_or_the_new() {
        let test = Test::new("dies");
        (0..40).for_each(|n| test.put(n, &[n as u8; 10]));
        let old = fs::read(&test.path).unwrap();
        test.put(7, &[1; 100]);
        let new = fs::read(&test.path).unwrap();
        for length in old.len()..=new.len() {
            fs::write(&test.path, [&old[..], &new[old.len()..length]].concat()).unwrap();
            assert_eq!(test.get(7).unwrap(), [7; 10], "{length}");
            test.put(8, b"behind it");
            assert_eq!(test.get(8).unwrap(), b"behind it", "{length}");
            assert!(
                (9..40).all(|n| test.get(n).unwrap() == [n as u8; 10]),
                "{length}"
            );
        }
    }

    /// Where locks do nothing, as over NFS without them: results are lost, and none is wrong.
    #[test]
    fn writers_without_a_lock_lose_results_and_no_more() {
        let test = Test::new("lockless");
        let all = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (test, all) = (&test, &all);
                scope.spawn(move || {
                    let temporary = test.folder.join(format!("tmp-{thread}"));
                    all.wait();
                    for n in 0..3_000 {
                        let n = (n * 31 + thread * 7) % 500;
                        let entry = entry_of(n, &result(n));
                        put(&test.path, &temporary, &mark(n), &entry).unwrap();
                        assert!(test.get(n).is_none_or(|found| found == result(n)));
                    }
                });
            }
        });
        test.put(1_000, b"alone");
        assert_eq!(test.get(1_000).unwrap(), b"alone");
        let found = (0..500).filter_map(|n| test.get(n).map(|found| found == result(n)));
        assert!(found.clone().all(|is_right| is_right));
        assert!(found.count() > 10, "not all are lost");
    }
}
