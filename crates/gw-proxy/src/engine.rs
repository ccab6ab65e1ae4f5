//! One request from start to finish: the page to read first.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use gw_plugins::{BodyNeed, Flow};
use http::{Request, Response};

use crate::access_log::Record;
use crate::attempt;
use crate::body::{Content, RequestBody, ResponseBody};
use crate::buffering;
use crate::chain;
use crate::conn::Conn;
use crate::exchange::Exchange;
use crate::failure::{Failure, bare};
use crate::forward;
use crate::inner::Within;
use crate::lock;
use crate::upgrade::{self, Upgrade};

/// One request from start to finish. Read this first; every step is one call.
///
/// One that a plugin makes is `within` another.
pub(crate) async fn handle(
    conn: Arc<Conn>,
    within: Option<Box<Within>>,
    mut request: Request<RequestBody>,
) -> Response<ResponseBody> {
    let mut exchange = Exchange::begin(&conn, within, &request); // owned: it outlives this function, inside the body
    let response = match proxy(&mut exchange, &mut request).await {
        Ok(response) => response,
        Err(failure) => exchange.rescue(&failure), // the only place where a failure becomes a response
    };
    response.map(|content| match upgrade::begin(exchange, content) {
        Ok(()) => ResponseBody::none(), // the exchange goes on as a tunnel
        Err((exchange, content)) => ResponseBody::new(content, exchange),
    }) // body filters run in `poll_frame`; drop or end = `finish`
}

async fn proxy(
    exchange: &mut Exchange,
    request: &mut Request<RequestBody>,
) -> Result<Response<Content>, Failure> {
    let version = request.version();
    if let Some(early) = prepare(exchange, request).await? {
        return Ok(early);
    }
    let (mut head, content) = attempt::send(exchange, request).await?.into_parts(); // pick, connect, retry
    let mut content = buffering::response(exchange, version, content).await?;
    let need = exchange.response_need(&mut head)?;
    let whole = buffering::for_plugins(exchange, need, &mut content).await?;
    exchange.answer(head, whole, content)
}

/// Makes of the client's request the one that is sent on, unless there is an answer to it already.
async fn prepare(
    exchange: &mut Exchange,
    request: &mut Request<RequestBody>,
) -> Result<Option<Response<Content>>, Failure> {
    let (mut head, body) = std::mem::replace(request, Request::new(RequestBody::Empty)).into_parts();
    let version = head.version;
    exchange.admit(&head, &body)?;
    exchange.ask(Upgrade::asked(&mut head));
    let inbound = forward::inbound(&mut head, exchange)?;
    let routed = exchange.route(&head, &inbound);
    exchange.keep(&head);
    routed?;
    let need = exchange.run.chain.needs(exchange.about.conn.scheme).request_body;
    let (mut whole, body) = buffer(exchange, need, body).await?;
    if let Flow::Respond(reply) = chain::request(exchange, &mut head, &mut whole).await? {
        exchange.at_hand(whole.as_ref());
        return exchange.reply(*reply).map(Some); // a plugin answered in the upstream's place
    }
    let mut body = match whole {
        Some(whole) if whole.is_empty() => RequestBody::Empty,
        Some(whole) => RequestBody::Buffered(whole),
        None => body,
    };
    exchange.steer(&mut body)?;
    let body = buffering::request(exchange, &head.method, version, body).await?;
    exchange.stick(&head);
    *request = forward::upstream(exchange, head, body)?;
    exchange.goes_up(request);
    Ok(None)
}

/// Reads the whole body, if an instance of the chain wants to see it.
async fn buffer(
    exchange: &mut Exchange,
    need: BodyNeed,
    body: RequestBody,
) -> Result<(Option<Bytes>, RequestBody), Failure> {
    let BodyNeed::Whole { max } = need else {
        return Ok((None, body));
    };
    let whole = body.collect(max, |bytes| exchange.held().need(bytes)).await?;
    Ok((Some(whole), RequestBody::Empty))
}

/// The answer to a head that hyper could not parse: there is no request, so there is no exchange.
pub(crate) fn refuse_head(conn: &Conn, failure: &Failure) -> Bytes {
    let id = lock(&conn.worker.ids).next();
    let id = id.to_str().unwrap_or_default();
    let (status, body) = (failure.status(), bare(failure, id));
    let mut answer = BytesMut::with_capacity(256 + body.len());
    let mut length = itoa::Buffer::new();
    let lines: [&[u8]; 12] = [
        b"HTTP/1.1 ",
        status.as_str().as_bytes(),
        b" ",
        status.canonical_reason().unwrap_or_default().as_bytes(),
        b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ",
        length.format(body.len()).as_bytes(),
        b"\r\nserver: ",
        forward::SERVER_TEXT.as_bytes(),
        b"\r\nx-kong-response-latency: 0\r\nx-kong-request-id: ",
        id.as_bytes(),
        b"\r\nconnection: close\r\n\r\n",
        &body,
    ];
    for line in lines {
        answer.extend_from_slice(line);
    }
    if conn.gateway.log().is_on() {
        let record = Record {
            time: SystemTime::now(),
            request_id: id,
            client: conn.client,
            client_port: conn.client_port,
            status: status.as_u16(),
            bytes_out: body.len() as u64,
            failure: Some(failure.code()),
            revision: conn.gateway.snapshot().revision(),
            ..Record::default()
        };
        conn.gateway.log().write(conn.worker.index, &record);
    }
    answer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what a function returns.
    fn size<F: FnOnce(Arc<Conn>, Option<Box<Within>>, Request<RequestBody>) -> R, R>(_: F) -> usize {
        size_of::<R>()
    }

    #[test]
    fn an_exchange_is_small() {
        // What is larger than this the C library's allocator does not keep at hand for the next request.
        const MOST: usize = 1032;
        let size = size_of::<Exchange>();
        assert!(size <= MOST, "{size} bytes");
    }

    #[test]
    fn the_future_of_a_request_is_small() {
        // It is moved, and it is kept for each connection. What seldom happens has its state in a box.
        let size = size(handle);
        assert!(size <= MOST, "{size} bytes");
        const MOST: usize = 2048;
    }
}
