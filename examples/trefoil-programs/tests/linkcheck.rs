//! `linkcheck` against real servers: good, slow, broken, moody and encrypted ones.

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::{Ended, Running, Scratch};

const LINKCHECK: &str = env!("CARGO_BIN_EXE_linkcheck");

fn check(dir: &Path, certificate: &Path) -> Ended {
    let args: [&OsStr; 3] = ["--timeout".as_ref(), "0.5".as_ref(), dir.as_ref()];
    Running::start(LINKCHECK, &args, &[("SSL_CERT_FILE", certificate)]).end()
}

/// A server on threads; gives its port. Each connection is handed to `serve`.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Reads a request; gives its path.
fn request(stream: &mut impl Read) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn answer(mut stream: impl Write, status: &str, headers: &str) {
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}\r\nhello");
}

#[test]
fn broken_links_are_found_and_whole_ones_are_not() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let port = server(move |mut stream| {
        let path = request(&mut stream);
        log.lock().unwrap().push(path.clone());
        match path.as_str() {
            "/" | "/found?q=1" => answer(stream, "200 OK", ""),
            "/moved" => answer(stream, "301 Moved Permanently", "Location: /found?q=1\r\n"),
            "/round" => answer(stream, "302 Found", "location: /round\r\n"),
            "/garbage" => drop(stream.write_all(b"I am no web server\r\n")),
            "/hangs-up" => {}
            "/endless" => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                while stream.write_all(b"X-Filler: and more and more\r\n").is_ok() {}
            }
            _ => answer(stream, "404 Not Found", ""),
        }
    });
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    let dir = Scratch::new("linkcheck");
    let at = format!("http://127.0.0.1:{port}");
    dir.file(
        "index.md",
        format!(
            "[1]({at}) [2]({at}/found?q=1#place) [3]({at}/moved) [4]({at}/gone)\n\
             [5](sub/page.html#top) [6](missing.md) [7](#here) [8](mailto:a@b.example)\n\
             `[9]({at}/in-code)` [10](with%20space.md)\n"
        ),
    );
    dir.file(
        "with space.md",
        format!("again: [x]({at}/gone) <{at}/garbage> <{at}/hangs-up>"),
    );
    dir.file(
        "sub/page.html",
        format!(
            "<a href=\"{at}/round\">r</a> <a href=\"/index.md\">i</a> <img src=\"../no.png\">\
             <a href=\"http://127.0.0.1:{closed}/\">c</a> <a href=\"{at}/endless\">e</a>"
        ),
    );
    dir.file("no-page.txt", "[x](not-looked-at.md)");

    let ended = check(&dir.0, Path::new("/dev/null"));
    let top = format!("{}/", dir.0.display());
    let out = ended.out.replace(&top, "").replace(&at, "AT");
    let lines: Vec<&str> = out.lines().collect();
    let has = |text: &str| {
        assert!(
            lines.iter().any(|line| line.starts_with(text)),
            "{text}: {out}"
        )
    };
    assert_eq!(lines.len(), 10, "{out}\n{}", ended.err);
    has("index.md: AT/gone: status 404");
    has("index.md: missing.md: no such file");
    has("sub/page.html: ../no.png: no such file");
    has("sub/page.html: AT/endless: the answer breaks off");
    has("sub/page.html: AT/round: redirected again and again");
    has(&format!(
        "sub/page.html: http://127.0.0.1:{closed}/: Connection refused"
    ));
    has("with space.md: AT/garbage: the answer is not HTTP");
    has("with space.md: AT/gone: status 404");
    has("with space.md: AT/hangs-up: the answer is not HTTP");
    assert_eq!(lines[9], "3 files, 17 links, 9 addresses asked, 9 broken");
    assert_eq!(ended.code, Some(1));
    let asked = asked.lock().unwrap();
    let times = |path| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!((times("/gone"), times("/"), times("/in-code")), (1, 1, 0));
    assert_eq!(times("/garbage"), 3, "what may pass is tried again");
}

#[test]
fn slow_and_moody_servers_get_their_chance() {
    // Answers its first two callers with an error.
    let calls = AtomicUsize::new(0);
    let moody = server(move |mut stream| {
        request(&mut stream);
        let status = match calls.fetch_add(1, SeqCst) {
            0 => "503 Service Unavailable",
            1 => "429 Too Many Requests",
            _ => "200 OK",
        };
        answer(stream, status, "");
    });
    // Takes the connection and says nothing; and begins, drop by drop.
    let silent = server(|stream| {
        let _ = { &stream }.read(&mut [0; 1]);
        thread::sleep(Duration::from_secs(60));
    });
    let dripping = server(|mut stream| {
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    // Never more than two at a time.
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, seen) = (Arc::clone(&now), Arc::clone(&most));
    let shy = server(move |mut stream| {
        seen.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
        request(&mut stream);
        thread::sleep(Duration::from_millis(20));
        inside.fetch_sub(1, SeqCst);
        answer(stream, "204 No Content", "");
    });

    let dir = Scratch::new("linkcheck-slow");
    let mut page = String::new();
    for port in [moody, silent, dripping] {
        page += &format!("<http://127.0.0.1:{port}/>\n");
    }
    for n in 0..20 {
        page += &format!("<http://127.0.0.1:{shy}/{n}>\n");
    }
    dir.file("page.md", page);
    let began = Instant::now();
    let ended = check(&dir.0, Path::new("/dev/null"));
    let broken = ended
        .out
        .lines()
        .filter(|line| line.ends_with("no answer in 500ms"));
    assert_eq!(broken.count(), 2, "{}", ended.out);
    for port in [silent, dripping] {
        assert!(
            ended.out.contains(&format!("127.0.0.1:{port}/: no answer")),
            "{}",
            ended.out
        );
    }
    assert!(
        ended
            .out
            .ends_with("1 files, 23 links, 23 addresses asked, 2 broken\n")
    );
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "three attempts of half a second"
    );
    assert_eq!(most.load(SeqCst), 2);
}

#[test]
fn encrypted_servers_must_be_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = Scratch::new("linkcheck-tls");
    let trusted = dir.file("certificate.pem", made.cert.pem());
    let nobody = dir.file("nobody.pem", "");
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let port = server(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        if request(&mut stream) == "/secret" {
            answer(stream, "200 OK", "");
        }
    });
    dir.file(
        "pages/page.md",
        format!("[s](https://localhost:{port}/secret)"),
    );

    let ended = check(&dir.0.join("pages"), &trusted);
    assert_eq!(ended.out, "1 files, 1 links, 1 addresses asked, 0 broken\n");
    assert_eq!(ended.code, Some(0));
    let ended = check(&dir.0.join("pages"), &nobody);
    assert!(ended.out.contains("certificate"), "{}", ended.out);
    assert_eq!(ended.code, Some(1));
}
