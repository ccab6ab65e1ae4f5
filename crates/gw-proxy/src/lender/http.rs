//! The HTTP client of plugins: HTTP/1.1 with connections kept per runtime, so that each is driven by those who use it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use gw_plugins::env::{CallError, CallTerms, HttpClient, Lent};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{self, Handle};
use tokio::sync::OnceCell;
use tokio_rustls::rustls::pki_types::ServerName;

use super::hosts::Hosts;
use super::{here, in_runtime, tls};
use crate::lock;
use crate::tls_client::TlsClient;

/// The HTTP client of plugins.
pub(crate) struct Http {
    pool: Arc<Pool>,
    control: Handle,
}

struct Pool {
    hosts: Arc<Hosts>,
    /// Made when the first call needs one; the second verifies.
    tls: [OnceCell<TlsClient>; 2],
    /// Spread by the runtime they belong to, so that workers do not wait for each other.
    idle: [Mutex<HashMap<Key, Vec<Idle>>>; SHARDS],
    hasher: RandomState,
}

/// What connections are alike by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    runtime: runtime::Id,
    /// Whether TLS is spoken, and if so whether the server is verified.
    tls: Option<bool>,
    host: Box<str>,
    port: u16,
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    until: Instant,
}

const SHARDS: usize = 16;
/// Bound: connections kept to one place, by one runtime.
const MOST_IDLE: usize = 64;

impl Http {
    pub(crate) fn new(hosts: Arc<Hosts>, control: Handle) -> Self {
        Self {
            pool: Arc::new(Pool {
                hosts,
                tls: Default::default(),
                idle: Default::default(),
                hasher: RandomState::new(),
            }),
            control,
        }
    }

    /// Closes what has been kept for long enough.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for shard in &self.pool.idle {
            lock(shard).retain(|_, kept| {
                kept.retain(|idle| now < idle.until && !idle.sender.is_closed());
                !kept.is_empty()
            });
        }
    }
}

impl HttpClient for Http {
    fn send(
        &self,
        request: Request<Bytes>,
        terms: CallTerms,
    ) -> Lent<'static, Result<Response<Bytes>, CallError>> {
        let (pool, control) = (Arc::clone(&self.pool), self.control.clone());
        Box::pin(async move {
            let after = terms.timeout;
            let call = async move {
                let called = tokio::time::timeout(after, pool.call(request, &terms)).await;
                called.unwrap_or(Err(CallError::TimedOut { after }))
            };
            match in_runtime(&control, call).await {
                Some(answer) => answer,
                None => Err(CallError::Broken("the gateway ends".into())),
            }
        })
    }
}

impl Pool {
    async fn call(&self, request: Request<Bytes>, terms: &CallTerms) -> Result<Response<Bytes>, CallError> {
        let (key, request) = prepared(request, terms)?;
        let mut request = Some(request);
        while let Some(mut sender) = self.kept(&key) {
            let Some(whole) = request.take() else { break };
            let again = whole.method().is_safe().then(|| whole.clone());
            if sender.ready().await.is_err() {
                request = Some(whole);
                continue;
            }
            match sender.try_send_request(whole).await {
                Ok(response) => return self.finish(response, sender, key, terms).await,
                // A connection that is kept may be closed at the other end at any time. What has not been sent is sent by another,
                // and so is what may be sent twice.
                Err(mut error) => match error.take_message().or(again) {
                    Some(unsent) => request = Some(unsent),
                    None => return Err(CallError::Broken(error.into_error().into())),
                },
            }
        }
        let Some(request) = request else {
            return Err(CallError::Broken("the request was lost".into()));
        };
        let mut sender = self.connect(&key).await?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| CallError::Broken(error.into()))?;
        self.finish(response, sender, key, terms).await
    }

    /// Reads the body, and keeps the connection.
    async fn finish(
        &self,
        response: Response<Incoming>,
        sender: SendRequest<Full<Bytes>>,
        key: Key,
        terms: &CallTerms,
    ) -> Result<Response<Bytes>, CallError> {
        let most = terms.most;
        let (head, mut body) = response.into_parts();
        let told = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|told| told.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|told| told > most as u64) {
            return Err(CallError::TooLarge { most });
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| CallError::Broken(error.into()))?;
            if let Ok(data) = frame.into_data() {
                if whole.len() + data.len() > most {
                    return Err(CallError::TooLarge { most });
                }
                whole.extend_from_slice(&data);
            }
        }
        if let Some(keepalive) = terms.keepalive.filter(|_| !sender.is_closed()) {
            self.keep(key, sender, keepalive);
        }
        Ok(Response::from_parts(head, whole.freeze()))
    }

    async fn connect(&self, key: &Key) -> Result<SendRequest<Full<Bytes>>, CallError> {
        let no_connection = |source| CallError::Connect {
            to: format!("{}:{}", key.host, key.port).into(),
            source,
        };
        let stream = self
            .hosts
            .connect(&key.host, key.port)
            .await
            .map_err(no_connection)?;
        let Some(verify) = key.tls else {
            return shake_hands(stream).await;
        };
        let bare = key.host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|error| no_connection(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let client = self.tls[usize::from(verify)]
            .get_or_init(|| tls(verify, &[b"http/1.1"]))
            .await;
        shake_hands(client.connect(name, stream).await.map_err(no_connection)?).await
    }

    fn kept(&self, key: &Key) -> Option<SendRequest<Full<Bytes>>> {
        let now = Instant::now();
        let mut shard = lock(self.shard(key));
        let kept = shard.get_mut(key)?;
        // The one used last: the others may age.
        while let Some(idle) = kept.pop() {
            if now < idle.until && !idle.sender.is_closed() {
                return Some(idle.sender);
            }
        }
        shard.remove(key);
        None
    }

    fn keep(&self, key: Key, sender: SendRequest<Full<Bytes>>, keepalive: Duration) {
        let Some(until) = Instant::now().checked_add(keepalive) else {
            return;
        };
        let mut shard = lock(self.shard(&key));
        let kept = shard.entry(key).or_default();
        if kept.len() < MOST_IDLE {
            kept.push(Idle { sender, until });
        }
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, Vec<Idle>>> {
        let place = self.hasher.hash_one(key.runtime) % SHARDS as u64;
        &self.idle[usize::try_from(place).unwrap_or_default()]
    }
}

async fn shake_hands<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| CallError::Broken(error.into()))?;
    // How it ends is told to who waits for an answer.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

/// The request as it goes over the wire, and the connection that it needs.
fn prepared(request: Request<Bytes>, terms: &CallTerms) -> Result<(Key, Request<Full<Bytes>>), CallError> {
    let (mut head, body) = request.into_parts();
    let bad = || CallError::Uri {
        uri: head.uri.to_string().into(),
    };
    let tls = match head.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => None,
        Some(scheme) if *scheme == Scheme::HTTPS => Some(terms.verify),
        _ => return Err(bad()),
    };
    let host = head.uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
    let (host, told) = (host.to_ascii_lowercase().into_boxed_str(), head.uri.port_u16());
    let usual = if tls.is_some() { 443 } else { 80 };
    let name = match told.filter(|port| *port != usual) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let name = HeaderValue::try_from(name).map_err(|_| bad())?;
    let path = head.uri.path_and_query().cloned();
    head.headers.entry(HOST).or_insert(name);
    head.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
    let key = Key {
        runtime: here(),
        tls,
        host,
        port: told.unwrap_or(usual),
    };
    Ok((key, Request::from_parts(head, Full::new(body))))
}
