//! Files and what comes of them.

mod certificates;
mod corpus;
mod objects;
mod plugins;

use std::sync::LazyLock;

use gw_plugins::Registry;
use serde_json::Value;

use super::*;
use crate::declarative::fidelity::Verdict;
use crate::declarative::{Configuration, UnknownPlugins, Withheld};

/// An environment with two variables.
struct Machine;

impl Surroundings for Machine {
    fn now(&self) -> u64 {
        1_700_000_000_000
    }

    fn variable(&self, name: &str) -> Result<String, Withheld> {
        match name {
            "HOST" => Ok("app".to_owned()),
            "PORT" => Ok("8080".to_owned()),
            _ => Err(Withheld::Unset),
        }
    }

    fn shell_variable(&self, _: &str) -> Option<String> {
        Some("must not be filled in".to_owned())
    }

    fn are_filled_in(&self) -> bool {
        true
    }

    fn unknown_plugins(&self) -> UnknownPlugins {
        UnknownPlugins::Ignored
    }
}

/// The plugins that are here, and the kinds of entity.
fn here() -> (&'static Registry, &'static Kinds) {
    static HERE: LazyLock<(Registry, Kinds)> = LazyLock::new(|| {
        let registry = Registry::builtin();
        let kinds = registry.kinds().unwrap();
        (registry, kinds)
    });
    (&HERE.0, &HERE.1)
}

/// What a file becomes, as Kong would have written it.
fn mapped(text: &str) -> Source {
    let (registry, kinds) = here();
    let source = read(&format!("{text}\n#END\n"), kinds, registry, &Machine);
    source.unwrap_or_else(|refusal| panic!("{refusal}"))
}

fn parsed(text: &str) -> Result<Configuration, Refusal> {
    let (registry, kinds) = here();
    crate::declarative::read(text, kinds, registry, &Machine)
}

/// What is wrong with a file.
fn faults(text: &str) -> Vec<String> {
    match parsed(&format!("{text}\n#END\n")) {
        Ok(configuration) => panic!("nothing is wrong with it: {configuration:?}"),
        Err(refusal) => refusal.faults().iter().map(ToString::to_string).collect(),
    }
}

/// Checks what lists a file becomes; those of the expected, and no others.
fn check(text: &str, expected: Value) {
    let source = mapped(text);
    let told: Vec<String> = source.faults.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{told:?} in\n{text}");
    let mut document = source.document;
    document.remove("_format_version");
    let made = Value::Object(document);
    assert_eq!(made, expected, "\n{text}\nbecame\n{made:#}");
}

/// What is said of a file: how faithful, where, and what.
fn remarks(text: &str) -> Vec<(Verdict, String, String)> {
    let told = mapped(text).remarks.into_iter();
    told.map(|remark| (remark.verdict, remark.pointer, remark.what))
        .collect()
}

#[test]
fn files_of_both_kinds_are_told_apart() {
    for (text, is_apisix) in [
        ("routes: []\n#END", true),
        ("routes:\n- uri: /\n", true),
        ("routes:\n- upstream_id: 1\n", true),
        ("routes:\n- plugins: { cors: {} }\n", true),
        ("upstreams:\n- nodes: {}\n", true),
        (
            "consumers:\n- username: a\n  plugins: { key-auth: { key: a } }\n",
            true,
        ),
        ("ssls: []\n", true),
        ("global_rules: []\n", true),
        ("_format_version: '3.0'\nroutes:\n- uri: /\n#END", false),
        ("routes:\n- paths: [/]\n  plugins: [{ name: cors }]\n", false),
        ("upstreams:\n- targets: []\n", false),
        ("{}", false),
    ] {
        let unset = |_: &str| Err(Withheld::Unset);
        let source = source::load(text, &unset, None).unwrap();
        assert_eq!(is_meant(text, &source.document), is_apisix, "{text}");
    }
}

#[test]
fn a_file_that_does_not_end_is_refused() {
    for text in [
        "routes:\n- uri: /a\n",
        "routes:\n- uri: /a\n#END of routes\nupstreams: []\n",
    ] {
        let refusal = parsed(text).unwrap_err();
        let told: Vec<String> = refusal.faults().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("`#END`"), "{told:?}");
    }
    for text in ["upstreams: []\n#END", "upstreams: []\n#END\n\n", "{\"ssls\": []}"] {
        assert!(parsed(text).is_ok(), "{text}");
    }
}

#[test]
fn places_are_those_of_the_file() {
    for (text, expected) in [
        (
            "routes:\n- id: a\n  uri: /a\n  upstream_id: 7\nupstreams:\n- id: 77\n  nodes: {}",
            "line 4: routes[0].upstream_id: invalid reference 'upstream_id: 7' (no such entry in 'upstreams')",
        ),
        (
            "routes:\n- uri: /a\n  strip_uri: true\n",
            "line 3: routes[0].strip_uri: unknown field",
        ),
        (
            "upstreams:\n- id: 1\n  nodes:\n  - host: a\n    port: 80\n    eight: 1\n",
            "line 6: upstreams[0].nodes[0].eight: unknown field (did you mean `weight`?)",
        ),
        (
            "upstreams:\n- id: 1\n  nodes:\n    app:80: 99999\n",
            "line 4: upstreams[0].nodes.app:80: value should be between 0 and 65535",
        ),
        (
            "routes:\n- uri: relative\n  plugins: {}\n",
            "line 2: routes[0].uri: ",
        ),
        (
            "routes:\n- uri: /\n  vars:\n  - [no_such_variable, ==, 1]\n",
            "line 4: routes[0].vars[0][0]: ",
        ),
        (
            "routes:\n- uri: /\n  remote_addr: 10.0.0.300\n",
            "line 3: routes[0].remote_addr: ",
        ),
        (
            "routes:\n- uri: /\n  filter_func: function(vars) return true end\n",
            "line 3: routes[0].filter_func: Lua does not run here (say the condition in `vars`)",
        ),
        (
            "routes:\n- uri: /\n  upstream:\n    nodes: { '${{NONE}}:80': 1 }\n",
            "line 4: routes[0].upstream.nodes.${{NONE}}:80: the environment has no variable 'NONE'",
        ),
        (
            "routes:\n- uri: /\n  upstream:\n    nodes: { '${HOST}:80': 1 }\n",
            "line 4: routes[0].upstream.nodes.${HOST}:80: `${HOST}` is not filled in (write `${{HOST}}`)",
        ),
        (
            "upstreams:\n- id: 1\n  type: chash\n  nodes: {}\n",
            "line 2: upstreams[0].key: required field missing",
        ),
        (
            "upstreams:\n- id: 1\n  service_name: a\n  discovery_type: nacos\n",
            "line 4: upstreams[0].discovery_type: nodes are not discovered by 'nacos' here",
        ),
        (
            "routes:\n- uri: /\n  plugins:\n    key-auth: { key_names: [] , header: 7 }\n",
            "line 4: routes[0].plugins.key-auth.header: expected a string",
        ),
        (
            "routes:\n- uri: /\n  plugins:\n    key-auth: { header: $secret://vault/1/a }\n",
            "line 4: routes[0].plugins.key-auth.header: no secrets are fetched",
        ),
    ] {
        let told = faults(text);
        assert!(
            told.iter().any(|told| told.starts_with(expected)),
            "{expected}:\n{told:#?}"
        );
    }
}

#[test]
fn nothing_makes_it_panic() {
    for text in [
        "routes: [7, {uri: 7, plugins: 7}, {uris: [7], host: 7, timeout: 7, vars: 7, labels: 7}]",
        "upstreams: [{id: [], nodes: [7, {host: 7}]}, {id: 1, nodes: {a: b}, checks: 7, tls: 7}]",
        "ssls: [{cert: 7, snis: [7], client: {ca: 7}}]",
        "consumers: [{username: 7, plugins: {key-auth: 7}}, {id: /credentials/, plugins: {}}]",
        "routes: [{uri: /, plugins: {cors: {allow_origins: 7, allow_methods: [], max_age: x}}}]",
        "routes: [{uri: /, plugins: {traffic-split: {rules: [7, {weighted_upstreams: [7, {upstream: 7}]}]}}}]",
        "routes: [{uri: /, plugins: {response-rewrite: {headers: {set: 7, add: [7, a]}}, redirect: {_meta: 7}}}]",
        "routes: [{uri: /, plugins: {fault-injection: {abort: {percentage: x, vars: [7]}}, mocking: {delay: x}}}]",
        "routes: [{uri: /, plugins: {http-logger: {timeout: x, batch_max_size: []}, opentelemetry: {sampler: 7}}}]",
        "routes: [{uri: /, plugins: {consumer-restriction: {whitelist: 7}, acl: {allow_labels: {a: 7}}}}]",
        "routes: [{uri: /, plugins: {proxy-cache: {cache_key: [7, $x]}, client-control: {max_body_size: x}}}]",
        "consumer_groups: [{id: 1}]\nglobal_rules: [7, {plugins: {cors: {_meta: {filter: 7, priority: x}}}}]",
    ] {
        match parsed(&format!("{text}\n#END")) {
            Ok(configuration) => assert!(!configuration.judgements().is_empty(), "{text}"),
            Err(refusal) => assert!(!refusal.to_string().is_empty(), "{text}"),
        }
    }
}
