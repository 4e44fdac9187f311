//! The shared ring of a worker, for the models: the socket is a queue and a condition variable.
//!
//! It drives the real `pages::shared_ring`, with room for one frame, and the order in which a
//! worker looks for its next frame: in the ring, among the bytes that it has received, in the ring
//! once more, and then it sleeps. It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::collections::VecDeque;

use crate::loom::atomic::AtomicU64;
use crate::loom::{Condvar, Mutex};
use crate::process::pages::shared_ring::{Posted, SharedRing, WORDS, model};

/// A step that a broken twin of a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// Neither side has a fence between its store and its load.
    NoFences,
    /// A sleeping worker gets no nudge for a frame in the ring.
    NoNudge,
    /// Frames are read from whichever place has one first.
    NoPlaces,
}

pub struct Pair {
    words: Vec<AtomicU64>,
    /// Frames in the socket, each of one byte; a nudge is 0.
    socket: (Mutex<VecDeque<u8>>, Condvar),
    broken: Broken,
}

impl Pair {
    pub fn new(broken: Broken) -> Self {
        model::set_fenceless(broken == Broken::NoFences);
        let pair = Self {
            words: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            socket: (Mutex::new(VecDeque::new()), Condvar::new()),
            broken,
        };
        pair.ring().clear();
        pair
    }

    fn ring(&self) -> SharedRing<'_> {
        SharedRing::new(&self.words)
    }

    fn send(&self, frame: u8, place: &mut u64) {
        *place += 1;
        self.socket.0.lock().push_back(frame);
        self.socket.1.notify_one();
    }

    /// The parent: sends the frames 1 to `count`; those in `large` do not fit the ring.
    pub fn parent(&self, count: u8, large: &[u8]) {
        let (mut tail, mut place) = (0, 0);
        for frame in 1..=count {
            if large.contains(&frame) {
                self.send(frame, &mut place);
                continue;
            }
            let at = match self.broken {
                Broken::NoPlaces => 0,
                _ => place,
            };
            match self.ring().post(&mut tail, at, [&[frame], &[]]) {
                Posted::Yes => {}
                Posted::Asleep if self.broken == Broken::NoNudge => {}
                Posted::Asleep => self.send(0, &mut place),
                Posted::No => self.send(frame, &mut place),
            }
        }
    }

    /// The worker: reads `count` frames, and checks their order.
    pub fn worker(&self, count: u8) {
        let (mut place, mut head, mut received) = (0, 0, None);
        let (mut frame_bytes, mut next) = (Vec::new(), 1);
        let mut hear = |frame: u8| {
            assert_eq!(frame, next, "out of turn");
            next += 1;
            next > count
        };
        loop {
            let at = match self.broken {
                Broken::NoPlaces => 0,
                _ => place,
            };
            if self.ring().read(&mut head, at, &mut frame_bytes) {
                if hear(frame_bytes[0]) {
                    return;
                }
                continue;
            }
            if let Some(frame) = received.take() {
                place += 1;
                if frame != 0 && hear(frame) {
                    return;
                }
                continue;
            }
            let sleeps = self.ring().falls_asleep(head);
            if !sleeps && self.ring().read(&mut head, at, &mut frame_bytes) {
                if hear(frame_bytes[0]) {
                    return;
                }
                continue;
            }
            let mut socket = self.socket.0.lock();
            while socket.is_empty() {
                socket = self.socket.1.wait(socket);
            }
            received = socket.pop_front();
            drop(socket);
            if sleeps {
                self.ring().wakes();
            }
        }
    }
}
