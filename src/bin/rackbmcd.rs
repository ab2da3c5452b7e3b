//! The daemon.

fn main() -> std::process::ExitCode {
    rackbmcd::daemon::main()
}
