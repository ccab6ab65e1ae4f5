//! The configuration as a file: served, followed, refused whole; what the Admin API is then.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gw_testkit::{Answer, GatewayBuilder, Upstream};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until};

use crate::support::{Stage, program, refusal};

/// What is said when a file has come into force.
const SERVED: &str = "the configuration of the file is served";

/// What is said when it has not.
const REFUSED: &str = "the file is refused";

/// A folder with a file for a gateway, and an upstream that says what it was asked for.
struct Scene {
    folder: TempDir,
    upstream: Upstream,
}

impl Scene {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            upstream: Upstream::start(|request| gw_testkit::Reply::ok(request.target.clone())),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("kong.yml")
    }

    /// A file whose service has this path, so that answers tell which file is in force.
    fn text(&self, version: &str) -> String {
        let url = self.upstream.url(&format!("/{version}"));
        format!(
            "_format_version: '3.0'\nservices:\n- name: app\n  url: {url}\n  routes:\n  - name: all\n    paths: [/]\n\
             upstreams:\n- name: spare\n  targets: [{{target: '127.0.0.1:1'}}]\n"
        )
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("it can be written");
    }

    /// Puts another file in its place at once, as careful programs do.
    fn replace(&self, text: &str) {
        let fresh = self.folder.path().join("kong.yml.new");
        fs::write(&fresh, text).expect("it can be written");
        fs::rename(fresh, self.path()).expect("a new name");
    }

    fn program(&self) -> GatewayBuilder {
        program().arg("--config").arg(self.path())
    }

    async fn start(&self) -> Stage {
        self.write(&self.text("v1"));
        Stage::from(self.program()).await
    }
}

/// Checks which file is in force.
#[track_caller]
fn serves(answer: &Answer, version: &str) {
    assert_eq!(
        (answer.status, answer.text()),
        (200, &*format!("/{version}/x")),
        "{answer:?}"
    );
}

/// Waits until so many files have come into force.
async fn loaded(stage: &Stage, times: usize) {
    stage.gateway.wait_for_lines(times, SERVED).await;
}

#[tokio::test]
async fn a_file_is_served_and_followed() {
    let scene = Scene::new();
    let stage = scene.start().await;
    serves(&stage.get("/x").await, "v1");
    stage
        .gateway
        .wait_for_line("kong.yml, followed when it changes")
        .await;

    let changed = Instant::now();
    scene.replace(&scene.text("v2"));
    loaded(&stage, 2).await;
    // Bound: a second is promised; a busy machine gets some more.
    assert!(changed.elapsed() < Duration::from_secs(5));
    serves(&stage.get("/x").await, "v2");

    scene.write(&scene.text("v3"));
    loaded(&stage, 3).await;
    serves(&stage.get("/x").await, "v3");

    // Gone for a while: it goes on, and takes the next.
    fs::remove_file(scene.path()).expect("it is there");
    stage.gateway.wait_for_line("the file is gone").await;
    serves(&stage.get("/x").await, "v3");
    scene.write(&scene.text("v4"));
    loaded(&stage, 4).await;
    serves(&stage.get("/x").await, "v4");
    assert!(!scene.folder.path().join("store.redb").exists());
}

#[tokio::test]
async fn links_that_are_swapped_are_followed() {
    // As Kubernetes mounts configuration: kong.yml -> ..data/kong.yml, ..data -> ..1
    let scene = Scene::new();
    let folder = scene.folder.path();
    let version = |name: &str, version: &str| {
        fs::create_dir(folder.join(name)).expect("a folder");
        fs::write(folder.join(name).join("kong.yml"), scene.text(version)).expect("a file");
    };
    let swap = |name: &str| {
        symlink(name, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("a new name");
    };
    version("..1", "v1");
    swap("..1");
    symlink("..data/kong.yml", scene.path()).expect("a link");
    let stage = Stage::from(scene.program()).await;
    serves(&stage.get("/x").await, "v1");
    version("..2", "v2");
    swap("..2");
    fs::remove_dir_all(folder.join("..1")).expect("it is there");
    loaded(&stage, 2).await;
    serves(&stage.get("/x").await, "v2");
}

#[tokio::test]
async fn what_is_wrong_is_refused_whole_and_told_with_its_places() {
    let scene = Scene::new();
    let stage = scene.start().await;
    let wrong = scene
        .text("v2")
        .replace("paths:", "pahts:")
        .replace("- name: spare", "- nmae: spare");
    scene.replace(&wrong);
    stage.gateway.wait_for_line(REFUSED).await;
    for part in [
        "kong.yml:7:5: services[0].routes[0].pahts: unknown field (did you mean `paths`?)",
        "kong.yml:9:3: upstreams[0].nmae: unknown field (did you mean `name`?)",
    ] {
        stage.gateway.wait_for_line(part).await;
    }
    serves(&stage.get("/x").await, "v1");

    scene.replace("services: [");
    stage.gateway.wait_for_lines(2, REFUSED).await;
    stage
        .gateway
        .wait_for_line("did not find expected node content")
        .await;
    serves(&stage.get("/x").await, "v1");

    // What is mended is taken, also if it is what was there before.
    scene.replace(&scene.text("v3"));
    loaded(&stage, 2).await;
    serves(&stage.get("/x").await, "v3");
}

#[tokio::test]
async fn a_file_that_is_half_written_never_takes_effect() {
    let scene = Scene::new();
    let stage = scene.start().await;
    let text = scene.text("v2");
    // The first half is a configuration by itself: one without an upstream.
    let (first, second) = text.split_at(text.find("upstreams:").expect("there are some"));
    let mut file = File::create(scene.path()).expect("it can be written");
    file.write_all(first.as_bytes()).expect("it can be written");
    file.flush().expect("it can be written");
    // Long enough for several looks.
    sleep_until(Instant::now() + Duration::from_millis(1500)).await;
    serves(&stage.get("/x").await, "v1");
    file.write_all(second.as_bytes()).expect("it can be written");
    drop(file);
    loaded(&stage, 2).await;
    serves(&stage.get("/x").await, "v2");
    assert_eq!(stage.read("/upstreams").await["data"][0]["name"], "spare");

    // One that is only begun, and closed, is not taken for an empty configuration.
    for begun in [
        "",
        "_format_version: '3.0'\n",
        "_format_version: '3.0'\nservices:\n",
    ] {
        let before = stage
            .gateway
            .log()
            .iter()
            .filter(|line| line.contains(REFUSED))
            .count();
        scene.write(begun);
        stage.gateway.wait_for_lines(before + 1, REFUSED).await;
        serves(&stage.get("/x").await, "v2");
    }
    stage.gateway.wait_for_line("it configures nothing").await;
}

#[tokio::test]
async fn sighup_reads_it_at_once() {
    let scene = Scene::new();
    let stage = scene.start().await;
    let pid = Pid::from_raw(stage.gateway.id().cast_signed()).expect("a process");
    kill_process(pid, Signal::HUP).expect("it runs");
    stage.gateway.wait_for_line("SIGHUP").await;
    // Nothing has changed, and nothing is written.
    loaded(&stage, 2).await;
    let lines = stage.gateway.wait_for_lines(2, SERVED).await;
    assert!(
        lines[1].contains("revision=1 ") && lines[1].contains("created=0"),
        "{lines:?}"
    );
    serves(&stage.get("/x").await, "v1");
}

#[tokio::test]
async fn what_does_not_change_keeps_its_state() {
    let scene = Scene::new();
    let stage = scene.start().await;
    let path = "/upstreams/spare/targets/127.0.0.1:1/unhealthy";
    stage.admin("PUT", path).send().await.expect_status(204);
    let health = async || stage.read("/upstreams/spare/health").await["data"][0]["health"].clone();
    assert_eq!(health().await, "UNHEALTHY");
    let before = stage.read("/upstreams/spare").await;
    scene.replace(&scene.text("v2"));
    loaded(&stage, 2).await;
    serves(&stage.get("/x").await, "v2");
    assert_eq!(health().await, "UNHEALTHY");
    assert_eq!(stage.read("/upstreams/spare").await, before, "ids and times stay");
    let lines = stage.gateway.wait_for_lines(2, SERVED).await;
    assert!(
        lines[1].contains("revision=2 ") && lines[1].contains("updated=1"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn the_admin_api_reads_and_says_so_as_kong_does() {
    let scene = Scene::new();
    let stage = scene.start().await;
    for (method, path, message) in [
        (
            "POST",
            "/services",
            "cannot create 'services' entities when not using a database",
        ),
        (
            "PUT",
            "/services/app",
            "cannot create or update 'services' entities when not using a database",
        ),
        (
            "PATCH",
            "/routes/all",
            "cannot update 'routes' entities when not using a database",
        ),
        (
            "DELETE",
            "/upstreams/spare",
            "cannot delete 'upstreams' entities when not using a database",
        ),
        (
            "POST",
            "/services/app/routes",
            "cannot create 'routes' entities when not using a database",
        ),
    ] {
        let answer = stage
            .admin(method, path)
            .json(&json!({ "name": "x" }))
            .send()
            .await;
        let told = answer.expect_status(405).json();
        assert_eq!(
            json!([told["message"], told["name"], told["code"]]),
            json!([message, "operation unsupported", 12]),
            "{method} {path}"
        );
    }
    let root = stage.read("/").await;
    assert_eq!(root["configuration"]["database"], "off");
    let status = stage.read("/status").await;
    let hash = status["configuration_hash"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(hash.len() == 32 && hash != "0".repeat(32), "{status}");
    assert!(status.get("database").is_none(), "{status}");

    // The whole of it can be replaced, as in Kong, until the file changes again.
    let posted = scene.text("posted");
    let post = stage
        .admin("POST", "/config")
        .header("content-type", "application/yaml")
        .body(posted);
    post.send().await.expect_status(201);
    serves(&stage.get("/x").await, "posted");
    assert_ne!(stage.read("/status").await["configuration_hash"], hash);
    scene.replace(&scene.text("v2"));
    loaded(&stage, 2).await;
    serves(&stage.get("/x").await, "v2");
}

#[tokio::test]
async fn a_file_that_is_wrong_at_the_start_is_all_there_is_to_say() {
    let scene = Scene::new();
    scene.write("_format_version: '3.0'\nservices:\n- hots: a\nplugins:\n- name: nonsense\n");
    let (code, said) = refusal(scene.program()).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "kong.yml:3:3: services[0].hots: unknown field (did you mean `host`?)",
        "kong.yml:5:3: plugins[0].name: plugin 'nonsense' not enabled",
        "--unknown-plugins=ignore",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    let (code, said) = refusal(program().args(["--config", "/nowhere/kong.yml"])).await;
    assert!(
        code == Some(1) && said.contains("cannot read /nowhere/kong.yml"),
        "{said}"
    );
}

#[tokio::test]
async fn the_rest_runs_without_plugins_that_are_not_here_if_that_is_wanted() {
    let scene = Scene::new();
    let plugins = "plugins:\n- name: nonsense\n- {name: nonsense, service: app}\n";
    scene.write(&format!("{}{plugins}", scene.text("v1")));
    let stage = Stage::from(scene.program().args(["--unknown-plugins", "ignore"])).await;
    serves(&stage.get("/x").await, "v1");
    let lines = stage
        .gateway
        .wait_for_lines(1, "left out, the rest runs without it")
        .await;
    assert!(
        lines.len() == 1 && lines[0].contains("nonsense") && lines[0].contains("times=2"),
        "{lines:?}"
    );
    assert_eq!(stage.read("/plugins").await["data"], json!([]));
}

#[tokio::test]
async fn the_environment_fills_it_in() {
    let scene = Scene::new();
    let text = scene
        .text("v1")
        .replace(&scene.upstream.url("/v1"), "${APP_URL:-http://127.0.0.1:1}/v1");
    scene.write(&text);
    let url = scene.upstream.url("");
    let stage = Stage::from(scene.program().env("APP_URL", url.trim_end_matches('/'))).await;
    serves(&stage.get("/x").await, "v1");
}

#[tokio::test]
async fn a_status_listener_says_whether_there_is_anything_to_serve() {
    let stage = Stage::from(
        program()
            .env("KONG_DATABASE", "off")
            .args(["--status-listen", "127.0.0.1:0"]),
    )
    .await;
    let line = stage.gateway.wait_for_line("status listening on ").await;
    let address = line.split_whitespace().last().expect("an address").to_owned();
    let ready = async || stage.client.get(format!("http://{address}/status/ready")).await;
    assert_eq!(
        ready().await.expect_status(503).json(),
        json!({ "message": "no configuration available (empty configuration present)" })
    );
    let scene = Scene::new();
    let post = stage
        .admin("POST", "/config")
        .header("content-type", "application/yaml");
    post.body(scene.text("v1")).send().await.expect_status(201);
    assert_eq!(
        ready().await.expect_status(200).json(),
        json!({ "message": "ready" })
    );
    serves(&stage.get("/x").await, "v1");
    assert_eq!(stage.read("/").await["configuration"]["database"], "off");
}

#[tokio::test]
async fn a_new_process_takes_the_file_over() {
    let scene = Scene::new();
    let stage = scene.start().await;
    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    serves(&stage.get("/x").await, "v1");
    scene.replace(&scene.text("v2"));
    loaded(&stage, 3).await;
    serves(&stage.get("/x").await, "v2");
    stage.gateway.terminate_successor();
}

#[tokio::test]
async fn it_is_followed_on_when_no_new_process_can_take_over() {
    let scene = Scene::new();
    scene.write(&scene.text("v1"));
    let copy = scene.folder.path().join("gw-server");
    let bin = Path::new(env!("CARGO_BIN_EXE_gw-server"));
    fs::copy(bin, &copy).expect("a copy");
    let builder = gw_testkit::Gateway::builder(&copy).env("GW_WORKERS", "2");
    let stage = Stage::from(builder.arg("--config").arg(scene.path())).await;
    // The new process finds a file that it refuses.
    let wrong = "_format_version: '3.0'\nnonsense: []\n";
    scene.replace(wrong);
    stage.gateway.wait_for_line(REFUSED).await;
    stage.gateway.upgrade();
    stage.gateway.wait_for_line("no new process takes over").await;
    serves(&stage.get("/x").await, "v1");
    assert_eq!(stage.read("/services").await["data"][0]["name"], "app");
    scene.replace(&scene.text("v2"));
    loaded(&stage, 2).await;
    serves(&stage.get("/x").await, "v2");
}
