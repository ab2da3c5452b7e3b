//! The command-line client; the daemon, too, when it is called by the daemon's name: `rackbmc demo`
//! starts it so.

use std::ffi::OsStr;
use std::path::Path;

fn main() -> std::process::ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_name() == Some(OsStr::new("rackbmcd")) {
        return rackbmcd::daemon::main(rackbmcd::cli::check_bmcs::run);
    }
    rackbmcd::cli::main()
}
