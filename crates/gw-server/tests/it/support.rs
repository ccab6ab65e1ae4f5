//! What the tests of the program share: starting it, its operator, its access log.

use std::net::SocketAddr;

use gw_testkit::{Answer, Call, Client, Gateway, GatewayBuilder, StartError, Upstream};
use serde_json::{Value, json};

/// The lists of the Admin API that hold everything but targets, which have no list of their own.
const LISTS: [&str; 10] = [
    "/services",
    "/routes",
    "/consumers",
    "/plugins",
    "/upstreams",
    "/key-auths",
    "/basic-auths",
    "/jwts",
    "/hmac-auths",
    "/acls",
];

/// What a line of the access log has and no other line.
pub(crate) const ACCESS: &str = "\"request_id\":";

/// The program under test, with two workers: what only holds within one of them shows.
pub(crate) fn program() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_gw-server")).env("GW_WORKERS", "2")
}

/// Starts the program where it must not start; returns how it ended and all it said.
pub(crate) async fn refusal(program: GatewayBuilder) -> (Option<i32>, String) {
    match program.try_start().await {
        Ok(gateway) => panic!("it started:\n{}", gateway.log().join("\n")),
        Err(StartError::Exited { status, log }) => (status.code(), log.join("\n")),
        Err(error) => panic!("{error}"),
    }
}

/// A running gateway, with an operator and a client.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) client: Client,
}

/// A service and its route.
pub(crate) struct Exposed {
    /// Path of the service in the Admin API.
    pub(crate) service: String,
    /// Path of the route in the Admin API.
    pub(crate) route: String,
}

impl Stage {
    /// Starts a gateway that has nothing to do yet.
    pub(crate) async fn start() -> Self {
        Self::from(program()).await
    }

    /// Starts this one.
    pub(crate) async fn from(program: GatewayBuilder) -> Self {
        Self::of(program.start().await)
    }

    /// Around a gateway that runs.
    pub(crate) fn of(gateway: Gateway) -> Self {
        Self {
            gateway,
            client: Client::new(),
        }
    }

    /// Kills the gateway and starts it again on the same data.
    pub(crate) async fn restart(self) -> Self {
        Self::of(self.gateway.restart().await)
    }

    // --- clients ---

    /// A call through the gateway.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        self.client.call(method, self.gateway.proxy_url(path))
    }

    /// GET through the gateway.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    // --- operator ---

    /// A call of the Admin API.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Call {
        self.client.call(method, self.gateway.admin_url(path))
    }

    /// Creates an entity from a form and returns it.
    pub(crate) async fn create(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let answer = self.admin("POST", path).form(form).send().await;
        live(answer.expect_status(201)).json()
    }

    /// Changes an entity by a form and returns it.
    pub(crate) async fn patch(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let answer = self.admin("PATCH", path).form(form).send().await;
        live(answer.expect_status(200)).json()
    }

    /// Changes an entity by a document and returns it.
    pub(crate) async fn patch_json(&self, path: &str, document: Value) -> Value {
        let answer = self.admin("PATCH", path).json(&document).send().await;
        live(answer.expect_status(200)).json()
    }

    /// Deletes an entity.
    pub(crate) async fn delete(&self, path: &str) {
        let answer = self.admin("DELETE", path).send().await;
        assert_eq!(live(answer.expect_status(204)).body.len(), 0, "204 has no body");
    }

    /// Reads a document of the Admin API.
    pub(crate) async fn read(&self, path: &str) -> Value {
        self.admin("GET", path).send().await.expect_status(200).json()
    }

    /// Makes `upstream` a service of this name, and a route to it for this path.
    pub(crate) async fn expose(&self, name: &str, upstream: &Upstream, path: &str) -> Exposed {
        let service = self.service(name, &upstream.url("/")).await;
        self.route(&service, path).await
    }

    /// Makes a service of this name and address, and returns its path in the Admin API.
    pub(crate) async fn service(&self, name: &str, url: &str) -> String {
        self.create("/services", &[("name", name), ("url", url)]).await;
        format!("/services/{name}")
    }

    /// Makes a route for this path to a service given by its path in the Admin API.
    pub(crate) async fn route(&self, service: &str, path: &str) -> Exposed {
        let route = self
            .create(&format!("{service}/routes"), &[("paths[]", path)])
            .await;
        Exposed {
            service: service.to_owned(),
            route: format!("/routes/{}", id(&route)),
        }
    }

    /// Makes an upstream of this name with these targets, and returns its path in the Admin API.
    pub(crate) async fn upstream(&self, name: &str, targets: &[SocketAddr]) -> String {
        self.create("/upstreams", &[("name", name)]).await;
        for target in targets {
            let path = format!("/upstreams/{name}/targets");
            self.create(&path, &[("target", &target.to_string())]).await;
        }
        format!("/upstreams/{name}")
    }

    /// Everything the operator can see, by list, with the revision it was seen at.
    pub(crate) async fn everything(&self) -> Value {
        let mut seen = json!({});
        for list in LISTS {
            let answer = self.admin("GET", &format!("{list}?size=1000")).send().await;
            let answer = answer.expect_status(200);
            assert_eq!(answer.json()["next"], Value::Null, "{list} has a second page");
            seen[list] = answer.json()["data"].clone();
            seen["revision"] = revision(&answer).into();
        }
        for upstream in seen["/upstreams"].as_array().cloned().unwrap_or_default() {
            let list = format!("/upstreams/{}/targets", id(&upstream));
            seen[&list] = self.read(&list).await["data"].clone();
        }
        seen
    }

    // --- access log ---

    /// Waits for at least `n` lines of the access log and returns all there are, in order.
    pub(crate) async fn access_log(&self, n: usize) -> Vec<Value> {
        let lines = self.gateway.wait_for_lines(n, ACCESS).await;
        lines.iter().map(|line| parsed(line)).collect()
    }

    /// Waits for the access log's lines about the requests that were answered so, in the order of the answers.
    ///
    /// Lines are written in batches: ask for many at once.
    pub(crate) async fn access_lines(&self, answers: &[Answer]) -> Vec<Value> {
        let mut lines = Vec::with_capacity(answers.len());
        for answer in answers {
            let id = format!("\"{}\"", request_id(answer));
            lines.push(parsed(&self.gateway.wait_for_line(&id).await));
        }
        lines
    }

    /// Waits for the access log's line about the request that was answered so.
    pub(crate) async fn access_line(&self, answer: &Answer) -> Value {
        self.access_lines(std::slice::from_ref(answer)).await.remove(0)
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Passes the answer to a write on if the write is live, and says at which revision.
#[track_caller]
pub(crate) fn live(answer: Answer) -> Answer {
    revision(&answer);
    assert_eq!(
        answer.header("x-config-applied"),
        None,
        "the write is stored but not served"
    );
    answer
}

/// The revision that an answer of the Admin API is about.
#[track_caller]
pub(crate) fn revision(answer: &Answer) -> u64 {
    number(answer, "x-config-revision")
}

/// A header that is a number.
#[track_caller]
pub(crate) fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer
        .header(name)
        .unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    value
        .parse()
        .unwrap_or_else(|error| panic!("{name}: {value}: {error}"))
}

/// The id of a request, from its answer.
#[track_caller]
pub(crate) fn request_id(answer: &Answer) -> &str {
    let id = answer
        .header("x-kong-request-id")
        .unwrap_or_else(|| panic!("no X-Kong-Request-Id in {answer:?}"));
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id} is not 32 hexadecimal digits"
    );
    id
}

/// The id of an entity.
#[track_caller]
pub(crate) fn id(entity: &Value) -> &str {
    entity["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id in {entity}"))
}

/// Checks that the upstream made the answer: the gateway passed it on and says so.
#[track_caller]
pub(crate) fn proxied(answer: &Answer) {
    assert_eq!(
        answer.header("via"),
        Some(&*format!("1.1 {}", gateway_name())),
        "{answer:?}"
    );
    number(answer, "x-kong-upstream-latency");
    number(answer, "x-kong-proxy-latency");
    request_id(answer);
    assert_eq!(answer.header("x-kong-response-latency"), None, "{answer:?}");
}

/// Checks that the gateway itself made the answer, with this status and message, and no upstream.
#[track_caller]
pub(crate) fn gateway_made(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    number(answer, "x-kong-response-latency");
    for header in ["via", "x-kong-upstream-latency", "x-kong-proxy-latency"] {
        assert_eq!(answer.header(header), None, "{header} in {answer:?}");
    }
    assert_eq!(answer.header("server"), Some(&*gateway_name()));
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(
        answer.json(),
        json!({ "message": message, "request_id": request_id(answer) })
    );
}

/// As headers spell it.
pub(crate) fn gateway_name() -> String {
    format!("gw/{}", env!("CARGO_PKG_VERSION"))
}
