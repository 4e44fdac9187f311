//! A cluster for tests, and a channel on which its items talk to the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use trefoil::ProcessPool;
use trefoil_machines::Dask;

use crate::support::signal;

/// The variable that names the interpreter.
pub(crate) const PYTHON: &str = "TREFOIL_DASK_PYTHON";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dask/cluster.py");

pub(crate) fn python() -> String {
    std::env::var(PYTHON).unwrap()
}

/// An interpreter with these variables.
pub(crate) fn python_with(variables: &[(String, String)]) -> String {
    let path = directory("python").join("python");
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in variables {
        script += &format!("export {name}={value}\n");
    }
    script += &format!("exec {} \"$@\"\n", python());
    write_script(&path, &script);
    path.to_str().unwrap().to_owned()
}

fn write_script(path: &Path, script: &str) {
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// An interpreter whose working directory is this one.
pub(crate) fn python_in(directory: &Path) -> String {
    let path = self::directory("python").join("python");
    let script = format!(
        "#!/bin/sh\ncd {}\nexec {} \"$@\"\n",
        directory.display(),
        python()
    );
    write_script(&path, &script);
    path.to_str().unwrap().to_owned()
}

/// Files of an authority and of a certificate, which are the same: `key` and `cert`.
pub(crate) fn certificate() -> PathBuf {
    let directory = directory("certificate");
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(' '))
        .args("-keyout key -out cert -days 30 -subj /CN=trefoil".split(' '))
        .args(["-addext", "keyUsage=critical,digitalSignature,keyCertSign"])
        .current_dir(&directory)
        .output()
        .expect("this test needs the command `openssl`");
    assert!(made.status.success(), "{made:?}");
    directory
}

/// An interpreter that trusts what `authority` has signed, and shows `own`.
pub(crate) fn python_with_certificate(authority: &Path, own: &Path) -> String {
    let variable = |name: &str, path: PathBuf| {
        let name = format!("DASK_DISTRIBUTED__COMM__TLS__{name}");
        (name, path.to_str().unwrap().to_owned())
    };
    let mut variables = vec![variable("CA_FILE", authority.join("cert"))];
    for role in ["SCHEDULER", "WORKER", "CLIENT"] {
        variables.push(variable(&format!("{role}__CERT"), own.join("cert")));
        variables.push(variable(&format!("{role}__KEY"), own.join("key")));
    }
    python_with(&variables)
}

/// The directories of this process.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("trefoil-dask-{}", std::process::id()))
}

/// An empty directory for one test.
pub(crate) fn directory(name: &str) -> PathBuf {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let directory = scratch().join(format!("{name}-{number}"));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// After the tests: ends the shared cluster, and removes their directories.
pub(crate) fn clean() {
    if let Some(cluster) = SHARED.get() {
        cluster.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
    let _ = std::fs::remove_dir_all(scratch());
}

/// One cluster for all tests that leave it as it was.
static SHARED: OnceLock<Mutex<Cluster>> = OnceLock::new();

/// A scheduler and some workers. All end when it is dropped.
pub(crate) struct Cluster {
    launcher: Child,
    said: Mutex<BufReader<ChildStdout>>,
    directory: PathBuf,
    pub(crate) scheduler: u32,
}

impl Cluster {
    pub(crate) fn start(workers: usize) -> Self {
        Self::launch(workers, &[], &python())
    }

    /// A cluster of one worker, which is started with these arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::launch(1, arguments, &python())
    }

    /// With TLS, if this interpreter has a certificate: see [`python_with_certificate`].
    pub(crate) fn with_python(python: &str) -> Self {
        Self::launch(1, &[], python)
    }

    /// Two workers, the second of them in this network namespace. A machine that does not answer
    /// counts as lost after twelve seconds.
    pub(crate) fn apart(namespace: &str) -> Self {
        let variables = [
            ("TREFOIL_TEST_NAMESPACE", namespace),
            ("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", "12s"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::launch(2, &[], &python_with(&variables))
    }

    fn launch(workers: usize, arguments: &[&str], python: &str) -> Self {
        let directory = directory("cluster");
        let mut launcher = Command::new(python)
            .arg(SCRIPT)
            .arg(&directory)
            .arg(workers.to_string())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(launcher.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let said = Mutex::new(said);
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("ready"), "no cluster: {line}");
        let scheduler = words.next().unwrap().parse().unwrap();
        Self {
            launcher,
            said,
            directory,
            scheduler,
        }
    }

    /// How many tasks the scheduler knows.
    pub(crate) fn tasks(&self) -> usize {
        self.describe_tasks()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The same, and the last one of them.
    pub(crate) fn describe_tasks(&self) -> String {
        let mut said = self.said.lock().unwrap();
        self.launcher
            .stdin
            .as_ref()
            .unwrap()
            .write_all(b"tasks\n")
            .unwrap();
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The shared one.
    pub(crate) fn shared() -> MutexGuard<'static, Self> {
        let cluster = SHARED.get_or_init(|| Mutex::new(Self::start(3)));
        cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn file(&self) -> String {
        let file = self.directory.join("scheduler.json");
        file.to_str().unwrap().to_owned()
    }

    /// Its address, from the file that its scheduler writes.
    pub(crate) fn address(&self) -> String {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let (_, rest) = text.split_once(r#""address": ""#).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// What its scheduler and its workers have printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap()
    }

    pub(crate) fn dask(&self) -> Dask {
        Dask::scheduler_file(self.file()).python(python())
    }

    pub(crate) fn pool(&self) -> ProcessPool {
        ProcessPool::builder()
            .launcher(self.dask())
            .build()
            .unwrap()
    }

    pub(crate) fn kill_scheduler(&self) {
        signal(self.scheduler, Signal::KILL);
    }

    fn end(&mut self) {
        drop(self.launcher.stdin.take());
        let _ = self.launcher.wait();
    }

    /// Starts one more worker.
    pub(crate) fn grow(&mut self) {
        let stdin = self.launcher.stdin.as_mut().unwrap();
        stdin.write_all(b"worker\n").unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

/// A socket on which items report that they run.
pub(crate) struct Listener {
    listener: UnixListener,
    pub(crate) path: String,
}

impl Listener {
    pub(crate) fn new() -> Self {
        let path = directory("listener").join("socket");
        Self {
            listener: UnixListener::bind(&path).unwrap(),
            path: path.to_str().unwrap().to_owned(),
        }
    }

    /// Waits for the next item that runs.
    pub(crate) fn accept(&self) -> Caller {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut numbers = [0; 8];
        stream.read_exact(&mut numbers).unwrap();
        let [a, b, c, d, e, f, g, h] = numbers;
        Caller {
            stream,
            pid: u32::from_le_bytes([a, b, c, d]),
            parent: u32::from_le_bytes([e, f, g, h]),
        }
    }
}

/// An item that runs, and its connection.
pub(crate) struct Caller {
    stream: UnixStream,
    pub(crate) pid: u32,
    /// The parent of the item's process, which holds it.
    pub(crate) parent: u32,
}

/// The parent of a process.
fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.unwrap().trim().parse().unwrap()
}

impl Caller {
    /// Dask's process, which has started the holder.
    pub(crate) fn dask_worker(&self) -> u32 {
        parent_of(self.parent)
    }

    /// Lets the item go on.
    pub(crate) fn go_on(mut self) {
        self.stream.write_all(b"x").unwrap();
    }

    /// The same, and waits until it has.
    pub(crate) fn passes(mut self) {
        self.stream.write_all(b"x").unwrap();
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0, "it says no more");
    }

    /// Waits until its process is gone.
    pub(crate) fn ends(mut self) {
        assert_eq!(self.stream.read(&mut [0]).unwrap_or(0), 0, "it lives");
    }
}

/// In an item: reports that it runs. The connection lasts until the return value is dropped.
pub(crate) fn call(path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid().cast_unsigned());
    let numbers = [std::process::id().to_le_bytes(), parent.to_le_bytes()].concat();
    stream.write_all(&numbers).unwrap();
    stream
}

/// In an item: the same, and waits until it may go on.
pub(crate) fn call_and_wait(path: &str) {
    let mut stream = call(path);
    if stream.read(&mut [0]).unwrap_or(0) == 0 {
        // The test has gone.
        std::thread::sleep(Duration::from_secs(1000));
    }
}
