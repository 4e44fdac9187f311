//! The invitation, by which a parent makes a process a worker.
//!
//! It is a variable of the environment: the name of the copy of this crate that it is for
//! (`sys::image`), depth, the parent's process id, the descriptors that every child inherits, those
//! of the stream if that is not the socket on standard input, and the worker's name if it has one.
//! The first three parts are the same in all versions of this crate. `entry` says which process
//! accepts one, and when.
//!
//! **Elsewhere.** A worker that an engine starts (`parent::launch`) may have its stream in two
//! descriptors, pipes or sockets, so that the program's own output does not get into it. The
//! process that starts it there acts as the parent. There may be another build of the program
//! there, which must not run its `main`: [`Invitation::is_of_another_build`].
//!
//! Tests: below; `tests/process/host.rs`, `checks/tests/copies.rs`.

use crate::sys::image::image;
use crate::sys::worker::{has_socket, is_child_of, is_made_by, is_stream};

/// Set in a worker's environment until it has been seen.
pub(crate) const VARIABLE: &str = "TREFOIL_WORKER";

/// What a parent has said to its worker-to-be.
pub(crate) struct Invitation {
    /// Of this crate, in the parent and in the worker.
    copy: String,
    pub(crate) depth: u32,
    pub(crate) parent: u32,
    /// Descriptors that come with `exec`, and are not for a worker.
    pub(crate) handed_on: Vec<i32>,
    /// What to hear, and what to say, if not on the socket that is standard input.
    pub(crate) stream: Option<[i32; 2]>,
    /// Where the pool listens: it has no stream yet, and is to get one there.
    pub(crate) dials: Option<String>,
    /// May be empty.
    pub(crate) name: String,
}

impl Invitation {
    /// What this process was told, and no ancestor. An orphan, whose parent is gone, accepts it,
    /// too: it must not run `main`. It begins to settle in (`serve`), sees there that it is no
    /// child of that parent, and ends.
    pub(crate) fn read() -> Option<Self> {
        let invitation = parse(std::env::var_os(VARIABLE)?.to_str()?)?;
        let is_orphan = || {
            if invitation.dials.is_some() {
                return invitation.is_ours(); // whoever has started it
            }
            let is_its = invitation.stream.is_some() || is_made_by(invitation.parent);
            invitation.is_ours() && invitation.has_stream() && is_its
        };
        (is_child_of(invitation.parent) || is_orphan()).then_some(invitation)
    }

    /// It is for this copy of the crate.
    pub(crate) fn is_ours(&self) -> bool {
        self.copy == image().name() && image().starts_again().is_ok()
    }

    /// It is for a copy of this program elsewhere, and this is another build of the program.
    pub(crate) fn is_of_another_build(&self) -> bool {
        let build = self.copy.rsplit('-').next();
        (self.stream.is_some() || self.dials.is_some()) && build != Some(image().build())
    }

    /// The stream is there.
    pub(crate) fn has_stream(&self) -> bool {
        match self.stream {
            None => has_socket(),
            Some(ends) => ends.into_iter().all(is_stream),
        }
    }
}

/// The first three parts are the same in all versions; the others are only looked at by the copy
/// that they are for.
fn parse(value: &str) -> Option<Invitation> {
    let mut parts = value.splitn(6, ',');
    let copy = parts.next()?.to_owned();
    let depth = parts.next()?.parse().ok()?;
    let parent = parts.next()?.parse().ok()?;
    let list = parts.next()?.split_terminator('.');
    let stream = parts.next();
    let dials = stream.and_then(|stream| stream.strip_prefix('@'));
    let (hears, says) = stream.and_then(|ends| ends.split_once('+')).unzip();
    let number = |end: Option<&str>| end?.parse().ok();
    Some(Invitation {
        copy,
        depth,
        parent,
        handed_on: list.filter_map(|number| number.parse().ok()).collect(),
        stream: number(hears).zip(number(says)).map(<[i32; 2]>::from),
        dials: dials.map(str::to_owned),
        name: parts.next().unwrap_or_default().to_owned(),
    })
}

/// What to put into a worker's environment.
pub(crate) fn variable(depth: u32, handed_on: &[i32], name: &str) -> String {
    let list: String = handed_on
        .iter()
        .map(|number| format!("{number}."))
        .collect();
    format!(
        "{},{},{},{list},,{name}",
        image().name(),
        depth + 1,
        std::process::id()
    )
}

/// What to put into the environment of a worker elsewhere that is started by the process `parent`
/// there, with its stream in the descriptors `stream`.
#[cfg(any(test, feature = "slurm", feature = "ssh"))]
pub(crate) fn elsewhere(depth: u32, parent: &str, stream: [i32; 2]) -> String {
    let (copy, [hears, says]) = (image().name(), stream);
    format!(
        "{copy},{},{parent},{hears}.{says}.,{hears}+{says},",
        depth + 1
    )
}

/// What to put into the environment of a process elsewhere that is to get its stream at `address`.
#[cfg(any(test, feature = "slurm"))]
pub(crate) fn dialling(depth: u32, parent: &str, address: &str) -> String {
    format!("{},{},{parent},,@{address},", image().name(), depth + 1)
}

/// What a worker elsewhere hears, and what it says.
#[cfg(any(test, feature = "ssh"))]
pub(crate) const ELSEWHERE: [i32; 2] = [3, 4];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_as_it_was_written() {
        for (name, list) in [("", vec![]), ("A", vec![3]), ("a, b,", vec![7, 19, 4])] {
            let read = parse(&variable(3, &list, name)).unwrap();
            assert_eq!(read.handed_on, list);
            assert_eq!((read.depth, read.parent), (4, std::process::id()));
            assert_eq!((read.name.as_str(), read.stream), (name, None));
            assert!(!read.is_of_another_build());
            assert!(read.is_ours());
        }
        let dialling = parse(&dialling(1, "77", "[::1]:5")).unwrap();
        assert_eq!(dialling.dials.as_deref(), Some("[::1]:5"));
        assert!(dialling.is_ours() && !dialling.is_of_another_build() && dialling.stream.is_none());
        let skewed = parse("0.0.9-1-77,1,1,,@[::1]:5,").unwrap();
        assert!(skewed.is_of_another_build() && !skewed.is_ours());
        let there = parse(&elsewhere(1, "77", ELSEWHERE)).unwrap();
        assert_eq!((there.depth, there.parent), (2, 77));
        assert_eq!(there.stream, Some(ELSEWHERE));
        assert_eq!(
            there.handed_on, ELSEWHERE,
            "they are closed, once there are others of them"
        );
        assert!(there.is_ours() && !there.is_of_another_build());
        let skewed = format!("0.0.9-1-77{},1,1,3.4.,3+4,", image().name());
        assert!(
            !parse(&skewed).unwrap().is_of_another_build(),
            "another copy in this program"
        );
        let skewed = parse("0.0.9-1-77,1,1,3.4.,3+4,").unwrap();
        assert!(skewed.is_of_another_build() && !skewed.is_ours());
        for other in ["9.0.0-0-,1,1,", "0.0.9,1,1,of its own"] {
            assert!(!parse(other).unwrap().is_ours(), "{other}");
        }
        for nonsense in ["", "x", "x,2", "x,1,1", "x,y,1,", "x,3,-1,"] {
            assert!(parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
