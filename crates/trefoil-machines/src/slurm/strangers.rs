//! Connections whose other end has not shown that it has the key.
//!
//! **Job.** Any process that reaches the port may open a connection. At most [`MOST`] connections
//! are in their handshake at once: a further one evicts the oldest, which is shut down. So silent
//! connections keep no worker out, because a worker's handshake takes only a moment. A worker whose
//! connection was evicted reconnects (`holder`). When the pool ends, all are shut down, so that no
//! thread of it is left for as long as a handshake may take.
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/errors.rs`.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

/// How many connections may be in their handshake at once. Each has a thread.
pub(crate) const MOST: usize = 256;

/// The connections that are in their handshake, the oldest first.
#[derive(Default)]
pub(crate) struct Strangers {
    numbers: u64,
    all: VecDeque<(u64, Arc<TcpStream>)>,
}

impl Strangers {
    /// Adds a connection; returns it with its number. If there are too many, it evicts the oldest.
    pub(crate) fn admit(&mut self, stream: TcpStream) -> (u64, Arc<TcpStream>) {
        if self.all.len() >= MOST
            && let Some((_, oldest)) = self.all.pop_front()
        {
            // The thread that reads from it sees its end.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        let (number, stream) = (self.numbers, Arc::new(stream));
        self.numbers += 1;
        self.all.push_back((number, stream.clone()));
        (number, stream)
    }

    /// The handshake of connection `number` has ended. False: the connection had been evicted.
    pub(crate) fn leave(&mut self, number: u64) -> bool {
        let place = self
            .all
            .binary_search_by_key(&number, |(number, _)| *number);
        place.is_ok_and(|at| self.all.remove(at).is_some())
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        for (_, stream) in &self.all {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_gives_way_and_the_others_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut strangers = Strangers::default();
        let (mut dialled, mut held) = (Vec::new(), Vec::new());
        for n in 0..MOST as u64 + 3 {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            stream.set_nonblocking(true).unwrap();
            dialled.push(stream);
            let (number, stream) = strangers.admit(listener.accept().unwrap().0);
            assert_eq!(number, n);
            if n == 1 {
                assert!(
                    strangers.leave(1),
                    "what has been answered leaves by itself"
                );
            } else {
                held.push(stream); // as its thread does
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
        drop(strangers);
        for stream in &mut dialled[4..] {
            stream.set_nonblocking(false).unwrap();
            let limit = Duration::from_secs(60);
            stream.set_read_timeout(Some(limit)).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it was shut down");
        }
    }
}
