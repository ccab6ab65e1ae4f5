//! `export`, its way back, and `backup`: a store moves whole, and is copied while a gateway writes to it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gw_testkit::Etcd;
use serde_json::Value;

use crate::cluster::{alarms, following, until};
use crate::support::{Stage, program, refusal};

/// Runs a command on the store in a directory.
async fn run(data: &Path, args: &[&str]) -> (Option<i32>, String) {
    refusal(program().data_dir(data).args(args)).await
}

/// A gateway with a service, a route and a consumer with a key.
async fn fill(data: &Path) -> Stage {
    let stage = Stage::from(program().data_dir(data)).await;
    stage
        .create(
            "/services",
            &[("name", "app"), ("host", "127.0.0.1"), ("tags[]", "a b")],
        )
        .await;
    stage
        .create("/services/app/routes", &[("name", "all"), ("paths[]", "/")])
        .await;
    stage.create("/consumers", &[("username", "ann")]).await;
    stage
        .create("/consumers/ann/key-auth", &[("key", "k\u{e9}y")])
        .await;
    stage
}

#[tokio::test]
async fn an_export_makes_another_store_the_same() {
    let temporary = tempfile::tempdir().expect("a folder");
    let (one, two) = (temporary.path().join("one"), temporary.path().join("two"));
    let stage = fill(&one).await;
    let service = stage.read("/services/app").await;
    let key = stage.read("/key-auths").await;
    let file = temporary.path().join("all.json");
    let name = file.display().to_string();
    let (code, said) = run(&one, &["export", "--output", &name]).await;
    assert!(code == Some(1) && said.contains("in use"), "{said}");
    stage.gateway.terminate();
    stage.gateway.wait().await;

    let (code, said) = run(&one, &["export", "--output", &name]).await;
    assert_eq!(code, Some(0), "{said}");
    let mode = fs::metadata(&file).expect("it was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    let text = fs::read_to_string(&file).expect("text");
    let export: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(export["entries"].as_object().map(serde_json::Map::len), Some(4));

    let (code, said) = run(&two, &["import", &name]).await;
    assert!(code == Some(0) && said.contains("4 written, 0 deleted"), "{said}");
    let (code, said) = run(&two, &["import", &name]).await;
    assert!(
        code == Some(0) && said.contains("revision 1: 0 written"),
        "{said}"
    );
    let again = temporary.path().join("again.json");
    let (code, said) = run(&two, &["export", "--output", &again.display().to_string()]).await;
    assert_eq!(code, Some(0), "{said}");
    let copy: Value = serde_json::from_slice(&fs::read(&again).expect("it was written")).expect("JSON");
    assert_eq!(
        (&copy["entries"], &copy["hash"]),
        (&export["entries"], &export["hash"])
    );
    let other = Stage::from(program().data_dir(&two)).await;
    assert_eq!(
        other.read("/services/app").await,
        service,
        "to the second it was made"
    );
    assert_eq!(other.read("/key-auths").await, key);
}

#[tokio::test]
async fn an_export_that_cannot_be_served_writes_nothing() {
    let temporary = tempfile::tempdir().expect("a folder");
    let one = temporary.path().join("one");
    let stage = fill(&one).await;
    stage.gateway.terminate();
    stage.gateway.wait().await;
    let file = temporary.path().join("all.json");
    let name = file.display().to_string();
    run(&one, &["export", "--output", &name]).await;
    let text = fs::read_to_string(&file).expect("text");
    let hash = text
        .split("\"hash\":")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let unhashed = text.replacen(&format!("\"hash\":{},", hash.expect("it has one")), "", 1);
    assert_ne!(unhashed, text);
    for (number, changed, complaint) in [
        (0, text.replace("127.0.0.1", "127.0.0.2"), "was changed after"),
        (1, unhashed.replace("\"127.0.0.1\"", "7"), "services/"),
        (
            2,
            unhashed.replace("\"consumers/", "\"widgets/"),
            "no plugin here declares the kind 'widgets'",
        ),
        (
            3,
            unhashed.replacen("{\"_export\":1", "{\"_export\":9", 1),
            "form 9",
        ),
        (4, unhashed.replace("\n}}", "\n}"), "no export"),
    ] {
        fs::write(&file, changed).expect("it can be written");
        let data = temporary.path().join(format!("bad{number}"));
        let (code, said) = run(&data, &["import", &name]).await;
        assert!(code == Some(1) && said.contains(complaint), "{number}: {said}");
        fs::write(&file, unhashed.replace(":{", ": {")).expect("it can be written");
        let (code, said) = run(&data, &["import", &name]).await;
        assert!(
            code == Some(0) && said.contains("revision 1: 4 written"),
            "{number}: edited, and nothing was there before: {said}"
        );
    }
}

#[tokio::test]
async fn a_store_is_copied_while_its_gateway_runs() {
    let temporary = tempfile::tempdir().expect("a folder");
    let data = temporary.path().join("data");
    let stage = fill(&data).await;
    let (busy, idle) = (
        temporary.path().join("busy.redb"),
        temporary.path().join("idle.redb"),
    );
    let (code, said) = run(&data, &["backup", &busy.display().to_string()]).await;
    assert!(
        code == Some(0) && said.contains("at revision 4, with 4 commits"),
        "{said}"
    );
    stage
        .create("/services", &[("name", "later"), ("host", "b")])
        .await;
    stage.gateway.terminate();
    stage.gateway.wait().await;
    let (code, said) = run(&data, &["backup", &idle.display().to_string()]).await;
    assert!(code == Some(0) && said.contains("at revision 5"), "{said}");
    let (code, said) = run(&data, &["backup", &idle.display().to_string()]).await;
    assert!(code == Some(1) && said.contains("there already"), "{said}");
    for (file, services) in [(&busy, 1), (&idle, 2)] {
        let elsewhere = temporary.path().join("elsewhere");
        let store = format!("redb:{}", file.display());
        let restored = Stage::from(program().data_dir(&elsewhere).args(["--store", &store])).await;
        let listed = restored.read("/services").await;
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(services));
    }
}

#[tokio::test]
async fn an_import_that_removes_most_must_be_meant_and_is_followed_then() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let temporary = tempfile::tempdir().expect("a folder");
    let (url, data) = (etcd.store("/gw"), temporary.path().join("data"));
    let stages = [
        Stage::from(following(&url)).await,
        Stage::from(following(&url)).await,
    ];
    let few = temporary.path().join("few.yml");
    let routes = |of: std::ops::Range<usize>| {
        let routes: Vec<_> = of.map(|n| format!("{{name: r{n}, paths: [/r{n}]}}")).collect();
        let routes = routes.join(", ");
        format!(
            "_format_version: '3.0'\nservices: [{{name: s, url: 'http://127.0.0.1:9', routes: [{routes}]}}]\n"
        )
    };
    fs::write(&few, routes(0..2)).expect("it can be written");
    let export = temporary.path().join("few.json");
    let (few, export) = (few.display().to_string(), export.display().to_string());
    let run = async |args: &[&str]| run(&data, args).await;
    for args in [&["import", &few][..], &["export", "--output", &export]] {
        let (code, said) = run(args).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let count = async |stage: &Stage| {
        stage.read("/routes?size=100").await["data"]
            .as_array()
            .map(Vec::len)
    };
    for file in [&few, &export] {
        let many = serde_json::json!({ "config": routes(0..12) });
        let made = stages[0].admin("POST", "/config").json(&many).send().await;
        assert_eq!(made.status, 201, "{made:?}");
        until("all of them", async || count(&stages[1]).await == Some(12)).await;

        let store = ["--store", &url];
        let (code, said) = run(&[&["import", file][..], &store].concat()).await;
        assert_eq!(code, Some(1), "{said}");
        for part in ["10 of 12 routes", "--allow-mass-delete"] {
            assert!(said.contains(part), "{file}: {part} is not in {said}");
        }
        assert_eq!(count(&stages[0]).await, Some(12), "{file}: nothing was written");

        let (code, said) = run(&[&["import", "--allow-mass-delete", file][..], &store].concat()).await;
        assert_eq!(code, Some(0), "{said}");
        for stage in &stages {
            until("that it is served", async || stage.get("/r7").await.status == 404).await;
            assert_eq!(alarms(stage).await, [""; 0], "{file}: it is not held back");
        }
    }
}
