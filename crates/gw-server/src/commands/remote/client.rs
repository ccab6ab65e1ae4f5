//! A client of the Admin API: one call, one connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::args::admin::Secret;

/// Bound: how long a call may take; a large configuration is compiled before it is answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bound: bytes of an answer.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ClientError {
    #[error("expected http://HOST:PORT, https://HOST:PORT or unix:/PATH")]
    Url,
    #[error("cannot connect; is a gateway running there?")]
    Connect(#[source] io::Error),
    #[error("no certificates of authorities can be read from {}", .0.display())]
    Authorities(PathBuf),
    #[error("TLS cannot be spoken")]
    Tls(#[from] rustls::Error),
    #[error("the name is none that a certificate could have")]
    Name(#[from] InvalidDnsNameError),
    #[error("the call failed")]
    Call(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("the answer cannot be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is not JSON; is this an Admin API?")]
    Json(#[source] serde_json::Error),
    #[error("there is no answer after {} s", PATIENCE.as_secs())]
    Late,
}

/// A client of one Admin API.
pub(crate) struct Client {
    place: Place,
    /// Before the path of a call.
    prefix: String,
    token: Option<Secret>,
}

enum Place {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    pub(crate) fn new(
        url: &str,
        authorities: Option<&Path>,
        token: Option<Secret>,
    ) -> Result<Self, ClientError> {
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok(Self {
                place: Place::Unix(path.into()),
                prefix: String::new(),
                token,
            });
        }
        let uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let host = uri
            .host()
            .ok_or(ClientError::Url)?
            .trim_matches(['[', ']'])
            .to_owned();
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some((connector(authorities)?, ServerName::try_from(host.clone())?)),
            _ => return Err(ClientError::Url),
        };
        let default = if tls.is_some() { 443 } else { 80 };
        Ok(Self {
            place: Place::Tcp {
                host,
                port: uri.port_u16().unwrap_or(default),
                tls,
            },
            prefix: uri.path().trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// Calls, and returns the status and the document of the answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Value), ClientError> {
        match timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Late),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Value), ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender, and its errors are those of the call.
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, self.host());
        if let Some(Secret(token)) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(http::Error::from)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        // Who sits there, for the history of what is changed.
        let author = std::env::var("USER")
            .ok()
            .and_then(|user| HeaderValue::try_from(user).ok());
        if let Some(author) = author.filter(|author| (1..=256).contains(&author.len())) {
            request = request.header("x-config-author", author);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let answer = sender.send_request(request.body(body)?).await?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let bytes = bytes.map_err(ClientError::Answer)?.to_bytes();
        connection.abort();
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        let document = serde_json::from_slice(&bytes).map_err(ClientError::Json)?;
        Ok((status, document))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let (host, port, tls) = match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(ClientError::Connect)?;
                return Ok(Box::new(stream));
            }
            Place::Tcp { host, port, tls } => (host, *port, tls),
        };
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(ClientError::Connect)?;
        match tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                Ok(Box::new(stream.map_err(ClientError::Connect)?))
            }
        }
    }

    fn host(&self) -> String {
        match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

fn connector(authorities: Option<&Path>) -> Result<TlsConnector, ClientError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let unreadable = || ClientError::Authorities(path.to_owned());
            let certificates = CertificateDer::pem_file_iter(path).map_err(|_| unreadable())?;
            for certificate in certificates {
                roots.add(certificate.map_err(|_| unreadable())?)?;
            }
            if roots.is_empty() {
                return Err(unreadable());
            }
        }
        None => {
            // What of the system's cannot be read is missed where it is needed.
            let (_, _): (usize, usize) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_admin_api_is_is_said_in_three_ways() {
        let host = |url: &str| Client::new(url, None, None).map(|client| client.host()).ok();
        for (url, expected) in [
            ("http://127.0.0.1:8001", Some("127.0.0.1:8001")),
            ("http://[::1]:8001/", Some("[::1]:8001")),
            ("http://gw.internal/admin", Some("gw.internal:80")),
            ("https://gw.internal", Some("gw.internal:443")),
            ("unix:/run/gw-admin.sock", Some("localhost")),
            ("127.0.0.1:8001", None),
            ("ftp://gw.internal", None),
            ("", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }
}
