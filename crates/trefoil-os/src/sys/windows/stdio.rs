//! Standard streams: files, pipes and consoles. None of them can be polled.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, OwnedSocket};

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

/// How much waits in standard error is unknown here: 0.
pub fn complaints() -> u64 {
    0
}

/// The null device, open for writing.
pub fn null() -> io::Result<File> {
    File::options().write(true).open(NULL)
}
