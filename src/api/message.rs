//! Requests and responses as plain values, and what stands between a client's text and a word of
//! ours: paths, queries, bodies, links. Driven by `plan`; knows no route and no rack.

use super::access::{Peer, Transport};
use super::fault::Fault;
use crate::model::{ErrorKind, REASON_LIMIT, is_hidden, write_visible_json};
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One request, complete.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// The path as it came, still encoded.
    pub path: String,
    /// What followed the question mark, still encoded.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Who is at the other end.
    pub peer: Peer,
    /// The id that the answer carries: `req-<uuid>`.
    pub id: String,
    /// `http` or `https`, for links.
    pub scheme: &'static str,
}

/// One response, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: StatusCode,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body's media type, where there is a body.
    pub media_type: Option<&'static str>,
    pub body: Vec<u8>,
}

/// The media type of nearly every body.
pub const JSON: &str = "application/json";

impl Response {
    /// Without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            media_type: None,
            body: Vec::new(),
        }
    }

    /// 200 with a JSON body.
    pub fn ok(value: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// With a JSON body; a newline ends it.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        Self::long_json(status, value, 256)
    }

    /// The same with a body of about `room` bytes, which then need not be moved while it grows.
    pub fn long_json(status: StatusCode, value: &impl Serialize, room: usize) -> Self {
        let mut body = write_visible_json(Vec::with_capacity(room), value);
        body.push(b'\n');
        Self {
            status,
            headers: Vec::new(),
            media_type: Some(JSON),
            body,
        }
    }

    /// With a body of text.
    pub fn text(media_type: &'static str, text: String) -> Self {
        Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            media_type: Some(media_type),
            body: text.into_bytes(),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Its JSON object with these members before its own.
    pub(super) fn begin_with(&mut self, members: &impl Serialize) {
        if self.media_type != Some(JSON) || !self.body.starts_with(b"{") {
            return;
        }
        let mut begins = write_visible_json(Vec::new(), members);
        let closing = begins.pop();
        debug_assert_eq!(closing, Some(b'}'), "members of an object");
        if !self.body.starts_with(b"{}") {
            begins.push(b',');
        }
        self.body.splice(..1, begins);
    }

    /// Its JSON body with indents, where it is not so long that nobody reads it as it is.
    pub(super) fn make_pretty(&mut self) {
        if self.media_type == Some(JSON) && self.body.len() <= PRETTY_LIMIT {
            self.body = indented(&self.body);
        }
    }
}

/// The longest body, in bytes, that gets indents: both forms are in memory meanwhile, and that with
/// indents is half as long again.
const PRETTY_LIMIT: usize = 4 << 20;

/// JSON of ours with indents. By hand, because what is megabytes would be many times as much as
/// values, and because serde's writer of indents knows nothing of [`write_visible_json`]: it would
/// write hidden marks as they are.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(json.len() + json.len() / 2);
    let (mut depth, mut quoted, mut escaped, mut empty) = (0, false, false, false);
    let new_line = |text: &mut Vec<u8>, depth: usize| {
        text.push(b'\n');
        text.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    for &byte in json {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            text.push(byte);
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        if byte.is_ascii_whitespace() {
            continue;
        }
        depth -= usize::from(closes);
        // Nothing stands between the brackets of what is empty.
        if empty != closes {
            new_line(&mut text, depth);
        }
        empty = matches!(byte, b'{' | b'[');
        depth += usize::from(empty);
        quoted = byte == b'"';
        text.push(byte);
        match byte {
            b',' => new_line(&mut text, depth),
            b':' => text.push(b' '),
            _ => {}
        }
    }
    text.push(b'\n');
    text
}

/// The text that percent-encoding hides.
///
/// # Errors
/// `%` without two hexadecimal digits, bytes that are no UTF-8, NUL.
pub fn percent_decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || {
                let digit = rest
                    .next()
                    .map(char::from)
                    .and_then(|digit| digit.to_digit(16));
                digit.ok_or("a % without two hexadecimal digits")
            };
            u8::try_from(digit()? * 16 + digit()?).expect("two hexadecimal digits")
        } else {
            byte
        });
    }
    if bytes.contains(&0) {
        return Err("a NUL");
    }
    String::from_utf8(bytes).map_err(|_| "bytes that are no UTF-8")
}

/// The most parameters of a query.
const PARAMETERS_LIMIT: usize = 100;

/// The parameters of a query, decoded, each asked for by name.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters in `text`.
    ///
    /// # Errors
    /// What cannot be decoded, and too many: 400.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let decode = |part: &str| {
            percent_decode(&part.replace('+', " "))
                .map_err(|what| Fault::bad(format!("the query holds {what}")))
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        // They are kept for as long as the request waits, and each takes far more than it is long.
        if pairs.clone().count() > PARAMETERS_LIMIT {
            return Err(Fault::bad(format!(
                "the query has more than {PARAMETERS_LIMIT} parameters"
            )));
        }
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, Fault>>()?))
    }

    /// The value of `name`; the last one where it comes several times.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// That there is no parameter but those that are `known` (`pretty` is everywhere).
    ///
    /// # Errors
    /// 400, naming the stranger.
    pub fn only(&self, known: impl Fn(&str) -> bool) -> Result<(), Fault> {
        for (name, value) in &self.0 {
            if name == "pretty" {
                if !["", "true", "1", "false", "0"].contains(&value.as_str()) {
                    return Err(
                        Fault::bad(format!("pretty is true or false, not '{value}'"))
                            .about("parameter", name),
                    );
                }
            } else if !known(name) {
                return Err(
                    Fault::bad(format!("Unknown argument: \"{name}\"")).about("parameter", name)
                );
            }
        }
        Ok(())
    }

    /// A parameter that says yes or no.
    ///
    /// # Errors
    /// 400 where it says neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.value(name)
            .map(|text| {
                truth(text).ok_or_else(|| {
                    Fault::bad(format!(
                        "Invalid value for {name}: '{text}' is neither true nor false"
                    ))
                    .about("parameter", name)
                })
            })
            .transpose()
    }

    /// A parameter that is a number from 0 on; one beyond all measure is the largest there is.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Fault> {
        self.value(name)
            .map(|text| {
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Fault::bad(format!(
                        "Invalid value for {name}: '{text}' is not a number from 0 on"
                    ))
                    .about("parameter", name));
                }
                Ok(text.parse().unwrap_or(u64::MAX))
            })
            .transpose()
    }

    /// How many entries are wanted: from 1 on, `usual` where nobody says, never more than `most`.
    ///
    /// # Errors
    /// 400 for zero and for what is no number.
    pub fn limit(&self, usual: usize, most: usize) -> Result<usize, Fault> {
        match self.number("limit")? {
            Some(0) => Err(Fault::bad("Limit must be positive").about("parameter", "limit")),
            Some(limit) => Ok(usize::try_from(limit).unwrap_or(most).min(most)),
            None => Ok(usual),
        }
    }

    /// A parameter that is a duration, never above `limit`: more is as much as `limit`.
    ///
    /// # Errors
    /// 400 where it is none.
    pub fn duration(
        &self,
        name: &str,
        limit: std::time::Duration,
    ) -> Result<Option<std::time::Duration>, Fault> {
        self.value(name)
            .map(|text| {
                let seconds = seconds(text).ok_or_else(|| {
                    Fault::bad(format!(
                        "Invalid value for {name}: '{text}' is no duration: wanted a number of seconds or words like '30s'"
                    ))
                    .about("parameter", name)
                })?;
                Ok(seconds.0.min(limit))
            })
            .transpose()
    }
}

/// A duration in a query: as in bodies, and a number in any spelling that JSON has for it.
fn seconds(text: &str) -> Option<crate::model::Seconds> {
    let number = |text: &&str| text.bytes().all(|byte| b"0123456789.eE+-".contains(&byte));
    let spelled = Some(text).filter(number).and_then(|text| text.parse().ok());
    // Longer than any wait is allowed to be, and short enough for a duration.
    let spelled = spelled.map(|seconds: f64| seconds.min(1e12));
    crate::model::Seconds::from_words(text)
        .or_else(|| spelled.and_then(crate::model::Seconds::from_f64))
}

/// Yes and no in the spellings that OpenStack takes.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

/// A reason as people write it: short, and nothing in it but what can be seen.
///
/// # Errors
/// 400.
pub fn check_reason(reason: &str) -> Result<(), Fault> {
    check_text("reason", reason)
}

/// The same for another member.
///
/// # Errors
/// 400.
pub fn check_text(member: &str, text: &str) -> Result<(), Fault> {
    let what = if text.chars().count() > REASON_LIMIT {
        format!("{member} is longer than {REASON_LIMIT} letters")
    } else if text.chars().any(is_hidden) {
        format!("{member} holds control characters, line breaks or marks of writing direction")
    } else {
        return Ok(());
    };
    Err(Fault::bad(what).about("member", member))
}

/// What a body is: its bytes and what its sender called them.
pub fn json_body<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Fault> {
    is_json(headers, body)?;
    // serde would take a list for an object whose members come in order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Fault::bad("the body has to be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let at = error.path().to_string();
        let inner = error.inner().to_string();
        if inner.contains("recursion limit") {
            return Fault::too_deep();
        }
        let fault = Fault::bad(match at.as_str() {
            "." | "?" => format!("the body does not fit: {inner}"),
            _ => format!("the body does not fit at {at}: {inner}"),
        });
        if at == "." || at == "?" {
            fault
        } else {
            fault.about("member", &at)
        }
    })?;
    reader
        .end()
        .map_err(|error| Fault::bad(format!("the body goes on after its JSON: {error}")))?;
    Ok(value)
}

/// Refuses a body that calls itself something other than JSON. No body and no name are fine.
pub fn is_json(headers: &HeaderMap, body: &[u8]) -> Result<(), Fault> {
    let Some(name) = headers
        .get(http::header::CONTENT_TYPE)
        .filter(|_| !body.is_empty())
    else {
        return Ok(());
    };
    let name = String::from_utf8_lossy(name.as_bytes()).to_ascii_lowercase();
    let essence = name.split(';').next().unwrap_or_default().trim().to_owned();
    if essence.is_empty() || essence == JSON || essence.ends_with("+json") {
        Ok(())
    } else {
        Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::MediaType,
            format!("the body must be JSON: send Content-Type: application/json, not '{essence}'"),
        ))
    }
}

/// The addresses of this API as the client sees them: `http://<its Host header>`.
pub fn base(request: &Request) -> String {
    format!("{}://{}", request.scheme, host(request).unwrap_or(NO_HOST))
}

/// What the address of a page begins with that a client is to ask for next: as [`base`], and
/// nothing for one that came through the Unix socket and names no host. openstacksdk goes where the
/// whole address leads, which would be port 80 of this host.
pub fn base_of_pages(request: &Request) -> String {
    let is_local = request.peer.transport == Transport::Unix;
    match host(request).is_none_or(|host| host == NO_HOST) && is_local {
        true => String::new(),
        false => base(request),
    }
}

/// What clients say over a Unix socket, where there is no host to name.
const NO_HOST: &str = "localhost";

/// The Host header, where it can stand in an address.
fn host(request: &Request) -> Option<&str> {
    let host = request.headers.get(http::header::HOST)?.to_str().ok()?;
    let fit = !host.is_empty()
        && host.len() <= 255
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte));
    fit.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stale;
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn an_answer_that_is_not_of_now_says_so_before_all_else() {
        let stale = Stale::of(Duration::from_millis(11_200), Some("mgmt1".into()), None);
        let marked = |body: Value| {
            let mut response = Response::ok(&body);
            response.begin_with(&stale);
            String::from_utf8(response.body).unwrap()
        };
        let mark = r#""stale":true,"stale_age":12,"rack_owner":"mgmt1","rack_owner_url":null"#;
        assert_eq!(marked(json!({})), format!("{{{mark}}}\n"));
        let tasks = marked(json!({ "tasks": [] }));
        assert_eq!(tasks, format!("{{{mark},\"tasks\":[]}}\n"));
        assert_eq!(Stale::in_body(&tasks), Some(stale.clone()));
        assert_eq!(Stale::in_body(r#"{"tasks":[],"stale":true}"#), None);
        let mut text = Response::text("text/plain", "{}".to_owned());
        text.begin_with(&stale);
        assert_eq!(text.body, b"{}");
    }

    #[test]
    fn hidden_bytes_come_out_or_are_refused() {
        assert_eq!(percent_decode("r1n%30%31"), Ok("r1n01".into()));
        assert_eq!(percent_decode("%C3%BC"), Ok("ü".into()));
        for bad in ["%", "%4", "%zz", "%00", "%ff", "%C3", "a%-1"] {
            assert!(percent_decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_with_indents_is_what_a_tree_of_it_would_be_written_as() {
        for text in [
            "{}",
            "[]",
            "7",
            r#"{"a":[],"b":{},"c":[1,-2.5,{"d":null}],"e":"{[,:\\\"]}","f":true}"#,
            r#"[[[]],[{}],["\\\\"],[[1,2],[3]]]"#,
        ] {
            let tree: Value = serde_json::from_str(text).expect("JSON");
            let wanted = serde_json::to_string_pretty(&tree).expect("JSON") + "\n";
            let found = indented(format!("{text}\n").as_bytes());
            assert_eq!(String::from_utf8(found).expect("text"), wanted);
        }
    }

    #[test]
    fn what_is_too_long_to_be_read_gets_no_indents() {
        for (letters, indents) in [(100, true), (PRETTY_LIMIT, false)] {
            let mut response = Response::ok(&vec!["x".repeat(letters)]);
            response.make_pretty();
            assert_eq!(response.body.starts_with(b"[\n"), indents, "{letters}");
        }
    }

    #[test]
    fn a_query_keeps_its_last_word_and_names_strangers() {
        let query = Query::parse("a=1&b=x%20y&a=2&&c+d").expect("a query");
        assert_eq!(query.value("a"), Some("2"));
        assert_eq!(query.value("b"), Some("x y"));
        assert_eq!(query.value("c d"), Some(""));
        assert!(query.only(|name| ["a", "b"].contains(&name)).is_err());
        assert!(query.only(|name| ["a", "b", "c d"].contains(&name)).is_ok());
    }

    #[test]
    fn a_query_has_so_many_parameters_at_most() {
        let most = "node=a&".repeat(PARAMETERS_LIMIT);
        assert!(Query::parse(&most).is_ok());
        assert!(Query::parse(&format!("{most}node")).is_err());
    }

    #[test]
    fn a_wait_is_a_number_in_any_spelling_or_words() {
        let wait = |text: &str| {
            let query = Query::parse(&format!("wait={text}")).expect("a query");
            query
                .duration("wait", Duration::from_secs(60))
                .ok()
                .flatten()
        };
        for (text, millis) in [
            ("30s", 30_000),
            ("0.5", 500),
            ("1e-1", 100),
            ("2E0", 2000),
            ("1h", 60_000),
            ("1.3e308", 60_000),
        ] {
            assert_eq!(wait(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["-1", "e", "", "soon", "NaN", "inf"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}
