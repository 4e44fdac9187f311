//! The invitation by which a parent tells a process that it is to be a worker.
//!
//! It is a variable of the environment: the name of the copy of this crate that it is for (`sys::image`), depth, the parent's
//! process id, the descriptors that every child inherits, and the worker's name if it has one. The first three parts are
//! the same in all versions of this crate. `entry` says which process accepts one, and when.
//!
//! Tests: below; `tests/process/host.rs`, `checks/tests/copies.rs`.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::FileType;
use rustix::process::Pid;

use crate::sys::image::image;
use crate::sys::peer::peer;

/// Set in a worker's environment until it has been seen.
pub(crate) const VARIABLE: &str = "TREFOIL_WORKER";

/// What this process is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    /// 0: started by somebody else; n: the worker of a process of depth n - 1.
    pub(crate) depth: u32,
}

/// What a parent has said to its worker-to-be.
pub(crate) struct Invitation {
    /// Of this crate, in the parent and in the worker.
    copy: String,
    pub(crate) depth: u32,
    pub(crate) parent: u32,
    /// Descriptors that come with `exec`, and are not for a worker.
    pub(crate) handed_on: Vec<i32>,
    /// May be empty.
    pub(crate) name: String,
}

impl Invitation {
    /// What this process was told, and no ancestor. An orphan, whose parent is gone, accepts it, too: it must not run `main`. It
    /// begins to settle in (`serve`), sees there that it is no child of that parent, and ends.
    pub(crate) fn read() -> Option<Self> {
        let invitation = parse(std::env::var_os(VARIABLE)?.to_str()?)?;
        let is_orphan = || invitation.is_ours() && has_socket() && is_made_by(invitation.parent);
        (is_child_of(invitation.parent) || is_orphan()).then_some(invitation)
    }

    /// It is for this copy of the crate.
    pub(crate) fn is_ours(&self) -> bool {
        self.copy == image().name() && image().starts_again().is_ok()
    }
}

pub(crate) fn has_socket() -> bool {
    let stdin = rustix::fs::fstat(io::stdin().as_fd());
    stdin.is_ok_and(|stdin| FileType::from_raw_mode(stdin.st_mode) == FileType::Socket)
}

/// Standard input, a socket, is a pair that the process `parent` made, whether it lives or not; as far as that can be asked.
fn is_made_by(parent: u32) -> bool {
    peer(io::stdin()).map_or(true, |peer| peer.pid.cast_unsigned() == parent)
}

/// This process was started by the process `parent`, which still lives.
pub(crate) fn is_child_of(parent: u32) -> bool {
    rustix::process::getppid().map(Pid::as_raw_pid) == i32::try_from(parent).ok()
}

/// The first three parts are the same in all versions; the others are only looked at by the copy that they are for.
fn parse(value: &str) -> Option<Invitation> {
    let mut parts = value.splitn(5, ',');
    let copy = parts.next()?.to_owned();
    let depth = parts.next()?.parse().ok()?;
    let parent = parts.next()?.parse().ok()?;
    let list = parts.next()?.split_terminator('.');
    Some(Invitation {
        copy,
        depth,
        parent,
        handed_on: list.filter_map(|number| number.parse().ok()).collect(),
        name: parts.next().unwrap_or_default().to_owned(),
    })
}

/// What to put into a worker's environment.
pub(crate) fn variable(role: Role, handed_on: &[i32], name: &str) -> String {
    let list: String = handed_on
        .iter()
        .map(|number| format!("{number}."))
        .collect();
    format!(
        "{},{},{},{list},{name}",
        image().name(),
        role.depth + 1,
        std::process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_as_it_was_written() {
        for (name, list) in [("", vec![]), ("A", vec![3]), ("a, b,", vec![7, 19, 4])] {
            let read = parse(&variable(Role { depth: 3 }, &list, name)).unwrap();
            assert_eq!(read.handed_on, list);
            assert_eq!((read.depth, read.parent), (4, std::process::id()));
            assert_eq!(read.name, name);
            assert!(read.is_ours());
        }
        for other in ["9.0.0-0-,1,1,", "0.0.9,1,1,of its own"] {
            assert!(!parse(other).unwrap().is_ours(), "{other}");
        }
        for nonsense in ["", "x", "x,2", "x,1,1", "x,y,1,", "x,3,-1,"] {
            assert!(parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
