//! Tests whether a host can run workers, before the first one is started.
//!
//! **Protocol.** It uses one connection. The caller's thread reads all of it, with a deadline:
//! 1. The script prints what the host is, and whether the executable is there.
//! 2. If it is not, a second connection copies it, under a temporary name until the copy is
//!    complete; then step 1 is repeated.
//! 3. If it is, the same connection starts it with an invitation to print its identity. So
//!    whatever would keep a worker from starting is found here and reported: another kind of
//!    processor, older libraries, another build, a `main` without `init`.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/ssh/errors.rs::{another_build_is_refused_by_its_hash,
//! another_kind_of_machine}`,
//! `crates/trefoil-machines/tests/ssh/contract.rs::the_executable_is_copied_once`.

use std::io;
use std::process::Command;
use std::time::Duration;

use trefoil::process::launch::Program;

use crate::common::conversation::{ProgramOutput, Rest, converse};

/// How long a host may take to describe itself.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to copy the executable.
const COPY_LIMIT: Duration = Duration::from_secs(1800);

/// The first word of the script's output, before the facts.
pub(crate) const MARK: &str = "trefoil-host";

/// What a host reports about itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) system: String,
    pub(crate) processor: String,
    /// The number of processors.
    pub(crate) processors: usize,
    /// The executable is there.
    pub(crate) has_it: bool,
}

impl Facts {
    /// Parses the host's facts; returns them and the remaining bytes, or an error message.
    fn read(output: &[u8]) -> Result<(Self, &[u8]), String> {
        let shown = |bytes: &[u8]| {
            let text: String = String::from_utf8_lossy(bytes).chars().take(80).collect();
            text.escape_debug().to_string()
        };
        let at = output
            .windows(MARK.len())
            .position(|some| some == MARK.as_bytes());
        let Some(at) = at else {
            return Err(if output.is_empty() {
                "it printed nothing".to_owned()
            } else {
                format!("it printed \"{}\"", shown(output))
            });
        };
        if at > 0 {
            return Err(format!(
                "its login shell prints \"{}\", which would corrupt the workers' stream: make it \
                 print nothing when it is not interactive",
                shown(&output[..at])
            ));
        }
        let end = output.iter().position(|byte| *byte == b'\n');
        let (first, rest) = output.split_at(end.map_or(output.len(), |end| end + 1));
        let first = String::from_utf8_lossy(first);
        let fields: Vec<&str> = first.split_ascii_whitespace().collect();
        let [_, system, processor, processors, has_it] = fields[..] else {
            return Err(format!("it printed \"{}\"", shown(output)));
        };
        let facts = Self {
            system: system.to_owned(),
            processor: processor.to_owned(),
            processors: processors.parse().unwrap_or(1).max(1),
            has_it: has_it == "have",
        };
        Ok((facts, rest))
    }
}

/// How to test one host.
pub(crate) struct Probe {
    pub(crate) program: Program,
    pub(crate) host: String,
    /// A line for a shell (`shell::line`): it prints the facts, then runs the executable, which
    /// prints its identity.
    pub(crate) ask: Vec<u8>,
    /// Another line: it writes the rest of standard input to the executable's place. `None`: the
    /// user has said where the executable is, so nothing is copied.
    pub(crate) put: Option<Vec<u8>>,
}

/// Makes an ssh client whose other end reads a line and runs it (`shell::COMMAND`).
type Client<'a> = &'a dyn Fn() -> Command;

impl Probe {
    /// Returns how many processors the host has, if a worker can run there; otherwise why not.
    pub(crate) fn run(&self, client: Client<'_>) -> Result<usize, String> {
        let mut answer = self.ask(client)?;
        let (mut facts, _) = self.facts(&answer)?;
        if let (false, Some(put)) = (facts.has_it, &self.put) {
            self.put(client, put)?;
            answer = self.ask(client)?;
            facts = self.facts(&answer)?.0;
        }
        let (_, rest) = self.facts(&answer)?;
        if !facts.has_it {
            return Err(self.about("has no such executable", &answer));
        }
        // (It may print something before `init`.)
        let last = rest.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
        let begins = last == Some(self.program.identity().as_bytes());
        if begins && answer.status.success() {
            Ok(facts.processors)
        } else {
            Err(self.no_worker(&answer))
        }
    }

    fn ask(&self, client: Client<'_>) -> Result<ProgramOutput, String> {
        self.converse(client, self.ask.clone(), None, PROBE_LIMIT)
    }

    /// Copies the executable to the host.
    fn put(&self, client: Client<'_>, put: &[u8]) -> Result<(), String> {
        let own = self.program.open();
        let own = own.map_err(|error| format!("the program's file cannot be read: {error}"))?;
        let answer = self.converse(client, put.to_vec(), Some(Box::new(own)), COPY_LIMIT)?;
        if answer.status.success() {
            Ok(())
        } else if answer.status.code() == Some(255) {
            Err(self.unreachable(&answer))
        } else {
            Err(self.about(
                "cannot keep a copy of the executable (choose another place with `directory`, or \
                 copy it there yourself and use `executable`)",
                &answer,
            ))
        }
    }

    /// Reads the facts, and checks that this program can run there. Also returns the remaining
    /// bytes.
    fn facts<'b>(&self, answer: &'b ProgramOutput) -> Result<(Facts, &'b [u8]), String> {
        let (facts, rest) = match Facts::read(&answer.stdout) {
            Ok(read) => read,
            Err(_) if answer.status.code() == Some(255) => return Err(self.unreachable(answer)),
            Err(why) => return Err(self.about(&format!("cannot run workers: {why}"), answer)),
        };
        let own = rustix::system::uname();
        let (system, processor) = (
            own.sysname().to_string_lossy(),
            own.machine().to_string_lossy(),
        );
        if (&*system, &*processor) != (&*facts.system, &*facts.processor) {
            return Err(format!(
                "{} runs {} on {}, but this machine runs {system} on {processor}: all machines of \
                 a pool must be of the same kind",
                self.host, facts.system, facts.processor
            ));
        }
        Ok((facts, rest))
    }

    /// An error message: there is no connection.
    fn unreachable(&self, answer: &ProgramOutput) -> String {
        let host = &self.host;
        let knows = |text: &str| answer.stderr.contains(text);
        let way = if knows("Permission denied") {
            format!(
                "it refused your key, or you have none: `ssh {host} true` must work without a \
                 question (use `ssh-copy-id {host}` or an agent)"
            )
        } else if knows("Host key verification failed") {
            format!(
                "its host key is unknown here, or has changed: run `ssh {host}` once, and check \
                 the key"
            )
        } else if knows("Could not resolve hostname") {
            "its name cannot be resolved here: see /etc/hosts, or `config`".to_owned()
        } else if knows("Bad configuration option") || knows("command-line") {
            "ssh rejects one of the options: see `ssh_config(5)`".to_owned()
        } else {
            format!("`ssh {host} true` must work: is an sshd running there?")
        };
        self.about(&format!("cannot be reached; {way}"), answer)
    }

    /// An error message: the executable was started, and has not become a worker.
    fn no_worker(&self, answer: &ProgramOutput) -> String {
        let knows = |text: &str| answer.stderr.contains(text);
        let way = if knows("another build") {
            "has another build of this program: copy this one there, or leave `executable` out"
        } else if knows("GLIBC") || knows("shared librar") {
            "lacks libraries that this program needs: build it against older ones, or statically \
             (`--target x86_64-unknown-linux-musl`)"
        } else if matches!(answer.status.code(), Some(126 | 127)) {
            "cannot execute it (its mode or the file system may forbid it: choose another place \
             with `directory`)"
        } else if answer.status.code() == Some(255) {
            "was lost while it was starting a worker"
        } else {
            "started it, but it did not become a worker: `main` must begin with `trefoil::init()`"
        };
        self.about(way, answer)
    }

    /// An error message: the host, `what`, and the last line that it wrote to standard error, or
    /// how the client ended if there is none.
    fn about(&self, what: &str, answer: &ProgramOutput) -> String {
        let last = answer
            .stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty());
        let last = match last {
            Some(line) => format!(" ({})", line.trim()),
            None if answer.status.success() => String::new(),
            None => format!(" ({})", answer.status),
        };
        format!("{} {what}{last}", self.host)
    }

    /// Opens one connection: runs the client with [`converse`].
    fn converse(
        &self,
        client: Client<'_>,
        input: Vec<u8>,
        rest: Option<Rest>,
        limit: Duration,
    ) -> Result<ProgramOutput, String> {
        let mut command = client();
        converse(&mut command, input, rest, limit).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!(
                "`{}` is not installed on this machine: install OpenSSH's client (Debian: `apt \
                 install openssh-client`), or name another with `client`",
                command.get_program().to_string_lossy()
            ),
            _ => format!("{}: {error}", self.host),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_what_it_is_and_nothing_else() {
        let output = b"trefoil-host Linux x86_64 8 have\n\x01rest";
        let (facts, rest) = Facts::read(output).unwrap();
        assert_eq!(
            (facts.processors, facts.has_it, rest),
            (8, true, &b"\x01rest"[..])
        );
        assert_eq!((&*facts.system, &*facts.processor), ("Linux", "x86_64"));
        let (lacks, _) = Facts::read(b"trefoil-host Linux x86_64 - lack\n").unwrap();
        assert_eq!((lacks.processors, lacks.has_it), (1, false));
        let noise = Facts::read(b"Welcome!\ntrefoil-host Linux x86_64 8 have\n").unwrap_err();
        assert!(
            noise.contains("Welcome!\\n") && noise.contains("interactive"),
            "{noise}"
        );
        for odd in [&b""[..], b"what?", b"trefoil-host\n", b"trefoil-host a b"] {
            assert!(
                Facts::read(odd).unwrap_err().contains("it printed"),
                "{odd:?}"
            );
        }
    }
}
