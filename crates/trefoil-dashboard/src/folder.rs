//! Where the sockets are: a folder that nobody but the user can enter.
//!
//! `$XDG_RUNTIME_DIR/trefoil`, or, where there is no such folder of the session,
//! `/tmp/trefoil-UID`. A folder is used only if it is one (a link to one is not), belongs to the
//! user, and gives others no right. In `/tmp` nobody can replace a folder of another user, so what
//! was looked at is what is used.

use std::fs::{DirBuilder, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, getuid, test_kill_process};
use trefoil::io::UnixStream;
use trefoil::timeout;

/// The variable with the folder of the user's session.
const SESSION: &str = "XDG_RUNTIME_DIR";
/// The sockets' folder in that of a session.
const NAME: &str = "trefoil";
/// How long a connection may take: longer only if the other side does not accept.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may take at most from the moment at which a socket's file is there to that at which
/// it accepts.
pub(crate) const ABOUT_TO_LISTEN: Duration = Duration::from_millis(200);
/// How many sockets are looked at, to remove those of programs that were killed.
const SWEPT: usize = 1000;

/// The user of this process.
pub(crate) fn user() -> u32 {
    getuid().as_raw()
}

/// The user of another process, where the system says that.
pub(crate) fn user_of(process: u32) -> Option<u32> {
    let found = symlink_metadata(format!("/proc/{process}"));
    Some(found.ok()?.uid())
}

/// The folder of a user in `/tmp`.
fn shared_place(user: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/trefoil-{user}"))
}

/// The folder of a session, if it is one and this user's.
fn session(user: u32) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(SESSION)?);
    let is_own = path.is_absolute() && is_private(&path, user, 0o022).is_ok();
    is_own.then(|| path.join(NAME))
}

/// Whether it is a folder of this user, in which others have none of these rights.
fn is_private(path: &Path, user: u32, rights: u32) -> io::Result<()> {
    let found = symlink_metadata(path)?;
    let wrong = match found {
        _ if !found.is_dir() => "it is not a folder",
        _ if found.uid() != user => "it belongs to another user",
        _ if found.mode() & rights != 0 => "others have rights in it",
        _ => return Ok(()),
    };
    let message = format!("{} cannot be used: {wrong}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// The folder for this process's socket, which is made if it is not there.
pub(crate) fn make() -> io::Result<PathBuf> {
    let user = user();
    let path = session(user).unwrap_or_else(|| shared_place(user));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => is_private(&path, user, 0o077).map(|()| path),
    }
}

/// The folders in which a socket of a process of this user may be.
pub(crate) fn of(user: u32) -> Vec<PathBuf> {
    let system = PathBuf::from(format!("/run/user/{user}/{NAME}"));
    let mut all: Vec<PathBuf> = session(user).into_iter().collect();
    all.extend([system, shared_place(user)]);
    all.retain(|path| is_private(path, user, 0o077).is_ok());
    all
}

pub(crate) fn socket(folder: &Path, process: u32) -> PathBuf {
    folder.join(format!("{process}.sock"))
}

/// The sockets in a folder, and the process ids in their names.
pub(crate) fn sockets(folder: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let socket = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        Some((name.strip_suffix(".sock")?.parse().ok()?, path))
    };
    let paths = entries.map(|entry| entry.path());
    paths.filter_map(socket).take(SWEPT).collect()
}

/// Whether there is a process with this number.
pub(crate) fn exists(process: u32) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

pub(crate) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    timeout(CONNECT, UnixStream::connect(socket)).await?
}

/// Whether nobody listens there.
pub(crate) fn is_refused(connected: &io::Result<UnixStream>) -> bool {
    (connected.as_ref()).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether nobody listens at a socket any more.
pub(crate) async fn is_dead(socket: &Path) -> bool {
    is_refused(&connect(socket).await)
}

/// Removes the sockets of programs that could not do so themselves.
pub(crate) async fn sweep(folder: &Path) {
    for (process, path) in sockets(folder) {
        if !exists(process) && is_dead(&path).await {
            let _ = std::fs::remove_file(path); // another process may have done so
        }
    }
}
