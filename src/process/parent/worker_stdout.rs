//! A worker's captured standard output, on its way to the hook.
//!
//! A pipe that the driver reads when there is something in it, and empties before it takes in a
//! result of the same worker: what an item has printed is handed over before its task ends. The
//! hook runs on the driver's thread; a panic in it goes no further.
//!
//! Tests: `tests/process/limits.rs`.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ChildStdout;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::task::panic;

/// Gets a worker's process id and what it has printed.
pub(crate) type OutputHook = Arc<dyn Fn(u32, &[u8]) + Send + Sync>;

/// The end of a pipe from a worker that is read without waiting.
#[derive(Debug)]
pub(crate) struct Pipe(Option<Arc<OwnedFd>>);

impl Pipe {
    pub(crate) fn new(pipe: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| Arc::new(pipe.into()));
        if let Some(pipe) = &pipe {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self(pipe))
    }

    /// Readable when there is something. `None`: nothing comes any more.
    pub(crate) fn descriptor(&self) -> Option<&Arc<OwnedFd>> {
        self.0.as_ref()
    }

    /// How many bytes there are to read.
    pub(crate) fn waiting(&self) -> u64 {
        let waiting = self.0.as_ref().map(rustix::io::ioctl_fionread);
        waiting.and_then(Result::ok).unwrap_or(0)
    }

    /// Reads what there is, up to one buffer; 0: nothing now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &self.0 else { return 0 };
        loop {
            match rustix::io::read(pipe, &mut *buffer) {
                Ok(count) if count > 0 => return count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return 0,
                Ok(_) | Err(_) => {
                    self.0 = None;
                    return 0;
                }
            }
        }
    }
}

/// One worker's standard output, if it is captured.
pub(crate) struct Output {
    pub(crate) pipe: Pipe,
    pid: u32,
    hook: Option<OutputHook>,
}

impl Output {
    pub(crate) fn new(
        pipe: Option<ChildStdout>,
        pid: u32,
        hook: Option<OutputHook>,
    ) -> io::Result<Self> {
        let pipe = Pipe::new(pipe)?;
        Ok(Self { pipe, pid, hook })
    }

    pub(crate) fn is_captured(&self) -> bool {
        self.pipe.descriptor().is_some()
    }

    /// Hands over what there is, up to one buffer. False if there was nothing.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 8192];
        let count = self.pipe.read(&mut buffer);
        if let Some(hook) = self.hook.as_ref().filter(|_| count > 0) {
            panic::contain(|| hook(self.pid, &buffer[..count]));
        }
        count > 0
    }

    /// Hands over what there is now. A pipe holds 64 KiB; a worker that writes for ever does not keep
    /// us here.
    pub(crate) fn drain(&mut self) {
        for _ in 0..16 {
            if !self.read() {
                return;
            }
        }
    }
}
