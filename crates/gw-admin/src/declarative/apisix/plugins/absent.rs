//! Plugins of APISIX's that are not here, and what to do instead.

/// All that come with APISIX and are not here.
const ALL: &str = "ai ai-aliyun-content-moderation ai-aws-content-moderation ai-cache ai-lakera-guard ai-prompt-decorator \
    ai-prompt-guard ai-prompt-template ai-proxy ai-proxy-multi ai-rag ai-rate-limiting ai-request-rewrite api-breaker \
    attach-consumer-label authz-casbin authz-casdoor authz-keycloak authz-openfga aws-lambda azure-functions \
    body-transformer brotli cas-auth chaitin-waf clickhouse-logger csrf data-mask datadog degraphql dingtalk-auth \
    dubbo-proxy echo elasticsearch-logger error-log-logger error-page ext-plugin-post-req ext-plugin-post-resp \
    ext-plugin-pre-req exit-transformer feishu-auth gm google-cloud-logging graphql-limit-count graphql-proxy-cache \
    grpc-transcode grpc-web gzip http-dubbo inspect jwe-decrypt kafka-logger kafka-proxy lago ldap-auth \
    ldap-auth-advanced log-rotate loggly loki-logger mcp-bridge mqtt-proxy multi-auth node-status oas-validator \
    ocsp-stapling opa openfunction openid-connect openwhisk proxy-mirror real-ip referer-restriction rocketmq-logger \
    saml-auth server-info serverless-post-function serverless-pre-function skywalking skywalking-logger sls-logger \
    splunk-hec-logging tencent-cloud-cls traffic-label uri-blocker wolf-rbac workflow zipkin";

/// What does the same.
const INSTEAD: &[(&str, &str)] = &[
    (
        "api-breaker",
        "targets that keep failing go out by themselves (docs/balancing.md)",
    ),
    ("authz-casbin", FORWARD),
    ("authz-casdoor", FORWARD),
    (
        "authz-keycloak",
        "check Keycloak's tokens by `jwt-auth`, or have a proxy of it asked by `forward-auth`",
    ),
    ("authz-openfga", FORWARD),
    ("brotli", "have the upstream compress"),
    ("cas-auth", FORWARD),
    ("clickhouse-logger", RECORDS),
    ("datadog", "use `prometheus`, which Datadog's agent reads"),
    ("elasticsearch-logger", RECORDS),
    ("ext-plugin-post-req", OUTSIDE),
    ("ext-plugin-post-resp", OUTSIDE),
    ("ext-plugin-pre-req", OUTSIDE),
    ("google-cloud-logging", RECORDS),
    (
        "grpc-transcode",
        "call the service by gRPC, or put a transcoder between",
    ),
    (
        "grpc-web",
        "have the upstream speak gRPC-Web, which passes as it is",
    ),
    ("gzip", "have the upstream compress"),
    (
        "kafka-logger",
        "send records by `http-logger` to a bridge of Kafka's",
    ),
    ("ldap-auth", FORWARD),
    ("loggly", "use `http-logger` or `syslog`"),
    ("loki-logger", RECORDS),
    (
        "multi-auth",
        "give each of the plugins `anonymous_consumer`: then any of them will do",
    ),
    ("node-status", "ask `/status` of the Admin API"),
    ("opa", "have it asked by `forward-auth`"),
    (
        "openid-connect",
        "check tokens by `jwt-auth`, or have a proxy of the provider asked by `forward-auth`",
    ),
    (
        "real-ip",
        "say whom to believe by `--trusted-ips` and `--real-ip-header`",
    ),
    (
        "referer-restriction",
        "say it in `vars` of the route: `[\"http_referer\", \"~~\", \"…\"]`",
    ),
    ("saml-auth", FORWARD),
    ("server-info", "ask `/` of the Admin API"),
    ("serverless-post-function", LUA),
    ("serverless-pre-function", LUA),
    (
        "skywalking",
        "use `opentelemetry`, which SkyWalking's collector reads",
    ),
    ("splunk-hec-logging", RECORDS),
    (
        "uri-blocker",
        "make a route of these paths with `mocking` or `fault-injection`, and a high `priority`",
    ),
    ("wolf-rbac", FORWARD),
    ("workflow", "make a route for each case, by `vars`"),
    (
        "zipkin",
        "use `opentelemetry`, which a Zipkin collector's OTLP input reads",
    ),
];

const FORWARD: &str = "have a service that knows asked by `forward-auth`";
const RECORDS: &str = "send records by `http-logger`, through a collector that speaks to it";
const OUTSIDE: &str = "do in Rust what it does (docs/writing-plugins.md), or have it asked by `forward-auth`";
const LUA: &str = "Lua does not run here: say what it does by `proxy-rewrite`, `response-rewrite`, `mocking` or `forward-auth`";

/// What a plugin of APISIX's is that is not here, and what to do instead; none if it is none.
pub(in crate::declarative) fn instead(name: &str) -> Option<(String, String)> {
    if let Some(name) = name.strip_prefix("apisix/") {
        let what = format!("APISIX's '{name}' with these settings cannot be had here");
        return Some((what, "see what is said of them".to_owned()));
    }
    if !ALL.split_whitespace().any(|known| known == name) {
        return None;
    }
    let known = INSTEAD.iter().find(|(known, _)| *known == name);
    let remedy = known.map_or("do without it", |(_, remedy)| remedy);
    Some((
        format!("the plugin '{name}' of APISIX's is not here"),
        remedy.to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_about_plugins_that_are_not_here() {
        for (name, _) in INSTEAD {
            assert!(instead(name).is_some(), "{name}");
        }
        for (name, _) in super::super::KNOWN {
            assert!(instead(name).is_none(), "{name}");
        }
        assert!(instead("fsc").is_none());
        assert!(instead("kafka-logger").unwrap().1.contains("http-logger"));
        assert!(instead("apisix/acl").is_some());
    }
}
