//! The results of one `imap`, between the driver and whoever asks for them.
//!
//! The driver's side is a [`Sink`]: it decodes without holding the lock, then puts a whole run of results in
//! at once. The caller's side takes one at a time: the next in order, or whichever came first.
//! When the job has ended, in whatever way, the inbox is *over*: what has not been answered
//! by then never will be.
//!
//! Tests: `tests/process/imap.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use serde::de::DeserializeOwned;

use super::sink::{Decoder, own};
use super::{Place, Read, Sink, Values};
use crate::loom::Mutex;
use crate::process::payload::shared_buffer::Lending;
use crate::task::{TaskError, panic};

type Answer<R> = Result<R, TaskError>;

struct State<R> {
    /// In order: by index, from `first` on. Otherwise as they came.
    answers: VecDeque<Option<Answer<R>>>,
    /// How many have been taken.
    first: usize,
    waker: Option<Waker>,
    over: Option<TaskError>,
    /// Nobody takes any.
    left: bool,
}

/// Where the results are.
pub(crate) struct Inbox<R> {
    state: Mutex<State<R>>,
    ordered: bool,
}

/// What somebody who asks for a result gets.
pub(crate) enum Next<R> {
    Answer(Answer<R>),
    /// None yet; the waker will be woken.
    Nothing,
    /// None any more, and why.
    Over(TaskError),
}

impl<R> Inbox<R> {
    pub(crate) fn new(ordered: bool) -> Self {
        let state = State {
            answers: VecDeque::new(),
            first: 0,
            waker: None,
            over: None,
            left: false,
        };
        Self {
            state: Mutex::new(state),
            ordered,
        }
    }

    /// The next result.
    pub(crate) fn take(&self, waker: Option<&Waker>) -> Next<R> {
        let mut state = self.state.lock();
        if let Some(Some(_)) = state.answers.front()
            && let Some(Some(answer)) = state.answers.pop_front()
        {
            state.first += 1;
            return Next::Answer(answer);
        }
        if let Some(error) = state.over.clone() {
            // The first in order is missing; a later one may be there.
            state.answers.pop_front();
            state.first += 1;
            return Next::Over(error);
        }
        let before = match waker {
            Some(waker) => state.waker.replace(waker.clone()),
            None => None,
        };
        drop(state);
        drop(before);
        Next::Nothing
    }

    /// Nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().over.is_some()
    }

    /// Nobody takes any more: whoever says so drops those that are here, and whoever brings another, that.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.left = true;
        let unwanted = std::mem::take(&mut state.answers);
        drop(state);
        drop(unwanted);
    }

    /// Answers the items from `index` on. Returns what nobody takes.
    pub(crate) fn put<I>(&self, index: usize, answers: I) -> Option<I>
    where
        I: IntoIterator<Item = Answer<R>>,
    {
        let mut state = self.state.lock();
        if state.left {
            return Some(answers);
        }
        if self.ordered {
            for (place, answer) in (index.saturating_sub(state.first)..).zip(answers) {
                if state.answers.len() <= place {
                    state.answers.resize_with(place + 1, || None);
                }
                state.answers[place] = Some(answer);
            }
        } else {
            state.answers.extend(answers.into_iter().map(Some));
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            panic::contain(|| waker.wake());
        }
        None
    }

    /// Nothing more comes, because of `error`.
    fn end(&self, error: TaskError) {
        let mut state = self.state.lock();
        state.over.get_or_insert(error);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            panic::contain(|| waker.wake());
        }
    }
}

/// The driver's side.
pub(crate) struct Each<R> {
    inbox: Arc<Inbox<R>>,
    decoder: Decoder,
}

impl<R: DeserializeOwned + Send + 'static> Each<R> {
    pub(crate) fn new(inbox: Arc<Inbox<R>>) -> Self {
        let decoder = Decoder::new::<R>();
        Self { inbox, decoder }
    }
}

impl<R: DeserializeOwned + Send + 'static> Sink for Each<R> {
    fn reader(&self, bytes: &[u8], lent: &Lending<'_>) -> (Read, Place) {
        self.decoder.of(bytes, lent)
    }

    fn take(&mut self, index: usize, values: Values, _: usize) -> Option<Values> {
        let answers = own::<R>(values).into_iter().map(Ok);
        Some(Box::new(self.inbox.put(index, answers)?))
    }

    fn error(&mut self, index: usize, error: TaskError) {
        drop(self.inbox.put(index, [Err(error)]));
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        self.inbox.end(failure.unwrap_or(TaskError::Closed));
        None
    }
}

impl<R> Drop for Each<R> {
    fn drop(&mut self) {
        self.inbox.end(TaskError::Closed);
    }
}
