//! The client of the echo servers: connections on which a request of 64 bytes is always under way.
//!
//! It is as cheap as it can be: one thread, `epoll`, no allocation; with one connection, only a
//! read and a write.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const REQUEST: [u8; 64] = [7; 64];

pub struct Load {
    streams: Vec<TcpStream>,
    epoll: OwnedFd,
}

impl Load {
    /// Connects so many times.
    pub fn connect(port: u16, connections: usize) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("there is epoll");
        let mut streams = Vec::with_capacity(connections);
        for at in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            stream.set_nodelay(true).expect("it is a socket");
            let data = EventData::new_u64(at as u64);
            epoll::add(&epoll, &stream, data, EventFlags::IN).expect("it can be watched");
            streams.push(stream);
            // Connections are accepted in order: when this one is answered, all are. So no
            // connection waits for a second because the queue of those that are not accepted yet is
            // full.
            if at % 64 == 63 {
                let stream = &mut streams[at];
                stream.write_all(&REQUEST).expect("the server is there");
                let mut answer = REQUEST;
                stream.read_exact(&mut answer).expect("it answers");
            }
        }
        Self { streams, epoll }
    }

    /// One request on each, and the answers.
    pub fn once_each(&mut self) {
        for stream in &mut self.streams {
            stream.write_all(&REQUEST).expect("the server is there");
        }
        for stream in &mut self.streams {
            stream
                .read_exact(&mut [0; REQUEST.len()])
                .expect("the server answers");
        }
    }

    /// At least so many requests; the time that each took.
    pub fn run(&mut self, requests: u64) -> Duration {
        let mut answer = [0; REQUEST.len()];
        let start = Instant::now();
        if let [stream] = &mut self.streams[..] {
            for _ in 0..requests {
                stream.write_all(&REQUEST).expect("the server is there");
                stream.read_exact(&mut answer).expect("the server answers");
            }
            return start.elapsed() / requests as u32;
        }
        for stream in &mut self.streams {
            stream.write_all(&REQUEST).expect("the server is there");
        }
        let mut sent = self.streams.len() as u64;
        let mut answered = 0;
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        while answered < sent {
            events.clear();
            let space = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.epoll, space, None).expect("epoll waits");
            for event in &events {
                let at = { event.data }.u64() as usize;
                let stream = &mut self.streams[at];
                stream.read_exact(&mut answer).expect("the server answers");
                answered += 1;
                if sent < requests {
                    stream.write_all(&REQUEST).expect("the server is there");
                    sent += 1;
                }
            }
        }
        start.elapsed() / answered as u32
    }
}
