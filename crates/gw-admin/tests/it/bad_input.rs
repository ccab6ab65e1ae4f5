//! Whatever is sent: 4xx, in JSON, and nothing changed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Admin, FORM, JSON, jwk};

/// One entity of each kind.
async fn filled() -> Admin {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    admin
        .make("/services/s/routes", json!({ "name": "r", "paths": ["/"] }))
        .await;
    admin.make("/consumers", json!({ "username": "c" })).await;
    admin.make("/consumers/c/key-auth", json!({ "key": "k" })).await;
    admin
        .make(
            "/routes/r/plugins",
            json!({ "name": "key-auth", "instance_name": "p" }),
        )
        .await;
    admin.make("/upstreams", json!({ "name": "u" })).await;
    admin
        .make("/upstreams/u/targets", json!({ "target": "a:1" }))
        .await;
    admin
        .make("/vaults", json!({ "prefix": "v1", "name": "env" }))
        .await;
    admin.make("/key-sets", json!({ "name": "set" })).await;
    let key = json!({ "name": "key", "kid": "1", "jwk": jwk("1") });
    admin.make("/key-sets/set/keys", key).await;
    let chain = json!({ "name": "f", "filters": [{ "name": "a" }] });
    admin.make("/routes/r/filter-chains", chain).await;
    admin
}

const ONES: [&str; 11] = [
    "/services/s",
    "/routes/r",
    "/consumers/c",
    "/key-auths/k",
    "/plugins/p",
    "/upstreams/u",
    "/upstreams/u/targets/a:1",
    "/vaults/v1",
    "/key-sets/set",
    "/keys/key",
    "/filter-chains/f",
];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |below| {
        prop_oneof![
            prop::collection::vec(below.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_.~/]{0,6}", below, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Sends, and holds the answer to what every answer must be.
fn send(
    runtime: &Runtime,
    admin: &Admin,
    method: &str,
    path: &str,
    media: &str,
    body: Bytes,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if !media.is_empty() {
        request = request.header("content-type", media);
    }
    let before = admin.revision();
    let (head, body) = runtime.block_on(admin.raw(request.body(Full::from(body)).unwrap()));
    let status = head.status().as_u16();
    let answer: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    assert!(status < 500, "{method} {path}: {answer}");
    if status >= 400 {
        assert_eq!(
            admin.revision(),
            before,
            "refused, and yet changed: {method} {path}: {answer}"
        );
        assert!(
            method == "HEAD" || answer["message"].is_string(),
            "{method} {path}: {answer}"
        );
    }
    (status, answer)
}

#[test]
fn random_bytes() {
    let runtime = runtime();
    let admin = runtime.block_on(filled());
    let bytes = prop::collection::vec(any::<u8>(), 1..200);
    let formish = "[a-c=&.%\\[\\]0-2{]{1,60}".prop_map(String::into_bytes);
    let media = prop::sample::select(vec![
        "",
        JSON,
        FORM,
        "text/plain",
        "multipart/form-data; boundary=a",
    ]);
    let method = prop::sample::select(vec!["POST", "PUT", "PATCH"]);
    let body = prop_oneof![bytes, formish];
    let result = runner(600).run(
        &(body, media, method, 0..ONES.len()),
        |(body, media, method, one)| {
            let path = if method == "POST" { "/services" } else { ONES[one] };
            // Note: a form of separators is an empty one, which a change by name may well be.
            let says_nothing = media == FORM && body.iter().all(|byte| *byte == b'&');
            let (status, answer) = send(&runtime, &admin, method, path, media, body.into());
            prop_assert!((400..500).contains(&status) || says_nothing, "{status} {answer}");
            Ok(())
        },
    );
    result.unwrap();
}

#[test]
fn random_paths_and_queries() {
    let runtime = runtime();
    let admin = runtime.block_on(filled());
    let segment = prop_oneof![
        "[a-z%0-9A-F.~-]{0,8}",
        prop::sample::select(vec![
            "services",
            "routes",
            "s",
            "r",
            "plugins",
            "upstreams",
            "targets",
            "u",
            "all",
            "enabled"
        ])
        .prop_map(str::to_owned),
    ];
    let path = prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")));
    let query = "(size|offset|tags|custom_id|x)=[a-zA-Z0-9%,/_-]{0,12}(&tags=[a,/]{0,3})?";
    let method = prop::sample::select(vec![
        "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW",
    ]);
    let result = runner(1500).run(&(path, query, method), |(path, query, method)| {
        let uri = format!("{path}?{query}");
        if uri.parse::<http::Uri>().is_ok() {
            let body = if method == "DELETE" {
                return Ok(());
            } else {
                Bytes::new()
            };
            send(&runtime, &admin, method, &uri, "", body);
        }
        Ok(())
    });
    result.unwrap();
}

/// Every field of every kind, given something of another type than it has.
#[test]
fn wrong_types_for_each_field() {
    let runtime = runtime();
    let admin = runtime.block_on(filled());
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!([]),
        json!([[]]),
        json!([null]),
        json!({}),
        json!({ "id": 1 }),
        json!({ "id": null, "name": {} }),
        json!({ "a": { "b": [{}] } }),
        json!(u64::MAX),
        json!("x".repeat(3000)),
    ];
    for one in ONES {
        let document = runtime.block_on(admin.get(one)).1;
        for field in document.as_object().unwrap().keys() {
            for value in &wrong {
                for method in ["PATCH", "PUT"] {
                    // From the same start each time: what is accepted is undone.
                    let mut body = if method == "PUT" {
                        document.clone()
                    } else {
                        json!({})
                    };
                    body[field] = value.clone();
                    let text = body.to_string();
                    let (status, answer) = send(&runtime, &admin, method, one, JSON, text.clone().into());
                    if status >= 400 {
                        assert!(
                            [2, 4, 5, 13].contains(&answer["code"].as_u64().unwrap()),
                            "{text}: {answer}"
                        );
                    } else {
                        let path = format!(
                            "{}/{}",
                            one.rsplit_once('/').unwrap().0,
                            document["id"].as_str().unwrap()
                        );
                        let (status, answer) =
                            send(&runtime, &admin, "PUT", &path, JSON, document.to_string().into());
                        assert_eq!(status, 200, "{one} {field} {value}: {answer}");
                    }
                }
            }
        }
    }
}

#[test]
fn any_json_for_any_field() {
    let runtime = runtime();
    let admin = runtime.block_on(filled());
    let documents: Vec<Value> = ONES
        .iter()
        .map(|one| runtime.block_on(admin.get(one)).1)
        .collect();
    let result = runner(600).run(
        &(0..ONES.len(), any::<prop::sample::Index>(), any_json()),
        |(one, field, value)| {
            let document = documents[one].as_object().unwrap();
            let field = document.keys().nth(field.index(document.len())).unwrap();
            let mut body = document.clone();
            body.insert(field.clone(), value);
            let path = format!(
                "{}/{}",
                ONES[one].rsplit_once('/').unwrap().0,
                documents[one]["id"].as_str().unwrap()
            );
            let (status, _) = send(
                &runtime,
                &admin,
                "PUT",
                &path,
                JSON,
                json!(body).to_string().into(),
            );
            if status < 400 {
                let (status, answer) = send(
                    &runtime,
                    &admin,
                    "PUT",
                    &path,
                    JSON,
                    documents[one].to_string().into(),
                );
                prop_assert_eq!(status, 200, "{}", answer);
            }
            Ok(())
        },
    );
    result.unwrap();
}

/// What is about the configuration as a whole, its past, the nodes, and what would be. `{}` is any word.
const CONTROL: [(&str, &str); 20] = [
    ("GET", "/config"),
    ("POST", "/config"),
    ("GET", "/config/history"),
    ("GET", "/config/at/{}"),
    ("GET", "/config/diff"),
    ("POST", "/config/rollback"),
    ("POST", "/config/transaction"),
    ("GET", "/config/tags"),
    ("GET", "/config/tags/{}"),
    ("PUT", "/config/tags/{}"),
    ("DELETE", "/config/tags/{}"),
    ("GET", "/config/reseal"),
    ("POST", "/config/reseal"),
    ("GET", "/cluster"),
    ("POST", "/cluster/accept"),
    ("GET", "/problems"),
    ("POST", "/explain"),
    ("POST", "/services"),
    ("PATCH", "/routes/r"),
    ("DELETE", "/upstreams/u"),
];

/// A value for something that is told by a number, a word or nothing sensible.
fn any_word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "0",
        "1",
        "2",
        "head",
        "known-good",
        "cluster",
        "node",
        "true",
        "",
        "-1",
        "1e9",
        "0.01",
        "99999999999999999999",
    ]);
    prop_oneof![2 => known.prop_map(str::to_owned), 1 => "[a-zA-Z0-9%._~-]{0,12}"]
}

/// What is right to send there, but for a word that may be wrong.
fn order(path: &str, word: &str) -> Value {
    let service = json!({ "name": word, "host": "a" });
    match path {
        "/config" => json!({ "_format_version": "3.0", "services": [service] }),
        "/config/rollback" => json!({ "to": word, "message": "back" }),
        "/config/transaction" => json!({ "message": "two", "operations": [
            { "method": "POST", "path": "/services", "body": service },
            { "method": "PATCH", "path": format!("/services/{word}"), "body": { "port": 81 }, "if_match": "*" },
        ] }),
        "/config/tags/{}" => json!({ "revision": word }),
        "/explain" => json!({ "url": format!("http://a.test/{word}"), "method": "GET" }),
        "/services" => service,
        "/routes/r" => json!({ "tags": [word] }),
        _ => json!({}),
    }
}

/// The document with something else in the place of one of its values, however deep.
fn twisted(mut document: Value, at: &prop::sample::Index, with: Value) -> Value {
    fn places(value: &Value, pointer: &str, all: &mut Vec<String>) {
        all.push(pointer.to_owned());
        match value {
            Value::Object(fields) => fields
                .iter()
                .for_each(|(name, below)| places(below, &format!("{pointer}/{name}"), all)),
            Value::Array(items) => (0..)
                .zip(items)
                .for_each(|(n, below): (usize, _)| places(below, &format!("{pointer}/{n}"), all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    places(&document, "", &mut all);
    if let Some(place) = document.pointer_mut(&all[at.index(all.len())]) {
        *place = with;
    }
    document
}

#[test]
fn anything_for_what_is_about_the_whole() {
    let runtime = runtime();
    let admin = runtime.block_on(filled());
    let argument = prop_oneof![
        3 => prop::sample::select(vec!["dry_run=1", "wait=cluster", "timeout=1", "allow_mass_delete=1", "size=2", "from=1"])
            .prop_map(str::to_owned),
        1 => (
            prop::sample::select(vec![
                "dry_run", "wait", "timeout", "allow_mass_delete", "from", "to", "size", "before", "diff", "check_hash",
                "flatten_errors", "replace_everything", "unknown",
            ]),
            any_word(),
        )
            .prop_map(|(name, value)| format!("{name}={value}")),
    ];
    let query = prop::collection::vec(argument, 0..3);
    let media = prop_oneof![
        8 => Just(JSON),
        1 => prop::sample::select(vec![FORM, "application/yaml", "text/plain", ""]),
    ];
    let twist = prop::option::of((any::<prop::sample::Index>(), any_json()));
    let inputs = ((0..CONTROL.len(), any_word(), any_word()), query, twist, media);
    let reached = RefCell::new(BTreeSet::new());
    let result = runner(2500).run(&inputs, |((call, name, word), query, twist, media)| {
        let (method, path) = CONTROL[call];
        let uri = format!("{}?{}", path.replace("{}", &name), query.join("&"));
        if uri.parse::<http::Uri>().is_err() {
            return Ok(());
        }
        let body = match twist {
            Some((at, with)) => twisted(order(path, &word), &at, with),
            None => order(path, &word),
        };
        let said = query.iter().find(|one| one.starts_with("dry_run="));
        let rehearsed = said.is_some_and(|said| said == "dry_run=1" || said == "dry_run=true");
        let before = admin.revision();
        let (status, answer) = send(&runtime, &admin, method, &uri, media, body.to_string().into());
        prop_assert!(
            !rehearsed || admin.revision() == before,
            "{method} {uri}: {answer}"
        );
        reached.borrow_mut().insert((method, path, status / 100));
        if status >= 400 {
            let message = answer["message"].as_str().unwrap_or_default();
            prop_assert!(message.len() > 4, "{method} {uri}: {answer}");
            // Each place is told with what is wrong there.
            for violation in answer["violations"].as_array().into_iter().flatten() {
                let told = |field: &str| violation[field].as_str().map(str::len);
                prop_assert!(
                    told("pointer").is_some() && told("message") > Some(0),
                    "{method} {uri}: {answer}"
                );
            }
        }
        Ok(())
    });
    result.unwrap();
    // Nor is everything refused before it is looked at.
    for (method, path) in CONTROL {
        assert!(reached.borrow().contains(&(method, path, 2)), "{method} {path}");
    }
}

#[test]
fn nesting_and_length_beyond_reason() {
    let runtime = runtime();
    let admin = runtime.block_on(filled());
    let deep_json = format!("{{\"config\":{}1{}}}", "{\"a\":".repeat(120), "}".repeat(120));
    let deeper = format!("{{\"config\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_form = format!("config{}=1", ".a".repeat(5000));
    let brackets = format!("config{}=1", "[1]".repeat(5000));
    let long_name = format!("{{\"{}\":1}}", "n".repeat(1_000_000));
    for (media, body) in [
        (JSON, deep_json),
        (JSON, deeper),
        (FORM, deep_form),
        (FORM, brackets),
        (JSON, long_name),
    ] {
        for (method, path) in [
            ("PATCH", "/plugins/p"),
            ("POST", "/services"),
            ("PUT", "/routes/r"),
            ("PATCH", "/upstreams/u"),
        ] {
            let (status, answer) = send(&runtime, &admin, method, path, media, body.clone().into());
            assert_eq!(status, 400, "{method} {path}: {answer}");
        }
    }
}
