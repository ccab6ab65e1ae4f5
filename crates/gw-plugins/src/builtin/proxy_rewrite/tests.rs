//! The behaviours table: what goes in, by which settings, what comes out.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::ProxyRewrite;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

fn run(settings: Value, uri: &str) -> Ran {
    let mut kit = Kit::new::<ProxyRewrite>(settings);
    kit.captures = vec![("id".into(), "a%20b".into())];
    let request = Request::get(uri)
        .header("host", "gw.example.com")
        .header("x-old", "1")
        .header("x-env", "a/b?c%d");
    kit.access(request.body(Bytes::new()).unwrap())
}

#[test]
fn paths_are_rewritten() {
    // Settings, the request's path and query, the upstream's path (none: as the route says) and query.
    let table: [(Value, &str, Option<&str>, Option<&str>); 25] = [
        (json!({ "uri": "/new" }), "/old?a=1", Some("/new"), Some("a=1")),
        (json!({ "uri": "/new" }), "/old", Some("/new"), None),
        (
            json!({ "uri": "/new?b=2" }),
            "/old?a=1",
            Some("/new"),
            Some("b=2&a=1"),
        ),
        (json!({ "uri": "/new?b=2" }), "/old", Some("/new"), Some("b=2")),
        (
            json!({ "uri": "/v2$uri" }),
            "/a%20b/c?x",
            Some("/v2/a%20b/c"),
            Some("x"),
        ),
        (
            json!({ "uri": "/${uri_param_id}x" }),
            "/old",
            Some("/a%20bx"),
            None,
        ),
        (
            json!({ "uri": "/$http_x_env/$arg_q" }),
            "/old?q=%C3%BC+1",
            Some("/a/b%3Fc%25d/%C3%BC%201"),
            Some("q=%C3%BC+1"),
        ),
        (
            json!({ "uri": "/x?e=$http_x_env" }),
            "/old",
            Some("/x"),
            Some("e=a%2Fb%3Fc%25d"),
        ),
        (json!({ "uri": "/$nothing/x" }), "/old", Some("//x"), None),
        (json!({ "uri": "/a b" }), "/old", Some("/a%20b"), None),
        (
            json!({ "uri": "/models/gemini:generate" }),
            "/old",
            Some("/models/gemini:generate"),
            None,
        ),
        (
            json!({ "uri": "/one", "regex_uri": ["^/old", "/two"] }),
            "/old",
            Some("/one"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/api/(.*)", "/$1"] }),
            "/api/x/y?a=1",
            Some("/x/y"),
            Some("a=1"),
        ),
        (
            json!({ "regex_uri": ["^/api(.*)", "$1"] }),
            "/api",
            Some("/"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/(.*)/(.*)/(.*)", "/$1_$2_$3"] }),
            "/a/b/c",
            Some("/a_b_c"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/\\w+/v\\d/(.*)", "/$1"] }),
            "/rest/v1/t?s",
            Some("/t"),
            Some("s"),
        ),
        (
            json!({ "regex_uri": ["/b/", "/B/"] }),
            "/a/b/c/b/",
            Some("/a/B/c/b/"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/a", "/x", "^/b", "/y"] }),
            "/b/1",
            Some("/y/1"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/a", "/x", "^/a", "/y"] }),
            "/a",
            Some("/x"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/a/(.*)", "/x?id=${1}0"] }),
            "/a/7?b",
            Some("/x"),
            Some("id=70&b"),
        ),
        (
            json!({ "regex_uri": ["^/(?!api)(.*)", "/web/$1"] }),
            "/x",
            Some("/web/x"),
            None,
        ),
        (
            json!({ "regex_uri": ["^/(?!api)(.*)", "/web/$1"] }),
            "/api",
            None,
            None,
        ),
        (
            json!({ "regex_uri": ["^/a", "/$request_method"] }),
            "/a",
            Some("/GET"),
            None,
        ),
        (
            json!({ "use_real_request_uri_unsafe": true }),
            "/a%2fb//c?x=%2f",
            Some("/a%2fb//c"),
            Some("x=%2f"),
        ),
        (
            json!({ "use_real_request_uri_unsafe": true, "regex_uri": ["^/api(.*)", "$1"] }),
            "/api/a%2Fb?x=1",
            Some("/a%2Fb"),
            Some("x=1"),
        ),
    ];
    for (settings, uri, path, query) in table {
        let ran = run(settings.clone(), uri);
        assert!(ran.reply.is_none(), "{settings}");
        assert_eq!(ran.steering.path.as_deref(), path, "{settings} {uri}");
        assert_eq!(ran.head.uri.query(), query, "{settings} {uri}");
    }
}

#[test]
fn headers_host_and_method_change() {
    let ran = run(
        json!({
            "method": "POST",
            "host": "internal.example.com:8443",
            "regex_uri": ["^/(\\w+)/(\\w+)", "/$2"],
            "headers": {
                "add": { "X-Old": "2", "X-Both": "$1-$2" },
                "set": { "X-Ip": "${remote_addr}", "X-Number": 7, "X-Env": "was $http_x_env", "X-None": "$9$nothing" },
                "remove": ["X-Gone"],
            },
        }),
        "/users/7",
    );
    let all = |name: &str| -> Vec<&str> {
        ran.head
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    };
    assert_eq!(ran.head.method, "POST");
    assert_eq!(ran.steering.host.as_ref().unwrap(), "internal.example.com:8443");
    assert_eq!(all("x-old"), ["1", "2"]);
    assert_eq!(all("x-both"), ["users-7"]);
    assert_eq!(all("x-ip"), ["127.0.0.1"]);
    assert_eq!(all("x-number"), ["7"]);
    assert_eq!(all("x-env"), ["was a/b?c%d"]);
    assert_eq!(all("x-none"), [""]);
}

#[test]
fn older_files_list_headers_alone() {
    let ran = run(
        json!({ "headers": { "X-Old": "new", "set": "text", "Host": "a.b", "X-Cost": "\\$5 $$" } }),
        "/",
    );
    assert_eq!(ran.head.headers.get_all("x-old").iter().count(), 1);
    assert_eq!(ran.head.headers["x-old"], "new");
    assert_eq!(ran.head.headers["set"], "text");
    assert_eq!(ran.head.headers["x-cost"], "$5 $");
    assert_eq!(ran.steering.host.unwrap(), "a.b");
    assert!(ran.steering.path.is_none(), "the path stays as the route says");
}

#[test]
fn removing_comes_last() {
    let ran = run(
        json!({ "headers": { "set": { "X-New": "1" }, "add": { "X-Old": "2" }, "remove": ["X-New", "X-Old"] } }),
        "/",
    );
    assert!(!ran.head.headers.contains_key("x-new") && !ran.head.headers.contains_key("x-old"));
}

#[test]
fn a_search_without_end_is_given_up() {
    let ran = run(
        json!({ "regex_uri": ["^/(?=(a+)+$)(a|aa)+b", "/x"] }),
        &format!("/{}c", "a".repeat(60)),
    );
    assert_eq!(
        ran.reply.map(|reply| reply.status.as_u16()).unwrap_or(0) % 500,
        0,
        "500, or it was quick"
    );
}

#[test]
fn wrong_settings_are_refused_by_their_place() {
    for (settings, pointer, message) in [
        (json!({ "uri": "new" }), "/config/uri", ""),
        (json!({ "regex_uri": ["^/a"] }), "/config/regex_uri", ""),
        (
            json!({ "regex_uri": ["^/a", "/b", "c"] }),
            "/config/regex_uri",
            "should be an even number",
        ),
        (
            json!({ "regex_uri": ["^/a", "/b", "(", "/"] }),
            "/config/regex_uri/2",
            "invalid regex_uri((, /)",
        ),
        (json!({ "host": "a b" }), "/config/host", ""),
        (
            json!({ "method": "get" }),
            "/config/method",
            "expected one of: GET, POST",
        ),
        (
            json!({ "headers": { "set": { "a b": "c" } } }),
            "/config/headers/set/a b",
            "'a b' is not a valid header",
        ),
        (
            json!({ "headers": { "set": { "a": "b" }, "x/y": "c" } }),
            "/config/headers/x~1y",
            "cannot stand beside",
        ),
        (
            json!({ "headers": { "x": true } }),
            "/config/headers/x",
            "expected",
        ),
        (
            json!({ "headers": { "x": "a\nb" } }),
            "/config/headers/x",
            "is not a valid header",
        ),
        (
            json!({ "headers": { "remove": ["a b"] } }),
            "/config/headers/remove/0",
            "",
        ),
        (json!({ "path": "/x" }), "/config/path", "unknown field"),
    ] {
        let mut document = json!({ "name": "proxy-rewrite", "config": settings });
        let registry = Registry::new().with::<ProxyRewrite>();
        let found = registry
            .complete(document.as_object_mut().unwrap())
            .unwrap_err()
            .into_vec();
        assert_eq!(found[0].pointer, pointer, "{found:?}");
        assert!(found[0].message.contains(message), "{found:?}");
    }
}
