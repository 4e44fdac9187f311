//! A client of HTTP that sends what it is given, and nothing by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use trefoil_dashboard::Dashboard;

/// How long a test waits for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("it is JSON")
    }
}

/// Sends these bytes, and reads until the connection is closed.
pub(crate) fn raw(addr: SocketAddr, request: &str) -> Response {
    let mut stream = connect(addr);
    // A connection that is closed while it sends is reset, after the response.
    let _ = stream.write_all(request.as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Response {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// A browser's view of a dashboard: it has the cookie.
pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) page: String,
    pub(crate) cookie: String,
}

impl Client {
    /// Opens the address that the dashboard prints.
    pub(crate) fn enter(dashboard: &Dashboard) -> Self {
        let addr = dashboard.addr();
        let url = dashboard.url();
        let (_, query) = url.split_once('?').unwrap();
        let answer = raw(
            addr,
            &format!("GET /?{query} HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        );
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        Self {
            addr,
            page: answer.header("location").unwrap().to_owned(),
            cookie: cookie.split(';').next().unwrap().to_owned(),
        }
    }

    fn request(&self, method: &str, path: &str, more: &str) -> String {
        let Self { addr, page, cookie } = self;
        // Version 1.0, in which a stream has no chunks.
        format!("{method} {page}{path} HTTP/1.0\r\nHost: {addr}\r\nCookie: {cookie}\r\n{more}\r\n")
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "")
    }

    pub(crate) fn ask(&self, method: &str, path: &str, more: &str) -> Response {
        raw(self.addr, &self.request(method, path, more))
    }

    /// Opens the stream; the error is the status.
    pub(crate) fn events(&self) -> Result<Events, u16> {
        let mut stream = connect(self.addr);
        stream
            .write_all(self.request("GET", "events", "").as_bytes())
            .unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        match status {
            200 => Ok(Events { lines, head }),
            _ => Err(status),
        }
    }
}

/// The stream of events.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
    pub(crate) head: String,
}

impl Events {
    /// The next event's name and data; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<(String, String)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.trim_end().to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                return Some((name, text.trim_end().to_owned()));
            }
        }
    }

    /// Waits for an event of this name that pleases.
    pub(crate) fn wait(&mut self, name: &str, pleases: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (what, data) = self.next().expect("the stream goes on");
            let value: Value = serde_json::from_str(&data).expect("it is JSON");
            if what == name && pleases(&value) {
                return value;
            }
            assert!(start.elapsed() < LIMIT, "the last {name}: {value}");
        }
    }
}
