//! Secrets at rest: no file of the gateway's holds one, keys change while it runs, a lost key costs its objects alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use gw_testkit::{Client, GatewayBuilder, Upstream};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::until;
use crate::support::{Stage, id, program, refusal};

const ONE: &str = "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
const TWO: &str = "two:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
const KEY: &str = "a-key-nobody-shall-read";

fn pem(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../gw-core/tests/fixtures/pem")
        .join(name);
    fs::read_to_string(path).expect("a file of gw-core's tests")
}

fn sealing(keyring: &Path) -> GatewayBuilder {
    program().arg("--keyring").arg(keyring)
}

/// The files below a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            found.extend(holding(&entry, text));
        } else if let Ok(bytes) = fs::read(&entry)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(entry.display().to_string());
        }
    }
    found
}

/// Asks with the key until it is told to stop; no request fails.
fn keep_asking(stage: &Stage, stop: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let (url, stop, asked) = (stage.gateway.proxy_url("/"), Arc::clone(stop), Arc::clone(asked));
    tokio::spawn(async move {
        while !stop.load(Relaxed) {
            let client = Client::without_keep_alive();
            let answer = client.call("GET", &url).header("apikey", KEY).send().await;
            assert_eq!(answer.status, 200, "{answer:?}");
            asked.fetch_add(1, Relaxed);
        }
    })
}

#[tokio::test]
async fn a_new_keyring_is_taken_up_in_place_and_no_request_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let keyring = folder.path().join("keyring");
    fs::write(&keyring, ONE).expect("a file");
    let upstream = Upstream::echo();
    let mut stage = Stage::from(sealing(&keyring)).await;
    fill(&stage, &upstream).await;
    let (stop, asked) = (Arc::default(), Arc::default());
    let asking = keep_asking(&stage, &stop, &asked);
    fs::write(&keyring, format!("{TWO}{ONE}")).expect("a file");
    let (_, said) = reseal(&stage, &["--dry-run"]).await;
    assert!(
        said.contains("with the key 'one'"),
        "nobody has read it yet: {said}"
    );
    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    stage.client = Client::new(); // with no connections to the old process
    let (code, said) = reseal(&stage, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("2 secrets are sealed with the key 'two', 0 with older keys"),
        "{said}"
    );
    let enough = asked.load(Relaxed) + 20;
    until("requests", async || {
        asked.load(Relaxed) >= enough || asking.is_finished()
    })
    .await;
    stop.store(true, Relaxed);
    asking.await.expect("no request fails");
}

/// A protected route, a consumer with a key, and a certificate.
async fn fill(stage: &Stage, upstream: &Upstream) {
    let exposed = stage.expose("app", upstream, "/").await;
    stage
        .create(&format!("{}/plugins", exposed.route), &[("name", "key-auth")])
        .await;
    stage.create("/consumers", &[("username", "ann")]).await;
    stage.create("/consumers/ann/key-auth", &[("key", KEY)]).await;
    let pair = json!({ "cert": pem("p256.crt"), "key": pem("p256.key"), "snis": ["a.test"] });
    stage
        .admin("POST", "/certificates")
        .json(&pair)
        .send()
        .await
        .expect_status(201);
}

async fn with_key(stage: &Stage) -> u16 {
    stage.call("GET", "/").header("apikey", KEY).send().await.status
}

async fn reseal(stage: &Stage, more: &[&str]) -> (Option<i32>, String) {
    let url = stage.gateway.admin_url("");
    refusal(program().args(["reseal", "--admin-url", &url]).args(more)).await
}

#[tokio::test]
async fn no_file_holds_a_secret_and_keys_change_while_it_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let keyring = folder.path().join("keyring");
    fs::write(&keyring, ONE).expect("a file");
    let upstream = Upstream::echo();
    let stage = Stage::from(sealing(&keyring)).await;
    fill(&stage, &upstream).await;
    assert_eq!(with_key(&stage).await, 200);
    let private = pem("p256.key").lines().nth(1).expect("a key").to_owned();
    let data = stage.gateway.data_dir().to_owned();
    for secret in [KEY, &private] {
        assert_eq!(holding(&data, secret), [""; 0], "in clear text");
    }
    assert!(!holding(&data, "sealed:v1:one:").is_empty());
    let exported = stage.read("/config").await;
    let text = exported["config"].as_str().expect("a file");
    assert!(
        !text.contains(KEY) && !text.contains(&private) && text.contains("sealed:v1:one:"),
        "{text}"
    );

    // A new key, first in the ring of a gateway that is started anew.
    fs::write(&keyring, format!("{TWO}{ONE}")).expect("a file");
    let stage = stage.restart().await;
    assert_eq!(with_key(&stage).await, 200);
    let (code, said) = reseal(&stage, &["--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("0 secrets are sealed with the key 'two', 2 with older keys, 0 in clear text"),
        "{said}"
    );
    let (code, said) = reseal(&stage, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("2 secrets are sealed with the key 'two', 0 with older keys"),
        "{said}"
    );
    assert_eq!(with_key(&stage).await, 200);

    // The old one is no longer needed.
    fs::write(&keyring, TWO).expect("a file");
    let stage = stage.restart().await;
    assert_eq!(with_key(&stage).await, 200);
    let loaded = stage
        .admin("POST", "/config?check_hash=1")
        .json(&json!({ "config": text }))
        .send()
        .await;
    let refused = loaded.expect_status(400).text().to_owned();
    assert!(
        refused.contains("is sealed with the key 'one', which the keyring does not have"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_lost_key_costs_what_it_has_sealed_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let keyring = folder.path().join("keyring");
    fs::write(&keyring, ONE).expect("a file");
    let upstream = Upstream::echo();
    let stage = Stage::from(sealing(&keyring)).await;
    fill(&stage, &upstream).await;
    stage.route("/services/app", "/open").await;
    fs::write(&keyring, TWO).expect("a file");
    // What was applied last is gone too: else that would be served on.
    let checkpoints = stage.gateway.data_dir().join("checkpoints");
    stage.gateway.kill9().await;
    fs::remove_dir_all(checkpoints).ok();
    let stage = stage.restart().await;
    assert_eq!(stage.get("/open").await.status, 200);
    assert_eq!(with_key(&stage).await, 401);
    let credential = stage.read("/consumers/ann/key-auth").await["data"][0].clone();
    let problems = stage.read("/problems").await.to_string();
    assert!(
        problems.contains(id(&credential)) && problems.contains("sealed with the key 'one'"),
        "{problems}"
    );
    assert!(!problems.contains(KEY));
    let (code, said) = reseal(&stage, &["--dry-run"]).await;
    assert_eq!(code, Some(2), "{said}");
    let named = format!(
        "keyauth_credentials {}: key is sealed with the key 'one'",
        id(&credential)
    );
    assert!(said.contains(&named), "{said}");
    // Written anew it works.
    let path = format!("/consumers/ann/key-auth/{}", id(&credential));
    stage.patch(&path, &[("key", KEY)]).await;
    assert_eq!(with_key(&stage).await, 200);
}

#[tokio::test]
async fn a_keyring_that_is_none_is_told_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let keyring = folder.path().join("keyring");
    fs::write(&keyring, "one:notakey-notakey").expect("a file");
    let missing = folder.path().join("missing");
    for (program, expected) in [
        (sealing(&keyring), "the key 'one' is not 32 bytes in base64"),
        (sealing(&missing), "--keyring"),
        (
            program().arg("--require-sealing"),
            "--require-sealing: there is no keyring",
        ),
        (
            program().env("GW_KEYRING_KEYS", "one:notakey-notakey"),
            "the key 'one' is not 32 bytes in base64",
        ),
    ] {
        let (code, said) = refusal(program).await;
        assert_ne!(code, Some(0));
        assert!(said.contains(expected), "{said}");
    }
    let stage = Stage::from(program().env("GW_KEYRING_KEYS", TWO.trim())).await;
    stage
        .gateway
        .wait_for_line("secrets are sealed before they are stored")
        .await;
    let said = stage.read("/").await.to_string();
    assert!(!said.contains("AQEB"), "{said}");
}

#[tokio::test]
async fn a_dry_run_says_what_becomes_of_requests() {
    let upstream = Upstream::echo();
    let stage = Stage::start().await;
    let shop = stage.expose("shop", &upstream, "/shop").await;
    stage.route("/services/shop", "/old").await;
    for _ in 0..20 {
        stage.get("/shop/cart").await.expect_status(200);
    }
    for _ in 0..5 {
        stage.get("/nowhere").await.expect_status(404);
    }
    let told = |answer: gw_testkit::Answer| -> Value { answer.expect_status(200).json()["traffic"].clone() };
    let path = format!("{}?dry_run=1", shop.route);
    let gone = told(stage.admin("DELETE", &path).send().await);
    assert_eq!(
        (&gone["seen"], &gone["lost"], &gone["gained"]),
        (&json!(25), &json!(20), &json!(0))
    );
    let moved = &gone["moved"][0];
    assert_eq!(
        (&moved["count"], &moved["to"]),
        (&json!(20), &Value::Null),
        "{gone}"
    );
    assert!(
        moved["example"]
            .as_str()
            .is_some_and(|text| text.ends_with("/shop/cart")),
        "{gone}"
    );

    let all = json!({ "name": "all", "paths": ["/"] });
    let new = stage
        .admin("POST", "/services/shop/routes?dry_run=1")
        .json(&all)
        .send()
        .await;
    let new = told(new);
    assert_eq!((&new["gained"], &new["lost"]), (&json!(5), &json!(0)), "{new}");
    // As people read it: a file that has the open route, and not the other.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "_format_version: '3.0'\nservices:\n- {name: shop, url: 'http://a', routes: [{name: all, paths: [/nowhere]}]}\n";
    fs::write(file.path(), text).expect("it can be written");
    let url = stage.gateway.admin_url("");
    let path = file.path().display().to_string();
    let (code, said) = refusal(program().args(["diff", "--admin-url", &url, &path])).await;
    assert_eq!(code, Some(2), "{said}");
    let expected = "of 25 requests of late";
    assert!(said.contains(expected), "{said}");
    assert!(
        said.contains("0 would go to another route, 20 would become 404, 5 would find a route"),
        "{said}"
    );
    assert!(said.contains("    5: 404 -> all, such as GET "), "{said}");
    // Nothing of it was done.
    assert_eq!(stage.get("/nowhere").await.status, 404);
    assert_eq!(stage.get("/shop/cart").await.status, 200);
}
