//! The files of a cache.
//!
//! ```text
//! folder / FUNCTION-hash / generation / ab / cdef…        one entry each
//! folder / FUNCTION-hash / generation / about             its version and types, for people
//! ```
//!
//! A *generation* is a version of a function with its two types. Entries are spread over 256
//! folders by the first byte of their key, so that opening one is quick among millions. An entry is
//! written under a temporary name in its folder, and renamed. Nothing is synced: after a loss of
//! power an entry may be torn, which its check finds.
//!
//! The modification time of an entry is when it was last used, to within an hour.
//!
//! To make room, the entries that were used longest ago are removed. If there are no more than
//! [`MANY`], a walk through all of them finds these. Otherwise it is done in *slices*: all folders
//! of one first byte, one slice after the other, each down to its share of the limit. Keys are
//! hashes, so a slice is a sample of the whole; a walk through it takes milliseconds, where one
//! through a million entries takes seconds.
//!
//! **Rejected.** Small results in common files: see the crate's README for the figures.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::entry::{Meta, parse, result_in};
use super::flight::Flights;
use super::limit::Limit;
use super::walk::{Found, Kind, TEMPORARY, walk};
use super::{Stats, Trouble};
use crate::key::Key;
use crate::regular;

/// How exact the time of the last use is.
const STAMP: Duration = Duration::from_secs(3600);

/// Temporary files that are older were left behind.
const LEFT: Duration = Duration::from_secs(86_400);

/// The unit in which file systems give room to files.
const BLOCK: u64 = 4096;

/// More entries than this are swept in slices.
const MANY: usize = 1 << 16;

/// How many slices there are.
const SLICES: u64 = 256;

/// How often folders are made that another program may be removing.
const ATTEMPTS: usize = 10;

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
        let mut limits = lock(&self.limits);
        match limit {
            Limit::Bytes(most) => limits.bytes = Some(most),
            Limit::Age(most) => limits.age = Some(most),
        }
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        *lock(&self.hook) = Some(Arc::new(hook));
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
        lock(&self.limits).age.is_none_or(|most| meta.age() <= most)
    }

    /// Reads an entry whole. `None`: there is none, or it is damaged, or cannot be read.
    pub(crate) fn read(&self, path: &Path, mark: &Key) -> Option<Whole> {
        let bytes = match self.read_file(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                // (Over NFS, a file that another machine has just replaced is stale.)
                let gone = [ErrorKind::NotFound, ErrorKind::StaleNetworkFileHandle];
                if !gone.contains(&error.kind()) {
                    self.report(path, error);
                }
                return None;
            }
        };
        let Some(meta) = parse(&bytes, mark) else {
            self.counts.damaged.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        Some(Whole { meta, bytes })
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (bytes, about) = regular::read(path)?;
        if lock(&self.limits).bytes.is_some() {
            let used = about.modified()?;
            let now = SystemTime::now();
            if now.duration_since(used).is_ok_and(|age| age > STAMP) {
                // (On Windows, only a file that is open for writing can be stamped.) If it fails,
                // nothing but this file's place in the order depends on it.
                let file = File::options().write(true).open(path);
                let _ = file.and_then(|file| file.set_modified(now));
            }
        }
        Ok(bytes)
    }

    /// Writes an entry. A failure is reported, and costs nothing but the entry.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], about: impl Fn() -> String) {
        let length = room(bytes.len() as u64);
        self.pending.fetch_add(length, Ordering::Relaxed);
        let has_room = self.make_room(length);
        let written = has_room.then(|| self.try_write(path, bytes, about));
        self.pending.fetch_sub(length, Ordering::Relaxed);
        let Some(written) = written else {
            return; // it is larger than the limit
        };
        match written {
            Ok(()) => {
                // Release: see `Results::arrived`.
                self.counts.stored.fetch_add(1, Ordering::Release);
                self.is_reported.store(false, Ordering::Relaxed);
            }
            Err(error) => self.fail(path, error),
        }
    }

    /// Counts and reports an entry that is not kept.
    pub(crate) fn fail(&self, path: &Path, error: io::Error) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        self.report(path, error);
    }

    /// Whether the last attempt to keep something has failed.
    pub(crate) fn is_troubled(&self) -> bool {
        self.is_reported.load(Ordering::Relaxed)
    }

    fn try_write(&self, path: &Path, bytes: &[u8], about: impl Fn() -> String) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        for _ in 0..ATTEMPTS {
            match self.write_once(folder, path, bytes) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => return done,
            }
            // The folder is not there yet, or another program is just clearing the cache.
            fs::create_dir_all(folder)?;
            if let Some(generation) = folder.parent() {
                // (It may be there. Without it, a miss is explained less well.)
                let _ = File::create_new(generation.join("about"))
                    .and_then(|mut file| file.write_all(about().as_bytes()));
            }
        }
        self.write_once(folder, path, bytes)
    }

    fn write_once(&self, folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{TEMPORARY}{:016x}-{number}", self.own));
        let mut file = File::create_new(&temporary)?;
        let written = file.write_all(bytes);
        drop(file); // (Windows renames no open file.)
        let done = written.and_then(|()| fs::rename(&temporary, path));
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<bool> {
        let length = fs::symlink_metadata(path).map_or(0, |about| room(about.len()));
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
                Found::Folder(path) => {
                    folders.push(path);
                    Ok(())
                }
                Found::File { entry, .. } => fs::remove_file(entry.path()),
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
        let Some(most) = lock(&self.limits).bytes else {
            return true;
        };
        if more > most {
            return false;
        }
        self.used.fetch_add(more, Ordering::Relaxed);
        if self.used.load(Ordering::Relaxed) <= most {
            return true;
        }
        let mut sweep = lock(&self.sweep);
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
        // (What is being written may count twice; nothing counts less than once.)
        let mut total = self.pending.load(Ordering::Relaxed);
        let mut entries = Vec::new();
        let mut count = 0;
        self.look(None, |entry| {
            total += entry.length;
            count += 1;
            if count <= MANY {
                entries.push(entry);
            }
        });
        // (What others have added meanwhile stays.)
        self.used
            .fetch_add(total.wrapping_sub(before), Ordering::Relaxed);
        sweep.in_slices = count > MANY;
        if total <= most {
            return;
        }
        match sweep.in_slices {
            true => self.sweep_slices(sweep, most),
            false => self.evict(entries, total, most - most / 10),
        }
    }

    /// Brings one slice after the other down to its share, until there is room.
    fn sweep_slices(&self, sweep: &mut Sweep, most: u64) {
        for _ in 0..SLICES {
            if self.used.load(Ordering::Relaxed) <= most {
                break;
            }
            sweep.slice = sweep.slice.wrapping_add(1);
            let mut total = 0;
            let mut entries = Vec::new();
            self.look(Some(sweep.slice), |entry| {
                total += entry.length;
                entries.push(entry);
            });
            self.evict(entries, total, (most - most / 10) / SLICES);
        }
    }

    /// Calls `visit` with all entries, or with those of one slice. Removes temporary files that
    /// were left behind.
    fn look(&self, slice: Option<u8>, mut visit: impl FnMut(Evictable)) {
        let slice = slice.map(|slice| format!("{slice:02x}"));
        walk(&self.root, 0, slice.as_deref(), &mut |found| {
            let Found::File { entry, kind } = found else {
                return;
            };
            let Ok(about) = entry.metadata() else {
                return; // it is gone
            };
            let stamp = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match kind {
                Kind::Entry => visit(Evictable {
                    stamp,
                    length: room(about.len()),
                    path: entry.path(),
                }),
                Kind::Temporary if stamp.elapsed().is_ok_and(|age| age > LEFT) => {
                    let _ = fs::remove_file(entry.path()); // tried again at the next walk
                }
                Kind::Temporary | Kind::About => {}
            }
        });
    }

    /// Removes the entries that were used longest ago, until no more than `goal` bytes of `total`
    /// are left.
    fn evict(&self, mut entries: Vec<Evictable>, mut total: u64, goal: u64) {
        entries.sort_unstable();
        for Evictable { length, path, .. } in entries {
            if total <= goal {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => _ = self.counts.evicted.fetch_add(1, Ordering::Relaxed),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    self.report(&path, error);
                    continue;
                }
            }
            total -= length;
            self.used.fetch_sub(length, Ordering::Relaxed);
        }
    }

    pub(crate) fn report(&self, path: &Path, error: io::Error) {
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let hook = lock(&self.hook).clone();
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
            .field("limits", &*lock(&self.limits))
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of the disk a file of this length takes.
fn room(length: u64) -> u64 {
    length.next_multiple_of(BLOCK)
}

/// An entry that may be removed, ordered by when it was last used.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Evictable {
    stamp: SystemTime,
    length: u64,
    path: PathBuf,
}

/// An entry that is whole.
pub(crate) struct Whole {
    pub(crate) meta: Meta,
    bytes: Vec<u8>,
}

impl Whole {
    /// The encoded result.
    pub(crate) fn result(&self) -> &[u8] {
        result_in(&self.bytes)
    }
}

/// A number that no other process has, most likely.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}
