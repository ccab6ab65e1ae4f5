//! Plugins of several nodes that count in one real Redis, and what becomes of requests when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use gw_testkit::{Server, dead_port};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::builtin::limit_conn::LimitConn;
use crate::builtin::limit_count::LimitCount;
use crate::builtin::limit_req::LimitReq;
use crate::builtin::rate_limiting::RateLimiting;
use crate::builtin::response_ratelimiting::ResponseRatelimiting;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;
use crate::test_lender::TestLender;

/// 20 seconds into a minute.
const NOW: u64 = 1_700_000_000;

/// How long the tests wait for what happens beside requests.
const DEADLINE: Duration = Duration::from_secs(20);

fn registry() -> Registry {
    Registry::new()
        .with_waiting::<RateLimiting>()
        .with_waiting::<ResponseRatelimiting>()
        .with_waiting::<LimitCount>()
        .with_waiting::<LimitReq>()
        .with_waiting::<LimitConn>()
        .lent(TestLender::new())
}

/// A node with one plugin. Where the settings have no place for a Redis, it is this one.
fn node(name: &str, settings: &Value, redis: &Server) -> Arc<Kit> {
    let mut settings = settings.clone();
    settings["policy"] = json!("redis");
    if settings.get("redis").is_none() && settings.get("redis_host").is_none() {
        settings["redis_host"] = json!("127.0.0.1");
        settings["redis_port"] = json!(redis.port());
        // A machine that is busy with other tests does not make Redis slow.
        settings["redis_timeout"] = json!(20_000);
    }
    let mut kit = Kit::of(&registry(), name, settings);
    kit.now = Some(UNIX_EPOCH + Duration::from_secs(NOW));
    Arc::new(kit)
}

async fn send(kit: &Kit) -> Ran {
    kit.access_waiting(Request::get("/").body("").unwrap()).await
}

fn status(ran: &Ran) -> Option<u16> {
    ran.reply.as_ref().map(|reply| reply.status.as_u16())
}

/// Sends as many requests as are asked for, from 64 clients at once, to the nodes in turn; those that pass are still under way.
async fn flood(nodes: &[Arc<Kit>], requests: usize) -> Vec<Ran> {
    let mut clients = JoinSet::new();
    for client in 0..64 {
        let kit = Arc::clone(&nodes[client % nodes.len()]);
        clients.spawn(async move {
            let mut passed = Vec::new();
            for _ in 0..requests / 64 {
                let ran = send(&kit).await;
                match status(&ran) {
                    None => passed.push(ran),
                    Some(429 | 503) => {}
                    Some(other) => panic!("answered {other}"),
                }
            }
            passed
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// Asks Redis.
async fn ask<T: redis::FromRedisValue>(redis: &Server, command: &[&str]) -> T {
    let client = redis::Client::open(format!("redis://{}", redis.addr())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut cmd = redis::cmd(command[0]);
    for argument in &command[1..] {
        cmd.arg(*argument);
    }
    cmd.query_async(&mut connection).await.unwrap()
}

/// Waits until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn of_many_at_once_exactly_so_many_pass() {
    let Some(redis) = gw_testkit::server("redis").await else {
        return;
    };
    for (name, settings) in [
        ("rate-limiting", json!({ "minute": 100, "hour": 1000 })),
        ("rate-limiting", json!({ "day": 100, "limit_by": "service" })),
        (
            "limit-count",
            json!({ "count": 100, "time_window": 600, "group": "fixed" }),
        ),
        (
            "limit-count",
            json!({ "count": 100, "time_window": 86_400, "group": "sliding", "window_type": "sliding" }),
        ),
    ] {
        ask::<()>(&redis, &["FLUSHALL"]).await;
        let nodes = [node(name, &settings, &redis), node(name, &settings, &redis)];
        assert_eq!(flood(&nodes, 640).await.len(), 100, "{name} {settings}");
    }
    for (name, settings) in [
        (
            "limit-req",
            json!({ "rate": 0.001, "burst": 99, "key": "remote_addr", "nodelay": true }),
        ),
        (
            "limit-conn",
            json!({ "conn": 100, "burst": 0, "key": "remote_addr", "default_conn_delay": 0.1 }),
        ),
    ] {
        let nodes = [node(name, &settings, &redis)];
        let mut passed = flood(&nodes, 640).await;
        assert_eq!(passed.len(), 100, "{name}");
        if name == "limit-conn" {
            nodes[0].log(&mut passed[0], StatusCode::OK, None);
            until("a place that is given back is there again", async || {
                status(&send(&nodes[0]).await).is_none()
            })
            .await;
        }
    }
}

#[tokio::test]
async fn clients_are_told_what_all_nodes_have_counted() {
    let Some(redis) = gw_testkit::server("redis").await else {
        return;
    };
    let settings = json!({ "minute": 3, "hour": 9 });
    let nodes = [
        node("rate-limiting", &settings, &redis),
        node("rate-limiting", &settings, &redis),
    ];
    let mut seen = Vec::new();
    for turn in 0..4 {
        let kit = &nodes[turn % 2];
        let mut ran = send(kit).await;
        let mut head = Response::new(()).into_parts().0;
        kit.header_filter(&mut ran, &mut head);
        let value = |name: &str| {
            head.headers
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let names = [
            "x-ratelimit-remaining-minute",
            "x-ratelimit-remaining-hour",
            "ratelimit-reset",
            "retry-after",
        ];
        seen.push(format!("{:?} {}", status(&ran), names.map(value).join(" ")));
    }
    assert_eq!(
        seen,
        [
            "None 2 8 40 -",
            "None 1 7 40 -",
            "None 0 6 40 -",
            "Some(429) 0 6 40 40"
        ]
    );

    let settings = json!({ "count": 2, "time_window": 60, "group": "told" });
    let kit = node("limit-count", &settings, &redis);
    for expected in ["None 2/1/60", "None 2/0/60", "Some(503) 2/0/60"] {
        let mut ran = send(&kit).await;
        let mut head = Response::new(()).into_parts().0;
        kit.header_filter(&mut ran, &mut head);
        let value = |name: &str| {
            head.headers[format!("x-ratelimit-{name}")]
                .to_str()
                .unwrap()
                .to_owned()
        };
        let told = ["limit", "remaining", "reset"].map(value).join("/");
        assert_eq!(format!("{:?} {told}", status(&ran)), expected);
    }
}

#[tokio::test]
async fn keys_are_kongs() {
    let Some(redis) = gw_testkit::server("redis").await else {
        return;
    };
    let route = "33333333-3333-4333-8333-333333333333";
    let settings = json!({ "minute": 5, "policy": "redis", "redis": { "host": "localhost", "port": redis.port(), "database": 3 } });
    let mut kit = Kit::of(&registry(), "rate-limiting", settings);
    kit.now = Some(UNIX_EPOCH + Duration::from_secs(NOW));
    let id = kit.id().to_string();
    let kit = kit
        .entity("routes", json!({ "id": route, "paths": ["/"], "updated_at": 1 }))
        .entity(
            "plugins",
            json!({ "id": id, "name": "rate-limiting", "route": { "id": route }, "config": {} }),
        );
    assert_eq!(status(&send(&kit).await), None);
    ask::<()>(&redis, &["SWAPDB", "0", "3"]).await;
    let keys: Vec<String> = ask(&redis, &["KEYS", "*"]).await;
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        keys,
        [format!("ratelimit:{route}:{nil}:127.0.0.1:1699999980000:minute")]
    );
    let life: i64 = ask(&redis, &["TTL", &keys[0]]).await;
    assert!((1..=45).contains(&life), "{life}");
}

#[tokio::test]
async fn costs_of_responses_are_counted_when_they_are_over() {
    let Some(redis) = gw_testkit::server("redis").await else {
        return;
    };
    let settings = json!({ "limits": { "video": { "minute": 3 } }, "block_on_first_violation": true });
    let kit = node("response-ratelimiting", &settings, &redis);
    for cost in [2, 1] {
        let mut ran = send(&kit).await;
        assert_eq!(status(&ran), None);
        let response = Response::builder().header("x-kong-limit", format!("video={cost}"));
        let answer = kit.respond(&mut ran, response.body(vec![Bytes::new()]).unwrap());
        assert!(answer.reply.is_none());
        kit.log(&mut ran, StatusCode::OK, None);
        let key = "response-ratelimit:00000000-0000-0000-0000-000000000000:00000000-0000-0000-0000-000000000000:\
                   127.0.0.1:1699999980000:video:minute";
        let sum = if cost == 2 { "2" } else { "3" };
        until("Redis has heard of it", async || {
            ask::<Option<String>>(&redis, &["GET", key]).await.as_deref() == Some(sum)
        })
        .await;
    }
    let refused = send(&kit).await;
    assert_eq!(
        refused.reply.unwrap().text(),
        Some("API rate limit exceeded for 'video'")
    );
}

#[tokio::test]
async fn counts_that_are_exchanged_now_and_then_come_together() {
    let Some(redis) = gw_testkit::server("redis").await else {
        return;
    };
    let settings = json!({ "minute": 6, "sync_rate": 0.02 });
    let (one, two) = (
        node("rate-limiting", &settings, &redis),
        node("rate-limiting", &settings, &redis),
    );
    for _ in 0..4 {
        assert_eq!(status(&one.access(Request::get("/").body("").unwrap())), None);
    }
    let key = "ratelimit:00000000-0000-0000-0000-000000000000:00000000-0000-0000-0000-000000000000:\
               127.0.0.1:1699999980000:minute";
    let sum = async || ask::<Option<u64>>(&redis, &["GET", key]).await.unwrap_or(0);
    until("Redis has heard of the first node's", async || sum().await == 4).await;
    // The second node finds out with its first exchange that two are left, of which it has taken one.
    assert_eq!(status(&two.access(Request::get("/").body("").unwrap())), None);
    until("Redis has heard of the second node's", async || sum().await == 5).await;
    let mut passed = 0;
    until("the second node refuses", async || {
        let refused = status(&two.access(Request::get("/").body("").unwrap())).is_some();
        passed += usize::from(!refused);
        refused
    })
    .await;
    assert!((1..5).contains(&passed), "the first node's count too: {passed}");
}

#[tokio::test]
async fn a_redis_that_is_away_lets_pass_or_not() {
    let Some(redis) = gw_testkit::server("redis").await else {
        return;
    };
    let place = |timeout: u64| json!({ "host": "127.0.0.1", "port": redis.port(), "timeout": timeout });
    let kit = |fault_tolerant: bool| {
        let settings = json!({ "minute": 100, "fault_tolerant": fault_tolerant, "redis": place(20_000) });
        node("rate-limiting", &settings, &redis)
    };
    let (tolerant, strict) = (kit(true), kit(false));
    let apisix =
        json!({ "count": 100, "time_window": 60, "redis_host": "127.0.0.1", "redis_port": redis.port() });
    let (mut degrading, mut not) = (apisix.clone(), apisix);
    degrading["allow_degradation"] = json!(true);
    not["redis_timeout"] = json!(20_000);
    let (degrading, not) = (
        node("limit-count", &degrading, &redis),
        node("limit-count", &not, &redis),
    );
    assert_eq!(status(&send(&strict).await), None);

    // Stopped, it costs the first request its whole time, and the next ones nothing.
    redis.pause();
    let slow = node(
        "rate-limiting",
        &json!({ "minute": 100, "redis": place(100) }),
        &redis,
    );
    let begun = Instant::now();
    assert_eq!(status(&send(&slow).await), None);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(status(&send(&slow).await), None);
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
    redis.resume();

    // Started anew, it is reached again, without any request that fails: the connection broke while nobody used it.
    let redis = redis.restart().await;
    assert_eq!(status(&send(&strict).await), None);
    let counted: Vec<String> = ask(&redis, &["KEYS", "ratelimit:*"]).await;
    assert_eq!(counted.len(), 1);

    redis.kill9().await;
    let refused = send(&strict).await.reply.unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.text()),
        (500, Some("An unexpected error occurred"))
    );
    assert_eq!(status(&send(&tolerant).await), None);
    assert_eq!(status(&send(&degrading).await), None);
    assert_eq!(status(&send(&not).await), Some(500));
}

/// A node whose Redis is at this address.
fn node_at(address: std::net::SocketAddr, timeout: u64) -> Arc<Kit> {
    let settings = json!({
        "minute": 1_000_000, "policy": "redis", "fault_tolerant": false,
        "redis": { "host": "127.0.0.1", "port": address.port(), "timeout": timeout },
    });
    Arc::new(Kit::of(&registry(), "rate-limiting", settings))
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_once_however_many_come() {
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let node = node_at(silent.local_addr().unwrap(), 200);
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let kit = Arc::clone(&node);
        clients.spawn(async move {
            let mut slow = 0;
            for _ in 0..8 {
                let begun = Instant::now();
                assert_eq!(status(&send(&kit).await), Some(500));
                slow += usize::from(begun.elapsed() >= Duration::from_millis(150));
            }
            slow
        });
    }
    let slow: usize = clients.join_all().await.into_iter().sum();
    // Those who came while it was not known yet, and half a second later perhaps some once more.
    assert!((1..=32).contains(&slow), "{slow} of 128 waited");
}

/// A Redis that says OK to everything, but to the calls of scripts: it takes so many, and closes the connection without an
/// answer. Gives how many calls it has taken.
fn dropping(listener: tokio::net::TcpListener) -> Arc<std::sync::atomic::AtomicUsize> {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    let calls = Arc::<std::sync::atomic::AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let mut stream = BufReader::new(stream);
            'commands: loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    break;
                }
                let parts: usize = line.trim().trim_start_matches('*').parse().unwrap();
                for part in 0..parts {
                    line.clear();
                    stream.read_line(&mut line).await.unwrap();
                    let length: usize = line.trim().trim_start_matches('$').parse().unwrap();
                    let mut text = vec![0; length + 2];
                    stream.read_exact(&mut text).await.unwrap();
                    if part == 0 && text.starts_with(b"EVALSHA") {
                        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        break 'commands;
                    }
                }
                stream.write_all(b"+OK\r\n").await.unwrap();
            }
        }
    });
    calls
}

#[tokio::test]
async fn what_redis_may_have_counted_is_not_counted_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = node_at(listener.local_addr().unwrap(), 20_000);
    let calls = dropping(listener);
    assert_eq!(status(&send(&node).await), Some(500));
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn users_and_tls() {
    let authority = gw_testkit::Authority::new();
    let identity = authority.identity(&["redis.example"]);
    let (chain, key) = identity.pem();
    let port = dead_port();
    let started = Server::builder("redis")
        .file("chain.pem", chain)
        .file("key.pem", key)
        .setting(format!("tls-port {}", port.port()))
        .setting(
            "tls-cert-file chain.pem\ntls-key-file key.pem\ntls-ca-cert-file chain.pem\ntls-auth-clients no",
        )
        .setting("user gateway on >secret ~* &* +@all")
        .setting("requirepass other")
        .start()
        .await;
    let Some(redis) = started else { return };
    let tls = |verify: bool, more: Value| {
        let mut place = json!({ "host": "127.0.0.1", "port": port.port(), "ssl": true, "ssl_verify": verify, "timeout": 20_000 });
        for (name, value) in more.as_object().unwrap() {
            place[name] = value.clone();
        }
        node(
            "rate-limiting",
            &json!({ "minute": 9, "fault_tolerant": false, "redis": place }),
            &redis,
        )
    };
    let good = json!({ "username": "gateway", "password": "secret", "server_name": "redis.example" });
    for (verify, more, answer) in [
        (false, good.clone(), None),
        (false, json!({ "password": "other" }), None),
        (false, json!({ "password": "wrong" }), Some(500)),
        (false, json!({}), Some(500)),
        // No authority that the system trusts has signed it.
        (true, good, Some(500)),
    ] {
        assert_eq!(
            status(&send(&tls(verify, more.clone())).await),
            answer,
            "{verify} {more}"
        );
    }
}
