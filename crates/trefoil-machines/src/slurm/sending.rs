//! Sends the executable's copies to the nodes of a Slurm cluster, with `sbcast`.
//!
//! One job of a node gets it at a time ([`NodeCopy`] says what the job does with it). `sbcast` is
//! killed when the pool ends, or this process ([`WHILE_HELD`]).
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/copies.rs`.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::jobs::words;
use super::node_copy::NodeCopy;
use crate::common::conversation::ProgramOutput;
use crate::common::own_path;
use crate::common::poll::poll_patiently;

/// How long a copy may be on its way.
const COPY_LIMIT: Duration = Duration::from_secs(1800);

/// How many copies may be on their way at once.
const AT_ONCE: usize = 4;

/// Becomes a program, which is killed when the other end of standard input is closed.
const WHILE_HELD: &str = r#"exec 3<&0
{ read -r x; kill -9 0; } <&3 3<&- >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-"#;

/// How a copy has fared.
#[derive(Debug)]
pub(crate) enum Sent {
    Yes,
    /// The job does not wait for it: it has one, or does not run yet or any more.
    NotWaiting,
    /// Why not.
    No(String),
}

/// Which copies are on their way, and which have come.
#[derive(Debug)]
pub(crate) struct Copies {
    copy: NodeCopy,
    /// By node.
    under_way: HashMap<String, Sending>,
    /// The jobs that have got theirs.
    sent: HashSet<String>,
}

/// A copy on its way.
#[derive(Debug)]
struct Sending {
    id: String,
    /// `sbcast`, or why it could not be started.
    sbcast: io::Result<Child>,
    since: Instant,
}

impl Copies {
    pub(crate) fn new(copy: NodeCopy) -> Self {
        Self {
            copy,
            under_way: HashMap::new(),
            sent: HashSet::new(),
        }
    }

    /// Starts to send a copy to this job, unless it has one or must wait for its turn.
    pub(crate) fn begin(&mut self, id: &str, node: &str) {
        if self.is_next(id, node) {
            let sbcast = send(&self.copy, id);
            self.note(id, node, sbcast);
        }
    }

    fn is_next(&self, id: &str, node: &str) -> bool {
        self.under_way.len() < AT_ONCE
            && !self.sent.contains(id)
            && !self.under_way.contains_key(node)
    }

    fn note(&mut self, id: &str, node: &str, sbcast: io::Result<Child>) {
        let (id, since) = (id.to_owned(), Instant::now());
        let sending = Sending { id, sbcast, since };
        self.under_way.insert(node.to_owned(), sending);
    }

    /// What to poll for the ends of those that are on their way.
    pub(crate) fn ends(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.under_way.values().filter_map(Sending::end)
    }

    /// The jobs whose copies have come since the last call or could not be sent.
    pub(crate) fn ended(&mut self) -> Vec<(String, Sent)> {
        let mut all = Vec::new();
        let over = self.under_way.extract_if(|_, sending| sending.is_over());
        for (node, Sending { id, sbcast, .. }) in over {
            let output = sbcast.and_then(Child::wait_with_output);
            let sent = sent(&self.copy, &id, &node, output);
            if matches!(sent, Sent::Yes) {
                self.sent.insert(id.clone());
            }
            all.push((id, sent));
        }
        all
    }

    /// Ends those that are on their way.
    pub(crate) fn end(self) {
        let all = self.under_way.into_values();
        let mut all: Vec<Child> = all.filter_map(|sending| sending.sbcast.ok()).collect();
        for sbcast in &mut all {
            drop(sbcast.stdin.take()); // which ends it
        }
        for mut sbcast in all {
            let _ = sbcast.wait();
        }
    }
}

impl Sending {
    /// Its standard error is closed when it ends.
    fn end(&self) -> Option<PollFd<'_>> {
        let stderr = self.sbcast.as_ref().ok()?.stderr.as_ref()?;
        Some(PollFd::new(stderr, PollFlags::empty()))
    }

    /// Whether it has ended, or takes too long: then `wait_with_output` ends it, which closes its
    /// standard input.
    fn is_over(&self) -> bool {
        let Some(end) = self.end() else { return true };
        let mut end = [end];
        poll_patiently(&mut end, Some(Duration::ZERO));
        !end[0].revents().is_empty() || self.since.elapsed() >= COPY_LIMIT
    }
}

/// Starts to send the copy to the job or the step `id`.
fn send(copy: &NodeCopy, id: &str) -> io::Result<Child> {
    let mut command = held("sbcast");
    command
        .env("LC_ALL", "C")
        .arg(format!("--jobid={id}"))
        .arg(own_path()?)
        .arg(copy.waiting_place(id));
    command.spawn()
}

/// How that has ended; the job runs on `node`.
fn sent(copy: &NodeCopy, id: &str, node: &str, output: io::Result<Output>) -> Sent {
    let words = match output {
        Ok(output) if output.status.success() => return Sent::Yes,
        Ok(output) => words(&ProgramOutput {
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) => error.to_string(),
    };
    let knows = |some: &str| words.contains(some);
    if knows("No such file or directory") || knows("ompleting") || knows("nvalid job") {
        return Sent::NotWaiting;
    }
    let directory = copy.root().display();
    Sent::No(format!(
        "the executable cannot be copied to {node} for job {id}: is there room in {directory} \
             (else name another directory with `copy_executable`), and does `sbcast` work from \
             here? ({words})"
    ))
}

/// Runs `program`, whose arguments are added, until it has ended or its standard input is closed:
/// then it is killed.
fn held(program: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", WHILE_HELD, "sh", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

#[cfg(all(test, not(miri)))]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use super::super::node_copy::tests::copy;
    use super::*;
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn one_job_of_a_node_gets_it_at_a_time() {
        let mut copies = Copies::new(copy("turns"));
        // What stands for `sbcast` is killed, unless it has ended by itself.
        let run = |script: &str| held("sh").args(["-c", script]).spawn();
        let ended = |copies: &mut Copies| loop {
            poll_patiently(&mut copies.ends().collect::<Vec<_>>(), None);
            let ended = copies.ended();
            if !ended.is_empty() {
                break ended;
            }
        };
        assert!(copies.is_next("1_0", "m1") && copies.is_next("1_1", "m1"));
        copies.note("1_0", "m1", run("exit 0"));
        assert!(!copies.is_next("1_1", "m1"), "one is on its way there");
        assert!(matches!(&ended(&mut copies)[..], [(id, Sent::Yes)] if id == "1_0"));
        assert!(!copies.is_next("1_0", "m1"), "it has it");
        copies.note("1_1", "m1", run("echo 'Invalid job id' >&2; exit 1"));
        assert!(matches!(&ended(&mut copies)[..], [(id, Sent::NotWaiting)] if id == "1_1"));
        copies.note("1_1", "m1", run("echo alas >&2; exit 1"));
        let failed = ended(&mut copies);
        let alas =
            |words: &str| words.contains("copied to m1 for job 1_1") && words.ends_with("(alas)");
        assert!(matches!(&failed[..], [(id, Sent::No(words))] if id == "1_1" && alas(words)));
        copies.note("1_1", "m1", Err(io::Error::other("none is left")));
        assert!(matches!(&copies.ended()[..], [(id, Sent::No(_))] if id == "1_1"));
        for n in 0..AT_ONCE {
            assert!(copies.is_next("1_1", &n.to_string()));
            copies.note(&format!("2_{n}"), &n.to_string(), run("sleep 30"));
        }
        assert!(!copies.is_next("1_1", "m1"), "too many at once");
        assert!(copies.ended().is_empty());
        copies.end();
    }

    #[test]
    fn what_is_held_ends_with_its_holder_and_with_its_own_children() {
        let mut command = held("sh");
        command.args(["-c", "sleep 30 & echo begins >&2; wait"]);
        let mut program = command.spawn().unwrap();
        let (mut words, mut stderr) = ([0; 7], program.stderr.take().unwrap());
        stderr.read_exact(&mut words).unwrap();
        assert_eq!(program.try_wait().unwrap(), None);
        drop(program.stdin.take());
        assert_eq!(program.wait().unwrap().signal(), Some(9));
        stderr.read_to_end(&mut Vec::new()).unwrap(); // `sleep` has it, too
    }
}
