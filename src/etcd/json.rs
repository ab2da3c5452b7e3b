//! The JSON of etcd's gateway. Numbers of 64 bits are strings in it, keys and values are base64,
//! and whatever has its default value is left out: `succeeded` that is missing is false, the type
//! of an event that is missing is a put.

use super::{
    Answer, Change, Compare, Entry, Header, Op, Request, Revision, Space, Span, Status, Trouble,
    Txn, Watched,
};
use crate::base64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

impl Request {
    /// The HTTP method and path.
    pub fn target(&self) -> (&'static str, &'static str) {
        match self {
            Self::Txn(_) => ("POST", "/v3/kv/txn"),
            Self::Range(_) | Self::Past(..) => ("POST", "/v3/kv/range"),
            Self::Watch(_) => ("POST", "/v3/watch"),
            Self::Authenticate(_) => ("POST", "/v3/auth/authenticate"),
            Self::Status => ("POST", "/v3/maintenance/status"),
            Self::Version => ("GET", "/version"),
            Self::Space => ("GET", "/metrics"),
        }
    }

    /// The body, wiped when dropped: a password may be in it.
    pub fn body(&self) -> Zeroizing<String> {
        let text = match self {
            Self::Txn(txn) => transaction(txn).to_string(),
            Self::Range(span) => range(span).to_string(),
            // The gateway takes several requests for one stream, one after another.
            Self::Watch(spans) => {
                let lines = spans
                    .iter()
                    .map(|span| json!({ "create_request": range(span) }));
                lines.map(|line| format!("{line}\n")).collect()
            }
            Self::Authenticate(user) => {
                json!({ "name": user.name, "password": *user.password }).to_string()
            }
            Self::Status => "{}".to_owned(),
            Self::Past(key, revision) => {
                json!({ "key": coded(key), "revision": revision.to_string() }).to_string()
            }
            Self::Version | Self::Space => String::new(),
        };
        Zeroizing::new(text)
    }

    /// What an answer with this HTTP status and body says.
    ///
    /// # Errors
    /// The body is no answer to this request, or says why etcd gives none.
    pub fn read(&self, status: u16, body: &str) -> Result<Answer, Trouble> {
        if status != 200 {
            return Err(match (self, refusal(status, body)) {
                // A password that is wrong has the code of a wrong request.
                (Self::Authenticate(_), Trouble::Invalid(why)) => Trouble::Forbidden(why),
                (_, trouble) => trouble,
            });
        }
        match self {
            Self::Txn(txn) => txn_answer(txn, body),
            Self::Range(span) => range_answer(span, body),
            Self::Past(key, _) => range_answer(&Span::Key(key.clone()), body),
            Self::Authenticate(_) => {
                let raw: RawToken = parse(body)?;
                Ok(Answer::Authenticated {
                    header: header(raw.header, body)?,
                    token: Zeroizing::new(raw.token),
                })
            }
            Self::Status => {
                let raw: RawStatus = parse(body)?;
                Ok(Answer::Status {
                    header: header(raw.header, body)?,
                    status: Status {
                        version: raw.version,
                        leader: raw.leader,
                        size: raw.size,
                        in_use: raw.in_use,
                        errors: raw.errors,
                    },
                })
            }
            Self::Version => {
                let raw: RawVersion = parse(body)?;
                Ok(Answer::Version(raw.version))
            }
            Self::Space => space(body),
            Self::Watch(_) => Err(nonsense("a watch ended", body)),
        }
    }
}

/// What a member has among its figures for Prometheus.
fn space(body: &str) -> Result<Answer, Trouble> {
    let figure = |name: &str| {
        let mut lines = body.lines();
        let said = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        said.trim().parse::<f64>().ok().filter(|bytes| *bytes > 0.0)
    };
    let quota = figure("etcd_server_quota_backend_bytes");
    let bytes = figure("etcd_mvcc_db_total_size_in_bytes");
    match (bytes, quota) {
        (Some(bytes), Some(quota)) => Ok(Answer::Space(Space {
            bytes: bytes as u64,
            quota: quota as u64,
        })),
        _ => Err(nonsense("no figures of its size and quota", body)),
    }
}

/// The answer to a read.
fn range_answer(span: &Span, body: &str) -> Result<Answer, Trouble> {
    let raw: RawRange = parse(body)?;
    let found = RawFound {
        kvs: raw.kvs,
        more: raw.more,
    };
    Ok(Answer::Range {
        header: header(raw.header, body)?,
        found: found.of(span, body)?,
    })
}

/// The answer to a transaction: what its reads found.
fn txn_answer(txn: &Txn, body: &str) -> Result<Answer, Trouble> {
    let raw: RawTxn = parse(body)?;
    let steps = match raw.succeeded {
        true => &txn.success,
        false => &txn.failure,
    };
    if steps.len() != raw.responses.len() {
        return Err(nonsense("steps without an answer", body));
    }
    let reads = steps.iter().zip(raw.responses);
    let reads = reads.filter_map(|(op, answer)| match op {
        Op::Range(span) => Some((span, answer.response_range)),
        Op::Put(..) | Op::Delete(_) => None,
    });
    // What was read of the journal is the journal: an answer to something else is not "nothing".
    let found = reads.map(|(span, found)| match found {
        Some(found) => found.of(span, body),
        None => Err(nonsense("a read that is not answered", body)),
    });
    Ok(Answer::Txn {
        header: header(raw.header, body)?,
        succeeded: raw.succeeded,
        found: found.collect::<Result<_, _>>()?,
    })
}

/// One line of the answer to a [`Request::Watch`].
///
/// # Errors
/// The line says why no more come, or it is no such line.
pub fn watched(line: &str) -> Result<Watched, Trouble> {
    let line: RawLine = parse(line)?;
    if let Some(error) = line.error {
        return Err(by_code(error.code(), error.text()));
    }
    let Some(raw) = line.result else {
        return Err(nonsense("a line without a result", ""));
    };
    // A watch that is not permitted is created and cancelled in the same line.
    if raw.canceled {
        if raw.cancel_reason.contains("permission denied") {
            return Err(Trouble::Forbidden(raw.cancel_reason));
        }
        return Ok(Watched::Ended {
            compacted: (raw.compact_revision > 0).then_some(raw.compact_revision),
            why: raw.cancel_reason,
        });
    }
    let header = header(raw.header, "")?;
    if raw.created {
        return Ok(Watched::Begun(header));
    }
    let changes = raw.events.into_iter().map(|event| {
        let entry = entry(event.kv)?;
        Some(match event.kind.as_str() {
            "DELETE" => Change::Deleted(entry.key, entry.revision),
            _ => Change::Put(entry),
        })
    });
    let changes: Option<Vec<Change>> = changes.collect();
    let changes = changes.ok_or_else(|| nonsense("a key that is no text", ""))?;
    Ok(Watched::Changes(header, changes))
}

/// `{"compare": [...], "success": [...], "failure": [...]}`
fn transaction(txn: &Txn) -> Value {
    let compare = txn.compare.iter().map(|compare| match compare {
        Compare::Revision(key, revision) => json!({
            "key": coded(key), "target": "MOD", "result": "EQUAL",
            "mod_revision": revision.to_string(),
        }),
        Compare::Value(key, value) => json!({
            "key": coded(key), "target": "VALUE", "result": "EQUAL",
            "value": base64::encode(value),
        }),
    });
    let steps = |ops: &[Op]| -> Vec<Value> { ops.iter().map(step).collect() };
    json!({
        "compare": compare.collect::<Vec<_>>(),
        "success": steps(&txn.success),
        "failure": steps(&txn.failure),
    })
}

fn step(op: &Op) -> Value {
    match op {
        Op::Put(key, value) => {
            json!({ "request_put": { "key": coded(key), "value": base64::encode(value) } })
        }
        Op::Delete(key) => json!({ "request_delete_range": { "key": coded(key) } }),
        Op::Range(span) => json!({ "request_range": range(span) }),
    }
}

fn range(span: &Span) -> Value {
    match span {
        Span::Key(key) => json!({ "key": coded(key) }),
        Span::Prefix(prefix) => {
            json!({ "key": coded(prefix), "range_end": base64::encode(&after(prefix)) })
        }
    }
}

fn coded(key: &str) -> String {
    base64::encode(key.as_bytes())
}

/// The first key after all those that begin with the prefix. Text has no byte FFh, so its last byte
/// can grow.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        // "All keys" is a zero byte.
        None => end.push(0),
    }
    end
}

/// An answer that is not "200 OK": flat, nested as in streams, or no JSON at all.
fn refusal(status: u16, body: &str) -> Trouble {
    let said = body.trim();
    match serde_json::from_str::<RawRefusal>(body) {
        Ok(RawRefusal::Flat(error)) => by_code(error.code(), error.text()),
        Ok(RawRefusal::Nested { error }) => by_code(error.code(), error.text()),
        Err(_) => {
            let short = beginning(said, SHOWN);
            let why = format!("HTTP status {status}: {short}");
            match status {
                // Certificates with a name, where users are switched on.
                400 if said.contains("CommonName") => Trouble::Invalid(why),
                400 if said.contains("HTTP request to an HTTPS server") => {
                    Trouble::Silent("it speaks TLS, and hears HTTP over the connection".to_owned())
                }
                404 | 405 => Trouble::NoGateway(why),
                401 | 403 => Trouble::Forbidden(why),
                500.. => Trouble::Unavailable(why),
                _ => Trouble::Nonsense(why),
            }
        }
    }
}

/// What gRPC's codes mean to us.
fn by_code(code: u64, text: String) -> Trouble {
    let text = beginning(&text, TOLD);
    match code {
        // Who sends no token, or one from before users were changed, is told so with the code of a
        // wrong request.
        3 if LOGGED_OUT.iter().any(|said| text.contains(said)) => Trouble::LoggedOut(text),
        3 => Trouble::Invalid(text),
        7 => Trouble::Forbidden(text),
        8 => Trouble::Full(text),
        16 => Trouble::LoggedOut(text),
        // Cancelled, deadline exceeded, aborted, unavailable.
        1 | 4 | 10 | 14 => Trouble::Unavailable(text),
        code => Trouble::Other(code, text),
    }
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Trouble> {
    serde_json::from_str(body).map_err(|error| nonsense(&error.to_string(), body))
}

fn nonsense(why: &str, body: &str) -> Trouble {
    Trouble::Nonsense(format!("{why}: {}", beginning(body, SHOWN)))
}

/// So many letters of it, without what a terminal would obey.
fn beginning(text: &str, letters: usize) -> String {
    let shown = text.chars().take(letters);
    shown
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// Who answers. A cluster always has an id: what has none is no cluster that a host could know
/// again.
fn header(raw: RawHeader, body: &str) -> Result<Header, Trouble> {
    match raw.cluster_id {
        0 => Err(nonsense("no cluster", body)),
        _ => Ok(Header {
            cluster: raw.cluster_id,
            member: raw.member_id,
            revision: raw.revision,
        }),
    }
}

fn entry(raw: RawEntry) -> Option<Entry> {
    Some(Entry {
        key: String::from_utf8(base64::decode(&raw.key)?).ok()?,
        value: base64::decode(&raw.value)?,
        revision: raw.mod_revision,
    })
}

/// A number as the gateway writes it: a string, or as it is where it is small.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    match Either::deserialize(from)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawHeader {
    #[serde(deserialize_with = "number")]
    cluster_id: u64,
    #[serde(deserialize_with = "number")]
    member_id: u64,
    #[serde(deserialize_with = "number")]
    revision: Revision,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawEntry {
    key: String,
    value: String,
    #[serde(deserialize_with = "number")]
    mod_revision: Revision,
}

#[derive(Deserialize)]
struct RawRange {
    header: RawHeader,
    #[serde(default)]
    kvs: Vec<RawEntry>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct RawTxn {
    header: RawHeader,
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<RawStep>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStep {
    response_range: Option<RawFound>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawFound {
    kvs: Vec<RawEntry>,
    /// There is more than is told, which nobody asked for.
    more: bool,
}

impl RawFound {
    /// The keys that were asked for, and no others.
    fn of(self, span: &Span, body: &str) -> Result<Vec<Entry>, Trouble> {
        if self.more {
            return Err(nonsense("a part of what was asked for", body));
        }
        let entries: Option<Vec<Entry>> = self.kvs.into_iter().map(entry).collect();
        let entries = entries.ok_or_else(|| nonsense("a key or value that is no base64", body))?;
        match entries.iter().all(|entry| span.contains(&entry.key)) {
            true => Ok(entries),
            false => Err(nonsense("keys that were not asked for", body)),
        }
    }
}

#[derive(Deserialize)]
struct RawToken {
    header: RawHeader,
    token: String,
}

#[derive(Deserialize)]
struct RawStatus {
    header: RawHeader,
    version: String,
    #[serde(default, deserialize_with = "number")]
    leader: u64,
    #[serde(default, rename = "dbSize", deserialize_with = "number")]
    size: u64,
    #[serde(default, rename = "dbSizeInUse", deserialize_with = "number")]
    in_use: u64,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct RawVersion {
    #[serde(rename = "etcdserver")]
    version: String,
}

#[derive(Deserialize)]
struct RawLine {
    result: Option<RawWatched>,
    error: Option<RawError>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawWatched {
    header: RawHeader,
    created: bool,
    canceled: bool,
    #[serde(deserialize_with = "number")]
    compact_revision: Revision,
    cancel_reason: String,
    events: Vec<RawEvent>,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(rename = "type", default)]
    kind: String,
    kv: RawEntry,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawRefusal {
    Nested { error: RawError },
    Flat(RawError),
}

/// `{"error", "code"}` or, in streams, `{"grpc_code", "message"}`.
#[derive(Deserialize)]
struct RawError {
    #[serde(alias = "grpc_code")]
    code: u64,
    message: Option<String>,
    error: Option<String>,
}

impl RawError {
    fn code(&self) -> u64 {
        self.code
    }

    fn text(self) -> String {
        self.message.or(self.error).unwrap_or_default()
    }
}

/// What is said to who is not logged in, beside code 16.
const LOGGED_OUT: [&str; 2] = ["user name is empty", "revision of auth store is old"];
/// Letters of an answer that are shown where it makes no sense.
const SHOWN: usize = 120;
/// And of what etcd says against a request.
const TOLD: usize = 300;
