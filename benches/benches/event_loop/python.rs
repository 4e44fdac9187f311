//! asyncio, and uvloop where it is installed: the same questions, in a process that prints the time
//! of each.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use trefoil_benches::rows::{Entry, Kind};

/// What `python3 -c` is given: the loop, the question, how many, and how many at a time.
const TASKS: &str = r#"
import asyncio, sys, time
which, what, n, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
async def ready(i): return i
async def yields(n):
    for _ in range(n): await asyncio.sleep(0)
async def tasks(n):
    if size == 1:
        for i in range(n): await asyncio.create_task(ready(i))
    else:
        for _ in range(n // size):
            for task in [asyncio.create_task(ready(i)) for i in range(size)]: await task
async def main(n):
    start = time.perf_counter()
    if what == "tasks": await tasks(n)
    elif what == "yields":
        for task in [asyncio.create_task(yields(n // size)) for _ in range(size)]: await task
    elif what == "timers":
        loop = asyncio.get_running_loop()
        for i in range(n): loop.call_later(3600 + i * 7919 % 1000003 / 1e6, print).cancel()
    return (time.perf_counter() - start) / n * 1e9
if which == "uvloop":
    import uvloop
    uvloop.install()
print(asyncio.run(main(n)))
"#;

/// An echo server: prints its port, ends when its input does.
pub const SERVER: &str = r#"
import asyncio, os, sys, threading
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.install()
asyncio.run(main())
"#;

fn works(program: &str) -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", program]).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Those that are here; what is not is said, once.
pub fn loops() -> &'static [&'static str] {
    static LOOPS: OnceLock<Vec<&'static str>> = OnceLock::new();
    LOOPS.get_or_init(|| {
        let mut loops = Vec::new();
        for (name, program) in [("asyncio", "import asyncio"), ("uvloop", "import uvloop")] {
            if works(program) {
                loops.push(name);
            } else {
                println!("(no {name} here)");
            }
        }
        loops
    })
}

/// Smaller, because they are slower.
pub fn entries(what: &'static str, n: u64, size: u64) -> Vec<Entry<'static>> {
    let n = (n / 10).max(size.min(100_000)).max(10);
    let size = size.min(n);
    let entry = |name: &&'static str| {
        let which = *name;
        Entry::samples(Kind::Peer, which, move |samples| {
            let mut python = Command::new("python3");
            python.args(["-c", TASKS, which, what, &n.to_string(), &size.to_string()]);
            let output = python.output().expect("it has run before");
            let text = String::from_utf8_lossy(&output.stdout);
            samples.extend(text.trim().parse::<f64>());
        })
    };
    loops().iter().map(entry).collect()
}
