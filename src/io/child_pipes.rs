//! The parent's ends of a child's standard streams.
//!
//! Each is a pipe whose parent's end does not block. The child's end is another open file, whose
//! flags stay as programs expect them. The methods are those of every stream (see `byte_stream`).
//! Dropping an end closes it: the child then reads the end of its input, or can no longer write.
//!
//! Tests: `tests/io/child_processes.rs::{much_goes_in_while_much_comes_out,
//! nobody_reads_what_is_written}`,
//! `tests/io/children.rs::pipes_that_end_before_the_child_and_after_it`.

use std::io;
use std::process::Stdio;

use super::byte_stream::{ByteDescriptor, ByteStream, reads, writes};
use super::source::IoSource;
use crate::sys::descriptor::pipe_descriptor;
use crate::sys::pipe_end::{IS_SOCKET, PipeEnd};

impl ByteDescriptor for PipeEnd {
    /// A pipe whose writer has put it into packet mode returns one packet at a time.
    const DRAINS: bool = IS_SOCKET;

    fn is_socket(&self) -> bool {
        IS_SOCKET
    }
}

macro_rules! pipe_end {
    ($(#[$docs:meta])* $name:ident, $std:ty, $open:path) => {
        $(#[$docs])*
        #[derive(Debug)]
        pub struct $name {
            source: IoSource<PipeEnd>,
        }

        impl $name {
            pub(super) fn new(end: $std) -> io::Result<Self> {
                let source = IoSource::new($open(end)?);
                Ok(Self { source })
            }

            /// Converts it for another child's standard streams: the two children are then
            /// connected directly.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, no descriptor is left.
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
                self.source.get_ref().to_stdio()
            }
        }

        impl ByteStream for $name {
            type Io = PipeEnd;

            fn source(&self) -> &IoSource<PipeEnd> {
                &self.source
            }
        }

        pipe_descriptor! { $name, source.get_ref() }
    };
}

pipe_end! {
    /// Writes to a child's standard input. Dropping it ends that input (the `close` of another
    /// crate's trait, or of a `BufWriter`, does not).
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
    ChildStdin, std::process::ChildStdin, PipeEnd::writer
}

pipe_end! {
    /// Reads a child's standard output. It ends when the child, and every process that has
    /// inherited it, has closed it.
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
    ChildStdout, std::process::ChildStdout, PipeEnd::reader
}

pipe_end! {
    /// Reads a child's standard error. It ends when the child, and every process that has inherited
    /// it, has closed it.
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
    ChildStderr, std::process::ChildStderr, PipeEnd::reader
}

writes! { ChildStdin }

reads! { ChildStdout }

reads! { ChildStderr }
