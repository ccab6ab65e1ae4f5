//! What is refused: everything that is wrong at once, each with its place.

use serde_json::{Value, json};

use crate::declarative::{YAML, fixture, load};
use crate::support::{ABSENT, Admin, JSON, assert_holds};

async fn refused(admin: &Admin, call: &str, text: &str) -> Value {
    let before = admin.revision();
    let (status, answer) = admin.send(call, YAML, text).await;
    assert_eq!((status, admin.revision()), (400, before), "{text}: {answer:#}");
    assert_eq!(
        (&answer["code"], &answer["name"]),
        (&json!(14), &json!("invalid declarative configuration"))
    );
    answer
}

#[tokio::test]
async fn everything_is_told_with_its_place() {
    let admin = Admin::new().await;
    let answer = refused(&admin, "POST /config", &fixture("wrong.yml")).await;
    let told: Vec<String> = answer["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| {
            let text = |field: &str| v[field].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} | {} | {}",
                v["line"],
                text("path"),
                text("message"),
                text("hint")
            )
        })
        .collect();
    let nothing = "'nothing' is no plugin of Kong's, and not here; do by other plugins what it does, or write it anew \
                   (docs/writing-plugins.md); with --unknown-plugins=ignore the rest runs without it";
    let nothing = format!(
        "20 services[1].plugins[0].name | plugin 'nothing' not enabled; add it to the 'plugins' configuration property | {nothing}"
    );
    let expected = [
        "2 _tranform | unknown field | did you mean `_transform`?",
        "3 servces | unknown field | did you mean `services`?",
        "4 oauth2_tokens | 'oauth2_tokens' come with the plugin 'oauth2', which is not here | -",
        "7 services[0].host | required field missing | -",
        "8 services[0].hots | unknown field | did you mean `host`?",
        "9 services[0].routs | unknown field | did you mean `routes`?",
        "12 services[0].routes[0].paths[1] | should start with: / (fixed path) or ~/ (regex path) | -",
        "13 services[0].routes[0].tags[0] | expected a string | this is an integer; put it in quotes",
        "14 services[0].routes[1].paths | expected an array | this is a string",
        "15 services[0].routes[2] | expected a record | -",
        "16 services[1].name | uniqueness violation: 'services' entity with name set to 'a' already declared | -",
        "18 services[1].port | value should be between 0 and 65535 | -",
        &*nothing,
        "23 services[1].plugins[1].config.key_nams | unknown field | did you mean `key_names`?",
        "27 routes[0].service | invalid reference 'service: ab' (no such entry in 'services') | did you mean `a`?",
        "30 consumers[0].oauth2_credentials | 'oauth2_credentials' come with the plugin 'oauth2', which is not here | -",
        "32 consumers[0].groups[0].consumer_group | invalid reference 'consumer_group: {\"name\":\"gold\"}' (no such entry in 'consumer_groups') | -",
        "32 consumers[0].groups[0].tags | unknown field; here 'consumer_groups' are only named | -",
        "33 upstreams | expected an array | -",
    ];
    assert_eq!(told, expected, "{told:#?}");
    let fields = &answer["fields"];
    let service = json!({
        "host": "required field missing", "hots": "unknown field", "routs": "unknown field",
        "routes": [
            { "paths": [null, "should start with: / (fixed path) or ~/ (regex path)"], "tags": ["expected a string"] },
            { "paths": "expected an array" },
            "expected a record",
        ],
    });
    assert_holds(&fields["services"][0], &service, "fields");
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("declarative config is invalid: {_tranform=\"unknown field\","),
        "{message}"
    );
}

#[tokio::test]
async fn errors_are_flattened_on_demand() {
    let admin = Admin::new().await;
    let text = format!(
        "
_format_version: '3.0'
nonsense: 1
services:
- id: {ABSENT}
  name: s
  tags: [t]
  host: a
  protocol: udp
  path: /x
  routes:
  - name: r
    id: 10000000-0000-4000-8000-000000000000
    methods: [get]
    paths: [/]
consumers:
- username: c
  nope: 1
"
    );
    let answer = refused(&admin, "POST /config?flatten_errors=1", &text).await;
    assert_eq!(answer["fields"], json!({ "nonsense": "unknown field" }));
    let expected = json!([
        {
            "entity_type": "consumer", "entity_name": "c", "entity": { "username": "c", "nope": 1 },
            "errors": [{ "type": "field", "field": "nope", "message": "unknown field" }],
        },
        {
            "entity_type": "service", "entity_name": "s", "entity_id": ABSENT, "entity_tags": ["t"],
            "entity": {
                "id": ABSENT, "name": "s", "tags": ["t"], "host": "a", "protocol": "udp", "path": "/x",
            },
            "errors": [
                { "type": "entity", "message": "failed conditional validation given value of field 'protocol'" },
                { "type": "field", "field": "path", "message": "value must be null" },
            ],
        },
        {
            "entity_type": "route", "entity_name": "r", "entity_id": "10000000-0000-4000-8000-000000000000",
            "entity": {
                "name": "r", "id": "10000000-0000-4000-8000-000000000000", "methods": ["get"], "paths": ["/"],
                "service": { "id": ABSENT },
            },
            "errors": [{
                "type": "field", "field": "methods.1", "message": "invalid value: methods are upper-case letters",
            }],
        },
    ]);
    assert_eq!(
        answer["flattened_errors"], expected,
        "{:#}",
        answer["flattened_errors"]
    );
}

#[tokio::test]
async fn what_is_no_configuration() {
    let admin = Admin::new().await;
    for (text, line, message) in [
        ("a: [", 2, "while parsing"),
        ("a: b\n  c: d\n", 2, ""),
        ("- a\n", 1, "expected an object"),
        ("", 1, "there is nothing in it"),
        ("# nothing\n", 2, "there is nothing in it"),
        ("a: *b\n", 1, ""),
        ("a: !Ref b\n", 1, "the tag 'Ref' means nothing here"),
        ("? [a]\n: b\n", 1, "the name of a field is not a text"),
        ("a: &a [*a]\n", 1, "an alias stands inside what it repeats"),
    ] {
        let answer = refused(&admin, "POST /config", text).await;
        let violation = &answer["violations"][0];
        assert_eq!(violation["line"], line, "{text:?}: {answer}");
        assert!(
            violation["message"].as_str().unwrap().contains(message),
            "{text:?}: {answer}"
        );
        let told = answer["fields"]["error"].as_str().unwrap();
        assert!(
            told.starts_with(&format!(
                "failed parsing declarative configuration: line {line}, "
            )),
            "{told}"
        );
    }
    for (media, body) in [
        (JSON, "{}"),
        (JSON, "[]"),
        (JSON, "{\"config\":1}"),
        (JSON, "{\"services\":[]}"),
        ("application/x-www-form-urlencoded", "a=b"),
        ("", ""),
    ] {
        let (status, answer) = admin.send("POST /config", media, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .starts_with("expected a declarative configuration"),
            "{answer}"
        );
    }
    let (status, answer) = admin.send("POST /config", "application/xml", "<a/>").await;
    assert_eq!(status, 415, "{answer}");
    let (status, answer) = admin.send("POST /config", JSON, "{").await;
    assert_eq!(
        (status, &answer["message"]),
        (400, &json!("Cannot parse JSON body"))
    );
}

#[tokio::test]
async fn the_environment_is_not_told() {
    let admin = Admin::new().await;
    let text = "{_format_version: '3.0', services: [{name: s, host: '${{ env \"PATH\" }}'}]}";
    let answer = refused(&admin, "POST /config", text).await;
    let expected = json!([
        { "path": "services[0].host", "message": "the environment's variable 'PATH' is not read for a request" },
    ]);
    assert_holds(&answer["violations"], &expected, "violations");
    assert!(!answer.to_string().contains(&std::env::var("PATH").unwrap()));
}

#[tokio::test]
async fn a_refused_configuration_leaves_the_old_one() {
    let admin = Admin::new().await;
    load(&admin, &fixture("nested.yml")).await;
    let before = admin.get("/config").await;
    refused(&admin, "POST /config", &fixture("wrong.yml")).await;
    assert_eq!(admin.get("/config").await, before);
}

#[tokio::test]
async fn protocols_of_plugins_are_checked_in_the_file() {
    let admin = Admin::new().await;
    let text = "
_format_version: '3.0'
plugins:
- {name: idle, route: r, protocols: [tcp]}
- {name: idle, service: s, protocols: [tcp]}
routes:
- {name: r, service: s, paths: [/]}
services:
- {name: s, host: a}
";
    let answer = refused(&admin, "POST /config", text).await;
    let expected = json!([
        { "line": 4, "path": "plugins[0].protocols", "message": "must match the associated route's protocols" },
        { "line": 5, "path": "plugins[1].protocols" },
    ]);
    assert_holds(&answer["violations"], &expected, "violations");
}

#[tokio::test]
async fn doubles_are_told_in_kongs_words() {
    let admin = Admin::new().await;
    let text = format!(
        "
_format_version: '3.0'
services:
- {{id: {ABSENT}, host: a}}
- {{id: {ABSENT}, host: b}}
- {{name: s, host: a, plugins: [{{name: idle}}, {{name: idle, enabled: false}}]}}
consumers:
- {{username: a, custom_id: '1', keyauth_credentials: [{{key: k}}]}}
- {{username: b, custom_id: '1', keyauth_credentials: [{{key: k}}]}}
upstreams:
- {{name: u, targets: [{{target: 'a:1'}}, {{target: 'a:1', weight: 1}}]}}
"
    );
    let answer = refused(&admin, "POST /config", &text).await;
    let told: Vec<&str> = answer["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["message"].as_str().unwrap())
        .collect();
    let of = |what: &str| format!("uniqueness violation: {what} already declared");
    let has = |what: &str| {
        told.iter()
            .any(|told| told.starts_with("uniqueness violation: ") && told.contains(what))
    };
    assert_eq!(told.len(), 5, "{told:#?}");
    for what in [
        format!("'services' entity with primary key set to '{ABSENT}'"),
        "'consumers' entity with custom_id set to '1'".to_owned(),
        "'keyauth_credentials' entity with key set to 'k'".to_owned(),
    ] {
        assert!(told.contains(&of(&what).as_str()), "{what}: {told:#?}");
    }
    assert!(
        has("'targets' entity with target set to 'a:1'") && has("'plugins' entity with name set to 'idle'")
    );
}
