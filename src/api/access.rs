//! Who may do what: roles, and how the other end of a connection comes by one. Pure: the password
//! check that costs time is handed out as [`Entry::CheckPassword`] for the shell to do elsewhere.

use super::fault::Fault;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::IpAddr;
use subtle::ConstantTimeEq;

use crate::base64;
use crate::model::{Policy, Role, Subject, TcpAuth, Token};
use crate::rack::rights::Rights;

/// The kind of socket that a request came over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// A Unix socket: the kernel says who it is.
    Unix,
    /// TCP: nothing is known but what the request itself says.
    Tcp,
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// How it came.
    pub transport: Transport,
    /// User id (Unix socket).
    pub uid: Option<u32>,
    /// Group id (Unix socket).
    pub gid: Option<u32>,
    /// Process id (Unix socket).
    pub pid: Option<i32>,
    /// The address that it came from (TCP).
    pub address: Option<IpAddr>,
    /// All groups at the time of connecting (Unix socket).
    pub groups: Vec<u32>,
    /// The name to show: the login name of `uid`, or the user of http_basic, or the name of the
    /// token. It gives no rights.
    pub user: Option<String>,
    /// What it showed of itself (TCP), and was believed.
    pub credential: Option<Credential>,
}

/// What a client on TCP showed of itself. It is good for as long as the configuration knows it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The password that a hash is of.
    Password { user: String, hash: String },
    /// A bearer token, by its SHA-256.
    Token([u8; 32]),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, ***)"),
            Self::Token(_) => f.write_str("Token(***)"),
        }
    }
}

impl Peer {
    /// The peer of a Unix socket.
    pub fn unix(uid: u32, gid: u32, pid: Option<i32>) -> Self {
        Self {
            transport: Transport::Unix,
            uid: Some(uid),
            gid: Some(gid),
            pid,
            address: None,
            groups: Vec::new(),
            user: None,
            credential: None,
        }
    }

    /// A peer on TCP of whom nothing is known yet.
    pub fn tcp() -> Self {
        Self {
            transport: Transport::Tcp,
            uid: None,
            gid: None,
            pid: None,
            address: None,
            groups: Vec::new(),
            user: None,
            credential: None,
        }
    }

    /// Whether it is known who it is: the kernel says so, or a credential.
    pub fn is_known(&self) -> bool {
        self.uid.is_some() || self.credential.is_some()
    }

    /// The name to show.
    pub fn name(&self) -> String {
        match (&self.user, self.uid, self.transport) {
            (Some(user), _, _) => user.clone(),
            (None, Some(uid), _) => format!("uid {uid}"),
            (None, None, Transport::Unix) => "unknown".to_owned(),
            (None, None, Transport::Tcp) => "anonymous".to_owned(),
        }
    }
}

impl Policy {
    /// What `peer` may do, as the configuration has it now.
    pub fn rights(&self, peer: &Peer) -> Rights {
        match (peer.transport, &peer.credential) {
            (Transport::Unix, _) => self.rights_on_unix(peer),
            (Transport::Tcp, None) => match self.tcp_auth {
                TcpAuth::None => Rights::everywhere_as(Role::Operator),
                TcpAuth::HttpBasic | TcpAuth::Token => Rights::default(),
            },
            (Transport::Tcp, Some(Credential::Token(sha256))) => {
                let known = self.tokens.iter().find(|token| token.sha256 == *sha256);
                known.map(Token::rights).unwrap_or_default()
            }
            (Transport::Tcp, Some(Credential::Password { user, hash })) => {
                if self.passwords.get(user) != Some(hash) {
                    return Rights::default();
                }
                self.granted(|to| match to {
                    Subject::Http(name) => name == user,
                    Subject::Uid(_) | Subject::Gid(_) | Subject::Unknown(_) => false,
                })
            }
        }
    }

    fn rights_on_unix(&self, peer: &Peer) -> Rights {
        let master = |uid| uid == 0 || Some(uid) == self.daemon_uid;
        if peer.uid.is_some_and(master) {
            return Rights::everywhere_as(Role::Admin);
        }
        self.granted(|to| match to {
            Subject::Uid(uid) => peer.uid == Some(*uid),
            Subject::Gid(gid) => peer.gid == Some(*gid) || peer.groups.contains(gid),
            Subject::Http(_) | Subject::Unknown(_) => false,
        })
    }

    /// What is granted to whom `meant` says; all are operators where no role is given at all.
    fn granted(&self, meant: impl Fn(&Subject) -> bool) -> Rights {
        if self.grants.is_empty() {
            return Rights::everywhere_as(Role::Operator);
        }
        let mut rights = Rights::default();
        for grant in self.grants.iter().filter(|grant| meant(&grant.to)) {
            match &grant.nodes {
                None => rights.everywhere = rights.everywhere.max(Some(grant.role)),
                Some(nodes) => rights.limited.push((grant.role, nodes.clone())),
            }
        }
        rights
    }
}

impl Token {
    fn rights(&self) -> Rights {
        match &self.nodes {
            None => Rights::everywhere_as(self.role),
            Some(nodes) => Rights {
                everywhere: None,
                limited: vec![(self.role, nodes.clone())],
            },
        }
    }
}

/// What the headers of a request say about who sent it.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing is to be checked.
    Open,
    /// A token that is known.
    Token {
        name: String,
        /// Its SHA-256.
        sha256: [u8; 32],
    },
    /// A token that nobody has.
    WrongToken,
    /// A password, to be compared with a bcrypt hash (a costly thing: not on the loop).
    CheckPassword {
        /// Who it claims to be.
        user: String,
        /// What it says.
        password: String,
        /// What it must match. A user that is not there has a hash that nothing matches, so that
        /// both take as long.
        hash: String,
        /// The greatest cost of all hashes: a wrong password takes as long as with that, whoever's
        /// it is not.
        costliest: u32,
    },
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::WrongToken => f.write_str("WrongToken"),
            Self::Token { name, .. } => write!(f, "Token({name})"),
            Self::CheckPassword { user, .. } => write!(f, "CheckPassword({user}, ***)"),
        }
    }
}

/// The cost of a bcrypt hash.
pub fn cost(hash: &str) -> Option<u32> {
    hash.get(4..6)?.parse().ok()
}

/// What Ironic asks with.
pub const CHALLENGE: &str = "Basic realm=\"Baremetal API\"";

impl Policy {
    /// Whether the request may come in at all, and what has to be checked for it; nothing for an
    /// endpoint that is `public`.
    ///
    /// # Errors
    /// 403 for a browser's request or another host's name, 401 without credentials, 400 with
    /// unreadable ones.
    pub fn enter(
        &self,
        transport: Transport,
        public: bool,
        headers: &HeaderMap,
    ) -> Result<Entry, Fault> {
        if headers.get_all(http::header::HOST).iter().count() > 1 {
            return Err(Fault::bad("there are two Host headers"));
        }
        if transport == Transport::Unix {
            return Ok(Entry::Open);
        }
        self.check_origin(headers)?;
        if public || self.tcp_auth == TcpAuth::None {
            return Ok(Entry::Open);
        }
        let Some(header) = headers.get(http::header::AUTHORIZATION) else {
            return Err(Fault::not_authenticated(
                "Authorization required",
                CHALLENGE,
            ));
        };
        let unreadable = || Fault::bad_credentials("Could not decode the authorization header");
        let (scheme, data) = header
            .to_str()
            .map_err(|_| unreadable())?
            .trim()
            .split_once(' ')
            .ok_or_else(unreadable)?;
        let data = data.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(self.enter_by_token(data));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Fault::bad_credentials(
                "Unsupported authorization scheme: use Basic or Bearer",
            ));
        }
        let text = base64::decode(data)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(unreadable)?;
        let (user, password) = text.split_once(':').ok_or_else(unreadable)?;
        Ok(Entry::CheckPassword {
            user: user.to_owned(),
            password: password.to_owned(),
            hash: self
                .passwords
                .get(user)
                .cloned()
                .unwrap_or_else(|| self.nobody()),
            costliest: self.costliest(),
        })
    }

    fn enter_by_token(&self, token: &str) -> Entry {
        let sum: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let found = self.tokens.iter().fold(None, |found, known| {
            if bool::from(known.sha256.ct_eq(&sum)) {
                Some(known)
            } else {
                found
            }
        });
        match found {
            Some(known) => Entry::Token {
                name: known.name.clone(),
                sha256: known.sha256,
            },
            None => Entry::WrongToken,
        }
    }

    /// A hash that no password has, which takes as long to compare as the slowest of those that
    /// there are: its salt and sum were never computed from one.
    fn nobody(&self) -> String {
        let cost = self.costliest();
        format!("$2b${cost:02}$......................OTbaGa5WKhyK.gqbkzjnSxwt.bq3JQi")
    }

    fn costliest(&self) -> u32 {
        let costs = self.passwords.values().filter_map(|hash| cost(hash));
        costs.max().unwrap_or(5)
    }

    /// A page in somebody's browser, or a name that was bent to our address, must not switch
    /// machines.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Fault> {
        for name in [http::header::ORIGIN, http::header::REFERER] {
            if headers.contains_key(&name) {
                return Err(Fault::not_permitted(format!(
                    "requests from web pages are refused: this one has the header {name}"
                )));
            }
        }
        let host = headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let name = name.to_ascii_lowercase();
        let loopback = name == "localhost"
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if loopback || self.hosts.contains(&name) {
            Ok(())
        } else {
            Err(Fault::not_permitted(format!(
                "this is not the host '{host}'"
            )))
        }
    }
}
