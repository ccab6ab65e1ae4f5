//! The API's own description: every path is in it, and every answer is as it says.

use std::collections::{BTreeMap, HashMap};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{ABSENT, Admin, JSON, METRICS, jwk, one_of_each, pair, pem};

/// The description, and the schemas in it that were needed so far.
struct Described {
    document: Value,
    schemas: HashMap<String, jsonschema::Validator>,
}

impl Described {
    fn schema(&mut self, schema: &Value) -> &jsonschema::Validator {
        let components = &self.document["components"];
        self.schemas.entry(schema.to_string()).or_insert_with(|| {
            let whole = json!({ "allOf": [schema], "components": components });
            let options = jsonschema::options().should_validate_formats(true);
            options
                .build(&whole)
                .unwrap_or_else(|error| panic!("{schema}: {error}"))
        })
    }
}

/// Sends a request, and holds its answer against the description of the path's pattern.
async fn check(
    described: &mut Described,
    admin: &Admin,
    method: &str,
    pattern: &str,
    path: &str,
    body: Value,
) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    let mut text = String::new();
    if !body.is_null() {
        request = request.header("content-type", JSON);
        text = body.to_string();
    }
    let (head, answer) = admin.raw(request.body(Full::from(text)).unwrap()).await;
    let (status, answer) = (
        head.status().as_u16(),
        String::from_utf8(answer.to_vec()).unwrap(),
    );
    let operation = &described.document["paths"][pattern][method.to_ascii_lowercase()];
    let response = &operation["responses"][status.to_string()];
    assert!(
        response["description"].is_string(),
        "{method} {path}: {status} is not described: {answer}"
    );
    if status == 200 && response.pointer("/content/text~1plain").is_some() {
        let media_type = head.headers()["content-type"].to_str().unwrap();
        assert!(
            media_type.starts_with("text/plain;"),
            "{method} {path}: {media_type}"
        );
        assert_eq!(answer, METRICS, "{method} {path}");
        return (status, answer);
    }
    let Some(schema) = response.pointer("/content/application~1json/schema").cloned() else {
        assert_eq!(answer, "", "{method} {path}: {status} has a body");
        return (status, answer);
    };
    let value: Value = serde_json::from_str(&answer).unwrap();
    let errors: Vec<String> = described
        .schema(&schema)
        .iter_errors(&value)
        .map(|error| format!("{} {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:#?} in {value:#}");
    (status, answer)
}

type Names = BTreeMap<&'static str, String>;

/// A body that makes something new of what a path ends in, or replaces what is there.
fn body(pattern: &str, method: &str, names: &Names) -> Value {
    let last = pattern.rsplit('/').find(|segment| !segment.starts_with('{'));
    let below = pattern.matches('/').count() > 2 || pattern.ends_with("/routes");
    let mut body = match last.unwrap_or_default() {
        "services" | "service" => json!({ "name": "fresh", "url": "https://a:1" }),
        "routes" | "route" => json!({ "name": "fresh", "hosts": ["a.test"] }),
        "consumers" if pattern.starts_with("/consumer_groups") => return json!({ "consumer": "fresh" }),
        "consumer_groups" if below => return json!({ "group": "fresh" }),
        "consumers" | "consumer" => json!({ "username": "other" }),
        "consumer_groups" | "consumer_group" | "upstreams" => json!({ "name": "other" }),
        "plugins" => json!({ "name": "idle", "instance_name": "fresh" }),
        "targets" => json!({ "target": "fresh:1" }),
        "key-auth" => json!({ "key": "fresh" }),
        "key-auths" => json!({ "key": "fresh", "consumer": { "username": "c" } }),
        "basic-auth" => json!({ "username": "fresh", "password": "secret" }),
        "basic-auths" => {
            json!({ "username": "fresh", "password": "secret", "consumer": { "username": "c" } })
        }
        "jwt" => json!({ "key": "fresh" }),
        "jwts" => json!({ "key": "fresh", "consumer": { "username": "c" } }),
        "hmac-auth" => json!({ "username": "fresh" }),
        "hmac-auths" => json!({ "username": "fresh", "consumer": { "username": "c" } }),
        "acls" if below => json!({ "group": "fresh" }),
        "acls" => json!({ "group": "fresh", "consumer": { "username": "c" } }),
        "snis" if below => json!({ "name": "fresh.test" }),
        "snis" => json!({ "name": "fresh.test", "certificate": { "id": names["certificates"] } }),
        "certificate" | "certificates" | "client_certificate" => pair("p384"),
        "ca_certificates" => json!({ "cert": pem("ca2.crt") }),
        "vaults" => json!({ "prefix": "fresh", "name": "env" }),
        "key-sets" | "set" => json!({ "name": "fresh" }),
        "keys" => json!({ "kid": "2", "jwk": jwk("2") }),
        "filter-chains" if pattern.starts_with("/filter-chains") => {
            json!({ "route": { "name": "free" }, "filters": [{ "name": "g" }] })
        }
        "filter-chains" => json!({ "filters": [{ "name": "g" }] }),
        "validate" if pattern.contains("vaults") => json!({ "prefix": "fresh", "name": "env" }),
        "validate" if pattern.contains("plugins") => json!({ "name": "key-auth" }),
        "config" => json!({ "_format_version": "3.0" }),
        "validate" => json!({ "host": "a" }),
        "explain" => json!({ "url": "http://a.test/b" }),
        "rollback" => json!({ "to": 1 }),
        "transaction" => {
            json!({ "operations": [{ "method": "PUT", "path": "/services/fresh", "body": { "host": "a" } }] })
        }
        _ => json!({}),
    };
    // A replacement keeps the name that its path says.
    let renamed = pattern.ends_with('}') && !pattern.ends_with("certificates}");
    if method == "PUT" && renamed {
        let plugin = body.get("instance_name").is_some();
        let name = if plugin {
            &["instance_name"][..]
        } else if body.get("prefix").is_some() {
            &["prefix"][..]
        } else {
            &["name", "username", "target", "key"]
        };
        body.as_object_mut()
            .unwrap()
            .retain(|field, _| !name.contains(&field.as_str()));
    }
    body
}

/// The names of what a pattern is about: of plugins each is bound elsewhere.
fn names_for(pattern: &str, world: &Names) -> Names {
    let mut names = world.clone();
    let plugin = match pattern {
        _ if pattern.starts_with("/schemas") || pattern.starts_with("/plugins/schema") => "key-auth",
        "/plugins/{plugins}/route" | "/routes/{routes}/plugins/{plugins}" => "pr",
        "/plugins/{plugins}/consumer" | "/consumers/{consumers}/plugins/{plugins}" => "pc",
        "/plugins/{plugins}/service" | "/services/{services}/plugins/{plugins}" => "ps",
        "/plugins/{plugins}/consumer_group" | "/consumer_groups/{consumer_groups}/plugins/{plugins}" => "pg",
        _ => "p",
    };
    names.insert("plugins", plugin.to_owned());
    if pattern.starts_with("/services/") || pattern.ends_with("{filter-chains}/service") {
        names.insert("filter-chains", "fs".to_owned());
    }
    if pattern.starts_with("/schemas/vaults") {
        names.insert("vaults", "env".to_owned());
    }
    names.insert("level", "debug".to_owned());
    names.insert("revision", "head".to_owned());
    names.insert("name", "known-good".to_owned());
    names.insert("key", "ab".repeat(32));
    names.insert("address", "127.0.0.1:80".to_owned());
    names.insert("tags", "t".to_owned());
    names.insert("schemas", "services".to_owned());
    names
}

/// Fills in the names of a path.
fn filled(pattern: &str, name: impl Fn(&str) -> String) -> String {
    let segments = pattern.split('/').map(|segment| {
        let kind = segment
            .strip_prefix('{')
            .and_then(|segment| segment.strip_suffix('}'));
        kind.map_or_else(|| segment.to_owned(), &name)
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether even the right request is refused: others need what would go.
fn is_refused(method: &str, pattern: &str) -> bool {
    const NEEDED: [&str; 4] = [
        "/services/{services}",
        "/certificates/{certificates}",
        "/ca_certificates/{ca_certificates}",
        "/certificates/{certificates}/services/{services}",
    ];
    let is_kept = pattern.starts_with("/proxy-cache/"); // and nothing is
    let is_unsealed = method == "POST" && pattern == "/config/reseal"; // there is no keyring
    is_unsealed || method == "DELETE" && NEEDED.contains(&pattern) || method != "OPTIONS" && is_kept
}

#[tokio::test]
async fn every_path_is_described_and_every_answer_is_as_described() {
    let (status, document) = Admin::new().await.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let listed = Admin::new().await.get("/endpoints").await.1;
    let mut described = Described {
        document: document.clone(),
        schemas: HashMap::new(),
    };
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(
        listed["data"],
        paths.keys().map(String::as_str).collect::<Value>()
    );

    for (pattern, item) in paths {
        // A gateway of its own for each path, and deletions last.
        let admin = Admin::new().await;
        let names = names_for(pattern, &one_of_each(&admin).await);
        admin.make("/consumers", json!({ "username": "fresh" })).await;
        admin.make("/consumer_groups", json!({ "name": "fresh" })).await;
        admin
            .make("/routes", json!({ "name": "free", "paths": ["/free"] }))
            .await;
        admin
            .check("PUT /config/tags/known-good", json!({}), 200, json!({}))
            .await;
        // A chain where one is about to be made would be in the way.
        if pattern.ends_with("/filter-chains") {
            for name in ["fr", "fs"] {
                admin
                    .check(
                        &format!("DELETE /filter-chains/{name}"),
                        json!(null),
                        204,
                        json!(null),
                    )
                    .await;
            }
        }
        let path = filled(pattern, |kind| names[kind].clone());
        assert_methods(&admin, item, &path).await;
        let methods = ["OPTIONS", "GET", "HEAD", "PATCH", "PUT", "POST", "DELETE"].into_iter();
        for method in methods.filter(|method| item.get(method.to_ascii_lowercase()).is_some()) {
            let writes = matches!(method, "POST" | "PUT" | "PATCH");
            if writes {
                let nonsense = json!({ "nonsense": 1 });
                check(&mut described, &admin, method, pattern, &path, nonsense).await;
            }
            if pattern.contains('{') {
                for name in [ABSENT, "%20a%2Fb"] {
                    let absent = filled(pattern, |_| name.to_owned());
                    check(&mut described, &admin, method, pattern, &absent, Value::Null).await;
                }
            }
            let sent = match method {
                "POST" | "PUT" => body(pattern, method, &names),
                "PATCH" => json!({}),
                _ => Value::Null,
            };
            let (status, answer) = check(&mut described, &admin, method, pattern, &path, sent).await;
            assert_eq!(
                status >= 300,
                is_refused(method, pattern),
                "{method} {path}: {status} {answer}"
            );
        }
    }
}

/// `OPTIONS` names the methods that are described, and every other is refused.
async fn assert_methods(admin: &Admin, item: &Value, path: &str) {
    let described: Vec<String> = item
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| *name != "parameters")
        .map(|name| name.to_ascii_uppercase())
        .collect();
    let allow = described.join(", ");
    for method in ["OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
        if method != "OPTIONS" && described.iter().any(|known| known == method) {
            continue;
        }
        let request = Request::builder().method(method).uri(path);
        let (head, _) = admin.raw(request.body(Full::default()).unwrap()).await;
        let expected = if method == "OPTIONS" { 204 } else { 405 };
        assert_eq!(head.status().as_u16(), expected, "{method} {path}");
        assert_eq!(head.headers()["allow"], allow.as_str(), "{method} {path}");
    }
}

#[tokio::test]
async fn what_the_description_takes_is_taken() {
    let admin = Admin::new().await;
    let document = admin.get("/openapi.json").await.1;
    for (name, sent, fits) in [
        ("services.new", json!({ "url": "http://a" }), true),
        (
            "services.new",
            json!({ "name": "s", "host": "a", "client_certificate": null }),
            true,
        ),
        ("services.new", json!({ "host": 1 }), false),
        ("services.new", json!({ "hots": "a" }), false),
        (
            "routes.new",
            json!({ "paths": ["/"], "service": { "name": "s" } }),
            true,
        ),
        ("routes.new", json!({ "paths": ["/"], "service": "s" }), false),
        ("routes.patch", json!({}), true),
        ("targets.new", json!({}), false),
        ("certificates.new", pair("p256"), true),
        ("certificates.new", json!({ "cert": "x" }), false),
    ] {
        let schema =
            json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
        let found = jsonschema::options().build(&schema).unwrap().is_valid(&sent);
        assert_eq!(found, fits, "{name} {sent}");
    }
}
