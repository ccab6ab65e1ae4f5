//! Paths that try to get around a protected route: what is matched is what goes upstream, in every way of reading it.

use gw_core::Kind;
use gw_proxy::RouterFlavor;
use gw_testkit::Raw;
use serde_json::{Value, json};

use crate::smuggling::Recorder;
use crate::support::{Proxy, merged};

/// Targets that some server may take for one below `/admin`.
const TRICKS: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/x",
    "//admin",
    "/a//..//admin",
    "/./admin",
    "/a/../admin",
    "/a/b/../../admin",
    "/../admin",
    "/../../../admin",
    "/a/%2e%2e/admin",
    "/a/%2E%2E/admin",
    "/a/.%2e/admin",
    "/a/%2e./admin",
    "/%2e/admin",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/%41dmin/../admin",
    "/admin%2f",
    "/admin%2Fx",
    "/admin%2f..%2fadmin",
    "/a%2f..%2fadmin",
    "/a/..%2fadmin",
    "/..%2fadmin",
    "/%2fadmin",
    "/%2Fadmin/x",
    "/.%2fadmin",
    "/a%5c..%5cadmin",
    "/%5cadmin",
    "/\\admin",
    "/a\\..\\admin",
    "/a/..\\admin",
    "/..;/admin",
    "/a/..;/admin",
    "/a/..;x=y/admin",
    "/.;/admin",
    "/a;/../admin",
    "/;/admin",
    "/;x/admin",
    "/admin;",
    "/admin;x=y",
    "/admin;x/y",
    "/%3b/admin",
    "/admin%3bx",
    "/a/..%3b/admin",
    "/%252e%252e/admin",
    "/a/%252e%252e/admin",
    "/a%252f..%252fadmin",
    "/a/..%252fadmin",
    "/%2561dmin",
    "/admin%252fx",
    "/%c0%ae%c0%ae/admin",
    "/a/%c0%ae%c0%ae/admin",
    "/a%c0%af..%c0%afadmin",
    "/a/%e0%80%ae%e0%80%ae/admin",
    "/admin%00",
    "/admin%00.html",
    "/a%00/../admin",
    "/admin?x",
    "/admin#x",
    "/?/../admin",
    "/admin%3fx",
    "/admin%23x",
    "?/admin",
    "admin",
    "*",
    "http://a.test/admin",
    "http://a.test/a/../admin",
    "http://a.test//admin",
    "http://a.test/a/%2e%2e/admin",
    "http://a.test\\admin",
    "https://a.test/..;/admin",
    "//a.test/../admin",
    "/a/../admin/../admin",
    "/admin/../a",
    "/admin/%2e%2e/a",
    "/admin/..%2fa",
];

/// As careless as servers are: decoded until nothing is left to decode, without parameters, with `\` for `/`.
fn careless(path: &str) -> String {
    let mut bytes = path.split('?').next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..4 {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes
                .get(at + 1..at + 3)
                .and_then(|digits| str::from_utf8(digits).ok());
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match value.filter(|_| bytes[at] == b'%') {
                Some(value) => {
                    decoded.push(value);
                    at += 3;
                }
                None => {
                    decoded.push(bytes[at]);
                    at += 1;
                }
            }
        }
        bytes = decoded;
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment.split([';', '\0']).next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Sends all of them to a gateway where everything is open but `/admin`; what reaches the open upstream.
async fn open(flavor: RouterFlavor, routes: &[Value], service: Value) -> Vec<(&'static str, u16, String)> {
    let (open, closed) = (Recorder::start().await, Recorder::start().await);
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.router_flavor = flavor)
        .start();
    let everything = proxy.service(open.addr, service.clone());
    let all = if flavor == RouterFlavor::Kong {
        json!({ "paths": ["/"] })
    } else {
        json!({ "uris": ["/*"] })
    };
    proxy.route(everything, merged(all, json!({ "strip_path": false })));
    let admin = proxy.service(closed.addr, service);
    for fields in routes {
        let route = proxy.route(admin, fields.clone());
        proxy.put(
            Kind::Plugin,
            json!({ "name": "key-auth", "route": { "id": route } }),
        );
    }
    let mut through = Vec::new();
    for target in TRICKS {
        let mut client = Raw::connect(proxy.addr()).await;
        client
            .send(format!(
                "GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
            ))
            .await;
        let answer = client.read_response().await;
        assert_eq!(closed.take(), "", "{target} got through");
        let seen = open.take();
        let line = seen.split("\r\n").next().unwrap_or_default().to_owned();
        assert_eq!(line.is_empty(), answer.status != 200, "{target}: {line}");
        assert!(
            matches!(answer.status, 200 | 400 | 401 | 404),
            "{target}: {}",
            answer.status
        );
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        through.push((*target, answer.status, path));
    }
    through
}

fn check(through: &[(&str, u16, String)], base: &str, guarded: impl Fn(&str) -> bool) {
    for (target, _, path) in through.iter().filter(|(_, status, _)| *status == 200) {
        let below = path
            .strip_prefix(base)
            .unwrap_or_else(|| panic!("{target} left {base} as {path}"));
        assert!(!guarded(&careless(below)), "{target} went upstream as {path}");
        let dots = |segment: &str| matches!(segment, "." | "..");
        let query_less = path.split('?').next().unwrap_or_default();
        assert!(
            !query_less.split(['/', '\\']).any(dots),
            "{target} went upstream as {path}"
        );
    }
    // Enough of them are answered for the checks above to mean something.
    for target in ["/admin", "/a/%2e%2e/admin", "//admin"] {
        assert!(
            through
                .iter()
                .any(|(trick, status, _)| *trick == target && *status == 401),
            "{target}"
        );
    }
    assert!(
        through
            .iter()
            .any(|(trick, status, _)| *trick == "/?/../admin" && *status == 200)
    );
}

fn is_below(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

#[tokio::test]
async fn a_prefix_is_not_gone_around() {
    for strip in [true, false] {
        for base in ["", "/base", "/base/"] {
            let service = if base.is_empty() {
                json!({})
            } else {
                json!({ "path": base })
            };
            let route = json!({ "paths": ["/admin"], "strip_path": strip });
            let through = open(RouterFlavor::Kong, &[route], service).await;
            check(&through, base.trim_end_matches('/'), is_below);
        }
    }
}

#[tokio::test]
async fn a_prefix_that_ends_in_a_slash_is_not_gone_around() {
    let routes = [json!({ "paths": ["/admin/"] }), json!({ "paths": ["~/admin$"] })];
    check(&open(RouterFlavor::Kong, &routes, json!({})).await, "", is_below);
}

#[tokio::test]
async fn a_regex_is_not_gone_around() {
    let route = json!({ "paths": ["~/admin(/.*)?$"] });
    check(&open(RouterFlavor::Kong, &[route], json!({})).await, "", is_below);
}

#[tokio::test]
async fn an_exact_path_is_not_gone_around() {
    let route = json!({ "uris": ["/admin"] });
    let through = open(RouterFlavor::Radix, &[route], json!({})).await;
    check(&through, "", |_| false);
    let exact: Vec<_> = through
        .iter()
        .filter(|(_, status, path)| *status == 200 && !path.ends_with('/') && !path.ends_with("%2F"))
        .collect();
    for (target, _, path) in exact {
        assert_ne!(careless(path), "/admin", "{target} went upstream as {path}");
    }
}

#[tokio::test]
async fn a_pattern_is_not_gone_around() {
    let route = json!({ "uris": ["/admin", "/admin/*"] });
    check(
        &open(RouterFlavor::Radix, &[route], json!({})).await,
        "",
        is_below,
    );
}

/// Sends a request for each path; its status, and whether the upstream has seen it.
async fn told(proxy: &Proxy, upstream: &Recorder, paths: &[&str]) -> Vec<(u16, bool)> {
    let mut told = Vec::new();
    for path in paths {
        let mut client = Raw::connect(proxy.addr()).await;
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
        let status = client.read_response().await.status;
        told.push((status, !upstream.take().is_empty()));
    }
    told
}

/// The last three are the first to a careless server.
const CLOSED: [&str; 4] = ["/admin", "/;/admin", "/%2Fadmin", "/\\admin"];

#[tokio::test]
async fn what_an_open_route_overrides_still_guards_the_others() {
    let upstream = Recorder::start().await;
    let mut proxy = Proxy::start();
    proxy.put(Kind::Consumer, json!({ "username": "guest" }));
    let service = proxy.service(upstream.addr, json!({}));
    proxy.put(
        Kind::Plugin,
        json!({ "name": "key-auth", "service": { "id": service } }),
    );
    let open = proxy.route(service, json!({ "paths": ["/"], "strip_path": false }));
    let guest = json!({ "name": "key-auth", "route": { "id": open }, "config": { "anonymous": "guest" } });
    let guest = proxy.put(Kind::Plugin, guest);
    proxy.route(service, json!({ "paths": ["/admin"], "strip_path": false }));
    assert_eq!(
        told(&proxy, &upstream, &CLOSED).await,
        [(401, false), (400, false), (400, false), (400, false)]
    );
    let elsewhere = ["/", "/;/x", "/a%2Fadmin"];
    assert_eq!(told(&proxy, &upstream, &elsewhere).await, [(200, true); 3]);
    // What guards both alike is asked, whichever of them it is.
    proxy.delete(Kind::Plugin, guest);
    assert_eq!(told(&proxy, &upstream, &CLOSED).await, [(401, false); 4]);
}

#[tokio::test]
async fn a_route_that_takes_tls_alone_is_not_gone_around() {
    let upstream = Recorder::start().await;
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr, json!({}));
    proxy.route(service, json!({ "paths": ["/"], "strip_path": false }));
    let closed = json!({ "paths": ["/admin"], "protocols": ["https"], "strip_path": false });
    proxy.route(service, closed);
    assert_eq!(
        told(&proxy, &upstream, &CLOSED).await,
        [(426, false), (400, false), (400, false), (400, false)]
    );
}

#[tokio::test]
async fn a_parameter_may_hold_an_escaped_slash() {
    let upstream = Recorder::start().await;
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.router_flavor = RouterFlavor::Radix)
        .start();
    let service = proxy.service(upstream.addr, json!({}));
    proxy.route(
        service,
        json!({ "uris": ["/projects/{id}/issues"], "strip_path": false }),
    );
    proxy.route(service, json!({ "uris": ["/*"], "strip_path": false }));
    for target in [
        "/projects/a%2Fb/issues",
        "/queues/%2F/x",
        "/a;v=1/b;c",
        "/caf%C3%A9/100%25",
    ] {
        let mut client = Raw::connect(proxy.addr()).await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(client.read_response().await.status, 200, "{target}");
        assert!(
            upstream.take().starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{target}"
        );
    }
}

#[tokio::test]
async fn what_a_prefix_leaves_does_not_climb_out_of_the_service() {
    let upstream = Recorder::start().await;
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr, json!({ "path": "/base/public" }));
    for handling in ["v0", "v1"] {
        let route = proxy.route(
            service,
            json!({ "paths": ["/api"], "strip_path": true, "path_handling": handling }),
        );
        for (target, status) in [
            ("/api../secret", 400),
            ("/api..", 400),
            ("/api..%2fsecret", 400),
            ("/api..;/secret", 400),
            ("/api.%2e/secret", 400),
            ("/api./x", 400),
            ("/api%252e%252e/secret", 400),
            ("/api.json", 200),
            ("/api..x", 200),
            ("/api/.x", 200),
        ] {
            let mut client = Raw::connect(proxy.addr()).await;
            client
                .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            assert_eq!(client.read_response().await.status, status, "{handling} {target}");
            let seen = upstream.take();
            assert!(
                seen.is_empty() || seen.starts_with("GET /base/public"),
                "{target}: {seen}"
            );
        }
        proxy.delete(Kind::Route, route);
    }
}
