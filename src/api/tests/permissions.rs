//! Who may do what.

use super::real::RealRack;
use super::*;
use crate::api::access::{Credential, Entry, Transport};
use crate::api::route::{is_public, row};
use crate::model::{Grant, Role, Subject, TcpAuth, Token};
use crate::rack::rights::Rights;
use http::Method;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

fn granting(grants: &[(Subject, Role, Option<&[&str]>)]) -> Policy {
    let grants = grants.iter().map(|(to, role, nodes)| Grant {
        to: to.clone(),
        role: *role,
        nodes: nodes.map(|nodes| {
            nodes
                .iter()
                .map(|node| (*node).to_owned())
                .collect::<BTreeSet<_>>()
        }),
    });
    Policy {
        grants: grants.collect(),
        daemon_uid: Some(990),
        ..Policy::default()
    }
}

fn may(policy: &Policy, peer: Peer, line: &str, body: &str) -> u16 {
    let sent = request(line).from(peer).body(body);
    sent.send_to_real(policy, &RealRack::new()).status()
}

const ON: &str = r#"{"target": "power on"}"#;
const POWER: &str = "PUT /v1/nodes/r1n01/states/power";

#[test]
fn without_roles_whoever_may_open_the_socket_is_operator_and_root_is_admin() {
    let policy = Policy {
        daemon_uid: Some(990),
        ..Policy::default()
    };
    let raw = |uid| {
        may(
            &policy,
            Peer::unix(uid, uid, None),
            "POST /v1/nodes/r1n01/raw",
            r#"{"net_fn": 7, "command": 1}"#,
        )
    };
    assert_eq!(may(&policy, Peer::unix(1000, 1000, None), POWER, ON), 202);
    assert_eq!(raw(1000), 403);
    // 400 comes after the permission: the network function is odd.
    assert_eq!(raw(0), 400);
    assert_eq!(raw(990), 400);
}

#[test]
fn whoever_asks_is_told_what_they_may_do() {
    let policy = granting(&[
        (Subject::Uid(1), Role::Reader, None),
        (Subject::Uid(1), Role::Operator, Some(&["r1n01"])),
    ]);
    let asked = |uid| {
        let sent = request("GET /v1/whoami").from(Peer::unix(uid, uid, None));
        sent.send_to_real(&policy, &RealRack::new())
    };
    insta::assert_snapshot!(asked(1).text(), @r#"{"name":"uid 1","role":"reader","on_nodes":[{"role":"operator","nodes":["r1n01"]}]}"#);
    insta::assert_snapshot!(asked(0).text(), @r#"{"name":"uid 0","role":"admin","on_nodes":[]}"#);
    assert_eq!(asked(3).status(), 403);
}

#[test]
fn with_roles_each_has_its_own_and_strangers_have_none() {
    let policy = granting(&[
        (Subject::Uid(1), Role::Reader, None),
        (Subject::Gid(20), Role::Operator, None),
        (Subject::Http("carol".into()), Role::Admin, None),
    ]);
    let reader = Peer::unix(1, 1, None);
    assert_eq!(may(&policy, reader.clone(), "GET /v1/nodes", ""), 200);
    assert_eq!(may(&policy, reader.clone(), POWER, ON), 403);
    let grouped = Peer {
        groups: vec![7, 20],
        ..Peer::unix(2, 2, None)
    };
    assert_eq!(may(&policy, grouped, POWER, ON), 202);
    let stranger = Peer::unix(3, 3, None);
    assert_eq!(may(&policy, stranger.clone(), "GET /v1/nodes", ""), 403);
    assert_eq!(may(&policy, stranger.clone(), "GET /v1", ""), 200);
    assert_eq!(may(&policy, stranger, "GET /healthz", ""), 200);
    let policy = Policy {
        passwords: [("carol".to_owned(), "a hash".to_owned())].into(),
        ..policy
    };
    let carol = Peer {
        user: Some("carol".into()),
        credential: Some(Credential::Password {
            user: "carol".into(),
            hash: "a hash".into(),
        }),
        ..Peer::tcp()
    };
    assert_eq!(
        may(
            &policy,
            carol,
            "POST /v1/nodes/r1n01/raw",
            r#"{"net_fn": 7, "command": 1}"#
        ),
        400
    );
    let refused = request(POWER)
        .from(reader)
        .body(ON)
        .send_under(&policy, obliging);
    assert_eq!(
        refused.complaint(),
        "uid 1 is not permitted: this needs the role operator"
    );
    assert!(refused.calls.is_empty());
}

#[test]
fn a_role_on_some_nodes_ends_at_them() {
    let policy = granting(&[(Subject::Uid(5), Role::Operator, Some(&["r1n02"]))]);
    let rack = RealRack::new();
    let send = |line: &str, body: &str| {
        let sent = request(line).from(Peer::unix(5, 5, None)).body(body);
        sent.send_to_real(&policy, &rack)
    };
    let foreign = send("PUT /v1/nodes/r1n01/states/power", ON);
    assert_eq!(foreign.status(), 403);
    assert_eq!(
        foreign.complaint(),
        "uid 5 is not permitted on r1n01: this needs the role operator"
    );
    assert_eq!(send("PUT /v1/nodes/r1n02/states/power", ON).status(), 202);
    assert_eq!(send("PUT /v1/nodes/r1n03/states/power", ON).status(), 404);
    let batch = r#"{"nodes": ["r1n02", "r1n01"], "operation": "power off"}"#;
    assert_eq!(send("POST /v1/batches", batch).status(), 403);
    assert_eq!(send("POST /v1/pause", r#"{"reason": "x"}"#).status(), 403);
    assert_eq!(send("GET /v1/nodes", "").status(), 200);
}

#[test]
fn a_user_of_the_tcp_port_and_a_user_of_this_host_are_two_though_their_names_are_one() {
    let policy = granting(&[(Subject::Http("nobody".into()), Role::Admin, None)]);
    let local = Peer {
        user: Some("nobody".into()),
        ..Peer::unix(65534, 65534, None)
    };
    assert_eq!(policy.rights(&local), Rights::default());
    let claimed = Peer {
        user: Some("nobody".into()),
        ..Peer::tcp()
    };
    assert_eq!(
        policy.rights(&claimed),
        Rights::default(),
        "a name is no credential"
    );
}

/// A token, a user of the port and a user or group of this host, of one name or number.
#[test]
fn whatever_else_bears_the_name_of_somebody_who_has_a_role_has_nothing_of_it() {
    let hash = "$2b$04$somehash".to_owned();
    let mut policy = granting(&[
        (Subject::Http("ci".into()), Role::Admin, None),
        (Subject::Uid(7), Role::Admin, None),
        (Subject::Gid(8), Role::Admin, None),
    ]);
    policy.tokens = tcp().tokens;
    policy.passwords = ["root", "0", "7", "uid 7"]
        .map(|name| (name.to_owned(), hash.clone()))
        .into();
    let token = Peer {
        user: Some("ci".into()),
        credential: Some(Credential::Token(Sha256::digest("tok-123").into())),
        ..Peer::tcp()
    };
    assert_eq!(policy.rights(&token), Rights::everywhere_as(Role::Reader));
    for user in ["root", "0", "7", "uid 7"] {
        let peer = Peer {
            user: Some(user.into()),
            credential: Some(Credential::Password {
                user: user.into(),
                hash: hash.clone(),
            }),
            ..Peer::tcp()
        };
        assert_eq!(policy.rights(&peer), Rights::default(), "{user}");
    }
    // A user whose number is the group's, a group whose number is the user's, and one whose name is
    // another's.
    for (uid, gid) in [(8, 7), (9, 7), (8, 9)] {
        let peer = Peer {
            user: Some("ci".into()),
            groups: vec![7],
            ..Peer::unix(uid, gid, None)
        };
        assert_eq!(policy.rights(&peer), Rights::default(), "{uid} {gid}");
    }
}

#[test]
fn what_the_configuration_no_longer_knows_is_worth_nothing() {
    let before = tcp();
    let peer = |credential| Peer {
        credential: Some(credential),
        ..Peer::tcp()
    };
    let token = peer(Credential::Token(Sha256::digest("tok-123").into()));
    let alice = peer(Credential::Password {
        user: "alice".into(),
        hash: "$2b$04$somehash".into(),
    });
    for known in [&token, &alice] {
        assert!(before.rights(known).somewhere(Role::Reader));
    }
    let after = Policy {
        passwords: [("alice".to_owned(), "$2b$04$another".to_owned())].into(),
        tokens: Vec::new(),
        ..tcp()
    };
    for known in [&token, &alice] {
        assert_eq!(after.rights(known), Rights::default());
    }
}

fn tcp() -> Policy {
    Policy {
        passwords: [("alice".to_owned(), "$2b$04$somehash".to_owned())].into(),
        tokens: vec![Token {
            name: "ci".into(),
            sha256: Sha256::digest("tok-123").into(),
            role: Role::Reader,
            nodes: None,
        }],
        hosts: ["rack.example".to_owned()].into(),
        ..Policy::default()
    }
}

fn enter(policy: &Policy, path: &str, headers: &[(&'static str, &str)]) -> Result<Entry, u16> {
    let mut map = HeaderMap::new();
    map.insert("host", "localhost:6385".parse().expect("a header"));
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("a header"));
    }
    policy
        .enter(Transport::Tcp, is_public(&Method::GET, row(path)), &map)
        .map_err(|fault| fault.status.as_u16())
}

#[test]
fn basic_credentials_are_handed_out_for_comparison() {
    // "alice:pw" and "mallory:pw" in base64 (RFC 4648), made with base64(1).
    let entry = enter(
        &tcp(),
        "/v1/nodes",
        &[("authorization", "Basic YWxpY2U6cHc=")],
    );
    let wanted = Entry::CheckPassword {
        user: "alice".into(),
        password: "pw".into(),
        hash: "$2b$04$somehash".into(),
        costliest: 4,
    };
    assert_eq!(entry, Ok(wanted));
    let Ok(Entry::CheckPassword { password, hash, .. }) = enter(
        &tcp(),
        "/v1/nodes",
        &[("authorization", "basic bWFsbG9yeTpwdw==")],
    ) else {
        panic!("a user that is not there is compared all the same, so that it takes as long");
    };
    assert!(!bcrypt::verify(password, &hash).expect("a hash that can be compared"));
}

#[test]
fn credentials_that_are_missing_or_unreadable() {
    let status = |headers: &[(&'static str, &str)]| enter(&tcp(), "/v1/nodes", headers).err();
    assert_eq!(status(&[]), Some(401));
    assert_eq!(status(&[("authorization", "Digest x")]), Some(400));
    assert_eq!(status(&[("authorization", "Basic")]), Some(400));
    assert_eq!(status(&[("authorization", "Basic !!!")]), Some(400));
    assert_eq!(status(&[("authorization", "Basic YWxpY2U")]), Some(400));
    assert_eq!(
        enter(&tcp(), "/v1/nodes", &[("authorization", "Bearer nonsense")]),
        Ok(Entry::WrongToken)
    );
    assert_eq!(status(&[("authorization", "Bearer tok-123")]), None);
    // Ironic's CLI with auth type none sends a token that means nothing.
    assert_eq!(status(&[("x-auth-token", "notused")]), Some(401));
    for path in ["/", "/v1", "/v1/", "/healthz", "/metrics"] {
        assert_eq!(enter(&tcp(), path, &[]), Ok(Entry::Open), "{path}");
    }
    // What only looks like one of them, and whatever is no look.
    for path in [
        "//healthz",
        "/healthz/x",
        "/%68ealthz",
        "/healthz;x",
        "/healthz%2f",
        "/HEALTHZ",
        "/metrics/..",
        "/v1/../healthz",
        "/healthz/../v1/nodes",
        "/v1/.",
        "/v1/healthz",
        "/v1/metrics",
        "/v1/whoami",
        "/v1/openapi.json",
        "*",
    ] {
        let refused = enter(&tcp(), path, &[]).expect_err(path);
        assert_eq!(refused, 401, "{path}");
    }
    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        for path in ["/", "/v1", "/healthz", "/metrics"] {
            assert!(!is_public(&method, row(path)), "{method} {path}");
        }
    }
    let open = Policy {
        tcp_auth: TcpAuth::None,
        ..tcp()
    };
    assert_eq!(
        enter(&open, "/v1/nodes", &[("x-auth-token", "notused")]),
        Ok(Entry::Open)
    );
}

#[test]
fn a_401_is_the_one_of_ironics_http_basic() {
    let fault = tcp()
        .enter(Transport::Tcp, false, &request("GET /").headers)
        .expect_err("no credentials");
    let frame = crate::api::dispatch::Frame::plain(&request("GET /v1/nodes"));
    let response = frame.finish(Err(fault));
    insta::assert_snapshot!(Exchange { calls: Vec::new(), response }.transcript(), @r####"
401 Unauthorized
content-type: application/json
www-authenticate: Basic realm="Baremetal API"
openstack-request-id: req-0
x-openstack-request-id: req-0

{"error":{"code":401,"message":"Authorization required"}}
"####);
}

#[test]
fn a_browser_and_a_bent_name_are_refused_on_tcp_and_any_host_is_fine_on_the_unix_socket() {
    let open = Policy {
        tcp_auth: TcpAuth::None,
        ..tcp()
    };
    let status = |headers: &[(&'static str, &str)]| enter(&open, "/v1/nodes", headers).err();
    assert_eq!(status(&[("origin", "http://evil.example")]), Some(403));
    assert_eq!(status(&[("origin", "null")]), Some(403));
    assert_eq!(status(&[("referer", "http://localhost:6385/")]), Some(403));
    for host in [
        "localhost",
        "127.0.0.1:6385",
        "[::1]:6385",
        "LOCALHOST:1",
        "127.8.9.1",
        "rack.example:6385",
    ] {
        assert_eq!(status(&[("host", host)]), None, "{host}");
    }
    let mut two = HeaderMap::new();
    two.append("host", "localhost".parse().expect("a header"));
    two.append("host", "evil.example".parse().expect("a header"));
    assert!(open.enter(Transport::Tcp, false, &two).is_err());
    for host in [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "[::2]:80",
        "localhost:1:2",
    ] {
        assert_eq!(status(&[("host", host)]), Some(403), "{host}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("host", "whatever".parse().expect("a header"));
    assert_eq!(
        open.enter(Transport::Unix, false, &headers).ok(),
        Some(Entry::Open)
    );
}

fn token_peer(policy: &Policy) -> Peer {
    let entry = enter(policy, "/v1/nodes", &[("authorization", "Bearer tok-123")]);
    let Ok(Entry::Token { name, sha256 }) = entry else {
        panic!("{entry:?}");
    };
    Peer {
        user: Some(name),
        credential: Some(Credential::Token(sha256)),
        ..Peer::tcp()
    }
}

#[test]
fn a_token_brings_its_own_role() {
    let peer = token_peer(&tcp());
    assert_eq!(may(&tcp(), peer.clone(), "GET /v1/nodes", ""), 200);
    assert_eq!(may(&tcp(), peer, POWER, ON), 403);
}

#[test]
fn a_token_for_some_nodes_reaches_no_other() {
    let policy = Policy {
        tokens: vec![Token {
            name: "ci".into(),
            sha256: Sha256::digest("tok-123").into(),
            role: Role::Admin,
            nodes: Some(["r1n01".to_owned()].into()),
        }],
        ..tcp()
    };
    let peer = token_peer(&policy);
    assert_eq!(may(&policy, peer.clone(), POWER, ON), 202);
    let other = "PUT /v1/nodes/r1n02/states/power";
    assert_eq!(may(&policy, peer.clone(), other, ON), 403);
    // What is about the whole rack is not for it either, though it is admin on its nodes.
    assert_eq!(may(&policy, peer.clone(), "GET /v1/audit", ""), 403);
    assert_eq!(may(&policy, peer, "POST /v1/release", ""), 403);
}

#[test]
fn secrets_are_not_shown() {
    let policy = format!("{:?}", tcp());
    assert!(
        !policy.contains("somehash") && !policy.contains("pw"),
        "{policy}"
    );
    let entry = enter(
        &tcp(),
        "/v1/nodes",
        &[("authorization", "Basic YWxpY2U6cHc=")],
    );
    assert_eq!(format!("{entry:?}"), "Ok(CheckPassword(alice, ***))");
}
