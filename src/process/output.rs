//! A worker's captured standard output, on its way to the hook.
//!
//! A pipe that the driver reads when there is something in it, and empties before it takes in a
//! result of the same worker: what an item has printed is handed over before its task ends. The
//! hook runs on the driver's thread; a panic in it goes no further.
//!
//! Tests: `tests/process/limits.rs`.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ChildStdout;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::task::panic;

/// Gets a worker's process id and what it has printed.
pub(crate) type OutputHook = Arc<dyn Fn(u32, &[u8]) + Send + Sync>;

/// One worker's standard output, if it is captured.
pub(crate) struct Output {
    pipe: Option<Arc<OwnedFd>>,
    pid: u32,
    hook: Option<OutputHook>,
}

impl Output {
    pub(crate) fn new(
        pipe: Option<ChildStdout>,
        pid: u32,
        hook: Option<OutputHook>,
    ) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        let pipe = pipe.map(|pipe| Arc::new(pipe.into()));
        Ok(Self { pipe, pid, hook })
    }

    /// Readable when there is something.
    pub(crate) fn descriptor(&self) -> Option<&Arc<OwnedFd>> {
        self.pipe.as_ref()
    }

    pub(crate) fn is_captured(&self) -> bool {
        self.pipe.is_some()
    }

    /// Hands over what there is, up to one buffer. False if there was nothing.
    pub(crate) fn read(&mut self) -> bool {
        let Some(pipe) = &self.pipe else {
            return false;
        };
        let mut buffer = [0; 8192];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                if let Some(hook) = &self.hook {
                    panic::contain(|| hook(self.pid, &buffer[..count]));
                }
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            Err(_) => self.pipe = None,
        }
        false
    }

    /// Hands over what there is now. A pipe holds 64 KiB; who writes for ever does not keep
    /// us here.
    pub(crate) fn drain(&mut self) {
        for _ in 0..16 {
            if !self.read() {
                return;
            }
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("pid", &self.pid)
            .field("pipe", &self.pipe)
            .finish_non_exhaustive()
    }
}
