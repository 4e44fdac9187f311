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
        ("tasks", "application/json", "\"total\":0"),
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
fn nothing_is_answered_without_the_token() {
    let dashboard = dashboard();
    let client = Client::enter(&dashboard);
    let addr = client.addr;
    for path in ["", "dashboard.js", "events", "tasks", "report.html", "else"] {
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
fn other_names_and_other_sites_are_refused() {
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
        for path in ["", "events", "tasks", "report.html"] {
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
fn only_get_exists() {
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

#[test]
fn failures_are_texts() {
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

#[test]
fn tasks_of_a_loop_are_grouped_and_texts() {
    let dashboard = dashboard();
    let event_loop = EventLoop::new().unwrap();
    let _watched = dashboard.watch_loop(&event_loop.handle(), "main");
    let client = Client::enter(&dashboard);
    for _ in 0..150 {
        event_loop
            .spawn(std::future::pending::<()>())
            .named(HOSTILE)
            .detach();
    }
    event_loop
        .spawn(std::future::pending::<()>())
        .named("other")
        .detach();
    event_loop.block_on(trefoil::yield_now()); // it takes them up
    let view = client.get("tasks?by=name").json();
    assert_eq!(view["total"], 151);
    assert_eq!(view["groups"][0]["label"], HOSTILE);
    assert_eq!(view["groups"][0]["tasks"], 150);
    let group: String = HOSTILE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let page = client
        .get(&format!("tasks?by=name&page=1&group={group}"))
        .json();
    assert_eq!(
        (&page["pages"], page["tasks"].as_array().unwrap().len()),
        (&2.into(), 50)
    );
    assert_eq!(page["tasks"][0]["name"], HOSTILE);
    let site = client.get("tasks?by=site").json();
    assert!(
        site["groups"][0]["label"]
            .as_str()
            .unwrap()
            .contains("pages.rs")
    );
    assert_eq!(
        client.get("tasks?by=tree").json()["tasks"][0]["executor"],
        "main"
    );
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

/// What a refresh costs does not depend on how many tasks there are.
#[test]
fn a_refresh_walks_over_no_tasks() {
    let tasks = if std::env::var_os("TREFOIL_FULL").is_some() {
        1_000_000
    } else {
        100_000
    };
    let dashboard = dashboard();
    let event_loop = EventLoop::new().unwrap();
    let _watched = dashboard.watch_loop(&event_loop.handle(), "main");
    for _ in 0..tasks {
        event_loop.spawn(std::future::pending::<()>()).detach();
    }
    event_loop.block_on(trefoil::yield_now()); // it takes them up
    let client = Client::enter(&dashboard);
    let mut events = client.events().unwrap();
    let costs: Vec<u64> = (0..5)
        .map(|_| events.wait("sample", |_| true)["cost_us"].as_u64().unwrap())
        .collect();
    let view = client.get("tasks?by=site").json();
    assert_eq!(view["total"], tasks);
    assert!(client.get("tasks?by=tree&page=7").body.len() < 100_000);
    println!(
        "{tasks} tasks: {costs:?} µs for the counters, {} µs for a page of tasks",
        view["cost_us"]
    );
    let least = costs.iter().min().unwrap();
    assert!(*least < 5000, "{costs:?}");
}
