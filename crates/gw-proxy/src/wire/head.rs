//! Heads as bytes: a request's is written, an answer's is read.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use smallvec::SmallVec;

use super::body::Reader;
use crate::hop;

/// What is no head of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The head of an answer.
pub(super) struct Answer {
    pub(super) response: Response<Reader>,
    /// Whether the connection may be used again.
    pub(super) keeps: bool,
}

/// Bound: the headers of an answer.
const MOST: usize = 100;

/// Writes the head of a request; `more` writes lines beside its headers.
pub(super) fn write<B>(request: &Request<B>, more: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let method = request.method().as_str();
    let headers = request.headers();
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    more(out);
    out.extend_from_slice(b"\r\n");
}

/// Takes the head of an answer from what has been read, if all of it is there. Interim answers are passed over.
pub(super) fn read(
    buffer: &mut BytesMut,
    bodiless: bool,
    room: &mut HeaderMap,
) -> Result<Option<Answer>, Malformed> {
    loop {
        if buffer.is_empty() {
            return Ok(None);
        }
        let Some(mut answer) = read_one(buffer, room)? else {
            return Ok(None);
        };
        let status = answer.response.status();
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            *room = std::mem::take(answer.response.headers_mut());
            room.clear();
            continue;
        }
        let head = framing(&answer, bodiless)?;
        *answer.response.body_mut() = head;
        if matches!(answer.response.body(), Reader::ToEnd) || status == StatusCode::SWITCHING_PROTOCOLS {
            answer.keeps = false;
        }
        return Ok(Some(answer));
    }
}

/// Where a header's name and value are in the head.
type Place = [u32; 4];

fn read_one(buffer: &mut BytesMut, room: &mut HeaderMap) -> Result<Option<Answer>, Malformed> {
    let mut places: SmallVec<[Place; 24]> = SmallVec::new();
    let mut fields = [const { MaybeUninit::uninit() }; MOST];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let complete = config
        .parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields)
        .map_err(|_| Malformed)?;
    let httparse::Status::Complete(length) = complete else {
        return Ok(None);
    };
    let base = buffer.as_ptr().addr();
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr() - base;
        [start as u32, (start + part.len()) as u32]
    };
    places.extend(parsed.headers.iter().map(|field| {
        let ([a, b], [c, d]) = (place(field.name.as_bytes()), place(field.value));
        [a, b, c, d]
    }));
    let status = StatusCode::from_u16(parsed.code.ok_or(Malformed)?).map_err(|_| Malformed)?;
    let reason = parsed
        .reason
        .filter(|reason| Some(*reason) != status.canonical_reason());
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let is_11 = parsed.version == Some(1);
    let head = buffer.split_to(length).freeze();
    let mut headers = std::mem::take(room);
    let keeps = fill(&mut headers, &head, &places, is_11)?;
    let mut response = Response::new(Reader::Done);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if !is_11 {
        *response.version_mut() = http::Version::HTTP_10;
    }
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    Ok(Some(Answer { response, keeps }))
}

/// Takes in the headers; whether they let the connection be used again.
fn fill(headers: &mut HeaderMap, head: &Bytes, places: &[Place], is_11: bool) -> Result<bool, Malformed> {
    /// What an answer is given on its way, and what the table needs to be empty.
    const MORE: usize = 8;
    headers.reserve(places.len() + MORE);
    let (mut keeps, mut closes) = (is_11, false);
    for place in places {
        let [a, b, c, d] = place.map(|place| place as usize);
        let name = head.get(a..b).and_then(|name| HeaderName::from_bytes(name).ok());
        let name = name.ok_or(Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice(c..d)).map_err(|_| Malformed)?;
        if name == CONNECTION {
            closes |= hop::has_token(&value, "close");
            keeps |= hop::has_token(&value, "keep-alive");
        }
        headers.append(name, value);
    }
    Ok(keeps && !closes)
}

/// How the body is framed: RFC 9112, section 6.3.
fn framing(answer: &Answer, bodiless: bool) -> Result<Reader, Malformed> {
    let (status, headers) = (answer.response.status(), answer.response.headers());
    let without = matches!(
        status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if without || bodiless {
        return Ok(Reader::Done);
    }
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        // One that is sent by a server of HTTP/1.0 is a way to have two readers see two messages.
        if answer.response.version() == http::Version::HTTP_10 {
            return Err(Malformed);
        }
        let last = coding.as_bytes().rsplit(|byte| *byte == b',').next();
        let chunked = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        return Ok(if chunked { Reader::chunked() } else { Reader::ToEnd });
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for one in value.as_bytes().split(|byte| *byte == b',') {
            let one = digits(one.trim_ascii()).ok_or(Malformed)?;
            if length.replace(one).is_some_and(|before| before != one) {
                return Err(Malformed);
            }
        }
    }
    Ok(match length {
        None => Reader::ToEnd,
        Some(0) => Reader::Done,
        Some(length) => Reader::Length(length),
    })
}

/// A number as it stands in `Content-Length`: digits and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of an answer: its status, its headers, how its body is framed, and whether the connection is kept.
    fn check(text: &str, bodiless: bool) -> Result<Option<(u16, usize, Reader, bool)>, Malformed> {
        let mut buffer = BytesMut::from(text);
        let answer = read(&mut buffer, bodiless, &mut HeaderMap::new())?;
        Ok(answer.map(|answer| {
            let (head, reader) = answer.response.into_parts();
            (head.status.as_u16(), head.headers.len(), reader, answer.keeps)
        }))
    }

    #[test]
    fn bodies_are_framed_as_the_rfc_says() {
        let length = |length| Some((200, 1, Reader::Length(length), true));
        for (fields, framed) in [
            ("content-length: 5", length(5)),
            ("content-length: 0", Some((200, 1, Reader::Done, true))),
            ("content-length: 5, 5", length(5)),
            (
                "content-length: 5\r\ncontent-length: 5",
                Some((200, 2, Reader::Length(5), true)),
            ),
            ("content-length: 5\r\ncontent-length: 6", None),
            ("content-length: 5, 6", None),
            ("content-length: +5", None),
            ("content-length: -1", None),
            ("content-length:", None),
            ("content-length: 99999999999999999999", None),
            (
                "transfer-encoding: chunked",
                Some((200, 1, Reader::chunked(), true)),
            ),
            (
                "transfer-encoding: gzip, Chunked",
                Some((200, 1, Reader::chunked(), true)),
            ),
            (
                "transfer-encoding: chunked, gzip",
                Some((200, 1, Reader::ToEnd, false)),
            ),
            (
                "content-length: 5\r\ntransfer-encoding: chunked",
                Some((200, 2, Reader::chunked(), true)),
            ),
            ("x-a: 1", Some((200, 1, Reader::ToEnd, false))),
            (
                "content-length: 1\r\nconnection: Close",
                Some((200, 2, Reader::Length(1), false)),
            ),
            (
                "content-length: 1\r\nconnection: a, close\r\nconnection: keep-alive",
                Some((200, 3, Reader::Length(1), false)),
            ),
            ("a b: 1", None),
            (" folded: 1", None),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
            assert_eq!(check(&text, false).ok().flatten(), framed, "{fields}");
        }
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        for (status, bodiless) in [(200, true), (204, false), (304, false)] {
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\n");
            assert_eq!(check(&text, bodiless), Ok(Some((status, 1, Reader::Done, true))));
        }
    }

    #[test]
    fn the_old_version_keeps_nothing_unless_it_says_so() {
        let answer = |fields| {
            check(
                &format!("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n{fields}\r\n"),
                false,
            )
        };
        assert_eq!(answer(""), Ok(Some((200, 1, Reader::Length(1), false))));
        assert_eq!(
            answer("connection: Keep-Alive\r\n"),
            Ok(Some((200, 2, Reader::Length(1), true)))
        );
        assert_eq!(answer("transfer-encoding: chunked\r\n"), Err(Malformed));
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 201 A\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(check(text, false), Ok(Some((201, 1, Reader::Length(2), true))));
        let (first, _) = text.split_at(60);
        assert_eq!(check(first, false), Ok(None));
        assert_eq!(check("", false), Ok(None));
        assert_eq!(check("SSH-2.0-OpenSSH\r\n\r\n", false), Err(Malformed));
    }

    #[test]
    fn a_request_is_written_as_it_is() {
        let request = Request::put("/a%20b?c")
            .header("host", "h")
            .header("x-a", "1")
            .header("x-a", "2");
        let mut out = Vec::new();
        write(&request.body(()).unwrap(), |_| {}, &mut out);
        assert_eq!(
            out,
            b"PUT /a%20b?c HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
        );
    }
}
