//! `init`: a first configuration, by questions. Its rack starts paused: nothing is switched before
//! somebody says so.

use super::args::Init;
use super::exit::{Exit, Failure};
use super::output::{Out, say};
use super::secret;
use super::setup::{self, SetupPlan};
use crate::nodeset;
use std::io::{self, IsTerminal};
use std::path::Path;
use zeroize::Zeroizing;

/// Asks, writes two files, and says what comes next.
pub(super) fn init(out: &Out, args: &Init) -> Result<Exit, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "init asks its questions on a terminal; a file to copy is /usr/share/doc/rackbmcd/examples/rackbmcd.toml"
                .to_owned(),
        ));
    }
    let configuration = args.directory.join("rackbmcd.toml");
    let password_file = args.directory.join("bmc.pw");
    for path in [&configuration, &password_file] {
        if path.exists() {
            return Err(Failure::Here(format!(
                "{}: is there already, and is left as it is: move it away first",
                path.display()
            )));
        }
    }
    say!(
        "A first configuration for one rack. What stands in brackets is meant where you press Enter."
    );
    let (plan, password) = loop {
        let (plan, password) = plan(&password_file)?;
        let refused = plan.refused(&configuration, &password);
        if refused.is_empty() {
            break (plan, password);
        }
        refused.iter().for_each(|why| say!("{why}"));
        say!("The daemon would not take that: once more from the beginning.");
    };
    setup::write_new(
        &password_file,
        &format!("{}\n", *password),
        setup::PASSWORD_MODE,
    )?;
    setup::write_new(&configuration, &plan.text(), setup::CONFIGURATION_MODE)?;
    out.data(&format!(
        "{}: written\n{}: written\n\
         Next:\n  rackbmcd --config {} --check-config\n  systemctl restart rackbmcd\n  rackbmc status --fresh\n\
         The rack is paused and only reads. When all of it is as you know it:\n  rackbmc release",
        configuration.display(),
        password_file.display(),
        configuration.display()
    ));
    Ok(Exit::Done)
}

/// What is answered to all questions, and the password.
fn plan(password_file: &Path) -> Result<(SetupPlan, Zeroizing<String>), Failure> {
    let rack = secret::text("Name of the rack", "r1")?;
    let nodes = nodes(&rack)?;
    let username = secret::text("User that the BMCs know", "admin")?;
    let password = password(&username)?;
    let plan = SetupPlan {
        rack,
        username,
        password_file: password_file.to_owned(),
        nodes: vec![nodes],
    };
    Ok((plan, password))
}

/// Names and addresses, as many of one as of the other.
fn nodes(rack: &str) -> Result<(String, String, u16), Failure> {
    loop {
        let names = secret::text("Names of the nodes", &format!("{rack}n[01-16]"))?;
        let addresses = secret::text(
            "Addresses of their BMCs, in the same order",
            "10.0.1.[1-16]",
        )?;
        let port = secret::text("UDP port of the BMCs", "623")?;
        let counts = nodeset::expand_pattern(&names)
            .and_then(|names| Ok((names.len(), nodeset::expand_pattern(&addresses)?.len())));
        match (counts, port.parse()) {
            (Ok((names, addresses)), _) if names != addresses => {
                say!("these are {names} names and {addresses} addresses: once more");
            }
            (Ok(_), Ok(port @ 1..)) => return Ok((names, addresses, port)),
            (Ok(_), _) => say!("'{port}' is no port: once more"),
            (Err(why), _) => say!("{why}: once more"),
        }
    }
}

/// The password, typed twice.
fn password(username: &str) -> Result<Zeroizing<String>, Failure> {
    loop {
        let first = secret::ask(&format!("Password of {username} (nothing is shown): "))?;
        if first.len() > 20 {
            say!("IPMI takes no more than 20 bytes: once more");
            continue;
        }
        if *first == *secret::ask("The same again: ")? {
            return Ok(first);
        }
        say!("these were two: once more");
    }
}
