//! What helps a shell: completion scripts that know the rack's names, and the man page.

use super::App;
use super::args::CommandLine;
use super::exit::{Exit, Failure};
use super::output;
use super::select;
use clap::CommandFactory;
use clap_complete::Shell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long a completion may take where the daemon is slow: nobody waits for a Tab.
const PATIENCE: Duration = Duration::from_millis(500);

/// In bash, words that are no option are completed with the rack's own names as well.
const BASH_NAMES: &str = r#"
_rackbmc_with_names() {
    _rackbmc "$@"
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [[ "$word" != -* && "$COMP_CWORD" -gt 1 ]]; then
        COMPREPLY+=($(compgen -W "$(rackbmc __names 2>/dev/null)" -- "$word"))
    fi
}
complete -F _rackbmc_with_names -o nosort -o bashdefault -o default rackbmc
"#;

/// The same in fish.
const FISH_NAMES: &str = r#"
complete -c rackbmc -n "not __fish_use_subcommand" -f -a "(rackbmc __names 2>/dev/null)"
"#;

/// Prints a completion script.
pub fn completion(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "rackbmc", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script.push_str(BASH_NAMES),
        Shell::Fish => script.push_str(FISH_NAMES),
        Shell::Zsh => {
            // clap's zsh script completes node sets with files: the rack's names serve better.
            let names = "( ${(f)\"$(rackbmc __names 2>/dev/null)\"} )";
            for place in ["NODES:", "Node sets:"] {
                script = script.replace(&format!("{place}_default"), &format!("{place}{names}"));
            }
        }
        _ => {}
    }
    output::write(script.as_bytes());
    Exit::Done
}

/// Prints the man page, or that of one verb.
///
/// # Errors
/// Where there is no such verb, or the page cannot be made.
pub fn man(verb: Option<&str>) -> Result<Exit, Failure> {
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

/// Writes the man page of the program and one of each verb into a directory: `rackbmc.1`, `rackbmc-soft.1` ...
///
/// # Errors
/// Where they cannot be written.
pub fn pages(directory: &Path) -> Result<Exit, Failure> {
    clap_mangen::generate_to(CommandLine::command(), directory)
        .map(|()| Exit::Done)
        .map_err(|e| Failure::Here(format!("{}: {e}", directory.display())))
}

/// Prints the names of nodes and groups, for completion scripts: quickly, or nothing at all.
pub async fn names(app: &App) -> Result<Exit, Failure> {
    let known = async { app.client.nodes().await.unwrap_or_default() };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        Vec::new()
    };
    let nodes = smol::future::or(known, late).await;
    let mut names = BTreeSet::new();
    for node in &nodes {
        names.insert(select::name(node).to_owned());
        let groups = node.rackbmcd.groups.iter();
        names.extend(groups.map(|group| format!("@{group}")));
    }
    if !names.is_empty() {
        let names: Vec<String> = names.into_iter().collect();
        app.out.data(&names.join("\n"));
    }
    Ok(Exit::Done)
}
