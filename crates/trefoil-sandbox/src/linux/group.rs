//! The control groups of one pool's workers (version 2): a folder for the pool, a leaf in it for
//! each worker.
//!
//! ```text
//! the group that was delegated        its controllers are switched on for what is below
//! ├── trefoil.program                 where its processes are moved, if it had some
//! └── trefoil.1234.0                  a pool of process 1234 (`owned_folder`)
//!     └── 0.7                         worker 0, the seventh process that was started
//! ```
//!
//! A worker moves to its leaf itself, before `exec` (`raw_child`), and cannot leave it: in a
//! sandbox it writes to no file of a group, and without one it has the rights of its user.
//!
//! Tests: below, on a made-up tree; `tests/sandbox/limits.rs`, and in `.ci/long cgroups` on a
//! kernel that has the controllers.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};

use super::owned_folder::OwnedFolder;

/// How long the last process of a group may take to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The beginning of a pool's name.
const POOL: &str = "trefoil";
/// Where the processes of a delegated group are moved, because one with processes can have no
/// controllers switched on for others.
const PROGRAM: &str = "trefoil.program";

/// How the right to make groups is got.
const HOW: &str = "start the program by `systemd-run --user --scope -p Delegate=yes`, in a unit \
                   with `Delegate=yes` or a container that may write to its control group, or name \
                   a group that this user may write to (`Limits::group`)";

/// A limit: a file of a leaf, and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) controller: &'static str,
    pub(crate) file: &'static str,
    pub(crate) value: String,
}

/// The groups of one pool.
#[derive(Debug)]
pub(crate) struct Groups {
    pool: OwnedFolder,
    settings: Vec<Setting>,
}

/// An error with the name of its file, if that is a file.
fn at<'a>(path: &'a Path) -> impl Fn(io::Error) -> io::Error + 'a {
    move |error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

/// Writes to a file that exists.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::options().write(true).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// The words of a file.
fn words(path: &Path) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// The folder of the group that this process is in. `None`: there is no version 2 here.
fn own() -> io::Result<Option<PathBuf>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(folder_of(&groups, &mounts))
}

fn folder_of(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Which folder of the file system is mounted where; behind a dash, its kind.
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let inside = Path::new(own).strip_prefix(root).ok()?;
        (after.split(' ').next() == Some("cgroup2")).then(|| Path::new(place).join(inside))
    })
}

/// Whether the processes of this process's own group may be moved: the group was delegated, or is a
/// container's.
fn is_delegated(group: &Path) -> bool {
    if !rustix::process::geteuid().is_root() {
        return true; // otherwise this user could write to nothing in it
    }
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_container = groups.lines().any(|line| line == "0::/");
    let mut value = [0; 8];
    is_container
        || !Path::new("/run/systemd/system").exists()
        || ["user.delegate", "trusted.delegate"].iter().any(|name| {
            rustix::fs::getxattr(group, *name, &mut value).is_ok_and(|length| length > 0)
        })
}

/// Moves all processes of a group to one in it.
fn move_processes(group: &Path) -> io::Result<()> {
    let program = group.join(PROGRAM);
    match fs::create_dir(&program) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at(&program)(error));
        }
        _ => {}
    }
    let (from, to) = (group.join("cgroup.procs"), program.join("cgroup.procs"));
    for _ in 0..100 {
        let processes = words(&from)?;
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes {
            match put(&to, &process) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(at(&to)(error));
                }
                _ => {} // it may have ended
            }
        }
    }
    Err(at(&from)(io::Error::other("its processes start others")))
}

impl Groups {
    /// The groups of a new pool, in this one, or in that of this process. What cannot be limited is
    /// left out if `may_miss`, and returned.
    pub(crate) fn new(
        named: Option<&Path>,
        mut settings: Vec<Setting>,
        may_miss: bool,
    ) -> Result<(Self, Vec<String>), String> {
        let is_own = named.is_none();
        let parent = match named {
            Some(named) => fs::canonicalize(named).map_err(|error| at(named)(error).to_string())?,
            None => own()
                .map_err(|error| error.to_string())?
                .ok_or_else(|| format!("no control groups of version 2 are mounted here: {HOW}"))?,
        };
        let parent = match parent.parent() {
            Some(around) if is_own && parent.ends_with(PROGRAM) => around.to_owned(),
            _ => parent,
        };
        let has = words(&parent.join("cgroup.controllers"))
            .map_err(|error| format!("this is no control group of version 2: {error}"))?;
        for stale in OwnedFolder::stale(&parent, POOL) {
            remove(&stale.path, Duration::from_secs(1));
        }
        let pool = OwnedFolder::new(&parent, POOL)
            .map_err(|error| format!("no group can be made in {}: {HOW}", at(&parent)(error)))?;
        let mut missing = Vec::new();
        let mut refused: Vec<&str> = Vec::new();
        for controller in ["memory", "pids", "cpu"] {
            if !settings
                .iter()
                .any(|setting| setting.controller == controller)
            {
                continue;
            }
            let is_there = has.iter().any(|one| one == controller);
            let switched = match is_there {
                true => switch_on(&parent, &pool.path, controller, is_own),
                false => Err(format!("the group `{}` does not have it", parent.display())),
            };
            if let Err(why) = switched {
                refused.push(controller);
                missing.push(format!("the controller `{controller}`: {why}"));
            }
        }
        settings.retain(|setting| !refused.contains(&setting.controller));
        let mut groups = Self { pool, settings };
        missing.extend(groups.try_out(may_miss));
        if missing.is_empty() || may_miss {
            return Ok((groups, missing));
        }
        let missing = missing.join("; ");
        Err(format!(
            "{missing}. {HOW}; or go on without (`best_effort`)"
        ))
    }

    /// Makes a leaf, and removes it: returns what cannot be limited, and limits it no more if it
    /// `may_miss`.
    fn try_out(&mut self, may_miss: bool) -> Vec<String> {
        let mut missing = Vec::new();
        let leaf = self.pool.path.join("trial");
        if let Err(error) = fs::create_dir(&leaf) {
            return vec![at(&leaf)(error).to_string()];
        }
        self.settings
            .retain(|setting| match fill(&leaf, std::slice::from_ref(setting)) {
                Ok(()) => true,
                Err(error) => {
                    missing.push(error.to_string());
                    !may_miss
                }
            });
        if let Err(error) = procs(&leaf) {
            missing.push(error.to_string());
        }
        remove(&leaf, PATIENCE);
        missing
    }

    /// A new leaf, and the file by which a process moves to it.
    pub(crate) fn leaf(&self, name: &str) -> io::Result<(PathBuf, OwnedFd)> {
        let leaf = self.pool.path.join(name);
        fs::create_dir(&leaf).map_err(at(&leaf))?;
        let made = fill(&leaf, &self.settings).and_then(|()| procs(&leaf));
        match made {
            Ok(procs) => Ok((leaf, procs)),
            Err(error) => {
                let _ = fs::remove_dir(&leaf);
                Err(error)
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        remove(&self.pool.path, PATIENCE);
    }
}

/// Switches a controller on for what is in the pool's folder.
fn switch_on(parent: &Path, pool: &Path, controller: &str, is_own: bool) -> Result<(), String> {
    let file = |group: &Path| group.join("cgroup.subtree_control");
    let on = format!("+{controller}");
    let (above, below) = (file(parent), file(pool));
    let say = |path: &Path, error| at(path)(error).to_string();
    if !words(&above).is_ok_and(|words| words.iter().any(|word| word == controller)) {
        match put(&above, &on) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                if !is_own || !is_delegated(parent) {
                    return Err(format!(
                        "`{}` has processes, which are not this program's to move",
                        parent.display()
                    ));
                }
                move_processes(parent).map_err(|error| error.to_string())?;
                put(&above, &on).map_err(|error| say(&above, error))?;
            }
            switched => switched.map_err(|error| say(&above, error))?,
        }
    }
    put(&below, &on).map_err(|error| say(&below, error))
}

/// Sets the limits of a leaf.
fn fill(leaf: &Path, settings: &[Setting]) -> io::Result<()> {
    for setting in settings {
        let file = leaf.join(setting.file);
        put(&file, &setting.value).map_err(at(&file))?;
    }
    Ok(())
}

fn procs(leaf: &Path) -> io::Result<OwnedFd> {
    let file = leaf.join("cgroup.procs");
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(&file, flags, Mode::empty()).map_err(|error| at(&file)(error.into()))
}

/// Whether the kernel has killed processes of this leaf because its memory ran out.
pub(crate) fn ran_out(leaf: &Path) -> bool {
    let events = fs::read_to_string(leaf.join("memory.events")).unwrap_or_default();
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok();
    events
        .lines()
        .find_map(count)
        .is_some_and(|count| count > 0)
}

/// Kills all that is in a group, and in those below.
pub(crate) fn kill(group: &Path) {
    if put(&group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // (Before Linux 5.14.) What they start meanwhile is found the next time.
    for process in words(&group.join("cgroup.procs")).unwrap_or_default() {
        let process = process.parse().ok().and_then(Pid::from_raw);
        if let Some(process) = process {
            let _ = kill_process(process, Signal::KILL);
        }
    }
    for inner in folders(group) {
        kill(&inner);
    }
}

/// Kills all that is in a group, and removes it with those below. False: something is left after
/// this time.
pub(crate) fn remove(group: &Path, patience: Duration) -> bool {
    let (begin, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        kill(group);
        match remove_empty(group) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(_) if begin.elapsed() > patience => return false,
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn remove_empty(group: &Path) -> io::Result<()> {
    for inner in folders(group) {
        remove_empty(&inner)?;
    }
    fs::remove_dir(group)
}

/// The groups in a group.
fn folders(group: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(group).into_iter().flatten().flatten();
    let folders = all.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// A made-up tree.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let name = format!("trefoil-group-{name}-{}", std::process::id());
            let tree = Self(std::env::temp_dir().join(name));
            fs::create_dir(&tree.0).unwrap();
            tree
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }

        fn folder(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn setting(file: &'static str) -> Setting {
        Setting {
            controller: "memory",
            file,
            value: "5".to_owned(),
        }
    }

    /// Runs this on a thread that is not root's.
    fn as_any_user<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if rustix::process::geteuid().is_root() {
                    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
                }
                act()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        let old = "30 24 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n";
        let new = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let part = "29 23 0:26 /user.slice /groups rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/other\n0::/user.slice/a.scope\n";
        let found = |groups, mounts: &[&str]| folder_of(groups, &mounts.concat());
        let whole = PathBuf::from("/sys/fs/cgroup/user.slice/a.scope");
        assert_eq!(found(groups, &[old, new]), Some(whole));
        assert_eq!(found(groups, &[part]), Some("/groups/a.scope".into()));
        assert_eq!(found("0::/elsewhere", &[part]), None);
        assert_eq!(found(groups, &[old]), None);
        assert_eq!(found("4:memory:/other\n", &[old, new]), None);
        assert_eq!(found("0::/", &[new]), Some("/sys/fs/cgroup/".into()));
    }

    #[test]
    fn each_refusal_names_its_file() {
        let tree = Tree::new("refusals");
        tree.file("memory.max", "max");
        assert!(fill(&tree.0, &[setting("memory.max")]).is_ok());
        assert_eq!(
            fs::read_to_string(tree.0.join("memory.max")).unwrap(),
            "5ax"
        );
        let missing = fill(&tree.0, &[setting("memory.swap.max")]).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("memory.swap.max"), "{missing}");
        tree.folder("pids.max");
        let folder = fill(&tree.0, &[setting("pids.max")]).unwrap_err();
        assert!(folder.to_string().contains("pids.max"), "{folder}");
        let file = tree.file("cpu.max", "");
        let mut rights = fs::metadata(&file).unwrap().permissions();
        rights.set_readonly(true);
        fs::set_permissions(&file, rights).unwrap();
        let fixed = as_any_user(|| fill(&tree.0, &[setting("cpu.max")])).unwrap_err();
        assert_eq!(fixed.kind(), io::ErrorKind::PermissionDenied);
        assert!(fixed.to_string().contains("cpu.max"), "{fixed}");
        // One that refuses what is written to it.
        std::os::unix::fs::symlink("/dev/full", tree.0.join("cpu.weight")).unwrap();
        let full = fill(&tree.0, &[setting("cpu.weight")]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(full.to_string().contains("cpu.weight"), "{full}");
        let file = procs(&tree.0).unwrap_err();
        assert!(file.to_string().contains("cgroup.procs"), "{file}");
        tree.file("cgroup.procs", "");
        assert!(procs(&tree.0).unwrap().as_fd().try_clone_to_owned().is_ok());
    }

    #[test]
    fn a_controller_is_switched_on_above_and_below_or_the_file_is_named() {
        let tree = Tree::new("controllers");
        let pool = tree.folder("trefoil.1.0");
        let on = |is_own| switch_on(&tree.0, &pool, "memory", is_own);
        let above = on(true).unwrap_err();
        assert!(above.contains("cgroup.subtree_control"), "{above}");
        let above = tree.file("cgroup.subtree_control", "");
        let below = on(true).unwrap_err();
        assert!(
            below.contains("trefoil.1.0/cgroup.subtree_control"),
            "{below}"
        );
        let below = tree.file("trefoil.1.0/cgroup.subtree_control", "");
        on(false).unwrap();
        for file in [&above, &below] {
            assert_eq!(fs::read_to_string(file).unwrap(), "+memory");
        }
        fs::write(&above, "cpu memory").unwrap();
        on(false).unwrap();
        assert_eq!(
            fs::read_to_string(&above).unwrap(),
            "cpu memory",
            "it was on"
        );
    }

    /// A file that answers `EBUSY`, as that of a group that has processes does: a terminal which no
    /// other user may open now. It does so while the descriptors live.
    fn busy_file(path: &Path) -> (OwnedFd, OwnedFd) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use rustix::termios::ioctl_tiocexcl;
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let theirs = rustix::fs::open(&*name, flags, Mode::empty()).unwrap();
        ioctl_tiocexcl(&theirs).unwrap();
        rustix::fs::fchmod(&theirs, Mode::from_raw_mode(0o666)).unwrap();
        std::os::unix::fs::symlink(name.to_str().unwrap(), path).unwrap();
        (ours, theirs)
    }

    #[test]
    fn a_group_that_has_processes_is_emptied_if_it_is_the_programs() {
        let tree = Tree::new("busy");
        let pool = tree.folder("trefoil.1.0");
        let above = tree.0.join("cgroup.subtree_control");
        let _busy = busy_file(&above);
        let on = |is_own| as_any_user(|| switch_on(&tree.0, &pool, "memory", is_own).unwrap_err());
        let named = on(false);
        assert!(
            named.ends_with("which are not this program's to move"),
            "{named}"
        );
        tree.file("cgroup.procs", "");
        tree.folder(PROGRAM);
        let still = on(true);
        assert!(
            still.contains("cgroup.subtree_control") && still.contains("busy"),
            "{still}"
        );
        fs::write(tree.0.join("cgroup.procs"), "77").unwrap();
        let procs = on(true);
        assert!(procs.contains("trefoil.program/cgroup.procs"), "{procs}");
    }

    #[test]
    fn processes_that_cannot_be_moved_are_an_error() {
        let tree = Tree::new("moves");
        let procs = tree.file("cgroup.procs", "");
        move_processes(&tree.0).unwrap();
        fs::write(&procs, "77\n78\n").unwrap();
        let missing = move_processes(&tree.0).unwrap_err();
        assert!(
            missing.to_string().contains("trefoil.program/cgroup.procs"),
            "{missing}"
        );
        // (In a made-up tree they stay where they are.)
        tree.file("trefoil.program/cgroup.procs", "");
        let stay = move_processes(&tree.0).unwrap_err();
        assert!(stay.to_string().contains("start others"), "{stay}");
    }

    #[test]
    fn kills_for_memory_are_counted() {
        let tree = Tree::new("events");
        assert!(!ran_out(&tree.0));
        tree.file(
            "memory.events",
            "low 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n",
        );
        assert!(!ran_out(&tree.0));
        tree.file("memory.events", "low 0\noom_kill 2\n");
        assert!(ran_out(&tree.0));
    }

    #[test]
    fn a_group_goes_with_those_below_and_one_that_stays_is_given_up() {
        let tree = Tree::new("stays");
        let group = tree.folder("trefoil.1.0");
        tree.folder("trefoil.1.0/0.1/inner");
        assert!(remove(&group, Duration::ZERO));
        assert!(!group.exists() && remove(&group, Duration::ZERO));
        let group = tree.folder("trefoil.2.0");
        let kept = tree.file("trefoil.2.0/cgroup.kill", "");
        let begin = Instant::now();
        assert!(!remove(&group, Duration::from_millis(30)));
        assert!(begin.elapsed() >= Duration::from_millis(30));
        assert_eq!(fs::read_to_string(kept).unwrap(), "1");
    }
}
