//! Paths through other entities: parents, children, and what a field refers to.

use serde_json::{Value, json};

use crate::support::{ABSENT, Admin};

#[tokio::test]
async fn children_belong_to_their_parent() {
    let admin = Admin::new().await;
    let s = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    admin
        .make("/services", json!({ "name": "other", "host": "a" }))
        .await;
    let r = admin
        .make("/services/s/routes", json!({ "name": "r", "paths": ["/"] }))
        .await;
    for one in [
        "/services/s/routes/r".to_owned(),
        format!("/services/{s}/routes/{r}"),
    ] {
        admin
            .check(
                &format!("GET {one}"),
                json!(null),
                200,
                json!({ "id": r, "service": { "id": s } }),
            )
            .await;
        admin
            .check(
                &format!("PATCH {one}"),
                json!({ "tags": ["t"] }),
                200,
                json!({ "id": r, "tags": ["t"] }),
            )
            .await;
        admin
            .check(
                &format!("PUT {one}"),
                json!({ "name": "r", "paths": ["/"] }),
                200,
                json!({ "id": r, "service": { "id": s }, "tags": null }),
            )
            .await;
    }
    let not_found = json!({ "message": "Not found" });
    for call in ["GET", "PATCH", "PUT", "DELETE"] {
        for one in ["/services/other/routes/r", "/services/nobody/routes/r"] {
            admin
                .check(&format!("{call} {one}"), json!(null), 404, not_found.clone())
                .await;
        }
    }
    for call in ["GET", "POST"] {
        admin
            .check(
                &format!("{call} /services/nobody/routes"),
                json!(null),
                404,
                not_found.clone(),
            )
            .await;
    }
    admin
        .check(
            "PATCH /services/s/routes/x",
            json!({}),
            404,
            json!({ "code": 6, "fields": { "name": "x" } }),
        )
        .await;
    let made = json!({ "name": "new", "service": { "id": s } });
    admin
        .check("PUT /services/s/routes/new", json!({ "paths": ["/"] }), 200, made)
        .await;
    assert_eq!(
        (
            admin.count("/services/s/routes").await,
            admin.count("/services/other/routes").await
        ),
        (2, 0)
    );

    let elsewhere = json!({ "paths": ["/"], "service": { "name": "other" } });
    let refusal =
        json!({ "code": 2, "fields": { "service": format!("must be '{s}', which the path names") } });
    admin
        .check("POST /services/s/routes", elsewhere, 400, refusal)
        .await;
    let same = json!({ "paths": ["/"], "service": { "name": "s" } });
    admin
        .check(
            "POST /services/s/routes",
            same,
            201,
            json!({ "service": { "id": s } }),
        )
        .await;
    admin
        .check("DELETE /services/s/routes/r", json!(null), 204, Value::Null)
        .await;
    admin
        .check("DELETE /services/s/routes/r", json!(null), 204, Value::Null)
        .await;
}

#[tokio::test]
async fn what_a_field_refers_to() {
    let admin = Admin::new().await;
    let s = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let r = admin
        .make("/services/s/routes", json!({ "name": "r", "paths": ["/"] }))
        .await;
    admin
        .make("/routes", json!({ "name": "free", "paths": ["/"] }))
        .await;
    let p = admin
        .make(
            "/routes/r/plugins",
            json!({ "name": "key-auth", "instance_name": "auth" }),
        )
        .await;
    let c = admin.make("/consumers", json!({ "username": "c" })).await;
    let k = admin.make("/consumers/c/key-auth", json!({ "key": "k" })).await;

    admin
        .check("GET /routes/r/service", json!(null), 200, json!({ "id": s }))
        .await;
    admin
        .check(
            &format!("GET /plugins/{p}/route"),
            json!(null),
            200,
            json!({ "id": r }),
        )
        .await;
    admin
        .check("GET /plugins/auth/route", json!(null), 200, json!({ "id": r }))
        .await;
    admin
        .check(
            &format!("GET /key-auths/{k}/consumer"),
            json!(null),
            200,
            json!({ "id": c }),
        )
        .await;
    admin
        .check("GET /key-auths/k/consumer", json!(null), 200, json!({ "id": c }))
        .await;
    for nothing in [
        "/routes/free/service",
        "/routes/x/service",
        "/plugins/auth/service",
        "/plugins/auth/consumer",
    ] {
        admin
            .check(
                &format!("GET {nothing}"),
                json!(null),
                404,
                json!({ "message": "Not found" }),
            )
            .await;
    }
    admin
        .check(
            "PATCH /routes/r/service",
            json!({ "port": 1 }),
            200,
            json!({ "id": s, "port": 1, "name": "s" }),
        )
        .await;
    admin
        .check(
            "PUT /routes/r/service",
            json!({ "host": "b" }),
            200,
            json!({ "id": s, "port": 80, "name": null }),
        )
        .await;
    admin
        .check(
            "DELETE /routes/r/service",
            json!(null),
            405,
            json!({ "message": "Method not allowed" }),
        )
        .await;
    admin
        .check(
            "PATCH /routes/free/service",
            json!({}),
            404,
            json!({ "message": "Not found" }),
        )
        .await;
}

#[tokio::test]
async fn targets_live_below_their_upstream() {
    let admin = Admin::new().await;
    let u = admin.make("/upstreams", json!({ "name": "u" })).await;
    admin.make("/upstreams", json!({ "name": "v" })).await;
    let t = admin
        .check(
            "POST /upstreams/u/targets",
            json!({ "target": "api.test" }),
            201,
            json!({ "target": "api.test:8000" }),
        )
        .await;
    let t = t["id"].as_str().unwrap();
    let other = admin
        .make(
            "/upstreams/v/targets",
            json!({ "target": "api.test:8000", "weight": 1 }),
        )
        .await;
    for one in [t, "api.test:8000", "api.test", "API.test:8000"]
        .into_iter()
        .take(3)
    {
        admin
            .check(
                &format!("GET /upstreams/u/targets/{one}"),
                json!(null),
                200,
                json!({ "id": t, "weight": 100 }),
            )
            .await;
    }
    admin
        .check(
            "GET /upstreams/v/targets/api.test",
            json!(null),
            200,
            json!({ "id": other, "weight": 1 }),
        )
        .await;
    admin
        .check(
            &format!("GET /upstreams/v/targets/{t}"),
            json!(null),
            404,
            json!({}),
        )
        .await;
    admin
        .check(
            "PATCH /upstreams/u/targets/api.test",
            json!({ "weight": 5 }),
            200,
            json!({ "id": t, "weight": 5 }),
        )
        .await;
    let put = admin
        .check(
            "PUT /upstreams/u/targets/api.test:8000",
            json!({}),
            200,
            json!({ "id": t, "weight": 100 }),
        )
        .await;
    assert_eq!(put["upstream"], json!({ "id": u }));
    let made = json!({ "target": "[::1]:80", "upstream": { "id": u } });
    admin
        .check("PUT /upstreams/u/targets/%5B::1%5D:80", json!({}), 200, made)
        .await;
    admin
        .check(
            "PATCH /upstreams/u/targets/x:1",
            json!({}),
            404,
            json!({ "fields": { "target": "x:1" } }),
        )
        .await;
    let immutable = admin
        .check(
            "PATCH /upstreams/u/targets/api.test",
            json!({ "upstream": { "name": "v" } }),
            400,
            json!({}),
        )
        .await;
    assert_eq!(immutable["code"], 2);

    assert_eq!(
        (
            admin.count("/upstreams/u/targets").await,
            admin.count("/upstreams/u/targets/all").await
        ),
        (2, 2)
    );
    for (call, status) in [
        ("GET /targets", 404),
        ("POST /targets", 404),
        (&format!("GET /targets/{t}"), 404),
        (&format!("GET /targets/{t}/upstream"), 404),
        ("POST /upstreams/u/targets/all", 405),
        ("PUT /upstreams/u/targets", 405),
        ("DELETE /upstreams/u/targets", 405),
    ] {
        let message = if status == 404 {
            "Not found"
        } else {
            "Method not allowed"
        };
        admin
            .check(call, json!(null), status, json!({ "message": message }))
            .await;
    }
    for bad in ["", "a b", "host:port", "a:99999999", "[::1", "-x"] {
        let body = json!({ "target": bad });
        let answer = admin
            .check("POST /upstreams/u/targets", body, 400, json!({ "code": 2 }))
            .await;
        assert!(answer["fields"]["target"].is_string(), "{bad}: {answer}");
    }
    admin
        .check(
            "DELETE /upstreams/u/targets/api.test",
            json!(null),
            204,
            Value::Null,
        )
        .await;
    assert_eq!(admin.count("/upstreams/v/targets").await, 1);
    admin
        .check(
            &format!("GET /upstreams/{ABSENT}/targets"),
            json!(null),
            404,
            json!({}),
        )
        .await;
}

#[tokio::test]
async fn flat_credentials_need_their_consumer() {
    let admin = Admin::new().await;
    admin
        .check(
            "POST /key-auths",
            json!({}),
            400,
            json!({ "fields": { "consumer": "required field missing" } }),
        )
        .await;
    let c = admin.make("/consumers", json!({ "username": "c" })).await;
    let flat = json!({ "consumer": { "username": "c" }, "key": "a/b c" });
    admin
        .check(
            "POST /key-auths",
            flat,
            201,
            json!({ "consumer": { "id": c }, "key": "a/b c" }),
        )
        .await;
    admin
        .check(
            "GET /key-auths/a%2Fb%20c",
            json!(null),
            200,
            json!({ "key": "a/b c" }),
        )
        .await;
    admin
        .check(
            "PUT /consumers/c/key-auth/secret",
            json!({ "ttl": 60 }),
            200,
            json!({ "key": "secret", "ttl": 60 }),
        )
        .await;
    let put = admin
        .check(
            "PUT /key-auths/secret",
            json!({ "consumer": { "id": c } }),
            200,
            json!({ "ttl": null }),
        )
        .await;
    assert_eq!(put["key"], "secret");
    let group = json!({ "group": "gold" });
    let made = admin
        .check("POST /consumers/c/acls", group.clone(), 201, group.clone())
        .await;
    let message = format!("UNIQUE violation detected on '{{consumer={{id=\"{c}\"}},group=\"gold\"}}'");
    admin
        .check(
            "POST /consumers/c/acls",
            group,
            409,
            json!({ "message": message }),
        )
        .await;
    let one = format!("/consumers/c/acls/{}", made["id"].as_str().unwrap());
    admin
        .check(&format!("DELETE {one}"), json!(null), 204, Value::Null)
        .await;
}
