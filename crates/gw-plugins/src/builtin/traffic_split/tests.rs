//! The behaviours table: which requests go where.

use bytes::Bytes;
use gw_core::Id;
use http::Request;
use serde_json::{Value, json};

use super::TrafficSplit;
use crate::kit::{Kit, Ran};
use crate::plugin::Definition;
use crate::registry::Registry;
use crate::steering::UpstreamChoice;

const GREEN: &str = "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b";

fn kit(settings: Value) -> Kit {
    Kit::new::<TrafficSplit>(settings).entity("upstreams", json!({ "id": GREEN, "name": "green.internal" }))
}

fn send(kit: &Kit, headers: &[(&str, &str)]) -> Ran {
    let request = headers.iter().fold(Request::get("/"), |request, (name, value)| {
        request.header(*name, *value)
    });
    kit.access(request.body(Bytes::new()).unwrap())
}

/// `same`, `green`, `own`, or the status of the answer.
fn way(ran: &Ran) -> String {
    match (&ran.reply, ran.steering.upstream) {
        (Some(reply), _) => reply.status.as_u16().to_string(),
        (None, None) => "same".to_owned(),
        (None, Some(UpstreamChoice::Stored(id))) if id == GREEN.parse().unwrap() => "green".to_owned(),
        (None, Some(UpstreamChoice::Stored(_))) => "another".to_owned(),
        (None, Some(_)) => "own".to_owned(),
    }
}

#[test]
fn the_first_rule_that_is_met_decides() {
    let settings = json!({ "rules": [
        {
            "match": [{ "vars": [["http_x_env", "==", "a"], ["http_x_user", "==", "jo"]] }, { "vars": [["http_x_env", "==", "b"]] }],
            "weighted_upstreams": [{ "upstream_id": "green.internal" }],
        },
        { "match": [{ "vars": [["http_x_env", "==", "c"]] }], "weighted_upstreams": [{ "upstream_id": GREEN, "weight": 3 }] },
        { "match": [{ "vars": [["http_x_env", "in", ["b", "d"]]] }] },
        { "match": [{ "vars": [["http_x_env", "==", "e"]] }], "weighted_upstreams": [{ "upstream_id": 7 }] },
        {
            "match": [{ "vars": [["http_x_env", "==", "f"]] }],
            "weighted_upstreams": [{ "upstream": { "nodes": { "10.0.0.7:8080": 1 } } }, { "weight": 0 }],
        },
    ] });
    let kit = kit(settings);
    let table: [(&[(&str, &str)], &str); 9] = [
        (&[("x-env", "a"), ("x-user", "jo")], "green"),
        (&[("x-env", "a")], "same"),
        (&[("x-env", "b")], "green"),
        (&[("x-env", "c")], "green"),
        (&[("x-env", "d")], "same"),
        (&[("x-env", "e")], "503"),
        (&[("x-env", "f")], "own"),
        (&[("x-env", "g")], "same"),
        (&[], "same"),
    ];
    for (headers, expected) in table {
        assert_eq!(way(&send(&kit, headers)), expected, "{headers:?}");
    }
    for always in [json!({}), json!({ "match": [] }), json!({ "match": null })] {
        let mut rule = always;
        rule["weighted_upstreams"] = json!([{ "upstream_id": GREEN }]);
        assert_eq!(way(&send(&self::kit(json!({ "rules": [rule] })), &[])), "green");
    }
    assert_eq!(way(&send(&self::kit(json!({})), &[])), "same");
}

#[test]
fn shares_are_exact() {
    let kit = kit(json!({ "rules": [{ "weighted_upstreams": [
        { "upstream_id": GREEN, "weight": 20 },
        { "weight": 70 },
        { "upstream": { "nodes": [{ "host": "10.0.0.7", "port": 80 }] }, "weight": 10 },
    ] }] }));
    let ways: Vec<_> = (0..100).map(|_| way(&send(&kit, &[]))).collect();
    let count = |name: &str| ways.iter().filter(|way| *way == name).count();
    assert_eq!((count("green"), count("same"), count("own")), (20, 70, 10));
}

#[test]
fn a_user_stays_at_one_upstream() {
    let kit = kit(json!({
        "rules": [{ "weighted_upstreams": [{ "upstream_id": GREEN }, { "weight": 1 }] }],
        "key": "http_x_user",
    }));
    for user in ["jo", "al", "kim", "max"] {
        let first = way(&send(&kit, &[("x-user", user)]));
        assert!(
            (0..5).all(|_| way(&send(&kit, &[("x-user", user)])) == first),
            "{user}"
        );
    }
    let turns: Vec<_> = (0..4).map(|_| way(&send(&kit, &[]))).collect();
    assert_eq!(
        turns.iter().filter(|way| *way == "green").count(),
        2,
        "without the key, in turn"
    );
}

#[test]
fn upstreams_of_its_own_are_told_with_ids_that_stay() {
    let settings = json!({ "rules": [{ "weighted_upstreams": [
        { "upstream": { "nodes": { "a.internal:8080": 3, "[::1]:81": 1, "b.internal": 0 }, "upstream_host": "x.example.com" } },
        { "upstream": {
            "name": "canary",
            "type": "chash",
            "key": "arg_user",
            "nodes": [{ "host": "10.0.0.1", "port": 80, "weight": 5, "priority": -1 }, { "host": "::1", "port": 9 }],
            "healthchecks": { "passive": { "unhealthy": { "tcp_failures": 3 } } },
        } },
    ] }] });
    let registry = Registry::new().with::<TrafficSplit>();
    let mut document = json!({ "name": "traffic-split", "config": settings });
    registry.complete(document.as_object_mut().unwrap()).unwrap();
    let id = Id::random();
    let build = || {
        registry
            .build(id, TrafficSplit::NAME, &document["config"])
            .unwrap()
    };
    let instance = build();
    let own = &instance.upstreams;
    let told: Vec<_> = own
        .iter()
        .map(|own| {
            let targets = own.targets.iter();
            targets
                .map(|target| (target.address.to_string(), target.weight, target.priority))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut first = told[0].clone();
    first.sort();
    let at = |address: &str, weight, priority| (address.to_owned(), weight, priority);
    assert_eq!(
        first,
        [
            at("[::1]:81", 1, 32_767),
            at("a.internal:8080", 3, 32_767),
            at("b.internal:80", 0, 32_767)
        ]
    );
    assert_eq!(told[1], [at("10.0.0.1:80", 5, 32_768), at("[::1]:9", 1, 32_767)]);
    assert_eq!(own[0].upstream.host_header.as_deref(), Some("x.example.com"));
    assert_eq!(&*own[1].upstream.name, "canary");
    assert!(own[1].upstream.hashing.is_some());
    let ids = |instance: &crate::Instance| {
        instance
            .upstreams
            .iter()
            .map(|own| own.upstream.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&instance), ids(&build()));
    assert_ne!(own[0].upstream.id, own[1].upstream.id);
}

#[test]
fn choosing_allocates_nothing() {
    let kit = kit(
        json!({ "rules": [{ "match": [{ "vars": [["http_x_env", "==", "a"]] }], "weighted_upstreams": [{ "upstream_id": GREEN }] }] }),
    );
    let plain = Kit::new::<TrafficSplit>(json!({}));
    let counted = |kit: &Kit| allocation_counter::measure(|| drop(send(kit, &[("x-env", "a")]))).count_total;
    assert_eq!((counted(&plain), counted(&plain)), (counted(&kit), counted(&kit)));
}

#[test]
fn wrong_settings_are_refused_by_their_place() {
    let rule = |rule: Value| json!({ "rules": [rule] });
    let inline = |upstream: Value| rule(json!({ "weighted_upstreams": [{ "upstream": upstream }] }));
    for (settings, pointer, message) in [
        (
            rule(json!({ "match": [{ "vars": [["a", "=~", 1]] }] })),
            "/config/rules/0/match/0/vars/0/1",
            "failed to validate the 'vars'",
        ),
        (
            rule(json!({ "match": [{ "var": [] }] })),
            "/config/rules/0/match/0/var",
            "unknown field",
        ),
        (
            rule(json!({ "weighted_upstreams": [] })),
            "/config/rules/0/weighted_upstreams",
            "",
        ),
        (
            rule(json!({ "weighted_upstreams": [{ "weight": 0 }] })),
            "/config/rules/0/weighted_upstreams",
            "all weights are 0",
        ),
        (
            rule(json!({ "weighted_upstreams": [{ "weight": -1 }] })),
            "/config/rules/0/weighted_upstreams/0/weight",
            "",
        ),
        (
            inline(json!({})),
            "/config/rules/0/weighted_upstreams/0/upstream/nodes",
            "required field missing",
        ),
        (
            inline(json!({ "nodes": {} })),
            "/config/rules/0/weighted_upstreams/0/upstream/nodes",
            "there is no node",
        ),
        (
            inline(json!({ "nodes": { "a:1": 1 }, "type": "chash", "key": "scheme" })),
            "/config/rules/0/weighted_upstreams/0/upstream/key",
            "requests cannot stick by `scheme`",
        ),
        (
            inline(json!({ "nodes": { "a:1": 1 }, "healthchecks": { "activ": {} } })),
            "/config/rules/0/weighted_upstreams/0/upstream/healthchecks/activ",
            "unknown field",
        ),
        (json!({ "rule": [] }), "/config/rule", "unknown field"),
    ] {
        let mut document = json!({ "name": "traffic-split", "config": settings });
        let registry = Registry::new().with::<TrafficSplit>();
        let found = registry
            .complete(document.as_object_mut().unwrap())
            .unwrap_err()
            .into_vec();
        assert_eq!(found[0].pointer, pointer, "{found:?}");
        assert!(found[0].message.contains(message), "{found:?}");
    }
}
