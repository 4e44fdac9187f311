//! trefoil in a process that belongs to somebody else: an extension of Python, with a live pool,
//! where the interpreter forks, is interrupted, and unloads it (docs/SIDE_EFFECTS.md).
//!
//! It needs CPython 3.9 or newer, without headers, and says so where there is none.
#![cfg(unix)]
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Runs a script that imports the extension as `t`. `None`: there is no Python for that.
fn run(name: &str, script: &str) -> Option<String> {
    let python = std::env::var("TREFOIL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let version = "import sys; sys.exit(not (sys.implementation.name == 'cpython' and sys.version_info >= (3, 9)))";
    let found = Command::new(&python)
        .args(["-c", version])
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: {name} needs CPython 3.9 or newer, as python3");
        return None;
    }
    let own = std::env::current_exe().unwrap();
    let library = own.with_file_name("libtrefoil_extension.so");
    let dir = std::env::temp_dir().join(format!("trefoil-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let module = dir.join("trefoil_extension.abi3.so");
    std::fs::copy(&library, &module).unwrap();
    let head = "import os, select, signal, sys, threading, time\nimport trefoil_extension as t\nSUM = sum(x * x for x in range(1000))\n";
    let mut child = Command::new(&python)
        .args(["-c", &format!("{head}{script}")])
        .env("PYTHONPATH", &dir)
        .env("TREFOIL_THREADS", "3")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut words = String::new();
        let _ = output.read_to_string(&mut words); // to the end of the last process that has it
        let _ = sender.send(words);
    });
    let words = receiver.recv_timeout(Duration::from_secs(120));
    if words.is_err() {
        // With what it has forked.
        let group = format!("-{}", child.id());
        Command::new("kill")
            .args(["-KILL", &group])
            .status()
            .unwrap();
    }
    let status = child.wait().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let words = words.unwrap_or_else(|_| panic!("{name} does not end"));
    assert!(status.success(), "{name}: {status}\n{words}");
    Some(words)
}

#[test]
fn multiprocessing_forks_a_live_pool() {
    run(
        "multiprocessing",
        "
import multiprocessing
def one(n):
    return t.squares(n)
assert one(1000) == SUM
with multiprocessing.get_context('fork').Pool(3) as pool:
    assert pool.map(one, [1000] * 30, chunksize=1) == [SUM] * 30
    assert one(1000) == SUM
assert one(1000) == SUM
",
    );
}

/// As gunicorn with `--preload`: the master has imported the application, whose pool has run, and
/// forks its workers, again when one has died. They end at a signal.
#[test]
fn a_server_loads_the_application_and_forks() {
    run(
        "preload",
        "
assert t.squares(1000) == SUM
def worker():
    requests, answers = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        # (As gunicorn does: Python does not notice a signal that comes just before it reads.)
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        while requests[0] in select.select([requests[0], woken], [], [])[0] and os.read(requests[0], 1):
            os.write(answers[1], b'+' if t.squares(1000) == SUM else b'-')
    return pid, requests[1], answers[0]
def ask(one):
    os.write(one[1], b'?')
    return os.read(one[2], 1)
workers = [worker() for _ in range(3)]
for _ in range(10):
    assert [ask(one) for one in workers] == [b'+'] * 3
os.kill(workers[0][0], signal.SIGKILL)
os.waitpid(workers[0][0], 0)
workers[0] = worker()
assert [ask(one) for one in workers] == [b'+'] * 3
for one in workers:
    os.kill(one[0], signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(one[0], 0)[1]) == 7
assert t.squares(1000) == SUM
",
    );
}

/// The first of some tries that took less than 100 ms: on a busy machine not each of them does.
#[test]
fn ctrl_c_ends_a_map_of_a_minute() {
    let words = run(
        "interrupt",
        "
pressed = 0
def press(before):
    global pressed
    while t.begun() == before:
        time.sleep(0.001)
    pressed = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
for _ in range(30):
    thread = threading.Thread(target=press, args=(t.begun(),))
    thread.start()
    try:
        t.wait(3 * 60 * 100)
        sys.exit('it was not interrupted')
    except KeyboardInterrupt:
        took = time.monotonic() - pressed
    thread.join()
    if took < 0.1:
        break
begun = t.begun()
assert t.wait(6) == 6 and t.begun() == begun + 6
print(took)
",
    );
    if let Some(words) = words {
        let took: f64 = words.trim().parse().unwrap();
        assert!(took < 0.1, "it took {took} s");
    }
}

#[test]
fn it_is_unloaded_while_its_pool_lives() {
    let words = run(
        "unload",
        "
import ctypes, _ctypes, shutil
path = t.__file__ + '.copy'
shutil.copy(t.__file__, path)
def use():
    library = ctypes.CDLL(path)
    library.trefoil_squares.argtypes = [ctypes.c_uint64]
    library.trefoil_squares.restype = ctypes.c_uint64
    assert library.trefoil_squares(1000) == SUM
    _ctypes.dlclose(library._handle)
for _ in range(3):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
use()
mapped = path in open('/proc/self/maps').read() if os.path.exists('/proc/self/maps') else True
print('mapped' if mapped else 'gone')
",
    );
    if cfg!(target_env = "gnu") {
        assert!(words.is_none_or(|words| words == "mapped\n"));
    }
}

#[test]
fn worker_processes_are_refused_with_a_way_out() {
    let words = run("workers", "print('\\n'.join(t.workers()))");
    for line in words.iter().flat_map(|words| words.lines()) {
        for part in [
            "part of a library",
            "`ThreadPool` here",
            "`multiprocessing`",
        ] {
            assert!(line.contains(part), "{line}");
        }
    }
}
