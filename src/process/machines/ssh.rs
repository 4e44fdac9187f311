//! Workers over ssh.
//!
//! **Protocol.** For each worker there is an ssh client, a child of this process. Its standard
//! input and output are one end of the worker's stream. On the host, a shell reads one line
//! (`shell`), and starts the executable with the stream as two other descriptors and with an empty
//! standard input, so that no code of the program can write into the stream by accident. The shell
//! waits for the executable, and exits with its status.
//!
//! When the client is killed, sshd closes the stream; the worker sees its end, and kills its
//! process group. When this process dies, the client sees the end of its standard input, and the
//! same follows.
//!
//! A copy of the executable is named after its build id and length. It is sent to a host that does
//! not have it, or whose copy has another SHA-256 (`probe`). Copying also removes copies that no
//! pool has used for a month.
//!
//! Tests: `tests/machines/`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::copy;
use super::host::Host;
use super::probe::{MARK, Probe};
use super::shell::{COMMAND, exports, line, quoted};
use super::{Connect, Engine, sealed};
use crate::loom::thread;
use crate::process::PoolError;
use crate::process::host::executable;
use crate::process::host::image::image;
use crate::process::parent::launch::{Launch, Started, stream};
use crate::process::parent::settings::{Settings, WorkerStdout};
use crate::process::sched::Policy;
use crate::process::wire::invitation::{ELSEWHERE, VARIABLE, elsewhere};
use crate::task::WorkerExit;

/// How many connections to one host may be starting at once: an sshd drops some if more than ten
/// are (`MaxStartups`).
const AT_ONCE: usize = 8;

/// The time that a message and its answer may spend on the network, even to another continent.
const WAY: Duration = Duration::from_millis(200);

/// The most bytes of the line that starts a worker: it is written before the client reads, and must
/// fit into the socket's buffer.
const LONGEST: usize = 64 << 10;

/// ssh's exit code for an error of its own, rather than of the command that it ran.
const OF_SSH: i32 = 255;

/// Workers on other machines, over ssh.
///
/// Needs the feature `ssh`, OpenSSH's client here, and on each host an sshd, a POSIX shell,
/// `sha256sum`, and a login that asks no question (`ssh HOST true` works from a script). Nothing
/// else is installed there: the executable is copied to each host that does not have it yet, or
/// whose copy was damaged.
///
/// It is a launcher and no scheduler: the hosts are taken as they are, and all of a pool's workers
/// begin with the pool. The pool treats them as it does others: a worker that dies costs what it
/// ran, and is replaced; an item runs at most once unless it has a `retry`. When a connection is
/// lost, all that was sent over it and was not answered counts as begun. What is different stands
/// in [MACHINES](crate::_documentation::machines).
///
/// ```no_run
/// use trefoil::{ProcessPool, Ssh};
///
/// trefoil::init();
/// let procs = ProcessPool::builder().on(Ssh::hosts(["node1", "ada@node2:8"])).build()?;
/// let squares = procs.map(0..1000, |n: u64| n * n)?;
/// assert_eq!(squares[999], 998_001);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a pool is built on it"]
pub struct Ssh {
    hosts: Vec<String>,
    client: OsString,
    /// Arguments for the client, before the host.
    options: Vec<OsString>,
    executable: Option<OsString>,
    directory: Option<OsString>,
}

impl Ssh {
    /// Workers on these hosts, each as ssh takes it (`node1`, `ada@node1`, an alias of
    /// `~/.ssh/config`), with a colon and how many workers it is to have if that is not the
    /// number of its processors (`node1:8`).
    ///
    /// With [`workers`](crate::ProcessPoolBuilder::workers) the pool has so many in all, host by
    /// host in turn.
    pub fn hosts<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Self {
        Self {
            hosts: hosts.into_iter().map(Into::into).collect(),
            client: "ssh".into(),
            options: Vec::new(),
            executable: None,
            directory: None,
        }
    }

    /// An option of ssh's (`-o`), as `ssh_config(5)` has it: `"Port=2222"`. It comes before the
    /// pool's own.
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
        self.options.extend(["-l".into(), name.into()]);
        self
    }

    /// The client, in place of the `ssh` that is found: it must take what OpenSSH's takes.
    pub fn client(mut self, program: impl Into<OsString>) -> Self {
        self.client = program.into();
        self
    }

    /// Where the executable is on every host, on a shared file system for example: nothing is
    /// copied. Another build of the program there is refused.
    pub fn executable(mut self, path: impl AsRef<Path>) -> Self {
        self.executable = Some(path.as_ref().into());
        self
    }

    /// Where copies of the executable go on every host. Default: `$XDG_CACHE_HOME` or `~/.cache`.
    /// In it a directory `trefoil` is made, which only this user can read.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().into());
        self
    }

    /// The client's command for one connection to `host`.
    fn to(&self, host: &str) -> Command {
        let mut command = Command::new(&self.client);
        command.args(&self.options);
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
    /// `$t` (`copy`).
    fn place(&self) -> io::Result<Vec<u8>> {
        if let Some(path) = &self.executable {
            return Ok([b"f=", &quoted(path)[..], b"; d=$f"].concat());
        }
        let own = std::fs::metadata(executable::path()?)?;
        let cache = match &self.directory {
            Some(path) => quoted(path),
            None => b"\"${XDG_CACHE_HOME:-$HOME/.cache}\"".to_vec(),
        };
        let build = format!("{}-{}", image().build(), own.len());
        Ok(copy::place(&[&cache[..], b"/trefoil"].concat(), &build))
    }

    /// Shell code that starts a worker, and waits for it.
    fn start(settings: &Settings) -> Result<Vec<u8>, String> {
        let [hears, says] = ELSEWHERE;
        let stdout = match settings.stdout {
            WorkerStdout::Null => "/dev/null",
            WorkerStdout::Inherit | WorkerStdout::Capture => "&2",
        };
        let invitation = elsewhere(settings.depth, "$$", ELSEWHERE);
        let mut script = format!("exec {hears}<&0 {says}>&1 </dev/null >{stdout}; ").into_bytes();
        script.extend(exports(&settings.variables)?);
        script.extend(format!("export {VARIABLE}=\"{invitation}\"; \"$f\"").bytes());
        for argument in std::env::args_os().skip(1) {
            script.push(b' ');
            script.extend(quoted(&argument));
        }
        // What the worker started ends with it, as everywhere. (sshd reports an exit only after
        // every process has closed standard error.)
        script.extend(b" & p=$!; wait $p; s=$?; kill -9 -$p 2>/dev/null; exit $s");
        Ok(script)
    }
}

impl Engine for Ssh {
    fn connector(self) -> sealed::Connector {
        sealed::Connector(Arc::new(self))
    }
}

impl Connect for Ssh {
    fn connect(&self, settings: &Settings) -> Result<Arc<dyn Launch>, PoolError> {
        let hosts = self.hosts.iter().map(|host| Host::parse(host));
        let hosts: Vec<Host> = hosts.collect::<Result<_, _>>().map_err(PoolError::Engine)?;
        if hosts.is_empty() {
            return Err(PoolError::Engine("no hosts were named".to_owned()));
        }
        let place = self.place()?;
        let start = Self::start(settings).map_err(PoolError::Engine)?;
        // (Where nothing is copied, no hash is needed.)
        let define = match self.executable {
            Some(_) => String::new(),
            None => copy::define(&copy::own_hash().map_err(PoolError::Engine)?.0),
        };
        let has = match self.executable {
            Some(_) => "; if [ -x \"$f\" ]",
            None => &format!(
                "{define}; if {} && [ -x \"$f\" ] && is \"$f\"",
                copy::IS_OURS
            ),
        };
        let ask = [
            &place[..],
            has.as_bytes(), b"; then h=have; else h=lack; fi; p=$(getconf _NPROCESSORS_ONLN 2>/dev/null) || p=1; echo ",
            MARK.as_bytes(),
            b" \"$(uname -s)\" \"$(uname -m)\" \"$p\" \"$h\"; [ $h = have ] || exit 0; ",
            &start,
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
            return Err(PoolError::Engine(format!(
                "the arguments of this program and the variables of the pool (`env`) are too long together: {} bytes, {LONGEST} fit",
                begin.len()
            )));
        }
        let put = self.executable.is_none().then_some(&put[..]);
        let slots = self.probe(&hosts, &ask, put)?;
        let hosts = hosts.into_iter().map(|host| host.name).collect();
        Ok(Arc::new(Connected {
            ssh: self.clone(),
            hosts,
            slots,
            begin,
        }))
    }
}

impl Ssh {
    /// Probes all hosts at once. Returns the host of each slot.
    fn probe(
        &self,
        hosts: &[Host],
        ask: &[u8],
        put: Option<&[u8]>,
    ) -> Result<Vec<usize>, PoolError> {
        let (tell, told) = mpsc::channel();
        for (at, host) in hosts.iter().enumerate() {
            let (ssh, tell) = (self.clone(), tell.clone());
            let probe = Probe {
                host: host.name.clone(),
                ask: ask.to_vec(),
                put: put.map(<[u8]>::to_vec),
            };
            let thread = thread::Builder::new().name("trefoil-probe".to_owned());
            thread.spawn(move || {
                let found = probe.run(&|| ssh.to(&probe.host));
                let _ = tell.send((at, found));
            })?;
        }
        drop(tell);
        let mut told: Vec<_> = told.into_iter().collect();
        told.sort_unstable_by_key(|(at, _)| *at);
        let probes: Result<Vec<usize>, String> = told.into_iter().map(|(_, found)| found).collect();
        let found = probes.map_err(PoolError::Engine)?;
        if found.len() < hosts.len() {
            return Err(PoolError::Engine("a probe has panicked".to_owned()));
        }
        let each = hosts.iter().zip(found);
        let each: Vec<usize> = each
            .map(|(host, found)| host.slots.unwrap_or(found))
            .collect();
        let rounds = each.iter().copied().max().unwrap_or(0);
        // One worker per host in each round, so that fewer workers are spread, too.
        let turns = (0..rounds).flat_map(|round| {
            let each = each.iter().enumerate();
            each.filter_map(move |(host, slots)| (*slots > round).then_some(host))
        });
        Ok(turns.collect())
    }
}

/// The hosts of a pool, after the probes.
#[derive(Debug)]
struct Connected {
    ssh: Ssh,
    hosts: Vec<String>,
    /// The host of each slot.
    slots: Vec<usize>,
    /// The line that starts a worker.
    begin: Vec<u8>,
}

impl Connected {
    fn host(&self, index: usize) -> usize {
        self.slots[index % self.slots.len()]
    }
}

impl Launch for Connected {
    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn may_start(&self, index: usize, starting: &[usize]) -> bool {
        let host = self.host(index);
        let same = starting.iter().filter(|other| self.host(**other) == host);
        same.count() < AT_ONCE
    }

    fn start(&self, index: usize) -> io::Result<Started> {
        let (mut ours, theirs) = stream()?;
        ours.write_all(&self.begin)?; // it fits into the empty socket
        let theirs = OwnedFd::from(theirs);
        let mut command = self.ssh.to(&self.hosts[self.host(index)]);
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs)
            .stderr(Stdio::piped());
        Started::of_child(ours, command.spawn()?)
    }

    fn machine(&self, index: usize) -> Option<String> {
        let host = self.host(index);
        let same = self.slots.iter().filter(|other| **other == host);
        (same.count() > 1).then(|| self.hosts[host].clone())
    }

    /// (The grace period is for the item's own end; the time for messages to travel is added.)
    fn adjust(&self, policy: &mut Policy) {
        policy.grace = policy.grace.saturating_add(WAY);
    }

    /// The shell on the host exits with the worker's exit code, or with 128 plus a signal's number.
    fn ended(&self, index: usize, exit: &mut WorkerExit) -> bool {
        let host = &self.hosts[self.host(index)];
        // A client that was killed may have held output that it had not passed on. (If other code
        // reaped the client, its exit is unknown, so this counts as lost, too.)
        let is_lost = exit.signal.is_some() || matches!(exit.code, None | Some(OF_SSH));
        match exit.code {
            Some(OF_SSH) => {
                exit.code = None;
                exit.note = Some(format!("ssh has lost {host}, or could not reach it"));
            }
            Some(code @ 129..=192) => {
                (exit.code, exit.signal) = (None, Some(code - 128));
            }
            _ => {}
        }
        is_lost
    }
}
