//! Who asks, and what they may do.

use super::words::{Word, words};
use serde::{Deserialize, Serialize};

/// Who asks: goes into tasks, messages and the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Who {
    /// The name to show: a user of http_basic, a login name, `uid 1000`, or `rackbmcd` itself.
    pub name: String,
    /// User id of the peer of a Unix socket.
    pub uid: Option<u32>,
    /// Group id of the same.
    pub gid: Option<u32>,
    /// Process id of the same.
    pub pid: Option<i32>,
    /// The request id that the answer's header carries: the same of a request that is made again.
    pub request: String,
}

/// What a request id begins with that a client has chosen so that its request is carried out once
/// (`Idempotency-Key`).
pub const KEYED: &str = "key-";

impl Who {
    /// The daemon itself.
    pub fn rackbmcd() -> Self {
        Self {
            name: "rackbmcd".to_owned(),
            ..Self::default()
        }
    }

    /// Whether it is the same one who asks: a user of this host and one of the TCP port who have
    /// one name are two.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.uid) == (&other.name, other.uid)
    }

    /// Whether this is the request that `other` made, perhaps from another process or to another
    /// host.
    pub fn asks_again(&self, other: &Self) -> bool {
        !self.request.is_empty() && self.request == other.request && self.is_same(other)
    }

    /// Whether the client has chosen a key for this request, and for no other one.
    pub fn has_key(&self) -> bool {
        self.request.starts_with(KEYED)
    }
}

words! {
    /// What one may do; each role includes those before it.
    pub enum Role ("role") {
        Reader = "reader",
        /// Power, tasks, maintenance.
        Operator = "operator",
        /// Everything, raw commands included.
        Admin = "admin",
    }
}

/// Whoever asks, and what they may do: `GET /v1/whoami`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Asker {
    /// The name that tasks and the audit trail show.
    pub name: String,
    /// The role on the whole rack; null where there is none.
    pub role: Option<Word<Role>>,
    /// Roles on some nodes beside it.
    pub on_nodes: Vec<RoleOnNodes>,
}

/// A role on some nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleOnNodes {
    pub role: Word<Role>,
    /// The nodes, by name.
    pub nodes: Vec<String>,
}

impl Asker {
    /// Whether `role` is held on the node of that name.
    pub fn has(&self, role: Role, node: &str) -> bool {
        let enough = |held: &Word<Role>| held.known().is_some_and(|held| held >= role);
        self.role.as_ref().is_some_and(enough)
            || self
                .on_nodes
                .iter()
                .any(|on| enough(&on.role) && on.nodes.iter().any(|held| held == node))
    }

    /// Whether `role` is held on some node at least.
    pub fn has_somewhere(&self, role: Role) -> bool {
        let enough = |held: &Word<Role>| held.known().is_some_and(|held| held >= role);
        self.role.as_ref().is_some_and(enough) || self.on_nodes.iter().any(|on| enough(&on.role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_this_host_and_of_tcp_who_have_one_name_are_two() {
        let of = |name: &str, uid, request: &str| Who {
            name: name.into(),
            uid,
            request: request.into(),
            ..Who::default()
        };
        let (here, there) = (of("anna", Some(1000), "req-1"), of("anna", None, "req-1"));
        assert!(!here.is_same(&there) && !there.asks_again(&here));
        // A name that was given to another user of the host, and a user of two names.
        assert!(!here.is_same(&of("anna", Some(1001), "req-1")));
        assert!(!here.is_same(&of("berta", Some(1000), "req-1")));
        // Another process, another connection.
        let again = Who {
            pid: Some(7),
            gid: Some(100),
            ..here.clone()
        };
        assert!(again.is_same(&here) && again.asks_again(&here));
        assert!(!of("anna", None, "req-2").asks_again(&there) && there.asks_again(&there));
        let unnumbered = of("anna", None, "");
        assert!(!unnumbered.asks_again(&unnumbered));
    }
}
