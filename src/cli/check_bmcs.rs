//! `rackbmcd --check-bmcs`: every BMC of a configuration logged in to, nothing switched, a line
//! each with what to do.
//!
//! Where the daemon of that configuration runs it is asked, with its sessions and its pace.
//! Elsewhere each BMC is logged in to once: those that answer a ping one after the other, and after
//! two refusals in a row a person is asked before it goes on; the silent ones side by side, each
//! costs seconds. Refused log-ins are counted with those of the daemon, in its journal.

use super::client::Client;
use super::connect::Endpoint;
use super::discover::login::{self, Found, LogIn};
use super::discover::scan;
use super::exit::{Exit, Failure};
use super::output::{harmless, loss, say, words, write};
use super::secret;
use super::select;
use crate::config::Configuration;
use crate::ipmi::command::{Command, get_sel_time};
use crate::model::{Chassis, ChassisPart, FreshReading, RawRequest, Trouble};
use crate::rack::settings::{NodeSettings, Refusals};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock of an event log that is off by more than this makes its entries hard to read beside a
/// log of ours.
const CLOCK: u64 = 60;
/// Below this the clock counts from the start of the BMC (§37).
const UNSET: u32 = 0x2000_0000;
/// What is said of what a BMC does not say.
const SILENT: &str = "it does not say";
/// Pings a second.
const PINGS: u32 = 200;
/// How many BMCs that do not answer a ping are tried at a time.
const SIDE_BY_SIDE: usize = 64;
/// Refusals in a row after which nothing more is tried without asking.
const REFUSALS: usize = 2;

/// Looks at all of them; fails where one of them is not as it has to be.
pub fn run(configuration: &Configuration, refusals: &mut dyn Refusals) -> ExitCode {
    let all_good = smol::block_on(async {
        let client = Client::new(Endpoint::Unix(configuration.api.socket.clone()));
        match client.health().await {
            Ok(health) if health.rack == *configuration.rack.name => {
                through_daemon(&client, configuration, health.pause.is_some()).await
            }
            Ok(health) => Err(Failure::Here(format!(
                "{}: there the daemon of rack {} answers, not that of {}",
                configuration.api.socket.display(),
                health.rack,
                configuration.rack.name
            ))),
            Err(Failure::NoSocket { .. } | Failure::NobodyListens { .. }) => {
                by_ourselves(configuration, refusals).await
            }
            // Somebody is there: two of us at one BMC would be one too many.
            Err(failure) => Err(failure),
        }
    });
    let exit = match all_good {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(failure) => {
            say!("rackbmcd: {failure}");
            failure.exit()
        }
    };
    match loss() {
        // The lines were all that was asked for.
        Some(why) if matches!(exit, Exit::Done) => {
            say!("rackbmcd: {why}");
            Exit::Failed.into()
        }
        _ => exit.into(),
    }
}

fn tell(name: &str, text: &str) {
    write(format!("{}\n", harmless(&format!("{name}: {text}"), false)).as_bytes());
}

async fn through_daemon(
    client: &Client,
    configuration: &Configuration,
    paused: bool,
) -> Result<bool, Failure> {
    let names: Vec<String> = configuration
        .nodes
        .iter()
        .map(|node| node.name.to_string())
        .collect();
    let readings = client.fresh_all(&names, false).await?;
    let looked = select::each_of(&names, async |name: &String| {
        let chassis = client.bmc_reading(name, "chassis").await;
        let clock = match paused {
            true => Err("not asked while the rack is paused"),
            false => clock(client, name).await.ok_or(SILENT),
        };
        (chassis.ok().and_then(|answer| answer.chassis), clock)
    });
    let mut good = true;
    for ((name, read), (chassis, clock)) in names.iter().zip(readings).zip(looked.await) {
        let (is_good, text) = match read {
            Some(read) => of_daemon(&read, chassis, clock),
            None => (
                false,
                "the running daemon does not have it: systemctl reload rackbmcd".to_owned(),
            ),
        };
        good &= is_good;
        tell(name, &text);
    }
    Ok(good)
}

/// What the clock of the event log shows, where we may ask and the BMC says so.
async fn clock(client: &Client, name: &str) -> Option<u32> {
    let raw = RawRequest {
        net_fn: get_sel_time::Request::NET_FN,
        lun: 0,
        command: get_sel_time::Request::NUMBER,
        data: Vec::new(),
        bridge: None,
    };
    let answer = client.raw(name, &raw).await.ok()?;
    let bytes: [u8; 4] = answer.data?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

fn of_daemon(
    read: &FreshReading,
    chassis: Option<Chassis>,
    clock: Result<u32, &str>,
) -> (bool, String) {
    let bmc = &read.node.rackbmcd.bmc;
    if let Some(trouble) = &bmc.trouble {
        let text = bmc.trouble_text.clone().unwrap_or_else(|| trouble.words());
        let remedy = trouble.known().map_or("", remedy);
        return (false, with_remedy(&text, remedy));
    }
    let capabilities = chassis.and_then(|chassis| chassis.capabilities);
    let nmi = capabilities.map(|all| all.contains(&ChassisPart::DiagnosticInterrupt.into()));
    let power = read.fresh.then(|| read.node.power_state.to_string());
    let login = format!("{} with privilege level {}", bmc.username, bmc.privilege);
    facts(power, &login, bmc.cipher_suite, nmi, clock)
}

async fn by_ourselves(
    configuration: &Configuration,
    refusals: &mut dyn Refusals,
) -> Result<bool, Failure> {
    let mut good = true;
    let mut places = Vec::new();
    for node in &configuration.nodes {
        let refused = refusals.of(node).map_err(Failure::Here)?;
        match refused.filter(|(count, _)| *count >= node.care.auth_failures) {
            Some((count, said)) => {
                good = false;
                tell(&node.name, &held(count, &said));
            }
            None => places.push((node, place_of(node).await)),
        }
    }
    let there = who_answers(&places).await;
    let answers =
        |(_, at): &(&NodeSettings, Option<SocketAddr>)| at.is_some_and(|at| there.contains(&at));
    let (answering, silent): (Vec<_>, Vec<_>) = places.into_iter().partition(answers);
    let mut refused = 0;
    for (node, _) in answering {
        if refused >= REFUSALS {
            if !secret::goes_on(refused, "Go on?")? {
                return Ok(false);
            }
            refused = 0;
        }
        let visit = visit(node).await;
        refused = if matches!(visit, Ok(LogIn::Refused(..))) {
            refused + 1
        } else {
            0
        };
        good &= came_of(node, visit, refusals);
    }
    // Some BMCs answer a log-in and no ping.
    let visits = select::each_at_once(&silent, SIDE_BY_SIDE, async |(node, _)| visit(node).await);
    for ((node, _), visit) in silent.iter().zip(visits.await) {
        good &= came_of(node, visit, refusals);
    }
    Ok(good)
}

/// What is said of a BMC that may count one log-in more as one too many.
fn held(count: u32, said: &str) -> String {
    let refused = match count {
        1 => "the last log-in was refused".to_owned(),
        _ => format!("{count} log-ins in a row were refused"),
    };
    format!(
        "not logged in to: {refused} ({said}). Write other credentials into the configuration, or \
         correct them at the BMC, start the daemon, and then: rackbmc retry"
    )
}

/// Where a BMC is, to ping it; nothing where that cannot be found out.
async fn place_of(node: &NodeSettings) -> Option<SocketAddr> {
    let found = smol::net::resolve((&*node.address.host, node.address.port));
    found.await.ok()?.first().copied()
}

/// Those that answer a ping, or a question outside of any session.
async fn who_answers(places: &[(&NodeSettings, Option<SocketAddr>)]) -> BTreeSet<SocketAddr> {
    let mut ports: BTreeMap<u16, BTreeSet<IpAddr>> = BTreeMap::new();
    for at in places.iter().filter_map(|(_, at)| *at) {
        ports.entry(at.port()).or_default().insert(at.ip());
    }
    let ports: Vec<(u16, Vec<IpAddr>)> = ports
        .into_iter()
        .map(|(port, addresses)| (port, addresses.into_iter().collect()))
        .collect();
    let heard = select::each_at_once(&ports, SIDE_BY_SIDE, async |(port, addresses)| {
        // Where nothing can be sent nobody answers; the log-in says why.
        scan::scan(addresses, *port, PINGS)
            .await
            .unwrap_or_default()
    });
    let mut there = BTreeSet::new();
    for ((port, _), heard) in ports.iter().zip(heard.await) {
        there.extend(
            heard
                .iter()
                .map(|heard| SocketAddr::new(heard.address, *port)),
        );
    }
    there
}

async fn visit(node: &NodeSettings) -> Result<LogIn, String> {
    let place = (&*node.address.host, node.address.port);
    let found = smol::net::resolve(place).await;
    let found = found.ok().and_then(|all| all.first().copied());
    let Some(at) = found else {
        return Err(with_remedy(
            &format!("{} does not resolve", node.address.host),
            remedy(Trouble::NoAddress),
        ));
    };
    let visit = login::log_in(at, &node.login, login::Asks::All).await;
    visit.map_err(|error| error.to_string())
}

/// Says what came of a visit, and has a refusal remembered.
fn came_of(node: &NodeSettings, visit: Result<LogIn, String>, refusals: &mut dyn Refusals) -> bool {
    let noted = match &visit {
        Ok(LogIn::In(_)) => refusals.note(node, None),
        Ok(LogIn::Refused(why, trouble)) => refusals.note(node, Some((*trouble, why))),
        Ok(LogIn::Failed(..)) | Err(_) => Ok(()),
    };
    let (is_good, text) = match visit {
        Ok(LogIn::In(found)) => of_visit(node, found),
        Ok(LogIn::Refused(why, trouble) | LogIn::Failed(why, trouble)) => {
            (false, with_remedy(&why, remedy(trouble)))
        }
        Err(why) => (false, why),
    };
    tell(&node.name, &text);
    if let Err(why) = noted {
        say!("{}: the refused log-in is not remembered: {why}", node.name);
    }
    is_good
}

fn of_visit(node: &NodeSettings, found: Found) -> (bool, String) {
    let power = found
        .on
        .map(|on| if on { "power on" } else { "power off" }.to_owned());
    let login = format!(
        "{} with privilege level {}",
        node.login.username, node.login.privilege
    );
    facts(
        power,
        &login,
        found.suite,
        found.nmi,
        found.clock.ok_or(SILENT),
    )
}

/// A BMC that lets us in, in one line.
fn facts(
    power: Option<String>,
    login: &str,
    suite: Option<u8>,
    nmi: Option<bool>,
    clock: Result<u32, &str>,
) -> (bool, String) {
    let good = power.is_some();
    let power = power.unwrap_or_else(|| {
        "lets us in and does not say its power state: rackbmc explain says more".to_owned()
    });
    let suite = suite.map_or("no RMCP+".to_owned(), |suite| {
        format!("cipher suite {suite}")
    });
    let nmi = match nmi {
        Some(true) => "NMI: yes",
        Some(false) => "NMI: it says no (nmi = false in its [[node]] if so)",
        None => "NMI: it does not say",
    };
    let clock = match clock {
        Ok(shown) => clock_words(shown),
        Err(why) => format!("clock of its event log: {why}"),
    };
    (good, format!("{power}; {login}, {suite}; {nmi}; {clock}"))
}

fn clock_words(shown: u32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    off_by(shown, now.map_or(0, |now| now.as_secs()))
}

fn off_by(shown: u32, now: u64) -> String {
    if shown < UNSET {
        return "clock of its event log: never set (set it at the BMC, or by NTP)".to_owned();
    }
    let apart = now.abs_diff(u64::from(shown));
    match apart {
        0..=CLOCK => "clock of its event log: right".to_owned(),
        _ => format!(
            "clock of its event log: {} off (set it at the BMC, or by NTP)",
            words(Duration::from_secs(apart))
        ),
    }
}

fn with_remedy(text: &str, remedy: &str) -> String {
    match remedy {
        "" => text.to_owned(),
        remedy => format!("{text}: {remedy}"),
    }
}

/// What to do about a trouble.
fn remedy(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::NoAddress => "correct address in its [[node]], or the name service",
        Trouble::Unreachable | Trouble::Silent | Trouble::BreakerOpen => {
            "address, port, cable, firewall, or IPMI over LAN is off at the BMC (docs/bmcs.md)"
        }
        Trouble::WrongPassword => {
            "write the right password into its password_file (or K_G into kg_file)"
        }
        Trouble::UnknownUser => {
            "make the user at the BMC, with IPMI and the level on the LAN channel, or correct username"
        }
        Trouble::NoPrivilege => "raise the user's level at the BMC, or lower privilege",
        Trouble::NoCommonSuite => {
            "switch on cipher suite 17 or 3 at the BMC, or name one that it has in cipher_suites"
        }
        Trouble::NoProtocol => "the BMC has no RMCP+: protocol in its [[node]]",
        Trouble::SessionsFull => "end other sessions, or wait until they run out",
        Trouble::Busy => "wait, and look again",
        Trouble::Held => "correct the credentials",
        Trouble::WrongBmc => "look which machine it is, then: rackbmc bmc accept",
        Trouble::Locked => "another daemon of this host has it: one of them is enough",
        Trouble::Protocol | Trouble::Withdrawn => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_there_is_and_what_to_do() {
        let login = "admin with privilege level operator";
        let (good, text) = facts(
            Some("power on".into()),
            login,
            Some(17),
            Some(true),
            Err(SILENT),
        );
        assert!(good);
        assert_eq!(
            text,
            "power on; admin with privilege level operator, cipher suite 17; NMI: yes; \
             clock of its event log: it does not say"
        );
        assert!(!facts(None, "admin", None, None, Err(SILENT)).0);
        let now = 1_795_000_000;
        assert_eq!(off_by(1_795_000_030, now), "clock of its event log: right");
        assert!(off_by(1_794_996_400, now).contains("1 h off"));
        assert!(off_by(1000, now).contains("never set"));
        for trouble in Trouble::ALL {
            assert!(!remedy(trouble).ends_with('.'), "{trouble}");
        }
    }
}
