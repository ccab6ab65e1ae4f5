//! Everything that can go wrong with a request, and what the client is told: the only place where a status is chosen.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, LOCATION, RETRY_AFTER, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::document::{self, document};

/// Why a request was not answered by its upstream or by a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// What came is not a request that can be served.
    #[error("the request is malformed")]
    BadRequest,
    /// Its target is too long.
    #[error("the request's target is too long")]
    UriTooLong,
    /// Its head is too large.
    #[error("the request's head is too large")]
    HeadTooLarge,
    /// It has too many headers.
    #[error("the request has too many headers")]
    TooManyHeaders,
    /// The client has shown no certificate, and must.
    #[error("the client has shown no certificate")]
    ClientCertificateRequired,
    /// The client's certificate is not believed.
    #[error("the client's certificate is not believed")]
    ClientCertificateInvalid,
    /// A method that no gateway serves.
    #[error("the method is not served here")]
    MethodNotAllowed,
    /// Its body is larger than a plugin takes.
    #[error("the request's body is larger than a plugin takes")]
    PayloadTooLarge,
    /// Its body is larger than the gateway takes.
    #[error("the request's body is larger than the gateway takes")]
    BodyTooLarge,
    /// Its body is larger than a plugin lets pass.
    #[error("the request's body is larger than a plugin lets pass")]
    BodyOverLimit,
    /// There are as many connections as there may be.
    #[error("there are as many connections as there may be")]
    TooManyConnections,
    /// There are as many connections from this address as there may be.
    #[error("there are as many connections from this address as there may be")]
    TooManyFromAddress,
    /// As many requests are in flight as may be.
    #[error("as many requests are in flight as may be")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// Memory is short, so that few requests are served at once.
    #[error("memory is short")]
    LowMemory {
        /// When to try again.
        retry_after: Duration,
    },
    /// As many bytes of request bodies are held as may be.
    #[error("as many bytes of request bodies are held as may be")]
    BuffersFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// Its body broke off.
    #[error("the client went away while it sent the body")]
    ClientBody,
    /// Its body stalled.
    #[error("the client stalled while it sent the body")]
    ClientTimeout,
    /// No route matches.
    #[error("no route matches")]
    NoRoute,
    /// The route takes https only, and this came as http.
    #[error("the route takes https only")]
    HttpsRequired {
        /// 426, or a redirect.
        status: StatusCode,
        /// Where to, if it is a redirect.
        location: Option<HeaderValue>,
    },
    /// A gRPC request came over HTTP/1.
    #[error("gRPC needs HTTP/2")]
    Http2Required,
    /// The route takes gRPC over TLS only.
    #[error("the route takes gRPC over TLS only")]
    GrpcsRequired,
    /// The route takes gRPC only.
    #[error("the route takes gRPC only")]
    NotGrpc,
    /// The route has no service, and no plugin answered.
    #[error("the route has no service, and no plugin answered")]
    NoService,
    /// A plugin made it for a request that a plugin made, and so on, too often.
    #[error("the request is a part of a part, too many times over")]
    TooDeep,
    /// The upstream's answer is larger than a plugin takes that wants all of it.
    #[error("the response's body is larger than a plugin takes")]
    ResponseTooLarge,
    /// The service speaks a protocol that is not served yet.
    #[error("the service speaks a protocol that cannot be proxied")]
    UnsupportedProtocol,
    /// The upstream has no target that can be picked.
    #[error("the upstream has no target that can be picked")]
    NoPeer,
    /// All targets that could be picked have as many requests in flight as they may.
    #[error("the upstream's targets have as many requests in flight as they may")]
    UpstreamBusy,
    /// The service's host has no address.
    #[error("the service's host has no address")]
    NameResolution,
    /// No connection could be opened.
    #[error("no connection to the upstream could be opened")]
    ConnectFailed,
    /// The service leads to the gateway itself.
    #[error(
        "the service leads to the gateway's own address; allow it with --allow-admin-upstream or --allow-proxy-upstream"
    )]
    OwnAddress,
    /// Opening a connection took too long.
    #[error("connecting to the upstream took too long")]
    ConnectTimeout,
    /// The upstream and the gateway do not agree on TLS: it has no certificate that is believed, or wants one.
    #[error(
        "no TLS with the upstream: its certificate is not believed, or it wants another from the gateway"
    )]
    UpstreamTls,
    /// The connection broke before the response's head.
    #[error("the upstream's connection broke")]
    UpstreamBroken,
    /// A connection that had served before was closed, and nothing of the answer had come.
    #[error("the upstream closed a connection that it had kept")]
    UpstreamClosed,
    /// What came back is not HTTP.
    #[error("the upstream's response is not HTTP")]
    BadResponse,
    /// The upstream did not answer, or did not take the request, in time.
    #[error("the upstream did not answer in time")]
    UpstreamTimeout,
    /// A plugin panicked.
    #[error("a plugin panicked")]
    PluginPanicked,
    /// A bug of the gateway.
    #[error("the gateway failed")]
    Internal,
}

/// Whose fault a [`Failure`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client's.
    Client,
    /// The upstream application's.
    Upstream,
    /// The gateway's, or of its configuration.
    Gateway,
}

impl Failure {
    /// The status the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest
            | Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::ClientBody
            | Self::ClientCertificateRequired
            | Self::ClientCertificateInvalid => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge | Self::BodyTooLarge | Self::BodyOverLimit => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyFromAddress => StatusCode::TOO_MANY_REQUESTS,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::HttpsRequired { status, .. } => *status,
            Self::Http2Required => StatusCode::UPGRADE_REQUIRED,
            Self::GrpcsRequired => StatusCode::OK, // as in Kong: gRPC's own status says what is wrong
            Self::NotGrpc => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoService
            | Self::NoPeer
            | Self::UpstreamBusy
            | Self::NameResolution
            | Self::TooManyConnections
            | Self::Overloaded { .. }
            | Self::LowMemory { .. }
            | Self::BuffersFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnsupportedProtocol
            | Self::ConnectFailed
            | Self::OwnAddress
            | Self::UpstreamTls
            | Self::UpstreamClosed
            | Self::UpstreamBroken
            | Self::ResponseTooLarge
            | Self::BadResponse => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::TooDeep => StatusCode::LOOP_DETECTED,
            Self::PluginPanicked | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A name that does not change: what logs, metrics and alerts go by.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::ClientCertificateRequired => "client_certificate_required",
            Self::ClientCertificateInvalid => "client_certificate_invalid",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyOverLimit => "body_over_limit",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::Overloaded { .. } => "overloaded",
            Self::LowMemory { .. } => "low_memory",
            Self::BuffersFull { .. } => "buffers_full",
            Self::ClientBody => "client_body",
            Self::ClientTimeout => "client_timeout",
            Self::NoRoute => "no_route",
            Self::HttpsRequired { .. } => "https_required",
            Self::Http2Required => "http2_required",
            Self::GrpcsRequired => "grpcs_required",
            Self::NotGrpc => "not_grpc",
            Self::NoService => "no_service",
            Self::TooDeep => "too_deep",
            Self::UnsupportedProtocol => "unsupported_protocol",
            Self::NoPeer => "no_peer",
            Self::UpstreamBusy => "upstream_busy",
            Self::NameResolution => "name_resolution",
            Self::ConnectFailed => "connect_failed",
            Self::OwnAddress => "own_address",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamTls => "upstream_tls",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamBroken => "upstream_broken",
            Self::BadResponse => "bad_response",
            Self::ResponseTooLarge => "response_too_large",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::PluginPanicked => "plugin_panicked",
            Self::Internal => "internal",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::UpstreamTls
            | Self::UpstreamClosed
            | Self::UpstreamBroken
            | Self::BadResponse
            | Self::UpstreamTimeout => Fault::Upstream,
            Self::NoService
            | Self::UnsupportedProtocol
            | Self::NoPeer
            | Self::UpstreamBusy
            | Self::NameResolution
            | Self::OwnAddress
            | Self::ResponseTooLarge
            | Self::TooDeep
            | Self::TooManyConnections
            | Self::Overloaded { .. }
            | Self::LowMemory { .. }
            | Self::BuffersFull { .. }
            | Self::PluginPanicked
            | Self::Internal => Fault::Gateway,
            _ => Fault::Client,
        }
    }

    /// Whether the same request may fare better at another target.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.fault() == Fault::Upstream
    }

    fn message(&self) -> &'static str {
        match self {
            Self::BadRequest | Self::ClientBody => "Bad request",
            Self::UriTooLong => "URI too long",
            Self::HeadTooLarge => "Request header or cookie too large",
            Self::TooManyHeaders => "Too many request headers",
            Self::ClientCertificateRequired => "No required SSL certificate was sent",
            Self::ClientCertificateInvalid => "The SSL certificate error",
            Self::MethodNotAllowed => "Method not allowed",
            Self::PayloadTooLarge | Self::BodyTooLarge => "Payload too large",
            Self::BodyOverLimit => "Request size limit exceeded",
            Self::TooManyConnections => "Too many connections",
            Self::TooManyFromAddress => "Too many connections from this address",
            Self::Overloaded { .. } | Self::LowMemory { .. } | Self::BuffersFull { .. } => {
                "The gateway is overloaded"
            }
            Self::ClientTimeout => "Request timeout",
            Self::NoRoute => "no Route matched with those values",
            Self::HttpsRequired { .. } => "Please use HTTPS protocol",
            Self::Http2Required => "Please use HTTP2 protocol",
            Self::GrpcsRequired => "gRPC request matched gRPCs route",
            Self::NotGrpc => "Non-gRPC request matched gRPC route",
            Self::NoService => "no Service found with those values",
            Self::NoPeer => "failure to get a peer from the ring-balancer",
            Self::UpstreamBusy => "the upstream server has as many requests as it may take",
            Self::NameResolution => "name resolution failed",
            Self::OwnAddress => "the service leads to the gateway itself",
            Self::TooDeep => "The request leads to itself",
            Self::ResponseTooLarge => "The response is larger than a plugin takes",
            Self::UnsupportedProtocol
            | Self::ConnectFailed
            | Self::UpstreamTls
            | Self::UpstreamClosed
            | Self::UpstreamBroken
            | Self::BadResponse => "An invalid response was received from the upstream server",
            Self::ConnectTimeout | Self::UpstreamTimeout => "The upstream server is timing out",
            Self::PluginPanicked | Self::Internal => "An unexpected error occurred",
        }
    }

    /// The answer to the client, without the headers every answer of the gateway has.
    pub(crate) fn response(&self, accept: Option<&HeaderValue>, request_id: &str) -> Response<Bytes> {
        let mut response = document(self.status(), self.message(), accept, request_id);
        let headers = response.headers_mut();
        match self {
            Self::HttpsRequired {
                location: Some(location),
                ..
            } => {
                headers.insert(LOCATION, location.clone());
            }
            Self::HttpsRequired { .. } => upgrade(headers, "TLS/1.2, HTTP/1.1"),
            Self::Http2Required => upgrade(headers, "HTTP/2"),
            Self::GrpcsRequired => {
                headers.insert("grpc-status", HeaderValue::from_static("1"));
                headers.insert("grpc-message", HeaderValue::from_static(self.message()));
            }
            // The rest of the request is not going to be read.
            Self::ClientTimeout
            | Self::ClientBody
            | Self::BodyTooLarge
            | Self::BodyOverLimit
            | Self::BadRequest => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Overloaded { retry_after }
            | Self::LowMemory { retry_after }
            | Self::BuffersFull { retry_after } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(*retry_after)));
            }
            // Behind `CONNECT` there may be anything but a request.
            Self::MethodNotAllowed => {
                headers.insert(
                    ALLOW,
                    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
                );
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// Seconds as `Retry-After` has them, at least one.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    seconds.max(1)
}

fn upgrade(headers: &mut HeaderMap, to: &'static str) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(to));
}

/// The answer to a head that could not even be parsed.
pub(crate) fn bare(failure: &Failure, request_id: &str) -> Bytes {
    document::plain(failure.message(), request_id)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn body(accept: Option<&'static str>) -> (String, String) {
        let accept = accept.map(HeaderValue::from_static);
        let response = Failure::NoRoute.response(accept.as_ref(), "8f3c");
        let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        (
            content_type,
            String::from_utf8(response.into_body().to_vec()).unwrap(),
        )
    }

    #[test]
    fn the_document_is_json_unless_something_else_is_preferred() {
        let json = "{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"8f3c\"\n}";
        for accept in [
            None,
            Some("*/*"),
            Some("image/png"),
            Some("text/plain;q=0.5, application/json"),
        ] {
            let (content_type, body) = body(accept);
            assert_eq!(content_type, "application/json; charset=utf-8", "{accept:?}");
            assert_eq!(body, json, "{accept:?}");
        }
    }

    #[test]
    fn the_document_follows_accept() {
        let (content_type, text) = body(Some("text/plain"));
        assert_eq!(content_type, "text/plain; charset=utf-8");
        assert_eq!(text, "no Route matched with those values\nrequest_id: 8f3c\n");
        let (content_type, text) = body(Some(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ));
        assert_eq!(content_type, "text/html; charset=utf-8");
        assert!(
            text.contains("<p>no Route matched with those values.</p>"),
            "{text}"
        );
        let (content_type, text) = body(Some("application/xml"));
        assert_eq!(content_type, "application/xml; charset=utf-8");
        assert!(text.contains("<requestid>8f3c</requestid>"), "{text}");
    }

    #[test]
    fn an_upgrade_is_asked_for_or_a_redirect_made() {
        let status = StatusCode::UPGRADE_REQUIRED;
        let response = Failure::HttpsRequired {
            status,
            location: None,
        }
        .response(None, "");
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()[UPGRADE], "TLS/1.2, HTTP/1.1");
        assert_eq!(response.headers()[CONNECTION], "Upgrade");
        let location = Some(HeaderValue::from_static("https://a/b"));
        let response = Failure::HttpsRequired {
            status: StatusCode::FOUND,
            location,
        }
        .response(None, "");
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()[LOCATION].to_str().unwrap()
            ),
            (302, "https://a/b")
        );
    }
}
