//! A function and its results.

use std::any::type_name;
use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CacheError;
use super::entry::{Meta, begin, finish};
use super::explain::Explanation;
use super::flight::{Turn, leading, leads};
use super::outcome::is_err;
use super::store::{Found, Place, Store, Whole};
use super::version::Version;
use crate::key::{Key, KeyError, hash_of, key_of};
use crate::regular;
use crate::value::{decode, encode};

/// A longer file `about` has no names of types.
const ABOUT: usize = 1 << 20;

type KeyOf<A> = dyn Fn(&A) -> Result<Key, KeyError> + Send + Sync;
type ValidIf = dyn Fn(&Meta) -> bool + Send + Sync;

/// A function whose results are kept: from [`Cache::function`](crate::Cache::function).
///
/// A clone is the same function.
pub struct Function<A, R> {
    pub(crate) results: Results<A, R>,
    pub(crate) f: fn(A) -> R,
}

/// A function that returns a future, and whose results are kept: from
/// [`Cache::async_function`](crate::Cache::async_function).
pub struct AsyncFunction<A, R, F> {
    results: Results<A, R>,
    f: F,
}

/// Where the results of one function are, and which of them count.
pub(crate) struct Results<A, R> {
    pub(crate) store: Arc<Store>,
    name: String,
    version: Version,
    /// The folder of all generations, and the name of this one in it.
    folder: PathBuf,
    generation: String,
    key_of: Option<Arc<KeyOf<A>>>,
    valid_for: Option<Duration>,
    valid_if: Option<Arc<ValidIf>>,
    keeps_errors: bool,
    types: PhantomData<fn(A) -> R>,
}

/// A result, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer<R> {
    /// It was in the cache.
    Hit(R),
    /// It was computed now.
    Computed(R),
}

impl<R> Answer<R> {
    /// The result.
    pub fn into_inner(self) -> R {
        match self {
            Self::Hit(result) | Self::Computed(result) => result,
        }
    }

    /// Whether it was in the cache.
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit(_))
    }

    /// Whether it was computed now.
    pub fn is_computed(&self) -> bool {
        matches!(self, Self::Computed(_))
    }
}

/// An entry of the cache: from [`Function::entry`].
#[derive(Clone, Debug)]
pub struct Entry {
    path: PathBuf,
    key: Key,
    meta: Meta,
}

impl Entry {
    /// The file that it is in. Small entries share one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of its argument.
    pub fn key(&self) -> Key {
        self.key
    }

    /// When it was computed, and how long that took.
    pub fn meta(&self) -> Meta {
        self.meta
    }
}

impl<A, R> Results<A, R>
where
    A: Serialize,
    R: Serialize + DeserializeOwned,
{
    fn new(store: Arc<Store>, name: &str, version: Version) -> Self {
        let plain = |char: char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => char,
            _ => '-',
        };
        let readable: String = name.chars().take(40).map(plain).collect();
        let hash = hash_of(&[name.as_bytes()]).to_string();
        Self {
            folder: store.root().join(format!("{readable}-{}", &hash[..8])),
            store,
            name: name.to_owned(),
            generation: generation::<A, R>(&version, ""),
            version,
            key_of: None,
            valid_for: None,
            valid_if: None,
            keeps_errors: false,
            types: PhantomData,
        }
    }

    /// What stands in the generation's file `about`.
    fn about(&self) -> String {
        let (name, version) = (&self.name, &self.version.0);
        let (argument, result) = (type_name::<A>(), type_name::<R>());
        format!("function: {name}\nversion: {version}\nargument: {argument}\nresult: {result}\n")
    }

    pub(crate) fn key(&self, arg: &A) -> Result<Key, CacheError> {
        let key = match &self.key_of {
            Some(key_of) => key_of(arg),
            None => key_of(arg),
        };
        key.map_err(|KeyError(message)| CacheError::Key {
            function: self.name.clone(),
            type_name: type_name::<A>(),
            message,
        })
    }

    fn place_in(&self, generation: &str, key: &Key) -> Place {
        let mark = hash_of(&[self.name.as_bytes(), generation.as_bytes(), &key.0]);
        Place::new(&self.folder.join(generation), key, mark)
    }

    fn place(&self, key: &Key) -> Place {
        self.place_in(&self.generation, key)
    }

    fn read(&self, key: &Key) -> Found {
        self.store.read(&self.place(key))
    }

    fn is_valid(&self, meta: &Meta) -> bool {
        self.store.is_fresh(meta)
            && self.valid_for.is_none_or(|most| meta.age() <= most)
            && self.valid_if.as_ref().is_none_or(|valid| valid(meta))
    }

    /// The result, if the cache has it.
    pub(crate) fn load(&self, key: &Key) -> Option<R> {
        let result = self.find(key);
        let counts = &self.store.counts;
        let count = match result {
            Some(_) => &counts.hits,
            None => &counts.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Who computes the result of this key.
    pub(crate) fn turn(&self, key: &Key, is_queued: bool) -> Turn {
        self.store.flights.turn(self.place(key).mark, is_queued)
    }

    /// How many results this cache has stored, for [`arrived`](Self::arrived).
    pub(crate) fn stored(&self) -> u64 {
        // Acquire: pairs with Release in `Store::write`.
        self.store.counts.stored.load(Ordering::Acquire)
    }

    /// The result, if it has come after a [`load`](Self::load) that counted as a miss. `stored` is
    /// from before that. Whoever leads now has seen the number of every leader before, so if it is
    /// the same, none of them has stored anything since. (What another program stores meanwhile is
    /// computed twice.)
    pub(crate) fn arrived(&self, key: &Key, stored: u64) -> Option<R> {
        if self.stored() == stored {
            None
        } else {
            self.find(key)
        }
    }

    fn find(&self, key: &Key) -> Option<R> {
        let found = self.read(key).whole();
        let found = found.filter(|found| self.is_valid(&found.meta))?;
        decode(found.result())
    }

    /// Keeps a result. Returns it as a hit will.
    pub(crate) fn keep(&self, key: &Key, result: R, took: Duration) -> R {
        if !self.keeps_errors && is_err(&result) {
            return result;
        }
        let place = self.place(key);
        let mut bytes = begin(&place.mark, &Meta::new(took));
        match encode(&result, &mut bytes) {
            Ok(again) => {
                finish(&mut bytes);
                self.store.write(&place, &bytes, || self.about());
                again
            }
            Err(error) => {
                let message = format!("a {} cannot be kept: {error}", type_name::<R>());
                self.store.fail(&self.folder, io::Error::other(message));
                result
            }
        }
    }

    /// Computes, and keeps the result.
    fn compute(&self, key: &Key, compute: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = compute();
        self.keep(key, result, begin.elapsed())
    }

    fn entry(&self, arg: &A) -> Result<Option<Entry>, CacheError> {
        let key = self.key(arg)?;
        let found = self.read(&key).whole();
        let found = found.filter(|found| self.is_valid(&found.meta));
        Ok(found.map(|Whole { meta, path, .. }| Entry { path, key, meta }))
    }

    fn explain(&self, arg: &A) -> Result<Explanation, CacheError> {
        let key = self.key(arg)?;
        match self.read(&key) {
            Found::Whole(found) => {
                return Ok(match decode::<R>(found.result()) {
                    _ if !self.is_valid(&found.meta) => Explanation::NotValid(found.meta),
                    Some(_) => Explanation::Hit(found.meta),
                    None => Explanation::OtherShape,
                });
            }
            Found::Damaged(path) => return Ok(Explanation::Damaged(path)),
            Found::Nothing => {}
        }
        let others = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for other in others.map(|other| other.file_name()) {
            let Some(generation) = other.to_str() else {
                continue; // none of ours
            };
            if self
                .store
                .read(&self.place_in(generation, &key))
                .whole()
                .is_none()
            {
                continue;
            }
            let about = self.folder.join(generation).join("about");
            let is_text = |_: &[u8], length| length <= ABOUT;
            let about = regular::read(&about, 0, is_text).map(|(bytes, _)| bytes);
            let about = String::from_utf8(about.unwrap_or_default()).unwrap_or_default();
            let of = |name: &str| {
                let line = about.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or("unknown").to_owned()
            };
            let version = of("version: ");
            return Ok(if version == self.version.0 {
                Explanation::OtherTypes {
                    argument: of("argument: "),
                    result: of("result: "),
                }
            } else {
                Explanation::OtherVersion(version)
            });
        }
        Ok(if self.folder.join(&self.generation).exists() {
            Explanation::NewArgument(key)
        } else {
            Explanation::NewFunction
        })
    }

    fn forget(&self, arg: &A) -> Result<bool, CacheError> {
        let removed = self.store.remove(&self.place(&self.key(arg)?));
        removed.map_err(|source| CacheError::Folder {
            path: self.folder.clone(),
            source,
        })
    }
}

/// The name of a version's folder. `keyed_by`: the type of what the keys are taken from, if that is
/// not the argument.
fn generation<A, R>(version: &Version, keyed_by: &str) -> String {
    let parts = [&version.0, type_name::<A>(), type_name::<R>(), keyed_by];
    let mut name = hash_of(&parts.map(str::as_bytes)).to_string();
    name.truncate(16);
    name
}

/// The methods that do not call the function.
macro_rules! management {
    () => {
        /// Takes the key from what `key` returns, in place of the argument: for an argument that
        /// has more than the result depends on, or that is large. Its results are kept apart from
        /// those of the same function without it, or with another type of key.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-keyed-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let lengths = cache.function("length", 1, |text: String| text.len());
        /// let lengths = lengths.keyed_by(|text| text.to_lowercase());
        /// assert!(lengths.call(&"Bay".to_owned())?.is_computed());
        /// assert!(lengths.call(&"BAY".to_owned())?.is_hit());
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        pub fn keyed_by<K: Serialize>(
            mut self,
            key: impl Fn(&A) -> K + Send + Sync + 'static,
        ) -> Self {
            let of = format!("keyed by {}", type_name::<K>());
            self.results.generation = generation::<A, R>(&self.results.version, &of);
            self.results.key_of = Some(Arc::new(move |arg| key_of(&key(arg))));
            self
        }

        /// How old a result may be. An older one is computed anew.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-for-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// use std::time::Duration;
        ///
        /// let squares = cache.function("square", 1, |n: u64| n * n);
        /// squares.call(&3)?;
        /// let fresh = squares.clone().valid_for(Duration::from_secs(3600));
        /// assert!(fresh.call(&3)?.is_hit());
        /// let none = squares.valid_for(Duration::ZERO);
        /// assert!(none.call(&3)?.is_computed());
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        pub fn valid_for(mut self, age: Duration) -> Self {
            self.results.valid_for = Some(age);
            self
        }

        /// A result counts only if `is_valid` returns true for when and how it was computed.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-if-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// use std::time::SystemTime;
        ///
        /// let start = SystemTime::now();
        /// let squares = cache.function("square", 1, |n: u64| n * n);
        /// let squares = squares.valid_if(move |meta| meta.created() >= start);
        /// assert!(squares.call(&3)?.is_computed());
        /// assert!(squares.call(&3)?.is_hit());
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        pub fn valid_if(
            mut self,
            is_valid: impl Fn(&Meta) -> bool + Send + Sync + 'static,
        ) -> Self {
            self.results.valid_if = Some(Arc::new(is_valid));
            self
        }

        /// Whether an `Err` is kept, where the result is a [`Result`] (or another enum of that
        /// name, with an `Err(..)` of one value). Default: no.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-errors-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let halves = cache.function("half", 1, |n: u64| match n % 2 {
        ///     0 => Ok(n / 2),
        ///     _ => Err("odd".to_owned()),
        /// });
        /// halves.call(&3)?;
        /// assert!(!halves.contains(&3)?);
        /// let halves = halves.keep_errors(true);
        /// halves.call(&3)?;
        /// assert!(halves.contains(&3)?);
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        pub fn keep_errors(mut self, keep: bool) -> Self {
            self.results.keeps_errors = keep;
            self
        }

        /// The entry of this argument, if it counts.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-entry-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let squares = cache.function("square", 1, |n: u64| n * n);
        /// assert!(squares.entry(&3)?.is_none());
        /// squares.call(&3)?;
        /// let entry = squares.entry(&3)?.expect("it was kept");
        /// assert!(entry.path().exists() && entry.meta().bytes() > 0);
        /// assert_eq!(entry.key(), squares.key(&3)?);
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        /// [`CacheError::Key`].
        pub fn entry(&self, arg: &A) -> Result<Option<Entry>, CacheError> {
            self.results.entry(arg)
        }

        /// Whether the cache has a result for this argument that counts.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-contains-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let squares = cache.function("square", 1, |n: u64| n * n);
        /// squares.call(&3)?;
        /// assert!(squares.contains(&3)? && !squares.contains(&4)?);
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        /// [`CacheError::Key`].
        pub fn contains(&self, arg: &A) -> Result<bool, CacheError> {
            self.entry(arg).map(|entry| entry.is_some())
        }

        /// Why a call with this argument would be a hit or a miss.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-explain-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let old = cache.function("square", 1, |n: u64| n * n);
        /// old.call(&3)?;
        /// let new = cache.function("square", 2, |n: u64| n * n);
        /// let why = new.explain(&3)?.to_string();
        /// assert_eq!(why, "miss: the result is of the function's version 1");
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        /// [`CacheError::Key`].
        pub fn explain(&self, arg: &A) -> Result<Explanation, CacheError> {
            self.results.explain(arg)
        }

        /// Removes the result for this argument; returns whether there was one.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-forget-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let squares = cache.function("square", 1, |n: u64| n * n);
        /// squares.call(&3)?;
        /// assert!(squares.forget(&3)? && !squares.forget(&3)?);
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        /// [`CacheError::Key`]; [`CacheError::Folder`] if it cannot be removed.
        pub fn forget(&self, arg: &A) -> Result<bool, CacheError> {
            self.results.forget(arg)
        }

        /// Removes all results of this function, those of other versions, too.
        ///
        /// ```
        /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-clear-{}", std::process::id()));
        /// # let cache = trefoil_cache::Cache::open(&folder)?;
        /// let squares = cache.function("square", 1, |n: u64| n * n);
        /// squares.call(&3)?;
        /// squares.clear()?;
        /// assert!(!squares.contains(&3)?);
        /// # std::fs::remove_dir_all(folder)?;
        /// # Ok::<_, Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        /// The first one of the file system; the rest has been removed all the same.
        pub fn clear(&self) -> io::Result<()> {
            self.results.store.clear(&self.results.folder)
        }

        /// The key of this argument.
        ///
        /// # Errors
        /// [`CacheError::Key`].
        pub fn key(&self, arg: &A) -> Result<Key, CacheError> {
            self.results.key(arg)
        }
    };
}

impl<A, R> Function<A, R>
where
    A: Serialize,
    R: Serialize + DeserializeOwned,
{
    pub(crate) fn new(store: Arc<Store>, name: &str, version: Version, f: fn(A) -> R) -> Self {
        Self {
            results: Results::new(store, name, version),
            f,
        }
    }

    /// The result for `arg`: from the cache, or computed here and kept.
    ///
    /// If another thread is computing it with this cache, this one waits, unless it is itself
    /// within such a computation, or is a thread of a pool while the other computes a map. Cost of
    /// a hit: hashing the argument, opening a file, reading.
    ///
    /// # Errors
    /// [`CacheError::Key`]. [`CacheError::Task`] with
    /// [`WouldBlock`](trefoil::TaskError::WouldBlock), where it would have to wait on an event-loop
    /// thread.
    ///
    /// # Panics
    /// If the function does. Nothing is kept then.
    pub fn call(&self, arg: &A) -> Result<Answer<R>, CacheError>
    where
        A: Clone,
    {
        let key = self.results.key(arg)?;
        let compute = || self.results.compute(&key, || (self.f)(arg.clone()));
        let stored = self.results.stored();
        if let Some(result) = self.results.load(&key) {
            return Ok(Answer::Hit(result));
        }
        if leads() {
            return Ok(Answer::Computed(compute()));
        }
        match self.results.turn(&key, false) {
            Turn::Compute => Ok(Answer::Computed(compute())),
            Turn::Lead(_leading) => Ok(match self.results.arrived(&key, stored) {
                Some(result) => Answer::Hit(result),
                None => Answer::Computed(leading(compute)),
            }),
            Turn::Wait(other) => {
                other.join()?;
                Ok(match self.results.load(&key) {
                    Some(result) => Answer::Hit(result),
                    None => Answer::Computed(compute()), // it has failed, or cannot be kept
                })
            }
        }
    }

    /// Computes the result for `arg` in any case, and keeps it. If it is not kept (an `Err`, a full
    /// disk), an older result stays.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("trefoil-cache-refresh-{}", std::process::id()));
    /// # let cache = trefoil_cache::Cache::open(&folder)?;
    /// let squares = cache.function("square", 1, |n: u64| n * n);
    /// assert_eq!(squares.refresh(3)?, 9);
    /// assert_eq!(squares.refresh(3)?, 9);
    /// assert_eq!(cache.stats().stored, 2);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CacheError::Key`].
    ///
    /// # Panics
    /// If the function does.
    pub fn refresh(&self, arg: A) -> Result<R, CacheError> {
        let key = self.results.key(&arg)?;
        Ok(self.results.compute(&key, || (self.f)(arg)))
    }

    management!();
}

impl<A, R, F> AsyncFunction<A, R, F>
where
    A: Serialize,
    R: Serialize + DeserializeOwned,
    F: AsyncFn(A) -> R,
{
    pub(crate) fn new(store: Arc<Store>, name: &str, version: Version, f: F) -> Self {
        Self {
            results: Results::new(store, name, version),
            f,
        }
    }

    /// The result for `arg`: from the cache, or computed and kept.
    ///
    /// If another task is computing it with this cache, this one waits (on a thread of a pool, not
    /// for an item of a map), and computes as well if that result is not kept. The file is read and
    /// written in the calling thread: some 10 µs each for small results, and rarely some
    /// milliseconds, when a file that many results share is written anew, or has been locked by
    /// another program.
    ///
    /// A task must not call it for a key that it is computing itself: it would wait for itself
    /// forever.
    ///
    /// Cancel safety: when it is dropped, nothing is kept, and one of those who wait computes.
    ///
    /// # Errors
    /// [`CacheError::Key`].
    pub async fn call(&self, arg: &A) -> Result<Answer<R>, CacheError>
    where
        A: Clone,
    {
        let key = self.results.key(arg)?;
        loop {
            let stored = self.results.stored();
            if let Some(result) = self.results.load(&key) {
                return Ok(Answer::Hit(result));
            }
            let other = match self.results.turn(&key, false) {
                Turn::Compute => {
                    return Ok(Answer::Computed(self.compute(&key, arg.clone()).await));
                }
                Turn::Lead(leading) => {
                    if let Some(result) = self.results.arrived(&key, stored) {
                        return Ok(Answer::Hit(result));
                    }
                    let result = self.compute(&key, arg.clone()).await;
                    leading.computed();
                    return Ok(Answer::Computed(result));
                }
                Turn::Wait(other) => other,
            };
            if other.await? {
                return Ok(match self.results.load(&key) {
                    Some(result) => Answer::Hit(result),
                    // It has failed, or cannot be kept.
                    None => Answer::Computed(self.compute(&key, arg.clone()).await),
                });
            }
        }
    }

    /// Computes the result for `arg` in any case, and keeps it. If it is not kept (an `Err`, a full
    /// disk), an older result stays.
    ///
    /// # Errors
    /// [`CacheError::Key`].
    pub async fn refresh(&self, arg: A) -> Result<R, CacheError> {
        let key = self.results.key(&arg)?;
        Ok(self.compute(&key, arg).await)
    }

    async fn compute(&self, key: &Key, arg: A) -> R {
        let begin = Instant::now();
        let result = (self.f)(arg).await;
        self.results.keep(key, result, begin.elapsed())
    }

    management!();
}

impl<A, R> Clone for Function<A, R> {
    fn clone(&self) -> Self {
        Self {
            results: self.results.clone(),
            f: self.f,
        }
    }
}

impl<A, R, F: Clone> Clone for AsyncFunction<A, R, F> {
    fn clone(&self) -> Self {
        Self {
            results: self.results.clone(),
            f: self.f.clone(),
        }
    }
}

impl<A, R> Clone for Results<A, R> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            folder: self.folder.clone(),
            generation: self.generation.clone(),
            key_of: self.key_of.clone(),
            valid_for: self.valid_for,
            valid_if: self.valid_if.clone(),
            keeps_errors: self.keeps_errors,
            types: PhantomData,
        }
    }
}

impl<A, R> fmt::Debug for Results<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("name", &self.name)
            .field("version", &self.version.0)
            .field("folder", &self.folder.join(&self.generation))
            .finish_non_exhaustive()
    }
}

impl<A, R> fmt::Debug for Function<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.results).finish()
    }
}

impl<A, R, F> fmt::Debug for AsyncFunction<A, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFunction").field(&self.results).finish()
    }
}
