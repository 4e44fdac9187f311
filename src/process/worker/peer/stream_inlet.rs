//! The stream alone, as it works everywhere: which of two threads reads it.
//!
//! **Job.** A frame that asks for items back (`Recall`) cannot wait for the end of the item that
//! runs. A thread that always reads could answer it; but then each frame would wake two threads
//! in turn.
//!
//! **Protocol.** One of the two threads is the reader.
//! 1. The item thread reads its next frame itself ([`StreamInlet::next`]).
//! 2. If it runs items and has neither waited for the stream nor read a part of a copy for a whole
//!    [`TICK`], the watcher becomes the reader. It puts the frames that it need not handle itself
//!    into `relayed`, in their order; they came before all that are still in `received`.
//! 3. As soon as the item thread waits and there is nothing to relay, or one frame has been
//!    relayed, or a part of a copy, the item thread is the reader again. (The watcher cannot be
//!    woken while it waits for the stream. So the first frame after a long item wakes both.)
//! 4. If the item thread has waited for a whole tick, the watcher sleeps, and is woken with the
//!    next frame.
//!
//! The reader alone locks `received`. It handles all frames alike ([`StreamInlet::handle`]).
//!
//! If the watcher may not read (an item has forbidden it to its process), it ends: the item's
//! result can still be sent. Until then no items can be taken back.
//!
//! Tests: below; `tests/process/pool.rs::{no_item_waits_behind_a_long_one,
//! cancelled_in_the_queue_never_runs}`, with `TREFOIL_PLAIN_WORKERS=1`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;

use crate::loom::{Arc, Condvar, Mutex};
#[cfg(feature = "inspect")]
use crate::process::observe::trees;
use crate::process::wire::{Frame, Record};
use crate::process::worker::cancel::Canceller;
use crate::process::worker::parent_stream::{ParentStream, Received, die, send};
use crate::sys::refused::is_refusal;

/// How often the watcher checks whether to read in the item thread's place: it begins one to two
/// ticks after the last read that had to wait. An answer to a `Recall` comes that much later, so
/// this must be far below `patience` and the grace of a cancelled item (`limits`: 1 s and 20 ms).
const TICK: Duration = Duration::from_millis(1);

/// How much memory of a frame is kept until the next one.
const KEPT: usize = 64 << 10;

pub(super) struct StreamInlet {
    received: Mutex<Received>,
    reading: Mutex<Reading>,
    /// For the watcher: it need not sleep any longer.
    works: Condvar,
    /// For the item thread: a frame was relayed, or it is the reader.
    relays: Condvar,
    canceller: Canceller,
    /// Where questions are answered, and the lock of that direction (`Outlet`).
    output: ParentStream,
    whole: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Reading {
    /// The frames that the watcher has read.
    relayed: VecDeque<Vec<u8>>,
    /// Whether the watcher is the reader.
    by_watcher: bool,
    /// Whether the item thread waits for a frame.
    is_waiting: bool,
    /// How many reads of the item thread have ended that had to wait, or brought a part of a copy:
    /// then it will read the next frame soon.
    quick_reads: u64,
    watcher_sleeps: bool,
}

/// What became of a frame.
enum Handled {
    /// The item thread gets it.
    Passed,
    /// The same, and it is a part of a copy, which takes no time to handle.
    Part,
    /// It was a `Recall`, a `Tree`, or a `Nudge`.
    Answered,
}

impl StreamInlet {
    pub(super) fn new(
        received: Received,
        canceller: Canceller,
        output: ParentStream,
        whole: Arc<Mutex<()>>,
    ) -> Self {
        Self {
            received: Mutex::new(received),
            reading: Mutex::default(),
            works: Condvar::new(),
            relays: Condvar::new(),
            canceller,
            output,
            whole,
        }
    }

    /// For the item thread: waits for the next frame, which replaces the one in `frame`.
    pub(super) fn next(&self, frame: &mut Vec<u8>) {
        if frame.capacity() > KEPT {
            *frame = Vec::new(); // before the wait
        }
        let mut reading = self.reading.lock();
        reading.is_waiting = true;
        loop {
            if let Some(relayed) = reading.relayed.pop_front() {
                *frame = relayed;
                break;
            }
            if reading.by_watcher {
                reading = self.relays.wait(reading);
                continue;
            }
            drop(reading);
            let (handled, waited) = self.read(frame);
            let is_quick = waited || matches!(handled, Handled::Part);
            reading = self.reading.lock();
            reading.quick_reads += u64::from(is_quick);
            if !matches!(handled, Handled::Answered) {
                break;
            }
        }
        reading.is_waiting = false;
        if std::mem::take(&mut reading.watcher_sleeps) {
            self.works.notify_one();
        }
    }

    /// For the item thread: reads one frame. Also returns whether it had to wait for it.
    fn read(&self, frame: &mut Vec<u8>) -> (Handled, bool) {
        let mut received = self.received.lock();
        let (length, waited) = received.wait_for_frame();
        received.move_to(frame, length);
        (self.handle(frame), waited)
    }

    /// Whether the next frame is here, and has items: its first one is reported at once, together
    /// with everything before it.
    pub(super) fn has_batch(&self) -> bool {
        let is_batch =
            |frame: &[u8]| matches!(Frame::decode(frame), Ok(Some((Frame::Batch { .. }, _))));
        let reading = self.reading.lock();
        match reading.relayed.front() {
            Some(frame) => is_batch(frame),
            None => {
                let received = self.received.try_lock(); // `None`: the watcher reads
                received.is_some_and(|received| is_batch(received.rest()))
            }
        }
    }

    /// Handles what cannot wait.
    fn handle(&self, frame: &[u8]) -> Handled {
        match Frame::decode(frame) {
            Ok(Some((Frame::Recall { sequence, cancel }, _))) => {
                let end = self.canceller.recall(sequence, cancel);
                self.answer(&Record::Recalled { sequence, end }.bytes());
                if cancel {
                    self.canceller.look(); // last, because wakers are user code and may take long
                }
                return Handled::Answered;
            }
            #[cfg(feature = "inspect")]
            Ok(Some((Frame::Tree, _))) => {
                self.answer(&trees::answer());
                return Handled::Answered;
            }
            Ok(Some((Frame::Batch { batch, .. }, _))) => {
                self.canceller.open(batch.sequence, batch.count);
            }
            // It was for others on the way. (One of them may have lost an answer with its end.)
            Ok(Some((Frame::Nudge, _))) if self.output.has_no_reader() => die(),
            Ok(Some((Frame::Nudge, _))) => return Handled::Answered,
            Ok(Some((Frame::Copy { .. }, _))) => return Handled::Part,
            _ => {}
        }
        Handled::Passed
    }

    fn answer(&self, record: &[u8]) {
        let _whole = self.whole.lock();
        let _ = send(&self.output, record, &[]); // without attachments nothing is refused
    }

    /// What the watcher does.
    pub(super) fn watch(&self) {
        let mut reading = self.reading.lock();
        loop {
            let before = reading.quick_reads;
            (reading, _) = self.works.wait_until(reading, Instant::now() + TICK);
            if reading.quick_reads != before {
                continue;
            }
            if reading.is_waiting {
                reading.watcher_sleeps = true;
                while reading.watcher_sleeps {
                    reading = self.works.wait(reading);
                }
                continue;
            }
            reading.by_watcher = true;
            drop(reading);
            let end = self.stand_in();
            reading = self.reading.lock();
            reading.by_watcher = false;
            self.relays.notify_one();
            match end {
                Ok(()) => {}
                Err(error) if is_refusal(error) => return,
                Err(_) => die(), // the parent is gone, and had not read everything
            }
        }
    }

    /// For the watcher: reads until the item thread waits, or one part of a copy: otherwise it
    /// would read them faster than the item thread puts them together.
    fn stand_in(&self) -> rustix::io::Result<()> {
        let mut received = self.received.lock();
        loop {
            let Some(length) = received.whole() else {
                if self.reading.lock().is_waiting {
                    return Ok(());
                }
                received.make_room();
                received.receive(RecvFlags::empty())?;
                continue;
            };
            let mut frame = Vec::new();
            received.move_to(&mut frame, length);
            let handled = self.handle(&frame);
            if !matches!(handled, Handled::Answered) {
                let mut reading = self.reading.lock();
                reading.relayed.push_back(frame);
                if reading.is_waiting || matches!(handled, Handled::Part) {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(all(test, unix, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::loom::thread::Builder;
    use crate::process::pages::raw_ledger::Pages;
    use crate::process::wire::BatchHead;
    use crate::process::worker::cancel::calls;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{Receiver, channel};

    fn batch(sequence: u64) -> Vec<u8> {
        let batch = BatchHead {
            sequence,
            count: 1,
            ..BatchHead::default()
        };
        let (lent, items) = (Vec::new(), &[][..]);
        Frame::Batch { batch, lent, items }.head(0)
    }

    fn recall(sequence: u64) -> Vec<u8> {
        Frame::Recall {
            sequence,
            cancel: true,
        }
        .head(0)
    }

    /// The sequence of the next `Recalled`.
    fn answer(mut parent: &UnixStream) -> u64 {
        let mut bytes = Vec::new();
        loop {
            if let Ok(Some((Record::Recalled { sequence, .. }, _))) = Record::decode(&bytes) {
                return sequence;
            }
            let mut one = [0];
            parent.read_exact(&mut one).unwrap();
            bytes.push(one[0]);
        }
    }

    /// An inlet with its watcher, and a thread that takes frames and runs each batch until it may
    /// go on.
    fn begin() -> (UnixStream, Receiver<u64>, std::sync::mpsc::Sender<()>) {
        let (parent, worker) = UnixStream::pair().unwrap();
        let stream = ParentStream::new(worker.into());
        let output = stream.try_clone().unwrap();
        let received = Received::new(stream, None);
        let (_, canceller) = calls((*Pages::own()).clone());
        let inlet = StreamInlet::new(received, canceller, output, Arc::default());
        let inlet = Arc::new(inlet);
        let watched = inlet.clone();
        Builder::new().spawn(move || watched.watch()).unwrap();
        let ((begins, begun), (go_on, goes_on)) = (channel(), channel());
        let items = move || {
            let mut frame = Vec::new();
            loop {
                inlet.next(&mut frame);
                let Ok(Some((Frame::Batch { batch, .. }, _))) = Frame::decode(&frame) else {
                    return;
                };
                begins.send(batch.sequence).unwrap();
                goes_on.recv().unwrap();
            }
        };
        Builder::new().spawn(items).unwrap();
        // (The watcher stays, and would end this process at the end of the stream.)
        std::mem::forget(parent.try_clone().unwrap());
        (parent, begun, go_on)
    }

    /// A question is answered while an item runs, however often the two threads have changed their
    /// roles; and frames stay in their order, whichever of them has read them.
    #[test]
    fn a_question_is_answered_while_an_item_runs() {
        let (mut parent, begun, go_on) = begin();
        for round in 0..40 {
            let first = 3 * round;
            parent.write_all(&batch(first)).unwrap();
            assert_eq!(begun.recv().unwrap(), first);
            let more = [batch(first + 1), recall(first), batch(first + 2)].concat();
            // Piece by piece, too: a frame may be half here.
            for piece in more.chunks(if round % 2 == 0 { 7 } else { 1000 }) {
                parent.write_all(piece).unwrap();
            }
            assert_eq!(answer(&parent), first, "while it runs");
            for behind in 1..3 {
                go_on.send(()).unwrap();
                assert_eq!(begun.recv().unwrap(), first + behind);
            }
            go_on.send(()).unwrap();
            for _ in 0..round % 5 {
                parent.write_all(&recall(first)).unwrap();
                assert_eq!(answer(&parent), first, "while nothing runs");
            }
        }
        parent.write_all(&Frame::Bye.head(0)).unwrap();
        assert!(begun.recv().is_err(), "the thread has ended");
    }

    /// What came together with a frame that runs long is answered as soon.
    #[test]
    fn a_question_behind_its_frame_is_answered() {
        let (mut parent, begun, go_on) = begin();
        for round in 0..40 {
            let both = [batch(round), recall(round)].concat();
            parent.write_all(&both).unwrap();
            assert_eq!(begun.recv().unwrap(), round);
            assert_eq!(answer(&parent), round);
            go_on.send(()).unwrap();
        }
        parent.write_all(&Frame::Bye.head(0)).unwrap();
        assert!(begun.recv().is_err());
    }
}
