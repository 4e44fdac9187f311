//! Methods and traits that all connected streams share.
//!
//! Tests: `tests/io/transfer.rs::the_futures_io_traits_vectored_too`,
//! `tests/io/edge_cases.rs::half_closed_the_other_half_goes_on`.

/// The methods of a type of stream around `source`. The examples use a Unix pair, which needs no
/// port.
macro_rules! stream {
    ($type:ty, $socket:ty, $address:ty) => {
        impl $type {
            /// Wraps a socket that does not block.
            pub(super) fn from_nonblocking(socket: rustix::fd::OwnedFd) -> Self {
                Self {
                    source: $crate::io::source::IoSource::new(socket.into()),
                }
            }

            /// Closes one direction, or both. After `Shutdown::Write` the peer reads the end of the
            /// stream. This does not block.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, `NotConnected`.
            ///
            /// ```
            /// use std::net::Shutdown;
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, far) = UnixStream::pair()?;
            ///     near.shutdown(Shutdown::Write)?;
            ///     assert_eq!(far.read(&mut [0; 8]).await?, 0);
            ///     far.write_all(b"the other direction").await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.source.get_ref().shutdown(how)
            }

            /// The other side's address. (A Unix socket that is not bound has none.)
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, the connection was reset.
            ///
            /// ```
            /// let (near, _far) = trefoil::io::UnixStream::pair()?;
            /// assert!(near.peer_addr()?.is_unnamed());
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn peer_addr(&self) -> std::io::Result<$address> {
                self.source.get_ref().peer_addr()
            }

            /// This side's address. (A Unix socket that is not bound has none.)
            ///
            /// # Errors
            ///
            /// Errors of the system.
            ///
            /// ```
            /// let (near, _far) = trefoil::io::UnixStream::pair()?;
            /// assert!(near.local_addr()?.is_unnamed());
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn local_addr(&self) -> std::io::Result<$address> {
                self.source.get_ref().local_addr()
            }

            /// The stream twice, for code that takes a reader and a writer separately: a reference
            /// to a stream is both.
            ///
            /// ```
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, far) = UnixStream::pair()?;
            ///     let (reader, writer) = near.split();
            ///     far.write_all(b"abc").await?;
            ///     writer.write_all(b"def").await?;
            ///     reader.read_exact(&mut [0; 3]).await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn split(&self) -> (&Self, &Self) {
                (self, self)
            }

            /// Two halves with separate owners, for different tasks. (If borrowing is enough, no
            /// split is needed: all methods take `&self`.) When the writing half is dropped, the
            /// peer reads the end of the stream.
            ///
            /// ```
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, far) = UnixStream::pair()?;
            ///     let (reader, writer) = near.into_split();
            ///     let echo = trefoil::spawn(async move {
            ///         let mut bytes = Vec::new();
            ///         far.read_to_end(&mut bytes).await?;
            ///         far.write_all(&bytes).await
            ///     });
            ///     writer.write_all(b"abc").await?;
            ///     drop(writer);
            ///     echo.await??;
            ///     let mut answer = String::new();
            ///     reader.read_to_string(&mut answer).await?;
            ///     assert_eq!(answer, "abc");
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn into_split(
                self,
            ) -> (
                $crate::io::halves::ReadHalf<Self>,
                $crate::io::halves::WriteHalf<Self>,
            ) {
                $crate::io::halves::split(self)
            }
        }

        impl $crate::io::byte_stream::ByteStream for $type {
            type Io = $socket;

            fn source(&self) -> &$crate::io::source::IoSource<$socket> {
                &self.source
            }
        }

        $crate::io::byte_stream::reads! { $type }
        $crate::io::byte_stream::writes! { $type }
        // Several tasks may share a stream, as with std's.
        $crate::io::byte_stream::reads!(@trait &$type);
        $crate::io::byte_stream::writes!(@trait &$type);
        $crate::io::source::socket! { $type, $socket }
        $crate::io::byte_stream::reads! { $crate::io::halves::ReadHalf<$type> }
        $crate::io::byte_stream::writes! { $crate::io::halves::WriteHalf<$type> }
    };
}
pub(super) use stream;
