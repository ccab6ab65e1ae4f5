//! What is known to run here in another way, or not at all: one row for each, and where plugins that are not here come
//! from.

use gw_core::Document;
use serde_json::Value;

use super::Verdict::{self, Adapted, Unsupported};
use crate::declarative::apisix::instead;

/// One thing that is different here.
pub(super) struct Row {
    /// The plural of the kind it is about.
    kind: &'static str,
    /// Of plugins, which; none is any.
    plugin: Option<&'static str>,
    /// Where in the entity; `*` is every item, `**` every text below.
    pub(super) field: &'static str,
    /// Which values are different.
    pub(super) when: fn(&Value) -> bool,
    pub(super) verdict: Verdict,
    pub(super) what: &'static str,
    pub(super) remedy: &'static str,
}

impl Row {
    pub(super) fn is_about(&self, kind: &str, document: &Document) -> bool {
        let plugin = || document.get("name").and_then(Value::as_str);
        (self.kind == kind || self.kind == "*") && self.plugin.is_none_or(|wanted| plugin() == Some(wanted))
    }
}

/// All rows. A plugin that does something in another way than Kong has its row here.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    ENTITIES.iter().chain(PLUGINS)
}

const ENTITIES: &[Row] = &[
    Row {
        kind: "services",
        plugin: None,
        field: "/protocol",
        when: |value| is_one_of(value, &["tcp", "tls", "udp"]),
        verdict: Unsupported,
        what: "streams are not proxied, but for TLS that passes through (`tls_passthrough`)",
        remedy: "publish it beside the gateway, or reach it by a route of `tls_passthrough`",
    },
    Row {
        kind: "routes",
        plugin: None,
        field: "/protocols/*",
        when: |value| is_one_of(value, &["tcp", "tls", "udp"]),
        verdict: Unsupported,
        what: "the route matches no connection: streams are not proxied",
        remedy: "use `tls_passthrough` where it is TLS, else publish the service beside the gateway",
    },
    Row {
        kind: "upstreams",
        plugin: None,
        field: "/algorithm",
        when: |value| is_one_of(value, &["consistent-hashing"]),
        verdict: Adapted,
        what: "what is hashed sticks as before, to a target of this gateway's own choice",
        remedy: "",
    },
    Row {
        kind: "vaults",
        plugin: None,
        field: "/name",
        when: Value::is_string,
        verdict: Unsupported,
        what: "references to a vault are not resolved",
        remedy: "name variables of the environment in the file instead: `${NAME}`",
    },
    Row {
        kind: "*",
        plugin: None,
        field: "/**",
        when: |value| value.as_str().is_some_and(|text| text.starts_with("{vault://")),
        verdict: Unsupported,
        what: "a reference to a vault stays the text that it is",
        remedy: "name a variable of the environment instead: `${NAME}`",
    },
    Row {
        kind: "filter_chains",
        plugin: None,
        field: "/filters",
        when: Value::is_array,
        verdict: Unsupported,
        what: "no filter runs",
        remedy: "leave it out, or do the same by a plugin",
    },
    Row {
        kind: "keys",
        plugin: None,
        field: "/kid",
        when: Value::is_string,
        verdict: Adapted,
        what: "kept and shown; no plugin asks for it",
        remedy: "",
    },
];

const PLUGINS: &[Row] = &[
    Row {
        kind: "plugins",
        plugin: Some("rate-limiting"),
        field: "/config/policy",
        when: |value| is_one_of(value, &["cluster"]),
        verdict: Adapted,
        what: "there is no database to count in: every node counts by itself, exactly",
        remedy: "with several nodes use `policy: redis`, or divide the limits by their number",
    },
    Row {
        kind: "plugins",
        plugin: Some("response-ratelimiting"),
        field: "/config/policy",
        when: |value| is_one_of(value, &["cluster"]),
        verdict: Adapted,
        what: "there is no database to count in: every node counts by itself",
        remedy: "with several nodes use `policy: redis`, or divide the limits by their number",
    },
    Row {
        kind: "plugins",
        plugin: Some("proxy-cache"),
        field: "/config/memory/dictionary_name",
        when: |value| value.as_str().is_some_and(|name| name != "kong_db_cache"),
        verdict: Adapted,
        what: "there are no shared dictionaries: all caches share one memory",
        remedy: "",
    },
    Row {
        kind: "plugins",
        plugin: Some("response-transformer"),
        field: "/config/**",
        when: |value| value.as_str().is_some_and(|text| text.contains("$(")),
        verdict: Adapted,
        what: "templates are not filled in in responses, as in Kong: the text is sent as it is",
        remedy: "",
    },
    Row {
        kind: "plugins",
        plugin: Some("prometheus"),
        field: "/config/wasm_metrics",
        when: |value| *value == Value::Bool(true),
        verdict: Adapted,
        what: "there are no such filters, and so no figures of them",
        remedy: "",
    },
    Row {
        kind: "plugins",
        plugin: Some("prometheus"),
        field: "/config/ai_metrics",
        when: |value| *value == Value::Bool(true),
        verdict: Adapted,
        what: "there are no AI plugins, and so no figures of them",
        remedy: "",
    },
];

fn is_one_of(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|text| names.contains(&text))
}

/// Plugins of Kong's open edition.
const KONG: &str = "acl acme ai-prompt-decorator ai-prompt-guard ai-prompt-template ai-proxy ai-request-transformer \
    ai-response-transformer aws-lambda azure-functions basic-auth bot-detection correlation-id cors datadog file-log \
    grpc-gateway grpc-web hmac-auth http-log ip-restriction jwt key-auth ldap-auth loggly oauth2 opentelemetry \
    post-function pre-function prometheus proxy-cache rate-limiting redirect request-size-limiting request-termination \
    request-transformer response-ratelimiting response-transformer session standard-webhooks statsd syslog tcp-log udp-log \
    zipkin";

/// Plugins of Kong's other editions.
const ENTERPRISE: &str = "ai-aws-guardrails ai-azure-content-safety ai-proxy-advanced ai-rag-injector \
    ai-rate-limiting-advanced ai-sanitizer ai-semantic-cache ai-semantic-prompt-guard ai-semantic-response-guard \
    app-dynamics application-registration canary confluent confluent-consume datakit degraphql exit-transformer \
    forward-proxy graphql-proxy-cache-advanced graphql-rate-limiting-advanced header-cert-auth injection-protection \
    jq json-threat-protection jwe-decrypt jwt-signer kafka-consume kafka-log kafka-upstream key-auth-enc \
    konnect-application-auth ldap-auth-advanced mocking mtls-auth oas-validation oauth2-introspection opa openid-connect \
    proxy-cache-advanced rate-limiting-advanced redirect-advanced request-callout request-transformer-advanced \
    request-validator response-transformer-advanced route-by-header route-transformer-advanced saml service-protection \
    solace-upstream statsd-advanced tls-handshake-modifier tls-metadata-headers upstream-oauth upstream-timeout \
    vault-auth websocket-size-limit websocket-validator xml-threat-protection";

/// Plugins that are not here, with what does the same.
const INSTEAD: &[(&str, &str)] = &[
    (
        "ai-proxy-advanced",
        "send the requests to the model's own API by a service",
    ),
    ("canary", "use `traffic-split`, or weights of targets"),
    (
        "exit-transformer",
        "use `response-transformer` for what it does to answers",
    ),
    ("file-logger", "use `file-log`"),
    (
        "grpc-gateway",
        "call the gRPC service by gRPC, or put a transcoder between",
    ),
    ("jwt-signer", "use `jwt` to check tokens"),
    ("key-auth-enc", "use `key-auth`"),
    ("loggly", "use `syslog`, `udp-log` or `http-log`"),
    ("datadog", "use `prometheus`, which Datadog's agent reads"),
    ("statsd", "use `prometheus`"),
    ("statsd-advanced", "use `prometheus`"),
    (
        "mtls-auth",
        "ask clients for certificates at the listener: `verify_client=on`",
    ),
    (
        "oauth2",
        "check tokens of an issuer of yours by `jwt`, or ask it by `forward-auth`",
    ),
    ("oauth2-introspection", "ask the issuer by `forward-auth`"),
    ("opa", "ask it by `forward-auth`"),
    (
        "openid-connect",
        "check tokens by `jwt`, or ask the provider's proxy by `forward-auth`",
    ),
    (
        "ldap-auth",
        "ask a service that knows the directory by `forward-auth`",
    ),
    (
        "ldap-auth-advanced",
        "ask a service that knows the directory by `forward-auth`",
    ),
    ("post-function", LUA),
    ("pre-function", LUA),
    ("serverless-pre-function", LUA),
    ("serverless-post-function", LUA),
    ("proxy-cache-advanced", "use `proxy-cache`"),
    (
        "rate-limiting-advanced",
        "use `rate-limiting` with `policy: redis`, or `limit-count`",
    ),
    ("request-transformer-advanced", "use `request-transformer`"),
    ("response-transformer-advanced", "use `response-transformer`"),
    (
        "request-validator",
        "use `request-validation`, which takes a JSON Schema",
    ),
    ("route-by-header", "give routes `headers`"),
    ("upstream-timeout", "set the timeouts of the service"),
    (
        "zipkin",
        "use `opentelemetry`, which a Zipkin collector's OTLP input reads",
    ),
];

const LUA: &str = "Lua does not run here: say what it does by request-transformer, response-transformer, \
                   request-termination or forward-auth";

/// Where a plugin that is not here comes from, and what to do instead.
pub(in crate::declarative) fn advice<'n>(
    name: &str,
    here: impl Iterator<Item = &'n str>,
) -> (String, String) {
    let here: Vec<&str> = here.collect();
    let is_of = |list: &str| list.split_whitespace().any(|known| known == name);
    if !is_of(KONG)
        && !is_of(ENTERPRISE)
        && let Some(told) = instead(name)
    {
        return told;
    }
    let what = if is_of(KONG) {
        format!("the plugin '{name}' of Kong's is not here")
    } else if is_of(ENTERPRISE) {
        format!("'{name}' is a plugin of Kong Enterprise, and not here")
    } else {
        format!("'{name}' is no plugin of Kong's, and not here")
    };
    let known = INSTEAD.iter().find(|(known, _)| *known == name);
    let remedy = match known {
        Some((_, instead)) => (*instead).to_owned(),
        None if is_of(KONG) || is_of(ENTERPRISE) => "do without it".to_owned(),
        None => match gw_schema::nearest(name, here.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "do by other plugins what it does, or write it anew (docs/writing-plugins.md)".to_owned(),
        },
    };
    (what, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_misses_a_plugin_is_told_where_it_comes_from_and_what_to_do() {
        for (name, what, remedy) in [
            ("pre-function", "of Kong's", "Lua"),
            ("acme", "of Kong's", "do without"),
            ("openid-connect", "Kong Enterprise", "`jwt`"),
            (
                "rate-limitting",
                "no plugin of Kong's",
                "did you mean `rate-limiting`?",
            ),
            ("pheno_ui_maps", "no plugin of Kong's", "write it anew"),
        ] {
            let told = advice(name, ["rate-limiting", "cors"].into_iter());
            assert!(
                told.0.contains(what) && told.1.contains(remedy),
                "{name}: {told:?}"
            );
        }
    }
}
