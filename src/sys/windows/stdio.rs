//! Standard streams: files, pipes and consoles, none of which can be waited for.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, OwnedSocket};
use std::time::Duration;

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

/// What would be waited for until the standard error has room: it cannot be, and takes all at once.
pub(crate) fn waits_for_room() -> Option<super::bell::Bell> {
    None
}

/// The standard error is written to in any case.
pub(crate) fn has_room(_limit: Duration) -> bool {
    true
}

/// Writes some to the standard error, and waits for its reader.
pub(crate) fn complain(words: &[u8]) -> io::Result<usize> {
    io::Write::write(&mut io::stderr(), words)
}

/// Nobody counts what waits in the standard error.
pub(crate) fn complaints() -> u64 {
    0
}

/// For what is to write nowhere.
pub(crate) fn null() -> io::Result<File> {
    File::options().write(true).open(NULL)
}
