//! How upstreams, targets and services say how requests are spread and repeated: Kong's fields by Kong's rules, and ours.

use serde_json::{Value, json};

use crate::support::{Admin, with};

/// A record of the schema as `/schemas` has it: a list of fields, each under its name.
fn field(record: &Value, name: &str) -> Value {
    let fields = record["fields"].as_array().unwrap();
    fields.iter().find_map(|field| field.get(name)).unwrap().clone()
}

#[tokio::test]
async fn all_fields_have_defaults_and_are_kept() {
    let admin = Admin::new().await;
    let made = json!({
        "algorithm": "round-robin", "slots": 10000, "hash_on": "none", "hash_fallback": "none",
        "hash_on_header": null, "hash_fallback_header": null, "hash_on_cookie": null, "hash_on_cookie_path": "/",
        "hash_on_query_arg": null, "hash_fallback_query_arg": null, "hash_on_uri_capture": null,
        "hash_fallback_uri_capture": null, "hash_balance_factor": null, "slow_start": 0, "max_in_flight": null,
        "panic_threshold": null, "retry_budget": { "percent": 20, "min_per_second": 10, "window": 10 },
    });
    admin
        .check("POST /upstreams", json!({ "name": "u" }), 201, made)
        .await;
    let all = json!({
        "algorithm": "maglev", "slots": 65536, "hash_on": "query_arg", "hash_on_query_arg": "a",
        "hash_fallback": "uri_capture", "hash_fallback_uri_capture": "b", "hash_balance_factor": 125,
        "slow_start": 30.5, "max_in_flight": 100, "panic_threshold": 50,
    });
    admin.check("PATCH /upstreams/u", all.clone(), 200, all).await;
    let budget = json!({ "retry_budget": { "percent": 5 } });
    let merged = json!({ "retry_budget": { "percent": 5, "min_per_second": 10, "window": 10 } });
    admin
        .check("PATCH /upstreams/u", budget, 200, merged.clone())
        .await;
    admin
        .check_form(
            "PATCH /upstreams/u",
            "retry_budget.window=60&max_in_flight=7",
            200,
            json!({ "max_in_flight": 7 }),
        )
        .await;
    let spare = json!({ "target": "a:1", "priority": 2 });
    admin
        .check("POST /upstreams/u/targets", spare.clone(), 201, spare)
        .await;
    let retries = json!({ "retry_statuses": [502, 503], "retry_non_idempotent": true, "try_timeout": 250 });
    let service = with(json!({ "name": "s", "host": "u" }), retries.clone());
    admin.check("POST /services", service, 201, retries).await;
    let none = json!({ "retry_statuses": [], "try_timeout": null });
    admin.check("PATCH /services/s", none.clone(), 200, none).await;
}

#[tokio::test]
async fn an_algorithm_that_hashes_and_what_is_hashed_go_together() {
    let admin = Admin::new().await;
    let upstream = json!({ "name": "u", "hash_on": "ip", "hash_fallback": "path" });
    let kong = json!({ "algorithm": "consistent-hashing", "hash_on": "ip", "hash_fallback": "path" });
    admin.check("POST /upstreams", upstream, 201, kong).await;
    for algorithm in ["least-connections", "latency", "random"] {
        let hash = json!({ "hash_on": "ip" });
        let hashed = json!({ "algorithm": "consistent-hashing", "hash_on": "ip" });
        admin.check("PATCH /upstreams/u", hash, 200, hashed).await;
        let cleared = json!({ "algorithm": algorithm, "hash_on": "none", "hash_fallback": "none" });
        admin
            .check(
                "PATCH /upstreams/u",
                json!({ "algorithm": algorithm }),
                200,
                cleared,
            )
            .await;
    }
    for algorithm in ["ketama", "maglev"] {
        let both = json!({ "algorithm": algorithm, "hash_on": "path" });
        admin.check("PATCH /upstreams/u", both.clone(), 200, both).await;
    }
}

#[tokio::test]
async fn what_kong_refuses_is_refused_in_its_words() {
    let admin = Admin::new().await;
    let given = |field: &str| format!("failed conditional validation given value of field '{field}'");
    let kinds = "none, consumer, ip, header, cookie, path, query_arg, uri_capture";
    for (document, field, why) in [
        (json!({ "algorithm": "sticky" }), "algorithm", None),
        (
            json!({ "hash_on": "header" }),
            "hash_on_header",
            Some("required field missing".to_owned()),
        ),
        (
            json!({ "hash_on": "cookie" }),
            "hash_on_cookie",
            Some("required field missing".to_owned()),
        ),
        (
            json!({ "hash_on": "query_arg" }),
            "hash_on_query_arg",
            Some("required field missing".to_owned()),
        ),
        (
            json!({ "hash_on": "uri_capture" }),
            "hash_on_uri_capture",
            Some("required field missing".to_owned()),
        ),
        (
            json!({ "hash_on": "ip", "hash_fallback": "header" }),
            "hash_fallback_header",
            Some("required field missing".to_owned()),
        ),
        (
            json!({ "hash_fallback": "ip" }),
            "hash_fallback",
            Some("expected one of: none".to_owned()),
        ),
        (
            json!({ "hash_on": "cookie", "hash_on_cookie": "c", "hash_fallback": "ip" }),
            "hash_fallback",
            Some("expected one of: none".to_owned()),
        ),
        (
            json!({ "hash_on": "ip", "hash_fallback": "ip" }),
            "hash_fallback",
            Some(format!("expected one of: {}", kinds.replace(" ip,", ""))),
        ),
        (
            json!({ "hash_on": "header", "hash_on_header": "x-a", "hash_fallback": "header", "hash_fallback_header": "x-a" }),
            "@entity",
            None,
        ),
        (
            json!({ "hash_on": "cookie", "hash_on_cookie": "a b" }),
            "hash_on_cookie",
            Some("bad cookie name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'".to_owned()),
        ),
        (
            json!({ "hash_on_cookie_path": "a" }),
            "hash_on_cookie_path",
            Some("should start with: /".to_owned()),
        ),
        (
            json!({ "slots": 5 }),
            "slots",
            Some("value should be between 10 and 65536".to_owned()),
        ),
    ] {
        let call = with(json!({ "name": "u" }), document.clone());
        let refused = json!({ "code": 2, "name": "schema violation" });
        let answer = admin.check("POST /upstreams", call, 400, refused).await;
        let fields = &answer["fields"];
        assert!(!fields[field].is_null(), "{document}: {answer}");
        if let Some(why) = &why {
            assert_eq!(fields[field], json!(why), "{document}");
        }
        let rule = fields["@entity"][0].as_str();
        match field {
            "@entity" => {
                let distinct =
                    "values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header'";
                assert_eq!(rule, Some(distinct));
            }
            _ if fields.as_object().unwrap().len() > 1 => {
                let known = [given("hash_on"), given("hash_fallback")];
                assert!(
                    known.iter().any(|known| rule == Some(known)),
                    "{document}: {answer}"
                );
            }
            _ => assert_eq!(rule, None),
        }
    }
}

#[tokio::test]
async fn schemas_show_them() {
    let admin = Admin::new().await;
    let upstream = admin.get("/schemas/upstreams").await.1;
    let algorithms = &field(&upstream, "algorithm")["one_of"];
    let (kong, ours) = algorithms.as_array().unwrap().split_at(4);
    assert_eq!(
        kong,
        [
            "consistent-hashing",
            "least-connections",
            "round-robin",
            "latency"
        ]
    );
    assert_eq!(ours, ["random", "ketama", "maglev"]);
    let budget = field(&upstream, "retry_budget");
    assert_eq!(field(&budget, "percent")["default"], json!(20), "{budget}");
    for name in [
        "hash_balance_factor",
        "slow_start",
        "max_in_flight",
        "panic_threshold",
    ] {
        assert!(field(&upstream, name)["between"].is_array(), "{name}");
    }
    let target = admin.get("/schemas/targets").await.1;
    assert_eq!(field(&target, "priority")["between"], json!([0, 65535]));
    let service = admin.get("/schemas/services").await.1;
    assert_eq!(
        field(&service, "retry_statuses")["elements"]["between"],
        json!([400, 999])
    );
    assert_eq!(field(&service, "retry_non_idempotent")["default"], json!(false));
    assert_eq!(
        field(&service, "try_timeout")["between"],
        json!([1, 2_147_483_646])
    );
}
