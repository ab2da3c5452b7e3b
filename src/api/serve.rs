//! The sockets of the API: HTTP/1 on Unix and TCP listeners, with limits and deadlines on
//! everything that a client can draw out. Driven by `daemon`, which hands in the world
//! ([`Context`]) and answers what is [`Asked`].
//!
//! Decides nothing about nodes: that is `plan`. Each listener runs its connections itself, on the
//! task that polls it; a client that stalls or goes away costs one idle connection until a deadline
//! ends it.

mod deadlines;
mod lines;
mod listener;
mod login;
mod long;
mod respond;
mod share;
mod streaming;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod trail;
mod write_timeout;

use super::access::Peer;
use super::audit_action::{AuditAction, audit_action};
pub(crate) use super::handle::Later;
use crate::model::Policy;
use crate::model::{AuditPage, Ha, Limits, Stale, Support, Who};
use crate::nodeset;
use crate::rack::call::{Answer, Call, Refused};
use deadlines::Deadlines;
use hyper::server::conn::http1;
use listener::Door;
use login::Login;
use long::{NamesTurn, Turns};
use respond::Connection;
use share::{Places, Unwritten};
use smol::channel::{Receiver, Sender};
use smol::future::{self, FutureExt};
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpListener;
use smol::net::unix::UnixListener;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;
use streaming::Handover;
#[cfg(feature = "tls")]
use tls::TlsListener;
pub(crate) use trail::{TrailQueue, Unrecorded};
use write_timeout::{Guarded, HalfClosed};

/// A call on its way to the rack.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What is asked.
    pub call: Call,
    /// The turn of a call that names many nodes; the next may name as many once this is dropped.
    pub _names: Option<NamesTurn>,
    /// Who asks: what they may do is looked up in the turn that acts on it.
    pub peer: Rc<Peer>,
    /// What the trail will say of it.
    pub noted: Rc<Noted>,
    /// Where the answer goes.
    pub reply: Reply,
}

/// What becomes known of a request for the audit trail while it is carried out.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    audit_action: RefCell<Option<AuditAction>>,
    task: RefCell<Option<String>>,
    batch: RefCell<Option<String>>,
    /// What the record says if all goes well, of a request that is meant to change something.
    expected: RefCell<Option<Audit>>,
    /// Whether that was written down.
    written: Cell<bool>,
    /// How old what is answered is, where it is not of now: a host that does not own the rack says
    /// what etcd has.
    stale: RefCell<Option<Stale>>,
}

impl Noted {
    /// The rack has accepted what was asked: the record, to be written down together with what was
    /// begun.
    pub(crate) fn accepted(&self, task: Option<String>, batch: Option<String>) -> Option<Audit> {
        let mut audit = self.expected.take()?;
        if let Some(audit_action) = &*self.audit_action.borrow() {
            audit.nodes.clone_from(&audit_action.nodes);
            audit.what = Some(audit_action.what.clone());
        }
        (audit.task, audit.batch) = (task, batch);
        self.written.set(true);
        Some(audit)
    }

    /// The rack found these nodes to be meant.
    pub(crate) fn nodes_are(&self, nodes: &[String]) {
        if let Some(audit_action) = &mut *self.audit_action.borrow_mut()
            && !nodes.is_empty()
        {
            audit_action.nodes = Some(nodeset::fold(nodes));
        }
    }

    /// What is answered is so old.
    pub(crate) fn is_stale(&self, stale: Stale) {
        self.stale.replace(Some(stale));
    }

    fn asked(&self, call: &Call) {
        if let Some(audit_action) = audit_action(call) {
            self.audit_action.replace(Some(audit_action));
        }
    }

    /// What was started, or touched.
    fn answered(&self, answer: &Answer) {
        let (task, batch) = match answer {
            Answer::Task(task) => (Some(task.id), task.batch),
            Answer::Taken(Some(taken)) => (Some(taken.task), taken.batch),
            Answer::Batch(batch) => (None, Some(batch.id)),
            Answer::Taken(None)
            | Answer::Nodes(_)
            | Answer::Node(_)
            | Answer::Sweep(_)
            | Answer::Tasks(_)
            | Answer::Batches(_)
            | Answer::Waited
            | Answer::Events(_)
            | Answer::Pausing(_)
            | Answer::Reading(_)
            | Answer::Explanation(_)
            | Answer::Trace(_)
            | Answer::History(_)
            | Answer::Health(_) => return,
        };
        self.task.replace(task.map(|id| id.to_string()));
        self.batch.replace(batch.map(|id| id.to_string()));
    }
}

/// Where an answer goes. Dropping it unanswered tells the client that the daemon is going down.
#[derive(Debug)]
pub(crate) struct Reply(Sender<Result<Answer, Refused>>);

impl Reply {
    /// A place for an answer, and its other end.
    pub(crate) fn new() -> (Self, Receiver<Result<Answer, Refused>>) {
        let (sender, receiver) = smol::channel::bounded(1);
        (Self(sender), receiver)
    }

    /// Hands the answer over. Never waits; a client that has gone away loses it, and that is all.
    pub(crate) fn send(self, outcome: Result<Answer, Refused>) {
        let _ = self.0.try_send(outcome);
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// A request that was meant to change something, and what came of it: for the audit trail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    pub who: Who,
    pub method: String,
    /// The path as asked.
    pub path: String,
    /// The nodes that it was about, folded, where the request names any.
    pub nodes: Option<String>,
    /// What was asked of them, in words.
    pub what: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The task that was started or touched.
    pub task: Option<String>,
    /// The batch, likewise.
    pub batch: Option<String>,
    /// What was refused, in words.
    pub error: Option<String>,
}

/// Fills a buffer with random bytes.
pub(crate) type Randomness = Box<dyn Fn(&mut [u8])>;

/// Asks the kernel about the peer of a Unix socket.
pub(crate) type LookUp = Box<dyn Fn(BorrowedFd<'_>, &mut Peer)>;

/// Looks a login name up, or gives up soon.
pub(crate) type UserName = Box<dyn Fn(u32) -> Later<Option<String>>>;

/// Reads the audit trail, or says why it cannot.
pub(crate) type AuditReader = Box<dyn Fn(u64, usize) -> Later<Result<AuditPage, String>>>;

/// Gives the rack to another host, or says why not.
pub(crate) type HandOver = Box<dyn Fn(Option<String>) -> Later<Result<(), Refused>>>;

/// What the API needs of the world.
pub(crate) struct Context {
    /// Where calls go.
    pub asks: Sender<Asked>,
    /// The kernel's randomness, for request ids.
    pub entropy: Randomness,
    /// Who may do what; looked at anew with every request, so that a reload holds at once.
    pub policy: RefCell<Rc<Policy>>,
    /// The certificate of the TCP port and its key; looked at anew with every connection.
    #[cfg(feature = "tls")]
    pub identity: RefCell<Option<Arc<rustls::ServerConfig>>>,
    /// The text of `/metrics`.
    pub metrics: Box<dyn Fn() -> Later<String>>,
    /// Adds what the kernel knows of the peer of a Unix socket beyond its ids: its groups.
    pub look_up: LookUp,
    /// The login name of a user id, to show: it may be missing.
    pub user_name: UserName,
    /// Told of every request of a known sender that was meant to change something.
    pub audit: TrailQueue,
    /// Reads the audit trail: records after a number, at most so many.
    pub trail: AuditReader,
    /// What the daemon adds to a report about itself.
    pub support: Box<dyn Fn() -> Later<Support>>,
    /// How it stands with the hosts of the rack.
    pub ha: Box<dyn Fn() -> Later<Ha>>,
    /// Gives the rack to another host.
    pub hand_over: HandOver,
    /// Limits and deadlines.
    pub limits: Limits,
    /// The daemon goes down when this channel is closed.
    pub shutdown: Receiver<()>,
    /// What is counted and remembered across connections.
    pub state: State,
}

impl Context {
    /// Who may do what, as of now.
    pub(crate) fn policy(&self) -> Rc<Policy> {
        self.policy.borrow().clone()
    }
}

/// What is counted and remembered across connections.
#[derive(Default)]
pub(crate) struct State {
    streams: Rc<Places>,
    unwritten: Unwritten,
    /// Places of bodies that are long.
    bodies: Rc<Places>,
    turns: Turns,
    login: Login,
}

/// Serves a Unix socket until the daemon goes down.
pub(crate) async fn serve_unix(listener: UnixListener, context: Rc<Context>) {
    serve(listener, &context).await;
}

/// Serves a TCP socket until the daemon goes down.
pub(crate) async fn serve_tcp(listener: TcpListener, context: Rc<Context>) {
    serve(listener, &context).await;
}

/// Serves a TCP socket over TLS until the daemon goes down.
#[cfg(feature = "tls")]
pub(crate) async fn serve_tls(tcp: TcpListener, context: Rc<Context>) {
    serve(TlsListener(tcp), &context).await;
}

/// Connections that are told that there are too many, at once; more are closed without a word.
const TURNED_AWAY: usize = 1024;
/// The pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn serve<D: Door>(door: D, context: &Rc<Context>) {
    let connections = smol::LocalExecutor::new();
    let deadlines = Deadlines::default();
    connections.spawn(deadlines.clone().keep()).detach();
    let (open, turned_away) = (Rc::new(Places::default()), Rc::new(Cell::new(0)));
    let accepting = async {
        loop {
            match door.accept(context).await {
                Ok((raw, peer)) => {
                    let policy = context.policy();
                    let place = open.take(context.limits.connections as usize, &peer, &policy);
                    if let Some(place) = place {
                        let greeting = door.greet(raw, context);
                        let (context, deadlines) = (context.clone(), deadlines.clone());
                        let served = async move {
                            if let Some(stream) = greeting.await {
                                let mut peer = peer;
                                if let Some(uid) = peer.uid {
                                    peer.user = (context.user_name)(uid).await;
                                }
                                let kind = (D::SCHEME, D::HALF_CLOSED);
                                connection(stream, peer, kind, context, deadlines).await;
                            }
                            drop(place);
                        };
                        connections.spawn(served).detach();
                    } else if turned_away.get() < TURNED_AWAY {
                        let counted = Counted::new(&turned_away);
                        let sent_away = async move {
                            D::turn_away(raw).await;
                            drop(counted);
                        };
                        connections.spawn(sent_away).detach();
                    }
                }
                Err(error) => {
                    log::warn!("api: a connection could not be accepted: {error}");
                    smol::Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    connections
        .run(accepting.or(until_shutdown(&context.shutdown)))
        .await;
    let drained = async {
        while open.taken() > 0 {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
    };
    let grace = async {
        smol::Timer::after(context.limits.grace).await;
    };
    connections.run(drained.or(grace)).await;
}

/// Ends when the daemon goes down.
async fn until_shutdown(shutdown: &Receiver<()>) {
    while shutdown.recv().await.is_ok() {}
}

/// One among several of something; it leaves when it is dropped.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The most headers.
const HEADERS_LIMIT: usize = 64;

async fn connection<S>(
    stream: S,
    peer: Peer,
    kind: (&'static str, HalfClosed),
    context: Rc<Context>,
    deadlines: Deadlines,
) where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
{
    // On the heap, so that hyper's part of it is given back before a stream begins that may last
    // for days.
    let exchange = Box::pin(exchange(stream, peer, kind, context, deadlines));
    let outcome = match exchange.await {
        Some((stream, handover)) => handover.pour(stream).await,
        None => return,
    };
    if let Err(error) = outcome {
        log::trace!("api: a stream ended: {error}");
    }
}

/// Requests and answers on one connection, until it ends or is handed over to a stream.
async fn exchange<S>(
    stream: S,
    peer: Peer,
    kind: (&'static str, HalfClosed),
    context: Rc<Context>,
    deadlines: Deadlines,
) -> Option<(Guarded<S>, Handover)>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
{
    let (scheme, half) = kind;
    let guarded = Guarded::new(stream, context.limits.write_timeout, deadlines.clone());
    let shared = Rc::new(Connection {
        peer,
        scheme,
        hangup: guarded.hangup(half),
        context: context.clone(),
        deadlines: deadlines.clone(),
        used: Cell::new(false),
        handover: RefCell::new(None),
    });
    let for_service = shared.clone();
    let service = hyper::service::service_fn(move |request| {
        Box::pin(respond::respond(request, for_service.clone()))
    });
    let mut http = http1::Builder::new();
    // Without a timer there is no header deadline at all. The same deadline ends idle connections.
    http.timer(deadlines)
        .header_read_timeout(context.limits.header_timeout)
        .max_headers(HEADERS_LIMIT)
        .max_buf_size(context.limits.header_bytes as usize)
        // A client that has said all (`nc -N`) still wants its answer.
        .half_close(true)
        .keep_alive(true);
    let mut exchange = http.serve_connection(guarded, service);
    let going_down = async {
        until_shutdown(&context.shutdown).await;
        None
    };
    let outcome = future::or(async { Some((&mut exchange).await) }, going_down).await;
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => {
            Pin::new(&mut exchange).graceful_shutdown();
            (&mut exchange).await
        }
    };
    if let Some(handover) = shared.handover.take() {
        return Some((exchange.into_parts().io, handover));
    }
    if let Err(error) = outcome {
        log::trace!("api: a connection ended: {error}");
    }
    None
}
