//! Workers that a launcher starts: behind command lines, and in other ways.
//!
//! Which wrappers there are depends on the machine; a test says which it has left out.

use crate::support::marks::{MARK, died, mark, marked, marked_pool};
use crate::support::{self, Dice, Scratch, Test, forever, kill, kills, note, tests, until};
use crate::wrapped::Wrapped;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program, WorkerStream};
use trefoil::{Completer, PoolError, ProcessPool, ProcessPoolBuilder, Task, TaskError};

/// A shell that waits for the worker.
const WAITS: [&str; 5] = ["sh", "-c", r#""$@"; exit $?"#, "sh", "{exe}"];

/// Forwards the stream in both directions.
const FORWARDS: [&str; 5] = ["sh", "-c", r#"cat | "$@" | cat"#, "sh", "{exe}"];

/// Command lines that start a worker here, and whether an exit of the worker is theirs.
fn wrappers() -> Vec<(&'static str, Wrapped)> {
    let deaf = r#"trap '' TERM INT HUP; exec 3<&0; "$@" <&3 & wait $!"#;
    let other = r#"exec "$0" "$@""#;
    let all: [(&str, &[&str]); 11] = [
        ("env", &["env", "{exe}"]),
        ("nice", &["nice", "-n", "1", "{exe}"]),
        (
            "sh that becomes it",
            &["sh", "-c", r#"exec "$@""#, "sh", "{exe}"],
        ),
        ("sh that waits", &WAITS),
        ("sh that is deaf", &["sh", "-c", deaf, "sh", "{exe}"]),
        (
            "another user, by setpriv",
            &[
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "{exe}",
            ],
        ),
        (
            "another user, by su",
            &["su", "-s", "/bin/sh", "-c", other, "--", "nobody", "{exe}"],
        ),
        ("a user namespace", &["unshare", "-r", "{exe}"]),
        (
            "a pid namespace",
            &["unshare", "-r", "--pid", "--fork", "{exe}"],
        ),
        (
            "bwrap",
            &[
                "bwrap",
                "--ro-bind",
                "/",
                "/",
                "--bind",
                "/tmp",
                "/tmp",
                "{exe}",
            ],
        ),
        (
            "bwrap without anything",
            &[
                "bwrap",
                "--unshare-all",
                "--ro-bind",
                "/",
                "/",
                "--tmpfs",
                "/tmp",
                "--ro-bind",
                "{exe}",
                "{exe}",
                "{exe}",
            ],
        ),
    ];
    let own = std::env::current_exe().unwrap();
    let mut can = Vec::new();
    for (name, words) in all {
        // What cannot start this program at all is left out.
        let words: Vec<&str> = words.to_vec();
        let there = words
            .iter()
            .map(|word| word.replace("{exe}", own.to_str().unwrap()));
        let there: Vec<String> = there.collect();
        let tried = Command::new(&there[0])
            .args(&there[1..])
            .arg("no-such-module::")
            .env(support::HELPER, "nothing")
            .stdin(Stdio::null())
            .output();
        match tried {
            Ok(output) if output.status.success() => can.push((name, Wrapped::new(words))),
            _ => print!("(without {name}) "),
        }
    }
    can
}

/// Notes that it ran, and works.
fn work((id, micros, notes): (u64, u64, String)) -> u64 {
    note(&notes, id);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::thread::yield_now();
    }
    id
}

/// `items` items while `kills` processes of the pool are killed: each item is answered or blamed on
/// a death, and none runs twice. Returns how many were blamed.
fn accidents(name: &str, launcher: impl Launcher, items: u64, kills: u64) -> u64 {
    let (mark, notes) = (mark(), Scratch::new("launcher-chaos"));
    let procs = marked_pool(launcher, &mark).workers(4).build().unwrap();
    let (over, killed) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut answers = HashSet::new();
    let mut blamed = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(0x5eed ^ items);
            while killed.load(Ordering::Relaxed) < kills && !over.load(Ordering::Relaxed) {
                let there = marked(&mark);
                if !there.is_empty() {
                    kill(there[dice.roll(there.len() as u64) as usize]);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
                // The next one follows when something has ended well: a pool gives up whose workers
                // all die before they begin.
                let before = procs.stats().completed;
                std::thread::sleep(Duration::from_millis(dice.roll(12)));
                until(|| procs.stats().completed > before || over.load(Ordering::Relaxed));
            }
        });
        // More are made while some are to be killed.
        let mut next = 0;
        while next < items || killed.load(Ordering::Relaxed) < kills {
            let some = next..next + 500;
            let args = some.clone().map(|id| (id, id % 7 * 60, notes.text()));
            for (id, end) in some.clone().zip(procs.map_each(args, work)) {
                match end {
                    Ok(answer) => assert!(answer == id && answers.insert(id), "{id}"),
                    Err(TaskError::WorkerDied(_)) => blamed += 1,
                    Err(other) => panic!("{name}: {other}"),
                }
            }
            next = some.end;
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(answers.len() as u64 + blamed, next, "{name}: some are lost");
    });
    drop(procs);
    let mut times: HashMap<u64, u32> = HashMap::new();
    notes
        .notes()
        .into_iter()
        .for_each(|id| *times.entry(id).or_default() += 1);
    assert!(
        times.values().all(|times| *times == 1),
        "{name}: some ran twice"
    );
    assert!(answers.iter().all(|id| times.contains_key(id)));
    until(|| marked(&mark).is_empty());
    let killed = killed.into_inner();
    println!(
        "{name}: {} items, {killed} kills, {blamed} blamed",
        answers.len() as u64 + blamed
    );
    blamed
}

pub(crate) fn helpers() {
    support::helper(&[("launcher-parent", parent), ("launcher-out", prints)]);
}

/// Has workers that run for ever, behind the wrapper with the number that is set.
fn parent() {
    let number: usize = std::env::var("NUMBER").unwrap().parse().unwrap();
    let mark = std::env::var("WANTED").unwrap();
    let (_, launcher) = wrappers().swap_remove(number);
    let procs = marked_pool(launcher, &mark).workers(2).build().unwrap();
    procs.map(0..50, |n: u32| n).unwrap();
    let tasks: Vec<Task<()>> = (0..2).map(|_| procs.spawn((), |()| forever())).collect();
    println!("ready");
    tasks.into_iter().for_each(|task| drop(task.join()));
}

fn prints() {
    let procs = ProcessPool::builder().launcher(Wrapped::new(["env", "{exe}"]));
    let procs = procs.workers(1).build().unwrap();
    procs
        .spawn((), |()| println!("from an item"))
        .join()
        .unwrap();
}

/// Starts workers through a socket in the file system: a process of this program dials, and becomes
/// the parent of the worker.
#[derive(Debug)]
struct Dialled {
    place: PathBuf,
    listener: UnixListener,
    program: Option<Program>,
    waiting: Arc<Mutex<HashMap<u8, Completer<io::Result<Launched>>>>>,
    ends: Arc<AtomicUsize>,
}

impl Dialled {
    fn new(ends: &Arc<AtomicUsize>) -> Self {
        let place = std::env::temp_dir().join(mark());
        Self {
            listener: UnixListener::bind(&place).unwrap(),
            place,
            program: None,
            waiting: Arc::default(),
            ends: ends.clone(),
        }
    }

    /// In the process between.
    fn dials(program: &Program, argument: &str) -> i32 {
        let (index, place) = argument.split_once(' ').unwrap();
        let mut stream = UnixStream::connect(place).unwrap();
        stream.write_all(&[index.parse().unwrap()]).unwrap();
        // (It stays open: `exec` hands it on.)
        let one = stream.try_clone().unwrap();
        rustix::io::fcntl_setfd(&one, rustix::io::FdFlags::empty()).unwrap();
        let number = one.as_raw_fd();
        let invitation = program.invitation(WorkerStream::Descriptors(number, number));
        let mut command = Command::new(program.path().unwrap());
        command.args(program.arguments());
        command.env(invitation.name(), invitation.value());
        command.exec().raw_os_error().unwrap_or(1)
    }
}

impl Launcher for Dialled {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        self.program = Some(program.clone());
        let (listener, waiting) = (self.listener.try_clone()?, self.waiting.clone());
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut index = [0];
                if stream.read_exact(&mut index).is_err() {
                    continue; // it was killed
                }
                if index == [u8::MAX] {
                    return;
                }
                if let Some(completer) = waiting.lock().unwrap().remove(&index[0]) {
                    completer.complete(Ok(Ok(Launched::stream(stream))));
                }
            }
        });
        Ok(Capabilities::slots(3).latency(Duration::from_millis(50)))
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let program = self.program.as_ref().unwrap();
        let (completer, task) = Completer::new();
        self.waiting.lock().unwrap().insert(index as u8, completer);
        let argument = format!("{index} {}", self.place.display());
        let invitation = program.entry(Self::dials, &argument).unwrap();
        let mut command = Command::new(program.path().unwrap());
        command.args(program.arguments());
        command.envs(program.variables());
        command.env(invitation.name(), invitation.value());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let waiting = self.waiting.clone();
        std::thread::spawn(move || {
            let _ = child.wait();
            drop(waiting.lock().unwrap().remove(&(index as u8))); // if it has not dialled
        });
        task
    }

    fn ended(&self, _: usize, ending: &mut Ending) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        ending.note = Some("the other end hung up".to_owned());
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        if let Ok(mut stream) = UnixStream::connect(&self.place) {
            let _ = stream.write_all(&[u8::MAX]); // which ends the thread
        }
        let _ = std::fs::remove_file(&self.place);
    }
}

/// How a [`Forwarder`] treats its first worker's stream once that has begun an item.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Breaks {
    /// It closes the stream; what the worker has said since is lost.
    Ends,
    /// The same, and only what the worker says was forwarded.
    EndsHalf,
    /// It says something else, and keeps the worker.
    Babbles,
}

/// Forwards the stream to a worker, which has none of its own process here.
#[derive(Debug)]
struct Forwarder {
    program: Option<Program>,
    breaks: Breaks,
    notes: String,
    began: Arc<AtomicBool>,
    kills: Arc<AtomicUsize>,
}

impl Forwarder {
    fn new(breaks: Breaks, notes: &Scratch) -> Self {
        let (program, notes) = (None, notes.text());
        let (began, kills) = Default::default();
        Self {
            program,
            breaks,
            notes,
            began,
            kills,
        }
    }

    /// Passes on what the worker says, until it has begun an item.
    fn forward(&self, mut from: impl Read + Send + 'static, mut to: UnixStream, shut: UnixStream) {
        let (began, kills) = (self.began.clone(), self.kills.clone());
        let (breaks, notes) = (self.breaks, self.notes.clone());
        let is_first = !began.load(Ordering::Relaxed);
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if is_first && began.load(Ordering::Relaxed) {
                    until(|| std::fs::metadata(&notes).is_ok_and(|notes| notes.len() > 0));
                    if breaks == Breaks::Babbles {
                        to.write_all(&[9; 64]).unwrap();
                        until(|| kills.load(Ordering::Relaxed) >= 2);
                    }
                    break;
                }
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = shut.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

impl Launcher for Forwarder {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        self.program = Some(program.clone());
        Ok(Capabilities::slots(1))
    }

    fn start(&self, _: usize) -> Task<io::Result<Launched>> {
        let program = self.program.as_ref().unwrap();
        let (pool, mut ours) = UnixStream::pair().unwrap();
        let invitation = program.invitation(WorkerStream::Stdio);
        let mut command = Command::new(program.path().unwrap());
        command
            .args(program.arguments())
            .env(invitation.name(), invitation.value());
        if self.breaks == Breaks::EndsHalf {
            let (says, theirs) = io::pipe().unwrap();
            command
                .stdin(OwnedFd::from(ours.try_clone().unwrap()))
                .stdout(theirs);
            self.forward(says, ours.try_clone().unwrap(), ours);
        } else {
            let (mut other, theirs) = UnixStream::pair().unwrap();
            command
                .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
                .stdout(OwnedFd::from(theirs));
            let [says, shut] = [0, 1].map(|_| other.try_clone().unwrap());
            self.forward(says, ours.try_clone().unwrap(), shut);
            std::thread::spawn(move || {
                let _ = io::copy(&mut ours, &mut other);
                let _ = other.shutdown(Shutdown::Both); // the pool is gone, perhaps without a word
            });
        }
        let mut child = command.spawn().unwrap();
        std::thread::spawn(move || child.wait());
        Task::ready(Ok(Launched::stream(pool)))
    }

    fn began(&self, _: usize) {
        self.began.store(true, Ordering::Relaxed);
    }

    fn kill(&self, _: usize) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hangs when it runs for the first time.
fn hangs_once(notes: String) {
    note(&notes, 1);
    if std::fs::metadata(&notes).unwrap().len() == 8 {
        forever::<()>();
    }
}

/// Reads `0` bytes before it becomes the worker.
#[derive(Debug)]
struct Reads(usize, Option<Program>);

impl Launcher for Reads {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        self.1 = Some(program.clone());
        Ok(Capabilities::slots(1))
    }

    fn start(&self, _: usize) -> Task<io::Result<Launched>> {
        let program = self.1.as_ref().unwrap();
        // (It reads late, so that its buffer is full meanwhile.)
        let script = format!(r#"sleep 0.1; head -c {} >/dev/null; exec "$@""#, self.0);
        let invitation = program.invitation(WorkerStream::Stdio);
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, "sh"])
            .arg(program.path().unwrap());
        command
            .args(program.arguments())
            .env(invitation.name(), invitation.value());
        Task::ready(Launched::with_input(command, &vec![b'x'; self.0]))
    }
}

/// Reaches its worker by a connection whose buffer has room for `1` bytes, until a relay reads it.
#[derive(Debug)]
struct Narrow(Option<Program>, usize);

impl Launcher for Narrow {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        self.0 = Some(program.clone());
        Ok(Capabilities::slots(1))
    }

    fn start(&self, _: usize) -> Task<io::Result<Launched>> {
        let (mut measured, _reader) = connection();
        let (mut pools, mut relays) = connection();
        let input = fill(&mut pools, fill(&mut measured, usize::MAX) - self.1);
        let (near, far) = UnixStream::pair().unwrap();
        let program = self.0.as_ref().unwrap();
        let invitation = program.invitation(WorkerStream::Stdio);
        let mut command = Command::new(program.path().unwrap());
        command.args(program.arguments());
        command.env(invitation.name(), invitation.value());
        let [stdin, stdout] = [far.try_clone().unwrap(), far].map(OwnedFd::from);
        let mut child = command.stdin(stdin).stdout(stdout).spawn().unwrap();
        drop(command);
        let (mut back, mut answers) = (near.try_clone().unwrap(), relays.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = io::copy(&mut back, &mut answers);
            let _ = answers.shutdown(Shutdown::Both);
        });
        std::thread::spawn(move || {
            // (It reads late, so that the buffer is full meanwhile.)
            std::thread::sleep(Duration::from_millis(100));
            io::copy(&mut (&relays).take(input as u64), &mut io::sink()).unwrap();
            let _ = io::copy(&mut relays, &mut &near);
            let _ = near.shutdown(Shutdown::Both);
            child.wait().unwrap();
        });
        Task::ready(Ok(Launched::stream(pools)))
    }
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Writes as much as the connection takes, but at most so many bytes. Returns how many.
fn fill(to: &mut TcpStream, most: usize) -> usize {
    to.set_nonblocking(true).unwrap();
    let mut all = 0;
    while let Ok(more @ 1..) = to.write(&[b'x'; 4096][..4096.min(most - all)]) {
        all += more;
    }
    to.set_nonblocking(false).unwrap();
    all
}

/// The variables that limit the threads of libraries.
const THREADS: [&str; 5] = [
    "TREFOIL_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
];

/// Never starts a worker.
#[derive(Debug, Default)]
struct Never {
    asked: Arc<Mutex<Vec<Completer<io::Result<Launched>>>>>,
    elastic: bool,
}

impl Launcher for Never {
    fn prepare(&mut self, _: &Program) -> Result<Capabilities, PoolError> {
        let can = Capabilities::slots(2);
        Ok(if self.elastic {
            can.elastic(0, Duration::from_secs(9))
        } else {
            can
        })
    }

    fn start(&self, _: usize) -> Task<io::Result<Launched>> {
        let (completer, task) = Completer::new();
        self.asked.lock().unwrap().push(completer);
        task
    }
}

tests! {
    fn items_run_behind_every_wrapper() {
        for (name, launcher) in wrappers() {
            let mark = mark();
            let procs = marked_pool(launcher, &mark).workers(2).build().unwrap();
            let results = procs.map(0..200, |n: u64| n * n).unwrap();
            assert_eq!(results[199], 199 * 199, "{name}");
            let bytes = vec![7u8; 3_000_000];
            assert_eq!(procs.spawn(bytes.clone(), |b: Vec<u8>| b).join().unwrap(), bytes, "{name}");
            let exit = died(procs.spawn(3, |code: i32| -> () { std::process::exit(code) }).join());
            assert_eq!(exit.code(), Some(3), "{name}: {exit}");
            // (The first process of a namespace ignores its own signals.)
            let mut shot = procs.spawn((), |()| forever::<()>());
            let end = loop {
                match shot.join_timeout(Duration::from_millis(50)) {
                    Err(TaskError::TimedOut(_)) => marked(&mark).into_iter().for_each(kill),
                    end => break end,
                }
            };
            let exit = died(end);
            assert_eq!(exit.signal(), Some(9), "{name}: {exit}");
            // (The other worker was killed, too; the pool may see that only now.)
            let endless = procs.call(|()| forever::<()>()).timeout(Duration::from_millis(50));
            let end = endless.retry(2).spawn(()).join();
            assert!(matches!(end, Err(TaskError::TimedOut(_))), "{name}: {end:?}");
            let more = procs.call(|n: u64| n + 1).retry(2).spawn(4);
            assert_eq!(more.join().unwrap(), 5, "{name}");
            drop(procs);
            until(|| marked(&mark).is_empty());
        }
    }

    fn no_worker_outlives_its_parent() {
        for (number, (name, _)) in wrappers().into_iter().enumerate() {
            let mark = mark();
            let mut parent = Command::new(std::env::current_exe().unwrap());
            parent.env(support::HELPER, "launcher-parent");
            parent.env("NUMBER", number.to_string()).env("WANTED", &mark);
            let mut parent = parent.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
            let out = parent.stdout.take().unwrap();
            let lines = io::BufRead::lines(io::BufReader::new(out)).map_while(Result::ok);
            assert!(lines.into_iter().any(|line| line.ends_with("ready")), "{name}");
            until(|| marked(&mark).len() >= 2); // the second may still be on its way
            parent.kill().unwrap();
            parent.wait().unwrap();
            until(|| marked(&mark).is_empty());
        }
    }

    fn kills_cost_only_what_ran() {
        let each = kills() / 3;
        let blamed = accidents("env", Wrapped::new(["env", "{exe}"]), 20 * each, each);
        assert!(blamed <= each, "{blamed}");
        let blamed = accidents("sh that waits", Wrapped::new(WAITS), 20 * each, each);
        assert!(blamed <= each, "{blamed}");
        // What was under way in a stream that is forwarded may be lost with it.
        accidents("forwarded", Wrapped::new(FORWARDS), 20 * each, each);
        accidents("dialled", Dialled::new(&Arc::default()), 20 * each, each);
        match Command::new("bwrap").arg("--version").output() {
            Ok(_) => {
                let words = ["bwrap", "--ro-bind", "/", "/", "--bind", "/tmp", "/tmp", "{exe}"];
                let blamed = accidents("bwrap", Wrapped::new(words), 20 * each, each);
                assert!(blamed <= each, "{blamed}");
            }
            Err(_) => print!("(without bwrap) "),
        }
    }

    fn a_wrapper_that_goes_on_ahead_leaves_its_worker() {
        let mark = mark();
        let launcher = Wrapped::new(["setsid", "--fork", "{exe}"]);
        let procs = marked_pool(launcher, &mark).workers(2).build().unwrap();
        assert_eq!(procs.map(0..100, |n: u64| n + 1).unwrap()[99], 100);
        let endless = procs.call(|()| forever::<()>()).timeout(Duration::from_millis(20));
        assert!(matches!(endless.spawn(()).join(), Err(TaskError::TimedOut(_))));
        assert_eq!(procs.map(0..100, |n: u64| n + 1).unwrap()[99], 100);
        drop(procs);
        until(|| marked(&mark).is_empty());
    }

    fn what_a_launcher_cannot_do_is_an_error_that_says_so() {
        let env = || ProcessPool::builder().launcher(Wrapped::new(["env", "{exe}"]));
        let output = env().on_output(|_, _| {}).build().unwrap_err().to_string();
        assert!(output.contains("on_output"), "{output}");
        let few = Never { elastic: true, ..Never::default() };
        assert!(ProcessPool::builder().launcher(few).workers(1).build().is_ok());
    }

    fn a_wrapper_that_fails_is_heard() {
        let one = |script: &str| {
            let launcher = Wrapped::new(["sh", "-c", script, "sh", "{exe}"]);
            let procs = ProcessPool::builder().launcher(launcher).workers(1).build().unwrap();
            died(procs.spawn((), |()| ()).join())
        };
        let fails = one("echo there is no sandbox >&2; exit 7");
        assert_eq!(fails.code(), Some(7));
        assert!(fails.stderr_tail().contains("no sandbox"), "{fails}");
        assert!(fails.to_string().contains("no sandbox"), "{fails}");
        let noisy = one(r#"echo Welcome; exec "$@""#);
        assert!(noisy.to_string().contains(r"Welcome\n"), "{noisy}");
        let unread = one(r#"exec "$@" </dev/null"#);
        assert!(unread.to_string().contains("neither a pipe nor a socket"), "{unread}");
    }

    fn a_wrapper_that_fails_in_the_same_way_is_started_a_few_times() {
        for (script, why) in [
            (r#"echo >> "$0"; echo Welcome; exec "$@""#, r"Welcome\n"),
            (r#"echo >> "$0"; exec <&- >&-; exec sleep 1000"#, "closed its connection"),
        ] {
            let starts = Scratch::new("launcher-fails");
            let launcher = Wrapped::new(["sh", "-c", script, starts.0.to_str().unwrap(), "{exe}"]);
            let procs = ProcessPool::builder().launcher(launcher).workers(2).build().unwrap();
            let exit = died(procs.spawn((), |()| ()).join());
            assert!(exit.to_string().contains(why), "{exit}");
            let count = std::fs::read(&starts.0).unwrap().len();
            assert!(count <= 10, "{count} starts");
        }
    }

    fn a_launcher_of_a_user_gets_the_limits() {
        #[derive(Debug)]
        struct Divides(mpsc::Sender<Vec<(&'static str, usize)>>);
        impl Launcher for Divides {
            fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
                self.0.send(program.thread_limits(8, 3).collect()).unwrap();
                Err(PoolError::Launcher("it has seen enough".to_owned()))
            }
            fn start(&self, _: usize) -> Task<io::Result<Launched>> {
                unreachable!()
            }
        }
        let limits = |change: fn(ProcessPoolBuilder) -> ProcessPoolBuilder| {
            let (sender, limits) = mpsc::channel();
            let pool = change(ProcessPool::builder().launcher(Divides(sender)));
            assert!(pool.build().is_err());
            limits.recv().unwrap()
        };
        assert_eq!(limits(|pool| pool), THREADS.map(|name| (name, 2)));
        assert_eq!(limits(|pool| pool.env("MKL_NUM_THREADS", "1")), THREADS.map(|name| (name, 2))[..4]);
        assert_eq!(limits(|pool| pool.threads_per_worker(Some(5))), []);
        assert_eq!(limits(|pool| pool.threads_per_worker(None)), []);
    }

    fn what_an_item_prints_does_not_get_into_the_stream() {
        let (out, err) = support::run_helper("launcher-out");
        assert!(!out.contains("from an item") && err.contains("from an item"), "{out} {err}");
    }

    fn a_stream_that_is_forwarded_may_lose_what_was_under_way() {
        let (mark, notes) = (mark(), Scratch::new("launcher-forwarded"));
        let procs = marked_pool(Wrapped::new(FORWARDS), &mark).workers(1).build().unwrap();
        assert_eq!(procs.map(0..100, |n: u64| n + 1).unwrap()[99], 100);
        let client = procs.worker_pids()[0];
        let path = notes.text();
        let items = (0..20).map(|id| (id, 1000, path.clone()));
        let ends: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                until(|| !notes.notes().is_empty());
                kill(client);
            });
            procs.map_each(items, work)
        });
        let ran = notes.notes();
        let once: HashSet<&u64> = ran.iter().collect();
        assert_eq!(ran.len(), once.len(), "none runs twice");
        assert!(ends.iter().any(Result::is_err), "{ends:?}");
    }

    fn a_forwarder_that_has_lost_the_answers_is_noticed() {
        let script = r#"cat | "$@" | exec cat -u"#; // nothing ends the first while it waits for input
        let (mark, scratch) = (mark(), Scratch::new("launcher-one-way"));
        let launcher = Wrapped::new(["sh", "-c", script, "sh", "{exe}"]);
        let procs = marked_pool(launcher, &mark).workers(1).build().unwrap();
        let mut task = procs.spawn(scratch.text(), |path: String| {
            note(&path, 1);
            until(|| std::fs::metadata(&path).unwrap().len() > 8);
        });
        until(|| !scratch.notes().is_empty());
        let answers = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == *b"cat\0-u\0");
        kill(marked(&mark).into_iter().find(answers).unwrap());
        note(&scratch.text(), 2); // the item ends, and its worker with it
        let end = task.join_timeout(Duration::from_secs(60));
        assert!(matches!(end, Err(TaskError::WorkerDied(_))), "{end:?}");
    }

    fn what_a_forwarder_loses_runs_only_once() {
        for breaks in [Breaks::Ends, Breaks::EndsHalf] {
            let notes = Scratch::new("launcher-lost");
            let procs = ProcessPool::builder().launcher(Forwarder::new(breaks, &notes)).build().unwrap();
            let end = procs.spawn(notes.text(), hangs_once).join();
            let ran = notes.notes().len();
            assert!(matches!(end, Err(TaskError::WorkerDied(_))) && ran == 1, "{breaks:?}: {end:?}, {ran}");
        }
    }

    fn a_stream_that_breaks_the_protocol_is_killed_until_it_ends() {
        let notes = Scratch::new("launcher-babbles");
        let launcher = Forwarder::new(Breaks::Babbles, &notes);
        let kills = launcher.kills.clone();
        let procs = ProcessPool::builder().launcher(launcher).build().unwrap();
        let mut task = procs.spawn(notes.text(), hangs_once);
        let end = task.join_timeout(Duration::from_secs(20));
        assert!(matches!(end, Err(TaskError::WorkerDied(_))), "{end:?}");
        assert!(kills.load(Ordering::Relaxed) >= 2 && notes.notes().len() == 1);
    }

    fn input_that_fills_the_buffer_is_no_obstacle() {
        let fits = |kib: usize| Launched::with_input(Command::new("true"), &vec![1; kib << 10]).is_ok();
        let most = (64..1 << 16).step_by(16).take_while(|kib| fits(*kib)).last().unwrap();
        for kib in [most - 64, most - 16, most] {
            let procs = ProcessPool::builder().launcher(Reads(kib << 10, None)).build().unwrap();
            assert_eq!(procs.spawn(kib, |n: usize| n).join().unwrap(), kib);
        }
    }

    fn a_welcome_that_is_sent_in_two_parts_arrives() {
        for room in [20, 60, 200] {
            let launcher = Narrow(None, room);
            let procs = ProcessPool::builder().workers(1).launcher(launcher).build().unwrap();
            let mut task = procs.spawn(room, |n: usize| n);
            assert_eq!(task.join_timeout(Duration::from_secs(100)).unwrap(), room);
        }
    }

    fn what_is_launched_and_dropped_ends_with_its_group() {
        let mark = mark();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100; true"]).env(MARK, &mark);
        let one = Launched::command(command).unwrap();
        until(|| marked(&mark).len() == 2);
        drop(one);
        until(|| marked(&mark).is_empty());
    }

    fn a_launcher_of_ones_own_starts_workers() {
        let ends = Arc::default();
        let procs = ProcessPool::builder().launcher(Dialled::new(&ends)).build().unwrap();
        assert_eq!(procs.num_workers(), 3);
        assert_eq!(procs.map(0..1000, |n: u64| n * 2).unwrap()[999], 1998);
        let exit = died(procs.spawn(3, |code: i32| -> () { std::process::exit(code) }).join());
        assert!(exit.to_string().contains("hung up"), "{exit}");
        assert_eq!(procs.map(0..1000, |n: u64| n * 2).unwrap()[999], 1998);
        drop(procs);
        // (The last one may not have called back.)
        assert!(ends.load(Ordering::Relaxed) >= 3);
    }

    fn a_worker_that_is_not_wanted_any_more_is_withdrawn() {
        let launcher = Never::default();
        let asked = launcher.asked.clone();
        let procs = ProcessPool::builder().launcher(launcher).build().unwrap();
        let task = procs.spawn((), |()| ());
        until(|| asked.lock().unwrap().len() == 2);
        drop(procs);
        assert!(asked.lock().unwrap().iter().all(Completer::is_cancelled));
        assert!(task.join().is_err());

        let launcher = Never { elastic: true, ..Never::default() };
        let asked = launcher.asked.clone();
        let procs = ProcessPool::builder().launcher(launcher).build().unwrap();
        assert!(asked.lock().unwrap().is_empty(), "there is no work");
        let task = procs.spawn((), |()| ());
        until(|| asked.lock().unwrap().len() == 1);
        assert!(!asked.lock().unwrap()[0].is_cancelled());
        assert!(task.cancel());
        until(|| asked.lock().unwrap()[0].is_cancelled());
    }

    fn a_start_that_fails_is_told_and_repeated() {
        #[derive(Debug, Default)]
        struct Fails(AtomicUsize);
        impl Launcher for Fails {
            fn prepare(&mut self, _: &Program) -> Result<Capabilities, PoolError> {
                Ok(Capabilities::slots(1).elastic(0, Duration::from_secs(9)))
            }
            fn start(&self, _: usize) -> Task<io::Result<Launched>> {
                match self.0.fetch_add(1, Ordering::Relaxed) {
                    0 => panic!("in the launcher"),
                    1 => Completer::new().1, // which is closed
                    _ => Task::ready(Err(io::Error::other("no room at the inn"))),
                }
            }
        }
        let procs = ProcessPool::builder().launcher(Fails::default()).build().unwrap();
        let exit = died(procs.spawn((), |()| ()).join());
        assert!(exit.to_string().contains("no room at the inn"), "{exit}");
    }
}
