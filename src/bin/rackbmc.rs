//! The command-line client.

fn main() -> std::process::ExitCode {
    rackbmcd::cli::main()
}
