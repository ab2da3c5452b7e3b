//! `[api]`: sockets, who may do what, and limits.

use super::complaint::{At, Findings};
use super::files::{Secrets, Wanted, hex};
use super::section::{Section, text_of, wrong_type};
use super::tls::{self, Tls};
use crate::model::{
    Grant, LOGIN_NAME_LIMIT, Limits, Policy, Role, Subject, TcpAuth, Token, is_hidden,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// What the API listens on and whom it obeys.
#[derive(Clone, PartialEq, Debug)]
pub struct ApiSettings {
    /// The Unix socket, where systemd does not pass one.
    pub socket: PathBuf,
    /// The group that the socket is given to (a name or a number), where we make it ourselves.
    pub socket_group: Option<String>,
    /// The socket's permission bits, where we make it ourselves.
    pub socket_mode: u32,
    /// The TCP address; off unless set.
    pub tcp: Option<SocketAddr>,
    /// What TCP is spoken with, where it is not plain HTTP.
    pub tls: Option<Tls>,
    /// Who may do what. The user root always may do everything, and so may the daemon's own.
    pub policy: Policy,
    /// What a client may cost.
    pub limits: Limits,
}

/// Resolves a node set typed somewhere to names of nodes, or complains.
pub(super) type Resolve<'r> = &'r dyn Fn(&At<String>, &mut Findings<'_>) -> Option<Vec<String>>;

/// Reads `[api]`.
pub(super) fn read(
    section: Option<Section<'_>>,
    resolve: Resolve<'_>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> ApiSettings {
    let usual = ApiSettings {
        socket: PathBuf::from("/run/rackbmcd/rackbmcd.sock"),
        socket_group: None,
        socket_mode: 0o660,
        tcp: None,
        tls: None,
        policy: Policy::default(),
        limits: Limits::default(),
    };
    let Some(mut whole) = section else {
        return usual;
    };
    let section = &mut whole;
    let socket = section.nonempty("socket", findings);
    if let Some(socket) = &socket {
        check_socket(socket, secrets, findings);
    }
    let socket_group = section.nonempty("socket_group", findings);
    if let Some(group) = socket_group
        .as_ref()
        .filter(|at| !secrets.is_group(&at.value))
    {
        let complaint = format!("there is no group '{}' on this host", group.value);
        findings.complain(&group.span, complaint);
    }
    let socket_mode = socket_mode(section, findings);
    let tcp = tcp(section, findings);
    let auth = section.word(
        "auth",
        &TcpAuth::ALL.map(|auth| (auth.name(), auth)),
        findings,
    );
    let htpasswd = section.nonempty("htpasswd", findings);
    let hosts = section.texts("hosts", findings);
    let tls = tls::read(section, secrets, findings);
    let tokens = tokens(section, resolve, findings);
    let roles = section.tables("role", "[[api.role]]", findings);
    let grants: Vec<Grant> = roles
        .into_iter()
        .flat_map(|section| grants(section, resolve, secrets, findings))
        .collect();
    let limits = section.table("limits", "[api.limits]", findings);
    let mut settings = ApiSettings {
        socket: socket.map_or(usual.socket, |at| secrets.path(&at.value)),
        socket_group: socket_group.map(|at| at.value),
        socket_mode,
        tcp: tcp.as_ref().map(|at| at.value),
        tls: tls.as_ref().map(|at| at.value.clone()),
        policy: Policy {
            grants,
            daemon_uid: None,
            tcp_auth: auth.as_ref().map_or_else(TcpAuth::default, |at| at.value),
            passwords: BTreeMap::new(),
            tokens,
            hosts: hosts.map_or_else(BTreeSet::new, |at| {
                at.value.into_iter().map(|at| at.value).collect()
            }),
        },
        limits: limits.map_or_else(Limits::default, |section| read_limits(section, findings)),
    };
    whole.finish(
        &[
            ("listen", "write socket or tcp"),
            ("tls", "write tls_certificate and tls_key"),
        ],
        findings,
    );
    if let (Some(tls), None) = (&tls, &tcp) {
        findings.warn(&tls.span, "tls_certificate is for tcp, which is not set");
    }
    if let Some(tcp) = tcp {
        check_tcp(&tcp, &auth, &settings, findings);
        if settings.policy.tcp_auth == TcpAuth::HttpBasic {
            let named =
                htpasswd.unwrap_or_else(|| At::new("/etc/rackbmcd/htpasswd".into(), tcp.span));
            settings.policy.passwords =
                users(&secrets.path(&named.value), &named.span, secrets, findings);
        }
    }
    settings
}

/// The longest path that a Unix socket can have, without the zero at its end.
const SOCKET_PATH: usize = 107;

fn check_socket(socket: &At<String>, secrets: &Secrets<'_>, findings: &mut Findings<'_>) {
    let path = secrets.path(&socket.value);
    secrets.check_place(&path, Wanted::Socket, &socket.span, findings);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH {
        let complaint =
            format!("the path of the socket has {length} bytes: a socket takes {SOCKET_PATH}");
        findings.complain(&socket.span, complaint);
    }
}

fn socket_mode(section: &mut Section<'_>, findings: &mut Findings<'_>) -> u32 {
    let Some(typed) = section.text("socket_mode", findings) else {
        return 0o660;
    };
    match u32::from_str_radix(&typed.value, 8) {
        Ok(mode) if mode & !0o777 == 0 && typed.value.len() >= 3 => {
            if mode & 0o002 != 0 {
                findings.warn(
                    &typed.span,
                    "every user of this host may use the socket: better 0660 and socket_group",
                );
            }
            let reads_alone = |read: u32, write: u32| mode & read != 0 && mode & write == 0;
            if mode & 0o200 == 0 || reads_alone(0o040, 0o020) || reads_alone(0o004, 0o002) {
                findings.warn(
                    &typed.span,
                    "who may only read the socket cannot use it, for a request is written: like \"0660\"",
                );
            }
            mode
        }
        _ => {
            let complaint = format!(
                "socket_mode cannot be \"{}\": write octal digits like \"0660\"",
                typed.value
            );
            findings.complain(&typed.span, complaint);
            0o660
        }
    }
}

fn tcp(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<At<SocketAddr>> {
    let typed = section.text("tcp", findings)?;
    match typed.value.parse::<SocketAddr>() {
        Ok(address) => Some(At::new(address, typed.span)),
        Err(_) => {
            let complaint = format!(
                "tcp cannot be \"{}\": write an address and a port, like \"127.0.0.1:6385\" or \"[::1]:6385\"",
                typed.value
            );
            findings.complain(&typed.span, complaint);
            None
        }
    }
}

fn check_tcp(
    tcp: &At<SocketAddr>,
    auth: &Option<At<TcpAuth>>,
    settings: &ApiSettings,
    findings: &mut Findings<'_>,
) {
    let loopback = tcp.value.ip().to_canonical().is_loopback();
    let span = auth.as_ref().map_or(&tcp.span, |at| &at.span);
    match settings.policy.tcp_auth {
        TcpAuth::None if !loopback => findings.complain(
            span,
            format!("auth = \"none\" would open the rack to the network on {}: write \"http_basic\" or \"token\", \
                     or a tcp address on loopback", tcp.value),
        ),
        TcpAuth::None => findings.warn(span, "auth = \"none\": every user of this host may switch every node off"),
        TcpAuth::Token if settings.policy.tokens.is_empty() => {
            findings.missing(span, "auth = \"token\" without a token: write [[api.token]] with name, sha256 and role");
        }
        TcpAuth::Token | TcpAuth::HttpBasic => {}
    }
    if !loopback && settings.tls.is_none() {
        let remedy = if cfg!(feature = "tls") {
            "write tls_certificate and tls_key, or use loopback"
        } else {
            "use loopback, with a TLS proxy before it"
        };
        let warning = format!("passwords and tokens cross the network readable: {remedy}");
        findings.warn(&tcp.span, warning);
    }
}

/// The highest bcrypt cost: about a second for each comparison.
const COSTLIEST: u32 = 14;

/// What is wrong with the name of a user or a token, which the trail and the log show, if anything.
fn login_fault(name: &str) -> Option<String> {
    if name.chars().any(is_hidden) {
        Some("holds control characters or marks that are not seen".to_owned())
    } else if name.len() > LOGIN_NAME_LIMIT {
        Some(format!("is longer than {LOGIN_NAME_LIMIT} bytes"))
    } else {
        None
    }
}

/// The users of a file that `htpasswd -B` made.
fn users(
    path: &Path,
    span: &Range<usize>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> BTreeMap<String, String> {
    let Some(content) = secrets.private(path, span, findings) else {
        return BTreeMap::new();
    };
    let text = String::from_utf8_lossy(&content.bytes);
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = index + 1;
        let user = line.split_once(':').filter(|(name, _)| !name.is_empty());
        let Some((name, hash)) = user else {
            findings.complain_in(
                path,
                number,
                "this is no user: write name:hash, as htpasswd -B makes it",
            );
            continue;
        };
        let bcrypt = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|kind| hash.starts_with(kind));
        let cost = hash.get(4..6).and_then(|digits| digits.parse::<u32>().ok());
        if !bcrypt || hash.len() != 60 || cost.is_none() {
            let complaint =
                format!("the password of {name} is no bcrypt hash: make it with htpasswd -B");
            findings.complain_in(path, number, complaint);
        } else if let Some(cost) = cost.filter(|cost| *cost > COSTLIEST) {
            let complaint = format!(
                "the password of {name} has a bcrypt cost of {cost}, too slow to compare at each log-in: make it with \
                 htpasswd -B -C 10 ({COSTLIEST} at most)"
            );
            findings.complain_in(path, number, complaint);
        } else if let Some(fault) = login_fault(name) {
            findings.complain_in(path, number, format!("the name of a user {fault}"));
        } else if users.contains_key(name) {
            findings.complain_in(path, number, format!("the user {name} stands there twice"));
        } else {
            users.insert(name.to_owned(), hash.to_owned());
        }
    }
    if users.is_empty() {
        findings.missing(
            span,
            format!("{} has no user: make one with htpasswd -B", path.display()),
        );
    }
    users
}

fn role(section: &mut Section<'_>, findings: &mut Findings<'_>) -> Option<Role> {
    if section.value("role").is_none() {
        let missing = format!(
            "{} has no role: write role = \"reader\", \"operator\" or \"admin\"",
            section.name
        );
        findings.missing(&section.span, missing);
    }
    Some(
        section
            .word("role", &Role::ALL.map(|role| (role.name(), role)), findings)?
            .value,
    )
}

/// The nodes that a rule is for: all where the key is missing, none of the rule where it is wrong.
fn nodes(
    section: &mut Section<'_>,
    resolve: Resolve<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<BTreeSet<String>>> {
    section.value("nodes").map_or(Some(None), |_| {
        let typed = section.text("nodes", findings)?;
        resolve(&typed, findings).map(|nodes| Some(nodes.into_iter().collect()))
    })
}

fn tokens(
    section: &mut Section<'_>,
    resolve: Resolve<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for mut section in section.tables("token", "[[api.token]]", findings) {
        let name = section.nonempty("name", findings);
        if let Some(name) = &name
            && let Some(fault) = login_fault(&name.value)
        {
            findings.complain(&name.span, format!("the name of a token {fault}"));
        }
        let hash = section.text("sha256", findings);
        let role = role(&mut section, findings);
        let nodes = nodes(&mut section, resolve, findings);
        for (key, there) in [("name", name.is_some()), ("sha256", hash.is_some())] {
            if !there {
                findings.missing(
                    &section.span,
                    format!("the token has no {key}: write {key} = \"...\""),
                );
            }
        }
        section.finish(
            &[(
                "token",
                "the token does not stand in this file: write its sha256",
            )],
            findings,
        );
        let Some(hash) = hash else { continue };
        let Some(sha256) = hex(&hash.value).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        else {
            findings.complain(
                &hash.span,
                "sha256 is not 64 hexadecimal digits: write what sha256sum prints of the token",
            );
            continue;
        };
        let (Some(name), Some(role), Some(nodes)) = (name, role, nodes) else {
            continue;
        };
        if tokens.iter().any(|token| token.name == name.value) {
            findings.complain(
                &name.span,
                format!("there is a token '{}' already", name.value),
            );
        }
        tokens.push(Token {
            name: name.value,
            sha256,
            role,
            nodes,
        });
    }
    tokens
}

/// The grants of one `[[api.role]]`.
fn grants(
    mut section: Section<'_>,
    resolve: Resolve<'_>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Grant> {
    let role = role(&mut section, findings);
    let user = |name: &str| secrets.user_id(name).map(Subject::Uid);
    let mut subjects = accounts(&mut section, "unix_users", Subject::Uid, user, findings);
    let group = |name: &str| secrets.group_id(name).map(Subject::Gid);
    subjects.extend(accounts(
        &mut section,
        "unix_groups",
        Subject::Gid,
        group,
        findings,
    ));
    let http_users = section.texts("http_users", findings);
    let http_users = http_users.map_or_else(Vec::new, |at| at.value);
    subjects.extend(http_users.into_iter().map(|at| Subject::Http(at.value)));
    let nodes = nodes(&mut section, resolve, findings);
    if subjects.is_empty() {
        let missing = "the role is nobody's: write unix_users, unix_groups or http_users";
        findings.missing(&section.span, missing);
    }
    section.finish(
        &[
            ("users", "write unix_users or http_users"),
            ("groups", "write unix_groups"),
        ],
        findings,
    );
    let (Some(role), Some(nodes)) = (role, nodes) else {
        return Vec::new();
    };
    let grant = |to| Grant {
        to,
        role,
        nodes: nodes.clone(),
    };
    subjects.into_iter().map(grant).collect()
}

/// Accounts of this host, by number or by name; `known` finds the name's number.
fn accounts(
    section: &mut Section<'_>,
    key: &'static str,
    numbered: fn(u32) -> Subject,
    known: impl Fn(&str) -> Option<Subject>,
    findings: &mut Findings<'_>,
) -> Vec<Subject> {
    let accounts = section.list(key, findings, |element, findings| {
        let account = match element.get_ref() {
            DeValue::String(name) if !name.is_empty() => {
                let name = text_of(key, element, findings)?.value;
                let found = known(&name);
                if found.is_none() {
                    findings.warn(
                        &element.span(),
                        format!("{key}: this host has no '{name}': nobody gets this role by it"),
                    );
                }
                Some(found.unwrap_or(Subject::Unknown(name)))
            }
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(numbered),
            _ => None,
        };
        if account.is_none() {
            wrong_type(key, element, "names or numbers", findings);
        }
        Some(At::new(account?, element.span()))
    });
    accounts.map_or_else(Vec::new, |at| {
        at.value.into_iter().map(|at| at.value).collect()
    })
}

fn read_limits(mut section: Section<'_>, findings: &mut Findings<'_>) -> Limits {
    let usual = Limits::default();
    let mut count = |key, least, most, usual: u32| {
        section
            .count(key, least..=most, findings)
            .map_or(usual, |at| at.value)
    };
    let connections = count("connections", 4, 100_000, usual.connections);
    let streams = count("streams", 0, 100_000, usual.streams);
    let header_bytes = count("header_bytes", 8192, 1 << 20, usual.header_bytes);
    let body_bytes = count("body_bytes", 1024, 16 << 20, usual.body_bytes);
    let mut time = |key, usual: Duration| {
        let range = Duration::from_secs(1)..=Duration::from_secs(600);
        section
            .duration(key, range, findings)
            .map_or(usual, |at| at.value)
    };
    let header_timeout = time("header_timeout", usual.header_timeout);
    let body_timeout = time("body_timeout", usual.body_timeout);
    let write_timeout = time("write_timeout", usual.write_timeout);
    section.finish(&[], findings);
    Limits {
        connections,
        streams,
        header_bytes,
        body_bytes,
        header_timeout,
        body_timeout,
        write_timeout,
        ..usual
    }
}
