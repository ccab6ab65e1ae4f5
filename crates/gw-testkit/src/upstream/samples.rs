//! Upstreams that tests ask for again and again.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Bodies, Upstream};
use crate::{End, Gate, Received, Reply};

impl Upstream {
    /// Says `Hello from <name>` to everything, and its name in the header `x-instance`.
    pub fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self::start(move |_| Reply::ok(format!("Hello from {name}")).header("x-instance", &name))
    }

    /// Answers with what it got, as JSON: `method`, `path`, `query`, `headers` (by lower-cased name, values joined by
    /// `, `), `body` as text.
    pub fn echo() -> Self {
        Self::start(|request| Reply::json(&described(request)))
    }

    /// The sample service of Kong's load-balancing tutorial: `/profile` knows who asks by `X-Consumer-ID` and is 401
    /// `Unauthorized` without it; anything else says hello, with the instance's name in the header `x-instance`.
    pub fn tutorial(instance: &str) -> Self {
        let instance = instance.to_owned();
        Self::start(move |request| {
            let reply = match (request.path(), request.header("x-consumer-id")) {
                ("/profile", Some(id)) => Reply::json(&json!({ "consumer_id": id })),
                ("/profile", None) => Reply::status(401)
                    .header("content-type", "text/plain")
                    .body("Unauthorized"),
                _ => Reply::ok("Hello from my service"),
            };
            reply.header("x-instance", &instance)
        })
    }

    /// Reads bodies of any size without keeping them and answers `{"bytes": n, "pattern": bool}`.
    pub fn counting() -> Self {
        Self::builder().bodies(Bodies::Count).serve(|request| {
            Reply::json(&json!({ "bytes": request.body_len, "pattern": request.body_is_pattern }))
        })
    }

    /// Answers everything with `len` bytes of [`Pattern`](crate::Pattern).
    pub fn generating(len: u64) -> Self {
        Self::start(move |_| Reply::status(200).generated(len))
    }

    /// Declares `declared` bytes of body and sends `sent` of [`Pattern`](crate::Pattern), then closes without notice.
    pub fn promising(declared: u64, sent: u64) -> Self {
        Self::start(move |_| Reply::status(200).generated(sent).declared_length(declared))
    }

    /// Answers everything with a body without end.
    pub fn endless() -> Self {
        Self::start(|_| Reply::status(200).endless())
    }

    /// Answers with `body`, its head at once and then one byte after each pause.
    pub fn dripping(body: &'static str, pause: Duration) -> Self {
        Self::start(move |_| Reply::status(200).drip(body, pause))
    }

    /// Reads requests and never answers.
    pub fn silent() -> Self {
        let never = Gate::closed();
        Self::start(move |_| Reply::status(200).hold(&never))
    }

    /// Resets the connection instead of answering.
    pub fn resetting() -> Self {
        Self::start(|_| Reply::raw("").end(End::Reset))
    }

    /// Ends its side of the connection after a whole answer, without notice, and goes on reading.
    pub fn half_closing() -> Self {
        Self::start(|_| Reply::ok("the last word").end(End::HalfClose))
    }

    /// Accepts connections and closes them at once.
    pub fn closing() -> Self {
        Self::builder().close_on_accept().serve(|_| Reply::status(500))
    }
}

fn described(request: &Received) -> Value {
    let mut headers = Map::new();
    for (name, _) in &request.headers {
        headers.insert(
            name.to_ascii_lowercase(),
            request.headers_named(name).join(", ").into(),
        );
    }
    json!({
        "method": request.method,
        "path": request.path(),
        "query": request.query(),
        "headers": headers,
        "body": String::from_utf8_lossy(&request.body),
    })
}
