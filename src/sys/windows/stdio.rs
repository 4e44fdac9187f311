//! Standard streams: files, pipes and consoles, none of which can be waited for.

use std::fs::File;
use std::io::{self, Write};
use std::os::windows::io::{AsHandle, OwnedSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::bell::Bell;
use crate::loom::thread::Builder;
use crate::loom::{Condvar, Mutex};

/// What a standard stream is used through.
#[allow(dead_code)] // the first kind is another system's
pub(crate) enum Stream {
    /// It can be waited for. `true`: it is a socket.
    Waits(OwnedSocket, bool),
    /// Each call may block.
    Blocks(File),
}

/// Standard input (0), output (1) or error.
pub(crate) fn open(number: u8) -> io::Result<Stream> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let handle = match number {
        0 => input.as_handle(),
        1 => output.as_handle(),
        _ => error.as_handle(),
    };
    Ok(Stream::Blocks(handle.try_clone_to_owned()?.into()))
}

/// What nothing is read from, and what is written to goes nowhere.
pub(crate) const NULL: &str = "NUL";

/// What to wait for until the standard error has room, and the event that tells.
pub(crate) fn waits_for_room() -> Option<(Arc<Bell>, PollFlags)> {
    let bell = Arc::new(Bell::new().ok()?);
    let mut voice = VOICE.lock();
    if voice.has_room() {
        bell.ring();
    }
    // Those of earlier waits are gone, unless they wait still.
    voice.waiting.retain(|bell| Arc::strong_count(bell) > 1);
    voice.waiting.push(bell.clone());
    Some((bell, PollFlags::IN))
}

/// The standard error takes a page without waiting; this is waited for until then.
pub(crate) fn has_room(limit: Duration) -> bool {
    wait_until(limit, Voice::has_room)
}

/// All that was written has been taken; this is waited for until then.
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

/// Writes some of what has room to the standard error.
pub(crate) fn complain(words: &[u8]) -> io::Result<usize> {
    let mut voice = VOICE.lock();
    voice.words.extend_from_slice(words);
    if !voice.speaks {
        let thread = Builder::new().name("trefoil-stderr".into());
        voice.speaks = thread.stack_size(STACK).spawn(speak).is_ok();
        if !voice.speaks {
            let words = std::mem::take(&mut voice.words);
            drop(voice);
            say(&mut io::stderr(), &words)?; // without a thread it waits
        }
    }
    Ok(words.len())
}

/// The words of workers, on their way to the standard error. It cannot be waited for, and its
/// reader may take its time: so a thread writes, as long as there is something to write.
struct Voice {
    words: Vec<u8>,
    /// The thread is there.
    speaks: bool,
    /// To be rung when there is room.
    waiting: Vec<Arc<Bell>>,
}

static VOICE: Mutex<Voice> = Mutex::new(Voice {
    words: Vec::new(),
    speaks: false,
    waiting: Vec::new(),
});

/// The thread has written something.
static TAKEN: Condvar = Condvar::new();

/// How much waits for the thread, at most and a little.
const ROOM: usize = 16 << 10;

/// Enough for a write.
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
        let _ = say(&mut io::stderr(), &words); // closed, or not read any more: it is not missed
        voice = VOICE.lock();
    }
    voice.speaks = false;
    drop(voice);
    TAKEN.notify_all();
}

/// Writes all of it. A console takes characters only: so from the first byte on that is none, what
/// is none is replaced.
fn say(to: &mut impl Write, mut words: &[u8]) -> io::Result<()> {
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

/// Nobody counts what waits in the standard error.
pub(crate) fn complaints() -> u64 {
    0
}

/// For what is to write nowhere.
pub(crate) fn null() -> io::Result<File> {
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
        assert!(VOICE.lock().waiting.len() <= 2);
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
        say(&mut console, b"nine bytes \xff\xfe and more, \xc3\xa4\n").unwrap();
        assert_eq!(console.0, "nine bytes \u{fffd}\u{fffd} and more, \u{e4}\n");
    }
}
