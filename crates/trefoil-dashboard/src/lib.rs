//! A live page in the browser for a program that runs on [trefoil](https://docs.rs/trefoil).
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod access;
mod board;
mod body;
mod executors;
#[cfg(unix)]
mod folder;
mod metrics;
mod notes;
mod pulse;
mod report;
#[cfg(unix)]
mod requests;
mod sampler;
mod server;
mod serving_thread;
mod snapshot;
#[cfg_attr(not(unix), path = "no_socket.rs")]
mod socket;
#[cfg(unix)]
pub mod sockets;
mod system;
mod tree;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use trefoil::io::TcpListener;

use access::Access;
pub use board::{Board, Recorder, Watched};
use sampler::Sampler;
use serving_thread::ServingThread;
pub use socket::{Socket, listen, listen_if_asked};

/// The name of the dashboard's thread.
const THREAD: &str = "trefoil-dash";
/// The name of the socket's thread.
const TOP: &str = "trefoil-top";

/// Serves the page on `addr`, from a thread of its own, until the [`Dashboard`] is dropped.
///
/// Port 0 is any port that is free. [`Dashboard::url`] is the address to open; it has a random
/// token, without which every request is refused.
///
/// An address that is not a loopback address can be reached from other machines. The page is served
/// without encryption, so everybody on the way can read it and the token. Where the network is not
/// yours alone, serve on `127.0.0.1` and reach it through a tunnel (`ssh -L 8787:127.0.0.1:8787
/// host`).
///
/// From here on tasks are kept track of, as after the first call of [`tasks`](trefoil::inspect::tasks): all
/// tasks of the program are on the page, and deadlocks that are found, also without
/// [`on_stuck`](trefoil::inspect::on_stuck).
///
/// Cost: that of keeping track of tasks, which the page of [`inspect`](trefoil::inspect) has, and a
/// thread, which sleeps while no page is open.
///
/// # Errors
/// Those of the system: the address is in use, does not resolve or is not of this machine; there is
/// no thread, no descriptor or no random number left.
///
/// ```
/// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
/// assert!(dashboard.url().starts_with("http://127.0.0.1:"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn serve(addr: impl ToSocketAddrs) -> io::Result<Dashboard> {
    let addresses: Vec<SocketAddr> = addr.to_socket_addrs()?.collect();
    let board = Board::new();
    let shared = board.shared().clone();
    let listen = async move || {
        let listener = TcpListener::bind(&*addresses).await?;
        let bound = listener.local_addr()?;
        let access = Arc::new(Access::new(bound)?);
        Ok(((bound, access.clone()), (listener, access)))
    };
    let serve = async move |(listener, access), stop| {
        let sampler = Rc::new(Sampler::new(shared));
        server::run(listener, access, sampler, stop).await;
    };
    let ((bound, access), thread) = serving_thread::start(THREAD, listen, serve)?;
    Ok(Dashboard {
        _thread: thread,
        board,
        access,
        bound,
    })
}

/// A page that is served; from [`serve`]. Dropping it closes the page.
#[must_use = "dropping it closes the page"]
pub struct Dashboard {
    /// It ends before the board is given up.
    _thread: ServingThread,
    board: Board,
    access: Arc<Access>,
    bound: SocketAddr,
}

impl Deref for Dashboard {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.board
    }
}

impl Dashboard {
    /// The address to open in a browser, with the token: whoever opens it there sees the page.
    ///
    /// The answer to it stores the token in a cookie and redirects to the page, so that the token
    /// does not stay in the address bar. It may be opened several times.
    #[must_use]
    pub fn url(&self) -> String {
        self.access.url()
    }

    /// What a program that collects metrics needs, such as Prometheus: the address of `/metrics`,
    /// and the token, which it sends in a header, `Authorization: Bearer TOKEN`.
    ///
    /// ```
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// let (address, token) = dashboard.metrics();
    /// assert!(address.ends_with("/metrics") && token.len() == 32);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> (String, String) {
        let url = self.access.url();
        let (address, token) = url.split_once("?token=").unwrap_or((&url, ""));
        (format!("{address}{}", access::METRICS), token.to_owned())
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.bound
    }

    /// Writes what the page shows now to a file, which a browser opens without this program.
    ///
    /// Of the tasks it has the first hundred lines by name, by site and as a tree. It takes a
    /// quarter of a second, because rates are measured, and blocks the calling thread meanwhile.
    ///
    /// # Errors
    /// Those of writing the file.
    ///
    /// ```no_run
    /// # fn show(dashboard: &trefoil_dashboard::Dashboard) -> std::io::Result<()> {
    /// dashboard.report("report.html")
    /// # }
    /// ```
    pub fn report(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let before = sampler::take(self.board.shared());
        std::thread::sleep(report::BETWEEN);
        std::fs::write(path, report::render(self.board.shared(), &before)?)
    }

    /// Shows the same to `trefoil-top`: see [`listen()`].
    ///
    /// # Errors
    /// Those of [`listen()`].
    ///
    /// ```
    /// let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    /// let top = dashboard.listen()?;
    /// let _watched = dashboard.watch_threads(trefoil::ThreadPool::global(), "global"); // on both
    /// # drop(top);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn listen(&self) -> io::Result<Socket> {
        Socket::open(self.board.clone())
    }

    /// Closes the page and all connections, and waits until its thread has ended. Dropping it does
    /// the same.
    ///
    /// The pools that [stayed](Watched::stay) are given up, unless a [`Socket`] shows the same
    /// ones, or a clone of the [`Board`] is left: if no other handle of such a pool is left, this
    /// ends the pool.
    pub fn close(self) {}
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("addr", &self.bound)
            .finish_non_exhaustive()
    }
}
