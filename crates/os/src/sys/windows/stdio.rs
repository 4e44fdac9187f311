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
#[derive(Debug)]
pub enum StandardStream {
    /// The stream can be polled. `true`: it is a socket.
    Polled(OwnedSocket, bool),
    /// Each call may block.
    Blocking(File),
}

/// Opens standard input (0), output (1) or error (2).
pub fn open(number: u8) -> io::Result<StandardStream> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let handle = match number {
        0 => input.as_handle(),
        1 => output.as_handle(),
        _ => error.as_handle(),
    };
    Ok(StandardStream::Blocking(
        handle.try_clone_to_owned()?.into(),
    ))
}

/// The null device: reads return nothing, writes are discarded.
pub const NULL: &str = "NUL";

/// What to wait for until standard error has room, and the event to wait for.
pub fn waits_for_room() -> Option<(Arc<Bell>, PollFlags)> {
    let bell = Arc::new(Bell::new().ok()?);
    let mut queue = QUEUE.lock();
    if queue.has_room() {
        bell.ring();
    }
    // The bells of earlier waits have been dropped, unless a thread still waits for one.
    queue.waiting.retain(|bell| Arc::strong_count(bell) > 1);
    queue.waiting.push(bell.clone());
    Some((bell, PollFlags::IN))
}

/// Waits until standard error takes a page without blocking; `false`: not within `limit`.
pub fn has_room(limit: Duration) -> bool {
    wait_until(limit, StderrQueue::has_room)
}

/// Waits until everything that was written has been taken, at most for `limit`.
pub fn settle(limit: Duration) {
    wait_until(limit, |queue| !queue.has_thread);
}

fn wait_until(limit: Duration, done: impl Fn(&StderrQueue) -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut queue = QUEUE.lock();
    let mut late = limit.is_zero();
    while !done(&queue) && !late {
        (queue, late) = WRITTEN.wait_until(queue, end);
    }
    done(&queue)
}

/// Writes some bytes to standard error, as much as there is room for.
pub fn complain(words: &[u8]) -> io::Result<usize> {
    let mut queue = QUEUE.lock();
    queue.bytes.extend_from_slice(words);
    if !queue.has_thread {
        let thread = Builder::new().name("trefoil-stderr".into());
        queue.has_thread = thread.stack_size(STACK).spawn(write_queued).is_ok();
        if !queue.has_thread {
            let words = std::mem::take(&mut queue.bytes);
            drop(queue);
            write_words(&mut io::stderr(), &words)?; // there is no thread, so this call blocks
        }
    }
    Ok(words.len())
}

/// The bytes of workers on their way to standard error. It cannot be polled, and its reader may be
/// slow, so a thread writes them. The thread exists while there are bytes.
struct StderrQueue {
    bytes: Vec<u8>,
    /// The thread exists.
    has_thread: bool,
    /// The bells to ring when there is room again.
    waiting: Vec<Arc<Bell>>,
}

static QUEUE: Mutex<StderrQueue> = Mutex::new(StderrQueue {
    bytes: Vec::new(),
    has_thread: false,
    waiting: Vec::new(),
});

/// Notified when the thread has written something.
static WRITTEN: Condvar = Condvar::new();

/// How many bytes wait for the thread before there is no room. (One write may exceed it.)
const ROOM: usize = 16 << 10;

/// The thread's stack: enough for a write.
const STACK: usize = 256 << 10;

impl StderrQueue {
    fn has_room(&self) -> bool {
        self.bytes.len() < ROOM
    }
}

fn write_queued() {
    let mut queue = QUEUE.lock();
    while !queue.bytes.is_empty() {
        let words = std::mem::take(&mut queue.bytes);
        queue.waiting.drain(..).for_each(|bell| bell.ring());
        drop(queue);
        WRITTEN.notify_all();
        // An error means that standard error is closed or has no reader: then the bytes are
        // discarded.
        let _ = write_words(&mut io::stderr(), &words);
        queue = QUEUE.lock();
    }
    queue.has_thread = false;
    drop(queue);
    WRITTEN.notify_all();
}

/// Writes all of `words`. A console takes valid UTF-8 only: once it refuses bytes, invalid ones are
/// replaced.
fn write_words(to: &mut impl Write, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        match to.write(words) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => words = &words[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return to.write_all(String::from_utf8_lossy(words).as_bytes());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How much waits in standard error is unknown here: 0.
pub fn complaints() -> u64 {
    0
}

/// The null device, open for writing.
pub fn null() -> io::Result<File> {
    File::options().write(true).open(NULL)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bells_that_nobody_waits_for_go() {
        let kept = waits_for_room().unwrap();
        for _ in 0..100 {
            drop(waits_for_room().unwrap());
        }
        assert!(QUEUE.lock().waiting.len() <= 2);
        drop(kept);
    }

    /// Takes what `std` lets a console take: a few bytes, whole characters.
    struct Console(String);

    impl Write for Console {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let some = &bytes[..bytes.len().min(8)];
            let whole = match std::str::from_utf8(some) {
                Ok(whole) => whole,
                Err(error) if error.valid_up_to() == 0 => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Err(error) => std::str::from_utf8(&some[..error.valid_up_to()]).unwrap(),
            };
            self.0.push_str(whole);
            Ok(whole.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_that_are_no_characters_lose_none_of_the_others() {
        let mut console = Console(String::new());
        write_words(&mut console, b"nine bytes \xff\xfe and more, \xc3\xa4\n").unwrap();
        assert_eq!(console.0, "nine bytes \u{fffd}\u{fffd} and more, \u{e4}\n");
    }
}
