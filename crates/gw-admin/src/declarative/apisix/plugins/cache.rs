//! proxy-cache: APISIX's settings as Kong's.

use serde_json::{Value, json};

use super::Made;
use crate::declarative::apisix::conf::Conf;

pub(super) fn proxy_cache(conf: &mut Conf<'_, '_>) -> Made {
    conf.set("strategy", "memory");
    if conf.take_text("cache_strategy").as_deref() != Some("memory") {
        conf.remark("answers are kept in memory, not on disk", "");
    }
    conf.adapted(
        "cache_zone",
        "the cache has memory of its own, whatever the zone",
        "",
    );
    if let Some(key) = conf.take_list("cache_key") {
        let covered = [
            "$host",
            "$request_uri",
            "$uri",
            "$scheme",
            "$request_method",
            "$is_args",
            "$args",
            "-",
            "/",
            "?",
        ];
        let is_covered = |part: &Value| part.as_str().is_some_and(|part| covered.contains(&part));
        let (headers, rest): (Vec<&Value>, Vec<&Value>) = key
            .iter()
            .filter(|part| !is_covered(part))
            .partition(|part| part.as_str().is_some_and(|part| part.starts_with("$http_")));
        let names = headers
            .iter()
            .filter_map(|part| Some(part.as_str()?.strip_prefix("$http_")?.replace('_', "-")));
        let names: Vec<String> = std::iter::once("Accept-Encoding".to_owned())
            .chain(names)
            .collect();
        if names.len() > 1 {
            conf.set_from("vary_headers", names, "cache_key");
        }
        if !rest.is_empty() {
            let at = conf.at("cache_key");
            let what = "answers are kept by method, host, path, query and consumer; other parts of the key do not count";
            let remedy = "a header counts, as `$http_name`";
            conf.mapping.ledger.unsupported(at, what, remedy);
        }
    }
    let methods = conf
        .take("cache_method")
        .unwrap_or_else(|| json!(["GET", "HEAD"]));
    conf.set_from("request_method", methods, "cache_method");
    let statuses = conf
        .take("cache_http_status")
        .unwrap_or_else(|| json!([200, 301, 404]));
    conf.set_from("response_code", statuses, "cache_http_status");
    // Whatever the type, in the encodings of text that there are.
    let types = [
        "*/*",
        "*/*; charset=utf-8",
        "*/*; charset=iso-8859-1",
        "*/*; charset=us-ascii",
    ];
    conf.set("content_type", json!(types));
    conf.set("purge_method", true);
    conf.copy_or("cache_ttl", 300);
    conf.copy(&["cache_control"]);
    let remedy = "have the upstream say so by `Cache-Control`, and set `cache_control: true`";
    conf.lacking(
        &["cache_bypass", "no_cache"],
        "such requests are cached like others",
        remedy,
    );
    if conf.take_flag("hide_cache_headers") == Some(true) {
        let at = conf.at("hide_cache_headers");
        let what = "`Cache-Control` and `Expires` go on to the client";
        conf.mapping
            .ledger
            .unsupported(at, what, "take them off by `response-rewrite`");
    }
    if conf.take_flag("consumer_isolation") == Some(false) {
        let at = conf.at("consumer_isolation");
        let what = "each consumer has answers of its own";
        conf.mapping.ledger.adapted(at, what, "");
    }
    if conf.take_flag("cache_set_cookie") == Some(true) {
        let at = conf.at("cache_set_cookie");
        let what = "answers that set cookies are kept as the cache's own rules say";
        conf.mapping.ledger.adapted(at, what, "");
    }
    conf.remark(
        "what the cache did is told in `X-Cache-Status`, not in `Apisix-Cache-Status`",
        "",
    );
    Made::As("proxy-cache")
}
