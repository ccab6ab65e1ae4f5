//! A `tower` client that balances over targets and retries within a budget, around any client for one target.
//!
//! Run it: three servers answer, one dies on the way, at last all do. No request of the first part fails; in the second an
//! outage makes a fifth more attempts, and no more.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gw_balancer::{
    Balancer, Budget, BudgetPolicy, Checks, Handle, Outcome, Policy, Refusal, Rng, Target, TargetIdx, Tried,
};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::{Service, ServiceExt as _, service_fn};

type BoxError = Box<dyn Error + Send + Sync>;

// --- The client ---

/// Sends each request to one of the targets, and to another if that fails and it may.
///
/// `S` sends a request to one address; connections, pools and TLS are its affair.
#[derive(Clone, Debug)]
struct Balanced<S> {
    shared: Arc<Shared>,
    inner: S,
}

#[derive(Debug)]
struct Shared {
    /// Exchanged when somebody's health changes, or with [`Shared::update`] the list.
    balancer: ArcSwap<Balancer>,
    budget: Budget,
    attempts: AtomicU32,
}

/// How long one attempt may take.
const PER_TRY: Duration = Duration::from_secs(2);

/// A request whose body can be sent again.
type Whole = Request<Full<Bytes>>;

impl<S> Balanced<S> {
    fn new(targets: &[Target], inner: S) -> Self {
        let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), targets);
        Self {
            shared: Arc::new(Shared {
                balancer: ArcSwap::from_pointee(balancer),
                budget: Budget::new(BudgetPolicy::default()),
                attempts: AtomicU32::new(0),
            }),
            inner,
        }
    }
}

impl Shared {
    /// Takes other targets; whoever stays keeps its health and its requests in flight.
    fn update(&self, targets: &[Target]) {
        let now = Instant::now();
        self.balancer.rcu(|before| {
            let (after, _) = before.rebuild(&Policy::RoundRobin, &Checks::default(), targets, now);
            after
        });
    }

    fn refresh(&self) {
        self.balancer.rcu(|before| before.refresh(Instant::now()));
    }
}

impl<S> Service<Whole> for Balanced<S>
where
    S: Service<(Box<str>, Whole), Response = Response<Incoming>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    /// Always: an attempt waits for its own target.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Whole) -> Self::Future {
        Box::pin(send(Arc::clone(&self.shared), self.inner.clone(), request))
    }
}

async fn send<S>(shared: Arc<Shared>, inner: S, request: Whole) -> Result<Response<Incoming>, BoxError>
where
    S: Service<(Box<str>, Whole), Response = Response<Incoming>> + Clone,
    S::Error: Into<BoxError>,
{
    shared.budget.request(Instant::now());
    // One for all attempts: the indices in `tried` are those of its list.
    let balancer = shared.balancer.load_full();
    let mut rng = Rng::seeded(RandomState::new().hash_one(0));
    let mut tried = Tried::new();
    let mut last: Option<BoxError> = None;
    while let Some(attempt) = balancer.pick(None, &tried, Instant::now(), &mut rng) {
        let target = attempt.target();
        tried.insert(target);
        shared.attempts.fetch_add(1, Relaxed);
        let name = balancer.targets()[target.index()].name.clone();
        let answer = tokio::time::timeout(PER_TRY, inner.clone().oneshot((name, request.clone()))).await;
        let (outcome, failure) = match answer {
            Ok(Ok(response)) => {
                report(
                    &shared,
                    &balancer,
                    &attempt,
                    Outcome::Status(response.status().as_u16()),
                );
                return Ok(response);
            }
            Ok(Err(error)) => (Outcome::ConnectFailed, error.into()),
            Err(late) => (Outcome::TimedOut, late.into()),
        };
        report(&shared, &balancer, &attempt, outcome);
        last = Some(failure);
        // What may have been done must not be done again, and an outage must not be multiplied.
        if !request.method().is_idempotent() || !shared.budget.try_retry(Instant::now()) {
            break;
        }
    }
    Err(last.unwrap_or_else(|| balancer.refusal(&tried).into()))
}

#[expect(clippy::print_stdout, reason = "an example shows what happens")]
fn report(shared: &Shared, balancer: &Balancer, attempt: &Handle, outcome: Outcome) {
    if let Some(change) = attempt.report(outcome, Instant::now()) {
        let name = &balancer.targets()[attempt.target().index()].name;
        println!(
            "{name} is {}: {}",
            if change.healthy { "in" } else { "out" },
            change.reason
        );
        shared.refresh();
    }
}

// --- What sends to one target ---

/// Opens a connection for each request. A pool would go here.
async fn over_tcp((address, mut request): (Box<str>, Whole)) -> Result<Response<Incoming>, BoxError> {
    let stream = TcpStream::connect(&*address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    request.headers_mut().insert(header::HOST, address.parse()?);
    Ok(sender.send_request(request).await?)
}

// --- A program that uses it ---

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    demonstrate().await
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
async fn demonstrate() -> Result<(), BoxError> {
    let mut servers = Vec::new();
    for name in ["anna", "ben", "cleo"] {
        servers.push(Server::start(name).await?);
    }
    let targets: Vec<Target> = servers
        .iter()
        .map(|server| Target::new(&*server.address, 1))
        .collect();
    let client = Balanced::new(&targets, service_fn(over_tcp));
    let shared = Arc::clone(&client.shared);

    for i in 0..90 {
        if i == 30 {
            println!("{} dies", servers[1].address);
            servers[1].task.abort();
        }
        let response = client
            .clone()
            .oneshot(Request::get("/").body(Full::default())?)
            .await?;
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await?;
    }
    let attempts = shared.attempts.swap(0, Relaxed);
    println!("90 requests, none failed, {attempts} attempts");
    assert!((90..=93).contains(&attempts), "out with the third failure");
    let dead = shared.balancer.load().condition(TargetIdx(1));
    assert!(dead.is_some_and(|condition| !condition.healthy));

    for server in &servers {
        server.task.abort();
    }
    let (mut failed, began) = (0, Instant::now());
    for _ in 0..500 {
        let request = Request::get("/").body(Full::default())?;
        failed += u32::from(client.clone().oneshot(request).await.is_err());
    }
    let attempts = shared.attempts.swap(0, Relaxed);
    println!("{failed} of 500 requests failed as nobody was there, after {attempts} attempts");
    // A fifth of all requests, and ten in a second whatever there are.
    assert!(attempts <= 500 + 590 / 5 + 10 * (1 + began.elapsed().as_secs() as u32));

    // A new list takes effect with the next request.
    let newcomer = Server::start("dora").await?;
    shared.update(&[Target::new(&*newcomer.address, 1)]);
    let response = client
        .clone()
        .oneshot(Request::get("/").body(Full::default())?)
        .await?;
    let body = response.into_body().collect().await?.to_bytes();
    println!("{} answers: {}", newcomer.address, String::from_utf8_lossy(&body));
    assert_eq!(&*body, b"dora");

    shared.update(&[]);
    let nobody = client.oneshot(Request::get("/").body(Full::default())?).await;
    let refusal = nobody.err().and_then(|error| error.downcast::<Refusal>().ok());
    assert_eq!(refusal.as_deref(), Some(&Refusal::Empty));
    Ok(())
}

/// A server that says its name.
struct Server {
    address: String,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(name: &'static str) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let answer = move |_: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper::service::service_fn(answer);
                let http = hyper::server::conn::http1::Builder::new();
                // Note: a connection that breaks is the client's affair.
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, task })
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_does_what_it_says() {
        super::demonstrate()
            .await
            .expect("no request fails that must not");
    }
}
