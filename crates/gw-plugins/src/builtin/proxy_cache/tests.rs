//! What the plugin does with each kind of request and response.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::ProxyCache;
use crate::builtin::keeping::{Keeper, Vouched};
use crate::identity::Identity;
use crate::kit::{Answered, Kit, Ran};
use crate::registry::Registry;
use crate::reply::ReplyBody;
use crate::steering::UpstreamChoice;

/// A cache at a time that the test sets.
struct Stage {
    kit: Kit,
    begun: SystemTime,
}

/// What a client got.
#[derive(Debug)]
struct Got {
    status: u16,
    cache: String,
    body: String,
    headers: http::HeaderMap,
    /// What the upstream was sent; none if it was not asked.
    sent: Option<http::HeaderMap>,
}

fn stage(settings: Value) -> Stage {
    let mut all = json!({ "strategy": "memory" });
    all.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    Stage {
        kit: Kit::of(&Registry::new().with_waiting::<ProxyCache>(), "proxy-cache", all),
        begun: httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap(),
    }
}

/// By RFC 9111.
fn controlled() -> Stage {
    stage(json!({ "cache_control": true }))
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<String> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "a.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(String::new()).unwrap()
}

fn response(status: u16, body: &str, headers: &[(&str, &str)]) -> Response<Vec<Bytes>> {
    let mut response = Response::builder().status(status);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        response = response.header("content-type", "text/plain");
    }
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (first, second) = body.split_at(body.len() / 2);
    let chunks = [first, second].map(|chunk| Bytes::copy_from_slice(chunk.as_bytes()));
    response.body(chunks.to_vec()).unwrap()
}

impl Stage {
    fn at(&mut self, seconds: u64) -> &mut Self {
        self.kit.now = Some(self.begun + Duration::from_secs(seconds));
        self
    }

    /// Sends a request, to be answered so by the upstream if it is asked.
    fn send(&self, request: Request<String>, upstream: Response<Vec<Bytes>>) -> Got {
        let mut ran = self.kit.access(request);
        let Some(reply) = ran.reply.take() else {
            let sent = ran.head.headers.clone();
            let answered = self.kit.respond(&mut ran, upstream);
            return Got {
                sent: Some(sent),
                ..of(answered)
            };
        };
        let mut head = Response::new(()).into_parts().0;
        (head.status, head.headers) = (reply.status, reply.headers.clone());
        ran.reply = Some(reply);
        self.kit.header_filter(&mut ran, &mut head);
        let body = match ran.reply.unwrap().body {
            ReplyBody::Bytes(bytes) => bytes,
            ReplyBody::Message(message) => Bytes::from(message.into_owned()),
        };
        of(Answered {
            head,
            reply: None,
            body,
        })
    }

    fn get(&self, headers: &[(&str, &str)], upstream: Response<Vec<Bytes>>) -> Got {
        self.send(request("GET", "/a", headers), upstream)
    }

    /// Asks, where the upstream would say `new`.
    #[track_caller]
    fn expect(&self, headers: &[(&str, &str)], cache: &str, body: &str) -> Got {
        let got = self.get(headers, response(200, "new", &[("cache-control", "max-age=60")]));
        assert_eq!((got.cache.as_str(), got.body.as_str()), (cache, body), "{got:?}");
        got
    }
}

impl Got {
    #[track_caller]
    fn told(&self, name: &str) -> &str {
        text(&self.headers, name)
    }
}

#[track_caller]
fn text<'h>(headers: &'h http::HeaderMap, name: &str) -> &'h str {
    headers[name].to_str().unwrap()
}

fn of(answered: Answered) -> Got {
    let (head, body) = match answered.reply {
        None => (answered.head, answered.body),
        Some(reply) => {
            let mut head = answered.head;
            (head.status, head.headers) = (reply.status, reply.headers);
            let ReplyBody::Bytes(body) = reply.body else {
                panic!("a message in the place of a response")
            };
            (head, body)
        }
    };
    let cache = head
        .headers
        .get("x-cache-status")
        .map_or("", |value| value.to_str().unwrap());
    Got {
        status: head.status.as_u16(),
        cache: cache.to_owned(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        headers: head.headers,
        sent: None,
    }
}

// --- as Kong ---

#[test]
fn what_came_once_comes_from_memory_until_its_time_is_over() {
    let mut stage = stage(json!({ "cache_ttl": 10 }));
    let first = stage.at(0).get(
        &[],
        response(200, "one", &[("x-a", "1"), ("connection", "close")]),
    );
    assert_eq!((first.cache.as_str(), first.body.as_str()), ("Miss", "one"));
    let key = first.headers["x-cache-key"].clone();
    assert_eq!(key.len(), 64);

    let second = stage.at(7).expect(&[], "Hit", "one");
    assert_eq!(second.status, 200);
    assert_eq!(second.headers["age"], "7");
    assert_eq!(second.headers["x-a"], "1");
    assert_eq!(second.headers["x-cache-key"], key);
    assert!(!second.headers.contains_key("connection"));
    assert!(second.sent.is_none());

    stage.at(10).expect(&[], "Hit", "one");
    stage.at(11).expect(&[], "Miss", "new");
    stage.at(12).expect(&[], "Hit", "new");
}

#[test]
fn what_is_kept_longer_than_it_is_used_is_refreshed() {
    let mut stage = stage(json!({ "cache_ttl": 10, "storage_ttl": 100 }));
    stage.at(0).expect(&[], "Miss", "new");
    let got = stage.at(20).get(&[], response(200, "two", &[]));
    assert_eq!((got.cache.as_str(), got.body.as_str()), ("Refresh", "two"));
    stage.at(21).expect(&[], "Hit", "two");
    stage.at(500).expect(&[], "Miss", "new");
}

#[test]
fn only_listed_methods_statuses_and_types_are_kept() {
    for (method, status, kind, cache, again) in [
        ("GET", 200, "text/plain", "Miss", "Hit"),
        ("GET", 404, "application/json", "Miss", "Hit"),
        ("GET", 301, "TEXT/Plain", "Miss", "Hit"),
        ("GET", 500, "text/plain", "Bypass", "Bypass"),
        ("GET", 206, "text/plain", "Bypass", "Bypass"),
        ("GET", 200, "text/html", "Bypass", "Bypass"),
        ("GET", 200, "text/plain; charset=utf-8", "Bypass", "Bypass"),
        ("GET", 200, "", "Bypass", "Bypass"),
        ("POST", 200, "text/plain", "Bypass", "Bypass"),
        ("HEAD", 200, "text/plain", "Miss", "Hit"),
    ] {
        let stage = stage(json!({}));
        for expected in [cache, again] {
            let body = if method == "HEAD" { "" } else { "body" };
            let answer = response(status, body, &[("content-type", kind)]);
            let got = stage.send(request(method, "/a", &[]), answer);
            assert_eq!(got.cache, expected, "{method} {status} {kind}");
            assert_eq!(got.status, status);
        }
    }
}

#[test]
fn requests_that_differ_in_what_counts_are_kept_apart() {
    let plain = || request("GET", "/a?x=1&y=2", &[]);
    let other_host = {
        let mut other = plain();
        other.headers_mut().insert("host", "b.test".parse().unwrap());
        other
    };
    for (settings, other, same) in [
        (json!({}), plain(), true),
        (json!({}), request("GET", "/a?y=2&x=1", &[]), true),
        (json!({}), request("GET", "/a?x=1", &[]), false),
        (json!({}), request("GET", "/a?x=1&y=3", &[]), false),
        (json!({}), request("GET", "/A?x=1&y=2", &[]), false),
        (
            json!({ "ignore_uri_case": true }),
            request("GET", "/A?x=1&y=2", &[]),
            true,
        ),
        (json!({}), request("HEAD", "/a?x=1&y=2", &[]), false),
        (
            json!({}),
            request("GET", "/a?x=1&y=2", &[("accept-encoding", "gzip")]),
            false,
        ),
        (
            json!({}),
            request("GET", "/a?x=1&y=2", &[("x-tenant", "b")]),
            true,
        ),
        (
            json!({ "vary_headers": ["X-Tenant"] }),
            request("GET", "/a?x=1&y=2", &[("x-tenant", "b")]),
            false,
        ),
        (
            json!({ "vary_headers": [] }),
            request("GET", "/a?x=1&y=2", &[("accept-encoding", "br")]),
            true,
        ),
        (
            json!({ "vary_query_params": ["x"] }),
            request("GET", "/a?x=1&y=9", &[]),
            true,
        ),
        (
            json!({ "vary_query_params": ["x"] }),
            request("GET", "/a?x=2&y=2", &[]),
            false,
        ),
        (
            json!({ "vary_query_params": [] }),
            request("GET", "/a?x=1&y=9", &[]),
            false,
        ),
        (json!({}), other_host, false),
    ] {
        let stage = stage(settings.clone());
        let first = stage.send(plain(), response(200, "one", &[]));
        let shown = format!("{settings} {other:?}");
        let second = stage.send(other, response(200, "two", &[]));
        assert_eq!(second.cache == "Hit", same, "{shown}");
        assert_eq!(
            first.headers["x-cache-key"] == second.headers["x-cache-key"],
            same,
            "{shown}"
        );
    }
}

#[test]
fn ranges_and_websockets_pass() {
    let stage = stage(json!({}));
    stage.expect(&[], "Miss", "new");
    for header in [
        "range",
        "if-range",
        "if-match",
        "if-unmodified-since",
        "sec-websocket-key",
    ] {
        let got = stage.get(&[(header, "bytes=0-1")], response(206, "n", &[]));
        assert_eq!((got.cache.as_str(), got.status), ("Bypass", 206), "{header}");
        assert!(!got.headers.contains_key("x-cache-key"));
    }
    stage.expect(&[], "Hit", "new");
}

#[test]
fn a_body_that_is_too_large_passes_and_is_not_kept() {
    let stage = stage(json!({ "max_entry_size": 10 }));
    let large = "x".repeat(11);
    for (headers, cache) in [(vec![("content-length", "11")], "Bypass"), (vec![], "Miss")] {
        let got = stage.get(&[], response(200, &large, &headers));
        assert_eq!((got.cache.as_str(), &got.body), (cache, &large));
    }
    let got = stage.get(&[], response(200, "0123456789", &[("content-length", "10")]));
    assert_eq!(got.cache, "Miss");
    stage.expect(&[], "Hit", "0123456789");
}

#[test]
fn what_breaks_off_is_not_kept() {
    let stage = stage(json!({}));
    let mut ran = stage.kit.access(request("GET", "/a", &[]));
    let mut head = response(200, "", &[]).into_parts().0;
    stage.kit.header_filter(&mut ran, &mut head); // and no last chunk ever comes
    assert_eq!(head.headers["x-cache-status"], "Miss");
    drop(ran);
    stage.expect(&[], "Miss", "new");
}

#[test]
fn what_is_told_can_be_chosen_and_asked_for() {
    let hidden = json!({ "age": false, "X-Cache-Status": false, "X-Cache-Key": false });
    let stage = stage(json!({ "response_headers": hidden }));
    for _ in 0..2 {
        let got = stage.get(&[], response(200, "one", &[]));
        for name in ["age", "x-cache-status", "x-cache-key"] {
            assert!(!got.headers.contains_key(name), "{name}");
        }
    }
    let got = stage.expect(&[("kong-debug", "1")], "Hit", "one");
    assert!(got.headers.contains_key("age") && got.headers.contains_key("x-cache-key"));
}

#[test]
fn without_cache_control_nothing_that_is_said_of_time_counts() {
    let stage = stage(json!({}));
    let told = [
        ("cache-control", "no-cache, max-age=0"),
        ("vary", "*"),
        ("expires", "0"),
    ];
    stage.get(&[], response(200, "one", &told));
    let got = stage.expect(
        &[("cache-control", "no-cache, no-store"), ("if-none-match", "*")],
        "Hit",
        "one",
    );
    assert_eq!(got.status, 200);
}

#[test]
fn what_is_for_one_is_not_kept_for_others() {
    let plain = || response(200, "one", &[]);
    for (sent, answer) in [
        (vec![("authorization", "Basic x")], plain()),
        (vec![("cookie", "session=x")], plain()),
        (
            vec![],
            response(200, "one", &[("cache-control", "private, max-age=60")]),
        ),
        (vec![], response(200, "one", &[("cache-control", "no-store")])),
        (vec![], response(200, "one", &[("set-cookie", "session=x")])),
    ] {
        let shown = format!("{sent:?} {:?}", answer.headers());
        let private = stage(json!({}));
        assert_eq!(private.get(&sent, answer).cache, "Bypass", "{shown}");
        private.expect(&[], "Miss", "new");
        private.expect(&[], "Hit", "new");
        // What is kept for all is not for those either who may be shown something else.
        let again = private.get(&sent, plain());
        assert_eq!(
            again.cache,
            if sent.is_empty() { "Hit" } else { "Bypass" },
            "{shown}"
        );
    }
    // As Kong, if that is wished.
    let shared = stage(json!({ "share_private": true }));
    let private = [("cache-control", "private, no-store"), ("set-cookie", "a=b")];
    let got = shared.get(&[("authorization", "Basic x")], response(200, "one", &private));
    assert_eq!(got.cache, "Miss");
    shared.expect(&[], "Hit", "one");
    // And where requests are told apart by it.
    let apart = stage(json!({ "vary_headers": ["Authorization", "Cookie"] }));
    for (value, cache, body) in [
        ("a", "Miss", "a"),
        ("b", "Miss", "b"),
        ("a", "Hit", "a"),
        ("b", "Hit", "b"),
    ] {
        for name in ["authorization", "cookie"] {
            let got = apart.get(&[(name, value)], response(200, value, &[]));
            assert_eq!((got.cache.as_str(), got.body.as_str()), (cache, body), "{name}");
        }
    }
}

/// Who calls: a consumer, or one that stands in for strangers.
fn caller(stage: &Stage, anonymous: bool) -> Identity {
    Identity {
        consumer: stage.kit.config().consumer_named("ann").cloned(),
        anonymous,
        ..Identity::default()
    }
}

#[test]
fn a_consumer_has_what_is_private_for_itself() {
    let mut stage = stage(json!({}));
    let consumer = json!({ "id": "11111111-1111-4111-8111-111111111111", "username": "ann" });
    stage.kit = stage.kit.entity("consumers", consumer);
    let shows = || request("GET", "/a", &[("authorization", "Basic x")]);
    let private = || response(200, "one", &[("cache-control", "private")]);
    let send = |anonymous: bool| {
        let identity = caller(&stage, anonymous);
        let run = std::pin::pin!(stage.kit.access_as(shows(), identity));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(mut ran) = run.poll(&mut context) else {
            panic!("it does not wait")
        };
        match ran.reply.is_some() {
            true => "Hit".to_owned(),
            false => of(stage.kit.respond(&mut ran, private())).cache,
        }
    };
    assert_eq!([send(false), send(false)], ["Miss", "Hit"]);
    assert_eq!(send(true), "Bypass", "nobody knows who that is");
    stage.expect(&[], "Miss", "new");
}

#[test]
fn what_other_plugins_settle_tells_requests_apart() {
    let mut stage = stage(json!({}));
    let ids = [
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    ];
    let [one, other] = ids.map(|id| id.parse().unwrap());
    for (upstream, user, cache) in [
        (None, None, "Miss"),
        (Some(UpstreamChoice::Stored(one)), None, "Miss"),
        (Some(UpstreamChoice::Own(one)), None, "Miss"),
        (Some(UpstreamChoice::Own(other)), None, "Miss"),
        (None, Some("7"), "Miss"),
        (None, Some("8"), "Miss"),
        (None, Some("7"), "Hit"),
        (Some(UpstreamChoice::Own(other)), None, "Hit"),
    ] {
        stage.kit.steering.upstream = upstream;
        let mut asked = request("GET", "/a", &[]);
        if let Some(user) = user {
            let said = vec![(http::HeaderName::from_static("x-user-id"), user.parse().unwrap())];
            asked.extensions_mut().insert(Vouched(said));
        }
        let got = stage.send(asked, response(200, "one", &[]));
        assert_eq!(got.cache, cache, "{upstream:?} {user:?}");
    }
}

/// Whoever answers in the place of an upstream may say that the answer is not for others.
#[test]
fn what_is_refused_to_the_cache_is_not_kept() {
    for settings in [
        json!({}),
        json!({ "cache_control": true }),
        json!({ "share_private": true }),
    ] {
        let stage = stage(settings);
        let answer = || response(200, "one", &[("cache-control", "max-age=60")]);
        let mut ran = stage.kit.access(request("GET", "/a", &[]));
        ran.head
            .extensions
            .get::<Keeper>()
            .expect("one that would keep it")
            .refuse();
        assert_eq!(of(stage.kit.respond(&mut ran, answer())).cache, "Bypass");
        stage.expect(&[], "Miss", "new");
    }
}

// --- by RFC 9111 ---

#[test]
fn responses_say_whether_they_are_kept() {
    let dated = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let expires = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
    let tag = ("etag", "\"1\"");
    for (headers, kept) in [
        (vec![], false),
        (vec![tag], false),
        (vec![("cache-control", "max-age=60")], true),
        (vec![("cache-control", "max-age=0")], false),
        (vec![("cache-control", "public")], false),
        (vec![("cache-control", "s-maxage=60, max-age=0")], true),
        (vec![("cache-control", "max-age=60, private")], false),
        (vec![("cache-control", "max-age=60, no-store")], false),
        (vec![("cache-control", "max-age=60, no-cache")], false),
        (vec![dated, expires], true),
        (vec![expires], true),
        (vec![("expires", "0")], false),
        (vec![("cache-control", "max-age=60"), ("vary", "*")], false),
        (
            vec![("cache-control", "max-age=60"), ("vary", "accept, *")],
            false,
        ),
        (vec![("cache-control", "max-age=60"), ("age", "61")], true), // but it is stale at once
    ] {
        let mut stage = controlled();
        let got = stage.at(0).get(&[], response(200, "one", &headers));
        assert_eq!(got.cache, if kept { "Miss" } else { "Bypass" }, "{headers:?}");
        let fresh = kept && !headers.contains(&("age", "61"));
        let got = stage.at(1).get(&[], response(200, "two", &headers));
        assert_eq!(got.cache == "Hit", fresh, "{headers:?}: {got:?}");
    }
}

#[test]
fn requests_say_what_they_take() {
    let age = [("cache-control", "max-age=60")];
    for (asked, seconds, cache) in [
        ("", 30, "Hit"),
        ("max-age=40", 30, "Hit"),
        ("max-age=20", 30, "Refresh"),
        ("min-fresh=30", 30, "Hit"),
        ("min-fresh=31", 30, "Refresh"),
        ("no-cache", 30, "Bypass"),
        ("no-store", 30, "Bypass"),
        ("only-if-cached", 30, "Hit"),
        ("max-stale=20", 64, "Hit"),
        ("", 64, "Refresh"),
        ("max-stale=20", 66, "Miss"), // it is not kept any more
    ] {
        let mut stage = stage(json!({ "cache_control": true, "storage_ttl": 65 }));
        stage.at(0).get(&[], response(200, "one", &age));
        let got = stage
            .at(seconds)
            .get(&[("cache-control", asked)], response(200, "two", &age));
        assert_eq!(got.cache, cache, "{asked} after {seconds}");
    }
}

#[test]
fn stale_answers_are_for_those_who_take_them_unless_it_is_forbidden() {
    for (told, asked, cache) in [
        ("max-age=60", "max-stale=20", "Hit"),
        ("max-age=60", "max-stale=5", "Refresh"),
        ("max-age=60", "max-stale", "Hit"),
        ("max-age=60, must-revalidate", "max-stale", "Refresh"),
        ("max-age=60, proxy-revalidate", "max-stale", "Refresh"),
        ("s-maxage=60", "max-stale", "Refresh"),
    ] {
        let mut stage = stage(json!({ "cache_control": true, "storage_ttl": 100 }));
        stage
            .at(0)
            .get(&[], response(200, "one", &[("cache-control", told)]));
        let answer = response(200, "two", &[("cache-control", told)]);
        let got = stage.at(70).get(&[("cache-control", asked)], answer);
        assert_eq!(got.cache, cache, "{told}; {asked}");
    }
}

#[test]
fn only_if_cached_is_504_where_nothing_is() {
    let mut stage = controlled();
    let got = stage
        .at(0)
        .get(&[("cache-control", "only-if-cached")], response(200, "", &[]));
    assert_eq!((got.status, got.sent.is_none()), (504, true));
}

#[test]
fn answers_to_the_authorized_are_for_all_only_if_they_say_so() {
    for (told, kept) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        let mut stage = controlled();
        let answer = response(200, "one", &[("cache-control", told)]);
        let got = stage.at(0).get(&[("authorization", "Basic x")], answer);
        assert_eq!(got.cache, if kept { "Miss" } else { "Bypass" }, "{told}");
        stage.at(1).expect(
            &[],
            if kept { "Hit" } else { "Miss" },
            if kept { "one" } else { "new" },
        );
    }
}

#[test]
fn what_vary_names_tells_requests_apart() {
    let mut stage = controlled();
    let varies = [
        ("cache-control", "max-age=60"),
        ("vary", "Accept-Language"),
        ("vary", "x-y"),
    ];
    for language in ["de", "en"] {
        let got = stage
            .at(0)
            .get(&[("accept-language", language)], response(200, language, &varies));
        assert_eq!(got.cache, "Miss");
    }
    for language in ["de", "en", "de"] {
        stage
            .at(1)
            .expect(&[("accept-language", language)], "Hit", language);
    }
    stage.expect(&[("accept-language", "de"), ("x-y", "1")], "Miss", "new");
}

#[test]
fn what_is_stale_is_asked_about_and_renewed() {
    let mut stage = controlled();
    let modified = "Sun, 06 Nov 1994 08:00:00 GMT";
    let told = [
        ("cache-control", "max-age=10"),
        ("etag", "\"1\""),
        ("last-modified", modified),
        ("x-a", "1"),
    ];
    stage.at(0).get(&[], response(200, "one", &told));
    let news = [
        ("cache-control", "max-age=20"),
        ("x-b", "2"),
        ("content-type", "text/html"),
    ];
    let got = stage.at(15).get(&[], response(304, "", &news));
    let sent = got.sent.as_ref().unwrap();
    assert_eq!(
        (text(sent, "if-none-match"), text(sent, "if-modified-since")),
        ("\"1\"", modified)
    );
    assert_eq!(
        (got.status, got.cache.as_str(), got.body.as_str()),
        (200, "Refresh", "one")
    );
    assert_eq!(
        (got.told("x-a"), got.told("x-b"), got.told("age")),
        ("1", "2", "0")
    );
    assert_eq!(got.headers["content-type"], "text/plain");

    let got = stage.at(30).expect(&[], "Hit", "one");
    assert_eq!((got.told("age"), got.told("x-b")), ("15", "2"));
    let got = stage.at(40).expect(&[], "Refresh", "new"); // it holds no more
    assert!(got.sent.unwrap().contains_key("if-none-match"));
    let got = stage.at(41).expect(&[], "Hit", "new");
    assert!(!got.headers.contains_key("x-b"));
}

#[test]
fn no_cache_with_a_validator_is_kept_and_asked_about_each_time() {
    let mut stage = controlled();
    let told = [("cache-control", "no-cache"), ("etag", "\"1\"")];
    assert_eq!(stage.at(0).get(&[], response(200, "one", &told)).cache, "Miss");
    for second in [1, 2] {
        let got = stage.at(second).get(&[], response(304, "", &told));
        assert_eq!((got.cache.as_str(), got.body.as_str()), ("Refresh", "one"));
    }
}

#[test]
fn what_the_client_has_already_is_not_sent_again() {
    let modified = "Sun, 06 Nov 1994 08:00:00 GMT";
    for (asked, status) in [
        (("if-none-match", "\"1\""), 304),
        (("if-none-match", "W/\"1\", \"2\""), 304),
        (("if-none-match", "*"), 304),
        (("if-none-match", "\"2\""), 200),
        (("if-modified-since", modified), 304),
        (("if-modified-since", "Sun, 06 Nov 1994 07:00:00 GMT"), 200),
        (("if-modified-since", "yesterday"), 200),
    ] {
        let mut stage = controlled();
        let told = [
            ("cache-control", "max-age=10"),
            ("etag", "\"1\""),
            ("last-modified", modified),
        ];
        stage.at(0).get(&[], response(200, "one", &told));
        let fresh = stage.at(1).get(&[asked], response(200, "", &[]));
        assert_eq!((fresh.cache.as_str(), fresh.status), ("Hit", status), "{asked:?}");
        assert_eq!(fresh.body, if status == 304 { "" } else { "one" });
        assert_eq!(fresh.headers["etag"], "\"1\"");
        let stale = stage.at(20).get(&[asked], response(304, "", &[]));
        assert_eq!(
            (stale.cache.as_str(), stale.status),
            ("Refresh", status),
            "{asked:?}"
        );
    }
}

#[test]
fn where_the_upstream_fails_a_stale_answer_stands_in_if_it_may() {
    for (told, asked, stands_in) in [
        ("max-age=10, stale-if-error=20", "", true),
        ("max-age=10, stale-if-error=5", "", false),
        ("max-age=10", "stale-if-error=20", true),
        (
            "max-age=10, must-revalidate, stale-if-error=20",
            "stale-if-error=20",
            false,
        ),
        ("max-age=10", "", false),
    ] {
        let mut stage = stage(json!({ "cache_control": true, "storage_ttl": 100 }));
        stage.at(0).get(
            &[],
            response(200, "one", &[("cache-control", told), ("x-a", "1")]),
        );
        let failure = response(
            503,
            "down",
            &[("retry-after", "9"), ("content-type", "text/html")],
        );
        let got = stage.at(20).get(&[("cache-control", asked)], failure);
        if stands_in {
            assert_eq!(
                (got.status, got.cache.as_str(), got.body.as_str()),
                (200, "Stale", "one"),
                "{told}"
            );
            assert_eq!((got.told("age"), got.told("content-type")), ("20", "text/plain"));
            assert!(!got.headers.contains_key("retry-after"));
        } else {
            assert_eq!(
                (got.status, got.cache.as_str()),
                (503, "Bypass"),
                "{told}; {asked}"
            );
        }
    }
}

#[test]
fn a_change_drops_what_is_kept_for_the_path() {
    for (method, status, cache) in [
        ("PUT", 200, "Miss"),
        ("DELETE", 204, "Miss"),
        ("POST", 303, "Miss"),
        ("PUT", 409, "Hit"),
        ("OPTIONS", 200, "Hit"),
    ] {
        let mut stage = controlled();
        stage.at(0).expect(&[], "Miss", "new");
        let got = stage.send(request(method, "/a?x=1", &[]), response(status, "", &[]));
        assert_eq!(got.cache, "Bypass");
        stage.expect(&[], cache, "new");
    }
}

#[test]
fn what_is_not_kept_any_more_takes_the_old_along() {
    let mut stage = controlled();
    let told = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
    stage.at(0).get(&[], response(200, "one", &told));
    let got = stage
        .at(20)
        .get(&[], response(200, "secret", &[("cache-control", "private")]));
    assert_eq!(got.cache, "Bypass");
    let got = stage.at(21).expect(&[], "Miss", "new");
    assert!(!got.sent.unwrap().contains_key("if-none-match"));
}

// --- besides ---

#[test]
fn purge_is_a_method_like_others_unless_it_is_set() {
    let plain = stage(json!({}));
    assert_eq!(
        plain
            .send(request("PURGE", "/a", &[]), response(405, "", &[]))
            .status,
        405
    );

    let stage = stage(json!({ "purge_method": true }));
    stage.expect(&[], "Miss", "new");
    stage.expect(&[("accept-encoding", "gzip")], "Miss", "new");
    for status in [200, 404] {
        let got = stage.send(request("PURGE", "/a?x=1", &[]), response(500, "", &[]));
        assert_eq!((got.status, got.sent.is_none()), (status, true));
    }
    stage.expect(&[], "Miss", "new");
}

#[test]
fn settings_that_cannot_run_are_named() {
    let registry = Registry::new().with_waiting::<ProxyCache>();
    for (config, pointer) in [
        (json!({}), "/config/strategy"),
        (json!({ "strategy": "redis" }), "/config/strategy"),
        (
            json!({ "strategy": "memory", "content_type": ["json"] }),
            "/config/content_type/0",
        ),
        (
            json!({ "strategy": "memory", "vary_headers": ["a b"] }),
            "/config/vary_headers/0",
        ),
        (
            json!({ "strategy": "memory", "cache_ttl": 0 }),
            "/config/cache_ttl",
        ),
        (
            json!({ "strategy": "memory", "request_method": ["DELETE"] }),
            "/config/request_method/0",
        ),
        (
            json!({ "strategy": "memory", "memory": { "dict": "x" } }),
            "/config/memory/dict",
        ),
    ] {
        let mut document = json!({ "name": "proxy-cache", "config": config });
        let refused = registry.complete(document.as_object_mut().unwrap()).unwrap_err();
        let pointers: Vec<_> = refused
            .into_iter()
            .map(|violation| violation.pointer.to_string())
            .collect();
        assert_eq!(pointers, [pointer], "{document}");
    }
}

/// Of those who want the same at once one asks the upstream.
#[test]
fn one_fetches_and_the_others_wait() {
    let stage = stage(json!({ "coalesce": true }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let start = || Box::pin(stage.kit.access_waiting(request("GET", "/a", &[])));
    let std::task::Poll::Ready(mut first) = start().as_mut().poll(&mut context) else {
        panic!("the first does not wait")
    };
    let (mut second, mut third) = (start(), start());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(third.as_mut().poll(&mut context).is_pending());
    stage.kit.respond(&mut first, response(200, "one", &[]));
    for waiting in [&mut second, &mut third] {
        let std::task::Poll::Ready(ran) = waiting.as_mut().poll(&mut context) else {
            panic!("it is there")
        };
        assert_eq!(
            ran.reply.unwrap().body,
            ReplyBody::Bytes(Bytes::from_static(b"one"))
        );
    }
}

/// Where the one that was waited for brought nothing that is kept, each goes on by itself.
#[test]
fn who_waited_in_vain_asks_too() {
    let stage = stage(json!({ "coalesce": true }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let start = || Box::pin(stage.kit.access_waiting(request("GET", "/a", &[])));
    for given_up in [false, true] {
        let std::task::Poll::Ready(mut first) = start().as_mut().poll(&mut context) else {
            panic!("the first does not wait")
        };
        let (mut second, mut third) = (start(), start());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        if !given_up {
            stage.kit.respond(&mut first, response(500, "down", &[]));
        }
        drop(first);
        for waiting in [&mut second, &mut third] {
            let polled: std::task::Poll<Ran> = waiting.as_mut().poll(&mut context);
            assert!(matches!(polled, std::task::Poll::Ready(Ran { reply: None, .. })));
        }
    }
}
