//! What plugins are lent: calls over HTTP and TLS, sockets that are kept, names, bounds.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use gw_plugins::env::{CallError, CallTerms, Lender, Stream};
use gw_proxy::{Answer, BoxFuture, ResolveError, Resolver, lender};
use gw_testkit::{Authority, Gate, Reply, TlsFront, Upstream, dead_port, silent_port, within};
use http::{Request, Response};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Handle;

/// Every name but `none.test` is this machine, for a time that is long enough.
#[derive(Debug, Default)]
struct Here(AtomicUsize);

impl Resolver for Here {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        self.0.fetch_add(1, Relaxed);
        let answer = match name {
            "none.test" => Err(ResolveError::NotFound { name: name.into() }),
            _ => Ok(Answer::addresses(
                vec![IpAddr::from([127, 0, 0, 1])],
                Duration::from_secs(600),
            )),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn lends() -> Arc<dyn Lender> {
    lender(Handle::current(), Arc::new(Here::default()))
}

fn terms(change: impl FnOnce(&mut CallTerms)) -> CallTerms {
    let mut terms = CallTerms::default();
    change(&mut terms);
    terms
}

async fn get(lends: &Arc<dyn Lender>, url: &str, terms: CallTerms) -> Result<Response<Bytes>, CallError> {
    let request = Request::get(url).body(Bytes::new()).expect("a request");
    within("the call", lends.http().send(request, terms)).await
}

#[tokio::test]
async fn calls_share_a_connection_and_names_are_asked_for_once() {
    let upstream = Upstream::start(|request| Reply::ok(format!("{} {}", request.target, request.text())));
    let names = Arc::new(Here::default());
    let lends = lender(Handle::current(), Arc::clone(&names) as Arc<dyn Resolver>);
    for number in 0..5 {
        let url = format!("http://Logs.test:{}/in?x={number}", upstream.port());
        let request = Request::post(url)
            .header("x-a", "1")
            .body(Bytes::from_static(b"body"))
            .unwrap();
        let answer = within("an answer", lends.http().send(request, CallTerms::default()))
            .await
            .unwrap();
        assert_eq!(
            (answer.status().as_u16(), &**answer.body()),
            (200, format!("/in?x={number} body").as_bytes())
        );
    }
    assert_eq!((upstream.counts().accepted, names.0.load(Relaxed)), (1, 1));
    let seen = &upstream.requests()[0];
    assert_eq!(
        seen.header("host"),
        Some(&*format!("logs.test:{}", upstream.port()))
    );
    assert_eq!(
        (seen.header("x-a"), seen.header("content-length")),
        (Some("1"), Some("4"))
    );
}

#[tokio::test]
async fn a_connection_is_not_kept_if_it_is_not_to_be() {
    let upstream = Upstream::named("any");
    let lends = lends();
    for _ in 0..3 {
        get(&lends, &upstream.url("/"), terms(|it| it.keepalive = None))
            .await
            .unwrap();
    }
    assert_eq!(upstream.counts().accepted, 3);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let upstream = Upstream::named("any");
    let (lends, url) = (lends(), upstream.url("/"));
    for _ in 0..3 {
        get(&lends, &url, CallTerms::default()).await.unwrap();
    }
    let port = upstream.stop();
    let again = Upstream::builder().on(port).serve(|_| Reply::status(204));
    assert_eq!(
        get(&lends, &url, CallTerms::default()).await.unwrap().status(),
        204
    );
    assert_eq!(again.counts().accepted, 1);
}

#[tokio::test]
async fn what_goes_wrong_has_a_name() {
    let lends = lends();
    let dead = dead_port();
    let silent = silent_port();
    let (large, told) = (
        Upstream::start(|_| Reply::status(200).generated(5000).chunked()),
        Upstream::start(|_| Reply::status(200).generated(5000)),
    );
    let nonsense = Upstream::start(|_| Reply::raw("what?\r\n\r\n"));
    let quick = terms(|it| (it.timeout, it.most) = (Duration::from_millis(300), 4999));
    let failed = async |url: String| get(&lends, &url, quick.clone()).await.unwrap_err();
    for url in ["/path", "ftp://a.test/"] {
        assert!(
            matches!(failed(url.to_owned()).await, CallError::Uri { .. }),
            "{url}"
        );
    }
    for url in [format!("http://{}/", dead.addr()), "http://none.test/".to_owned()] {
        assert!(
            matches!(failed(url.clone()).await, CallError::Connect { .. }),
            "{url}"
        );
    }
    assert!(matches!(
        failed(format!("http://{}/", silent.addr())).await,
        CallError::TimedOut { .. }
    ));
    for upstream in [&large, &told] {
        assert!(matches!(
            failed(upstream.url("/")).await,
            CallError::TooLarge { most: 4999 }
        ));
    }
    assert!(matches!(failed(nonsense.url("/")).await, CallError::Broken(_)));
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up_in_time() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("begun").wait(&held).body("never"));
    let lends = lends();
    let failed = get(
        &lends,
        &upstream.url("/"),
        terms(|it| it.timeout = Duration::from_millis(200)),
    )
    .await;
    assert!(matches!(failed, Err(CallError::TimedOut { .. })), "{failed:?}");
}

#[tokio::test]
async fn a_certificate_is_verified_unless_it_is_not_to_be() {
    let upstream = Upstream::named("any");
    let front = TlsFront::start(Authority::new().identity(&["logs.test"]), &[], upstream.addr());
    let (lends, url) = (lends(), format!("https://logs.test:{}/", front.addr().port()));
    let refused = get(&lends, &url, CallTerms::default()).await;
    assert!(matches!(refused, Err(CallError::Connect { .. })), "{refused:?}");
    for _ in 0..2 {
        get(&lends, &url, terms(|it| it.verify = false)).await.unwrap();
    }
    // One that was not verified serves no call that is to be.
    assert!(get(&lends, &url, CallTerms::default()).await.is_err());
    assert_eq!(upstream.counts().requests, 2);
}

#[test]
fn each_runtime_has_connections_of_its_own() {
    let upstream = Upstream::named("any");
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (control, worker) = (runtime(), runtime());
    let lends = control.block_on(async { lends() });
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    for _ in 0..2 {
        // Nobody drives the other runtime meanwhile.
        control.block_on(get(&lends, &url, CallTerms::default())).unwrap();
        worker.block_on(get(&lends, &url, CallTerms::default())).unwrap();
    }
    assert_eq!(upstream.counts().accepted, 2);
    drop(worker);
    control.block_on(get(&lends, &url, CallTerms::default())).unwrap();
    assert_eq!(upstream.counts().accepted, 2);
}

#[tokio::test]
async fn a_stream_is_kept_and_opened_anew_when_it_was_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (lends, to) = (
        lends(),
        Stream::new("logs.test", listener.local_addr().unwrap().port()),
    );
    let write = async |line: &'static str| {
        let written = lends
            .sockets()
            .tcp(to.clone(), Bytes::from_static(line.as_bytes()));
        within("a write", written).await.unwrap();
    };
    write("a\n").await;
    write("b\n").await;
    let (connection, _) = within("a connection", listener.accept()).await.unwrap();
    let mut lines = BufReader::new(connection).lines();
    for expected in ["a", "b"] {
        assert_eq!(
            within("a line", lines.next_line()).await.unwrap().as_deref(),
            Some(expected)
        );
    }
    drop(lines);
    // Until the end of the connection is known here, what is written to it is lost as it may be on any way.
    let rewritten = async {
        loop {
            write("c\n").await;
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let (connection, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(connection).lines();
        lines.next_line().await.unwrap()
    };
    // Written on until it has come: a write that is given up in the middle closes its connection.
    let line = tokio::select! {
        line = within("a line over another connection", read) => line,
        () = rewritten => unreachable!("it goes on"),
    };
    assert_eq!(line.as_deref(), Some("c"));
}

#[tokio::test]
async fn a_write_that_goes_nowhere_says_so() {
    let lends = lends();
    for addr in [dead_port().addr(), silent_port().addr()] {
        let mut to = Stream::new(&addr.ip().to_string(), addr.port());
        to.timeout = Duration::from_millis(300);
        let written = lends.sockets().tcp(to, Bytes::from_static(b"x"));
        assert!(within("a write", written).await.is_err(), "{addr}");
    }
    let nowhere = lends
        .sockets()
        .udp("none.test", 9, Bytes::new(), Duration::from_secs(1));
    assert!(within("a datagram", nowhere).await.is_err());
}

#[tokio::test]
async fn datagrams_go_to_addresses_of_both_kinds() {
    let lends = lends();
    for (bind, host) in [("127.0.0.1:0", "logs.test"), ("[::1]:0", "[::1]")] {
        let Ok(socket) = UdpSocket::bind(bind).await else {
            continue; // A machine without IPv6.
        };
        let port = socket.local_addr().unwrap().port();
        let sent = lends
            .sockets()
            .udp(host, port, Bytes::from_static(b"hello"), Duration::from_secs(5));
        within("a datagram", sent).await.unwrap();
        let mut room = [0; 16];
        assert_eq!(within("its arrival", socket.recv(&mut room)).await.unwrap(), 5);
    }
}

#[tokio::test]
async fn tasks_run_beside() {
    let lends = lends();
    let (sender, done) = tokio::sync::oneshot::channel();
    let sleep = lends.tasks().sleep(Duration::from_millis(1));
    lends.tasks().spawn(Box::pin(async move {
        sleep.await;
        sender.send(()).ok();
    }));
    within("a task", done).await.unwrap();
    let (sender, done) = tokio::sync::oneshot::channel();
    lends.tasks().block(Box::new(move || {
        sender.send(()).ok();
    }));
    within("work that blocks", done).await.unwrap();
}
