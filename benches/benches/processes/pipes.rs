//! Bare pipes: a copy of this program that reads numbers from one and writes answers to the other.
//!
//! No library, no protocol: both sides know the length of a message. No pool can need less than
//! this.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Asks this program to answer.
const FLAG: &str = "--pipe-child";

/// If this process was started for it: answers until its input ends. Every eight bytes are a
/// number, to which it adds one; or it returns blocks of a given size unchanged.
pub fn child() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let Some(at) = args.iter().position(|arg| arg == FLAG) else {
        return false;
    };
    let block: usize = args[at + 1].parse().expect("a number of bytes");
    let mut stdin = std::io::stdin().lock();
    let mut stdout = rustix::io::dup(rustix::stdio::stdout())
        .map(std::fs::File::from)
        .expect("it is a pipe");
    let mut buffer = vec![0; block.max(1 << 16)];
    if block == 0 {
        let mut have = 0;
        loop {
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer[have..]) {
                Ok(count) if count > 0 => have += count,
                _ => return true,
            }
            let whole = have - have % 8;
            for number in buffer[..whole].chunks_exact_mut(8) {
                let value = u64::from_ne_bytes(number.try_into().expect("eight bytes")) + 1;
                number.copy_from_slice(&value.to_ne_bytes());
            }
            if stdout.write_all(&buffer[..whole]).is_err() {
                return true;
            }
            buffer.copy_within(whole..have, 0);
            have -= whole;
        }
    }
    while stdin.read_exact(&mut buffer[..block]).is_ok() {
        if stdout.write_all(&buffer[..block]).is_err() {
            break;
        }
    }
    true
}

/// Both ends.
pub struct Pipes {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
}

impl Pipes {
    /// A child that answers numbers (0), or blocks of so many bytes.
    pub fn new(block: usize) -> Self {
        let mut child = Command::new("/proc/self/exe")
            .args([FLAG, &block.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let to = child.stdin.take();
        let from = child.stdout.take().expect("it is piped");
        if block > 0 {
            for fd in [
                rustix::fd::AsFd::as_fd(&from),
                rustix::fd::AsFd::as_fd(to.as_ref().expect("it is piped")),
            ] {
                let _ = rustix::pipe::fcntl_setpipe_size(fd, 1 << 20);
            }
        }
        Self { child, to, from }
    }

    fn to(&mut self) -> &mut ChildStdin {
        self.to.as_mut().expect("open until the end")
    }

    pub fn call(&mut self, n: u64) -> u64 {
        self.to().write_all(&n.to_ne_bytes()).expect("it reads");
        let mut answer = [0; 8];
        self.from.read_exact(&mut answer).expect("it answers");
        u64::from_ne_bytes(answer)
    }

    /// Sends a block, and reads it back; reading must not wait for writing.
    pub fn block(&mut self, block: &mut [u8]) {
        let copy = block.to_vec();
        let mut to = self.to.take().expect("open until the end");
        std::thread::scope(|s| {
            let writer = s.spawn(|| to.write_all(&copy).expect("it reads"));
            self.from.read_exact(block).expect("it answers");
            writer.join().expect("it has written");
        });
        self.to = Some(to);
    }

    /// Kills the child, and waits for the end of what it says.
    pub fn kill_and_wait(&mut self) {
        self.child.kill().expect("it lives");
        let end = self.from.read(&mut [0; 8]).expect("it ends");
        assert_eq!(end, 0);
    }

    /// All of `numbers`, in pieces of 4 KiB, with some of them in flight.
    pub fn all(workers: &mut [Self], numbers: u64) -> u64 {
        let mut sum = 0;
        let mut out = [0; 4096];
        let mut back = [0; 4096];
        let mut sent = 0;
        let mut received = 0;
        const PIECE: u64 = 512;
        const FLIGHT: u64 = 8;
        let count = workers.len() as u64;
        while received < numbers.div_ceil(PIECE) {
            while sent < numbers.div_ceil(PIECE) && sent < received + FLIGHT * count {
                for (place, number) in out.chunks_exact_mut(8).enumerate() {
                    let value = sent * PIECE + place as u64;
                    number.copy_from_slice(&value.to_ne_bytes());
                }
                let to = workers[(sent % count) as usize].to();
                to.write_all(&out).expect("it reads");
                sent += 1;
            }
            let from = &mut workers[(received % count) as usize].from;
            from.read_exact(&mut back).expect("it answers");
            for number in back.chunks_exact(8) {
                sum ^= u64::from_ne_bytes(number.try_into().expect("eight bytes"));
            }
            received += 1;
        }
        sum
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}
