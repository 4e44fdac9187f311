//! Why a row is behind, in a line below its table.
//!
//! A reason is kept here only while somebody has looked for one; a row that is not behind in a run
//! shows none.
//!
//! Checked by the tests below.

use std::fmt::Write as _;

use crate::judge::SLACK;
use crate::record::Judged;
use crate::rows::Kind;

/// What a row's name contains, and why trefoil is behind there. (The first that fits counts.)
const WHY: &[(&str, &str)] = &[
    (
        "a task that installs in a pool of one",
        "a waiting worker of rayon runs other tasks, here only the one that it waits for",
    ),
    (
        "ms idle",
        "a halted processor needs 50 to 100 µs to wake up",
    ),
    (
        "the same in batches of 1,000",
        "16 bytes more for each task than in monoio's: an id, the place of the spawn, cancellation \
         from other threads",
    ),
    (
        "at once",
        "16 bytes more for each task than in monoio's, which are more misses of the cache",
    ),
    (
        "due within 100 ms: lateness",
        "the kernel ends a wait 50 µs late; smol keeps a processor busy until a timer is due",
    ),
    (
        "system calls for each echo, connections in step: 1",
        "a wait, a read and a write, as by hand with epoll",
    ),
    (
        "an idle task that waits for nothing",
        "an id, the place of the spawn, and cancellation from other threads",
    ),
    (
        "resident KiB at rest",
        "its threads and tables are made with the executor, not with the first task; and most are \
         pages of the program's file, which the kernel reads by 64 KiB: a pool of two threads that \
         has run a map writes 112 KiB (rayon's 68)",
    ),
];

/// A line for each row of the page that is behind the best peer, if the reason is known.
#[must_use]
pub fn reasons(rows: &[Judged]) -> String {
    let mut out = String::new();
    for row in rows.iter().filter(|row| !row.detail) {
        let (ours, peer) = (row.best(Kind::Ours), row.best(Kind::Peer));
        let is_behind = |(ours, peer): (_, _)| -> bool { ours > peer * SLACK };
        let figures = ours.zip(peer).map(|(ours, peer)| (ours.value, peer.value));
        let why = WHY.iter().find(|(part, _)| row.name.contains(part));
        if let Some((_, why)) = why.filter(|_| figures.is_some_and(is_behind)) {
            let _ = writeln!(out, "- {}: {why}.", row.name);
        }
    }
    match out.is_empty() {
        true => out,
        false => format!("\nWhy it is behind:\n\n{out}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::rows::{Goal, Measured, Row, Unit};

    #[test]
    fn only_a_row_that_is_behind_says_why() {
        let row = |name: &str, ours: f64, peer: f64| {
            let measured = Measured::new(vec![
                ("trefoil", Kind::Ours, vec![ours]),
                ("smol", Kind::Peer, vec![peer]),
            ]);
            judge(&Row::new(name, Unit::Ns, &[Goal::Ahead]), &measured)
        };
        let name = "an idle task that waits for nothing: bytes";
        assert_eq!(
            reasons(&[row(name, 1.02, 1.0), row("another", 9.0, 1.0)]),
            ""
        );
        let text = reasons(&[row(name, 96.0, 72.0)]);
        assert!(text.contains(&format!("\n- {name}: an id")), "{text}");
    }
}
