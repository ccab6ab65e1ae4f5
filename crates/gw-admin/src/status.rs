//! Kong's Status API: whether the node is alive, and whether it wants to be sent requests.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use gw_plugins::metrics::Exposition;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::body;
use crate::form;
use crate::node;
use crate::ports::Counters;
use crate::serve::listener::Listener;
use crate::serve::socket::Watched;
use crate::serve::{Answers, serve};

/// What a node lends to the Status API.
pub trait Pulse: Send + Sync {
    /// What it has done so far.
    fn counters(&self) -> Counters;

    /// The revision of the configuration it serves.
    fn revision(&self) -> u64;

    /// What it has counted, as Prometheus reads it; nothing unless it counts. It is asked where it may take a while.
    fn metrics(&self) -> String {
        String::new()
    }

    /// Whether it wants to be sent requests.
    ///
    /// # Errors
    /// Why not, as an operator reads it.
    fn ready(&self) -> Result<(), &'static str>;
}

/// `GET /status` and `GET /status/ready`, to be asked by load balancers, and `GET /metrics`: it tells no secrets and changes nothing. Cloning
/// shares it.
#[derive(Clone)]
pub struct StatusApi {
    pulse: Arc<dyn Pulse>,
}

impl StatusApi {
    /// The Status API of a node.
    #[must_use]
    pub fn new(pulse: Arc<dyn Pulse>) -> Self {
        Self { pulse }
    }

    /// Serves connections until `shutdown` resolves; then finishes the requests under way, for at most ten seconds.
    pub async fn serve(self, listener: impl Into<Listener>, shutdown: impl Future<Output = ()>) {
        serve(self, listener.into(), shutdown).await;
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let is_metrics = path.strip_suffix('/').unwrap_or(path) == "/metrics";
        if is_metrics && matches!(*request.method(), Method::GET | Method::HEAD) {
            let pulse = Arc::clone(&self.pulse);
            if let Ok(metrics) = tokio::task::spawn_blocking(move || pulse.metrics()).await {
                return respond(request, StatusCode::OK, Exposition::CONTENT_TYPE, metrics.into());
            }
        }
        let (status, document) = self.document(request);
        respond(request, status, JSON, document.to_string().into())
    }

    fn document<B>(&self, request: &Request<B>) -> (StatusCode, Value) {
        let path = request.uri().path();
        match path.strip_suffix('/').unwrap_or(path) {
            "/metrics" if matches!(*request.method(), Method::GET | Method::HEAD) => {
                let message = json!({ "message": "An unexpected error occurred" });
                (StatusCode::INTERNAL_SERVER_ERROR, message)
            }
            "/status" | "/status/ready" | "/metrics"
                if !matches!(*request.method(), Method::GET | Method::HEAD) =>
            {
                let message = json!({ "message": "Method not allowed" });
                (StatusCode::METHOD_NOT_ALLOWED, message)
            }
            "/status" => self.status(request.uri().query().unwrap_or_default()),
            "/status/ready" => match self.pulse.ready() {
                Ok(()) => (StatusCode::OK, json!({ "message": "ready" })),
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "message": why })),
            },
            _ => (StatusCode::NOT_FOUND, json!({ "message": "Not found" })),
        }
    }

    fn status(&self, query: &str) -> (StatusCode, Value) {
        let query = form::pairs(query.as_bytes()).map_err(body::BodyError::from);
        let shown = query
            .map_err(Into::into)
            .and_then(|query| node::pulse(&self.pulse.counters(), &query));
        match shown {
            Ok(mut status) => {
                status["configuration"] = json!({ "applied": self.pulse.revision() });
                (StatusCode::OK, status)
            }
            Err(problem) => (problem.status(), problem.document()),
        }
    }
}

/// The media type of documents.
const JSON: &str = "application/json; charset=utf-8";

fn respond<B>(
    request: &Request<B>,
    status: StatusCode,
    media_type: &'static str,
    body: Bytes,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LENGTH, body.len().into());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if *request.method() == Method::HEAD {
        return response;
    }
    response.map(|_| Full::new(body))
}

impl Answers for StatusApi {
    async fn answer(&self, request: Request<Watched<Incoming>>) -> Response<Full<Bytes>> {
        self.handle(&request).await
    }

    async fn retired(&self) {
        std::future::pending().await
    }
}

impl fmt::Debug for StatusApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusApi").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use http_body_util::BodyExt as _;

    use super::*;

    struct Node(AtomicBool);

    impl Pulse for Node {
        fn counters(&self) -> Counters {
            Counters {
                requests: 7,
                ..Counters::default()
            }
        }

        fn revision(&self) -> u64 {
            3
        }

        fn metrics(&self) -> String {
            "# a comment\n".to_owned()
        }

        fn ready(&self) -> Result<(), &'static str> {
            self.0.load(Relaxed).then_some(()).ok_or("shutting down")
        }
    }

    async fn ask(node: &Arc<Node>, method: &str, path: &str) -> (u16, Value) {
        let api = StatusApi::new(Arc::clone(node) as Arc<dyn Pulse>);
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = api.handle(&request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn metrics_are_shown_as_text() {
        let node = Arc::new(Node(AtomicBool::new(false)));
        let api = StatusApi::new(Arc::clone(&node) as Arc<dyn Pulse>);
        for (method, expected) in [("GET", "# a comment\n"), ("HEAD", "")] {
            let request = Request::builder()
                .method(method)
                .uri("/metrics")
                .body(())
                .unwrap();
            let response = api.handle(&request).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()[CONTENT_TYPE], Exposition::CONTENT_TYPE);
            assert_eq!(response.headers()[CONTENT_LENGTH], "12");
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected);
        }
        assert_eq!(ask(&node, "POST", "/metrics").await.0, 405);
    }

    #[tokio::test]
    async fn it_answers_as_kong_s_does() {
        let node = Arc::new(Node(AtomicBool::new(true)));
        assert_eq!(
            ask(&node, "GET", "/status/ready").await,
            (200, json!({ "message": "ready" }))
        );
        let (status, shown) = ask(&node, "GET", "/status/?unit=b").await;
        assert_eq!(
            (status, &shown["server"]["total_requests"]),
            (200, &Value::from(7))
        );
        assert_eq!(shown["database"]["reachable"], true);
        assert_eq!(shown["configuration"]["applied"], 3);
        assert_eq!(ask(&node, "GET", "/status?unit=x").await.0, 400);
        assert_eq!(ask(&node, "POST", "/status").await.0, 405);
        assert_eq!(ask(&node, "GET", "/services").await.0, 404);
        node.0.store(false, Relaxed);
        assert_eq!(
            ask(&node, "GET", "/status/ready").await,
            (503, json!({ "message": "shutting down" }))
        );
        assert_eq!(ask(&node, "HEAD", "/status/ready").await, (503, Value::Null));
        assert_eq!(
            ask(&node, "GET", "/status").await.0,
            200,
            "it is alive all the same"
        );
    }
}
