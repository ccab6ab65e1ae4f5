//! What tests lend to plugins: time that can be turned on, and servers that are functions.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Response};

use crate::env::{CallError, CallTerms, Clock, HttpClient, Lender, Lent, Sockets, Stream, Tasks};

type Answer = dyn Fn(Request<Bytes>) -> Lent<'static, Result<Response<Bytes>, CallError>> + Send + Sync;

/// Tasks and time of tokio, and servers that are functions.
pub(crate) struct TestLender {
    answer: Box<Answer>,
    /// What was written to sockets, and where to.
    pub(crate) written: Mutex<Vec<(String, Bytes)>>,
    /// Why nothing is written.
    pub(crate) broken: Mutex<Option<io::ErrorKind>>,
    /// Whether there is no room for datagrams on their way.
    pub(crate) too_large: Mutex<bool>,
}

impl TestLender {
    /// No HTTP server, and sockets that take everything.
    pub(crate) fn new() -> Arc<Self> {
        Self::answering(|_| Box::pin(std::future::pending()))
    }

    /// An HTTP server.
    pub(crate) fn answering(
        answer: impl Fn(Request<Bytes>) -> Lent<'static, Result<Response<Bytes>, CallError>>
        + Send
        + Sync
        + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            written: Mutex::default(),
            broken: Mutex::default(),
            too_large: Mutex::default(),
        })
    }

    fn write(&self, to: String, bytes: Bytes) -> Lent<'static, io::Result<()>> {
        let result = match *self
            .broken
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        };
        if result.is_ok() {
            let mut written = self
                .written
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            written.push((to, bytes));
        }
        Box::pin(std::future::ready(result))
    }
}

impl Lender for TestLender {
    fn clock(&self) -> &dyn Clock {
        self
    }

    fn http(&self) -> &dyn HttpClient {
        self
    }

    fn sockets(&self) -> &dyn Sockets {
        self
    }

    fn tasks(&self) -> &dyn Tasks {
        self
    }
}

impl Clock for TestLender {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl HttpClient for TestLender {
    fn send(
        &self,
        request: Request<Bytes>,
        _: CallTerms,
    ) -> Lent<'static, Result<Response<Bytes>, CallError>> {
        (self.answer)(request)
    }
}

impl Sockets for TestLender {
    fn tcp(&self, to: Stream, bytes: Bytes) -> Lent<'static, io::Result<()>> {
        let tls = to.tls.map(|name| format!(" tls {name}")).unwrap_or_default();
        self.write(format!("tcp {}:{}{tls}", to.host, to.port), bytes)
    }

    fn udp(&self, host: &str, port: u16, bytes: Bytes, _: Duration) -> Lent<'static, io::Result<()>> {
        let too_large = self
            .too_large
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *too_large {
            let code = if cfg!(target_os = "linux") { 90 } else { 40 };
            return Box::pin(std::future::ready(Err(io::Error::from_raw_os_error(code))));
        }
        drop(too_large);
        self.write(format!("udp {host}:{port}"), bytes)
    }
}

impl Tasks for TestLender {
    fn spawn(&self, future: Lent<'static, ()>) {
        tokio::spawn(future);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }

    fn sleep(&self, duration: Duration) -> Lent<'static, ()> {
        Box::pin(tokio::time::sleep_until(tokio::time::Instant::now() + duration))
    }
}
