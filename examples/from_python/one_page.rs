//! One page, three times over one kept-alive connection.
//!
//! What a session of Python's library `requests` does: connect once, then send any number of
//! requests. The server is part of the program and counts the connections that it sees.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use trefoil::io::{TcpListener, TcpStream};
use trefoil::spawn;

const PAGE: &str = "<h1>Three leaves, one stem</h1>\n";

/// A connection to one server that is used again and again.
struct Session {
    stream: TcpStream,
    host: SocketAddr,
}

impl Session {
    async fn connect(host: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        Ok(Self { stream, host })
    }

    /// Asks for `path`; gives the status line and the body.
    async fn get(&self, path: &str) -> io::Result<(String, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await?;
        let head = read_head(&self.stream).await?;
        let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        // The connection stays open, so only the length says where the body ends.
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let length = name
                .eq_ignore_ascii_case("content-length")
                .then_some(value)?;
            length.trim().parse().ok()
        });
        let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        self.stream.read_exact(&mut body).await?;
        let status = head.lines().next().unwrap_or_default();
        Ok((
            status.to_owned(),
            String::from_utf8_lossy(&body).into_owned(),
        ))
    }
}

/// Reads up to the empty line, and not a byte further; `None`: the other side has hung up.
async fn read_head(stream: &TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.extend(byte);
        if head.len() > 8192 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// Answers on one connection for as long as the client asks.
async fn serve(stream: TcpStream) -> io::Result<()> {
    while let Some(request) = read_head(&stream).await? {
        let (status, body) = if request.starts_with("GET / ") {
            ("200 OK", PAGE)
        } else {
            ("404 Not Found", "no such page\n")
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let host = listener.local_addr()?;
        // All of this runs on one thread: an `Rc` and a `Cell` are enough.
        let connections = Rc::new(Cell::new(0));
        let seen = Rc::clone(&connections);
        spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    seen.set(seen.get() + 1);
                    spawn(serve(stream)).detach();
                }
            }
        })
        .detach();

        let session = Session::connect(host).await?;
        for path in ["/", "/", "/elsewhere"] {
            let (status, body) = session.get(path).await?;
            println!(
                "GET {path}: {status}, {} bytes: {}",
                body.len(),
                body.trim()
            );
        }
        println!("connections: {}", connections.get());
        Ok(())
    })
}
