//! Slurm's commands.
//!
//! All jobs of a pool share one name that no other job has. So the pool can find and cancel all of
//! them, even a submission whose answer it has not seen.
//!
//! A client of `srun` runs as long as its worker: it is held by a pipe, and so is killed when this
//! process ends ([`WHILE_HELD`]). Batch jobs are cancelled then (`guard`). The other commands
//! end when the controller has answered. If it does not, they give up (Slurm 22.05: after 10 s,
//! `scancel` after 20 s), or are killed after [`LIMIT`]: for so long the end of a pool may wait for
//! each, and one may outlive this process.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/slurm/contract.rs::{cancelling_one_job_costs_what_it_ran,
//! cancelling_all_jobs_costs_what_had_begun}`,
//! `crates/trefoil-machines/tests/slurm/errors.rs::what_slurm_refuses`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{DirEntry, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::conversation::{ProgramOutput, converse};
use crate::common::dial::Key;
use crate::common::listen::own_address_to;
use crate::common::shell::COMMAND;

/// How long one of Slurm's commands may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The most tasks of an array (`MaxArraySize` is 1001 by default).
const MOST: usize = 1000;

/// Runs `srun`, and passes on to it the first two lines of standard input; kills it when the other
/// end of standard input is closed. (Not by a here-document, which bash before 5.1 writes to a
/// file. `printf` is part of the shell, so the key is on no command line.)
const WHILE_HELD: &str = r#"read -r t; read -r k; { printf '%s\n%s\n' "$t" "$k" | "$@"; kill -9 0; } & read -r x; kill 0"#;

/// Files that a killed process has left are removed at this age.
const STALE: Duration = Duration::from_secs(30 * 86_400);

/// Which of Slurm's commands starts a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A batch job. All of them have one process on this machine (`guard`).
    Sbatch,
    /// One client on this machine for each worker, which waits for it.
    Srun,
}

impl Way {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Sbatch => "sbatch",
            Self::Srun => "srun",
        }
    }
}

/// How a pool's jobs are submitted.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) way: Way,
    /// The user's arguments for each worker.
    pub(crate) arguments: Vec<OsString>,
    /// The name of all of the pool's jobs.
    pub(crate) name: String,
    /// The directory of the pool's files.
    pub(crate) directory: PathBuf,
    /// Whether the nodes have that directory, too.
    pub(crate) is_shared: bool,
    pub(crate) secret: Secret,
}

/// The beginning of a worker's standard input: a shell line, and the key.
#[derive(Default)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(line: &[u8], key: &Key) -> Self {
        Self([line, key.hex().as_bytes(), b"\n"].concat())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// A job that Slurm knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) state: String,
    /// Where it runs.
    pub(crate) node: String,
    pub(crate) reason: String,
    /// The name of its client, if it has one.
    pub(crate) client: String,
}

impl Listed {
    /// Whether it was submitted as `id`, and runs.
    pub(crate) fn runs_as(&self, id: &str) -> bool {
        self.state == "RUNNING" && (self.id == id || self.client == id)
    }
}

impl Jobs {
    /// Asks Slurm whether it would accept such a job. The error says why not, and what to do.
    pub(crate) fn test(&self) -> Result<(), String> {
        let program = self.way.program();
        let mut command = Command::new(program);
        command.arg("--test-only");
        self.describe(&mut command);
        match self.way {
            Way::Sbatch => command.args(["--wrap", "true"]),
            Way::Srun => command.arg("true"),
        };
        let said = match run(&mut command, Vec::new()) {
            Ok(said) => said,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!(
                    "there is no `{program}` here: run this on a machine of the cluster from which \
                     jobs are submitted, or install Slurm's client commands (Debian: `apt install \
                     slurm-client`)"
                ));
            }
            Err(error) => return Err(error.to_string()),
        };
        if said.status.success() {
            return Ok(());
        }
        let words = words(&said);
        let knows = |some: &str| words.contains(some);
        let way = if knows("configuration source") || knows("onfig") && knows("DNS") {
            "Slurm's configuration is not found here: `SLURM_CONF` or /etc/slurm/slurm.conf must name the cluster"
        } else if knows("partition") {
            "name a partition that there is: `sinfo` lists them, \
             `.per_worker([\"--partition=...\"])` chooses"
        } else if knows("node configuration") || knows("CPU count") || knows("emory") {
            "no node has what each worker is to have: ask for less with `per_worker`"
        } else if knows("unrecognized option") || knows("nvalid option") || knows("invalid option")
        {
            "it does not take one of the options of `per_worker`"
        } else if knows("contact")
            || knows("onnection")
            || knows("Zero Bytes")
            || knows("uthentication")
        {
            "Slurm's controller does not answer: does `sinfo` work here?"
        } else {
            "it takes no such job: try it by hand, with what `per_worker` says"
        };
        Err(format!("{way} (`{program}`: {words})"))
    }

    /// Adds the options that all workers' jobs have in common; the user's come last.
    fn describe(&self, command: &mut Command) {
        command
            .arg(format!("--job-name={}", self.name))
            .args(["--nodes=1", "--ntasks=1"]);
        if self.way == Way::Sbatch {
            let mut output = OsString::from("--output=");
            output.push(if self.is_shared {
                self.directory.join(format!("{}.%A_%a", self.name))
            } else {
                "/dev/null".into()
            });
            command
                .args(["--no-requeue", "--open-mode=append"])
                .arg(output);
        }
        command.args(&self.arguments);
    }

    /// The file that worker `id` writes to, unless the user's arguments name another.
    pub(crate) fn output(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{}.{id}", self.name))
    }

    /// Submits an array of `many` tasks, or of [`MOST`] if that is less. Returns their ids.
    pub(crate) fn submit(&self, many: usize) -> io::Result<Vec<String>> {
        let many = many.min(MOST);
        let mut command = Command::new("sbatch");
        command.arg("--parsable");
        self.describe(&mut command);
        command.arg(format!("--array=0-{}", many.saturating_sub(1)));
        let script = [
            b"#!/bin/sh\n",
            COMMAND.as_bytes(),
            b" \"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\" <<'END'\n",
            &self.secret.0[..],
            b"END\n",
        ];
        let said = run(&mut command, script.concat())?;
        // If there are several clusters, the cluster's name follows.
        let id = String::from_utf8_lossy(&said.stdout);
        let id = id.trim().split(';').next().unwrap_or_default();
        if !said.status.success() || id.is_empty() {
            return Err(io::Error::other(format!("`sbatch`: {}", words(&said))));
        }
        Ok((0..many).map(|task| format!("{id}_{task}")).collect())
    }

    /// Starts a client for worker `id`. It ends when its standard input is closed.
    pub(crate) fn start(&self, id: &str) -> io::Result<Child> {
        // (In a directory that others can write to there may be a link of this name.)
        let output = File::create_new(self.output(id))?;
        let mut command = Command::new("sh");
        command.args(["-c", WHILE_HELD, "sh", "srun"]);
        command.arg(format!("--comment={id}")); // by which `list` finds its job
        self.describe(&mut command);
        command
            .args(["sh", "-c", "read -r t; eval \"$t\"", id])
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let mut client = command.spawn()?;
        if let Some(input) = &mut client.stdin {
            let _ = input.write_all(&self.secret.0); // (`look` notices a client that has exited)
        }
        Ok(client)
    }

    /// The jobs of this pool that have not ended.
    pub(crate) fn list(&self) -> io::Result<Vec<Listed>> {
        self.squeue(&["--array", "--format=%i|%T|%N|%r|%k"])
    }

    /// The same jobs, of which those that run have the ids that `sbcast` knows. (Inside of an
    /// allocation all steps are one job.)
    pub(crate) fn running(&self, listed: &[Listed]) -> Vec<Listed> {
        let runs = |job: &&Listed| job.state == "RUNNING";
        match self.way {
            Way::Sbatch => listed.iter().filter(runs).cloned().collect(),
            Way::Srun => self
                .squeue(&["--steps", "--format=%i|RUNNING|%N|"])
                .unwrap_or_default(),
        }
    }

    fn squeue(&self, arguments: &[&str]) -> io::Result<Vec<Listed>> {
        let mut command = Command::new("squeue");
        command.arg("--noheader").args(arguments);
        command.arg(format!("--name={}", self.name));
        let said = run(&mut command, Vec::new())?;
        if said.status.success() {
            Ok(listed(&String::from_utf8_lossy(&said.stdout)))
        } else {
            Err(io::Error::other(words(&said)))
        }
    }

    /// How a batch job has ended that Slurm has not forgotten: its exit code, and its node.
    pub(crate) fn ended(&self, id: &str) -> Option<(i32, String)> {
        let mut command = Command::new("squeue");
        command.args([
            "--noheader",
            "--array",
            "--states=all",
            "--Format=exit_code:12,NodeList:200",
        ]);
        let said = run(command.arg(format!("--jobs={id}")), Vec::new()).ok()?;
        let said = String::from_utf8_lossy(&said.stdout);
        let (status, node) = said.trim().split_once(char::is_whitespace)?;
        Some((status.parse::<i32>().ok()? >> 8, node.trim().to_owned()))
    }

    /// Cancels these jobs, or steps. Those that have ended are no error.
    pub(crate) fn cancel_these(&self, ids: &[String]) {
        let _ = run(Command::new("scancel").args(ids), Vec::new());
    }

    /// Cancels all jobs of this pool, or only those in the queue.
    pub(crate) fn cancel(&self, only_waiting: bool) {
        let mut command = Command::new("scancel");
        command.arg(format!("--name={}", self.name));
        if only_waiting {
            command.arg("--state=PENDING");
        }
        let _ = run(&mut command, Vec::new()); // a job that is left finds no pool, and ends
    }

    /// The last line that a worker wrote which ended before it connected.
    pub(crate) fn last_words(&self, id: &str) -> Option<String> {
        let words = std::fs::read(self.output(id)).ok()?;
        let words = String::from_utf8_lossy(&words);
        let lines = words.lines().map(str::trim).rev();
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        // The worker's own words say more than Slurm's.
        let own = |line: &&&str| !line.starts_with("srun: ") && !line.starts_with("slurmstepd: ");
        let last = lines.iter().find(own).or(lines.first());
        last.map(|line| (*line).to_owned())
    }

    /// Removes the files of this pool.
    pub(crate) fn clean(&self) {
        let begin = format!("{}.", self.name);
        self.remove(|entry| entry.file_name().as_bytes().starts_with(begin.as_bytes()));
    }

    /// Removes old files that pools of killed processes have left.
    pub(crate) fn sweep(&self) {
        let is_old = |entry: &DirEntry| {
            let written = entry.metadata().and_then(|data| data.modified());
            let age = written.map(|at| at.elapsed().unwrap_or_default());
            age.is_ok_and(|age| age > STALE)
        };
        self.remove(|entry| is_output(&entry.file_name()) && is_old(entry));
    }

    fn remove(&self, which: impl Fn(&DirEntry) -> bool) {
        let entries = std::fs::read_dir(&self.directory);
        for entry in entries.into_iter().flatten().flatten() {
            if which(&entry) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether a file of this name is the output of some pool's worker: the job's name, a dot, and the
/// worker's id.
fn is_output(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.rsplit_once('.'));
    let Some((job, worker)) = parts else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unique = job.rsplit_once('-').map_or("", |(_, unique)| unique);
    let is_job = unique.len() == 8 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_worker = match worker.split_once('_') {
        Some((array, task)) => digits(array) && digits(task),
        None => worker.strip_prefix('s').is_some_and(digits),
    };
    is_job && is_worker
}

fn listed(text: &str) -> Vec<Listed> {
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.trim().splitn(5, '|').map(str::to_owned);
        Some(Listed {
            id: parts.next()?,
            state: parts.next()?,
            node: parts.next()?,
            reason: parts.next()?,
            client: parts.next().unwrap_or_default(),
        })
    });
    lines.collect()
}

/// The address by which the nodes should reach this machine: the one from which it reaches the
/// controller, or another machine of the cluster if the controller is this one.
pub(crate) fn own_address() -> Option<IpAddr> {
    let stdout = |command: &mut Command| {
        let said = run(command, Vec::new()).ok()?;
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let config = stdout(Command::new("scontrol").args(["show", "config"]));
    let controller = config.as_deref().and_then(controller).map(str::to_owned);
    let nodes = || {
        let addresses = ["--noheader", "--Node", "--format=%o"];
        stdout(Command::new("sinfo").args(addresses)).unwrap_or_default()
    };
    let nodes = std::iter::once_with(nodes);
    let nodes = nodes.flat_map(|nodes| {
        nodes
            .lines()
            .map(str::trim)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    own_address_to(controller.into_iter().chain(nodes))
}

/// The controller's address in Slurm's configuration: `name` or `name(address)`.
fn controller(config: &str) -> Option<&str> {
    let mut lines = config.lines();
    let line = lines.find(|line| line.starts_with("SlurmctldHost"))?;
    let host = line.split_once('=')?.1.trim();
    let (name, rest) = host.split_once('(').unwrap_or((host, ""));
    Some(rest.strip_suffix(')').unwrap_or(name))
}

/// Runs one of Slurm's commands until it exits.
pub(crate) fn run(command: &mut Command, stdin: Vec<u8>) -> io::Result<ProgramOutput> {
    converse(command, stdin, Some(Box::new(io::empty())), LIMIT)
}

/// What a command has printed about its failure.
pub(crate) fn words(said: &ProgramOutput) -> String {
    let stdout = String::from_utf8_lossy(&said.stdout);
    let lines = said.stderr.lines().chain(stdout.lines());
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let all: Vec<&str> = lines.filter(|line| !line.starts_with("Try \"")).collect();
    if all.is_empty() {
        format!("it says nothing ({})", said.status)
    } else {
        all.join("; ")
    }
}

/// The name of a pool's jobs: the program's name, and a number that makes it unique.
pub(crate) fn job_name(program: &Path, unique: u32) -> String {
    let name = program.file_name().unwrap_or(OsStr::new("program"));
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = name
        .to_string_lossy()
        .chars()
        .filter(plain)
        .take(40)
        .collect();
    format!("{name}-{unique:08x}")
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;

    /// Neither do all shells keep a here-document out of files: bash did not, before 5.1.
    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "it starts a process")]
    fn the_key_reaches_srun_through_a_pipe() {
        for shell in ["sh", "bash"] {
            let mut command = Command::new(shell);
            command.args(["-c", WHILE_HELD, "sh", "sh", "-c"]);
            command.arg("readlink /proc/self/fd/0; cat; sleep 1000");
            command.env("BASH_COMPAT", "5.0").process_group(0);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let Ok(mut client) = command.spawn() else {
                continue; // it is not installed
            };
            let input = client.stdin.as_mut().unwrap();
            input.write_all(b"line \\051 %s\nkey\n").unwrap();
            let mut said = Vec::new();
            let mut out = io::BufReader::new(client.stdout.take().unwrap());
            for _ in 0..3 {
                out.read_until(b'\n', &mut said).unwrap();
            }
            let said = String::from_utf8(said).unwrap();
            assert!(said.starts_with("pipe:"), "{shell}: {said}");
            assert!(said.ends_with("]\nline \\051 %s\nkey\n"), "{shell}: {said}");
            // It lives as long as it is held.
            assert!(client.try_wait().unwrap().is_none());
            drop(client.stdin.take());
            client.wait().unwrap();
        }
    }

    #[test]
    fn a_controller_has_a_name_or_an_address() {
        let config = |host| format!("Configuration data\nSlurmctldHost[0] = {host}\nX = y");
        for (host, address) in [
            ("node1", "node1"),
            ("a(10.1.2.3)", "10.1.2.3"),
            ("a(fe80::1)", "fe80::1"),
        ] {
            assert_eq!(controller(&config(host)), Some(address));
        }
        assert_eq!(controller("X = y"), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "it starts a process")]
    fn the_output_of_a_worker_is_a_file_of_its_own() {
        let directory = std::env::temp_dir().join(format!("trefoil-output-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let jobs = Jobs {
            way: Way::Srun,
            arguments: Vec::new(),
            name: "program-0000000b".to_owned(),
            directory: directory.clone(),
            is_shared: false,
            secret: Secret::default(),
        };
        let precious = directory.join("precious");
        std::fs::write(&precious, "words").unwrap();
        std::os::unix::fs::symlink(&precious, jobs.output("s0")).unwrap();
        let started = jobs.start("s0").map(|mut client| client.kill());
        assert_eq!(started.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&precious).unwrap(), b"words");
        let _ = std::fs::remove_dir_all(directory);
    }

    #[test]
    fn a_list_of_jobs_is_read() {
        let text = "17_0|RUNNING|m1|None\n 17_1|PENDING||Resources, or so\nnonsense\n";
        let all = listed(text);
        assert_eq!(all.len(), 2);
        let parts = all
            .iter()
            .map(|job| [&*job.id, &*job.state, &*job.node, &*job.reason]);
        let wanted = [
            ["17_0", "RUNNING", "m1", "None"],
            ["17_1", "PENDING", "", "Resources, or so"],
        ];
        assert!(parts.eq(wanted), "{all:?}");
    }

    #[test]
    fn an_output_is_known_by_its_name() {
        for is in ["program-0000000b.17_0", "a-b-89abcdef.s12", "-01234567.1_1"] {
            assert!(is_output(OsStr::new(is)), "{is}");
        }
        for other in [
            "notes.txt",
            "program-0000000b.key",
            "program-b.17_0",
            "program-0000000b.17_",
            "program-0000000b.17",
            "0000000b.17_0",
            "program-0000000b",
            "copy-0123456789abcdef-77",
        ] {
            assert!(!is_output(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn a_job_has_a_name_that_needs_no_quotes() {
        let name = job_name(Path::new("/tmp/a, b*%é.exe"), 11);
        assert_eq!(name, "abexe-0000000b");
    }
}
