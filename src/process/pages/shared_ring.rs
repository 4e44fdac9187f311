//! Small frames for a worker that is awake: a ring of words in the pages that both share.
//!
//! **Job.** A frame that goes through the socket costs two system calls, one on either side. If
//! calls follow one another closely, the worker is awake and polls anyway, so its frames can be put
//! where it polls. The socket remains for a worker that sleeps, for long frames and for frames with
//! descriptors.
//!
//! ```text
//!        0      ...   8      9         ...  16                                      WORDS
//!        ┌────────────┬──────┬──────────────┬────────────────────────────────────────┐
//!        │ tail       │ head │ asleep       │ position, length, bytes ... | position ...│
//!        └────────────┴──────┴──────────────┴────────────────────────────────────────┘
//!          the parent's  the worker's         frames: a ring, written by the parent
//! ```
//!
//! **Protocol.** Frames are one stream, whichever way each of them goes.
//! 1. The parent writes a frame here only while nothing waits to be sent through the socket. The
//!    frame's *position* is the number of bytes that the parent had sent through the socket before.
//!    The worker takes the frame when it has used that many, so each frame is read in its turn.
//! 2. Before the worker sleeps it sets `asleep`, and then looks for a frame once more
//!    ([`SharedRing::falls_asleep`]). The parent writes a frame, and then looks whether the worker
//!    sleeps ([`SharedRing::post`]). On either side there is a full fence between the two steps, so
//!    at least one side sees the other: no frame waits for a worker that sleeps.
//! 3. The caller that finds the worker asleep clears `asleep`, and must then wake it: by the word
//!    on which it sleeps (`Ledger::wake_worker`), which costs a fifth of a message; a fork server,
//!    which sleeps in `recv`, by an empty `Nudge`. From then on the worker counts as awake. Whoever
//!    sends something through the socket changes that word, too.
//! 4. Each side keeps its own position in its own memory: `tail` and `head` are copies for the
//!    other side, and the next frame repairs them if an item has overwritten them. A worker that
//!    counts as awake and does not begin gets a `Nudge`, and `tail` once more
//!    ([`SharedRing::remind`]), in case it sleeps, until it begins. A frame is written here only
//!    after the bytes before its position have been sent: a worker that has read everything, and
//!    finds a frame whose turn has not come, ends, because the pages were overwritten.
//!
//! The parent trusts nothing that it reads here: `head` and `asleep` decide only which way a frame
//! goes, and a position is reduced to one in the ring before it is used. A worker that lies only
//! gets its own work late.
//!
//! Tests: below; `tests/trefoil-checks/tests/process_models.rs` (under loom);
//! `tests/process/speed.rs`; `tests/process/shared_ring.rs` (workers that write here what they
//! like).

use crate::loom::atomic::{AtomicU64, Ordering, fence};

/// The number of words of the ring.
pub(crate) const WORDS: usize = FRAMES + ROOM;

const TAIL: usize = 0;
const HEAD: usize = 8;
const ASLEEP: usize = 9;
const FRAMES: usize = 16;

/// How many words of frames fit: a power of two.
#[cfg(not(loom))]
const ROOM: usize = 2048;
#[cfg(loom)]
const ROOM: usize = 4;

/// Longer frames go through the socket: an eighth of the room.
const MAX_FRAME: usize = 2048;

/// What happened to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It is in the ring, and the worker polls, or will look before it sleeps.
    Yes,
    /// It is in the ring, but the worker sleeps and must be woken.
    Asleep,
    /// The frame must go through the socket.
    No,
}

/// The words, as either side sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedRing<'a>(&'a [AtomicU64]);

impl<'a> SharedRing<'a> {
    /// `words` has at least [`WORDS`] words.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self(&words[..WORDS])
    }

    /// Clears the ring, before the worker is started.
    pub(crate) fn clear(&self) {
        // Release: with the descriptor of the memory, which is sent afterwards.
        self.0[ASLEEP].store(1, Ordering::Release);
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        &self.0[FRAMES + at as usize % ROOM]
    }
}

/// The parent's side.
impl SharedRing<'_> {
    /// Writes a frame, given in two parts, to be read after `position` bytes of the socket. `tail`
    /// is where the next frame begins, kept in the parent's own memory.
    pub(crate) fn post(&self, tail: &mut u64, position: u64, parts: [&[u8]; 2]) -> Posted {
        let length = parts[0].len() + parts[1].len();
        let words = 2 + length.div_ceil(8);
        if length > MAX_FRAME || words > ROOM {
            return Posted::No;
        }
        // Acquire: the worker has read the frames whose room is used again.
        let used = tail.wrapping_sub(self.0[HEAD].load(Ordering::Acquire));
        if used > (ROOM - words) as u64 {
            return Posted::No; // or `head` was overwritten
        }
        self.word(*tail).store(position, Ordering::Relaxed);
        self.word(*tail + 1).store(length as u64, Ordering::Relaxed);
        self.write(*tail + 2, parts);
        *tail += words as u64;
        self.0[TAIL].store(*tail, Ordering::Release);
        // Pairs with the fence in `falls_asleep`.
        self.fence();
        if self.claim() {
            Posted::Asleep
        } else {
            Posted::Yes
        }
    }

    /// Writes `tail` once more, before a `Nudge`.
    pub(crate) fn remind(&self, tail: u64) {
        self.0[TAIL].store(tail, Ordering::Release);
    }

    /// Clears `asleep`. True: the caller must wake the worker.
    fn claim(&self) -> bool {
        let asleep = &self.0[ASLEEP];
        let claim = || asleep.compare_exchange(1, 0, Ordering::Relaxed, Ordering::Relaxed);
        asleep.load(Ordering::Relaxed) == 1 && claim().is_ok()
    }

    fn write(&self, at: u64, parts: [&[u8]; 2]) {
        for (at, bytes) in (at..).zip(parts.concat().chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let word = u64::from_ne_bytes(word);
            self.word(at).store(word, Ordering::Relaxed);
        }
    }
}

/// The worker's side.
impl SharedRing<'_> {
    /// Reads the next frame into `frame`, if there is one and its turn has come: `position` bytes
    /// of the socket have been used. `at` is where it begins, kept in the worker's own memory.
    #[inline]
    pub(crate) fn read(&self, at: &mut u64, position: u64, frame: &mut Vec<u8>) -> bool {
        let head = *at;
        // Acquire: the frame was written before `tail`.
        if head == self.0[TAIL].load(Ordering::Acquire)
            || self.word(head).load(Ordering::Relaxed) != position
        {
            return false;
        }
        let length = self.word(head + 1).load(Ordering::Relaxed) as usize;
        let words = length.min(MAX_FRAME).div_ceil(8) as u64;
        frame.clear();
        for at in head + 2..head + 2 + words {
            frame.extend_from_slice(&self.word(at).load(Ordering::Relaxed).to_ne_bytes());
        }
        frame.truncate(length);
        *at = head + 2 + words;
        self.0[HEAD].store(*at, Ordering::Release);
        true
    }

    /// Called before the worker sleeps. False: there is a frame.
    #[inline]
    pub(crate) fn falls_asleep(&self, head: u64) -> bool {
        self.0[ASLEEP].store(1, Ordering::Relaxed);
        // Pairs with the fence in `post`.
        self.fence();
        let none = head == self.0[TAIL].load(Ordering::Acquire);
        if !none {
            self.wakes();
        }
        none
    }

    /// Called when the worker is awake again.
    #[inline]
    pub(crate) fn wakes(&self) {
        self.0[ASLEEP].store(0, Ordering::Relaxed);
    }
}

impl SharedRing<'_> {
    fn fence(&self) {
        #[cfg(loom)]
        if model::without_fences() {
            return;
        }
        fence(Ordering::SeqCst);
    }
}

/// Faults for the models to find.
#[cfg(loom)]
#[allow(missing_docs)]
pub(crate) mod model {
    // loom runs all threads of a model on one system thread.
    std::thread_local! {
        static FENCELESS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    pub(crate) fn set_fenceless(fenceless: bool) {
        FENCELESS.with(|cell| cell.set(fenceless));
    }

    pub(super) fn without_fences() -> bool {
        FENCELESS.with(std::cell::Cell::get)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn frames_come_as_they_were_written() {
        let words = words();
        let ring = SharedRing::new(&words);
        let (mut tail, mut head, mut frame) = (0, 0, Vec::new());
        for round in 0..5_000usize {
            let bytes: Vec<u8> = (0..round % 300).map(|n| (n + round) as u8).collect();
            let (first, second) = bytes.split_at(round % 7 * bytes.len() / 7);
            assert_eq!(ring.post(&mut tail, 9, [first, second]), Posted::Yes);
            assert!(
                !ring.read(&mut head, 8, &mut frame),
                "its turn has not come"
            );
            assert!(ring.read(&mut head, 9, &mut frame));
            assert_eq!(frame, bytes, "{round}");
            assert!(!ring.read(&mut head, 9, &mut frame));
        }
    }

    #[test]
    fn what_does_not_fit_goes_the_other_way() {
        let words = words();
        let ring = SharedRing::new(&words);
        let (mut tail, mut head, mut frame) = (0, 0, Vec::new());
        let long = [7; MAX_FRAME + 1];
        assert_eq!(ring.post(&mut tail, 0, [&long, &[]]), Posted::No);
        let mut count = 0;
        while ring.post(&mut tail, count, [&[], &long[..800]]) == Posted::Yes {
            count += 1;
        }
        assert_eq!(count as usize, ROOM / 102);
        assert!(ring.read(&mut head, 0, &mut frame));
        assert_eq!(
            ring.post(&mut tail, count, [&long[..800], &[]]),
            Posted::Yes
        );
        for position in 1..=count {
            assert!(ring.read(&mut head, position, &mut frame) && frame == long[..800]);
        }
    }

    #[test]
    fn a_sleeping_worker_is_woken_once() {
        let words = words();
        let ring = SharedRing::new(&words);
        let (mut tail, mut head, mut frame) = (0, 0, Vec::new());
        ring.clear();
        assert_eq!(ring.post(&mut tail, 0, [b"a", b""]), Posted::Asleep);
        assert_eq!(ring.post(&mut tail, 0, [b"b", b""]), Posted::Yes);
        assert!(!ring.falls_asleep(head), "there is a frame");
        assert!(ring.read(&mut head, 0, &mut frame) && frame == b"a");
        assert!(ring.read(&mut head, 0, &mut frame) && frame == b"b");
        assert!(ring.falls_asleep(head));
        assert_eq!(ring.post(&mut tail, 0, [b"c", b""]), Posted::Asleep);
        ring.wakes();
        assert_eq!(ring.post(&mut tail, 0, [b"d", b""]), Posted::Yes);
    }

    #[test]
    fn a_wild_worker_changes_only_the_way() {
        let words = words();
        let ring = SharedRing::new(&words);
        let mut tail = 0;
        for value in [u64::MAX, 1 << 63, 1, 0x0101_0101, 0] {
            words
                .iter()
                .for_each(|word| word.store(value, Ordering::Relaxed));
            for _ in 0..3_000 {
                let before = tail;
                let posted = ring.post(&mut tail, 1, [&[1; 100], &[2; 100]]);
                assert_eq!(posted != Posted::No, tail != before);
            }
        }
    }
}
