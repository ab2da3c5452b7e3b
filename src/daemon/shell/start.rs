//! From a configuration to a loop that runs, and to its end.

use super::answering::Held;
use super::catching_up::CatchingUp;
use super::looks::{LOOKS, Looks, read_trail};
use super::post::{Post, Shared};
use super::publishing::Publisher;
use super::recording::Records;
use super::sending::Sending;
use super::unconfirmed::Unconfirmed;
use super::{Input, Shell};
use crate::api::serve::{Asked, Audit, Context, State, TrailQueue, serve_unix};
#[cfg(feature = "tls")]
use crate::config::Tls;
use crate::config::{ApiSettings, Configuration};
use crate::daemon::alarm::Alarm;
use crate::daemon::audit::{self, AuditLog};
use crate::daemon::clock::Clock;
use crate::daemon::listen::{self, Listeners};
use crate::daemon::names::UserNames;
use crate::daemon::on_disk::OnDisk;
use crate::daemon::randomness::Kernel;
use crate::daemon::signals::Signals;
use crate::daemon::spread::Spread;
use crate::daemon::store::Store;
use crate::daemon::store::committer::{self, StoreQuery};
use crate::daemon::systemd::notify;
use crate::daemon::thread::Executor;
use crate::daemon::udp::Sockets;
use crate::daemon::{Failure, kernel, support};
use crate::entropy::Entropy;
use crate::model::{Policy, counted};
use crate::rack::Rack;
use crate::rack::call::Refused;
use crate::rack::record::is_shared;
use crate::time::Instant;
use sd_notify::NotifyState;
use smol::channel::{Receiver, Sender};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs the daemon until it is told to stop.
///
/// `executor` is of the thread that this runs on: connections, timers and sockets are served there,
/// too.
pub(in crate::daemon) async fn run(
    path: PathBuf,
    mut configuration: Configuration,
    new_journal: bool,
    signals: Signals,
    executor: Executor,
) -> Result<(), Failure> {
    let clock = Clock;
    let state_dir = configuration.daemon.state_dir.clone();
    let mut store = open_store(&state_dir, new_journal)?;
    let post = post(&mut configuration, &mut store, clock)?;
    let trail = AuditLog::open(&mut store).map_err(Failure::new)?;
    let journal_size = store.size();
    let listeners = Listeners::open(&configuration.api)?;
    let (to_inputs, inputs) = smol::channel::bounded(INPUTS);
    let (journal, batches) = smol::channel::unbounded();
    let (committed, outcomes) = smol::channel::unbounded();
    let (looks, looked) = smol::channel::bounded(LOOKS);
    let committer = committer::spawn(store, batches, looked, committed).map_err(Failure::new)?;
    let (context, clients) = context(looks.clone(), &to_inputs, &configuration, path.clone())?;
    let mut tasks = vec![
        executor.spawn(pass_signals(signals, to_inputs.clone())),
        executor.spawn(serve_unix(listeners.unix.clone(), context.clone())),
    ];
    if let Some(tcp) = listeners.tcp.clone() {
        tasks.push(listen::serve_tcp(tcp, context.clone(), &executor));
    }
    let nodes = counted(post.count_nodes(clock.now()), "node");
    let directory = state_dir.display();
    let name = &configuration.rack.name;
    log::info!("rack {name}: {nodes}, state in {directory}");
    let alarm = Alarm::new().map_err(Failure::new)?;
    let sockets = Sockets::new(to_inputs.clone(), executor.clone());
    let publisher = Publisher::of(&configuration, clock.now());
    let mut shell = Shell {
        publisher,
        clock,
        post,
        sending: Sending::new(sockets, Spread::new(configuration.rack.packets_per_ms)),
        journal: Some(journal),
        batch: None,
        last_ticket: 0,
        unconfirmed: Unconfirmed::default(),
        write_at: None,
        records: Records::new(trail, configuration.daemon.audit_limit()),
        journal_size,
        replies: BTreeMap::new(),
        answers: Vec::new(),
        held: Held::default(),
        accepting: None,
        next_call: 0,
        to_inputs,
        on_disk: OnDisk::new(path),
        reloading: None,
        executor,
        context,
        looks: Looks::new(looks),
        api: configuration.api,
        going_down: Some(clients.going_down),
        mistake: None,
        journal_gone: false,
        stop_by: None,
        watchdog: sd_notify::watchdog_enabled().map(|period| period / 2),
        housekeeping_at: Instant::START,
        give_back_at: clock.now() + KNOWN_BY,
        gives_back_soon: false,
        program: kernel::Program::mapped(),
        size_look_at: clock.now(),
        status: String::new(),
        awake_at: clock.now(),
        listen_until: Instant::START,
        catching_up: CatchingUp::default(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let digest = &configuration.digest;
    let what = format!("rackbmcd {version}, configuration sha256:{digest}");
    shell.record_own("START", what, None);
    shell.begin_to_watch();
    if let (Some(etcd), Some(_)) = (configuration.etcd, configuration.ha) {
        shell.look_at_etcd(etcd, configuration.rack.name.to_string());
    }
    notify(&[NotifyState::Ready]);
    let (asked, audits) = (clients.asked, clients.audits);
    let ended = shell.run(outcomes, inputs, asked, audits, alarm).await;
    listeners.remove();
    wait_for(committer).await?;
    ended?;
    log::info!("stopped");
    Ok(())
}

fn open_store(state_dir: &Path, new_journal: bool) -> Result<Store, Failure> {
    // A large journal on a slow disk takes longer to read than a start may take otherwise.
    let megabytes = u32::try_from(Store::length(state_dir) >> 20).unwrap_or(u32::MAX);
    let opening = OPENING.saturating_add(megabytes.saturating_mul(1_000_000));
    notify(&[NotifyState::ExtendTimeoutUsec(opening)]);
    let store = match new_journal {
        true => Store::open_anew(state_dir),
        false => Store::open(state_dir),
    };
    store.map_err(Failure::of_store)
}

/// The rack as the configuration describes it and the journal remembers it; or, where it has
/// another host, what may own it.
fn post(
    configuration: &mut Configuration,
    store: &mut Store,
    clock: Clock,
) -> Result<Post, Failure> {
    let birth = clock.birth(store.copied());
    let mut remembered = store.load().map_err(Failure::new)?;
    remembered.retain(|(table, key, _)| !audit::is_ours(*table, key));
    if let (Some(etcd), Some(ha)) = (configuration.etcd.clone(), configuration.ha.clone()) {
        remembered.retain(|(table, key, _)| !is_shared(*table, key));
        let shared = Shared::new(&etcd, &ha, configuration, remembered, clock)?;
        return Ok(Post::Shared(Box::new(shared)));
    }
    let settings = configuration.rack.clone();
    // Kept once: of thousands of nodes they are megabytes.
    let nodes = std::mem::take(&mut configuration.nodes);
    let entropy = Box::new(Kernel::new());
    let rack = Rack::new(settings, nodes, remembered, birth, entropy);
    Ok(Post::Alone(Box::new(rack)))
}

/// The journal's thread ends when it has written all that it was given. No look-up that hangs is
/// waited for.
async fn wait_for(committer: JoinHandle<Store>) -> Result<(), Failure> {
    while !committer.is_finished() {
        smol::Timer::after(JOIN_LOOK).await;
    }
    match committer.join() {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::new(
            "what writes the journal broke down, and its last records may be lost; the next start goes on from what is on \
             the disk: please report this, with the log",
        )),
    }
}

/// The loop's ends of what it shares with the API.
struct Clients {
    asked: Receiver<Asked>,
    audits: Receiver<Audit>,
    /// Dropped to tell that the daemon goes down.
    going_down: Sender<()>,
}

/// What the API needs of the world.
fn context(
    looks: Sender<StoreQuery>,
    inputs: &Sender<Input>,
    configuration: &Configuration,
    path: PathBuf,
) -> Result<(Rc<Context>, Clients), Failure> {
    let (asks, asked) = smol::channel::bounded(CALLS);
    let (audit, audits) = TrailQueue::new();
    let (going_down, shutdown) = smol::channel::bounded(1);
    let clients = Clients {
        asked,
        audits,
        going_down,
    };
    let for_metrics = inputs.clone();
    let (for_ha, for_handover) = (inputs.clone(), inputs.clone());
    let user_names = Rc::new(UserNames::new().map_err(Failure::new)?);
    let limits = configuration.api.limits.clone();
    let randomness = RefCell::new(Kernel::new());
    let context = Context {
        asks,
        entropy: Box::new(move |bytes| randomness.borrow_mut().fill(bytes)),
        policy: RefCell::new(Rc::new(policy(&configuration.api))),
        #[cfg(feature = "tls")]
        identity: RefCell::new(configuration.api.tls.as_ref().map(Tls::server)),
        metrics: Box::new(move || {
            let inputs = for_metrics.clone();
            Box::pin(async move {
                let (reply, text) = smol::channel::bounded(1);
                let asked = inputs.send(Input::Metrics(reply)).await;
                let text = if asked.is_ok() {
                    text.recv().await.ok()
                } else {
                    None
                };
                text.unwrap_or_else(|| "# the daemon is shutting down\n# EOF\n".to_owned())
            })
        }),
        look_up: Box::new(|socket, peer| match kernel::peer_groups(socket) {
            Ok(groups) => peer.groups = groups,
            Err(error) => log::warn!("the groups of a client cannot be read: {error}"),
        }),
        user_name: Box::new(move |uid| {
            let names = user_names.clone();
            Box::pin(async move { names.name(uid).await })
        }),
        audit,
        trail: Box::new(move |after, limit| Box::pin(read_trail(looks.clone(), after, limit))),
        support: Box::new(move || Box::pin(support::report(path.clone()))),
        ha: Box::new(move || {
            let inputs = for_ha.clone();
            Box::pin(async move {
                let (reply, told) = smol::channel::bounded(1);
                let asked = inputs.send(Input::Ha(reply)).await;
                // The daemon is going down where nobody answers.
                asked
                    .is_ok()
                    .then_some(told.recv().await.ok())
                    .flatten()
                    .unwrap_or_default()
            })
        }),
        hand_over: Box::new(move |to| {
            let inputs = for_handover.clone();
            Box::pin(async move {
                let (reply, done) = smol::channel::bounded(1);
                let asked = inputs.send(Input::HandOver(to, reply)).await;
                let answer = asked.is_ok().then_some(done.recv().await.ok()).flatten();
                answer.unwrap_or(Err(Refused::Stopping))
            })
        }),
        limits,
        shutdown,
        state: State::default(),
    };
    Ok((Rc::new(context), clients))
}

async fn pass_signals(signals: Signals, to: Sender<Input>) {
    loop {
        match signals.next().await {
            Ok(signal) if to.send(Input::Signal(signal)).await.is_ok() => {}
            Ok(_) => return,
            Err(error) => {
                log::error!("signals cannot be read: {error}");
                return;
            }
        }
    }
}

/// Who may do what, this process's own user included.
pub(super) fn policy(settings: &ApiSettings) -> Policy {
    Policy {
        daemon_uid: Some(nix::unistd::getuid().as_raw()),
        ..settings.policy.clone()
    }
}

/// Inputs that may wait for the loop.
const INPUTS: usize = 128;
/// Calls that may wait for the loop; more wait with their clients.
const CALLS: usize = 256;
/// How often it is asked whether the journal's thread has ended.
const JOIN_LOOK: Duration = Duration::from_millis(2);
/// Microseconds that systemd gives the opening of the journal, beside one second for each of its
/// megabytes.
const OPENING: u32 = 60_000_000;
/// By then most racks are known, and what their log-ins took is free.
const KNOWN_BY: Duration = Duration::from_secs(5);
