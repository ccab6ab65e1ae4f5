//! The behaviours table: what goes in, by which settings, what comes out.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::RequestTransformer;
use crate::kit::{Kit, Ran};
use crate::plugin::{BodyNeed, Definition};
use crate::registry::Registry;

fn kit(settings: Value) -> Kit {
    Kit::new::<RequestTransformer>(settings)
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(Bytes::new()).unwrap()
}

fn post(content_type: &str, body: &str) -> Request<Bytes> {
    let request = Request::post("/p?q=1").header("content-type", content_type);
    request.body(Bytes::from(body.to_owned())).unwrap()
}

/// The headers called `name`, as they would go on.
fn all<'r>(ran: &'r Ran, name: &str) -> Vec<&'r str> {
    ran.head
        .headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

/// The settings are refused, at this place.
fn refused(settings: Value, pointer: &str, message: &str) {
    let mut document = json!({ "name": "request-transformer", "config": settings });
    let registry = Registry::new().with::<RequestTransformer>();
    let violations = registry
        .complete(document.as_object_mut().unwrap())
        .unwrap_err()
        .into_vec();
    let found: Vec<_> = violations
        .iter()
        .map(|found| format!("{}: {}", found.pointer, found.message))
        .collect();
    assert!(
        violations[0].pointer == pointer && violations[0].message.contains(message),
        "{found:?}"
    );
}

#[test]
fn headers_are_edited_in_kongs_order() {
    let settings = json!({
        "remove": { "headers": ["X-Gone", "x-also:whatever", "Host"] },
        "rename": { "headers": ["X-Old:X-New"] },
        "replace": { "headers": ["X-There: replaced", "X-Absent:no", "X-Empty:"] },
        "add": { "headers": ["X-There:no", "X-Added: yes ", "X-Url:http://a:80/b", "Host:no", "X-Nothing:"] },
        "append": { "headers": ["X-There:more", "X-Fresh:one"] },
    });
    let ran = kit(settings).access(get(
        "/",
        &[
            ("host", "example.com"),
            ("x-gone", "1"),
            ("x-also", "1"),
            ("x-old", "a"),
            ("x-old", "b"),
            ("x-new", "c"),
            ("x-there", "1"),
            ("x-there", "2"),
            ("x-empty", "kept"),
        ],
    ));
    let table: [(&str, &[&str]); 11] = [
        ("x-gone", &[]),
        ("x-also", &[]),
        ("x-old", &[]),
        ("x-new", &["a", "b"]),
        ("x-there", &["replaced", "more"]),
        ("x-absent", &[]),
        ("x-empty", &["kept"]),
        ("x-added", &["yes"]),
        ("x-url", &["http://a:80/b"]),
        ("x-fresh", &["one"]),
        ("host", &["example.com"]),
    ];
    for (name, expected) in table {
        assert_eq!(all(&ran, name), expected, "{name}");
    }
    assert!(ran.steering.host.is_none());
    assert!(!ran.head.headers.contains_key("x-nothing"));
}

#[test]
fn the_host_is_replaced_or_renamed_to() {
    let ran = kit(json!({ "replace": { "headers": ["Host: $(headers.x_tenant).internal"] } }))
        .access(get("/", &[("x-tenant", "acme")]));
    assert_eq!(ran.steering.host.unwrap(), "acme.internal");
    let ran = kit(json!({ "rename": { "headers": ["X-Host:Host"] } })).access(get("/", &[("x-host", "a.b")]));
    assert!(!ran.head.headers.contains_key("x-host"));
    assert_eq!(ran.steering.host.unwrap(), "a.b");
}

#[test]
fn arguments_are_edited() {
    let settings = json!({
        "remove": { "querystring": ["gone"] },
        "rename": { "querystring": ["old:new"] },
        "replace": { "querystring": ["there:a b", "absent:1"] },
        "add": { "querystring": ["added:ü"] },
        "append": { "querystring": ["there:2"] },
    });
    let table = [
        (
            "/p?gone=1&old=x%20y&there=1&k=%2F",
            "/p?new=x%20y&there=a%20b&k=%2F&added=%C3%BC&there=2",
        ),
        ("/p", "/p?added=%C3%BC&there=2"),
    ];
    for (uri, expected) in table {
        assert_eq!(kit(settings.clone()).access(get(uri, &[])).head.uri, expected);
    }
    let ran = kit(json!({ "remove": { "querystring": ["a"] } })).access(get("/p?a=1&a", &[]));
    assert_eq!(ran.head.uri, "/p");
}

#[test]
fn bodies_are_edited_in_their_own_format() {
    let settings = json!({
        "remove": { "body": ["gone"] },
        "rename": { "body": ["old:new"] },
        "replace": { "body": ["there:R"] },
        "add": { "body": ["added:$(query_params.q)"] },
        "append": { "body": ["there:P"] },
    });
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = format!("{}{}--b--\r\n", part("old", "1"), part("gone", "2"));
    let edited = format!(
        "{}{}{}--b--\r\n",
        part("new", "1"),
        part("added", "1"),
        part("there", "P")
    );
    let table = [
        (
            "application/json",
            r#"{"gone":1,"old":2.50,"there":3}"#,
            r#"{"new":2.50,"there":["R","P"],"added":"1"}"#,
        ),
        ("application/json", "", r#"{"added":"1","there":["P"]}"#),
        ("application/json", "[1]", "[1]"),
        ("application/json", "{", "{"),
        (
            "application/x-www-form-urlencoded",
            "gone=1&old=2",
            "new=2&added=1&there=P",
        ),
        ("multipart/form-data; boundary=\"b\"", &multipart, &edited),
        ("text/plain", "gone", "gone"),
    ];
    for (content_type, body, expected) in table {
        let kit = kit(settings.clone());
        assert_eq!(
            kit.access(post(content_type, body)).body.unwrap(),
            expected,
            "{content_type} {body}"
        );
    }
}

#[test]
fn a_body_is_asked_for_only_where_it_is_edited() {
    let need = |settings: Value| {
        let mut config = json!({ "config": settings, "name": "request-transformer" });
        let registry = Registry::new().with::<RequestTransformer>();
        registry.complete(config.as_object_mut().unwrap()).unwrap();
        let instance = registry
            .build(gw_core::Id::random(), RequestTransformer::NAME, &config["config"])
            .unwrap();
        instance.needs
    };
    assert_eq!(
        need(json!({ "add": { "headers": ["a:b"] } })),
        crate::plugin::Needs::none()
    );
    let whole = BodyNeed::Whole { max: 8 << 20 };
    assert_eq!(need(json!({ "add": { "body": ["a:b"] } })).request_body, whole);
    assert_eq!(need(json!({ "http_method": "GET" })).request_body, whole);
    assert_eq!(
        need(json!({ "http_method": "POST" })).request_body,
        BodyNeed::None
    );
    assert!(need(json!({ "replace": { "uri": "/$(uri_captures.a)" } })).captures);
}

#[test]
fn methods_change_and_forms_become_arguments() {
    let ran =
        kit(json!({ "http_method": "GET" })).access(post("application/x-www-form-urlencoded", "a=1&b=%20"));
    assert_eq!(
        (ran.head.method.as_str(), ran.head.uri.to_string().as_str()),
        ("GET", "/p?q=1&a=1&b=%20")
    );
    let ran = kit(json!({ "http_method": "PUT" })).access(post("application/x-www-form-urlencoded", "a=1"));
    assert_eq!(
        (ran.head.method.as_str(), ran.head.uri.to_string().as_str()),
        ("PUT", "/p?q=1")
    );
    let ran = kit(json!({ "http_method": "GET" })).access(post("application/json", "{}"));
    assert_eq!(ran.head.uri, "/p?q=1");
}

#[test]
fn the_whole_path_is_replaced() {
    let table = [
        ("/fixed", "/fixed", "/p?a=1"),
        ("/u/$(uri_captures.id)/$(uri_captures[2])", "/u/7/x%20y", "/p?a=1"),
        ("/a b/ü", "/a%20b/%C3%BC", "/p?a=1"),
        ("/$(query_params.a)?b=2", "/1", "/p?b=2&a=1"),
    ];
    for (uri, path, rest) in table {
        let mut kit = kit(json!({ "replace": { "uri": uri } }));
        kit.captures = vec![("id".into(), "7".into()), ("2".into(), "x%20y".into())];
        let ran = kit.access(get("/p?a=1", &[]));
        assert_eq!(ran.steering.path.as_deref(), Some(path), "{uri}");
        assert_eq!(ran.head.uri, rest, "{uri}");
    }
    let ran = kit(json!({ "replace": { "uri": "$(headers.absent)" } })).access(get("/p", &[]));
    assert_eq!(ran.reply.unwrap().status, 500, "no path");
}

#[test]
fn templates_see_the_request_as_it_came() {
    let settings = json!({
        "remove": { "headers": ["x-a"] },
        "replace": { "headers": ["X-B:$(headers.x_a)-$(headers[\"x-b\"])"] },
        "add": { "headers": [
            "X-Arg: $(query_params.name) and $(query_params['two words'])",
            "X-None:<$(headers.absent)$(shared.x)$(uuid)>",
            "X-Open:$(not closed",
            "X-Flag:$(query_params.flag)",
            "X-Joined:$(headers.x_many)",
            "X-Capture:$(uri_captures[1])",
            "X-Line:$(query_params.line)",
            "X-Env:$HOME ${request_id}",
        ] },
    });
    let mut kit = kit(settings);
    kit.captures = vec![("name".into(), "first".into())];
    let ran = kit.access(get(
        "/p?name=J%C3%BC&two+words=2&flag&line=a%0d%0ab",
        &[("x-a", "A"), ("x-b", "B"), ("x-many", "1"), ("x-many", "2")],
    ));
    let text = |name: &str| String::from_utf8(ran.head.headers[name].as_bytes().to_vec()).unwrap();
    assert_eq!(text("x-b"), "A-B");
    assert_eq!(text("x-arg"), "Jü and 2");
    assert_eq!(text("x-none"), "<>");
    assert_eq!(text("x-open"), "$(not closed");
    assert_eq!(text("x-flag"), "true");
    assert_eq!(text("x-joined"), "1,2");
    assert_eq!(text("x-capture"), "first");
    assert_eq!(text("x-line"), "a%0D%0Ab");
    assert_eq!(text("x-env"), "$HOME ${request_id}");
}

/// The expression that Supabase writes: an opaque key becomes the token behind it.
#[test]
fn opaque_keys_become_tokens() {
    let expression = "Authorization: $((headers.authorization ~= nil and headers.authorization:sub(1, 10) ~= 'Bearer sb_' \
                      and headers.authorization) or (headers.apikey == 'sb_secret_1' and 'Bearer jwt.service') or \
                      (headers.apikey == 'sb_publishable_1' and 'Bearer jwt.anon') or headers.apikey)";
    let kit = kit(json!({ "add": { "headers": [expression] }, "replace": { "headers": [expression] } }));
    let table: [(&[(&str, &str)], &str); 7] = [
        (&[("authorization", "Bearer user.jwt")], "Bearer user.jwt"),
        (
            &[("authorization", "Bearer user.jwt"), ("apikey", "sb_secret_1")],
            "Bearer user.jwt",
        ),
        (
            &[("authorization", "Bearer sb_secret_1"), ("apikey", "sb_secret_1")],
            "Bearer jwt.service",
        ),
        (&[("apikey", "sb_secret_1")], "Bearer jwt.service"),
        (&[("apikey", "sb_publishable_1")], "Bearer jwt.anon"),
        (&[("apikey", "legacy")], "legacy"),
        (&[], ""),
    ];
    for (headers, expected) in table {
        assert_eq!(
            all(&kit.access(get("/", headers)), "authorization"),
            [expected],
            "{headers:?}"
        );
    }
    let socket = "apikey:$((query_params.apikey == 'sb_secret_1' and 'jwt.service') or query_params.apikey)";
    let kit = self::kit(json!({ "replace": { "querystring": [socket] } }));
    let table = [
        ("/s?apikey=sb_secret_1&v=1", "/s?apikey=jwt.service&v=1"),
        ("/s?apikey=x", "/s?apikey=x"),
        ("/s", "/s"),
    ];
    for (uri, expected) in table {
        assert_eq!(kit.access(get(uri, &[])).head.uri, expected);
    }
}

#[test]
fn an_expression_that_fails_answers_500() {
    let kit = kit(json!({ "add": { "headers": ["X-A:$(headers.absent:sub(1, 2))"] } }));
    let reply = kit.access(get("/", &[])).reply.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (500, Some("An unexpected error occurred"))
    );
    assert!(kit.access(get("/", &[("absent", "abc")])).reply.is_none());
}

#[test]
fn wrong_settings_are_refused_by_their_place() {
    let add = |kind: &str, item: Value| json!({ "add": { kind: [item] } });
    refused(
        add("headers", json!("X-A:$(kong.client.get_ip())")),
        "/config/add/headers/0",
        "needs Lua: a call at byte 18",
    );
    refused(
        add("headers", json!("X-A:$(1 +)")),
        "/config/add/headers/0",
        "not an expression",
    );
    refused(
        add("body", json!("a:$(for)")),
        "/config/add/body/0",
        "needs Lua: `for`",
    );
    refused(
        add("querystring", json!("a:")),
        "/config/add/querystring/0",
        "key 'a' has no value",
    );
    refused(
        add("headers", json!("X A:b")),
        "/config/add/headers/0",
        "'X A' is not a valid header",
    );
    refused(
        add("headers", json!("X-A")),
        "/config/add/headers/0",
        "'X-A' is not written as `name:value`",
    );
    refused(
        json!({ "add": { "headers": { "X-A": "b" } } }),
        "/config/add/headers",
        "expected an array",
    );
    refused(
        json!({ "rename": { "headers": ["X-A:b c"] } }),
        "/config/rename/headers/0",
        "'b c' is not a valid header",
    );
    refused(
        json!({ "add": { "header": ["X-A:b"] } }),
        "/config/add/header",
        "unknown field",
    );
    refused(
        json!({ "add": { "uri": "/" } }),
        "/config/add/uri",
        "unknown field",
    );
    refused(json!({ "http_method": "get" }), "/config/http_method", "");
    refused(
        json!({ "replace": { "uri": "/$(x.y.z())" } }),
        "/config/replace/uri",
        "",
    );
}
