//! Two sample services to try the gateway with.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tracing::debug;

use crate::error::StartError;

/// Starts a sample service at each address, and returns where they listen.
pub(crate) async fn start(addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, StartError> {
    let mut started = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let failed = |source: std::io::Error| StartError::Listen {
            address: address.to_string(),
            what: "a sample service",
            flag: "demo --services",
            source: source.into(),
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        tokio::spawn(serve(listener, local.port()));
        started.push(local);
    }
    Ok(started)
}

async fn serve(listener: TcpListener, instance: u16) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "a sample service could not accept");
                tokio::task::yield_now().await;
                continue;
            }
        };
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                std::future::ready(Ok::<_, Infallible>(answer(&request, instance)))
            });
            if let Err(error) = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                debug!(%error, "a connection to a sample service broke");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, instance: u16) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match request.uri().path() {
        "/" => (
            StatusCode::OK,
            "text/plain; charset=utf-8",
            format!("Hello from my service, instance {instance}\n"),
        ),
        "/profile" => profile(request, instance),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "Not found; try / or /profile\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn profile(request: &Request<Incoming>, instance: u16) -> (StatusCode, &'static str, String) {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(id) = header("x-consumer-id") else {
        return (
            StatusCode::UNAUTHORIZED,
            "text/plain; charset=utf-8",
            "Unauthorized".to_owned(),
        );
    };
    let profile =
        serde_json::json!({ "id": id, "username": header("x-consumer-username"), "instance": instance });
    (
        StatusCode::OK,
        "application/json; charset=utf-8",
        profile.to_string(),
    )
}
