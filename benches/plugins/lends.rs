//! What plugins are lent here: others that answer at once, and work beside requests on a thread of its own.

use std::future::ready;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use gw_plugins::cx::InnerRequests;
use gw_plugins::env::{
    CallError, CallTerms, Clock, HttpClient, Lender, Lent, Sockets, Stream, SystemClock, Tasks,
};
use http::{Request, Response};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// Answers all that plugins ask, and takes all that they send.
pub(crate) struct Answering;

/// Lends it, and runs what is beside requests.
pub(crate) struct Lends(pub(crate) Handle);

impl Lender for Lends {
    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn http(&self) -> &dyn HttpClient {
        &Answering
    }

    fn sockets(&self) -> &dyn Sockets {
        &Answering
    }

    fn tasks(&self) -> &dyn Tasks {
        self
    }
}

impl Tasks for Lends {
    fn spawn(&self, future: Lent<'static, ()>) {
        self.0.spawn(future);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }

    fn sleep(&self, duration: Duration) -> Lent<'static, ()> {
        Box::pin(async move { sleep_until(Instant::now() + duration).await })
    }
}

impl HttpClient for Answering {
    fn send(&self, _: Request<Bytes>, _: CallTerms) -> Lent<'static, Result<Response<Bytes>, CallError>> {
        Box::pin(ready(Ok(Response::new(Bytes::new()))))
    }
}

impl Sockets for Answering {
    fn tcp(&self, _: Stream, _: Bytes) -> Lent<'static, io::Result<()>> {
        Box::pin(ready(Ok(())))
    }

    fn udp(&self, _: &str, _: u16, _: Bytes, _: Duration) -> Lent<'static, io::Result<()>> {
        Box::pin(ready(Ok(())))
    }
}

impl InnerRequests for Answering {
    fn send(&self, _: Request<Bytes>, _: usize) -> Lent<'static, Response<Bytes>> {
        let mut response = Response::new(Bytes::from_static(b"{\"a\":1}"));
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        Box::pin(ready(response))
    }
}
