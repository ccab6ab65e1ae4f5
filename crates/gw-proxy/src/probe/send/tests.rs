//! Each kind of probe against real servers, well and unwell.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use gw_core::Probe;
use gw_testkit::{Authority, End, Gate, Reply, TlsFront, Upstream, dead_port, silent_port};
use http::HeaderMap;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use super::*;

fn active(kind: ProbeKind, change: impl FnOnce(&mut Probe)) -> Active {
    let mut probe = Probe {
        kind,
        path: "/health?deep=1".parse().unwrap(),
        headers: HeaderMap::new(),
        server_name: None,
        verify: true,
        service: "".into(),
    };
    change(&mut probe);
    Active {
        healthy_interval: None,
        unhealthy_interval: None,
        timeout: Duration::from_millis(2500),
        concurrency: 1,
        probe,
        limits: gw_balancer::health::Counters {
            statuses: true,
            successes: 0,
            healthy: [].into_iter().collect(),
            tcp_failures: 0,
            timeouts: 0,
            http_failures: 0,
            unhealthy: [].into_iter().collect(),
        },
    }
}

fn believing(authority: &Authority) -> Arc<Tls> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    Arc::new(Tls::believing(roots))
}

async fn probe(active: &Active, address: SocketAddr, host: &'static str, tls: &Arc<Tls>) -> Found {
    send(
        (active, &Arc::default()),
        &address.into(),
        &HeaderValue::from_static(host),
        tls,
    )
    .await
}

/// Probes a server that is found to be well or not within a quarter of a second.
async fn find(kind: ProbeKind, address: SocketAddr) -> Finding {
    let mut active = active(kind, |_| {});
    active.timeout = Duration::from_millis(250);
    probe(&active, address, "app.test", &Arc::default()).await.finding
}

#[tokio::test]
async fn a_request_is_kong_s_and_its_status_counts() {
    let upstream = Upstream::start(|request| match request.header("x-status") {
        Some(status) => Reply::status(status.parse().unwrap()),
        None => Reply::ok("well"),
    });
    let plain = active(ProbeKind::Http, |_| {});
    let found = probe(&plain, upstream.addr(), "app.test:81", &Arc::default()).await;
    assert_eq!((found.finding, found.cause), (Finding::Status(200), None));
    let configured = active(ProbeKind::Http, |probe| {
        for (name, value) in [
            ("x-status", "503"),
            ("x-probe", "a"),
            ("x-probe", "b"),
            ("connection", "keep-alive"),
        ] {
            probe.headers.append(name, HeaderValue::from_static(value));
        }
        probe
            .headers
            .insert("host", HeaderValue::from_static("other.test"));
    });
    let found = probe(&configured, upstream.addr(), "app.test", &Arc::default()).await;
    assert_eq!(found.finding, Finding::Status(503));
    let requests = upstream.requests();
    for (request, hosts, probes) in [
        (&requests[0], "app.test:81", vec![]),
        (&requests[1], "other.test", vec!["a", "b"]),
    ] {
        assert_eq!((&*request.method, &*request.target), ("GET", "/health?deep=1"));
        let all = |name: &str| {
            request
                .headers
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| &**value)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (all("host"), all("connection"), all("x-probe")),
            (vec![hosts], vec!["close"], probes)
        );
    }
    assert_eq!(upstream.counts().accepted, 2);
}

#[tokio::test]
async fn what_is_no_answer_is_told_apart() {
    let (gate, held) = (Gate::closed(), Gate::closed());
    let silent = Upstream::start({
        let gate = gate.clone();
        move |_| Reply::ok("late").hold(&gate)
    });
    let endless = Upstream::start(move |_| Reply::ok("head first").wait(&held));
    let broken = Upstream::builder().close_on_accept().serve(|_| Reply::ok(""));
    let torn = Upstream::start(|_| Reply::raw("HTTP/1.1 2").end(End::HangUp));
    let other = Upstream::start(|_| Reply::raw("SMTP ready\r\n\r\n").end(End::Close));
    let (dead, mute) = (dead_port(), silent_port());
    for (address, http, tcp) in [
        (silent.addr(), Finding::Late, Finding::Alive),
        (endless.addr(), Finding::Status(200), Finding::Alive),
        (broken.addr(), Finding::Broken, Finding::Alive),
        (torn.addr(), Finding::Broken, Finding::Alive),
        (other.addr(), Finding::Unreadable, Finding::Alive),
        (dead.addr(), Finding::NoConnection, Finding::NoConnection),
        (mute.addr(), Finding::Late, Finding::Late),
    ] {
        assert_eq!(find(ProbeKind::Http, address).await, http);
        assert_eq!(find(ProbeKind::Tcp, address).await, tcp);
    }
    gate.open();
}

#[tokio::test]
async fn over_tls_the_certificate_must_be_trusted_and_for_the_name() {
    let (authority, upstream) = (Authority::new(), Upstream::named("secure"));
    let front = TlsFront::start(
        authority.identity(&["app.test", "127.0.0.1"]),
        &["http/1.1"],
        upstream.addr(),
    );
    let (known, unknown) = (believing(&authority), believing(&Authority::new()));
    let named = |name: &str| active(ProbeKind::Https, |probe| probe.server_name = Some(name.into()));
    let lax = active(ProbeKind::Https, |probe| probe.verify = false);
    let plain = active(ProbeKind::Https, |_| {});
    for (active, host, tls, finding, asked) in [
        (
            &plain,
            "app.test:8443",
            &known,
            Finding::Status(200),
            Some(Some("app.test")),
        ),
        (&plain, "127.0.0.1:8443", &known, Finding::Status(200), Some(None)),
        (&plain, "other.test", &known, Finding::NoTls, None),
        (&plain, "app.test", &unknown, Finding::NoTls, None),
        (
            &named("app.test"),
            "other.test",
            &known,
            Finding::Status(200),
            Some(Some("app.test")),
        ),
        (&named("other.test"), "app.test", &known, Finding::NoTls, None),
        (
            &lax,
            "other.test",
            &unknown,
            Finding::Status(200),
            Some(Some("other.test")),
        ),
    ] {
        let names = front.handshakes().names.len();
        let found = probe(active, front.addr(), host, tls).await;
        assert_eq!(found.finding, finding, "{host}: {found:?}");
        assert_eq!(found.cause.is_some(), asked.is_none(), "{found:?}");
        let Some(asked) = asked else { continue };
        let seen = front
            .wait_until("a handshake", |seen| seen.names.len() > names)
            .await;
        assert_eq!(seen.names.last().map(Option::as_deref), Some(asked), "{host}");
    }
    let broken = Upstream::builder().close_on_accept().serve(|_| Reply::ok(""));
    let found = probe(&plain, broken.addr(), "app.test", &known).await;
    assert_eq!(found.finding, Finding::NoTls, "{found:?}");
    assert_eq!(
        find(ProbeKind::Https, upstream.addr()).await,
        Finding::Late,
        "it waits for a line to end"
    );
    let found = probe(&plain, front.addr(), "a b", &known).await;
    assert_eq!(found.finding, Finding::NoTls, "{found:?}");
}

/// A gRPC server that others wrote, and the switch of what it says of itself.
async fn grpc_server() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = health_reporter();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, reporter)
}

#[tokio::test]
async fn a_grpc_server_says_whether_it_serves() {
    let (address, reporter) = grpc_server().await;
    let whole = active(ProbeKind::Grpc, |_| {});
    let orders = active(ProbeKind::Grpc, |probe| probe.service = "app.Orders".into());
    let tls = Arc::default();
    let ask = async |active: &Active| {
        let found = probe(active, address, "app.test:50051", &tls).await;
        (found.finding, found.cause.unwrap_or_default())
    };
    let not = |cause: &str| (Finding::NotServing, cause.to_owned());
    assert_eq!(ask(&whole).await, (Finding::Alive, String::new()));
    assert_eq!(
        ask(&orders).await,
        not("grpc-status 5: it does not know the service")
    );
    reporter
        .set_service_status("app.Orders", ServingStatus::Serving)
        .await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(ask(&orders).await, (Finding::Alive, String::new()));
    assert_eq!(ask(&whole).await, not("status NOT_SERVING"));
    reporter
        .set_service_status("app.Orders", ServingStatus::Unknown)
        .await;
    assert_eq!(ask(&orders).await, not("status UNKNOWN"));
}

#[tokio::test]
async fn grpc_is_spoken_over_tls_too_and_not_to_everyone() {
    let (address, _reporter) = grpc_server().await;
    let authority = Authority::new();
    let front = TlsFront::start(authority.identity(&["app.test"]), &["h2"], address);
    let tls = believing(&authority);
    let secure = active(ProbeKind::Grpcs, |_| {});
    assert_eq!(
        probe(&secure, front.addr(), "app.test", &tls).await.finding,
        Finding::Alive
    );
    assert_eq!(
        probe(&secure, front.addr(), "other.test", &tls).await.finding,
        Finding::NoTls
    );
    let older = TlsFront::start(authority.identity(&["app.test"]), &["http/1.1"], address);
    assert_eq!(
        probe(&secure, older.addr(), "app.test", &tls).await.finding,
        Finding::NoTls,
        "no common protocol"
    );

    let (web, broken) = (
        Upstream::named("web"),
        Upstream::builder().close_on_accept().serve(|_| Reply::ok("")),
    );
    for (address, finding) in [
        (web.addr(), Finding::Broken),
        (broken.addr(), Finding::Broken),
        (dead_port().addr(), Finding::NoConnection),
        (silent_port().addr(), Finding::Late),
    ] {
        assert_eq!(find(ProbeKind::Grpc, address).await, finding);
    }
}

/// An HTTP/2 server that knows no gRPC.
#[tokio::test]
async fn an_answer_that_is_no_grpc_is_no_good_answer() {
    for (status, body, trailer, finding) in [
        (200, "", None, Finding::Unreadable),
        (503, "", None, Finding::NotServing),
        (200, "", Some("0"), Finding::NotServing),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(move |_| async move {
                let mut response = http::Response::new(body.to_owned());
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                if let Some(trailer) = trailer {
                    response
                        .headers_mut()
                        .insert("grpc-status", HeaderValue::from_static(trailer));
                }
                Ok::<_, Infallible>(response)
            });
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await
        };
        let server = tokio::spawn(server);
        assert_eq!(
            find(ProbeKind::Grpc, address).await,
            finding,
            "{status} {trailer:?}"
        );
        server.abort();
    }
}
