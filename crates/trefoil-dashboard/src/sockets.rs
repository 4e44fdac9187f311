//! The other side of [`listen`](crate::listen): how its socket is found, and what is asked there.
//! `trefoil-top` is written with this.
//!
//! # What is sent
//!
//! Both sides send lines, each a JSON object. (Later versions may add members.) The program greets
//! with `{"trefoil_top":1,"pid":PID,"program":NAME}`. Then it answers one request after another:
//!
//! | request | answer |
//! |---|---|
//! | `{"ask":"snapshot","seen":N}` | `snapshot`: executors, threads, worker processes, `map`s. `notes`: failures (one for each cause: the last, with its `count`), slow polls, deadlocks, with their number `seen`; left out if that is the `seen` of the request |
//! | `{"ask":"tasks","by":"tree"}` | a page of tasks, or with `"by":"name"` or `"site"` of groups. `page`: a number; `group`: the tasks of this group; `filter`: only what has this text in its name or site |
//! | `{"ask":"tree"}` | `tree`: all tasks, those in worker processes too, in the form of [`TaskTree::to_json`](trefoil::inspect::TaskTree::to_json). More than 20,000: `null`, and `tasks` is their number |
//! | `{"ask":"text"}` | `text`: all tasks as [`TaskTree`](trefoil::inspect::TaskTree) draws them, 4 MiB of it at most |
//! | `{"ask":"cancel","task":ID}` | `cancelled`: what [`Task::cancel`](trefoil::Task::cancel) returned; `null`: it has ended, or cannot be cancelled from here |
//! | `{"ask":"replace","pid":PID}` | `replaced`: whether a pool that is watched had this worker, and kills it |
//!
//! If a request is not understood, or fails, the answer is `{"error":TEXT}`. A client that is
//! refused gets one such line, and the end of the stream. A request has at most 16 KiB. A client
//! that asks nothing for a minute is disconnected.

use std::io::{self, ErrorKind};
use std::path::Path;

use trefoil::io::UnixStream;
use trefoil::time::sleep;

use crate::folder;

/// The ids of the processes of this user that listen, where `XDG_RUNTIME_DIR` is the same. (A few
/// may have ended meanwhile.)
///
/// ```
/// let top = trefoil_dashboard::listen()?;
/// assert!(trefoil_dashboard::sockets::listening().contains(&std::process::id()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn listening() -> Vec<u32> {
    let folders = folder::of(folder::user());
    let all = folders.iter().flat_map(|folder| folder::sockets(folder));
    let mut processes: Vec<u32> = all.map(|(process, _)| process).collect();
    processes.retain(|process| folder::exists(*process));
    processes.sort_unstable();
    processes.dedup();
    processes
}

/// Connects to the socket of a process, and checks that it is that of this process: by its folder,
/// which nobody else can enter, and by what the system says of the other side.
///
/// # Errors
/// In words: there is no such process, it belongs to another user, or it does not listen (where
/// `XDG_RUNTIME_DIR` is the same). And those of the system.
///
/// ```
/// use trefoil::io::BufReader;
///
/// let top = trefoil_dashboard::listen()?;
/// trefoil::run(async {
///     let stream = trefoil_dashboard::sockets::connect(std::process::id()).await?;
///     let mut lines = BufReader::new(&stream).lines();
///     assert!(lines.next().await.unwrap()?.starts_with(r#"{"trefoil_top":1,"#));
///     stream.write_all(b"{\"ask\":\"tree\"}\n").await?;
///     assert!(lines.next().await.unwrap()?.starts_with(r#"{"tree":{"version":1,"#));
///     std::io::Result::Ok(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn connect(process: u32) -> io::Result<UnixStream> {
    if !folder::exists(process) {
        let message = format!("there is no process {process}");
        return Err(io::Error::new(ErrorKind::NotFound, message));
    }
    let user = folder::user_of(process).unwrap_or_else(folder::user);
    if user != folder::user() && folder::user() != 0 {
        let message =
            format!("process {process} belongs to user {user}: only that user, or root, can look");
        return Err(io::Error::new(ErrorKind::PermissionDenied, message));
    }
    for folder in folder::of(user) {
        let path = folder::socket(&folder, process);
        let mut connected = folder::connect(&path).await;
        if folder::is_refused(&connected) {
            // It may be about to listen: between two calls of the system its socket refuses.
            sleep(folder::ABOUT_TO_LISTEN).await;
            connected = folder::connect(&path).await;
        }
        match connected {
            Ok(stream) => return check(stream, process, user),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err(dead(&path, process));
            }
            Err(error) => {
                let message = format!("{}: {error}", path.display());
                return Err(io::Error::new(error.kind(), message));
            }
        }
    }
    let message = format!(
        "process {process} does not listen: it must call trefoil_dashboard::listen(), or \
         listen_if_asked() and be started with {}=1",
        crate::socket::VARIABLE
    );
    Err(io::Error::new(ErrorKind::NotFound, message))
}

fn check(stream: UnixStream, process: u32, user: u32) -> io::Result<UnixStream> {
    let peer = stream.peer_cred()?;
    // (0: it is in another namespace of processes.)
    if peer.uid == user && [0, process].contains(&peer.pid) {
        return Ok(stream);
    }
    let message = format!(
        "the socket of process {process} is that of process {} of user {}",
        peer.pid, peer.uid
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, message))
}

/// Removes a socket at which nobody listens.
fn dead(path: &Path, process: u32) -> io::Error {
    let removed = std::fs::remove_file(path).is_ok();
    let rest = if removed { ", and was removed" } else { "" };
    let message = format!(
        "nobody listens at {}: it was left by an earlier process {process}{rest}",
        path.display()
    );
    io::Error::new(ErrorKind::ConnectionRefused, message)
}
