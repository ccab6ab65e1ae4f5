//! The calls of a Kong tutorial, with the answers it shows.

use serde_json::{Value, json};

use crate::support::{ABSENT, Admin, FORM, id};

fn without_made_values(mut answer: Value) -> Value {
    let document = answer.as_object_mut().unwrap();
    for field in ["id", "created_at", "updated_at"] {
        document.remove(field);
    }
    answer
}

#[tokio::test]
async fn every_call_has_the_answer_of_the_tutorial() {
    let admin = Admin::new().await;
    let form = "name=moesif-service&url=http://localhost:9001";
    let service = admin.check_form("POST /services/", form, 201, json!({})).await;
    let s = id(&service);
    assert!(service["created_at"].is_u64() && service["created_at"] == service["updated_at"]);
    assert_eq!(
        without_made_values(service),
        json!({
            "name": "moesif-service", "protocol": "http", "host": "localhost", "port": 9001, "path": null, "retries": 5,
            "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000, "enabled": true, "tags": null,
            "client_certificate": null, "tls_verify": null, "tls_verify_depth": null, "ca_certificates": null,
            "retry_statuses": [], "retry_non_idempotent": false, "try_timeout": null, "send_proxy_protocol": null,
        })
    );
    admin
        .check_form("POST /services/", form, 409, json!({ "code": 5 }))
        .await;

    let route = admin
        .check_form(
            "POST /routes",
            &format!("paths[]=/&service.id={s}"),
            201,
            json!({}),
        )
        .await;
    assert_eq!(
        without_made_values(route),
        json!({
            "name": null, "paths": ["/"], "methods": null, "hosts": null, "headers": null, "snis": null,
            "sources": null, "destinations": null, "protocols": ["http", "https"], "strip_path": true,
            "preserve_host": false, "path_handling": "v0", "regex_priority": 0, "https_redirect_status_code": 426,
            "request_buffering": true, "response_buffering": true, "require_client_certificate": false, "service": { "id": s }, "tags": null,
            "uris": null, "query": null, "cookies": null, "remote_addrs": null, "vars": null, "priority": null,
        })
    );
    let malformed = json!({ "code": 2, "message": "schema violation (service.id: expected a valid UUID)" });
    admin
        .check_form("POST /routes", "paths[]=/&service.id=moesif", 400, malformed)
        .await;
    admin
        .check_form(
            "POST /routes",
            &format!("paths[]=/&service.id={ABSENT}"),
            400,
            json!({ "code": 4 }),
        )
        .await;

    let form = format!("paths[]=/profile&service.id={s}");
    let r2 = id(&admin
        .check_form("POST /routes", &form, 201, json!({ "paths": ["/profile"] }))
        .await);
    admin
        .check_form(
            &format!("PATCH /routes/{r2}"),
            "strip_path=false",
            200,
            json!({ "strip_path": false }),
        )
        .await;
    let missing = json!({
        "code": 6, "name": "not found", "fields": { "id": s },
        "message": format!("could not find the entity with primary key '{{id=\"{s}\"}}'"),
    });
    admin
        .check_form(&format!("PATCH /routes/{s}"), "strip_path=false", 404, missing)
        .await;

    let plugin = admin
        .check_form(
            &format!("POST /routes/{r2}/plugins"),
            "name=key-auth",
            201,
            json!({}),
        )
        .await;
    let plugin = without_made_values(plugin);
    assert_eq!(
        plugin,
        json!({
            "name": "key-auth", "instance_name": null, "priority": null, "filter": null, "global_rule": false, "enabled": true, "route": { "id": r2 }, "service": null,
            "consumer": null, "consumer_group": null, "protocols": ["grpc", "grpcs", "http", "https"], "tags": null,
            "config": {
                "key_names": ["apikey"], "key_in_header": true, "key_in_query": true, "key_in_body": false,
                "hide_credentials": false, "run_on_preflight": true, "anonymous": null, "realm": null,
            },
        })
    );
    let message = format!(
        "UNIQUE violation detected on '{{consumer=null,name=\"key-auth\",route={{id=\"{r2}\"}},service=null}}'"
    );
    let fields = json!({ "consumer": null, "name": "key-auth", "route": { "id": r2 }, "service": null });
    let taken = json!({ "code": 5, "message": message, "fields": fields });
    admin
        .check_form(&format!("POST /routes/{r2}/plugins"), "name=key-auth", 409, taken)
        .await;

    let consumer = admin
        .check_form("POST /consumers", "username=moesif", 201, json!({}))
        .await;
    let c = id(&consumer);
    assert_eq!(
        without_made_values(consumer),
        json!({ "username": "moesif", "custom_id": null, "tags": null })
    );

    let credential = admin
        .check_form("POST /consumers/moesif/key-auth", "", 201, json!({}))
        .await;
    let key = credential["key"].as_str().unwrap().to_owned();
    assert!(
        key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{key}"
    );
    let expected = json!({ "key": key, "consumer": { "id": c }, "ttl": null, "tags": null });
    assert_eq!(without_made_values(credential), expected);

    let upstream = admin
        .check_form("POST /upstreams", "name=localhost", 201, json!({}))
        .await;
    let u = id(&upstream);
    assert_eq!(
        (&upstream["algorithm"], &upstream["slots"]),
        (&json!("round-robin"), &json!(10000))
    );
    assert_eq!(
        upstream["healthchecks"]["active"]["unhealthy"]["http_statuses"][0],
        json!(429)
    );

    for target in ["localhost:9001", "localhost:9002"] {
        let path = format!("POST /upstreams/{u}/targets");
        let made = admin
            .check_form(&path, &format!("target={target}"), 201, json!({}))
            .await;
        assert!(
            made["created_at"].is_f64() && made["updated_at"].is_f64(),
            "{made}"
        );
        let upstream = json!({ "id": u });
        let expected =
            json!({ "target": target, "weight": 100, "priority": 0, "upstream": upstream, "tags": null });
        assert_eq!(without_made_values(made), expected);
        let (status, again) = admin.send(&path, FORM, &format!("target={target}")).await;
        let message =
            format!("UNIQUE violation detected on '{{target=\"{target}\",upstream={{id=\"{u}\"}}}}'");
        assert_eq!((status, &again["message"]), (409, &json!(message)));
    }
}
