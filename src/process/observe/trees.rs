//! The questions for a worker's own tree of tasks, and its answer (`trefoil::inspect::tasks`).
//!
//! A worker with pages is asked through its bell, and answers there: its watcher thread does that,
//! while the items' thread alone uses the stream. A plain worker has a thread that reads its stream
//! while an item runs, and answers there. So a call pays nothing for this.
//!
//! A worker has one question at a time: those who ask meanwhile get the same answer. So one answer
//! at most is in the bell's socket, which has room for it.
//!
//! Tests: `tests/process/trees.rs`.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::events::{self, Question};
use crate::process::wire::{Broken, Record};
use crate::sys::poll::poll_patiently;
use crate::sys::sockets::Stream;
use crate::sys::transfer::{receive, transmit};
use crate::task::panic;

/// No answer is longer.
const LONGEST: usize = 256 << 10;

/// In the parent: the questions to one worker.
#[derive(Default)]
pub(crate) struct Trees {
    /// Those who wait for the next answer.
    questions: Vec<Question>,
    is_asked: bool,
    /// What has come of an answer.
    partial: Vec<u8>,
    /// Something else came, or the worker has closed its end.
    is_broken: bool,
}

impl Trees {
    /// Somebody asks. True: the worker must be asked; otherwise it was.
    pub(crate) fn add(&mut self, question: Question) -> bool {
        if self.is_broken {
            return false;
        }
        self.questions.retain(|question| !question.is_over());
        self.questions.push(question);
        !std::mem::replace(&mut self.is_asked, true)
    }

    /// The worker could not be asked.
    pub(crate) fn refused(&mut self) {
        self.is_asked = false;
        self.questions.clear();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// The worker has answered.
    pub(crate) fn answered(&mut self, (text, json): (&str, &str)) {
        self.is_asked = false;
        for question in self.questions.drain(..) {
            question.answered(text, json);
        }
    }

    /// Reads what has come through the bell.
    pub(crate) fn read(&mut self, bell: &Arc<Stream>) {
        self.is_broken |= self.read_on(bell).is_err();
        if self.is_broken {
            self.refused();
        }
    }

    fn read_on(&mut self, bell: &Arc<Stream>) -> Result<(), Broken> {
        let mut room = [0; 8 << 10];
        while self.partial.len() <= LONGEST {
            match receive(bell.as_fd(), true, &mut room[..]) {
                Ok(0) => return Err(Broken),
                Ok(count) => self.partial.extend_from_slice(&room[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Broken),
            }
            let bytes = std::mem::take(&mut self.partial);
            match Record::decode(&bytes)? {
                None => self.partial = bytes,
                Some((Record::Tree { text, json }, end)) if end == bytes.len() && self.is_asked => {
                    self.answered((text, json));
                }
                Some(_) => return Err(Broken),
            }
        }
        Err(Broken)
    }
}

/// How long to wait for room in the socket: the parent gives up as soon.
const SOCKET_ROOM_LIMIT: Duration = Duration::from_millis(100);

/// In the worker: the answer.
pub(crate) fn answer() -> Vec<u8> {
    let (text, json) = panic::catch(events::answer).unwrap_or_default();
    let (text, json) = (&*text, &*json);
    Record::Tree { text, json }.bytes()
}

/// Sends the answer through the bell. (The parent has taken the one before it.)
pub(crate) fn answer_to(bell: &impl AsFd) {
    let record = answer();
    let (mut rest, end) = (&record[..], Instant::now() + SOCKET_ROOM_LIMIT);
    while !rest.is_empty() && Instant::now() < end {
        match transmit(bell.as_fd(), true, &[IoSlice::new(rest)]) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::new(bell, PollFlags::OUT)];
                poll_patiently(&mut room, Some(SOCKET_ROOM_LIMIT));
            }
            Err(_) => return, // the parent is gone
        }
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sys::sockets::pair;

    fn asked() -> (Arc<Stream>, Stream, Trees) {
        let (ours, theirs) = pair().unwrap();
        let trees = Trees {
            is_asked: true,
            ..Trees::default()
        };
        (Arc::new(ours), theirs, trees)
    }

    fn answer() -> Vec<u8> {
        let (text, json) = ("process 1, 0 tasks", "{}");
        Record::Tree { text, json }.bytes()
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let (ours, mut theirs, mut trees) = asked();
        for byte in answer() {
            assert!(trees.is_asked);
            theirs.write_all(&[byte]).unwrap();
            trees.read(&ours);
        }
        assert!(!trees.is_asked && !trees.is_broken && trees.partial.is_empty());
    }

    /// Whatever a hostile worker sends, its parent is not stopped, and asks it no more.
    #[test]
    fn a_worker_that_sends_something_else_is_not_asked_again() {
        let long = [vec![1, 255], vec![255; 300 << 10]].concat();
        let twice = [answer(), answer()].concat();
        for wrong in [&b"\0"[..], &[7; 100], &Record::Begun.bytes(), &twice, &long] {
            let (ours, mut theirs, mut trees) = asked();
            let mut rest = wrong;
            while !rest.is_empty() && !trees.is_broken {
                let count = theirs.write(&rest[..rest.len().min(4096)]).unwrap();
                rest = &rest[count..];
                trees.read(&ours);
            }
            assert!(trees.is_broken && !trees.is_asked, "{:?}", &wrong[..1]);
        }
        let (ours, theirs, mut trees) = asked();
        drop(theirs);
        trees.read(&ours);
        assert!(trees.is_broken && !trees.is_asked);
        // An answer to no question.
        let (ours, mut theirs, mut trees) = asked();
        trees.is_asked = false;
        theirs.write_all(&answer()).unwrap();
        trees.read(&ours);
        assert!(trees.is_broken);
    }
}
