//! A request kept for a second try, where a second try is safe.

use std::sync::Arc;

use gw_core::Retry;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use memchr::memchr_iter;

use crate::body::RequestBody;
use crate::io::upstream::Link;
use crate::pool::{Lease, Speaks};

/// Whether a request that may have reached one target can be sent to another.
pub(crate) fn is_safe(method: &Method, retry: &Retry) -> bool {
    retry.non_idempotent || is_idempotent(method)
}

/// By RFC 9110 and RFC 4918. Of a method that nobody knows nothing is known.
fn is_idempotent(method: &Method) -> bool {
    let webdav = [
        "PROPFIND",
        "PROPPATCH",
        "REPORT",
        "SEARCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "UNLOCK",
    ];
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    ) || webdav.contains(&method.as_str())
}

/// Whether a request can be sent again if it fails.
pub(crate) fn is_repeatable(request: &Request<RequestBody>, retry: &Retry) -> bool {
    is_safe(request.method(), retry) && !matches!(request.body(), RequestBody::Stream(_))
}

/// What it takes to send a request once more.
pub(super) struct Spare {
    head: Head,
    body: RequestBody,
}

enum Head {
    /// The connection it was sent over has it as it was written.
    Written(Arc<Link>),
    /// Over HTTP/2 nobody could read what is written.
    Copied(Box<Request<()>>),
}

impl Spare {
    /// Of a request that is about to be sent; none if it must not be sent twice, or its body cannot be had twice.
    pub(super) fn of(request: &Request<RequestBody>, lease: &Lease, retry: &Retry) -> Option<Self> {
        if !is_safe(request.method(), retry) {
            return None;
        }
        let body = request.body().replay()?;
        let head = match lease.speaks() {
            Speaks::Http1 => {
                lease.link.keep_head();
                Head::Written(Arc::clone(&lease.link))
            }
            Speaks::Whole | Speaks::Http2 => Head::Copied(Box::new(copied(request))),
        };
        Some(Self { head, body })
    }

    /// The request; none if nothing of it was written, which hyper would have handed back.
    pub(super) fn request(self) -> Option<Request<RequestBody>> {
        match self.head {
            Head::Written(link) => link.with_head(|head| parsed(head, self.body)),
            Head::Copied(head) => Some(head.map(|()| self.body)),
        }
    }
}

fn copied(request: &Request<RequestBody>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Reads a head back that was written a moment ago. What follows it is the beginning of the body.
fn parsed(head: &[u8], body: RequestBody) -> Option<Request<RequestBody>> {
    let lines = memchr_iter(b'\n', head).count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut written = httparse::Request::new(&mut fields);
    if !written.parse(head).ok()?.is_complete() {
        return None;
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(written.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::from(PathAndQuery::try_from(written.path?).ok()?);
    let headers = request.headers_mut();
    headers.reserve(written.headers.len());
    for field in written.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_head_is_read_back_as_it_was() {
        let head = b"PUT /a%20b?c=%zz&d HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: \xff\r\nx-b:\r\ncontent-length: 3\r\n\r\nabc";
        let body = || RequestBody::Buffered(Bytes::from_static(b"abc"));
        let request = parsed(head, body()).unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string()),
            (&Method::PUT, "/a%20b?c=%zz&d".to_owned())
        );
        let fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(
            fields,
            [
                ("host", &b"a"[..]),
                ("x-a", b"1"),
                ("x-a", b"\xff"),
                ("x-b", b""),
                ("content-length", b"3"),
            ]
        );
        assert!(matches!(request.body(), RequestBody::Buffered(bytes) if **bytes == *b"abc"));
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"x: y\r\n".repeat(500), b"\r\n"].concat();
        assert_eq!(parsed(&many, body()).unwrap().headers().len(), 500);
        for none in [&b""[..], b"GET / HTTP/1.1\r\nhost: a\r\n", b"\r\n\r\n"] {
            assert!(parsed(none, body()).is_none());
        }
    }

    #[test]
    fn only_what_is_idempotent_may_be_sent_twice_unless_the_service_says_so() {
        let mut retry = Retry {
            most: 1,
            statuses: gw_balancer::health::StatusSet::new(),
            non_idempotent: false,
            try_timeout: None,
        };
        for (method, by_default) in [
            ("GET", true),
            ("PUT", true),
            ("DELETE", true),
            ("POST", false),
            ("PATCH", false),
            ("LOCK", false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            retry.non_idempotent = false;
            assert_eq!(is_safe(&method, &retry), by_default, "{method}");
            retry.non_idempotent = true;
            assert!(is_safe(&method, &retry), "{method}");
        }
    }

    #[test]
    fn what_was_never_written_cannot_be_read_back() {
        let link: Arc<Link> = Arc::default();
        link.keep_head();
        let spare = Spare {
            head: Head::Written(link),
            body: RequestBody::Empty,
        };
        assert!(spare.request().is_none());
    }
}
