//! Packs: files of small entries.
//!
//! ```text
//! MAGIC (8) · number of slots (4) · its complement (4) · slots (8 each) · nodes
//! node:  next (8) · used (8) · an entry (`entry`)
//! ```
//!
//! A pack is a hash table in a file. The mark of an entry chooses a slot. A slot has the offset of
//! a node, and `next` that of the next node in the list of this slot; 0 ends it. So an entry is
//! found in three or four reads, however many there are, and nothing of it is kept in memory.
//! `used` is when the entry was last used, in ns since 1970. Numbers are little-endian.
//!
//! **Protocol.** There is one writer at a time, who has locked the file; the lock ends with its
//! program. Readers hold none.
//!
//! 1. A node is written behind the others.
//! 2. Then the one number is written that leads to it: the slot, or the number that led to the node
//!    with this mark, whose place it takes.
//!
//! A node is removed by one number, too: what led to it leads to the next. Where no number leads,
//! bytes mean nothing. They are left by what was replaced, removed, or cut short when its writer
//! died, and they go when the pack is written anew: under another name, and renamed. This happens
//! when it is full, and gives it as many slots as it needs by then. Whoever gets the lock of a file
//! that has been replaced or removed opens the new one. An empty file is a pack without entries:
//! its first writer has locked it, and writes it anew.
//!
//! **Damage.** An entry has its own check. A number that leads to no entry ends its list. Both are
//! misses, and the next writer leads past them.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::entry;
use crate::key::Key;
use crate::regular::{self, Written, read_at, write_at};

/// Longer entries have files of their own.
pub(crate) const SMALL: usize = 1024;

const MAGIC: [u8; 8] = *b"trefoilp";
const HEAD: u64 = 16;
const SLOT: u64 = 8;

/// What stands before the entry of a node.
const NODE: usize = 16;

/// The fewest slots of a pack.
const FEWEST: u64 = 64;

/// A pack is full when it has more bytes of nodes than this for each slot: a node or two.
const FULL: u64 = 256;

/// How many bytes of nodes a pack has for each slot when it is written anew: so many, or down to
/// half as many. (So it is written anew when it is two to four times as long.)
const SPARSE: u64 = 128;

/// How much longer a pack may be than a full one: its writers may have had no locks.
const LOCKLESS: u64 = 1 << 24;

/// Only damage makes longer lists.
const LONGEST: usize = 1_000;

/// How long a lock is waited for that another writer has. (The system waits for a lock without an
/// end, and a program may be stopped while it has one; so it is tried again after pauses.)
///
/// An entry that is not put here gets a file of its own, so there is no reason to wait for long.
const TO_PUT: Duration = Duration::from_millis(10);

/// What is not removed is an error, so this is long enough for a large pack to be written anew, and
/// for a busy machine to let its writer run.
const TO_REMOVE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_micros(100);

/// How many bytes a new pack has, of one entry of this length, and what such an entry adds to a
/// pack.
pub(crate) fn lengths(entry: usize) -> (u64, u64) {
    let node = (NODE + entry) as u64;
    (HEAD + FEWEST * SLOT + node, node)
}

/// A pack whose entries can be found.
struct Pack<'a> {
    file: &'a File,
    slots: u64,
}

/// The file of a pack, locked.
struct Locked {
    file: File,
    length: u64,
}

/// A number that leads to a node.
#[derive(Clone, Copy)]
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

impl<'a> Pack<'a> {
    /// `NotFound`: the file is empty.
    fn new(file: &'a File) -> io::Result<Self> {
        let mut head = [0; HEAD as usize];
        if read_at(file, &mut head, 0)? == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        let slots = slots_in(&head).ok_or_else(damaged)?;
        Ok(Self { file, slots })
    }

    fn number(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        read_at(self.file, &mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn slot(&self, mark: &Key) -> io::Result<Link> {
        let at = HEAD + slot_of(mark, self.slots) * SLOT;
        let offset = self.number(at)?;
        Ok(Link { at, offset })
    }

    /// The node with this mark, which is left in `buffer`, and what leads to it; or else what leads
    /// to the first node of its list.
    fn find(&self, mark: &Key, buffer: &mut Buffer) -> io::Result<(Link, Option<Node>)> {
        let slot = self.slot(mark)?;
        let mut link = slot;
        for _ in 0..LONGEST {
            if link.offset == 0 {
                return Ok((slot, None));
            }
            let length = read_at(self.file, buffer, link.offset)?;
            let node = Node::parse(&buffer[..length]).ok_or_else(damaged)?;
            if node.mark == *mark {
                return Ok((link, Some(node)));
            }
            link = Link {
                at: link.offset,
                offset: node.next,
            };
        }
        Err(damaged())
    }

    /// Writes an entry at `end`, and leads to it in the place of one with the same mark.
    fn put(&self, mark: &Key, entry: &[u8], end: u64) -> io::Result<()> {
        let (link, replaced) = match self.find(mark, &mut [0; NODE + SMALL]) {
            Err(error) if error.kind() == ErrorKind::InvalidData => (self.slot(mark)?, None),
            found => found?,
        };
        let next = replaced.map_or(link.offset, |node| node.next);
        let mut node = Vec::with_capacity(NODE + entry.len());
        push(&mut node, next, entry::now(), entry);
        if let Err(error) = write_at(self.file, &node, end) {
            // (If that fails, too, nothing leads to what was written.)
            let _ = self.file.set_len(end);
            return Err(error);
        }
        write_at(self.file, &end.to_le_bytes(), link.at)
    }
}

impl Locked {
    /// Locks a pack, to write to it. `WouldBlock`: another writer has had it all the time.
    fn new(path: &Path, create: bool, patience: Duration) -> io::Result<Self> {
        if cfg!(not(unix)) {
            // (Windows lets nobody read what is locked.)
            return Err(ErrorKind::Unsupported.into());
        }
        let begin = Instant::now();
        let mut options = File::options();
        options.read(true).write(true).create(create);
        loop {
            let file = regular::open_own(path, &mut options)?;
            match file.try_lock() {
                Ok(()) => {
                    let about = regular::about(&file)?;
                    let length = about.len();
                    let locked = Self { file, length };
                    if is_at(path, &about) {
                        return Ok(locked);
                    }
                }
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {}
            }
            if begin.elapsed() > patience {
                return Err(ErrorKind::WouldBlock.into());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Whether a node of this length fits into a pack of so many slots.
    fn has_room(&self, slots: u64, node: u64) -> bool {
        self.length >= HEAD + slots * SLOT && self.length + node <= HEAD + slots * (SLOT + FULL)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let bytes = bytes(&self.file, self.length)?;
        if bytes.len() as u64 == self.length {
            Ok(bytes)
        } else {
            Err(ErrorKind::UnexpectedEof.into())
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // (To close the file is not enough: a process that is just being started has it, too.)
        let _ = self.file.unlock();
    }
}

/// Whether this file is still at this path. (The number of its names does not say it: over NFS, a
/// file that is replaced while it is open gets another name.)
fn is_at(path: &Path, file: &Metadata) -> bool {
    let now = fs::symlink_metadata(path);
    #[cfg(unix)]
    return now.is_ok_and(|now| (now.dev(), now.ino()) == (file.dev(), file.ino()));
    #[cfg(not(unix))]
    return now.is_ok() && file.is_file();
}

/// Reads a pack. A file that is far too long for its slots is none: it is damaged.
fn bytes(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let slots = Pack::new(file)?.slots;
    if length > HEAD + slots * (SLOT + FULL) + LOCKLESS {
        return Err(damaged());
    }
    let mut bytes = regular::reserved(length)?;
    bytes.resize(length as usize, 0);
    let length = read_at(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
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
    let most = bytes.len() as u64 / SLOT;
    for slot in 0..slots_in(bytes).unwrap_or(0).min(most) {
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
    regular::replace(path, temporary, &out, Written::ToTheSystem)?;
    Ok(out.len() as u64)
}

/// The entry with this mark, and when it was last used. An error of the kind `InvalidData`: the
/// pack is damaged where it would be.
pub(crate) fn read(path: &Path, mark: &Key) -> io::Result<Option<(Vec<u8>, u64)>> {
    let file = regular::open_any(path, File::options().read(true))?;
    let mut buffer = [0; NODE + SMALL];
    let (_, node) = Pack::new(&file)?.find(mark, &mut buffer)?;
    Ok(node.map(|node| (buffer[NODE..NODE + node.length].to_vec(), node.used)))
}

/// Writes when an entry was last used. There is no lock: if the pack is written anew meanwhile,
/// this is lost.
pub(crate) fn stamp(path: &Path, mark: &Key) -> io::Result<()> {
    let file = regular::open_own(path, File::options().read(true).write(true))?;
    match Pack::new(&file)?.find(mark, &mut [0; NODE + SMALL])? {
        (Link { offset, .. }, Some(_)) => write_at(&file, &entry::now().to_le_bytes(), offset + 8),
        (_, None) => Ok(()),
    }
}

/// Adds an entry, or replaces the one with its mark. Returns the length of the file before and
/// after that.
pub(crate) fn put(
    path: &Path,
    temporary: &Path,
    mark: &Key,
    entry: &[u8],
) -> io::Result<(u64, u64)> {
    let locked = match Locked::new(path, true, TO_PUT) {
        // (Something else is in its place.)
        Err(_) if fs::symlink_metadata(path).is_ok_and(|about| !about.is_file()) => None,
        locked => Some(locked?),
    };
    let (mut all, mut before) = (Vec::new(), 0);
    if let Some(locked) = &locked {
        before = locked.length;
        let node = (NODE + entry.len()) as u64;
        let read = match Pack::new(&locked.file) {
            Ok(pack) if locked.has_room(pack.slots, node) => {
                pack.put(mark, entry, before)?;
                return Ok((before, before + node));
            }
            Ok(_) => locked.bytes(),
            Err(error) => Err(error),
        };
        match read {
            Ok(bytes) => all = bytes,
            // (An empty or a damaged one.)
            Err(error) if [ErrorKind::NotFound, ErrorKind::InvalidData].contains(&error.kind()) => {
            }
            Err(error) => return Err(error),
        }
    }
    let mut nodes = nodes(&all);
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

/// Removes the entry with this mark. Returns whether it was there.
pub(crate) fn remove(path: &Path, mark: &Key) -> io::Result<bool> {
    let Locked { file, .. } = &Locked::new(path, false, TO_REMOVE)?;
    match Pack::new(file)?.find(mark, &mut [0; NODE + SMALL])? {
        (link, Some(node)) => write_at(file, &node.next.to_le_bytes(), link.at).map(|()| true),
        (_, None) => Ok(false),
    }
}

/// Writes the pack anew without these entries. Returns the length of the file before and after
/// that.
pub(crate) fn shrink(
    path: &Path,
    temporary: &Path,
    without: &HashSet<Key>,
) -> io::Result<(u64, u64)> {
    let locked = Locked::new(path, false, TO_PUT)?;
    let bytes = locked.bytes()?;
    let mut nodes = nodes(&bytes);
    nodes.retain(|(node, _)| !without.contains(&node.mark));
    let after = if nodes.is_empty() {
        fs::remove_file(path).map(|()| 0)?
    } else {
        write_new(path, temporary, &nodes)?
    };
    Ok((locked.length, after))
}

/// Removes the pack, and waits for one who is writing it anew.
pub(crate) fn clear(path: &Path) -> io::Result<()> {
    let _locked = match Locked::new(path, false, TO_REMOVE) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
        locked => locked, // without locks nobody writes
    };
    fs::remove_file(path)
}

/// What a pack has in it.
pub(crate) struct Contents {
    /// Of each entry its mark, when it was last used, and how many bytes it takes.
    pub(crate) nodes: Vec<(Key, u64, u64)>,
    /// How many bytes of the file mean something, and how many mean nothing.
    pub(crate) live: u64,
    pub(crate) waste: u64,
}

pub(crate) fn list(path: &Path) -> io::Result<Contents> {
    let (file, about) = regular::open(path, File::options().read(true))?;
    let slots = Pack::new(&file)?.slots;
    let bytes = bytes(&file, about.len())?;
    let nodes: Vec<_> = nodes(&bytes)
        .into_iter()
        .map(|(node, entry)| (node.mark, node.used, (NODE + entry.len()) as u64))
        .collect();
    let entries: u64 = nodes.iter().map(|(_, _, length)| length).sum();
    let live = about.len().min(HEAD + slots * SLOT + entries);
    let waste = about.len() - live;
    Ok(Contents { nodes, live, waste })
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
        let slots = Pack::new(&File::open(&test.path).unwrap()).unwrap().slots;
        assert!(slots >= 5_000 / 2, "{slots}");
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

    /// A long file that is no pack is not read, and the next writer replaces it.
    #[test]
    fn a_file_that_is_too_long_is_damage() {
        let test = Test::new("long");
        (0..20).for_each(|n| test.put(n, &[n as u8; 10]));
        let file = File::options().write(true).open(&test.path).unwrap();
        file.set_len(1 << 42).unwrap(); // (it takes no room on the disk)
        let error = list(&test.path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let locked = Locked::new(&test.path, false, TO_PUT).unwrap();
        assert!(locked.bytes().is_err());
        drop(locked);
        assert_eq!(test.get(7).unwrap(), [7; 10]);
        test.put(7, b"new");
        assert_eq!(test.get(7).unwrap(), b"new");
        assert!(fs::metadata(&test.path).unwrap().len() < 1 << 20);
    }

    /// Numbers that lead in a circle are damage, too.
    #[test]
    fn circles_end() {
        let test = Test::new("circles");
        (0..40).for_each(|n| test.put(n, &[n as u8; 10]));
        let whole = fs::read(&test.path).unwrap();
        let file = File::open(&test.path).unwrap();
        for n in 0..40 {
            let pack = Pack::new(&file).unwrap();
            let (link, _) = pack.find(&mark(n), &mut [0; NODE + SMALL]).unwrap();
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

    /// Many threads at once: nothing is lost, though the pack is written anew again and again.
    #[test]
    fn writers_take_turns() {
        let test = Test::new("turns");
        thread::scope(|scope| {
            for thread in 0..4u64 {
                let test = &test;
                scope.spawn(move || {
                    let temporary = test.folder.join(format!("tmp-{thread}"));
                    for n in (thread..2_000).step_by(4) {
                        let entry = entry_of(n, &result(n));
                        while let Err(error) = put(&test.path, &temporary, &mark(n), &entry) {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        }
                        assert_eq!(test.get(n), Some(result(n)));
                    }
                });
            }
        });
        assert!((0..2_000).all(|n| test.get(n) == Some(result(n))));
    }

    /// Where locks do nothing, as over NFS without them: results are lost, and none is wrong.
    #[test]
    fn writers_without_a_lock_lose_results_and_no_more() {
        let test = Test::new("lockless");
        (0..40).for_each(|n| test.put(n, &result(n)));
        thread::scope(|scope| {
            for thread in 0..4u64 {
                let test = &test;
                scope.spawn(move || {
                    let mut options = File::options();
                    let file = options.read(true).write(true).open(&test.path).unwrap();
                    for n in 0..1_000 {
                        let n = (n * 31 + thread * 7) % 500;
                        let end = file.metadata().unwrap().len();
                        let pack = Pack::new(&file).unwrap();
                        pack.put(&mark(n), &entry_of(n, &result(n)), end).unwrap();
                        assert!(test.get(n).is_none_or(|found| found == result(n)));
                    }
                });
            }
        });
        test.put(1_000, b"alone");
        assert_eq!(test.get(1_000).unwrap(), b"alone");
        let found: Vec<u64> = (0..500).filter(|n| test.get(*n).is_some()).collect();
        assert!(found.iter().all(|n| test.get(*n).unwrap() == result(*n)));
        assert!(found.len() > 10, "not all are lost");
    }
}
