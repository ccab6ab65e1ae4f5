//! What an upstream is told beside what the client sent, where the gateway writes the head itself.
//!
//! Few clients send such headers of their own. Where none did, nothing has to be replaced, so nothing is looked up: what is told
//! goes straight into the head, most of it in one piece that a connection's requests share.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Version};

use super::without_port;
use crate::attempt;
use crate::body::RequestBody;
use crate::conn::Conn;
use crate::exchange::Exchange;

/// Whether what the upstream is told need not be in the table of headers: the gateway writes the head, nothing in the table
/// has one of the names, and nobody wants to see them there.
pub(super) fn is_apart(exchange: &Exchange, headers: &HeaderMap, body: &RequestBody) -> bool {
    let about = &exchange.about;
    let service = about.service.as_deref();
    service.is_some_and(|service| attempt::is_direct(exchange, service, body))
        && about.real.is_none()
        && !exchange.is_recorded()
        && !about.conn.gateway.asks_for_certificates()
        && !about.snapshot.requires_certificates()
        && !headers.keys().any(|name| is_told(name.as_str()))
}

/// Whether it may be one of the names that are told.
fn is_told(name: &str) -> bool {
    match name.as_bytes() {
        [b'x', b'-', rest @ ..] => [&b"forwarded-"[..], b"real-ip", b"kong-request-id"]
            .iter()
            .any(|start| rest.starts_with(start)),
        name => name == b"via" || name == b"connection",
    }
}

/// How the gateway names itself to an upstream when a client has spoken this version of HTTP.
pub(super) const fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => concat!("1.0 gw/", env!("CARGO_PKG_VERSION")),
        Version::HTTP_2 => concat!("2 gw/", env!("CARGO_PKG_VERSION")),
        _ => concat!("1.1 gw/", env!("CARGO_PKG_VERSION")),
    }
}

/// The lines that are the same for all requests of a connection.
pub(crate) fn shared(conn: &Conn) -> Box<[u8]> {
    let mut lines = Vec::with_capacity(192);
    let client = conn.client_value.as_bytes();
    let pieces: [&[u8]; 9] = [
        b"x-forwarded-for: ",
        client,
        b"\r\nx-real-ip: ",
        client,
        b"\r\nx-forwarded-proto: ",
        conn.scheme.as_str().as_bytes(),
        b"\r\nx-forwarded-port: ",
        conn.port_value.as_bytes(),
        b"\r\nconnection: keep-alive\r\n",
    ];
    for piece in pieces {
        lines.extend_from_slice(piece);
    }
    lines.into()
}

/// Appends what the upstream is told of the exchange, if that is not in the table.
pub(crate) fn write(exchange: &Exchange, out: &mut Vec<u8>) {
    let Some(spoken) = exchange.told_apart else {
        return;
    };
    let about = &exchange.about;
    out.extend_from_slice(about.conn.told());
    if let Some(host) = &about.host {
        write_host(host, out);
    }
    let pieces: [&[u8]; 7] = [
        b"x-forwarded-path: ",
        path(about.target.as_ref()),
        b"\r\nvia: ",
        via(spoken).as_bytes(),
        b"\r\nx-kong-request-id: ",
        about.id.as_bytes(),
        b"\r\n",
    ];
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// The path as a header can hold it: a target may have a byte that no header may have.
fn path(target: Option<&PathAndQuery>) -> &[u8] {
    let path = target.map_or("/", PathAndQuery::path).as_bytes();
    if path.contains(&0x7f) { b"/" } else { path }
}

/// The host without its port, in lower case.
fn write_host(host: &HeaderValue, out: &mut Vec<u8>) {
    let Ok(text) = host.to_str() else { return };
    out.extend_from_slice(b"x-forwarded-host: ");
    let start = out.len();
    out.extend_from_slice(without_port(text).as_bytes());
    if let Some(written) = out.get_mut(start..) {
        written.make_ascii_lowercase();
    }
    out.extend_from_slice(b"\r\n");
}
