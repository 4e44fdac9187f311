//! The same echo server with every contender: a task for each connection, a buffer of 1 KiB each.
//! One has our tasks over tokio's sockets, as crates that ask for tokio do inside
//! `adapters::tokio::with`.
//!
//! The raw one is what one writes by hand: `epoll`, level-triggered, one buffer for all.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trefoil::adapters::tokio::with;
use trefoil_benches::rows::Kind;

use crate::peers::runtimes;
use crate::python;
use crate::roles::Actor;

const BUFFER: usize = 1024;

/// The contenders.
pub fn all() -> Vec<(Kind, &'static str)> {
    let mut all = vec![
        (Kind::Ours, "trefoil"),
        (Kind::OursToo, "trefoil, tokio's sockets"),
        (Kind::Peer, "tokio"),
        (Kind::Peer, "smol"),
        (Kind::Floor, "raw epoll"),
    ];
    all.extend(python::loops().iter().map(|name| (Kind::Peer, *name)));
    all
}

/// A server that listens, and its port.
pub fn start(name: &str, cpu: usize) -> (Actor, u16) {
    let cpu = cpu.to_string();
    let mut actor = if python::loops().contains(&name) {
        let mut command = std::process::Command::new("taskset");
        command.args(["-c", &cpu, "python3", "-c", python::SERVER, name]);
        Actor::of(command)
    } else {
        Actor::start(&["echo", name, &cpu])
    };
    let port = actor.number() as u16;
    (actor, port)
}

/// Serves for ever.
pub fn serve(name: &str) {
    let here = runtimes();
    match name {
        "trefoil" => here.ours.block_on(async {
            let listener = trefoil::io::TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("{}", listener.local_addr().unwrap().port());
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                trefoil::spawn(async move {
                    let mut buffer = [0; BUFFER];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                })
                .detach();
            }
        }),
        "trefoil, tokio's sockets" => here.ours.block_on(with(tokios(|stream| {
            trefoil::spawn(with(echo(stream))).detach();
        }))),
        "tokio" => here.on_tokio(tokios(|stream| drop(tokio::spawn(echo(stream))))),
        "smol" => here.on_smol(async {
            use smol::io::{AsyncReadExt, AsyncWriteExt};
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("{}", listener.local_addr().unwrap().port());
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                here.smol
                    .spawn(async move {
                        let mut buffer = [0; BUFFER];
                        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                            if stream.write_all(&buffer[..count]).await.is_err() {
                                break;
                            }
                        }
                    })
                    .detach();
            }
        }),
        "raw epoll" => raw(),
        other => panic!("no server {other}"),
    }
}

/// With tokio's sockets, whatever runs the tasks.
async fn tokios(start: fn(tokio::net::TcpStream)) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    loop {
        start(listener.accept().await.unwrap().0);
    }
}

async fn echo(mut stream: tokio::net::TcpStream) {
    let mut buffer = [0; BUFFER];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

fn raw() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let of = |fd: i32| EventData::new_u64(fd as u64);
    let accepts = listener.as_raw_fd();
    epoll::add(&epoll, &listener, of(accepts), EventFlags::IN).unwrap();
    let mut streams: HashMap<i32, TcpStream> = HashMap::new();
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut buffer = [0; BUFFER];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let fd = { event.data }.u64() as i32;
            if fd == accepts {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).unwrap();
                    let fd = stream.as_raw_fd();
                    epoll::add(&epoll, &stream, of(fd), EventFlags::IN).unwrap();
                    streams.insert(fd, stream);
                }
                continue;
            }
            let stream = streams.get_mut(&fd).unwrap();
            match stream.read(&mut buffer) {
                Ok(count @ 1..) if stream.write_all(&buffer[..count]).is_ok() => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => drop(streams.remove(&fd)),
            }
        }
    }
}
