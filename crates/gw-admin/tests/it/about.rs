//! What the API says about itself: tags, schemas, validation, memory.

use serde_json::{Value, json};

use crate::support::{Admin, FORM, one_of_each};

#[tokio::test]
async fn tags_of_everything() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    let tagged = |list: &Value| -> Vec<String> {
        let items = list["data"].as_array().unwrap().iter();
        items
            .map(|item| {
                assert_eq!(item["entity_id"].as_str().unwrap().len(), 36);
                format!("{} {}", item["tag"], item["entity_name"]).replace('"', "")
            })
            .collect()
    };
    let all = ["t certificates", "t consumers", "t services", "u services"];
    assert_eq!(tagged(&admin.get("/tags").await.1), all);
    assert_eq!(tagged(&admin.get("/tags/t").await.1), &all[..3]);
    for (path, expected) in [("/tags?size=1", &all[..]), ("/tags/t?size=2", &all[..3])] {
        let (mut path, mut seen) = (path.to_owned(), Vec::new());
        loop {
            let page = admin.get(&path).await.1;
            seen.extend(tagged(&page));
            match page["next"].as_str() {
                Some(next) => path = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, expected);
    }
    let nothing = json!({ "data": [], "next": null });
    assert_eq!(admin.get("/tags/x").await, (200, nothing.clone()));
    admin
        .check("GET /tags?size=0", json!(null), 400, json!({ "code": 9 }))
        .await;
    admin
        .check("GET /tags?offset=!", json!(null), 400, json!({ "code": 7 }))
        .await;
    admin
        .check("PATCH /services/s", json!({ "tags": null }), 200, json!({}))
        .await;
    assert_eq!(admin.get("/tags/u").await, (200, nothing));
}

#[tokio::test]
async fn schemas_in_kongs_shape() {
    let admin = Admin::new().await;
    let schema = admin.get("/schemas/services").await.1;
    let field = |schema: &Value, name: &str| -> Value {
        let fields = schema["fields"].as_array().unwrap().iter();
        let mut found = fields.filter_map(|field| field.get(name));
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {schema}"))
            .clone()
    };
    for (name, expected) in [
        (
            "id",
            json!({ "type": "string", "uuid": true, "auto": true, "required": false }),
        ),
        (
            "port",
            json!({ "type": "integer", "between": [0, 65535], "default": 80, "required": true }),
        ),
        (
            "host",
            json!({ "type": "string", "required": true, "len_min": 1 }),
        ),
        (
            "name",
            json!({ "type": "string", "unique": true, "required": false }),
        ),
        (
            "client_certificate",
            json!({ "type": "foreign", "reference": "certificates", "required": false }),
        ),
        (
            "ca_certificates",
            json!({ "type": "array", "elements": { "type": "string", "uuid": true } }),
        ),
        (
            "tags",
            json!({ "type": "set", "elements": { "type": "string", "required": true } }),
        ),
        ("protocol", json!({ "type": "string", "default": "http" })),
    ] {
        crate::support::assert_holds(&field(&schema, name), &expected, name);
    }
    let check = &schema["entity_checks"][0]["conditional"];
    assert_eq!(
        (&check["if_field"], &check["then_match"]),
        (&json!("protocol"), &json!({ "eq": null }))
    );
    let route = admin.get("/schemas/routes").await.1;
    let headers = json!({ "type": "map", "keys": { "type": "string" }, "values": { "type": "array" } });
    crate::support::assert_holds(&field(&route, "headers"), &headers, "headers");
    let upstream = admin.get("/schemas/upstreams").await.1;
    let active = field(&field(&upstream, "healthchecks"), "active");
    assert_eq!(field(&active, "timeout")["default"], json!(1), "{active}");
    let consumer = admin.get("/schemas/consumers").await.1;
    assert_eq!(
        consumer["entity_checks"],
        json!([{ "at_least_one_of": ["custom_id", "username"] }])
    );

    for path in ["/schemas/plugins/key-auth", "/plugins/schema/key-auth"] {
        let plugin = admin.get(path).await.1;
        assert_eq!(field(&plugin, "consumer")["eq"], Value::Null);
        assert_eq!(field(&plugin, "protocols")["type"], "set");
        let names = field(&field(&plugin, "config"), "key_names");
        assert_eq!(
            (&names["type"], &names["default"]),
            (&json!("array"), &json!(["apikey"]))
        );
    }
    let nothing = json!({ "message": "No entity named 'x'" });
    admin
        .check("GET /schemas/x", json!(null), 404, nothing.clone())
        .await;
    admin
        .check("POST /schemas/x/validate", json!({}), 404, nothing)
        .await;
    let nothing = json!({ "message": "No plugin named 'x'" });
    admin
        .check("GET /schemas/plugins/x", json!(null), 404, nothing)
        .await;
    admin
        .check("POST /schemas/services", json!({}), 405, json!({}))
        .await;
    admin
        .check("GET /schemas/services/validate", json!(null), 405, json!({}))
        .await;
}

#[tokio::test]
async fn validation_writes_nothing() {
    let admin = Admin::new().await;
    let good = json!({ "message": "schema validation successful" });
    for (kind, body) in [
        ("services", json!({ "url": "http://a" })),
        ("routes", json!({ "paths": ["/"] })),
        (
            "plugins",
            json!({ "name": "key-auth", "config": { "key_names": ["a"] } }),
        ),
        (
            "keyauth_credentials",
            json!({ "consumer": { "id": crate::support::ABSENT } }),
        ),
        ("certificates", crate::support::pair("p256")),
    ] {
        let path = format!("POST /schemas/{kind}/validate");
        admin.check(&path, body, 200, good.clone()).await;
    }
    let (status, answer) = admin
        .send("POST /schemas/services/validate", FORM, "host=a&port=80")
        .await;
    assert_eq!((status, answer), (200, good));
    for (kind, body, fields) in [
        ("services", json!({}), json!({ "host": "required field missing" })),
        (
            "services",
            json!({ "host": "a", "prot": 1 }),
            json!({ "prot": "unknown field" }),
        ),
        (
            "plugins",
            json!({ "name": "key-auth", "config": { "key_names": 1 } }),
            json!({ "config": { "key_names": "expected an array" } }),
        ),
        ("plugins", json!({ "name": "x" }), json!({})),
        ("certificates", json!({ "cert": "x", "key": "y" }), json!({})),
    ] {
        let path = format!("POST /schemas/{kind}/validate");
        admin
            .check(&path, body, 400, json!({ "code": 2, "fields": fields }))
            .await;
    }
    assert_eq!(admin.revision(), 0);
}

#[tokio::test]
async fn memory_by_unit_and_scale() {
    let admin = Admin::new().await;
    let shown = async |query: &str| {
        let (status, answer) = admin.get(&format!("/status{query}")).await;
        assert_eq!(status, 200, "{answer}");
        answer["memory"]["workers_lua_vms"][0]["http_allocated_gc"].clone()
    };
    assert!(shown("").await.as_str().unwrap().ends_with(" MiB"));
    assert!(shown("?unit=b").await.as_u64().unwrap() > 1024 * 1024);
    let kib = shown("?unit=K&scale=0").await;
    let kib = kib
        .as_str()
        .unwrap()
        .strip_suffix(" KiB")
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert!(kib > 1024, "{kib}");
    let gib = shown("?unit=g&scale=4").await;
    assert_eq!(gib.as_str().unwrap().find(" GiB"), Some(6), "{gib}");
    for query in ["unit=x", "unit=", "scale=x", "scale=-1", "scale=10"] {
        let path = format!("GET /status?{query}");
        admin.check(&path, json!(null), 400, json!({})).await;
    }
}
