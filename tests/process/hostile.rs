//! Workers that use everything they have against their parent: the pages and descriptors of the
//! protocol, and its stream. The parent goes on, their calls end, and what it has started once it
//! starts no second time.
//!
//! The attackers are items. What they do is written for the protocol as it is (`src/process/wire`,
//! `crates/trefoil-os/src/host/{gate,ledger}.rs`); a test fails if its attack no longer finds what
//! it attacks.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, MemfdFlags, OFlags, SealFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown as Half};
use support::{
    Dice, Scratch, Test, census, forever, note, nothing_left_since, peak, pool, resident, tests,
    until,
};
use trefoil::process::channel;
use trefoil::process::channel::Sender;
use trefoil::{Bulk, ProcessPool, Shutdown, TaskError};

/// A limit for what should take milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// The time limit of an attacking item.
const SHORT: Duration = Duration::from_millis(200);

/// How many gates there are, and how many words each has; and which word is which.
const GATES: u64 = 64;
const GATE: u64 = 8;
const TAKEN: u64 = 0;
const STARTED: u64 = 2;

/// The tags of some records.
const END: u8 = 3;
const LENT: u8 = 10;
const DESCRIPTORS: u8 = 7;
const COPY: u8 = 8;
const TAKEN_UP: u8 = 9;
#[cfg(feature = "inspect")]
const TREE: u8 = 14;

/// The kinds of copies: memory, and an array of bytes.
const MEMORY: u8 = 0;
const BYTES: u8 = 1;
const DIED: u8 = 11;

/// The pages that a worker shares with its parent.
struct Pages {
    memory: File,
    start: u64,
    words: u64,
}

impl Pages {
    fn find() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ledgers = maps.lines().filter(|line| line.contains("trefoil-ledger"));
        let spans = ledgers.map(|line| {
            let (start, rest) = line.split_once('-').unwrap();
            let (end, _) = rest.split_once(' ').unwrap();
            [start, end].map(|at| u64::from_str_radix(at, 16).unwrap())
        });
        let [start, end] = spans.max_by_key(|[start, end]| end - start).unwrap();
        Self {
            memory: File::options()
                .read(true)
                .write(true)
                .open("/proc/self/mem")
                .unwrap(),
            start,
            words: (end - start) / 8,
        }
    }

    fn set(&self, word: u64, value: u64) {
        let place = self.start + 8 * word;
        let _ = self.memory.write_all_at(&value.to_ne_bytes(), place);
    }

    fn get(&self, word: u64) -> u64 {
        let mut bytes = [0; 8];
        let place = self.start + 8 * word;
        self.memory.read_exact_at(&mut bytes, place).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// Writes into each gate that none of its items has begun.
    fn deny(&self) {
        for gate in 0..GATES {
            let word = gate * GATE + TAKEN;
            self.set(word, self.get(word) >> 32 << 32);
        }
    }

    fn set_all(&self, of_gate: u64, value: u64) {
        (0..GATES).for_each(|gate| self.set(gate * GATE + of_gate, value));
    }
}

/// The descriptors of this process from 3 on, and what each is.
fn descriptors() -> Vec<(i32, String)> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let link = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_link(entry.path()).ok()?;
        Some((number, name.to_string_lossy().into_owned()))
    };
    let all = open.filter_map(link);
    all.filter(|(number, _)| *number >= 3).collect()
}

fn borrow(number: i32) -> BorrowedFd<'static> {
    // SAFETY: there is none: a worker takes what is not its own.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// The protocol's stream: the socket from number 10 on, where the protocol puts it, that does not
/// signal (the lifeline does).
fn stream() -> BorrowedFd<'static> {
    borrow(named_stream().0)
}

/// The same, and its name.
fn named_stream() -> (i32, String) {
    let is_stream = |(number, name): &(i32, String)| {
        let flags = fcntl_getfl(borrow(*number)).unwrap_or(OFlags::empty());
        *number >= 10 && name.starts_with("socket:") && flags.bits() & libc::O_ASYNC as u32 == 0
    };
    let found = descriptors().into_iter().find(is_stream);
    found.expect("there is no stream")
}

fn say(bytes: &[u8]) {
    let mut rest = bytes;
    let stream = stream();
    while let Ok(sent) = rustix::net::send(stream, rest, SendFlags::NOSIGNAL) {
        rest = &rest[sent..];
        if rest.is_empty() {
            return;
        }
    }
}

/// Sends bytes, and with the first of them so many copies of a descriptor.
fn say_with(bytes: &[u8], descriptor: BorrowedFd<'_>, count: usize) -> bool {
    let all = vec![descriptor; count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&all)));
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(stream(), &[IoSlice::new(bytes)], &mut control, flags).is_ok()
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

/// An envelope of the protocol.
fn envelope(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    match payload.len() {
        short @ ..255 => out.push(short as u8),
        long => {
            out.push(255);
            out.extend((long as u64).to_le_bytes());
        }
    }
    out.extend(payload);
    out
}

/// A record of numbers.
fn record(tag: u8, numbers: &[u64]) -> Vec<u8> {
    let mut payload = vec![tag];
    numbers
        .iter()
        .for_each(|number| varint(*number, &mut payload));
    envelope(1, &payload)
}

/// The head of a record that is never whole.
fn endless_head() -> Vec<u8> {
    let mut head = vec![1, 255];
    head.extend((1u64 << 20).to_le_bytes());
    head
}

/// Suspends all other threads of this process for ever.
fn stand_alone() {
    extern "C" fn for_ever(_: i32) {
        loop {
            // SAFETY: it only waits.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: the handler never returns.
    unsafe { libc::signal(libc::SIGUSR1, for_ever as extern "C" fn(i32) as usize) };
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    let process = rustix::process::getpid().as_raw_nonzero().get();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let task: i32 = task.file_name().to_str().unwrap().parse().unwrap();
        if task != own {
            // SAFETY: a signal to a thread of this process.
            unsafe { libc::syscall(libc::SYS_tgkill, process, task, libc::SIGUSR1) };
        }
    }
    thread::sleep(Duration::from_millis(20));
}

/// Makes each descriptor blocking, and fills those that can be written to, but for the stream, and
/// the lifeline, whose signal would kill this process.
fn fill_and_block() {
    let (_, stream) = named_stream();
    for (number, name) in descriptors() {
        let own = borrow(number);
        let flags = fcntl_getfl(own).unwrap_or(OFlags::empty());
        if flags.bits() & libc::O_ASYNC as u32 != 0 {
            continue;
        }
        let _ = fcntl_setfl(own, flags | OFlags::NONBLOCK);
        if name.contains("eventfd") {
            let _ = rustix::io::write(own, &(u64::MAX - 1).to_ne_bytes());
        } else if name != stream && (name.starts_with("pipe:") || name.starts_with("socket:")) {
            while rustix::io::write(own, &[0; 4096]).is_ok() {}
        }
        let _ = fcntl_setfl(own, flags & !OFlags::NONBLOCK);
    }
}

/// Writes to every socket but the stream and the lifeline: to the bell.
#[cfg(feature = "inspect")]
fn write_to_bell(bytes: &[u8]) {
    let (_, stream) = named_stream();
    for (number, name) in descriptors() {
        let own = borrow(number);
        let flags = fcntl_getfl(own).unwrap_or(OFlags::empty());
        let is_lifeline = flags.bits() & libc::O_ASYNC as u32 != 0;
        if name.starts_with("socket:") && name != stream && !is_lifeline {
            rustix::net::send(own, bytes, SendFlags::NOSIGNAL).unwrap();
        }
    }
}

/// Runs `act` on another thread; panics if it takes too long.
fn in_time<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(act()));
    match told.recv_timeout(LIMIT) {
        Ok(done) => done,
        Err(_) => panic!("{what} takes too long"),
    }
}

/// Checks that the pool can be used, and ends it.
fn goes_on(procs: ProcessPool) {
    let theirs = procs.clone();
    in_time("a call", move || {
        let all = theirs.call(|n: u64| 2 * n).retry(20).map(0..100).unwrap();
        assert!(all.into_iter().eq((0..100).map(|n| 2 * n)));
        let late = theirs.call(|()| forever::<()>()).timeout(SHORT).spawn(());
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
    });
    let theirs = procs.clone();
    in_time("kill", move || theirs.kill());
    in_time("the end", move || drop(procs));
}

fn ends<T>(task: &mut trefoil::Task<T>) -> Result<T, TaskError> {
    let result = task.join_timeout(LIMIT);
    assert!(task.is_finished(), "its time limit is passed over");
    result
}

tests! {
    /// The driver rings a bell when an item is cancelled. It also writes to the stream, and reads.
    fn what_a_worker_does_to_its_descriptors_does_not_stop_the_driver() {
        let procs = pool(2);
        procs.map(0..10u32, |n: u32| n).unwrap();
        let attack = procs.call(|()| {
            stand_alone();
            fill_and_block();
            forever::<()>();
        });
        let mut attack = attack.timeout(SHORT).spawn(());
        let result = ends(&mut attack);
        assert!(matches!(result, Err(TaskError::TimedOut(_))), "{result:?}");
        goes_on(procs);
    }

    /// Whatever it writes to its gates, for as long as it runs.
    fn an_item_that_denies_that_it_runs_is_out_of_time() {
        let lies: [fn(u8); 6] = [
            |_| loop { Pages::find().deny(); },
            |_| loop { Pages::find().set_all(STARTED, u64::MAX); },
            |_| loop { Pages::find().set_all(STARTED, 1 << 62); },
            |_| loop { Pages::find().set_all(TAKEN, 0); },
            |_| loop { Pages::find().set_all(TAKEN, u64::MAX); },
            // It has begun all of its items, and the frames after it, too.
            |_| {
                let pages = Pages::find();
                loop {
                    for gate in 0..GATES {
                        let end = pages.get(gate * GATE) >> 32;
                        pages.set(gate * GATE, end << 32 | end);
                    }
                }
            },
        ];
        for (at, lie) in lies.into_iter().enumerate() {
            let procs = pool(1);
            procs.map(0..10u32, |n: u32| n).unwrap();
            let begin = Instant::now();
            let mut one = procs.call(lie).timeout(SHORT).spawn(0);
            let result = ends(&mut one);
            assert!(matches!(result, Err(TaskError::TimedOut(_) | TaskError::WorkerDied(_))), "{at}");
            println!("lie {at}: {:?}", begin.elapsed());
            // An item of many: those after it wait behind it.
            let mut many = procs.call(lie).chunk_size(7).timeout(SHORT).map_task(0..7);
            assert!(ends(&mut many).is_err(), "{at}");
            println!("lie {at}, of many: {:?}", begin.elapsed());
            goes_on(procs);
        }
    }

    /// Its worker says that it has not begun; so another worker, which is idle, should take it
    /// over, or get it after the death of the first.
    fn an_item_that_denies_that_it_has_begun_is_started_once() {
        fn denies((path, dies): (String, bool)) {
            let pages = Pages::find();
            pages.deny();
            note(&path, 1);
            let begin = Instant::now();
            while !dies || begin.elapsed() < SHORT / 10 {
                pages.deny();
            }
            std::process::abort();
        }
        for dies in [false, true] {
            let procs = pool(2);
            procs.map(0..10u32, |n: u32| n).unwrap();
            let scratch = Scratch::new("denies");
            let limit = if dies { LIMIT } else { SHORT };
            let mut task = procs.call(denies).timeout(limit).spawn((scratch.text(), dies));
            let result = ends(&mut task);
            match dies {
                true => assert!(matches!(result, Err(TaskError::WorkerDied(_)))),
                false => assert!(matches!(result, Err(TaskError::TimedOut(_)))),
            }
            goes_on(procs);
            assert_eq!(scratch.notes().len(), 1, "it was started again");
        }
    }

    /// It answers in place of its process, with the end of its frame or without, and runs on. What
    /// waits behind it, and what comes later, runs elsewhere, however often somebody asks.
    fn an_item_that_has_not_ended_keeps_nobody() {
        fn says_that_it_has_ended(with_end: bool) {
            say(&envelope(2, &[]));
            if with_end {
                say(&record(END, &[0, 1, 0]));
            }
            forever::<()>();
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    #[cfg(feature = "inspect")]
                    let _ = trefoil::inspect::tasks();
                    thread::sleep(SHORT / 20);
                }
            });
            let _over = Over(&is_over);
            for (plain, with_end) in [(false, false), (true, false), (false, true), (true, true)] {
                let builder = ProcessPool::builder().workers(1);
                let procs = builder.plain_workers(plain).build().unwrap();
                // (After an end it seems to be stopped before the next item, which may wait.)
                let next = procs.call(|n: u64| n);
                let next = if with_end { next.timeout(5 * SHORT) } else { next };
                let mut lie = procs.spawn(with_end, says_that_it_has_ended);
                let mut behind = next.spawn(1);
                assert!(ends(&mut lie).is_ok());
                let mut later = next.spawn(2);
                assert_eq!(ends(&mut behind).unwrap() + ends(&mut later).unwrap(), 3);
                goes_on(procs);
            }
        });
    }

    /// It sends more descriptors than one message has, which is refused, and with them what the
    /// worker says next: that another item begins, for example.
    fn what_begins_behind_a_refused_message_is_started_once() {
        fn hides((path, hider, n): (String, u64, u64)) {
            note(&path, n);
            if n == hider {
                for byte in endless_head().into_iter().chain([2; 4]) {
                    say_with(&[byte], borrow(named_stream().0), 1);
                }
            }
            if n != 0 {
                forever::<()>();
            }
        }
        for hider in [0, 1] {
            let scratch = Scratch::new("hides");
            let procs = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
            let call = procs.call(hides).chunk_size(2);
            let mut both = call.map_task((0..2).map(|n| (scratch.text(), hider, n)));
            let result = ends(&mut both);
            assert!(matches!(result, Err(TaskError::WorkerDied(_))), "{result:?}");
            goes_on(procs);
            let notes = scratch.notes();
            assert!(notes == [0] || notes == [0, 1], "{hider}: {notes:?} were started");
        }
    }

    /// A few bytes that stand for the same 64 MiB again and again.
    fn what_is_lent_is_lent_once() {
        const AREA: u64 = 64 << 20;
        fn lends_again(times: u64) -> Vec<Bulk<u8>> {
            let mut value = Vec::new();
            varint(times, &mut value);
            let start = value.len() as u64;
            let mut list = vec![times];
            for piece in 0..times {
                value.push(0);
                list.extend([start + piece + 1, 0, AREA]);
            }
            say(&[record(LENT, &list), envelope(2, &value)].concat());
            forever()
        }
        let procs = pool(1);
        let before = peak();
        let mut task = procs.spawn(24, lends_again);
        match ends(&mut task) {
            Err(TaskError::WorkerDied(exit)) => {
                assert!(exit.to_string().contains("protocol"), "{exit}");
            }
            other => panic!("{:?}", other.map(|all| all.len())),
        }
        assert!(peak().saturating_sub(before) < 8 * AREA, "{} bytes more", peak() - before);
        goes_on(procs);
    }

    /// An array is announced that is longer than any memory, or as long as some is; little of it
    /// comes.
    fn an_array_takes_memory_as_it_comes() {
        fn announces(length: u64) -> Bulk<u8> {
            say(&part_of_array(1, length, &[7; 1 << 20]));
            forever()
        }
        for plain in [false, true] {
            for length in [1 << 30, 1 << 46, u64::MAX] {
                let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
                let before = peak();
                let mut task = procs.call(announces).timeout(SHORT).spawn(length);
                assert!(matches!(ends(&mut task), Err(TaskError::TimedOut(_))));
                assert!(peak().saturating_sub(before) < 64 << 20, "{} bytes more", peak() - before);
                goes_on(procs);
            }
        }
    }

    /// More than was announced, less, what was never sent, and one twice: errors of the item.
    fn an_array_that_is_not_as_announced_is_an_error() {
        const PART: usize = 1 << 20;
        /// Answers with an empty string in whose place the arrays of these numbers are missing.
        fn names(numbers: &[u64]) {
            let mut value = vec![numbers.len() as u8];
            let mut list = vec![numbers.len() as u64];
            for number in numbers {
                value.push(0);
                list.extend([value.len() as u64, *number, 0]);
            }
            say(&[record(LENT, &list), envelope(2, &value)].concat());
        }
        fn too_much(_: ()) -> Vec<Bulk<u8>> {
            say(&part_of_array(1, 2, &[7; PART]));
            names(&[1]);
            std::process::abort()
        }
        fn too_little(_: ()) -> Vec<Bulk<u8>> {
            say(&part_of_array(1, PART as u64 + 1, &[7; PART]));
            names(&[1]);
            std::process::abort()
        }
        fn unknown(_: ()) -> Vec<Bulk<u8>> {
            say(&part_of_array(1, PART as u64, &[7; PART]));
            names(&[2]);
            std::process::abort()
        }
        fn twice(_: ()) -> Vec<Bulk<u8>> {
            say(&part_of_array(1, PART as u64, &[7; PART]));
            names(&[1, 1]);
            std::process::abort()
        }
        fn of_no_type(_: ()) -> Vec<Bulk<u8>> {
            let mut payload = vec![COPY];
            varint(1, &mut payload);
            varint(2, &mut payload);
            payload.extend([99, 7, 7]);
            say(&envelope(1, &payload));
            names(&[1]);
            std::process::abort()
        }
        fn half_an_element(_: ()) -> Vec<Bulk<u64>> {
            say(&part_of_array(1, 9, &[7; 9]));
            names(&[1]);
            std::process::abort()
        }
        let fails = |name: &str, result: Result<usize, TaskError>| match result {
            Err(TaskError::Codec(_)) => {}
            other => panic!("{name}: {other:?}"),
        };
        for plain in [false, true] {
            type Lies = fn(()) -> Vec<Bulk<u8>>;
            let lies: [(&str, Lies); 5] = [
                ("too much", too_much),
                ("too little", too_little),
                ("unknown", unknown),
                ("twice", twice),
                ("of no type", of_no_type),
            ];
            for (name, lies) in lies {
                let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
                fails(name, ends(&mut procs.spawn((), lies)).map(|all| all.len()));
                goes_on(procs);
            }
            let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
            fails("half", ends(&mut procs.spawn((), half_an_element)).map(|all| all.len()));
            goes_on(procs);
        }
    }

    /// It sends half of an array, and dies.
    fn half_of_an_array_ends_with_its_worker() {
        fn dies(whole: u64) -> Bulk<u8> {
            for _ in 0..whole >> 21 {
                say(&part_of_array(1, whole, &[7; 1 << 20]));
            }
            std::process::abort()
        }
        const WHOLE: u64 = 256 << 20;
        for plain in [false, true] {
            let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
            let before = resident();
            for _ in 0..4 {
                let mut task = procs.spawn(WHOLE, dies);
                assert!(matches!(ends(&mut task), Err(TaskError::WorkerDied(_))));
            }
            assert!(resident() < before + WHOLE / 2, "{} bytes more", resident() - before);
            goes_on(procs);
        }
    }

    /// Whole arrays, and halves, that no value names.
    fn arrays_that_nothing_names_are_few() {
        fn many(whole: bool) -> u8 {
            for id in 0..10_000 {
                say(&part_of_array(id, 1 + u64::from(!whole), &[7]));
            }
            forever()
        }
        for whole in [true, false] {
            let procs = pool(1);
            let mut task = procs.spawn(whole, many);
            assert!(matches!(ends(&mut task), Err(TaskError::WorkerDied(_))));
            goes_on(procs);
        }
    }

    /// With the head of a long record, byte by byte, so that nothing claims them.
    fn descriptors_that_are_not_claimed_are_few() {
        fn floods(_: ()) {
            let memory = rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC).unwrap();
            let mut bytes = endless_head();
            bytes.extend([2; 100]);
            for byte in bytes {
                if !say_with(&[byte], memory.as_fd(), 253) {
                    break;
                }
                thread::sleep(SHORT);
            }
            forever::<()>();
        }
        let before = descriptors().len();
        let procs = pool(1);
        let mut task = procs.call(floods).timeout(10 * SHORT).spawn(());
        let mut most = 0;
        while !task.is_finished() {
            most = most.max(descriptors().len());
            thread::sleep(Duration::from_millis(1));
        }
        assert!(ends(&mut task).is_err());
        assert!((before + 253..before + 800).contains(&most), "{most}, they were {before}");
        goes_on(procs);
        until(|| descriptors().len() <= before + 3);
    }

    /// A plain worker sends copies instead of descriptors, one after the other.
    fn copies_that_are_never_whole_are_few() {
        fn begins_copies(_: ()) {
            for id in 0..250 {
                let mut payload = vec![COPY];
                varint(id, &mut payload);
                varint(1 << 20, &mut payload);
                payload.push(MEMORY);
                payload.extend([1; 10]);
                say(&envelope(1, &payload));
            }
            forever::<()>();
        }
        let procs = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
        let before = descriptors().len();
        let mut task = procs.call(begins_copies).timeout(10 * SHORT).spawn(());
        let mut most = 0;
        while !task.is_finished() {
            most = most.max(descriptors().len());
        }
        assert!(matches!(ends(&mut task), Err(TaskError::WorkerDied(_))));
        assert!(most < before + 20, "{most}, they were {before}");
        goes_on(procs);
    }

    /// The worker sends connections that linger for a minute, again and again, and has no handles
    /// of its own left. One thread closes them.
    fn a_descriptor_whose_close_takes_long_holds_up_nobody() {
        const MESSAGES: usize = 20;
        fn lingering(listener: &TcpListener) -> TcpStream {
            let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let minute = Some(Duration::from_secs(60));
            rustix::net::sockopt::set_socket_linger(&one, minute).unwrap();
            one.set_nonblocking(true).unwrap();
            while one.write(&[0; 65536]).is_ok() {}
            one.set_nonblocking(false).unwrap();
            one
        }
        fn sends_lingering_ones(all_sent: Sender<()>) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            for _ in 0..MESSAGES {
                let one = lingering(&listener);
                std::mem::forget(listener.accept().unwrap());
                // With a record that means little and does not claim it, and whose end comes later.
                let (first, rest) = (&record(TAKEN_UP, &[])[..1], &record(TAKEN_UP, &[])[1..]);
                if !say_with(first, one.as_fd(), 100) {
                    break;
                }
                drop(one);
                say(rest);
            }
            all_sent.send_blocking(()).unwrap();
            forever::<()>();
        }
        let before = descriptors().len();
        let procs = pool(1);
        let (all_sent, sent) = channel(1).unwrap();
        let call = procs.call(sends_lingering_ones).timeout(LIMIT);
        let task = call.spawn(all_sent);
        sent.recv_timeout(LIMIT).unwrap();
        until(|| descriptors().len() < before + 50); // they were 2,000
        procs.kill();
        assert!(task.join().is_err());
        drop((procs, sent));
        goes_on(pool(1));
        until(|| descriptors().len() <= before + 3);
    }

    /// It has the stream of the worker, whose end the parent sees meanwhile.
    fn what_a_worker_leaves_behind_does_not_keep_the_driver() {
        fn leaves_a_talker(_: ()) {
            let own: OwnedFd = stream().try_clone_to_owned().unwrap();
            // SAFETY: it was just made, and is given away.
            let output = unsafe { Stdio::from_raw_fd(own.into_raw_fd()) };
            let mut talker = Command::new("setsid");
            talker.arg("yes").stdout(output).spawn().unwrap();
            thread::sleep(SHORT / 4);
            std::process::exit(0);
        }
        let procs = pool(2);
        let mut task = procs.spawn((), leaves_a_talker);
        assert!(matches!(ends(&mut task), Err(TaskError::WorkerDied(_))));
        goes_on(procs);
    }

    /// Only an engine reports how a worker has ended.
    fn a_worker_does_not_say_how_it_ended() {
        fn lies(_: ()) {
            // Code 0, no signal, no output, a note.
            let mut payload = vec![DIED, 1, 0, 0, 0, 4];
            payload.extend(b"fine");
            say(&envelope(1, &payload));
            std::process::abort();
        }
        let procs = pool(1);
        let mut task = procs.spawn((), lies);
        match ends(&mut task) {
            Err(TaskError::WorkerDied(exit)) => {
                assert!(exit.code().is_none() && !exit.to_string().contains("fine"), "{exit}");
            }
            other => panic!("{other:?}"),
        }
        goes_on(procs);
    }

    /// It answers in place of its watcher thread, before it was asked, and twice.
    #[cfg(feature = "inspect")]
    fn what_a_worker_says_of_its_tasks_is_not_believed() {
        fn lies((path, plain, times): (String, bool, usize)) {
            stand_alone();
            let mut payload = vec![TREE];
            for text in ["process 1, \u{1b}[2J999 tasks\n", "{\"version\":1}"] {
                varint(text.len() as u64, &mut payload);
                payload.extend(text.as_bytes());
            }
            let lie = envelope(1, &payload);
            if !plain {
                write_to_bell(&lie.repeat(times));
            }
            note(&path, 1);
            if !plain {
                forever::<()>();
            }
            loop {
                say(&lie);
                thread::sleep(Duration::from_millis(1));
            }
        }
        for (plain, times) in [(false, 1), (false, 2), (true, 1)] {
            let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
            procs.spawn((), |()| ()).join().unwrap();
            let scratch = Scratch::new("lies");
            let mut task = procs.spawn((scratch.text(), plain, times), lies);
            let pid = procs.worker_pids()[0];
            until(|| !scratch.notes().is_empty());
            let shown = || {
                let tree = trefoil::inspect::tasks();
                let _valid: serde_json::Value = serde_json::from_str(&tree.to_json()).unwrap();
                let worker = tree.workers().iter().find(|worker| worker.pid == pid);
                worker.map(ToString::to_string).unwrap_or_default()
            };
            if times == 1 {
                until(|| shown() == format!("process {pid}, \u{fffd}[2J999 tasks\n"));
            } else {
                for _ in 0..3 {
                    assert_eq!(shown(), format!("process {pid}: no answer"));
                }
            }
            assert!(procs.replace_worker(pid));
            assert!(matches!(ends(&mut task), Err(TaskError::WorkerDied(_))));
            goes_on(procs);
        }
    }

    /// All of it at once, in many workers one after the other, beside a pool that works.
    fn a_worker_that_writes_everywhere_reaches_nobody() {
        pool(1).spawn((), |()| ()).join().unwrap(); // so that everything which is made once exists
        let before = census();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let mut dice = Dice(now.as_nanos() as u64 | 1);
        println!("seed {}", dice.0);
        let scratch = Scratch::new("everywhere");
        let (attacked, others) = ([false, true].map(builder), pool(2));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = Over(&is_over);
            let beside = scope.spawn(|| {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut one = others.call(|n: u64| 2 * n).timeout(LIMIT).spawn(count);
                    assert_eq!(one.join_timeout(LIMIT).unwrap(), 2 * count);
                    let many = others.map(count..count + 100, |n: u64| n + 1).unwrap();
                    assert!(many.into_iter().eq(count + 1..count + 101));
                    let mut late = others.call(|()| forever::<()>()).timeout(SHORT / 10).spawn(());
                    assert!(matches!(ends(&mut late), Err(TaskError::TimedOut(_))));
                    count += 1;
                }
                count
            });
            #[cfg(feature = "inspect")]
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let json = trefoil::inspect::tasks().to_json();
                    let _valid: serde_json::Value = serde_json::from_str(&json).unwrap();
                }
            });
            let mut ended = HashMap::new();
            for round in 0..sample(240) as u64 {
                let procs = &attacked[(round % 4 == 3) as usize];
                let call = procs.call(attacks).timeout(SHORT);
                // What a worker has received it may run, whatever its parent has taken back. So
                // only items are counted that are alone.
                let count = if round % 2 == 0 { 1 } else { 2 + dice.roll(2) };
                let path = if count == 1 { scratch.text() } else { String::new() };
                let mut calls: Vec<_> = (0..count)
                    .map(|_| call.spawn((path.clone(), round, dice.roll(u64::MAX) | 1)))
                    .collect();
                for call in &mut calls {
                    let how = match ends(call) {
                        Ok(()) => "returned",
                        Err(TaskError::TimedOut(_)) => "timed out",
                        Err(TaskError::WorkerDied(_)) => "died",
                        Err(TaskError::Panicked(_)) => "panicked",
                        Err(TaskError::Codec(_)) => "garbled",
                        Err(other) => panic!("{other}"),
                    };
                    *ended.entry(how).or_insert(0) += 1;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            println!("{ended:?}, beside {} rounds", beside.join().unwrap());
        });
        // None of them may be run again, so each was in one process at most.
        let mut places = HashMap::<u64, HashSet<u64>>::new();
        for both in scratch.notes() {
            places.entry(both >> 32).or_default().insert(both & 0xffff_ffff);
        }
        for (item, places) in places {
            assert_eq!(places.len(), 1, "the item {item} was in {places:?}");
        }
        let [fast, plain] = attacked;
        in_time("kill", move || fast.kill());
        in_time("shutdown", move || plain.shutdown_timeout(Shutdown::CancelPending, SHORT));
        others.shutdown(Shutdown::Wait);
        drop(others);
        nothing_left_since(before);
    }
}

/// Sets the flag when it is dropped, so that a test that fails ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A pool of two workers, plain or not.
fn builder(plain: bool) -> ProcessPool {
    let builder = ProcessPool::builder().workers(2);
    builder.plain_workers(plain).build().unwrap()
}

/// A record with the next bytes of an array of bytes.
fn part_of_array(id: u64, length: u64, bytes: &[u8]) -> Vec<u8> {
    let mut payload = vec![COPY];
    varint(id, &mut payload);
    varint(length, &mut payload);
    payload.push(BYTES);
    payload.extend(bytes);
    envelope(1, &payload)
}

/// Does some of what a worker can do to its parent, for a moment. Notes the item and this process.
fn attacks((path, item, seed): (String, u64, u64)) {
    if !path.is_empty() {
        note(&path, item << 32 | u64::from(std::process::id()));
    }
    let mut dice = Dice(seed);
    let has_pages = descriptors()
        .iter()
        .any(|(_, name)| name.contains("trefoil-ledger"));
    let pages = has_pages.then(Pages::find);
    let begin = Instant::now();
    let long = Duration::from_millis(dice.roll(30));
    let favourite = dice.roll(8);
    while begin.elapsed() < long {
        let what = if dice.roll(2) == 0 {
            favourite
        } else {
            dice.roll(10)
        };
        match (what, &pages) {
            (0..=2, Some(pages)) => (0..50).for_each(|_| scribble(pages, &mut dice)),
            (0..=3, _) => say(&nonsense(&mut dice)),
            (4, _) => {
                let any = descriptors();
                let (number, _) = &any[dice.roll(any.len() as u64) as usize];
                let numbers: Vec<u64> = (0..dice.roll(4)).collect();
                let list = [&[numbers.len() as u64], &numbers[..]].concat();
                let bytes = [record(DESCRIPTORS, &list), endless_head()];
                let bytes = &bytes[dice.roll(2) as usize];
                say_with(bytes, borrow(*number), 1 + dice.roll(5) as usize);
            }
            (5 | 6, _) => misuse(&mut dice),
            (7, _) => fill_and_block(),
            (8, _) if dice.roll(40) == 0 => {
                let half = [Half::Read, Half::Write, Half::Both][dice.roll(3) as usize];
                let _ = rustix::net::shutdown(stream(), half);
            }
            (9, _) if dice.roll(40) == 0 => {
                let signals = [libc::SIGSTOP, libc::SIGKILL, libc::SIGSEGV];
                // SAFETY: a signal to this process.
                unsafe { libc::raise(signals[dice.roll(3) as usize]) };
            }
            _ => {}
        }
    }
    if dice.roll(8) == 0 {
        forever::<()>();
    }
}

/// Writes a word somewhere into the shared pages: mostly where something stands.
fn scribble(pages: &Pages, dice: &mut Dice) {
    let word = match dice.roll(6) {
        0 | 1 => dice.roll(GATES) * GATE + dice.roll(4),
        2 => 512 + dice.roll(32),
        3 => 1024 + dice.roll(2576),
        4 => 3584 + dice.roll(64),
        _ => dice.roll(pages.words),
    };
    let value = match dice.roll(5) {
        0 => 0,
        1 => u64::MAX,
        2 => dice.roll(200_000),
        3 => dice.roll(4) << 32 | dice.roll(4),
        _ => dice.roll(u64::MAX),
    };
    pages.set(word, value);
}

/// Bytes for the stream: random ones, records of any numbers, heads of what never comes.
fn nonsense(dice: &mut Dice) -> Vec<u8> {
    let length = dice.roll(300) as usize;
    let any: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
    match dice.roll(7) {
        0 => any,
        5 => {
            let length = dice.roll(2) * dice.roll(u64::MAX);
            part_of_array(dice.roll(3), length, &any)
        }
        1 | 2 => {
            let numbers: Vec<u64> = (0..dice.roll(8)).map(|_| dice.roll(5)).collect();
            record(dice.roll(16) as u8, &numbers)
        }
        3 => envelope(2, &any),
        4 => endless_head(),
        _ => {
            let mut head = vec![1 + dice.roll(2) as u8, 255];
            let bits = dice.roll(64);
            head.extend((u64::MAX >> bits).to_le_bytes());
            head
        }
    }
}

/// Changes what can be changed about a descriptor.
fn misuse(dice: &mut Dice) {
    let any = descriptors();
    let (number, name) = &any[dice.roll(any.len() as u64) as usize];
    let own = borrow(*number);
    match dice.roll(5) {
        0 => {
            if let Ok(flags) = fcntl_getfl(own) {
                let _ = fcntl_setfl(own, flags ^ OFlags::NONBLOCK);
            }
        }
        1 => {
            let _ = rustix::fs::ftruncate(own, dice.roll(1 << 20));
        }
        2 if name.contains("memfd") => {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(own, hole, dice.roll(40) << 12, 1 << 16);
        }
        3 => {
            let _ = rustix::fs::fcntl_add_seals(own, SealFlags::WRITE | SealFlags::FUTURE_WRITE);
        }
        _ if !name.starts_with("socket:") => {
            let _ = rustix::io::write(own, &[dice.roll(256) as u8; 64]);
        }
        _ => {}
    }
}
