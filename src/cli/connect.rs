//! One HTTP request to the daemon and its answer, over the Unix socket or loopback TCP.
//!
//! A connection per request: a restarted daemon then needs no care, and `--wait` may live through
//! it. What is in a body is `client`'s affair.

use super::exit::{Failure, Refusal, Users};
use crate::base64;
use crate::http_client::trust::Trust;
use crate::http_client::{Connection, Fault, Place};
use crate::model::{ErrorKind, Stale, Word};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use smol::future::FutureExt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Where a daemon without `--socket` is.
pub(super) const DEFAULT_SOCKET: &str = "/run/rackbmcd/rackbmcd.sock";
/// The microversion that all our words need (NMI and interfaces in node records).
const MICROVERSION: &str = "1.31";
/// The patience for an answer that does not wait for anything: a fresh reading of a dead BMC takes
/// 5 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where a rack has several hosts, one that is not reached in this time is not waited for.
const NOBODY_THERE: Duration = Duration::from_secs(3);
/// So long another host may take to have the rack that one had which does not answer.
const TAKEN_OVER: Duration = Duration::from_secs(30);
/// A daemon that has too much to do, and says so, is asked again for so long.
const CROWDED: Duration = Duration::from_secs(20);
/// Between two rounds of asking the hosts.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// No answer of the daemon is larger: 256 nodes with all their orders stay far below.
const BODY_LIMIT: usize = 64 << 20;

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp {
        /// Host and port, as the `Host` header has them.
        authority: String,
        /// The value of the `Authorization` header.
        credentials: Option<Credentials>,
        /// Over TLS, where there is something to trust; else plain HTTP.
        trust: Option<Trust>,
    },
}

/// How a daemon is asked: where it is, and under which request id.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Those of one rack, where it has several hosts; at least one.
    endpoints: Arc<[Endpoint]>,
    /// Which of them is asked first: the one that was right last.
    first: Arc<AtomicUsize>,
    request_id: Option<String>,
    /// Of a request that is carried out once, however often and wherever it is made.
    key: Option<Uuid>,
    /// What the oldest answer that was not of now said of itself.
    stale: Arc<Mutex<Option<Stale>>>,
}

impl Way {
    /// The way to `endpoint`, under an id of the daemon's choice.
    pub(super) fn to(endpoint: Endpoint) -> Self {
        Self::to_one_of(vec![endpoint])
    }

    /// The way to whichever of these has the rack.
    ///
    /// # Panics
    /// There is none.
    pub(super) fn to_one_of(endpoints: Vec<Endpoint>) -> Self {
        assert!(!endpoints.is_empty(), "somebody is to be asked");
        Self {
            endpoints: endpoints.into(),
            first: Arc::default(),
            request_id: None,
            key: None,
            stale: Arc::default(),
        }
    }

    /// Ways to each of the hosts alone.
    pub(super) fn each(&self) -> Vec<Self> {
        let endpoints = self.endpoints.iter();
        endpoints
            .map(|endpoint| Self::to(endpoint.clone()))
            .collect()
    }

    /// The same under this request id, which the daemon keeps with what the request begins.
    pub(super) fn under(self, request_id: String) -> Self {
        let request_id = Some(request_id);
        Self { request_id, ..self }
    }

    /// Whether all of its requests have one id.
    pub(super) fn has_id(&self) -> bool {
        self.request_id.is_some()
    }

    /// The same for one request that is carried out once, however often and wherever it is made.
    pub(super) fn once(self) -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the kernel has randomness");
        let key = Some(uuid::Builder::from_random_bytes(bytes).into_uuid());
        Self { key, ..self }
    }

    /// All places where it may lead.
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Where it leads: to the first of several, or to the one that was right last.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.first.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// What the oldest answer that was not of now said of itself.
    pub(super) fn stale(&self) -> Option<Stale> {
        self.stale.lock().ok()?.clone()
    }

    fn was_answered(&self, stale: Stale) {
        if let Ok(mut oldest) = self.stale.lock()
            && oldest
                .as_ref()
                .is_none_or(|oldest| oldest.stale_age < stale.stale_age)
        {
            *oldest = Some(stale);
        }
    }

    /// Whether what a host was asked that failed so may be asked again: of another one, or, where it
    /// did not answer, of the same when it is back.
    fn may_ask_again(&self, failure: &Failure) -> bool {
        let elsewhere = self.has_others() && failure.may_pass();
        self.key.is_some() && (elsewhere || is_no_answer(failure))
    }

    fn has_others(&self) -> bool {
        self.endpoints.len() > 1
    }

    fn turn_to_next(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether it was the way to a host that failed, and not the host that said no.
fn is_no_answer(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken { .. } | Failure::Timeout { .. })
}

/// A user and a password for http_basic, ready for the header. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials(String);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Credentials {
    /// From `user:password`, surrounding white space (a file's last newline) left away.
    ///
    /// # Errors
    /// Where there is no colon.
    pub(super) fn new(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if !text.contains(':') {
            return Err(Failure::Usage(
                "the credentials must read user:password".into(),
            ));
        }
        let coded = base64::encode(text.as_bytes());
        Ok(Self(format!("Basic {coded}")))
    }

    /// From a file that reads so.
    ///
    /// # Errors
    /// It cannot be read, or has no colon.
    pub(super) fn of_file(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?;
        Self::new(&text)
    }
}

impl Endpoint {
    /// The endpoint of a URL such as `http://127.0.0.1:6385`; `authorities` is a file of those who
    /// vouch for an `https` one (PEM).
    ///
    /// # Errors
    /// Anything but `http://host[:port]` and, in a build with TLS, `https://host[:port]`.
    pub(super) fn from_url(
        url: &str,
        credentials: Option<Credentials>,
        authorities: Option<&Path>,
    ) -> Result<Self, Failure> {
        Self::from_url_with(url, credentials, || {
            Trust::new(authorities).map_err(Failure::Usage)
        })
    }

    /// The same with whom to trust read where it is needed only.
    ///
    /// # Errors
    /// As [`Endpoint::from_url`].
    pub(super) fn from_url_with(
        url: &str,
        credentials: Option<Credentials>,
        trust: impl FnOnce() -> Result<Trust, Failure>,
    ) -> Result<Self, Failure> {
        let bad = || Failure::Usage(format!("'{url}' is not of the form http://127.0.0.1:6385"));
        let (trust, rest) = match url.strip_prefix("https://") {
            Some(rest) => (Some(trust()?), rest),
            None => (None, url.strip_prefix("http://").ok_or_else(bad)?),
        };
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(bad());
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:6385")
        };
        Ok(Self::Tcp {
            authority,
            credentials,
            trust,
        })
    }

    /// As people know it: the socket, or `host:port`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp { authority, .. } => authority.clone(),
        }
    }
}

/// One request; `patience` is added to the time that the path itself asks the daemon to wait.
///
/// # Errors
/// Everything in [`Failure`] that is about the way to the daemon, and `Refused` for a status of 400
/// and above.
pub(super) async fn request(
    way: &Way,
    method: Method,
    path: &str,
    body: Option<&Value>,
    wait: Duration,
) -> Result<Value, Failure> {
    let text = text(way, method.clone(), path, body, wait).await?;
    value(way, &method, path, &text)
}

/// An answer's value.
///
/// # Errors
/// It is no JSON.
pub(super) fn value(way: &Way, method: &Method, path: &str, text: &str) -> Result<Value, Failure> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|e| Failure::Broken {
        at: way.endpoint().name(),
        why: format!("{method} {path}: the answer is no JSON: {e}"),
    })
}

/// The same with the answer as it came.
///
/// # Errors
/// Those of [`request`].
pub(super) async fn text(
    way: &Way,
    method: Method,
    path: &str,
    body: Option<&Value>,
    wait: Duration,
) -> Result<String, Failure> {
    let began = Instant::now();
    let mut unheard = None;
    loop {
        let refused = match ask_around(way, &method, path, body, wait, &mut unheard).await {
            Ok(text) => return Ok(text),
            Err(refused) => refused,
        };
        let over = began.elapsed() > TAKEN_OVER;
        match (unheard.take(), refused) {
            (None, failure) => return Err(failure.expect("at least one was asked")),
            (Some(_), Some(failure)) if !failure.may_pass() => return Err(failure),
            (Some(why), _) if over => return Err(perhaps_taken(why)),
            // It may have been taken on: whoever has the rack next, or the same daemon when it is
            // back, knows it by its key.
            (why, _) => unheard = why,
        }
        smol::Timer::after(ASK_AGAIN).await;
    }
}

/// The failure of a request that was made, and made again until nobody would wait any longer.
fn perhaps_taken(failure: Failure) -> Failure {
    let (at, why) = match failure {
        Failure::Broken { at, why } => (at, why),
        Failure::Timeout { what, after } => (what, format!("no answer within {after:.0?}")),
        other => return other,
    };
    let why = format!("{why}; it may have been taken on all the same (rackbmc tasks)");
    Failure::Broken { at, why }
}

/// Asks the hosts, one after another, until one has the rack. What was asked of one that did not
/// answer is asked of the next where that does no harm; then `unheard` is why there was no answer.
async fn ask_around(
    way: &Way,
    method: &Method,
    path: &str,
    body: Option<&Value>,
    wait: Duration,
    unheard: &mut Option<Failure>,
) -> Result<String, Option<Failure>> {
    let (mut says_no, mut last) = (None, None);
    let mut old: Option<(String, Stale)> = None;
    for _ in 0..way.endpoints.len() {
        match text_of_one(way, method.clone(), path, body, wait).await {
            Ok(text) => match Stale::in_body(&text) {
                None => return Ok(text),
                // The owner says how it is now.
                Some(stale) => {
                    way.turn_to_next();
                    let older = |(_, known): &(String, Stale)| known.stale_age > stale.stale_age;
                    if old.as_ref().is_none_or(older) {
                        old = Some((text, stale));
                    }
                }
            },
            Err(Miss::Asked(failure)) if way.may_ask_again(&failure) => {
                way.turn_to_next();
                unheard.get_or_insert(failure);
            }
            // Looking changes nothing, wherever it is done.
            Err(Miss::Asked(failure))
                if method == Method::GET && way.has_others() && is_no_answer(&failure) =>
            {
                way.turn_to_next();
                last = Some(failure);
            }
            Err(Miss::Asked(failure)) => return Err(Some(failure)),
            Err(Miss::NotHere(failure)) => {
                way.turn_to_next();
                match failure {
                    Failure::Refused(_) => says_no = Some(failure),
                    _ => last = Some(failure),
                }
            }
        }
    }
    if let Some((text, stale)) = old {
        way.was_answered(stale);
        return Ok(text);
    }
    // Who answers tells more than who does not.
    Err(says_no.or(last))
}

/// Why there is no answer from a host.
enum Miss {
    /// It was not asked, or has not the rack: another one may be asked the same.
    NotHere(Failure),
    /// It was asked.
    Asked(Failure),
}

async fn text_of_one(
    way: &Way,
    method: Method,
    path: &str,
    body: Option<&Value>,
    wait: Duration,
) -> Result<String, Miss> {
    let limit = PATIENCE + wait;
    let began = Instant::now();
    loop {
        let answer = exchange(way, method.clone(), path, body);
        let timeout = async {
            smol::Timer::after(limit).await;
            Err(Miss::Asked(Failure::Timeout {
                what: format!("{}: {method} {path}", way.endpoint().name()),
                after: limit,
            }))
        };
        let Said {
            status,
            again_after,
            text,
        } = answer.or(timeout).await?;
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(text);
        }
        let refusal = refusal(status, &text);
        // A daemon that has too much to do has done nothing of it, and says when to ask again.
        if let Some(pause) = again_after.filter(|_| refusal.kind == ErrorKind::Crowded)
            && began.elapsed() + pause < CROWDED
        {
            smol::Timer::after(pause).await;
            continue;
        }
        let elsewhere = refusal.kind == ErrorKind::Moved;
        let failure = Failure::Refused(refusal);
        return Err(match elsewhere {
            true => Miss::NotHere(failure),
            false => Miss::Asked(failure),
        });
    }
}

/// What a host said.
struct Said {
    status: StatusCode,
    /// In how long it wants to be asked again.
    again_after: Option<Duration>,
    text: String,
}

async fn exchange(
    way: &Way,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Said, Miss> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("Accept", "application/json")
        .header("X-OpenStack-Ironic-API-Version", MICROVERSION);
    if let Some(id) = &way.request_id {
        request = request.header("X-OpenStack-Request-ID", id);
    }
    if let Some(key) = &way.key {
        request = request.header("Idempotency-Key", key.to_string());
    }
    let endpoint = way.endpoint();
    let body = match body {
        Some(value) => {
            request = request.header("Content-Type", "application/json");
            Full::new(Bytes::from(value.to_string()))
        }
        None => Full::new(Bytes::new()),
    };
    let place = match endpoint {
        Endpoint::Unix(socket) => {
            request = request.header("Host", "localhost");
            Place::Unix(socket.clone())
        }
        Endpoint::Tcp {
            authority,
            credentials,
            trust,
        } => {
            request = request.header("Host", authority);
            if let Some(Credentials(value)) = credentials {
                request = request.header("Authorization", value);
            }
            Place::Tcp {
                authority: authority.clone(),
                trust: trust.clone(),
            }
        }
    };
    let request = request
        .body(body)
        .map_err(|e| Failure::Usage(format!("this cannot be asked over HTTP: {e}")))
        .map_err(Miss::Asked)?;
    // A host that is switched off does not say so.
    let late = async {
        match way.has_others() {
            true => smol::Timer::after(NOBODY_THERE).await,
            false => smol::future::pending().await,
        };
        Err(Fault::NotReached(io::ErrorKind::TimedOut.into()))
    };
    let opened = Connection::open(&place).or(late).await;
    let mut connection = opened.map_err(|fault| Miss::NotHere(trouble(endpoint, fault)))?;
    let answer = connection.exchange(request, BODY_LIMIT).await;
    let answer = answer.map_err(|fault| match fault {
        Fault::NotReached(_) | Fault::NotTrusted(_) | Fault::NoHttp(_) => {
            Miss::NotHere(trouble(endpoint, fault))
        }
        Fault::Broken(_) => Miss::Asked(trouble(endpoint, fault)),
    })?;
    let again_after = answer.headers().get(http::header::RETRY_AFTER);
    let again_after = again_after.and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Said {
        status: answer.status(),
        again_after: again_after.map(Duration::from_secs),
        text: String::from_utf8_lossy(answer.body()).into_owned(),
    })
}

fn trouble(endpoint: &Endpoint, fault: Fault) -> Failure {
    match (endpoint, fault) {
        (Endpoint::Unix(socket), Fault::NotReached(error)) => socket_trouble(socket, &error),
        (Endpoint::Tcp { authority, .. }, Fault::NotReached(error))
            if error.kind() == io::ErrorKind::ConnectionRefused =>
        {
            Failure::NobodyListens {
                at: authority.clone(),
            }
        }
        (_, fault) => Failure::Broken {
            at: endpoint.name(),
            why: fault.to_string(),
        },
    }
}

fn socket_trouble(socket: &Path, error: &io::Error) -> Failure {
    let found = std::fs::metadata(socket).ok();
    if found
        .as_ref()
        .is_some_and(|found| !found.file_type().is_socket())
    {
        return Failure::Broken {
            at: socket.display().to_string(),
            why: "this is no socket".to_owned(),
        };
    }
    match error.kind() {
        io::ErrorKind::NotFound => Failure::NoSocket {
            socket: socket.to_owned(),
        },
        io::ErrorKind::ConnectionRefused => Failure::NobodyListens {
            at: socket.display().to_string(),
        },
        io::ErrorKind::PermissionDenied => Failure::SocketForbidden {
            socket: socket.to_owned(),
            users: found.map(|found| users(found.mode(), found.gid())),
        },
        _ => Failure::Broken {
            at: socket.display().to_string(),
            why: error.to_string(),
        },
    }
}

/// Who may use a socket. Membership of root's own group is nobody's to give for that.
fn users(mode: u32, group: u32) -> Users {
    const GROUP_WRITES: u32 = 0o020;
    if mode & GROUP_WRITES == 0 || group == 0 {
        return Users::Root;
    }
    match nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(group)) {
        Ok(Some(group)) => Users::Group(group.name),
        Ok(None) | Err(_) => Users::Nameless(group),
    }
}

/// What an error answer says: our own shape, Ironic's JSON inside JSON, http_basic's, or plain
/// text.
fn refusal(status: StatusCode, text: &str) -> Refusal {
    let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let ours = body.get("error").unwrap_or(&Value::Null);
    let ironic = body.get("error_message").map(|inner| match inner {
        Value::String(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        other => other.clone(),
    });
    let ironic = ironic.unwrap_or_else(|| body.clone());
    let message = each_on_its_line(ours)
        .or_else(|| word(ours, "message"))
        .or_else(|| word(&ironic, "faultstring"))
        .or_else(|| word(&ironic, "description"))
        .or_else(|| ironic.as_str().map(str::to_owned))
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| match text.trim() {
            "" => format!("the daemon answered {status}"),
            text => format!("the daemon answered {status}: {text}"),
        });
    // On Ironic's paths there is no word for it, and what its handlers do not find there is a node.
    let no_node = status == StatusCode::NOT_FOUND && word(&ironic, "faultstring").is_some();
    let kind = match word(ours, "kind") {
        None if no_node => Word::Known(ErrorKind::NodeNotFound),
        kind => Word::of(&kind.unwrap_or_default()),
    };
    Refusal {
        status: status.as_u16(),
        kind,
        message,
    }
}

/// What several nodes say against one request, each on a line of its own.
fn each_on_its_line(error: &Value) -> Option<String> {
    let (head, _) = error.get("message")?.as_str()?.split_once(": ")?;
    let refused = error.pointer("/detail/refused")?.as_array()?.iter();
    let lines = refused.filter_map(|one| one.get("message")?.as_str());
    let lines: String = lines.map(|line| format!("\n  {line}")).collect();
    Some(format!("{head}:{lines}"))
}

#[cfg(test)]
mod tests;
