//! A map with a journal.
//!
//! What is recorded is read from the file; the rest runs in *bursts*, and its results are recorded
//! in the order in which they come, many with one write. The caller gets them in the order of the
//! items. As a rule there is one burst. An item that was under way when the program died has one
//! of its own, so that another death shows whether it is the cause.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use trefoil::process::Portable;
use trefoil::{Completer, TaskError};

use super::burst::Burst;
use super::items::{Items, Missing};
use super::{Begin, JournalError, Settings};

/// How many results an iterator may have that its caller has not taken.
const AHEAD: usize = 1 << 14;

/// How many results are recorded with one write, at most.
const BATCH: usize = 1 << 14;

/// The results of an iterator's items, in their order: from
/// [`Journaled::imap`](super::Journaled::imap).
///
/// Dropping it cancels what is under way. What a thread runs already goes on, unrecorded, or is
/// waited for ([`blame_after`](super::Journaled::blame_after)).
pub struct Resumed<'a, I: Iterator<Item: Portable>, R: Portable>(Run<'a, I, R>);

impl<I: Iterator<Item: Portable>, R: Portable> Iterator for Resumed<'_, I, R> {
    type Item = Result<R, JournalError>;

    fn next(&mut self) -> Option<Result<R, JournalError>> {
        self.0.next()
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> fmt::Debug for Resumed<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.0.next;
        f.debug_struct("Resumed")
            .field("next", &next)
            .finish_non_exhaustive()
    }
}

/// One run through the items.
struct Run<'a, I: Iterator<Item: Portable>, R: Portable> {
    settings: &'a Settings,
    items: Rc<RefCell<Items<'a, I, R>>>,
    begin: Box<Begin<'a, I, R>>,
    /// Has an iterator of the items.
    burst: Option<Burst<'a, Missing<'a, I, R>, R>>,
    /// The index of the next result.
    next: u64,
}

impl<'a, I: Iterator<Item: Portable>, R: Portable> Run<'a, I, R> {
    fn open(
        settings: &'a Settings,
        items: I,
        ahead: usize,
        begin: Box<Begin<'a, I, R>>,
    ) -> Result<Self, JournalError> {
        // (Where a wait must not block, any wait says so; elsewhere, this one ends at once.)
        let (completer, mut never) = Completer::<()>::new();
        let waited = never.join_timeout(Duration::ZERO);
        completer.complete(Ok(()));
        if let Err(error @ TaskError::WouldBlock) = waited {
            return Err(error.into());
        }
        Ok(Self {
            settings,
            items: Rc::new(RefCell::new(Items::open(settings, items, ahead)?)),
            begin,
            burst: None,
            next: 0,
        })
    }

    fn next(&mut self) -> Option<Result<R, JournalError>> {
        loop {
            let mut items = self.items.borrow_mut();
            items.reach(self.next);
            if let Some(result) = items.take(self.next) {
                self.next += 1;
                return Some(result);
            }
            if items.ends_before(self.next) {
                return None;
            }
            drop(items);
            self.collect();
        }
    }

    /// Waits for a result, takes those that have come besides, and records them.
    fn collect(&mut self) {
        let burst = self.burst.get_or_insert_with(|| {
            self.items.borrow_mut().begin();
            (self.begin)(Missing(self.items.clone()))
        });
        let mut ended = burst.next();
        if ended.is_none() {
            self.burst = None;
            self.items.borrow_mut().burst_ended();
            return;
        }
        let mut count = 0;
        while let Some((number, result)) = ended {
            self.items.borrow_mut().ended(number, result);
            count += 1;
            ended = if count < BATCH {
                burst.try_next()
            } else {
                None
            };
        }
        self.items.borrow_mut().flush();
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Drop for Run<'_, I, R> {
    /// Where it is recorded which items begin, it waits for those that cannot be cancelled any
    /// more: the program may yet die of them.
    fn drop(&mut self) {
        if let Some(burst) = self.burst.take()
            && self.settings.blame_after.is_some()
            && !std::thread::panicking()
        {
            burst.end();
        }
        self.items.borrow_mut().close();
    }
}

/// The run through a list whose items have been compared with what is recorded.
fn checked<'a, A: Portable, R: Portable>(
    settings: &'a Settings,
    items: impl IntoIterator<Item = A>,
    begin: Box<Begin<'a, std::vec::IntoIter<A>, R>>,
) -> Result<Run<'a, std::vec::IntoIter<A>, R>, JournalError> {
    let items: Vec<A> = items.into_iter().collect();
    let run = Run::open(settings, items.into_iter(), usize::MAX, begin)?;
    run.items.borrow().compare()?;
    Ok(run)
}

pub(super) fn map<'a, A: Portable, R: Portable>(
    settings: &'a Settings,
    items: impl IntoIterator<Item = A>,
    begin: Box<Begin<'a, std::vec::IntoIter<A>, R>>,
) -> Result<Vec<R>, JournalError> {
    let mut run = checked(settings, items, begin)?;
    let mut results = Vec::new();
    let mut blamed = None;
    while let Some(result) = run.next() {
        match result {
            Ok(result) => results.push(result),
            Err(error @ JournalError::Blamed { .. }) => _ = blamed.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    blamed.map_or(Ok(results), Err)
}

pub(super) fn map_each<'a, A: Portable, R: Portable>(
    settings: &'a Settings,
    items: impl IntoIterator<Item = A>,
    begin: Box<Begin<'a, std::vec::IntoIter<A>, R>>,
) -> Result<Vec<Result<R, JournalError>>, JournalError> {
    let mut run = checked(settings, items, begin)?;
    Ok(std::iter::from_fn(|| run.next()).collect())
}

pub(super) fn imap<'a, I: Iterator<Item: Portable>, R: Portable>(
    settings: &'a Settings,
    items: I,
    begin: Box<Begin<'a, I, R>>,
) -> Result<Resumed<'a, I, R>, JournalError> {
    Ok(Resumed(Run::open(settings, items, AHEAD, begin)?))
}
