//! The hosts of the tests.
//!
//! The stand-in is a script in the place of ssh's client. A real sshd listens on a separate port of
//! this machine, with its own keys, as this user: it needs no special rights, and nothing of it
//! outlives the test.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use trefoil::{ProcessPool, ProcessPoolBuilder};
use trefoil_machines::Ssh;

use crate::cut::ip;

/// The hosts `node1`, `node2` and so on, and how to reach them.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) directory: PathBuf,
    config: Option<PathBuf>,
    sshds: Vec<Child>,
    /// How many of the hosts are network namespaces.
    apart: usize,
}

/// The clusters that are possible on this machine.
pub(crate) fn clusters() -> Vec<Cluster> {
    let mut clusters = vec![Cluster::stand_in()];
    match sshd() {
        Some(sshd) => clusters.push(Cluster::real(sshd)),
        None => print!("(without sshd, which is not installed) "),
    }
    clusters
}

fn sshd() -> Option<&'static str> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
    sshd.into_iter().find(|path| Path::new(path).exists())
}

impl Cluster {
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
            sshds: Vec::new(),
            apart: 0,
        }
    }

    pub(crate) fn stand_in() -> Self {
        let cluster = Self::new("stand-in");
        // The command is the last word; the words before it go into the log. `$EXTRA` is what
        // another machine would do first.
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {}\nfor last; do :; done\n$EXTRA\nexec sh -c \"$last\"\n",
            cluster.directory.join("log").display()
        );
        cluster.script("ssh", &script);
        cluster
    }

    fn real(sshd: &str) -> Self {
        let mut cluster = Self::new("sshd");
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = own.local_addr().unwrap().port();
        drop(own);
        cluster.keys("");
        let hosts = format!("Host node* stranger\n  HostName 127.0.0.1\n  Port {port}\n");
        cluster.configure(&hosts);
        cluster.listen(Command::new(sshd), "127.0.0.1", port);
        cluster
    }

    /// So many hosts, each with its own network: see `cut`. `None`: this machine cannot have them.
    pub(crate) fn apart(many: usize) -> Option<Self> {
        let sshd = sshd()?;
        let mut cluster = Self::new("apart");
        cluster.keys("ClientAliveInterval 2\nClientAliveCountMax 3\n");
        let mut hosts = String::new();
        for host in 1..=many {
            let name = cluster.host(host);
            cluster.apart = host;
            let own = [
                format!("netns add {name}"),
                format!("link add {name} type veth peer name eth0 netns {name}"),
                format!("addr add 10.213.{host}.1/24 dev {name}"),
                format!("link set {name} up"),
                format!("-n {name} addr add 10.213.{host}.2/24 dev eth0"),
                format!("-n {name} link set eth0 up"),
                format!("-n {name} link set lo up"),
            ];
            if !own.iter().all(|words| ip(words)) {
                return None;
            }
            let address = format!("10.213.{host}.2");
            hosts.push_str(&format!(
                "Host node{host}\n  HostName {address}\n  Port 22\n"
            ));
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &name, sshd]);
            cluster.listen(command, &address, 22);
        }
        cluster.configure(&hosts);
        Some(cluster)
    }

    /// The name of a host on this machine, which its network interface has, too.
    fn host(&self, host: usize) -> String {
        format!("tf{}h{host}", std::process::id())
    }

    /// Takes the other end of a host's network interface down.
    pub(crate) fn cut(&mut self, host: usize) {
        assert!(ip(&format!("-n {} link set eth0 down", self.host(host))));
    }

    pub(crate) fn mend(&mut self, host: usize) {
        assert!(ip(&format!("-n {} link set eth0 up", self.host(host))));
    }

    fn at(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Makes keys and the configuration that all sshds share; `more` is appended to it.
    fn keys(&self, more: &str) {
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &self.at(key)]);
            assert!(keygen.status().unwrap().success());
        }
        std::fs::copy(self.at("user.pub"), self.at("authorized")).unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n{more}",
            self.at("host"),
            self.at("authorized")
        );
        std::fs::write(self.at("sshd_config"), config).unwrap();
        let key = std::fs::read_to_string(self.at("host.pub")).unwrap();
        std::fs::write(self.at("known"), format!("cluster {key}")).unwrap();
        if rustix::process::geteuid().is_root() {
            let _ = std::fs::create_dir("/run/sshd"); // sshd's directory for privilege separation
        }
    }

    /// Writes the configuration of the client, for these `hosts`.
    fn configure(&mut self, hosts: &str) {
        let config = format!(
            "{hosts}Host *\n  HostKeyAlias cluster\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking yes\n",
            self.at("user"),
            self.at("known")
        );
        std::fs::write(self.at("config"), config).unwrap();
        self.config = Some(self.directory.join("config"));
    }

    /// Starts an sshd, and waits until it listens.
    fn listen(&mut self, mut sshd: Command, address: &str, port: u16) {
        sshd.args(["-D", "-e", "-f", &self.at("sshd_config")]);
        sshd.args([
            "-o",
            &format!("ListenAddress={address}"),
            "-p",
            &port.to_string(),
        ]);
        // (If it had this program's output, a test runner would wait for its end.)
        let sshd = sshd.stdin(Stdio::null()).stdout(Stdio::null());
        let mut sshd = sshd.stderr(Stdio::piped()).spawn().unwrap();
        let mut words = BufReader::new(sshd.stderr.take().unwrap());
        self.sshds.push(sshd);
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(words.read_line(&mut line).unwrap() > 0, "sshd has ended");
        }
        std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
    }

    /// Writes an executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        path
    }

    /// An engine for these hosts of the cluster.
    pub(crate) fn ssh(&self, hosts: &[&str]) -> Ssh {
        let ssh = Ssh::hosts(hosts.iter().copied()).directory(self.directory.join("cache"));
        match &self.config {
            Some(config) => ssh.config(config),
            None => ssh.client(self.directory.join("ssh")),
        }
    }

    pub(crate) fn builder(&self, hosts: &[&str]) -> ProcessPoolBuilder {
        ProcessPool::builder().launcher(self.ssh(hosts))
    }

    /// A pool on one host, with so many workers.
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

impl Drop for Cluster {
    fn drop(&mut self) {
        for sshd in &mut self.sshds {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
        for host in 1..=self.apart {
            ip(&format!("link del {}", self.host(host)));
            ip(&format!("netns del {}", self.host(host)));
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
