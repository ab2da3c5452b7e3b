//! The configuration's roles, users and tokens as the API wants them.

use crate::api::access::{Grant, Policy, Role, Subject, TcpAuth, Token};
use crate::config::{self, Account, ApiSettings, Auth};
use nix::unistd::{Group, User};
use std::collections::BTreeSet;

/// Who may do what.
pub(super) fn policy(settings: &ApiSettings) -> Policy {
    let mut grants = Vec::new();
    for rule in &settings.roles {
        let mut give = |to: Option<Subject>| {
            let nodes = rule
                .nodes
                .as_ref()
                .map(|nodes| nodes.iter().cloned().collect::<BTreeSet<_>>());
            grants.extend(to.map(|to| Grant {
                to,
                role: role(rule.role),
                nodes,
            }));
        };
        rule.unix_users
            .iter()
            .for_each(|account| give(user(account)));
        rule.unix_groups
            .iter()
            .for_each(|account| give(group(account)));
        rule.http_users
            .iter()
            .for_each(|name| give(Some(Subject::Http(name.clone()))));
    }
    Policy {
        grants,
        daemon_uid: Some(nix::unistd::getuid().as_raw()),
        tcp_auth: match settings.auth {
            Auth::None => TcpAuth::None,
            Auth::HttpBasic | Auth::Token => TcpAuth::Credentials,
        },
        passwords: settings
            .users
            .iter()
            .map(|user| (user.name.clone(), user.hash.clone()))
            .collect(),
        tokens: settings.tokens.iter().map(token).collect(),
        hosts: settings.hosts.iter().cloned().collect(),
    }
}

fn role(role: config::Role) -> Role {
    match role {
        config::Role::Reader => Role::Reader,
        config::Role::Operator => Role::Operator,
        config::Role::Admin => Role::Admin,
    }
}

fn token(token: &config::Token) -> Token {
    Token {
        name: token.name.clone(),
        sha256: token.sha256,
        role: role(token.role),
        nodes: token
            .nodes
            .as_ref()
            .map(|nodes| nodes.iter().cloned().collect()),
    }
}

fn user(account: &Account) -> Option<Subject> {
    match account {
        Account::Id(uid) => Some(Subject::Uid(*uid)),
        Account::Name(name) => {
            let found = User::from_name(name)
                .ok()
                .flatten()
                .map(|user| Subject::Uid(user.uid.as_raw()));
            if found.is_none() {
                log::warn!("api.roles: there is no user '{name}' on this host");
            }
            found
        }
    }
}

fn group(account: &Account) -> Option<Subject> {
    match account {
        Account::Id(gid) => Some(Subject::Gid(*gid)),
        Account::Name(name) => {
            let found = Group::from_name(name)
                .ok()
                .flatten()
                .map(|group| Subject::Gid(group.gid.as_raw()));
            if found.is_none() {
                log::warn!("api.roles: there is no group '{name}' on this host");
            }
            found
        }
    }
}
