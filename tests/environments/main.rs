//! A small program with all three executors in hostile environments (*places*): calls that the
//! system refuses, limits, missing files, other rights, blocked signals. In each, every executor
//! works or fails with a message that says what is missing; none panics, hangs or spins.
//!
//! Each place is a separate process ([`place`]). Places that this machine does not allow are
//! skipped, with a message.
//!
//! A program of its own, like `process.rs`: see there.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod place;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libc::{EAGAIN, ENOSYS, EPERM, c_long};
use rustix::fs::MemfdFlags;
use rustix::io::dup;
use rustix::process::{Resource, Signal};
use serde::{Deserialize, Deserializer, Serialize};
use support::refuse::only;
use support::{Test, forever, pool, signal, tests, until};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{EventLoop, Process, ProcessPool, TaskError, ThreadPool, spawn};

/// What happens to a worker before it reaches `init`.
const STUCK: &str = "TREFOIL_TEST_STUCK";
/// Which place a helper makes for itself.
const PLACE: &str = "TREFOIL_TEST_PLACE";

/// No test here takes so long, even with a tenth of a processor.
const LONG: Duration = Duration::from_secs(100);

fn main() {
    match std::env::var(STUCK).as_deref() {
        Ok("sleeps") => forever(),
        Ok("computes") => loop {
            std::hint::spin_loop();
        },
        _ => {}
    }
    trefoil::init();
    support::helper(&[
        ("everything", everything),
        ("unheard", unheard),
        ("held_up", held_up),
        ("deaths", deaths),
        ("stuck", stuck),
        ("orphans", orphans),
        ("names", names),
    ]);
    support::main(&[TESTS]);
}

// The small program.

/// Uses all three executors, one after the other, and prints how each does.
fn everything() {
    settle_down();
    for (name, run) in [
        ("threads", threads as fn() -> Result<(), String>),
        ("loop", event_loop),
        ("processes", processes),
    ] {
        match run() {
            Ok(()) => println!("{name}: fine"),
            Err(error) => println!("{name}: {error}"),
        }
    }
}

fn words(error: impl Display) -> String {
    error.to_string()
}

fn threads() -> Result<(), String> {
    let pool = ThreadPool::builder().threads(2).build().map_err(words)?;
    let squares: u64 = pool.map(0..1000u64, |n| n * n).into_iter().sum();
    check(squares == 332_833_500, "the sum is wrong")?;
    idles(std::thread::sleep)
}

fn event_loop() -> Result<(), String> {
    let events = EventLoop::new().map_err(words)?;
    let talk = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = spawn(async move {
            let (stream, _) = listener.accept().await?;
            stream.write_all(b"hello").await
        });
        let mut text = String::new();
        let stream = TcpStream::connect(address).await?;
        stream.read_to_string(&mut text).await?;
        server.await??;
        Ok::<_, io::Error>(text)
    };
    let text = events.block_on(talk).map_err(words)?;
    check(text == "hello", "something else was heard")?;
    idles(|pause| events.block_on(trefoil::time::sleep(pause)))
}

fn processes() -> Result<(), String> {
    works(&ProcessPool::builder().workers(2).build().map_err(words)?)?;
    let own = Process::spawn(20u64, |n| n + 1).map_err(words)?;
    check(
        own.join().map_err(words)? == 21,
        "a process answers wrongly",
    )?;
    let endless = Process::spawn((), |()| forever::<()>()).map_err(words)?;
    endless.kill();
    died(endless.join())
}

/// Uses a pool: results, a crash, an item that takes too long, and then results again.
fn works(procs: &ProcessPool) -> Result<(), String> {
    let increments = procs.map(0..1000u64, |n| n + 1).map_err(words)?;
    check(increments.into_iter().eq(1..1001), "the answers are wrong")?;
    died(procs.spawn((), |()| -> () { std::process::abort() }).join())?;
    let late = procs.call(|()| forever::<()>());
    let late = late.timeout(Duration::from_millis(20)).spawn(()).join();
    check(
        matches!(late, Err(TaskError::TimedOut(_))),
        "it is not late",
    )?;
    let (one, two) = (procs.spawn(1, |n: u8| n), procs.spawn(2, |n: u8| n));
    check(one.join().map_err(words)? == 1, "one is not one")?;
    check(two.join().map_err(words)? == 2, "two is not two")?;
    idles(std::thread::sleep)
}

fn died<T>(result: Result<T, TaskError>) -> Result<(), String> {
    match result {
        Err(TaskError::WorkerDied(_)) => Ok(()),
        Err(other) => Err(words(other)),
        Ok(_) => Err("it lives".to_owned()),
    }
}

fn check(good: bool, otherwise: &str) -> Result<(), String> {
    good.then_some(()).ok_or_else(|| otherwise.to_owned())
}

/// Checks that waiting uses no processor time.
fn idles(wait: impl FnOnce(Duration)) -> Result<(), String> {
    let (before, pause) = (place::used(), Duration::from_millis(150));
    wait(pause);
    let used = place::used() - before;
    check(
        used < 75_000,
        &format!("{used} µs of work while nothing happens"),
    )
}

// Places.

/// Makes the place that the environment names, or prints why that is not possible, and ends.
fn settle_down() {
    let place = std::env::var(PLACE).unwrap_or_default();
    let (kind, rest) = place.split_once(' ').unwrap_or((&place, ""));
    let made = match kind {
        "" => Ok(()),
        "refuse" => {
            let mut numbers = rest
                .split(' ')
                .map(|number| number.parse::<c_long>().unwrap());
            let errno = numbers.next().unwrap() as i32;
            support::refuse::refuse(&numbers.collect::<Vec<_>>(), errno)
        }
        "processes" => place::nobody().and_then(|()| place::limit(Resource::Nproc, 0)),
        "files" => place::files(rest.parse().unwrap()),
        "memory" => place::limit(Resource::As, 64 << 20),
        "locked" => place::limit(Resource::Memlock, 0),
        "size" => place::limit(Resource::Fsize, 4096),
        "hide" if rest == "dev" => place::hide(c"/dev"),
        "hide" => place::hide(c"/proc"),
        "read-only" => place::read_only(),
        "nobody" => place::nobody(),
        "deaf" => place::deaf(),
        "apart" => place::apart(),
        "discards" => place::discards(),
        other => panic!("there is no place called {other}"),
    };
    if let Err(error) = made {
        println!("skipped: {error}");
        std::process::exit(0);
    }
}

/// The output of a helper.
struct Said {
    out: String,
    err: String,
}

/// Runs the helper `name` in `place` to its end. An error says what was wrong.
fn visit(name: &str, place: &str) -> Result<Said, String> {
    let (mut out, mut err) = (sheet(), sheet());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(support::HELPER, name)
        .env(PLACE, place)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(dup(&out).unwrap())
        .stderr(dup(&err).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begin.elapsed() > LONG => break None,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let [out, err] = [&mut out, &mut err].map(|file| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let spins = out.contains("of work while nothing happens");
    let ends = status.is_some_and(|status| status.success());
    if ends && !spins && !err.contains("panicked") {
        return Ok(Said { out, err });
    }
    let end = status.map_or("it hangs".to_owned(), |status| status.to_string());
    Err(format!("{name} in `{place}`: {end}\n{out}{err}"))
}

/// A file without a name. Its contents can be read when the writer has ended, even if other
/// processes have it open.
fn sheet() -> File {
    rustix::fs::memfd_create("said", MemfdFlags::CLOEXEC)
        .unwrap()
        .into()
}

/// Which executors fail in a place, and the words of each error.
type Faults = &'static [(&'static str, &'static str)];

/// Checks that each executor of the small program in `place` works, or fails with one of the words
/// listed for it.
fn judge(place: &str, faults: Faults) -> Result<(), String> {
    let said = visit("everything", place)?;
    if let Some(reason) = said.out.strip_prefix("skipped: ") {
        println!("(`{place}` cannot be made here: {})", reason.trim());
        return Ok(());
    }
    for name in ["threads", "loop", "processes"] {
        let line = said.out.lines().find_map(|line| line.strip_prefix(name));
        let wanted = faults.iter().find(|(who, _)| *who == name);
        let wanted = wanted.map_or(": fine", |(_, words)| words);
        let says = line.is_some_and(|line| line.contains(wanted));
        let Said { out, err } = &said;
        check(
            says,
            &format!("`{place}`: {name} should say {wanted:?}\n{out}{err}"),
        )?;
    }
    Ok(())
}

/// All of `places`, a few at a time.
fn judge_all(places: Vec<(String, Faults)>) {
    let places = Mutex::new(places.into_iter());
    let wrong = Mutex::new(Vec::new());
    let next = || places.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((place, faults)) = next() {
                    let result = judge(&place, faults);
                    wrong.lock().unwrap().extend(result.err());
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// Workers that cannot be signalled.

/// A pool whose workers can no longer be signalled: one is late, one is stopped then, and one has
/// become another program.
fn unheard() {
    let procs = pool(2);
    works(&procs).unwrap();
    settle_down();
    for stops in [false, true] {
        let late = procs.call(|stops: bool| {
            if stops {
                place::stop();
            }
            forever::<()>();
        });
        let late = late.timeout(Duration::from_millis(20)).spawn(stops).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
    }
    println!("late");
    let other = procs.spawn((), |()| place::become_another());
    assert!(matches!(other.join(), Err(TaskError::WorkerDied(_))));
    // All workers have been replaced.
    let both = [1, 2].map(|n: u8| procs.spawn(n, |n| n));
    assert!(both.into_iter().map(|task| task.join().unwrap()).eq([1, 2]));
    println!("next");
    let task = procs.spawn((), |()| forever::<()>());
    task.cancel();
    drop(procs);
    println!("dropped");
}

/// How workers die that exit, lack memory, and are killed by their pool.
fn deaths() {
    settle_down();
    let procs = ProcessPool::builder().workers(1).memory_limit(64 << 20);
    let procs = procs.build().unwrap();
    let most = |n: u8| match n {
        0 => std::process::exit(3),
        1 => vec![n; 1 << 30].len(),
        _ => forever(),
    };
    let call = procs.call(most).timeout(Duration::from_millis(300));
    for n in [0, 1] {
        let Err(TaskError::WorkerDied(exit)) = call.spawn(n).join() else {
            panic!("it has died")
        };
        println!("{} {} {exit}", exit.attempts(), exit.out_of_memory());
    }
    let late = call.spawn(2).join();
    println!("{}", matches!(late, Err(TaskError::TimedOut(_))));
    works(&procs).unwrap();
}

/// A pool that gets no more threads while the only thread that decodes is blocked.
fn held_up() {
    let procs = pool(1);
    let read = |n: u8| Held { waits: n == 0 };
    let first = procs.spawn(0, read);
    until(|| HELD.load(Ordering::SeqCst));
    settle_down();
    let next = procs.spawn(1, read);
    // The result arrives meanwhile: nothing shows that before it is decoded.
    std::thread::sleep(Duration::from_millis(20));
    let idle = idles(std::thread::sleep);
    HELD.store(false, Ordering::SeqCst);
    first.join().unwrap();
    next.join().unwrap();
    println!("{}", idle.err().unwrap_or_default());
}

static HELD: AtomicBool = AtomicBool::new(false);

/// A value that may block when it is decoded.
#[derive(Serialize)]
struct Held {
    waits: bool,
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let waits = bool::deserialize(deserializer)?;
        HELD.fetch_or(waits, Ordering::SeqCst);
        while waits && HELD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { waits })
    }
}

/// A pool whose workers never reach `init`: that is soon an error, and no more workers are started
/// then.
fn stuck() {
    let how = std::env::var(PLACE).unwrap();
    let procs = ProcessPool::builder()
        .workers(2)
        .env(STUCK, how)
        .build()
        .unwrap();
    let begin = Instant::now();
    let Err(TaskError::WorkerDied(exit)) = procs.spawn(1, |n: u8| n).join() else {
        panic!("who is stuck answers")
    };
    println!("after {:?}: {exit}", begin.elapsed());
    let started = procs.stats().started;
    // Longer than any pause before another start: at most 50 ms after a kill, and 256 ms after the
    // fifth death (`pause` in `process/sched/back_off.rs`).
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        procs.stats().started,
        started,
        "nobody waits for another worker"
    );
    // Four if there are processors for all of them.
    assert!(started <= 8, "{started} workers were started");
}

/// Has workers that never reach `init`, prints their process ids, and waits for its end.
fn orphans() {
    let procs = ProcessPool::builder()
        .workers(2)
        .env(STUCK, "sleeps")
        .build()
        .unwrap();
    println!("{:?}", procs.worker_pids());
    forever::<()>();
}

/// A worker's name, and the signals that it blocks.
fn names() {
    settle_down();
    let procs = pool(1);
    let look = |()| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches(':').trim().to_owned()
        };
        (
            field("Name"),
            field("SigBlk"),
            std::env::args().next().unwrap(),
        )
    };
    let (name, blocked, first) = procs.spawn((), look).join().unwrap();
    println!("{name} {blocked} {first}");
}

/// Which executors fail if a system call is refused, and what they say.
const CALLS: &[(&[c_long], Faults)] = &[
    // Calls that can be replaced, or are not needed.
    (&[libc::SYS_ppoll], &[]),
    (&[libc::SYS_prctl], &[]),
    (&[libc::SYS_getppid], &[]),
    (&[libc::SYS_getppid, libc::SYS_prctl], &[]),
    (&[libc::SYS_prlimit64], &[]),
    (&[libc::SYS_epoll_pwait2], &[]),
    (&[libc::SYS_membarrier], &[]),
    (&[libc::SYS_sched_getaffinity], &[]),
    (&[libc::SYS_setsockopt], &[("loop", "")]),
    (&[libc::SYS_rt_sigprocmask], &[]),
    (&[libc::SYS_getdents64], &[]),
    (&[libc::SYS_madvise, libc::SYS_mremap], &[]),
    (&[libc::SYS_kill, libc::SYS_tgkill], &[]),
    (&[libc::SYS_setsid], &[]),
    (&[libc::SYS_pidfd_send_signal], &[]),
    (&[libc::SYS_pidfd_send_signal, libc::SYS_kill], &[]),
    (
        &[
            libc::SYS_pidfd_send_signal,
            libc::SYS_kill,
            only(libc::SYS_fcntl, libc::F_SETOWN),
        ],
        &[],
    ),
    // Calls without a replacement.
    (&[libc::SYS_memfd_create], &[("processes", "memfd_create")]),
    (&[libc::SYS_pidfd_open], &[("processes", "pidfd_open")]),
    (&[libc::SYS_socketpair], &[("processes", "socketpair")]),
    (&[libc::SYS_ftruncate], &[("processes", "ftruncate")]),
    (
        &[libc::SYS_sendto],
        &[("loop", ""), ("processes", "sendto")],
    ),
    (&[libc::SYS_sendmsg], &[("processes", "sendmsg")]),
    (&[libc::SYS_recvmsg], &[("processes", "recvmsg")]),
    (&[libc::SYS_setpgid], &[("processes", "setpgid")]),
    (&[libc::SYS_epoll_create1], &[("loop", "epoll_create1")]),
    (&[libc::SYS_epoll_ctl], &[("loop", "epoll_ctl")]),
    (
        &[libc::SYS_eventfd2],
        &[("loop", "eventfd"), ("processes", "eventfd")],
    ),
    (
        &[
            libc::SYS_epoll_pwait2,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_wait,
            libc::SYS_epoll_pwait,
        ],
        &[("loop", "epoll_")],
    ),
];

/// What the C library says of a thread where the kernel says "Invalid argument".
const APART: &str = if cfg!(target_env = "musl") {
    "(os error 11)"
} else {
    "(os error 22)"
};

/// Places with low limits, or where something is missing.
const LITTLE: &[(&str, Faults)] = &[
    ("", &[]),
    (
        "processes",
        &[
            ("threads", "temporarily unavailable"),
            (
                "processes",
                "pthread_create: Resource temporarily unavailable",
            ),
        ],
    ),
    (
        "files 6",
        &[
            ("loop", "(os error 24)"),
            ("processes", "2: Too many open files"),
        ],
    ),
    (
        "memory",
        &[("threads", ""), ("loop", ""), ("processes", "")],
    ),
    ("locked", &[]),
    ("size", &[("processes", "ftruncate: File too large")]),
    ("hide proc", &[("processes", "/proc")]),
    ("hide dev", &[]),
    ("read-only", &[]),
    ("nobody", &[]),
    ("deaf", &[]),
    // A worker cannot have a parent that it does not see.
    ("apart", &[("threads", APART), ("processes", APART)]),
];

tests! {
    /// The variables of a feature that the program is built without are not passed over in silence.
    #[cfg(not(feature = "inspect"))]
    fn what_nobody_keeps_track_of_is_said_once() {
        let output = Command::new(std::env::current_exe().unwrap())
            .env(support::HELPER, "everything")
            .env("TREFOIL_TASKS", "1")
            .env("TREFOIL_STUCK", "0")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("TREFOIL_TASKS is ignored: ").count(), 1, "{said}");
        assert!(said.contains("feature `inspect`") && !said.contains("TREFOIL_STUCK"), "{said}");
    }

    fn wherever_it_is_it_works_or_says_why() {
        let refused = CALLS.iter().flat_map(|(calls, faults)| {
            [EPERM, ENOSYS].map(|errno| {
                let numbers: Vec<String> = calls.iter().map(ToString::to_string).collect();
                (format!("refuse {errno} {}", numbers.join(" ")), *faults)
            })
        });
        let little = LITTLE.iter().map(|(place, faults)| ((*place).to_owned(), *faults));
        std::thread::scope(|scope| {
            // That takes ten seconds, so only the full run does it.
            let full = std::env::var_os("TREFOIL_FULL").is_some();
            // A process that hardly gets a processor has not computed for so long.
            let kinds = [("sleeps", ["waits for something"; 2]), ("computes", ["has computed", "takes too long"])];
            let stuck = kinds.map(|(how, words)| {
                full.then(|| scope.spawn(move || (visit("stuck", how).unwrap().out, words)))
            });
            judge_all(refused.chain(little).collect());
            for stuck in stuck.into_iter().flatten() {
                let (said, words) = stuck.join().unwrap();
                assert!(said.contains("init") && words.iter().any(|words| said.contains(words)), "{said}");
            }
        });
    }

    fn workers_that_may_not_be_signalled_end_all_the_same() {
        let calls = [libc::SYS_pidfd_send_signal, libc::SYS_kill].map(|call| call.to_string());
        let refused = format!("refuse {EPERM} {}", calls.join(" "));
        let end = |place: &str| {
            let said = visit("unheard", place).unwrap();
            match said.out.strip_prefix("skipped: ") {
                Some(reason) => println!("(`{place}` cannot be made here: {})", reason.trim()),
                None => assert!(said.out.ends_with("late\nnext\ndropped\n"), "{}\n{}", said.out, said.err),
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| end("nobody"));
            end(&refused);
        });
    }

    fn a_death_whose_status_is_lost_is_explained() {
        let said = visit("deaths", "discards").unwrap().out;
        let lines: Vec<&str> = said.lines().collect();
        let [exits, lacks, late] = lines[..] else { panic!("{said}") };
        let explains = |line: &str| line.contains("was lost") && line.contains("SIGCHLD is ignored");
        assert!(exits.starts_with("1 false") && explains(exits), "{exits}");
        assert!(lacks.starts_with("1 true") && explains(lacks), "{lacks}");
        assert_eq!(late, "true");
    }

    fn a_pool_that_gets_no_more_threads_asks_seldom() {
        let place = format!("refuse {EAGAIN} {} {}", libc::SYS_clone, libc::SYS_clone3);
        assert_eq!(visit("held_up", &place).unwrap().out, "\n");
    }

    fn a_worker_that_hangs_before_init_is_no_orphan() {
        let mut parent = support::start_helper("orphans");
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(parent.stdout.as_mut().unwrap()), &mut line).unwrap();
        let pids: Vec<u32> = line.trim().trim_matches(['[', ']']).split(", ").map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2);
        let lives = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
        };
        assert!(pids.iter().all(lives));
        signal(parent.id(), Signal::KILL);
        parent.wait().unwrap();
        let begin = Instant::now();
        until(|| !pids.iter().any(lives) || begin.elapsed() > LONG / 10);
        let left: Vec<u32> = pids.into_iter().filter(lives).collect();
        left.iter().for_each(|pid| signal(*pid, Signal::KILL));
        assert!(left.is_empty(), "{left:?} live on");
    }

    fn a_worker_hears_all_signals_and_has_its_programs_name() {
        let own = std::env::current_exe().unwrap();
        let own = own.to_str().unwrap();
        let short = own.rsplit('/').next().unwrap();
        let short = &short[..short.len().min(15)];
        assert_eq!(visit("names", "deaf").unwrap().out, format!("{short} 0000000000000000 {own}\n"));
    }
}
