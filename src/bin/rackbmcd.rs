//! The daemon.

fn main() -> std::process::ExitCode {
    rackbmcd::daemon::main(rackbmcd::cli::check_bmcs::run)
}
