//! Who reaches the Admin API, and who does not: addresses, tokens, certificates, names, web pages, routes.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gw_testkit::{Authority, Upstream, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::{Stage, program, refusal};
use crate::tls::Verified;

#[tokio::test]
async fn an_address_that_others_reach_wants_protection_or_a_word() {
    for address in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0,0.0.0.0:0"] {
        let (code, said) = refusal(program().admin_listen(address)).await;
        assert_eq!(code, Some(1), "{said}");
        for part in [
            "error: the Admin API would listen at",
            "--admin-token-file",
            "GW_ADMIN_TOKEN",
            "--admin-client-ca",
            "--admin-insecure",
            "127.0.0.1:8001",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let stage = Stage::from(
        program()
            .admin_listen("0.0.0.0:0")
            .env("GW_ADMIN_INSECURE", "true"),
    )
    .await;
    stage
        .gateway
        .wait_for_line("is reachable from other machines and asks nobody who they are")
        .await;
    let call = stage.admin("GET", "/services").header("host", "anything.example");
    call.send().await.expect_status(200);
}

#[tokio::test]
async fn only_who_has_the_token_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, "s3cret\n").expect("a file");
    let by_file = program()
        .admin_listen("0.0.0.0:0")
        .arg("--admin-token-file")
        .arg(&file);
    let by_variable = program()
        .admin_listen("0.0.0.0:0")
        .env("GW_ADMIN_TOKEN", "s3cret");
    for program in [by_file, by_variable] {
        let stage = Stage::from(program).await;
        let refused = stage.admin("GET", "/services").send().await.expect_status(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert_eq!(refused.json(), serde_json::json!({ "message": "Unauthorized" }));
        let wrong = stage
            .admin("POST", "/services")
            .header("kong-admin-token", "s3cre");
        wrong
            .form(&[("name", "a"), ("host", "b")])
            .send()
            .await
            .expect_status(401);
        for (name, value) in [("kong-admin-token", "s3cret"), ("authorization", "Bearer s3cret")] {
            let call = stage.admin("GET", "/services").header(name, value);
            let list = call.send().await.expect_status(200).json();
            assert_eq!(
                list["data"],
                serde_json::json!([]),
                "nothing was written without it"
            );
        }
        let root = stage
            .admin("GET", "/")
            .header("kong-admin-token", "s3cret")
            .send()
            .await;
        assert!(!root.expect_status(200).text().contains("s3cret"));
    }
}

#[tokio::test]
async fn pages_from_elsewhere_reach_nothing() {
    let gui = "http://gui.example:8002";
    let flags = ["--admin-host", "gw.internal", "--admin-gui-url", gui];
    let stage = Stage::from(program().args(flags)).await;
    let form = [("username", "ann")];
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let call = stage.admin("POST", "/consumers").header(name, value);
        let answer = call.form(&form).send().await.expect_status(403);
        assert!(
            answer.header("access-control-allow-origin").is_none(),
            "{answer:?}"
        );
    }
    assert_eq!(stage.read("/consumers").await["data"], serde_json::json!([]));

    let call = stage
        .admin("GET", "/consumers")
        .header("host", "gw.internal:8001");
    call.send().await.expect_status(200);
    let call = stage.admin("OPTIONS", "/consumers").header("origin", gui);
    let call = call.header("access-control-request-method", "POST");
    let allowed = call
        .header("access-control-request-headers", "content-type")
        .send()
        .await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some(gui));
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        Some("content-type")
    );
    let call = stage
        .admin("POST", "/consumers")
        .header("origin", gui)
        .form(&form);
    let made = call.send().await.expect_status(201);
    assert_eq!(made.header("access-control-allow-origin"), Some(gui));
}

/// A call over a unix socket, as it comes.
async fn call_unix(path: &Path, target: &str) -> String {
    let asking = async {
        let mut stream = UnixStream::connect(path).await.expect("somebody listens");
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    within("an answer over a unix socket", asking).await
}

#[tokio::test]
async fn it_listens_at_a_unix_socket_of_its_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let program = program().admin_listen(format!("127.0.0.1:0,unix:{}", path.display()));
    let stage = Stage::from(program).await;
    assert!(call_unix(&path, "/services").await.starts_with("HTTP/1.1 200"));
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One that was left behind is in nobody's way, and one process hands it to the next.
    let stage = stage.restart().await;
    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    assert!(stage.gateway.wait().await.success());
    assert!(call_unix(&path, "/services").await.starts_with("HTTP/1.1 200"));
    stage.gateway.terminate_successor();
    within("the file to go", async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn certificates_let_in_whom_the_authority_knows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, strangers) = (Authority::new(), Authority::new());
    let identity = authority.identity(&["admin.test"]);
    let (cert, key) = identity.pem();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let (cert, key, ca) = (file("cert", cert), file("key", key), file("ca", &authority.pem()));
    let (code, said) = refusal(program().admin_listen("127.0.0.1:0 ssl")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("--admin-tls-cert FILE"), "{said}");

    let program = program()
        .admin_listen("127.0.0.1:0,0.0.0.0:0 ssl")
        .arg("--admin-tls-cert")
        .arg(cert)
        .arg("--admin-tls-key")
        .arg(key)
        .arg("--admin-client-ca")
        .arg(ca);
    let stage = Stage::from(program).await;
    let line = stage
        .gateway
        .wait_for_line("admin listening on https://0.0.0.0:")
        .await;
    let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
    let addr = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
    let known = Verified::as_client(&authority, &authority.identity(&["ann"]));
    let (answer, _) = known
        .connect(addr, "admin.test")
        .await
        .expect("TLS")
        .get("x")
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for stranger in [
        Verified::by(&authority),
        Verified::as_client(&authority, &strangers.identity(&["eve"])),
    ] {
        // In TLS 1.3 a client hears of it with its first read.
        let refused = async { stranger.connect(addr, "admin.test").await?.get("x").await };
        assert!(within("the end", refused).await.is_err());
    }
}

#[tokio::test]
async fn no_route_leads_to_it_by_accident() {
    let upstream = Upstream::named("any");
    let stage = Stage::start().await;
    stage.expose("any", &upstream, "/any").await;
    let port = stage.gateway.admin().port();
    for (n, target) in [
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://{}", stage.gateway.proxy()),
    ]
    .iter()
    .enumerate()
    {
        let service = stage.service(&format!("own-{n}"), target).await;
        stage.route(&service, &format!("/own-{n}")).await;
        let answer = stage.get(&format!("/own-{n}/services")).await.expect_status(502);
        assert_eq!(
            answer.json()["message"],
            "the service leads to the gateway itself"
        );
        assert_eq!(stage.access_line(&answer).await["failure"], "own_address");
    }
    stage.get("/any").await.expect_status(200);

    let flags = ["--allow-admin-upstream", "--allow-proxy-upstream"];
    let stage = Stage::from(program().args(flags)).await;
    let url = format!("http://{}", stage.gateway.admin());
    let service = stage.service("admin-api", &url).await;
    stage.route(&service, "/admin-api").await;
    let answer = stage
        .get("/admin-api/services/admin-api")
        .await
        .expect_status(200);
    assert_eq!(answer.json()["name"], "admin-api");
}
