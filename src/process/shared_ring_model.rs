//! The shared ring of a worker, for the models: the socket is a queue, and what the worker sleeps
//! on a number and a condition variable.
//!
//! It drives the real `pages::shared_ring`, with room for one frame, and the order in which a
//! worker looks for its next frame: in the ring, among the bytes that it has received, in the
//! socket, in the ring once more, and then it sleeps. It exists under `--cfg loom` only.
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
    /// A sleeping worker is not woken for a frame in the ring.
    NoWake,
    /// Frames are read from whichever place has one first.
    NoPlaces,
}

pub struct Pair {
    words: Vec<AtomicU64>,
    /// Frames in the socket, each of one byte.
    socket: Mutex<VecDeque<u8>>,
    /// How often the worker was woken.
    wakes: (Mutex<u32>, Condvar),
    broken: Broken,
}

impl Pair {
    pub fn new(broken: Broken) -> Self {
        model::set_fenceless(broken == Broken::NoFences);
        let pair = Self {
            words: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            socket: Mutex::new(VecDeque::new()),
            wakes: (Mutex::new(0), Condvar::new()),
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
        self.socket.lock().push_back(frame);
        self.wake();
    }

    fn wake(&self) {
        *self.wakes.0.lock() += 1;
        self.wakes.1.notify_one();
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
                Posted::Asleep if self.broken == Broken::NoWake => {}
                Posted::Asleep => self.wake(),
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
                if hear(frame) {
                    return;
                }
                continue;
            }
            let before = *self.wakes.0.lock();
            received = self.socket.lock().pop_front();
            if received.is_none() && self.ring().falls_asleep(head) {
                let mut wakes = self.wakes.0.lock();
                while *wakes == before {
                    wakes = self.wakes.1.wait(wakes);
                }
                drop(wakes);
                self.ring().wakes();
            }
        }
    }
}
