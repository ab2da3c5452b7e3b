//! The verbs of experts: the BMC itself, its event log, raw commands.

use super::App;
use super::args::{self, BmcVerb, Format, Nodes, Raw, SelClear, SelList, SelVerb};
use super::exit::{Exit, Failure};
use super::node_ops::{asked, each};
use super::select::{self, Unnamed};
use crate::model::{
    BmcAnswer, BmcChange, BmcReset, ErrorKind, EventLog, EventLogEntry, RawRequest, Trace,
};
use comfy_table::Table;
use serde_json::{Value, json};

/// `bmc info` and `bmc reset`.
pub(super) async fn bmc(app: &App, verb: BmcVerb) -> Result<Exit, Failure> {
    match verb {
        BmcVerb::Info(nodes) => info(app, &nodes).await,
        BmcVerb::Reset(args) => reset(app, args).await,
        BmcVerb::Accept(args) => accept(app, args).await,
        BmcVerb::Trace(args) => trace(app, &args.node).await,
    }
}

/// `sel list` and `sel clear`.
pub(super) async fn sel(app: &App, verb: SelVerb) -> Result<Exit, Failure> {
    match verb {
        SelVerb::List(args) => list(app, args).await,
        SelVerb::Clear(args) => clear(app, args).await,
    }
}

/// What is read for `bmc info`, in the order of showing; the first must work.
const INFO: [&str; 5] = ["identity", "guid", "sessions", "acpi", "restart_cause"];

async fn info(app: &App, wanted: &Nodes) -> Result<Exit, Failure> {
    each(app, wanted, async move |node| {
        let mut all = json!({});
        let mut words = Vec::new();
        for what in INFO {
            match app.client.bmc_reading(&node, what).await {
                Ok(answer) => {
                    words.push(in_words(&answer));
                    let members = serde_json::to_value(&answer).expect("answers are JSON");
                    for (name, value) in members.as_object().into_iter().flatten() {
                        if name != "order" {
                            all[name] = value.clone();
                        }
                    }
                }
                // Many BMCs have not all of these.
                Err(Failure::Refused(refusal)) if refusal.kind == ErrorKind::BmcRefused => {
                    all[what] = Value::Null;
                }
                Err(other) => return Err(other),
            }
        }
        words.retain(|text| !text.is_empty());
        Ok((words.join(", "), all))
    })
    .await
}

/// One reading in a few words.
fn in_words(answer: &BmcAnswer) -> String {
    let mut words = Vec::new();
    if let (Some(maker), Some(product), Some(firmware)) =
        (answer.manufacturer, answer.product, &answer.firmware)
    {
        words.push(format!(
            "maker {maker}, product {product}, firmware {firmware}"
        ));
    }
    if let Some(guid) = &answer.guid {
        words.push(format!("guid {guid}"));
    }
    if let (Some(taken), Some(all)) = (answer.sessions, answer.possible_sessions) {
        words.push(format!("{taken} of {all} sessions taken"));
    }
    if let Some(state) = &answer.acpi {
        words.push(format!("ACPI {state}"));
    }
    if let Some(watts) = answer.watts {
        words.push(format!("{watts} W"));
    }
    if let Some(cause) = &answer.restart_cause {
        words.push(format!("restarted last by: {cause}"));
    }
    words.join(", ")
}

/// `power-use`.
pub(super) async fn power_use(app: &App, wanted: &Nodes) -> Result<Exit, Failure> {
    each(app, wanted, async move |node| {
        let answer = app.client.bmc_reading(&node, "power_use").await?;
        Ok((in_words(&answer), json!({ "watts": answer.watts })))
    })
    .await
}

async fn reset(app: &App, args: args::BmcReset) -> Result<Exit, Failure> {
    let kind = if args.cold {
        BmcReset::Cold
    } else {
        BmcReset::Warm
    };
    sure(
        app,
        &format!("{kind} reset of the BMC"),
        &args.nodes,
        args.yes,
    )
    .await?;
    each(app, &args.nodes, async move |node| {
        app.client.reset_bmc(&node, kind).await?;
        Ok((
            format!("its BMC restarts ({kind})"),
            json!({ "reset": kind.name() }),
        ))
    })
    .await
}

/// Writes the last datagrams of a BMC as text.
async fn trace(app: &App, node: &str) -> Result<Exit, Failure> {
    let trace = app.client.trace(node).await?;
    if matches!(app.out.format, Format::Json | Format::Yaml) {
        app.out.structured(&[trace]);
        return Ok(Exit::Done);
    }
    app.out.data(&trace_as_text(&trace));
    Ok(Exit::Done)
}

/// The text of a trace: what it is, and a line for each datagram.
pub(super) fn trace_as_text(trace: &Trace) -> String {
    let address = trace.address.as_deref().unwrap_or("an unknown address");
    let mut lines = vec![format!(
        "# {}: the last datagrams of its BMC at {address}, the oldest first; {} before them are not kept any more",
        trace.node, trace.forgotten
    )];
    lines.push(
        "# > left this host, < came to it; numbers are those of our ports; [N left out] are N bytes of a name, password, code or \
         key, or of data that may be one"
            .to_owned(),
    );
    lines.extend(trace.lines.iter().cloned());
    lines.join("\n") + "\n"
}

/// Shows what has changed, asks, and accepts each BMC by the GUID that was shown.
async fn accept(app: &App, args: args::BmcAccept) -> Result<Exit, Failure> {
    let mut changed = std::collections::BTreeMap::new();
    for node in select::nodes(&app.client, &args.nodes, Unnamed::Mistake).await? {
        let name = select::name(&node).to_owned();
        let found = app.client.explain(&name).await?;
        if let Some(change) = found.identity {
            app.out.data(&other_bmc(&name, &change));
            changed.insert(name, change.is);
        }
    }
    if changed.is_empty() {
        app.out.data("no BMC is another one than before");
        return Ok(Exit::Done);
    }
    let names: Vec<&str> = changed.keys().map(String::as_str).collect();
    select::confirm_above(0, "accept the BMC", &names, args.yes)?;
    let wanted = Nodes {
        nodes: changed.keys().cloned().collect(),
        ..Nodes::default()
    };
    let changed = &changed;
    each(app, &wanted, async move |node| {
        let guid = changed.get(&node).copied().unwrap_or_default();
        app.client.accept_bmc(&node, guid).await?;
        Ok((
            "its BMC is accepted; tasks that stood still for it are resumed by hand".to_owned(),
            json!({ "guid": guid }),
        ))
    })
    .await
}

/// The BMC that was there and the one that is, for a person who is to say whether that is right.
fn other_bmc(name: &str, change: &BmcChange) -> String {
    let maker = |maker: Option<u32>| maker.map_or("unknown".to_owned(), |maker| maker.to_string());
    let row = |head: &str, guid: uuid::Uuid, by: Option<u32>, at: &Option<String>| {
        let at = at.as_deref().unwrap_or("unknown");
        let guid = match guid.is_nil() {
            true => "no GUID".to_owned(),
            false => format!("GUID {guid}"),
        };
        format!("\n  {head}  {guid}, maker {}, address {at}", maker(by))
    };
    let was = row("was", change.was, change.maker_was, &change.address_was);
    let is = row("is ", change.is, change.maker_is, &change.address_is);
    format!("{name}: its BMC is another one than before{was}{is}")
}

/// Shows the newest entries: a table for a person, a line with the node before it for each entry
/// into a pipe.
async fn list(app: &App, args: SelList) -> Result<Exit, Failure> {
    let limit = args.limit;
    let logs = asked(app, &args.nodes, async move |node| {
        app.client.event_log(&node, limit).await
    });
    let (logs, exit) = logs.await?;
    match app.out.format {
        Format::Json | Format::Yaml => {
            let logs: Vec<Value> = logs
                .iter()
                .map(|(name, log)| log_as_data(name, log))
                .collect();
            app.out.structured(&logs);
        }
        Format::Name => logs.iter().for_each(|(name, _)| app.out.data(name)),
        Format::Text if !app.out.person => app.out.lines(&log_lines(app, &logs), Clone::clone),
        Format::Text | Format::Wide => app.out.data(&app.out.drawn(log_table(app, &logs))),
    }
    Ok(exit)
}

fn log_as_data(name: &str, log: &EventLog) -> Value {
    json!({ "node": name, "entries": log.entries, "total": log.total, "left_out": log.left_out })
}

const EMPTY: &str = "the event log is empty";

/// What is to be said of a log beside its entries.
fn beside(log: &EventLog) -> Option<&str> {
    match (&log.left_out, log.entries.is_empty()) {
        (Some(left_out), _) => Some(left_out),
        (None, true) => Some(EMPTY),
        (None, false) => None,
    }
}

fn log_lines(app: &App, logs: &[(String, EventLog)]) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, log) in logs {
        for entry in &log.entries {
            let [id, at, text] = cells(app, entry);
            lines.push((name.clone(), format!("{id} {at} {text}")));
        }
        lines.extend(beside(log).map(|text| (name.clone(), text.to_owned())));
    }
    lines
}

fn log_table(app: &App, logs: &[(String, EventLog)]) -> Table {
    let mut table = app.out.table(&["NODE", "ENTRY", "AT", "EVENT"]);
    for (name, log) in logs {
        for entry in &log.entries {
            let [id, at, text] = cells(app, entry);
            table.add_row([name, &id, &at, &text]);
        }
        if let Some(text) = beside(log) {
            table.add_row([name, "", "", text]);
        }
    }
    table
}

fn cells(app: &App, entry: &EventLogEntry) -> [String; 3] {
    let at = entry
        .at
        .map_or("(no date)".into(), |at| app.out.date_and_time(at));
    [format!("{:#06x}", entry.id), at, entry.text.clone()]
}

async fn clear(app: &App, args: SelClear) -> Result<Exit, Failure> {
    sure(app, "clear the event log", &args.nodes, args.yes).await?;
    each(app, &args.nodes, async move |node| {
        app.client.clear_event_log(&node).await?;
        Ok(("event log cleared".to_owned(), json!({ "cleared": true })))
    })
    .await
}

/// Asks, however few nodes it is: what is done cannot be undone.
async fn sure(app: &App, what: &str, wanted: &Nodes, yes: bool) -> Result<(), Failure> {
    let nodes = select::nodes(&app.client, wanted, Unnamed::Mistake).await?;
    let names: Vec<&str> = nodes.iter().map(select::name).collect();
    select::confirm_above(0, what, &names, yes)
}

/// Sends one command spelled out in bytes.
pub(super) async fn raw(app: &App, args: Raw) -> Result<Exit, Failure> {
    let [net_fn, command, ref data @ ..] = args.bytes[..] else {
        return Err(Failure::Usage(
            "a network function and a command are needed".into(),
        ));
    };
    let request = RawRequest {
        net_fn,
        lun: args.lun,
        command,
        data: data.to_vec(),
        bridge: args.bridge,
    };
    let request = &request;
    let wanted = Nodes {
        nodes: vec![args.node],
        ..Nodes::default()
    };
    each(app, &wanted, async move |node| {
        let answer = app.client.raw(&node, request).await?;
        let bytes = answer.data.clone().unwrap_or_default();
        let text = match bytes.is_empty() {
            true => "done, no data".to_owned(),
            false => bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" "),
        };
        Ok((
            text,
            serde_json::to_value(&answer).expect("answers are JSON"),
        ))
    })
    .await
}
