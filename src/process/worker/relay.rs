//! In a plain worker: which of two threads reads the stream.
//!
//! **Job.** The main thread reads the frames that it runs, because each call would wait for a
//! second thread that only passes them on. But while an item runs, there may come what cannot wait:
//! a `Recall`, or the end of the stream. So if the main thread has been busy for a [`BEAT`], a
//! second thread reads in its place, until the main thread waits for what that has read.
//!
//! **Protocol.** The source belongs to the thread that has taken it out of [`Turn`].
//! 1. The main thread needs a frame: it takes one that was passed on; or else the source, if that
//!    is there, and reads; or else it waits for what the second thread reads.
//! 2. The second thread looks once in a beat. If the main thread has been busy since the last look,
//!    it takes the source, and passes on all frames up to one that the main thread waits for.
//! 3. If the main thread has waited since the last look, the second thread sleeps. It is woken when
//!    the main thread has got a frame.
//!
//! Tests: below; `tests/process/plain.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::loom::{Condvar, Mutex, MutexGuard};

/// For how long nobody reads while an item runs.
const BEAT: Duration = Duration::from_millis(1);

/// Where frames come from.
pub(super) trait Source {
    /// Waits for the next frame.
    fn next(&mut self) -> Vec<u8>;

    /// The next frame, if it is here.
    fn here(&mut self) -> Option<Vec<u8>>;
}

/// What the two threads share.
pub(super) struct Relay<S> {
    turn: Mutex<Turn<S>>,
    /// A frame was passed on that the main thread waits for.
    passed: Condvar,
    /// The main thread has got a frame.
    busy: Condvar,
}

struct Turn<S> {
    /// `None`: a thread has it.
    source: Option<S>,
    /// What the second thread has read.
    frames: VecDeque<Vec<u8>>,
    is_busy: bool,
    /// How often the main thread has become busy.
    times: u64,
    /// The second thread sleeps.
    sleeps: bool,
}

impl<S: Source> Relay<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            turn: Mutex::new(Turn {
                source: Some(source),
                frames: VecDeque::new(),
                is_busy: false,
                times: 0,
                sleeps: false,
            }),
            passed: Condvar::new(),
            busy: Condvar::new(),
        }
    }

    /// For the main thread: waits for the next frame.
    pub(super) fn next(&self) -> Vec<u8> {
        let mut turn = self.turn.lock();
        turn.is_busy = false;
        let frame = loop {
            if let Some(frame) = turn.frames.pop_front() {
                break frame;
            }
            let Some(mut source) = turn.source.take() else {
                turn = self.passed.wait(turn);
                continue;
            };
            drop(turn);
            let frame = source.next();
            turn = self.turn.lock();
            turn.source = Some(source);
            break frame;
        };
        turn.is_busy = true;
        turn.times += 1;
        if std::mem::take(&mut turn.sleeps) {
            self.busy.notify_one();
        }
        frame
    }

    /// For the main thread: the next frame, if it is here.
    pub(super) fn here(&self) -> Option<Vec<u8>> {
        let mut turn = self.turn.lock();
        if let Some(frame) = turn.frames.pop_front() {
            return Some(frame);
        }
        let mut source = turn.source.take()?;
        drop(turn);
        let frame = source.here();
        self.turn.lock().source = Some(source);
        frame
    }

    /// The second thread.
    pub(super) fn stand_in(&self) {
        let mut turn = self.turn.lock();
        loop {
            let times = turn.times;
            (turn, _) = self.busy.wait_until(turn, Instant::now() + BEAT);
            if turn.times != times {
                continue;
            }
            if turn.is_busy {
                turn = self.read(turn);
                continue;
            }
            turn.sleeps = true;
            while turn.sleeps {
                turn = self.busy.wait(turn);
            }
        }
    }

    /// Reads and passes on frames, up to one that the main thread waits for.
    fn read<'a>(&'a self, mut turn: MutexGuard<'a, Turn<S>>) -> MutexGuard<'a, Turn<S>> {
        let Some(mut source) = turn.source.take() else {
            return turn; // the main thread looks what is here
        };
        while turn.is_busy {
            drop(turn);
            let frame = source.next();
            turn = self.turn.lock();
            turn.frames.push_back(frame);
        }
        turn.source = Some(source);
        self.passed.notify_one();
        turn
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::loom::thread::{Builder, ThreadId, this};

    /// How long the other thread may take on a busy machine.
    const LIMIT: Duration = Duration::from_secs(60);

    /// What a test sends, and which thread has read what.
    struct Sent {
        frames: Receiver<u8>,
        reads: Sender<Read>,
    }

    impl Sent {
        fn read(&self, frame: u8) -> Vec<u8> {
            let _ = self.reads.send((frame, this()));
            vec![frame]
        }
    }

    impl Source for Sent {
        fn next(&mut self) -> Vec<u8> {
            match self.frames.recv() {
                Ok(frame) => self.read(frame),
                Err(_) => std::panic::resume_unwind(Box::new(())), // the test is over
            }
        }

        fn here(&mut self) -> Option<Vec<u8>> {
            let frame = self.frames.try_recv().ok()?;
            Some(self.read(frame))
        }
    }

    /// Which thread has read a frame.
    type Read = (u8, ThreadId);

    fn relay() -> (Arc<Relay<Sent>>, Sender<u8>, Receiver<Read>) {
        let ((send, frames), (reads, read)) = (channel(), channel());
        (Arc::new(Relay::new(Sent { frames, reads })), send, read)
    }

    #[test]
    fn one_thread_reads_what_is_short() {
        let (relay, send, read) = relay();
        (0..3).for_each(|frame| send.send(frame).unwrap());
        assert_eq!(
            (relay.next(), relay.here(), relay.next()),
            (vec![0], Some(vec![1]), vec![2])
        );
        assert_eq!(relay.here(), None);
        assert!(read.try_iter().all(|(_, thread)| thread == this()));
    }

    #[test]
    fn another_reads_while_it_is_busy() {
        let (relay, send, read) = relay();
        let theirs = relay.clone();
        let second = Builder::new().spawn(move || theirs.stand_in()).unwrap();
        let other = second.thread().id();
        send.send(0).unwrap();
        assert_eq!(relay.next(), [0]);
        assert_eq!(read.recv_timeout(LIMIT).unwrap(), (0, this()));
        for frame in 1..50 {
            // It is busy until the other thread has read this.
            send.send(frame).unwrap();
            assert_eq!(read.recv_timeout(LIMIT).unwrap(), (frame, other));
            assert_eq!(relay.next(), [frame]);
        }
        // It waits, and after that it reads itself.
        loop {
            send.send(50).unwrap();
            assert_eq!(relay.next(), [50]);
            if read.recv_timeout(LIMIT).unwrap() == (50, this()) {
                break;
            }
        }
        drop(send);
        assert!(second.join().is_err());
    }
}
