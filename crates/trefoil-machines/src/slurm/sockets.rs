//! The TCP connections between a pool and its workers.
//!
//! Tests: `crates/trefoil-machines/tests/slurm/cut.rs`.

use std::net::TcpStream;

use rustix::event::PollFlags;
use rustix::io::Result;
use rustix::net::sockopt;

/// The event that the other end will send no more.
#[cfg(target_os = "linux")]
pub(super) const ENDS: PollFlags = PollFlags::RDHUP;
/// The event that the other end will send no more: `poll` reports it unasked.
#[cfg(not(target_os = "linux"))]
pub(super) const ENDS: PollFlags = PollFlags::empty();

/// Prepares a connection to another machine for frames: small ones are sent at once, and if
/// nothing is being sent, a machine that is cut off is noticed after twenty seconds. `is_silent`:
/// also while something is being sent. (On a connection that carries much, a machine may accept
/// nothing for longer.)
#[cfg(target_os = "linux")]
pub(super) fn far(socket: &TcpStream, is_silent: bool) -> Result<()> {
    const EVERY: std::time::Duration = std::time::Duration::from_secs(5);
    if is_silent {
        sockopt::set_tcp_user_timeout(socket, 20_000)?;
    }
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, EVERY)?;
    sockopt::set_tcp_keepintvl(socket, EVERY)?;
    sockopt::set_tcp_keepcnt(socket, 3)
}

/// Prepares a connection to another machine for frames: small ones are sent at once, and a machine
/// that is cut off is noticed after some time.
#[cfg(not(target_os = "linux"))]
pub(super) fn far(socket: &TcpStream, _is_silent: bool) -> Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)
}
