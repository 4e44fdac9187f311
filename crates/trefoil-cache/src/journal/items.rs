//! The items of a map with a journal: what is recorded of them, and which must run.
//!
//! [`Items`] takes them in order, looks each up, and records the results that come. [`Missing`] is
//! the iterator of those that must run, which is given to whatever runs them: see `burst`. A burst
//! ends where an item must run alone, and where too many results wait for the caller.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::rc::Rc;

use serde::Serialize;
use trefoil::TaskError;
use trefoil::process::Portable;

use super::file::{Journal, Known};
use super::record::{Item, Record, push};
use super::{JournalError, Settings};
use crate::cache::outcome::is_err;
use crate::key::key_of;
use crate::value::{decode, encode};

const ENDED: &str = "the journal records nothing more";
const MISSING: &str = "the journal lacks a result";

pub(super) struct Items<'a, I: Iterator, R> {
    settings: &'a Settings,
    items: I,
    /// No more are taken.
    is_over: bool,
    /// How many results may wait for the caller, with those that are under way.
    ahead: usize,
    /// `None`: nothing can be recorded any more.
    journal: Option<Journal>,
    known: Known,
    /// A value that cannot be recorded was reported.
    is_incomplete: bool,
    /// Records that are to be written before the caller gets a result.
    records: Vec<u8>,
    /// The item that was taken last, if it must run and no burst has it yet.
    waiting: Option<Waiting<I::Item>>,
    /// What the burst has, by its numbers there.
    under_way: HashMap<usize, (u64, Item)>,
    /// How many items the burst was given, and whether it gets no more, so that the last one runs
    /// alone.
    given: usize,
    is_alone: bool,
    /// Why the executor takes no items.
    refused: Option<TaskError>,
    /// Results that the caller has not taken.
    ready: HashMap<u64, Result<R, JournalError>>,
    /// How many items have been taken.
    taken: u64,
    /// The index of an error after which nothing comes.
    last: Option<u64>,
}

/// An item that must run.
struct Waiting<A> {
    index: u64,
    hash: Item,
    item: A,
    /// It was under way at a death.
    is_suspect: bool,
}

impl<'a, I: Iterator<Item: Portable>, R: Portable> Items<'a, I, R> {
    pub(super) fn open(
        settings: &'a Settings,
        items: I,
        ahead: usize,
    ) -> Result<Self, JournalError> {
        let header = settings.header::<I::Item, R>();
        let (mut journal, known) = Journal::open(&settings.path, &header, settings.synced)?;
        if settings.blame_after.is_some() {
            let failed = |source| JournalError::File {
                path: settings.path.clone(),
                source,
            };
            journal.forgive_exits().map_err(failed)?;
        }
        Ok(Self {
            settings,
            items,
            is_over: false,
            ahead,
            journal: Some(journal),
            known,
            is_incomplete: false,
            records: Vec::new(),
            waiting: None,
            under_way: HashMap::new(),
            given: 0,
            is_alone: false,
            refused: None,
            ready: HashMap::new(),
            taken: 0,
            last: None,
        })
    }

    /// Takes out the result of an item, if there is one yet.
    pub(super) fn take(&mut self, index: u64) -> Option<Result<R, JournalError>> {
        self.ready.remove(&index)
    }

    /// Whether nothing comes from this index on.
    pub(super) fn ends_before(&self, index: u64) -> bool {
        self.last.is_some_and(|last| last < index) || (self.is_over && index >= self.taken)
    }

    /// Looks up the item at this index, if it has not been taken yet.
    pub(super) fn reach(&mut self, index: u64) {
        if index == self.taken && !self.is_over {
            self.take_one();
        }
    }

    /// Takes an item, and looks it up.
    fn take_one(&mut self) {
        let Some(item) = self.items.next() else {
            self.is_over = true;
            return;
        };
        let index = self.taken;
        self.taken += 1;
        match self.look_up(index, item) {
            Ok(Some(result)) => _ = self.ready.insert(index, result),
            Ok(None) => {}
            Err(error) => {
                // It comes when it is due, after the results of the items before it.
                self.ready.insert(index, Err(error));
                self.last = Some(index);
                self.is_over = true;
            }
        }
    }

    /// The result of an item, unless it is to run.
    fn look_up(
        &mut self,
        index: u64,
        item: I::Item,
    ) -> Result<Option<Result<R, JournalError>>, JournalError> {
        let hash = hash(index, &item)?;
        if let Some(result) = self.recorded(index, &hash)? {
            return Ok(Some(Ok(result)));
        }
        let deaths = self.known.deaths.get(&index).copied().unwrap_or(0);
        if self.settings.blame_after.is_some_and(|most| deaths >= most) {
            let index = index as usize;
            return Ok(Some(Err(JournalError::Blamed { index, deaths })));
        }
        if let Some(error) = &self.refused {
            return Ok(Some(Err(JournalError::Task(error.clone()))));
        }
        self.waiting = Some(Waiting {
            index,
            hash,
            item,
            is_suspect: self.settings.blame_after.is_some() && deaths > 0,
        });
        Ok(None)
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

    /// A burst begins.
    pub(super) fn begin(&mut self) {
        self.given = 0;
        self.is_alone = false;
    }

    /// The next item for the burst. `None`: it gets no more.
    fn give(&mut self) -> Option<I::Item> {
        while self.waiting.is_none()
            && !self.is_over
            && !self.is_alone
            && self.ready.len() + self.under_way.len() < self.ahead
        {
            self.take_one();
        }
        let is_first = self.given == 0;
        let waiting = self.waiting.take_if(|item| is_first || !item.is_suspect)?;
        self.is_alone = waiting.is_suspect;
        if self.settings.blame_after.is_some() {
            push(&mut self.records, &Record::Begun(vec![waiting.index]));
            self.flush();
        }
        let place = (waiting.index, waiting.hash);
        self.under_way.insert(self.given, place);
        self.given += 1;
        Some(waiting.item)
    }

    /// Takes the result of the burst's item `number`, and notes its record.
    pub(super) fn ended(&mut self, number: usize, result: Result<R, TaskError>) {
        let Some((index, item)) = self.under_way.remove(&number) else {
            // The executor takes no more.
            let error = result.err().unwrap_or(TaskError::Closed);
            if let Some(waiting) = self.waiting.take() {
                let error = JournalError::Task(error.clone());
                self.ready.insert(waiting.index, Err(error));
            }
            self.refused = Some(error);
            return;
        };
        let result = self.note(index, item, result);
        // (The executor knows only its number in the burst.)
        let result = result.map_err(|error| JournalError::Task(error.with_item(index as usize)));
        self.ready.insert(index, result);
    }

    /// The burst has ended: what has no result gets none.
    pub(super) fn burst_ended(&mut self) {
        for (_, (index, _)) in self.under_way.drain() {
            let lost = JournalError::Task(TaskError::Closed);
            self.ready.insert(index, Err(lost));
        }
    }

    /// Adds the record of a result to those that are to be written. Returns the result as it will
    /// be read back.
    fn note(
        &mut self,
        index: u64,
        item: Item,
        result: Result<R, TaskError>,
    ) -> Result<R, TaskError> {
        let Some(journal) = &mut self.journal else {
            return result;
        };
        match result {
            Ok(result) if !is_err(&result) => {
                let mut encoded = Vec::new();
                let named = |error: io::Error| {
                    let message = format!("the result of item {index} cannot be recorded: {error}");
                    io::Error::new(error.kind(), message)
                };
                let again = match encode(&result, &mut encoded) {
                    Ok(again) => again,
                    Err(error) => {
                        self.note_failure(index);
                        if !mem::replace(&mut self.is_incomplete, true) {
                            self.settings.report(MISSING, named(error));
                        }
                        return Ok(result);
                    }
                };
                if let Err(error) = journal.record(&mut self.records, index, item, &encoded) {
                    self.flush();
                    self.stop(named(error));
                }
                Ok(again)
            }
            result => {
                self.note_failure(index);
                result
            }
        }
    }

    /// Adds the record of an item that has ended without a result to record.
    fn note_failure(&mut self, index: u64) {
        if self.settings.blame_after.is_some() {
            push(&mut self.records, &Record::Failed(index));
        }
    }
}

impl<I: Iterator, R> Items<'_, I, R> {
    /// Writes what has been noted.
    pub(super) fn flush(&mut self) {
        if let Some(journal) = &mut self.journal
            && !self.records.is_empty()
            && let Err(error) = journal.append(&self.records)
        {
            self.stop(error);
        }
        self.records.clear();
    }

    /// Records that the session ends in order.
    pub(super) fn close(&mut self) {
        self.flush();
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.close()
        {
            self.stop(error);
        }
    }

    /// Records nothing more.
    fn stop(&mut self, error: io::Error) {
        if let Some(journal) = self.journal.take() {
            journal.forgive();
            self.settings.report(ENDED, error);
        }
    }
}

impl<A: Portable, R: Portable> Items<'_, std::vec::IntoIter<A>, R> {
    /// Compares the whole list with what is recorded.
    pub(super) fn compare(&self) -> Result<(), JournalError> {
        let path = || self.settings.path.clone();
        let (list, places) = (self.items.as_slice(), &self.known.places);
        for (index, item) in list.iter().enumerate() {
            if let Some(place) = places.get(&(index as u64))
                && place.item != hash(index as u64, item)?
            {
                let path = path();
                return Err(JournalError::OtherItem { path, index });
            }
        }
        let length = list.len();
        let behind = places.keys().filter(|index| **index >= length as u64);
        match behind.min() {
            Some(index) => Err(JournalError::ShorterList {
                path: path(),
                index: *index as usize,
                length,
            }),
            None => Ok(()),
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

/// The items of one burst.
pub(super) struct Missing<'a, I: Iterator, R>(pub(super) Rc<RefCell<Items<'a, I, R>>>);

impl<I: Iterator<Item: Portable>, R: Portable> Iterator for Missing<'_, I, R> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.borrow_mut().give()
    }
}
