//! Maps that continue where their program stopped.
//!
//! - `record` is the format of the file, `file` opens, scans, locks and extends it.
//! - `items` looks items up and records results, `burst` runs those that are missing, `run` is the
//!   whole.

mod burst;
mod file;
mod items;
#[cfg(unix)]
mod raw_at_exit;
mod record;
mod run;

use std::any::type_name;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trefoil::process::{Portable, ProcessCall};
use trefoil::{Executor, TaskError};

use crate::cache::cached::OnExecutor;
use crate::cache::{Hook, Trouble, Version};
use burst::{Burst, Tasks};
use items::Missing;
use record::Header;
pub use run::Resumed;

/// Adds `journal` to the calls of a process pool.
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil_cache::JournaledCall;
///
/// # trefoil::init();
/// # let file = std::env::temp_dir().join(format!("trefoil-journal-call-{}", std::process::id()));
/// let procs = ProcessPool::with_workers(2)?;
/// let squares = procs.call(|n: u64| n * n).journal(&file).map(0..4)?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// // In a later run of the program, only the fifth is computed.
/// let squares = procs.call(|n: u64| n * n).journal(&file).map(0..5)?;
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # std::fs::remove_file(file)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait JournaledCall: Sized {
    /// Records the results of the call in the file `path`: see [`Journaled`].
    ///
    /// A [`within`](ProcessCall::within) is not that of the whole map: it begins anew with each part
    /// of the items that the journal hands over.
    fn journal(self, path: impl AsRef<Path>) -> Journaled<Self>;
}

impl<A: Portable, R: Portable> JournaledCall for ProcessCall<'_, A, R> {
    fn journal(self, path: impl AsRef<Path>) -> Journaled<Self> {
        Journaled::new(self, path)
    }
}

/// Adds `journal` to every [`Executor`](trefoil::Executor): to thread and process pools, to
/// [`Inline`](trefoil::Inline), and to one that was chosen by its name.
///
/// ```
/// use trefoil::ThreadPool;
/// use trefoil_cache::JournaledExecutor;
///
/// # let file = std::env::temp_dir().join(format!("trefoil-journal-pool-{}", std::process::id()));
/// let pool = ThreadPool::with_threads(2);
/// let squares = pool.journal(&file).map(0..4, |n: u64| n * n)?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # std::fs::remove_file(file)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait JournaledExecutor: Executor {
    /// Records the results of calls on this executor in the file `path`: see [`Journaled`].
    fn journal(&self, path: impl AsRef<Path>) -> Journaled<OnExecutor<'_, Self>> {
        Journaled::new(OnExecutor(self), path)
    }
}

impl<E: Executor + ?Sized> JournaledExecutor for E {}

/// Calls whose results are recorded in a file, so that a program that is started again continues
/// where it stopped: from [`JournaledCall::journal`] and [`JournaledExecutor::journal`].
///
/// A result is written to the file before the caller sees it, unless it
/// [cannot be](Self::on_trouble). Started again with the same items,
/// the program gets recorded results from the file, and runs only what is missing; results have the
/// order of the items. More items may follow the earlier ones. Another item at a place that has a
/// result, a type of another name, and another [`function`](Self::function) are errors that name
/// the first difference (a result that its type cannot be read from any more is computed again); so
/// is, except in an `imap`, a list that ends before a recorded item.
///
/// Items are compared by what serde writes for them, maps and std's hash sets in any order. (A hash
/// set in a type that writes only the set has another order in each run, and so is another item:
/// one with `transparent` or `into`, a variant of an `untagged` enum, a `Cow`, a `RefCell`, a
/// `Mutex`.) Results may have sets of any type.
///
/// A result is what serde reads back, also in the run that computes it: a field that is not written
/// (`#[serde(skip)]`) has its default. (What cannot be recorded is as it was computed.)
///
/// Only successes are recorded: no [`TaskError`], and no `Err`, where the result is a [`Result`].
///
/// The file has one writer at a time, for which it is locked; the lock ends with the program. It
/// belongs to this version of the crate's format, and to no other program. Results of about
/// 1 MiB or more are in files of their own, in the folder `PATH.items`.
///
/// What was written survives the end of the program by any signal. To survive a loss of power, too,
/// it must be [synced](Self::synced).
#[must_use = "it calls nothing until `map`"]
pub struct Journaled<X> {
    on: X,
    settings: Settings,
}

/// What a run needs to know.
#[derive(Clone)]
pub(crate) struct Settings {
    path: PathBuf,
    name: String,
    version: String,
    synced: Option<Duration>,
    blame_after: Option<u32>,
    at_once: Option<usize>,
    hook: Option<Arc<Hook>>,
}

impl<X> Journaled<X> {
    fn new(on: X, path: impl AsRef<Path>) -> Self {
        Self {
            on,
            settings: Settings {
                path: path.as_ref().to_owned(),
                name: String::new(),
                version: String::new(),
                synced: None,
                blame_after: None,
                at_once: None,
                hook: None,
            },
        }
    }

    /// The function's name and version, which are recorded and compared. Default: none. The
    /// function's code is not looked at: without a name, another function of the same types goes
    /// unnoticed.
    pub fn function(mut self, name: &str, version: impl Into<Version>) -> Self {
        self.settings.name = name.to_owned();
        self.settings.version = version.into().0;
        self
    }

    /// Syncs the file to the disk after a write, at most once in `pause`, and at the end; the files
    /// of results of more than 1 MiB, each after its write. Default: never, which is enough unless
    /// the machine itself fails.
    ///
    /// If a sync fails, nothing more is recorded, because what the disk has is not known any more;
    /// [`on_trouble`](Self::on_trouble)'s hook is called.
    pub fn synced(mut self, pause: Duration) -> Self {
        self.settings.synced = Some(pause);
        self
    }

    /// Skips an item that was under way at `deaths` ends of the whole program (handed over, and its
    /// result not recorded yet): it is [`JournalError::Blamed`], and the others run. Default: no
    /// item is skipped.
    ///
    /// An end counts that comes before the map has ended or was dropped: by a signal, by a crash,
    /// by the loss of power, and by [`std::process::exit`], with any code, on a thread that may be
    /// running an item: a thread of a pool, or the one that maps. (A library that gives up exits
    /// there.) An exit on another thread, in a handler of Ctrl-C for example, and the end of `main`
    /// while another thread maps do not count. On Windows every exit counts. An item that was
    /// skipped runs again with a higher number.
    ///
    /// Which items begin is recorded as well then. After the first death, the items that were under
    /// way run one at a time, each alone, so that a second death shows which of them it is. A map
    /// that fails, or is dropped, waits for what a thread runs: the program may yet die of it. 0
    /// counts as 1.
    pub fn blame_after(mut self, deaths: u32) -> Self {
        self.settings.blame_after = Some(deaths.max(1));
        self
    }

    /// How many items are under way at first; more, while they come back within milliseconds. In
    /// the calls of a process pool it is the [buffer](trefoil::process::Imap::buffer), which keeps
    /// its size. Default: twice the executor's width, and what `imap` has.
    pub fn at_once(mut self, items: usize) -> Self {
        self.settings.at_once = Some(items.max(1));
        self
    }

    /// Calls `hook` once if results cannot be recorded any more during a map, because the disk is
    /// full or the file is as long as this program's limit allows, for example; and once for the
    /// first value that cannot be recorded, because serde does not read it back as it was, for
    /// example. The computation continues. (A file that cannot be used when the map begins is a
    /// [`JournalError::File`].)
    pub fn on_trouble(mut self, hook: impl Fn(&Trouble) + Send + Sync + 'static) -> Self {
        self.settings.hook = Some(Arc::new(Box::new(hook)));
        self
    }

    /// How many results the file has: 0 if there is none.
    ///
    /// # Errors
    /// [`JournalError`], if it cannot be read, or is no journal, or damaged; on Windows also if it
    /// is in use.
    pub fn recorded(&self) -> Result<usize, JournalError> {
        file::count(&self.settings.path)
    }
}

impl<A: Portable, R: Portable> Journaled<ProcessCall<'_, A, R>> {
    /// The results of all items, in their order.
    ///
    /// # Errors
    /// The failure of the lowest index; what has not ended then is cancelled. An item that is
    /// [blamed](Self::blame_after) is the error only after all others have run. The differences of
    /// [`Journaled`], before anything runs.
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, JournalError> {
        run::map(&self.settings, items, self.begin())
    }

    /// The result of each item, in their order, errors included. An error of the file, or an item
    /// that cannot be hashed, is the last: the list is shorter then.
    ///
    /// # Errors
    /// Those of the file, and the differences of [`Journaled`], before anything runs.
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Result<R, JournalError>>, JournalError> {
        run::map_each(&self.settings, items, self.begin())
    }

    /// The results of an iterator's items, in their order. At most 16,384 items are taken ahead of
    /// the result that the caller takes next.
    ///
    /// # Errors
    /// Those of the file, and another function or type, before anything runs. Another item at a
    /// place is the last thing that the iterator yields.
    pub fn imap<I: IntoIterator<Item = A>>(
        &self,
        items: I,
    ) -> Result<Resumed<'_, I::IntoIter, R>, JournalError> {
        run::imap(&self.settings, items.into_iter(), self.begin())
    }

    fn begin<'a, I: Iterator<Item = A>>(&'a self) -> Box<Begin<'a, I, R>> {
        Box::new(|missing| {
            let results = self.on.imap_unordered(missing);
            let results = match self.settings.at_once {
                Some(items) => results.buffer(items),
                None => results,
            };
            Burst::Calls(Box::new(results.with_index()))
        })
    }
}

impl<E: Executor + ?Sized> Journaled<OnExecutor<'_, E>> {
    /// The results of `f` for all items, in their order.
    ///
    /// # Errors
    /// The failure of the lowest index; what has not ended then is cancelled, but what a thread
    /// runs already goes on, unrecorded (with [`blame_after`](Self::blame_after) it is waited for).
    /// An item that is blamed is the error only after all others have run. The differences of
    /// [`Journaled`], before anything runs.
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map<A: Portable, R: Portable>(
        &self,
        items: impl IntoIterator<Item = A>,
        f: fn(A) -> R,
    ) -> Result<Vec<R>, JournalError> {
        run::map(&self.settings, items, self.begin(f))
    }

    /// The result of each item, in their order, errors included. An error of the file, or an item
    /// that cannot be hashed, is the last: the list is shorter then.
    ///
    /// # Errors
    /// Those of the file, and the differences of [`Journaled`], before anything runs.
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each<A: Portable, R: Portable>(
        &self,
        items: impl IntoIterator<Item = A>,
        f: fn(A) -> R,
    ) -> Result<Vec<Result<R, JournalError>>, JournalError> {
        run::map_each(&self.settings, items, self.begin(f))
    }

    /// The results of an iterator's items, in their order. At most 16,384 items are taken ahead of
    /// the result that the caller takes next.
    ///
    /// # Errors
    /// Those of the file, and another function or type, before anything runs. Another item at a
    /// place is the last thing that the iterator yields.
    pub fn imap<I: IntoIterator<Item: Portable>, R: Portable>(
        &self,
        items: I,
        f: fn(I::Item) -> R,
    ) -> Result<Resumed<'_, I::IntoIter, R>, JournalError> {
        run::imap(&self.settings, items.into_iter(), self.begin(f))
    }

    fn begin<'a, I: Iterator<Item: Portable>, R: Portable>(
        &'a self,
        f: fn(I::Item) -> R,
    ) -> Box<Begin<'a, I, R>> {
        let executor = self.on.0;
        let at_once = self.settings.at_once.unwrap_or(2 * executor.width());
        Box::new(move |missing| {
            let spawn = move |item| executor.submit(item, f);
            Burst::Tasks(Tasks::new(missing, spawn, at_once))
        })
    }
}

/// Begins a burst.
type Begin<'a, I, R> = dyn Fn(Missing<'a, I, R>) -> Burst<'a, Missing<'a, I, R>, R> + 'a;

impl Settings {
    fn header<A, R>(&self) -> Header {
        Header {
            name: self.name.clone(),
            version: self.version.clone(),
            argument: type_name::<A>().to_owned(),
            result: type_name::<R>().to_owned(),
        }
    }

    fn report(&self, what: &'static str, error: io::Error) {
        if let Some(hook) = &self.hook {
            hook(&Trouble {
                what,
                path: self.path.clone(),
                error,
            });
        }
    }
}

impl<X> fmt::Debug for Journaled<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.settings.path;
        f.debug_struct("Journaled")
            .field("path", path)
            .finish_non_exhaustive()
    }
}

/// Why a map with a journal has no result, or an item of it.
///
/// The `Debug` form is the variant's name with the text of `Display` behind it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be opened, read, locked or made; or not written when the map begins.
    #[error("the journal {} cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program, or another map of this one, has the file open.
    #[error("the journal {} is in use by another map, of this program or of another", .0.display())]
    InUse(PathBuf),
    /// The file is no journal, or of another version of the format. It has not been changed.
    #[error("{} is no journal of this version: choose another path, or remove it", .0.display())]
    NoJournal(PathBuf),
    /// The file is damaged before its end, from this byte on. It has not been changed.
    #[error(
        "the journal {} is damaged at byte {offset}, and has records behind that: restore it from \
         a copy, or cut it there", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first damaged record begins.
        offset: u64,
    },
    /// The file is of another function, version or type.
    #[error(
        "the journal {} is of another map: its {what} is `{recorded}`, not `{now}`", path.display()
    )]
    OtherMap {
        /// The file.
        path: PathBuf,
        /// What is different: `function`, `version`, `argument type` or `result type`.
        what: &'static str,
        /// What it was.
        recorded: String,
        /// What it is now.
        now: String,
    },
    /// The file has a result for another item at this place of the list.
    #[error(
        "the journal {} has a result for another item {index}: the list has changed; only its end \
         may", path.display()
    )]
    OtherItem {
        /// The file.
        path: PathBuf,
        /// The place in the list, from 0.
        index: usize,
    },
    /// The file has a result for an item behind the end of the list. (An `imap` does not look.)
    #[error(
        "the journal {} has a result for item {index}, and the list ends at {length}", path.display()
    )]
    ShorterList {
        /// The file.
        path: PathBuf,
        /// The place of the first such item, from 0.
        index: usize,
        /// The list's length.
        length: usize,
    },
    /// An item cannot be hashed, because its `Serialize` fails, or it nests too deeply.
    #[error("item {index} cannot be hashed: {message}")]
    Key {
        /// The place in the list, from 0.
        index: usize,
        /// What its `Serialize` reports.
        message: String,
    },
    /// The item was skipped: see [`Journaled::blame_after`].
    #[error("item {index} is skipped: it was under way when the program ended ({deaths} times)")]
    Blamed {
        /// The place in the list, from 0.
        index: usize,
        /// How many.
        deaths: u32,
    },
    /// The computation has failed, or must not wait here.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl fmt::Debug for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::File { .. } => "File",
            Self::InUse(_) => "InUse",
            Self::NoJournal(_) => "NoJournal",
            Self::Damaged { .. } => "Damaged",
            Self::OtherMap { .. } => "OtherMap",
            Self::OtherItem { .. } => "OtherItem",
            Self::ShorterList { .. } => "ShorterList",
            Self::Key { .. } => "Key",
            Self::Blamed { .. } => "Blamed",
            Self::Task(_) => "Task",
        };
        write!(f, "{name}({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unwrap_prints_says_what_to_do() {
        let path = PathBuf::from("squares.trefoil");
        for (error, name) in [
            (JournalError::NoJournal(path.clone()), "NoJournal"),
            (JournalError::OtherItem { path, index: 7 }, "OtherItem"),
            (TaskError::WouldBlock.into(), "Task"),
        ] {
            assert_eq!(format!("{error:?}"), format!("{name}({error})"));
        }
    }
}
