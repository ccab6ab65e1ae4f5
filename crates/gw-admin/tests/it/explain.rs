//! `/explain`: what is asked of the data plane, and what is told of its answer; warnings in answers to writes.

use std::sync::PoisonError;

use gw_admin::ports::{Candidate, Explanation, Matched, Named, Overlap, Question};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::Admin;

const ONE: &str = "11111111-1111-4111-8111-111111111111";
const TWO: &str = "22222222-2222-4222-8222-222222222222";

fn named(id: &str, name: Option<&str>) -> Named {
    Named {
        id: id.parse().unwrap(),
        name: name.map(Box::from),
    }
}

fn candidate(route: Named, reasons: &[&str]) -> Candidate {
    Candidate {
        route,
        pattern: Some("/a/{id}".into()),
        host: None,
        reasons: reasons.iter().map(|reason| (*reason).into()).collect(),
    }
}

/// What the data plane is asked for this body.
async fn asked(body: Value) -> Question {
    let admin = Admin::new().await;
    admin.check("POST /explain", body, 200, json!({})).await;
    let mut asked = admin.plane.asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.pop().unwrap()
}

#[tokio::test]
async fn a_question_is_read_as_a_client_would_send_it() {
    let question = asked(json!({ "url": "https://u:p@shop.test:8443/a?b=1&c" })).await;
    assert_eq!(question.target, "/a?b=1&c");
    assert_eq!(question.headers["host"], "shop.test:8443");
    assert_eq!(
        (question.method.as_str(), question.tls, question.port),
        ("GET", true, 8443)
    );
    assert_eq!(question.client.to_string(), "127.0.0.1");

    let question = asked(json!({ "url": "http://shop.test" })).await;
    assert_eq!((question.target.to_string().as_str(), question.port), ("/", 80));

    let body = json!({
        "url": "/p", "method": "PURGE", "client": "fe80::1", "port": 9000, "sni": "s.test",
        "headers": { "Host": "other.test", "x-a": ["1", "2"], "Cookie": "a=b" },
    });
    let question = asked(body).await;
    let values: Vec<_> = question.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(
        (&question.headers["host"], &question.headers["cookie"]),
        (&"other.test".parse().unwrap(), &"a=b".parse().unwrap())
    );
    assert_eq!(
        (question.method.as_str(), question.tls, question.port),
        ("PURGE", false, 9000)
    );
    assert_eq!(
        (question.client.to_string().as_str(), question.sni.as_deref()),
        ("fe80::1", Some("s.test"))
    );

    // A form will do.
    let admin = Admin::new().await;
    let form = "url=http://a.test/&port=81&headers.x-a=1";
    admin
        .check_form(
            "POST /explain",
            form,
            200,
            json!({ "request": { "port": 81, "host": "a.test" } }),
        )
        .await;
}

#[tokio::test]
async fn a_wrong_question_is_refused_with_all_that_is_wrong() {
    let admin = Admin::new().await;
    for (body, fields) in [
        (json!({}), json!({ "url": "required field missing" })),
        (json!({ "url": 1 }), json!({ "url": "expected a string" })),
        (
            json!({ "url": "ftp://a/b" }),
            json!({ "url": "expected a URL that begins with 'http://', 'https://' or '/'" }),
        ),
        (
            json!({ "url": "a/b" }),
            json!({ "url": "not a URL: invalid format" }),
        ),
        (
            json!({ "url": "/", "method": "A B", "client": "home", "headers": { "x y": "1", "z": "\n" } }),
            json!({
                "method": "not a method", "client": "expected an IP address",
                "headers": { "x y": "not a valid header name", "z": "not a valid header value" },
            }),
        ),
        (
            json!({ "url": "/", "port": 0 }),
            json!({ "port": "value should be between 1 and 65535" }),
        ),
        (
            json!({ "url": "/", "hosts": "a" }),
            json!({ "hosts": "unknown field" }),
        ),
    ] {
        let expected = json!({ "code": 2, "name": "schema violation", "fields": fields });
        admin.check("POST /explain", body, 400, expected).await;
    }
    assert_eq!(admin.revision(), 0);
}

#[tokio::test]
async fn the_answer_says_it_in_a_sentence() {
    let (one, two) = (named(ONE, Some("one")), named(TWO, None));
    let matched = |ahead_by: Option<&str>| Matched {
        candidate: candidate(one.clone(), &[]),
        service: Some(TWO.parse().unwrap()),
        matched_path: Some("/a/7".into()),
        params: vec![("id".into(), "7".into())],
        ahead_by: ahead_by.map(Box::from),
    };
    let near = candidate(two.clone(), &["the method is not POST", "the host is not a.com"]);
    for (told, expected) in [
        (
            Explanation {
                revision: 7,
                path: "/a/7".into(),
                matched: Some(matched(Some("a longer path"))),
                others: vec![candidate(two.clone(), &["a longer path"])],
                omitted: 3,
                ..Explanation::default()
            },
            json!({
                "message": "route 'one' gets the request", "revision": 7, "omitted": 3, "status": null,
                "request": { "path": "/a/7", "method": "GET", "scheme": "http" },
                "matched": {
                    "route": { "id": ONE, "name": "one" }, "service": { "id": TWO }, "pattern": "/a/{id}",
                    "matched_path": "/a/7", "params": { "id": "7" },
                    "why": "it goes before the other routes that match: a longer path",
                },
                "others": [{ "route": { "id": TWO, "name": null }, "lost_to": "a longer path" }],
            }),
        ),
        (
            Explanation {
                matched: Some(matched(None)),
                status: Some(StatusCode::UPGRADE_REQUIRED),
                ..Explanation::default()
            },
            json!({
                "message": "route 'one' gets the request, and the gateway answers it with 426", "status": 426,
                "matched": { "why": "no other route matches" }, "others": [], "near_misses": [],
            }),
        ),
        (
            Explanation {
                near_misses: vec![near],
                status: Some(StatusCode::NOT_FOUND),
                ..Explanation::default()
            },
            json!({
                "message": "no Route matched with those values", "matched": null,
                "near_misses": [{ "failed": ["the method is not POST", "the host is not a.com"] }],
            }),
        ),
        (
            Explanation {
                status: Some(StatusCode::NOT_FOUND),
                ..Explanation::default()
            },
            json!({ "message": "no route has a path like this" }),
        ),
        (
            Explanation {
                status: Some(StatusCode::URI_TOO_LONG),
                ..Explanation::default()
            },
            json!({ "message": "the gateway refuses the request with 414" }),
        ),
    ] {
        let admin = Admin::new().await;
        *admin
            .plane
            .explanation
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = told;
        admin
            .check("POST /explain", json!({ "url": "http://a/" }), 200, expected)
            .await;
    }
}

#[tokio::test]
async fn warnings_are_in_answers_to_writes_and_only_where_there_are_any() {
    let admin = Admin::new().await;
    let route = json!({ "paths": ["/a"] });
    let overlap = Overlap {
        kind: "never_wins",
        message: "never".into(),
        routes: vec![named(ONE, None), named(TWO, Some("two"))],
    };
    *admin
        .plane
        .overlaps
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = vec![overlap];
    let warnings = json!([{
        "kind": "never_wins", "message": "never",
        "routes": [{ "id": ONE, "name": null }, { "id": TWO, "name": "two" }],
    }]);

    let answer = admin
        .check(&format!("PUT /routes/{ONE}"), route.clone(), 200, json!({}))
        .await;
    assert_eq!(answer["warnings"], warnings);
    // It is no field: it is not stored, and may be sent back.
    let again = admin
        .check(&format!("PUT /routes/{ONE}"), answer, 200, json!({}))
        .await;
    assert_eq!(again["warnings"], warnings);
    let answer = admin
        .check(&format!("PATCH /routes/{ONE}"), json!({}), 200, json!({}))
        .await;
    assert_eq!(answer["warnings"], warnings);
    let shown = admin
        .check(&format!("GET /routes/{ONE}"), json!(null), 200, json!({}))
        .await;
    assert_eq!(shown.get("warnings"), None);
    let body = json!({ "id": TWO, "paths": ["/a"] });
    assert_eq!(
        admin.check("POST /routes", body, 201, json!({})).await["warnings"],
        warnings
    );

    let other = admin.check("POST /routes", route, 201, json!({})).await;
    assert_eq!(other.get("warnings"), None);
    admin
        .check(
            "GET /explain/overlaps",
            json!(null),
            200,
            json!({ "data": warnings, "next": null }),
        )
        .await;
}
