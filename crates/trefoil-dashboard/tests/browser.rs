//! The page in a real browser. Needs Chromium: in `PATH`, or named by `TREFOIL_CHROMIUM`.
//!
//! `cargo test -p trefoil-dashboard --test browser -- --ignored`; `TREFOIL_SCREENSHOTS` names a
//! folder for pictures, and with `TREFOIL_FULL` a loop has a million tasks.
#![allow(clippy::disallowed_methods)] // a program, not the crate

// Each test program uses a part of it.
#[allow(dead_code)]
mod support {
    #[path = "../support/browser.rs"]
    pub(crate) mod browser;
    #[path = "../support/mod.rs"]
    mod client;
    pub(crate) use client::*;
}

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use support::Client;
use support::browser::Browser;
use trefoil::{CancelToken, EventLoop, ProcessPool, ThreadPool};
use trefoil_dashboard::serve;

const HOSTILE: &str = "<img src=x onerror=alert(1)></script><script>alert(2)</script>";
const LIVE: &str = "document.getElementById('state')?.textContent === 'live'";

/// A loop with a few tasks, driven by a thread until this is dropped.
struct Driven {
    stop: CancelToken,
    thread: Option<std::thread::JoinHandle<()>>,
    handle: trefoil::LoopHandle,
}

impl Driven {
    fn start(tasks: usize) -> Self {
        let stop = CancelToken::new();
        let stopped = stop.clone();
        let (sender, handle) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .spawn(move || {
                let event_loop = EventLoop::new().unwrap();
                for n in 0..tasks {
                    let name = ["reader", "writer", HOSTILE][n % 3];
                    event_loop
                        .spawn(std::future::pending::<()>())
                        .named(name)
                        .detach();
                }
                event_loop.block_on(async {
                    trefoil::yield_now().await;
                    sender.send(event_loop.handle()).unwrap();
                    stopped.cancelled().await;
                });
            })
            .unwrap();
        Self {
            stop,
            thread: Some(thread),
            handle: handle.recv().unwrap(),
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn the_page_draws_updates_and_survives() {
    let dashboard = serve("127.0.0.1:0").unwrap();
    let recorder = dashboard.recorder();
    let pool = ThreadPool::builder()
        .threads(2)
        .on_unobserved(move |report| recorder.failure(report))
        .build()
        .unwrap();
    let procs = ProcessPool::with_workers(2).unwrap();
    let driven = Driven::start(300);
    let _watched = dashboard.watch_threads(&pool, HOSTILE);
    let _processes = dashboard.watch_processes(&procs, "squares");
    let _loop = dashboard.watch_loop(&driven.handle, "main");
    procs.map(0..1234, |n: u64| n * n).unwrap();

    let mut browser = Browser::start("draws");
    let size = json!({"width": 1100, "height": 900, "deviceScaleFactor": 0.65, "mobile": false});
    browser.call("Emulation.setDeviceMetricsOverride", size);
    browser.open(&dashboard.url());
    browser.wait(LIVE);
    assert_eq!(
        browser.eval("location.search + location.hash"),
        "",
        "the token has gone"
    );
    assert_eq!(browser.eval("document.cookie"), "", "no script reads it");
    browser.wait("document.querySelectorAll('#executors article').length === 3");
    browser.wait("document.querySelector('#executors').innerText.includes('1,234 completed')");
    browser.wait("document.querySelectorAll('#executors tbody tr').length === 2");

    // It updates.
    procs.map(0..1000, |n: u64| n * n).unwrap();
    browser.wait("document.querySelector('#executors').innerText.includes('2,234 completed')");
    pool.spawn(|| panic!("{HOSTILE}")).named(HOSTILE).detach();
    browser.wait("document.querySelectorAll('#failures tbody tr').length === 1");

    // The tasks: groups, one group, its second page.
    browser.eval("document.getElementById('tasks').open = true");
    browser.wait("document.querySelectorAll('#task-table tbody tr').length >= 3");
    browser.screenshot("light");
    browser.eval("document.querySelector('#task-table tbody tr button').click()");
    browser.wait("!document.getElementById('task-group').hidden && document.querySelectorAll('#task-table tbody tr').length === 100");
    browser.eval("document.querySelector('[data-by=tree]').click()");
    browser.wait("!document.getElementById('page-after').disabled"); // the answer has come
    browser.eval("document.getElementById('page-after').click()");
    browser.wait("document.getElementById('page-number').textContent.startsWith('page 2 of ')");

    // What a program calls its tasks is text.
    let shown = format!("document.body.textContent.includes({})", json!(HOSTILE));
    assert_eq!(browser.eval(&shown), true);
    assert_eq!(
        browser.eval("document.querySelectorAll('img').length + document.scripts.length"),
        1
    );

    // What runs, and how far a map is.
    let (end, ends) = mpsc::channel::<()>();
    let held = pool.spawn(move || _ = ends.recv()).named("held");
    browser.wait("[...document.querySelectorAll('.line .what')].some((what) => what.textContent.startsWith('held, for'))");
    browser.wait("document.querySelectorAll('.line rect').length > 0");
    drop(end);
    held.join().unwrap();
    let map = procs
        .call(slow)
        .chunk_size(1)
        .name("slow map")
        .map_task(0..100_u64);
    browser.wait("document.getElementById('maps').innerText.includes('slow map')");
    map.cancel();
    browser.wait("document.getElementById('maps-section').hidden || !document.getElementById('maps').innerText.includes('slow map')");

    // A worker that dies, and a pool that is killed.
    let _died = procs.spawn((), |()| -> () { std::process::abort() }).join();
    // (The cancelled map has ended workers, too: those that ran its items.)
    let died = match procs.stats().died {
        1 => "1 worker died".to_owned(),
        several => format!("{several} workers died"),
    };
    browser.wait(&format!(
        "document.querySelector('#executors').innerText.includes({})",
        json!(died)
    ));
    procs.kill();
    browser.wait("document.querySelectorAll('#executors tbody tr').length === 0");
    browser.wait(LIVE);
    assert!(browser.console.is_empty(), "{:?}", browser.console);

    // A script that got in could neither make markup nor reach another site.
    let threw = "(() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } })()";
    assert_eq!(browser.eval(threw), true);
    let sent = "fetch('http://127.0.0.1:1/').then(() => 'sent', (error) => error.name)";
    assert_eq!(browser.eval(sent), "TypeError");
    assert!(
        browser
            .console
            .iter()
            .any(|line| line.contains("Content Security Policy"))
    );

    // The program goes on without its page, and the page says so.
    drop(dashboard);
    browser.wait("document.getElementById('state').className === 'lost'");
}

fn slow(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(100));
    n
}

/// Names are whole, where a worker crashed can be opened, and nothing turns a text round.
#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn failures_are_read_as_they_are() {
    let dashboard = serve("127.0.0.1:0").unwrap();
    let (on_threads, in_workers) = (dashboard.recorder(), dashboard.recorder());
    let pool = ThreadPool::builder()
        .threads(1)
        .on_unobserved(move |report| on_threads.failure(report))
        .build()
        .unwrap();
    let procs = ProcessPool::builder()
        .workers(1)
        .on_unobserved(move |report| in_workers.failure(report))
        .build()
        .unwrap();
    let mut browser = Browser::start("failures");
    let size = json!({"width": 1100, "height": 900, "deviceScaleFactor": 0.65, "mobile": false});
    browser.call("Emulation.setDeviceMetricsOverride", size);
    browser.open(&dashboard.url());
    browser.wait(LIVE);
    let rows = |n: usize| format!("document.querySelectorAll('#failures tbody tr').length === {n}");

    procs.call(aborts).name("aborts").spawn(()).detach();
    browser.wait(&rows(1));
    let lines = "(() => {
        const range = document.createRange();
        range.selectNodeContents(document.querySelector('#failures td.name'));
        return [range.toString(), range.getClientRects().length];
    })()";
    assert_eq!(browser.eval(lines), json!(["aborts", 1]));

    let frames = "document.querySelector('#failures tr:last-child pre')";
    assert_eq!(browser.eval(&format!("{frames}.checkVisibility()")), false);
    browser.eval("document.querySelector('#failures summary').click()");
    browser.wait(&format!("{frames}.checkVisibility()"));
    assert_eq!(
        browser.eval(&format!("{frames}.textContent.includes('browser.rs')")),
        true
    );
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert_eq!(
            browser.eval(&format!("{frames}.textContent.split('\\n').length > 3")),
            true
        );
    }

    // The next failure is above it: what is open stays open.
    let turned = "report\u{202e}fdp.exe\u{1b}[2J";
    pool.spawn(move || panic!("{turned}\nsecond line"))
        .named(turned)
        .detach();
    browser.wait(&rows(2));
    let open = "[...document.querySelectorAll('#failures details')].map((part) => part.open)";
    assert_eq!(browser.eval(open), json!([false, true]));
    let shown = "document.querySelector('#failures td.name').textContent";
    assert_eq!(browser.eval(shown), r"report\u{202e}fdp.exe\u{1b}[2J");
    let why = "document.querySelector('#failures td.text').innerText.split('\\n').slice(0, 2)";
    let first = browser.eval(why);
    assert!(
        first[0]
            .as_str()
            .unwrap()
            .ends_with(r"report\u{202e}fdp.exe\u{1b}[2J"),
        "{first}"
    );
    assert_eq!(first[1], "second line");
    browser.screenshot("failures");
    assert!(browser.console.is_empty(), "{:?}", browser.console);
}

fn aborts((): ()) {
    eprintln!("{}", "the last words of a worker are long ".repeat(20));
    std::process::abort()
}

#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn a_hidden_page_asks_for_nothing() {
    let dashboard = serve("127.0.0.1:0").unwrap();
    let mut browser = Browser::start("hidden");
    browser.open(&dashboard.url());
    browser.wait(LIVE);
    let client = Client::enter(&dashboard);
    // There is room for 16 streams: all of them, once the page has closed its own.
    let mut streams: Vec<_> = (0..15).map(|_| client.events().unwrap()).collect();
    assert_eq!(client.events().err(), Some(503));
    let set = |state| {
        format!(
            "Object.defineProperty(document, 'visibilityState', {{value: '{state}', configurable: true}});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.eval(&set("hidden"));
    browser.wait("document.getElementById('state').textContent === 'paused'");
    let start = std::time::Instant::now();
    let last = loop {
        match client.events() {
            Ok(events) => break events,
            Err(_) => assert!(start.elapsed() < support::LIMIT),
        }
    };
    streams.push(last);
    streams.clear();
    browser.eval(&set("visible"));
    browser.wait(LIVE);
}

#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn light_dark_and_a_phone() {
    let dashboard = serve("127.0.0.1:0").unwrap();
    let procs = ProcessPool::with_workers(2).unwrap();
    let driven = Driven::start(30);
    let _processes = dashboard.watch_processes(
        &procs,
        "squares, with a name that is rather long for a card",
    );
    let _loop = dashboard.watch_loop(&driven.handle, "main");
    let mut browser = Browser::start("phone");
    let phone = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
    browser.call("Emulation.setDeviceMetricsOverride", phone);
    browser.open(&dashboard.url());
    browser.wait(LIVE);
    browser.eval("for (const part of document.querySelectorAll('details')) part.open = true");
    browser.wait("document.querySelectorAll('#task-table tbody tr').length >= 3");
    browser.wait("document.querySelectorAll('#thread-table tbody tr').length >= 1 || !navigator.platform.startsWith('Linux')");
    assert_eq!(
        browser.eval("document.scrollingElement.scrollWidth"),
        360,
        "nothing sticks out"
    );
    let mut colours = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.call("Emulation.setEmulatedMedia", features);
        browser.screenshot(&format!("phone-{scheme}"));
        colours.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
    }
    assert_eq!(colours, ["rgb(246, 247, 249)", "rgb(18, 22, 27)"]);
    assert!(browser.console.is_empty(), "{:?}", browser.console);
}

#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn a_report_opens_without_the_program() {
    let path = std::env::temp_dir().join(format!(
        "trefoil-browser-report-{}.html",
        std::process::id()
    ));
    {
        let dashboard = serve("127.0.0.1:0").unwrap();
        let driven = Driven::start(250);
        let pool = ThreadPool::with_threads(2);
        let _pool = dashboard.watch_threads(&pool, HOSTILE);
        let _loop = dashboard.watch_loop(&driven.handle, "main");
        dashboard.report(&path).unwrap();
    }
    let mut browser = Browser::start("report");
    browser.open(&format!("file://{}", path.display()));
    browser.wait("document.querySelectorAll('#executors article').length === 2");
    browser.wait("document.querySelectorAll('#task-table tbody tr').length >= 3");
    browser.wait("!document.getElementById('executors').innerText.includes('–')"); // delays are known
    browser.eval("document.querySelector('[data-by=tree]').click()");
    browser.wait("document.querySelectorAll('#task-table tbody tr').length === 100");
    assert_eq!(
        browser.eval("document.querySelectorAll('img').length + document.scripts.length"),
        2
    );
    assert!(browser.console.is_empty(), "{:?}", browser.console);
    browser.screenshot("report");
    std::fs::remove_file(&path).unwrap();
}

#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn the_page_survives_very_many_tasks() {
    let full = std::env::var_os("TREFOIL_FULL").is_some();
    let tasks = if full { 1_000_000 } else { 100_000 };
    let dashboard = serve("127.0.0.1:0").unwrap();
    let driven = Driven::start(tasks);
    let _loop = dashboard.watch_loop(&driven.handle, "main");
    let mut browser = Browser::start("many");
    browser.open(&dashboard.url());
    browser.wait(LIVE);
    browser.eval("document.getElementById('tasks').open = true");
    browser.wait(&format!(
        "Number(document.getElementById('task-count').textContent.replaceAll(',', '')) > {tasks}"
    ));
    browser.wait("document.querySelectorAll('#task-table tbody tr').length >= 3");
    browser.screenshot("many");
    std::thread::sleep(Duration::from_secs(3)); // some refreshes, of which none must break the page
    browser.wait(LIVE);
    assert!(browser.console.is_empty(), "{:?}", browser.console);
}

/// The pictures of `docs/OBSERVE.md`, and of this crate's README (in dark: it is in `images`), from
/// the example `dashboard`, which a user can run, too:
/// `TREFOIL_SCREENSHOTS=$PWD/docs/images cargo test .. --test browser -- --ignored picture`.
#[test]
#[ignore = "needs Chromium: run by `.ci/long page`"]
fn the_picture_of_the_example() {
    let mut program = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "-p", "trefoil-dashboard"])
        .args(["--example", "dashboard", "--", "60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    output.read_line(&mut url).unwrap();

    let mut browser = Browser::start("picture");
    let mut size = json!({"width": 920, "height": 900, "deviceScaleFactor": 0.65, "mobile": false});
    browser.call("Emulation.setDeviceMetricsOverride", size.clone());
    browser.open(url.trim());
    browser.wait(LIVE);
    browser.wait("document.querySelectorAll('#failures tbody tr').length >= 2");
    std::thread::sleep(Duration::from_secs(25)); // the strips fill
    size["height"] = browser.eval("document.documentElement.scrollHeight");
    browser.call("Emulation.setDeviceMetricsOverride", size);
    std::thread::sleep(Duration::from_secs(2)); // it is drawn anew
    browser.screenshot("dashboard-light");
    let dark = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
    browser.call("Emulation.setEmulatedMedia", json!({"features": dark}));
    std::thread::sleep(Duration::from_secs(2)); // and once more
    browser.screenshot("dashboard-dark");
    drop(browser);
    program.kill().unwrap();
    program.wait().unwrap();
}
