//! A probe over gRPC: one call of `grpc.health.v1.Health/Check` on an HTTP/2 connection of its own.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use gw_core::Probe;
use http::header::{CONTENT_TYPE, HOST, TE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::probe::finding::{Finding, Found};

/// Asks whether the probe's service is serving.
pub(super) async fn check<S>(stream: S, probe: &Probe, host: &HeaderValue, limit: Duration) -> Found
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = match http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await {
        Ok(pair) => pair,
        Err(error) => return Found::because(Finding::Broken, error),
    };
    let Some(request) = request(probe, host, limit) else {
        return Found::because(Finding::Broken, "its Host header is no authority");
    };
    let asked = async {
        match sender.send_request(request).await {
            Ok(response) => read(response).await,
            Err(error) => Found::because(Finding::Broken, error),
        }
    };
    tokio::pin!(asked);
    tokio::select! {
        found = &mut asked => found,
        // Then what it has read is the answer, or why there is none.
        _ended = connection => asked.await,
    }
}

/// The call; none if the host cannot be the authority of a URL.
fn request(probe: &Probe, host: &HeaderValue, limit: Duration) -> Option<Request<Full<Bytes>>> {
    let host = probe.headers.get(HOST).unwrap_or(host);
    let scheme = if probe.kind.is_tls() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host.as_bytes())
        .path_and_query("/grpc.health.v1.Health/Check")
        .build()
        .ok()?;
    let mut request = Request::new(Full::new(question(&probe.service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.extend(probe.headers.clone());
    headers.remove(HOST); // it is the authority
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // The server need not go on when nobody waits any more. Bound: the format has room for eight digits.
    let millis = limit.as_millis().min(99_999_999);
    headers.insert("grpc-timeout", HeaderValue::try_from(format!("{millis}m")).ok()?);
    Some(request)
}

/// Bound: bytes of an answer. A real one has seven.
const LONGEST: usize = 64 << 10;

async fn read(response: Response<Incoming>) -> Found {
    let (head, body) = response.into_parts();
    if head.status != http::StatusCode::OK {
        return Found::because(
            Finding::NotServing,
            format_args!("HTTP status {}", head.status.as_u16()),
        );
    }
    // An answer without a body has it among its headers.
    if let Some(status) = status(&head.headers) {
        return refused(status);
    }
    let body = match Limited::new(body, LONGEST).collect().await {
        Ok(body) => body,
        Err(error) => return Found::because(Finding::Broken, error),
    };
    match body.trailers().and_then(status) {
        Some("0") => {}
        Some(code) => return refused(code),
        None => return Found::because(Finding::Unreadable, "an answer without grpc-status"),
    }
    match serving(&body.to_bytes()) {
        Some(1) => Finding::Alive.into(),
        Some(0) => Found::because(Finding::NotServing, "status UNKNOWN"),
        Some(2) => Found::because(Finding::NotServing, "status NOT_SERVING"),
        Some(3) => Found::because(Finding::NotServing, "status SERVICE_UNKNOWN"),
        Some(other) => Found::because(Finding::NotServing, format_args!("status {other}")),
        None => Found::because(Finding::Unreadable, "an answer that is no HealthCheckResponse"),
    }
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

fn refused(code: &str) -> Found {
    let cause = match code {
        "5" => "grpc-status 5: it does not know the service".to_owned(),
        "12" => "grpc-status 12: it has no grpc.health.v1.Health".to_owned(),
        code => format!("grpc-status {code}"),
    };
    Found::because(Finding::NotServing, cause)
}

// --- the two messages ---

/// `HealthCheckRequest { string service = 1; }`, framed.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0); // not compressed
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

/// The `status` of a framed `HealthCheckResponse { ServingStatus status = 1; }`; fields it does not know are passed over.
fn serving(framed: &[u8]) -> Option<u64> {
    let (frame, message) = framed.split_at_checked(5)?;
    let [compressed, length @ ..] = <[u8; 5]>::try_from(frame).ok()?;
    if compressed != 0 || message.len() != u32::from_be_bytes(length) as usize {
        return None;
    }
    let (mut rest, mut status) = (message, 0); // what is absent is 0
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Some(varint(&mut rest)?),
            1 => pass(&mut rest, 8)?,
            2 => {
                let length = varint(&mut rest)?;
                pass(&mut rest, usize::try_from(length).ok()?)?
            }
            5 => pass(&mut rest, 4)?,
            _ => return None,
        };
        if key >> 3 == 1 {
            status = value?;
        }
    }
    Some(status)
}

fn pass(rest: &mut &[u8], length: usize) -> Option<Option<u64>> {
    *rest = rest.get(length..)?;
    Some(None)
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_a_framed_message() {
        assert_eq!(&*question(""), [0, 0, 0, 0, 0]);
        assert_eq!(&*question("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = "x".repeat(300);
        let framed = question(&long);
        assert_eq!(
            framed.get(..8),
            Some(&[0, 0, 0, 0x01, 0x2f, 0x0a, 0xac, 0x02][..])
        );
        assert_eq!(framed.len(), 5 + 3 + 300);
    }

    #[test]
    fn the_status_is_found_among_fields_of_the_future() {
        let framed = |message: &[u8]| {
            let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            framed.extend_from_slice(message);
            framed
        };
        for (message, expected) in [
            (&[][..], Some(0)),
            (&[0x08, 1], Some(1)),
            (&[0x08, 2], Some(2)),
            (&[0x08, 0xac, 0x02], Some(300)),
            (&[0x12, 2, b'h', b'i', 0x08, 1], Some(1)),
            (
                &[0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1, 0x25, 1, 2, 3, 4],
                Some(1),
            ),
            (&[0x08, 2, 0x08, 1], Some(1)),
            (&[0x08], None),
            (&[0x12, 200, b'h'], None),
            (&[0x12, 9, b'h'], None),
            (&[0x0a, 1, 1], None),
            (&[0x0b, 1], None),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], None),
        ] {
            assert_eq!(serving(&framed(message)), expected, "{message:?}");
        }
        for wrong in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 0x08, 1],
            &[0, 0, 0, 0, 3, 0x08, 1],
        ] {
            assert_eq!(serving(wrong), None, "{wrong:?}");
        }
    }
}
