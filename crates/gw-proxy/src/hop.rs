//! What stays on its hop: headers that speak of one connection only, and claims that only the gateway may make.

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING};
use smallvec::SmallVec;

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

type Names = SmallVec<[HeaderName; 8]>;

/// Takes out what must not pass: hop-by-hop headers, and identities that only the gateway may assert. `Expect` is left for plugins;
/// it is taken out later.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let mut out = Names::new();
    let mut trailers = false;
    for name in headers.keys() {
        let text = name.as_str();
        let drop = match text.as_bytes().first() {
            Some(b'c') => *name == CONNECTION || text == "content_length" || is_reserved(text),
            Some(b'k') => text == "keep-alive" || text == "keep_alive",
            Some(b'p') => matches!(text, "proxy" | "proxy-connection" | "proxy_connection"),
            Some(b't') => {
                trailers |= *name == TE && lists(headers, &TE, "trailers");
                *name == TE || text == "transfer_encoding"
            }
            Some(b'u') => text == "upgrade",
            Some(b'x') => is_reserved(text),
            _ => false,
        };
        if drop {
            out.push(name.clone());
        }
    }
    if out.is_empty() {
        return;
    }
    named_by_connection(headers, &mut out);
    for name in &out {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, TRAILERS);
    }
}

/// Headers by which the gateway tells an upstream who calls; also in the spellings that some servers take for the same.
fn is_reserved(name: &str) -> bool {
    let starts = |prefix: &str| {
        let same = |(a, b): (u8, u8)| a == b || (a == b'_' && b == b'-');
        name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(same)
    };
    let identity = [
        "x-consumer-",
        "x-credential-",
        "x-anonymous-consumer",
        "x-authenticated-",
    ];
    if identity.into_iter().any(starts) {
        return true;
    }
    // With hyphens these are replaced or appended to, later.
    let replaced = [
        "x-forwarded-",
        "x-real-ip",
        "x-kong-request-id",
        "x-client-cert-",
        "client-cert",
    ];
    name.contains('_') && replaced.into_iter().any(starts)
}

/// Adds the headers that `Connection` names; not those that frame the message or say where it goes.
fn named_by_connection(headers: &HeaderMap, out: &mut Names) {
    for value in headers.get_all(CONNECTION) {
        for token in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            let Ok(name) = HeaderName::from_bytes(token.as_bytes()) else {
                continue;
            };
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TE].contains(&name) && !out.contains(&name) {
                out.push(name);
            }
        }
    }
}

/// Whether a list has this among its items.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    let mut items = value.as_bytes().split(|byte| *byte == b',');
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a header that is a list has this among its items.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut tokens = headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','));
    tokens.any(|item| {
        item.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case(token)
    })
}

/// Takes out of a request's trailers what has no place there: what frames or routes a message, what says who calls, and what
/// only the gateway may say.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_request(trailers);
    let mut out = Names::new();
    for name in trailers.keys() {
        let text = name.as_str();
        let ours = ["x-forwarded-", "x-real-ip", "x-kong-", "forwarded"];
        let theirs = [
            "host",
            "content-",
            "transfer-encoding",
            "te",
            "trailer",
            "via",
            "authorization",
            "proxy-",
            "cookie",
            "expect",
            "max-forwards",
            "range",
            "if-",
            "cache-control",
            "pragma",
        ];
        if ours.iter().chain(&theirs).any(|start| text.starts_with(start)) {
            out.push(name.clone());
        }
    }
    for name in &out {
        trailers.remove(name);
    }
}

/// Takes out of a response's trailers what has no place there: what frames a message or speaks of one connection, and what
/// only the gateway may say.
pub(crate) fn strip_response_trailers(trailers: &mut HeaderMap) {
    strip_response(trailers);
    let mut out = Names::new();
    for name in trailers.keys() {
        let text = name.as_str();
        let theirs = [
            "host",
            "content-length",
            "content-encoding",
            "content-type",
            "content-range",
            "transfer-encoding",
            "te",
            "trailer",
            "via",
            "set-cookie",
        ];
        if text.starts_with("x-kong-") || theirs.contains(&text) {
            out.push(name.clone());
        }
    }
    for name in &out {
        trailers.remove(name);
    }
}

/// Whether a body follows.
pub(crate) fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

/// Takes out of a response what was meant for the upstream's connection only.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    let mut out = Names::new();
    for name in headers.keys() {
        let hop = [
            "connection",
            "transfer-encoding",
            "keep-alive",
            "proxy-connection",
            "te",
            "upgrade",
        ];
        let drop = hop.contains(&name.as_str());
        if drop {
            out.push(name.clone());
        }
    }
    if out.contains(&CONNECTION) {
        named_by_connection(headers, &mut out);
    }
    if out.contains(&TRANSFER_ENCODING) {
        out.push(CONTENT_LENGTH); // it was overridden, and must not frame the message here
    }
    for name in &out {
        headers.remove(name);
    }
}

/// Whether a response's framing is not plain: its length and a coding at once, or more than one length, or one that is no
/// number.
pub(crate) fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_some();
    };
    let length = length.as_bytes();
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    !is_number || lengths.next().is_some() || headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a message is coded for transfer in another way than by chunks, which is not undone here.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    !codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_the_gateway_may_say() {
        for name in [
            "x-consumer-id",
            "x_consumer_id",
            "x-consumer_username",
            "x-credential-identifier",
            "x-anonymous-consumer",
            "x_authenticated_groups",
            "x_forwarded_for",
            "x_client_cert_verify",
            "x-client_cert-dn",
            "client_cert",
            "client_cert_chain",
            "x_real_ip",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in [
            "x-consumed",
            "x-forwarded-for",
            "x-real-ip",
            "x-kong-request-id",
            "x-",
            "x-consumer",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn connection_cannot_take_out_what_frames_the_message() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("content-length", "3"),
            ("connection", "Host, content-length, x-a,, ,@"),
            ("x-a", "1"),
            ("x-b", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-b"]);
    }
}
