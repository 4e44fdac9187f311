//! Copies the executable to a node of a Slurm cluster that shares no file system.
//!
//! **Protocol.**
//! 1. The script of each job looks on its node for a copy (`copy`) whose SHA-256 is right. If there
//!    is one it starts that, and nothing is sent.
//! 2. Otherwise it makes a directory named after the job beside the copy's place, and waits. That
//!    directory is how the pool finds out that the node lacks the copy: nothing can be sent to a
//!    job that has none.
//! 3. The pool sends the program's file there with `sbcast`, to one job of a node at a time
//!    (`sending`). It does that for each job that runs, until it has called back.
//! 4. The script checks what has come, and renames it into its place. The node's other jobs that
//!    wait find it there.
//!
//! The script of a batch job does not notice that this process was killed: the job is then
//! cancelled (`guard`).
//!
//! A script that cannot go on says why on standard error, and in its exit code, since with `sbatch`
//! that is all that the pool gets to know of it ([`Trouble`]).
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/copies.rs`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::jobs::{Way, run};
use crate::common::copy::{self, CAN_HASH, IS_OURS, KEEP, USE};
use crate::common::program_name;
use crate::common::shell::quoted;
use trefoil::process::launch::Program;

/// For how many fifths of a second a job waits while nothing comes.
const PATIENCE: u32 = 600;

/// Why a job could not get its copy: the exit code of its script, and the words.
type Trouble = (i32, &'static str);

const NO_PLACE: Trouble = (
    121,
    "the executable's copy cannot be kept on the node: its directory cannot be made, is a link, \
     belongs to another user, can be written to by others, is full or lets nothing be executed: \
     name another with `copy_executable`",
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

impl NodeCopy {
    /// Reads the program's file. `directory` is where the nodes have room.
    pub(crate) fn new(program: &Program, directory: &Path) -> Result<Self, String> {
        if !directory.is_absolute() {
            return Err(format!(
                "`copy_executable` takes the whole path of a directory on the nodes, and {} is not \
                 one",
                directory.display()
            ));
        }
        let (hash, length) = copy::own_hash(program)?;
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
        let (define, make) = (copy::define(hash), copy::make());
        let says = |(code, words): Trouble| {
            let words = String::from_utf8_lossy(&quoted(words.as_ref())).into_owned();
            format!("{{ echo trefoil: {words} >&2; exit {code}; }}")
        };
        let (no_place, not_come) = (says(NO_PLACE), says(NOT_COME));
        let (other, no_hash) = (says(OTHER_BYTES), says(NO_HASH));
        // (`$w` is a copy of what has come: Slurm's daemon may still have that open to write to it,
        // and then it cannot be executed.)
        let get = format!(
            "{define}; i=\"{id}\"; \
             has() {{ {IS_OURS} && [ -x \"$f\" ] && is \"$f\"; }}; \
             {CAN_HASH} || {no_hash}; \
             if ! has; then {make} || {no_place}; c=$d/$i/{NAME}; w=$f.$i; n=0; p=0; \
             trap 'rm -rf \"$d/$i\" \"$w\"' EXIT; trap 'exit 1' HUP INT TERM; \
             mkdir -p \"$d/$i\" || {no_place}; \
             until has; do l=0; [ ! -f \"$c\" ] || l=$(($(wc -c < \"$c\"))); \
             if [ $l = {length} ]; then is \"$c\" || {other}; \
             cp \"$c\" \"$w\" && {KEEP} && [ -x \"$f\" ] || {no_place}; \
             else [ $l = $p ] || n=0; p=$l; n=$((n + 1)); [ $n -lt {PATIENCE} ] || {not_come}; \
             sleep 0.2 2>/dev/null || sleep 1; fi; done; fi; {USE}",
            id = id(way),
        );
        let place = copy::place(&quoted(self.all.as_os_str()), &self.build);
        let place = [
            b"(",
            &place[..],
            get.as_bytes(),
            b") </dev/null || exit $?; ",
        ]
        .concat();
        let path = self.directory().join(program_name());
        (place, quoted(path.as_os_str()))
    }

    fn directory(&self) -> PathBuf {
        self.all.join(format!("copy-{}", self.build))
    }

    /// Where the job or the step `id` waits for what is sent.
    pub(crate) fn waiting_place(&self, id: &str) -> PathBuf {
        self.directory().join(id).join(NAME)
    }

    /// The directory of all copies.
    pub(crate) fn root(&self) -> &Path {
        &self.all
    }
}

/// The name of what is sent, in the directory of the job that waits for it.
const NAME: &str = "copy";

/// The id by which `sbcast` knows a job, as its script names it.
pub(crate) fn id(way: Way) -> &'static str {
    match way {
        Way::Sbatch => "$0",
        Way::Srun => "$SLURM_JOB_ID.$SLURM_STEP_ID",
    }
}

#[cfg(all(test, not(miri)))]
#[allow(clippy::disallowed_methods)] // children of the test's
pub(super) mod tests {
    use super::*;
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Child, Output, Stdio};
    use std::time::{Duration, Instant};

    const PROGRAM: &[u8] = b"#!/bin/sh\necho right\n";

    pub(in crate::slurm) fn copy(name: &str) -> NodeCopy {
        let unique = format!("trefoil-copy-{name}-{}", std::process::id());
        let all = std::env::temp_dir().join(unique);
        std::fs::create_dir(&all).unwrap();
        let file = all.join("program");
        std::fs::write(&file, PROGRAM).unwrap();
        let (hash, length) = copy::hash(File::open(&file).unwrap()).unwrap();
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
        let mut words = shell.split(' '); // the program, and perhaps the name of a part of it
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
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
        for shell in ["sh", "dash", "bash", "ksh", "busybox sh"] {
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
            let place = copy.directory().join(program_name());
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
        let place = copy.directory().join(program_name());
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
        let open = Permissions::from_mode(0o775);
        std::fs::set_permissions(&there, open.clone()).unwrap();
        says(
            &job("sh", &copy).unwrap().wait_with_output().unwrap(),
            NO_PLACE,
        );
        let left = std::fs::metadata(&there).unwrap().permissions();
        assert_eq!(left.mode() & 0o777, open.mode(), "its mode is what it was");
        std::fs::remove_file(&copy.all).unwrap();
        std::fs::rename(&there, &copy.all).unwrap();
    }
}
