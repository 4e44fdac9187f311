//! Garbled input from a worker: the whole way from the socket to the tasks.
//!
//! The driver is the real one, without processes: the other end of each socket is a simulated
//! worker that answers correctly. Its bytes are then flipped, lost, repeated or invented, and cut
//! into pieces anywhere, while it overwrites the pages that it shares. Whatever it does, the driver
//! does not panic, and every task ends.
//!
//! Tests: this is one.

use crate::process::job::job_id::JobId;
use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use super::*;
use crate::process::job::results::{Collect, Each, One, Run};
use crate::process::job::{CallOptions, Job, Work};
use crate::process::pages::raw_ledger::{Pages, ROOM};
use crate::process::parent::link::Records;
use crate::process::sched::Feed;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::wire::{self, CodeRef, CodecOf, Frame, Reader, Record};
use crate::sync::channel::{Receiver, unbounded};
use crate::sys::sockets::{self, Stream};
use crate::task::{Completer, Task};
use trefoil_os::host::image::image;

const CODE: CodeRef = CodeRef {
    trampoline: 1,
    function: 2,
};

/// The simulated worker.
struct Opposite {
    socket: Stream,
    pages: Pages,
    /// The bytes that it has not sent yet.
    says: Vec<u8>,
}

struct World {
    seed: u64,
    /// Time that was skipped, so that no pause after a death is waited for.
    ahead: Duration,
    driver: Driver,
    peer: Option<Opposite>,
    hostile: bool,
    ones: Vec<Task<u64>>,
    many: Vec<Task<Vec<String>>>,
    inboxes: Vec<(Receiver<Run<u64>>, usize)>,
    next_job: u64,
    /// How often the driver has noticed the garbling.
    seen_through: u32,
}

/// A driver for one worker, which is not there.
pub(super) fn driver() -> Driver {
    let mut settings = Settings::new();
    settings.policy.grace = Duration::ZERO;
    settings.policy.replace_first = false; // there is one peer here
    let settings = Arc::new(settings);
    Driver::new(Arc::new(PoolState::new(&settings).unwrap()), settings)
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            ahead: Duration::ZERO,
            driver: driver(),
            peer: None,
            hostile: true,
            ones: Vec::new(),
            many: Vec::new(),
            inboxes: Vec::new(),
            next_job: 1,
            seen_through: 0,
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed as usize % below
    }

    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    fn submit(&mut self) {
        let id = self.next_job;
        self.next_job += 1;
        let count = if id.is_multiple_of(2) {
            1
        } else {
            self.random(40)
        };
        let mut chunk = Chunk::default();
        (0..count).for_each(|item| chunk.push(&(item as u64)).unwrap());
        let each = id.is_multiple_of(7);
        let mut options = CallOptions::default();
        options.retry = (id % 3) as u32;
        options.timeout = id.is_multiple_of(5).then_some(Duration::from_millis(3));
        let mut work = if each {
            let (sender, inbox) = unbounded();
            self.inboxes.push((inbox, count));
            Work::new::<u64, u64>(CODE, Box::new(Each(sender)), options)
        } else if id.is_multiple_of(2) {
            let (completer, task) = Completer::new();
            self.ones.push(task);
            Work::new::<u64, u64>(CODE, Box::new(One::new(completer)), options)
        } else {
            let (completer, task) = Completer::new();
            self.many.push(task);
            Work::new::<u64, String>(CODE, Box::new(Collect::new(completer, 0)), options)
        };
        let now = self.now();
        work.each = each;
        self.driver
            .sched
            .submit(JobId::new(id), Job::new(work), now);
        let feed = Feed {
            id: JobId::new(id),
            base: 0,
            chunk: Arc::new(chunk),
            sealed: true,
            failure: None,
        };
        self.driver.sched.feed(feed, now);
    }

    /// Carries out the scheduler's wishes.
    fn act(&mut self) {
        let now = self.now();
        self.driver.sched.tick(now);
        let mut hears = false;
        for action in self.driver.sched.actions() {
            match action {
                Action::Hear(slot) => {
                    hears = true;
                    self.driver.receive(slot, false);
                    self.driver.read_unsent(slot);
                }
                Action::Spawn(slot) => {
                    self.ahead += Duration::from_secs(2);
                    let (ours, theirs) = sockets::pair().unwrap();
                    theirs.set_nonblocking(true).unwrap();
                    let (link, ledger) = Link::without_process(ours);
                    let memory = ledger.memory().try_clone_to_owned().unwrap();
                    let now = self.now();
                    self.driver
                        .sched
                        .started(slot, 1, link.peer.for_sched(false), now);
                    self.driver.links[slot.0] = Some(link);
                    let mut peer = Opposite {
                        socket: theirs,
                        pages: Pages::map(&memory).unwrap(),
                        says: Vec::new(),
                    };
                    let copy = image().name().as_bytes();
                    peer.says.extend(Record::Hello { copy }.bytes());
                    self.peer = Some(peer);
                }
                Action::Send(_, mut head, items) => {
                    head.extend_from_slice(items.as_ref().map_or(&[], Piece::bytes));
                    self.work(&head);
                }
                Action::Ring(_) | Action::Nudge(_) | Action::Withdraw(_) => {}
                Action::Kill(_) | Action::Abandon { .. } => self.peer = None,
            }
        }
        if hears {
            self.act(); // the tick goes on
        }
    }

    /// Answers a frame correctly, or nearly so.
    fn work(&mut self, frame: &[u8]) {
        let Ok(Some((frame, _))) = Frame::decode(frame) else {
            unreachable!("the driver sends the protocol")
        };
        let Frame::Batch { batch, items, .. } = frame else {
            self.peer = None;
            return;
        };
        let sequence = batch.sequence;
        let Some(mut peer) = self.peer.take() else {
            return;
        };
        let mut says = Vec::new();
        let mut reader = Reader(items);
        let mut begun = 0;
        while let Some(item) = reader.bytes() {
            if peer.pages.gate(sequence as usize).pass().is_none() {
                break;
            }
            begun += 1;
            match self.random(if self.hostile { 30 } else { usize::MAX }) {
                0 => {
                    let message = "oh".to_owned();
                    let place = Some(("a.rs".to_owned(), 1, 2));
                    says.extend(Record::Panic { message, place }.bytes());
                }
                1 => {
                    let (of, detail) = (CodecOf::Result, "no".to_owned());
                    says.extend(Record::Codec { of, detail }.bytes());
                }
                // A number reads as a number and as the text behind a length.
                _ => {
                    let value = [&[item.len() as u8], item].concat();
                    let value = if item.len() == 1 && item[0] == 0 {
                        item
                    } else {
                        &value
                    };
                    says.extend(wire::value_head(value.len()));
                    says.extend(value);
                }
            }
        }
        if self.hostile && self.random(30) == 0 {
            let asked = self.random(2) == 0;
            says.extend(Record::Retire { asked }.bytes());
        }
        let nanos = 1;
        let end = Record::End {
            sequence,
            begun,
            nanos,
        };
        says.extend(end.bytes());
        if self.hostile {
            self.garble(&mut says, &mut peer.pages);
        }
        peer.says.extend(says);
        self.peer = Some(peer);
    }

    fn garble(&mut self, says: &mut Vec<u8>, pages: &mut Pages) {
        let at = self.random(says.len());
        match self.random(9) {
            0..3 => says[at] = self.random(256) as u8,
            3 => drop(says.remove(at)),
            4 => says.insert(at, self.random(256) as u8),
            5 => says.extend_from_within(at..),
            6 => says.truncate(at),
            7 => {
                let word = self.random(usize::MAX) as u64;
                let small = self.random(7) as u64 | (self.random(7) as u64) << 32;
                let word = if at.is_multiple_of(2) { word } else { small };
                pages.gate(at).scribble(word);
            }
            _ => {
                let junk: Vec<u8> = (0..64).map(|_| self.random(7) as u8).collect();
                pages.room()[..64].copy_from_slice(&junk);
                pages.commit(self.random(2 * ROOM));
                pages.sent(at as u64);
            }
        }
    }

    /// Lets some of the worker's bytes arrive.
    fn hear(&mut self) {
        if let Some(mut peer) = self.peer.take() {
            let some = self.random(peer.says.len() + 1).max(peer.says.len().min(1));
            let sent = peer.socket.write(&peer.says[..some]).unwrap_or(0);
            peer.says.drain(..sent);
            let dies = self.hostile && self.random(40) == 0;
            self.peer = (!dies).then_some(peer);
        }
        self.driver.receive(SlotId(0), false);
        if self.driver.links[0]
            .as_ref()
            .is_some_and(|link| link.records == Records::Broken)
        {
            self.seen_through += 1;
            self.peer = None; // it was killed
            self.driver.receive(SlotId(0), false);
        }
        if self.peer.is_none() && self.driver.links[0].is_some() {
            self.driver.receive(SlotId(0), true);
            self.driver.remove(SlotId(0));
        }
    }
}

#[test]
fn garbled_answers_end_in_errors_and_nothing_else() {
    let _refuse = context::refuse_blocking();
    let mut seen_through = 0;
    let seeds = match std::env::var_os("TREFOIL_FULL") {
        Some(_) => 400,
        None => 200,
    };
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for step in 0..120 {
            if step % 8 == 0 {
                world.submit();
            }
            world.act();
            world.hear();
        }
        world.hostile = false;
        // Without the worker, because the rest of a garbled frame might be waited for without end.
        world.peer = None;
        world.hear();
        for _ in 0..20_000 {
            let ended = world.ones.iter().all(Task::is_finished)
                && world.many.iter().all(Task::is_finished)
                && world.inboxes.iter().all(|(inbox, _)| inbox.is_closed());
            if ended {
                break;
            }
            world.act();
            world.hear();
        }
        for (index, task) in world.ones.iter().enumerate() {
            assert!(task.is_finished(), "seed {seed}: task {index}");
        }
        for (index, task) in world.many.iter().enumerate() {
            assert!(task.is_finished(), "seed {seed}: map {index}");
        }
        for (inbox, count) in &world.inboxes {
            let mut answered = HashSet::new();
            while let Ok(run) = inbox.try_recv() {
                if let Run::Answers(first, answers) = run {
                    let new = |item| assert!(answered.insert(item), "seed {seed}: item {item}");
                    (first..first + answers.len()).for_each(new);
                }
            }
            assert_eq!(answered, (0..*count).collect(), "seed {seed}");
        }
        seen_through += world.seen_through;
        for task in world.ones {
            drop(task.join());
        }
        for task in world.many {
            drop(task.join());
        }
    }
    assert!(
        u64::from(seen_through) > seeds,
        "{seen_through}: too polite"
    );
}

/// A result that is too long is refused as soon as its length is known, in however many pieces its
/// head has arrived. (With 32 bits, this machine may have room for the longest. Other systems do
/// not tell how much they have.)
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_length_that_comes_in_pieces_is_looked_at() {
    let head = wire::value_head(1 << 46);
    for cut in 1..head.len() {
        let (ours, _theirs) = sockets::pair().unwrap();
        let mut driver = driver();
        driver.links[0] = Some(Link::without_process(ours).0);
        let records = |driver: &Driver| driver.links[0].as_ref().unwrap().records;
        driver.process_records(SlotId(0), &head[..cut]);
        assert_eq!(records(&driver), Records::Valid, "its length is not there");
        driver.process_records(SlotId(0), &head[cut..]);
        assert_eq!(records(&driver), Records::TooLong, "cut behind {cut}");
    }
}
