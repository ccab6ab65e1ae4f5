//! Upstreams that tests ask for again and again.

use serde_json::{Map, Value, json};

use super::{Bodies, Upstream};
use crate::{Received, Reply};

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
