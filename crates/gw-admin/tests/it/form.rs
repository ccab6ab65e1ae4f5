//! Forms mean what their JSON means.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Admin, FORM, JSON};

#[tokio::test]
async fn values_take_the_types_of_their_fields() {
    let admin = Admin::new().await;
    let service = json!({ "port": 8080, "enabled": false, "name": "8080", "tags": ["x"], "path": null });
    admin
        .check_form(
            "POST /services",
            "host=a&port=8080&enabled=false&name=8080&tags=x&path=",
            201,
            service,
        )
        .await;
    for (form, field, why) in [
        ("host=a&port=x", "port", "expected an integer"),
        ("host=a&port=1.5", "port", "expected an integer"),
        ("host=a&enabled=True", "enabled", "expected a boolean"),
        ("host=", "host", "required field missing"),
        ("host=a&.port=1", ".port", "unknown field"),
        ("host=a&tags=x,y", "tags", ""),
    ] {
        let answer = admin
            .check_form("POST /services", form, 400, json!({ "code": 2 }))
            .await;
        assert!(!answer["fields"][field].is_null(), "{form}: {answer}");
        if !why.is_empty() {
            assert_eq!(answer["fields"][field], why, "{form}");
        }
    }
    let route =
        json!({ "methods": ["GET"], "headers": { "x-env": ["a", "b"] }, "service": { "name": "8080" } });
    let mut expected = route.clone();
    expected["service"] = json!({ "id": admin.get("/services/8080").await.1["id"] });
    let form = "methods=GET&headers.x-env=a&headers.x-env=b&service.name=8080";
    admin
        .check_form("POST /routes", form, 201, expected.clone())
        .await;
    admin
        .check_form(
            "POST /routes",
            "methods[1]=GET&headers[x-env][]=a&headers[x-env][]=b&service[name]=8080",
            201,
            expected,
        )
        .await;
    let upstream = json!({ "healthchecks": { "active": { "healthy": { "interval": 0.5, "http_statuses": [200, 201] } } } });
    let form = "name=u&healthchecks.active.healthy.interval=0.5&healthchecks.active.healthy.http_statuses[]=200&healthchecks.active.healthy.http_statuses[]=201";
    admin.check_form("POST /upstreams", form, 201, upstream).await;
}

/// How a name in a form may be spelt.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    Dots,
    Brackets,
}

#[derive(Clone, Copy, Debug)]
enum Items {
    Repeated,
    Appended,
    Numbered,
}

fn spell(value: &Value, name: String, spelling: Spelling, items: Items, out: &mut Vec<(String, String)>) {
    match value {
        Value::Null => out.push((name, String::new())),
        Value::String(text) => out.push((name, text.clone())),
        Value::Object(fields) => {
            for (field, value) in fields {
                let below = match spelling {
                    _ if name.is_empty() => field.clone(),
                    Spelling::Dots => format!("{name}.{field}"),
                    Spelling::Brackets => format!("{name}[{field}]"),
                };
                spell(value, below, spelling, items, out);
            }
        }
        Value::Array(values) => {
            for (i, value) in values.iter().enumerate() {
                let one = match items {
                    Items::Repeated => name.clone(),
                    Items::Appended => format!("{name}[]"),
                    Items::Numbered => format!("{name}[{}]", i + 1),
                };
                spell(value, one, spelling, items, out);
            }
        }
        other => out.push((name, other.to_string())),
    }
}

fn encode(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// A value for a form that is not empty there: an empty text means null.
fn multipart(pairs: &[(String, String)]) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let part = |(name, value): &(String, String)| {
        format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n",
            quoted(name)
        )
    };
    format!("{}--XX--\r\n", pairs.iter().map(part).collect::<String>())
}

fn text() -> impl Strategy<Value = String> {
    let plain = |text: &String| !text.contains([',', '/']) && !text.starts_with("~*");
    "[ -~é]{1,12}".prop_filter("a tag has no separators, a header is no expression", plain)
}

fn route() -> impl Strategy<Value = Value> {
    let list = |item: &'static str| prop::collection::vec(item, 1..4);
    let headers = prop::collection::btree_map("x-[a-z]{1,5}", prop::collection::vec(text(), 1..3), 0..3);
    let optional = |strategy: BoxedStrategy<Value>| prop_oneof![Just(Value::Null), strategy];
    (
        list("/[a-z]{0,6}"),
        optional(prop::collection::btree_set("[A-Z]{1,6}", 1..4).prop_map(|set| json!(set)).boxed()),
        headers.prop_filter_map("an empty map has no form", |map| (!map.is_empty()).then(|| json!(map))),
        optional(prop::collection::btree_set(text(), 1..4).prop_map(|set| json!(set)).boxed()),
        any::<bool>(),
        -5i64..5,
        prop::sample::select(vec![426, 301, 302]),
    )
        .prop_map(|(paths, methods, headers, tags, strip_path, priority, redirect)| {
            json!({
                "paths": paths, "methods": methods, "headers": headers, "tags": tags, "strip_path": strip_path,
                "regex_priority": priority, "https_redirect_status_code": redirect,
            })
        })
}

fn upstream() -> impl Strategy<Value = Value> {
    let statuses = prop::collection::vec(100u16..999, 1..5);
    ("[a-z]{1,8}", 0u16..500, statuses, any::<bool>(), 10u32..65536).prop_map(|(name, interval, statuses, srv, slots)| {
        json!({
            "name": name, "slots": slots, "use_srv_name": srv,
            "healthchecks": { "active": { "healthy": { "interval": interval, "http_statuses": statuses } } },
        })
    })
}

#[test]
fn a_form_and_its_json_make_the_same_entity() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let admin = runtime.block_on(Admin::new());
    let document = prop_oneof![
        route().prop_map(|route| ("/routes", route)),
        upstream().prop_map(|upstream| ("/upstreams", upstream)),
    ];
    let spelling = prop::sample::select(vec![Spelling::Dots, Spelling::Brackets]);
    let items = prop::sample::select(vec![Items::Repeated, Items::Appended, Items::Numbered]);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(
        &(document, spelling, items),
        |((path, document), spelling, items)| {
            let mut pairs = Vec::new();
            spell(&document, String::new(), spelling, items, &mut pairs);
            let form = encode(&pairs);
            let made = |media: &'static str, body: String| {
                let admin = admin.clone();
                async move {
                    let (status, mut answer) = admin.send(&format!("POST {path}"), media, &body).await;
                    assert_eq!(status, 201, "{body}: {answer}");
                    let id = answer["id"].as_str().unwrap().to_owned();
                    let (status, _) = admin.send(&format!("DELETE {path}/{id}"), "", "").await;
                    assert_eq!(status, 204);
                    for made in ["id", "created_at", "updated_at"] {
                        answer.as_object_mut().unwrap().remove(made);
                    }
                    answer
                }
            };
            let by_form = runtime.block_on(made(FORM, form.clone()));
            let by_json = runtime.block_on(made(JSON, document.to_string()));
            let by_parts = runtime.block_on(made("multipart/form-data; boundary=XX", multipart(&pairs)));
            prop_assert_eq!(&by_parts, &by_json, "{}", multipart(&pairs));
            prop_assert_eq!(by_form, by_json, "{}", form);
            Ok(())
        },
    );
    result.unwrap();
}
