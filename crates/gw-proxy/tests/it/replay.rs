//! What a change would do to requests of late.

use gw_core::{Change, Kind};
use gw_proxy::{MovedRequests, Replay};
use gw_testkit::{Client, Upstream};
use http::HeaderName;
use serde_json::json;

use crate::support::Proxy;

/// Where requests would go from and to, how many, and one of them.
fn told(replay: &Replay) -> Vec<(String, String, u64, String)> {
    let name = |route: &Option<gw_proxy::RouteName>| {
        let name = route.as_ref().and_then(|route| route.name.clone());
        name.map_or("-".to_owned(), String::from)
    };
    let one = |moved: &MovedRequests| {
        let (from, to) = (name(&moved.from), name(&moved.to));
        (from, to, moved.count, moved.example.to_string())
    };
    replay.moved.iter().map(one).collect()
}

fn replay(proxy: &Proxy, changes: &[Change]) -> Replay {
    proxy
        .gateway
        .replay(&proxy.gateway.foresee(changes))
        .expect("requests are kept")
}

#[tokio::test]
async fn it_is_said_where_requests_would_go() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "name": "shop", "paths": ["/shop"] }));
    let old = proxy.route(service, json!({ "name": "old", "paths": ["/old"] }));
    let client = Client::new();
    for _ in 0..30 {
        client
            .get(proxy.url("/shop/cart?token=secret"))
            .await
            .expect_status(200);
    }
    for n in 0..7 {
        client
            .get(proxy.url(&format!("/shop/admin/{n}")))
            .await
            .expect_status(200);
    }
    for _ in 0..5 {
        client.get(proxy.url("/old")).await.expect_status(200);
    }
    for _ in 0..3 {
        client.get(proxy.url("/nowhere")).await.expect_status(404);
    }
    let nothing = replay(&proxy, &[]);
    assert_eq!((nothing.seen, nothing.moved.len()), (45, 0), "{nothing:?}");

    let admin = json!({ "name": "admin", "paths": ["/shop/admin"], "service": { "id": service } });
    let changes = [
        proxy.change(Kind::Route, admin),
        Change::Delete(Kind::Route, old),
        proxy.change(
            Kind::Route,
            json!({ "name": "new", "paths": ["/nowhere"], "service": { "id": service } }),
        ),
    ];
    let seen = replay(&proxy, &changes);
    assert_eq!((seen.seen, seen.lost, seen.gained, seen.unsure), (45, 5, 3, 0));
    let host = proxy.addr().to_string();
    let expected = [
        ("shop", "admin", 7, format!("GET {host}/shop/admin/0")),
        ("old", "-", 5, format!("GET {host}/old")),
        ("-", "new", 3, format!("GET {host}/nowhere")),
    ];
    let expected =
        expected.map(|(from, to, count, example)| (from.to_owned(), to.to_owned(), count, example));
    assert_eq!(told(&seen), expected);
    // What was told is what comes.
    assert_eq!(proxy.apply(&changes), []);
    client.get(proxy.url("/old")).await.expect_status(404);
    client.get(proxy.url("/nowhere")).await.expect_status(200);
    let after = replay(&proxy, &[]);
    assert_eq!((after.seen, after.moved.len(), after.unsure), (47, 0, 0));
}

#[tokio::test]
async fn what_routes_depend_on_is_kept_if_it_is_named_and_else_owned_to() {
    for (kept, moved, unsure) in [(true, 2, 0), (false, 0, 2)] {
        let upstream = Upstream::echo();
        let mut proxy = Proxy::builder()
            .settings(|settings| {
                let tenant = HeaderName::from_static("x-tenant");
                settings.traffic.headers = kept.then_some(tenant).into_iter().collect();
            })
            .start();
        let service = proxy.service(upstream.addr(), json!({}));
        proxy.route(service, json!({ "name": "all", "paths": ["/"] }));
        let gold = json!({ "name": "gold", "paths": ["/"], "headers": { "x-tenant": ["gold"] } });
        let gold = proxy.route(service, gold);
        let client = Client::new();
        for tenant in ["gold", "gold", "tin"] {
            let request = client.call("GET", proxy.url("/")).header("x-tenant", tenant);
            request.send().await.expect_status(200);
        }
        let seen = replay(&proxy, &[Change::Delete(Kind::Route, gold)]);
        assert_eq!((seen.seen, seen.unsure), (3, unsure));
        assert_eq!(seen.moved.iter().map(|moved| moved.count).sum::<u64>(), moved);
    }
}

#[tokio::test]
async fn nothing_is_kept_where_that_is_switched_off() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.traffic.samples = 0)
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    Client::new().get(proxy.url("/")).await.expect_status(200);
    assert!(proxy.gateway.replay(&proxy.gateway.foresee(&[])).is_none());
}
