//! Workers that run as another user, who has no right to what is this user's. It needs `setpriv`
//! (util-linux) and root's rights; the program must be where that user can read it.
//!
//! ```text
//! sudo target/debug/examples/another_user 65534
//! ```

use trefoil::ProcessPool;
use trefoil_sandbox::Wrapped;

/// Workers of the user with this number, without other groups and without a way to more rights.
pub(crate) fn another_user(number: u32) -> Wrapped {
    let (user, group) = (format!("--reuid={number}"), format!("--regid={number}"));
    let own = ["setpriv", &user, &group, "--clear-groups", "--no-new-privs"];
    Wrapped::new(own.into_iter().chain(["--inh-caps=-all", "{exe}"]))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let number = std::env::args()
        .nth(1)
        .map_or(Ok(65534), |number| number.parse())?;
    let procs = ProcessPool::builder()
        .workers(2)
        .launcher(another_user(number))
        .build()?;
    let reads = procs
        .spawn((), |()| std::fs::read("/etc/shadow").is_ok())
        .join()?;
    println!("reads the passwords: {reads}");
    Ok(())
}
