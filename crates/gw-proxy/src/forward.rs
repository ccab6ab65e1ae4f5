//! What is added to and taken from requests on their way up and responses on their way down.

pub(crate) mod told;

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gw_core::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, SERVER,
    TRANSFER_ENCODING, VIA,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version, request, response};
use http_body::Body as _;

use crate::body::{Content, RequestBody};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::hop;
use crate::path;
use crate::second_reading::{self, Treacherous};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-kong-request-id");
const UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
const PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
const RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");

/// What the gateway calls itself.
pub(crate) const SERVER_TEXT: &str = concat!("gw/", env!("CARGO_PKG_VERSION"));
const SERVER_VALUE: HeaderValue = HeaderValue::from_static(SERVER_TEXT);
const VIA_11: HeaderValue = HeaderValue::from_static(told::via(Version::HTTP_11));
const KEEP_ALIVE: HeaderValue = HeaderValue::from_static("keep-alive");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// A request's path as it is matched.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The normal form, where the URI cannot hold it as it is.
    pub(crate) normal: Option<String>,
    /// The path as another server may read it, where that is another one.
    pub(crate) second: Option<String>,
}

impl Inbound {
    /// How long the first bytes of the normal form are in the URI.
    pub(crate) fn encoded_len(&self, matched: &str) -> usize {
        let encoded = self.normal.as_ref().and_then(|_| path::encoded_len(matched));
        encoded.unwrap_or(matched.len())
    }
}

/// Takes a request in.
pub(crate) fn inbound(head: &mut request::Parts, exchange: &mut Exchange) -> Result<Inbound, Failure> {
    let limit = exchange.about.conn.gateway.settings().limits.target;
    settle(head, limit, &mut exchange.about.host)
}

/// Refuses what cannot be served, such as a target longer than `limit`, brings the path into normal form, and takes
/// out what only the gateway may say and what is meant for this connection only. The host is kept as soon as it is known.
pub(crate) fn settle(
    head: &mut request::Parts,
    limit: usize,
    host: &mut Option<HeaderValue>,
) -> Result<Inbound, Failure> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::MethodNotAllowed);
    }
    if head
        .uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > limit)
    {
        return Err(Failure::UriTooLong);
    }
    if hop::is_coded(&head.headers) {
        return Err(Failure::BadRequest);
    }
    *host = settle_host(head)?;
    let inbound = settle_path(head)?;
    hop::strip_request(&mut head.headers);
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    Ok(inbound)
}

/// The host a request is for: of an absolute target, else of the header, which there must be exactly one of.
fn settle_host(head: &mut request::Parts) -> Result<Option<HeaderValue>, Failure> {
    if head.headers.get_all(HOST).iter().count() > 1 {
        return Err(Failure::BadRequest);
    }
    if let Some(authority) = head.uri.authority() {
        // A target that is only an authority is `CONNECT`'s.
        let is_http = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
        if !head.uri.scheme().is_some_and(is_http) || authority.as_str().contains('@') {
            return Err(Failure::BadRequest);
        }
        // Note: HTTP/1.1 has the target win over the header.
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::BadRequest)?;
        head.uri = uri(&[head.uri.path(), "", ""], head.uri.query())?;
        head.headers.insert(HOST, host);
    }
    match head.headers.get(HOST) {
        Some(host) if is_host(host.as_bytes()) => Ok(Some(host.clone())),
        None if head.version == Version::HTTP_10 => Ok(None),
        _ => Err(Failure::BadRequest),
    }
}

/// HTTP/2 may part the cookies, HTTP/1 has them in one header.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// A name or an address, and a port if there is one. Of an IPv6 address the brackets tell where the port begins.
fn is_host(host: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._%~!$&'()*+;=".contains(byte);
    let is_v6 = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let after_name = host.iter().position(|byte| !is_name(byte)).unwrap_or(host.len());
    let port = match host.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|byte| !is_v6(byte)) {
            Some(end) if end > 0 && rest[end] == b']' => rest.get(end + 1..),
            _ => None,
        },
        None if after_name > 0 => host.get(after_name..),
        None => None,
    };
    let is_port = |port: &[u8]| {
        let digits = port
            .strip_prefix(b":")
            .and_then(|digits| str::from_utf8(digits).ok());
        let in_range = |digits: &str| {
            digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        };
        port.is_empty() || digits.is_some_and(in_range)
    };
    port.is_some_and(is_port)
}

/// What is matched is what plugins see is what goes upstream.
fn settle_path(head: &mut request::Parts) -> Result<Inbound, Failure> {
    match head.uri.path_and_query().map(PathAndQuery::as_str) {
        Some(target) if target.starts_with('/') => {}
        Some("*") if head.method == Method::OPTIONS => return Err(Failure::MethodNotAllowed),
        _ => return Err(Failure::BadRequest),
    }
    let normal = gw_router::normalize(head.uri.path()).map_err(|_| Failure::BadRequest)?;
    let second = second_reading::read(&normal).map_err(|Treacherous| Failure::BadRequest)?;
    let encoded = path::encoded_len(&normal).map(|_| path::encode(&normal));
    let written = match (&encoded, &normal) {
        (Some(encoded), _) => encoded.as_str(),
        (None, std::borrow::Cow::Owned(normal)) => normal.as_str(),
        (None, std::borrow::Cow::Borrowed(_)) => return Ok(Inbound { normal: None, second }),
    };
    let target = uri(&[written, "", ""], head.uri.query())?;
    let inbound = Inbound {
        normal: encoded.is_some().then(|| normal.into_owned()),
        second,
    };
    head.uri = target;
    Ok(inbound)
}

fn uri(pieces: &path::Pieces<'_>, query: Option<&str>) -> Result<Uri, Failure> {
    let target = PathAndQuery::from_maybe_shared(path::write(pieces, query));
    target.map(Uri::from).map_err(|_| Failure::BadRequest)
}

/// Makes the request for the upstream: all but `Host`, which depends on the target that is picked.
pub(crate) fn upstream(
    exchange: &mut Exchange,
    mut head: request::Parts,
    body: RequestBody,
) -> Result<Request<RequestBody>, Failure> {
    exchange.told_apart = told::is_apart(exchange, &head.headers, &body).then_some(head.version);
    let exchange = &*exchange;
    let Some(route) = &exchange.about.route else {
        return Err(Failure::NoRoute);
    };
    let Some(service) = &exchange.about.service else {
        return Err(Failure::NoService);
    };
    use Protocol::{Grpc, Grpcs, Http, Https};
    if !matches!(service.service.target.protocol, Http | Https | Grpc | Grpcs) {
        return Err(Failure::UnsupportedProtocol);
    }
    let (route, base) = (
        &route.route,
        service.service.target.path.as_deref().unwrap_or("/"),
    );
    if exchange.told_apart.is_none() {
        head.headers.reserve(12); // for what follows, at once
    }
    let path = head.uri.path();
    let prefix = exchange.matched.and_then(|matched| path.get(..matched));
    if !(exchange.about.conn.trusted && head.headers.contains_key(FORWARDED_PREFIX)) {
        set_prefix(
            &mut head.headers,
            prefix.filter(|prefix| route.strip_path && *prefix != "/"),
        );
    }
    if let Some(path) = &exchange.steering.path {
        if path.split('/').any(second_reading::climbs) {
            return Err(Failure::BadRequest); // a plugin has put together what climbs
        }
        head.uri = uri(&[path, "", ""], head.uri.query())?;
    } else {
        let rest = exchange
            .matched
            .filter(|_| route.strip_path)
            .and_then(|matched| path.get(matched..));
        if rest.is_some_and(second_reading::climbs) {
            return Err(Failure::BadRequest); // the prefix ended in the middle of a segment
        }
        let pieces = path::join(
            route.path_handling,
            route.strip_path,
            base,
            path,
            exchange.matched,
        );
        if !path::is_same(&pieces, path) {
            head.uri = uri(&pieces, head.uri.query())?;
        }
    }
    head.headers.remove(EXPECT); // The gateway answers that itself; plugins may have asked for it.
    if exchange.told_apart.is_none() {
        forwarded(exchange, &mut head.headers);
        let via = HeaderValue::from_static(told::via(head.version));
        head.headers.append(VIA, via);
        head.headers.insert(CONNECTION, KEEP_ALIVE);
    }
    head.version = Version::HTTP_11;
    match (&exchange.steering.host, &exchange.about.host) {
        (Some(host), _) => head.headers.insert(HOST, host.clone()),
        (None, Some(host)) if route.preserve_host => head.headers.insert(HOST, host.clone()),
        _ => head.headers.remove(HOST),
    };
    frame(&mut head.headers, &body);
    if let Some(upgrade) = &exchange.upgrade {
        upgrade.ask(&mut head.headers);
    }
    Ok(Request::from_parts(head, body))
}

/// Makes of a request for HTTP/1 one for HTTP/2, where the host stands in the target; false if it cannot stand there.
pub(crate) fn to_http2(request: &mut Request<RequestBody>, secure: bool) -> bool {
    let host = request.headers().get(HOST);
    let Some(authority) = host.and_then(|host| Authority::try_from(host.as_bytes()).ok()) else {
        return false;
    };
    request.headers_mut().remove(HOST);
    for name in [CONNECTION, TRANSFER_ENCODING] {
        request.headers_mut().remove(name);
    }
    *request.version_mut() = Version::HTTP_2;
    let target = request.uri().path_and_query().cloned();
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = target.or_else(|| Some(PathAndQuery::from_static("/")));
    let uri = Uri::from_parts(parts);
    uri.map(|uri| *request.uri_mut() = uri).is_ok()
}

/// Undoes that, as far as it matters for another try.
pub(crate) fn from_http2(request: &mut Request<RequestBody>) {
    let Some(authority) = request.uri().authority() else {
        return;
    };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(target) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(target);
    }
}

fn set_prefix(headers: &mut HeaderMap, prefix: Option<&str>) {
    match prefix.and_then(|prefix| HeaderValue::from_str(prefix).ok()) {
        Some(prefix) => headers.insert(FORWARDED_PREFIX, prefix),
        None => headers.remove(FORWARDED_PREFIX),
    };
}

/// Of what a client says of earlier hops only the list of addresses is continued, unless it is trusted: then all of it stays.
fn forwarded(exchange: &Exchange, headers: &mut HeaderMap) {
    let conn = &exchange.about.conn;
    let chain = headers.get(FORWARDED_FOR).map(|_| {
        let mut text = BytesMut::new();
        for value in headers.get_all(FORWARDED_FOR) {
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(conn.client_value.as_bytes());
        HeaderValue::from_maybe_shared(text.freeze()).unwrap_or_else(|_| conn.client_value.clone())
    });
    let client = exchange.about.client_value();
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|| client.clone()));
    headers.insert(REAL_IP, client.clone());
    let stays = |headers: &HeaderMap, name: HeaderName| conn.trusted && headers.contains_key(name);
    if !stays(headers, FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(conn.scheme.as_str()));
    }
    if !stays(headers, FORWARDED_PORT) {
        headers.insert(FORWARDED_PORT, conn.port_value.clone());
    }
    if !stays(headers, FORWARDED_HOST) {
        match exchange.about.host.as_ref().and_then(forwarded_host) {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
    if !stays(headers, FORWARDED_PATH) {
        headers.insert(FORWARDED_PATH, forwarded_path(exchange.about.target.as_ref()));
    }
    if conn.gateway.asks_for_certificates() || exchange.about.snapshot.requires_certificates() {
        conn.tls.tell(headers);
    }
    headers.insert(REQUEST_ID, exchange.about.id.clone());
}

/// The host without its port, in lower case.
fn forwarded_host(host: &HeaderValue) -> Option<HeaderValue> {
    let text = host.to_str().ok()?;
    let bare = without_port(text);
    if bare.len() == text.len() && !bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(host.clone());
    }
    HeaderValue::try_from(bare.to_ascii_lowercase()).ok()
}

fn forwarded_path(target: Option<&PathAndQuery>) -> HeaderValue {
    const ROOT: HeaderValue = HeaderValue::from_static("/");
    match target.map_or("/", PathAndQuery::path) {
        "/" => ROOT,
        path => HeaderValue::from_bytes(path.as_bytes()).unwrap_or(ROOT),
    }
}

/// A host as it stands in `Host`, without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !bare.ends_with(':') => bare,
        _ => host,
    }
}

/// Frames the body as it is now, whatever the client's framing was.
fn frame(headers: &mut HeaderMap, body: &RequestBody) {
    match (body, body.size_hint().exact()) {
        // Whatever is declared of it, an empty body has no length but this.
        (RequestBody::Empty, _) => {
            headers.remove(TRANSFER_ENCODING);
            if headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        (_, Some(length)) => {
            headers.remove(TRANSFER_ENCODING);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        (_, None) => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, CHUNKED);
        }
    }
}

/// What a response from an upstream says of its way through the gateway.
pub(crate) fn proxied(exchange: &Exchange, head: &mut response::Parts) {
    let upstream = exchange.upstream_time().unwrap_or_default().as_millis();
    let answered = exchange.answered.unwrap_or(exchange.about.begun);
    let total = answered
        .saturating_duration_since(exchange.about.begun)
        .as_millis();
    head.version = Version::HTTP_11;
    let headers = &mut head.headers;
    headers.reserve(5);
    headers.insert(UPSTREAM_LATENCY, number(upstream));
    headers.insert(PROXY_LATENCY, number(total.saturating_sub(upstream)));
    headers.append(VIA, VIA_11);
    headers.insert(REQUEST_ID, exchange.about.id.clone());
    headers.entry(SERVER).or_insert(SERVER_VALUE);
}

/// What an answer made by the gateway or a plugin says of itself.
pub(crate) fn made(exchange: &Exchange, headers: &mut HeaderMap) {
    let total = Instant::now()
        .saturating_duration_since(exchange.about.begun)
        .as_millis();
    headers.insert(RESPONSE_LATENCY, number(total));
    headers.insert(REQUEST_ID, exchange.about.id.clone());
    headers.insert(SERVER, SERVER_VALUE);
}

/// An answer of the gateway in gRPC's words, as Kong says it: nothing but headers, among them what it means.
pub(crate) fn grpc_status(response: Response<Content>) -> Response<Content> {
    let (mut head, _) = response.into_parts();
    let status = match head.status.as_u16() {
        200..300 => "0",
        401 => "16",
        403 => "7",
        404 => "5",
        409 => "6",
        429 => "8",
        499 => "1",
        400..500 => "3",
        501 => "12",
        503 => "14",
        504 => "4",
        500..600 => "13",
        _ => "2",
    };
    let message = head.status.canonical_reason().unwrap_or_default();
    let headers = &mut head.headers;
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers
        .entry("grpc-status")
        .or_insert(HeaderValue::from_static(status));
    headers
        .entry("grpc-message")
        .or_insert(HeaderValue::from_static(message));
    Response::from_parts(head, Content::Bytes(Bytes::new()))
}

/// Lays a plugin's headers over the gateway's: a name of the plugin's replaces ours, repeated ones all stay.
pub(crate) fn merge(headers: &mut HeaderMap, more: HeaderMap) {
    let mut last = None;
    for (name, value) in more {
        match name {
            Some(name) => {
                headers.insert(name.clone(), value);
                last = Some(name);
            }
            None => {
                if let Some(name) = &last {
                    headers.append(name.clone(), value);
                }
            }
        }
    }
}

fn number(number: u128) -> HeaderValue {
    match number {
        // Most are these, and cost nothing.
        0 => HeaderValue::from_static("0"),
        1 => HeaderValue::from_static("1"),
        2 => HeaderValue::from_static("2"),
        _ => HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests;
