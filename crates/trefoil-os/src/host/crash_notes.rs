//! What a worker notes when it crashes: the addresses on the stack of the thread that dies, and the
//! modules (the executable, libraries) that they are in.
//!
//! **Job.** The notes are words in the ledger's pages, which outlive the worker. A handler of
//! signals writes them (`crash_handler`), between any two instructions of the program, so writing
//! is nothing but stores to these words. The worker's address space is laid out by chance; so the
//! parent makes of each address an offset in its module, which means the same in every process.
//!
//! ```text
//!   how many addresses, how many words of modules, state, position, addresses ..., modules ...
//!   module = start, end, bias, length of its name, the name
//! ```
//!
//! A count is raised after what it counts, so notes that end in the middle are as good as far as
//! they go. A name that does not fit is left out together with its module.
//!
//! **One death.** A program's own handler may survive a fault (a write barrier, `siglongjmp`), and
//! the worker may die later in a way that no handler sees. So the notes have a *state*, and the
//! parent believes those alone that agree with the end of the process:
//!
//! | state | believed if |
//! |---|---|
//! | [`Stage::Walks`]: the handler runs | always: it died there |
//! | [`Stage::Ends`]: the signal will end the process | always |
//! | [`Stage::HandedOn`]: the program's own handler has it | this signal has ended the process, and no item has ended since: the worker's stream is at the noted *position* |
//! | [`Stage::MayAbort`]: the same, and `SIGABRT` has no handler meanwhile | the same, or it has aborted |
//! | none: the handler has returned, and the program lives | never |
//!
//! What is left: a fault that was survived by `siglongjmp`, and in the same item a second death by
//! the same signal that reaches no handler. Its error has the place of the first.
//!
//! **Trust.** A worker can write anything here, at any time. The parent copies the words once, uses
//! them as numbers, and bounds each count. What it calls a name is text to show, and no path to
//! open.
//!
//! Tests: below; `tests/process/crashes.rs::a_fault_that_was_survived_leaves_no_notes`.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::loom::atomic::AtomicU64 as Word;

/// How many addresses there are at most: the innermost ones.
const MOST_ADDRESSES: usize = 128;

/// The words of the state, and of the position in the worker's stream.
const STATE: usize = 2;
const POSITION: usize = 3;

/// Where the addresses and the modules begin, in words.
const ADDRESSES: usize = 4;
const MODULES: usize = ADDRESSES + MOST_ADDRESSES;

/// The words of a module before its name.
const HEAD: usize = 4;

/// The notes of one worker.
#[derive(Clone, Copy, Debug)]
pub struct CrashNotes<'a>(&'a [Word]);

/// The memory that a worker's notes are in, which its parent has mapped, too.
pub trait CrashPages: Send + Sync {
    /// The notes.
    fn crash_notes(&self) -> CrashNotes<'_>;

    /// How many bytes the worker has ever written, sent or not.
    fn position(&self) -> u64;
}

/// How far a crash is: the lowest byte of the state. (The next one is the signal.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handler notes the stack.
    Walks = 1,
    /// The program's own handler has been called.
    HandedOn = 2,
    /// The signal ends the process.
    Ends = 3,
    /// The program's own handler has been called, and may abort without another handler.
    MayAbort = 4,
}

/// `SIGABRT`, wherever there are notes.
const ABORT: i32 = 6;

/// A flag of the state: the first address is none of code, but one that the thread jumped to.
const WILD_JUMP: u64 = 1 << 16;

/// An address of another process: a place in a module, or (`None`) outside of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedAddress {
    /// The module's name, empty for the executable.
    pub module: Option<String>,
    /// The address less the module's bias.
    pub offset: u64,
    /// There is no code: the thread jumped there.
    pub is_wild: bool,
}

impl<'a> CrashNotes<'a> {
    /// The notes in these words.
    pub fn of(words: &'a [Word]) -> Self {
        Self(words)
    }

    fn get(&self, at: usize) -> u64 {
        let word = self.0.get(at);
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.0.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Forgets an earlier crash, which the worker has survived.
    pub fn clear(&self) {
        self.set(STATE, 0);
        self.set(0, 0);
        self.set(1, 0);
    }

    /// The crash by `signal` is so far, at this position of the worker's stream.
    pub fn set_stage(&self, stage: Stage, signal: i32, position: u64) {
        let wild = self.get(STATE) & WILD_JUMP;
        self.set(POSITION, position);
        self.set(STATE, stage as u64 | number(signal) << 8 | wild);
    }

    /// The first address is one that the thread jumped to, without code.
    pub fn set_wild_jump(&self) {
        self.set(STATE, self.get(STATE) | WILD_JUMP);
    }

    /// Whether a crash is so far.
    pub fn is_at(&self, stage: Stage) -> bool {
        self.get(STATE) & 0xff == stage as u64
    }

    /// Whether the program's own handler was called, at this position of the worker's stream.
    pub fn is_handed_on(&self, position: u64) -> bool {
        let is_called = self.is_at(Stage::HandedOn) || self.is_at(Stage::MayAbort);
        is_called && self.get(POSITION) == position
    }

    /// Whether they are of a death by `signal`, of a worker whose stream was at `position` then.
    fn are_of(&self, signal: i32, position: u64) -> bool {
        let state = self.get(STATE);
        let is_signal = state >> 8 & 0xff == number(signal);
        let may_abort = self.is_at(Stage::MayAbort) && signal == ABORT;
        self.is_at(Stage::Walks)
            || self.is_at(Stage::Ends)
            || (self.is_handed_on(position) && (is_signal || may_abort))
    }

    /// How much is noted: a number that grows.
    pub fn progress(&self) -> u64 {
        self.get(0).wrapping_add(self.get(1))
    }

    /// Notes the next address outwards. False: there is no room for more.
    pub fn add_address(&self, address: usize) -> bool {
        let count = self.get(0) as usize;
        if count >= MOST_ADDRESSES.min(self.0.len().saturating_sub(ADDRESSES)) {
            return false;
        }
        self.set(ADDRESSES + count, address as u64);
        self.set(0, count as u64 + 1);
        count + 1 < MOST_ADDRESSES
    }

    /// Whether a module with this address is noted.
    pub fn has_module_of(&self, address: usize) -> bool {
        let mut at = MODULES;
        let end = MODULES + self.get(1) as usize;
        while at < end.min(self.0.len()) {
            let range = self.get(at)..self.get(at + 1);
            if range.contains(&(address as u64)) {
                return true;
            }
            at += HEAD + (self.get(at + 3) as usize).div_ceil(8);
        }
        false
    }

    /// Notes a module: where it is, its bias (an address is that much more than the module's own
    /// number for it), and its name.
    pub fn add_module(&self, range: &Range<usize>, bias: usize, name: &[u8]) {
        let used = self.get(1) as usize;
        let words = HEAD + name.len().div_ceil(8);
        let first = MODULES + used;
        if first + words > self.0.len() {
            return;
        }
        for (at, number) in [range.start, range.end, bias, name.len()]
            .into_iter()
            .enumerate()
        {
            self.set(first + at, number as u64);
        }
        for (at, part) in name.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            for (byte, from) in bytes.iter_mut().zip(part) {
                *byte = *from;
            }
            self.set(first + HEAD + at, u64::from_ne_bytes(bytes));
        }
        self.set(1, (used + words) as u64);
    }

    /// The noted addresses, innermost first, if they are of a death by `signal`, of a worker whose
    /// stream was at `position` then. For the parent: the worker may have written anything.
    pub fn read(&self, signal: i32, position: u64) -> Vec<NotedAddress> {
        if !self.are_of(signal, position) {
            return Vec::new();
        }
        let words: Vec<u64> = (0..self.0.len()).map(|at| self.get(at)).collect();
        let Some((head, rest)) = words.split_at_checked(MODULES) else {
            return Vec::new();
        };
        let used = usize::try_from(head[1]).unwrap_or(usize::MAX);
        let modules = modules(&rest[..used.min(rest.len())]);
        let count = usize::try_from(head[0]).unwrap_or(usize::MAX);
        let addresses = head[ADDRESSES..].iter().take(count);
        let is_wild_jump = head[STATE] & WILD_JUMP != 0;
        let place = |(at, &address): (usize, &u64)| {
            let module = modules.iter().find(|one| one.0.contains(&address));
            NotedAddress {
                is_wild: is_wild_jump && at == 0,
                offset: address.wrapping_sub(module.map_or(0, |(_, bias, _)| *bias)),
                module: module.map(|(_, _, name)| name.clone()),
            }
        };
        addresses.enumerate().map(place).collect()
    }
}

/// A signal as it is noted.
fn number(signal: i32) -> u64 {
    u64::try_from(signal).unwrap_or(0) & 0xff
}

/// The ranges, biases and names.
fn modules(mut words: &[u64]) -> Vec<(Range<u64>, u64, String)> {
    let mut modules = Vec::new();
    while let Some(([start, end, bias, length], rest)) = words.split_first_chunk::<HEAD>() {
        let bytes: Vec<u8> = rest.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        let Some(name) = bytes.get(..length) else {
            break;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        modules.push((*start..*end, *bias, name));
        words = &rest[length.div_ceil(8)..];
    }
    modules
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words(count: usize) -> Vec<Word> {
        (0..count).map(|_| Word::new(0)).collect()
    }

    #[test]
    fn only_notes_that_agree_with_the_end_are_believed() {
        let words = words(400);
        let notes = CrashNotes(&words);
        let believed = |signal, position| !notes.read(signal, position).is_empty();
        notes.add_address(7);
        assert!(!believed(11, 5));
        notes.set_stage(Stage::Walks, 11, 5);
        assert!(believed(11, 5) && believed(6, 8));
        notes.set_stage(Stage::HandedOn, 11, 5);
        assert!(believed(11, 5) && !believed(6, 5) && !believed(11, 6));
        notes.set_stage(Stage::MayAbort, 11, 5);
        assert!(believed(11, 5) && believed(6, 5) && !believed(6, 6) && !believed(7, 5));
        notes.set_stage(Stage::Ends, 6, 5);
        assert!(believed(6, 6));
        assert!(!notes.read(6, 5)[0].is_wild);
        notes.set_wild_jump();
        notes.set_stage(Stage::Ends, 11, 5);
        assert!(notes.read(11, 5)[0].is_wild);
        notes.clear();
        assert!(!believed(11, 5) && !believed(0, 0));
    }

    #[test]
    fn addresses_become_places_in_modules() {
        let words = words(400);
        let notes = CrashNotes(&words);
        assert_eq!(notes.read(11, 0), []);
        notes.set_stage(Stage::Walks, 11, 0);
        for address in [0x1010, 0x2022, 7] {
            assert!(notes.add_address(address));
        }
        notes.add_module(&(0x1000..0x2000), 0x1000, b"");
        notes.add_module(&(0x2000..0x3000), 0x1ff0, b"/lib/libodd-name.so");
        assert!(notes.has_module_of(0x1fff) && notes.has_module_of(0x2000));
        assert!(!notes.has_module_of(0x3000));
        let place = |module: Option<&str>, offset| NotedAddress {
            module: module.map(str::to_owned),
            offset,
            is_wild: false,
        };
        let places = [
            place(Some(""), 0x10),
            place(Some("/lib/libodd-name.so"), 0x32),
            place(None, 7),
        ];
        assert_eq!(notes.read(11, 0), places);
        notes.clear();
        assert_eq!(notes.read(11, 0), []);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let words = words(MODULES + HEAD + 2);
        let notes = CrashNotes(&words);
        notes.set_stage(Stage::Walks, 11, 0);
        let fit = (1..1000).take_while(|address| notes.add_address(*address));
        assert_eq!(fit.count() + 1, MOST_ADDRESSES);
        notes.add_module(&(1..9), 0, &[b'x'; 17]);
        assert_eq!(notes.read(11, 0)[0].module, None);
        notes.add_module(&(1..9), 0, &[b'y'; 16]);
        notes.add_module(&(9..10), 0, b"");
        let places = notes.read(11, 0);
        assert_eq!(places.len(), MOST_ADDRESSES);
        assert_eq!(places[0].module, Some("y".repeat(16)));
        assert_eq!(places[8].module, None);
    }

    #[test]
    fn whatever_is_written_there_is_bounded() {
        let words = words(MODULES + 60);
        let notes = CrashNotes(&words);
        let mut random = 1u64;
        for round in 0..2000 {
            for word in &words {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let number = [random, random >> 60, u64::MAX, random >> 32][round % 4];
                word.store(number, Ordering::Relaxed);
            }
            notes.set_stage(Stage::Walks, 11, 0);
            assert!(notes.read(11, 0).len() <= MOST_ADDRESSES);
        }
        assert_eq!(CrashNotes(&[]).read(11, 0), []);
        CrashNotes(&[]).add_module(&(0..1), 0, b"x");
    }
}
