//! Flags and variables: what they do, what is said about wrong ones, what is said at the start.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use gw_testkit::{Client, Upstream};
use serde_json::{Value, json};

use crate::support::{ACCESS, Stage, gateway_made, program, refusal};

// --- help ---

async fn help(args: &[&str]) -> String {
    let (code, said) = refusal(program().args(args)).await;
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Words of the shape `--flag` or `GW_VARIABLE`.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("--") || word.starts_with("GW_"));
    words.filter(|word| word.len() > 3).map(str::to_owned).collect()
}

/// The rows of the page's table of flags: flag, variable, default.
fn documented() -> Vec<[String; 3]> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(page).expect("docs/configuration.md is there");
    // What stands first in a cell, in code type.
    let cell = |cell: &str| Some(cell.split('`').nth(1)?.to_owned());
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(cell);
        let flag = cells.next()??.split(' ').next()?.to_owned();
        let row = [flag, cells.next()??, cells.next()??];
        row[0].starts_with("--").then_some(row)
    };
    page.lines().filter_map(row).collect()
}

#[tokio::test]
async fn help_and_documentation_name_the_same_flags() {
    let help = help(&["--help"]).await;
    let documented = documented();
    assert!(
        documented.len() >= 9,
        "the table is not read right: {documented:?}"
    );
    for [flag, variable, default] in &documented {
        // What takes no value ends its line; a flag within a text is no entry.
        let entry = [' ', '\n']
            .iter()
            .find_map(|end| help.split_once(&format!("\n      {flag}{end}")))
            .map(|(_, entry)| entry);
        let entry = entry.unwrap_or_else(|| panic!("{flag} is not in:\n{help}"));
        // One entry ends where the next flag begins.
        let entry = entry.split("\n      --").next().unwrap_or_default();
        // What has a blank in it is shown in quotes.
        let entry = entry
            .replace('"', "")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        // Of what is secret the value is not shown.
        let entry = entry.replace(&format!("[env: {variable}]"), &format!("[env: {variable}=]"));
        for part in [format!("[env: {variable}="), format!("[default: {default}")] {
            assert!(
                entry.contains(&part),
                "`{part}` is not in the entry of {flag}:\n{entry}"
            );
        }
    }
    let listed: BTreeSet<_> = documented
        .iter()
        .flat_map(|[flag, variable, _]| [flag, variable])
        .cloned()
        .collect();
    let own = ["--help", "--version", "--data", "--data-urlencode"].map(str::to_owned);
    let undocumented: Vec<_> = named(&help)
        .difference(&listed)
        .filter(|name| !own.contains(name))
        .cloned()
        .collect();
    assert_eq!(
        undocumented,
        Vec::<String>::new(),
        "add it to docs/configuration.md"
    );
}

#[tokio::test]
async fn help_needs_no_manual() {
    let long = help(&["--help"]).await;
    for part in [
        "curl -X POST http://127.0.0.1:8001/services",
        "demo",
        "0.0.0.0:8000",
        "127.0.0.1:8001",
    ] {
        assert!(long.contains(part), "`{part}` is not in:\n{long}");
    }
    let demo = help(&["demo", "--help"]).await;
    for part in [
        "--services",
        "GW_DEMO_SERVICES",
        "127.0.0.1:9001,127.0.0.1:9002",
        "--proxy-listen",
        "X-Consumer-ID",
    ] {
        assert!(demo.contains(part), "`{part}` is not in:\n{demo}");
    }
    let version = help(&["--version"]).await;
    assert_eq!(version, format!("gw-server {}", env!("CARGO_PKG_VERSION")));
}

// --- wrong values ---

#[tokio::test]
async fn a_wrong_value_is_refused_with_the_name_of_its_flag() {
    for (args, parts) in [
        (&["--workers", "0"][..], &["--workers", "1 to 1024"][..]),
        (&["--workers", "many"], &["--workers", "many"]),
        (&["--workers", "1025"], &["--workers", "1 to 1024"]),
        (
            &["--eject-for", "soon"],
            &["--eject-for", "`off` or a number of seconds"],
        ),
        (
            &["--shutdown-grace", "soon"],
            &["--shutdown-grace", "number of seconds"],
        ),
        (
            &["--shutdown-grace=-1"],
            &["--shutdown-grace", "number of seconds"],
        ),
        (
            &["--router-flavor", "nginx"],
            &["--router-flavor", "kong", "radix"],
        ),
        (&["--log-format", "yaml"], &["--log-format", "text", "json"]),
        (&["--log", "info,=="], &["--log", "info,=="]),
        (
            &["--plugins", "key-auth,nonsense"],
            &["--plugins", "nonsense", "key-auth"],
        ),
        (
            &["--access-log", "/nowhere/at/all/log"],
            &["--access-log", "/nowhere/at/all/log"],
        ),
        (&["--proxy-listen", "8000"], &["--proxy-listen", "8000"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["serve"], &["serve"]),
        (&["demo", "--services", "here"], &["--services", "here"]),
        (&["--services", "127.0.0.1:0"], &["--services"]),
    ] {
        let (code, said) = refusal(program().args(args)).await;
        assert!(
            code.is_some_and(|code| code != 0),
            "{args:?} ended with {code:?}:\n{said}"
        );
        assert!(said.starts_with("error: "), "{args:?}:\n{said}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: `{part}` is not in:\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn a_wrong_variable_is_refused_as_well() {
    for (name, value) in [
        ("GW_WORKERS", "many"),
        ("GW_SHUTDOWN_GRACE", "soon"),
        ("GW_EJECT_FOR", "-1"),
        ("GW_PLUGINS", "nonsense"),
    ] {
        let (code, said) = refusal(program().env(name, value)).await;
        assert!(code.is_some_and(|code| code != 0), "{name}: {said}");
        assert!(said.contains(value), "{name}: {said}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_flag_that_says_otherwise() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("it is bound");
    let services = format!("127.0.0.1:0,{addr}");
    for (program, flag) in [
        (program().proxy_listen(addr), "--proxy-listen"),
        (
            program().proxy_listen(format!("127.0.0.1:0,{addr}")),
            "--proxy-listen",
        ),
        (program().admin_listen(addr), "--admin-listen"),
        (
            program().args(["demo", "--services", &services]),
            "demo --services",
        ),
    ] {
        let (code, said) = refusal(program).await;
        assert_eq!(code, Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(&format!("error: cannot listen on {addr}")),
            "{said}"
        );
        assert!(last.contains(&format!("choose another with {flag}")), "{said}");
    }

    // Not even two of us share one.
    let stage = Stage::start().await;
    let (code, said) = refusal(program().proxy_listen(stage.gateway.proxy())).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot listen on"), "{said}");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a-file");
    fs::write(&file, "not a directory").expect("it can be written");
    for path in [file.clone(), file.join("below")] {
        let (code, said) = refusal(program().data_dir(&path)).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(fs::read_to_string(file).expect("it is there"), "not a directory");

    // What is not a store is not taken for one, and not overwritten.
    let damaged = folder.path().join("damaged");
    fs::create_dir(&damaged).expect("a folder");
    fs::write(damaged.join("store.redb"), "not a store".repeat(1000)).expect("it can be written");
    let (code, said) = refusal(program().data_dir(&damaged)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("store.redb") && said.contains("backup"), "{said}");
    let kept = fs::read_to_string(damaged.join("store.redb")).expect("it is there");
    assert_eq!(kept, "not a store".repeat(1000));
}

// --- what they do ---

#[tokio::test]
async fn the_start_says_where_things_are_and_what_to_type_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("made/on/first/start");
    let stage = Stage::from(program().data_dir(&data_dir)).await;
    let admin = stage.gateway.admin();
    for part in [
        format!("proxy listening on http://{}  (2 workers)", stage.gateway.proxy()),
        format!("store in {} at revision 0", data_dir.display()),
        format!("curl -X POST http://{admin}/services --data name=hello"),
        format!("curl -X POST http://{admin}/services/hello/routes --data 'paths[]=/'"),
        format!("curl http://{}/", stage.gateway.proxy()),
    ] {
        stage.gateway.wait_for_line(&part).await;
    }
    assert!(data_dir.join("store.redb").is_file());

    let upstream = Upstream::named("hello");
    stage.expose("hello", &upstream, "/").await;
    let stage = stage.restart().await;
    stage
        .gateway
        .wait_for_line(&format!("curl http://{}/routes", stage.gateway.admin()))
        .await;
    stage.gateway.wait_for_line("at revision 2").await;
}

#[tokio::test]
async fn the_demo_brings_two_services_of_its_own() {
    let demo = program()
        .args(["demo", "--services", "127.0.0.1:0,127.0.0.1:0"])
        .start()
        .await;
    demo.wait_for_lines(2, "sample service on http://").await;
    let log = demo.log();
    let samples = log
        .iter()
        .filter_map(|line| line.split_once("sample service on "));
    let samples: Vec<_> = samples.map(|(_, url)| url.trim().to_owned()).collect();
    let client = Client::new();
    let mut said = BTreeSet::new();
    for sample in &samples {
        let hello = client.get(format!("{sample}/")).await.expect_status(200);
        assert!(hello.text().starts_with("Hello from my service"), "{hello:?}");
        said.insert(hello.text().to_owned());
        let stranger = client.get(format!("{sample}/profile")).await.expect_status(401);
        assert_eq!(stranger.text(), "Unauthorized");
        let call = client
            .call("GET", format!("{sample}/profile"))
            .header("X-Consumer-ID", "7");
        assert_eq!(call.send().await.expect_status(200).json()["id"], "7");
    }
    assert_eq!(said.len(), 2, "each says which it is: {said:?}");
}

#[tokio::test]
async fn a_flag_wins_over_its_variable() {
    let upstream = Upstream::named("any");
    let stage = Stage::from(program().env("GW_PLUGINS", "off")).await;
    stage.expose("any", &upstream, "/").await;
    let plugin = stage
        .admin("POST", "/plugins")
        .form(&[("name", "key-auth")])
        .send()
        .await;
    assert_eq!(plugin.status, 400);

    let stage = Stage::from(program().env("GW_PLUGINS", "off").args(["--plugins", "key-auth"])).await;
    stage.create("/plugins", &[("name", "key-auth")]).await;

    let stage = Stage::from(program().args(["--workers", "3"])).await;
    stage.gateway.wait_for_line("(3 workers)").await;
}

#[tokio::test]
async fn each_proxy_address_serves() {
    let upstream = Upstream::named("any");
    let stage = Stage::from(program().proxy_listen("127.0.0.1:0,127.0.0.1:0")).await;
    stage.expose("any", &upstream, "/").await;
    let lines = stage.gateway.wait_for_lines(2, "proxy listening on ").await;
    let urls = lines
        .iter()
        .filter_map(|line| line.split_once("listening on ")?.1.split(' ').next());
    let urls: BTreeSet<_> = urls.collect();
    assert_eq!(urls.len(), 2, "{lines:?}");
    for url in urls {
        stage.client.get(url).await.expect_status(200);
    }
}

// --- plugins ---

#[tokio::test]
async fn a_plugin_that_is_off_can_be_neither_configured_nor_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let upstream = Upstream::named("guarded");
    let stage = Stage::from(program().data_dir(folder.path())).await;
    let exposed = stage.expose("guarded", &upstream, "/").await;
    let plugin = stage
        .create(&format!("{}/plugins", exposed.route), &[("name", "key-auth")])
        .await;
    gateway_made(&stage.get("/").await, 401, "No API key found in request");
    let enabled = stage.read("/plugins/enabled").await;
    let enabled = enabled["enabled_plugins"].as_array().expect("a list");
    assert!(enabled.contains(&json!("key-auth")), "{enabled:?}");

    for (name, value) in [("variable", "off"), ("flag", "off")] {
        stage.gateway.kill9().await;
        let program = program().data_dir(folder.path());
        let program = match name {
            "flag" => program.args(["--plugins", value]),
            _ => program.env("GW_PLUGINS", value),
        };
        let stage = Stage::from(program).await;
        stage.get("/").await.expect_status(200);
        assert_eq!(
            stage.read("/plugins/enabled").await,
            json!({ "enabled_plugins": [] }),
            "{name}"
        );
        let before = stage.everything().await;
        assert_eq!(
            before["/plugins"][0]["name"], "key-auth",
            "what is stored is shown"
        );
        for (method, path, form) in [
            ("POST", "/plugins".to_owned(), &[("name", "key-auth")][..]),
            (
                "POST",
                "/services/guarded/plugins".to_owned(),
                &[("name", "key-auth")],
            ),
            (
                "PUT",
                format!("/plugins/{}", uuid::Uuid::new_v4()),
                &[("name", "key-auth")],
            ),
        ] {
            let refused = stage
                .admin(method, &path)
                .form(form)
                .send()
                .await
                .expect_status(400);
            let why = "plugin 'key-auth' not enabled; add it to the 'plugins' configuration property";
            let document = refused.json();
            assert_eq!(
                document["fields"],
                json!({ "name": why }),
                "{method} {path}: {document}"
            );
            assert_eq!(
                (&document["code"], &document["name"]),
                (&json!(2), &json!("schema violation"))
            );
            assert_eq!(document["message"], format!("schema violation (name: {why})"));
        }
        assert_eq!(stage.everything().await, before, "{name}");
        stage.get("/").await.expect_status(200);
        stage.gateway.kill9().await;
    }

    // Where it cannot run it can still be switched off, and then does not run where it can.
    let none = program().data_dir(folder.path()).args(["--plugins", "off"]);
    let stage = Stage::from(none).await;
    let path = format!("/plugins/{}", plugin["id"].as_str().expect("an id"));
    stage.patch(&path, &[("enabled", "false")]).await;
    stage.gateway.kill9().await;
    let stage = Stage::from(program().data_dir(folder.path())).await;
    stage.get("/").await.expect_status(200);
    stage.patch(&path, &[("enabled", "true")]).await;
    stage.gateway.kill9().await;

    let stage = Stage::from(program().data_dir(folder.path())).await;
    gateway_made(&stage.get("/").await, 401, "No API key found in request");
    let mut kept = stage.read(&format!("{}/plugins", exposed.route)).await["data"][0].clone();
    kept["updated_at"] = plugin["updated_at"].clone();
    assert_eq!(kept, plugin);
}

// --- logs ---

/// The file's lines once the gateway has ended.
async fn access_log_file(stage: Stage, path: &Path) -> Vec<Value> {
    stage.gateway.terminate();
    assert!(stage.gateway.wait().await.success());
    let text = fs::read_to_string(path).expect("the access log is there");
    let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parsed).collect()
}

#[tokio::test]
async fn the_access_log_goes_where_it_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    for round in 1..=2 {
        let stage = Stage::from(program().arg("--access-log").arg(&file)).await;
        for n in 0..10 {
            stage.get(&format!("/{round}/{n}")).await.expect_status(404);
        }
        let log = stage.gateway.log().join("\n");
        assert!(!log.contains(ACCESS), "not to standard output as well:\n{log}");
        let lines = access_log_file(stage, &file).await;
        assert_eq!(lines.len(), round * 10, "it is appended to");
        assert!(
            lines
                .iter()
                .all(|line| line["status"] == 404 && line["failure"] == "no_route"),
            "{lines:?}"
        );
    }

    let stage = Stage::from(program().args(["--access-log", "off"])).await;
    stage.get("/").await.expect_status(404);
    stage.gateway.terminate();
    assert!(stage.gateway.wait().await.success());
    let log = stage.gateway.log().join("\n");
    assert!(!log.contains(ACCESS), "{log}");
}

#[tokio::test]
async fn the_gateways_own_log_has_the_format_and_level_asked_for() {
    let stage = Stage::from(program().args(["--log-format", "json"])).await;
    stage.gateway.terminate();
    stage.gateway.wait().await;
    let line = stage.gateway.wait_for_line("stopping").await;
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line["level"], "INFO");

    let stage = Stage::from(program().args(["--log", "error"])).await;
    stage.gateway.terminate();
    stage.gateway.wait().await;
    let log = stage.gateway.log().join("\n");
    assert!(!log.contains("stopping"), "{log}");
}

#[tokio::test]
async fn the_level_of_the_gateways_own_log_changes_while_it_runs() {
    for format in ["json", "text"] {
        let stage = Stage::from(program().args(["--log", "warn", "--log-format", format])).await;
        let level = async || stage.read("/debug/node/log-level").await["message"].clone();
        assert_eq!(level().await, "log level: warn");
        let debug = stage
            .admin("PUT", "/debug/node/log-level/debug?timeout=0")
            .send()
            .await;
        assert_eq!(
            debug.expect_status(200).json(),
            json!({ "message": "log level changed" })
        );
        assert_eq!(level().await, "log level: debug");
        stage.gateway.wait_for_line("admin request answered").await;
        // For a moment, after which it is again as it was made for good.
        let error = stage
            .admin("PUT", "/debug/node/log-level/error?timeout=0.001")
            .send()
            .await;
        error.expect_status(200);
        while level().await != "log level: debug" {
            tokio::task::yield_now().await;
        }
        stage.gateway.terminate();
        stage.gateway.wait().await;
        stage.gateway.wait_for_line("stopping").await;
    }
}

#[tokio::test]
async fn a_misspelt_level_is_refused() {
    let (code, said) = refusal(program().args(["--log", "inof"])).await;
    assert!(code == Some(1) && said.contains("--log inof"), "{said}");
}
