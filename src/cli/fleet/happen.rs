//! What goes on in many racks: tasks, events as they happen, and waiting for power states.

use super::power::tell_silent;
use super::select::{Chosen, Facts, select};
use super::{Answer, Fleet, PATIENCE, Rack, tell};
use crate::cli::App;
use crate::cli::args::{Events, Nodes, Tasks, Until};
use crate::cli::exit::{Exit, Failure};
use crate::cli::inspect::show_event;
use crate::cli::output::{self, say};
use crate::cli::patience::Patience;
use crate::cli::select::{Unnamed, each_at_once};
use crate::cli::tasks::show_list;
use crate::cli::until::{Goal, rounds};
use crate::model::{Event, Task};
use serde_json::Value;
use smol::channel::{Receiver, Sender};
use smol::future::or;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// Tasks that a daemon lists with one answer.
const LISTED: u32 = 1000;
/// How long one long poll asks a daemon to wait.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long an event is held back for older ones of other racks.
const HELD_BACK: Duration = Duration::from_millis(400);
/// Time between two attempts to reach a rack that was lost.
const RETRY: Duration = Duration::from_secs(2);

/// A rack, and the names of its nodes where some are meant.
type Wanted<'f> = (&'f Rack, Option<Vec<String>>);

/// Lists the tasks of all racks, newest first.
pub(super) async fn tasks(fleet: &Fleet, args: Tasks) -> Result<Exit, Failure> {
    let (wanted, mut exits) = named(fleet, &args.nodes).await?;
    let racks: Vec<&Rack> = wanted.iter().map(|(rack, _)| *rack).collect();
    let question = async |rack: &Rack| {
        let of_it = wanted.iter().find(|(known, _)| known.name == rack.name);
        let names = of_it.and_then(|(_, names)| names.as_ref());
        let limit = names.map_or(args.limit, |_| LISTED);
        let mut tasks = rack.client.tasks(None, None, args.active, limit).await?;
        tasks.retain(|task| names.is_none_or(|names| names.contains(&task.node)));
        Ok(tasks)
    };
    let answers: Vec<Answer<'_, Vec<Task>>> = Fleet::asked(&racks, PATIENCE, question).await;
    let mut tasks = Vec::new();
    for (rack, answer) in answers {
        match answer {
            Ok(of_rack) => tasks.extend(of_rack.into_iter().map(|task| rack.task(task))),
            Err(why) => exits.push(tell(rack, &why)),
        }
    }
    tasks.sort_by_key(|task: &Task| Reverse(task.requested_at));
    tasks.truncate(args.limit as usize);
    show_list(&fleet.out, &tasks);
    Ok(Exit::worst(exits))
}

/// The racks that are meant, with the names of their nodes where some are named; what the silent
/// ones mean.
async fn named<'f>(
    fleet: &'f Fleet,
    nodes: &Nodes,
) -> Result<(Vec<Wanted<'f>>, Vec<Exit>), Failure> {
    if nodes.nodes.is_empty() && nodes.exclude.is_empty() {
        return Ok((
            fleet.racks.iter().map(|rack| (rack, None)).collect(),
            Vec::new(),
        ));
    }
    let found = select(fleet, nodes, Unnamed::All, Facts::Names).await?;
    let exits = found.silent.iter();
    let exits = exits.map(|silent| tell(silent.rack, &silent.why)).collect();
    let named = |chosen: &Chosen<'f>| (chosen.rack, Some(chosen.names()));
    Ok((found.chosen.iter().map(named).collect(), exits))
}

/// Waits until every node was read as wanted, in all racks side by side.
pub(super) async fn until(fleet: &Fleet, args: Until) -> Result<Exit, Failure> {
    let goal = Goal::of(&args);
    let found = select(fleet, &args.nodes, Unnamed::Mistake, Facts::Names).await?;
    let mut exits = tell_silent(&found, "readings");
    let wait = async |chosen: &Chosen<'_>| {
        let rack = chosen.rack;
        let app = App {
            client: rack.client.clone(),
            out: fleet.out,
        };
        // It has answered once.
        let patience = Patience::of_known();
        let shown = |name: &str| rack.full(name);
        let ended = rounds(&app, chosen.names(), &goal, patience, shown).await;
        ended.unwrap_or_else(|why| tell(rack, &why))
    };
    exits.extend(each_at_once(&found.chosen, found.chosen.len(), wait).await);
    Ok(Exit::worst(exits))
}

/// An event, and when it came here.
struct Heard<'f> {
    rack: &'f Rack,
    event: Event,
    at: Instant,
}

/// Prints what happens in all racks, in the order of time.
pub(super) async fn events(fleet: &Fleet, args: Events) -> Result<Exit, Failure> {
    if args.since.is_some() {
        return Err(Failure::Usage(
            "--since is a place among the events of one rack: name it with --rack".into(),
        ));
    }
    let (wanted, exits) = named(fleet, &args.nodes).await?;
    let (sender, receiver) = smol::channel::unbounded();
    let listen = async {
        // Each waits for its rack for ever: all of them at once.
        each_at_once(&wanted, wanted.len(), async |(rack, names)| {
            hear(rack, names.as_deref().unwrap_or_default(), sender.clone()).await;
        })
        .await;
        smol::future::pending::<()>().await;
    };
    or(listen, print(fleet, receiver, args.idle)).await;
    Ok(Exit::worst(exits))
}

/// Hands on what happens in one rack. A rack that is lost is said to be, once, and so is that it is
/// back.
async fn hear<'f>(rack: &'f Rack, nodes: &[String], news: Sender<Heard<'f>>) {
    let mut since: Option<String> = None;
    let mut lost = false;
    loop {
        match rack.client.events(since.as_deref(), nodes, LONG_POLL).await {
            Ok(heard) => {
                if std::mem::take(&mut lost) {
                    say!("{} is back", rack.name);
                } else if heard.reset {
                    say!("{}: events were missed here", rack.name);
                }
                for event in heard.events {
                    let at = Instant::now();
                    if news.send(Heard { rack, event, at }).await.is_err() {
                        return;
                    }
                }
                since = Some(heard.next.to_string());
            }
            Err(why) => {
                if !std::mem::replace(&mut lost, true) {
                    say!("{}: {why}; it is asked again until it answers", rack.name);
                }
                smol::Timer::after(RETRY).await;
            }
        }
    }
}

async fn print(fleet: &Fleet, news: Receiver<Heard<'_>>, idle: Option<Duration>) {
    let mut held: Vec<Heard<'_>> = Vec::new();
    let mut quiet_since = Instant::now();
    while !output::is_lost() {
        let next = held.iter().map(|heard| heard.at + HELD_BACK).min();
        let end = idle.map(|idle| quiet_since + idle);
        let due = next.into_iter().chain(end).min();
        let due = async {
            match due {
                Some(due) => smol::Timer::at(due).await,
                None => smol::future::pending().await,
            };
            None
        };
        let heard = async { news.recv().await.ok() };
        if let Some(heard) = or(heard, due).await {
            quiet_since = Instant::now();
            held.push(heard);
            continue;
        }
        for heard in ripe(&mut held, Instant::now()) {
            show(fleet, heard);
        }
        if held.is_empty() && idle.is_some_and(|idle| quiet_since.elapsed() >= idle) {
            return;
        }
    }
}

/// Those that were held back long enough, and all that happened before them.
fn ripe<'f>(held: &mut Vec<Heard<'f>>, now: Instant) -> Vec<Heard<'f>> {
    let old = held.iter().filter(|heard| heard.at + HELD_BACK <= now);
    let Some(last) = old.map(|heard| heard.event.at).max() else {
        return Vec::new();
    };
    held.sort_by_key(|heard| (heard.event.at, heard.event.id));
    let rest = held.iter().position(|heard| heard.event.at > last);
    let rest = held.split_off(rest.unwrap_or(held.len()));
    std::mem::replace(held, rest)
}

fn show(fleet: &Fleet, heard: Heard<'_>) {
    let Heard { rack, event, .. } = heard;
    let mut data = serde_json::to_value(&event).expect("events are JSON");
    let node = event.node.as_deref().map(|node| rack.full(node));
    data["rack"] = Value::from(rack.name.as_str());
    data["node"] = Value::from(node.clone());
    let event = Event {
        node: Some(node.unwrap_or_else(|| rack.name.clone())),
        ..event
    };
    show_event(&fleet.out, &event, &data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::Client;
    use crate::cli::connect::Endpoint;
    use crate::time::WallTime;

    #[test]
    fn events_of_several_racks_come_in_the_order_of_time_after_a_moment() {
        let rack = Rack {
            name: "r1".to_owned(),
            client: Client::new(Endpoint::Unix("/nowhere".into())),
            named: true,
        };
        let now = Instant::now();
        let heard = |happened: u64, ago: u64| Heard {
            rack: &rack,
            event: Event {
                at: WallTime::from_unix_micros(happened),
                ..Event::default()
            },
            at: now - Duration::from_millis(ago),
        };
        let mut held = vec![heard(20, 500), heard(30, 100), heard(10, 100)];
        let printed = ripe(&mut held, now);
        let times: Vec<u64> = printed
            .iter()
            .map(|heard| heard.event.at.unix_micros())
            .collect();
        assert_eq!(times, [10, 20]);
        assert_eq!(held.len(), 1);
        assert!(ripe(&mut held, now).is_empty());
    }
}
