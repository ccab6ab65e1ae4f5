//! The plugins of this crate: one line each.

use crate::registry::Registry;

pub(crate) mod acl;
pub(crate) mod aggregate;
pub(crate) mod basic_auth;
pub(crate) mod batch_requests;
pub(crate) mod bot_detection;
pub(crate) mod correlation_id;
pub(crate) mod cors;
pub(crate) mod file_log;
pub(crate) mod forward_auth;
pub(crate) mod hmac_auth;
pub(crate) mod http_log;
pub(crate) mod ip_restriction;
pub(crate) mod jwt;
pub(crate) mod key_auth;
pub(crate) mod limit_conn;
pub(crate) mod limit_count;
pub(crate) mod limit_req;
pub(crate) mod opentelemetry;
pub(crate) mod prometheus;
pub(crate) mod proxy_cache;
pub(crate) mod proxy_rewrite;
pub(crate) mod rate_limiting;
pub(crate) mod redirect;
pub(crate) mod request_size_limiting;
pub(crate) mod request_termination;
pub(crate) mod request_transformer;
pub(crate) mod request_validation;
pub(crate) mod response_ratelimiting;
pub(crate) mod response_transformer;
pub(crate) mod syslog;
pub(crate) mod tcp_log;
pub(crate) mod traffic_split;
pub(crate) mod ua_restriction;
pub(crate) mod udp_log;

// What several of them share.
mod auth;
mod composition;
mod edit;
mod keeping;
mod user_agents;

/// By falling priority.
pub(crate) fn all() -> Registry {
    Registry::new()
        .with::<correlation_id::CorrelationId>()
        .with::<bot_detection::BotDetection>()
        .with::<ua_restriction::UaRestriction>()
        .with::<cors::Cors>()
        .with::<jwt::Jwt>()
        .with::<key_auth::KeyAuth>()
        .with::<basic_auth::BasicAuth>()
        .with::<hmac_auth::HmacAuth>()
        .with_waiting::<forward_auth::ForwardAuth>()
        .with::<proxy_rewrite::ProxyRewrite>()
        .with::<request_validation::RequestValidation>()
        .with::<ip_restriction::IpRestriction>()
        .with::<traffic_split::TrafficSplit>()
        .with::<request_size_limiting::RequestSizeLimiting>()
        .with::<acl::Acl>()
        .with_waiting::<rate_limiting::RateLimiting>()
        .with_waiting::<limit_conn::LimitConn>()
        .with_waiting::<limit_count::LimitCount>()
        .with_waiting::<limit_req::LimitReq>()
        .with_waiting::<response_ratelimiting::ResponseRatelimiting>()
        .with::<request_transformer::RequestTransformer>()
        .with::<response_transformer::ResponseTransformer>()
        .with::<redirect::Redirect>()
        .with_waiting::<proxy_cache::ProxyCache>()
        .with::<opentelemetry::Opentelemetry>()
        .with::<prometheus::Prometheus>()
        .with::<http_log::HttpLog>()
        .with::<file_log::FileLog>()
        .with::<udp_log::UdpLog>()
        .with::<tcp_log::TcpLog>()
        .with::<syslog::Syslog>()
        .with::<request_termination::RequestTermination>()
        .with_waiting::<batch_requests::BatchRequests>()
        .with_waiting::<aggregate::Aggregate>()
}
