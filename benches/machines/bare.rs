//! Bare streams to processes that do what a frame asks for: no pool, only frames.
//!
//! A frame is what to do, the length of what follows, and that; the answer is the same frame. Each
//! stream has one process at its other end, which takes one frame after the other; answers that
//! are ready leave together when nothing more is there to read.

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Any, MIB, answer, middle, one_microsecond, rate};

/// What a frame asks for, besides so many microseconds.
const DIE: u64 = u64::MAX;

type From = BufReader<Box<dyn Read + Send>>;
type To = BufWriter<Box<dyn Write + Send>>;

/// The other end: it does what frames ask for until there are no more.
pub(crate) fn serve(from: impl Read, to: impl Write) -> Result<(), Any> {
    let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
    let mut bytes = Vec::new();
    loop {
        if from.buffer().is_empty() {
            to.flush()?;
            if from.fill_buf()?.is_empty() {
                return Ok(());
            }
        }
        match receive(&mut from, &mut bytes)? {
            0 => {}
            1 => _ = one_microsecond(0),
            DIE => std::process::abort(),
            micros => std::thread::sleep(Duration::from_micros(micros)),
        }
        to.write_all(&bytes)?;
    }
}

/// The next frame, and what it asks for.
fn receive(from: &mut impl Read, frame: &mut Vec<u8>) -> std::io::Result<u64> {
    let mut head = [0; 16];
    from.read_exact(&mut head)?;
    let [what, length] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|n| head[at + n])));
    frame.resize(16 + length as usize, 0);
    frame[..16].copy_from_slice(&head);
    from.read_exact(&mut frame[16..])?;
    Ok(what)
}

fn frame(what: u64, length: usize) -> Vec<u8> {
    let mut frame = [what.to_le_bytes(), (length as u64).to_le_bytes()].concat();
    frame.resize(16 + length, 7);
    frame
}

/// Where a stream leads to.
pub(crate) enum Way<'a> {
    /// A process of this machine, over TCP.
    Tcp,
    /// A process that ssh starts there, with that file of the client's.
    Ssh { host: &'a str, config: &'a str },
}

struct Stream {
    to: To,
    from: From,
    process: Child,
}

impl Stream {
    fn start(way: &Way<'_>) -> Result<Self, Any> {
        let program = std::env::current_exe()?;
        match way {
            Way::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let address = listener.local_addr()?.to_string();
                let process = Command::new(program).args(["serve", &address]).spawn()?;
                let (to, _) = listener.accept()?;
                to.set_nodelay(true)?;
                Ok(Self::new(to.try_clone()?, to, process))
            }
            Way::Ssh { host, config } => {
                let program = program.to_str().ok_or("this program's path is no text")?;
                let mut command = Command::new("ssh");
                command.args(["-F", config, "-T", host, &format!("'{program}' serve")]);
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut process = command.spawn()?;
                let (to, from) = (process.stdin.take(), process.stdout.take());
                let (to, from) = (to.ok_or("no input")?, from.ok_or("no output")?);
                Ok(Self::new(to, from, process))
            }
        }
    }

    fn new(
        to: impl Write + Send + 'static,
        from: impl Read + Send + 'static,
        process: Child,
    ) -> Self {
        Self {
            to: BufWriter::new(Box::new(to)),
            from: BufReader::new(Box::new(from)),
            process,
        }
    }

    /// Sends that frame so often and awaits the answers, which another thread reads meanwhile.
    fn exchange(&mut self, count: usize, frame: &[u8], each_a_write: bool) -> std::io::Result<()> {
        let (to, from) = (&mut self.to, &mut self.from);
        std::thread::scope(|scope| {
            let answers = scope.spawn(move || {
                let mut bytes = Vec::new();
                (0..count).try_for_each(|_| receive(from, &mut bytes).map(drop))
            });
            for _ in 0..count {
                to.write_all(frame)?;
                if each_a_write {
                    to.flush()?;
                }
            }
            to.flush()?;
            answers.join().expect("it reads")
        })
    }

    fn trip(&mut self) -> Result<Duration, Any> {
        let (frame, mut bytes) = (frame(0, 0), Vec::new());
        let begin = Instant::now();
        self.to.write_all(&frame)?;
        self.to.flush()?;
        receive(&mut self.from, &mut bytes)?;
        Ok(begin.elapsed())
    }

    /// The process at the other end dies; it is seen, and another one started.
    fn die(&mut self, way: &Way<'_>) -> Result<(), Any> {
        self.to.write_all(&frame(DIE, 0))?;
        self.to.flush()?;
        match receive(&mut self.from, &mut Vec::new()) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err("it answers, dead".into()),
        }
        self.process.wait()?;
        *self = Self::start(way)?;
        Ok(())
    }
}

/// Each stream takes its share of the frames, all at once.
fn share(streams: &mut [Stream], count: usize, frame: &[u8], each: bool) -> std::io::Result<()> {
    let all = streams.len();
    std::thread::scope(|scope| {
        let shares: Vec<_> = streams
            .iter_mut()
            .enumerate()
            .map(|(number, stream)| {
                scope.spawn(move || stream.exchange((count + number) / all, frame, each))
            })
            .collect();
        shares
            .into_iter()
            .try_for_each(|share| share.join().expect("it exchanges"))
    })
}

/// So many streams that way, asked for rows.
pub(crate) fn streams(way: &Way<'_>, count: usize) -> Result<(), Any> {
    let start = |_| Stream::start(way);
    let mut streams: Vec<Stream> = (0..count).map(start).collect::<Result<_, _>>()?;
    answer(|row| {
        share(&mut streams, 1000, &frame(0, 0), false)?;
        let mut items = |count, what, length, each| {
            let frame = frame(what, length);
            rate(count, || share(&mut streams, count, &frame, each))
        };
        match row {
            "trip" => {
                let trips = (0..1000).map(|_| streams[0].trip());
                Ok(middle(trips.collect::<Result<_, _>>()?))
            }
            "chunks" => items(20_000, 0, 0, true),
            "nothing" => items(300_000, 0, 0, false),
            "1us" => items(300_000, 1, 0, false),
            "1ms" => items(3000, 1000, 0, false),
            "100ms" => items(60, 100_000, 0, false),
            "bulk" => items(32, 0, MIB, false),
            "killed" => {
                let begin = Instant::now();
                streams[0].die(way)?;
                share(&mut streams, 1000, &frame(0, 0), false)?;
                Ok(begin.elapsed().as_secs_f64())
            }
            row => Err(format!("{row}?").into()),
        }
    })?;
    for Stream {
        to,
        from,
        mut process,
    } in streams
    {
        drop((to, from));
        process.wait()?;
    }
    Ok(())
}
