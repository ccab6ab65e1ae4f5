//! The router as a `tower` layer: it finds the route and hands it to the service inside, whatever that is.
//!
//! Without arguments it serves on a free port, asks itself and ends; with an address (`localhost:8080`) it serves on.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use gw_router::{Lookup, Router, Rule, normalize};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service, service_fn};

type Answer = Response<Full<Bytes>>;

// --- The layer ---

/// The table, which can be exchanged while requests are on their way.
#[derive(Clone, Debug)]
struct RouteLayer {
    table: Arc<ArcSwap<Router<&'static str>>>,
}

#[derive(Clone, Debug)]
struct RouteService<S> {
    table: Arc<ArcSwap<Router<&'static str>>>,
    inner: S,
}

/// What the service inside finds among the request's extensions.
#[derive(Clone, Debug)]
struct Route {
    name: &'static str,
    params: Vec<(String, String)>,
}

impl<S> Layer<S> for RouteLayer {
    type Service = RouteService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService {
            table: Arc::clone(&self.table),
            inner,
        }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for RouteService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(route) = route(&self.table.load(), &request) {
            request.extensions_mut().insert(route);
        }
        self.inner.call(request)
    }
}

fn route<B>(table: &Router<&'static str>, request: &Request<B>) -> Option<Route> {
    let path = normalize(request.uri().path()).ok()?;
    // An HTTP/2 request names its host in the URI.
    let authority = request.uri().authority().map(Authority::as_str);
    let header = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let lookup = Lookup::new(request.method(), authority.or(header).unwrap_or_default(), &path)
        .headers(request.headers())
        .query(request.uri().query().unwrap_or_default());
    let found = table.find(&lookup)?;
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Some(Route {
        name: found.value,
        params: found.params().map(owned).collect(),
    })
}

// --- A program that uses it ---

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its results")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut router = Router::new();
    router.insert(Rule::path("/users/{user}")?.method(Method::GET), "show user")?;
    router.insert(Rule::path("/files/{*path}")?, "files")?;
    let layer = RouteLayer {
        table: Arc::new(ArcSwap::from_pointee(router)),
    };

    let asked = std::env::args().nth(1);
    let listener = TcpListener::bind(asked.as_deref().unwrap_or("localhost:0")).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, layer));
    if asked.is_some() {
        println!("http://{address} serves /users/NAME and /files/PATH");
        return server.await?;
    }
    for path in ["/users/anna", "/files/2024/report.pdf", "/other"] {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(path).header(header::HOST, "localhost");
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{path} -> {status}: {}", String::from_utf8_lossy(&body));
        assert_eq!(status == StatusCode::NOT_FOUND, path == "/other");
    }
    Ok(())
}

async fn serve(listener: TcpListener, layer: RouteLayer) -> Result<(), Box<dyn Error + Send + Sync>> {
    let service = layer.layer(service_fn(handle));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // Note: a connection that breaks is the client's affair.
        tokio::spawn(connection);
    }
}

/// The service inside: it need not know how the route was found.
async fn handle(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let mut answer = Response::new(Full::default());
    match request.extensions().get::<Route>() {
        Some(route) => *answer.body_mut() = format!("{} {:?}", route.name, route.params).into(),
        None => *answer.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(answer)
}
