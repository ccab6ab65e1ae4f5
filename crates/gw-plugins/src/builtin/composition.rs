//! What the plugins share that answer with the answers to several requests.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response};

use crate::cx::{InnerRequests, RequestCx};
use crate::env::Tasks;
use crate::identity;

/// Marks a request that a plugin has made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner;

/// Whether a plugin has made the request at hand.
pub(super) fn is_inner<S>(cx: &RequestCx<'_, S>) -> bool {
    cx.parts.head.extensions.get::<Inner>().is_some()
}

/// The answer to a request to the gateway itself; none if it did not come in time.
pub(super) async fn ask(
    inner: &dyn InnerRequests,
    tasks: &dyn Tasks,
    mut request: Request<Bytes>,
    most: usize,
    time: Duration,
) -> Option<Response<Bytes>> {
    request.extensions_mut().insert(Inner);
    match select(inner.send(request, most), tasks.sleep(time)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// The client's headers that may go on with a request that is made for it: nothing of its body, of its connection, of what it
/// has already or would like compressed, and nothing that only the gateway says.
pub(super) fn inherited(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    const OWN: [HeaderName; 13] = [
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        http::header::CONNECTION,
        http::header::EXPECT,
        http::header::RANGE,
        http::header::IF_RANGE,
        http::header::IF_MATCH,
        http::header::IF_NONE_MATCH,
        http::header::IF_MODIFIED_SINCE,
        http::header::IF_UNMODIFIED_SINCE,
        http::header::ACCEPT_ENCODING,
    ];
    headers.iter().filter(|(name, _)| {
        !name.as_str().starts_with("content-") && !OWN.contains(name) && !identity::HEADERS.contains(name)
    })
}
