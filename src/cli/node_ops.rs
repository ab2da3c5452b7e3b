//! The verbs for everything beside power: identify, bootdev, maintenance, pause, release, retry.

use super::App;
use super::args::{BootTarget, Bootdev, Identify, Lasting, Maintenance, Nodes};
use super::exit::{Exit, Failure};
use super::output::{about, say};
use super::select::{self, Unnamed};
use crate::model::{BootDevice, BootOverrideRequest, Node, Word};
use comfy_table::Table;
use serde_json::{Value, json};
use std::time::Duration;

/// One node's answer: what to say, or why not.
type Said = Result<(String, Value), Failure>;

/// Carries a small order out on each of the nodes, and shows how it went on each.
pub(super) async fn each<F>(app: &App, wanted: &Nodes, order: F) -> Result<Exit, Failure>
where
    F: AsyncFn(String) -> Said,
{
    let (said, exit) = asked(app, wanted, order).await?;
    let said: Vec<Value> = said
        .into_iter()
        .map(|(name, (text, mut value))| {
            value["node"] = name.into();
            value["text"] = text.into();
            value
        })
        .collect();
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    app.out.items(
        &said,
        |value| (word(value, "node"), word(value, "text")),
        |values| -> Table {
            let mut table = app.out.table(&["NODE", "ANSWER"]);
            for value in values {
                table.add_row([word(value, "node"), word(value, "text")]);
            }
            table
        },
    );
    Ok(exit)
}

/// What each of the nodes answered; who refused is told, and is in the exit code.
pub(super) async fn asked<T, F>(
    app: &App,
    wanted: &Nodes,
    question: F,
) -> Result<(Vec<(String, T)>, Exit), Failure>
where
    F: AsyncFn(String) -> Result<T, Failure>,
{
    let nodes = select::nodes(&app.client, wanted, Unnamed::Mistake).await?;
    let names: Vec<String> = nodes
        .iter()
        .map(|node| select::name(node).to_owned())
        .collect();
    let answers = select::each_of(&names, async |name: &String| question(name.clone()).await).await;
    let (mut answered, mut exits) = (Vec::new(), Vec::new());
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(answer) => answered.push((name, answer)),
            Err(Failure::Refused(refusal)) => {
                say!("{}", about(&name, &refusal.message));
                exits.push(Failure::Refused(refusal).exit());
            }
            Err(other) => return Err(other),
        }
    }
    Ok((answered, Exit::worst(exits)))
}

/// Blinks the identify light.
pub(super) async fn identify(app: &App, args: Identify) -> Result<Exit, Failure> {
    let (lasting, text) = match (args.off, args.lasting) {
        (true, _) | (false, Lasting::For(Duration::ZERO)) => {
            (Some(Duration::ZERO), "identify light off".to_owned())
        }
        (false, Lasting::Forever) => (None, "identify light on until further notice".to_owned()),
        (false, Lasting::For(time)) => (
            Some(time),
            format!("identify light on for {}", super::output::words(time)),
        ),
    };
    let (lasting, text) = (&lasting, &text);
    each(app, &args.nodes, async move |node| {
        app.client.identify(&node, *lasting).await?;
        Ok((
            text.clone(),
            json!({ "for": lasting.map(|time| time.as_secs()) }),
        ))
    })
    .await
}

/// Shows or sets the boot device.
pub(super) async fn bootdev(app: &App, args: Bootdev) -> Result<Exit, Failure> {
    let Some(BootTarget(device)) = args.set else {
        return each(app, &args.nodes, async move |node| {
            let boot = app.client.boot_override(&node).await?;
            let text = match &boot.device {
                None => "no override".to_owned(),
                Some(device) if boot.persistent => {
                    format!("{}, for every boot", of_word(device))
                }
                Some(device) => format!("{}, for the next boot", of_word(device)),
            };
            let shown = json!({ "boot_device": boot.device, "persistent": boot.persistent, "uefi": boot.uefi });
            Ok((text + uefi_words(boot.uefi), shown))
        })
        .await;
    };
    let boot = BootOverrideRequest {
        device,
        persistent: args.persistent && device.is_some(),
        uefi: args.uefi && device.is_some(),
    };
    let boot = &boot;
    each(app, &args.nodes, async move |node| {
        app.client.set_boot_override(&node, boot).await?;
        let text = match boot.device {
            None => "override cleared".to_owned(),
            Some(device) if boot.persistent => format!("boots from {} from now on", named(device)),
            Some(device) => format!("boots from {} next time", named(device)),
        };
        let device = boot.device.map(BootDevice::name);
        let shown =
            json!({ "boot_device": device, "persistent": boot.persistent, "uefi": boot.uefi });
        Ok((text + uefi_words(boot.uefi), shown))
    })
    .await
}

fn of_word(word: &Word<BootDevice>) -> String {
    match word.known() {
        Some(device) => named(device),
        None => format!("another device ({})", word.as_str()),
    }
}

/// A boot device with its selector, where it has no name that everybody knows.
fn named(device: BootDevice) -> String {
    let (word, selector) = (device.name(), device.selector());
    match device {
        BootDevice::Pxe
        | BootDevice::Disk
        | BootDevice::Cdrom
        | BootDevice::Bios
        | BootDevice::Safe => word.to_owned(),
        BootDevice::Diag
        | BootDevice::Floppy
        | BootDevice::RemoteFloppy
        | BootDevice::RemoteCdrom
        | BootDevice::RemoteMedia
        | BootDevice::RemoteDisk => format!("{} (selector {selector})", word.replace('_', " ")),
        BootDevice::Selector10
        | BootDevice::Selector12
        | BootDevice::Selector13
        | BootDevice::Selector14 => format!("another device (selector {selector})"),
    }
}

fn uefi_words(uefi: bool) -> &'static str {
    if uefi { ", in UEFI mode" } else { "" }
}

/// Takes nodes into maintenance, or out of it.
pub(super) async fn maintenance(app: &App, args: Maintenance) -> Result<Exit, Failure> {
    let (on, reason) = (!args.off, args.reason.as_deref());
    each(app, &args.nodes, async move |node| {
        app.client.maintenance(&node, on, reason).await?;
        let text = if on {
            "in maintenance"
        } else {
            "out of maintenance"
        };
        Ok((
            text.to_owned(),
            json!({ "maintenance": on, "reason": reason }),
        ))
    })
    .await
}

/// Forgets failed log-ins.
pub(super) async fn retry(app: &App, wanted: &Nodes) -> Result<Exit, Failure> {
    each(app, wanted, async move |node| {
        let node: Node = app.client.retry(&node).await?;
        let bmc = node.rackbmcd.bmc;
        Ok((
            format!("failed log-ins forgotten, BMC {}", bmc.health),
            json!({ "health": bmc.health }),
        ))
    })
    .await
}

/// The big red button.
pub(super) async fn pause(app: &App, reason: &str) -> Result<Exit, Failure> {
    app.client.pause(reason).await?;
    app.out.data(&format!(
        "the rack is paused: {reason}\nrunning tasks are suspended, new ones refused, until: rackbmc release"
    ));
    Ok(Exit::Done)
}

/// Ends the pause.
pub(super) async fn release(app: &App) -> Result<Exit, Failure> {
    app.client.release().await?;
    app.out.data(
        "the pause has ended (rackbmc tasks --active shows what goes on or waits to be resumed)",
    );
    Ok(Exit::Done)
}
