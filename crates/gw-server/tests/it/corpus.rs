//! Public configurations: a gateway is started on each, with sample services, and every route of it is requested.
//!
//! What is expected is said by kind: of refusals, of routes, of plugins. The score is printed as a table.

#![expect(clippy::print_stdout, reason = "the score is what the test is run for")]

mod effects; // what each kind of plugin does that can be seen from outside
mod file; // what a test knows of a file
mod path; // which path an upstream is to see, by Kong's rule
mod sample; // a text that a regular expression matches
mod samples; // services of every name, with and without TLS

use std::path::{Path, PathBuf};

use gw_testkit::{Answer, Call, NameServer, Received};
use serde_json::{Value, json};

use self::effects::{Exchange, Shown};
use self::file::{Document, Names, texts};
use self::samples::Samples;
use crate::support::{Stage, program};

/// What is wrong with a file that Kong refuses as well, as our messages begin.
const KONG_REFUSES_TOO: [&str; 13] = [
    "at least one of",
    "unknown field",
    "required field missing",
    "expected ",
    "value ",
    "uniqueness violation",
    "invalid reference",
    "invalid value",
    "should ",
    "must ",
    "schema violation",
    "missing host in url",
    "length must be",
];

/// What came of one file.
#[derive(Debug, Default)]
struct Score {
    file: String,
    format: String,
    /// Why it does not load; empty if it does.
    refused: Vec<String>,
    routes: usize,
    /// Got by the route that they are for.
    matched: usize,
    /// Answered by a sample service that saw what was expected.
    passed: usize,
    /// Answered by a plugin whose business it is.
    answered: usize,
    /// Not to be requested by a client of HTTP/1, with nothing behind them, or in the shadow of a regular expression.
    apart: usize,
    /// Instances of plugins whose doing was seen, and those that did not do it.
    shown: usize,
    plugins: usize,
    absent: Vec<String>,
    wrong: Vec<String>,
}

#[tokio::test]
async fn every_route_of_every_public_file_is_served() {
    let Some(corpus) = std::env::var_os("GW_CORPUS") else {
        println!("GW_CORPUS names no folder of public configurations: nothing was started");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut copies = Vec::new();
    for kind in ["kong", "apisix"] {
        for path in files(&PathBuf::from(&corpus).join(kind)) {
            copies.push(Copy::of(kind, &path, folder.path()));
        }
    }
    let variables: Vec<(String, String)> = copies
        .iter()
        .flat_map(|copy| file::variables(&copy.text))
        .collect();
    let mut scores = check(&copies, &variables).await;
    for (copy, score) in copies.iter().zip(&mut scores) {
        if score.refused.is_empty() {
            run(copy, &variables, folder.path(), score).await;
        }
    }
    print(&scores);
    let wrong: Vec<String> = scores
        .iter()
        .flat_map(|score| score.wrong.iter().map(|wrong| format!("{}: {wrong}", score.file)))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    let loaded = scores.iter().filter(|score| score.refused.is_empty()).count();
    assert!(loaded * 10 >= scores.len() * 6, "most of what people write loads");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// A public file, for a test to run.
struct Copy {
    kind: &'static str,
    path: PathBuf,
    text: String,
}

impl Copy {
    fn of(kind: &'static str, original: &Path, folder: &Path) -> Self {
        let name = original.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{kind}-{name}"));
        let text = std::fs::read_to_string(original).expect("it is text");
        std::fs::write(&path, file::with_names_for_addresses(&text)).expect("a copy");
        Self { kind, path, text }
    }
}

/// Starts a gateway on a file, and requests all its routes.
async fn run(copy: &Copy, variables: &[(String, String)], folder: &Path, score: &mut Score) {
    let document = Document::read(&copy.text);
    if copy.kind == "kong" {
        score.format = document.format();
    }
    let samples = Samples::start();
    let names = NameServer::start();
    let port = samples.port();
    names.set_all(60, &["A 127.0.0.1", &format!("SRV 1 1 {port} sample.test")]);
    let nowhere = folder.join("empty");
    std::fs::write(&nowhere, "").expect("it can be written");
    let program = program()
        .arg("--config")
        .arg(&copy.path)
        .args([
            "--unknown-plugins",
            "ignore",
            "--eject-for",
            "off",
            "--trusted-ips",
            "127.0.0.1",
        ])
        .args(["--dns-order", "SRV,A", "--dns-server", &names.addr().to_string()])
        .arg("--dns-hosts-file")
        .arg(&nowhere)
        .arg("--dns-resolv-conf")
        .arg(&nowhere);
    let program = variables
        .iter()
        .fold(program, |program, (name, value)| program.env(name, value));
    let stage = match program.try_start().await {
        Ok(gateway) => Stage::of(gateway),
        Err(error) => {
            score.wrong.push(format!("does not start: {error}"));
            return;
        }
    };
    let all = Names::read(&stage).await;
    score.absent = absent(&stage);
    let mut answers = Vec::new();
    for (number, route) in all.routes.iter().enumerate() {
        let answer = request(&stage, &samples, &document, &all, (number, route), score).await;
        answers.extend(answer.map(|answer| (route, answer)));
    }
    let (routes, answers): (Vec<&Value>, Vec<Answer>) = answers.into_iter().unzip();
    for (route, line) in routes.into_iter().zip(stage.access_lines(&answers).await) {
        tell_match(route, &line, score);
    }
}

/// Whether each loads and, if it does not, whether that is for what Kong refuses too.
async fn check(copies: &[Copy], variables: &[(String, String)]) -> Vec<Score> {
    // So many files take longer than a test waits for a program otherwise.
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_gw-server"));
    program.args(["check", "--json", "--unknown-plugins", "ignore"]);
    program.args(copies.iter().map(|copy| &copy.path));
    program.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = program.output().await.expect("it can be started");
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let files = told["files"].as_array().expect("a list");
    assert_eq!(files.len(), copies.len());
    assert_eq!(
        output.status.success(),
        files.iter().all(|file| file["loads"] == true)
    );
    copies
        .iter()
        .zip(files)
        .map(|(copy, told)| judged(copy, told))
        .collect()
}

fn judged(copy: &Copy, told: &Value) -> Score {
    let mut score = Score {
        file: copy
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        format: copy.kind.to_owned(),
        ..Score::default()
    };
    for error in told["errors"].as_array().into_iter().flatten() {
        let message = error["message"].as_str().unwrap_or_default();
        let place = error["path"].as_str().unwrap_or_default();
        let text = format!("line {}: {place}: {message}", error["line"]);
        if !error["line"].is_u64() || message.is_empty() {
            score.wrong.push(format!("an error without a place: {error}"));
        }
        if copy.kind == "kong" && !KONG_REFUSES_TOO.iter().any(|known| message.starts_with(known)) {
            score.wrong.push(format!("refused for what Kong takes: {text}"));
        }
        score.refused.push(text);
    }
    score
}

/// The plugins that were left out, as the log tells them.
fn absent(stage: &Stage) -> Vec<String> {
    let plugin = |line: &String| {
        let (_, rest) = line
            .split_once("left out, the rest runs without it")
            .map(|_| ("", line))?;
        let name = rest.split("plugin=").nth(1)?.split_whitespace().next()?;
        Some(name.trim_matches('"').to_owned())
    };
    let mut names: Vec<String> = stage.gateway.log().iter().filter_map(plugin).collect();
    names.sort();
    names
}

/// Requests one route.
async fn request(
    stage: &Stage,
    samples: &Samples,
    document: &Document,
    all: &Names,
    (number, route): (usize, &Value),
    score: &mut Score,
) -> Option<Answer> {
    score.routes += 1;
    let service = all.service_of(route);
    let is = |protocol: &str| texts(&route["protocols"]).any(|known| known == protocol);
    if !is("http") && !is("https") || service.is_some_and(file::is_no_http) {
        score.apart += 1;
        return None;
    }
    let plugins = all.plugins_of(route);
    let method = texts(&route["methods"]).next().unwrap_or("GET").to_owned();
    let client =
        effects::client(&plugins).unwrap_or_else(|| format!("10.1.{}.{}", number / 250, number % 250 + 1));
    let mut headers = file::headers(route);
    headers.push(("x-real-ip".to_owned(), client));
    headers.push((
        "host".to_owned(),
        file::host(route).unwrap_or_else(|| "probe.test".to_owned()),
    ));
    if !is("http") {
        headers.push(("x-forwarded-proto".to_owned(), "https".to_owned()));
    }
    let targets = file::targets(route);
    let Some(target) = target(stage, route, &targets, &method, &headers).await else {
        let shadow = all
            .routes
            .iter()
            .find(|other| file::goes_before(other, route, &targets));
        match shadow {
            Some(_) => score.apart += 1,
            None => score
                .wrong
                .push(format!("{} gets none of {targets:?}", named(route))),
        }
        return None;
    };
    let make = |target: &str| {
        let call = stage.call(&method, target);
        headers
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value))
    };
    // First as a stranger.
    let stranger = send(samples, effects::decorate(make(&target), &plugins)).await;
    let known = effects::authenticate(document, &plugins, target.clone());
    let exchange = match &known {
        Some(known) => {
            let call = known
                .headers
                .iter()
                .fold(make(&known.target), |call, (name, value)| {
                    call.header(name, value)
                });
            send(samples, effects::decorate(call, &plugins)).await
        }
        None => stranger.clone(),
    };
    let mut answered = false;
    for plugin in &plugins {
        match effects::shown(plugin, &stranger, known.is_some(), &exchange) {
            Shown::Nothing => {}
            Shown::Yes => {
                score.plugins += 1;
                score.shown += 1;
            }
            Shown::Answered => {
                answered = true;
                score.plugins += 1;
                score.shown += 1;
            }
            Shown::No(why) => {
                score.plugins += 1;
                score
                    .wrong
                    .push(format!("{} of {}: {why}", plugin["name"], named(route)));
            }
        }
    }
    match (&exchange.received, service) {
        (Some(received), Some(service)) => {
            let wrong = unexpected(route, service, all, (&method, &target, &plugins), received);
            score.passed += usize::from(wrong.is_none());
            score.wrong.extend(wrong);
        }
        (None, _) if answered => score.answered += 1,
        (None, None) if exchange.answer.status == 503 => score.apart += 1,
        (received, _) => score.wrong.push(format!(
            "{} answered {} to {target}: {} ({})",
            named(route),
            exchange.answer.status,
            String::from_utf8_lossy(&exchange.answer.body),
            if received.is_some() {
                "a service saw it"
            } else {
                "no service saw it"
            },
        )),
    }
    Some(exchange.answer)
}

/// Of the paths that a route matches one that no other takes away, if there is one.
async fn target(
    stage: &Stage,
    route: &Value,
    targets: &[String],
    method: &str,
    headers: &[(String, String)],
) -> Option<String> {
    let header = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let scheme = header("x-forwarded-proto").unwrap_or("http");
    let host = header("host").unwrap_or_default();
    let own: serde_json::Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| name != "host")
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    for target in targets {
        let question = json!({
            "url": format!("{scheme}://{host}{target}"), "method": method, "headers": own,
            "client": header("x-real-ip").unwrap_or_default(),
        });
        let told = stage
            .admin("POST", "/explain")
            .json(&question)
            .send()
            .await
            .expect_status(200)
            .json();
        if told["matched"]["route"]["id"] == route["id"] {
            return Some(target.clone());
        }
    }
    None
}

/// Sends a call, and returns its answer and what a service got of it.
async fn send(samples: &Samples, call: Call) -> Exchange {
    let before = samples.requests().len();
    let answer = call.send().await;
    // Plugins ask and tell others as well: it is the one with the id of the answer, and the last of them.
    let id = answer.header("x-kong-request-id").map(str::to_owned);
    let of_it = |request: &Received| request.header("x-kong-request-id") == id.as_deref();
    let received = samples.requests().into_iter().skip(before).filter(of_it).last();
    Exchange { answer, received }
}

/// Whether the route got the request that is for it, by the access log.
fn tell_match(route: &Value, line: &Value, score: &mut Score) {
    let got = line["route"].as_str().unwrap_or_default();
    if [&route["name"], &route["id"]]
        .iter()
        .any(|name| name.as_str() == Some(got))
    {
        score.matched += 1;
    } else {
        score
            .wrong
            .push(format!("{} is got by `{got}`: {line}", named(route)));
    }
}

/// What an upstream saw otherwise than it should have.
fn unexpected(
    route: &Value,
    service: &Value,
    all: &Names,
    (method, target, plugins): (&str, &str, &[Value]),
    received: &Received,
) -> Option<String> {
    let is_rewritten = plugins.iter().any(effects::rewrites_path);
    let expected = path::expected(route, service, target);
    if !is_rewritten && received.path() != expected {
        return Some(format!(
            "{}: {target} came as {}, not as {expected}",
            named(route),
            received.target
        ));
    }
    if !plugins.iter().any(effects::rewrites_method) && received.method != *method {
        return Some(format!("{}: {method} came as {}", named(route), received.method));
    }
    let host = received.header("host").unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_owned();
    let expected = match (route["preserve_host"] == true, file::host(route)) {
        (true, Some(host)) => vec![host.split(':').next().unwrap_or_default().to_owned()],
        (true, None) => vec!["probe.test".to_owned()],
        (false, _) => all.hosts_of(service),
    };
    let sets_host = plugins.iter().any(effects::rewrites_host);
    if !sets_host && !expected.iter().any(|known| known.eq_ignore_ascii_case(&host)) {
        return Some(format!(
            "{}: the host is {host}, none of {expected:?}",
            named(route)
        ));
    }
    let path = target.split('?').next().unwrap_or_default();
    let forwarded = received
        .header("x-forwarded-path")
        .map(|path| path.split('?').next().unwrap_or_default());
    (forwarded != Some(path))
        .then(|| format!("{}: X-Forwarded-Path is {forwarded:?}, not {path}", named(route)))
}

fn named(route: &Value) -> String {
    let name = route["name"].as_str().or(route["id"].as_str());
    format!("route {}", name.unwrap_or_default())
}

/// The score as a table.
fn print(scores: &[Score]) {
    println!(
        "| {:<15} | {:<10} | {:<7} | {:>6} | {:>7} | {:>6} | {:>8} | {:>5} | {:>7} | left out |",
        "file", "format", "loads", "routes", "matched", "passed", "answered", "apart", "plugins"
    );
    println!("|{}|", ["---"; 10].join("|"));
    let mut total = Score::default();
    for score in scores {
        let loads = if score.refused.is_empty() {
            "yes"
        } else {
            "refused"
        };
        println!(
            "| {:<15} | {:<10} | {loads:<7} | {:>6} | {:>7} | {:>6} | {:>8} | {:>5} | {:>3}/{:<3} | {} |",
            score.file,
            score.format,
            score.routes,
            score.matched,
            score.passed,
            score.answered,
            score.apart,
            score.shown,
            score.plugins,
            score.absent.join(" ")
        );
        total.routes += score.routes;
        total.matched += score.matched;
        total.passed += score.passed;
        total.answered += score.answered;
        total.apart += score.apart;
        total.shown += score.shown;
        total.plugins += score.plugins;
    }
    let loaded = scores.iter().filter(|score| score.refused.is_empty()).count();
    println!(
        "{}",
        json!({
            "files": scores.len(), "loaded": loaded, "routes": total.routes, "matched": total.matched,
            "passed": total.passed, "answered": total.answered, "apart": total.apart,
            "plugins seen at work": total.shown, "of those that can be seen": total.plugins,
        })
    );
    for score in scores.iter().filter(|score| !score.refused.is_empty()) {
        println!("{} is refused:", score.file);
        score.refused.iter().for_each(|why| println!("  {why}"));
    }
    for score in scores.iter().filter(|score| !score.wrong.is_empty()) {
        println!("{} is not as it should be:", score.file);
        score.wrong.iter().for_each(|why| println!("  {why}"));
    }
}
