//! Copies the executable to a node of a Slurm cluster that shares no file system.
//!
//! **Protocol.**
//! 1. The script of each job looks on its node for a copy (`copy`) whose SHA-256 is right. If there
//!    is one it starts that, and nothing is sent.
//! 2. Otherwise it makes a directory named after the job beside the copy's place, and waits. That
//!    directory is how the pool finds out that the node lacks the copy: nothing can be sent to a
//!    job that has none.
//! 3. The pool sends the program's file there with `sbcast`, to one job of a node at a time. It
//!    does that for each job that runs, until it has called back. `sbcast` is killed when the pool
//!    ends, or this process ([`WHILE_HELD`]).
//! 4. The script checks what has come, and renames it into its place. The node's other jobs that
//!    wait find it there.
//!
//! (The script of a batch job does not notice that this process was killed: it waits for its copy
//! for two minutes more.)
//!
//! A script that cannot go on says why on standard error, and in its exit code, since with `sbatch`
//! that is all that the pool gets to know of it ([`Trouble`]).
//!
//! Tests: below; `tests/slurm/copies.rs`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use sha2::{Digest, Sha256};

use super::conversation::ProgramOutput;
use super::copy;
use super::shell::quoted;
use super::slurm_jobs::{Way, run, words};
use crate::sys::executable;
use crate::sys::poll::poll_patiently;

/// How long a copy may be on its way.
const COPY_LIMIT: Duration = Duration::from_secs(1800);

/// How many copies may be on their way at once.
const AT_ONCE: usize = 4;

/// For how many fifths of a second a job waits while nothing comes.
const PATIENCE: u32 = 600;

/// Becomes a program, which is killed when the other end of standard input is closed.
const WHILE_HELD: &str = r#"exec 3<&0
{ read -r x; kill -9 0; } <&3 3<&- >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-"#;

/// Why a job could not get its copy: the exit code of its script, and the words.
type Trouble = (i32, &'static str);

const NO_PLACE: Trouble = (
    121,
    "the executable's copy cannot be kept on the node: its directory cannot be made, belongs to \
     another user, is full or lets nothing be executed: name another with `copy_executable`",
);
const NOT_COME: Trouble = (
    122,
    "no copy of the executable has come to the node for two minutes: does `sbcast` work from here?",
);
const OTHER_BYTES: Trouble = (
    123,
    "what has come to the node as a copy of the executable is not it: its SHA-256 is another",
);
const NO_HASH: Trouble = (
    124,
    "the node has no `sha256sum`, which checks the executable's copy: install coreutils there",
);

/// The words of a job that could not get its copy.
pub(crate) fn trouble(code: Option<i32>, said: &str) -> Option<&'static str> {
    let mut all = [NO_PLACE, NOT_COME, OTHER_BYTES, NO_HASH].into_iter();
    let found = all.find(|(number, words)| code == Some(*number) || said.contains(words));
    found.map(|(_, words)| words)
}

/// The executable, and where its copies are on the nodes.
#[derive(Debug)]
pub(crate) struct NodeCopy {
    /// The directory of all copies.
    all: PathBuf,
    /// The name of this one, without the program's.
    build: String,
    hash: String,
    length: u64,
}

/// How a copy has fared.
#[derive(Debug)]
pub(crate) enum Sent {
    Yes,
    /// The job does not wait for it: it has one, or does not run yet or any more.
    NotWaiting,
    /// Why not.
    No(String),
}

impl NodeCopy {
    /// Reads the program's file. `directory` is where the nodes have room.
    pub(crate) fn new(directory: &Path) -> Result<Self, String> {
        if !directory.is_absolute() {
            return Err(format!(
                "`copy_executable` takes the whole path of a directory on the nodes, and {} is not \
                 one",
                directory.display()
            ));
        }
        let (hash, length) = executable::path()
            .and_then(File::open)
            .and_then(hash)
            .map_err(|error| format!("the program's file cannot be read: {error}"))?;
        match run(Command::new("sbcast").arg("--version"), Vec::new()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(
                "there is no `sbcast` here, which copies the executable to the nodes: install it \
                 with Slurm's other client commands (Debian: `apt install slurm-client`), or put \
                 the executable on a file system that the nodes share, and leave \
                 `copy_executable` out"
                    .to_owned(),
            ),
            _ => Ok(Self {
                // In a directory that all users can write to, each needs one of another name.
                all: directory.join(format!("trefoil-{}", rustix::process::getuid().as_raw())),
                build: format!("{hash}-{length}"),
                hash,
                length,
            }),
        }
    }

    /// Shell code that gets a copy if the node has none, and exits if it cannot; and the word for
    /// the executable.
    pub(crate) fn script(&self, way: Way) -> (Vec<u8>, Vec<u8>) {
        let (hash, length) = (&self.hash, self.length);
        let (ours, make, keep) = (copy::IS_OURS, copy::make(), copy::keep(length));
        let says = |(code, words): Trouble| {
            let words = String::from_utf8_lossy(&quoted(words.as_ref())).into_owned();
            format!("{{ echo trefoil: {words} >&2; exit {code}; }}")
        };
        let (no_place, not_come) = (says(NO_PLACE), says(NOT_COME));
        let (other, no_hash) = (says(OTHER_BYTES), says(NO_HASH));
        // (`$w` is a copy of what has come: Slurm's daemon may still have that open to write to it,
        // and then it cannot be executed.)
        let get = format!(
            "; i=\"{id}\"; is() {{ [ \"$(sha256sum < \"$1\")\" = '{hash}  -' ]; }}; \
             has() {{ {ours} && [ -x \"$f\" ] && is \"$f\"; }}; \
             command -v sha256sum >/dev/null || {no_hash}; \
             if ! has; then {make} || {no_place}; c=$d/$i/{NAME}; w=$f.$i; n=0; p=0; \
             trap 'rm -rf \"$d/$i\" \"$w\"' EXIT; trap 'exit 1' HUP INT TERM; \
             mkdir -p \"$d/$i\" || {no_place}; \
             until has; do l=0; [ ! -f \"$c\" ] || l=$(($(wc -c < \"$c\"))); \
             if [ $l = {length} ]; then is \"$c\" || {other}; \
             cp \"$c\" \"$w\" && {keep} && [ -x \"$f\" ] || {no_place}; \
             else [ $l = $p ] || n=0; p=$l; n=$((n + 1)); [ $n -lt {PATIENCE} ] || {not_come}; \
             sleep 0.2 2>/dev/null || sleep 1; fi; done; fi; {USE}",
            id = id(way),
            USE = copy::USE,
        );
        let place = copy::place(&quoted(self.all.as_os_str()), &self.build);
        let place = [
            b"(",
            &place[..],
            get.as_bytes(),
            b") </dev/null || exit $?; ",
        ]
        .concat();
        let path = self.directory().join(copy::program());
        (place, quoted(path.as_os_str()))
    }

    fn directory(&self) -> PathBuf {
        self.all.join(format!("copy-{}", self.build))
    }

    /// Starts to send it to the job or the step `id`.
    fn send(&self, id: &str) -> io::Result<Child> {
        let mut command = held("sbcast");
        command
            .env("LC_ALL", "C")
            .arg(format!("--jobid={id}"))
            .arg(for_others(executable::path()?))
            .arg(self.directory().join(id).join(NAME));
        command.spawn()
    }

    /// How that has ended; the job runs on `node`.
    fn sent(&self, id: &str, node: &str, output: io::Result<Output>) -> Sent {
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
        let directory = self.all.display();
        Sent::No(format!(
            "the executable cannot be copied to {node} for job {id}: is there room in {directory} \
             (else name another directory with `copy_executable`), and does `sbcast` work from \
             here? ({words})"
        ))
    }
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

/// The name of what is sent, in the directory of the job that waits for it.
const NAME: &str = "copy";

/// The id by which `sbcast` knows a job, in words of its script's.
pub(crate) fn id(way: Way) -> &'static str {
    match way {
        Way::Sbatch => "$0",
        Way::Srun => "$SLURM_JOB_ID.$SLURM_STEP_ID",
    }
}

/// A path to the program's file that means the same to another process.
fn for_others(path: PathBuf) -> OsString {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc")
            .join(std::process::id().to_string())
            .join(rest)
            .into(),
        Err(_) => path.into(),
    }
}

/// The SHA-256 of a file, and how many bytes it has.
fn hash(mut file: File) -> io::Result<(String, u64)> {
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            let hash = digest.finalize();
            return Ok((
                hash.iter().map(|byte| format!("{byte:02x}")).collect(),
                length,
            ));
        }
        digest.update(&buffer[..count]);
        length += count as u64;
    }
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
            let sbcast = self.copy.send(id);
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
            let sent = self
                .copy
                .sent(&id, &node, sbcast.and_then(Child::wait_with_output));
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

#[cfg(all(test, not(any(loom, miri))))]
#[allow(clippy::disallowed_methods)] // children of the test's
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const PROGRAM: &[u8] = b"#!/bin/sh\necho right\n";

    fn copy(name: &str) -> NodeCopy {
        let unique = format!("trefoil-copy-{name}-{}", std::process::id());
        let all = std::env::temp_dir().join(unique);
        std::fs::create_dir(&all).unwrap();
        let file = all.join("program");
        std::fs::write(&file, PROGRAM).unwrap();
        let (hash, length) = hash(File::open(&file).unwrap()).unwrap();
        std::fs::remove_file(file).unwrap();
        let build = format!("{hash}-{length}");
        NodeCopy {
            all,
            build,
            hash,
            length,
        }
    }

    impl Drop for NodeCopy {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.all);
        }
    }

    /// A job that gets the copy and starts it.
    fn job(shell: &str, copy: &NodeCopy) -> Option<Child> {
        let (mut script, program) = copy.script(Way::Sbatch);
        script.extend(program);
        let script = String::from_utf8(script).unwrap();
        let script = script.replace(&format!("-lt {PATIENCE}"), "-lt 5");
        let mut command = Command::new(shell);
        command.args(["-c", &script, "7_1"]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().ok() // (or the shell is not installed)
    }

    /// Sends these bytes to the job, once it waits.
    fn send(copy: &NodeCopy, bytes: &[u8]) {
        let place = copy.directory().join("7_1").join(NAME);
        let end = Instant::now() + Duration::from_secs(60);
        while std::fs::write(&place, bytes).is_err() {
            assert!(Instant::now() < end, "it does not wait");
            std::thread::yield_now();
        }
    }

    fn says(output: &Output, trouble: Trouble) {
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(trouble.0), "{words}");
        assert!(words.contains(trouble.1), "{words}");
        assert_eq!(super::trouble(None, &words), Some(trouble.1));
        assert_eq!(super::trouble(Some(trouble.0), ""), Some(trouble.1));
    }

    #[test]
    fn a_right_copy_is_started_and_no_other() {
        for shell in ["sh", "dash", "bash", "ksh", "busybox"] {
            let copy = copy(shell);
            let Some(first) = job(shell, &copy) else {
                continue;
            };
            send(&copy, PROGRAM);
            let first = first.wait_with_output().unwrap();
            assert_eq!(first.stdout, b"right\n", "{shell}: {first:?}");
            // The next job finds it.
            let next = job(shell, &copy).unwrap().wait_with_output().unwrap();
            assert_eq!(next.stdout, b"right\n", "{shell}: {next:?}");
            // One of as many other bytes is not started, and replaced.
            let place = copy.directory().join(copy::program());
            std::fs::write(&place, "#!/bin/sh\necho wrong\n").unwrap();
            let third = job(shell, &copy).unwrap();
            send(&copy, PROGRAM);
            let third = third.wait_with_output().unwrap();
            assert_eq!(third.stdout, b"right\n", "{shell}: {third:?}");
            let left = std::fs::read_dir(copy.directory()).unwrap().count();
            assert_eq!(left, 1, "nothing else is left");
        }
    }

    #[test]
    fn a_job_that_gets_no_copy_says_why() {
        let copy = copy("why");
        let place = copy.directory().join(copy::program());
        let lacks = job("sh", &copy).unwrap().wait_with_output().unwrap();
        says(&lacks, NOT_COME);
        let wrong = job("sh", &copy).unwrap();
        send(&copy, b"#!/bin/sh\necho wrong\n");
        says(&wrong.wait_with_output().unwrap(), OTHER_BYTES);
        assert!(!place.exists());
        // A directory that is somewhere else.
        let there = copy.all.with_extension("there");
        std::fs::rename(&copy.all, &there).unwrap();
        std::os::unix::fs::symlink(&there, &copy.all).unwrap();
        says(
            &job("sh", &copy).unwrap().wait_with_output().unwrap(),
            NO_PLACE,
        );
        std::fs::remove_file(&copy.all).unwrap();
        std::fs::rename(&there, &copy.all).unwrap();
    }

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
