//! Records and figures: http-logger, file-logger, tcp-logger, udp-logger, syslog, prometheus, opentelemetry.

use gw_core::Document;
use serde_json::{Map, Value, json};

use super::Made;
use crate::declarative::apisix::conf::Conf;

/// What all that write records have.
fn records(conf: &mut Conf<'_, '_>) {
    conf.remark(
        "records have the fields of Kong's, not of APISIX's",
        "have the collector read those",
    );
    conf.lacking(
        &["log_format", "log_format_extra"],
        "records have fields of their own",
        "have the collector take what it needs",
    );
    let body = "bodies are not part of these records";
    conf.off_or_lacking(
        &["include_req_body", "include_resp_body"],
        body,
        "use `http-logger`",
    );
    conf.skip(&[
        "max_req_body_bytes",
        "max_resp_body_bytes",
        "name",
        "buffer_duration",
        "max_pending_entries",
    ]);
    conf.lacking(
        &["include_req_body_expr", "include_resp_body_expr", "match"],
        "what is recorded does not hang on the request",
        "give the plugin a `_meta.filter`",
    );
}

/// How records are gathered before they are sent.
fn batches(conf: &mut Conf<'_, '_>) {
    let mut queue = Map::new();
    let size = conf.take("batch_max_size").unwrap_or_else(|| Value::from(1000));
    queue.insert("max_batch_size".to_owned(), size);
    let delay = conf.take("inactive_timeout").unwrap_or_else(|| Value::from(5));
    queue.insert("max_coalescing_delay".to_owned(), delay);
    let pause = conf.take("retry_delay").unwrap_or_else(|| Value::from(1));
    let times = conf
        .take("max_retry_count")
        .and_then(|times| times.as_f64())
        .unwrap_or_default();
    // Tries come ever more seldom here; what counts is how long.
    queue.insert(
        "max_retry_time".to_owned(),
        json!(times * pause.as_f64().unwrap_or(1.0)),
    );
    conf.set_from("queue", queue, "batch_max_size");
}

pub(super) fn http_logger(conf: &mut Conf<'_, '_>) -> Made {
    capture(conf);
    records(conf);
    conf.rename("uri", "http_endpoint");
    if let Some(header) = conf.take_text("auth_header").filter(|header| !header.is_empty()) {
        conf.set_from("headers", json!({ "Authorization": header }), "auth_header");
    }
    let seconds = conf
        .take("timeout")
        .and_then(|timeout| timeout.as_u64())
        .unwrap_or(3);
    conf.set_from("timeout", seconds.saturating_mul(1000), "timeout");
    batches(conf);
    if conf.take_text("concat_method").as_deref() == Some("new_line") {
        let at = conf.at("concat_method");
        let what = "several records are sent as a JSON array, not line by line";
        conf.mapping.ledger.unsupported(at, what, "");
    }
    conf.skip(&["ssl_verify"]);
    Made::As("http-log")
}

/// The bodies that records have.
fn capture(conf: &mut Conf<'_, '_>) {
    const HALF: u64 = 512 * 1024;
    const MOST: u64 = 1024 * 1024;
    let mut bytes = |flag: &str, limit: &str| {
        let limit = conf.take(limit).and_then(|limit| limit.as_u64()).unwrap_or(HALF);
        if conf.take_flag(flag) == Some(true) {
            limit.min(MOST)
        } else {
            0
        }
    };
    let request = bytes("include_req_body", "max_req_body_bytes");
    let response = bytes("include_resp_body", "max_resp_body_bytes");
    if request + response > 0 {
        let bodies = json!({ "request_body": request, "response_body": response });
        conf.set_from("capture", bodies, "include_req_body");
    }
}

pub(super) fn file_logger(conf: &mut Conf<'_, '_>) -> Made {
    records(conf);
    let shared = conf.mapping.shelf.metadata("file-logger");
    let shared = shared.and_then(|item| item.text("path")).map(str::to_owned);
    match (conf.take("path"), shared) {
        (Some(path), _) => conf.set_from("path", path, "path"),
        (None, Some(path)) => conf.set("path", path),
        (None, None) => {}
    }
    Made::As("file-log")
}

pub(super) fn tcp_logger(conf: &mut Conf<'_, '_>) -> Made {
    records(conf);
    conf.copy(&["host", "port", "tls"]);
    conf.copy_or("timeout", 1000);
    conf.rename("tls_options", "tls_sni");
    one_by_one(conf);
    Made::As("tcp-log")
}

pub(super) fn udp_logger(conf: &mut Conf<'_, '_>) -> Made {
    records(conf);
    conf.copy(&["host", "port"]);
    let seconds = conf
        .take("timeout")
        .and_then(|timeout| timeout.as_u64())
        .unwrap_or(3);
    conf.set_from("timeout", seconds.saturating_mul(1000), "timeout");
    one_by_one(conf);
    Made::As("udp-log")
}

/// Records that go as they come.
fn one_by_one(conf: &mut Conf<'_, '_>) {
    conf.skip(&[
        "batch_max_size",
        "inactive_timeout",
        "retry_delay",
        "max_retry_count",
    ]);
}

/// APISIX's goes to another machine by itself, ours through the system's own.
pub(super) fn syslog(conf: &mut Conf<'_, '_>) -> Made {
    records(conf);
    one_by_one(conf);
    let host = conf.take("host").unwrap_or_default();
    let port = conf.take("port").unwrap_or_default();
    let what = format!(
        "records go to the syslog of this machine, not to {}:{port}",
        host.as_str().unwrap_or_default()
    );
    let at = conf.at("host");
    let remedy = "have the machine's syslog send them on";
    conf.mapping.ledger.unsupported(at, what, remedy);
    conf.skip(&[
        "flush_limit",
        "drop_limit",
        "timeout",
        "sock_type",
        "pool_size",
        "tls",
        "ssl_verify",
    ]);
    Made::As("syslog")
}

pub(super) fn prometheus(conf: &mut Conf<'_, '_>) -> Made {
    conf.skip(&["prefer_name"]);
    for figures in [
        "status_code_metrics",
        "latency_metrics",
        "bandwidth_metrics",
        "upstream_health_metrics",
        "per_consumer",
    ] {
        conf.set(figures, true);
    }
    let what = "figures have the names of Kong's (`kong_…`), at `/metrics` of the Admin API and of `--status-listen`";
    conf.remark(what, "point the scraper and its boards there");
    Made::As("prometheus")
}

pub(super) fn opentelemetry(conf: &mut Conf<'_, '_>) -> Made {
    let sampler = conf.take_record("sampler").unwrap_or_default();
    let Some(rate) = sampled(&sampler) else {
        conf.remark(
            "its sampler is `always_off`, APISIX's default: nothing is traced",
            "give it another sampler",
        );
        conf.skip(&[
            "additional_attributes",
            "additional_header_prefix_attributes",
            "trace_plugins",
        ]);
        return Made::Gone;
    };
    let collector = conf.mapping.shelf.metadata("opentelemetry");
    let collector = collector.and_then(|item| item.fields.get("collector")?.as_object().cloned());
    let address = |collector: &Document| collector.get("address")?.as_str().map(str::to_owned);
    let address = collector.as_ref().and_then(address).unwrap_or_else(|| {
        conf.remark(
            "the file does not say where spans go, so they go to 127.0.0.1:4318, as in APISIX",
            "say it in `plugin_metadata`: `id: opentelemetry`, `collector: { address: … }`",
        );
        "127.0.0.1:4318".to_owned()
    });
    let base = if address.contains("://") {
        address
    } else {
        format!("http://{address}")
    };
    conf.set(
        "traces_endpoint",
        format!("{}/v1/traces", base.trim_end_matches('/')),
    );
    if let Some(headers) = collector
        .as_ref()
        .and_then(|collector| collector.get("request_headers"))
    {
        conf.set("headers", headers.clone());
    }
    conf.set_from("sampling_rate", rate, "sampler");
    conf.lacking(
        &["additional_attributes", "additional_header_prefix_attributes"],
        "spans have attributes of their own",
        "",
    );
    conf.skip(&["trace_plugins"]);
    Made::As("opentelemetry")
}

/// The share of requests that a sampler takes; none is none.
fn sampled(sampler: &Document) -> Option<f64> {
    let options = sampler.get("options").and_then(Value::as_object);
    match sampler.get("name").and_then(Value::as_str) {
        Some("always_on") => Some(1.0),
        Some("trace_id_ratio") => options?.get("fraction")?.as_f64().filter(|rate| *rate > 0.0),
        // A parent that is traced has its children traced here anyway.
        Some("parent_base") => sampled(options?.get("root")?.as_object()?),
        _ => None,
    }
}
