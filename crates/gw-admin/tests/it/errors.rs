//! One test per error code: status, wording, fields, and the extras beside them.

use serde_json::json;

use crate::support::{ABSENT, Admin, pem};

#[tokio::test]
async fn code_1_an_id_that_is_none() {
    let admin = Admin::new().await;
    let expected = json!({
        "message": "invalid primary key: '{id=\"gold\"}'", "name": "invalid primary key", "fields": { "id": "gold" },
        "code": 1,
    });
    for call in ["GET", "PATCH", "PUT", "DELETE"] {
        admin
            .check(&format!("{call} /acls/gold"), json!(null), 400, expected.clone())
            .await;
    }
    admin
        .check(
            &format!("GET /acls/{ABSENT}"),
            json!(null),
            404,
            json!({ "message": "Not found" }),
        )
        .await;
}

#[tokio::test]
async fn code_2_every_violation_at_once_in_the_shape_of_the_document() {
    let admin = Admin::new().await;
    let one = json!({
        "message": "schema violation (host: required field missing)", "name": "schema violation",
        "fields": { "host": "required field missing" }, "code": 2,
        "violations": [{ "pointer": "/host", "message": "required field missing" }],
    });
    admin.check("POST /services", json!({}), 400, one).await;
    admin
        .check("POST /services", json!(null), 400, json!({ "code": 2 }))
        .await;

    let many = admin
        .check(
            "POST /services",
            json!({ "host": "a", "port": "80", "retries": 40000, "protocol": "gopher", "pathh": "/", "id": 1 }),
            400,
            json!({
                "code": 2,
                "fields": {
                    "port": "expected an integer", "retries": "value should be between 0 and 32767",
                    "pathh": "unknown field",
                },
            }),
        )
        .await;
    let message = many["message"].as_str().unwrap();
    assert!(message.starts_with("5 schema violations (id: "), "{message}");
    assert_eq!(many["violations"].as_array().unwrap().len(), 5);
    let hint = many["violations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|v| v["pointer"] == "/pathh")
        .unwrap();
    assert!(hint["hint"].as_str().unwrap().contains("path"), "{hint}");

    let url = json!({ "fields": { "host": "required field missing" } });
    let url = admin
        .check("POST /services", json!({ "url": "invalid url" }), 400, url)
        .await;
    assert_eq!(url["violations"].as_array().unwrap().len(), 2, "{url}");
    assert!(url["fields"]["path"].is_string());
}

#[tokio::test]
async fn code_2_arrays_keep_positions_and_records_speak_for_themselves() {
    let admin = Admin::new().await;
    let paths = json!({ "paths": ["/a", "/b", "c"], "hosts": ["a*b"] });
    let answer = admin
        .check("POST /routes", paths, 400, json!({ "code": 2 }))
        .await;
    let listed = answer["fields"]["paths"].as_array().unwrap();
    assert!(listed[0].is_null() && listed[1].is_null());
    assert_eq!(
        listed[2],
        json!("should start with: / (fixed path) or ~/ (regex path)")
    );
    assert!(answer["fields"]["hosts"][0].is_string());

    let entity = "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'";
    let expected =
        json!({ "message": format!("schema violation ({entity})"), "fields": { "@entity": [entity] } });
    admin.check("POST /routes", json!({}), 400, expected).await;

    let neither = "at least one of these fields must be non-empty: 'custom_id', 'username'";
    admin
        .check(
            "POST /consumers",
            json!({}),
            400,
            json!({ "fields": { "@entity": [neither] } }),
        )
        .await;
}

#[tokio::test]
async fn code_2_plugins() {
    let admin = Admin::new().await;
    let unknown = "plugin 'nope' not enabled; add it to the 'plugins' configuration property";
    let expected =
        json!({ "message": format!("schema violation (name: {unknown})"), "fields": { "name": unknown } });
    admin
        .check("POST /plugins", json!({ "name": "nope" }), 400, expected)
        .await;

    let nameless = json!({ "message": "schema violation (name: required field missing)" });
    admin
        .check("POST /plugins", json!({ "config": {} }), 400, nameless)
        .await;

    let body = json!({ "name": "key-auth", "config": { "key_in_header": "yes", "no": 1 }, "enabled": 1 });
    let fields = json!({ "config": { "key_in_header": "expected a boolean", "no": "unknown field" } });
    let answer = admin
        .check("POST /plugins", body, 400, json!({ "fields": fields }))
        .await;
    assert_eq!(answer["violations"].as_array().unwrap().len(), 3, "{answer}");

    admin.make("/consumers", json!({ "username": "c" })).await;
    let bound = json!({ "fields": { "consumer": "value must be null" } });
    admin
        .check(
            "POST /consumers/c/plugins",
            json!({ "name": "key-auth" }),
            400,
            bound,
        )
        .await;
}

#[tokio::test]
async fn code_2_protocols_of_a_plugin_and_its_route() {
    let admin = Admin::new().await;
    let service = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let key_auth = json!({ "name": "key-auth", "protocols": ["grpc"] });
    let id = admin.make("/services/s/plugins", key_auth.clone()).await;
    admin
        .check(&format!("DELETE /plugins/{id}"), json!(null), 204, json!(null))
        .await;
    admin
        .make(
            "/routes",
            json!({ "name": "r", "paths": ["/"], "service": { "id": service } }),
        )
        .await;
    let wrong =
        json!({ "fields": { "protocols": { "@entity": ["must match the associated route's protocols"] } } });
    let answer = admin
        .check(
            "POST /routes/r/plugins",
            key_auth.clone(),
            400,
            json!({ "code": 2 }),
        )
        .await;
    crate::support::assert_holds(&answer, &wrong, "a plugin for no protocol of its route");
    let answer = admin
        .check("POST /services/s/plugins", key_auth, 400, json!({ "code": 2 }))
        .await;
    assert!(
        answer["message"].as_str().unwrap().contains("at least one route"),
        "{answer}"
    );
}

#[tokio::test]
async fn code_3_an_id_that_is_taken() {
    let admin = Admin::new().await;
    let service = json!({ "id": ABSENT, "host": "a" });
    admin
        .check("POST /services", service.clone(), 201, json!({ "id": ABSENT }))
        .await;
    let expected = json!({
        "message": format!("primary key violation on key '{{id=\"{ABSENT}\"}}'"), "name": "primary key violation",
        "fields": { "id": ABSENT }, "code": 3,
    });
    admin.check("POST /services", service, 400, expected).await;
}

#[tokio::test]
async fn code_4_a_reference_to_nothing() {
    let admin = Admin::new().await;
    let message =
        format!("the foreign key '{{id=\"{ABSENT}\"}}' does not reference an existing 'services' entity.");
    let expected = json!({
        "message": message, "name": "foreign key violation", "fields": { "service": { "id": ABSENT } }, "code": 4,
        "violations": [{ "pointer": "/service/id", "message": message }],
    });
    let route = json!({ "paths": ["/"], "service": { "id": ABSENT } });
    admin.check("POST /routes", route, 400, expected).await;

    let both = json!({ "name": "key-auth", "service": { "id": ABSENT }, "route": { "id": ABSENT } });
    let both = admin
        .check("POST /plugins", both, 400, json!({ "code": 4 }))
        .await;
    assert_eq!(both["violations"].as_array().unwrap().len(), 2);

    let kindless = json!({ "name": "u", "client_certificate": { "id": ABSENT } });
    let expected = json!({ "code": 4, "fields": { "client_certificate": { "id": ABSENT } } });
    admin.check("POST /upstreams", kindless, 400, expected).await;
}

#[tokio::test]
async fn code_4_deleting_what_is_needed_names_who_needs_it() {
    let admin = Admin::new().await;
    let service = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let route = admin.make("/services/s/routes", json!({ "paths": ["/"] })).await;
    let expected = json!({
        "message": "an existing 'routes' entity references this 'services' entity", "name": "foreign key violation",
        "fields": { "@referenced_by": "routes" }, "code": 4,
        "blocking": [{ "entity_name": "routes", "entity_id": route }],
    });
    admin
        .check(&format!("DELETE /services/{service}"), json!(null), 400, expected)
        .await;
    admin
        .check("GET /services/s", json!(null), 200, json!({ "id": service }))
        .await;
}

#[tokio::test]
async fn code_5_a_value_that_is_taken() {
    let admin = Admin::new().await;
    admin
        .make("/consumers", json!({ "username": "a", "custom_id": "1" }))
        .await;
    admin.make("/consumers", json!({ "username": "b" })).await;
    let message = "UNIQUE violation detected on '{username=\"a\"}'";
    let expected = json!({
        "message": message, "name": "unique constraint violation", "fields": { "username": "a" }, "code": 5,
        "violations": [{ "pointer": "/username", "message": message }],
    });
    for call in [
        "POST /consumers",
        "PATCH /consumers/b",
        &format!("PUT /consumers/{ABSENT}"),
    ] {
        admin
            .check(call, json!({ "username": "a" }), 409, expected.clone())
            .await;
    }
    let both = json!({ "username": "a", "custom_id": "1" });
    let both = admin
        .check("POST /consumers", both, 409, json!({ "code": 5 }))
        .await;
    assert_eq!(both["violations"].as_array().unwrap().len(), 2);
    admin
        .check(
            "PATCH /consumers/a",
            json!({ "username": "a" }),
            200,
            json!({ "custom_id": "1" }),
        )
        .await;
}

#[tokio::test]
async fn code_6_nothing_to_patch() {
    let admin = Admin::new().await;
    let by_name = json!({
        "message": "could not find the entity with primary key '{name=\"x\"}'", "name": "not found",
        "fields": { "name": "x" }, "code": 6,
    });
    admin.check("PATCH /services/x", json!({}), 404, by_name).await;
    admin
        .check(
            &format!("PATCH /services/{ABSENT}"),
            json!({}),
            404,
            json!({ "fields": { "id": ABSENT } }),
        )
        .await;
    for path in ["/services/x", &format!("/services/{ABSENT}")] {
        let (status, answer) = admin.get(path).await;
        assert_eq!((status, answer), (404, json!({ "message": "Not found" })));
    }
}

#[tokio::test]
async fn code_7_an_offset_that_no_page_gave() {
    let admin = Admin::new().await;
    let why = "'!' is not a valid offset: bad base64 encoding";
    let expected = json!({ "code": 7, "name": "invalid offset", "message": why, "fields": {} });
    for list in ["/services", "/tags", "/tags/x"] {
        let call = format!("GET {list}?offset=!");
        admin.check(&call, json!(null), 400, expected.clone()).await;
    }
}

#[tokio::test]
async fn code_8_what_is_ours_says_nothing_more() {
    let admin = Admin::new().await;
    let ours = json!({ "message": "An unexpected error occurred" });
    let (status, answer) = admin.json("POST /plugins", json!({ "name": "bomb" })).await;
    assert_eq!((status, answer, admin.revision()), (500, ours, 0));
    admin.make("/plugins", json!({ "name": "key-auth" })).await;
}

#[tokio::test]
async fn code_9_a_size_that_is_none() {
    let admin = Admin::new().await;
    for (size, message) in [
        ("x", "size must be a number"),
        ("", "size must be a number"),
        ("0", "size must be an integer between 1 and 1000"),
        ("1001", "size must be an integer between 1 and 1000"),
        ("1.5", "size must be an integer between 1 and 1000"),
    ] {
        let expected = json!({ "code": 9, "name": "invalid size", "message": message });
        let call = format!("GET /services?size={size}");
        admin.check(&call, json!(null), 400, expected).await;
    }
}

#[tokio::test]
async fn code_10_a_unique_value_that_cannot_be_one() {
    let admin = Admin::new().await;
    let why = "length must be at least 1";
    let expected = json!({
        "code": 10, "name": "invalid unique", "message": format!("invalid unique (custom_id: {why})"),
        "fields": { "custom_id": why },
    });
    admin
        .check("GET /consumers?custom_id=", json!(null), 400, expected)
        .await;
}

#[tokio::test]
async fn code_11_a_filter_that_says_two_things() {
    let admin = Admin::new().await;
    for (tags, why) in [("a,b/c", "invalid filter syntax"), ("", "cannot be null")] {
        let expected = json!({
            "code": 11, "name": "invalid options", "message": format!("invalid option (tags: {why})"),
            "options": { "tags": why },
        });
        let call = format!("GET /services?tags={tags}");
        let answer = admin.check(&call, json!(null), 400, expected).await;
        assert!(answer.get("fields").is_none(), "{answer}");
    }
}

// Code 12, a store that takes no writes, is in `trouble`; code 14 is that of declarative configuration.

#[tokio::test]
async fn code_19_what_is_on_the_lists_of_others() {
    let admin = Admin::new().await;
    let authority = json!({ "cert": pem("ca.crt") });
    let authority = admin.make("/ca_certificates", authority).await;
    let service = json!({ "host": "a", "protocol": "https", "ca_certificates": [authority] });
    let service = admin.make("/services", service).await;
    let expected = json!({
        "code": 19, "name": "referenced by others",
        "message": format!("ca certificate {authority} is still referenced by services (id = {service})"),
        "blocking": [{ "entity_name": "services", "entity_id": service }],
    });
    let call = format!("DELETE /ca_certificates/{authority}");
    admin.check(&call, json!(null), 400, expected).await;
    let patch = format!("PATCH /services/{service}");
    admin
        .check(&patch, json!({ "ca_certificates": null }), 200, json!({}))
        .await;
    admin.check(&call, json!(null), 204, json!(null)).await;
}

#[tokio::test]
async fn code_13_a_name_nobody_has() {
    let admin = Admin::new().await;
    let why = "the foreign key cannot be resolved with '{name=\"x\"}' for an existing 'services' entity";
    let expected = json!({
        "message": format!("foreign key unresolved (service.name: {why})"), "name": "foreign keys unresolved",
        "fields": { "service": { "name": why } }, "code": 13,
        "violations": [{ "pointer": "/service/name", "message": why }],
    });
    let by_name = json!({ "paths": ["/"], "service": { "name": "x" } });
    admin.check("POST /routes", by_name.clone(), 400, expected).await;

    let two = json!({ "name": "key-auth", "service": { "name": "x" }, "route": { "name": "y" } });
    let two = admin
        .check("POST /plugins", two, 400, json!({ "code": 13 }))
        .await;
    assert!(
        two["message"]
            .as_str()
            .unwrap()
            .starts_with("2 foreign keys unresolved (route.name: "),
        "{two}"
    );

    let service = admin.make("/services", json!({ "name": "x", "host": "a" })).await;
    admin
        .check(
            "POST /routes",
            by_name,
            201,
            json!({ "service": { "id": service } }),
        )
        .await;
    let other = json!({ "service": { "port": 80 } });
    admin
        .check("POST /routes", other, 400, json!({ "code": 2 }))
        .await;
    admin
        .check(
            "POST /routes",
            json!({ "paths": ["/"], "service": "x" }),
            400,
            json!({ "code": 2 }),
        )
        .await;
}
