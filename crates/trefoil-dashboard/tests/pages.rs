//! What the server sends, to whom, and what it costs: without a browser.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Client, LIMIT, connect, raw};
use trefoil::{EventLoop, ProcessPool, TaskError, ThreadPool};
use trefoil_dashboard::{Dashboard, serve};

/// Text that would be markup if anything took it for markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)></script><script>alert(2)</script>";

fn dashboard() -> Dashboard {
    serve("127.0.0.1:0").unwrap()
}

fn executor<'a>(sample: &'a Value, name: &str) -> &'a Value {
    let all = sample["executors"].as_array().unwrap();
    all.iter()
        .find(|one| one["name"] == name)
        .unwrap_or(&Value::Null)
}

#[test]
fn the_token_becomes_a_cookie() {
    let dashboard = dashboard();
    let addr = dashboard.addr();
    let (_, query) = dashboard
        .url()
        .split_once('?')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let answer = raw(
        addr,
        &format!("GET /?{query} HTTP/1.1\r\nHost: localhost:1\r\n\r\n"),
    );
    assert_eq!(answer.status, 303);
    let cookie = answer.header("set-cookie").unwrap();
    let location = answer.header("location").unwrap();
    assert!(
        !location.contains(query.trim_start_matches("token=")),
        "{location}"
    );
    assert!(
        cookie.ends_with(&format!("; Path={location}; HttpOnly; SameSite=Strict")),
        "{cookie}"
    );

    let client = Client::enter(&dashboard);
    for (path, kind, word) in [
        ("", "text/html; charset=utf-8", "<!doctype html>"),
        (
            "dashboard.css",
            "text/css; charset=utf-8",
            "prefers-color-scheme",
        ),
        (
            "dashboard.js",
            "text/javascript; charset=utf-8",
            "EventSource",
        ),
        ("tasks", "application/json", "\"total\":"),
        ("report.html", "text/html; charset=utf-8", "id=\"data\""),
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(kind));
        assert!(answer.body.contains(word), "{path}");
    }
    assert_eq!(client.get("else").status, 404);
    assert_eq!(client.get("../").status, 404);
}

#[test]
fn two_dashboards_have_two_tokens() {
    let (one, two) = (dashboard(), dashboard());
    let (client, other) = (Client::enter(&one), Client::enter(&two));
    assert_ne!(client.cookie, other.cookie);
    assert_ne!(client.page, other.page);
    let crossed = Client {
        addr: other.addr,
        page: other.page,
        cookie: client.cookie,
    };
    assert_eq!(crossed.get("").status, 401);
}

/// Ray's `ShadowRay` (CVE-2023-48022): whoever reached the port was obeyed.
#[test]
fn cve_2023_48022_nothing_is_answered_without_the_token() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let addr = client.addr;
    for path in [
        "",
        "dashboard.js",
        "events",
        "tasks",
        "metrics",
        "report.html",
        "else",
    ] {
        let page = &client.page;
        for path in [format!("{page}{path}"), format!("/{path}")] {
            let answer = raw(
                addr,
                &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
            );
            assert_eq!(answer.status, 401, "{path}");
            assert!(!answer.head.contains(client.page.trim_matches('/')));
        }
    }
}

/// DNS rebinding, and requests from other sites' pages (CVE-2025-62593).
#[test]
fn cve_2025_62593_other_names_and_other_sites_are_refused() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let Client { addr, page, cookie } = &client;
    for host in [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "10.0.0.1",
    ] {
        let request = format!("GET {page} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n");
        assert_eq!(raw(*addr, &request).status, 403, "{host}");
        let entering = dashboard.url().split_once('?').unwrap().1.to_owned();
        let request = format!("GET /?{entering} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(raw(*addr, &request).status, 403, "{host}");
    }
    for more in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://127.0.0.1:1\r\n",
    ] {
        for path in ["", "events", "tasks", "metrics", "report.html"] {
            assert_eq!(client.ask("GET", path, more).status, 403, "{more}");
        }
    }
    let own = format!("Sec-Fetch-Site: same-origin\r\nOrigin: http://{addr}\r\n");
    assert_eq!(client.ask("GET", "tasks", &own).status, 200);
    assert_eq!(
        client.ask("GET", "", "Sec-Fetch-Site: none\r\n").status,
        200
    );
}

/// A page elsewhere could send DELETE to Ray's dashboard (CVE-2026-27482).
#[test]
fn cve_2026_27482_only_get_exists() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT",
    ] {
        for path in ["", "events", "tasks"] {
            let answer = client.ask(method, path, "");
            if method == "CONNECT" {
                assert!(answer.status >= 400, "{answer:?}"); // its target has another form
                continue;
            }
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET"));
        }
    }
}

#[test]
fn every_answer_has_the_policy() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let refused = raw(client.addr, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let found = ["", "dashboard.js", "tasks", "report.html", "else"].map(|path| client.get(path));
    for answer in found.iter().chain([&refused]) {
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "trusted-types 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn large_heads_are_refused() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let long = format!("X-Long: {}\r\n", "x".repeat(32 << 10));
    assert_eq!(client.ask("GET", "", &long).status, 431);
    let many = "X-Many: x\r\n".repeat(100);
    assert_eq!(client.ask("GET", "", &many).status, 431);
    assert_eq!(client.get("").status, 200);
}

/// Whoever sends no whole request is disconnected, and until then only so many are.
#[test]
fn slow_clients_are_limited() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let start = Instant::now();
    let slow = loop {
        let slow: Vec<TcpStream> = (0..64)
            .map(|_| {
                let mut stream = connect(client.addr);
                stream.write_all(b"GET / HTTP/1.1\r\nHost: slow").unwrap();
                stream
            })
            .collect();
        // All places are taken: the next one is closed without an answer.
        if client.get("").status == 0 {
            break slow;
        }
        // Only if this took so long that some of them have been disconnected.
        assert!(start.elapsed() < LIMIT);
    };
    for mut stream in slow {
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            // It was reset, and not: the client waited for too long.
            let late = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
            assert!(!late.contains(&error.kind()), "{error}");
        }
    }
    assert_eq!(client.get("").status, 200);
}

#[test]
fn so_many_pages_may_look_and_none_must_read() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let mut streams: Vec<_> = (0..16).map(|_| client.events().unwrap()).collect();
    assert_eq!(client.events().err(), Some(503));
    // None of them reads, and other requests are answered.
    for _ in 0..20 {
        assert_eq!(client.get("").status, 200);
    }
    streams.pop();
    let start = Instant::now();
    let mut again = loop {
        match client.events() {
            Ok(events) => break events,
            Err(status) => assert_eq!(status, 503),
        }
        assert!(start.elapsed() < LIMIT);
    };
    again.wait("sample", |_| true);
}

#[test]
fn counters_and_processes_are_in_the_stream() {
    let dashboard = dashboard();
    let procs = ProcessPool::with_workers(2).unwrap();
    let pool = ThreadPool::with_threads(3);
    let _watched = dashboard.watch_processes(&procs, "squares");
    let _threads = dashboard.watch_threads(&pool, "threads");
    let mut events = Client::enter(&dashboard).events().unwrap();
    assert!(events.head.contains("content-type: text/event-stream"));
    procs.map(0..100, |n: u64| n * n).unwrap();
    let sample = events.wait("sample", |sample| {
        executor(sample, "squares")["counts"]["completed"] == 100
            && executor(sample, "threads")["delay"]["last_us"].is_number()
    });
    let squares = executor(&sample, "squares");
    assert_eq!(squares["kind"], "processes");
    assert_eq!(squares["workers"].as_array().unwrap().len(), 2);
    for worker in squares["workers"].as_array().unwrap() {
        assert!(
            procs
                .worker_pids()
                .contains(&(worker["pid"].as_u64().unwrap() as u32))
        );
        if cfg!(target_os = "linux") {
            assert!(
                worker["process"]["memory"].as_u64().unwrap() > 0,
                "{worker}"
            );
        }
    }
    let threads = executor(&sample, "threads");
    assert_eq!(
        (&threads["threads"], &threads["queued"]),
        (&3.into(), &0.into())
    );
    let (start, begin) = mpsc::channel::<()>();
    let held = pool.spawn(move || begin.recv());
    events.wait("sample", |sample| {
        executor(sample, "threads")["busy"].as_u64() >= Some(1)
    });
    drop(start);
    assert!(held.join().unwrap().is_err());
    if cfg!(target_os = "linux") {
        let threads = sample["program"]["threads"].as_array().unwrap();
        assert!(
            threads
                .iter()
                .any(|thread| thread["name"] == "trefoil-dash")
        );
    }

    // A worker dies: the page says so, and the stream goes on.
    let died = procs.spawn((), |()| -> () { std::process::abort() }).join();
    assert!(matches!(died, Err(TaskError::WorkerDied(_))));
    events.wait("sample", |sample| {
        executor(sample, "squares")["counts"]["died"] == 1
    });
    procs.kill();
    events.wait("sample", |sample| {
        executor(sample, "squares")["counts"]["workers"] == 0
    });
}

/// Where it crashed, and what a hook has noted.
#[test]
fn the_failure_of_a_dead_worker_has_its_frames_and_its_note() {
    let dashboard = dashboard();
    let recorder = dashboard.recorder();
    let (sender, noted) = mpsc::channel();
    let procs = ProcessPool::builder()
        .workers(1)
        .on_failed_item(|failed| failed.note("it is kept elsewhere"))
        .on_unobserved(move |report| {
            recorder.failure(report);
            sender.send(()).unwrap();
        })
        .build()
        .unwrap();
    procs
        .spawn((), |()| -> () { std::process::abort() })
        .detach();
    noted.recv_timeout(LIMIT).unwrap();
    let client = Client::enter(&dashboard);
    let notes = client.events().unwrap().wait("notes", |_| true);
    let failure = &notes["failures"]["kept"][0];
    let error = failure["error"].as_str().unwrap();
    assert!(error.ends_with("; it is kept elsewhere"), "{error}");
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let frames = failure["backtrace"].as_str().unwrap();
        assert!(
            frames.contains("pages-") && frames.contains("+0x"),
            "{frames}"
        );
    }
}

/// Whatever they are called, on threads and in workers.
#[test]
fn failures_of_one_cause_are_one_row() {
    fn fails(n: u32) {
        match n {
            0 => std::process::abort(),
            n => panic!("row {n}"),
        }
    }
    let dashboard = dashboard();
    let (in_workers, on_threads) = (dashboard.recorder(), dashboard.recorder());
    let (sender, noted) = mpsc::channel();
    let again = sender.clone();
    let procs = ProcessPool::builder()
        .workers(1)
        .on_unobserved(move |report| {
            in_workers.failure(report);
            sender.send(()).unwrap();
        });
    let procs = procs.build().unwrap();
    let pool = ThreadPool::builder()
        .threads(1)
        .on_unobserved(move |report| {
            on_threads.failure(report);
            again.send(()).unwrap();
        });
    let pool = pool.build().unwrap();
    for n in [0, 1, 0, 2, 3, 0] {
        let call = procs.call(fails).name(format!("number {n}"));
        call.spawn(n).detach();
        noted.recv_timeout(LIMIT).unwrap();
    }
    for n in 0..7 {
        pool.spawn(move || fails(n + 1)).detach();
        noted.recv_timeout(LIMIT).unwrap();
    }
    let client = Client::enter(&dashboard);
    let notes = client.events().unwrap().wait("notes", |_| true);
    assert_eq!(notes["failures"]["total"], 13);
    let rows = notes["failures"]["kept"].as_array().unwrap();
    let counts: Vec<_> = rows
        .iter()
        .map(|row| row["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [3, 3, 7], "panics in workers, deaths, panics here");
    assert_eq!(rows[0]["name"], "number 3");
    assert!(rows[0]["error"].as_str().unwrap().contains("row 3"));
    for row in rows {
        assert!(row["first_ms"].as_u64() <= row["time_ms"].as_u64());
    }
}

#[test]
fn html_in_names_of_failures_is_text() {
    let dashboard = dashboard();
    let recorder = dashboard.recorder();
    let (sender, noted) = mpsc::channel();
    let pool = ThreadPool::builder()
        .threads(1)
        .on_unobserved(move |report| {
            recorder.failure(report);
            sender.send(()).unwrap();
        })
        .build()
        .unwrap();
    pool.spawn(|| panic!("{HOSTILE}")).named(HOSTILE).detach();
    noted.recv_timeout(LIMIT).unwrap();
    let client = Client::enter(&dashboard);
    let notes = client.events().unwrap().wait("notes", |_| true);
    assert_eq!(notes["failures"]["total"], 1);
    let failure = &notes["failures"]["kept"][0];
    assert_eq!(failure["name"], HOSTILE);
    assert!(failure["error"].as_str().unwrap().contains(HOSTILE));

    // In the report, which is HTML, none of it is markup.
    let report = client.get("report.html");
    assert!(
        report
            .header("content-disposition")
            .unwrap()
            .starts_with("attachment")
    );
    assert!(!report.body.contains("<img"));
    assert!(!report.body.contains("</script><script>alert"));
    assert!(report.body.contains("\\u003cimg src=x onerror=alert(1)>"));
}

/// Tasks of every executor are in the tree. (It has those of other tests, too.)
#[test]
fn html_in_names_of_tasks_is_text() {
    let dashboard = dashboard();
    let event_loop = EventLoop::new().unwrap();
    let client = Client::enter(&dashboard);
    let name = format!("{HOSTILE} of a loop");
    for n in 0..151 {
        let task = event_loop.spawn(std::future::pending::<()>());
        task.named(if n < 150 { &name } else { "other" }).detach();
    }
    event_loop.block_on(trefoil::yield_now()); // it takes them up
    let pool = ThreadPool::with_threads(1);
    let (end, ends) = mpsc::channel::<()>();
    let held = pool.spawn(move || _ = ends.recv()).named("on a thread");
    let start = Instant::now();
    let group = |by: &str, label: &str| {
        let view = client.get(&format!("tasks?by={by}")).json();
        let groups = view["groups"].as_array().unwrap().iter();
        let mut found = groups.filter(|group| group["label"].as_str().unwrap().contains(label));
        found.next().map_or(Value::Null, Value::clone)
    };
    // The counts of a part are those of its last turn.
    while group("name", &name)["tasks"] != 150 || group("name", "on a thread")["tasks"] != 1 {
        assert!(start.elapsed() < LIMIT);
    }
    let escaped: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let page = format!("tasks?by=name&page=1&group={escaped}");
    let page = client.get(&page).json();
    assert_eq!(
        (&page["pages"], page["tasks"].as_array().unwrap().len()),
        (&2.into(), 50)
    );
    assert_eq!(page["tasks"][0]["name"], name);
    assert!(group("site", "pages.rs")["tasks"].as_u64() >= Some(1));
    let tree = client.get("tasks?by=tree").json();
    assert!(tree["total"].as_u64() >= Some(152));
    drop(end);
    held.join().unwrap();
}

#[test]
fn lines_and_maps_are_in_the_stream() {
    let dashboard = dashboard();
    let pool = ThreadPool::builder()
        .threads(1)
        .thread_name(|_| "a-line".to_owned())
        .build()
        .unwrap();
    let mut events = Client::enter(&dashboard).events().unwrap();
    let (end, ends) = mpsc::channel::<()>();
    let held = pool.spawn(move || _ = ends.recv()).named("held");
    let line = |sample: &Value| {
        let lines = sample["lines"].as_array().unwrap().iter();
        let mut lines = lines.filter(|line| line["name"].as_str().unwrap().contains("a-line"));
        lines.next().map_or(Value::Null, Value::clone)
    };
    // It runs the task now, and was seen to do so for half a second.
    events.wait("sample", |sample| {
        let line = line(sample);
        let strip = line["strip"].as_array().cloned().unwrap_or_default();
        let held = |number: &&Value| sample["labels"][number.as_u64().unwrap() as usize] == "held";
        line["runs"] == "held" && strip.iter().filter(held).count() >= 5
    });
    drop(end);
    held.join().unwrap();
    events.wait("sample", |sample| line(sample)["runs"].is_null());

    let procs = ProcessPool::with_workers(1).unwrap();
    let call = procs.call(wait_a_little).chunk_size(1).name("slow map");
    let task = call.map_task(0..40_u64);
    let map = |sample: &Value| {
        let maps = sample["maps"].as_array().unwrap().iter();
        let mut maps = maps.filter(|map| map["label"] == "slow map");
        maps.next().map_or(Value::Null, Value::clone)
    };
    let sample = events.wait("sample", |sample| map(sample)["ended"].as_u64() > Some(0));
    assert_eq!(map(&sample)["kind"], "map in processes");
    assert_eq!(map(&sample)["total"], 40);
    let process = format!("process {}", procs.worker_pids()[0]);
    let lines = sample["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["name"] == process.as_str());
    assert_eq!(line.unwrap()["runs"], "slow map");
    task.join().unwrap();
    events.wait("sample", |sample| map(sample).is_null());
}

fn wait_a_little(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(100));
    n
}

#[test]
fn deadlocks_are_noted() {
    let dashboard = dashboard();
    let pool = ThreadPool::with_threads(2);
    let (send, handle) = mpsc::channel::<trefoil::Task<()>>();
    let one = pool
        .spawn(move || _ = handle.recv().unwrap().join())
        .named(HOSTILE);
    let two = pool.spawn(move || _ = one.join()).named("two");
    let cancel = two.abort_handle();
    let mut events = Client::enter(&dashboard).events().unwrap();
    send.send(two).unwrap();
    let notes = events.wait("notes", |notes| notes["stuck"]["total"] == 1);
    let stuck = &notes["stuck"]["kept"][0];
    assert!(stuck["text"].as_str().unwrap().contains("2 tasks wait"));
    assert!(stuck["tasks"].as_array().unwrap().contains(&HOSTILE.into()));
    drop(cancel);
    std::mem::forget(pool); // its threads wait for ever
}

/// What Prometheus asks for, and gets with the token alone.
#[test]
fn metrics_have_a_standard_form() {
    let dashboard = dashboard();
    let pool = ThreadPool::with_threads(2);
    let procs = ProcessPool::with_workers(1).unwrap();
    let _threads = dashboard.watch_threads(&pool, "two\n\"lines\"\n");
    let _processes = dashboard.watch_processes(&procs, "squares");
    procs.map(0..50, |n: u64| n * n).unwrap();
    let (address, token) = dashboard.metrics();
    let addr = dashboard.addr();
    assert_eq!(address, format!("http://{addr}/metrics"));
    let ask = |more: &str| {
        raw(
            addr,
            &format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\n{more}\r\n"),
        )
    };
    assert_eq!(ask("").status, 401);
    assert_eq!(ask("Authorization: Bearer 0\r\n").status, 401);
    let answer = ask(&format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let text = &answer.body;
    assert!(text.ends_with("# EOF\n"));
    let escaped = "executor=\"two\\n\\\"lines\\\"\\n\"";
    assert!(
        text.contains(&format!("trefoil_threads{{{escaped},id=\"0\"}} 2\n")),
        "{text}"
    );
    assert!(text.contains("trefoil_items_completed_total{executor=\"squares\",id=\"1\"} 50\n"));
    assert!(text.contains("\ntrefoil_stuck_total "));
    // Each line is a description or a sample of the metric that was described last.
    let mut described = String::new();
    let mut seen = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described = rest.split(' ').next().unwrap().to_owned();
            assert!(seen.insert(line.to_owned()), "{line}");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&described), "{line}");
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned()), "{line} is there twice");
        }
    }
    assert_eq!(Client::enter(&dashboard).get("metrics").status, 200);
}

#[test]
fn a_loop_that_is_blocked_is_seen() {
    let dashboard = dashboard();
    let event_loop = EventLoop::new().unwrap();
    let _watched = dashboard.watch_loop(&event_loop.handle(), "main");
    // Nothing drives it: what is spawned waits.
    let mut events = Client::enter(&dashboard).events().unwrap();
    events.wait("sample", |sample| {
        executor(sample, "main")["delay"]["waiting_us"].as_u64() > Some(500_000)
    });
    event_loop.block_on(async {
        // Until the page has seen an answer.
        let seen = trefoil::spawn_blocking(move || {
            events.wait("sample", |sample| {
                executor(sample, "main")["delay"]["last_us"].is_number()
            });
            events
        });
        let mut events = seen.await.unwrap();
        drop(event_loop.handle());
        events.next().unwrap();
    });
}

#[test]
fn an_executor_that_is_no_longer_watched_is_let_go() {
    let dashboard = dashboard();
    let (sender, ended) = mpsc::channel();
    let pool = ThreadPool::builder()
        .threads(1)
        .on_exit(move |_| sender.send(()).unwrap())
        .build()
        .unwrap();
    let watched = dashboard.watch_threads(&pool, "short");
    let mut events = Client::enter(&dashboard).events().unwrap();
    events.wait("sample", |sample| executor(sample, "short").is_object());
    drop(watched);
    drop(pool);
    ended.recv_timeout(LIMIT).unwrap();
    events.wait("sample", |sample| executor(sample, "short").is_null());

    // One that stays is let go when the dashboard is closed.
    let (sender, ended) = mpsc::channel();
    let pool = ThreadPool::builder()
        .threads(1)
        .on_exit(move |_| sender.send(()).unwrap())
        .build()
        .unwrap();
    dashboard.watch_threads(&pool, "long").stay();
    drop(pool);
    events.wait("sample", |sample| {
        executor(sample, "long")["delay"]["last_us"].is_number()
    });
    assert!(ended.try_recv().is_err());
    dashboard.close();
    ended.recv_timeout(LIMIT).unwrap();
    while events.next().is_some() {}
}

#[test]
fn a_pool_that_ends_while_it_is_watched_reports_nothing() {
    let dashboard = dashboard();
    let (sender, reported) = mpsc::channel();
    let pool = ThreadPool::builder()
        .threads(1)
        .on_unobserved(move |report| sender.send(report.to_string()).unwrap())
        .build()
        .unwrap();
    let watched = dashboard.watch_threads(&pool, "short");
    let mut events = Client::enter(&dashboard).events().unwrap();
    pool.shutdown(trefoil::Shutdown::Wait);
    events.wait("sample", |sample| {
        executor(sample, "short")["delay"]["refused"].is_string()
    });
    events.wait("sample", |sample| {
        executor(sample, "short")["delay"]["refused"].is_null()
    });
    drop((watched, pool));
    assert_eq!(reported.iter().next(), None);
}

#[test]
fn closing_ends_streams_and_frees_the_port() {
    let dashboard = dashboard();
    let addr = dashboard.addr();
    let mut events = Client::enter(&dashboard).events().unwrap();
    events.wait("sample", |_| true);
    drop(dashboard);
    while events.next().is_some() {}
    assert!(TcpStream::connect_timeout(&addr, Duration::from_secs(5)).is_err());
    drop(serve(addr).unwrap());
}

#[test]
fn errors_come_at_once() {
    let dashboard = dashboard();
    assert!(serve(dashboard.addr()).is_err());
    assert!(serve("192.0.2.1:0").is_err());
    assert!(serve("no port").is_err());
}

#[test]
fn a_report_is_one_file() {
    let dashboard = dashboard();
    let pool = ThreadPool::with_threads(1);
    let _watched = dashboard.watch_threads(&pool, "parsers");
    let path = std::env::temp_dir().join(format!("trefoil-report-{}.html", std::process::id()));
    dashboard.report(&path).unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(page.contains("\"name\":\"parsers\""));
    assert!(page.contains("Content-Security-Policy"));
    for outside in [
        "href=\"dashboard.css\"",
        "src=\"dashboard.js\"",
        "http://127",
        "https:",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(dashboard.report("/nonexistent/report.html").is_err());
}
