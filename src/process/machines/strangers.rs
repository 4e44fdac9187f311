//! Connections whose other end has not shown that it has the key.
//!
//! **Job.** Anybody who reaches the port may have one. There are never more than [`MOST`]: another
//! one takes the place of the oldest, which is shut down. So connections that say nothing keep no
//! worker out, which needs its own for a moment only; one that had to give way nevertheless, among
//! very many, dials again (`holder`).
//!
//! Tests: below; `tests/slurm/errors.rs`.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

/// How many connections may be in their handshake at once. Each has a thread.
pub(crate) const MOST: usize = 256;

/// Those that are in their handshake, the oldest first.
#[derive(Default)]
pub(crate) struct Strangers {
    numbers: u64,
    all: VecDeque<(u64, Arc<TcpStream>)>,
}

impl Strangers {
    /// One more, and its number.
    pub(crate) fn admit(&mut self, stream: TcpStream) -> (u64, Arc<TcpStream>) {
        if self.all.len() >= MOST
            && let Some((_, oldest)) = self.all.pop_front()
        {
            // Whoever waits for its words hears that there will be none.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        let (number, stream) = (self.numbers, Arc::new(stream));
        self.numbers += 1;
        self.all.push_back((number, stream.clone()));
        (number, stream)
    }

    /// Its handshake has ended. False: it has had to give way.
    pub(crate) fn leave(&mut self, number: u64) -> bool {
        let place = self
            .all
            .binary_search_by_key(&number, |(number, _)| *number);
        place.is_ok_and(|at| self.all.remove(at).is_some())
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_oldest_gives_way_and_the_others_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut strangers = Strangers::default();
        let mut dialled = Vec::new();
        for n in 0..MOST as u64 + 3 {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            stream.set_nonblocking(true).unwrap();
            dialled.push(stream);
            let (number, _) = strangers.admit(listener.accept().unwrap().0);
            assert_eq!(number, n);
            if n == 1 {
                assert!(
                    strangers.leave(1),
                    "what has been answered leaves by itself"
                );
            }
        }
        // One of the first has left, so two had to.
        assert!(!strangers.leave(0) && !strangers.leave(2));
        let mut said = dialled.iter().map(|mut stream| stream.read(&mut [0]));
        for n in 0..MOST + 3 {
            let is_open =
                matches!(said.next().unwrap(), Err(error) if error.kind() == ErrorKind::WouldBlock);
            assert_eq!(is_open, n > 2, "{n}");
        }
        assert!(strangers.leave(3) && !strangers.leave(3));
    }
}
