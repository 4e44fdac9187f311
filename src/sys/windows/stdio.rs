//! Standard streams: files, pipes and consoles, none of which can be waited for.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, OwnedSocket};

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
