//! `discover`: which BMCs a network has. A presence ping and a question about log-ins to every
//! address, paced; where credentials are given, one log-in to each that answered, RMCP+ with an
//! authenticated cipher suite only.
//!
//! After two refusals in a row a person is asked before it goes on: BMCs lock users out.

pub(crate) mod login;
mod network;
pub(crate) mod scan;

use super::args::{Discover, Format, Level};
use super::exit::{Exit, Failure};
use super::output;
use super::secret;
use super::setup::{self, SetupPlan};
use crate::ipmi::PrivilegeLevel;
use crate::model::counted;
use crate::session::Settings;
use crate::session::secret::Password;
use comfy_table::Cell;
use login::{Asks, Found, LogIn};
use scan::Heard;
use serde::Serialize;
use zeroize::Zeroizing;

pub(crate) use network::Network;

/// Refusals in a row after which nothing more is tried without asking.
const REFUSALS: usize = 2;

/// One BMC, as it is shown.
#[derive(Serialize)]
struct Shown {
    address: String,
    port: u16,
    ipmi: String,
    maker: Option<u32>,
    product: Option<u16>,
    firmware: Option<String>,
    guid: Option<String>,
    power: Option<&'static str>,
    cipher_suite: Option<u8>,
    note: String,
}

/// Looks, and says what there is.
pub(crate) async fn discover(out: output::Out, args: Discover) -> Result<Exit, Failure> {
    let targets = network::addresses(&args.networks).map_err(Failure::Usage)?;
    let login = credentials(&args)?;
    let rate = args.rate.max(1);
    out.remark(&format!(
        "asking {}, {} a second",
        match targets.len() {
            1 => "1 address".to_owned(),
            count => format!("{count} addresses"),
        },
        counted(rate as usize, "datagram")
    ));
    let heard = scan::scan(&targets, args.port, rate)
        .await
        .map_err(|e| Failure::Here(format!("the network cannot be asked: {e}")))?;
    let mut shown: Vec<Shown> = heard
        .iter()
        .map(|heard| of_scan(heard, args.port))
        .collect();
    if let Some(settings) = &login {
        log_in_to_all(&heard, &mut shown, settings, &args).await?;
    }
    show(&out, &shown);
    if let Some(path) = &args.write_config {
        write(&out, path, &shown, &args)?;
    }
    let answer = if shown.len() == 1 {
        "answers as a BMC"
    } else {
        "answer as BMCs"
    };
    out.remark(&format!("{} of {} {answer}", shown.len(), targets.len()));
    Ok(if shown.is_empty() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// What to log in with, where a user is named; the password comes from a file or is asked for,
/// never from the line.
fn credentials(args: &Discover) -> Result<Option<Settings>, Failure> {
    let Some(username) = &args.username else {
        return Ok(None);
    };
    let text = match &args.password_file {
        Some(file) => std::fs::read_to_string(file)
            .map(Zeroizing::new)
            .map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?,
        None => secret::ask(&format!("password of {username} at the BMCs: "))?,
    };
    let password = Password::new(text.trim_end_matches(['\n', '\r']).as_bytes())
        .map_err(|e| Failure::Usage(format!("the password: {e}")))?;
    let mut settings = Settings::new(username, password);
    settings.privilege = match args.privilege {
        Level::User => PrivilegeLevel::User,
        Level::Operator => PrivilegeLevel::Operator,
        Level::Administrator => PrivilegeLevel::Administrator,
    };
    Ok(Some(settings))
}

fn of_scan(heard: &Heard, port: u16) -> Shown {
    let offers = heard.offers.as_ref();
    let ipmi = match offers {
        Some(offers) if offers.v20() => "2.0",
        Some(_) => "1.5",
        None => "?",
    };
    let mut notes = Vec::new();
    match offers {
        None => notes.push("answers a ping, and no question about log-ins"),
        Some(offers) => {
            if !offers.v20() {
                notes.push("no RMCP+");
            }
            if offers.bmc_key_set() {
                notes.push("a BMC key (K_G) is set");
            }
            if offers.anonymous() {
                notes.push("takes log-ins without name and password");
            }
        }
    }
    Shown {
        address: heard.address.to_string(),
        port,
        ipmi: ipmi.to_owned(),
        maker: None,
        product: None,
        firmware: None,
        guid: None,
        power: None,
        cipher_suite: None,
        note: notes.join("; "),
    }
}

async fn log_in_to_all(
    heard: &[Heard],
    shown: &mut [Shown],
    settings: &Settings,
    args: &Discover,
) -> Result<(), Failure> {
    let mut refused = 0;
    for (heard, shown) in heard.iter().zip(shown) {
        if !heard.offers.is_some_and(|offers| offers.v20()) {
            continue;
        }
        if refused >= REFUSALS {
            if !secret::goes_on(refused, "Go on with the same name and password?")? {
                return Ok(());
            }
            refused = 0;
        }
        let ended = login::log_in((heard.address, args.port).into(), settings, Asks::Who).await;
        match ended.map_err(|e| Failure::Here(format!("{}: {e}", heard.address)))? {
            LogIn::In(found) => {
                refused = 0;
                tell(shown, &found);
            }
            LogIn::Refused(why, _) => {
                refused += 1;
                add(shown, &format!("log-in refused: {why}"));
            }
            LogIn::Failed(why, _) => add(shown, &format!("no log-in: {why}")),
        }
    }
    Ok(())
}

fn tell(shown: &mut Shown, found: &Found) {
    shown.maker = found.device.map(|device| device.manufacturer);
    shown.product = found.device.map(|device| device.product);
    shown.firmware = found.device.map(|device| device.firmware());
    shown.guid = found.guid.map(|guid| guid.to_string());
    shown.power = found.on.map(|on| if on { "power on" } else { "power off" });
    shown.cipher_suite = found.suite;
    for note in &found.notes {
        add(shown, note);
    }
}

fn add(shown: &mut Shown, note: &str) {
    if !shown.note.is_empty() {
        shown.note.push_str("; ");
    }
    shown.note.push_str(note);
}

/// Makers that are met often, by their enterprise numbers (IANA).
const MAKERS: [(u32, &str); 9] = [
    (2, "IBM"),
    (11, "HP"),
    (343, "Intel"),
    (674, "Dell"),
    (7244, "Quanta"),
    (10876, "Supermicro"),
    (19046, "Lenovo"),
    (20301, "IBM"),
    (47196, "HPE"),
];

fn maker(number: u32) -> String {
    let known = MAKERS.iter().find(|(maker, _)| *maker == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

fn show(out: &output::Out, shown: &[Shown]) {
    if matches!(out.format, Format::Json | Format::Yaml) {
        out.structured(&shown);
        return;
    }
    if out.format == Format::Name || (out.format == Format::Text && !out.person) {
        for bmc in shown {
            out.data(&match out.format {
                Format::Name => bmc.address.clone(),
                _ => format!("{}: {}", bmc.address, in_words(bmc)),
            });
        }
        return;
    }
    let mut table = out.table(&[
        "ADDRESS", "IPMI", "MAKER", "PRODUCT", "FIRMWARE", "POWER", "GUID", "NOTE",
    ]);
    for bmc in shown {
        table.add_row([
            Cell::new(&bmc.address),
            Cell::new(&bmc.ipmi),
            Cell::new(bmc.maker.map(maker).unwrap_or_default()),
            Cell::new(
                bmc.product
                    .map(|number| number.to_string())
                    .unwrap_or_default(),
            ),
            Cell::new(bmc.firmware.as_deref().unwrap_or_default()),
            Cell::new(bmc.power.unwrap_or_default()),
            Cell::new(bmc.guid.as_deref().unwrap_or_default()),
            Cell::new(&bmc.note),
        ]);
    }
    if !shown.is_empty() {
        out.data(&out.drawn(table));
    }
}

/// A BMC in one line for a program.
fn in_words(bmc: &Shown) -> String {
    let mut words = vec![format!("IPMI {}", bmc.ipmi)];
    words.extend(bmc.maker.map(|number| format!("maker {}", maker(number))));
    words.extend(bmc.product.map(|number| format!("product {number}")));
    words.extend(bmc.firmware.as_ref().map(|text| format!("firmware {text}")));
    words.extend(bmc.power.map(str::to_owned));
    words.extend(bmc.guid.as_ref().map(|guid| format!("GUID {guid}")));
    if !bmc.note.is_empty() {
        words.push(bmc.note.clone());
    }
    words.join(", ")
}

fn write(
    out: &output::Out,
    path: &std::path::Path,
    shown: &[Shown],
    args: &Discover,
) -> Result<(), Failure> {
    let digits = shown.len().to_string().len().max(2);
    let nodes = shown.iter().enumerate().map(|(place, bmc)| {
        (
            format!("node{:0digits$}", place + 1),
            bmc.address.clone(),
            bmc.port,
        )
    });
    let plan = SetupPlan {
        rack: "rack".to_owned(),
        username: args.username.clone().unwrap_or_else(|| "admin".to_owned()),
        password_file: args
            .password_file
            .clone()
            .unwrap_or_else(|| format!("{}/bmc.pw", setup::DIRECTORY).into()),
        nodes: nodes.collect(),
    };
    setup::write_new(path, &plan.text(), setup::CONFIGURATION_MODE)?;
    out.remark(&format!(
        "{}: written; its rack starts paused. Give the nodes their names, then: rackbmcd --config {} --check-config",
        path.display(),
        path.display()
    ));
    Ok(())
}
