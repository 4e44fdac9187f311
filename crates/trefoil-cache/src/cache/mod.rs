//! Results on a disk, by function and argument.
//!
//! - `entry` is the format of one result, `pack` that of a file with many small ones.
//! - `store` has the files: where they are, reading, writing, removing; `walk` visits them.
//! - `function` looks up, computes and stores; `flight` makes callers of one key wait for the first
//!   one; `cached` does it for whole maps on an executor.
//! - `version` and `limit` are what a user sets, `explain` why there was a miss.

pub(crate) mod cached;
pub(crate) mod entry;
pub(crate) mod explain;
mod flight;
pub(crate) mod function;
pub(crate) mod limit;
pub(crate) mod outcome;
mod pack;
mod store;
pub(crate) mod version;
mod walk;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use trefoil::TaskError;

use function::{AsyncFunction, Function};
use limit::Limit;
pub(crate) use store::Hook;
use store::Store;
pub(crate) use version::Version;

/// A folder of results.
///
/// Several programs may use one folder at a time: an entry appears whole or not at all. A clone is
/// the same cache.
///
/// Entries of up to 1 KiB, which are results of up to 927 encoded bytes, share files: up to 256 for
/// each function, version and pair of types. A program that writes to such a file locks it, which
/// takes some microseconds, and milliseconds when a large one is written anew. Another one waits
/// for 10 ms at most, because a program may be stopped meanwhile, and then gives the result a file
/// of its own; so it does where files cannot be locked, and on Windows. (To replace or remove a
/// result it waits for up to ten seconds, and fails then.) A hit needs no lock.
///
/// A result is what serde reads back, also when it is computed: a field that is not written
/// (`#[serde(skip)]`) has its default. (What cannot be encoded is as it was computed.)
///
/// A problem with the folder costs the caching, not the computation: if an entry cannot be written,
/// because the disk is full or the folder is read-only, the result is returned all the same, and
/// [`on_trouble`](Self::on_trouble)'s hook is called once. What is damaged counts as missing.
///
/// ```
/// use trefoil_cache::Cache;
///
/// # let folder = std::env::temp_dir().join(format!("trefoil-cache-doc-{}", std::process::id()));
/// let cache = Cache::open(&folder)?;
/// let squares = cache.function("square", 1, |n: u64| n * n);
/// assert!(squares.call(&12)?.is_computed());
/// let again = squares.call(&12)?;
/// assert!(again.is_hit());
/// assert_eq!(again.into_inner(), 144);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Limits, a function's version, and a map whose missing items go to workers:
///
/// ```
/// use std::path::PathBuf;
/// use trefoil::ProcessPool;
/// use trefoil_cache::{Age, Answer, Bytes, Cache, CachedCall, DAY};
///
/// fn extract(path: PathBuf) -> u64 {
///     std::fs::metadata(path).map_or(0, |about| about.len())
/// }
///
/// # trefoil::init();
/// # let folder = std::env::temp_dir().join(format!("trefoil-cache-all-{}", std::process::id()));
/// # let paths = vec![PathBuf::from("Cargo.toml"), PathBuf::from("README.md")];
/// let cache = Cache::open(&folder)?.limit(Bytes(10 << 30)).limit(Age(30 * DAY));
/// let features = cache.function("features", 3, extract);
/// match features.call(&paths[0])? {
///     Answer::Hit(size) => println!("{size} bytes, as before"),
///     Answer::Computed(size) => println!("{size} bytes"),
/// }
/// let procs = ProcessPool::with_workers(2)?;
/// let all = procs.call(extract).cached(&features).map(paths)?; // only the second is executed
/// assert_eq!((all.len(), cache.stats().hits), (2, 1));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    store: Arc<Store>,
}

impl Cache {
    /// The cache in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`CacheError::Folder`], if the folder cannot be made or read. A folder that can be read and
    /// not written to is no error: then only what it has is used.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CacheError> {
        let folder = folder.as_ref();
        let store = Store::open(folder).map_err(|source| CacheError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Sets a limit: [`Bytes`](crate::Bytes) for all entries together, or [`Age`](crate::Age) for
    /// each. One of each kind may be set; a second one replaces the first. An entry that is too old
    /// counts as missing, and stays on the disk.
    ///
    /// An entry that alone exceeds the limit of bytes is not kept, and not reported. Another that
    /// would exceed it makes room first: the entries that were used longest ago are removed, by
    /// stamps of the cache's own, which a hit under such a limit sets at most once an hour. A tenth
    /// of the limit is freed at a time; of more than 65,536 entries, a tenth of one 256th of them,
    /// whose files are read and written anew. The first entry that a program writes under a limit
    /// waits until all files have been counted: one to ten seconds for a million of them; but small
    /// results share files. Each program counts what it adds itself: several together may exceed
    /// the limit by what the others have added since this one last looked.
    ///
    /// ```
    /// use trefoil_cache::{Age, Bytes, Cache, DAY};
    ///
    /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-limit-{}", std::process::id()));
    /// let cache = Cache::open(&folder)?.limit(Bytes(10 << 30)).limit(Age(30 * DAY));
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit(self, limit: impl Into<Limit>) -> Self {
        self.store.set_limit(limit.into());
        self
    }

    /// Calls `hook` when entries cannot be written, read or removed: once, and again only after an
    /// entry has been written in between. Without a hook nothing is reported but
    /// [`Stats::failed`].
    pub fn on_trouble(self, hook: impl Fn(&Trouble) + Send + Sync + 'static) -> Self {
        self.store.set_hook(Box::new(hook));
        self
    }

    /// A function whose results are kept here.
    ///
    /// Results are found by the function's `name` and `version`, the types of its argument and
    /// result, and the argument's value. The function's code is not looked at: if it computes
    /// something else from now on, change the version, which is a number or a text, or use
    /// [`Version::this_build`].
    ///
    /// The function should depend on nothing but its argument. Arguments are compared by what serde
    /// writes for them; maps and std's sets may come in any order. (A hash set in a type that
    /// writes only the set is a miss in most runs: one with `transparent` or `into`, a variant of
    /// an `untagged` enum, a `Cow`, a `RefCell`, a `Mutex`.)
    pub fn function<A, R>(
        &self,
        name: &str,
        version: impl Into<Version>,
        f: fn(A) -> R,
    ) -> Function<A, R>
    where
        A: Serialize,
        R: Serialize + DeserializeOwned,
    {
        Function::new(self.store.clone(), name, version.into(), f)
    }

    /// A cached [`function`](Self::function) that returns a future.
    ///
    /// ```
    /// use trefoil::EventLoop;
    /// use trefoil_cache::Cache;
    ///
    /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-async-{}", std::process::id()));
    /// let cache = Cache::open(&folder)?;
    /// let lengths = cache.async_function("length", 1, async |text: String| text.len());
    /// let answer = EventLoop::new()?.block_on(lengths.call(&"abc".to_owned()))?;
    /// assert_eq!(answer.into_inner(), 3);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn async_function<A, R, F>(
        &self,
        name: &str,
        version: impl Into<Version>,
        f: F,
    ) -> AsyncFunction<A, R, F>
    where
        A: Serialize,
        R: Serialize + DeserializeOwned,
        F: AsyncFn(A) -> R,
    {
        AsyncFunction::new(self.store.clone(), name, version.into(), f)
    }

    /// Removes the entries of all functions.
    ///
    /// # Errors
    /// The first one of the file system; the rest has been removed all the same. Of the kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): a program has locked a file, and has stopped.
    pub fn clear(&self) -> io::Result<()> {
        self.store.clear(self.store.root())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.store.root()
    }

    /// What this cache and its clones have done since it was opened.
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }
}

/// Counts, from [`Cache::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Results that were found.
    pub hits: u64,
    /// Results that were not. (Whoever waits while another computes the same counts here, too.)
    pub misses: u64,
    /// Entries written.
    pub stored: u64,
    /// Entries that could not be written.
    pub failed: u64,
    /// How often a damaged entry was found, which counts as missing.
    pub damaged: u64,
    /// Entries removed to make room.
    pub evicted: u64,
}

/// Why a result is not kept, or cannot be read: see [`Cache::on_trouble`] and
/// [`Journaled::on_trouble`](crate::Journaled::on_trouble).
#[derive(Debug)]
pub struct Trouble {
    pub(crate) what: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl Trouble {
    /// What could not be written, read or removed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why not.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, path) = (self.what, self.path.display());
        write!(f, "{what}: {path}: {}", self.error)
    }
}

/// Why there is no result.
///
/// The `Debug` form is the variant's name with the text of `Display` behind it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The folder of a cache cannot be made or read, or an entry cannot be removed.
    #[error("the cache's folder {} cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An argument has no key, because its `Serialize` fails, or it nests too deeply.
    #[error("an argument of `{function}` ({type_name}) cannot be hashed: {message}")]
    Key {
        /// The function's name.
        function: String,
        /// The argument's type.
        type_name: &'static str,
        /// What its `Serialize` reports.
        message: String,
    },
    /// The computation has failed, or must not wait here.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl fmt::Debug for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Folder { .. } => "Folder",
            Self::Key { .. } => "Key",
            Self::Task(_) => "Task",
        };
        write!(f, "{name}({self})")
    }
}
