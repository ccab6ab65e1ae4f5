//! What plugins add to a whole request: the CPU time of the thread that serves, beside the same gateway without them.
//!
//! Rounds of all chains take turns, so that what disturbs the machine disturbs all of them alike; what is printed is the
//! median of the rounds' differences. `cargo bench -p gw-benches --bench gateway`; as a test, one short round.
//! `-- --only CHAIN REQUESTS` serves so many requests through one chain and prints nothing, to be run below callgrind.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use gw_core::{Change, Config, Document, Kind, Kinds, Protocol};
use gw_plugins::Registry;
use gw_proxy::{AccessLogSink, Connection, Gateway, GatewayService, Settings, SystemResolver};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::Service as _;

/// Requests that are served one after the other: what they are made of stays in the caches meanwhile, as it does where
/// connections are served.
const BURST: u32 = 40;

/// Bound: what the chain of six may add to a request, in nanoseconds of CPU.
const GOAL: f64 = 2_500.0;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = match args.as_slice() {
        [flag, chain, requests, ..] if flag == "--only" => Some((chain, requests.parse::<u32>()?)),
        _ => None,
    };
    let (rounds, count) = match (only, args.iter().any(|arg| arg == "--bench")) {
        (Some((_, count)), _) => (count / BURST, BURST),
        (None, true) => (1_000, BURST),
        (None, false) => (1, BURST),
    };
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let worker = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let origin = origin(&worker)?;
    let mut chains = vec![("no plugin", Vec::new())];
    chains.extend(six().map(|plugin| (plugin.0, vec![plugin])));
    chains.push(("all six", six().to_vec()));
    chains.retain(|(name, _)| only.is_none_or(|(chain, _)| chain == name));
    let mut served = Vec::new();
    for (name, plugins) in chains {
        let gateway = gateway(&control, origin, &plugins)?;
        let mut service = worker.block_on(async { GatewayService::new(&gateway, connection()) });
        // Connections, tables and buffers are there before anything is timed.
        serve(&worker, &mut service, asked(count)?)?;
        served.push((name, service, Vec::new()));
    }
    for round in 0..rounds as usize {
        // Another one begins each time.
        let chains = served.len();
        served.rotate_left(round % chains);
        for (_, service, times) in &mut served {
            let requests = asked(count)?;
            let begun = if only.is_none() { thread_time() } else { 0.0 };
            serve(&worker, service, requests)?;
            let ended = if only.is_none() { thread_time() } else { 0.0 };
            times.push((ended - begun) / f64::from(count));
        }
        served.rotate_right(round % chains);
    }
    if only.is_some() {
        return Ok(());
    }
    report(
        &served
            .into_iter()
            .map(|(name, _, times)| (name, times))
            .collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// The plugins of the chain, as public configurations set them.
fn six() -> [(&'static str, Value); 6] {
    [
        (
            "cors",
            json!({ "origins": ["https://shop.test"], "credentials": true }),
        ),
        ("key-auth", json!({})),
        ("acl", json!({ "allow": ["gold"] })),
        (
            "rate-limiting",
            json!({ "minute": 1_000_000_000, "policy": "local" }),
        ),
        (
            "correlation-id",
            json!({ "header_name": "X-Request-ID", "echo_downstream": true }),
        ),
        (
            "prometheus",
            json!({ "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true }),
        ),
    ]
}

/// Answers each request with the same few bytes, from a task of the thread that serves: a thread of its own would have to
/// be woken for each request, which takes longer than the request and differs from one to the next.
fn origin(worker: &Runtime) -> io::Result<SocketAddr> {
    let listener = worker.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    worker.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn connection() -> Connection {
    Connection {
        client: (Ipv4Addr::new(192, 0, 2, 7), 5000).into(),
        local: (Ipv4Addr::new(192, 0, 2, 1), 80).into(),
        scheme: Protocol::Http,
    }
}

/// A gateway with one route, a consumer, and these plugins for all requests. `acl` alone needs to know who asks, so
/// `key-auth` is before it.
fn gateway(control: &Runtime, origin: SocketAddr, plugins: &[(&str, Value)]) -> Result<Arc<Gateway>, Failed> {
    let id = |number: u8| format!("7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a0{number:02}");
    let consumer = json!({ "id": id(1) });
    let mut documents = vec![
        (
            "services",
            json!({ "id": id(2), "url": format!("http://{origin}") }),
        ),
        (
            "routes",
            json!({ "id": id(3), "paths": ["/"], "service": { "id": id(2) } }),
        ),
        ("consumers", json!({ "id": id(1), "username": "ann" })),
        (
            "keyauth_credentials",
            json!({ "id": id(4), "key": "the-key", "consumer": consumer }),
        ),
        (
            "acls",
            json!({ "id": id(5), "group": "gold", "consumer": consumer }),
        ),
    ];
    let mut plugins = plugins.to_vec();
    if plugins.iter().any(|(name, _)| *name == "acl") && plugins.len() == 1 {
        plugins.insert(0, ("key-auth", json!({})));
    }
    for (number, (name, config)) in (10..).zip(plugins) {
        documents.push((
            "plugins",
            json!({ "id": id(number), "name": name, "config": config }),
        ));
    }
    let registry = Registry::builtin();
    let kinds = registry.kinds()?;
    let changes = documents
        .into_iter()
        .map(|(kind, document)| put(&registry, &kinds, kind, document))
        .collect::<Result<Vec<_>, _>>()?;
    let mut config = Config::default();
    for change in &changes {
        config.apply(change.clone());
    }
    let quiet = Settings {
        access_log: AccessLogSink::Off,
        ..Settings::default()
    };
    let resolver = Arc::new(SystemResolver::default());
    let gateway = Gateway::new(registry, quiet, control.handle().clone(), resolver)?;
    let problems = gateway.apply(config, &changes, 1);
    assert!(problems.is_empty(), "{problems:?}");
    Ok(gateway)
}

/// An entity as the Admin API would make it.
fn put(registry: &Registry, kinds: &Kinds, kind: &str, document: Value) -> Result<Change, Failed> {
    let kind = kinds.by_name(kind).ok_or("no such kind")?.kind;
    let mut document: Document = serde_json::from_value(document)?;
    document.insert("created_at".to_owned(), json!(0));
    if !matches!(kind, Kind::Credential(_)) {
        document.insert("updated_at".to_owned(), json!(0));
    }
    if kind == Kind::Plugin {
        registry.complete(&mut document)?;
    }
    Kinds::expand(kind, &mut document);
    Ok(Change::Put(kinds.complete(kind, &mut document)?))
}

/// Serves so many requests.
fn serve(worker: &Runtime, service: &mut GatewayService, requests: Vec<Asked>) -> Result<(), Failed> {
    worker.block_on(async {
        for request in requests {
            let response = service.call(request).await?;
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await?.to_bytes();
            assert_eq!(body.len(), 5);
        }
        Ok(())
    })
}

type Asked = Request<Empty<Bytes>>;

/// So many requests of a client that has a key.
fn asked(count: u32) -> Result<Vec<Asked>, http::Error> {
    let asked = Request::get("/some/path?x=y")
        .header("host", "www.example")
        .header("user-agent", "a bench")
        .header("accept", "*/*")
        .header("origin", "https://shop.test")
        .header("apikey", "the-key")
        .body(Empty::<Bytes>::new())?;
    let requests = (0..count)
        .map(|_| {
            let mut request = asked.clone();
            request.headers_mut().reserve(48); // as the table of a connection that has served some
            request
        })
        .collect();
    Ok(requests)
}

/// CPU time of this thread so far, in nanoseconds.
fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn report(served: &[(&str, Vec<f64>)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Some(((_, bare), _)) = served.split_first() else {
        return Ok(());
    };
    for (name, times) in served {
        let added = median(times.iter().zip(bare).map(|(time, bare)| time - bare).collect());
        let whole = median(times.clone());
        writeln!(
            out,
            "{name:>16}: {whole:8.0} ns of CPU a request, {added:+7.0} beside none"
        )?;
        if *name == "all six" {
            let met = if added <= GOAL { "met" } else { "not met" };
            writeln!(out, "{:>16}  at most {GOAL:.0} asked: {met}", "")?;
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
