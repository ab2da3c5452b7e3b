//! `rackbmc`: the daemon's client at the command line, of the HTTP API like any other.
//!
//! [`main`] parses, hands each verb to its room and turns what comes back into words and an exit
//! code. Of the rest of the house only the API's JSON types and the node sets are known here; `sim`
//! and `demo` bring a simulated rack along.

mod args;
mod audit;
mod chassis;
mod check;
pub mod check_bmcs;
mod client;
mod complete;
mod connect;
mod demo;
pub(crate) mod discover;
mod exit;
mod expert;
#[cfg(test)]
mod fixtures;
mod fleet;
mod follow;
mod ha;
mod init;
mod inspect;
mod ironic;
mod node_ops;
mod output;
mod patience;
mod power;
mod results;
mod secret;
mod select;
mod setup;
mod shell;
pub mod sim;
mod status;
mod support;
mod tasks;
mod until;
mod watch;
mod when;

use crate::model::Control;
use args::{ChassisNoun, CommandLine, Common, HaVerb, InjectNoun, NounVerb, PowerVerb, Verb};
use client::Client;
use connect::{Credentials, Endpoint};
use exit::{Exit, Failure};
use output::Out;
use output::say;
use std::process::ExitCode;

/// What every verb needs: a way to the daemon and a place for its answer.
struct App {
    client: Client,
    out: Out,
}

/// The whole program.
pub fn main() -> ExitCode {
    // Completion reads lines that are not finished: the parser of finished ones has no say in it.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|verb| verb == "__complete") {
        return complete::complete(words.collect()).into();
    }
    let line = match CommandLine::read(std::env::args_os()) {
        Ok(line) => line,
        Err(mistake) => return ExitCode::from(refused(&mistake)),
    };
    if let Verb::Sim(args) = line.verb {
        // Before the first thread is made: the simulator waits for its signals itself.
        return simulate(*args, &out(&line.common));
    }
    let lost = lost_code(&line.verb);
    let ended = match &line.verb {
        Verb::Demo(args) => demo::run(args, out(&line.common)).map(|exit| exit as u8),
        _ => smol::block_on(run(line)),
    };
    let code = ended.unwrap_or_else(|failure| {
        say!("rackbmc: {failure}");
        failure.exit() as u8
    });
    ExitCode::from(kept(code, lost))
}

/// What a verb exits with that went well and whose answer could not be written: nothing else where
/// it did something, since what was done was done; to Nagios a 1 would be a warning about the rack.
fn lost_code(verb: &Verb) -> u8 {
    match verb {
        Verb::Check(_) => check::Nagios::Unknown as u8,
        verb if verb.acts() => Exit::Done as u8,
        _ => Exit::Failed as u8,
    }
}

/// What a command line that makes no sense, or asks for help, is answered with.
fn refused(mistake: &clap::Error) -> u8 {
    // To Nagios a 2 would mean that the rack is in a critical state, and a 1 that somebody should
    // look at it.
    let is_check = CommandLine::begins_with("check");
    let code = |usual: Exit| match is_check {
        true => check::Nagios::Unknown as u8,
        false => usual as u8,
    };
    if mistake.exit_code() != 0 {
        // The words of the command line stand in it, which a script may have from elsewhere.
        output::told_in_colour(&mistake.render());
        return code(Exit::Usage);
    }
    let help = mistake.render();
    let colour = Out::new(args::Format::Text, false, false).colour;
    let text = if colour {
        help.ansi().to_string()
    } else {
        help.to_string()
    };
    output::write(format!("{}\n", text.trim_end()).as_bytes());
    kept(Exit::Done as u8, code(Exit::Failed))
}

/// The exit code holds whatever became of the answer, but for what went well and was `lost`, since
/// the answer was all that was asked for.
fn kept(code: u8, lost: u8) -> u8 {
    match output::loss() {
        None => code,
        Some(why) => {
            say!("rackbmc: {why}");
            match code == Exit::Done as u8 {
                true => lost,
                false => code,
            }
        }
    }
}

fn out(common: &Common) -> Out {
    Out::new(common.output, common.fold, common.quiet)
}

fn simulate(args: sim::SimArgs, out: &Out) -> ExitCode {
    match sim::run(args, out) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            say!("rackbmc: {error}");
            match error.is_usage() {
                true => Exit::Usage.into(),
                false => Exit::Failed.into(),
            }
        }
    }
}

async fn run(line: CommandLine) -> Result<u8, Failure> {
    // What needs no daemon comes first: it must work where there is none.
    match &line.verb {
        Verb::Completion { shell } => return Ok(shell::completion(*shell) as u8),
        Verb::Init(args) => return init::init(&out(&line.common), args).map(|exit| exit as u8),
        Verb::Man { into, verb } => {
            let done = match into {
                Some(directory) => shell::pages(directory),
                None => shell::man(verb.as_deref()),
            };
            return done.map(|exit| exit as u8);
        }
        _ => {}
    }
    if let Verb::Discover(args) = line.verb {
        let found = discover::discover(out(&line.common), args).await;
        return found.map(|exit| exit as u8);
    }
    if line.common.fleet && line.common.rack.is_none() {
        return fleet::run(line).await;
    }
    let app = App {
        client: Client::of_one_of(endpoints(&line.common)?),
        out: out(&line.common),
    };
    if let Verb::Check(check) = &line.verb {
        let (verdict, text) = check::check(&app, check).await;
        app.out.data(&text);
        return Ok(verdict as u8);
    }
    let ended = verb(&app, line.verb).await;
    if let Some(stale) = app.client.stale() {
        say!("rackbmc: {}", ha::stale_in_words(&stale));
    }
    ended.map(|exit| exit as u8)
}

async fn verb(app: &App, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Status(args) => status::status(app, args).await,
        Verb::Power(verb) => send(app, verb).await,
        Verb::PowerNoun { verb }
        | Verb::Chassis {
            noun: ChassisNoun::Power { verb },
        } => match verb {
            NounVerb::Power(verb) => send(app, verb).await,
            NounVerb::Status(args) => status::status(app, args).await,
        },
        Verb::Chassis {
            noun: ChassisNoun::Status(nodes),
        } => chassis::status(app, &nodes).await,
        Verb::Chassis {
            noun: ChassisNoun::Policy(args),
        } => chassis::policy(app, args).await,
        Verb::Inject {
            noun: InjectNoun::Nmi(args),
        } => send(app, PowerVerb::Nmi(args)).await,
        Verb::Abort(args) => tasks::control(app, Control::Abort, args).await,
        Verb::Cancel(args) => tasks::control(app, Control::Cancel, args).await,
        Verb::Rollback(args) => tasks::control(app, Control::Rollback, args).await,
        Verb::Suspend(args) => tasks::control(app, Control::Suspend, args).await,
        Verb::Resume(args) => tasks::control(app, Control::Resume, args).await,
        Verb::Tasks(args) => tasks::list(app, args).await,
        Verb::Task(args) => tasks::show(app, args).await,
        Verb::Batch(args) => tasks::batch(app, args).await,
        Verb::Wait(args) => until::until(app, args).await,
        Verb::Events(args) => inspect::events(app, args).await,
        Verb::Watch(args) => watch::watch(app, args).await,
        Verb::Explain(nodes) => inspect::explain(app, &nodes).await,
        Verb::History(args) => inspect::history(app, args).await,
        Verb::Identify(args) => node_ops::identify(app, args).await,
        Verb::Bootdev(args) => node_ops::bootdev(app, args).await,
        Verb::Raw(args) => expert::raw(app, args).await,
        Verb::Audit(args) => audit::audit(app, args).await,
        Verb::Support(args) => support::support(app, args).await,
        Verb::Bmc { verb } => expert::bmc(app, verb).await,
        Verb::PowerUse(nodes) => expert::power_use(app, &nodes).await,
        Verb::Sel { verb } => expert::sel(app, verb).await,
        Verb::Maintenance(args) => node_ops::maintenance(app, args).await,
        Verb::Pause { reason } => node_ops::pause(app, &reason.join(" ")).await,
        Verb::Release => node_ops::release(app).await,
        Verb::Ha {
            verb: HaVerb::Status,
        } => ha::status(app).await,
        Verb::Ha {
            verb: HaVerb::Handover(args),
        } => ha::hand_over(app, args).await,
        Verb::Retry(nodes) => node_ops::retry(app, &nodes).await,
        Verb::NodeShow { node } => ironic::show(app, &node).await,
        Verb::NodeShowStates { node } => ironic::states(app, &node).await,
        Verb::NodeSetPowerState { node, power_state } => ironic::set(app, &node, power_state).await,
        // Answered above, before there was one client.
        Verb::Completion { .. }
        | Verb::Man { .. }
        | Verb::Init(_)
        | Verb::Discover(_)
        | Verb::Racks(_)
        | Verb::Check(_)
        | Verb::Sim(_)
        | Verb::Demo(_) => Ok(Exit::Done),
    }
}

async fn send(app: &App, verb: PowerVerb) -> Result<Exit, Failure> {
    let (operation, how) = verb.operation();
    power::send(app, operation, how).await
}

/// The daemon that the options mean, or those of a rack that has several hosts; credentials come
/// from a file or the environment, never from the command line.
fn endpoints(common: &Common) -> Result<Vec<Endpoint>, Failure> {
    if let (true, Some(rack)) = (common.fleet, &common.rack) {
        return fleet::endpoints_of(common, rack);
    }
    let Some(urls) = &common.url else {
        return Ok(vec![Endpoint::Unix(common.socket.clone())]);
    };
    let credentials = credentials(common)?;
    let urls = urls.split(',').map(str::trim);
    urls.map(|url| Endpoint::from_url(url, credentials.clone(), common.cacert.as_deref()))
        .collect()
}

fn credentials(common: &Common) -> Result<Option<Credentials>, Failure> {
    match (&common.auth_file, std::env::var("RACKBMC_AUTH")) {
        (Some(file), _) => Credentials::of_file(file).map(Some),
        (None, Ok(text)) => Credentials::new(&text).map(Some),
        (None, Err(_)) => Ok(None),
    }
}
