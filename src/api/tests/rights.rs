//! The table of endpoints, walked: every endpoint, every spelling of a node, everybody's rights,
//! however they came. A new endpoint is in it by being in the table.

use super::real::{RealRack, SECOND, state};
use super::*;
use crate::api::access::Credential;
use crate::api::endpoint::{Body, Endpoint, Route};
use crate::api::route::ROUTES;
use crate::model::{Grant, Subject, Token};
use serde_json::json;
use std::collections::BTreeSet;

/// The node that all requests are about is `r1n01`; this is how its uuid and its name may be
/// written.
fn spellings() -> Vec<(String, bool)> {
    let uuid: Uuid = UUID.parse().expect("a uuid");
    let encoded: String = "r1n01".bytes().map(|byte| format!("%{byte:02x}")).collect();
    let percent = |text: String| text.replace('{', "%7B").replace('}', "%7d");
    let everywhere = [
        "r1n01".to_owned(),
        uuid.to_string(),
        uuid.to_string().to_uppercase(),
        uuid.simple().to_string(),
        uuid.urn().to_string(),
        uuid.braced().to_string(),
    ];
    let in_paths = [
        encoded,
        uuid.to_string().replacen('1', "%31", 1),
        percent(uuid.braced().to_string()),
        "r1n01.json".to_owned(),
        format!("{uuid}.json"),
    ];
    let everywhere = everywhere.into_iter().map(|ident| (ident, true));
    everywhere
        .chain(in_paths.into_iter().map(|ident| (ident, false)))
        .collect()
}

/// Where somebody's role is good.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Reach {
    Rack,
    Here,
    Elsewhere,
}

/// Somebody, and what the test knows of them.
#[derive(Clone, Debug)]
struct Somebody {
    held: Option<(Role, Reach)>,
    policy: Policy,
    peer: Peer,
}

fn everybody() -> Vec<Somebody> {
    let mut held = vec![None];
    for role in [Role::Reader, Role::Operator, Role::Admin] {
        held.extend([Reach::Rack, Reach::Here, Reach::Elsewhere].map(|reach| Some((role, reach))));
    }
    held.into_iter()
        .flat_map(|held| [on_unix(held), by_password(held), by_token(held)])
        .flatten()
        .collect()
}

fn nodes(reach: Reach) -> Option<BTreeSet<String>> {
    match reach {
        Reach::Rack => None,
        Reach::Here => Some(["r1n01".to_owned()].into()),
        Reach::Elsewhere => Some(["r1n02".to_owned()].into()),
    }
}

/// A policy that gives `to` what is held, and something to somebody else: without any grant all are
/// operators.
fn granting(to: Subject, held: Option<(Role, Reach)>) -> Policy {
    let grant = held.map(|(role, reach)| Grant {
        to,
        role,
        nodes: nodes(reach),
    });
    let other = Grant {
        to: Subject::Uid(77),
        role: Role::Admin,
        nodes: None,
    };
    Policy {
        grants: grant.into_iter().chain([other]).collect(),
        ..Policy::default()
    }
}

fn on_unix(held: Option<(Role, Reach)>) -> Option<Somebody> {
    Some(Somebody {
        held,
        policy: granting(Subject::Uid(1000), held),
        peer: Peer {
            user: Some("somebody".into()),
            ..Peer::unix(1000, 1000, Some(42))
        },
    })
}

fn by_password(held: Option<(Role, Reach)>) -> Option<Somebody> {
    let (user, hash) = ("somebody".to_owned(), "a hash".to_owned());
    Some(Somebody {
        held,
        policy: Policy {
            passwords: [(user.clone(), hash.clone())].into(),
            ..granting(Subject::Http(user.clone()), held)
        },
        peer: Peer {
            user: Some(user.clone()),
            credential: Some(Credential::Password { user, hash }),
            ..Peer::tcp()
        },
    })
}

fn by_token(held: Option<(Role, Reach)>) -> Option<Somebody> {
    let (role, reach) = held?;
    Some(Somebody {
        held,
        policy: Policy {
            tokens: vec![Token {
                name: "ci".into(),
                sha256: [7; 32],
                role,
                nodes: nodes(reach),
            }],
            ..granting(Subject::Uid(78), None)
        },
        peer: Peer {
            user: Some("ci".into()),
            credential: Some(Credential::Token([7; 32])),
            ..Peer::tcp()
        },
    })
}

/// What a request to an endpoint is about.
#[derive(Clone, Copy, PartialEq, Debug)]
enum About {
    /// Node `r1n01`.
    Node,
    /// The rack as a whole.
    Rack,
}

/// A request to the endpoint that names the node by `ident`, as far as it names one, and what it is
/// about.
fn asked(route: &Route, endpoint: &Endpoint, ident: &str, prepared: &Prepared) -> (Request, About) {
    let mut about = About::Rack;
    let body = match endpoint.body {
        Some(Body::Needed(shape)) => needed_body(shape, ident, &mut about),
        Some(Body::Optional(_)) | None => String::new(),
    };
    let id = if route.path.starts_with("/v1/batches") {
        prepared.batch
    } else {
        prepared.task
    };
    let path = route
        .path
        .replace("{ident}", ident)
        .replace("{id}", &id.to_string())
        .replace("{control}", "abort")
        .replace("{what}", "identity")
        .replace("{driver}", "ipmi");
    if route.path.contains("{ident}") || route.path.contains("{id}") {
        about = About::Node;
    }
    let request = request(&format!("{} {path}", endpoint.method.name()));
    let request = match body.is_empty() {
        true => request,
        false => request.body(&body),
    };
    (request, about)
}

fn needed_body(shape: &str, ident: &str, about: &mut About) -> String {
    let body = match shape {
        "PowerRequest" => json!({ "target": "power off" }),
        "BootDeviceRequest" => json!({ "boot_device": "pxe" }),
        "RestorePolicyRequest" => json!({ "policy": "previous" }),
        "BootOverrideRequest" => json!({ "device": "pxe" }),
        "RawRequest" => json!({ "net_fn": 6, "command": 1 }),
        "BmcResetRequest" => json!({ "kind": "cold" }),
        "AcceptRequest" => json!({ "guid": "00000000-0000-0000-0000-000000000001" }),
        "PauseRequest" => json!({ "reason": "a test" }),
        "TaskStart" => {
            *about = About::Node;
            json!({ "node": ident, "operation": "power cycle" })
        }
        "BatchStart" => {
            *about = About::Node;
            json!({ "nodes": [ident], "operation": "power cycle" })
        }
        "ReadingsRequest" => {
            *about = About::Node;
            json!({ "nodes": [ident] })
        }
        new => panic!("say here what a request with a {new} looks like"),
    };
    body.to_string()
}

/// A rack on which there is something to touch.
struct Prepared {
    rack: Rc<RealRack>,
    task: Uuid,
    batch: Uuid,
}

impl Prepared {
    /// With a batch of one suspended task on `r1n01`, where the endpoint is about tasks.
    fn for_route(route: &Route) -> Self {
        let rack = RealRack::new();
        let (mut task, mut batch) = (Uuid::nil(), Uuid::nil());
        if route.path.contains("{id}") {
            let started = request("POST /v1/batches")
                .from(Peer::unix(0, 0, None))
                .body(r#"{"nodes": ["r1n01"], "operation": "soft power off"}"#)
                .send_to_real(&Policy::default(), &rack);
            let body = started.json();
            let id = |value: &serde_json::Value| {
                let text = value.as_str().expect("an id");
                text.parse().expect("a uuid")
            };
            (batch, task) = (id(&body["id"]), id(&body["nodes"][0]["task"]));
        }
        Self { rack, task, batch }
    }
}

/// Whether the test expects the request to be let through.
fn may(somebody: &Somebody, endpoint: &Endpoint, about: About) -> bool {
    let Some(needed) = endpoint.role else {
        return true;
    };
    let Some((role, reach)) = somebody.held else {
        return false;
    };
    if role < needed {
        return false;
    }
    match (needed, reach, about) {
        (_, Reach::Rack, _) | (_, Reach::Here, About::Node) => true,
        // Every role may read.
        (Role::Reader, ..) => true,
        _ => false,
    }
}

#[test]
fn every_endpoint_holds_every_spelling_against_everybodys_rights() {
    let everybody = everybody();
    let (mut let_through, mut refused) = (0, 0);
    for route in ROUTES {
        for endpoint in route.endpoints {
            let in_path = route.path.contains("{ident}");
            let in_body = matches!(
                endpoint.body,
                Some(Body::Needed("TaskStart" | "BatchStart" | "ReadingsRequest"))
            );
            for (ident, everywhere) in spellings() {
                // Where no node is named one spelling is as good as any.
                let once = !in_path && !in_body && ident != "r1n01";
                if once || (in_body && !everywhere) {
                    continue;
                }
                for somebody in &everybody {
                    let prepared = Prepared::for_route(route);
                    let before = state(&prepared.rack);
                    let (request, about) = asked(route, endpoint, &ident, &prepared);
                    let line = format!(
                        "{} {} by {:?} {:?}",
                        request.method, request.path, somebody.held, somebody.peer.transport
                    );
                    let sent = request.from(somebody.peer.clone());
                    let answer = sent.send_to_real(&somebody.policy, &prepared.rack);
                    if endpoint.refusing {
                        // Whoever asks, it is not to be had.
                        assert!([403, 404, 405].contains(&answer.status()), "{line}");
                        assert_eq!(state(&prepared.rack), before, "{line}");
                        refused += 1;
                    } else if may(somebody, endpoint, about) {
                        // Only Ironic's paths take `.json` behind a node.
                        let own = route.surface == crate::api::fault::Surface::Own;
                        let strange = own && ident.ends_with(".json");
                        assert_eq!(answer.status() == 404, strange, "{line}: {}", answer.text());
                        assert_ne!(answer.status(), 403, "{line}: {}", answer.text());
                        let_through += 1;
                    } else {
                        assert!([403, 404].contains(&answer.status()), "{line}");
                        assert_eq!(state(&prepared.rack), before, "{line}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(
        let_through > 1000 && refused > 1000,
        "{let_through} {refused}"
    );
}

#[test]
fn what_is_no_node_is_nobodys() {
    let somebody = on_unix(Some((Role::Admin, Reach::Here))).expect("somebody");
    for ident in ["r1n03", "R1N01", "r1n01 ", "1be26c0b", "%20r1n01", SECOND] {
        for (line, body) in [
            (
                format!("PUT /v1/nodes/{ident}/states/power"),
                r#"{"target": "power off"}"#,
            ),
            (
                format!("POST /v1/nodes/{ident}/raw"),
                r#"{"net_fn": 6, "command": 1}"#,
            ),
            (format!("POST /v1/nodes/{ident}/fresh"), "{}"),
        ] {
            let rack = RealRack::new();
            let before = state(&rack);
            let answer = request(&line)
                .from(somebody.peer.clone())
                .body(body)
                .send_to_real(&somebody.policy, &rack);
            let wanted = if ident == SECOND { 403 } else { 404 };
            assert_eq!(answer.status(), wanted, "{line}: {}", answer.text());
            assert_eq!(state(&rack), before, "{line}");
        }
    }
}

#[test]
fn a_batch_is_controlled_on_ones_own_nodes_only() {
    let rack = RealRack::new();
    let started = request("POST /v1/batches")
        .from(Peer::unix(0, 0, None))
        .body(r#"{"nodes": ["r1n01", "r1n02"], "operation": "soft power off"}"#)
        .send_to_real(&Policy::default(), &rack);
    let body = started.json();
    let id = body["id"].as_str().expect("an id");
    let somebody = on_unix(Some((Role::Operator, Reach::Here))).expect("somebody");
    let suspend = |body: &str| {
        request(&format!("POST /v1/batches/{id}/suspend"))
            .from(somebody.peer.clone())
            .body(body)
            .send_to_real(&somebody.policy, &rack)
            .status()
    };
    assert_eq!(suspend("{}"), 403);
    assert_eq!(suspend(r#"{"nodes": ["r1n02"]}"#), 403);
    assert_eq!(
        suspend(&json!({ "nodes": [SECOND.to_uppercase()] }).to_string()),
        403
    );
    assert_eq!(suspend(r#"{"nodes": ["r1n03"]}"#), 404);
    assert_eq!(
        suspend(&json!({ "nodes": [UUID.to_uppercase()] }).to_string()),
        200
    );
}
