//! `chaos`, on Slurm: each connection of a worker goes through this process, where it can be cut.
//!
//! Where there is no cluster, a script stands in for `srun`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use trefoil::ProcessPool;
use trefoil_machines::Slurm;

use crate::chaos::nothing_is_lost;
use crate::contract::PoolFolder;
use crate::support::{Dice, Test, tests};

/// The connections that pass through this process, both sides of each.
#[derive(Clone, Default)]
struct Way(Arc<Mutex<Vec<[TcpStream; 2]>>>);

impl Way {
    /// Forwards connections to the port `to`. Returns the port on which it listens.
    fn open(&self, to: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let all = self.0.clone();
        thread::spawn(move || {
            for dialled in listener.incoming().flatten() {
                let Ok(pool) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue; // the test is over
                };
                let clones = || Some([dialled.try_clone().ok()?, pool.try_clone().ok()?]);
                let (Some(one), Some(other), Some(kept)) = (clones(), clones(), clones()) else {
                    continue;
                };
                let [from, to] = one;
                thread::spawn(move || pass(&from, &to));
                let [to, from] = other;
                thread::spawn(move || pass(&from, &to));
                let mut all = all.lock().unwrap();
                all.retain(|[_, pool]| pool.peer_addr().is_ok());
                all.push(kept);
            }
        });
        port
    }

    /// Resets some connection, for the pool alone or for the worker, too. (Never for the worker
    /// alone: the pool would not notice.)
    fn cut(&self, dice: &mut Dice) {
        let mut all = self.0.lock().unwrap();
        all.retain(|[_, pool]| pool.peer_addr().is_ok());
        if all.is_empty() {
            return;
        }
        let which = dice.roll(all.len() as u64) as usize;
        let [there, here] = all.swap_remove(which);
        reset(&here);
        if dice.roll(2) == 0 {
            reset(&there);
        }
    }
}

/// Ends a connection at once; data in transit is lost.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::connect_unspec(stream);
}

/// Forwards all data, and then the end of the stream or its error.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 65_536];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return drop(to.shutdown(Shutdown::Write)),
            Ok(count) if to.write_all(&buffer[..count]).is_ok() => {}
            Ok(_) => return reset(from),
            Err(_) => return reset(to),
        }
    }
}

/// Scripts in the place of Slurm's commands: a worker is started at once, on this machine.
pub(crate) fn stand_in(folder: &Path) {
    let srun = "#!/bin/sh\nfor last; do :; done\n[ \"$1\" != --test-only ] || exit 0\nuntil [ \"$1\" = sh ]; do shift; done\nexec \"$@\"\n";
    for (name, text) in [
        ("srun", srun),
        ("scancel", "#!/bin/sh\n"),
        ("squeue", "#!/bin/sh\n"),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    }
}

tests! {
    fn nothing_is_lost_on_slurm() {
        let folder = PoolFolder::new();
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = own.local_addr().unwrap().port();
        drop(own);
        let way = Way::default();
        let through = way.open(port);
        let script = format!(
            "#!/bin/sh\nTREFOIL_WORKER=$(printf %s \"$TREFOIL_WORKER\" | sed 's/@127.0.0.1:{port},/@127.0.0.1:{through},/')\n\
             export TREFOIL_WORKER\nexec {} \"$@\"\n",
            std::env::current_exe().unwrap().display(),
        );
        let program = folder.0.join("through");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
        let slurm = Slurm::srun().directory(&folder.0).listen(format!("127.0.0.1:{port}")).nodes(4..=4);
        let procs = ProcessPool::builder().launcher(slurm.executable(program)).build().unwrap();
        nothing_is_lost("slurm", procs, &|_, dice| way.cut(dice));
    }
}
