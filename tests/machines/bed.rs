//! Where the tests' hosts are.
//!
//! The stand-in is a script in the place of ssh's client. A real sshd listens on a port of its own,
//! on this machine, with keys of its own, as this user: it needs no rights, and nothing that it has
//! outlives the test.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use trefoil::{ProcessPool, ProcessPoolBuilder, Ssh};

/// Hosts `node1` and `node2`, or as many more as there are names.
pub(crate) struct Bed {
    pub(crate) name: &'static str,
    pub(crate) directory: PathBuf,
    config: Option<PathBuf>,
    sshd: Option<Child>,
}

/// Those that there are here.
pub(crate) fn beds() -> Vec<Bed> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
    let sshd = sshd.iter().find(|path| Path::new(path).exists());
    let mut beds = vec![Bed::stand_in()];
    match sshd {
        Some(sshd) => beds.push(Bed::real(sshd)),
        None => print!("(without sshd, which is not installed) "),
    }
    beds
}

impl Bed {
    fn new(name: &'static str) -> Self {
        // A counter: no protocol.
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let unique = format!("trefoil-{name}-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(unique);
        std::fs::create_dir(&directory).unwrap();
        Self {
            name,
            directory,
            config: None,
            sshd: None,
        }
    }

    pub(crate) fn stand_in() -> Self {
        let bed = Self::new("stand-in");
        // The command is the last word; what came before, the log has. `$EXTRA` is what another
        // machine would do first.
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {}\nfor last; do :; done\n$EXTRA\nexec sh -c \"$last\"\n",
            bed.directory.join("log").display()
        );
        bed.script("ssh", &script);
        bed
    }

    fn real(sshd: &str) -> Self {
        let mut bed = Self::new("sshd");
        let at = |name: &str| bed.directory.join(name).display().to_string();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
            assert!(keygen.status().unwrap().success());
        }
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = own.local_addr().unwrap().port();
        drop(own);
        std::fs::copy(at("user.pub"), at("authorized")).unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            at("host"),
            at("authorized")
        );
        std::fs::write(at("sshd_config"), config).unwrap();
        let key = std::fs::read_to_string(at("host.pub")).unwrap();
        std::fs::write(at("known"), format!("bed {key}")).unwrap();
        let config = format!(
            "Host node* stranger\n  HostName 127.0.0.1\n  HostKeyAlias bed\n  Port {port}\nHost *\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n",
            at("user"),
            at("known")
        );
        std::fs::write(at("config"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            let _ = std::fs::create_dir("/run/sshd"); // where sshd locks itself up
        }
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f", &at("sshd_config")]);
        // (With this program's output it would keep open what a runner reads until its end.)
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut sshd = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut words = BufReader::new(sshd.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(words.read_line(&mut line).unwrap() > 0, "sshd has ended");
        }
        std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
        bed.sshd = Some(sshd);
        bed.config = Some(bed.directory.join("config"));
        bed
    }

    /// Writes a program.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        path
    }

    /// These hosts, in this bed.
    pub(crate) fn ssh(&self, hosts: &[&str]) -> Ssh {
        let ssh = Ssh::hosts(hosts.iter().copied()).directory(self.directory.join("cache"));
        match &self.config {
            Some(config) => ssh.config(config),
            None => ssh.client(self.directory.join("ssh")),
        }
    }

    pub(crate) fn builder(&self, hosts: &[&str]) -> ProcessPoolBuilder {
        ProcessPool::builder().on(self.ssh(hosts))
    }

    /// One host with so many workers.
    pub(crate) fn pool(&self, workers: usize) -> ProcessPool {
        self.builder(&["node1"]).workers(workers).build().unwrap()
    }

    /// How often the stand-in was called.
    pub(crate) fn calls(&self) -> usize {
        std::fs::read_to_string(self.directory.join("log"))
            .unwrap()
            .lines()
            .count()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(sshd) = &mut self.sshd {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
