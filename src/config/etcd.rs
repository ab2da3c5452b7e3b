//! `[etcd]`: where etcd is, and who we are to it.

use super::complaint::Findings;
use super::files::Secrets;
use super::keys::{password, seconds};
use super::section::Section;
use crate::etcd::User;
use crate::http_client::Place;
use crate::http_client::trust::{Pem, Trust};
use std::time::Duration;
use zeroize::Zeroizing;

/// Where etcd is, and who we are to it.
#[derive(Clone, PartialEq, Debug)]
pub struct EtcdSettings {
    pub ways: Vec<Place>,
    /// What all our keys begin with.
    pub prefix: String,
    /// The user, where etcd has users.
    pub user: Option<User>,
    /// How long a request may take before the next member is asked.
    pub request_timeout: Duration,
}

pub(super) fn read(
    section: Option<Section<'_>>,
    secrets: &mut Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Option<EtcdSettings> {
    let mut section = section?;
    let endpoints = section.texts("endpoints", findings);
    let prefix = section.nonempty("prefix", findings);
    let username = section.nonempty("username", findings);
    let password = password(&mut section, findings);
    let request_timeout = section.duration(
        "request_timeout",
        Duration::from_millis(100)..=seconds(10),
        findings,
    );
    let trust = read_trust(&mut section, secrets, findings);
    let user = match (username, password) {
        (Some(name), Some(password)) => secrets.line(&password, findings).map(|line| User {
            name: name.value,
            password: Zeroizing::new(String::from_utf8_lossy(&line).into_owned()),
        }),
        (Some(alone), None) => {
            let text = "username without a password: write password_file or password_credential";
            findings.missing(&alone.span, text);
            None
        }
        (None, Some(alone)) => {
            findings.missing(&alone.span, "a password without a username: write username");
            None
        }
        (None, None) => None,
    };
    if let Some(prefix) = prefix.as_ref().filter(|at| !at.value.starts_with('/')) {
        let text = format!("the prefix '{}' must begin with /", prefix.value);
        findings.complain(&prefix.span, text);
    }
    let mut ways = Vec::new();
    match &endpoints {
        Some(typed) if !typed.value.is_empty() => {
            for endpoint in &typed.value {
                match way(&endpoint.value, trust.as_ref()) {
                    Ok(way) => ways.push(way),
                    Err(why) => findings.complain(&endpoint.span, why),
                }
            }
        }
        Some(empty) => findings.complain(&empty.span, NO_ENDPOINTS),
        None => findings.missing(&section.span.clone(), NO_ENDPOINTS),
    }
    section.finish(&[("endpoint", "write endpoints, a list")], findings);
    Some(EtcdSettings {
        ways,
        prefix: prefix.map_or_else(|| "/rackbmc".to_owned(), |at| at.value),
        user,
        request_timeout: request_timeout.map_or(seconds(1), |at| at.value),
    })
}

/// `[fleet] publish`: whether the rack's summary is put into etcd.
pub(super) fn read_publish(
    section: Option<Section<'_>>,
    etcd: bool,
    findings: &mut Findings<'_>,
) -> bool {
    let Some(mut section) = section else {
        return false;
    };
    let publish = section.flag("publish", findings);
    section.finish(&[], findings);
    let wanted = publish.filter(|typed| typed.value);
    if let Some(typed) = wanted.as_ref().filter(|_| !etcd) {
        let text = "publish without [etcd]: the summary is put there; write endpoints in it";
        findings.missing(&typed.span, text);
    }
    wanted.is_some()
}

/// Whom we believe that they are etcd, where `ca_file` says so, and what we show them.
fn read_trust(
    section: &mut Section<'_>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Option<Trust> {
    let authorities = section.nonempty("ca_file", findings);
    let certificate = section.nonempty("cert_file", findings);
    let key = section.nonempty("key_file", findings);
    let identity = match (&certificate, &key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(alone), None) => {
            findings.missing(&alone.span, "cert_file without key_file: write both");
            None
        }
        (None, Some(alone)) => {
            findings.missing(&alone.span, "key_file without cert_file: write both");
            None
        }
        (None, None) => None,
    };
    let Some(authorities) = authorities else {
        if let Some((certificate, _)) = identity {
            let text = "cert_file without ca_file: whoever is shown our certificate must be known";
            findings.missing(&certificate.span, text);
        }
        return None;
    };
    let read = |path: &str, span, findings: &mut Findings<'_>| {
        let path = secrets.path(path);
        Some((secrets.read(&path, span, findings)?, path))
    };
    let (bytes, path) = read(&authorities.value, &authorities.span, findings)?;
    let shown = match identity {
        None => None,
        Some((certificate, key)) => {
            let (shown, shown_path) = read(&certificate.value, &certificate.span, findings)?;
            let key_path = secrets.path(&key.value);
            let secret = secrets.private(&key_path, &key.span, findings)?;
            Some(((shown, shown_path), (secret, key_path)))
        }
    };
    let pem = |(content, path): &(super::Content, std::path::PathBuf)| Pem {
        bytes: content.bytes.clone(),
        name: path.display().to_string(),
    };
    let shown = shown
        .as_ref()
        .map(|(shown, secret)| (pem(shown), pem(secret)));
    match Trust::of_pem(&pem(&(bytes, path)), shown.as_ref()) {
        Ok(trust) => Some(trust),
        Err(why) => {
            findings.complain(&authorities.span, why);
            None
        }
    }
}

/// `https://10.9.0.1:2379`
fn way(url: &str, trust: Option<&Trust>) -> Result<Place, String> {
    let (rest, trust) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => {
            let trust = trust.cloned();
            if trust.is_none() {
                let why = "is an https endpoint, and nobody says whom to believe: write ca_file";
                return Err(format!("'{url}' {why}"));
            }
            (rest, trust)
        }
        (None, Some(rest)) => (rest, None),
        (None, None) => return Err(format!("'{url}' is not of the form https://10.9.0.1:2379")),
    };
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
        return Err(format!("'{url}' is not of the form https://10.9.0.1:2379"));
    }
    let port = authority.rsplit_once(':');
    let has_port = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = match has_port {
        true => authority.to_owned(),
        false => format!("{authority}:2379"),
    };
    Ok(Place::Tcp { authority, trust })
}

const NO_ENDPOINTS: &str =
    "[etcd] has no endpoints: write endpoints = [\"https://10.9.0.1:2379\", ...]";
