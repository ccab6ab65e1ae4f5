//! Names resolve off the request path, and a request waits for the first answer only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gw_core::Kind;
use gw_proxy::{Answer, BoxFuture, ResolveError, Resolver};
use gw_testkit::{Client, Gate, Upstream, within};
use serde_json::json;
use tokio::sync::Notify;

use crate::support::Proxy;

/// Answers what the test says; a name it does not know does not exist, one that is broken cannot be looked up.
#[derive(Clone, Debug, Default)]
struct Scripted(Arc<Script>);

#[derive(Debug, Default)]
struct Script {
    answers: Mutex<HashMap<String, Option<Vec<IpAddr>>>>,
    asked: Mutex<HashMap<String, usize>>,
    changed: Notify,
    gate: Option<Gate>,
}

impl Scripted {
    fn gated(gate: &Gate) -> Self {
        Self(Arc::new(Script {
            gate: Some(gate.clone()),
            ..Script::default()
        }))
    }

    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses
            .iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect();
        self.0
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Some(addresses));
    }

    fn break_down(&self, name: &str) {
        self.0
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), None);
    }

    fn asked(&self, name: &str) -> usize {
        self.0
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    async fn wait_asked(&self, name: &str, times: usize) {
        let reached = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.asked(name) >= times {
                    return;
                }
                changed.await;
            }
        };
        within(format_args!("{times} look-ups of {name}"), reached).await;
    }
}

impl Resolver for Scripted {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(async move {
            *self
                .0
                .asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(name.to_owned())
                .or_default() += 1;
            self.0.changed.notify_waiters();
            if let Some(gate) = &self.0.gate {
                gate.wait().await;
            }
            let addresses = self
                .0
                .answers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(name)
                .cloned()
                .unwrap_or(Some(Vec::new()));
            let Some(addresses) = addresses else {
                return Err(ResolveError::Failed {
                    name: name.into(),
                    source: std::io::ErrorKind::TimedOut.into(),
                });
            };
            if addresses.is_empty() {
                return Err(ResolveError::NotFound { name: name.into() });
            }
            Ok(Answer::addresses(addresses, Duration::ZERO))
        })
    }
}

#[tokio::test]
async fn a_request_waits_for_the_first_answer() {
    let (gate, upstream) = (Gate::closed(), Upstream::named("one"));
    let names = Scripted::gated(&gate);
    names.set("app.test", &["127.0.0.1"]);
    let mut proxy = Proxy::builder().resolver(names.clone()).start();
    let service = proxy.put(
        Kind::Service,
        json!({ "host": "app.test", "port": upstream.port() }),
    );
    proxy.route(service, json!({ "paths": ["/"] }));
    let asked = tokio::spawn(Client::new().call("GET", proxy.url("/")).send());
    names.wait_asked("app.test", 1).await;
    assert_eq!(upstream.counts().accepted, 0);
    gate.open();
    asked.await.expect("a task").expect_status(200);
    assert_eq!(
        upstream.requests()[0].header("host"),
        Some(format!("app.test:{}", upstream.port()).as_str())
    );
    // From now on no request makes a look-up.
    let before = names.asked("app.test");
    for _ in 0..20 {
        Client::new().get(proxy.url("/")).await.expect_status(200);
    }
    assert!(names.asked("app.test") <= before + 3);
}

#[tokio::test]
async fn a_request_does_not_wait_longer_than_connecting_may_take() {
    let gate = Gate::closed();
    let mut proxy = Proxy::builder().resolver(Scripted::gated(&gate)).start();
    let service = proxy.put(
        Kind::Service,
        json!({ "host": "app.test", "connect_timeout": 50 }),
    );
    proxy.route(service, json!({ "paths": ["/"] }));
    let answer = Client::new().get(proxy.url("/")).await.expect_status(503);
    assert_eq!(answer.json()["message"], "name resolution failed");
    gate.open();
}

#[tokio::test]
async fn a_name_without_addresses_is_503() {
    let mut proxy = Proxy::builder().resolver(Scripted::default()).start();
    let service = proxy.put(Kind::Service, json!({ "host": "nowhere.test" }));
    proxy.route(service, json!({ "paths": ["/"] }));
    let answer = Client::new().get(proxy.url("/")).await.expect_status(503);
    assert_eq!(answer.json()["message"], "name resolution failed");
    assert_eq!(proxy.log(1).await[0]["failure"], "name_resolution");
}

#[tokio::test]
async fn changes_of_a_name_are_followed_and_failures_survived() {
    let one = Upstream::named("one");
    let here = std::net::SocketAddr::from(([127, 0, 0, 2], one.port()));
    let two = Upstream::builder()
        .addr(here)
        .serve(|_| gw_testkit::Reply::ok("two"));
    let names = Scripted::default();
    names.set("app.test", &["127.0.0.1"]);
    let mut proxy = Proxy::builder().resolver(names.clone()).start();
    let service = proxy.put(Kind::Service, json!({ "host": "app.test", "port": one.port() }));
    proxy.route(service, json!({ "paths": ["/"] }));
    let client = Client::new();
    client.get(proxy.url("/")).await.expect_status(200);
    names.set("app.test", &["127.0.0.2", "127.0.0.1"]);
    names.wait_asked("app.test", names.asked("app.test") + 2).await;
    for _ in 0..4 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(two.counts().requests, 2, "each address gets its turn");
    names.break_down("app.test");
    names.wait_asked("app.test", names.asked("app.test") + 1).await;
    client.get(proxy.url("/")).await.expect_status(200);
    names.set("app.test", &["127.0.0.1"]);
    names.wait_asked("app.test", names.asked("app.test") + 1).await;
    names.set("app.test", &[]);
    names.wait_asked("app.test", names.asked("app.test") + 1).await;
    client.get(proxy.url("/")).await.expect_status(200);
    names.wait_asked("app.test", names.asked("app.test") + 1).await;
    client.get(proxy.url("/")).await.expect_status(503);
    names.set("app.test", &["127.0.0.1"]);
    names.wait_asked("app.test", names.asked("app.test") + 2).await;
    client.get(proxy.url("/")).await.expect_status(200);
}

#[tokio::test]
async fn a_name_nobody_uses_is_no_longer_looked_up() {
    let names = Scripted::default();
    names.set("app.test", &["127.0.0.1"]);
    names.set("other.test", &["127.0.0.1"]);
    let mut proxy = Proxy::builder().resolver(names.clone()).start();
    let gone = proxy.put(Kind::Service, json!({ "host": "app.test" }));
    proxy.put(Kind::Service, json!({ "host": "other.test" }));
    names.wait_asked("app.test", 2).await;
    proxy.delete(Kind::Service, gone);
    let asked = names.asked("app.test");
    names
        .wait_asked("other.test", names.asked("other.test") + 3)
        .await;
    assert!(
        names.asked("app.test") <= asked + 1,
        "{asked}, then {}",
        names.asked("app.test")
    );
}
