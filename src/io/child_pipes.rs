//! The parent's ends of a child's standard streams.
//!
//! Each is a pipe whose parent's end does not block; the child's end is another open file, whose
//! flags stay as programs expect them. The methods are those of every stream (see `bytes`).
//! Dropping an end closes it: the child then reads the end of its input, or can no longer write.
//!
//! Checked by `tests/event_loop/`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rustix::io::ioctl_fionbio;

use super::bytes::{Bytes, Stream, reads, writes};
use super::source::Source;
use crate::sys::descriptor::descriptor;

impl Bytes for File {
    const DRAINS: bool = true;

    fn is_socket(&self) -> bool {
        false
    }
}

/// The same end for another child: blocking, as most programs expect.
fn blocking(pipe: &Source<File>) -> io::Result<Stdio> {
    let fd = pipe.get_ref().as_fd().try_clone_to_owned()?;
    ioctl_fionbio(&fd, false)?;
    Ok(fd.into())
}

macro_rules! pipe_end {
    ($(#[$docs:meta])* $name:ident, $std:ty) => {
        $(#[$docs])*
        #[derive(Debug)]
        pub struct $name {
            source: Source<File>,
        }

        impl $name {
            pub(super) fn new(end: $std) -> io::Result<Self> {
                let source = Source::nonblocking(File::from(OwnedFd::from(end)))?;
                Ok(Self { source })
            }

            /// For another child's standard streams: the two are then connected directly.
            ///
            /// # Errors
            ///
            /// The system's; above all, no descriptor is left.
            ///
            /// ```
            /// use std::process::Stdio;
            /// use trefoil::io::Command;
            ///
            /// trefoil::run(async {
            ///     let mut first = Command::new("echo").arg("abc").stdout(Stdio::piped()).spawn()?;
            ///     let between = first.stdout.take().unwrap().into_stdio()?;
            ///     let output = Command::new("tr").args(["a-c", "x-z"]).stdin(between).output().await?;
            ///     assert_eq!(output.stdout, b"xyz\n");
            ///     assert!(first.wait().await?.success());
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn into_stdio(self) -> io::Result<Stdio> {
                blocking(&self.source)
            }
        }

        impl Stream for $name {
            type Io = File;

            fn source(&self) -> &Source<File> {
                &self.source
            }
        }

        descriptor! { $name, source.get_ref() }
    };
}

pipe_end! {
    /// What a child reads as its standard input. Dropping it is the end of that input.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use trefoil::io::Command;
    ///
    /// trefoil::run(async {
    ///     let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    ///     let input = child.stdin.take().unwrap();
    ///     input.write_all(b"abc").await?;
    ///     drop(input);
    ///     let output = child.wait_with_output().await?;
    ///     assert_eq!(output.stdout, b"abc");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ChildStdin, std::process::ChildStdin
}

pipe_end! {
    /// What a child writes to its standard output. It ends when the child, and every process
    /// that has inherited it, has closed it.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use trefoil::io::Command;
    ///
    /// trefoil::run(async {
    ///     let mut child = Command::new("echo").arg("abc").stdout(Stdio::piped()).spawn()?;
    ///     let mut text = String::new();
    ///     child.stdout.take().unwrap().read_to_string(&mut text).await?;
    ///     assert_eq!(text, "abc\n");
    ///     assert!(child.wait().await?.success());
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ChildStdout, std::process::ChildStdout
}

pipe_end! {
    /// What a child writes to its standard error. It ends when the child, and every process
    /// that has inherited it, has closed it.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use trefoil::io::Command;
    ///
    /// trefoil::run(async {
    ///     let mut child = Command::new("sh").args(["-c", "echo abc >&2"]).stderr(Stdio::piped()).spawn()?;
    ///     let mut text = String::new();
    ///     child.stderr.take().unwrap().read_to_string(&mut text).await?;
    ///     assert_eq!(text, "abc\n");
    ///     assert!(child.wait().await?.success());
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ChildStderr, std::process::ChildStderr
}

writes! { ChildStdin }

reads! { ChildStdout }

reads! { ChildStderr }
