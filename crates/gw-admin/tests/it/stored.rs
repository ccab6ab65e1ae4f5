//! What is stored for what is to come: vaults, keys, filter chains, plugins for a group.

use serde_json::{Value, json};

use crate::support::{ABSENT, Admin, FORM, id, jwk, pem, with};

#[tokio::test]
async fn vaults() {
    let admin = Admin::new().await;
    let vault = json!({ "prefix": "my-env", "name": "env", "config": { "prefix": "GW_" } });
    let made = admin
        .check("POST /vaults", vault.clone(), 201, vault.clone())
        .await;
    let expected = json!({ "id": made["id"], "description": null, "tags": null });
    admin
        .check("GET /vaults/my-env", json!(null), 200, expected)
        .await;
    let taken = json!({ "code": 5, "fields": { "prefix": "my-env" } });
    admin.check("POST /vaults", vault, 409, taken).await;
    let put = json!({ "prefix": "other-1", "config": { "prefix": null } });
    admin
        .check("PUT /vaults/other-1", json!({ "name": "env" }), 200, put)
        .await;
    let absent = json!({ "fields": { "name": "vault 'hcv' is not installed; there is 'env'" } });
    admin
        .check(
            "POST /vaults",
            json!({ "prefix": "ab", "name": "hcv" }),
            400,
            absent,
        )
        .await;

    let schema = admin.get("/schemas/vaults/env").await.1;
    let prefix = &schema["fields"][0]["config"]["fields"][0]["prefix"];
    assert_eq!(
        (&prefix["type"], &prefix["required"]),
        (&json!("string"), &json!(false)),
        "{schema}"
    );
    let nothing = json!({ "message": "No vault named 'hcv'" });
    admin
        .check("GET /schemas/vaults/hcv", json!(null), 404, nothing)
        .await;
    let good = json!({ "message": "schema validation successful" });
    let body = json!({ "prefix": "ab", "name": "env" });
    admin
        .check("POST /schemas/vaults/validate", body, 200, good)
        .await;
    admin
        .check(
            "POST /schemas/vaults/validate",
            json!({}),
            400,
            json!({ "code": 2 }),
        )
        .await;
}

#[tokio::test]
async fn keys_are_unique_in_their_set_and_go_with_it() {
    let admin = Admin::new().await;
    for set in ["a", "b"] {
        let set = admin.make("/key-sets", json!({ "name": set })).await;
        let key = json!({ "kid": "1", "jwk": jwk("1") });
        let made = json!({ "set": { "id": set }, "name": null, "pem": null });
        admin
            .check(&format!("POST /key-sets/{set}/keys"), key, 201, made)
            .await;
    }
    let free = json!({ "kid": "1", "jwk": jwk("1"), "name": "free" });
    admin
        .check("POST /keys", free.clone(), 201, json!({ "set": null }))
        .await;
    let taken = admin
        .check(
            "POST /key-sets/a/keys",
            json!({ "kid": "1", "jwk": jwk("1") }),
            409,
            json!({ "code": 5 }),
        )
        .await;
    assert_eq!(taken["fields"]["kid"], "1", "{taken}");
    let again = with(free, json!({ "name": "again" }));
    let taken = json!({ "fields": { "kid": "1", "set": null }, "message": "UNIQUE violation detected on '{kid=\"1\",set=null}'" });
    admin.check("POST /keys", again, 409, taken).await;
    let by_name = json!({ "kid": "2", "jwk": jwk("2"), "set": { "name": "a" } });
    admin.check("POST /keys", by_name, 201, json!({})).await;
    assert_eq!(
        (admin.count("/key-sets/a/keys").await, admin.count("/keys").await),
        (2, 4)
    );
    admin
        .check(
            "GET /keys/free/set",
            json!(null),
            404,
            json!({ "message": "Not found" }),
        )
        .await;
    admin
        .check("DELETE /key-sets/a", json!(null), 204, json!(null))
        .await;
    assert_eq!(
        (admin.count("/keys").await, admin.count("/key-sets").await),
        (2, 1)
    );
    let patch = json!({ "set": { "name": "b" } });
    admin
        .check("PATCH /keys/free", patch, 409, json!({ "code": 5 }))
        .await;
    let form = format!("kid=3&pem.public_key={}", encoded(&pem("p256.pub")));
    let (status, made) = admin.send("POST /key-sets/b/keys", FORM, &form).await;
    assert_eq!(
        (status, &made["pem"]["public_key"]),
        (201, &json!(pem("p256.pub"))),
        "{made}"
    );
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn the_secret_half_of_a_key_is_kept_and_never_shown() {
    let admin = Admin::new().await;
    let secret =
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "open", "d": "SECRET" }).to_string();
    let both = json!({ "public_key": pem("p256.pub"), "private_key": pem("p256.key") });
    admin
        .make("/keys", json!({ "kid": "1", "name": "jwk", "jwk": secret }))
        .await;
    admin
        .make("/keys", json!({ "kid": "2", "name": "pem", "pem": both }))
        .await;
    let stored = || {
        let view = admin.store.view();
        let all = view
            .list("keys/", None)
            .map(|(_, entry)| String::from_utf8_lossy(&entry.value).into_owned());
        let all: String = all.collect();
        (all.contains("SECRET"), all.contains("PRIVATE KEY"))
    };
    assert_eq!(stored(), (true, true));
    for call in ["GET /keys", "GET /keys/jwk", "GET /keys/pem"] {
        let answer = admin.check(call, json!(null), 200, json!({})).await.to_string();
        assert!(
            !answer.contains("SECRET") && !answer.contains("PRIVATE KEY"),
            "{call}: {answer}"
        );
    }
    // What was read can be sent back, and a change of something else keeps the key whole.
    for name in ["jwk", "pem"] {
        let shown = admin.get(&format!("/keys/{name}")).await.1;
        let put = admin
            .check(&format!("PUT /keys/{name}"), shown.clone(), 200, json!({}))
            .await;
        assert_eq!((&put["jwk"], &put["pem"]), (&shown["jwk"], &shown["pem"]));
        let patch = json!({ "tags": ["t"] });
        admin
            .check(&format!("PATCH /keys/{name}"), patch, 200, json!({}))
            .await;
    }
    assert_eq!(stored(), (true, true));
    let other = json!({ "kid": "1", "jwk": jwk("1").replace("open", "new") });
    admin.check("PUT /keys/jwk", other.clone(), 200, other).await;
    let public = json!({ "pem": { "private_key": null } });
    admin.check("PATCH /keys/pem", public, 200, json!({})).await;
    assert_eq!(stored(), (false, false));
}

#[tokio::test]
async fn filter_chains_of_a_route_and_its_service() {
    let admin = Admin::new().await;
    let s = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let r = admin
        .make("/services/s/routes", json!({ "name": "r", "paths": ["/"] }))
        .await;
    let filters = json!([{ "name": "a", "config": "x" }, { "name": "b", "enabled": false }]);
    let chain = json!({ "name": "own", "filters": filters });
    let own = admin
        .check(
            "POST /routes/r/filter-chains",
            chain.clone(),
            201,
            json!({ "route": { "id": r }, "service": null }),
        )
        .await;
    let shared = json!({ "filters": [{ "name": "c", "config": { "k": 1 } }] });
    let shared = admin
        .check(
            "POST /services/s/filter-chains",
            shared,
            201,
            json!({ "service": { "id": s } }),
        )
        .await;
    let second = json!({ "name": "second", "filters": [{ "name": "a" }] });
    let taken = json!({ "code": 5, "fields": { "route": { "id": r }, "service": null } });
    admin
        .check("POST /routes/r/filter-chains", second, 409, taken)
        .await;
    let listed = |name: &str, config: Value, enabled: bool, from: &str, chain: &Value| {
        json!({
            "name": name, "config": config, "enabled": enabled, "from": from,
            "filter_chain": { "id": chain["id"], "name": chain["name"] },
        })
    };
    let all = [
        listed("c", json!({ "k": 1 }), true, "service", &shared),
        listed("a", json!("x"), true, "route", &own),
        listed("b", json!(null), false, "route", &own),
    ];
    for (which, expected) in [("all", &all[..]), ("enabled", &all[..2]), ("disabled", &all[2..])] {
        let path = format!("/routes/r/filters/{which}");
        assert_eq!(
            admin.get(&path).await,
            (200, json!({ "filters": expected })),
            "{which}"
        );
        let absent = format!("GET /routes/{ABSENT}/filters/{which}");
        admin
            .check(&absent, json!(null), 404, json!({ "message": "Not found" }))
            .await;
    }
    // One of a chain that is off does not run, whatever it says itself.
    let call = format!("PATCH /filter-chains/{}", id(&shared));
    admin
        .check(&call, json!({ "enabled": false }), 200, json!({}))
        .await;
    let enabled = admin.get("/routes/r/filters/enabled").await.1;
    assert_eq!(enabled, json!({ "filters": [all[1]] }));
    let neither = json!({ "fields": { "@entity": ["exactly one of these fields must be non-empty: 'route', 'service'"] } });
    admin.check("POST /filter-chains", chain, 400, neither).await;
    admin
        .check("DELETE /services/s?cascade=1", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.count("/filter-chains").await, 0);
}

#[tokio::test]
async fn plugins_for_a_consumer_group() {
    let admin = Admin::new().await;
    let group = admin.make("/consumer_groups", json!({ "name": "gold" })).await;
    let made = admin
        .check(
            "POST /consumer_groups/gold/plugins",
            json!({ "name": "idle", "instance_name": "p" }),
            201,
            json!({ "consumer_group": { "id": group }, "consumer": null, "route": null, "service": null }),
        )
        .await;
    // The same plugin for everybody, and for one consumer, are others.
    admin.make("/plugins", json!({ "name": "idle" })).await;
    admin.make("/consumers", json!({ "username": "c" })).await;
    admin
        .make("/consumers/c/plugins", json!({ "name": "idle" }))
        .await;
    let message = format!(
        "UNIQUE violation detected on '{{consumer=null,consumer_group={{id=\"{group}\"}},name=\"idle\",route=null,service=null}}'"
    );
    let taken = json!({ "code": 5, "message": message });
    admin
        .check(
            "POST /consumer_groups/gold/plugins",
            json!({ "name": "idle" }),
            409,
            taken,
        )
        .await;
    let message = "UNIQUE violation detected on '{consumer=null,name=\"idle\",route=null,service=null}'";
    let taken = json!({ "code": 5, "message": message });
    admin
        .check("POST /plugins", json!({ "name": "idle" }), 409, taken)
        .await;
    for path in ["/plugins/p", "/consumer_groups/gold/plugins/p"] {
        let call = format!("GET {path}");
        admin
            .check(&call, json!(null), 200, json!({ "id": made["id"] }))
            .await;
    }
    admin
        .check(
            "GET /plugins/p/consumer_group",
            json!(null),
            200,
            json!({ "id": group }),
        )
        .await;
    let refused = json!({ "fields": { "consumer_group": "value must be null" } });
    admin
        .check(
            "POST /consumer_groups/gold/plugins",
            json!({ "name": "key-auth" }),
            400,
            refused,
        )
        .await;
    let schema = admin.get("/schemas/plugins/key-auth").await.1;
    let group = &schema["fields"][1]["consumer_group"];
    assert_eq!(
        (&group["reference"], &group["eq"]),
        (&json!("consumer_groups"), &Value::Null),
        "{schema}"
    );
    admin
        .check("DELETE /consumer_groups/gold", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.count("/plugins").await, 2);
}
