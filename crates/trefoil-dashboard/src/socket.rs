//! The socket for `trefoil-top`: who may use it, how many, and how long each may take.
//!
//! Only processes of this user, and of root, are served: the system says whose the other side is.
//! A client that sends nothing, or half a line, or does not read its answers, is disconnected.

use std::cell::Cell;
use std::fmt;
use std::fs::symlink_metadata;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use trefoil::inspect::find_task;
use trefoil::io::{UnixListener, UnixStream};
use trefoil::{CancelToken, select, spawn, timeout};

use crate::board::Board;
use crate::folder;
use crate::requests::{Requests, refusal};
use crate::serving_thread::{self, ServingThread};

/// How many clients there may be.
const CLIENTS: usize = 16;
/// The longest request, in bytes.
const REQUEST: usize = 16 << 10;
const TOO_LONG: &str = "a request has at most 16 KiB";
/// How long a client may be silent, and how long a request may take from its first byte to its
/// last.
const SILENCE: Duration = Duration::from_secs(60);
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long a client may take to read an answer.
const READ: Duration = Duration::from_secs(20);

/// The environment variable for which [`listen_if_asked`] looks.
pub(crate) const VARIABLE: &str = "TREFOIL_TOP";

/// Listens for `trefoil-top`, on a thread of its own, until the [`Socket`] is dropped.
///
/// `trefoil-top PID` shows in a terminal what a [`Dashboard`](crate::Dashboard) shows in a browser.
/// There, and not on the page, a task can be cancelled and a worker process replaced.
///
/// The socket is a file `PID.sock` in a folder which only this user can enter:
/// `$XDG_RUNTIME_DIR/trefoil`, or else `/tmp/trefoil-UID`. Whoever connects must have this user's
/// id, or root's. The file is removed when the `Socket` is dropped; after a program that was
/// killed, the next one that listens does that, or `trefoil-top`.
///
/// From here on tasks are kept track of, as after the first call of
/// [`tasks`](trefoil::inspect::tasks), and can be cancelled by their numbers, as after that of
/// [`find_task`]. (Older tasks are shown if they were kept track of already, and cannot be
/// cancelled.) So call it early. Deadlocks are reported as by `tasks`.
///
/// Cost: some 150 ns for each task, and a thread, which sleeps while nobody looks.
///
/// # Errors
/// `AddrInUse` if this process listens there already; `PermissionDenied` if the folder belongs to
/// somebody else, or others have rights in it; `Unsupported` on Windows; and those of the system:
/// there is no thread or descriptor left, for example.
///
/// ```
/// let top = trefoil_dashboard::listen()?;
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let _watched = top.watch_threads(&pool, "parsers");
/// assert!(top.path().ends_with(format!("{}.sock", std::process::id())));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn listen() -> io::Result<Socket> {
    Socket::open(Board::new())
}

/// [`listen`], if the environment variable `TREFOIL_TOP` is set, and neither empty nor 0: for a
/// program that listens only when whoever starts it asks for that.
///
/// # Errors
/// Those of [`listen`].
///
/// ```
/// // No thread, no file, and tasks are not kept track of: nobody has asked.
/// assert!(trefoil_dashboard::listen_if_asked()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn listen_if_asked() -> io::Result<Option<Socket>> {
    let asked = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0");
    asked.then(listen).transpose()
}

/// A socket for `trefoil-top`; from [`listen`]. Dropping it closes the socket, and removes its
/// file.
#[must_use = "dropping it closes the socket"]
pub struct Socket {
    /// It ends before the board is given up.
    _thread: ServingThread,
    board: Board,
    path: PathBuf,
}

impl Socket {
    pub(crate) fn open(board: Board) -> io::Result<Self> {
        let _ = find_task(0); // tasks are tracked from now on
        let shared = board.shared().clone();
        let serve = async move |(listener, file): (UnixListener, File), stop: CancelToken| {
            run(listener, Rc::new(Requests::new(shared)), stop).await;
            drop(file);
        };
        let (path, thread) = serving_thread::start(crate::TOP, bind, serve)?;
        Ok(Self {
            _thread: thread,
            board,
            path,
        })
    }

    /// The socket's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the socket and all connections, and waits until its thread has ended. Dropping it
    /// does the same.
    ///
    /// The pools that [stayed](crate::Watched::stay) are given up, unless a
    /// [`Dashboard`](crate::Dashboard) shows the same ones, or a clone of the board is left.
    pub fn close(self) {}
}

impl Deref for Socket {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.board
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The socket's file, which is removed when this is dropped, unless another has taken its place.
struct File {
    path: PathBuf,
    inode: (u64, u64),
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for File {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = std::fs::remove_file(&self.path); // if it stays, nobody needs it
        }
    }
}

async fn bind() -> io::Result<(PathBuf, (UnixListener, File))> {
    let folder = folder::make()?;
    folder::sweep(&folder).await;
    let path = folder::socket(&folder, std::process::id());
    let listener = match UnixListener::bind(&path).await {
        // An earlier process with this number was killed.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && folder::is_dead(&path).await => {
            std::fs::remove_file(&path)?;
            UnixListener::bind(&path).await?
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let message = format!("this process listens already, at {}", path.display());
            return Err(io::Error::new(error.kind(), message));
        }
        bound => bound?,
    };
    let inode = inode(&path)?;
    let file = File {
        path: path.clone(),
        inode,
    };
    Ok((path, (listener, file)))
}

/// Accepts until it is stopped.
async fn run(listener: UnixListener, requests: Rc<Requests>, stop: CancelToken) {
    let clients = Rc::new(Cell::new(0));
    loop {
        let accepted = select! {
            _ = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            continue; // it has taken a tenth of a second
        };
        let place = Place::take(&clients);
        let requests = requests.clone();
        // Before anything else is done for it: whose process it is.
        let Ok(peer) = stream.peer_cred() else {
            continue;
        };
        let is_allowed = peer.uid == folder::user() || peer.uid == 0;
        spawn(async move {
            // (The client may be gone.)
            let _ = match place {
                _ if !is_allowed => refuse(&stream, "this program belongs to another user").await,
                None => refuse(&stream, "too many look at this program already").await,
                Some(_place) => serve(&stream, &requests).await,
            };
        })
        .named("dashboard")
        .detach();
    }
}

/// One of the clients that there may be.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(clients: &Rc<Cell<usize>>) -> Option<Self> {
        (clients.get() < CLIENTS).then(|| {
            clients.set(clients.get() + 1);
            Self(clients.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Sends a line.
async fn send(stream: &UnixStream, mut line: String) -> io::Result<()> {
    line.push('\n');
    timeout(READ, stream.write_all(line.as_bytes())).await?
}

/// The few bytes of a refusal have room in the socket, or else are not sent.
async fn refuse(stream: &UnixStream, why: &str) -> io::Result<()> {
    let line = refusal(why) + "\n";
    timeout(Duration::ZERO, stream.write_all(line.as_bytes())).await?
}

async fn serve(stream: &UnixStream, requests: &Requests) -> io::Result<()> {
    send(stream, requests.greeting()).await?;
    let mut buffer = Vec::new();
    while let Some(line) = next_line(stream, &mut buffer).await? {
        send(stream, requests.answer(&line).await).await?;
    }
    Ok(())
}

/// The next request. `buffer` has what was read after the last one.
async fn next_line(stream: &UnixStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    if buffer.is_empty() && !timeout(SILENCE, fill(stream, buffer)).await?? {
        return Ok(None);
    }
    let rest = async {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                if end > REQUEST {
                    refuse(stream, TOO_LONG).await?;
                    return Ok(None);
                }
                let mut line: Vec<u8> = buffer.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            if buffer.len() > REQUEST {
                refuse(stream, TOO_LONG).await?;
                return Ok(None);
            }
            if !fill(stream, buffer).await? {
                return Ok(None);
            }
        }
    };
    timeout(ARRIVAL, rest).await?
}

/// Reads more; false: the other side has closed.
async fn fill(stream: &UnixStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece).await?;
    buffer.extend_from_slice(&piece[..count]);
    Ok(count > 0)
}
