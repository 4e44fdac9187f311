//! What stands in for `placer.py` and for a cluster: it starts each worker as a child of its own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use trefoil_machines::Dask;

/// The variable that makes this program a placer, in one of these ways.
pub(crate) const WAY: &str = "TREFOIL_TEST_PLACER";

/// Nobody reads what the workers write to standard error.
pub(crate) const DEAF: &str = "deaf";
pub(crate) const PLAIN: &str = "plain";

/// A cluster with room for 300 workers, whose placer works in this way.
pub(crate) fn dask(way: &str) -> Dask {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let name = format!("trefoil-placed-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let own = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nrm \"$0\"\nulimit -n 4096\n{WAY}={way} exec {}\n",
        own.display()
    );
    // (By another process: what this one has open to be written, a child of another thread may
    // have open, too, and then it cannot be executed.)
    let mut writes = Command::new("sh");
    writes.args(["-c", "cat > \"$0\""]).arg(&path);
    let mut writes = writes.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = writes.stdin.take();
    stdin.unwrap().write_all(script.as_bytes()).unwrap();
    assert!(writes.wait().unwrap().success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    Dask::connect("tcp://nowhere:1").python(path)
}

/// Follows the orders of a pool, until there are no more.
pub(crate) fn run(way: &str) {
    let (mut hold, mut workers) = (Vec::new(), HashMap::new());
    for line in std::io::stdin().lock().split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        let (order, rest) = line.split_once(' ').unwrap();
        match order {
            "connect" => println!("ready 300 127.0.0.1"),
            "hold" => hold = rest.split(' ').map(word).collect(),
            "place" => drop(workers.insert(rest.to_owned(), place(way, &hold, rest))),
            _ => drop(workers.remove(rest)),
        }
    }
}

/// Starts worker `number`, which ends when this is dropped.
fn place(way: &str, hold: &[(String, OsString)], number: &str) -> ChildStdin {
    let all = |wanted: &'static str| {
        let words = hold.iter().filter(move |(name, _)| name == wanted);
        words.map(|(_, value)| value.clone())
    };
    let one = |wanted| all(wanted).next().unwrap();
    let invitation = one("invitation").into_string().unwrap();
    let (name, value) = invitation.split_once('=').unwrap();
    let mut command = Command::new(one("exe"));
    command.args(all("argument").skip(1));
    command
        .env(name, format!("{value}{number}"))
        .env_remove(WAY);
    command.stdin(Stdio::piped());
    if way == DEAF {
        command.stderr(Stdio::piped());
    }
    let mut child: Child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let key = one("key").into_string().unwrap();
    stdin.write_all(format!("{key}\n").as_bytes()).unwrap();
    let number = number.to_owned();
    std::thread::spawn(move || {
        let status = child.wait(); // (its standard error stays open until then)
        println!("ended {number} {status:?}");
    });
    stdin
}

/// A name and a value, which may have any bytes.
fn word(word: &str) -> (String, OsString) {
    let (name, quoted) = word.split_once('=').unwrap();
    let (mut value, mut bytes) = (Vec::new(), quoted.bytes());
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    (name.to_owned(), OsString::from_vec(value))
}
