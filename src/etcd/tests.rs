//! Judged by a real etcd: what it was asked and what it answered is in `tests/vectors/etcd`.

use super::*;
use serde_json::Value;
use std::cell::Cell;

/// One request that a real etcd was asked, and its answer.
struct Asked {
    body: String,
    status: u16,
    answer: String,
}

/// Versions, and what each has answered.
const RECORDED: [(&str, &str); 2] = [
    (
        "3.4.23",
        include_str!("../../tests/vectors/etcd/3.4.23.txt"),
    ),
    (
        "3.5.30",
        include_str!("../../tests/vectors/etcd/3.5.30.txt"),
    ),
];

thread_local! {
    static AT: Cell<(&'static str, &'static str)> = const { Cell::new(RECORDED[0]) };
}

/// The same holds for each of these versions.
fn at_each(test: impl Fn()) {
    for of_version in RECORDED {
        AT.set(of_version);
        test();
    }
}

fn asked(name: &str) -> Asked {
    let (_, recorded) = AT.get();
    let (_, rest) = recorded
        .split_once(&format!("# {name}\n"))
        .expect("it was asked that");
    let mut lines = rest.lines();
    let _target = lines.next().unwrap();
    let body = lines.next().unwrap().to_owned();
    let status = lines.next().unwrap().parse().unwrap();
    let answer: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    Asked {
        body,
        status,
        answer: answer.join("\n"),
    }
}

/// What etcd said to that request, which is the one that it was asked.
fn said(name: &str, request: &Request) -> Result<Answer, Trouble> {
    let asked = asked(name);
    let ours: Value = serde_json::from_str(&request.body()).unwrap();
    let recorded: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(ours, recorded, "{name}");
    request.read(asked.status, &asked.answer)
}

fn key(of: &str) -> String {
    format!("/rackbmc/1/racks/r1/{of}")
}

fn range(of: &str) -> Request {
    Request::Range(Span::Key(key(of)))
}

fn put(of: &str, value: &str) -> Op {
    Op::Put(key(of), value.into())
}

fn get(of: &str) -> Op {
    Op::Range(Span::Key(key(of)))
}

fn claim() -> Request {
    Request::Txn(Txn {
        compare: vec![
            Compare::Revision(key("own"), 0),
            Compare::Revision(key("beat"), 0),
        ],
        success: vec![
            put("own", "A"),
            put("beat", "1"),
            get("head"),
            Op::Range(Span::Prefix(key("j/"))),
        ],
        failure: vec![get("own"), get("beat")],
    })
}

fn commit(last: Compare, ticket: &str) -> Request {
    Request::Txn(Txn {
        compare: vec![
            Compare::Revision(key("own"), 2),
            Compare::Value(key("own"), b"A".to_vec()),
            last,
        ],
        success: vec![
            put("head", ticket),
            put("beat", ticket),
            put("j/tasks/1", "{}"),
            Op::Delete(key("j/tasks/2")),
        ],
        failure: vec![get("own"), get("head")],
    })
}

fn of_txn(answer: Result<Answer, Trouble>) -> (Revision, bool, Vec<Vec<(String, Revision)>>) {
    let Ok(Answer::Txn {
        header,
        succeeded,
        found,
    }) = answer
    else {
        panic!("no transaction: {answer:?}");
    };
    assert_ne!((header.cluster, header.member), (0, 0));
    let short = |entry: Entry| (String::from_utf8(entry.value).unwrap(), entry.revision);
    let found = found.into_iter();
    let found = found.map(|entries| entries.into_iter().map(short).collect());
    (header.revision, succeeded, found.collect())
}

#[test]
fn a_claim_is_made_once() {
    at_each(|| {
        let first = of_txn(said("claimed", &claim()));
        assert_eq!(first, (2, true, vec![vec![], vec![]]));
        let second = of_txn(said("claimed by another", &claim()));
        let found = vec![vec![("A".to_owned(), 2)], vec![("1".to_owned(), 2)]];
        assert_eq!(second, (2, false, found));
    });
}

#[test]
fn a_commit_is_carried_out_once_and_in_its_order() {
    at_each(|| {
        let first = commit(Compare::Revision(key("head"), 0), "1");
        assert_eq!(of_txn(said("first commit", &first)), (3, true, vec![]));
        let found = vec![vec![("A".to_owned(), 2)], vec![("1".to_owned(), 3)]];
        assert_eq!(
            of_txn(said("the same again", &first)),
            (3, false, found),
            "it tells whose the rack is, and that it was there already"
        );
        let second = commit(Compare::Value(key("head"), b"1".to_vec()), "2");
        assert_eq!(of_txn(said("second commit", &second)), (4, true, vec![]));
    });
}

#[test]
fn a_key_that_is_not_there_has_no_value() {
    at_each(|| {
        let nobody = Request::Txn(Txn {
            compare: vec![Compare::Value(key("none"), b"x".to_vec())],
            success: vec![],
            failure: vec![get("none")],
        });
        let told = of_txn(said("a value that is not there", &nobody));
        assert_eq!(told, (4, false, vec![vec![]]));
    });
}

#[test]
fn what_is_read_comes_with_the_revision_of_its_last_change() {
    at_each(|| {
        let Ok(Answer::Range { header, found }) = said("one key", &range("own")) else {
            panic!("no range");
        };
        assert_eq!(header.revision, 4);
        let own = Entry {
            key: key("own"),
            value: b"A".to_vec(),
            revision: 2,
        };
        assert_eq!(found, [own]);
        let all = Request::Range(Span::Prefix(key("")));
        let Ok(Answer::Range { found, .. }) = said("nothing there", &all) else {
            panic!("no range");
        };
        assert_eq!(found, []);
    });
}

#[test]
fn a_member_says_what_it_is() {
    at_each(|| {
        let asked = asked("version");
        let version = Request::Version.read(asked.status, &asked.answer);
        assert_eq!(version, Ok(Answer::Version(AT.get().0.to_owned())));
        let Ok(Answer::Status { status, .. }) = said("status", &Request::Status) else {
            panic!("no status");
        };
        assert_eq!(status.version, AT.get().0);
        assert!(status.leader != 0 && status.size > 0 && status.in_use > 0);
        let Ok(Answer::Status { status, .. }) = said("status without space", &Request::Status)
        else {
            panic!("no status");
        };
        assert!(status.errors[0].contains("NOSPACE"), "{status:?}");
    });
}

#[test]
fn a_refusal_is_told_by_its_code() {
    at_each(|| {
        let (own, none) = (range("own"), Request::Txn(Txn::default()));
        let beat = |value| {
            Request::Txn(Txn {
                success: vec![put("beat", value)],
                ..Txn::default()
            })
        };
        type Kind = fn(String) -> Trouble;
        let expected: [(&str, &Request, Kind, bool); 9] = [
            ("no space", &beat("2"), Trouble::Full, true),
            ("nobody is logged in", &own, Trouble::LoggedOut, true),
            ("a token that is not valid", &own, Trouble::LoggedOut, true),
            ("many steps", &none, Trouble::Invalid, true),
            ("too large", &none, Trouble::Invalid, true),
            ("not permitted", &own, Trouble::Forbidden, true),
            (
                "no leader, a change",
                &beat("2"),
                Trouble::Unavailable,
                false,
            ),
            ("no leader, a read", &own, Trouble::Unavailable, false),
            ("the gateway is off", &own, Trouble::NoGateway, false),
        ];
        for (name, request, kind, certain) in expected {
            let Asked { status, answer, .. } = asked(name);
            let trouble = request.read(status, &answer).unwrap_err();
            let kind = kind(String::new());
            assert_eq!(trouble.word(), kind.word(), "{name}: {trouble}");
            assert_eq!(trouble.is_refusal(), certain, "{name}: {trouble}");
            assert!(!trouble.to_string().ends_with(": "), "{name}: {trouble}");
        }
    });
}

#[test]
fn who_logs_in_gets_a_token_or_hears_why_not() {
    at_each(|| {
        let user = |password: &str| {
            Request::Authenticate(User {
                name: "rack-r1".to_owned(),
                password: Zeroizing::new(password.to_owned()),
            })
        };
        let Ok(Answer::Authenticated { token, .. }) = said("log in", &user("secret")) else {
            panic!("not logged in");
        };
        assert!(token.len() > 5);
        let wrong = said("wrong password", &user("wrong"));
        assert!(matches!(wrong, Err(Trouble::Forbidden(_))), "{wrong:?}");
        let nobody = said("no users here", &user("secret"));
        assert!(matches!(nobody, Err(Trouble::Other(9, _))), "{nobody:?}");
        assert!(!format!("{:?}", user("secret")).contains("secret"));
    });
}

#[test]
fn a_watch_tells_changes_in_their_order() {
    at_each(|| {
        let Asked { body, answer, .. } = asked("watch");
        let request = Request::Watch(vec![Span::Prefix(key(""))]);
        let (ours, recorded): (Value, Value) = (
            serde_json::from_str(&request.body()).unwrap(),
            serde_json::from_str(&body).unwrap(),
        );
        assert_eq!(ours, recorded);
        let lines: Vec<Watched> = answer.lines().map(|line| watched(line).unwrap()).collect();
        assert!(
            matches!(lines[0], Watched::Begun(header) if header.revision == 4 && header.cluster != 0)
        );
        let Watched::Changes(header, changes) = &lines[2] else {
            panic!("no changes");
        };
        let beat = Entry {
            key: key("beat"),
            value: b"9".to_vec(),
            revision: 6,
        };
        let deleted = Change::Deleted(key("own"), 6);
        assert_eq!(
            (header.revision, &changes[..]),
            (6, &[Change::Put(beat), deleted][..])
        );
    });
}

#[test]
fn one_stream_watches_several_keys() {
    at_each(|| {
        let Asked { body, answer, .. } = asked("watch of two keys");
        let spans = ["own", "beat"].map(|of| Span::Key(key(of)));
        let ours = Request::Watch(spans.to_vec()).body().to_string();
        let lines = |text: &str| -> Vec<Value> {
            let values = serde_json::Deserializer::from_str(text).into_iter();
            values.map(Result::unwrap).collect()
        };
        assert_eq!(lines(&ours), lines(&body));
        let told = answer.lines().map(|line| watched(line).unwrap());
        let changed = told.filter(|line| matches!(line, Watched::Changes(..)));
        assert_eq!(changed.count(), 2);
    });
}

#[test]
fn a_watch_that_ends_says_why() {
    at_each(|| {
        let last = |name| {
            let answer = asked(name).answer;
            watched(answer.lines().last().unwrap())
        };
        let ended = last("watch of what is compacted").unwrap();
        assert!(
            matches!(
                ended,
                Watched::Ended {
                    compacted: Some(_),
                    ..
                }
            ),
            "{ended:?}"
        );
        let refused = last("watch that is not permitted");
        assert!(matches!(refused, Err(Trouble::Forbidden(_))), "{refused:?}");
        // A gateway's own words for a stream that broke, as grpc-gateway 1.x writes them.
        let broken = watched(
            r#"{"error":{"grpc_code":14,"http_code":503,"message":"transport is closing","http_status":"Service Unavailable"}}"#,
        );
        assert!(matches!(broken, Err(Trouble::Unavailable(_))), "{broken:?}");
    });
}

#[test]
fn a_member_tells_its_size_and_quota_among_its_figures() {
    let said = "# HELP etcd_server_quota_backend_bytes Current.\n\
                etcd_server_quota_backend_bytes 2.147483648e+09\netcd_x 1\n\
                etcd_mvcc_db_total_size_in_bytes 5.36870912e+08\n\
                etcd_mvcc_db_total_size_in_use_in_bytes 16384\n";
    let space = |body: &str| Request::Space.read(200, body);
    let known = Space {
        bytes: 1 << 29,
        quota: 1 << 31,
    };
    assert_eq!(space(said), Ok(Answer::Space(known)));
    assert_eq!(known.ratio(), 0.25);
    for less in [
        "etcd_x 1\n".to_owned(),
        said.replace("quota", "other"),
        said.replace("db_total_size_in_bytes", "other"),
        said.replace("2.147483648e+09", "0"),
        said.replace("2.147483648e+09", "-1"),
        said.replace("2.147483648e+09", "NaN"),
    ] {
        let read = space(&less);
        assert!(matches!(read, Err(Trouble::Nonsense(_))), "{read:?}");
    }
}

#[test]
fn what_was_not_asked_for_is_no_answer_and_never_an_empty_journal() {
    let own = key("own");
    let reads = Request::Txn(Txn {
        success: vec![Op::Range(Span::Key(own.clone())), put("beat", "1")],
        ..Txn::default()
    });
    let said = |header: &str, first: &str| {
        let body = format!(
            r#"{{"header":{header},"succeeded":true,"responses":[{first},{{"response_put":{{}}}}]}}"#
        );
        reads.read(200, &body)
    };
    let of = |key: &str, more: &str| {
        let key = crate::base64::encode(key.as_bytes());
        format!(r#"{{"response_range":{{"kvs":[{{"key":"{key}","mod_revision":"3"}}]{more}}}}}"#)
    };
    let cluster = r#"{"cluster_id":"7","revision":"4"}"#;
    assert!(said(cluster, &of(&own, "")).is_ok());
    assert!(said(cluster, r#"{"response_range":{}}"#).is_ok());
    for (header, first) in [
        (cluster, r#"{"response_put":{}}"#.to_owned()),
        (cluster, "{}".to_owned()),
        (cluster, of(&own, r#","more":true"#)),
        (cluster, of(&key("owner"), "")),
        ("{}", of(&own, "")),
        (r#"{"cluster_id":"0"}"#, of(&own, "")),
        (r#"{"cluster_id":"-7"}"#, of(&own, "")),
    ] {
        let read = said(header, &first);
        assert!(
            matches!(read, Err(Trouble::Nonsense(_))),
            "{header} {first}: {read:?}"
        );
    }
}

#[test]
fn what_etcd_says_is_told_in_few_words() {
    let long = "x\u{1b}[2J".repeat(1000);
    let refused = serde_json::json!({ "error": long, "code": 7 }).to_string();
    for (status, body) in [(403, refused), (200, format!("<html>{long}"))] {
        let said = claim().read(status, &body).unwrap_err().to_string();
        assert!(said.len() < 400, "{} letters", said.len());
        assert!(!said.contains(char::is_control), "{said:?}");
    }
}

#[test]
fn what_is_no_answer_of_etcd_never_passes_for_one() {
    let txn = claim();
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"header":{},"succeeded":true}"#,
        r#"{"header":{},"succeeded":true,"responses":[{},{},{"response_range":{"kvs":[{"key":"!"}]}},{}]}"#,
        "<html>It works!</html>",
    ] {
        let read = txn.read(200, body);
        assert!(
            matches!(read, Err(Trouble::Nonsense(_))),
            "{body}: {read:?}"
        );
    }
    // As etcd's gateway says it, in plain text (3.5.30).
    let named = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
    let named = txn.read(400, named).unwrap_err();
    assert!(
        matches!(&named, Trouble::Invalid(why) if why.contains("CommonName")),
        "{named:?}"
    );
    let proxy = txn.read(502, "<html>Bad Gateway</html>").unwrap_err();
    assert!(matches!(proxy, Trouble::Unavailable(_)), "{proxy:?}");
}
