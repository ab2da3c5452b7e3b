//! What the process is not allowed: core files and other people's debuggers could show keys
//! (design, rule 9). And what it is allowed: as many open files as the kernel lets it have.

use crate::model::counted;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Forbids core files. Where the kernel does not let us, the unit file does it, and it is said.
pub(super) fn harden() {
    if let Err(error) = prctl::set_dumpable(false) {
        log::warn!("core files cannot be forbidden (PR_SET_DUMPABLE): {error}");
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        log::warn!("core files cannot be forbidden (RLIMIT_CORE): {error}");
    }
}

/// Raises the number of open files to the most that is allowed, and says where `connections` of
/// each of `listeners`, and the locks of so many BMCs, will not fit.
///
/// The usual 1024 is there for programs that call select(2): nothing here does. A crowd that used
/// them up would keep out even the 503 that tells it so.
pub(super) fn open_files(connections: u32, listeners: u64, nodes: usize) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| {
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        Ok(most)
    });
    let for_clients = u64::from(connections) * listeners * FILES_EACH;
    let locks = u64::try_from(nodes).unwrap_or(u64::MAX);
    let needed = for_clients
        .saturating_add(locks)
        .saturating_add(FILES_BESIDE);
    let nodes = counted(nodes, "node");
    match raised {
        Ok(most) if most >= needed => {}
        Ok(most) => log::warn!(
            "only {most} files may be open: {connections} connections and {nodes} need up to {needed}"
        ),
        Err(error) => log::warn!("the number of open files cannot be raised: {error}"),
    }
}

/// A connection's socket, and the second handle by which a hang-up is seen.
const FILES_EACH: u64 = 2;
/// The journal, the UDP sockets, epoll, systemd: and those who are just being turned away.
const FILES_BESIDE: u64 = 128;
