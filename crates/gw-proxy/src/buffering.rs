//! What is read ahead of the slower side, so that a slow client holds no upstream: small requests, small responses.
//!
//! What is larger streams, at the pace of the slower side; nothing is ever written to disk. What says that it does not want
//! this (`request_buffering`, `response_buffering` of its route), and what may be a conversation, streams at once.

use bytes::Bytes;
use gw_plugins::BodyNeed;
use http::{Method, Version};
use http_body::Body as _;

use crate::attempt::is_safe;
use crate::body::{Content, RequestBody, Uncollected};
use crate::exchange::Exchange;
use crate::failure::Failure;

/// Bound: in bytes, of what is small.
const SMALL: usize = 64 << 10;

/// Reads a small body ahead: where the route wants it, and where that makes a second try possible. One of which nobody knows
/// the length goes on when so much of it is there.
pub(crate) async fn request(
    exchange: &mut Exchange,
    method: &Method,
    version: Version,
    mut body: RequestBody,
) -> Result<RequestBody, Failure> {
    if !matches!(body, RequestBody::Stream(_)) {
        return Ok(body);
    }
    let wanted = exchange.buffers_request();
    let helps = exchange.about.retry().is_some_and(|retry| is_safe(method, retry));
    let Some(length) = body.size_hint().exact() else {
        if wanted {
            body.read_ahead(SMALL, &mut exchange.held()).await?;
        }
        return Ok(body);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // Where there is no room for it, it streams.
    if length > SMALL || !(wanted || helps) || !exchange.held().take(length) {
        return Ok(body);
    }
    if helps || version != Version::HTTP_2 {
        return body.collect(SMALL, |_| Ok(())).await.map(RequestBody::Buffered);
    }
    // There may be trailers.
    body.read_ahead(length + 1, &mut exchange.held()).await?;
    Ok(body)
}

/// Reads a small answer of known length whole, and lets go of the upstream. A client of HTTP/1 needs no such help: what is small
/// goes into its connection's buffer at once. One of HTTP/2 may give a stream no window.
pub(crate) async fn response(
    exchange: &mut Exchange,
    version: Version,
    mut content: Content,
) -> Result<Content, Failure> {
    let is_small = content
        .size_hint()
        .exact()
        .is_some_and(|length| length <= SMALL as u64);
    let applies =
        version == Version::HTTP_2 && matches!(content, Content::Upstream(_) | Content::Wire(_)) && is_small;
    if !applies || content.is_end_stream() || exchange.wants_no_body() || !exchange.buffers_response() {
        return Ok(content);
    }
    // Where there is no room for it, it streams.
    let length = content.size_hint().exact().unwrap_or_default();
    if !exchange
        .held()
        .take(usize::try_from(length).unwrap_or(usize::MAX))
    {
        return Ok(content);
    }
    let read = content.collect(exchange.lease.as_mut(), SMALL, |_| Ok(())).await;
    let Some(whole) = whole(exchange, read)? else {
        return Err(Failure::UpstreamBroken); // longer than it said
    };
    exchange.let_go();
    Ok(Content::Bytes(whole))
}

/// Reads an answer whole where plugins want to see all of it, and there is room for it. One without a body has none to show.
pub(crate) async fn for_plugins(
    exchange: &mut Exchange,
    need: BodyNeed,
    content: &mut Content,
) -> Result<Option<Bytes>, Failure> {
    let BodyNeed::Whole { max } = need else {
        return Ok(None);
    };
    if exchange.wants_no_body() {
        return Ok(None);
    }
    // What is at hand was counted when it was read ahead, or came with the head.
    let is_at_hand = matches!(content, Content::Bytes(_));
    let (lease, mut held) = exchange.reading();
    let room = |bytes| if is_at_hand { Ok(()) } else { held.need(bytes) };
    let read = content.collect(lease, max, room).await;
    let whole = whole(exchange, read)?.ok_or(Failure::ResponseTooLarge)?;
    exchange.let_go();
    Ok(Some(whole))
}

fn whole(exchange: &Exchange, read: Result<Option<Bytes>, Uncollected>) -> Result<Option<Bytes>, Failure> {
    read.map_err(|error| match error {
        Uncollected::Broken => exchange.body_failure(),
        Uncollected::Refused(failure) => failure,
    })
}
