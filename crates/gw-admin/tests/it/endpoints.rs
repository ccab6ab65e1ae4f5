//! What holds for every path alike: trailing slashes, HEAD, unknown paths and methods, misspelt fields, schemas.

use std::collections::BTreeMap;

use gw_core::Kind;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Admin, kinds, one_of_each};

/// Every path with the names of what is there, and its pattern.
async fn paths(admin: &Admin) -> Vec<(String, String)> {
    let mut names = one_of_each(admin).await;
    names.extend(
        [
            ("tags", "t"),
            ("schemas", "services"),
            ("level", "debug"),
            ("address", "127.0.0.1:80"),
            ("revision", "head"),
            ("name", "known-good"),
        ]
        .map(|(kind, name)| (kind, name.to_owned())),
    );
    let tag = serde_json::json!({});
    admin
        .check("PUT /config/tags/known-good", tag.clone(), 200, tag)
        .await;
    let listed = admin.get("/endpoints").await.1;
    // Nothing is kept here, see `proxy_cache`.
    let kept = |pattern: &&Value| {
        pattern
            .as_str()
            .is_some_and(|pattern| pattern.starts_with("/proxy-cache/"))
    };
    let patterns = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pattern| !kept(pattern));
    let filled = |pattern: &str| {
        let plugin = match pattern {
            _ if pattern.contains("schema") => "key-auth",
            _ if pattern.starts_with("/routes") || pattern.ends_with("/route") => "pr",
            _ if pattern.starts_with("/services") || pattern.ends_with("/service") => "ps",
            _ if pattern.starts_with("/consumers") || pattern.ends_with("/consumer") => "pc",
            _ if pattern.starts_with("/consumer_groups") || pattern.ends_with("/consumer_group") => "pg",
            _ => "p",
        };
        let chain = if pattern.starts_with("/services") || pattern.ends_with("}/service") {
            "fs"
        } else {
            "fr"
        };
        let mut own: BTreeMap<&str, String> = names.clone();
        own.insert("plugins", plugin.to_owned());
        own.insert("filter-chains", chain.to_owned());
        if pattern.starts_with("/schemas") {
            own.insert("vaults", "env".to_owned());
        }
        own.iter().fold(pattern.to_owned(), |path, (kind, name)| {
            path.replace(&format!("{{{kind}}}"), name)
        })
    };
    patterns
        .map(|pattern| {
            (
                pattern.as_str().unwrap().to_owned(),
                filled(pattern.as_str().unwrap()),
            )
        })
        .collect()
}

async fn answer(admin: &Admin, method: &str, path: &str) -> (u16, BTreeMap<String, String>, String) {
    let request = Request::builder().method(method).uri(path);
    let (head, body) = admin.raw(request.body(Full::default()).unwrap()).await;
    let headers = head
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    // Latency, memory: what is another with each answer.
    let moving = |name: &String| {
        name == "x-kong-admin-latency"
            || name == "x-request-id"
            || (name == "content-length" && path.starts_with("/status"))
    };
    let headers = headers.filter(|(name, _)| !moving(name)).collect();
    (
        head.status().as_u16(),
        headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn every_path_takes_a_trailing_slash_and_head_and_leads_no_further() {
    let admin = Admin::new().await;
    let paths = paths(&admin).await;
    assert!(paths.len() > 90, "{}", paths.len());
    for (pattern, path) in &paths {
        let (status, headers, body) = answer(&admin, "GET", path).await;
        let writes_only = [
            "/validate",
            "{level}",
            "healthy",
            "/explain",
            "/proxy-cache",
            "/rollback",
            "/transaction",
            "/accept",
        ]
        .iter()
        .any(|end| pattern.ends_with(end));
        assert_eq!(status, if writes_only { 405 } else { 200 }, "{path}: {body}");
        let slashed = if path == "/" {
            path.clone()
        } else {
            format!("{path}/")
        };
        let (again, _, same) = answer(&admin, "GET", &slashed).await;
        assert_eq!(again, status, "{slashed}");
        assert!(
            path.starts_with("/status") || same == body,
            "{slashed}: {same} {body}"
        );
        if !writes_only {
            let (head, same, nothing) = answer(&admin, "HEAD", path).await;
            assert_eq!(
                (head, same, nothing.as_str()),
                (status, headers.clone(), ""),
                "{path}"
            );
        }
        for method in ["OPTIONS", "TRACE", "BREW"] {
            let (status, headers, body) = answer(&admin, method, &slashed).await;
            let expected = if method == "OPTIONS" {
                (204, "")
            } else {
                (405, r#"{"message":"Method not allowed"}"#)
            };
            assert_eq!((status, body.as_str()), expected, "{method} {path}");
            assert!(headers["allow"].contains("OPTIONS"), "{method} {path}");
        }
        let further = format!("{slashed}no/such/thing");
        for method in ["GET", "POST", "OPTIONS", "BREW"] {
            let (status, _, body) = answer(&admin, method, &further).await;
            assert_eq!(
                (status, body.as_str()),
                (404, r#"{"message":"Not found"}"#),
                "{method} {further}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_below_anything() {
    let admin = Admin::new().await;
    let kinds = kinds();
    for (pattern, _) in paths(&admin).await {
        let lists_all = ["/schemas", "/tags", "/plugins/schema", "/debug", "/config/at"];
        let writes_only = pattern.ends_with("healthy");
        if !pattern.contains('{') || writes_only || lists_all.iter().any(|start| pattern.starts_with(start)) {
            continue;
        }
        let absent = kinds.iter().fold(pattern.clone(), |path, spec| {
            path.replace(&format!("{{{}}}", spec.path), crate::support::ABSENT)
        });
        let (status, _, body) = answer(&admin, "GET", &absent).await;
        assert_eq!(
            (status, body.as_str()),
            (404, r#"{"message":"Not found"}"#),
            "{absent}"
        );
    }
}

#[tokio::test]
async fn every_kind_has_its_schema_and_suggests_its_fields() {
    let admin = Admin::new().await;
    let kinds = kinds();
    for spec in kinds.iter() {
        let schema = admin
            .check(
                &format!("GET /schemas/{}", spec.kind),
                json!(null),
                200,
                json!({}),
            )
            .await;
        let told: Vec<&String> = schema["fields"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|field| field.as_object().unwrap().keys())
            .collect();
        let properties = spec.schema.document()["properties"].as_object().unwrap();
        assert_eq!(told, properties.keys().collect::<Vec<_>>(), "{}", spec.kind);
        for (name, field) in schema["fields"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|field| field.as_object().unwrap())
        {
            assert!(
                field["type"].is_string() && field["required"].is_boolean(),
                "{}: {name}: {field}",
                spec.kind
            );
        }
        // A letter too many in each field's name.
        let path = format!("POST /schemas/{}/validate", spec.kind);
        for name in properties.keys() {
            let misspelt = format!("{name}x");
            let answer = admin
                .check(&path, json!({ &misspelt: 1 }), 400, json!({ "code": 2 }))
                .await;
            assert_eq!(answer["fields"][&misspelt], "unknown field", "{path}: {answer}");
            let hint = answer["violations"]
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["pointer"] == format!("/{misspelt}"));
            assert_eq!(hint.unwrap()["hint"], format!("did you mean `{name}`?"), "{path}");
        }
    }
}

#[tokio::test]
async fn what_a_kind_says_of_itself_as_an_example_is_valid() {
    let admin = Admin::new().await;
    let kinds = kinds();
    let good = json!({ "message": "schema validation successful" });
    let mut tried = 0;
    for spec in kinds.iter() {
        for example in spec
            .schema
            .document()
            .get("examples")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let mut example = example.clone();
            // Examples name others, which are not there, and leave out what a path says.
            for reference in &spec.references {
                let field = &*reference.field;
                if spec.schema.is_required(field) || example.get(field).is_some() {
                    example[field] = json!({ "id": crate::support::ABSENT });
                }
            }
            let path = format!("POST /schemas/{}/validate", spec.kind);
            admin.check(&path, example, 200, good.clone()).await;
            tried += 1;
        }
    }
    let without = [Kind::Certificate, Kind::CaCertificate, Kind::GroupMember];
    assert!(tried + without.len() >= kinds.iter().count(), "{tried}");
}
