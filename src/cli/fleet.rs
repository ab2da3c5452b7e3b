//! Many racks from one prompt (`--fleet`): the daemons of all racks are asked side by side, each
//! with the user's own rights.
//!
//! A rack depends on nothing here. One that is slow or dead holds up nobody: it has its time, and
//! is named with the reason. Nodes are named with their rack, `r7/n03`, wherever they are read or
//! shown.

mod batch;
mod completed;
mod control;
mod happen;
mod id;
mod members;
mod power;
mod run;
mod select;
mod status;
mod summaries;

use super::args::{ChassisNoun, CommandLine, Common, InjectNoun, NounVerb, PowerVerb, Verb};
use super::check::Nagios;
use super::client::Client;
use super::connect::Endpoint;
use super::exit::{Exit, Failure};
use super::ha::stale_in_words;
use super::output::{Out, about, say};
use super::select::each_at_once;
use crate::config::EtcdSettings;
use crate::model::{Control, Node, Task};
use crate::nodeset;
use smol::future::or;
use std::time::Duration;

pub(super) use completed::{groups, groups_of, ids, names, names_of, racks};

/// Racks that are asked at the same time.
const AT_ONCE: usize = 64;
/// How long a rack may take to say what it knows.
const PATIENCE: Duration = Duration::from_secs(5);

/// A rack of the fleet.
#[derive(Clone, Debug)]
pub(super) struct Rack {
    /// The name by which it is called here.
    name: String,
    /// The way to its daemon.
    client: Client,
    /// Whether the name is that of the daemon's configuration, so that another one there is a
    /// mistake: a socket of this host is called after its file.
    named: bool,
}

/// All of them, and a place for their answers.
struct Fleet {
    racks: Vec<Rack>,
    /// Where they publish their summaries, where that is known.
    etcd: Option<EtcdSettings>,
    out: Out,
}

/// What a rack answered, or why it did not.
type Answer<'f, T> = (&'f Rack, Result<T, Failure>);

/// Carries a verb out on the racks of the fleet.
pub(super) async fn run(line: CommandLine) -> Result<u8, Failure> {
    let out = super::out(&line.common);
    let racks = members::with_etcd(&line.common);
    if let Verb::Check(args) = &line.verb {
        let (verdict, text) = match racks {
            Ok((racks, etcd)) => status::check(&Fleet { racks, etcd, out }, args).await,
            Err(failure) => (Nagios::Unknown, format!("RACKBMC UNKNOWN - {failure}")),
        };
        out.data(&text);
        return Ok(verdict as u8);
    }
    let (racks, etcd) = racks?;
    let fleet = &Fleet { racks, etcd, out };
    let exit = match line.verb {
        Verb::Racks(args) => status::racks(fleet, &args).await,
        Verb::Status(args) => status::status(fleet, &args).await,
        Verb::Power(verb) => pressed(fleet, verb).await,
        Verb::PowerNoun { verb }
        | Verb::Chassis {
            noun: ChassisNoun::Power { verb },
        } => match verb {
            NounVerb::Power(verb) => pressed(fleet, verb).await,
            NounVerb::Status(args) => status::status(fleet, &args).await,
        },
        Verb::Inject {
            noun: InjectNoun::Nmi(args),
        } => pressed(fleet, PowerVerb::Nmi(args)).await,
        Verb::Abort(args) => control::control(fleet, Control::Abort, args).await,
        Verb::Cancel(args) => control::control(fleet, Control::Cancel, args).await,
        Verb::Rollback(args) => control::control(fleet, Control::Rollback, args).await,
        Verb::Suspend(args) => control::control(fleet, Control::Suspend, args).await,
        Verb::Resume(args) => control::control(fleet, Control::Resume, args).await,
        Verb::Batch(args) => batch::batch(fleet, args).await,
        Verb::Tasks(args) => happen::tasks(fleet, args).await,
        Verb::Events(args) => happen::events(fleet, args).await,
        Verb::Wait(args) => happen::until(fleet, args).await,
        _ => Err(Failure::Usage(
            "this verb is for one rack at a time: name it beside --fleet, --rack r7, and its nodes without it".into(),
        )),
    };
    for rack in &fleet.racks {
        if let Some(stale) = rack.client.stale() {
            say!("{}", about(&rack.name, &stale_in_words(&stale)));
        }
    }
    exit.map(|exit| exit as u8)
}

async fn pressed(fleet: &Fleet, verb: PowerVerb) -> Result<Exit, Failure> {
    let (operation, how) = verb.operation();
    power::send(fleet, operation, how).await
}

/// The daemons of one rack of the fleet, for the verbs that ask one rack: of each of its hosts.
///
/// # Errors
/// There is no such rack, or the file is wrong.
pub(super) fn endpoints_of(common: &Common, name: &str) -> Result<Vec<Endpoint>, Failure> {
    let racks = members::racks(common)?;
    let found = racks.iter().find(|rack| rack.name == name);
    let found = found.ok_or_else(|| no_rack(name, &racks))?;
    Ok(found.client.endpoints().to_vec())
}

/// What is said of a rack that is not there.
fn no_rack(name: &str, racks: &[Rack]) -> Failure {
    let known = nodeset::fold(racks.iter().map(|rack| rack.name.as_str()));
    Failure::Usage(format!("the fleet has no rack {name} (it has {known})"))
}

impl Rack {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes sure that the daemon is that of the rack which is meant: its buttons would be pressed.
    async fn sure(&self) -> Result<(), Failure> {
        let health = self.client.health().await?;
        match self.mistaken(&health.rack) {
            None => Ok(()),
            Some(why) => Err(Failure::Here(format!("{why}; nothing was asked of it"))),
        }
    }

    /// What is wrong with the name that the daemon has for its rack.
    fn mistaken(&self, name: &str) -> Option<String> {
        (self.named && self.name != name).then(|| {
            format!(
                "the daemon at {} says that its rack is {name}: the fleet's file is wrong about it",
                self.client.endpoint().name()
            )
        })
    }

    /// A node's name with that of its rack.
    fn full(&self, node: &str) -> String {
        format!("{}/{node}", self.name)
    }

    /// A task with its node as it is called where there are many racks.
    fn task(&self, task: Task) -> Task {
        Task {
            node: self.full(&task.node),
            ..task
        }
    }

    /// A node as it is called where there are many racks.
    fn with_rack(&self, node: Node) -> Node {
        Node {
            name: self.full(&node.name).into(),
            ..node
        }
    }
}

impl Fleet {
    /// Asks racks something, many at the same time; each has so much time for all of its answer.
    async fn asked<'f, T>(
        racks: &[&'f Rack],
        patience: Duration,
        question: impl AsyncFn(&'f Rack) -> Result<T, Failure>,
    ) -> Vec<Answer<'f, T>> {
        let ask = async |rack: &&'f Rack| {
            let late = async {
                smol::Timer::after(patience).await;
                Err(Failure::Timeout {
                    what: rack.client.endpoint().name(),
                    after: patience,
                })
            };
            or(question(rack), late).await
        };
        let answers = each_at_once(racks, AT_ONCE, ask).await;
        racks.iter().copied().zip(answers).collect()
    }
}

/// Says why a rack did not answer; what that means for the exit code.
fn tell(rack: &Rack, why: &Failure) -> Exit {
    say!("{}", about(&rack.name, &why.to_string()));
    why.exit()
}
