//! The files of a cache.
//!
//! ```text
//! folder / FUNCTION-hash / generation / ab / pack         all small entries
//! folder / FUNCTION-hash / generation / ab / cdef…        one larger entry each
//! folder / FUNCTION-hash / generation / about             its version and types, for people
//! ```
//!
//! A *generation* is a version of a function with its two types. Entries are spread over 256
//! folders by the first byte of their key. An entry of its own file is written under a temporary
//! name in its folder, and renamed. `pack` is about the others' file, which is locked to write to
//! it. A writer that does not get the lock, or finds that there are no locks on this file system,
//! gives the entry a file of its own.
//!
//! Nothing is synced: after a loss of power an entry may be torn, which its check finds.
//!
//! Each entry has a stamp of when it was last used, to within an hour: the modification time of
//! its file, or a number in the pack.
//!
//! To make room, the entries that were used longest ago are removed. If there are no more than
//! [`MANY`], a walk through all of them finds these. Otherwise it is done in *slices*: all folders
//! of one first byte, one slice after the other, each down to its share of the limit. Keys are
//! hashes, so a slice is a sample of the whole; a walk through it takes milliseconds, where one
//! through a million entries takes seconds.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::entry::{HEADER, Meta, look, parse, result_in};
use super::flight::Flights;
use super::limit::Limit;
use super::pack::{self, Contents};
use super::walk::{self, Kind, PACK, walk};
use super::{Stats, Trouble};
use crate::key::Key;
use crate::regular::{self, TEMPORARY, Written, random};

/// How exact the time of the last use is.
const STAMP: Duration = Duration::from_secs(3600);

/// The unit in which file systems give room to files.
const BLOCK: u64 = 4096;

/// More entries than this are swept in slices.
const MANY: u64 = 1 << 16;

/// How many slices there are.
const SLICES: u64 = 256;

/// How often folders are made that another program may be removing.
const ATTEMPTS: usize = 10;

/// How many bytes an entry of a pack takes, roughly.
const PACKED: u64 = 256;

/// More bytes than any limit.
const UNKNOWN: u64 = 1 << 62;

pub(crate) type Hook = Box<dyn Fn(&Trouble) + Send + Sync>;

pub(crate) struct Store {
    root: PathBuf,
    limits: Mutex<Limits>,
    hook: Mutex<Option<Arc<Hook>>>,
    /// The last failure has been reported.
    is_reported: AtomicBool,
    /// All bytes of entries, with those that are being written; [`UNKNOWN`] or more, until they
    /// have been counted.
    used: AtomicU64,
    /// What is being written.
    pending: AtomicU64,
    /// Held while entries are removed to make room.
    sweep: Mutex<Sweep>,
    pub(crate) flights: Arc<Flights>,
    /// For temporary names: what no other process has, and a number.
    own: u64,
    next: AtomicU64,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    bytes: Option<u64>,
    age: Option<Duration>,
}

/// How entries are removed to make room.
#[derive(Debug, Default)]
struct Sweep {
    /// There are more than [`MANY`] entries.
    in_slices: bool,
    /// The slice that was swept last.
    slice: u8,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) stored: AtomicU64,
    failed: AtomicU64,
    damaged: AtomicU64,
    evicted: AtomicU64,
}

impl Store {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        if let Err(error) = fs::create_dir_all(root)
            && !root.is_dir()
        {
            return Err(error);
        }
        fs::read_dir(root)?;
        Ok(Self {
            root: std::path::absolute(root)?,
            limits: Mutex::default(),
            hook: Mutex::default(),
            is_reported: AtomicBool::new(false),
            used: AtomicU64::new(UNKNOWN),
            pending: AtomicU64::new(0),
            sweep: Mutex::default(),
            flights: Arc::default(),
            own: random(),
            next: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn set_limit(&self, limit: Limit) {
        let mut limits = self.limits.lock();
        match limit {
            Limit::Bytes(most) => limits.bytes = Some(most),
            Limit::Age(most) => limits.age = Some(most),
        }
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        *self.hook.lock() = Some(Arc::new(hook));
    }

    pub(crate) fn stats(&self) -> Stats {
        let counts = &self.counts;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            hits: count(&counts.hits),
            misses: count(&counts.misses),
            stored: count(&counts.stored),
            failed: count(&counts.failed),
            damaged: count(&counts.damaged),
            evicted: count(&counts.evicted),
        }
    }

    /// Whether the cache's own limit lets an entry be used.
    pub(crate) fn is_fresh(&self, meta: &Meta) -> bool {
        self.limits.lock().age.is_none_or(|most| meta.age() <= most)
    }

    /// Reads an entry whole.
    pub(crate) fn read(&self, place: &Place) -> Found {
        match self.read_packed(place) {
            Found::Nothing => self.read_file(place),
            Found::Damaged(path) => match self.read_file(place) {
                Found::Nothing => Found::Damaged(path),
                found => found,
            },
            whole => whole,
        }
    }

    fn read_packed(&self, place: &Place) -> Found {
        let path = place.pack();
        let bytes = match pack::read(&path, &place.mark) {
            Ok(None) => return Found::Nothing,
            Ok(Some((bytes, used))) => {
                let used = UNIX_EPOCH + Duration::from_nanos(used);
                self.touch(used, || pack::stamp(&path, &place.mark));
                Ok(bytes)
            }
            Err(error) => Err(error),
        };
        self.check(path, bytes, &place.mark)
    }

    fn read_file(&self, place: &Place) -> Found {
        let path = place.file();
        let is_it = |head: &[u8], length| look(head) == Some((place.mark, length));
        let bytes = regular::read(&path, HEADER, is_it).map(|(bytes, about)| {
            let used = about.modified().unwrap_or(UNIX_EPOCH);
            self.touch(used, || {
                // (On Windows, only a file that is open for writing can be stamped.)
                let file = File::options().write(true).open(&path)?;
                file.set_modified(SystemTime::now())
            });
            bytes
        });
        self.check(path, bytes, &place.mark)
    }

    fn check(&self, path: PathBuf, bytes: io::Result<Vec<u8>>, mark: &Key) -> Found {
        match bytes.map(|bytes| (parse(&bytes, mark), bytes)) {
            Ok((Some(meta), bytes)) => return Found::Whole(Whole { meta, bytes, path }),
            // (Over NFS, a file that another machine has just replaced is stale.)
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::StaleNetworkFileHandle]
                    .contains(&error.kind()) =>
            {
                return Found::Nothing;
            }
            Err(error) if error.kind() != ErrorKind::InvalidData => self.report(&path, error),
            _ => _ = self.counts.damaged.fetch_add(1, Ordering::Relaxed),
        }
        Found::Damaged(path)
    }

    /// Stamps an entry that is used now, if there is a limit and its stamp is old enough.
    fn touch(&self, used: SystemTime, stamp: impl FnOnce() -> io::Result<()>) {
        if self.has_limit() && used.elapsed().is_ok_and(|age| age > STAMP) {
            // If it fails, nothing but this entry's place in the order depends on it.
            let _ = stamp();
        }
    }

    /// Writes an entry. A failure is reported, and costs nothing but the entry.
    pub(crate) fn write(&self, place: &Place, bytes: &[u8], about: impl Fn() -> String) {
        let length = self.room_for(place, bytes.len());
        self.pending.fetch_add(length, Ordering::Relaxed);
        let has_room = self.make_room(length);
        let written = has_room.then(|| self.try_write(place, bytes, about));
        self.pending.fetch_sub(length, Ordering::Relaxed);
        let Some(written) = written else {
            return; // it is larger than the limit
        };
        if self.has_limit() {
            let more = *written.as_ref().unwrap_or(&0);
            self.count(more.wrapping_sub(length));
        }
        match written {
            Ok(_) => {
                // Release: see `Results::arrived`.
                self.counts.stored.fetch_add(1, Ordering::Release);
                self.is_reported.store(false, Ordering::Relaxed);
            }
            Err(error) => self.fail(&place.folder, error),
        }
    }

    fn has_limit(&self) -> bool {
        self.limits.lock().bytes.is_some()
    }

    /// Counts `more` bytes, or less, if the number wraps.
    fn count(&self, more: u64) {
        self.used.fetch_add(more, Ordering::Relaxed);
    }

    /// How much more of the disk an entry of this length takes. (A pack that grows when it is
    /// written anew is counted later.)
    fn room_for(&self, place: &Place, length: usize) -> u64 {
        if length > pack::SMALL {
            return room(length as u64);
        }
        let (first, more) = pack::lengths(length);
        if self.has_limit() && !place.pack().exists() {
            pack_room(first)
        } else {
            more
        }
    }

    /// Counts and reports an entry that is not kept.
    pub(crate) fn fail(&self, path: &Path, error: io::Error) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        self.report(path, error);
    }

    /// Returns how much more of the disk is taken; the number wraps if it is less.
    fn try_write(
        &self,
        place: &Place,
        bytes: &[u8],
        about: impl Fn() -> String,
    ) -> io::Result<u64> {
        let folder = &place.folder;
        for _ in 0..ATTEMPTS {
            match self.write_once(place, bytes) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => return done,
            }
            // The folder is not there yet, or another program is just clearing the cache.
            match fs::create_dir_all(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue, // a parent went, too
                made => made?,
            }
            if let Some(generation) = folder.parent() {
                // (It may be there. Without it, a miss is explained less well.)
                let _ = File::create_new(generation.join("about"))
                    .and_then(|file| regular::write_at(&file, about().as_bytes(), 0));
            }
        }
        self.write_once(place, bytes)
    }

    fn write_once(&self, place: &Place, bytes: &[u8]) -> io::Result<u64> {
        if bytes.len() <= pack::SMALL {
            match self.put(place, bytes) {
                Err(error) if error.kind() != ErrorKind::NotFound => {} // a file of its own, then
                done => return done,
            }
        }
        // (What is in the pack is found first.)
        self.unpack(place)?;
        let temporary = self.temporary(&place.folder);
        regular::replace(&place.file(), &temporary, bytes, Written::ToTheSystem)?;
        Ok(room(bytes.len() as u64))
    }

    fn put(&self, place: &Place, bytes: &[u8]) -> io::Result<u64> {
        let temporary = self.temporary(&place.folder);
        let change = pack::put(&place.pack(), &temporary, &place.mark, bytes)?;
        // (If it cannot be removed: what is in the pack is found first.)
        let _ = self.remove_file(&place.file());
        Ok(more_room(change))
    }

    /// Removes an entry from its pack. Returns whether it was there.
    fn unpack(&self, place: &Place) -> io::Result<bool> {
        let path = place.pack();
        let Ok(Some(_)) = pack::read(&path, &place.mark) else {
            return Ok(false); // what cannot be read is not found either
        };
        match pack::remove(&path, &place.mark) {
            // (Another one has just removed all.)
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            removed => removed,
        }
    }

    fn temporary(&self, folder: &Path) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{TEMPORARY}{:016x}-{number}", self.own))
    }

    /// Removes an entry. Returns whether it was there.
    pub(crate) fn remove(&self, place: &Place) -> io::Result<bool> {
        let was_packed = self.unpack(place)?;
        Ok(self.remove_file(&place.file())? || was_packed)
    }

    fn remove_file(&self, path: &Path) -> io::Result<bool> {
        let length = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            about => about.map_or(0, |about| room(about.len())),
        };
        match fs::remove_file(path) {
            Ok(()) => {
                let less = |used: u64| Some(used.saturating_sub(length));
                let relaxed = Ordering::Relaxed;
                let _ = self.used.fetch_update(relaxed, relaxed, less); // (it always succeeds)
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes all entries of the cache, or of the function whose folder this is.
    pub(crate) fn clear(&self, folder: &Path) -> io::Result<()> {
        let level = usize::from(folder != self.root);
        let mut first = Ok(());
        let mut folders = Vec::new();
        walk(folder, level, None, &mut |found| {
            let removed = match found {
                walk::Found::Folder(path) => {
                    folders.push(path);
                    Ok(())
                }
                walk::Found::Unread(error) => Err(error),
                walk::Found::File {
                    entry,
                    kind: Kind::Pack,
                } => pack::clear(&entry.path()),
                walk::Found::File { entry, .. } => fs::remove_file(entry.path()),
            };
            if let Err(error) = removed
                && error.kind() != ErrorKind::NotFound
                && first.is_ok()
            {
                first = Err(error);
            }
        });
        // (A folder that has something else in it stays.)
        for path in folders.into_iter().rev() {
            let _ = fs::remove_dir(path);
        }
        if level > 0 {
            let _ = fs::remove_dir(folder);
        }
        self.used.store(UNKNOWN, Ordering::Relaxed);
        first
    }

    /// Counts `more` bytes, and removes entries if they would be too many. False: they are more
    /// than the limit by themselves.
    fn make_room(&self, more: u64) -> bool {
        let Some(most) = self.limits.lock().bytes else {
            return true;
        };
        if more > most {
            return false;
        }
        self.used.fetch_add(more, Ordering::Relaxed);
        if self.used.load(Ordering::Relaxed) <= most {
            return true;
        }
        let mut sweep = self.sweep.lock();
        let before = self.used.load(Ordering::Relaxed);
        if before < UNKNOWN && sweep.in_slices {
            self.sweep_slices(&mut sweep, most);
        }
        if self.used.load(Ordering::Relaxed) > most {
            self.sweep_all(&mut sweep, most);
        }
        true
    }

    /// Counts what there is, and removes a tenth of the limit if it is too much.
    fn sweep_all(&self, sweep: &mut Sweep, most: u64) {
        let before = self.used.load(Ordering::Relaxed);
        // (What is being written counts twice, its temporary file and here, or once.)
        let mut total = self.pending.load(Ordering::Relaxed);
        let mut count = 0;
        self.look(None, |_, kind, length, _| {
            (total, count) = match kind {
                Kind::About => return,
                Kind::Pack => (total + pack_room(length), count + length / PACKED),
                _ => (total + room(length), count + 1),
            };
        });
        // (What others have added meanwhile stays.)
        self.count(total.wrapping_sub(before));
        sweep.in_slices = count > MANY;
        if total <= most {
            return;
        }
        if sweep.in_slices {
            self.sweep_slices(sweep, most);
        } else {
            self.evict(None, self.goal(most));
        }
    }

    /// Brings one slice after the other down to its share, until there is room.
    fn sweep_slices(&self, sweep: &mut Sweep, most: u64) {
        for _ in 0..SLICES {
            if self.used.load(Ordering::Relaxed) <= most {
                break;
            }
            sweep.slice = sweep.slice.wrapping_add(1);
            self.evict(Some(sweep.slice), self.goal(most) / SLICES);
        }
    }

    /// How much a sweep may leave: a tenth is freed, and what is being written has room.
    fn goal(&self, most: u64) -> u64 {
        let pending = self.pending.load(Ordering::Relaxed);
        (most - most / 10).min(most.saturating_sub(pending))
    }

    /// Calls `visit` with the path, kind, length and stamp of all files, or of those of one slice.
    /// Removes temporary files that were left behind.
    fn look(&self, slice: Option<u8>, mut visit: impl FnMut(PathBuf, Kind, u64, SystemTime)) {
        let slice = slice.map(|slice| format!("{slice:02x}"));
        walk(&self.root, 0, slice.as_deref(), &mut |found| {
            let walk::Found::File { entry, kind } = found else {
                return;
            };
            let Ok(about) = entry.metadata() else {
                return; // it is gone
            };
            let (path, stamp) = (entry.path(), about.modified().unwrap_or(UNIX_EPOCH));
            let is_left = kind == Kind::Temporary && regular::is_left(&path, stamp);
            if !is_left || fs::remove_file(&path).is_err() {
                visit(path, kind, about.len(), stamp);
            }
        });
    }

    /// Removes the entries that were used longest ago, of all or of one slice, until no more than
    /// `goal` bytes are left.
    fn evict(&self, slice: Option<u8>, goal: u64) {
        let (mut entries, mut packs) = (Vec::new(), HashMap::new());
        let mut total = 0;
        self.look(slice, |path, kind, length, stamp| {
            let path: Arc<Path> = path.into();
            match kind {
                Kind::Pack => {}
                Kind::Entry => {
                    total += room(length);
                    entries.push(Evictable {
                        stamp,
                        length: room(length),
                        path,
                        mark: None,
                    });
                    return;
                }
                // Texts count as little as their folders: they stay when the entries are gone.
                Kind::About => return,
                Kind::Temporary => {
                    total += room(length);
                    return;
                }
            }
            // (It may be another pack by now than the one with this length.)
            let Ok(Contents { nodes, live, waste }) = pack::list(&path) else {
                total += pack_room(length);
                return; // it is damaged, and replaced when something is written to it
            };
            total += pack_room(live);
            let packed = Packed {
                left: nodes.len(),
                without: HashSet::new(),
                has_waste: waste > 0,
            };
            packs.insert(path.clone(), packed);
            let nodes = nodes.into_iter();
            entries.extend(nodes.map(|(mark, used, length)| Evictable {
                stamp: UNIX_EPOCH + Duration::from_nanos(used),
                length,
                path: path.clone(),
                mark: Some(mark),
            }));
        });
        entries.sort_unstable();
        for Evictable {
            length, path, mark, ..
        } in entries
        {
            if total <= goal {
                break;
            }
            match mark.zip(packs.get_mut(&path)) {
                None if !self.evict_file(&path, length) => continue,
                None => {}
                Some((mark, packed)) => {
                    packed.without.insert(mark);
                    packed.left -= 1;
                    total -= if packed.left == 0 { BLOCK } else { 0 };
                }
            }
            total = total.saturating_sub(length);
        }
        for (path, packed) in packs {
            if packed.has_waste || !packed.without.is_empty() {
                self.shrink(&path, &packed.without);
            }
        }
    }

    /// Returns whether it is gone.
    fn evict_file(&self, path: &Path, length: u64) -> bool {
        match fs::remove_file(path) {
            Ok(()) => _ = self.counts.evicted.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                self.report(path, error);
                return false;
            }
        }
        self.count(length.wrapping_neg());
        true
    }

    /// Writes a pack anew without these entries.
    fn shrink(&self, path: &Path, without: &HashSet<Key>) {
        let temporary = self.temporary(path.parent().unwrap_or(path));
        match pack::shrink(path, &temporary, without) {
            Ok(change) => {
                let evicted = without.len() as u64;
                self.counts.evicted.fetch_add(evicted, Ordering::Relaxed);
                self.count(more_room(change));
            }
            // (It is gone, or it is one of many whose turn comes again.)
            Err(error) if [ErrorKind::NotFound, ErrorKind::WouldBlock].contains(&error.kind()) => {}
            Err(error) => self.report(path, error),
        }
    }

    pub(crate) fn report(&self, path: &Path, error: io::Error) {
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            let path = path.to_owned();
            let what = "the cache does not keep results";
            hook(&Trouble { what, path, error });
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.root)
            .field("limits", &*self.limits.lock())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// How much of the disk a file of this length takes.
fn room(length: u64) -> u64 {
    length.next_multiple_of(BLOCK)
}

/// How much of the disk a pack of this length takes, at most. (So what an entry adds to a pack does
/// not depend on the pack.)
fn pack_room(length: u64) -> u64 {
    match length {
        0 => 0,
        length => length + BLOCK,
    }
}

/// How much more of the disk a pack takes that had one length and has another; the number wraps if
/// it is less.
fn more_room((before, after): (u64, u64)) -> u64 {
    pack_room(after).wrapping_sub(pack_room(before))
}

/// Where the entry of one argument is, or would be.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    /// The name of its own file, if it has one.
    name: String,
    /// What the entry has written in it.
    pub(crate) mark: Key,
}

impl Place {
    pub(crate) fn new(generation: &Path, key: &Key, mark: Key) -> Self {
        let text = key.to_string();
        let (first, rest) = text.split_at(2);
        Self {
            folder: generation.join(first),
            name: rest.to_owned(),
            mark,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn pack(&self) -> PathBuf {
        self.folder.join(PACK)
    }
}

/// What there is at a place.
pub(crate) enum Found {
    Whole(Whole),
    /// What this file has is damaged, or cannot be read.
    Damaged(PathBuf),
    Nothing,
}

impl Found {
    pub(crate) fn whole(self) -> Option<Whole> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Damaged(_) | Self::Nothing => None,
        }
    }
}

/// An entry that may be removed, ordered by when it was last used.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Evictable {
    stamp: SystemTime,
    length: u64,
    path: Arc<Path>,
    /// If it is in a pack.
    mark: Option<Key>,
}

/// A pack whose entries may be removed.
struct Packed {
    /// How many entries stay, and which do not.
    left: usize,
    without: HashSet<Key>,
    has_waste: bool,
}

/// An entry that is whole.
pub(crate) struct Whole {
    pub(crate) meta: Meta,
    /// The file that it is in.
    pub(crate) path: PathBuf,
    bytes: Vec<u8>,
}

impl Whole {
    /// The encoded result.
    pub(crate) fn result(&self) -> &[u8] {
        result_in(&self.bytes)
    }
}
