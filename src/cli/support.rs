//! `rackbmc support`: one file with all that whoever looks into a trouble wants to see, without
//! secrets.
//!
//! The daemon leaves out what is secret of its own (`config::shareable`, its log, traces); names of
//! users, which its answers show, are left out here. Where no daemon answers it packs what there is
//! without one, and says what is missing.

mod pack;

use super::App;
use super::args;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::expert::trace_as_text;
use super::output::say;
use super::select::{self, Unnamed};
use crate::config::{Disk, shareable};
use crate::host;
use crate::model::Node;
use pack::Pack;
use serde_json::{Value, json};
use smol::future::FutureExt;
use smol::process::{Command, Stdio};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What goes into the file, and what should have.
struct Report {
    pack: Pack,
    contents: Vec<String>,
    missing: Vec<String>,
    /// How the command ends for what is missing.
    exits: Vec<Exit>,
}

impl Report {
    fn add(&mut self, name: &str, what: &str, text: &str) -> io::Result<()> {
        self.contents.push(format!("{name}: {what}"));
        self.pack.add(name, text)
    }

    /// The daemon should have said it.
    fn lacks(&mut self, what: &str, why: &Failure) {
        self.missing.push(format!("{what}: {why}"));
        self.exits.push(why.exit());
    }
}

/// Packs everything into a file and prints where it is.
pub(super) async fn support(app: &App, args: args::Support) -> Result<Exit, Failure> {
    let health = app.client.value("/healthz").await;
    let nodes = match &health {
        Ok(_) => select::nodes(&app.client, &args.nodes, Unnamed::All).await,
        Err(_) => Ok(Vec::new()),
    };
    // A node that there is not is a typing error; that there are none at all is something to
    // report.
    let nodes = match nodes {
        Err(Failure::Usage(why)) if !args.nodes.nodes.is_empty() => {
            return Err(Failure::Usage(why));
        }
        other => other,
    };
    let now = jiff::Timestamp::now();
    let rack = health
        .as_ref()
        .ok()
        .and_then(|health| health["rack"].as_str());
    let rack = rack.map_or(String::new(), |rack| format!("-{rack}"));
    let folder = format!("rackbmc-support{rack}-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = args.to.clone();
    let path = path.unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
    let broken = |error: io::Error| Failure::Here(format!("{}: {error}", path.display()));
    let at = u64::try_from(now.as_second()).unwrap_or_default();
    let mut report = Report {
        pack: Pack::create(&path, folder, at).map_err(broken)?,
        contents: Vec::new(),
        missing: Vec::new(),
        exits: Vec::new(),
    };
    let filled = match health {
        Ok(health) => from_daemon(app, &args, &health, nodes, &mut report).await,
        Err(why) => without_daemon(app, &args, &why, &mut report),
    };
    filled.map_err(broken)?;
    if app.client.socket().is_some() {
        journal(&mut report).await.map_err(broken)?;
    }
    let contents = in_words(&report);
    report.pack.add("contents.txt", &contents).map_err(broken)?;
    report.pack.finish().map_err(broken)?;
    report
        .missing
        .iter()
        .for_each(|what| say!("missing: {what}"));
    match app.out.format {
        args::Format::Json | args::Format::Yaml => {
            let shown = json!({ "file": path, "missing": report.missing });
            app.out.structured(&[shown]);
        }
        _ => app.out.data(&path.display().to_string()),
    }
    Ok(Exit::worst(report.exits))
}

/// All that the daemon says.
async fn from_daemon(
    app: &App,
    args: &args::Support,
    health: &Value,
    nodes: Result<Vec<Node>, Failure>,
    report: &mut Report,
) -> io::Result<()> {
    report.add("health.json", "how the daemon is", &pretty(health))?;
    match app.client.support().await {
        Ok(said) => {
            report.add(
                "versions.txt",
                "versions, and facts about the daemon's host",
                &versions(Some(&said.version), said.host),
            )?;
            let mut log = format!(
                "# lines before these that are not kept: {}\n",
                said.log_forgotten
            );
            said.log
                .iter()
                .for_each(|line| log.push_str(&format!("{line}\n")));
            report.add("log.txt", "the daemon's last lines of log", &log)?;
            match said.configuration {
                Some(text) => {
                    let text = format!("# {} as it is now\n{text}", said.configuration_file);
                    report.add("configuration.toml", CONFIGURATION, &text)?;
                }
                None => {
                    let why = said.configuration_trouble.unwrap_or_default();
                    report.lacks("configuration", &Failure::Here(why));
                }
            }
        }
        Err(why) => {
            let own = versions(None, Default::default());
            report.add("versions.txt", "the version of rackbmc", &own)?;
            report.lacks("log, configuration, facts about the host", &why);
        }
    }
    match app.client.text("/metrics").await {
        Ok(text) => report.add("metrics.txt", "figures as Prometheus gets them", &text)?,
        Err(why) => report.lacks("metrics", &why),
    }
    match nodes {
        Ok(nodes) => of_nodes(&app.client, args, &nodes, report).await,
        Err(why) => {
            report.lacks("nodes", &why);
            Ok(())
        }
    }
}

/// What is known of each node, and what its BMC and we said to each other last.
async fn of_nodes(
    client: &Client,
    args: &args::Support,
    nodes: &[Node],
    report: &mut Report,
) -> io::Result<()> {
    let is_named = !args.nodes.nodes.is_empty();
    let mut traced = 0;
    // So many at once are in memory.
    for nodes in nodes.chunks(64) {
        let found = select::each_of(nodes, async |node: &Node| {
            let path = format!("/v1/nodes/{}/explain", node.uuid);
            client.value(&path).await
        });
        for (node, found) in nodes.iter().zip(found.await) {
            let name = select::name(node);
            match found {
                Ok(mut value) => {
                    without_name(&mut value, &node.rackbmcd.bmc.username);
                    let file = format!("nodes/{name}/explain.json");
                    report.add(&file, "what is known of its BMC", &pretty(&value))?;
                }
                Err(why) => report.lacks(&format!("explain {name}"), &why),
            }
            if !is_named && node.rackbmcd.bmc.trouble.is_none() {
                continue;
            }
            traced += 1;
            if !is_named && traced > TRACES {
                continue;
            }
            match client.trace(name).await {
                Ok(trace) => {
                    let file = format!("nodes/{name}/trace.txt");
                    report.add(&file, "the last datagrams", &trace_as_text(&trace))?;
                }
                Err(why) => report.lacks(&format!("trace of {name}"), &why),
            }
        }
    }
    if !is_named && traced > TRACES {
        let more = traced - TRACES;
        let text = format!("traces of {more} more nodes in trouble: name the nodes that matter");
        report.missing.push(text);
    }
    Ok(())
}

/// What there is where no daemon answers.
fn without_daemon(
    app: &App,
    args: &args::Support,
    why: &Failure,
    report: &mut Report,
) -> io::Result<()> {
    report.lacks("health, metrics, log, explain and traces", why);
    let Some(socket) = app.client.socket() else {
        let own = versions(None, Default::default());
        return report.add("versions.txt", "the version of rackbmc", &own);
    };
    let facts = versions(None, host::facts());
    report.add(
        "versions.txt",
        "the version of rackbmc, and facts about this host",
        &facts,
    )?;
    let path = args.config.clone();
    match shareable(&path.unwrap_or_else(|| configuration_of(socket)), &Disk) {
        Ok(text) => report.add("configuration.toml", CONFIGURATION, &text),
        Err(why) => {
            report.lacks("configuration", &Failure::Here(why));
            Ok(())
        }
    }
}

/// The configuration of the daemon whose socket that is, as the units name them.
fn configuration_of(socket: &Path) -> PathBuf {
    let name = socket.file_stem().unwrap_or("rackbmcd".as_ref());
    Path::new("/etc/rackbmcd").join(name).with_extension("toml")
}

/// What systemd's journal has of the daemon, earlier lives included. Where there is none, nothing
/// is missing.
async fn journal(report: &mut Report) -> io::Result<()> {
    let asked = Command::new("journalctl")
        .args(["--unit=rackbmcd", "--unit=rackbmcd@*", "--lines=2000"])
        .args(["--output=short-iso", "--no-pager", "--quiet"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let late = async {
        smol::Timer::after(JOURNAL_PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let Ok(said) = asked.or(late).await else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&said.stdout);
    if !said.status.success() || text.trim().is_empty() {
        return Ok(());
    }
    let what = "systemd's journal of the daemon, earlier runs included";
    report.add("journal.txt", what, end_of(&text, JOURNAL_BYTES))
}

/// The last lines of a text, at most so many bytes.
fn end_of(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let cut = text.bytes().skip(from).position(|byte| byte == b'\n');
    match (from, cut) {
        (0, _) => text,
        (_, Some(line)) => &text[from + line + 1..],
        (_, None) => "",
    }
}

fn versions(daemon: Option<&str>, host: std::collections::BTreeMap<String, String>) -> String {
    let mut text = format!("rackbmc: {}\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "rackbmcd: {}", daemon.unwrap_or("not known"));
    for (name, value) in host {
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

/// What the file says of itself.
fn in_words(report: &Report) -> String {
    let mut text = "A report about rackbmcd, made by `rackbmc support`.\n\n\
        Left out are passwords, keys, tokens, codes, and the names by which BMCs are logged in to. In it are names and addresses \
        of nodes, GUIDs, names of people who asked for something, and the reasons that they gave.\n\n"
        .to_owned();
    for line in &report.contents {
        let _ = writeln!(text, "{line}");
    }
    if !report.missing.is_empty() {
        text.push_str("\nMissing:\n");
    }
    for line in &report.missing {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Leaves a name out of all texts in which it stands as a word.
fn without_name(value: &mut Value, name: &str) {
    match value {
        Value::String(text) => *text = word_left_out(text, name),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| without_name(value, name)),
        Value::Object(members) => {
            let values = members.values_mut();
            values.for_each(|value| without_name(value, name));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn word_left_out(text: &str, name: &str) -> String {
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, behind) = (&rest[..at], &rest[at + name.len()..]);
        let is_part = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        let last = before.chars().next_back().or(done.chars().next_back());
        let within = is_part(last) || is_part(behind.chars().next());
        done.push_str(before);
        done.push_str(if within { name } else { "(left out)" });
        rest = behind;
    }
    done + rest
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("values are JSON")
}

const CONFIGURATION: &str = "the configuration without secrets and names of users";
/// Nodes in trouble whose traces are packed where no node was named.
const TRACES: usize = 64;
/// Bytes of systemd's journal that are packed.
const JOURNAL_BYTES: usize = 1 << 20;
/// How long journalctl may take.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_left_out_where_it_is_a_word_and_nowhere_else() {
        let clean = |text: &str| word_left_out(text, "admin");
        assert_eq!(
            clean("admin, privilege operator"),
            "(left out), privilege operator"
        );
        assert_eq!(clean("administrator"), "administrator");
        assert_eq!(
            clean("as admin, or admin2, or (admin)"),
            "as (left out), or admin2, or ((left out))"
        );
        assert_eq!(word_left_out("anybody", ""), "anybody");
        assert_eq!(word_left_out("aaa a", "a"), "aaa (left out)");
    }

    #[test]
    fn the_end_of_a_text_begins_with_a_whole_line() {
        assert_eq!(end_of("one\ntwo\nthree\n", 8), "three\n");
        assert_eq!(end_of("one\ntwo\n", 8), "one\ntwo\n");
        assert_eq!(end_of("läßt sich\nnicht", 8), "nicht");
        assert_eq!(end_of("one line", 3), "");
    }

    #[test]
    fn the_configuration_of_a_rack_is_beside_the_others() {
        let of = |socket: &str| configuration_of(Path::new(socket)).display().to_string();
        assert_eq!(
            of("/run/rackbmcd/rackbmcd.sock"),
            "/etc/rackbmcd/rackbmcd.toml"
        );
        assert_eq!(of("/run/rackbmcd/r2.sock"), "/etc/rackbmcd/r2.toml");
    }
}
