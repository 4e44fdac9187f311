//! Methods and traits that all connected streams share.
//!
//! Checked by `tests/io/`.

/// For a type of stream around `source`. The examples use a Unix pair, which needs no port.
macro_rules! stream {
    ($type:ty, $socket:ty, $address:ty $(, $fd:ty)?) => {
        impl $type {
            /// Of a socket that does not block.
            pub(super) fn from_nonblocking(socket: rustix::fd::OwnedFd) -> Self {
                Self {
                    source: $crate::io::source::Source::new(socket.into()),
                }
            }

            /// Closes one direction, or both. After `Shutdown::Write` the peer reads the end of the
            /// stream. Does not block.
            ///
            /// # Errors
            ///
            /// The system's; above all, `NotConnected`.
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
            /// The system's; above all, the connection was reset.
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
            /// The system's.
            ///
            /// ```
            /// let (near, _far) = trefoil::io::UnixStream::pair()?;
            /// assert!(near.local_addr()?.is_unnamed());
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn local_addr(&self) -> std::io::Result<$address> {
                self.source.get_ref().local_addr()
            }

            /// The stream twice, for code that wants a reader and a writer apart: a reference to a
            /// stream is either.
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

            /// Two halves with owners of their own, for tasks of their own. (Where borrowing is
            /// enough, nothing needs to be split: all methods take `&self`.) When the writing half
            /// is dropped the peer reads the end of the stream.
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

        impl $crate::io::bytes::Stream for $type {
            type Io = $socket;

            fn source(&self) -> &$crate::io::source::Source<$socket> {
                &self.source
            }
        }

        $crate::io::bytes::reads! { $type }
        $crate::io::bytes::writes! { $type }
        $crate::io::source::socket! { $type, $socket $(, $fd)? }
        $crate::io::bytes::reads! { $crate::io::halves::ReadHalf<$type> }
        $crate::io::bytes::writes! { $crate::io::halves::WriteHalf<$type> }
    };
}
pub(super) use stream;
