//! All types of `io`, and the futures of their methods, are `Send`.

use std::io::{SeekFrom, pipe};
use std::process::Stdio;

use trefoil::io::{
    AsyncFd, Command, Signal, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener,
    UnixStream, ctrl_c, fs, lookup_host, stderr, stdin, stdout,
};

fn send<T: Send>(_: &T) {}

fn send_sync<T: Send + Sync + std::fmt::Debug>(_: &T) {}

/// The check is that this compiles; running it shows that nothing panics.
#[test]
fn the_types_and_the_futures_are_send() {
    let mut buffer = [0; 8];
    let mut vector = Vec::new();
    let mut text = String::new();

    send(&lookup_host("localhost:1"));
    send(&TcpListener::bind("localhost:1"));
    send(&TcpStream::connect("localhost:1"));
    send(&UdpSocket::bind("localhost:1"));
    send(&UnixListener::bind("path"));
    send(&UnixStream::connect("path"));
    send(&UnixDatagram::bind("path"));

    let fd = AsyncFd::new(pipe().unwrap().0).unwrap();
    send_sync(&fd);
    send(&fd.readable());
    send(&fd.writable());
    send(&fd.read_with(|_| Ok(())));

    let (near, far) = UnixStream::pair().unwrap();
    send_sync(&near);
    send(&near.read(&mut buffer));
    send(&near.read_to_end(&mut vector));
    send(&near.write_all(b""));
    let (reader, writer) = far.into_split();
    send_sync(&reader);
    send_sync(&writer);
    send(&reader.read(&mut buffer));
    send(&writer.write(b""));

    let (datagram, _) = UnixDatagram::pair().unwrap();
    send_sync(&datagram);
    send(&datagram.send_to(b"", "path"));
    send(&datagram.recv_from(&mut buffer));

    let mut command = Command::new("true");
    send_sync(&command);
    send(&command.output());
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    send_sync(&child);
    send(&child.wait());
    send(&child.wait_with_output());

    let signal = Signal::new(Signal::WINCH).unwrap();
    send_sync(&signal);
    send(&signal.recv());
    send(&ctrl_c());

    let (mut input, mut output, mut error) = (stdin(), stdout(), stderr());
    send_sync(&input);
    send(&input.read_line(&mut text));
    send(&output.write_all(b""));
    send(&error.flush());

    let mut file = fs::File::from(std::fs::File::open("/dev/null").unwrap());
    send_sync(&file);
    send(&file.read(&mut buffer));
    send(&file.write_all(b""));
    send(&file.seek(SeekFrom::Start(0)));
    send(&file.metadata());
    send(&fs::write("path", b""));
    send(&fs::read_dir("path"));
}
