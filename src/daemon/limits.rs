//! What the process is not allowed: core files and other people's debuggers could show keys (design, rule 9).

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Forbids core files. Where the kernel does not let us, the unit file does it, and it is said.
pub(super) fn harden() {
    if let Err(error) = prctl::set_dumpable(false) {
        log::warn!("core files cannot be forbidden (PR_SET_DUMPABLE): {error}");
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        log::warn!("core files cannot be forbidden (RLIMIT_CORE): {error}");
    }
}
