//! Certificates of `ssls` and of upstreams.

use serde_json::{Value, json};

use super::{faults, mapped, remarks};
use crate::declarative::fidelity::Verdict::{Adapted, Unsupported};

/// The lists that a file becomes, without ids.
fn lists(text: &str, names: &[&str]) -> Value {
    let source = mapped(text);
    let told: Vec<String> = source.faults.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{told:?} in\n{text}");
    let list = |name: &&str| {
        let mut list = source.document.get(*name).cloned().unwrap_or_default();
        for entity in list.as_array_mut().into_iter().flatten() {
            entity.as_object_mut().unwrap().remove("id");
        }
        list
    };
    names.iter().map(list).collect()
}

#[test]
fn names_are_shown_their_certificate() {
    let made = lists(
        "
ssls:
- { id: 1, cert: C1, key: K1, certs: [C2], keys: [K2], snis: [A.test, '*.a.test', 10.0.0.1], labels: { a: b } }
- { cert: C3, key: K3, sni: b.test }
- { cert: C4, key: K4, sni: c.test, status: 0 }
",
        &["certificates"],
    );
    let sni = |name: &str| json!({ "name": name });
    assert_eq!(
        made,
        json!([[
            { "cert": "C1", "key": "K1", "cert_alt": "C2", "key_alt": "K2", "tags": ["a:b"], "snis": [sni("a.test"), sni("*.a.test")] },
            { "cert": "C3", "key": "K3", "snis": [sni("b.test")] },
        ]])
    );
}

#[test]
fn clients_of_guarded_names_need_a_certificate() {
    let text = "
ssls:
- { cert: C1, key: K1, sni: '*.a.test', client: { ca: \"-----BEGIN CERTIFICATE-----\\na\\n-----END CERTIFICATE-----\\n-----BEGIN \
                CERTIFICATE-----\\nb\\n-----END CERTIFICATE-----\\n\", depth: 2, skip_mtls_uri_regex: [/a] } }
routes:
- { uri: /1, host: x.a.test, plugins: {} }
- { uri: /2, host: b.test, plugins: {} }
- { uri: /3, plugins: {} }
- { uri: /4, hosts: [b.test, '*.test'], plugins: {} }
";
    let made = lists(text, &["routes", "ca_certificates"]);
    let guarded: Vec<bool> = made[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| route.get("require_client_certificate").is_some())
        .collect();
    assert_eq!(guarded, [true, false, true, true]);
    assert_eq!(made[1].as_array().map(Vec::len), Some(2));
    let told = remarks(text);
    let is = |verdict, at: &str| {
        told.iter()
            .any(|(of, pointer, _)| *of == verdict && pointer == at)
    };
    assert!(
        is(Adapted, "/ssls/0/client") && is(Unsupported, "/ssls/0/client/skip_mtls_uri_regex"),
        "{told:?}"
    );
}

#[test]
fn nodes_are_shown_a_certificate() {
    let text = "
ssls:
- { id: mine, type: client, cert: C1, key: K1 }
upstreams:
- { id: 1, scheme: https, nodes: {}, tls: { client_cert_id: mine } }
- { id: 2, scheme: https, nodes: {}, tls: { client_cert: C2, client_key: K2, verify: true } }
- { id: 3, scheme: http, nodes: {}, tls: { client_cert: C2, client_key: K2 } }
routes:
- { uri: /1, upstream_id: 1 }
- { uri: /2, upstream_id: 2 }
- { uri: /3, upstream_id: 3 }
";
    let source = mapped(text);
    let certificates = source.document["certificates"].as_array().unwrap();
    let services = source.document["services"].as_array().unwrap();
    assert_eq!((certificates.len(), services.len()), (2, 3));
    for (service, certificate) in services.iter().zip(certificates) {
        assert_eq!(service["client_certificate"]["id"], certificate["id"]);
    }
    assert_eq!(
        (services[0].get("tls_verify"), &services[1]["tls_verify"]),
        (None, &json!(true))
    );
    assert_eq!(services[2].get("client_certificate"), None);
}

#[test]
fn what_is_missing_is_told() {
    for (text, expected) in [
        (
            "ssls: [{ key: K, sni: a.test }]",
            "ssls[0].cert: required field missing",
        ),
        (
            "ssls: [{ cert: C, key: K }]",
            "ssls[0].snis: required field missing",
        ),
        ("ssls: [{ cert: C, key: K, sni: a.test }]", "ssls[0].cert: "),
        (
            "ssls: [{ cert: C, key: K, sni: a.test }, { cert: C, key: K, sni: a.test }]",
            "the same certificate stands elsewhere",
        ),
    ] {
        let told = faults(text);
        assert!(
            told.iter().any(|told| told.contains(expected)),
            "{expected}: {told:?}"
        );
    }
}
