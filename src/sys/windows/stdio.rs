//! Standard streams: files, pipes and consoles. None of them can be polled.

use std::fs::File;
use std::io::{self, Write};
use std::os::windows::io::{AsHandle, OwnedSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::bell::Bell;
use crate::loom::thread::Builder;
use crate::loom::{Condvar, Mutex};

/// How a standard stream is used.
#[allow(dead_code)] // other systems use the first kind
pub(crate) enum Stream {
    /// The stream can be polled. `true`: it is a socket.
    Waits(OwnedSocket, bool),
    /// Each call may block.
    Blocks(File),
}

/// Opens standard input (0), output (1) or error (2).
pub(crate) fn open(number: u8) -> io::Result<Stream> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let handle = match number {
        0 => input.as_handle(),
        1 => output.as_handle(),
        _ => error.as_handle(),
    };
    Ok(Stream::Blocks(handle.try_clone_to_owned()?.into()))
}

/// The null device: reads return nothing, writes are discarded.
pub(crate) const NULL: &str = "NUL";

/// What to wait for until standard error has room, and the event to wait for.
pub(crate) fn waits_for_room() -> Option<(Arc<Bell>, PollFlags)> {
    let bell = Arc::new(Bell::new().ok()?);
    let mut voice = VOICE.lock();
    if voice.has_room() {
        bell.ring();
    }
    voice.waiting.push(bell.clone());
    Some((bell, PollFlags::IN))
}

/// Waits until standard error takes a page without blocking; `false`: not within `limit`.
pub(crate) fn has_room(limit: Duration) -> bool {
    wait_until(limit, Voice::has_room)
}

/// Waits until everything that was written has been taken, at most for `limit`.
pub(crate) fn settle(limit: Duration) {
    wait_until(limit, |voice| !voice.speaks);
}

fn wait_until(limit: Duration, done: impl Fn(&Voice) -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut voice = VOICE.lock();
    let mut late = limit.is_zero();
    while !done(&voice) && !late {
        (voice, late) = TAKEN.wait_until(voice, end);
    }
    done(&voice)
}

/// Writes some bytes to standard error, as much as there is room for.
pub(crate) fn complain(words: &[u8]) -> io::Result<usize> {
    let mut voice = VOICE.lock();
    voice.words.extend_from_slice(words);
    if !voice.speaks {
        let thread = Builder::new().name("trefoil-stderr".into());
        voice.speaks = thread.stack_size(STACK).spawn(speak).is_ok();
        if !voice.speaks {
            let words = std::mem::take(&mut voice.words);
            drop(voice);
            io::stderr().write_all(&words)?; // there is no thread, so this call blocks
        }
    }
    Ok(words.len())
}

/// The bytes of workers on their way to standard error. It cannot be polled, and its reader may be
/// slow, so a thread writes them. The thread exists while there are bytes.
struct Voice {
    words: Vec<u8>,
    /// The thread exists.
    speaks: bool,
    /// The bells to ring when there is room again.
    waiting: Vec<Arc<Bell>>,
}

static VOICE: Mutex<Voice> = Mutex::new(Voice {
    words: Vec::new(),
    speaks: false,
    waiting: Vec::new(),
});

/// Notified when the thread has written something.
static TAKEN: Condvar = Condvar::new();

/// How many bytes wait for the thread before there is no room. (One write may exceed it.)
const ROOM: usize = 16 << 10;

/// The thread's stack: enough for a write.
const STACK: usize = 256 << 10;

impl Voice {
    fn has_room(&self) -> bool {
        self.words.len() < ROOM
    }
}

fn speak() {
    let mut voice = VOICE.lock();
    while !voice.words.is_empty() {
        let words = std::mem::take(&mut voice.words);
        voice.waiting.drain(..).for_each(|bell| bell.ring());
        drop(voice);
        TAKEN.notify_all();
        // An error means that standard error is closed or has no reader: then the bytes are
        // discarded.
        let _ = io::stderr().write_all(&words);
        voice = VOICE.lock();
    }
    voice.speaks = false;
    drop(voice);
    TAKEN.notify_all();
}

/// How much waits in standard error is unknown here: 0.
pub(crate) fn complaints() -> u64 {
    0
}

/// The null device, open for writing.
pub(crate) fn null() -> io::Result<File> {
    File::options().write(true).open(NULL)
}
