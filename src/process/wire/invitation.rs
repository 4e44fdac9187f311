//! The invitation, by which a parent makes a process a worker.
//!
//! It is an environment variable with these parts: the name of the copy of this crate that it is
//! for (`host::image`), the depth, the parent's process id, the descriptors of the stream if it is
//! not the socket on standard input (or the function to call in place of serving), and the worker's
//! name (or that function's argument). For a fork server the word `fork` is in the place of the
//! descriptors. The first three parts are the same in all versions of this
//! crate. `entry` says which process accepts one, and when.
//!
//! **Elsewhere.** A worker that a launcher starts (`launch`) has its stream in two descriptors,
//! pipes or sockets. No process is named as its parent, because there may be others in between. The
//! program there may be another build, which must not run its `main`:
//! [`Invitation::is_of_another_build`].
//!
//! Tests: below; `tests/process/host.rs::what_is_for_another_is_left_for_it`,
//! `tests/trefoil-checks/tests/copies.rs`.

use trefoil_os::host::image::image;
use trefoil_os::host::worker::{has_socket, is_child_of, is_made_by, is_stream};

/// The variable. It is set in a worker's environment until the worker has read it.
pub(crate) const VARIABLE: &str = "TREFOIL_WORKER";

/// The contents of the variable.
pub(crate) struct Invitation {
    /// The name of the copy of this crate that it is for.
    copy: String,
    pub(crate) depth: u32,
    pub(crate) parent: u32,
    /// The descriptors to read from and to write to, if not the socket on standard input.
    pub(crate) stream: Option<[i32; 2]>,
    /// The worker's standard output is discarded, or that of the workers which the function starts.
    /// (For what a launcher starts only.)
    pub(crate) discards: bool,
    /// The function to call in place of serving (`launch::raw_program`).
    pub(crate) entry: Option<u64>,
    /// The process is a fork server, and no worker.
    pub(crate) forks: bool,
    /// The worker's name, or the function's argument; may be empty.
    pub(crate) name: String,
}

impl Invitation {
    /// The invitation of this process; one that was meant for an ancestor is ignored. One that a
    /// launcher has passed on is accepted by whatever process gets it. An orphan,
    /// whose parent is gone, accepts its invitation, too, since it must not run `main`: it begins
    /// to serve (`serve`), sees there that it is not a child of that parent, and ends. Where the
    /// system does not say whose child this process is, it accepts what an orphan would.
    pub(crate) fn read() -> Option<Self> {
        let invitation = parse(std::env::var_os(VARIABLE)?.to_str()?)?;
        let is_orphan =
            || invitation.is_ours() && invitation.has_stream() && is_made_by(invitation.parent);
        let is_child = || is_child_of(invitation.parent) == Some(true);
        (invitation.is_launched() || is_child() || is_orphan()).then_some(invitation)
    }

    /// Whether it is for this copy of the crate.
    pub(crate) fn is_ours(&self) -> bool {
        self.copy == image().name() && image().starts_again().is_ok()
    }

    /// Whether it is a launcher's, which may have passed it on through other processes.
    pub(crate) fn is_launched(&self) -> bool {
        self.stream.is_some() || self.entry.is_some()
    }

    /// Whether it is a launcher's, and this process is another build of the program.
    pub(crate) fn is_of_another_build(&self) -> bool {
        let build = self.copy.rsplit('-').next();
        self.is_launched() && build != Some(image().build())
    }

    /// Whether the descriptors of the stream are open, and are a stream.
    pub(crate) fn has_stream(&self) -> bool {
        match self.stream {
            None => has_socket(),
            Some(ends) => ends.into_iter().all(is_stream),
        }
    }
}

/// The first three parts are the same in all versions; only the copy that it is for reads the
/// others.
fn parse(value: &str) -> Option<Invitation> {
    let mut parts = value.splitn(5, ',');
    let copy = parts.next()?.to_owned();
    let depth = parts.next()?.parse().ok()?;
    let parent = parts.next()?.parse().ok()?;
    let stream = parts.next()?;
    let kept = stream.strip_suffix(DISCARDS);
    let stream = kept.unwrap_or(stream);
    let entry = stream.strip_prefix('@');
    let (input, output) = stream.split_once('+').unzip();
    let number = |end: Option<&str>| i32::try_from(end?.parse::<u32>().ok()?).ok();
    Some(Invitation {
        copy,
        depth,
        parent,
        stream: number(input).zip(number(output)).map(<[i32; 2]>::from),
        discards: kept.is_some(),
        entry: entry.and_then(|offset| u64::from_str_radix(offset, 16).ok()),
        forks: stream == FORKS,
        name: parts.next().unwrap_or_default().to_owned(),
    })
}

/// In place of the descriptors of a stream: the process is a fork server.
const FORKS: &str = "fork";

/// The value of the variable for a process on this machine: a worker, or a server that `forks`.
pub(crate) fn variable(depth: u32, forks: bool, name: &str) -> String {
    let stream = if forks { FORKS } else { "" };
    text(depth, std::process::id(), stream, name)
}

fn text(depth: u32, parent: u32, stream: &str, name: &str) -> String {
    let copy = image().name();
    format!("{copy},{},{parent},{stream},{name}", depth + 1)
}

/// In place of a parent's process id: any process may have started this one.
pub(crate) const ANY: u32 = 0;

/// Follows the descriptors of the stream, or the function, if standard output is discarded.
const DISCARDS: char = '-';

/// The value for a worker that a launcher starts, with the stream in the descriptors `ends`.
pub(crate) fn elsewhere(depth: u32, ends: [i32; 2], discards: bool) -> String {
    let [input, output] = ends;
    let stream = format!("{input}+{output}{}", mark(discards));
    text(depth, ANY, &stream, "")
}

/// The value for a process that is to call the function at `offset` with `argument`, and may start
/// workers.
pub(crate) fn entry(depth: u32, offset: u64, discards: bool, argument: &str) -> String {
    let function = format!("@{offset:x}{}", mark(discards));
    text(depth, ANY, &function, argument)
}

fn mark(discards: bool) -> String {
    discards
        .then_some(DISCARDS)
        .map(String::from)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_as_it_was_written() {
        for name in ["", "A", "a, b,"] {
            let read = parse(&variable(3, false, name)).unwrap();
            assert_eq!((read.depth, read.parent), (4, std::process::id()));
            assert_eq!((read.name.as_str(), read.stream), (name, None));
            assert!(!read.is_of_another_build());
            assert!(read.is_ours() && !read.forks);
        }
        let server = parse(&variable(3, true, "")).unwrap();
        assert_eq!((server.depth, server.parent), (4, std::process::id()));
        assert!(server.is_ours() && server.forks && !server.is_launched());
        for discards in [false, true] {
            let called = parse(&entry(1, 0xab, discards, "[::1]:5,$0")).unwrap();
            assert_eq!((called.entry, &*called.name), (Some(0xab), "[::1]:5,$0"));
            assert!(called.is_ours() && !called.is_of_another_build() && called.stream.is_none());
            assert_eq!(called.discards, discards);
        }
        let skewed = parse("0.0.9-1-77,1,1,@5,").unwrap();
        assert!(skewed.is_of_another_build() && !skewed.is_ours());
        for (ends, discards) in [([3, 4], false), ([0, 1], true)] {
            let there = parse(&elsewhere(1, ends, discards)).unwrap();
            assert_eq!((there.depth, there.parent), (2, ANY));
            assert_eq!((there.stream, there.discards), (Some(ends), discards));
            assert!(there.is_ours() && !there.is_of_another_build());
        }
        let skewed = format!("0.0.9-1-77{},1,1,3+4,", image().name());
        assert!(
            !parse(&skewed).unwrap().is_of_another_build(),
            "another copy in this program"
        );
        let skewed = parse("0.0.9-1-77,1,1,3+4,").unwrap();
        assert!(skewed.is_of_another_build() && !skewed.is_ours());
        for other in ["9.0.0-0-,1,1,", "0.0.9,1,1,of its own"] {
            assert!(!parse(other).unwrap().is_ours(), "{other}");
        }
        for nonsense in ["", "x", "x,2", "x,1,1", "x,y,1,", "x,3,-1,"] {
            assert!(parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
