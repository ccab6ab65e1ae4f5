//! An HTTP client for tests: keeps connections alive, follows nothing, retries nothing.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod stream;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use self::body::Outgoing;
use crate::deadline::DEADLINE;
use crate::{Answer, Feed, Streaming};

/// A client with connections of its own. Clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    pooled: Pooled<HttpConnector, Outgoing>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection or the exchange failed before the head of the answer.
    #[error("no answer from {url}")]
    Send {
        /// What was asked.
        url: String,
        /// What happened.
        source: hyper_util::client::legacy::Error,
    },
    /// The body of the answer broke off.
    #[error("the body of the answer broke off after {after} bytes")]
    Body {
        /// How many bytes had come.
        after: u64,
        /// What happened.
        source: hyper::Error,
    },
    /// The deadline is over.
    #[error("waited {} s for {what}", DEADLINE.as_secs())]
    Late {
        /// What was waited for.
        what: String,
    },
}

/// A request in the making.
#[derive(Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    client: Client,
    request: Request<Outgoing>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client that keeps its connections alive between calls.
    pub fn new() -> Self {
        Self::pooling(usize::MAX)
    }

    /// A client that opens a connection for each call.
    pub fn without_keep_alive() -> Self {
        Self::pooling(0)
    }

    fn pooling(idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pooled = Pooled::builder(TokioExecutor::new())
            .pool_max_idle_per_host(idle)
            .retry_canceled_requests(false)
            .build(connector);
        Self { pooled }
    }

    /// A call with this method.
    ///
    /// # Panics
    ///
    /// If method or address are not valid.
    pub fn call(&self, method: &str, url: impl AsRef<str>) -> Call {
        let mut request = Request::new(Outgoing::default());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a valid method");
        *request.uri_mut() = url
            .as_ref()
            .parse()
            .unwrap_or_else(|e| panic!("`{}`: {e}", url.as_ref()));
        Call {
            client: self.clone(),
            request,
        }
    }

    /// GET, and the answer.
    ///
    /// # Panics
    ///
    /// As [`Call::send`].
    pub async fn get(&self, url: impl AsRef<str>) -> Answer {
        self.call("GET", url).send().await
    }

    /// DELETE, and the answer.
    ///
    /// # Panics
    ///
    /// As [`Call::send`].
    pub async fn delete(&self, url: impl AsRef<str>) -> Answer {
        self.call("DELETE", url).send().await
    }

    /// POST of form fields, and the answer.
    ///
    /// # Panics
    ///
    /// As [`Call::send`].
    pub async fn post_form(&self, url: impl AsRef<str>, fields: &[(&str, &str)]) -> Answer {
        self.call("POST", url).form(fields).send().await
    }

    /// A document sent with this method, and the answer.
    ///
    /// # Panics
    ///
    /// As [`Call::send`].
    pub async fn json(&self, method: &str, url: impl AsRef<str>, document: &Value) -> Answer {
        self.call(method, url).json(document).send().await
    }
}

impl Call {
    /// Adds a header field.
    ///
    /// # Panics
    ///
    /// If it is not a valid one.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a valid header name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a valid header value");
        self.request.headers_mut().append(name, value);
        self
    }

    /// Sends these bytes, with their length.
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        self.outgoing(Outgoing::whole(bytes.into()))
    }

    /// Sends form fields, escaped.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let text = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.header("content-type", "application/x-www-form-urlencoded")
            .body(text)
    }

    /// Sends a document.
    pub fn json(self, document: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(document.to_string())
    }

    /// Sends `len` bytes of [`Pattern`](crate::Pattern), with their length, made as they are sent.
    pub fn generated(self, len: u64) -> Self {
        self.outgoing(Outgoing::generated(len))
    }

    /// Sends in chunks what the test feeds it.
    pub fn fed(self) -> (Self, Feed) {
        let (outgoing, feed) = Outgoing::fed();
        (self.outgoing(outgoing), feed)
    }

    fn outgoing(mut self, outgoing: Outgoing) -> Self {
        *self.request.body_mut() = outgoing;
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    ///
    /// If there is none; any status is an answer.
    pub async fn send(self) -> Answer {
        let what = self.what();
        self.try_send()
            .await
            .unwrap_or_else(|error| panic!("{what}: {}", chain(&error)))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    ///
    /// If there is none; any status is an answer.
    pub async fn try_send(self) -> Result<Answer, ClientError> {
        self.try_open().await?.try_finish().await
    }

    /// Sends it and reads the head of the answer; the body follows piece by piece.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn open(self) -> Streaming {
        let what = self.what();
        self.try_open()
            .await
            .unwrap_or_else(|error| panic!("{what}: {}", chain(&error)))
    }

    /// Sends it and reads the head of the answer; the body follows piece by piece.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn try_open(self) -> Result<Streaming, ClientError> {
        let (what, url) = (self.what(), self.request.uri().to_string());
        let sent = tokio::time::timeout(DEADLINE, self.client.pooled.request(self.request)).await;
        let answered = sent.map_err(|_| ClientError::Late {
            what: format!("the answer to {what}"),
        })?;
        answered
            .map(Streaming::new)
            .map_err(|source| ClientError::Send { url, source })
    }

    fn what(&self) -> String {
        format!("{} {}", self.request.method(), self.request.uri())
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.extend([": ", &error.to_string()]);
        cause = error.source();
    }
    text
}
