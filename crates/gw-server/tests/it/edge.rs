//! What stands in front of the program: real balancers, unix sockets, client certificates, TLS that passes through.

use gw_testkit::{Authority, Client, Reply, Server, TlsFront, Upstream};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Stage, program, refusal};
use crate::tls::{Verified, https_address};

fn told() -> Upstream {
    Upstream::start(|request| Reply::ok(request.header("x-real-ip").unwrap_or("-")))
}

#[tokio::test]
async fn haproxy_tells_whom_it_is_for() {
    for word in ["send-proxy", "send-proxy-v2"] {
        let listen = "127.0.0.1:0 proxy_protocol";
        let stage = Stage::from(program().proxy_listen(listen)).await;
        let upstream = told();
        stage.expose("told", &upstream, "/").await;
        let server = format!("server gw {} {word} source 127.0.0.77", stage.gateway.proxy());
        let Some(haproxy) = Server::builder("haproxy").setting(server).start().await else {
            return;
        };
        let client = Client::new();
        for _ in 0..3 {
            let answer = client.get(haproxy.url("/")).await.expect_status(200);
            assert_eq!(
                answer.text(),
                "127.0.0.1",
                "the client's address, not that of the balancer"
            );
        }
        // Who comes without it is nobody's client.
        let direct = Client::new()
            .call("GET", stage.gateway.proxy_url("/"))
            .try_send()
            .await;
        assert!(direct.is_err());
    }
}

#[tokio::test]
async fn nginx_in_front_by_a_path_is_trusted_and_nginx_behind_is_told() {
    let dir = TempDir::new().expect("a directory");
    let (front, behind) = (dir.path().join("gw.sock"), dir.path().join("app.sock"));
    let stage = Stage::from(
        program()
            .proxy_listen(format!("127.0.0.1:0,unix:{} mode=0600", front.display()))
            .args([
                "--trusted-ips",
                "unix:",
                "--real-ip-header",
                "X-Forwarded-For",
                "--real-ip-recursive",
                "on",
            ]),
    )
    .await;
    let answers = format!("listen unix:{} proxy_protocol;", behind.display());
    let nginx = Server::builder("nginx")
        .setting(answers)
        .setting("location / { default_type text/plain; return 200 $proxy_protocol_addr; }")
        .setting(format!(
            "location /front {{ proxy_pass http://unix:{}:/; proxy_set_header X-Forwarded-For '203.0.113.9, 198.51.100.3'; }}",
            front.display()
        ))
        .start()
        .await;
    let Some(nginx) = nginx else { return };
    let url = format!("http://unix:{}", behind.display());
    let service = json!({ "name": "behind", "url": url, "send_proxy_protocol": "v2" });
    stage
        .admin("POST", "/services")
        .json(&service)
        .send()
        .await
        .expect_status(201);
    stage.route("/services/behind", "/").await;
    // Two proxies of ours are one after the other: the client is the last that neither of them is.
    let answer = Client::new().get(nginx.url("/front")).await.expect_status(200);
    assert_eq!(answer.text(), "198.51.100.3");
    let answer = stage.get("/").await;
    assert_eq!(answer.text(), "127.0.0.1");
    stage
        .patch("/services/behind", &[("send_proxy_protocol", "v1")])
        .await;
    assert_eq!(stage.get("/").await.text(), "127.0.0.1");
}

#[tokio::test]
async fn clients_with_certificates_and_others_share_a_listener_with_tls_that_passes_through() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let stage =
        Stage::from(program().proxy_listen("127.0.0.1:0,127.0.0.1:0 ssl verify_client=optional")).await;
    let (cert, key) = {
        let identity = authority.identity(&["a.test"]);
        (identity.pem().0.to_owned(), identity.pem().1.to_owned())
    };
    stage
        .create(
            "/certificates",
            &[("cert", &cert), ("key", &key), ("snis[]", "a.test")],
        )
        .await;
    stage
        .create("/ca_certificates", &[("cert", &clients.pem())])
        .await;
    let upstream =
        Upstream::start(|request| Reply::ok(request.header("x-client-cert-verify").unwrap_or("-")));
    stage.expose("ours", &upstream, "/").await;
    let theirs = Upstream::start(|_| Reply::ok("theirs"));
    let front = TlsFront::start(authority.identity(&["b.test"]), &[], theirs.addr());
    let service = json!({ "name": "theirs", "host": "127.0.0.1", "port": front.addr().port(), "protocol": "tls_passthrough" });
    stage
        .admin("POST", "/services")
        .json(&service)
        .send()
        .await
        .expect_status(201);
    let route = json!({ "protocols": ["tls_passthrough"], "snis": ["b.test"] });
    stage
        .admin("POST", "/services/theirs/routes")
        .json(&route)
        .send()
        .await
        .expect_status(201);
    let addr = https_address(&stage.gateway).await;
    let (bare, known) = (
        Verified::by(&authority),
        Verified::as_client(&authority, &clients.identity(&["client"])),
    );
    for (client, name, expected) in [
        (&bare, "a.test", "NONE"),
        (&known, "a.test", "SUCCESS"),
        (&bare, "b.test", "theirs"),
    ] {
        let mut connection = client.connect(addr, name).await.expect("a handshake");
        let (answer, _) = connection.get(name).await.expect("an answer");
        assert!(answer.ends_with(expected), "{name}: {answer}");
    }
}

#[tokio::test]
async fn wrong_words_are_refused_by_name() {
    for (args, said) in [
        (
            ["--proxy-listen", "127.0.0.1:0 verify_client=on"],
            "a listener without ssl",
        ),
        (["--proxy-listen", "unix:gw.sock"], "unix:/PATH"),
        (["--trusted-ips", "10.0.0.0/40"], "10.0.0.0/40"),
        (["--tls-ciphers", "RC4-MD5"], "RC4-MD5"),
        (["--client-ca", "/nowhere.pem"], "/nowhere.pem"),
    ] {
        let (code, text) = refusal(program().args(args)).await;
        assert_ne!(code, Some(0));
        assert!(text.contains(said), "{args:?}: {text}");
    }
}
