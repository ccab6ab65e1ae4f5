//! What the service is asked, and what becomes of its answers.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::ForwardAuth;
use crate::builtin::keeping::Vouched;
use crate::env::{CallError, CallTerms, Clock, HttpClient, Lender, Lent, Sockets, SystemClock, Tasks};
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

/// A client that remembers what it was asked and answers what it is told to.
#[derive(Default)]
struct Service {
    asked: Mutex<Vec<(Request<Bytes>, CallTerms)>>,
    answer: Mutex<Option<Response<Bytes>>>,
}

impl HttpClient for Service {
    fn send(
        &self,
        request: Request<Bytes>,
        terms: CallTerms,
    ) -> Lent<'static, Result<Response<Bytes>, CallError>> {
        self.asked.lock().unwrap().push((request, terms));
        let answer = self.answer.lock().unwrap().take();
        let answer = answer.ok_or_else(|| CallError::Connect {
            to: "auth".into(),
            source: io::ErrorKind::ConnectionRefused.into(),
        });
        Box::pin(std::future::ready(answer))
    }
}

impl Lender for Service {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn http(&self) -> &dyn HttpClient {
        self
    }

    fn sockets(&self) -> &dyn Sockets {
        unreachable!("not asked for")
    }

    fn tasks(&self) -> &dyn Tasks {
        unreachable!("not asked for")
    }
}

struct Stage {
    service: Arc<Service>,
    kit: Kit,
}

fn stage(settings: Value) -> Stage {
    let mut config = json!({ "uri": "http://auth:9000/check?x=1" });
    config
        .as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    let service = Arc::new(Service::default());
    let registry = Registry::new()
        .with_waiting::<ForwardAuth>()
        .lent(Arc::clone(&service) as Arc<dyn Lender>);
    let kit = Kit::of(&registry, "forward-auth", config).entity(
        "consumers",
        json!({ "id": "11111111-1111-4111-8111-111111111111", "username": "ann" }),
    );
    Stage { service, kit }
}

impl Stage {
    fn answer(&self, status: u16, headers: &[(&str, &str)], body: &'static str) -> Ran {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        *self.service.answer.lock().unwrap() = Some(answer.body(Bytes::from(body)).unwrap());
        self.run()
    }

    fn run(&self) -> Ran {
        let request = Request::post("/orders/7?a=%20b")
            .header("host", "API.example.com:8000")
            .header("authorization", "Bearer t")
            .header("x-user-id", "forged")
            .header("content-type", "text/plain")
            .header("x-forwarded-for", "6.6.6.6");
        self.kit.access(request.body("the body").unwrap())
    }

    fn asked(&self) -> (Request<Bytes>, CallTerms) {
        self.service.asked.lock().unwrap().pop().expect("asked")
    }
}

#[test]
fn the_service_is_told_who_wants_what() {
    let stage = stage(json!({
        "request_headers": ["Authorization", "X-None", "Content-Length", "X-Forwarded-For"],
        "extra_headers": { "X-Tenant": "t-$arg_a-${http_x_user_id}", "X-Count": 7 },
    }));
    assert!(stage.answer(200, &[], "").reply.is_none());
    let (asked, terms) = stage.asked();
    assert_eq!(
        (asked.method().as_str(), asked.uri().to_string()),
        ("GET", "http://auth:9000/check?x=1".to_owned())
    );
    let mut headers: Vec<(&str, &str)> = asked
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("authorization", "Bearer t"),
            ("x-count", "7"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-uri", "/orders/7?a=%20b"),
            ("x-tenant", "t- b-forged"),
        ]
    );
    assert!(asked.body().is_empty());
    assert_eq!(
        (terms.timeout, terms.verify, terms.keepalive),
        (Duration::from_secs(3), true, Some(Duration::from_secs(60)))
    );
}

#[test]
fn the_body_goes_along_with_post() {
    let stage =
        stage(json!({ "request_method": "POST", "timeout": 50, "ssl_verify": false, "keepalive": false }));
    assert!(stage.answer(204, &[], "").reply.is_none());
    let (asked, terms) = stage.asked();
    assert_eq!(
        (asked.method().as_str(), asked.body().as_ref()),
        ("POST", b"the body".as_slice())
    );
    assert_eq!(asked.headers()["content-type"], "text/plain");
    assert_eq!(
        (terms.timeout, terms.verify, terms.keepalive),
        (Duration::from_millis(50), false, None)
    );
}

#[test]
fn a_good_answer_may_speak_to_the_upstream() {
    let stage = stage(json!({ "upstream_headers": ["X-User-ID", "Authorization"] }));
    let ran = stage.answer(
        200,
        &[("x-user-id", "7"), ("x-user-id", "8"), ("x-other", "no")],
        "",
    );
    assert!(ran.reply.is_none());
    let ids: Vec<_> = ran.head.headers.get_all("x-user-id").iter().collect();
    assert_eq!(ids, ["7", "8"]);
    assert!(
        !ran.head.headers.contains_key("authorization"),
        "what the service does not say nobody says"
    );
    assert!(!ran.head.headers.contains_key("x-other"));
}

#[test]
fn what_only_the_service_may_say_is_not_said_in_other_letters() {
    let stage = stage(json!({ "upstream_headers": ["X-User-Role", "x_user_id"], "allow_degradation": true }));
    let request = || {
        let names = [
            "X_User_Role",
            "x-user_role",
            "X-User-Role",
            "X-User-Id",
            "x_user_id",
        ];
        let all = names
            .iter()
            .fold(Request::get("/"), |request, name| request.header(*name, "forged"));
        all.header("x-user-roles", "own").body("").unwrap()
    };
    for (answer, expected) in [
        (
            Some(("x-user-role", "reader")),
            vec!["x-user-role=reader", "x-user-roles=own"],
        ),
        (None, vec!["x-user-roles=own"]),
    ] {
        let reply = |(name, value)| {
            Response::builder()
                .header(name, value)
                .body(Bytes::new())
                .unwrap()
        };
        *stage.service.answer.lock().unwrap() = answer.map(reply);
        let ran = stage.kit.access(request());
        assert!(ran.reply.is_none());
        let mut sent: Vec<_> = ran.head.headers.iter().collect();
        sent.sort_by_key(|(name, _)| name.as_str().to_owned());
        let sent: Vec<_> = sent
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        assert_eq!(sent, expected);
        // What it said makes another answer of the upstream's, and caches are told.
        let vouched = ran.head.extensions.get::<Vouched>();
        assert_eq!(vouched.map(|vouched| vouched.0.len()), answer.map(|_| 1));
    }
}

#[test]
fn the_service_judges_the_path_that_the_route_was_found_by() {
    let mut stage = stage(json!({}));
    stage.kit.target = Some("/public/../admin?x=%2e".parse().unwrap());
    *stage.service.answer.lock().unwrap() = Some(Response::new(Bytes::new()));
    assert!(
        stage
            .kit
            .access(Request::get("/admin?x=%2e").body("").unwrap())
            .reply
            .is_none()
    );
    assert_eq!(stage.asked().0.headers()["x-forwarded-uri"], "/admin?x=%2e");
}

#[test]
fn a_refusal_goes_to_the_client() {
    let stage = stage(json!({ "client_headers": ["Location", "Transfer-Encoding"] }));
    for status in [301, 401, 403, 500] {
        let sent = [
            ("location", "/login"),
            ("content-type", "text/html"),
            ("x-other", "no"),
            ("transfer-encoding", "chunked"),
        ];
        let reply = stage.answer(status, &sent, "who are you?").reply.unwrap();
        assert_eq!(reply.status.as_u16(), status);
        assert_eq!(reply.body, crate::ReplyBody::Bytes("who are you?".into()));
        let names: Vec<&str> = reply.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["location", "content-type"]);
    }
}

#[test]
fn a_service_that_does_not_answer() {
    assert_eq!(stage(json!({})).run().reply.unwrap().status, 403);
    assert_eq!(
        stage(json!({ "status_on_error": 503 }))
            .run()
            .reply
            .unwrap()
            .status,
        503
    );
    let degraded = stage(json!({ "allow_degradation": true, "upstream_headers": ["X-User-ID"] })).run();
    assert!(degraded.reply.is_none());
    assert_eq!(
        degraded.head.headers.get("x-user-id"),
        None,
        "nobody vouches for it"
    );
}

#[test]
fn the_service_may_name_the_consumer() {
    let stage = stage(json!({ "consumer_header": "X-Consumer" }));
    let ran = stage.answer(200, &[("x-consumer", "ann")], "");
    assert!(ran.reply.is_none());
    assert_eq!(ran.head.headers["x-consumer-username"], "ann");
    assert!(ran.identity.credential.is_none() && !ran.identity.anonymous);
    for headers in [&[][..], &[("x-consumer", "")], &[("x-consumer", "bob")]] {
        assert_eq!(stage.answer(200, headers, "").reply.unwrap().status, 403);
    }
}

#[test]
fn wrong_settings_are_named() {
    let registry = Registry::new().with_waiting::<ForwardAuth>();
    for (config, pointer) in [
        (json!({}), "/config/uri"),
        (json!({ "uri": "auth:9000/check" }), "/config/uri"),
        (json!({ "uri": "/check" }), "/config/uri"),
        (json!({ "uri": "ftp://auth/" }), "/config/uri"),
        (json!({ "uri": "http://auth/", "timeout": 0 }), "/config/timeout"),
        (
            json!({ "uri": "http://auth/", "request_method": "PUT" }),
            "/config/request_method",
        ),
        (
            json!({ "uri": "http://auth/", "upstream_headers": ["x y"] }),
            "/config/upstream_headers/0",
        ),
        (
            json!({ "uri": "http://auth/", "extra_headers": { "x y": "1" } }),
            "/config/extra_headers/x y",
        ),
        (
            json!({ "uri": "http://auth/", "extra_headers": {} }),
            "/config/extra_headers",
        ),
    ] {
        let mut document = json!({ "name": "forward-auth", "config": config })
            .as_object()
            .unwrap()
            .clone();
        let refused = registry.complete(&mut document).unwrap_err();
        assert_eq!(
            refused.into_iter().next().unwrap().pointer,
            pointer,
            "{document:?}"
        );
    }
}
