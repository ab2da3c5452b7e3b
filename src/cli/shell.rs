//! What helps a shell: the completion scripts, and the man pages.

use super::args::CommandLine;
use super::complete::{self, Shell};
use super::exit::{Exit, Failure};
use super::output;
use clap::CommandFactory;
use std::path::Path;

/// Prints a completion script.
pub(super) fn completion(shell: Shell) -> Exit {
    output::write(complete::script(shell).as_bytes());
    Exit::Done
}

/// Prints the man page, or that of one verb.
///
/// # Errors
/// Where there is no such verb, or the page cannot be made.
pub(super) fn man(verb: Option<&str>) -> Result<Exit, Failure> {
    let mut command = CommandLine::command();
    command.build();
    if let Some(verb) = verb {
        let found = command.find_subcommand(verb).cloned();
        command = found.ok_or_else(|| Failure::Usage(format!("there is no verb '{verb}'")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|e| Failure::Here(format!("the man page cannot be made: {e}")))?;
    output::write(&page);
    Ok(Exit::Done)
}

/// Writes the man page of the program and one of each verb into a directory: `rackbmc.1`,
/// `rackbmc-soft.1` ...
///
/// # Errors
/// Where they cannot be written.
pub(super) fn pages(directory: &Path) -> Result<Exit, Failure> {
    clap_mangen::generate_to(CommandLine::command(), directory)
        .map(|()| Exit::Done)
        .map_err(|e| Failure::Here(format!("{}: {e}", directory.display())))
}
