//! What counts, keeps and remembers goes on doing so through changes of something else, whichever way they come.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use gw_testkit::{Answer, Client, Etcd, Fault, Gate, GatewayBuilder, Relay, Reply, Streaming, Upstream, Way};
use serde_json::{Value, json};

use crate::cluster::{alarms, following, until};
use crate::support::{Stage, id, program, refusal};

/// Longer than any test, in seconds.
const LONG: u32 = 60_000;

/// What is asked again and again, the header that says how often it may be asked still, and how often at first.
const COUNTED: [(&str, &str, usize); 5] = [
    ("/limited", "x-ratelimit-remaining-year", 100),
    ("/counted", "x-ratelimit-remaining", 100),
    ("/costly", "x-ratelimit-remaining-video-year", 100),
    ("/keyed", "x-ratelimit-remaining-year", 100),
    ("/everywhere", "x-ratelimit-remaining-year", 100),
];

/// The targets that take turns, by the route to them.
const TURNS: [(&str, &[&str]); 2] = [
    ("/turns", &["one", "two", "three"]),
    ("/split", &["four", "five", "six"]),
];

/// All the upstreams there are.
struct Scene {
    app: Upstream,
    turns: Vec<Upstream>,
    busy: [Upstream; 2],
    broken: Upstream,
    probed: Upstream,
    /// What the probed one answers probes with.
    health: Arc<AtomicU16>,
    /// What is held goes on once it opens.
    gate: Gate,
}

impl Scene {
    fn new() -> Self {
        let gate = Gate::closed();
        let holding = |gate: &Gate| {
            let gate = gate.clone();
            Upstream::start(move |request| match request.path() {
                "/held" => Reply::status(200).body("begun, ").wait(&gate).body("done"),
                _ => Reply::status(200)
                    .header("content-type", "text/plain")
                    .header("x-kong-limit", "video=1")
                    .body("hello"),
            })
        };
        let health = Arc::new(AtomicU16::new(200));
        let told = Arc::clone(&health);
        Self {
            app: holding(&gate),
            turns: TURNS
                .iter()
                .flat_map(|(_, names)| *names)
                .map(|name| Upstream::named(name))
                .collect(),
            busy: [holding(&gate), holding(&gate)],
            broken: Upstream::builder().close_on_accept().serve(|_| Reply::ok("")),
            probed: Upstream::start(move |request| match request.path() {
                "/health" => Reply::status(told.load(SeqCst)),
                _ => Reply::ok(""),
            }),
            health,
            gate,
        }
    }

    /// A configuration in which as much as possible has a state.
    fn document(&self) -> Value {
        let app = self.app.addr();
        let plugin = |name: &str, config: Value| json!([{ "name": name, "config": config }]);
        let year = |more: &[(&str, &str)]| {
            let mut config = json!({ "year": 100, "policy": "local" });
            for (name, value) in more {
                config[name] = (*value).into();
            }
            plugin("rate-limiting", config)
        };
        let mut keyed = year(&[("limit_by", "consumer")]);
        keyed
            .as_array_mut()
            .expect("a list")
            .push(json!({ "name": "key-auth" }));
        let nodes: Vec<Value> = self.turns.iter().skip(3).map(node).collect();
        let split = json!({ "rules": [{ "weighted_upstreams": [{ "upstream": { "nodes": nodes } }] }] });
        let cost = json!({ "limits": { "video": { "year": 100 } }, "policy": "local" });
        let count = json!({ "count": 100, "time_window": LONG, "key": "remote_addr" });
        let bucket = json!({ "rate": 0.0001, "burst": 0, "key": "remote_addr", "rejected_code": 429 });
        let conn = json!({ "conn": 1, "burst": 0, "default_conn_delay": 1, "key": "remote_addr", "rejected_code": 429 });
        let of_app = [
            ("limited", year(&[])),
            ("counted", plugin("limit-count", count)),
            ("bucket", plugin("limit-req", bucket)),
            ("full", plugin("limit-conn", conn)),
            ("costly", plugin("response-ratelimiting", cost)),
            ("keyed", keyed),
            (
                "cached",
                plugin("proxy-cache", json!({ "strategy": "memory", "cache_ttl": LONG })),
            ),
            ("split", plugin("traffic-split", split)),
        ];
        let of_app: Vec<Value> = of_app
            .into_iter()
            .map(|(name, plugins)| json!({ "name": name, "paths": [format!("/{name}")], "plugins": plugins }))
            .collect();
        let passive = json!({ "passive": { "unhealthy": { "tcp_failures": 1 } } });
        let active = json!({ "active": {
            "http_path": "/health",
            "healthy": { "interval": 0.02, "successes": 1 },
            "unhealthy": { "interval": LONG, "http_failures": 1 },
        } });
        let upstream = |name: &str, algorithm: &str, checks: &Value, targets: &[String]| {
            let targets: Vec<_> = targets.iter().map(|target| json!({ "target": target })).collect();
            json!({ "name": name, "algorithm": algorithm, "healthchecks": checks, "targets": targets })
        };
        let addrs = |all: &[&Upstream]| all.iter().map(|one| one.addr().to_string()).collect::<Vec<_>>();
        let turns: Vec<&Upstream> = self.turns.iter().take(3).collect();
        let busy: Vec<&Upstream> = self.busy.iter().collect();
        let none = json!({});
        let app = app.to_string();
        let upstreams = json!([
            upstream("turns.test", "round-robin", &none, &addrs(&turns)),
            upstream("busy.test", "least-connections", &none, &addrs(&busy)),
            upstream(
                "passive.test",
                "round-robin",
                &passive,
                &[self.broken.addr().to_string(), app.clone()]
            ),
            upstream(
                "active.test",
                "round-robin",
                &active,
                &[self.probed.addr().to_string()]
            ),
            upstream("set.test", "round-robin", &none, &["127.0.0.1:1".to_owned(), app]),
        ]);
        let mut services = vec![
            json!({ "name": "app", "url": self.app.url("/"), "routes": of_app }),
            json!({
                "name": "everywhere", "url": self.app.url("/"), "plugins": year(&[("limit_by", "service")]),
                "routes": [{ "name": "everywhere", "paths": ["/everywhere"] }],
            }),
        ];
        for name in ["turns", "busy", "passive", "active", "set"] {
            services.push(json!({
                "name": name, "url": format!("http://{name}.test"),
                "routes": [{ "name": name, "paths": [format!("/{name}")] }],
            }));
        }
        json!({
            "_format_version": "3.0",
            "services": services,
            "upstreams": upstreams,
            "consumers": [{ "username": "ada", "keyauth_credentials": [{ "key": "ada" }] }],
            "plugins": [{ "name": "prometheus", "config": { "status_code_metrics": true } }],
        })
    }
}

fn node(upstream: &Upstream) -> Value {
    json!({ "host": "127.0.0.1", "port": upstream.port(), "weight": 1, "priority": 0 })
}

/// The configuration, and what has nothing to do with it.
fn with_more(document: &Value, round: usize) -> Value {
    let mut more = document.clone();
    let added = [
        (
            "services",
            json!({
                "name": format!("other-{round}"), "url": "http://127.0.0.1:9",
                "routes": [{ "name": format!("other-{round}"), "paths": [format!("/other/{round}")] }],
            }),
        ),
        (
            "upstreams",
            json!({ "name": format!("other-{round}.test"), "targets": [{ "target": "127.0.0.1:9" }] }),
        ),
        ("consumers", json!({ "username": format!("other-{round}") })),
        (
            "plugins",
            json!({ "name": "correlation-id", "config": { "header_name": format!("x-{round}") } }),
        ),
    ];
    for (list, one) in added {
        more[list].as_array_mut().expect("a list").push(one);
    }
    more
}

/// Leaves who has failed alone for longer than any test.
fn patient(program: GatewayBuilder) -> GatewayBuilder {
    program.env("GW_EJECT_FOR", LONG.to_string())
}

/// A gateway of which each thing with a state has been used, and what must be seen of each from then on.
struct Used<'a> {
    stage: &'a Stage,
    scene: &'a Scene,
    /// How often all that counts has been asked.
    asked: usize,
    /// How many connections the application had accepted.
    connections: usize,
    /// Whose turn it was, in the first rounds.
    turns: [Vec<String>; 2],
    /// The answers that have begun.
    held: Vec<Streaming>,
    /// Which of the two has one of them to make.
    is_busy: usize,
}

impl<'a> Used<'a> {
    async fn begin(stage: &'a Stage, scene: &'a Scene) -> Self {
        // Clients of their own: what is held has connections that nobody else waits for.
        let mut held = Vec::new();
        for path in ["/full/held", "/busy/held"] {
            let call = Client::new().call("GET", stage.gateway.proxy_url(path));
            held.push(call.open().await);
        }
        let is_busy = usize::from(scene.busy[1].counts().requests > 0);
        for _ in 0..4 {
            stage.get("/passive").await.expect_status(200);
        }
        let put = stage.admin("PUT", "/upstreams/set.test/targets/127.0.0.1:1/unhealthy");
        put.send().await.expect_status(204);
        stage.get("/set").await.expect_status(200);
        stage.get("/active").await.expect_status(200);
        scene.health.store(500, SeqCst);
        until("that the probes have seen it", async || {
            stage.get("/active").await.status == 503
        })
        .await;
        scene.health.store(200, SeqCst);
        stage.get("/bucket").await.expect_status(200);
        let first = stage.get("/cached").await.expect_status(200);
        assert_eq!(first.header("x-cache-status"), Some("Miss"), "{first:?}");
        let mut used = Self {
            stage,
            scene,
            asked: 0,
            connections: 0,
            turns: Default::default(),
            held,
            is_busy,
        };
        for (turns, (path, names)) in used.turns.iter_mut().zip(TURNS) {
            for _ in names {
                let answer = stage.get(path).await.expect_status(200);
                turns.push(answer.header("x-instance").expect("a name").to_owned());
            }
        }
        used.counts("the first use").await;
        used.connections = used.scene.app.counts().accepted;
        used.is_kept("nothing").await;
        used
    }

    /// Nothing has forgotten anything because of `change`.
    async fn is_kept(&mut self, change: &str) {
        self.counts(change).await;
        self.remembers(change).await;
        self.is_healthy_as_before(change).await;
    }

    async fn counts(&mut self, change: &str) {
        self.asked += 1;
        for (path, header, at_first) in COUNTED {
            let call = self.stage.call("GET", path).header("apikey", "ada");
            let answer = call.send().await.expect_status(200);
            let left = (at_first - self.asked).to_string();
            assert_eq!(answer.header(header), Some(&*left), "{path} after {change}");
        }
        for (turns, (path, _)) in self.turns.iter().zip(TURNS) {
            let answer = self.stage.get(path).await.expect_status(200);
            assert_eq!(
                answer.header("x-instance"),
                Some(&*turns[(self.asked - 1) % turns.len()]),
                "{path} after {change}: whose turn it is"
            );
        }
    }

    async fn remembers(&self, change: &str) {
        let Self { stage, scene, .. } = self;
        let status = async |path: &str| stage.get(path).await.status;
        assert_eq!(status("/bucket").await, 429, "the bucket is full after {change}");
        assert_eq!(status("/full").await, 429, "one is in after {change}");
        assert_eq!(status("/keyed").await, 401, "the key is asked for after {change}");
        let cached = stage.get("/cached").await.expect_status(200);
        assert_eq!(cached.header("x-cache-status"), Some("Hit"), "after {change}");
        let metrics = stage.admin("GET", "/metrics").send().await;
        let counted = metrics.text().lines().find(|line| {
            line.starts_with("kong_http_requests_total{")
                && line.contains("route=\"limited\"")
                && line.contains("code=\"200\"")
        });
        let counted = counted.and_then(|line| line.rsplit(' ').next());
        assert_eq!(
            counted,
            Some(&*self.asked.to_string()),
            "requests told after {change}"
        );
        assert_eq!(
            scene.app.counts().accepted,
            self.connections,
            "idle connections are used after {change}"
        );
    }

    async fn is_healthy_as_before(&self, change: &str) {
        let Self { stage, scene, .. } = self;
        let before = scene.busy.each_ref().map(|busy| busy.counts().requests);
        for _ in 0..3 {
            for path in ["/passive", "/busy", "/set"] {
                let answer = stage.get(path).await;
                assert_eq!(answer.status, 200, "{path} after {change}: {answer:?}");
            }
        }
        let mut expected = before;
        expected[1 - self.is_busy] += 3;
        let now = scene.busy.each_ref().map(|busy| busy.counts().requests);
        assert_eq!(now, expected, "one of them is busy after {change}");
        assert_eq!(
            scene.broken.counts().accepted,
            1,
            "who has failed is out after {change}"
        );
        for (upstream, target) in [
            ("passive", scene.broken.addr().to_string()),
            ("active", scene.probed.addr().to_string()),
            ("set", "127.0.0.1:1".to_owned()),
        ] {
            let health = stage.read(&format!("/upstreams/{upstream}.test/health")).await;
            let targets = health["data"].as_array().expect("a list");
            let target = targets.iter().find(|one| one["target"] == target);
            assert_eq!(
                target.expect("a target")["health"],
                "UNHEALTHY",
                "{upstream} after {change}"
            );
        }
        assert_eq!(stage.get("/active").await.status, 503, "after {change}");
    }

    /// What was held comes to its end.
    async fn end(self) {
        self.scene.gate.open();
        for held in self.held {
            assert_eq!(held.finish().await.text(), "begun, done");
        }
    }
}

async fn load(stage: &Stage, document: &Value) -> Answer {
    let answer = stage.admin("POST", "/config").json(document).send().await;
    assert!(answer.status < 300, "{answer:?}");
    crate::support::live(answer)
}

/// Changes of each kind, none of what is used.
async fn change_the_rest(stage: &Stage, round: usize) {
    let name = format!("n{round}");
    let service = stage.service(&name, "http://127.0.0.1:9").await;
    let route = stage.route(&service, &format!("/elsewhere/{round}")).await;
    stage.patch(&route.route, &[("hosts[]", "elsewhere.test")]).await;
    let plugins = format!("{}/plugins", route.route);
    let limiter = stage
        .create(&plugins, &[("name", "rate-limiting"), ("config.year", "5")])
        .await;
    stage
        .patch(&format!("/plugins/{}", id(&limiter)), &[("config.year", "6")])
        .await;
    stage.patch(&service, &[("retries", "2")]).await;
    let upstream = format!("/upstreams/{name}.test");
    stage
        .create("/upstreams", &[("name", &format!("{name}.test"))])
        .await;
    stage
        .create(&format!("{upstream}/targets"), &[("target", "127.0.0.1:9")])
        .await;
    stage.patch(&upstream, &[("slots", "100")]).await;
    stage.create("/consumers", &[("username", &name)]).await;
    stage
        .create(&format!("/consumers/{name}/key-auth"), &[("key", &name)])
        .await;
    // Nearer: a route of the same service, a plugin in all chains, what is said of those that are used.
    stage.route("/services/app", &format!("/near/{round}")).await;
    let everywhere = stage.create("/plugins", &[("name", "correlation-id")]).await;
    for used in [
        "/services/app",
        "/routes/limited",
        "/upstreams/turns.test",
        "/consumers/ada",
    ] {
        stage.patch(used, &[("tags[]", &name)]).await;
    }
    stage.delete(&format!("/plugins/{}", id(&everywhere))).await;
    stage.delete(&format!("/consumers/{name}")).await;
    stage.delete(&upstream).await;
    stage.delete(&route.route).await;
    stage.delete(&service).await;
}

/// Waits until a gateway serves all that another has been told so far.
async fn catches_up(stage: &Stage, other: &Stage) {
    let told = other.read("/status").await["configuration"]["applied"].clone();
    until("the other's changes", async || {
        let served = stage.read("/status").await["configuration"]["applied"].clone();
        served.as_u64() >= told.as_u64()
    })
    .await;
}

#[tokio::test]
async fn through_changes_by_the_admin_api_and_by_whole_configurations() {
    let scene = Scene::new();
    let stage = Stage::from(patient(program())).await;
    load(&stage, &scene.document()).await;
    let mut used = Used::begin(&stage, &scene).await;
    for round in 0..3 {
        change_the_rest(&stage, round).await;
        used.is_kept("changes by the Admin API").await;
    }
    for round in 0..3 {
        load(&stage, &with_more(&scene.document(), round)).await;
        used.is_kept("another whole configuration").await;
    }
    load(&stage, &scene.document()).await;
    used.is_kept("the first configuration again").await;
    used.end().await;
}

#[tokio::test]
async fn through_changes_of_another_gateway_and_of_what_was_compacted_meanwhile() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let scene = Scene::new();
    let relay = Relay::to(etcd.addr(0));
    let stage = Stage::from(patient(following(&etcd.store_at(&[relay.addr()], "/gw")))).await;
    let other = Stage::from(following(&etcd.store("/gw"))).await;
    load(&stage, &scene.document()).await;
    catches_up(&other, &stage).await;
    let mut used = Used::begin(&stage, &scene).await;

    change_the_rest(&other, 0).await;
    catches_up(&stage, &other).await;
    used.is_kept("changes by another gateway").await;

    // It hears nothing for a while, and what came meanwhile is no longer told one by one.
    for way in [Way::Up, Way::Down] {
        relay.set(way, Fault::Hold);
    }
    change_the_rest(&other, 1).await;
    etcd.compact().await;
    for way in [Way::Up, Way::Down] {
        relay.set(way, Fault::Pass);
    }
    relay.cut();
    catches_up(&stage, &other).await;
    used.is_kept("a silence, and compaction").await;

    // The same again, by another history.
    let temporary = tempfile::tempdir().expect("a folder");
    let file = temporary.path().join("all.json").display().to_string();
    let command = async |args: &[&str]| {
        let program = program().data_dir(temporary.path().join("data"));
        let (code, said) = refusal(program.args(args).args(["--store", &etcd.store("/gw")])).await;
        assert_eq!(code, Some(0), "{said}");
    };
    command(&["export", "--output", &file]).await;
    etcd.wipe().await;
    etcd.run_all().await;
    until("that its loss is held back", async || {
        alarms(&stage).await.contains(&"held_back".to_owned())
    })
    .await;
    // The Admin API tells of what is stored, and so of nothing now.
    used.counts("a store that lost everything").await;
    used.remembers("a store that lost everything").await;
    command(&["import", &file]).await;
    until("that it has the new history", async || {
        alarms(&stage).await == ["store_reset"]
    })
    .await;
    used.is_kept("a store that was filled again").await;
    used.end().await;
}

#[tokio::test]
async fn through_reloads_of_a_file() {
    const SERVED: &str = "the configuration of the file is served";
    let scene = Scene::new();
    let temporary = tempfile::tempdir().expect("a folder");
    let path = temporary.path().join("gw.yml");
    let put = |document: &Value| {
        let fresh = temporary.path().join("gw.yml.new");
        fs::write(&fresh, document.to_string()).expect("it can be written");
        fs::rename(fresh, &path).expect("a new name");
    };
    put(&scene.document());
    let stage = Stage::from(patient(program()).arg("--config").arg(&path)).await;
    let mut used = Used::begin(&stage, &scene).await;
    for round in 0..3 {
        put(&with_more(&scene.document(), round));
        stage.gateway.wait_for_lines(round + 2, SERVED).await;
        used.is_kept("another file").await;
    }
    put(&scene.document());
    stage.gateway.wait_for_lines(5, SERVED).await;
    used.is_kept("the first file again").await;
    used.end().await;
}
