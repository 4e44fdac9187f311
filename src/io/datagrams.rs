//! Methods that all datagram sockets share: the `try_…` and `poll_…` forms.
//!
//! Checked by `tests/event_loop/datagrams.rs`.

/// `try_send` and its like, for a type with a source. Their examples use a Unix pair, which needs
/// no port.
macro_rules! datagrams {
    ($type:ty, $socket:ty, $address:ty) => {
        impl $type {
            /// Sends one datagram to the peer, and does not wait for room. It needs no loop.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room: [`writable`](Self::writable) waits for it. As
            /// [`send`](Self::send).
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
            /// `WouldBlock` if there is none: [`readable`](Self::readable) waits for one. As
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

            /// Like [`try_recv`](Self::try_recv), and says where the datagram comes from.
            ///
            /// # Errors
            ///
            /// As `try_recv`.
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

            /// [`send`](Self::send) for a future written by hand; the latest caller is woken.
            ///
            /// # Errors
            ///
            /// As `send`.
            ///
            /// ```
            /// let (near, _far) = trefoil::io::UnixDatagram::pair()?;
            /// let sending = std::future::poll_fn(|cx| near.poll_send(cx, b"abc"));
            /// assert_eq!(trefoil::run(sending)?, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn poll_send(
                &self,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let send =
                    |socket: &$socket| socket.send(bytes).map($crate::io::source::Outcome::Full);
                self.source
                    .poll(cx, $crate::event_loop::Direction::Write, send)
            }

            /// [`recv`](Self::recv) for a future written by hand; the latest caller is woken.
            ///
            /// # Errors
            ///
            /// As `recv`.
            ///
            /// ```
            /// let (near, far) = trefoil::io::UnixDatagram::pair()?;
            /// far.try_send(b"abc")?;
            /// let mut buffer = [0; 8];
            /// let receiving = std::future::poll_fn(|cx| near.poll_recv(cx, &mut buffer));
            /// assert_eq!(trefoil::run(receiving)?, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn poll_recv(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let receive =
                    |socket: &$socket| socket.recv(buffer).map($crate::io::source::Outcome::Full);
                self.source
                    .poll(cx, $crate::event_loop::Direction::Read, receive)
            }

            /// [`recv_from`](Self::recv_from) for a future written by hand; the latest caller is
            /// woken.
            ///
            /// # Errors
            ///
            /// As `recv_from`.
            ///
            /// ```
            /// let (near, far) = trefoil::io::UnixDatagram::pair()?;
            /// far.try_send(b"abc")?;
            /// let mut buffer = [0; 8];
            /// let receiving = std::future::poll_fn(|cx| near.poll_recv_from(cx, &mut buffer));
            /// assert_eq!(trefoil::run(receiving)?.0, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn poll_recv_from(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<(usize, $address)>> {
                let receive = |socket: &$socket| {
                    socket
                        .recv_from(buffer)
                        .map($crate::io::source::Outcome::Full)
                };
                self.source
                    .poll(cx, $crate::event_loop::Direction::Read, receive)
            }
        }
    };
}

pub(super) use datagrams;
