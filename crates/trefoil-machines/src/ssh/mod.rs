//! Workers over ssh.
//!
//! **Protocol.** For each worker there is an ssh client, a child of this process. Its standard
//! input and output are one end of the worker's stream. On the host, a shell reads one line
//! (`common::shell`), and starts the executable with the stream as two other descriptors and with
//! an empty standard input, so that no code of the program can write into the stream by accident.
//! The shell waits for the executable, and exits with its status. (255 is the client's own exit
//! code: in its place the shell prints a line on standard error, and exits with 254.)
//!
//! When the client is killed, sshd closes the stream; the worker sees its end, and kills its
//! process group. When this process dies, the client sees the end of its standard input, and the
//! same follows.
//!
//! A copy of the executable is named after its build id and length. It is sent to a host that does
//! not have it, or whose copy has another SHA-256 (`probe`). Copying also removes copies that no
//! pool has used for a month.
//!
//! Tests:
//! `crates/trefoil-machines/tests/ssh/contract.rs::{calls_run_there_on_as_many_workers_as_were_asked_for,
//! what_is_printed_there_is_no_part_of_the_stream}`.

mod host;
mod probe;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use trefoil::process::launch::{
    Capabilities, Ending, Invitation, Launched, Launcher, Program, WorkerStream,
};
use trefoil::{Completer, PoolError, Task};

use self::host::Host;
use self::probe::{MARK, Probe};
use crate::common::shell::{COMMAND, defaults, exports, line, quoted};
use crate::common::{build_id, copy, descriptors};

/// How many connections to one host may be starting at once: an sshd drops some if more than ten
/// are (`MaxStartups`).
const AT_ONCE: usize = 8;

/// How many descriptors a worker needs in this process: the stream and the standard error of its
/// client, the client itself, and what the driver waits for.
const EACH: usize = 4;

/// The time that a message and its answer may spend on the network, even to another continent.
const WAY: Duration = Duration::from_millis(200);

/// The most bytes of the line that starts a worker: it is written before the client reads, and must
/// fit into the socket's buffer, with the limits of threads.
const LONGEST: usize = 63 << 10;

/// ssh's exit code for an error of its own, rather than of the command that it ran.
const OF_SSH: i32 = 255;

/// The code with which the shell on the host exits instead, after it has printed this line.
const FOR_255: i32 = 254;
const LINE_255: &str = "trefoil: the worker has exited with code 255";

/// Workers on other machines, over ssh.
///
/// Needs OpenSSH's client here, a program that does not ignore `SIGCHLD`, and on each host an sshd,
/// a POSIX shell, `sha256sum` (or `shasum`), and a login that asks no question (`ssh HOST true`
/// works from a script). Nothing else is installed there: the executable is copied to each host
/// that does not have it yet, or whose copy was damaged.
///
/// It is a launcher, not a scheduler: the hosts are taken as they are, and all of a pool's workers
/// begin with the pool. The pool treats them like others: a worker that dies costs what it
/// ran, and is replaced; an item runs at most once unless it has a `retry`. When a connection is
/// lost, all that was sent over it and was not answered counts as begun. The differences are
/// in [remote workers](https://docs.rs/trefoil/latest/trefoil/_documentation/remote_workers/).
///
/// ```no_run
/// use trefoil::ProcessPool;
/// use trefoil_machines::Ssh;
///
/// trefoil::init();
/// let procs = ProcessPool::builder().launcher(Ssh::hosts(["node1", "ada@node2:8"])).build()?;
/// let squares = procs.map(0..1000, |n: u64| n * n)?;
/// assert_eq!(squares[999], 998_001);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a launcher does nothing until a pool is built with it"]
pub struct Ssh {
    hosts: Vec<String>,
    client: OsString,
    /// Arguments for the client, before the host.
    options: Vec<OsString>,
    user: Option<OsString>,
    executable: Option<OsString>,
    directory: Option<OsString>,
    connected: Option<Arc<Connected>>,
}

impl Ssh {
    /// Workers on these hosts, each as ssh takes it (`node1`, `ada@node1`, an alias of
    /// `~/.ssh/config`), and optionally a colon and the number of its workers (`node1:8`). Default:
    /// one for each of its processors.
    ///
    /// With [`workers`](trefoil::ProcessPoolBuilder::workers) the pool has that many in all, and
    /// the hosts get them in turn, one each, until each has its number; then from the beginning.
    /// [`threads_per_worker`](trefoil::ProcessPoolBuilder::threads_per_worker) is by default the
    /// number of a host's processors divided by its workers.
    pub fn hosts<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Self {
        Self {
            hosts: hosts.into_iter().map(Into::into).collect(),
            client: "ssh".into(),
            options: Vec::new(),
            user: None,
            executable: None,
            directory: None,
            connected: None,
        }
    }

    /// An option for ssh (`-o`), as in `ssh_config(5)`: `"Port=2222"`. It comes before the pool's
    /// own.
    pub fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.extend(["-o".into(), option.into()]);
        self
    }

    /// The file with ssh's options (`-F`), in place of `~/.ssh/config`.
    pub fn config(mut self, path: impl AsRef<Path>) -> Self {
        self.options.extend(["-F".into(), path.as_ref().into()]);
        self
    }

    /// The user there (`-l`), where a host's name does not begin with one.
    pub fn user(mut self, name: impl Into<OsString>) -> Self {
        self.user = Some(name.into());
        self
    }

    /// The client to use instead of `ssh`: it must accept the arguments of OpenSSH's client.
    pub fn client(mut self, program: impl Into<OsString>) -> Self {
        self.client = program.into();
        self
    }

    /// Where the executable is on every host, on a shared file system for example: nothing is
    /// copied. If another build of the program is there, `build` fails.
    pub fn executable(mut self, path: impl AsRef<Path>) -> Self {
        self.executable = Some(path.as_ref().into());
        self
    }

    /// Where copies of the executable go on every host. Default: `$XDG_CACHE_HOME` or `~/.cache`.
    /// A directory `trefoil` is made in it, which only this user can read.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().into());
        self
    }

    /// The client's command for one connection to `host`.
    fn to(&self, host: &str) -> Command {
        let mut command = Command::new(&self.client);
        command.args(&self.options);
        // (`-l` would replace the one in a host's name.)
        if let Some(user) = self.user.as_ref().filter(|_| !host.contains('@')) {
            command.arg("-l").arg(user);
        }
        for option in [
            "BatchMode=yes",
            "ConnectTimeout=10",
            "ControlPath=none",
            "LogLevel=ERROR",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
        ] {
            command.args(["-o", option]);
        }
        command.args(["-T", "--", host, COMMAND]).process_group(0);
        command
    }

    /// Shell code that sets `$f` to the executable's path on the host, and if it is a copy `$d` and
    /// `$t` (`common::copy`).
    fn place(&self, program: &Program, build: &str) -> io::Result<Vec<u8>> {
        if let Some(path) = &self.executable {
            return Ok([b"f=", &quoted(path)[..], b"; d=$f"].concat());
        }
        let length = program.open()?.metadata()?.len();
        let cache = match &self.directory {
            Some(path) => quoted(path),
            None => b"\"${XDG_CACHE_HOME:-$HOME/.cache}\"".to_vec(),
        };
        let copy = format!("{build}-{length}");
        Ok(copy::place(&[&cache[..], b"/trefoil"].concat(), &copy))
    }

    /// Shell code that runs the executable with this invitation.
    fn run(program: &Program, invitation: &Invitation) -> Vec<u8> {
        let mut script = format!("export {invitation}; \"$f\"").into_bytes();
        for argument in program.arguments() {
            script.push(b' ');
            script.extend(quoted(&argument));
        }
        script
    }

    /// Shell code that starts a worker, and waits for it.
    fn start(program: &Program) -> Result<Vec<u8>, String> {
        let variables = program.variables();
        let mut script = b"exec 3<&0 4>&1 </dev/null >&2; ".to_vec();
        script.extend(exports(variables)?);
        let invitation = program.invitation(WorkerStream::Descriptors(3, 4));
        script.extend(Self::run(program, &invitation));
        // What the worker started ends with it, as everywhere. (sshd reports an exit only after
        // every process has closed standard error.)
        script.extend(b" & p=$!; wait $p; s=$?; kill -9 -$p 2>/dev/null; ");
        // (The client exits with 255 for errors of its own.)
        let pass_on =
            format!("[ $s = {OF_SSH} ] && {{ echo '{LINE_255}' >&2; s={FOR_255}; }}; exit $s");
        script.extend(pass_on.bytes());
        Ok(script)
    }
}

/// On a host: shows that a worker can begin there.
fn answers(program: &Program, _: &str) -> i32 {
    println!("{}", program.identity());
    0
}

impl Launcher for Ssh {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let hosts = self.hosts.iter().map(|host| Host::parse(host));
        let hosts: Vec<Host> = hosts
            .collect::<Result<_, _>>()
            .map_err(PoolError::Launcher)?;
        if hosts.is_empty() {
            return Err(PoolError::Launcher("no hosts were named".to_owned()));
        }
        let build = build_id(program)?;
        let place = self.place(program, build)?;
        let start = Self::start(program).map_err(PoolError::Launcher)?;
        // (Where nothing is copied, no hash is needed.)
        let define = match self.executable {
            Some(_) => String::new(),
            None => copy::define(&copy::own_hash(program).map_err(PoolError::Launcher)?.0),
        };
        let has = match self.executable {
            Some(_) => "; if [ -x \"$f\" ]",
            None => &format!(
                "{define}; if {} && [ -x \"$f\" ] && is \"$f\"",
                copy::IS_OURS
            ),
        };
        let answers = Self::run(program, &program.entry(answers, "")?);
        let ask = [
            &place[..],
            has.as_bytes(), b"; then h=have; else h=lack; fi; p=$(getconf _NPROCESSORS_ONLN 2>/dev/null) || p=1; echo ",
            MARK.as_bytes(),
            b" \"$(uname -s)\" \"$(uname -m)\" \"$p\" \"$h\"; [ $h = have ] || exit 0; ",
            &exports(program.variables()).map_err(PoolError::Launcher)?,
            &answers,
            b" </dev/null; exit $?",
        ];
        let (make, can_hash, keep) = (copy::make(), copy::CAN_HASH, copy::KEEP);
        let put = format!(
            "{define}; {can_hash} || {{ echo 'it has no `sha256sum`, which checks the copy: install \
             coreutils' >&2; exit 1; }}; w=$f.$(uname -n).$$; {make} && cat > \"$w\" && {keep} || \
             {{ rm -f \"$w\"; exit 1; }}"
        );
        let put = [&place[..], put.as_bytes()].concat();
        let (ask, put) = (line(&ask.concat()), line(&put));
        let begin = line(&[&place[..], b"; ", copy::USE.as_bytes(), b"; ", &start].concat());
        if begin.len() > LONGEST {
            return Err(PoolError::Launcher(format!(
                "the arguments of this program and the variables of the pool (`env`) are too long: \
                 {} bytes together, of at most {LONGEST}",
                begin.len()
            )));
        }
        let put = self.executable.is_none().then_some(&put[..]);
        let processors = self.probe(program, &hosts, &ask, put)?;
        let slots = turns(&hosts, &processors);
        let workers = program.workers().unwrap_or(slots.len());
        descriptors::suffice(workers, EACH).map_err(PoolError::Launcher)?;
        let limits = processors.iter().enumerate().map(|(host, processors)| {
            let theirs = (0..workers).filter(|index| slots[index % slots.len()] == host);
            let (names, threads): (Vec<_>, Vec<_>) =
                program.thread_limits(*processors, theirs.count()).unzip();
            let threads = threads.first().map(usize::to_string);
            defaults(names, &threads.unwrap_or_default()).into_bytes()
        });
        let begin = limits.map(|limits| [limits, begin.clone()].concat());
        let begin = begin.collect();
        let can = Capabilities::slots(slots.len()).latency(WAY);
        let hosts = hosts.into_iter().map(|host| host.name).collect();
        self.connected = Some(Arc::new(Connected {
            ssh: self.clone(),
            hosts,
            slots,
            begin,
            starts: Mutex::default(),
        }));
        Ok(can)
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let connected = self.connected();
        let (completer, task) = Completer::new();
        connected.starts().waiting.push_back((index, completer));
        connected.next();
        task
    }

    fn began(&self, index: usize) {
        self.connected().started(index);
        self.connected().next();
    }

    /// The shell on the host exits with the worker's exit code, or with 128 plus a signal's number.
    fn ended(&self, index: usize, ending: &mut Ending) {
        let connected = self.connected();
        let host = &connected.hosts[connected.host(index)];
        ending.note = Some(format!("it ran on {host}"));
        // The shell exits after everything has been passed on.
        ending.loses_records = ending.code.is_none();
        match ending.code {
            Some(OF_SSH) => {
                ending.code = None;
                ending.note = Some(format!(
                    "ssh lost the connection to {host}, or could not connect"
                ));
                ending.loses_records = true;
            }
            Some(FOR_255) => {
                let output = ending.stderr.trim_end();
                if let Some(rest) = output.strip_suffix(LINE_255) {
                    (ending.code, ending.stderr) = (Some(OF_SSH), rest.to_owned());
                }
            }
            Some(code @ 129..=192) => {
                (ending.code, ending.signal) = (None, Some(code - 128));
            }
            _ => {}
        }
        self.began(index); // it does not start any more
    }
}

impl Ssh {
    /// Probes all hosts at once. Returns how many processors each has.
    fn probe(
        &self,
        program: &Program,
        hosts: &[Host],
        ask: &[u8],
        put: Option<&[u8]>,
    ) -> Result<Vec<usize>, PoolError> {
        let (sender, results) = mpsc::channel();
        for (at, host) in hosts.iter().enumerate() {
            let (ssh, sender) = (self.clone(), sender.clone());
            let probe = Probe {
                program: program.clone(),
                host: host.name.clone(),
                ask: ask.to_vec(),
                put: put.map(<[u8]>::to_vec),
            };
            let thread = thread::Builder::new().name("trefoil-probe".to_owned());
            thread.spawn(move || {
                let found = probe.run(&|| ssh.to(&probe.host));
                let _ = sender.send((at, found));
            })?;
        }
        drop(sender);
        let mut results: Vec<_> = results.into_iter().collect();
        results.sort_unstable_by_key(|(at, _)| *at);
        let probes: Result<Vec<usize>, String> =
            results.into_iter().map(|(_, found)| found).collect();
        let found = probes.map_err(PoolError::Launcher)?;
        if found.len() < hosts.len() {
            return Err(PoolError::Launcher("a probe panicked".to_owned()));
        }
        Ok(found)
    }
}

/// The host of each slot: one worker per host in each round, so that fewer workers are spread, too.
fn turns(hosts: &[Host], processors: &[usize]) -> Vec<usize> {
    let each = hosts.iter().zip(processors);
    let each: Vec<usize> = each
        .map(|(host, processors)| host.slots.unwrap_or(*processors))
        .collect();
    let rounds = each.iter().copied().max().unwrap_or(0);
    let turns = (0..rounds).flat_map(|round| {
        let each = each.iter().enumerate();
        each.filter_map(move |(host, slots)| (*slots > round).then_some(host))
    });
    turns.collect()
}

/// The hosts of a pool, after the probes.
#[derive(Debug)]
struct Connected {
    ssh: Ssh,
    hosts: Vec<String>,
    /// The host of each slot.
    slots: Vec<usize>,
    /// For each host, the line that starts a worker.
    begin: Vec<Vec<u8>>,
    starts: Mutex<Starts>,
}

/// The workers that have not begun.
#[derive(Debug, Default)]
struct Starts {
    starting: Vec<usize>,
    /// Those that wait, because too many of their host are starting.
    waiting: VecDeque<(usize, Completer<io::Result<Launched>>)>,
}

impl Connected {
    fn starts(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock()
    }

    fn host(&self, index: usize) -> usize {
        self.slots[index % self.slots.len()]
    }

    /// Starts the workers that may start now.
    fn next(&self) {
        let mut starts = self.starts();
        let waiting = std::mem::take(&mut starts.waiting);
        let mut begin = Vec::new();
        for (index, completer) in waiting {
            let host = self.host(index);
            let same = starts
                .starting
                .iter()
                .filter(|other| self.host(**other) == host);
            if completer.is_cancelled() {
            } else if same.count() < AT_ONCE {
                starts.starting.push(index);
                begin.push((index, completer));
            } else {
                starts.waiting.push_back((index, completer));
            }
        }
        drop(starts);
        for (index, completer) in begin {
            let launched = self.launch(index);
            if launched.is_err() {
                self.started(index);
            }
            completer.complete(Ok(launched));
        }
    }

    /// Worker `index` does not start any more.
    fn started(&self, index: usize) {
        self.starts().starting.retain(|other| *other != index);
    }

    fn launch(&self, index: usize) -> io::Result<Launched> {
        let host = self.host(index);
        Launched::with_input(self.ssh.to(&self.hosts[host]), &self.begin[host])
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.hosts[host])))
    }
}

impl Ssh {
    fn connected(&self) -> &Connected {
        self.connected
            .as_ref()
            .expect("a pool prepares it before it starts workers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_a_hosts_name_comes_first() {
        let ssh = Ssh::hosts(["node1"]).user("ada");
        let user = |host: &str| {
            let command = ssh.to(host);
            let mut arguments = command
                .get_args()
                .map(|argument| argument.to_str().unwrap());
            arguments.find(|argument| *argument == "-l")?;
            arguments.next().map(str::to_owned)
        };
        assert_eq!(user("node1").as_deref(), Some("ada"));
        assert_eq!(user("bob@node1"), None);
        assert_eq!(user("ssh://bob@node1:2222"), None);
    }
}
