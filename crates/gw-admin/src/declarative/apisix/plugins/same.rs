//! Plugins that are APISIX's own here too: their settings go on as they are.

use serde_json::Value;

use super::Made;
use crate::declarative::apisix::conf::Conf;

/// Copies the fields that ours has, and tells of those that only APISIX's has.
fn same(conf: &mut Conf<'_, '_>, name: &'static str, known: &[&str]) -> Made {
    let registered = conf.mapping.registry.get(name);
    let fields =
        registered.and_then(|registered| registered.schema.document().get("properties")?.as_object());
    let ours: Option<Vec<String>> = fields.map(|fields| fields.keys().cloned().collect());
    for field in known {
        if ours
            .as_ref()
            .is_none_or(|ours| ours.iter().any(|own| own == field))
        {
            conf.copy(&[field]);
        }
    }
    conf.lacking(
        known,
        "it is not done here",
        "see docs/plugins.md for what the plugin can be told",
    );
    Made::As(name)
}

pub(super) fn forward_auth(conf: &mut Conf<'_, '_>) -> Made {
    const KNOWN: [&str; 15] = [
        "uri",
        "allow_degradation",
        "status_on_error",
        "ssl_verify",
        "request_method",
        "request_headers",
        "upstream_headers",
        "client_headers",
        "extra_headers",
        "timeout",
        "keepalive",
        "keepalive_timeout",
        "keepalive_pool",
        "max_req_body_bytes",
        "max_resp_body_bytes",
    ];
    same(conf, "forward-auth", &KNOWN)
}

pub(super) fn ua_restriction(conf: &mut Conf<'_, '_>) -> Made {
    same(
        conf,
        "ua-restriction",
        &["bypass_missing", "allowlist", "denylist", "message"],
    )
}

pub(super) fn request_validation(conf: &mut Conf<'_, '_>) -> Made {
    const KNOWN: [&str; 5] = [
        "header_schema",
        "body_schema",
        "rejected_code",
        "rejected_msg",
        "max_req_body_size",
    ];
    same(conf, "request-validation", &KNOWN)
}

/// What counters in Redis need.
const REDIS: [&str; 22] = [
    "redis_host",
    "redis_port",
    "redis_username",
    "redis_password",
    "redis_database",
    "redis_timeout",
    "redis_ssl",
    "redis_ssl_verify",
    "redis_keepalive_timeout",
    "redis_keepalive_pool",
    "redis_cluster_nodes",
    "redis_cluster_name",
    "redis_cluster_ssl",
    "redis_cluster_ssl_verify",
    "redis_sentinels",
    "redis_master_name",
    "redis_role",
    "redis_connect_timeout",
    "redis_read_timeout",
    "sentinel_username",
    "sentinel_password",
    "key_ttl",
];

fn limit(conf: &mut Conf<'_, '_>, name: &'static str, own: &[&str]) -> Made {
    let shared = [
        "key",
        "key_type",
        "rejected_code",
        "rejected_msg",
        "policy",
        "allow_degradation",
    ];
    let known: Vec<&str> = own.iter().chain(&shared).chain(&REDIS).copied().collect();
    same(conf, name, &known)
}

pub(super) fn limit_count(conf: &mut Conf<'_, '_>) -> Made {
    const OWN: [&str; 9] = [
        "count",
        "time_window",
        "window_type",
        "group",
        "rules",
        "show_limit_quota_header",
        "sync_interval",
        "limit_header",
        "remaining_header",
    ];
    limit(conf, "limit-count", &OWN)
}

pub(super) fn limit_req(conf: &mut Conf<'_, '_>) -> Made {
    limit(conf, "limit-req", &["rate", "burst", "nodelay", "rules"])
}

pub(super) fn limit_conn(conf: &mut Conf<'_, '_>) -> Made {
    limit(
        conf,
        "limit-conn",
        &[
            "conn",
            "burst",
            "default_conn_delay",
            "only_use_default_delay",
            "rules",
        ],
    )
}

pub(super) fn proxy_rewrite(conf: &mut Conf<'_, '_>) -> Made {
    const KNOWN: [&str; 7] = [
        "uri",
        "method",
        "regex_uri",
        "host",
        "headers",
        "use_real_request_uri_unsafe",
        "scheme",
    ];
    if conf.get("scheme").is_some() {
        let what = "the scheme is the upstream's, as in APISIX since version 3";
        conf.adapted("scheme", what, "give the upstream its `scheme`");
    }
    same(conf, "proxy-rewrite", &KNOWN)
}

pub(super) fn redirect(conf: &mut Conf<'_, '_>) -> Made {
    const KNOWN: [&str; 7] = [
        "http_to_https",
        "https_port",
        "uri",
        "regex_uri",
        "ret_code",
        "encode_uri",
        "append_query_string",
    ];
    if conf.get("http_to_https") == Some(&Value::Bool(false)) {
        conf.skip(&["http_to_https"]);
    }
    same(conf, "redirect", &KNOWN)
}
