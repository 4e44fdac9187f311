//! A map with a journal.
//!
//! Items are taken in order. What is recorded is read from the file; the rest is started, and its
//! results are recorded in the order in which they come, many with one write. The caller gets them
//! in the order of the items.
//!
//! So many items are under way as the executor has use for: the number doubles when half of them
//! come back within two milliseconds. An item that was under way when the program died runs
//! alone, so that another death shows whether it is the cause.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;
use trefoil::process::Portable;
use trefoil::{Completer, Task, TaskError, TaskGroup, TaskId};

use super::file::{Journal, Known};
use super::record::{Item, Record, push};
use super::{JournalError, Settings, Spawn};
use crate::cache::outcome::is_err;
use crate::key::key_of;
use crate::value::{decode, encode};

/// The most items that are under way.
const MOST: usize = 1 << 14;

/// How many results an iterator may have that its caller has not taken.
const AHEAD: usize = 1 << 14;

/// A window's half that comes back within this makes the window larger.
const QUICK: Duration = Duration::from_millis(2);

/// The results of an iterator's items, in their order: from
/// [`Journaled::imap`](super::Journaled::imap).
///
/// Dropping it cancels what is under way.
pub struct Resumed<'a, I: Iterator, R: Send + 'static>(pub(super) Run<'a, I, R>);

impl<I: Iterator<Item: Portable>, R: Portable> Iterator for Resumed<'_, I, R> {
    type Item = Result<R, JournalError>;

    fn next(&mut self) -> Option<Result<R, JournalError>> {
        self.0.next(AHEAD)
    }
}

impl<I: Iterator, R: Send + 'static> fmt::Debug for Resumed<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.0.next;
        f.debug_struct("Resumed")
            .field("next", &next)
            .finish_non_exhaustive()
    }
}

/// What is known of an item.
enum LookUp<R> {
    Recorded(R),
    /// It was under way at so many deaths that it does not run any more.
    Blamed(u32),
    /// It was under way at a death.
    Suspect(Item),
    New(Item),
}

/// One run through the items.
pub(super) struct Run<'a, I: Iterator, R: Send + 'static> {
    settings: &'a Settings,
    items: I,
    /// The items have ended, or the run has.
    is_over: bool,
    spawn: Box<Spawn<'a, I::Item, R>>,
    /// `None`: nothing can be recorded any more.
    journal: Option<Journal>,
    known: Known,
    group: TaskGroup<R>,
    under_way: HashMap<TaskId, (u64, Item)>,
    /// One that must run alone, and waits for that.
    suspect: Option<(u64, Item, I::Item)>,
    is_alone: bool,
    /// Results that the caller has not taken.
    ready: HashMap<u64, Result<R, JournalError>>,
    /// How many items have been taken, and the index of the next result.
    taken: u64,
    next: u64,
    window: usize,
    /// When results were last taken.
    cycle: Instant,
    /// The index of an error after which nothing comes.
    last: Option<u64>,
}

impl<'a, I: Iterator<Item: Portable>, R: Portable> Run<'a, I, R> {
    pub(super) fn begin(
        settings: &'a Settings,
        items: I,
        spawn: Box<Spawn<'a, I::Item, R>>,
    ) -> Result<Self, JournalError> {
        // (Where a wait must not block, any wait says so; elsewhere, this one ends at once.)
        let (completer, mut never) = Completer::<()>::new();
        let waited = never.join_timeout(Duration::ZERO);
        completer.complete(Ok(()));
        if let Err(error @ TaskError::WouldBlock) = waited {
            return Err(error.into());
        }
        let header = settings.header::<I::Item, R>();
        let (journal, known) = Journal::open(&settings.path, &header, settings.synced)?;
        Ok(Self {
            settings,
            items,
            is_over: false,
            spawn,
            journal: Some(journal),
            known,
            group: TaskGroup::new(),
            under_way: HashMap::new(),
            suspect: None,
            is_alone: false,
            ready: HashMap::new(),
            taken: 0,
            next: 0,
            last: None,
            window: settings.at_once,
            cycle: Instant::now(),
        })
    }

    /// The next result. `ahead`: how many others may wait for the caller meanwhile.
    fn next(&mut self, ahead: usize) -> Option<Result<R, JournalError>> {
        loop {
            if self.last.is_some_and(|last| last < self.next) {
                return None;
            }
            if let Some(result) = self.ready.remove(&self.next) {
                self.next += 1;
                return Some(result);
            }
            self.start(ahead);
            if self.ready.contains_key(&self.next) {
                continue;
            }
            if self.under_way.is_empty() {
                return None;
            }
            self.collect();
        }
    }

    /// Starts items, as many as may be under way.
    fn start(&mut self, ahead: usize) {
        let mut begun = Vec::new();
        while self.under_way.len() + begun.len() < self.window
            && self.ready.len() + self.under_way.len() + begun.len() < ahead
        {
            let nothing_runs = self.under_way.is_empty() && begun.is_empty();
            if self.is_alone && !nothing_runs {
                break;
            }
            self.is_alone = false;
            if let Some(suspect) = self.suspect.take() {
                if !nothing_runs {
                    self.suspect = Some(suspect);
                    break;
                }
                self.is_alone = true;
                begun.push(suspect);
                break;
            }
            if self.is_over {
                break;
            }
            let Some(item) = self.items.next() else {
                self.is_over = true;
                break;
            };
            let index = self.taken;
            self.taken += 1;
            match self.look_up(index, &item) {
                Ok(LookUp::Recorded(result)) => {
                    self.ready.insert(index, Ok(result));
                    if index == self.next {
                        break; // the caller wants it now
                    }
                }
                Ok(LookUp::Blamed(deaths)) => {
                    let blamed = JournalError::Blamed {
                        index: index as usize,
                        deaths,
                    };
                    self.ready.insert(index, Err(blamed));
                }
                Ok(LookUp::Suspect(hash)) => self.suspect = Some((index, hash, item)),
                Ok(LookUp::New(hash)) => begun.push((index, hash, item)),
                Err(error) => {
                    // It comes when it is due, after the results of the items before it.
                    self.ready.insert(index, Err(error));
                    self.last = Some(index);
                    self.is_over = true;
                    break;
                }
            }
        }
        if self.settings.blame_after.is_some() && !begun.is_empty() {
            let indices = begun.iter().map(|(index, ..)| *index).collect();
            let mut out = Vec::new();
            push(&mut out, &Record::Begun(indices));
            self.append(&out);
        }
        for (index, hash, item) in begun {
            let id = self.group.add((self.spawn)(item));
            self.under_way.insert(id, (index, hash));
        }
    }

    /// What is to be done with an item.
    fn look_up(&mut self, index: u64, item: &I::Item) -> Result<LookUp<R>, JournalError> {
        let hash = hash(index, item)?;
        if let Some(result) = self.recorded(index, &hash)? {
            return Ok(LookUp::Recorded(result));
        }
        let deaths = self.known.deaths.get(&index).copied().unwrap_or(0);
        Ok(match self.settings.blame_after {
            Some(most) if deaths >= most => LookUp::Blamed(deaths),
            Some(_) if deaths > 0 => LookUp::Suspect(hash),
            _ => LookUp::New(hash),
        })
    }

    /// The recorded result of an item.
    fn recorded(&mut self, index: u64, hash: &Item) -> Result<Option<R>, JournalError> {
        let Some(place) = self.known.places.get(&index) else {
            return Ok(None);
        };
        let path = || self.settings.path.clone();
        if place.item != *hash {
            let (path, index) = (path(), index as usize);
            return Err(JournalError::OtherItem { path, index });
        }
        let Some(journal) = &mut self.journal else {
            return Ok(None); // it is computed again
        };
        let read = journal.read(index, place);
        let failed = |source| JournalError::File {
            path: path(),
            source,
        };
        // (What cannot be read as this type any more is computed again.)
        Ok(read.map_err(failed)?.and_then(|encoded| decode(&encoded)))
    }

    /// Waits for a result, and takes those that have come besides.
    fn collect(&mut self) {
        let mut out = Vec::new();
        let mut count = 0;
        let mut ended = self.group.next().join();
        while let Some((id, result)) = ended {
            count += 1;
            if let Some((index, item)) = self.under_way.remove(&id) {
                self.note(&mut out, index, item, &result);
                self.ready.insert(index, result.map_err(JournalError::Task));
            }
            ended = match count < MOST {
                true => self.group.try_next(),
                false => None,
            };
        }
        if count == 0 {
            self.under_way.clear(); // none is left to wait for
        }
        if !out.is_empty() {
            self.append(&out);
        }
        // So many at once, and so soon, means that the executor may be waiting for more.
        if count * 2 >= self.window && self.cycle.elapsed() < QUICK {
            self.window = (self.window * 2).min(MOST);
        }
        self.cycle = Instant::now();
    }

    /// Adds the record of a result to `out`.
    fn note(&mut self, out: &mut Vec<u8>, index: u64, item: Item, result: &Result<R, TaskError>) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        match result {
            Ok(result) if !is_err(result) => {
                let mut encoded = Vec::new();
                let recorded = encode(result, &mut encoded)
                    .and_then(|()| journal.record(out, index, item, &encoded));
                if let Err(error) = recorded {
                    self.stop(error);
                }
            }
            _ if self.settings.blame_after.is_some() => push(out, &Record::Failed(index)),
            _ => {}
        }
    }

    fn append(&mut self, records: &[u8]) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.append(records)
        {
            self.stop(error);
        }
    }
}

impl<I: Iterator, R: Send + 'static> Run<'_, I, R> {
    /// Records nothing more.
    fn stop(&mut self, error: io::Error) {
        if let Some(journal) = self.journal.take() {
            journal.forgive();
        }
        self.settings.report(error);
    }
}

impl<I: Iterator, R: Send + 'static> Drop for Run<'_, I, R> {
    /// Where it is recorded which items begin, it waits for those that cannot be cancelled any
    /// more: the program may yet die of them.
    fn drop(&mut self) {
        if self.settings.blame_after.is_some() && !std::thread::panicking() {
            self.group.cancel();
            while let Some((_, result)) = self.group.next().join() {
                if matches!(result, Err(TaskError::WouldBlock)) {
                    break;
                }
            }
        }
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.close()
        {
            self.stop(error);
        }
    }
}

fn hash<A: Serialize>(index: u64, item: &A) -> Result<Item, JournalError> {
    match key_of(item) {
        Ok(key) => Ok(key.0[..16].try_into().unwrap_or_default()),
        Err(error) => Err(JournalError::Key {
            index: index as usize,
            message: error.0,
        }),
    }
}

/// The run through a list whose items have been compared with what is recorded.
fn checked<'a, A: Portable, R: Portable>(
    settings: &'a Settings,
    items: impl IntoIterator<Item = A>,
    spawn: impl Fn(A) -> Task<R> + 'a,
) -> Result<Run<'a, std::vec::IntoIter<A>, R>, JournalError> {
    let items: Vec<A> = items.into_iter().collect();
    let length = items.len();
    let run = Run::begin(settings, items.into_iter(), Box::new(spawn))?;
    let path = || settings.path.clone();
    for (index, item) in run.items.as_slice().iter().enumerate() {
        if let Some(place) = run.known.places.get(&(index as u64))
            && place.item != hash(index as u64, item)?
        {
            return Err(JournalError::OtherItem {
                path: path(),
                index,
            });
        }
    }
    let behind = run
        .known
        .places
        .keys()
        .filter(|index| **index >= length as u64);
    match behind.min() {
        Some(index) => Err(JournalError::ShorterList {
            path: path(),
            index: *index as usize,
            length,
        }),
        None => Ok(run),
    }
}

pub(super) fn map<A: Portable, R: Portable>(
    settings: &Settings,
    items: impl IntoIterator<Item = A>,
    spawn: impl Fn(A) -> Task<R>,
) -> Result<Vec<R>, JournalError> {
    let mut run = checked(settings, items, spawn)?;
    let mut results = Vec::with_capacity(run.items.len());
    let mut blamed = None;
    while let Some(result) = run.next(usize::MAX) {
        match result {
            Ok(result) => results.push(result),
            Err(error @ JournalError::Blamed { .. }) => _ = blamed.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    blamed.map_or(Ok(results), Err)
}

pub(super) fn map_each<A: Portable, R: Portable>(
    settings: &Settings,
    items: impl IntoIterator<Item = A>,
    spawn: impl Fn(A) -> Task<R>,
) -> Result<Vec<Result<R, JournalError>>, JournalError> {
    let mut run = checked(settings, items, spawn)?;
    Ok(std::iter::from_fn(|| run.next(usize::MAX)).collect())
}
