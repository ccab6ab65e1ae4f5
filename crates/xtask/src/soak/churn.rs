//! What changes under way: routes, targets, certificates, plugins; and upstreams that die.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::upstream::Upstream;
use super::{Kind, Soak, pause, tls};
use crate::http;

const CERTIFICATE: &str = "/certificates/0b7b0a3e-6d1e-4a6f-9a53-2c1f6b1e9a01";

/// A service over three targets, and a route to it for everything.
pub(crate) fn prepare(admin: SocketAddr, upstreams: &[Arc<Upstream>]) -> Result<(), String> {
    let put = |path: &str, document: Value| expect(admin, "PUT", path, &document, 200..=201);
    // A third of what is under way breaks at once: all of it may be tried again.
    let budget = json!({ "percent": 100, "min_per_second": 1000, "window": 10 });
    put("/upstreams/soak", json!({ "retry_budget": budget }))?;
    for upstream in upstreams {
        let target = json!({ "target": upstream.addr.to_string() });
        expect(admin, "POST", "/upstreams/soak/targets", &target, 201..=201)?;
    }
    put("/services/soak", json!({ "host": "soak", "retries": 5 }))?;
    put("/services/soak/routes/all", json!({ "paths": ["/"] }))?;
    renew(admin)
}

fn renew(admin: SocketAddr) -> Result<(), String> {
    let (certificate, key) = tls::certificate()?;
    let document = json!({ "cert": certificate, "key": key, "snis": ["soak.test"] });
    expect(admin, "PUT", CERTIFICATE, &document, 200..=201)
}

fn expect(
    admin: SocketAddr,
    method: &str,
    path: &str,
    document: &Value,
    statuses: std::ops::RangeInclusive<u16>,
) -> Result<(), String> {
    let answer = http::send_json(admin, method, path, document);
    let answer = answer.map_err(|error| format!("{method} {path}: {error}"))?;
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    Err(format!("{method} {path}: {} {}", answer.status, answer.body))
}

/// Makes one change after the other.
pub(crate) fn change(soak: &Soak, upstreams: &[Arc<Upstream>]) {
    let admin = soak.doors.admin;
    for number in 0_u32.. {
        if soak.is_over() {
            return;
        }
        let name = format!("churn-{}", number % 50);
        let target = upstreams
            .get(number as usize % upstreams.len())
            .map(|upstream| upstream.addr.to_string());
        let path = format!("/upstreams/soak/targets/{}", target.unwrap_or_default());
        let done = match number % 6 {
            0 => expect(
                admin,
                "PUT",
                &format!("/services/{name}"),
                &json!({ "host": "soak" }),
                200..=201,
            ),
            1 => {
                let route = json!({ "paths": [format!("/{name}")], "hosts": ["other.test"] });
                let before = format!("churn-{}", (number - 1) % 50);
                expect(
                    admin,
                    "PUT",
                    &format!("/services/{before}/routes/{name}"),
                    &route,
                    200..=201,
                )
            }
            2 => expect(
                admin,
                "PATCH",
                &path,
                &json!({ "weight": 50 + number % 100 }),
                200..=200,
            ),
            3 => renew(admin),
            4 => {
                let plugin =
                    json!({ "name": "key-auth", "config": { "hide_credentials": number % 12 == 4 } });
                let place = (number - 4) % 50;
                let id = format!("0b7b0a3e-6d1e-4a6f-9a53-2c1f6b1e9{place:03}");
                let path = format!("/services/churn-{place}/plugins/{id}");
                expect(admin, "PUT", &path, &plugin, 200..=201)
            }
            _ => {
                let before = format!("/routes/churn-{}", (number - 4) % 50);
                expect(admin, "DELETE", &before, &json!({}), 204..=204)
            }
        };
        match done {
            Ok(()) => soak.count(Kind::Change),
            Err(error) => soak.lost("a change", &error),
        }
        pause(Duration::from_millis(100));
    }
}

/// One after the other dies and comes back: two of three are always there.
pub(crate) fn kill(soak: &Soak, upstreams: &[Arc<Upstream>]) {
    for upstream in upstreams.iter().cycle() {
        if soak.is_over() {
            return;
        }
        upstream.die();
        soak.count(Kind::Death);
        pause(Duration::from_millis(700));
        upstream.come_back();
        pause(Duration::from_millis(1500));
    }
}
