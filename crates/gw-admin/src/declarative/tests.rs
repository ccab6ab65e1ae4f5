//! Reading without a gateway around it.

use std::time::{Duration, Instant};

use gw_core::{Document, Kind};
use gw_plugins::Registry;
use serde_json::json;

use super::{Configuration, Entry, Refusal, Surroundings, UnknownPlugins, Verdict, Withheld, read, render};

/// An environment of two variables, and one known certificate.
struct Fixed;

impl Surroundings for Fixed {
    fn now(&self) -> u64 {
        1_700_000_000_000
    }

    fn variable(&self, name: &str) -> Result<String, Withheld> {
        match name {
            "DECK_PORT" => Ok("8080".to_owned()),
            "DECK_PEM" => Ok("-----BEGIN X-----\nabc: [\n-----END X-----\n".to_owned()),
            _ => Err(Withheld::Unset),
        }
    }

    fn known(&self, _: Kind, _: &str) -> Option<Document> {
        None
    }
}

fn parse(text: &str) -> Result<Configuration, Refusal> {
    let registry = Registry::builtin();
    read(text, &registry.kinds().unwrap(), &registry, &Fixed)
}

fn faults(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .faults()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_environment_fills_in_values_and_nothing_else() {
    let text = "
_format_version: '3.0'
services:
- name: s
  host: a${{ env 'DECK_PORT' }}
  port: ${{ env \"DECK_PORT\" }}
  connect_timeout: \"${{ env \"DECK_PORT\" | toInt }}\"
  tags: [ \"${{ env \"DECK_PORT\" }}\" ]
consumers:
- username: ${{ env \"DECK_PEM\" }}
";
    let configuration = parse(text).unwrap();
    let service = &configuration
        .entries
        .iter()
        .find(|entry| entry.kind == Kind::Service)
        .unwrap()
        .document;
    let told = [
        &service["host"],
        &service["port"],
        &service["connect_timeout"],
        &service["tags"],
    ];
    assert_eq!(json!(told), json!(["a8080", 8080, 8080, ["8080"]]));
    let consumer = &configuration
        .entries
        .iter()
        .find(|entry| entry.kind == Kind::Consumer)
        .unwrap()
        .document;
    assert_eq!(
        consumer["username"],
        "-----BEGIN X-----\nabc: [\n-----END X-----\n"
    );
    let unset = "_format_version: '3.0'\nservices:\n- host: ${{ env \"NONE\" }}\n";
    assert_eq!(
        faults(unset),
        ["line 3: services[0].host: the environment has no variable 'NONE'"]
    );
}

#[test]
fn times_are_those_of_the_text_or_of_now() {
    let text = "{_format_version: '3.0', services: [{host: a, updated_at: 5}, {host: b}]}";
    let configuration = parse(text).unwrap();
    let [a, b] = configuration.entries.as_slice() else {
        panic!("two services")
    };
    assert_eq!(
        (&a.document["updated_at"], &a.document["created_at"]),
        (&json!(5), &json!(1_700_000_000))
    );
    assert_eq!(b.document["updated_at"], 1_700_000_000);
    assert_eq!((a.made.len(), b.made.len()), (2, 3));
}

#[test]
fn json_knows_its_lines_when_something_is_wrong() {
    let text =
        "{\n\t\"_format_version\": \"3.0\",\n\t\"services\": [\n\t\t{\"host\": \"a\", \"port\": 1.5}\n\t]\n}";
    let told = faults(text);
    assert_eq!(
        told,
        ["line 4: services[0].port: expected an integer (this is a number)"],
        "{told:?}"
    );
    let quoted = "{\"_format_version\": 3.0, \"services\": [{\"host\": \"\\ud83d\\ude00\"}]}";
    assert_eq!(faults(quoted).len(), 2, "{:?}", faults(quoted));
}

#[test]
fn entries_come_after_what_they_refer_to() {
    let text = "
_format_version: '3.0'
plugins: [{name: key-auth, route: r}]
routes: [{name: r, paths: [/], service: s}]
services: [{name: s, host: a, protocol: https, client_certificate: 4e3ad2e4-0bc4-4638-8e34-c84a417ba39b}]
";
    let told = faults(text);
    assert_eq!(told.len(), 1, "{told:?}");
    let text = text.replace(", client_certificate: 4e3ad2e4-0bc4-4638-8e34-c84a417ba39b", "");
    let kinds: Vec<Kind> = parse(&text)
        .unwrap()
        .entries
        .iter()
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(kinds, [Kind::Service, Kind::Route, Kind::Plugin]);
}

/// Texts that cost more than they look are refused, and soon.
#[test]
fn bounds_hold() {
    let deep = format!(
        "_format_version: '3.0'\n_ignore: {}{}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let deep_lists = format!("_format_version: '3.0'\n_ignore:\n{}x", "- ".repeat(100));
    let deep_json = format!("{{\"_ignore\": {}{}}}", "[".repeat(100), "]".repeat(100));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}", level - 1);
        laughs.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            [below.as_str(); 9].join(", ")
        ));
    }
    let long = "x".repeat(1 << 20);
    let repeated = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 1000].join(", "));
    for (text, why) in [
        (&deep, "recursion limit"),
        (&deep_lists, "more than 64 levels deep"),
        (&deep_json, "levels"),
        (&laughs, "too many values"),
        (&repeated, "too many values"),
    ] {
        let started = Instant::now();
        let refusal = parse(text).unwrap_err();
        let message = &refusal.syntax().unwrap().message;
        assert!(message.contains(why), "{message}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{why}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn many_faults_are_told_up_to_a_bound() {
    let fields: String = (0..5000).map(|n| format!("- host: h{n}\n  prot: 1\n")).collect();
    let refusal = parse(&format!("_format_version: '3.0'\nservices:\n{fields}")).unwrap_err();
    let last = refusal.faults().last().unwrap();
    assert!(refusal.faults().len() <= 1001 && last.violation.message.starts_with("more is wrong"));
}

#[test]
fn nothing_makes_it_panic() {
    let odd = [
        "{_format_version: '3.0', services: [{id: 7, host: a}, {id: x, routes: [{id: [], service: {id: 7}}]}]}",
        "{_format_version: '3.0', services: [[{}]], routes: {a: 1}, plugins: [{config: 7, _config: {}}]}",
        "{_format_version: '3.0', _info: 7, _plugin_configs: [], _transform: x, _comment: 1, _ignore: 2}",
        "{_format_version: '3.0', _info: {defaults: {service: 7, x: {}}, select_tags: 7, y: 1}}",
        "{_format_version: '3.0', routes: [{paths: 7, service: [], tags: 7}], upstreams: [{targets: [7, {}]}]}",
        "{_format_version: '3.0', consumers: [{groups: 7}, {groups: [7, {}, {name: 7}]}, {acls: ['g']}]}",
        "{_format_version: '3.0', certificates: [{snis: [7, {}, a]}], snis: [{certificate: {id: ''}}]}",
        "{_format_version: [1], '': 1, '/': {}, 'a~b': []}",
        "{_format_version: '3.0', consumers: [{'keyauth_credentials': [{key: {a: b}, ttl: x}]}]}",
        "{<<: 7}",
        "{_format_version: '2.1', routes: [{paths: ['%', '%zz', '~', '', 7, '/\\0']}]}",
    ];
    for text in odd {
        let refusal = parse(text).unwrap_err();
        assert!(
            refusal.document(true)["message"].is_string() && refusal.document(false)["code"] == 14,
            "{text}"
        );
        assert!(!refusal.to_string().is_empty(), "{text}");
    }
}

/// A file of a process's own, whose environment fills in names as a shell does.
struct OwnFile(UnknownPlugins);

impl Surroundings for OwnFile {
    fn now(&self) -> u64 {
        1_700_000_000_000
    }

    fn variable(&self, name: &str) -> Result<String, Withheld> {
        self.shell_variable(name).ok_or(Withheld::Unset)
    }

    fn shell_variable(&self, name: &str) -> Option<String> {
        let value = match name {
            "AUTH_URL" => "http://auth:9999/v1",
            "PORT" => "8080",
            "ANON_KEY" => "a: b # c",
            "EMPTY" => "",
            "PASSWORD" => "pw$TOP_SECRET",
            "PEM" => "-----BEGIN X-----\nabc: [\n-----END X-----\n",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn are_filled_in(&self) -> bool {
        true
    }

    fn unknown_plugins(&self) -> UnknownPlugins {
        self.0
    }
}

fn load(text: &str, unknown: UnknownPlugins) -> Result<Configuration, Refusal> {
    let registry = Registry::builtin();
    read(text, &registry.kinds().unwrap(), &registry, &OwnFile(unknown))
}

fn one_of(configuration: &Configuration, kind: &str, name: &str) -> Document {
    let is = |entry: &&Entry| entry.kind.name() == kind && entry.document.values().any(|value| value == name);
    let found = configuration.entries.iter().find(is);
    found
        .unwrap_or_else(|| panic!("no {kind} {name}"))
        .document
        .clone()
}

#[test]
fn what_public_files_have_a_script_fill_in_is_filled_in() {
    let text = "
_format_version: '2.1'
consumers:
- username: anon
  keyauth_credentials:
  - key: $ANON_KEY
  - key: $EMPTY
  - {key: '${EMPTY}'}
- username: $UNKNOWN
  tags: [ '${request_id}', $ANON_KEY, x$EMPTY ]
services:
- name: auth
  url: ${AUTH_URL}
  routes: [{name: r, paths: ['~/a$', '/b/$PORT']}]
- {name: other, host: '${HOST_OF_OTHER:-other}', port: ${PORT}}
certificates: []
";
    let configuration = load(text, UnknownPlugins::Refused).unwrap();
    let keys: Vec<_> = configuration
        .entries
        .iter()
        .filter(|entry| entry.kind.name() == "keyauth_credentials")
        .map(|entry| entry.document["key"].clone())
        .collect();
    assert_eq!(keys, ["a: b # c"], "those of empty variables are left out");
    let auth = one_of(&configuration, "services", "auth");
    assert_eq!(
        json!([auth["host"], auth["port"], auth["path"]]),
        json!(["auth", 9999, "/v1"])
    );
    let other = one_of(&configuration, "services", "other");
    assert_eq!(json!([other["host"], other["port"]]), json!(["other", 8080]));
    let unknown = one_of(&configuration, "consumers", "$UNKNOWN");
    assert_eq!(unknown["tags"], json!(["${request_id}", "a: b # c", "x"]));
    let route = one_of(&configuration, "routes", "r");
    assert_eq!(route["paths"], json!(["~/a$", "/b/8080"]));
    let told: Vec<(usize, &str)> = configuration
        .notices
        .iter()
        .map(|notice| (notice.position.map_or(0, |at| at.line), notice.message.as_str()))
        .collect();
    let left_out = "an item that holds nothing but an empty variable is left out";
    let unset = |name: &str| {
        format!("the environment has no variable '{name}'; what names it stays as it is written")
    };
    assert_eq!(
        told,
        [
            (7, left_out),
            (8, left_out),
            (9, &*unset("UNKNOWN")),
            (10, &*unset("request_id")),
        ]
    );
}

#[test]
fn what_an_empty_variable_leaves_out_takes_nothing_along() {
    let tags = |list: &str| {
        let text = format!("_format_version: '3.0'\nservices:\n- name: s\n  host: a\n  tags: {list}\n");
        one_of(&load(&text, UnknownPlugins::Refused).unwrap(), "services", "s")["tags"].clone()
    };
    for (list, expected) in [
        ("[a, $EMPTY, b, c]", json!(["a", "b", "c"])),
        ("[$EMPTY, '${EMPTY}', a, $EMPTY, b]", json!(["a", "b"])),
        ("[&none $EMPTY, a, *none, b]", json!(["a", "b"])),
        ("[$EMPTY]", json!([])),
    ] {
        assert_eq!(tags(list), expected, "{list}");
    }
    let text = "
_format_version: '3.0'
consumers:
- username: u
  keyauth_credentials:
  - {key: $EMPTY}
  - {key: one}
  - {key: '${EMPTY}', key: two}
";
    let configuration = load(text, UnknownPlugins::Refused).unwrap();
    let keys = configuration
        .entries
        .iter()
        .filter_map(|entry| entry.document.get("key"));
    assert_eq!(keys.collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn a_field_whose_name_lacks_a_variable_is_told_at_its_place() {
    let text = "_format_version: '3.0'\nservices:\n- name: s\n  host: a\n  \"x${{ env 'NONE' }}\": 1\n";
    assert_eq!(
        faults(text)[0],
        "line 5: services[0].x${{ env 'NONE' }}: the environment has no variable 'NONE'"
    );
    assert!(!faults(text).concat().contains('\u{E000}'), "{:?}", faults(text));
}

#[test]
fn what_a_variable_holds_names_no_other() {
    let text = "_format_version: '3.0'\nservices: [{name: s, host: a, tags: [$PASSWORD, $OTHER_NAME]}]\n";
    let configuration = load(text, UnknownPlugins::Refused).unwrap();
    let service = one_of(&configuration, "services", "s");
    assert_eq!(service["tags"], json!(["pw$TOP_SECRET", "$OTHER_NAME"]));
    let told: Vec<&str> = configuration
        .notices
        .iter()
        .map(|notice| &*notice.message)
        .collect();
    assert_eq!(
        told,
        ["the environment has no variable 'OTHER_NAME'; what names it stays as it is written"]
    );
}

#[test]
fn a_variable_that_nobody_set_is_named_where_its_lack_is_an_error() {
    let refusal = load(
        "_format_version: '3.0'\nservices:\n- url: $NO_URL\n",
        UnknownPlugins::Refused,
    )
    .unwrap_err();
    let told = refusal.to_string();
    assert!(
        told.contains("line 3: services[0].host") && told.contains("no variable 'NO_URL'"),
        "{told}"
    );
}

const STRANGE: &str = "
_format_version: '3.0'
services:
- name: s
  host: a
  plugins:
  - {name: my-plugin, config: {x: 1}}
  - {name: key-auth}
plugins:
- {name: my-plugin}
- {name: pre-function, config: {access: ['if x == $PORT then']}}
consumers:
- username: u
  mtls_auth_credentials: [{subject_name: x}]
";

#[test]
fn plugins_that_are_not_here_are_told_once_each_with_what_to_do() {
    let refusal = load(STRANGE, UnknownPlugins::Refused).unwrap_err();
    let told: Vec<String> = refusal.faults().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    for part in [
        "line 7: services[0].plugins[0].name: plugin 'my-plugin' not enabled",
        "in 2 places",
        "--unknown-plugins=ignore",
    ] {
        assert!(told[0].contains(part), "{part} in {told:#?}");
    }
    assert!(
        told[1].contains("line 11") && told[1].contains("Lua does not run here"),
        "{told:#?}"
    );
    assert!(told[2].contains("'mtls-auth', which is not here"), "{told:#?}");
}

#[test]
fn the_rest_runs_without_them_where_that_is_wanted() {
    let configuration = load(STRANGE, UnknownPlugins::Ignored).unwrap();
    let plugins: Vec<_> = configuration
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Plugin)
        .map(|entry| entry.document["name"].clone())
        .collect();
    assert_eq!(plugins, ["key-auth"]);
    let ignored: Vec<(&str, usize)> = configuration
        .ignored
        .iter()
        .map(|ignored| (ignored.name.as_str(), ignored.position.unwrap().line))
        .collect();
    assert_eq!(
        ignored,
        [
            ("my-plugin", 7),
            ("my-plugin", 10),
            ("pre-function", 11),
            ("mtls-auth", 14)
        ]
    );
    let unsupported: Vec<usize> = configuration
        .judgements()
        .iter()
        .filter(|judgement| judgement.verdict == Verdict::Unsupported)
        .map(|judgement| judgement.position.unwrap().line)
        .collect();
    assert_eq!(unsupported, [7, 10, 11, 14]);
}

#[test]
fn what_runs_in_another_way_is_judged_so() {
    let text = "
_format_version: '3.0'
services:
- {name: s, host: a}
- {name: t, host: a, protocol: tcp, port: 1}
upstreams:
- {name: u, algorithm: consistent-hashing, hash_on: ip}
consumers:
- {username: '{vault://env/x}'}
";
    let configuration = load(text, UnknownPlugins::Refused).unwrap();
    let told: Vec<(Option<String>, Verdict, usize)> = configuration
        .judgements()
        .into_iter()
        .map(|judgement| (judgement.name, judgement.verdict, judgement.remarks.len()))
        .collect();
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        told,
        [
            (name("s"), Verdict::Exact, 0),
            (name("t"), Verdict::Unsupported, 1),
            (name("u"), Verdict::Adapted, 1),
            (name("{vault://env/x}"), Verdict::Unsupported, 1),
        ]
    );
}

#[test]
fn a_file_is_rendered_for_others_and_knows_its_places() {
    let text = "_format_version: '3.0'\nservices:\n- host: ${{ env \"AUTH_URL\" }}\n  port: $PORT\n";
    let registry = Registry::builtin();
    let kinds = registry.kinds().unwrap();
    let render = |text: &str| render(text, &kinds, &registry, &OwnFile(UnknownPlugins::Refused));
    let rendered = render(text).unwrap();
    assert_eq!(
        json!(rendered.document()["services"]),
        json!([{ "host": "http://auth:9999/v1", "port": 8080 }])
    );
    assert_eq!(rendered.position("/services/0/port").map(|at| at.line), Some(4));
    let missing = render("_format_version: '3.0'\na: ${{ env \"NONE\" }}").unwrap_err();
    assert_eq!(missing.faults()[0].path, "a");
    let unversioned = render("services:\n- host: a\n").unwrap_err();
    let told: Vec<String> = unversioned.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["line 1: _format_version: required field missing (begin the file with _format_version: \"3.0\")"]
    );
}

#[test]
fn what_the_environment_tells_is_known_by_its_value() {
    let text =
        "_format_version: '3.0'\nservices:\n- {name: ${NAME:-plain}, url: '${AUTH_URL}/x', port: $PORT}\n";
    let registry = Registry::builtin();
    let kinds = registry.kinds().unwrap();
    let rendered = render(text, &kinds, &registry, &OwnFile(UnknownPlugins::Refused)).unwrap();
    for (value, is_told) in [
        (json!("http://auth:9999/v1"), true),
        (json!("http://auth:9999/v1/x"), true),
        (json!({ "a": ["see http://auth:9999/v1"] }), true),
        (json!(8080), true),
        (json!("8080"), true),
        (json!(["18080"]), false),
        (json!("plain"), false),
        (json!(null), false),
        (json!(""), false),
    ] {
        assert_eq!(rendered.tells_of_environment(&value), is_told, "{value}");
    }
}
