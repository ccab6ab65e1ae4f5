//! A probe over HTTP/1.1: one request on a connection of its own; the status is what counts.

use bytes::Bytes;
use gw_core::Probe;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::probe::finding::{Finding, Found};

/// Asks for the probe's path. The body is not waited for: the connection ends with the head of the answer.
pub(super) async fn ask<S>(stream: S, probe: &Probe, host: &HeaderValue) -> Found
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(pair) => pair,
        Err(error) => return Found::because(Finding::Broken, error),
    };
    let asked = sender.send_request(request(probe, host));
    tokio::pin!(asked);
    let answer = tokio::select! {
        answer = &mut asked => answer,
        // Then what it has read is the answer, or why there is none.
        _ended = connection => asked.await,
    };
    match answer {
        Ok(response) => Finding::Status(response.status().as_u16()).into(),
        Err(error) if error.is_parse() => Found::because(Finding::Unreadable, error),
        Err(error) => Found::because(Finding::Broken, error),
    }
}

fn request(probe: &Probe, host: &HeaderValue) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = probe.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(HOST, host.clone());
    headers.extend(probe.headers.clone()); // a Host among them takes the other's place
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}
