//! Methods that all datagram sockets share.
//!
//! Tests: `tests/io/datagrams.rs`.

/// `send`, `recv` and similar methods for a type with a source. Their examples use a Unix pair,
/// which needs no port.
macro_rules! datagrams {
    ($type:ty, $address:ty) => {
        impl $type {
            /// Sends one datagram to the peer that `connect` has set; returns the number of bytes,
            /// which is all of them. It waits until there is room, as [`writable`](Self::writable)
            /// does.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, there is no peer, or an earlier datagram was
            /// refused (`ConnectionRefused`).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future sends nothing.
            ///
            /// ```
            /// trefoil::run(async {
            ///     let (near, _far) = trefoil::io::UnixDatagram::pair()?;
            ///     assert_eq!(near.send(b"abc").await?, 3);
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
                self.source.writing(|socket| socket.send(bytes)).await
            }

            /// Receives one datagram; returns its length. Otherwise it is like
            /// [`recv_from`](Self::recv_from).
            ///
            /// # Errors
            ///
            /// Those of `recv_from`.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses no datagram.
            ///
            /// ```
            /// trefoil::run(async {
            ///     let (near, far) = trefoil::io::UnixDatagram::pair()?;
            ///     near.send(b"").await?;
            ///     assert_eq!(far.recv(&mut [0; 8]).await?, 0);
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.source.reading(|socket| socket.recv(buffer)).await
            }

            /// Receives one datagram; returns its length and its sender's address. Bytes that do
            /// not fit into the buffer are lost, as with the system's own call. A datagram may be
            /// empty.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, an earlier datagram was refused
            /// (`ConnectionRefused`), after [`connect`](Self::connect).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses no datagram.
            ///
            /// ```
            /// trefoil::run(async {
            ///     let (near, far) = trefoil::io::UnixDatagram::pair()?;
            ///     near.send(b"abc").await?;
            ///     let mut buffer = [0; 2];
            ///     let (count, from) = far.recv_from(&mut buffer).await?;
            ///     assert!(count == 2 && &buffer == b"ab"); // the third byte is gone
            ///     assert!(from.is_unnamed());
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn recv_from(&self, buffer: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.source.reading(|socket| socket.recv_from(buffer)).await
            }

            /// This side's address.
            ///
            /// # Errors
            ///
            /// Errors of the system.
            ///
            /// ```
            /// assert!(trefoil::io::UnixDatagram::unbound()?.local_addr()?.is_unnamed());
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn local_addr(&self) -> std::io::Result<$address> {
                self.source.get_ref().local_addr()
            }

            /// The peer that [`connect`](Self::connect) has set.
            ///
            /// # Errors
            ///
            /// `NotConnected` if there is none.
            ///
            /// ```
            /// assert!(trefoil::io::UnixDatagram::unbound()?.peer_addr().is_err());
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn peer_addr(&self) -> std::io::Result<$address> {
                self.source.get_ref().peer_addr()
            }

            /// Sends one datagram to the peer, and does not wait for room. It needs no loop.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room: [`writable`](Self::writable) waits for it. Those
            /// of [`send`](Self::send).
            ///
            /// ```
            /// let (near, _far) = trefoil::io::UnixDatagram::pair()?;
            /// assert_eq!(near.try_send(b"abc")?, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn try_send(&self, bytes: &[u8]) -> std::io::Result<usize> {
                self.source.get_ref().send(bytes)
            }

            /// Receives one datagram if there is one; returns its length. It needs no loop.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is none: [`readable`](Self::readable) waits for one. Those of
            /// [`recv`](Self::recv).
            ///
            /// ```
            /// use std::io::ErrorKind;
            ///
            /// let (near, far) = trefoil::io::UnixDatagram::pair()?;
            /// assert_eq!(near.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            /// far.try_send(b"abc")?;
            /// assert_eq!(near.try_recv(&mut [0; 8])?, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn try_recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.source.get_ref().recv(buffer)
            }

            /// Receives a datagram without waiting, and returns its length and the sender's
            /// address; for the rest see [`try_recv`](Self::try_recv).
            ///
            /// # Errors
            ///
            /// Those of `try_recv`.
            ///
            /// ```
            /// let (near, far) = trefoil::io::UnixDatagram::pair()?;
            /// far.try_send(b"abc")?;
            /// let (count, _from) = near.try_recv_from(&mut [0; 8])?;
            /// assert_eq!(count, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn try_recv_from(&self, buffer: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.source.get_ref().recv_from(buffer)
            }
        }
    };
}

pub(super) use datagrams;
