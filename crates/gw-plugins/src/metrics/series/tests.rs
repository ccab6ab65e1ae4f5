//! How numbers are added up, and how many there are at most.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use gw_core::{Change, Config, Kinds, Protocol};
use http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::cx::{Facts, NoGateway, NoTries, Source};
use crate::identity::Identity;

const ALL: Which = Which {
    consumers: true,
    statuses: true,
    latencies: true,
    bandwidth: true,
};

/// Routes of these names, with ids of their numbers.
fn routes(names: &[&str]) -> Vec<Arc<Route>> {
    static KINDS: LazyLock<Kinds> = LazyLock::new(|| Kinds::new([]).unwrap());
    let kinds = &*KINDS;
    let spec = kinds.by_name("routes").unwrap();
    let mut config = Config::default();
    for (number, name) in names.iter().enumerate() {
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let document = json!({ "id": id, "name": name, "paths": ["/"], "created_at": 1, "updated_at": 1 });
        let mut document = document.as_object().unwrap().clone();
        config.apply(Change::Put(kinds.complete(spec.kind, &mut document).unwrap()));
    }
    let mut routes: Vec<_> = config.routes().cloned().collect();
    routes.sort_by_key(|route| route.id.to_string());
    routes
}

fn count(traffic: &Traffic, route: &Arc<Route>, worker: usize, status: u16) {
    let config = Config::default();
    let parts = LogParts {
        status: StatusCode::from_u16(status).unwrap(),
        total: Duration::from_millis(60),
        upstream: Some(Duration::from_millis(50)),
        receive: None,
        gateway: Duration::from_micros(1500),
        request_bytes: 10,
        response_bytes: 100,
        source: Source::Upstream,
        failure: None,
        tries: &NoTries,
        kept: None,
        identity: &Identity::default(),
        facts: Facts {
            config: &config,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            scheme: Protocol::Http,
            client_certificate: None,
            id: &http::HeaderValue::from_static(""),
            method: &Method::GET,
            target: None,
            host: None,
            route: Some(route),
            service: None,
            captures: &[],
            now: SystemTime::now(),
            begun: Instant::now(),
            worker,
            inner: &NoGateway,
        },
    };
    traffic.count(&parts, ALL);
}

/// The values of the samples that begin so.
fn samples(traffic: &Traffic, begin: &str) -> Vec<(String, f64)> {
    let mut to = Exposition::new();
    traffic.write(&mut to);
    let text = to.into_text();
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines()
        .filter(|line| line.starts_with(begin))
        .map(sample)
        .collect()
}

#[test]
fn workers_are_added_up() {
    let traffic = Traffic::default();
    let routes = routes(&["a", "b"]);
    for worker in 0..200 {
        count(&traffic, &routes[worker % 2], worker, 200);
    }
    let requests = samples(&traffic, "kong_http_requests_total{");
    assert_eq!(
        requests.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
        [100.0, 100.0]
    );
    assert!(
        requests[0]
            .0
            .contains("route=\"a\",code=\"200\",source=\"service\"")
    );
    let bytes = samples(&traffic, "kong_bandwidth_bytes{");
    let bytes: Vec<f64> = bytes.iter().map(|(_, value)| *value).collect();
    assert_eq!(bytes, [1000.0, 10_000.0, 1000.0, 10_000.0]);
    let buckets = samples(&traffic, "kong_kong_latency_ms_bucket{service=\"\",route=\"a\"");
    assert_eq!(buckets.len(), 18);
    assert_eq!((buckets[0].1, buckets[1].1, buckets[17].1), (0.0, 100.0, 100.0));
    assert!(buckets[17].0.ends_with("le=\"+Inf\"}"));
    let sum = samples(&traffic, "kong_kong_latency_ms_sum{service=\"\",route=\"a\"");
    assert!((sum[0].1 - 150.0).abs() < 1e-6);
    assert_eq!(
        samples(
            &traffic,
            "kong_request_latency_ms_bucket{service=\"\",route=\"a\""
        )
        .len(),
        14
    );
}

#[test]
fn a_route_that_is_changed_goes_on_under_its_name() {
    let traffic = Traffic::default();
    let (before, after, renamed) = (routes(&["a"]), routes(&["a"]), routes(&["z"]));
    count(&traffic, &before[0], 0, 200);
    count(&traffic, &after[0], 0, 200);
    count(&traffic, &renamed[0], 0, 200);
    let requests = samples(&traffic, "kong_http_requests_total{");
    assert_eq!(
        requests.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
        [2.0, 1.0]
    );
}

#[test]
fn what_is_too_much_is_counted_together() {
    let traffic = Traffic::bounded(2, 100);
    let names: Vec<String> = (0..10).map(|number| format!("r{number}")).collect();
    let routes = routes(&names.iter().map(String::as_str).collect::<Vec<_>>());
    count(&traffic, &routes[0], 0, 200);
    count(&traffic, &routes[1], 0, 200);
    assert_eq!(samples(&traffic, "kong_nginx_metric_errors_total")[0].1, 0.0);
    for route in &routes {
        count(&traffic, route, 0, 404);
    }
    let requests = samples(&traffic, "kong_http_requests_total{");
    let all: f64 = requests.iter().map(|(_, value)| value).sum();
    assert_eq!((requests.len(), all), (5, 12.0), "{requests:?}");
    assert!(
        requests
            .iter()
            .any(|(name, value)| name.contains("route=\"__overflow__\"") && *value == 8.0)
    );
    assert_eq!(samples(&traffic, "kong_nginx_metric_errors_total")[0].1, 8.0);
}

#[test]
fn a_shard_does_not_grow_without_end() {
    let traffic = Traffic::bounded(MOST, 50);
    // Many configurations, each with a route of its own that is called the same.
    let changed: Vec<_> = (0..120).map(|_| routes(&["a"]).remove(0)).collect();
    for route in changed.iter().cycle().take(600) {
        count(&traffic, route, 0, 200);
        assert!(lock(&traffic.shards[0].0).len() <= 50);
    }
    let requests = samples(&traffic, "kong_http_requests_total{");
    assert_eq!((requests.len(), requests[0].1), (1, 600.0));
    assert!(lock(&traffic.shards[0].0).is_empty());
}
