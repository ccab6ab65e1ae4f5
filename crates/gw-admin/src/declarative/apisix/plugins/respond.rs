//! Answers of the gateway's own: mocking, fault-injection, and APISIX's own addresses.

use serde_json::{Value, json};

use super::Made;
use crate::declarative::apisix::conf::Conf;

pub(super) fn mocking(conf: &mut Conf<'_, '_>) -> Made {
    let Some(body) = conf.take_text("response_example") else {
        let at = conf.at("response_schema");
        let what = "no answers are made up from a schema";
        conf.mapping
            .ledger
            .unsupported(at, what, "give the answer itself: `response_example`");
        return Made::Unfit;
    };
    answer(conf, &body, "response_example");
    conf.skip(&["response_schema"]);
    let status = conf.take("response_status").unwrap_or_else(|| Value::from(200));
    conf.set_from("status_code", status, "response_status");
    let kind = conf.take_text("content_type");
    let kind = kind.unwrap_or_else(|| "application/json;charset=utf8".to_owned());
    conf.set_from("content_type", kind, "content_type");
    match conf.take("delay") {
        Some(delay) if delay != 0 => {
            let at = conf.at("delay");
            conf.mapping
                .ledger
                .unsupported(at, "the answer comes at once", "");
        }
        _ => {}
    }
    conf.lacking(
        &["response_headers"],
        "the answer has no such headers",
        "add them by `response-transformer`",
    );
    if conf.take_flag("with_mock_header") != Some(false) {
        conf.remark("the answer has no header `x-mock-by`", "");
    }
    Made::As("request-termination")
}

pub(super) fn fault_injection(conf: &mut Conf<'_, '_>) -> Made {
    let unfit = |conf: &mut Conf<'_, '_>, field: &str, what: &str| {
        let at = conf.at(field);
        let remedy = "inject it where the upstream is, or leave it out";
        conf.mapping.ledger.unsupported(at, what, remedy);
        Made::Unfit
    };
    let Some(Value::Object(mut abort)) = conf.get("abort").cloned() else {
        return unfit(conf, "delay", "requests are not delayed");
    };
    match abort.get("percentage").and_then(Value::as_f64) {
        None | Some(100.0) => {}
        Some(0.0) => {
            conf.skip(&["abort", "delay"]);
            return Made::Gone;
        }
        Some(_) => return unfit(conf, "abort/percentage", "all requests are answered so, or none"),
    }
    if let Some(Value::Array(mut sets)) = abort.remove("vars") {
        let any = if sets.len() == 1 {
            sets.remove(0)
        } else {
            sets.insert(0, json!("OR"));
            Value::Array(sets)
        };
        if !conf.only_for(any) {
            return unfit(
                conf,
                "abort/vars",
                "it cannot hang on what is known after the answer",
            );
        }
    }
    conf.skip(&["abort"]);
    conf.lacking(&["delay"], "the answer comes at once", "");
    let status = abort.remove("http_status").unwrap_or_default();
    conf.set_from("status_code", status, "abort/http_status");
    match abort.remove("body") {
        Some(Value::String(body)) => {
            answer(conf, &body, "abort/body");
            conf.set("content_type", "text/plain; charset=utf-8");
        }
        _ => conf.remark("the answer has a body that says what its status means", ""),
    }
    if abort.contains_key("headers") {
        let at = conf.at("abort/headers");
        let remedy = "add them by `response-transformer`";
        conf.mapping
            .ledger
            .unsupported(at, "the answer has no such headers", remedy);
    }
    Made::As("request-termination")
}

fn answer(conf: &mut Conf<'_, '_>, body: &str, from: &str) {
    if body.contains('$') {
        let at = conf.at(from);
        let what = "variables in the answer are not filled in: `$…` is sent as it is";
        conf.mapping.ledger.unsupported(at, what, "");
    }
    conf.set_from("body", body, from);
}

/// Where APISIX answers several requests in one.
const BATCH: &str = "/apisix/batch-requests";

/// Where it shows figures of itself.
const METRICS: &str = "/apisix/prometheus/metrics";

pub(super) fn batch_requests(_: &mut Conf<'_, '_>) -> Made {
    Made::As("batch-requests")
}

/// A route of APISIX's own addresses.
pub(super) fn public_api(conf: &mut Conf<'_, '_>) -> Made {
    let given = conf.get("uri").and_then(Value::as_str).map(str::to_owned);
    let uri = given.or_else(|| conf.mapping.uri.clone());
    let (what, remedy) = match uri.as_deref() {
        Some(BATCH) => {
            conf.skip(&["uri"]);
            return Made::As("batch-requests");
        }
        Some(METRICS) => (
            "figures are not shown to clients",
            "scrape them where `--status-listen` says, or from the Admin API: `/metrics`",
        ),
        _ => ("there is no such address", "leave the route out"),
    };
    let at = conf.pointer.clone();
    conf.mapping.ledger.unsupported(at, what, remedy);
    Made::Unfit
}
