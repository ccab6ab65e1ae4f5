//! What is exported can be loaded again, and says when it cannot.

use serde_json::{Value, json};

use crate::declarative::{YAML, entities, fixture, load};
use crate::support::{Admin, one_of_each, pair, pem, with};

async fn export(admin: &Admin) -> (String, Value) {
    let (status, answer) = admin.get("/config").await;
    assert_eq!(status, 200);
    (
        answer["config"].as_str().unwrap().to_owned(),
        answer["omitted"].clone(),
    )
}

#[tokio::test]
async fn an_empty_gateway_takes_what_another_exports() {
    let admin = Admin::new().await;
    load(&admin, &fixture("nested.yml")).await;
    // A key with nothing secret in it, instead of one that no export shows.
    let set = admin.get("/keys/first").await.1["set"].clone();
    let public = json!({ "kid": "2", "set": set, "pem": { "public_key": pem("p256.pub") } });
    admin.make("/keys", public).await;
    admin
        .check("DELETE /keys/first", json!(null), 204, json!(null))
        .await;
    let text = json!({ "name": "odd", "host": "a", "tags": ["1.0", "yes", "a: b", " x", "#", "é\u{2028}"] });
    admin.make("/services", text).await;
    let (config, omitted) = export(&admin).await;
    assert_eq!(omitted, json!([]));

    let other = Admin::new().await;
    load(&other, &config).await;
    assert_eq!(entities(&other).await, entities(&admin).await);
    assert_eq!(export(&other).await.0, config);
    // And where it comes from it changes nothing.
    let (status, _) = admin.send("POST /config?check_hash=1", YAML, &config).await;
    assert_eq!(status, 304);
}

#[tokio::test]
async fn private_keys_stay_where_they_are() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    let both = json!({
        "cert_alt": pem("rsa.crt"), "key_alt": pem("rsa.key"),
    });
    admin.make("/certificates", with(pair("p384"), both)).await;
    let jwk = json!({ "kty": "oct", "kid": "1", "k": "c2VjcmV0" }).to_string();
    admin
        .make("/keys", json!({ "name": "k", "kid": "1", "jwk": jwk }))
        .await;
    let (config, omitted) = export(&admin).await;
    assert!(
        !config.contains("PRIVATE KEY") && !config.contains("c2VjcmV0"),
        "{config}"
    );
    assert!(config.contains("Private keys are not shown"), "{config}");
    let fields: Vec<&Value> = omitted
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["fields"])
        .collect();
    assert!(
        fields.contains(&&json!(["key"])) && fields.contains(&&json!(["key", "key_alt"])),
        "{omitted}"
    );
    assert!(fields.contains(&&json!(["jwk"])), "{omitted}");

    // Where the keys are they stay.
    let before = entities(&admin).await;
    let (status, answer) = admin.send("POST /config?check_hash=1", YAML, &config).await;
    assert_eq!(status, 304, "{answer:#}");
    let tagged = config.replace("_comment: \"not shown: key, key_alt\"", "tags: [x]");
    let (status, answer) = admin.send("POST /config", YAML, &tagged).await;
    assert_eq!(status, 201, "{answer:#}");
    assert!(entities(&admin).await != before && !answer.to_string().contains("PRIVATE KEY"));
    let other = json!({ "cert": pem("p521.crt") });
    let refused = json!({ "fields": { "@entity": ["certificate does not match key"] } });
    let certificate = answer["certificates"].as_object().unwrap().keys().next().unwrap();
    admin
        .check(&format!("PATCH /certificates/{certificate}"), other, 400, refused)
        .await;

    // Elsewhere they are missing, and that is said.
    let other = Admin::new().await;
    let (status, answer) = other.send("POST /config", YAML, &config).await;
    assert_eq!(status, 400);
    let told: Vec<&Value> = answer["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["message"])
        .collect();
    let missing = told
        .iter()
        .filter(|message| **message == "required field missing");
    assert_eq!(missing.count(), 2, "{told:?}");
}
