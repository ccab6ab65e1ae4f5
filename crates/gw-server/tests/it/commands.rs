//! `check`, `import`, `dump`, `diff` and `sync`: declarative files, by themselves and with a gateway that runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use gw_testkit::{Reply, Upstream};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Stage, program, refusal};

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn add(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

async fn run(args: &[&str]) -> (Option<i32>, String) {
    refusal(program().args(args)).await
}

const GOOD: &str = "_format_version: '3.0'
services:
- name: app
  url: http://127.0.0.1:1
  routes: [{name: all, paths: [/]}]
plugins:
- {name: key-auth, service: app}
";

const WRONG: &str = "_format_version: '3.0'
services:
- name: app
  hots: a
  port: many
plugins:
- {name: pre-function, config: {access: [x]}}
";

#[tokio::test]
async fn check_says_everything_that_is_wrong_at_once() {
    let files = Files::new();
    let (good, wrong) = (files.add("good.yml", GOOD), files.add("wrong.yml", WRONG));
    let (code, said) = run(&["check", &good]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("would be loaded; of 3 objects 3 run exactly"),
        "{said}"
    );

    let (code, said) = run(&["check", &good, &wrong]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "wrong.yml:3:3: services[0].host: required field missing",
        "wrong.yml:4:3: services[0].hots: unknown field (did you mean `host`?)",
        "wrong.yml:5:3: services[0].port: expected an integer",
        "wrong.yml:7:4: plugins[0].name: plugin 'pre-function' not enabled",
        "Lua does not run here",
        "wrong.yml: refused",
        "good.yml: would be loaded",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    let (code, said) = run(&["check"]).await;
    assert!(code == Some(1) && said.contains("GW_CONFIG"), "{said}");
    let (code, _) = refusal(program().env("GW_CONFIG", &good).arg("check")).await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn check_says_how_faithfully_it_would_run() {
    let files = Files::new();
    let text = "_format_version: '3.0'
services:
- {name: app, host: a}
- {name: stream, host: a, port: 1, protocol: tcp}
upstreams:
- {name: u, algorithm: consistent-hashing, hash_on: ip}
plugins:
- {name: pre-function, config: {access: [x]}}
";
    let file = files.add("kong.yml", text);
    let (code, said) = run(&["check", "--unknown-plugins=ignore", &file]).await;
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "of 4 objects 1 run exactly, 1 adapted, 2 not at all",
        "unsupported line 4: services 'stream': protocol: streams are not proxied",
        "adapted     line 6: upstreams 'u': algorithm: ",
        "unsupported line 8: plugins 'pre-function': ",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }

    // Refused for a plugin that is not here: the rest is judged all the same.
    let (code, said) = run(&["check", "--json", &file]).await;
    assert_eq!(code, Some(1), "{said}");
    let told: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let told = &told["files"][0];
    assert_eq!(told["loads"], false);
    assert_eq!(told["errors"][0]["line"], 8);
    assert_eq!(
        told["summary"],
        serde_json::json!({ "exact": 1, "adapted": 1, "unsupported": 2 })
    );
    let objects = told["objects"].as_array().expect("a list");
    let stream = objects
        .iter()
        .find(|object| object["name"] == "stream")
        .expect("it is judged");
    assert_eq!(stream["verdict"], "unsupported");
    assert_eq!(stream["remarks"][0]["pointer"], "/services/1/protocol");
    assert!(
        !stream["remarks"][0]["remedy"]
            .as_str()
            .expect("a text")
            .is_empty()
    );
}

#[tokio::test]
async fn a_file_goes_into_a_store_and_out_of_it() {
    let files = Files::new();
    let good = files.add("good.yml", GOOD);
    let data = files.path("data");
    let (code, said) = refusal(program().data_dir(&data).args(["import", &good])).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("at revision 1: 3 created"), "{said}");
    let (code, said) = refusal(
        program()
            .data_dir(&data)
            .args(["import", &files.add("wrong.yml", WRONG)]),
    )
    .await;
    assert!(code == Some(1) && said.contains("wrong.yml:4:3: "), "{said}");
    // From there it is as any other store: written by the Admin API.
    let stage = Stage::from(program().data_dir(&data)).await;
    assert_eq!(stage.read("/services/app").await["host"], "127.0.0.1");
    stage
        .create("/services", &[("name", "more"), ("host", "b")])
        .await;
    let (code, said) = refusal(program().data_dir(&data).args(["import", &good])).await;
    assert!(
        code == Some(1) && said.contains("data"),
        "a store in use is not written: {said}"
    );

    let url = stage.gateway.admin_url("");
    let dump = files.path("dump.yml").display().to_string();
    let (code, said) = run(&["dump", "--admin-url", &url, "--output", &dump]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["diff", "--admin-url", &url, &dump]).await;
    assert_eq!(code, Some(0), "what was dumped is what is there: {said}");
    let (_, said) = run(&["dump", "--admin-url", &url]).await;
    assert!(
        said.contains("_format_version: \"3.0\"") && said.contains("name: more"),
        "{said}"
    );
}

#[tokio::test]
async fn a_running_gateway_is_compared_with_a_file_and_brought_to_it() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let files = Files::new();
    let url = upstream.url("/");
    let text = "_format_version: '3.0'\nservices:\n- name: app\n  url: ${{ env \"APP_URL\" }}\n  routes: [{name: all, paths: [/$PREFIX]}]\n";
    let file = files.add("kong.yml", text);
    let stage = Stage::start().await;
    stage.create("/services", &[("name", "old"), ("host", "a")]).await;
    let admin = stage.gateway.admin_url("");
    let call = async |args: &[&str]| {
        let program = program()
            .env("APP_URL", &url)
            .env("PREFIX", "p")
            .env("GW_ADMIN_URL", &admin);
        refusal(program.args(args)).await
    };
    let told = "+ services app\n+ routes all\n";
    let (code, said) = call(&["diff", &file]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("- services old\n") && said.contains(told), "{said}");
    assert!(
        said.contains("2 to create, 0 to update, 1 to delete, 0 unchanged"),
        "{said}"
    );
    let (code, said) = call(&["sync", "--dry-run", &file]).await;
    assert!(code == Some(0) && said.contains(told), "{said}");
    assert_eq!(stage.read("/services").await["data"][0]["name"], "old");

    let revision = |status: &Value| status["configuration"]["revision"].as_u64().expect("a number");
    let before = revision(&stage.read("/status").await);
    let (code, said) = call(&["sync", &file]).await;
    assert!(code == Some(0) && said.contains("done, in one commit"), "{said}");
    assert_eq!(revision(&stage.read("/status").await), before + 1);
    assert_eq!(stage.get("/p").await.expect_status(200).text(), "hello");
    let (code, said) = call(&["sync", &file]).await;
    assert!(code == Some(0) && said.contains("nothing has changed"), "{said}");

    // What the gateway refuses is told at its place in the file.
    let wrong = files.add("wrong.yml", WRONG);
    let (code, said) = call(&["sync", &wrong]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "wrong.yml:4:3: services[0].hots: unknown field",
        "wrong.yml:7:4: plugins[0].name: ",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    let unset = files.add("unset.yml", "_format_version: ${{ env \"NOBODY_SET\" }}\n");
    let (code, said) = call(&["diff", &unset]).await;
    assert!(code == Some(1) && said.contains("unset.yml:1:"), "{said}");
}

#[tokio::test]
async fn that_most_of_a_running_gateway_goes_must_be_meant() {
    let files = Files::new();
    let empty = files.add("empty.yml", "_format_version: '3.0'\n");
    let stage = Stage::start().await;
    let routes = async || stage.read("/routes").await["data"].as_array().map(Vec::len);
    stage.service("app", "http://127.0.0.1:9").await;
    let nearly_nothing = stage.read("/status").await["configuration"]["revision"].to_string();
    for n in 0..12 {
        stage.route("/services/app", &format!("/r{n}")).await;
    }
    let admin = stage.gateway.admin_url("");
    let call = async |args: &[&str]| refusal(program().env("GW_ADMIN_URL", &admin).args(args)).await;
    for command in [["sync", &empty], ["rollback", &nearly_nothing]] {
        let rehearsed = [&command[..], &["--dry-run"]].concat();
        for args in [&command[..], &rehearsed] {
            let (code, said) = call(args).await;
            assert_eq!(code, Some(1), "{args:?}: {said}");
            for part in ["all 12 routes", "--allow-mass-delete", "delete"] {
                assert!(said.contains(part), "{args:?}: `{part}` is not in:\n{said}");
            }
            assert_eq!(routes().await, Some(12), "{args:?}");
        }
    }
    let full = stage.read("/status").await["configuration"]["revision"].to_string();
    let (code, said) = call(&["rollback", &nearly_nothing, "--allow-mass-delete"]).await;
    assert_eq!((code, routes().await), (Some(0), Some(0)), "{said}");
    let (code, said) = call(&["rollback", &full]).await;
    assert_eq!((code, routes().await), (Some(0), Some(12)), "{said}");
    let (code, said) = call(&["sync", &empty, "--allow-mass-delete"]).await;
    assert_eq!((code, routes().await), (Some(0), Some(0)), "{said}");
}

#[tokio::test]
async fn who_may_not_call_or_does_not_reach_it_is_told_so() {
    let stage = Stage::from(program().args(["--admin-token", "s3cret"])).await;
    let url = stage.gateway.admin_url("");
    let (code, said) = run(&["dump", "--admin-url", &url]).await;
    assert!(code == Some(1) && said.contains("401"), "{said}");
    let (code, said) = run(&["dump", "--admin-url", &url, "--admin-token", "s3cret"]).await;
    assert!(code == Some(0) && said.contains("_format_version"), "{said}");
    let dead = gw_testkit::dead_port();
    let (code, said) = run(&["dump", "--admin-url", &format!("http://{}", dead.addr())]).await;
    assert!(
        code == Some(1) && said.contains("is a gateway running there?"),
        "{said}"
    );
    let (code, said) = run(&["dump", "--admin-url", "here"]).await;
    assert!(
        code == Some(1) && said.contains("expected http://HOST:PORT"),
        "{said}"
    );
    // By a unix socket as well.
    let folder = tempfile::tempdir().expect("a folder");
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    let stage = Stage::from(program().admin_listen(format!("127.0.0.1:0,{socket}"))).await;
    let (code, said) = run(&["dump", "--admin-url", &socket]).await;
    assert!(code == Some(0) && said.contains("_format_version"), "{said}");
    drop(stage);
}

#[tokio::test]
async fn what_the_environment_fills_in_is_not_told() {
    let files = Files::new();
    let text =
        "_format_version: '3.0'\nservices: [{name: app, host: a, retries: $RETRIES, tags: [$TOKEN]}]\n";
    let file = files.add("kong.yml", text);
    let stage = Stage::start().await;
    let admin = stage.gateway.admin_url("");
    let call = async |token: &str, args: &[&str]| {
        let program = program()
            .env("TOKEN", token)
            .env("RETRIES", "5")
            .env("GW_ADMIN_URL", &admin);
        refusal(program.args(args)).await
    };
    let (code, said) = call("token-before", &["sync", &file]).await;
    assert_eq!(code, Some(0), "{said}");
    for args in [
        &["diff", &*file][..],
        &["diff", "--json", &file],
        &["sync", "--dry-run", &file],
    ] {
        let (_, said) = call("token-after", args).await;
        assert!(said.contains("tags") && said.contains("***"), "{args:?}: {said}");
        assert!(!said.contains("token-"), "{args:?}: {said}");
    }
    assert_eq!(stage.read("/services/app").await["tags"][0], "token-before");
}

#[tokio::test]
async fn a_file_about_a_part_deletes_nothing_else() {
    let files = Files::new();
    let stage = Stage::start().await;
    stage
        .create("/services", &[("name", "others"), ("host", "a")])
        .await;
    let url = stage.gateway.admin_url("");
    let call = async |args: &[&str]| run(&[args, &["--admin-url", &url]].concat()).await;
    let tagged = "_format_version: '3.0'\n_info: {select_tags: [mine]}\nservices: [{name: app, host: b}]\n";
    let tagged = files.add("tagged.yml", tagged);
    let (code, said) = call(&["sync", &tagged]).await;
    assert!(
        code == Some(0) && said.contains("1 to create, 0 to update, 0 to delete"),
        "{said}"
    );
    let foreign = files.add(
        "foreign.yml",
        "_format_version: '3.0'\n_workspace: team-a\nservices: []\n",
    );
    for command in ["diff", "sync"] {
        let (code, said) = call(&[command, &foreign]).await;
        assert!(
            code == Some(1)
                && said.contains("foreign.yml:2:1: _workspace: ")
                && said.contains("--replace-everything"),
            "{said}"
        );
    }
    assert_eq!(
        stage.read("/services").await["data"].as_array().map(Vec::len),
        Some(2)
    );
    let (code, said) = call(&["diff", "--replace-everything", &tagged]).await;
    assert!(code == Some(2) && said.contains("- services others\n"), "{said}");
    let (code, said) = call(&["sync", "--replace-everything", &foreign]).await;
    assert!(code == Some(0) && said.contains("2 to delete"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_compared_is_told_apart_from_what_differs() {
    let files = Files::new();
    let (code, said) = run(&["sync"]).await;
    assert!(code == Some(64) && said.contains("<FILE>"), "{said}");
    let (code, said) = run(&["diff", "--jsn", "kong.yml"]).await;
    assert!(code == Some(64) && said.contains("--json"), "{said}");
    let (code, said) = run(&["--help"]).await;
    assert_eq!(code, Some(0), "{said}");
    let unversioned = files.add("plain.yml", "services: []\n");
    for command in ["diff", "sync"] {
        let (code, said) = run(&[command, &unversioned]).await;
        let told = "plain.yml:1:1: _format_version: required field missing (begin the file with";
        assert!(code == Some(1) && said.contains(told), "{said}");
    }
}

#[tokio::test]
async fn a_dump_takes_the_place_of_a_file_whole_or_not_at_all() {
    let files = Files::new();
    let kept = files.add("kept.yml", "precious");
    let stranger = Upstream::start(|_| Reply::ok("{\"config\": null}"));
    let (code, said) = run(&["dump", "--admin-url", &stranger.url(""), "--output", &kept]).await;
    assert!(code == Some(1) && said.contains("has no configuration"), "{said}");
    assert_eq!(fs::read_to_string(&kept).expect("a file"), "precious");
    let stage = Stage::start().await;
    let url = stage.gateway.admin_url("");
    let (code, said) = run(&["dump", "--admin-url", &url, "--output", &kept]).await;
    assert_eq!(code, Some(0), "{said}");
    let mode = fs::metadata(&kept).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "there may be secrets in it");
    assert!(
        fs::read_to_string(&kept)
            .expect("a file")
            .contains("_format_version")
    );
}

#[tokio::test]
async fn what_was_is_told_compared_and_gone_back_to() {
    let stage = Stage::start().await;
    stage
        .create("/services", &[("name", "shop"), ("host", "a.test")])
        .await;
    stage
        .create("/services/shop/routes", &[("name", "front"), ("paths[]", "/")])
        .await;
    let admin = stage.gateway.admin_url("");
    let call = async |args: &[&str]| {
        let program = program().env("GW_ADMIN_URL", &admin).env("USER", "ann");
        refusal(program.args(args)).await
    };
    let check = async |args: &[&str], status: i32, parts: &[&str]| {
        let (code, said) = call(args).await;
        assert_eq!(code, Some(status), "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: `{part}` is not in:\n{said}");
        }
    };
    check(&["tag", "known-good"], 0, &["'known-good' is revision 2"]).await;
    check(&["tag"], 0, &["known-good  revision 2  ", "  ann"]).await;
    stage
        .create("/services/shop/routes", &[("name", "wrong"), ("paths[]", "/x")])
        .await;
    let told = ["+ routes wrong\n", "1 created, 0 updated, 0 deleted"];
    check(&["diff", "--from", "known-good"], 2, &told).await;
    check(&["diff", "--from", "known-good", "--to", "2"], 0, &["0 created"]).await;
    check(&["diff", "--to", "1"], 2, &["+ services shop\n", "1 created"]).await;
    check(&["diff"], 64, &[]).await;
    check(
        &["rollback", "known-good", "--dry-run"],
        0,
        &["- routes wrong\n", "1 deleted"],
    )
    .await;
    assert_eq!(
        stage.read("/routes").await["data"].as_array().map(Vec::len),
        Some(2)
    );
    let done = ["- routes wrong\n", "revision 5 is as revision 2 was"];
    check(&["rollback", "known-good", "-m", "it was wrong"], 0, &done).await;
    assert_eq!(
        stage.read("/routes").await["data"].as_array().map(Vec::len),
        Some(1)
    );
    let history = [
        "5  ",
        "  ann: it was wrong\n    - routes ",
        "2 [known-good]  ",
        "    * routes front\n",
        "    * services shop",
    ];
    check(&["history"], 0, &history).await;
    let (_, said) = call(&["history", "-n", "1", "--json"]).await;
    let commits: Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(
        (&commits[0]["author"], commits.as_array().map(Vec::len)),
        (&Value::from("ann"), Some(1))
    );
    check(&["rollback", "99"], 1, &["404", "no revision or tag '99'"]).await;
    check(
        &["tag", "known-good", "--delete"],
        0,
        &["no tag 'known-good' any more"],
    )
    .await;
    check(
        &["rollback", "known-good"],
        1,
        &["no revision or tag 'known-good'"],
    )
    .await;
    check(&["tag", "a/b"], 1, &["no name for a revision"]).await;
}
