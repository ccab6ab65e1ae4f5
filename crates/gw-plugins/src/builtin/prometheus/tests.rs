//! What is counted with which settings, and what it costs.

use allocation_counter::measure;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::Prometheus;
use crate::kit::Kit;
use crate::metrics::{Exposition, wants_target_health, write};
use crate::registry::Registry;

const SERVICE: &str = "11111111-1111-4111-8111-111111111111";
const ROUTE: &str = "22222222-2222-4222-8222-222222222222";

fn kit(registry: &Registry, settings: Value) -> Kit {
    let mut kit = Kit::of(registry, "prometheus", settings)
        .entity("services", json!({ "id": SERVICE, "host": "shop.test" }))
        .entity(
            "routes",
            json!({ "id": ROUTE, "paths": ["/things"], "service": { "id": SERVICE } }),
        );
    let (route, service) = (
        kit.config().routes().next().cloned(),
        kit.config().services().next().cloned(),
    );
    (kit.route, kit.service) = (route, service);
    kit
}

fn run(kit: &Kit, status: u16) {
    let mut ran = kit.access(Request::get("/things").body(String::new()).unwrap());
    kit.log(&mut ran, StatusCode::from_u16(status).unwrap(), None);
}

fn text(registry: &Registry) -> String {
    let mut to = Exposition::new();
    write(registry, &mut to);
    to.into_text()
}

#[test]
fn only_what_is_asked_for_is_counted() {
    for (field, family) in [
        ("status_code_metrics", "kong_http_requests_total{"),
        ("latency_metrics", "kong_request_latency_ms_count{"),
        ("none", ""),
    ] {
        let registry = Registry::new().with::<Prometheus>();
        let settings = match field {
            "none" => json!({}),
            field => json!({ field: true }),
        };
        run(&kit(&registry, settings), 200);
        let text = text(&registry);
        let samples: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("kong_") && line.contains('{'))
            .collect();
        assert_eq!(samples.is_empty(), family.is_empty(), "{field}: {samples:?}");
        assert!(
            samples
                .iter()
                .all(|it| family.starts_with("kong_request_latency") || it.starts_with(family))
        );
    }
}

#[test]
fn a_request_is_counted_by_service_route_and_status() {
    let registry = Registry::new().with::<Prometheus>();
    let kit = kit(
        &registry,
        json!({ "status_code_metrics": true, "latency_metrics": true }),
    );
    for status in [200, 200, 404] {
        run(&kit, status);
    }
    let seen = text(&registry);
    for line in [
        format!(
            "kong_http_requests_total{{service=\"shop.test\",route=\"{ROUTE}\",code=\"200\",source=\"service\",\
             workspace=\"default\",consumer=\"\"}} 2"
        ),
        format!(
            "kong_kong_latency_ms_bucket{{service=\"shop.test\",route=\"{ROUTE}\",workspace=\"default\",le=\"2\"}} 0"
        ),
        format!(
            "kong_kong_latency_ms_bucket{{service=\"shop.test\",route=\"{ROUTE}\",workspace=\"default\",le=\"5\"}} 3"
        ),
        format!(
            "kong_upstream_latency_ms_sum{{service=\"shop.test\",route=\"{ROUTE}\",workspace=\"default\"}} 21"
        ),
        format!(
            "kong_request_latency_ms_count{{service=\"shop.test\",route=\"{ROUTE}\",workspace=\"default\"}} 3"
        ),
    ] {
        assert!(seen.lines().any(|it| it == line), "{line}\n in\n{seen}");
    }
    // What was written once is not forgotten.
    run(&kit, 200);
    assert!(text(&registry).contains("source=\"service\",workspace=\"default\",consumer=\"\"} 3"));
}

#[test]
fn targets_are_looked_at_as_long_as_an_instance_asks() {
    let registry = Registry::new().with::<Prometheus>();
    assert!(!wants_target_health(&registry));
    let kit = kit(&registry, json!({ "upstream_health_metrics": true }));
    assert!(wants_target_health(&registry));
    drop(kit);
    assert!(!wants_target_health(&registry));
}

#[test]
fn a_request_of_a_known_series_allocates_nothing() {
    let registry = Registry::new().with::<Prometheus>();
    let all = json!({
        "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true, "per_consumer": true,
    });
    let kit = kit(&registry, all);
    run(&kit, 200);
    let mut ran = kit.access(Request::get("/things").body(String::new()).unwrap());
    let counted = measure(|| kit.log(&mut ran, StatusCode::OK, None));
    assert_eq!(counted.count_total, 0);
}
