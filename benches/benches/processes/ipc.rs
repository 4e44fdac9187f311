//! ipc-channel, as one would use it by hand: a copy of this program, and a channel each way.

use std::process::{Child, Command};

use ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
};

/// Asks this program to answer; the name of a server follows.
const FLAG: &str = "--ipc-child";

/// The parent's ends: of numbers, and of blocks.
type Ends = (
    IpcSender<u64>,
    IpcReceiver<u64>,
    IpcBytesSender,
    IpcBytesReceiver,
);

/// If this process was started for it: adds one to each number, until there are no more; or returns
/// each block unchanged.
pub fn child() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let Some(at) = args.iter().position(|arg| arg == FLAG) else {
        return false;
    };
    let server = IpcSender::<Ends>::connect(args[at + 1].clone()).expect("it listens");
    let (to, numbers) = ipc::channel().expect("a channel");
    let (answer, from) = ipc::channel().expect("a channel");
    let (bytes_to, blocks) = ipc::bytes_channel().expect("a channel");
    let (answer_block, bytes_from) = ipc::bytes_channel().expect("a channel");
    let ends = (to, from, bytes_to, bytes_from);
    server.send(ends).expect("it listens");
    let echo = std::thread::spawn(move || {
        while let Ok(block) = blocks.recv() {
            if answer_block.send(&block).is_err() {
                break;
            }
        }
    });
    while let Ok(number) = numbers.recv() {
        if answer.send(number + 1).is_err() {
            break;
        }
    }
    let _ = echo.join();
    true
}

/// The parent's side.
pub struct Channel(Option<Ends>, Child);

impl Channel {
    pub fn new() -> Self {
        let (server, name) = IpcOneShotServer::<Ends>::new().expect("a server");
        let child = Command::new("/proc/self/exe").args([FLAG, &name]).spawn();
        let child = child.expect("this program starts again");
        let (_, ends) = server.accept().expect("it connects");
        Self(Some(ends), child)
    }

    fn ends(&self) -> &Ends {
        self.0.as_ref().expect("open until the end")
    }

    pub fn call(&self, n: u64) -> u64 {
        self.ends().0.send(n).expect("it reads");
        self.ends().1.recv().expect("it answers")
    }

    /// Sends a block. Returns what comes back.
    pub fn block(&self, block: &[u8]) -> Vec<u8> {
        self.ends().2.send(block).expect("it reads");
        self.ends().3.recv().expect("it answers")
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.0 = None;
        let _ = self.1.wait();
    }
}
