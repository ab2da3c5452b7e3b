//! What clients should not send, and some do.

use super::*;

fn power(body: &str) -> Exchange {
    request("PUT /v1/nodes/r1n01/states/power")
        .body(body)
        .send()
}

#[test]
fn a_body_without_a_usable_target_misses_its_target() {
    for body in [
        "",
        "  \n",
        "{",
        "[]",
        "null",
        "42",
        "\"power on\"",
        "{}",
        "nonsense",
        "{\"target\": null}",
        "{\"target\": \"power on\"",
        "\u{0}",
    ] {
        let exchange = power(body);
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{body:?}"
        );
        assert!(
            exchange
                .complaint()
                .starts_with("Missing mandatory parameter: target"),
            "{body:?}: {}",
            exchange.complaint()
        );
    }
    for body in [
        r#"{"target": 1}"#,
        r#"{"target": ["power on"]}"#,
        r#"{"target": true}"#,
    ] {
        let exchange = power(body);
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{body}"
        );
    }
}

#[test]
fn an_unknown_or_doubled_member_is_refused() {
    for body in [
        r#"{"target": "power on", "colour": "red"}"#,
        r#"{"target": "power on", "target": "power off"}"#,
        r#"{"target": "power on"} {"target": "power off"}"#,
        r#"{"target": "power on"}x"#,
    ] {
        let exchange = power(body);
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{body}"
        );
    }
}

#[test]
fn a_list_is_no_object_though_serde_would_take_it() {
    for (line, body) in [
        (
            "POST /v1/tasks",
            r#"["r1n01", "power on", null, null, null, null]"#,
        ),
        ("POST /v1/release", "[]"),
        ("PUT /v1/nodes/r1n01/maintenance", r#"["fans"]"#),
    ] {
        let exchange = request(line).body(body).send();
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{line}"
        );
    }
}

#[test]
fn case_and_blanks_of_a_target_matter() {
    for target in [
        "Power On",
        "power  on",
        " power on",
        "power on ",
        "reboot",
        "on",
        "sleep",
        "",
    ] {
        let exchange = power(&format!(r#"{{"target": "{target}"}}"#));
        assert_eq!(exchange.status(), 400, "{target}");
        assert!(
            !exchange
                .calls
                .iter()
                .any(|call| matches!(call, Call::SetPower { .. })),
            "{target}"
        );
    }
}

#[test]
fn neither_a_query_nor_a_form_switches_a_machine() {
    let query = request("PUT /v1/nodes/r1n01/states/power?target=power%20on").send();
    assert_eq!((query.status(), query.calls.len()), (400, 0));
    let both = request("PUT /v1/nodes/r1n01/states/power?target=power%20off")
        .body(r#"{"target": "power on"}"#)
        .send();
    assert_eq!((both.status(), both.calls.len()), (400, 0));
    for media_type in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data",
        "application/xml",
    ] {
        let form = request("PUT /v1/nodes/r1n01/states/power")
            .body("target=power%20on")
            .header("content-type", media_type);
        let form = form.send();
        assert_eq!((form.status(), form.calls.len()), (415, 0), "{media_type}");
    }
    for media_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.x+json",
    ] {
        let put = request("PUT /v1/nodes/r1n01/states/power").body(r#"{"target": "power on"}"#);
        assert_eq!(
            put.header("content-type", media_type).send().status(),
            202,
            "{media_type}"
        );
    }
}

#[test]
fn json_ten_thousand_deep_is_refused_in_the_bare_form() {
    let deep = format!(
        "{{\"target\": {}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let exchange = power(&deep);
    assert_eq!((exchange.status(), exchange.calls.len()), (400, 0));
    assert!(exchange.json().get("faultstring").is_some());
    let exchange = request("POST /v1/tasks").body(&deep).send();
    assert_eq!((exchange.status(), exchange.calls.len()), (400, 0));
}

#[test]
fn paths_that_are_not_there() {
    for path in [
        "/v1/nodes//states",
        "//v1/nodes",
        "/v1//nodes",
        "/v2",
        "/v1/nodes/r1n01/states/power/now",
        "/v1/nodes/r1n01/nosuch",
        "/v1/tasks/x/y/z",
        "/%2e%2e/etc/passwd",
        "/v1/nodes/r1n01/states/provision",
    ] {
        let exchange = request(&format!("GET {path}")).send();
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (404, 0),
            "{path}"
        );
    }
    insta::assert_snapshot!(request("GET /v1/nosuch").send().transcript(), @r####"
404 Not Found
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.31

{"error_message":"{\"code\":404,\"title\":\"Not Found\",\"description\":\"The resource could not be found.\"}"}
"####);
    insta::assert_snapshot!(request("GET /nosuch").send().transcript(), @r####"
404 Not Found
content-type: application/json
openstack-request-id: req-0
x-openstack-request-id: req-0

{"error":{"kind":"not_found","message":"The resource could not be found.","node":null,"task":null,"detail":null}}
"####);
}

#[test]
fn names_that_no_text_can_be() {
    for path in [
        "/v1/nodes/%00",
        "/v1/nodes/r1n01%00",
        "/v1/nodes/%ff",
        "/v1/nodes/%zz/states",
        "/v1/nodes/%",
    ] {
        let exchange = request(&format!("GET {path}")).send();
        assert_eq!(
            (exchange.status(), exchange.calls.len()),
            (400, 0),
            "{path}"
        );
    }
    assert_eq!(request("GET /v1/nodes?limit=%ff").send().status(), 400);
    let strange = request("GET /v1/nodes/..%2f..%2fetc").send();
    assert_eq!(
        (strange.status(), strange.complaint()),
        (404, "Node ../../etc could not be found.".into())
    );
}

#[test]
fn a_path_of_100_kb_is_not_even_looked_up() {
    let long = format!("GET /v1/nodes/{}", "x".repeat(100_000));
    let exchange = request(&long).send();
    assert_eq!((exchange.status(), exchange.calls.len()), (414, 0));
}

#[test]
fn a_method_that_is_not_there_names_those_that_are() {
    let exchange = request("DELETE /v1/nodes/r1n01/states/power").send();
    insta::assert_snapshot!(exchange.transcript(), @r####"
405 Method Not Allowed
content-type: application/json
allow: PUT
openstack-request-id: req-0
x-openstack-request-id: req-0
x-openstack-ironic-api-minimum-version: 1.1
x-openstack-ironic-api-maximum-version: 1.31
x-openstack-ironic-api-version: 1.31

{"error_message":"{\"code\":405,\"title\":\"Method Not Allowed\",\"description\":\"The method DELETE is not allowed for this resource.\"}"}
"####);
    for line in [
        "POST /v1",
        "PUT /v1/nodes",
        "OPTIONS /v1/nodes",
        "TRACE /",
        "POST /healthz",
        "PUT /v1/tasks",
        "BREW /v1/nodes",
    ] {
        assert_eq!(request(line).send().status(), 405, "{line}");
    }
    assert_eq!(request("HEAD /v1/nodes").send().status(), 200);
}

#[test]
fn only_json_is_spoken() {
    for (accept, status) in [
        ("text/html", 406),
        ("image/png, text/html;q=0.9", 406),
        ("*/*", 200),
        ("application/json", 200),
        ("text/html, application/json;q=0.1", 200),
        ("application/*", 200),
        ("", 200),
    ] {
        let exchange = request("GET /v1/nodes").header("accept", accept).send();
        assert_eq!(exchange.status(), status, "{accept}");
    }
}

#[test]
fn an_id_of_the_request_is_on_every_answer() {
    for line in [
        "GET /v1/nodes",
        "GET /v1/nodes/nosuch",
        "GET /nosuch",
        "GET /v1/tasks",
        "PUT /v1",
        "GET /v1/nodes/%00",
    ] {
        let exchange = request(line).send();
        assert_eq!(
            exchange.header("openstack-request-id"),
            Some("req-0"),
            "{line}"
        );
        assert_eq!(
            exchange.header("x-openstack-request-id"),
            Some("req-0"),
            "{line}"
        );
    }
}

#[test]
fn every_body_ends_with_a_newline_and_is_pretty_when_asked() {
    for line in [
        "GET /v1/nodes",
        "GET /v1/nodes/nosuch",
        "GET /v1/tasks/nosuch",
        "GET /healthz",
    ] {
        let plain = request(line).send();
        assert!(
            plain.text().ends_with('\n') && plain.text().lines().count() == 1,
            "{line}"
        );
    }
    let pretty = request("GET /healthz")
        .header("accept", "application/json; indent=2")
        .send();
    assert!(pretty.text().lines().count() > 5 && pretty.text().ends_with("}\n"));
}

#[test]
fn a_host_that_is_no_host_does_not_get_into_links() {
    for host in ["", "a b", "x\"y", "x/y", "x<y>"] {
        let body = request("GET /v1/nodes").header("host", host).send().json();
        assert_eq!(
            body["nodes"][0]["links"][0]["href"],
            format!("http://localhost/v1/nodes/{UUID}"),
            "{host}"
        );
    }
}

#[test]
fn a_reason_is_short_and_moves_no_cursor() {
    let long = "x".repeat(501);
    for reason in [
        "two\nlines",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "turned \u{202e}round",
        &long,
    ] {
        let body = serde_json::json!({ "reason": reason }).to_string();
        for line in ["POST /v1/pause", "PUT /v1/nodes/r1n01/maintenance"] {
            let refused = request(line).body(&body).send();
            assert_eq!(refused.status(), 400, "{line}: {reason:?}");
            assert!(refused.calls.is_empty());
        }
    }
    let fine = serde_json::json!({ "reason": "Lüfter 風扇 é" }).to_string();
    assert_eq!(request("POST /v1/pause").body(&fine).send().status(), 200);
}
