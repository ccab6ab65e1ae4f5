//! The configuration's indices follow every change.

use gw_core::{Change, Config, CredentialForm, CredentialKind, Entity, Kind, Kinds, Prepared};
use gw_schema::Violation;
use serde_json::{Value, json};

const KEYS: CredentialKind = CredentialKind("tokens");
const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";
const C: &str = "cccccccc-0000-4000-8000-000000000000";

fn kinds() -> Kinds {
    let schema = json!({ "type": "object", "x-kind": { "path": "tokens" }, "properties": {
        "key": { "type": "string", "x-unique": true },
        "consumer": { "type": "object", "x-references": "consumers", "x-on-delete": "cascade" },
    }});
    Kinds::new([(KEYS, schema)]).unwrap()
}

fn put(config: &mut Config, kind: Kind, document: Value) {
    let mut document = document.as_object().unwrap().clone();
    for field in ["created_at", "updated_at"] {
        document.entry(field).or_insert(json!(1));
    }
    Kinds::expand(kind, &mut document);
    if matches!(kind, Kind::Credential(_)) {
        document.remove("created_at");
    }
    let entity = kinds().complete(kind, &mut document).unwrap();
    config.apply(Change::Put(entity));
}

fn delete(config: &mut Config, kind: Kind, id: &str) {
    assert!(config.apply(Change::Delete(kind, id.parse().unwrap())).is_some());
    assert!(config.apply(Change::Delete(kind, id.parse().unwrap())).is_none());
}

#[test]
fn a_service_is_found_by_its_present_host() {
    let mut config = Config::default();
    put(&mut config, Kind::Service, json!({ "id": A, "host": "one" }));
    put(&mut config, Kind::Service, json!({ "id": A, "host": "two" }));
    assert_eq!(config.services_of_host("one").count(), 0);
    assert_eq!(config.services_of_host("two").count(), 1);
    delete(&mut config, Kind::Service, A);
    assert_eq!(config.services_of_host("two").count(), 0);
}

#[test]
fn routes_follow_their_service() {
    let mut config = Config::default();
    let (a, b) = (A.parse().unwrap(), B.parse().unwrap());
    put(
        &mut config,
        Kind::Route,
        json!({ "id": C, "paths": ["/"], "service": { "id": A } }),
    );
    assert_eq!(config.routes_of(a).count(), 1);
    put(
        &mut config,
        Kind::Route,
        json!({ "id": C, "paths": ["/"], "service": { "id": B } }),
    );
    assert_eq!((config.routes_of(a).count(), config.routes_of(b).count()), (0, 1));
    delete(&mut config, Kind::Route, C);
    assert_eq!(config.routes_of(b).count(), 0);
}

#[test]
fn a_consumer_is_found_by_id_and_by_present_name() {
    let mut config = Config::default();
    put(&mut config, Kind::Consumer, json!({ "id": A, "username": "ann" }));
    put(&mut config, Kind::Consumer, json!({ "id": A, "username": "bob" }));
    assert!(config.consumer_named("ann").is_none());
    assert!(config.consumer_named("bob").is_some() && config.consumer_named(A).is_some());
    delete(&mut config, Kind::Consumer, A);
    assert!(config.consumer_named("bob").is_none());
}

#[test]
fn a_credential_is_found_by_its_present_key() {
    let mut config = Config::default();
    let kind = Kind::Credential(KEYS);
    put(
        &mut config,
        kind,
        json!({ "id": A, "key": "one", "consumer": { "id": B } }),
    );
    put(
        &mut config,
        kind,
        json!({ "id": A, "key": "two", "consumer": { "id": B } }),
    );
    assert!(config.credential(KEYS, "one").is_none());
    assert!(config.credential(KEYS, "two").is_some());
    assert!(config.credential(CredentialKind("others"), "two").is_none());
    delete(&mut config, kind, A);
    assert!(config.credential(KEYS, "two").is_none());
}

#[test]
fn the_credentials_of_a_consumer_follow_every_change() {
    let mut config = Config::default();
    let kind = Kind::Credential(KEYS);
    let keys = |config: &Config, consumer: &str| -> Vec<String> {
        let of = config.credentials_of(consumer.parse().unwrap(), KEYS);
        of.filter_map(|one| Some(one.key.as_ref()?.to_string())).collect()
    };
    let key =
        |id: &str, key: &str, consumer: &str| json!({ "id": id, "key": key, "consumer": { "id": consumer } });
    put(&mut config, kind, key(B, "two", A));
    put(&mut config, kind, key(A, "one", A));
    put(&mut config, kind, key(C, "three", B));
    let before = config.clone();
    assert_eq!(
        (keys(&config, A), keys(&config, B)),
        (vec!["one".into(), "two".into()], vec!["three".into()])
    );
    put(&mut config, kind, key(A, "one", B));
    assert_eq!(
        (keys(&config, A), keys(&config, B)),
        (vec!["two".into()], vec!["one".into(), "three".into()])
    );
    delete(&mut config, kind, B);
    assert!(keys(&config, A).is_empty());
    assert_eq!(
        config
            .credentials_of(B.parse().unwrap(), CredentialKind("others"))
            .count(),
        0
    );
    assert_eq!(
        keys(&before, A),
        ["one", "two"],
        "who reads the old value is not disturbed"
    );
}

#[test]
fn the_groups_of_a_consumer_follow_every_change() {
    let mut config = Config::default();
    let kind = Kind::Credential(CredentialKind("acls"));
    let join = |config: &mut Config, id: &str, group: &str, consumer: &str| {
        let acl = json!({ "id": id, "group": group, "consumer": { "id": consumer }, "created_at": 1 });
        let entity = kinds().complete(kind, &mut acl.as_object().unwrap().clone());
        config.apply(Change::Put(entity.unwrap()));
    };
    let groups = |config: &Config, consumer: &str| -> Option<Vec<String>> {
        let groups = config.access_groups(consumer.parse().unwrap())?;
        Some(groups.names.iter().map(|name| name.to_string()).collect())
    };
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(groups(&config, A), None);
    join(&mut config, B, "gold", A);
    join(&mut config, A, "admins", A);
    let before = config.clone();
    assert_eq!(groups(&config, A), names(&["admins", "gold"]), "by their ids");
    join(&mut config, B, "silver", A);
    assert_eq!(groups(&config, A), names(&["admins", "silver"]));
    join(&mut config, A, "admins", B);
    assert_eq!(
        (groups(&config, A), groups(&config, B)),
        (names(&["silver"]), names(&["admins"])),
        "it has become another's"
    );
    delete(&mut config, kind, B);
    assert_eq!(groups(&config, A), None);
    assert_eq!(groups(&before, A), names(&["admins", "gold"]));
}

#[test]
fn a_credential_is_brought_into_stored_form() {
    let form = CredentialForm {
        settle: Some(|document| {
            let key = document.get("key").and_then(Value::as_str).unwrap_or_default();
            if key == "bad" {
                return Err(Violation::new("/key", "is bad").into());
            }
            let stored = format!("!{}", key.trim_start_matches('!'));
            document.insert("key".to_owned(), stored.into());
            Ok(())
        }),
        adopt: None,
    };
    let kinds = kinds().formed([(KEYS, form)]);
    let mut document = json!({ "id": A, "key": "one", "consumer": { "id": B } })
        .as_object()
        .unwrap()
        .clone();
    for _ in 0..2 {
        let entity = kinds.complete(Kind::Credential(KEYS), &mut document).unwrap();
        assert_eq!(document["key"], "!one");
        let Entity::Credential(credential) = entity else {
            panic!("{entity:?}")
        };
        assert_eq!(credential.key.as_deref(), Some("!one"));
    }
    document.insert("key".to_owned(), "bad".into());
    let refused = kinds.complete(Kind::Credential(KEYS), &mut document).unwrap_err();
    assert_eq!(refused.into_iter().next().unwrap().pointer, "/key");
}

#[test]
fn what_a_plugin_makes_of_a_credential_is_made_once() {
    let prepared = Prepared::default();
    assert_eq!(prepared.get_or(|| 7_u8), Some(&7));
    assert_eq!(prepared.get_or(|| 8_u8), Some(&7));
    assert_eq!(prepared.get_or(|| "of another type"), None);
}

#[test]
fn plugins_are_found_where_they_are_bound() {
    let mut config = Config::default();
    put(
        &mut config,
        Kind::Plugin,
        json!({ "id": A, "name": "x", "route": { "id": B } }),
    );
    put(
        &mut config,
        Kind::Plugin,
        json!({ "id": C, "name": "x", "route": { "id": B }, "consumer": { "id": A } }),
    );
    let place = (Some(B.parse().unwrap()), None);
    assert_eq!(config.plugins_at(place).count(), 2);
    delete(&mut config, Kind::Plugin, A);
    assert_eq!(
        (
            config.plugins_at(place).count(),
            config.plugins_at((None, None)).count()
        ),
        (1, 0)
    );
}

#[test]
fn a_plugin_for_a_group_is_bound_to_its_place() {
    let mut config = Config::default();
    let plugin = |group: Value| json!({ "id": A, "name": "x", "consumer_group": group });
    for group in [json!({ "id": B }), Value::Null, json!({ "id": C })] {
        put(&mut config, Kind::Plugin, plugin(group));
        assert_eq!(
            (config.plugins_at((None, None)).count(), config.plugins().count()),
            (1, 1)
        );
    }
    delete(&mut config, Kind::Plugin, A);
    assert_eq!(config.identities().count(), 0);
}

/// Kinds that are kept whole: known by their identities, and gone when they are deleted.
#[test]
fn what_is_only_stored_is_known() {
    let jwk = json!({ "kty": "oct", "kid": "1" }).to_string();
    let mut config = Config::default();
    for (kind, document) in [
        (Kind::Vault, json!({ "id": A, "prefix": "ab", "name": "env" })),
        (Kind::KeySet, json!({ "id": A })),
        (Kind::Key, json!({ "id": A, "kid": "1", "jwk": jwk })),
        (
            Kind::FilterChain,
            json!({ "id": A, "route": { "id": B }, "filters": [{ "name": "a" }] }),
        ),
    ] {
        for _ in 0..2 {
            put(&mut config, kind, document.clone());
            let known: Vec<_> = config.identities().collect();
            assert_eq!(known, [(kind, A.parse().unwrap())]);
        }
        delete(&mut config, kind, A);
    }
}

#[test]
fn targets_come_oldest_first() {
    let mut config = Config::default();
    put(&mut config, Kind::Upstream, json!({ "id": C, "name": "up" }));
    let target = |id: &str, target: &str, created: f64| json!({ "id": id, "target": target, "upstream": { "id": C }, "created_at": created });
    put(&mut config, Kind::Target, target(A, "late:1", 2.5));
    put(&mut config, Kind::Target, target(B, "early", 2.25));
    let upstream = config.upstream_named("up").unwrap().id;
    let order: Vec<_> = config
        .targets_of(upstream)
        .map(|target| target.address.to_string())
        .collect();
    assert_eq!(order, ["early:8000", "late:1"]);
    assert_eq!(config.identities().count(), 3);
}

#[test]
fn an_old_value_is_not_disturbed() {
    let mut config = Config::default();
    put(&mut config, Kind::Service, json!({ "id": A, "host": "one" }));
    let before = config.clone();
    delete(&mut config, Kind::Service, A);
    assert_eq!((before.services().count(), config.services().count()), (1, 0));
}

#[test]
fn groups_follow_their_members() {
    let mut config = Config::default();
    put(
        &mut config,
        Kind::ConsumerGroup,
        json!({ "id": A, "name": "gold" }),
    );
    put(
        &mut config,
        Kind::ConsumerGroup,
        json!({ "id": B, "name": "silver" }),
    );
    let member = |group: &str| json!({ "id": C, "consumer": { "id": C }, "consumer_group": { "id": group } });
    let groups = |config: &Config| -> Vec<String> {
        let groups = config.groups_of(C.parse().unwrap());
        groups.map(|group| group.name.to_string()).collect()
    };
    for (group, expected) in [(A, ["gold"]), (B, ["silver"])] {
        let mut document = member(group).as_object().unwrap().clone();
        document.insert("created_at".to_owned(), json!(1));
        let entity = kinds().complete(Kind::GroupMember, &mut document).unwrap();
        config.apply(Change::Put(entity));
        assert_eq!(groups(&config), expected);
    }
    delete(&mut config, Kind::ConsumerGroup, B);
    assert!(groups(&config).is_empty(), "a group that is gone");
    delete(&mut config, Kind::GroupMember, C);
    assert!(groups(&config).is_empty());
}

#[test]
fn a_server_name_is_found_by_its_present_name() {
    let mut config = Config::default();
    let sni = |name: &str| json!({ "id": A, "name": name, "certificate": { "id": B } });
    put(&mut config, Kind::Sni, sni("One.test"));
    assert!(config.sni_named("one.test").is_some(), "in lower case");
    put(&mut config, Kind::Sni, sni("*.two.test"));
    assert!(config.sni_named("one.test").is_none());
    assert_eq!(config.sni_named("*.two.test").unwrap().certificate.to_string(), B);
    assert_eq!((config.snis().count(), config.identities().count()), (1, 1));
    delete(&mut config, Kind::Sni, A);
    assert!(config.sni_named("*.two.test").is_none());
}

#[test]
fn a_route_too_wide_for_the_router_is_refused() {
    let texts = |prefix: &str| -> Vec<String> { (0..300).map(|n| format!("{prefix}{n}")).collect() };
    let mut document =
        json!({ "id": A, "hosts": texts("h"), "paths": texts("/p"), "created_at": 1, "updated_at": 1 });
    let refused = kinds().complete(Kind::Route, document.as_object_mut().unwrap());
    assert_eq!(refused.unwrap_err().iter().next().unwrap().pointer, "/paths");
}
