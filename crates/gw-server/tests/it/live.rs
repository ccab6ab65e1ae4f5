//! A write is live when its answer arrives, and disturbs nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gw_testkit::{Answer, Client, Upstream};
use serde_json::{Value, json};

use crate::support::{Stage, gateway_made, id, live, proxied, revision};

const NO_ROUTE: &str = "no Route matched with those values";

#[tokio::test]
async fn a_route_made_now_is_served_now_a_thousand_times() {
    let upstream = Upstream::named("quick");
    let stage = Stage::start().await;
    let service = stage.service("quick", &upstream.url("/")).await;
    // Connections of their own, spread over the workers, kept from before the routes were made.
    let clients: [Client; 4] = std::array::from_fn(|_| Client::new());
    let mut last = 0;
    for n in 0..1000 {
        let path = format!("/r/{n}/");
        let made = stage
            .admin("POST", &format!("{service}/routes"))
            .form(&[("paths[]", &path)])
            .send()
            .await;
        let made = live(made.expect_status(201));
        assert!(revision(&made) > last, "revisions rise");
        last = revision(&made);
        let client = &clients[n % clients.len()];
        let answer = client.get(stage.gateway.proxy_url(&path)).await;
        assert_eq!(answer.status, 200, "route {n}: {answer:?}");
    }
    // Every one of them is there still.
    for n in [0, 1, 499, 998, 999] {
        stage.get(&format!("/r/{n}/")).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_route_deleted_or_changed_now_is_so_now() {
    let upstream = Upstream::named("quick");
    let stage = Stage::start().await;
    let service = stage.service("quick", &upstream.url("/")).await;
    for n in 0..100 {
        let exposed = stage.route(&service, &format!("/old/{n}")).await;
        stage.get(&format!("/old/{n}")).await.expect_status(200);
        stage
            .patch(&exposed.route, &[("paths[]", &format!("/new/{n}"))])
            .await;
        gateway_made(&stage.get(&format!("/old/{n}")).await, 404, NO_ROUTE);
        stage.get(&format!("/new/{n}")).await.expect_status(200);
        stage.delete(&exposed.route).await;
        gateway_made(&stage.get(&format!("/new/{n}")).await, 404, NO_ROUTE);
    }
}

#[tokio::test]
async fn every_kind_of_change_is_live_at_once() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let stage = Stage::start().await;
    let exposed = stage.expose("changing", &one, "/").await;
    let name = |answer: Answer| answer.expect_status(200).header("x-instance").map(str::to_owned);
    assert_eq!(name(stage.get("/").await).as_deref(), Some("one"));

    // a service
    stage.patch(&exposed.service, &[("url", &two.url("/"))]).await;
    assert_eq!(name(stage.get("/").await).as_deref(), Some("two"));
    stage.patch(&exposed.service, &[("enabled", "false")]).await;
    gateway_made(&stage.get("/").await, 404, NO_ROUTE);
    stage
        .patch(&exposed.service, &[("enabled", "true"), ("path", "/base")])
        .await;
    stage.get("/x").await.expect_status(200);
    assert_eq!(
        two.requests()
            .last()
            .map(|request| request.target.clone())
            .as_deref(),
        Some("/base/x")
    );

    // a route
    stage.patch(&exposed.route, &[("methods[]", "POST")]).await;
    gateway_made(&stage.get("/").await, 404, NO_ROUTE);
    stage.call("POST", "/").send().await.expect_status(200);
    stage.patch_json(&exposed.route, json!({ "methods": null })).await;
    stage.get("/").await.expect_status(200);

    // a plugin, a consumer, a credential
    let plugins = format!("{}/plugins", exposed.route);
    let plugin = stage.create(&plugins, &[("name", "key-auth")]).await;
    let with_key = || stage.call("GET", "/").header("apikey", "k");
    gateway_made(&with_key().send().await, 401, "Unauthorized");
    stage.create("/consumers", &[("username", "ada")]).await;
    let credential = stage.create("/consumers/ada/key-auth", &[("key", "k")]).await;
    with_key().send().await.expect_status(200);
    stage.patch("/consumers/ada", &[("username", "countess")]).await;
    with_key().send().await.expect_status(200);
    let seen = two.requests().pop().expect("it was asked");
    assert_eq!(seen.header("x-consumer-username"), Some("countess"));
    stage
        .patch(&format!("/key-auths/{}", id(&credential)), &[("key", "l")])
        .await;
    gateway_made(&with_key().send().await, 401, "Unauthorized");
    stage
        .patch(&format!("/key-auths/{}", id(&credential)), &[("key", "k")])
        .await;
    with_key().send().await.expect_status(200);
    stage.delete("/consumers/countess").await;
    gateway_made(&with_key().send().await, 401, "Unauthorized");
    let plugin = format!("/plugins/{}", id(&plugin));
    stage.patch(&plugin, &[("config.key_names[]", "other")]).await;
    gateway_made(&with_key().send().await, 401, "No API key found in request");
    stage.patch(&plugin, &[("enabled", "false")]).await;
    stage.get("/").await.expect_status(200);
    stage.patch(&plugin, &[("enabled", "true")]).await;
    gateway_made(&stage.get("/").await, 401, "No API key found in request");
    stage.delete(&plugin).await;
    stage.get("/").await.expect_status(200);

    upstreams_and_targets(&stage, &exposed.service, &one, &two).await;

    // what belongs to what is deleted goes as well
    stage.delete(&exposed.route).await;
    stage.delete(&exposed.service).await;
    gateway_made(&stage.get("/").await, 404, NO_ROUTE);
}

async fn upstreams_and_targets(stage: &Stage, service: &str, one: &Upstream, two: &Upstream) {
    let instance = |answer: Answer| answer.expect_status(200).header("x-instance").map(str::to_owned);
    stage.patch(service, &[("host", "live.test")]).await;
    stage.create("/upstreams", &[("name", "live.test")]).await;
    gateway_made(
        &stage.get("/").await,
        503,
        "failure to get a peer from the ring-balancer",
    );
    let targets = "/upstreams/live.test/targets";
    stage
        .create(targets, &[("target", &one.addr().to_string())])
        .await;
    for _ in 0..2 {
        assert_eq!(instance(stage.get("/").await).as_deref(), Some("one"));
    }
    stage
        .create(targets, &[("target", &two.addr().to_string())])
        .await;
    let mut both = [instance(stage.get("/").await), instance(stage.get("/").await)];
    both.sort();
    assert_eq!(both.each_ref().map(Option::as_deref), [Some("one"), Some("two")]);
    stage
        .patch(&format!("{targets}/{}", one.addr()), &[("weight", "0")])
        .await;
    for _ in 0..3 {
        assert_eq!(instance(stage.get("/").await).as_deref(), Some("two"));
    }
    stage
        .patch(&format!("{targets}/{}", one.addr()), &[("weight", "100")])
        .await;
    stage.delete(&format!("{targets}/{}", two.addr())).await;
    for _ in 0..3 {
        assert_eq!(instance(stage.get("/").await).as_deref(), Some("one"));
    }
    stage
        .patch("/upstreams/live.test", &[("name", "renamed.test")])
        .await;
    stage.patch(service, &[("host", "renamed.test")]).await;
    assert_eq!(instance(stage.get("/").await).as_deref(), Some("one"));
}

#[tokio::test]
async fn a_request_is_served_by_the_revision_of_the_write_before_it() {
    let upstream = Upstream::named("quick");
    let stage = Stage::start().await;
    let exposed = stage.expose("quick", &upstream, "/").await;
    let (mut written, mut answers) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let tag = format!("t{n}");
        let answer = stage
            .admin("PATCH", &exposed.route)
            .form(&[("tags[]", &tag)])
            .send()
            .await;
        written.push(revision(&live(answer.expect_status(200))));
        answers.push(stage.get("/").await.expect_status(200));
    }
    let lines = stage.access_lines(&answers).await;
    let served: Vec<_> = lines
        .iter()
        .filter_map(|line| line["revision"].as_u64())
        .collect();
    assert_eq!(served, written);
}

// --- under load ---

/// Asks without pause until told to stop; what it asks is always served.
async fn ask(proxy: String, path: &'static str, stop: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    let client = Client::new();
    let url = format!("{proxy}{path}");
    while !stop.load(Ordering::Relaxed) {
        let answer = client.call("GET", &url).header("apikey", "standing").send().await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        proxied(&answer);
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

/// Changes everything around what is asked for, and what is asked for itself, in ways that leave it served.
async fn churn(stage: &Stage, round: usize, plain: &str, upstreams: [&Upstream; 2]) {
    let name = format!("n{round}");
    let service = stage.service(&name, &upstreams[0].url("/")).await;
    let near = stage.route(&service, &format!("/plain/near/{round}")).await;
    let far = stage.route(&service, "/").await;
    stage.patch(&near.route, &[("hosts[]", "other.test")]).await;
    stage
        .create(&format!("{}/plugins", far.route), &[("name", "key-auth")])
        .await;
    stage.create("/consumers", &[("username", &name)]).await;
    stage.create(&format!("/consumers/{name}/key-auth"), &[]).await;

    // The service and the route that are asked for, between two good states.
    stage
        .patch(
            plain,
            &[("url", &upstreams[round % 2].url("/")), ("retries", "3")],
        )
        .await;
    let target = upstreams[round % 2].addr().to_string();
    let path = format!("/upstreams/standing.test/targets/{target}");
    stage.patch(&path, &[("weight", "0")]).await;
    stage.patch(&path, &[("weight", "50")]).await;
    stage.delete(&path).await;
    stage
        .create("/upstreams/standing.test/targets", &[("target", &target)])
        .await;

    stage.delete(&format!("/consumers/{name}")).await;
    stage.delete(&far.route).await;
    stage.delete(&near.route).await;
    stage.delete(&service).await;
}

#[tokio::test]
async fn changing_configuration_under_load_fails_no_request() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let stage = Stage::start().await;
    let plain = stage.expose("plain", &one, "/plain").await;
    stage.upstream("standing.test", &[one.addr(), two.addr()]).await;
    let balanced = stage.service("balanced", "http://standing.test").await;
    stage.route(&balanced, "/balanced").await;
    let guarded = stage.route(&balanced, "/guarded").await;
    stage
        .create(&format!("{}/plugins", guarded.route), &[("name", "key-auth")])
        .await;
    stage.create("/consumers", &[("username", "standing")]).await;
    stage
        .create("/consumers/standing/key-auth", &[("key", "standing")])
        .await;
    let before = stage.everything().await;

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = [
        "/plain",
        "/balanced",
        "/guarded",
        "/plain",
        "/balanced",
        "/guarded",
    ]
    .into_iter()
    .map(|path| {
        let proxy = stage.gateway.proxy_url("");
        tokio::spawn(ask(proxy, path, Arc::clone(&stop), Arc::clone(&asked)))
    })
    .collect();
    for round in 0..30 {
        churn(&stage, round, &plain.service, [&one, &two]).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("each request is answered by the upstream");
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked > 500, "{asked} requests are no load");

    let after = stage.everything().await;
    for list in ["/routes", "/consumers", "/plugins", "/key-auths"] {
        assert_eq!(after[list], before[list], "{list}");
    }
    assert_eq!(after["/services"].as_array().map(Vec::len), Some(2));
}

// --- many writers ---

#[tokio::test]
async fn of_two_who_create_one_name_exactly_one_wins() {
    let stage = Stage::start().await;
    for round in 0..10 {
        let name = format!("wanted-{round}");
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let call = Client::new().call("POST", stage.gateway.admin_url("/consumers"));
                tokio::spawn(call.form(&[("username", &name)]).send())
            })
            .collect();
        let mut statuses = Vec::new();
        for writer in writers {
            statuses.push(writer.await.expect("it is answered").status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "{name}");
    }
    assert_eq!(
        stage.read("/consumers").await["data"].as_array().map(Vec::len),
        Some(10)
    );
}

#[tokio::test]
async fn nothing_refers_to_what_is_gone_whoever_is_first() {
    let stage = Stage::start().await;
    for round in 0..20 {
        let name = format!("s{round}");
        let service = stage.service(&name, "http://127.0.0.1:9").await;
        let client = Client::new();
        let making = client.call("POST", stage.gateway.admin_url(&format!("{service}/routes")));
        let making = tokio::spawn(making.form(&[("paths[]", "/x")]).send());
        let deleting = tokio::spawn(
            Client::new()
                .call("DELETE", stage.gateway.admin_url(&service))
                .send(),
        );
        let made = making.await.expect("it is answered").status;
        let deleted = deleting.await.expect("it is answered").status;
        let there = stage.admin("GET", &service).send().await.status;
        match (made, deleted) {
            (201, 400) => assert_eq!(there, 200),
            (400 | 404, 204) => assert_eq!(there, 404),
            both => panic!("{both:?}"),
        }
    }
    let services = stage.read("/services").await["data"].clone();
    let services: Vec<_> = services.as_array().into_iter().flatten().map(id).collect();
    let routes = stage.read("/routes").await["data"].clone();
    for route in routes.as_array().into_iter().flatten() {
        let service = route["service"]["id"].as_str().unwrap_or_default();
        assert!(services.contains(&service), "{route} refers to nothing");
    }
}

#[tokio::test]
async fn many_writers_at_once_are_all_served() {
    let upstream = Upstream::named("quick");
    let stage = Stage::start().await;
    let service = stage.service("quick", &upstream.url("/")).await;
    let (admin, proxy) = (
        stage.gateway.admin_url(&format!("{service}/routes")),
        stage.gateway.proxy_url(""),
    );
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (admin, proxy) = (admin.clone(), proxy.clone());
            tokio::spawn(async move {
                let client = Client::new();
                for n in 0..25 {
                    let path = format!("/w{writer}/{n}/");
                    let made = client.post_form(&admin, &[("paths[]", &path)]).await;
                    live(made.expect_status(201));
                    client.get(format!("{proxy}{path}")).await.expect_status(200);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("each route is served once it is made");
    }
    let routes: Value = stage.read("/routes?size=1000").await["data"].clone();
    assert_eq!(routes.as_array().map(Vec::len), Some(200));
}
