//! Who is let in by which groups, and what the upstream is told.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gw_core::CredentialKind;
use http::Request;
use serde_json::{Value, json};

use super::Acl;
use crate::builtin::key_auth::KeyAuth;
use crate::identity::Identity;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

const ANN: &str = "11111111-1111-4111-8111-111111111111";
const BOB: &str = "22222222-2222-4222-8222-222222222222";

/// Ann is in two groups and in a consumer group, Bob in none.
fn kit(config: Value) -> Kit {
    let registry = Registry::new().with::<KeyAuth>().with::<Acl>();
    let id = |number: u32| format!("33333333-3333-4333-8333-{number:012}");
    let acl =
        |number: u32, group: &str| json!({ "id": id(number), "group": group, "consumer": { "id": ANN } });
    let key = |number: u32, key: &str, consumer: &str| json!({ "id": id(number), "key": key, "consumer": { "id": consumer } });
    Kit::of(&registry, "acl", config)
        .entity("consumers", json!({ "id": ANN, "username": "ann" }))
        .entity("consumers", json!({ "id": BOB, "username": "bob" }))
        .entity("keyauth_credentials", key(1, "ann", ANN))
        .entity("keyauth_credentials", key(2, "bob", BOB))
        .entity("acls", acl(3, "admins"))
        .entity("acls", acl(4, "users"))
        .entity("consumer_groups", json!({ "id": id(5), "name": "gold" }))
        .entity(
            "consumer_group_consumers",
            json!({ "id": id(6), "consumer": { "id": ANN }, "consumer_group": { "id": id(5) } }),
        )
}

/// A caller who has shown a key.
fn known(kit: &Kit, name: &str) -> Identity {
    let credential = kit
        .config()
        .credential(CredentialKind("keyauth_credentials"), name);
    Identity {
        credential: credential.cloned(),
        ..anonymous(kit, name)
    }
}

fn anonymous(kit: &Kit, name: &str) -> Identity {
    Identity {
        consumer: kit.config().consumer_named(name).cloned(),
        ..Identity::default()
    }
}

fn vouched(identity: Identity, groups: &[&str]) -> Identity {
    let groups: Vec<Box<str>> = groups.iter().map(|group| Box::from(*group)).collect();
    Identity {
        groups: Some(Arc::from(groups)),
        ..identity
    }
}

fn access(kit: &Kit, identity: Identity) -> Ran {
    let request = Request::get("/")
        .header("x-consumer-groups", "forged")
        .header("x-authenticated-groups", "forged");
    match pin!(kit.access_as(request.body("").unwrap(), identity))
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(ran) => ran,
        Poll::Pending => panic!("it does not wait"),
    }
}

fn told<'r>(ran: &'r Ran, header: &str) -> Option<&'r str> {
    ran.head.headers.get(header).map(|value| value.to_str().unwrap())
}

/// The status, 200 for a caller who is let in, and the groups the upstream is told.
fn outcome(kit: &Kit, identity: Identity) -> (u16, Option<String>, Option<String>) {
    let ran = access(kit, identity);
    match &ran.reply {
        Some(reply) => {
            let message = if reply.status == 401 {
                "Unauthorized"
            } else {
                "You cannot consume this service"
            };
            assert_eq!(reply.text(), Some(message));
            (reply.status.as_u16(), None, None)
        }
        None => {
            let owned = |header| told(&ran, header).map(str::to_owned);
            (200, owned("x-consumer-groups"), owned("x-authenticated-groups"))
        }
    }
}

fn groups(text: &str) -> (u16, Option<String>, Option<String>) {
    (200, Some(text.to_owned()), None)
}

const NOTHING_TOLD: (u16, Option<String>, Option<String>) = (200, None, None);
const FORBIDDEN: (u16, Option<String>, Option<String>) = (403, None, None);
const UNAUTHORIZED: (u16, Option<String>, Option<String>) = (401, None, None);

#[test]
fn groups_let_in_or_keep_out() {
    let allow = kit(json!({ "allow": ["users", "others"] }));
    assert_eq!(outcome(&allow, known(&allow, "ann")), groups("admins, users"));
    assert_eq!(outcome(&allow, known(&allow, "bob")), FORBIDDEN);
    assert_eq!(outcome(&allow, anonymous(&allow, "bob")), UNAUTHORIZED);
    assert_eq!(outcome(&allow, anonymous(&allow, "ann")), groups("admins, users"));
    assert_eq!(outcome(&allow, Identity::default()), UNAUTHORIZED);

    let deny = kit(json!({ "deny": ["users"] }));
    assert_eq!(outcome(&deny, known(&deny, "ann")), FORBIDDEN);
    assert_eq!(outcome(&deny, known(&deny, "bob")), NOTHING_TOLD);
    assert_eq!(outcome(&deny, anonymous(&deny, "bob")), NOTHING_TOLD);
    assert_eq!(outcome(&deny, Identity::default()), UNAUTHORIZED);

    let other = kit(json!({ "allow": ["operators"] }));
    assert_eq!(outcome(&other, known(&other, "ann")), FORBIDDEN);
    assert_eq!(outcome(&other, anonymous(&other, "ann")), FORBIDDEN);
}

#[test]
fn the_header_can_be_left_out_and_is_never_the_clients() {
    let hidden = kit(json!({ "allow": ["users"], "hide_groups_header": true }));
    assert_eq!(outcome(&hidden, known(&hidden, "ann")), NOTHING_TOLD);
}

#[test]
fn consumer_groups_count_where_they_are_to() {
    let without = kit(json!({ "allow": ["gold"] }));
    assert_eq!(outcome(&without, known(&without, "ann")), FORBIDDEN);
    let with = kit(json!({ "allow": ["gold"], "include_consumer_groups": true }));
    assert_eq!(outcome(&with, known(&with, "ann")), groups("admins, users, gold"));
}

#[test]
fn groups_that_somebody_vouches_for() {
    let told = |text: &str| (200, None, Some(text.to_owned()));
    let kit_of = |always: bool| kit(json!({ "allow": ["staff"], "always_use_authenticated_groups": always }));
    let own = kit_of(false);
    assert_eq!(
        outcome(&own, vouched(Identity::default(), &["staff", "x"])),
        told("staff, x")
    );
    assert_eq!(
        outcome(&own, vouched(anonymous(&own, "bob"), &["staff"])),
        told("staff")
    );
    assert_eq!(outcome(&own, vouched(known(&own, "ann"), &["staff"])), FORBIDDEN);
    assert_eq!(outcome(&own, vouched(Identity::default(), &["x"])), FORBIDDEN);
    let always = kit_of(true);
    assert_eq!(
        outcome(&always, vouched(known(&always, "ann"), &["staff"])),
        told("staff")
    );
    assert_eq!(outcome(&always, known(&always, "ann")), FORBIDDEN);
}

#[test]
fn wrong_settings_are_named() {
    let registry = Registry::new().with::<Acl>();
    for (document, pointer) in [
        (json!({ "name": "acl", "config": {} }), "/config"),
        (
            json!({ "name": "acl", "config": { "allow": ["a"], "deny": ["b"] } }),
            "/config",
        ),
        (
            json!({ "name": "acl", "config": { "allow": "a" } }),
            "/config/allow",
        ),
        (
            json!({ "name": "acl", "config": { "allow": ["a"] }, "consumer": { "id": ANN } }),
            "/consumer",
        ),
    ] {
        let mut document = document.as_object().unwrap().clone();
        let refused = registry.complete(&mut document).unwrap_err();
        assert_eq!(
            refused.into_iter().next().unwrap().pointer,
            pointer,
            "{document:?}"
        );
    }
}

#[test]
fn a_decision_takes_no_memory() {
    let measured = |config: Value| {
        let kit = kit(config);
        let identity = known(&kit, "ann");
        let request = || Request::get("/").body("").unwrap();
        let mut all = (identity.clone(), identity, request(), request());
        let run = |identity: Identity, request| {
            let mut cx = Context::from_waker(Waker::noop());
            let ran = pin!(kit.access_as(request, identity)).poll(&mut cx);
            assert!(matches!(ran, Poll::Ready(ran) if ran.reply.is_none()));
        };
        run(std::mem::take(&mut all.0), all.2);
        allocation_counter::measure(|| run(all.1, all.3)).count_total
    };
    let told = measured(json!({ "allow": ["users"] }));
    let hidden = measured(json!({ "allow": ["users"], "hide_groups_header": true }));
    // The first place of an empty header map; the text was written for the first request.
    assert_eq!(told - hidden, 2);
}
