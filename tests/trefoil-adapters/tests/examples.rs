//! The examples do what they say: each is run, with a deadline, and its output looked at.
//!
//! Cargo builds them before it runs all tests of this package; for this file alone, build them
//! first: `cargo build -p trefoil-adapters --examples`.

#[allow(dead_code)] // its `main`
#[path = "../examples/hyper_server.rs"]
mod hyper_example;
mod support;

use std::process::Command;

use support::within_deadline;

/// What the example has written; it must have ended well.
fn output(example: &'static str) -> String {
    within_deadline(move || {
        let own = std::env::current_exe().unwrap();
        let path = own
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples")
            .join(example);
        let output = Command::new(&path)
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}; has it been built?", path.display()));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{example}: {}\n{told}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        told
    })
}

#[test]
fn hyper_server() {
    assert_eq!(
        output("hyper_server"),
        "HTTP/1: you asked for /one\n\
         HTTP/1: you asked for /two\n\
         HTTP/1: 404 Not Found\n\
         HTTP/2: 100 answers\n\
         HTTP/2: slow, but here\n\
         104 requests served, all connections closed\n"
    );
}

#[test]
fn https_server() {
    assert_eq!(
        output("https_server"),
        "connected with TLSv1_3\n\
         nobody else has read that you asked for /\n\
         nobody else has read that you asked for /again\n\
         a stranger: invalid peer certificate: UnknownIssuer\n"
    );
}

/// A client that has sent only the first byte of a request costs nothing.
#[test]
fn hyper_server_waits_without_polling() {
    use std::time::Duration;
    use trefoil::io::{TcpListener, TcpStream};
    within_deadline(|| {
        let event_loop = trefoil::EventLoop::builder().virtual_time().build();
        event_loop.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = trefoil::CancelToken::new();
            let serving = hyper_example::serve(listener, Default::default(), stop.clone());
            let serving = trefoil::spawn(serving);
            let client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"P").await.unwrap();
            let polls = || trefoil::LoopHandle::current().stats().polls;
            trefoil::time::sleep(Duration::from_millis(100)).await;
            let before = polls();
            trefoil::time::sleep(Duration::from_millis(200)).await;
            assert!(polls() - before < 20, "{}", polls() - before);
            client
                .write_all(b"OST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            let mut begin = [0; 15];
            client.read_exact(&mut begin).await.unwrap();
            assert_eq!(&begin, b"HTTP/1.1 200 OK");
            stop.cancel();
            drop(client);
            serving.await.unwrap();
        });
    });
}

#[test]
fn websocket_echo() {
    assert_eq!(
        output("websocket_echo"),
        "1000 messages came back to 10 clients\n"
    );
}

#[test]
fn axum_router() {
    assert_eq!(
        output("axum_router"),
        "/: 200 hello\n\
         /sum/1000: 200 500500\n\
         /sum/x: 400 Invalid URL: Cannot parse `x` to a `u64`\n\
         /none: 404\n"
    );
}

/// What crashes and what hangs costs its own request, and many that hang keep the others from
/// nothing: what was let in was run, or was late on a slow machine.
#[cfg(feature = "tokio")]
#[test]
fn axum_server() {
    let told = output("axum_server");
    let alone = "/sum/1000: 200 500500\n\
                 /plugin/hello: 200 hello has run\n\
                 /plugin/crashes: 502 Bad Gateway\n\
                 /plugin/hangs: 504 Gateway Timeout\n\
                 /plugin/again: 200 again has run\n";
    let flood = told.strip_prefix(alone);
    let flood = flood.and_then(|rest| rest.strip_suffix("and the end\n"));
    let flood: Vec<&str> = flood.unwrap_or_else(|| panic!("{told}")).lines().collect();
    let (last, counts) = flood.split_last().unwrap();
    assert!(last.starts_with("all answered after "), "{told}");
    let mut all = 0;
    for line in counts {
        let (times, answer) = line.split_once(" x ").unwrap();
        all += times.parse::<u32>().unwrap();
        let expected = [
            "/plugin/good: 200 good has run",
            "/plugin/good: 503 busy",
            "/plugin/good: 504 Gateway Timeout",
            "/plugin/hangs: 503 busy",
            "/plugin/hangs: 504 Gateway Timeout",
        ];
        assert!(expected.contains(&answer), "{told}");
    }
    assert_eq!(all, 24, "{told}");
}

/// Each fault of a C library costs one item.
#[cfg(unix)]
#[test]
fn wrap_c_library() {
    let leak = match cfg!(target_os = "macos") {
        true => "399", // no limit there
        false => "out of memory",
    };
    assert_eq!(
        output("wrap_c_library"),
        format!(
            "good: 322\n\
             Segfaults: signal Some(11), exit code None\n\
             Hangs: stopped at its limit\n\
             Leaks: {leak}\n\
             Exits: signal None, exit code Some(3)\n\
             Corrupts: the library's state is broken\n\
             good: 322\n\
             processes that retired: 1, that died: 3\n"
        )
    );
}

/// With a device or without one, a bad kernel costs one item.
#[test]
fn one_gpu() {
    let told = output("one_gpu");
    let rest = told.strip_prefix("no CUDA driver here: a simulated device\n");
    assert_eq!(
        rest.unwrap_or(&told),
        "59 of 60 kernels answered\n\
         the wild one: CUDA error 700\n\
         the endless one: stopped at its limit\n\
         and the next call: Ok(144)\n\
         processes that retired: 1\n"
    );
}

#[test]
fn traced_tasks() {
    let told = output("traced_tasks");
    let line = |words: &[&str]| {
        let mut found = told
            .lines()
            .filter(|line| words.iter().all(|word| line.contains(word)));
        let line = found
            .next()
            .unwrap_or_else(|| panic!("no {words:?} in\n{told}"));
        line.to_owned()
    };
    let asked = line(&["INFO", "asked", "word=hello"]);
    assert!(
        asked.contains("runtime.spawn{kind=local task.id="),
        "{asked}"
    );
    assert!(
        asked.contains("task.name=\"connection\"") && asked.contains("request{"),
        "{asked}"
    );
    line(&[
        "ERROR",
        "task panicked",
        "as it was asked to",
        "runtime.spawn{",
    ]);
    line(&[
        "ERROR",
        "the failure of a task was never taken",
        "as it was asked to",
    ]);
    line(&["WARN", "task blocks its event loop", "connection"]);
    line(&["TRACE", "close", "time.busy", "runtime.spawn{"]);
}

/// Events of worker processes, also of one that crashes, name their call and item.
#[test]
fn worker_logs() {
    let told = output("worker_logs");
    for words in [
        &[
            "INFO",
            "trefoil::worker: begins",
            "worker.function=\"resize\"",
            "worker.item=0",
        ][..],
        &[
            "INFO",
            "worker.span{",
            "worker.fields=\"width=640\"",
            "begins",
        ],
        &[
            "ERROR",
            "a picture without a width",
            "worker.item=1",
            "worker.target=\"worker_logs\"",
        ],
        &["WARN", "SIGABRT", "item=1"],
        &["INFO", "begins", "worker.item=2"],
        &["INFO", "done item=2 pixels=480000"],
    ] {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(told.lines().any(has_all), "no {words:?} in\n{told}");
    }
}
