//! The socket for `trefoil-top`: what it answers, to whom, and what it endures.
#![cfg(unix)]
#![allow(clippy::disallowed_methods)] // a program, not the crate

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trefoil::{Completer, ProcessPool, TaskError, ThreadPool};
use trefoil_dashboard::{Socket, listen, serve};

/// How long a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

/// A process has one socket, so these tests come one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One side of a connection, after the greeting.
struct Client {
    stream: BufReader<UnixStream>,
}

fn connect(socket: &Socket) -> UnixStream {
    let stream = UnixStream::connect(socket.path()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

impl Client {
    fn of(socket: &Socket) -> Self {
        let mut client = Self {
            stream: BufReader::new(connect(socket)),
        };
        let greeting = client.line();
        assert_eq!(greeting["trefoil_top"], 1, "{greeting}");
        assert_eq!(greeting["pid"], std::process::id());
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(format!("{request}\n").as_bytes());
        self.line()
    }

    fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn snapshots_notes_and_tasks_are_answered() {
    let _alone = alone();
    let top = listen().unwrap();
    let pool = ThreadPool::with_threads(2);
    let _watched = top.watch_threads(&pool, "parsers");
    let (_completer, promise) = Completer::<()>::new();
    let promise = promise.named("answer\u{1b}[2J");
    let mut client = Client::of(&top);
    let answer = client.ask(&json!({"ask": "snapshot"}));
    assert_eq!(answer["snapshot"]["executors"][0]["name"], "parsers");
    let seen = &answer["notes"]["seen"];
    let again = client.ask(&json!({"ask": "snapshot", "seen": seen}));
    assert!(again["notes"].is_null() && again["snapshot"].is_object());

    let page = json!({"ask": "tasks", "by": "tree", "filter": "answer"});
    let page = client.ask(&page);
    assert_eq!(page["tasks"][0]["id"], promise.id().get());
    let groups = client.ask(&json!({"ask": "tasks", "by": "name", "filter": "answer"}));
    assert_eq!(groups["groups"][0]["tasks"], 1);
    let tree = client.ask(&json!({"ask": "tree"}));
    let tasks = tree["tree"]["tasks"].as_array().unwrap();
    let named = |task: &&Value| task["name"] == "answer\u{1b}[2J";
    assert_eq!(tasks.iter().find(named).unwrap()["id"], promise.id().get());
    let text = client.ask(&json!({"ask": "text"}));
    assert!(text["text"].as_str().unwrap().contains("`answer"));
    promise.cancel();
}

#[test]
fn a_task_is_cancelled() {
    let _alone = alone();
    let top = listen().unwrap();
    let mut client = Client::of(&top);
    let (_completer, promise) = Completer::<()>::new();
    let id = promise.id().get();
    let cancel = json!({"ask": "cancel", "task": id});
    assert_eq!(client.ask(&cancel), json!({"cancelled": true}));
    assert!(matches!(promise.join(), Err(TaskError::Cancelled)));
    assert_eq!(client.ask(&cancel), json!({"cancelled": null}));
    assert_eq!(
        client.ask(&json!({"ask": "cancel", "task": 0})),
        json!({"cancelled": null})
    );
}

/// Destructors of the program may take as long as they like: others are answered meanwhile.
#[test]
fn a_slow_destructor_holds_up_nobody_else() {
    struct Slow(std::sync::mpsc::Receiver<()>);
    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv(); // until the test says so
        }
    }
    let _alone = alone();
    let top = listen().unwrap();
    let (go_on, wait) = std::sync::mpsc::channel();
    let pool = ThreadPool::with_threads(1);
    let (begin, begins) = std::sync::mpsc::channel::<()>();
    let busy = pool.spawn(move || begins.recv().unwrap());
    let slow = Slow(wait);
    let task = pool.spawn(move || drop(slow));
    let (mut first, mut second) = (Client::of(&top), Client::of(&top));
    let request = json!({"ask": "cancel", "task": task.id().get()});
    first.send(format!("{request}\n").as_bytes());
    assert!(second.ask(&json!({"ask": "snapshot"}))["snapshot"].is_object());
    let answer = first.line();
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("not been dropped yet"),
        "{answer}"
    );
    go_on.send(()).unwrap();
    begin.send(()).unwrap();
    busy.join().unwrap();
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
}

#[test]
fn a_worker_is_replaced() {
    let _alone = alone();
    let top = listen().unwrap();
    let procs = ProcessPool::with_workers(1).unwrap();
    procs.spawn((), |()| ()).join().unwrap();
    let pid = procs.worker_pids()[0];
    let mut client = Client::of(&top);
    let replace = json!({"ask": "replace", "pid": pid});
    assert_eq!(
        client.ask(&replace),
        json!({"replaced": false}),
        "it is not watched"
    );
    let _watched = top.watch_processes(&procs, "squares");
    assert_eq!(client.ask(&replace), json!({"replaced": true}));
    let end = Instant::now() + LIMIT;
    while procs.worker_pids().iter().all(|other| *other == pid) {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert_eq!(procs.spawn(6, |n: u32| n * 7).join().unwrap(), 42);
    for stranger in [0, 1, std::process::id(), u32::MAX] {
        let replace = json!({"ask": "replace", "pid": stranger});
        assert_eq!(client.ask(&replace), json!({"replaced": false}));
    }
}

#[test]
fn garbage_is_refused_and_the_next_request_is_answered() {
    let _alone = alone();
    let top = listen().unwrap();
    let mut client = Client::of(&top);
    for garbage in [
        &b"\n"[..],
        b"\0\xff\xfe\n",
        b"GET / HTTP/1.1\r\n",
        b"{\"ask\":\"snapshot\"\n",
        b"{\"ask\":\"shutdown\"}\n",
        b"{\"ask\":\"cancel\"}\n",
        b"{\"ask\":\"cancel\",\"task\":-1}\n",
        b"{\"ask\":\"replace\",\"pid\":99999999999}\n",
        b"[[[[[[[[[[[[[[[[\n",
    ] {
        client.send(garbage);
        let answer = client.line();
        assert!(answer["error"].is_string(), "{answer}");
    }
    let deep = "[".repeat(10_000) + "\n";
    client.send(deep.as_bytes());
    assert!(client.line()["error"].is_string());
    assert!(client.ask(&json!({"ask": "snapshot"}))["snapshot"].is_object());
    // Several at once, and one in pieces.
    client.send(b"{\"ask\":\"tree\"}\n{\"ask\":\"text\"}\n{\"ask\":");
    assert!(client.line()["tree"].is_object());
    assert!(client.line()["text"].is_string());
    client.send(b"\"snapshot\"}\n");
    assert!(client.line()["snapshot"].is_object());
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    let _alone = alone();
    let top = listen().unwrap();
    let mut client = Client::of(&top);
    client.send(&vec![b'x'; 17 << 10]);
    assert!(client.line()["error"].as_str().unwrap().contains("16 KiB"));
    assert!(client.ends());
    // So is one that ends only then.
    let mut client = Client::of(&top);
    client.send(&[vec![b'x'; 17 << 10], vec![b'\n']].concat());
    assert!(client.line()["error"].as_str().unwrap().contains("16 KiB"));
    assert!(client.ends());
    // Who sends on is not read: it is told by the end of the stream, sooner or later.
    let mut flood = connect(&top);
    let piece = vec![b'x'; 1 << 20];
    let sent = (0..100).take_while(|_| flood.write_all(&piece).is_ok());
    assert!(sent.count() < 100, "it was all read");
}

/// Half a request is waited for some seconds, and not for ever.
#[test]
fn half_a_line_is_not_waited_for_for_ever() {
    let _alone = alone();
    let top = listen().unwrap();
    let mut client = Client::of(&top);
    let begin = Instant::now();
    client.send(b"{\"ask\":");
    assert!(client.ends());
    assert!(begin.elapsed() >= Duration::from_secs(4));
}

/// A client that asks and does not read gets no more than its socket has room for.
#[test]
fn who_does_not_read_keeps_nobody_and_nothing() {
    let _alone = alone();
    let top = listen().unwrap();
    let promises: Vec<_> = (0..5_000).map(|_| Completer::<()>::new()).collect();
    let mut deaf = Client::of(&top);
    deaf.send("{\"ask\":\"tree\"}\n".repeat(500).as_bytes());
    let before = memory();
    let mut client = Client::of(&top);
    for _ in 0..20 {
        assert!(client.ask(&json!({"ask": "snapshot"}))["snapshot"].is_object());
    }
    // (A tree of 5,000 tasks is some 800 kB: one answer may wait, not five hundred.)
    assert!(memory() < before + (40 << 20), "{before}, {}", memory());
    for (_completer, promise) in promises {
        promise.cancel();
    }
}

/// The resident memory of this process, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.unwrap_or(0_u64) << 10
}

#[test]
fn a_hundred_clients_are_too_many_and_leave_room_again() {
    let _alone = alone();
    let top = listen().unwrap();
    let mut served = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        let mut client = Client {
            stream: BufReader::new(connect(&top)),
        };
        let first = client.line();
        match first["error"].as_str() {
            Some(why) => {
                assert!(why.contains("too many"), "{why}");
                assert!(client.ends());
                refused += 1;
            }
            None => served.push(client),
        }
    }
    assert_eq!((served.len(), refused), (16, 84));
    for client in &mut served {
        assert!(client.ask(&json!({"ask": "snapshot"}))["snapshot"].is_object());
    }
    drop(served);
    let end = Instant::now() + LIMIT;
    loop {
        let mut client = Client {
            stream: BufReader::new(connect(&top)),
        };
        if client.line()["error"].is_null() {
            break;
        }
        assert!(Instant::now() < end, "there is no room again");
    }
}

/// Clients come and go while the socket is closed: nothing hangs, and the file is gone.
#[test]
fn it_closes_while_clients_ask() {
    let _alone = alone();
    for _ in 0..20 {
        let top = listen().unwrap();
        let path = top.path().to_owned();
        let mut clients: Vec<Client> = (0..4).map(|_| Client::of(&top)).collect();
        for client in &mut clients {
            client.send(b"{\"ask\":\"tree\"}\n{\"ask\":\"snapshot\"}\n");
        }
        top.close();
        assert!(!path.exists());
        assert!(clients.into_iter().all(Client::ends));
    }
}

#[test]
fn a_process_listens_once_and_again() {
    let _alone = alone();
    let dashboard = serve("127.0.0.1:0").unwrap();
    let top = dashboard.listen().unwrap();
    assert_eq!(listen().unwrap_err().kind(), ErrorKind::AddrInUse);
    // Both show the same.
    let pool = ThreadPool::with_threads(1);
    let _watched = dashboard.watch_threads(&pool, "on both");
    drop(dashboard);
    let snapshot = Client::of(&top).ask(&json!({"ask": "snapshot"}));
    assert_eq!(snapshot["snapshot"]["executors"][0]["name"], "on both");
    let path = top.path().to_owned();
    drop(top);
    assert!(!path.exists());
    drop(listen().unwrap());
}

/// A file that is not ours, in the place of our socket, is left alone.
#[test]
fn what_has_taken_its_place_stays() {
    let _alone = alone();
    let top = listen().unwrap();
    let path = top.path().to_owned();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    drop(top);
    assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    fs::remove_file(&path).unwrap();
}

#[test]
fn nobody_else_can_enter_the_folder() {
    let _alone = alone();
    let top = listen().unwrap();
    let folder = top.path().parent().unwrap();
    let mode = fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// Another user is refused, even if it can reach the socket. (Only root can try that.)
#[test]
fn another_user_is_refused() {
    let _alone = alone();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can act as another user");
        return;
    }
    let top = listen().unwrap();
    // A folder that everybody can enter, with a second name of the socket.
    let folder = PathBuf::from(format!("/tmp/trefoil-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let open = folder.join("socket");
    let program = std::env::current_exe().unwrap();
    let mut answer = String::new();
    if fs::hard_link(top.path(), &open).is_ok() {
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let copy = folder.join("program");
        fs::copy(program, &copy).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy)
            .args(["--exact", "stranger", "--ignored", "--nocapture"])
            .env("TREFOIL_TEST_SOCKET", &open)
            .output();
        match output {
            Ok(output) => answer = String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) => println!("skipped: there is no setpriv"),
        }
    } else {
        println!("skipped: the socket cannot have a second name in /tmp");
    }
    fs::remove_dir_all(&folder).unwrap();
    if !answer.is_empty() {
        assert!(answer.contains("belongs to another user"), "{answer}");
        assert!(!answer.contains("trefoil_top"), "{answer}");
    }
}

/// What another user's process hears.
#[test]
#[ignore = "run by another_user_is_refused"]
fn stranger() {
    let path = std::env::var_os("TREFOIL_TEST_SOCKET").unwrap();
    let mut stream = UnixStream::connect(path).unwrap();
    let _ = stream.write_all(b"{\"ask\":\"snapshot\"}\n"); // it may be closed
    let mut heard = String::new();
    let _ = stream.read_to_string(&mut heard);
    println!("heard: {heard}");
}
